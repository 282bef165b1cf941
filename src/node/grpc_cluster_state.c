/* The state of the cluster as the failure detector of this node sees it: see grpc_cluster_state.h. */
#include "node/grpc_cluster_state.h"

#include <stdlib.h>

#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/node_internal.h"

/* ---- GetClusterState ---- */

enum { MODE_LEADER = 1, MODE_FOLLOWER };
enum { DETAILED_CANDIDATE = 1, DETAILED_FOLLOWER, DETAILED_BECOMING_LEADER, DETAILED_LEADER };
enum { REPLAY_STARTING = 1, REPLAY_ACTIVE, REPLAY_CATCHING_UP };
enum { BROKEN_AHEAD_OF_LOG = 1 };

static unsigned replay_status(enum partition_run run)
{
    return run == PARTITION_RUN_STARTING      ? REPLAY_STARTING
           : run == PARTITION_RUN_CATCHING_UP ? REPLAY_CATCHING_UP
                                              : REPLAY_ACTIVE;
}

static void put_partition(struct writer *w, const struct node *n, const struct membership_status *m)
{
    const struct partition_status *p = &m->status;
    bool leader = p->mode == PARTITION_MODE_LEADER;
    bool planned = leader || p->planned_leader || p->mode == PARTITION_MODE_CANDIDATE;
    uint64_t age = env_mono_ms(n->env) - MIN(m->updated_ms, env_mono_ms(n->env));
    struct writer entry = WRITER_INIT, s = WRITER_INIT;
    pb_put_time(&s, 1, env_wall_ms(n->env) - age);
    pb_write_u64(&s, 2, planned ? MODE_LEADER : MODE_FOLLOWER);
    pb_write_u64(&s, 3, leader ? MODE_LEADER : MODE_FOLLOWER);
    if (p->leader_epoch) {
        pb_put_wrapped(&s, 4, p->leader_epoch);
        pb_put_node_id(&s, 5, p->leader.id, p->leader.generation);
    }
    pb_put_wrapped(&s, 6, p->applied);
    if (p->record_applied_ms)
        pb_put_time(&s, 7, p->record_applied_ms);
    pb_write_u64(&s, 9, replay_status(p->run));
    pb_put_wrapped(&s, 10, p->durable);
    pb_put_wrapped(&s, 11, p->run == PARTITION_RUN_CATCHING_UP ? p->target_tail : p->tail);
    if (p->archived)
        pb_put_wrapped(&s, 12, p->archived);
    pb_put_wrapped(&s, 14, p->schema_version);
    pb_put_text(&s, 15, "journal_v2");
    pb_write_u64(&s, 17,
                 leader                                ? DETAILED_LEADER
                 : p->mode == PARTITION_MODE_CANDIDATE ? DETAILED_CANDIDATE
                                                       : DETAILED_FOLLOWER);
    pb_write_u64(&s, 18, p->run == PARTITION_RUN_BROKEN ? BROKEN_AHEAD_OF_LOG : 0);
    pb_write_u64(&entry, 1, p->partition);
    pb_put_message(&entry, 2, &s);
    pb_put_message(w, 3, &entry);
}

static void put_alive(struct writer *w, const struct node *n, const struct membership_node *m)
{
    struct writer alive = WRITER_INIT;
    size_t count;
    const struct membership_status *statuses =
        membership_statuses(cluster_membership(n->cluster), m->node.id, &count);
    uint64_t silent = m->self ? 0 : env_mono_ms(n->env) - MIN(m->last_news_ms, env_mono_ms(n->env));
    pb_put_node_id(&alive, 1, m->node.id, m->node.generation);
    pb_put_time(&alive, 2, env_wall_ms(n->env) - silent);
    for (size_t i = 0; i < count; i++)
        put_partition(&alive, n, &statuses[i]);
    pb_write_u64(&alive, 4, m->uptime_ms / 1000);
    pb_put_message(w, 1, &alive);
}

static void put_dead(struct writer *w, const struct node *n, const struct membership_node *m)
{
    struct writer dead = WRITER_INIT;
    if (m->ever_heard)
        pb_put_time(&dead, 1,
                    env_wall_ms(n->env) - (env_mono_ms(n->env) - MIN(m->last_news_ms, env_mono_ms(n->env))));
    pb_put_message(w, 2, &dead);
}

/* Every configured node appears. One that has just come (back) counts as dead until it is trusted (§3.1). */
static void put_nodes(struct writer *w, const struct node *n)
{
    const struct membership *all = cluster_membership(n->cluster);
    for (size_t i = 0; i < membership_node_count(all); i++) {
        struct writer entry = WRITER_INIT, state = WRITER_INIT;
        struct membership_node m;
        membership_node_at(all, i, &m);
        pb_write_u64(&entry, 1, m.node.id);
        if (m.self || m.verdict == MEMBERSHIP_ALIVE || m.verdict == MEMBERSHIP_FAILING_OVER)
            put_alive(&state, n, &m);
        else
            put_dead(&state, n, &m);
        pb_put_message(&entry, 2, &state);
        pb_put_message(w, 4, &entry);
    }
}

void cluster_get_state(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct writer w = WRITER_INIT, state = WRITER_INIT;
    pb_put_time(&state, 1, 0);
    pb_put_wrapped(&state, 2, n->view.nodes_value.version);
    pb_put_wrapped(&state, 3, n->view.table_value.version);
    put_nodes(&state, n);
    pb_put_wrapped(&state, 5, n->view.logs_value.version);
    pb_put_message(&w, 1, &state);
    rpc_reply(rpc, &w);
}

/* ---- SyncEpochMetadata ---- */

struct sync_request {
    struct rpc *rpc;
    struct node *node;
    uint32_t waiting;
    struct err err;
};

static void synced(void *ctx, const struct err *err)
{
    struct sync_request *q = ctx;
    if (err && q->err.rc == RC_OK)
        q->err = *err;
    if (--q->waiting > 0)
        return;
    if (q->err.rc == RC_OK)
        rpc_reply_empty(q->rpc);
    else
        rpc_fail(q->rpc, q->err.rc == RC_NOT_LEADER ? GRPC_INTERNAL : grpc_code_of(q->err.rc), "%s",
                 q->err.msg);
    free(q);
}

static void sync_one(void *ctx, uint64_t partition)
{
    struct sync_request *q = ctx;
    if (partition >= q->node->joined.n_partitions)
        return; /* unknown ones are ignored */
    q->waiting++;
    cluster_sync(q->node->cluster, (uint32_t)partition, synced, q);
}

void cluster_sync_epoch_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct sync_request *q = xcalloc(1, sizeof(*q));
    q->rpc = rpc;
    q->node = n;
    q->waiting = 1; /* this function */
    if (!sync_request_each(bytes_slice(message), sync_one, q)) {
        q->waiting++;
        cluster_sync(n->cluster, CONTROLLER_ALL_PARTITIONS, synced, q);
    }
    synced(q, NULL);
}

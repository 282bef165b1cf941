/* restate.cluster_ctrl.ClusterCtrlSvc (spec/restatectl.md §5.2, §6.4, §8.2) on a single node: state of
 * partitions and logs, configuration, and clear refusals of what needs a cluster. */
#include <jansson.h>
#include <stdlib.h>

#include "base/time.h"
#include "node/epoch_sync.h"
#include "node/grpc_cluster_config.h"
#include "node/grpc_logs.h"
#include "node/grpc_messages.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"
#include "node/partition_reports.h"

/* ---- GetClusterState ---- */

enum { MODE_LEADER = 1, MODE_FOLLOWER };
enum { DETAILED_CANDIDATE = 1, DETAILED_FOLLOWER, DETAILED_BECOMING_LEADER, DETAILED_LEADER };
enum { REPLAY_STARTING = 1, REPLAY_ACTIVE, REPLAY_CATCHING_UP };

static void put_partition(struct writer *w, const struct node *n, const struct partition_report *p,
                          uint64_t now_ms)
{
    bool leader = p->role == PROCESSOR_LEADER;
    bool caught_up = leader || p->applied >= p->committed;
    struct writer entry = WRITER_INIT, s = WRITER_INIT;
    pb_put_time(&s, 1, now_ms);
    pb_write_u64(&s, 2, MODE_LEADER);
    pb_write_u64(&s, 3, leader ? MODE_LEADER : MODE_FOLLOWER);
    if (p->epoch) {
        pb_put_wrapped(&s, 4, p->epoch);
        pb_put_node_id(&s, 5, n->joined.node_id, n->joined.generation);
    }
    pb_put_wrapped(&s, 6, p->applied);
    pb_write_u64(&s, 9, caught_up ? REPLAY_ACTIVE : REPLAY_CATCHING_UP);
    pb_put_wrapped(&s, 10, p->durable);
    pb_put_wrapped(&s, 11, p->committed + 1);
    pb_put_wrapped(&s, 14, p->schema_version);
    pb_put_text(&s, 15, "journal_v2");
    pb_write_u64(&s, 17,
                 leader                           ? DETAILED_LEADER
                 : p->role == PROCESSOR_CANDIDATE ? DETAILED_CANDIDATE
                                                  : DETAILED_FOLLOWER);
    pb_write_u64(&entry, 1, p->id);
    pb_put_message(&entry, 2, &s);
    pb_put_message(w, 3, &entry);
}

static void put_this_node(struct writer *w, const struct node *n, const struct partition_reports *r,
                          uint64_t now_ms)
{
    struct writer state = WRITER_INIT, alive = WRITER_INIT;
    pb_put_node_id(&alive, 1, n->joined.node_id, n->joined.generation);
    pb_put_time(&alive, 2, now_ms);
    for (size_t p = 0; p < r->n; p++) {
        if (r->present[p])
            put_partition(&alive, n, &r->items[p], now_ms);
    }
    pb_write_u64(&alive, 4, (os_mono_ns() - n->started_mono_ns) / 1000000000);
    pb_put_message(&state, 1, &alive);
    pb_put_message(w, 2, &state);
}

/* Every configured node appears. Another one than this cannot be alive: nothing connects nodes. */
static void put_nodes(struct writer *w, const struct node *n, const struct partition_reports *r)
{
    for (size_t i = 0; i < n->view.nodes.n_nodes; i++) {
        const struct node_entry *e = &n->view.nodes.nodes[i];
        struct writer entry = WRITER_INIT, dead_state = WRITER_INIT, dead = WRITER_INIT;
        if (e->tombstone)
            continue;
        pb_write_u64(&entry, 1, e->id);
        if (e->id == n->joined.node_id) {
            put_this_node(&entry, n, r, env_wall_ms(n->env));
        } else {
            pb_put_message(&dead_state, 2, &dead);
            pb_put_message(&entry, 2, &dead_state);
        }
        pb_put_message(w, 4, &entry);
    }
}

static void cluster_state_known(void *ctx, struct node *n, const struct partition_reports *r)
{
    struct writer w = WRITER_INIT, state = WRITER_INIT;
    pb_put_time(&state, 1, 0);
    pb_put_wrapped(&state, 2, n->view.nodes_value.version);
    pb_put_wrapped(&state, 3, n->view.table_value.version);
    put_nodes(&state, n, r);
    pb_put_wrapped(&state, 5, n->view.logs_value.version);
    pb_put_message(&w, 1, &state);
    rpc_reply(ctx, &w);
}

static void get_cluster_state(struct rpc *rpc, struct node *n, struct bytes message)
{
    partition_reports_collect(n, cluster_state_known, rpc);
}

/* ---- snapshots ---- */

static void create_snapshot(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t partition, unused;
    grpc_logs_read_request(message, &partition, &unused);
    if (partition > UINT16_MAX)
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT,
                 "Invalid partition id: out of range integral type conversion attempted");
    else if (partition >= n->joined.n_partitions)
        rpc_fail(rpc, GRPC_INTERNAL, "Can not find a suitable node to take snapshot of partition %llu",
                 (unsigned long long)partition);
    else
        rpc_fail(
            rpc, GRPC_INTERNAL,
            "Failed to create snapshot: this server has no snapshot repository, so partition %llu cannot "
            "be exported",
            (unsigned long long)partition);
}

/* ---- SyncEpochMetadata ---- */

struct sync_request {
    struct rpc *rpc;
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
        rpc_fail(q->rpc, grpc_code_of(q->err.rc), "%s", q->err.msg);
    free(q);
}

static void sync_one(struct sync_request *q, struct node *n, uint64_t partition)
{
    if (partition >= n->joined.n_partitions)
        return; /* unknown ones are ignored */
    q->waiting++;
    epoch_sync_start(n, (uint32_t)partition, synced, q);
}

static void sync_epoch_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct sync_request *q = xcalloc(1, sizeof(*q));
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    bool all = true;
    q->rpc = rpc;
    q->waiting = 1; /* this function */
    while (pb_next(&r, &f)) {
        if (f.number != 1)
            continue;
        all = false;
        if (f.wire == PB_VARINT)
            sync_one(q, n, f.value);
        struct reader packed = reader_make(f.bytes);
        uint64_t partition;
        while (f.wire == PB_LEN && pb_packed_next(&packed, &partition))
            sync_one(q, n, partition);
    }
    for (uint32_t p = 0; all && p < n->joined.n_partitions; p++)
        sync_one(q, n, p);
    synced(q, NULL);
}

/* ---- what a single node refuses ---- */

static void migrate_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    struct slice target = SLICE_EMPTY;
    json_error_t parse;
    while (pb_next(&r, &f)) {
        if (f.number == 2 && f.wire == PB_LEN)
            target = f.bytes;
    }
    json_t *config = json_loadb((const char *)target.ptr, target.len, JSON_REJECT_DUPLICATES, &parse);
    const char *type = config ? json_string_value(json_object_get(config, "type")) : NULL;
    if (!config)
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", parse.text);
    else if (type && strcmp(type, "replicated") == 0)
        rpc_fail(rpc, GRPC_UNIMPLEMENTED,
                 "Metadata migration to replicated metadata store is not supported yet");
    else
        rpc_fail(rpc, GRPC_FAILED_PRECONDITION,
                 "Node N%u:%u is not running with --metadata-migration-mode; start all nodes with this flag "
                 "before migrating metadata",
                 n->joined.node_id, n->joined.generation);
    json_decref(config);
}

static void query(struct rpc *rpc, struct node *n, struct bytes message)
{
    rpc_fail(rpc, GRPC_UNIMPLEMENTED, "SQL over the node port is not supported by this server yet");
}

static bool ready(const struct node *n)
{
    return n->state == NODE_ALIVE;
}

static const struct rpc_method methods[] = {
    {"GetClusterState", get_cluster_state},
    {"ListLogs", grpc_list_logs},
    {"DescribeLog", grpc_describe_log},
    {"TrimLog", grpc_trim_log},
    {"CreatePartitionSnapshot", create_snapshot},
    {"SealAndExtendChain", grpc_reconfigure_log},
    {"SealChain", grpc_seal_log},
    {"FindTail", grpc_find_tail},
    {"GetClusterConfiguration", cluster_get_configuration},
    {"SetClusterConfiguration", cluster_set_configuration},
    {"Query", query},
    {"MigrateMetadata", migrate_metadata},
    {"SyncEpochMetadata", sync_epoch_metadata},
};
const struct rpc_service cluster_ctrl_service = {
    .name = "restate.cluster_ctrl.ClusterCtrlSvc",
    .role = ROLE_ADMIN,
    .ready = ready,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

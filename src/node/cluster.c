/* Implementation of node/cluster.h. */
#include "node/cluster.h"

#include <stdlib.h>

#include "base/time.h"
#include "controller/claims.h"
#include "node/control_link.h"
#include "node/node_internal.h"
#include "node/partition_reports.h"

#define TARGET           "restate_node::cluster"
#define REPORT_MS        500u
#define LEADERSHIPS_TOLD 32u
#define LEAVE_POLL_MS    20u
#define TRUST_MS         1500u /* a little more than the others need to believe that a node is back */

/* What this node does with one partition. */
struct local {
    struct cluster *cluster;
    struct claim claim;
    bool claiming;
    bool assigned;  /* in the replica set */
    bool published; /* membership knows a status of it */
    bool reported;  /* it ran at the last look: */
    struct partition_report report;
    uint64_t leading_with; /* the epoch that its shard was told to lead with; 0: none */
    struct {
        lsn_t *items; /* what its shard was told of the other replicas' disks */
        size_t len, cap;
    } peers;
    bool peers_told;
};

struct told_verdict {
    uint32_t id, generation;
    enum membership_verdict verdict;
};

struct cluster {
    struct node *node;
    struct membership *membership;
    struct epochs *epochs;
    struct epochs_listener listener;
    struct controller *controller; /* NULL without the role admin */
    struct local *locals;          /* by partition */
    uint32_t n_partitions;
    bool started, freed;
    bool collecting, collect_again;
    uint64_t refreshed_ms;
    struct env_timer tick;

    /* What was last logged about each node, by the order in which they were first seen. */
    struct {
        struct told_verdict *items;
        size_t len, cap;
    } told;

    struct {
        void (*done)(void *ctx);
        void *ctx;
        uint64_t until_ms;
        struct env_timer timer;
    } leave;
};

/* ---- membership's surroundings ---- */

static void gossip_send(void *ctx, uint32_t node, struct slice message)
{
    struct cluster *c = ctx;
    control_link_send_gossip(c->node->control, node, message);
}

/* A node that comes back is suspect to the others for a while: it must not believe to be the controller when
 * nobody else does yet, and its view is young. Nodes that start together have nobody to wait for. */
static bool trusts_itself(const struct cluster *c)
{
    if (os_mono_ns() / 1000000 - c->node->started_mono_ns / 1000000 >= TRUST_MS)
        return true;
    for (size_t i = 0; i < membership_node_count(c->membership); i++) {
        struct membership_node m;
        membership_node_at(c->membership, i, &m);
        if (!m.self && m.verdict == MEMBERSHIP_ALIVE && m.uptime_ms > TRUST_MS)
            return false;
    }
    return true;
}

/* The controller of the alive admin node with the smallest id is the active one (spec/cluster.md §8.1). */
static void choose_controller(struct cluster *c)
{
    struct node_ref leader = {0, 0};
    const struct nodes_config *nodes = &c->node->view.nodes;
    if (!c->controller)
        return;
    for (size_t i = 0; i < nodes->n_nodes && !leader.id; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        bool self = e->id == c->node->joined.node_id;
        if (!e->tombstone && (e->roles & ROLE_ADMIN) && (!self || trusts_itself(c)) &&
            membership_verdict(c->membership, e->id) == MEMBERSHIP_ALIVE)
            leader = (struct node_ref){e->id, e->generation};
    }
    bool active = leader.id == c->node->joined.node_id && membership_ready(c->membership) && c->started;
    controller_set_active(c->controller, active, leader);
}

/* Routers of all loops look here for the leader of a partition. */
static void publish_leaders(struct cluster *c)
{
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        struct node_ref leader = {0, 0};
        uint64_t epoch;
        membership_leader(c->membership, (uint16_t)p, &leader, &epoch);
        partition_map_set_leader(c->node->map, p, leader.id);
    }
    node_leaders_changed(c->node);
}

/* Operators look for these lines after an incident. */
static void tell_verdict(struct cluster *c, const struct membership_node *m)
{
    size_t i = 0;
    while (i < c->told.len && c->told.items[i].id != m->node.id)
        i++;
    if (i == c->told.len)
        VEC_PUSH(&c->told, ((struct told_verdict){.id = m->node.id, .verdict = MEMBERSHIP_DEAD}));
    if (c->told.items[i].verdict == m->verdict && c->told.items[i].generation == m->node.generation)
        return;
    bool again_dead = c->told.items[i].verdict == MEMBERSHIP_DEAD && m->verdict == MEMBERSHIP_DEAD;
    bool comes = c->told.items[i].verdict == MEMBERSHIP_DEAD && m->verdict == MEMBERSHIP_SUSPECT;
    c->told.items[i].verdict = m->verdict;
    c->told.items[i].generation = m->node.generation;
    if (comes || again_dead)
        return; /* it is alive soon, or was told before */
    LOG0(LOG_INFO, TARGET, "Node N%u:%u is %s", m->node.id, m->node.generation,
         membership_verdict_name(m->verdict));
}

static void tell_verdicts(struct cluster *c)
{
    for (size_t i = 0; i < membership_node_count(c->membership); i++) {
        struct membership_node m;
        membership_node_at(c->membership, i, &m);
        if (!m.self)
            tell_verdict(c, &m);
    }
}

static void membership_changed(void *ctx, unsigned what)
{
    struct cluster *c = ctx;
    if (what & MEMBERSHIP_NODES) {
        tell_verdicts(c);
        choose_controller(c);
        node_liveness_changed(c->node);
    }
    if (c->started)
        publish_leaders(c);
    if (c->controller)
        controller_poke(c->controller);
}

static void membership_newer(void *ctx, enum gossip_kind kind, uint16_t partition, uint32_t version,
                             uint32_t from)
{
    struct cluster *c = ctx;
    struct metadata_host *h = c->node->metadata;
    switch (kind) {
    case GOSSIP_NODES:
        metadata_host_refresh(h, NODES_CONFIG_KEY);
        return;
    case GOSSIP_LOGS:
        metadata_host_refresh(h, LOGS_CONFIG_KEY);
        return;
    case GOSSIP_PARTITION_TABLE:
        metadata_host_refresh(h, PARTITION_TABLE_KEY);
        return;
    case GOSSIP_SCHEMA:
        schema_store_refresh(c->node->schemas);
        return;
    case GOSSIP_EPOCH:
        epochs_heard(c->epochs, partition, version);
        return;
    }
}

static const struct membership_ops membership_callbacks = {
    .send = gossip_send, .changed = membership_changed, .newer = membership_newer};

/* ---- what this node's replicas do ---- */

static enum partition_run run_of(enum replica_state s)
{
    return s == REPLICA_ACTIVE        ? PARTITION_RUN_ACTIVE
           : s == REPLICA_CATCHING_UP ? PARTITION_RUN_CATCHING_UP
                                      : PARTITION_RUN_STARTING;
}

static struct partition_status status_of(const struct cluster *c, uint32_t p)
{
    const struct local *l = &c->locals[p];
    const struct partition_report *r = &l->report;
    const struct epoch_metadata *m = epochs_get(c->epochs, p);
    bool leads = r->role == PROCESSOR_LEADER;
    return (struct partition_status){
        .partition = (uint16_t)p,
        .mode = leads                            ? PARTITION_MODE_LEADER
                : r->role == PROCESSOR_CANDIDATE ? PARTITION_MODE_CANDIDATE
                                                 : PARTITION_MODE_FOLLOWER,
        .run = leads ? PARTITION_RUN_ACTIVE : run_of(r->state),
        .planned_leader = leads || l->claiming || r->role == PROCESSOR_CANDIDATE,
        .leader_epoch = r->announced_epoch,
        .leader = r->announced_leader,
        .epoch_metadata_version = m ? m->version : 0,
        .schema_version = r->schema_version,
        .applied = r->applied,
        .tail = r->committed + 1,
        .target_tail = r->target,
        .durable = r->durable,
        .archived = r->archived,
        .record_applied_ms = env_wall_ms(c->node->env),
    };
}

/* What the other members of the current and the next replica set have on their disks decides how far the
 * leader may trim the log (spec/cluster.md §6.4). Of a node that is dead it is the last that it said. */
static void tell_peers(struct cluster *c, uint32_t p)
{
    struct local *l = &c->locals[p];
    const struct epoch_metadata *m = epochs_get(c->epochs, p);
    if (!m || l->report.role != PROCESSOR_LEADER)
        return;
    lsn_t durable[2 * NODESET_SIZE_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->current.n_replicas + (m->has_next ? m->next.n_replicas : 0); i++) {
        bool current = i < m->current.n_replicas;
        uint32_t node = current ? m->current.replicas[i] : m->next.replicas[i - m->current.n_replicas];
        const struct membership_status *s = membership_status(c->membership, node, (uint16_t)p);
        if (node != c->node->joined.node_id && n < ARRAY_LEN(durable))
            durable[n++] = s ? s->status.durable : 0;
    }
    if (l->peers_told && l->peers.len == n &&
        (n == 0 || memcmp(l->peers.items, durable, n * sizeof(*durable)) == 0))
        return;
    l->peers.len = 0;
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&l->peers, durable[i]);
    l->peers_told = true;
    shard_set_peers(c->node->shards[p % c->node->n_shards], (uint16_t)p, durable, n);
}

static bool leads(const struct partition_report *r, bool present)
{
    return present && r->role == PROCESSOR_LEADER;
}

/* One line for all that changed at once: partitions that this node leads now, or no more. */
static void tell_leaderships(const struct cluster *c, const struct partition_reports *r, bool now,
                             const char *what)
{
    struct writer w = WRITER_INIT;
    uint32_t n = 0;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        const struct local *l = &c->locals[p];
        bool before = leads(&l->report, l->reported), after = leads(&r->items[p], r->present[p]);
        if (before == after || after != now)
            continue;
        const struct partition_report *of = now ? &r->items[p] : &l->report;
        if (n++ < LEADERSHIPS_TOLD)
            write_fmt(&w, "%s%u (e%llu)", n > 1 ? ", " : "", p, (unsigned long long)of->epoch);
    }
    if (n > LEADERSHIPS_TOLD)
        write_fmt(&w, " and %u more", n - LEADERSHIPS_TOLD);
    if (n)
        LOG0(LOG_INFO, TARGET, "%s of partition%s %.*s", what, n > 1 ? "s" : "", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

static void collect(struct cluster *c);

static void collected(void *ctx, struct node *n, const struct partition_reports *r)
{
    struct cluster *c = ctx;
    struct partition_status *list = xcalloc(c->n_partitions + 1, sizeof(*list));
    size_t len = 0;
    c->collecting = false;
    if (c->freed) {
        free(list);
        return;
    }
    tell_leaderships(c, r, true, "This node has become leader");
    tell_leaderships(c, r, false, "This node is no longer leader");
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        struct local *l = &c->locals[p];
        l->reported = r->present[p];
        if (l->reported) {
            l->report = r->items[p];
            list[len++] = status_of(c, p);
            l->published = true;
            tell_peers(c, p);
        } else if (l->published) {
            l->published = false;
            membership_withdraw(c->membership, (uint16_t)p);
        }
    }
    membership_publish(c->membership, list, len);
    free(list);
    if (c->collect_again)
        collect(c);
}

static void collect(struct cluster *c)
{
    c->collect_again = c->collecting;
    if (c->collecting || !c->started || c->freed)
        return;
    c->collecting = true;
    partition_reports_collect(c->node, collected, c);
}

void cluster_replicas_changed(struct cluster *c)
{
    collect(c);
}

/* ---- which replicas run here ---- */

static bool names(const struct partition_configuration *p, uint32_t node)
{
    for (size_t i = 0; i < p->n_replicas; i++) {
        if (p->replicas[i] == node)
            return true;
    }
    return false;
}

static struct shard *shard_of(const struct cluster *c, uint32_t partition)
{
    return c->node->shards[partition % c->node->n_shards];
}

/* A replica belongs to `current` and to `next` (spec/cluster.md §4.4). */
static void follow_placement(struct cluster *c, uint32_t partition, const struct epoch_metadata *m)
{
    struct local *l = &c->locals[partition];
    uint32_t me = c->node->joined.node_id;
    bool assigned = names(&m->current, me) || (m->has_next && names(&m->next, me));
    if (!c->started || assigned == l->assigned || !(c->node->config->roles & ROLE_WORKER))
        return;
    l->assigned = assigned;
    shard_set_replica(shard_of(c, partition), (uint16_t)partition, assigned);
}

static void epoch_changed(struct epochs_listener *listener, uint32_t partition,
                          const struct epoch_metadata *m)
{
    struct cluster *c = CONTAINER_OF(listener, struct cluster, listener);
    membership_set_version(c->membership, GOSSIP_EPOCH, (uint16_t)partition, m->version);
    if (partition < c->n_partitions)
        follow_placement(c, partition, m);
}

/* ---- leading ---- */

static void claimed(struct claim *claim, enum rc rc, uint64_t epoch, const char *message)
{
    struct local *l = CONTAINER_OF(claim, struct local, claim);
    struct cluster *c = l->cluster;
    uint32_t partition = (uint32_t)(l - c->locals);
    l->claiming = false;
    if (c->freed)
        return;
    if (rc != RC_OK) {
        LOG0(rc == RC_CONFLICT ? LOG_DEBUG : LOG_INFO, TARGET,
             "Leadership of partition %u was not obtained: %s", partition, message);
        collect(c);
        return;
    }
    l->leading_with = epoch;
    shard_lead(shard_of(c, partition), (uint16_t)partition, epoch);
}

void cluster_lead(struct cluster *c, uint16_t partition)
{
    if (!c->started || c->freed || partition >= c->n_partitions || c->node->stopping)
        return;
    struct local *l = &c->locals[partition];
    /* A leader, and who is about to be one, is asked again until the others see it. */
    bool busy = l->claiming || (l->reported && l->report.role != PROCESSOR_FOLLOWER);
    if (!l->assigned || busy)
        return;
    l->claiming = true;
    l->claim.done = claimed;
    claim_start(&l->claim, c->node->env, c->node->kv, c->epochs,
                (struct node_ref){c->node->joined.node_id, c->node->joined.generation}, partition);
}

/* ---- the controller's surroundings ---- */

static void controller_node(void *ctx, uint32_t node, struct controller_node *out)
{
    struct cluster *c = ctx;
    enum membership_verdict v = membership_verdict(c->membership, node);
    size_t alive = 0;
    for (size_t i = 0; i < membership_node_count(c->membership); i++) {
        struct membership_node m;
        membership_node_at(c->membership, i, &m);
        alive += m.verdict != MEMBERSHIP_DEAD;
    }
    *out = (struct controller_node){
        .liveness = v == MEMBERSHIP_ALIVE          ? CONTROLLER_ALIVE
                    : v == MEMBERSHIP_FAILING_OVER ? CONTROLLER_FAILING_OVER
                                                   : CONTROLLER_DEAD,
        .reachable_by_all = membership_link_count(c->membership, node) + 1 >= alive,
    };
}

static void controller_replica_of(void *ctx, uint32_t node, uint32_t partition,
                                  struct controller_replica *out)
{
    struct cluster *c = ctx;
    const struct membership_status *s = membership_status(c->membership, node, (uint16_t)partition);
    if (!s)
        return;
    *out = (struct controller_replica){
        .known = true,
        .caught_up = s->status.run == PARTITION_RUN_ACTIVE,
        .leads = s->status.mode == PARTITION_MODE_LEADER,
        .epoch = s->status.leader_epoch,
        .applied_lsn = s->status.applied,
    };
}

static void controller_asks_to_lead(void *ctx, uint32_t node, uint32_t partition)
{
    struct cluster *c = ctx;
    if (node == c->node->joined.node_id)
        cluster_lead(c, (uint16_t)partition);
    else
        control_link_send_command(c->node->control, node, LINK_COMMAND_LEAD, (uint16_t)partition);
}

static const struct controller_ops controller_callbacks = {
    .node = controller_node, .replica = controller_replica_of, .lead = controller_asks_to_lead};

void cluster_sync(struct cluster *c, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                  void *ctx)
{
    struct err err;
    if (c->controller) {
        controller_sync(c->controller, partition, done, ctx);
        return;
    }
    err_set(&err, RC_NOT_LEADER, "Not the cluster controller leader");
    done(ctx, &err);
}

/* ---- news ---- */

void cluster_metadata_changed(struct cluster *c)
{
    if (c->freed)
        return;
    const struct cluster_view *v = &c->node->view;
    membership_set_nodes(c->membership, &v->nodes);
    membership_set_version(c->membership, GOSSIP_NODES, 0, v->nodes_value.version);
    membership_set_version(c->membership, GOSSIP_LOGS, 0, v->logs_value.version);
    membership_set_version(c->membership, GOSSIP_PARTITION_TABLE, 0, v->table_value.version);
    if (!c->controller)
        return;
    controller_set_nodes(c->controller, &v->nodes);
    controller_set_table(c->controller, &v->table);
    choose_controller(c);
}

void cluster_schema_changed(struct cluster *c, uint32_t version)
{
    if (c->freed)
        return;
    membership_set_version(c->membership, GOSSIP_SCHEMA, 0, version);
}

void cluster_seen(struct cluster *c, const struct kv_entry *entry)
{
    if (c->freed)
        return;
    epochs_seen(c->epochs, entry);
}

void cluster_gossip(struct cluster *c, struct slice message)
{
    if (c->freed)
        return;
    membership_receive(c->membership, message);
}

void cluster_peer_seen(struct cluster *c, struct node_ref node)
{
    if (c->freed)
        return;
    membership_peer_seen(c->membership, node);
}

void cluster_peer_lost(struct cluster *c, struct node_ref node, bool gone)
{
    if (c->freed)
        return;
    membership_peer_lost(c->membership, node, gone);
}

bool cluster_all_led(const struct cluster *c)
{
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        struct node_ref leader;
        uint64_t epoch;
        if (!membership_leader(c->membership, (uint16_t)p, &leader, &epoch))
            return false;
    }
    return true;
}

/* ---- leaving ---- */

static uint32_t leading(const struct cluster *c)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < c->n_partitions; p++)
        n += c->locals[p].reported && c->locals[p].report.role != PROCESSOR_FOLLOWER;
    return n;
}

/* Could anybody else take over? */
static bool others_alive(const struct cluster *c)
{
    const struct nodes_config *nodes = &c->node->view.nodes;
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        if (e->id != c->node->joined.node_id && !e->tombstone && (e->roles & ROLE_WORKER) &&
            membership_verdict(c->membership, e->id) == MEMBERSHIP_ALIVE)
            return true;
    }
    return false;
}

/* Only partitions with another member that is alive can be handed over. */
static bool can_hand_over(const struct cluster *c)
{
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        const struct local *l = &c->locals[p];
        const struct epoch_metadata *m = epochs_get(c->epochs, p);
        if (!l->reported || l->report.role == PROCESSOR_FOLLOWER || !m)
            continue;
        for (size_t i = 0; i < m->current.n_replicas; i++) {
            uint32_t id = m->current.replicas[i];
            if (id != c->node->joined.node_id && membership_verdict(c->membership, id) == MEMBERSHIP_ALIVE)
                return true;
        }
    }
    return false;
}

static void leave_poll(struct env_timer *t)
{
    struct cluster *c = CONTAINER_OF(t, struct cluster, leave.timer);
    bool over = !leading(c) || !others_alive(c) || !can_hand_over(c) ||
                env_mono_ms(c->node->env) >= c->leave.until_ms;
    if (!over) {
        collect(c);
        env_timer_arm(c->node->env, t, LEAVE_POLL_MS);
        return;
    }
    if (leading(c) && others_alive(c))
        LOG0(LOG_INFO, TARGET, "Stopping while leading %u partitions", leading(c));
    c->leave.done(c->leave.ctx);
}

void cluster_leave(struct cluster *c, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    membership_fail_over(c->membership);
    c->leave.done = done;
    c->leave.ctx = ctx;
    c->leave.until_ms = env_mono_ms(c->node->env) + timeout_ms;
    env_timer_arm(c->node->env, &c->leave.timer, 0);
}

/* ---- life ---- */

/* Progress of the replicas, and values that nobody gave a hint about (spec/cluster.md §2.6). */
static void tick(struct env_timer *t)
{
    struct cluster *c = CONTAINER_OF(t, struct cluster, tick);
    uint64_t now = env_mono_ms(c->node->env);
    collect(c);
    choose_controller(c);
    if (now - c->refreshed_ms >= c->node->config->metadata.update_interval_ms) {
        c->refreshed_ms = now;
        metadata_host_refresh(c->node->metadata, NODES_CONFIG_KEY);
        metadata_host_refresh(c->node->metadata, LOGS_CONFIG_KEY);
        metadata_host_refresh(c->node->metadata, PARTITION_TABLE_KEY);
    }
    env_timer_arm(c->node->env, &c->tick, REPORT_MS);
}

struct cluster *cluster_new(struct node *n)
{
    struct cluster *c = xcalloc(1, sizeof(*c));
    c->node = n;
    c->n_partitions = n->joined.n_partitions;
    c->locals = xcalloc(c->n_partitions + 1, sizeof(*c->locals));
    for (uint32_t p = 0; p < c->n_partitions; p++)
        c->locals[p].cluster = c;
    env_timer_init(&c->tick, tick);
    env_timer_init(&c->leave.timer, leave_poll);
    c->membership = membership_new(n->env, &n->config->gossip, &membership_callbacks, c);
    struct epochs_config ec = {0};
    c->epochs = epochs_new(n->env, n->kv, &ec);
    c->listener.changed = epoch_changed;
    epochs_listen(c->epochs, &c->listener);
    if ((n->config->roles & ROLE_ADMIN) && !n->config->metadata_migration) {
        struct controller_config cc = {0};
        c->controller = controller_new(n->env, n->kv, c->epochs, &cc, &controller_callbacks, c);
    }
    membership_set_self(c->membership, (struct node_ref){n->joined.node_id, n->joined.generation},
                        n->started_mono_ns / 1000000);
    epochs_set_partitions(c->epochs, c->n_partitions);
    cluster_metadata_changed(c);
    return c;
}

void cluster_start(struct cluster *c)
{
    c->started = true;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        const struct epoch_metadata *m = epochs_get(c->epochs, p);
        if (m)
            follow_placement(c, p, m);
    }
    choose_controller(c);
    publish_leaders(c);
    c->refreshed_ms = env_mono_ms(c->node->env);
    tick(&c->tick);
}

struct membership *cluster_membership(struct cluster *c)
{
    return c->freed ? NULL : c->membership;
}

const struct epochs *cluster_epochs(const struct cluster *c)
{
    return c->epochs;
}

void cluster_close(struct cluster *c)
{
    c->freed = true;
    env_timer_cancel(c->node->env, &c->tick);
    env_timer_cancel(c->node->env, &c->leave.timer);
    if (c->controller)
        controller_free(c->controller);
    c->controller = NULL;
    epochs_unlisten(&c->listener);
    membership_free(c->membership);
}

void cluster_free(struct cluster *c)
{
    epochs_free(c->epochs);
    for (uint32_t p = 0; p < c->n_partitions; p++)
        VEC_FREE(&c->locals[p].peers);
    free(c->locals);
    VEC_FREE(&c->told);
    free(c);
}

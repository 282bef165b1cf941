/* What operators do to the simulated cluster while it has faults: one plan after the other, each of steps
 * that may take long. Writes are read-modify-write through any node that is there, as those of restatectl,
 * and are repeated when no answer comes, some also for no reason (O-1). A plan that has begun is carried out
 * to its end, after the faults if need be.
 *
 *   copies        the replication of the logs and of the partitions goes to another number
 *   read-only     the storage of a node takes no new segments for a while
 *   drain         a node holds no replicas for a while
 *   remove        spec/cluster.md §7.4, ending with a restart of the removed node with its old data
 *   metadata disk a node comes back without what its metadata server had stored, and takes the place of the
 *                 lost member by itself (BETTER B14) */
#include <stdlib.h>

#include "bifrost/replicated_params.h"
#include "metadata/kv_edit.h"
#include "sim/cluster_sim.h"

#define MS          1000u
#define POLL_MS     100u
#define PATIENCE_MS 3000u

enum change { CHANGE_STORAGE, CHANGE_WORKER, CHANGE_TOMBSTONE, CHANGE_LOG_COPIES, CHANGE_PARTITION_COPIES };

/* One write, tried through one node. */
struct attempt {
    struct kv_edit edit;
    struct csim_process *process;
    enum change change;
    uint32_t node;
    unsigned value;
    uint64_t began_us;
    bool over, done;
    bool given_up; /* no answer came: it must not change anything when it comes to that */
};

enum plan_kind { PLAN_NONE, PLAN_COPIES, PLAN_READ_ONLY, PLAN_DRAIN, PLAN_REMOVE, PLAN_METADATA_DISK };
static struct {
    enum plan_kind kind;
    unsigned step;
    struct csim_host *host;
    unsigned copies;
    struct attempt *attempt; /* NULL: none */
    uint64_t wait_until_us;
    bool repeated;
    struct csim_event poll;
} plan;

/* ---- writes ---- */

static enum rc change_nodes(const struct attempt *a, struct slice current, struct writer *w,
                            uint32_t *version, struct err *err)
{
    struct arena arena = {0};
    struct nodes_config c;
    enum rc rc = nodes_config_decode(&arena, current, &c, err);
    struct node_entry *n = rc == RC_OK ? nodes_config_by_id(&c, a->node) : NULL;
    if (rc == RC_OK && !n)
        rc = err_set(err, RC_NOT_FOUND, "N%u is unknown", a->node);
    if (rc == RC_OK && a->change == CHANGE_STORAGE)
        n->storage = (enum storage_state)a->value;
    else if (rc == RC_OK && a->change == CHANGE_WORKER)
        n->worker = (enum worker_state)a->value;
    else if (rc == RC_OK)
        n->tombstone = true;
    if (rc == RC_OK) {
        *version = ++c.version;
        nodes_config_encode(w, &c);
    }
    arena_free(&arena);
    return rc;
}

static enum rc change_logs(const struct attempt *a, struct slice current, struct writer *w, uint32_t *version,
                           struct err *err)
{
    struct arena arena = {0};
    struct logs_config c;
    enum rc rc = logs_config_decode(&arena, current, &c, err);
    if (rc == RC_OK) {
        c.replication = replication_nodes((uint8_t)a->value);
        *version = ++c.version;
        logs_config_encode(w, &c);
    }
    arena_free(&arena);
    return rc;
}

static enum rc change_table(const struct attempt *a, struct slice current, struct writer *w,
                            uint32_t *version, struct err *err)
{
    struct partition_table t;
    enum rc rc = partition_table_decode(current, &t, err);
    if (rc == RC_OK) {
        t.replication = replication_nodes((uint8_t)a->value);
        *version = ++t.version;
        partition_table_encode(w, &t);
    }
    return rc;
}

static enum rc on_change(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                         uint32_t *version, struct err *err)
{
    const struct attempt *a = CONTAINER_OF(e, struct attempt, edit);
    if (!current)
        return err_set(err, RC_UNAVAILABLE, "there is no cluster yet");
    if (a->given_up)
        return RC_EOF;
    struct slice value = bytes_slice(current->value);
    return a->change == CHANGE_LOG_COPIES         ? change_logs(a, value, w, version, err)
           : a->change == CHANGE_PARTITION_COPIES ? change_table(a, value, w, version, err)
                                                  : change_nodes(a, value, w, version, err);
}

static void on_done(struct kv_edit *e, const struct err *err)
{
    struct attempt *a = CONTAINER_OF(e, struct attempt, edit);
    a->over = true;
    a->done = !err;
}

static void start(void *ctx)
{
    struct attempt *a = ctx;
    a->edit.kv = a->process->node.kv;
    kv_edit_start(&a->edit);
}

static struct csim_process *any_process(void)
{
    uint32_t first = (uint32_t)csim_below(csim->options.nodes);
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[(first + i) % csim->options.nodes].process;
        if (p && !p->paused && !p->leaving && !p->host->gone && p->node.state == NODE_ALIVE)
            return p;
    }
    return NULL;
}

/* Has it been written? Call again until it has. */
static bool written(enum change change, uint32_t node, unsigned value)
{
    struct attempt *a = plan.attempt;
    bool silent = a && !a->over && (!a->process->alive || csim->now_us > a->began_us + PATIENCE_MS * MS);
    if (a && !a->over && !silent)
        return false;
    if (silent)
        a->given_up = true; /* a write that is on its way meets the version of the next one */
    plan.attempt = NULL;
    if (a && a->done && (plan.repeated || !csim_chance(300))) {
        plan.repeated = false;
        return true;
    }
    plan.repeated |= a && a->done;
    struct csim_process *p = any_process();
    if (!p)
        return false;
    a = xcalloc(1, sizeof(*a));
    *a = (struct attempt){
        .process = p, .change = change, .node = node, .value = value, .began_us = csim->now_us};
    a->edit.key = change == CHANGE_LOG_COPIES         ? LOGS_CONFIG_KEY
                  : change == CHANGE_PARTITION_COPIES ? PARTITION_TABLE_KEY
                                                      : NODES_CONFIG_KEY;
    a->edit.change = on_change;
    a->edit.done = on_done;
    plan.attempt = a;
    csim_enter(p->node.loop, start, a);
    return false;
}

/* ---- metadata servers ---- */

static struct csim_process *metadata_leader(struct raft_server_status *s)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[i].process;
        if (!p || p->paused || !p->node.metadata)
            continue;
        raft_server_status(metadata_host_server(p->node.metadata), s);
        if (s->leads)
            return p;
    }
    return NULL;
}

static void remove_member(void *ctx)
{
    struct csim_process *p = ctx;
    struct err err = {0};
    raft_server_remove(metadata_host_server(p->node.metadata), plan.host->node_id, &err);
}

static bool left_metadata(void)
{
    struct raft_server_status s;
    struct csim_process *leader = metadata_leader(&s);
    if (!leader)
        return false;
    for (uint32_t i = 0; i < s.members.n; i++) {
        if (s.members.items[i].node == plan.host->node_id) {
            csim_enter(leader->node.loop, remove_member, leader);
            return false;
        }
    }
    return true;
}

bool csim_metadata_complete(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        struct raft_server_status s = {0};
        if (h->gone)
            continue;
        if (!h->process || !h->process->node.metadata)
            return false;
        raft_server_status(metadata_host_server(h->process->node.metadata), &s);
        if (s.members.n != csim_nodes_left() || csim_meta_has_lost(&s.members))
            return false;
    }
    return true;
}

/* ---- plans ---- */

static bool on_nothing(uint32_t node)
{
    if (csim_history_uses(node)) {
        for (uint32_t i = 0; i < csim->options.partitions && csim->now_us >= plan.wait_until_us; i++)
            csim_create_snapshot(i);
        if (csim->now_us >= plan.wait_until_us)
            plan.wait_until_us = csim->now_us + 1000 * MS;
        return false;
    }
    return true;
}

static bool waited(void)
{
    return csim->now_us >= plan.wait_until_us;
}

static bool remove_step(void)
{
    uint32_t id = plan.host->node_id;
    switch (plan.step) {
    case 0:
        return written(CHANGE_STORAGE, id, STORAGE_READ_ONLY);
    case 1:
        return written(CHANGE_WORKER, id, WORKER_DRAINING);
    case 2:
        return left_metadata();
    case 3:
        return csim_mutated(CSIM_REMOVE_AT_ONCE) || on_nothing(id);
    case 4:
        plan.host->gone = true;
        plan.host->restart_us = CSIM_NEVER;
        csim_process_stop(plan.host);
        return !plan.host->process;
    case 5:
        return written(CHANGE_TOMBSTONE, id, 0);
    case 6: /* somebody starts it again, with its old data */
        plan.host->gone = false;
        plan.host->removed = true;
        csim_process_start(plan.host);
        return true;
    default:
        return plan.host->gone; /* it has ended, as it must */
    }
}

static bool step(void)
{
    uint32_t id = plan.host ? plan.host->node_id : 0;
    switch (plan.kind) {
    case PLAN_COPIES:
        return plan.step == 0 ? written(CHANGE_LOG_COPIES, 0, plan.copies)
                              : written(CHANGE_PARTITION_COPIES, 0, plan.copies);
    case PLAN_READ_ONLY:
        return plan.step == 0   ? written(CHANGE_STORAGE, id, STORAGE_READ_ONLY)
               : plan.step == 1 ? waited()
                                : written(CHANGE_STORAGE, id, STORAGE_READ_WRITE);
    case PLAN_DRAIN:
        return plan.step == 0   ? written(CHANGE_WORKER, id, WORKER_DRAINING)
               : plan.step == 1 ? waited()
                                : written(CHANGE_WORKER, id, WORKER_ACTIVE);
    case PLAN_REMOVE:
        return remove_step();
    case PLAN_METADATA_DISK:
        return csim_metadata_complete();
    case PLAN_NONE:
        break;
    }
    return true;
}

static const unsigned steps[] = {
    [PLAN_NONE] = 0,  [PLAN_COPIES] = 2, [PLAN_READ_ONLY] = 3,
    [PLAN_DRAIN] = 3, [PLAN_REMOVE] = 8, [PLAN_METADATA_DISK] = 1,
};
static const char *const names[] = {"nothing", "copies", "read-only", "drain", "remove", "metadata disk"};

static void lose_metadata_disk(struct csim_host *h)
{
    struct raft_server_status s;
    raft_server_status(metadata_host_server(h->process->node.metadata), &s);
    csim_process_crash(h, csim_below(2), csim_below(3000 * MS));
    csim_disk_lose_raft(h);
    csim_meta_lost(s.self);
}

static bool can_begin(enum plan_kind kind)
{
    const struct csim_host *h = plan.host;
    uint32_t left = csim_nodes_left();
    if (!h->process || h->gone || !h->node_id || h->process->node.state != NODE_ALIVE)
        return false;
    if (kind == PLAN_REMOVE)
        return csim->options.snapshots && left > csim->copies && !csim->removed && csim_metadata_complete();
    if (kind == PLAN_METADATA_DISK)
        return left >= 3 && left - 1 > left / 2 && csim_metadata_complete();
    return left > csim->copies;
}

static void begin(void)
{
    enum plan_kind kind = (enum plan_kind)(1 + csim_below(PLAN_METADATA_DISK));
    plan.host = &csim->hosts[csim_below(csim->options.nodes)];
    if (!can_begin(kind))
        return;
    plan.kind = kind;
    plan.step = 0;
    plan.wait_until_us = csim->now_us + csim_below(3000 * MS);
    csim->plans++;
    /* Never fewer than at first: so many disks may be lost. */
    plan.copies =
        csim->options.replication + (uint32_t)csim_below(csim_nodes_left() - csim->options.replication + 1);
    csim_trace("an operator begins: %s (n%u, %u copies)", names[kind], plan.host->index + 1, plan.copies);
    if (kind == PLAN_COPIES)
        csim->copies = plan.copies;
    if (kind == PLAN_REMOVE)
        csim->removed = true;
    if (kind == PLAN_METADATA_DISK)
        lose_metadata_disk(plan.host);
}

static void poll(struct csim_event *e)
{
    if (plan.kind == PLAN_NONE && csim->base.faulty && csim_below(20) == 0)
        begin();
    if (plan.kind != PLAN_NONE && step()) {
        csim_trace("the operator goes on: %s, step %u of %u", names[plan.kind], plan.step + 1,
                   steps[plan.kind]);
        plan.wait_until_us = csim->now_us + csim_below(3000 * MS);
        if (++plan.step == steps[plan.kind])
            plan.kind = PLAN_NONE;
    }
    csim_at(e, poll, csim->now_us + POLL_MS * MS);
}

void csim_operator_start(void)
{
    csim->copies = csim->options.replication;
    heap_node_init(&plan.poll.heap);
    if (csim->options.faults && !csim->options.scenario && csim->options.seed % 3)
        csim_at(&plan.poll, poll, csim_below(4000 * MS));
}

bool csim_operator_busy(void)
{
    return plan.kind != PLAN_NONE;
}

/* Nodes of the simulated world: processes, their metadata, and replicas that claim leadership, read each
 * other's announcements and publish what they do. See membership_sim.h. */
#include <stdlib.h>

#include "sim/membership_sim.h"

#define PROGRESS_MS 250u

static struct node_ref ref_of(const struct sim_node *n)
{
    return (struct node_ref){n->index + 1, n->generation};
}

/* ---- metadata: everybody's copy of the nodes configuration is a list of generations ---- */

static void set_nodes(struct sim_node *n)
{
    struct node_entry entries[SIM_NODES];
    for (uint32_t i = 0; i < n->world->n; i++)
        entries[i] = (struct node_entry){.id = i + 1, .generation = MAX(n->known_generation[i], 1u)};
    struct nodes_config c = {.version = n->known_version,
                             .cluster_fingerprint = FINGERPRINT,
                             .nodes = entries,
                             .n_nodes = n->world->n};
    membership_set_nodes(n->m, &c);
    membership_set_version(n->m, GOSSIP_NODES, 0, n->known_version);
}

static void read_nodes(struct sim_node *n)
{
    n->known_version = n->world->nodes_version;
    for (uint32_t i = 0; i < n->world->n; i++)
        n->known_generation[i] = n->world->nodes[i].generation;
    set_nodes(n);
}

/* The answer to a fetch that ops->newer began. */
static void fetched(struct world *w, struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->to];
    const struct sim_node *from = &w->nodes[e->from];
    bool reachable = from->m && !from->paused && !w->blocked[e->from][e->to] && !w->blocked[e->to][e->from];
    sim_enter(n);
    if (e->kind == GOSSIP_NODES && reachable && from->known_version > n->known_version) {
        n->known_version = from->known_version;
        memcpy(n->known_generation, from->known_generation, sizeof(n->known_generation));
        set_nodes(n);
    }
    if (e->kind == GOSSIP_EPOCH && reachable &&
        from->epoch_version[e->partition] > n->epoch_version[e->partition]) {
        n->epoch_version[e->partition] = from->epoch_version[e->partition];
        membership_set_version(n->m, GOSSIP_EPOCH, e->partition, n->epoch_version[e->partition]);
    }
    sim_leave(n);
}

static void on_newer(void *ctx, enum gossip_kind kind, uint16_t partition, uint32_t version, uint32_t from)
{
    struct sim_node *n = ctx;
    struct world *w = n->world;
    uint32_t truth = kind == GOSSIP_NODES ? w->nodes_version : w->epoch_version[partition];
    if ((kind != GOSSIP_NODES && kind != GOSSIP_EPOCH) || version > truth)
        sim_fail(w, "N%u was told of version %u of kind %d, there is %u", n->index + 1, version, (int)kind,
                 truth);
    struct sim_event *e = sim_later(w, 1 + sim_below(w, 20), fetched);
    e->from = from - 1;
    e->to = n->index;
    e->to_life = n->life;
    e->kind = kind;
    e->partition = partition;
}

static void on_send(void *ctx, uint32_t node, struct slice message)
{
    sim_net_send(ctx, node - 1, message);
}

static void on_changed(void *ctx, unsigned what) {}

static const struct membership_ops ops = {on_send, on_changed, on_newer};

/* ---- replicas ---- */

static void publish(struct sim_node *n, uint16_t p)
{
    const struct sim_replica *r = &n->replicas[p];
    struct partition_status s = {
        .partition = p,
        .mode = r->mode,
        .run = r->epoch ? PARTITION_RUN_ACTIVE : PARTITION_RUN_STARTING,
        .leader_epoch = r->epoch,
        .leader = r->leader,
        .epoch_metadata_version = n->epoch_version[p],
        .applied = r->applied,
    };
    membership_publish(n->m, &s, 1);
}

static void on_progress(struct env_timer *t)
{
    struct sim_node *n = CONTAINER_OF(t, struct sim_node, progress);
    for (uint16_t p = 0; p < SIM_PARTITIONS; p++) {
        if (!n->replicas[p].runs)
            continue;
        n->replicas[p].applied++;
        publish(n, p);
    }
    env_timer_arm(&n->env.env, t, PROGRESS_MS);
}

static void read_announcement(struct world *w, struct sim_event *e);

/* The log brings the announcement of `epoch` to the replica. */
static void will_read(struct sim_node *n, uint16_t p, uint64_t epoch, uint64_t ms)
{
    struct sim_event *e = sim_later(n->world, ms, read_announcement);
    e->to = n->index;
    e->to_life = n->life;
    e->partition = p;
    e->epoch = epoch;
}

static void read_announcement(struct world *w, struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->to];
    struct sim_replica *r = &n->replicas[e->partition];
    struct node_ref leader = w->owners[e->partition].items[e->epoch - 1];
    if (!r->runs || e->epoch <= r->epoch)
        return;
    uint32_t who = leader.id - 1;
    if (w->blocked[who][n->index] || w->blocked[n->index][who]) {
        will_read(n, e->partition, e->epoch, 200 + sim_below(w, 200)); /* the log is out of reach */
        return;
    }
    r->epoch = e->epoch;
    r->leader = leader;
    r->mode = PARTITION_MODE_FOLLOWER;
    sim_enter(n);
    publish(n, e->partition);
    sim_leave(n);
}

void sim_claim(struct sim_node *n, uint16_t p)
{
    struct world *w = n->world;
    struct sim_replica *r = &n->replicas[p];
    if (!n->m || n->paused || n->stopping || !r->runs)
        return;
    VEC_PUSH(&w->owners[p], ref_of(n));
    w->n_claims++;
    r->epoch = w->owners[p].len;
    r->leader = ref_of(n);
    r->mode = PARTITION_MODE_LEADER;
    n->epoch_version[p] = ++w->epoch_version[p];
    sim_trace(w, "N%u:%u leads %u at e%zu", n->index + 1, n->generation, p, w->owners[p].len);
    sim_enter(n);
    publish(n, p);
    membership_set_version(n->m, GOSSIP_EPOCH, p, n->epoch_version[p]);
    sim_leave(n);
    for (uint32_t i = 0; i < w->n; i++)
        if (w->nodes[i].m && i != n->index)
            will_read(&w->nodes[i], p, r->epoch, 1 + sim_below(w, 300));
}

static void begin_replica(struct sim_node *n, uint16_t p)
{
    struct world *w = n->world;
    n->replicas[p] = (struct sim_replica){.runs = true, .mode = PARTITION_MODE_FOLLOWER};
    publish(n, p);
    if (w->owners[p].len)
        will_read(n, p, w->owners[p].len, 50 + sim_below(w, 400));
}

void sim_move(struct sim_node *n, uint16_t p)
{
    if (!n->m || n->paused)
        return;
    sim_enter(n);
    if (n->replicas[p].runs) {
        n->replicas[p].runs = false;
        membership_withdraw(n->m, p);
    } else {
        begin_replica(n, p);
    }
    sim_leave(n);
}

/* ---- processes ---- */

void sim_node_init(struct world *w, uint32_t index)
{
    struct sim_node *n = &w->nodes[index];
    n->world = w;
    n->index = index;
    n->skew_ms = sim_below(w, 1000000);
    list_init(&n->inbox);
    sim_env_init(&n->env, w->seed * 31 + index);
    env_timer_init(&n->progress, on_progress);
}

static void forget(struct sim_node *n)
{
    memset(n->views, 0, sizeof(n->views));
    memset(n->hint_ms, 0, sizeof(n->hint_ms));
    memset(n->wrong_ms, 0, sizeof(n->wrong_ms));
    memset(n->led_epoch, 0, sizeof(n->led_epoch));
}

void sim_node_boot(struct sim_node *n)
{
    struct world *w = n->world;
    ASSERT(!n->m);
    n->life++;
    n->generation++;
    w->nodes_version++;
    n->paused = n->stopping = false;
    n->boot_ms = n->calm_ms = n->heard_ms = sim_now(w);
    n->isolated_ms = n->resume_ms = n->gaps_ms = 0;
    forget(n);
    for (uint32_t i = 0; i < w->n; i++)
        w->nodes[i].hint_ms[n->index] = w->nodes[i].wrong_ms[n->index] = 0;
    sim_trace(w, "N%u:%u starts", n->index + 1, n->generation);
    sim_enter(n);
    n->m = membership_new(&n->env.env, &w->options, &ops, n);
    membership_set_self(n->m, ref_of(n), n->env.mono_ms);
    read_nodes(n);
    memset(n->replicas, 0, sizeof(n->replicas));
    for (uint16_t p = 0; p < SIM_PARTITIONS; p++) {
        n->epoch_version[p] = w->epoch_version[p];
        membership_set_version(n->m, GOSSIP_EPOCH, p, n->epoch_version[p]);
        if (sim_chance(w, 700))
            begin_replica(n, p);
    }
    env_timer_arm(&n->env.env, &n->progress, PROGRESS_MS);
    sim_leave(n);
    sim_net_began(n);
}

static void end(struct sim_node *n, bool abruptly)
{
    struct world *w = n->world;
    env_timer_cancel(&n->env.env, &n->progress);
    membership_free(n->m);
    n->m = NULL;
    n->life++;
    n->paused = n->stopping = false;
    n->end_ms = sim_now(w);
    LIST_FOREACH_SAFE(l, next, &n->inbox)
    sim_event_free(CONTAINER_OF(l, struct sim_event, link));
    sim_net_ended(n, abruptly);
}

void sim_node_kill(struct sim_node *n)
{
    if (!n->m)
        return;
    n->world->n_kills++;
    sim_trace(n->world, "N%u:%u is killed", n->index + 1, n->generation);
    end(n, true);
}

static void stopped(struct world *w, struct sim_event *e)
{
    sim_trace(w, "N%u ends", e->to + 1);
    end(&w->nodes[e->to], false);
}

void sim_node_stop(struct sim_node *n)
{
    struct world *w = n->world;
    if (!n->m || n->paused || n->stopping)
        return;
    w->n_stops++;
    sim_trace(w, "N%u:%u stops", n->index + 1, n->generation);
    n->stopping = true;
    sim_enter(n);
    membership_fail_over(n->m);
    sim_leave(n);
    struct sim_event *e = sim_later(w, 50 + sim_below(w, 300), stopped);
    e->to = n->index;
    e->to_life = n->life;
}

static void resume(struct world *w, struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->from];
    if (n->paused && n->life == e->epoch)
        sim_node_resume(n);
}

void sim_node_pause(struct sim_node *n, uint64_t ms)
{
    struct world *w = n->world;
    if (!n->m || n->paused)
        return;
    w->n_pauses++;
    sim_trace(w, "N%u:%u is paused for %llu ms", n->index + 1, n->generation, (unsigned long long)ms);
    n->paused = true;
    n->paused_ms = sim_now(w);
    struct sim_event *e = sim_later(w, ms, resume); /* `to` stays empty: not held back */
    e->from = n->index;
    e->epoch = n->life;
}

/* Timers first or sockets first: both happen. */
void sim_node_resume(struct sim_node *n)
{
    struct world *w = n->world;
    sim_trace(w, "N%u:%u goes on", n->index + 1, n->generation);
    n->paused = false;
    n->gaps_ms += sim_now(w) - n->paused_ms;
    n->calm_ms = n->resume_ms = w->resumed_ms = sim_now(w);
    n->deaths_at_resume = membership_stats(n->m)->deaths;
    uint64_t life = n->life;
    if (sim_chance(w, 700)) {
        sim_enter(n);
        while (sim_env_next(&n->env, 0))
            ;
    }
    while (n->life == life && !list_empty(&n->inbox)) {
        struct sim_event *e = CONTAINER_OF(list_pop_front(&n->inbox), struct sim_event, link);
        list_push_back(&w->events, &e->link);
        e->run(w, e);
        sim_event_free(e);
    }
}

void sim_node_free(struct sim_node *n)
{
    LIST_FOREACH_SAFE(l, next, &n->inbox)
    sim_event_free(CONTAINER_OF(l, struct sim_event, link));
    if (n->m) {
        env_timer_cancel(&n->env.env, &n->progress);
        membership_free(n->m);
    }
    sim_env_free(&n->env);
}

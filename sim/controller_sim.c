/* The cluster controller simulated: time, faults, operators, runs. See controller_sim.h.
 *
 *   sim_controller [--seeds N] [--first N] [--seed N [--trace]] [--mutations]
 *
 * --mutations switches off one rule after the other and shows that a check notices. */
#include "sim/controller_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/seeds.h"

void sim_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    seeds_fail(w->seed, now_ms(w), fmt, args);
}

void sim_trace(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (!w->trace)
        return;
    printf("%8llu ", (unsigned long long)now_ms(w));
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

/* ---- events ---- */

struct event {
    struct env_timer timer;
    struct list link;
    struct world *world;
    void (*run)(struct world *w, void *arg);
    void *arg;
};

static void fire(struct env_timer *t)
{
    struct event *e = CONTAINER_OF(t, struct event, timer);
    e->run(e->world, e->arg);
    free(e);
}

void sim_later(struct world *w, uint64_t ms, void (*run)(struct world *w, void *arg), void *arg)
{
    struct event *e = xcalloc(1, sizeof(*e));
    e->world = w;
    e->run = run;
    e->arg = arg;
    env_timer_init(&e->timer, fire);
    env_timer_arm(sim_env_get(&w->env), &e->timer, ms);
}

bool sim_reaches(const struct world *w, uint32_t from, uint32_t to)
{
    return from == to || (w->nodes[from].up && !w->nodes[from].isolated && !w->nodes[to].isolated);
}

/* ---- faults ---- */

static void configure(struct world *w, void *arg)
{
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        sim_node_configure(&w->nodes[id]);
}

static struct node *any_node(struct world *w)
{
    return &w->nodes[1 + below(w, w->n_nodes)];
}

static void stop_or_start(struct world *w)
{
    struct node *n = any_node(w);
    if (!n->up) {
        sim_node_start(n);
    } else if (!n->failing_over && chance(w, 400)) {
        n->failing_over = true; /* gracefully */
        n->stops_at_ms = now_ms(w) + below(w, 2000);
        sim_trace(w, "N%u fails over", n->id);
    } else if (!n->failing_over) {
        sim_node_crash(n);
    }
}

static void change_worker(struct world *w)
{
    static const enum worker_state states[] = {WORKER_ACTIVE, WORKER_ACTIVE, WORKER_DRAINING,
                                               WORKER_DISABLED};
    struct node_entry *e = &w->entries[below(w, w->n_nodes)];
    e->worker = states[below(w, 4)];
    w->config.version++;
    sim_trace(w, "worker of N%u: %d", e->id, (int)e->worker);
    sim_later(w, below(w, 500), configure, NULL);
}

static void change_replication(struct world *w)
{
    uint8_t copies = (uint8_t)(1 + below(w, MIN(w->n_nodes, 3)));
    w->partitions.replication = replication_nodes(copies);
    if (w->zones && copies > 1 && chance(w, 500))
        w->partitions.replication.copies[SCOPE_ZONE] = 2;
    w->partitions.version++;
    sim_trace(w, "%u copies in %u zones", copies, w->partitions.replication.copies[SCOPE_ZONE]);
    sim_later(w, below(w, 500), configure, NULL);
}

static void fault(struct world *w)
{
    switch (below(w, 8)) {
    case 0:
    case 1:
    case 2:
        stop_or_start(w);
        break;
    case 3:
    case 4: {
        struct node *n = any_node(w);
        n->isolated = !n->isolated;
        sim_trace(w, "N%u is %s", n->id, n->isolated ? "cut off" : "back");
        break;
    }
    case 5:
        change_worker(w);
        break;
    case 6:
        if (chance(w, 300))
            change_replication(w);
        break;
    default:
        w->lost_permille = (uint32_t)below(w, 200);
        w->undecided_permille = (uint32_t)below(w, 200);
        w->refused_permille = (uint32_t)below(w, 100);
    }
}

/* ---- operators: what restatectl does, read, change, compare and swap, and then tell a controller ---- */

static void synced(void *ctx, const struct err *err) {}

static void place_by_hand(struct world *w, struct epoch_metadata *m, struct arena *a)
{
    uint32_t *set = arena_array(a, uint32_t, NODES_MAX);
    uint8_t n = 0;
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        if (chance(w, 500))
            set[n++] = id;
    if (n == 0)
        set[n++] = 1;
    struct replication r = replication_nodes(n);
    m->version--; /* counted below */
    epoch_metadata_set_next(m, &r, set, n, 0);
}

static void edit(struct world *w, uint32_t what)
{
    uint32_t partition = (uint32_t)below(w, w->n_partitions);
    struct arena a = {0};
    struct epoch_metadata m;
    if (!sim_kv_get(w, partition, &a, &m))
        return;
    m.version++;
    switch (what) {
    case 0:
        m.affinity_node = 1 + (uint32_t)below(w, w->n_nodes);
        break;
    case 1:
        m.affinity_node = 0;
        break;
    case 2:
        m.leadership_freeze = m.leadership_freeze ? NULL : "operator";
        break;
    case 3:
        m.placement_freeze = m.placement_freeze ? NULL : "operator";
        break;
    case 4:
        m.placement_freeze = "operator";
        m.version++;
        place_by_hand(w, &m, &a);
        break;
    default:
        place_by_hand(w, &m, &a);
    }
    w->edits++;
    sim_kv_put(w, partition, &m);
    arena_free(&a);
    struct node *n = any_node(w);
    if (n->up)
        controller_sync(n->controller, chance(w, 900) ? partition : CONTROLLER_ALL_PARTITIONS, synced, NULL);
}

static void lift_policies(struct world *w)
{
    bool unpin = chance(w, 500);
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        struct arena a = {0};
        struct epoch_metadata m;
        if (sim_kv_get(w, p, &a, &m) && (m.leadership_freeze || m.placement_freeze || unpin)) {
            m.version++;
            m.affinity_node = unpin ? 0 : m.affinity_node;
            m.leadership_freeze = m.placement_freeze = NULL;
            sim_kv_put(w, p, &m);
        }
        arena_free(&a);
    }
}

/* One node may stay dead, one may stay on its way out. */
static void heal(struct world *w)
{
    uint32_t dead = w->n_nodes > 1 && chance(w, 300) ? 1 + (uint32_t)below(w, w->n_nodes) : 0;
    uint32_t draining = w->n_nodes > 2 && chance(w, 300) ? 1 + (uint32_t)below(w, w->n_nodes) : 0;
    w->chaos = false;
    w->one_dead = dead != 0;
    w->one_drains = draining != 0;
    w->healed_ms = w->last_write_ms = w->last_hint_ms = now_ms(w);
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        struct node *n = &w->nodes[id];
        n->isolated = false;
        if (n->failing_over || (id == dead && n->up))
            sim_node_crash(n);
        if (!n->up && id != dead)
            sim_node_start(n);
        w->entries[id - 1].worker = id != draining || draining == dead ? WORKER_ACTIVE : WORKER_DRAINING;
    }
    lift_policies(w);
    configure(w, NULL);
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        if (w->nodes[id].up) /* as the tool does after its edits; which one is active is not known yet */
            epochs_refresh_all(w->nodes[id].epochs, NULL);
    sim_trace(w, "healed: N%u stays dead, N%u drains", dead, draining);
}

/* ---- time ---- */

static void count_active(struct world *w)
{
    unsigned active = 0;
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        active += w->nodes[id].up && w->nodes[id].active;
    w->two_active += active > 1;
}

static void tick(struct world *w)
{
    sim_env_advance(&w->env, 1);
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        struct node *n = &w->nodes[id];
        if (n->up && n->failing_over && now_ms(w) >= n->stops_at_ms)
            sim_node_crash(n);
        sim_node_tick(n);
    }
    if (w->chaos && chance(w, 2))
        fault(w);
    if (w->chaos && chance(w, 2))
        edit(w, (uint32_t)below(w, 6));
    count_active(w);
}

/* ---- a run ---- */

static void build(struct world *w)
{
    static const uint32_t sizes[] = {1, 3, 3, 4, 5};
    sim_env_init(&w->env, w->seed);
    kv_table_init(&w->table);
    w->n_nodes = sizes[below(w, ARRAY_LEN(sizes))];
    w->n_partitions = 1 + (uint32_t)below(w, SIM_PARTITIONS_MAX);
    w->random_detector = chance(w, 300);
    w->zones = chance(w, 300);
    w->chaos = true;
    w->config = (struct nodes_config){.version = 1, .nodes = w->entries, .n_nodes = w->n_nodes};
    w->partitions = (struct partition_table){1, w->n_partitions,
                                             replication_nodes((uint8_t)(1 + below(w, MIN(w->n_nodes, 3))))};
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        w->nodes[id] = (struct node){.world = w, .id = id};
        w->entries[id - 1] = (struct node_entry){.id = id,
                                                 .name = "n",
                                                 .address = "",
                                                 .location = !w->zones ? ""
                                                             : id % 2  ? "r.a"
                                                                       : "r.b",
                                                 .roles = ROLE_ADMIN | ROLE_WORKER,
                                                 .worker = WORKER_ACTIVE};
    }
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        sim_node_start(&w->nodes[id]);
}

static void tear_down(struct world *w)
{
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        sim_node_crash(&w->nodes[id]);
    while (sim_env_next(&w->env, 100000)) /* what is still on its way */
        ;
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        VEC_FREE(&w->history[p].won);
        VEC_FREE(&w->history[p].log);
    }
    kv_table_free(&w->table);
    sim_env_free(&w->env);
}

static void run_for(struct world *w, uint64_t ms)
{
    for (uint64_t end = now_ms(w) + ms; now_ms(w) < end;)
        tick(w);
}

static void note_leaders(struct world *w, uint64_t *epoch, uint32_t *leader)
{
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        struct arena a = {0};
        struct epoch_metadata m = {0};
        sim_kv_get(w, p, &a, &m);
        epoch[p] = m.epoch;
        leader[p] = 0;
        for (uint32_t id = 1; id <= w->n_nodes; id++)
            if (w->nodes[id].up && w->nodes[id].processors[p].leads)
                leader[p] = id;
        arena_free(&a);
    }
}

/* Quiet, all well; one node goes. Each of its partitions is led again in time and after one hop, the others
 * do not move; when it is back the leaders are even again. */
static void fail_over(struct world *w)
{
    uint64_t before[SIM_PARTITIONS_MAX], after[SIM_PARTITIONS_MAX];
    uint32_t led_by[SIM_PARTITIONS_MAX], leader[SIM_PARTITIONS_MAX];
    struct node *n = any_node(w);
    bool graceful = chance(w, 500);
    if (w->n_nodes < 3 || w->one_dead || w->one_drains || replication_copies(&w->partitions.replication) < 2)
        return;
    w->fail_overs++;
    sim_check_spread(w);
    note_leaders(w, before, led_by);
    sim_trace(w, "N%u %s", n->id, graceful ? "stops" : "is killed");
    if (graceful) {
        n->failing_over = true;
        n->stops_at_ms = now_ms(w) + 1000;
    } else {
        sim_node_crash(n);
    }
    run_for(w, graceful ? HAND_OVER_MS : FAIL_OVER_MS);
    sim_check_led(w, graceful ? "after a graceful stop" : "after a kill");
    note_leaders(w, after, leader);
    for (uint32_t p = 0; p < w->n_partitions; p++)
        if (after[p] - before[p] != (led_by[p] == n->id) || leader[p] == n->id)
            sim_fail(w, "fail-over of partition %u from N%u took %llu hops", p, led_by[p],
                     (unsigned long long)(after[p] - before[p]));
    run_for(w, 10000);
    sim_check_led(w, "when the replica sets were replaced");
    sim_node_start(n);
    run_for(w, 20000);
    sim_check_led(w, "when the node was back");
    sim_check_spread(w);
}

static struct world totals;

static void add_totals(const struct world *w)
{
    totals.writes += w->writes;
    totals.claims += w->claims;
    totals.conflicts += w->conflicts;
    totals.undecided += w->undecided;
    totals.hints += w->hints;
    totals.crashes += w->crashes;
    totals.edits += w->edits;
    totals.fail_overs += w->fail_overs;
    totals.two_active += w->two_active > 0;
    totals.max_led_ms = MAX(totals.max_led_ms, w->max_led_ms);
    totals.max_placed_ms = MAX(totals.max_placed_ms, w->max_placed_ms);
}

static void run(uint64_t seed, int mutation, bool trace)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->seed = seed;
    w->trace = trace;
    controller_mutation = (enum controller_mutation)mutation;
    build(w);
    while (now_ms(w) < CHAOS_MS)
        tick(w);
    heal(w);
    while (now_ms(w) < w->healed_ms + QUIET_AFTER_MS + QUIET_MS) {
        tick(w);
        if (now_ms(w) % 10 == 0)
            sim_check_tick(w);
    }
    sim_check_end(w);
    fail_over(w);
    add_totals(w);
    tear_down(w);
    free(w);
}

/* ---- the program ---- */

static void passed(uint64_t seeds)
{
    printf("%llu seeds passed: %llu writes, %llu claims won, %llu comparisons lost, %llu undecided, %llu "
           "hints, %llu "
           "crashes, %llu edits, two active controllers in %llu seeds; after healing all led within %llu ms, "
           "placed "
           "within %llu ms; %llu fail-overs in time\n",
           (unsigned long long)seeds, (unsigned long long)totals.writes, (unsigned long long)totals.claims,
           (unsigned long long)totals.conflicts, (unsigned long long)totals.undecided,
           (unsigned long long)totals.hints, (unsigned long long)totals.crashes,
           (unsigned long long)totals.edits, (unsigned long long)totals.two_active,
           (unsigned long long)totals.max_led_ms, (unsigned long long)totals.max_placed_ms,
           (unsigned long long)totals.fail_overs);
}

int main(int argc, char **argv)
{
    static const struct seeds_mutation mutations[] = {
        {CONTROLLER_MUT_BLIND_WRITE, "the controller writes without comparing"},
        {CONTROLLER_MUT_NEXT_VERSION, "a newer next has the version of the old one"},
        {CONTROLLER_MUT_CANCEL_NEXT, "a next that is not wanted any more is dropped"},
        {CONTROLLER_MUT_COMPLETE_BLIND, "current becomes another set than next was"},
        {CONTROLLER_MUT_NO_REPLACE, "the dead are not replaced"},
        {CONTROLLER_MUT_FICKLE_LEADER, "leaders are chosen anew each time"},
        {CONTROLLER_MUT_FICKLE_SET, "replica sets are chosen anew each time"},
        {CONTROLLER_MUT_THAW, "frozen placements are changed"},
        {CLAIM_MUT_TIMEOUT_IS_YES, "an undecided claim is taken for won"},
        {CLAIM_MUT_NODE_IS_ENOUGH, "any claim of this node id is taken for ours"},
        {CLAIM_MUT_ANYBODY, "nodes claim that are not members"},
        {EPOCHS_MUT_BACKWARDS, "the cache takes older values"},
    };
    static const struct seeds_program program = {.source = "sim/controller_sim.c",
                                                 .run = run,

                                                 .passed = passed,
                                                 .mutations = mutations,
                                                 .n_mutations = ARRAY_LEN(mutations)};
    return seeds_main(&program, argc, argv);
}

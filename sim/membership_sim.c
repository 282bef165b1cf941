/* The simulator of membership/: time, runs, options. See membership_sim.h.
 *
 *   sim_membership --seeds N [--first S]   N runs; the first failure ends the program and names its seed
 *   sim_membership --seed S [--trace]      one run
 *   sim_membership --mutations [--seeds N] breaks one rule after the other; each must be found within N seeds
 *
 * A run: 1 to 5 nodes start, things go wrong for half a minute, then everything heals; what must hold is
 * checked every 20 ms, and agreement 10 s after the healing (F-2). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/membership_sim.h"
#include "sim/seeds.h"

#define CHAOS_MS 30000u
#define QUIET_MS 10000u

void sim_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    seeds_fail(w->seed, sim_now(w), fmt, args);
}

void sim_trace(struct world *w, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%8llu ", (unsigned long long)sim_now(w));
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

/* ---- time: the next thing to happen anywhere ---- */

static void fire_event(struct env_timer *t)
{
    struct sim_event *e = CONTAINER_OF(t, struct sim_event, timer);
    if (!sim_net_hold(e->world, e)) {
        e->run(e->world, e);
        sim_event_free(e);
    }
}

struct sim_event *sim_later(struct world *w, uint64_t ms, void (*run)(struct world *w, struct sim_event *e))
{
    struct sim_event *e = xcalloc(1, sizeof(*e));
    e->world = w;
    e->run = run;
    e->to = SIM_NODES;
    list_init(&e->link);
    list_push_back(&w->events, &e->link);
    env_timer_init(&e->timer, fire_event);
    env_timer_arm(sim_env_get(&w->env), &e->timer, ms);
    return e;
}

void sim_event_free(struct sim_event *e)
{
    env_timer_cancel(sim_env_get(&e->world->env), &e->timer);
    list_remove(&e->link);
    bytes_unref(&e->data);
    free(e);
}

void sim_enter(struct sim_node *n)
{
    n->env.mono_ms = sim_now(n->world) + n->skew_ms;
}

void sim_leave(struct sim_node *n)
{
    sim_env_run(&n->env);
}

static uint64_t next_of(const struct sim_env *e, uint64_t skew)
{
    struct heap_node *n = heap_min(&e->timers);
    return n ? n->key - skew : UINT64_MAX;
}

static bool step(struct world *w, uint64_t until)
{
    uint64_t at = next_of(&w->env, 0);
    struct sim_node *node = NULL;
    for (uint32_t i = 0; i < w->n; i++) {
        struct sim_node *n = &w->nodes[i];
        uint64_t t = MAX(next_of(&n->env, n->skew_ms), sim_now(w));
        if (n->m && !n->paused && t < at) {
            at = t;
            node = n;
        }
    }
    if (at > until)
        return false;
    if (!node)
        return sim_env_next(&w->env, at - MIN(at, sim_now(w)));
    w->env.mono_ms = MAX(at, sim_now(w));
    sim_enter(node);
    sim_env_next(&node->env, 0);
    return true;
}

static void run_until(struct world *w, uint64_t until)
{
    while (step(w, until))
        ;
    w->env.mono_ms = until;
}

/* ---- a run ---- */

static void build(struct world *w)
{
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 4, 5};
    sim_env_init(&w->env, w->seed);
    list_init(&w->events);
    membership_config_default(&w->options);
    if (sim_chance(w, 300))
        w->options.suspect_ms = 1000 + sim_below(w, 4000);
    w->n = sizes[sim_below(w, ARRAY_LEN(sizes))];
    w->delay_ms = sim_chance(w, 700) ? 3 : 50;
    w->drop_permille = sim_chance(w, 500) ? 0 : (uint32_t)sim_below(w, 100);
    w->repeat_permille = sim_chance(w, 500) ? 0 : (uint32_t)sim_below(w, 100);
    w->late_permille = sim_chance(w, 700) ? 0 : (uint32_t)sim_below(w, 30);
    w->was_late = w->late_permille;
    w->hint_permille = sim_chance(w, 400) ? 0 : 500 + (uint32_t)sim_below(w, 501);
    w->nodes_version = 1;
    for (uint32_t i = 0; i < w->n; i++)
        sim_node_init(w, i);
    for (uint32_t i = 0; i < w->n; i++)
        if (i == 0 || sim_chance(w, 900))
            sim_node_boot(&w->nodes[i]);
}

static void tear_down(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        sim_node_free(&w->nodes[i]);
    LIST_FOREACH_SAFE(l, next, &w->events)
    sim_event_free(CONTAINER_OF(l, struct sim_event, link));
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++)
        VEC_FREE(&w->owners[p]);
    sim_env_free(&w->env);
}

static struct world totals;

static void add_totals(const struct world *w)
{
    totals.n_kills += w->n_kills;
    totals.n_stops += w->n_stops;
    totals.n_pauses += w->n_pauses;
    totals.n_cuts += w->n_cuts;
    totals.n_hints += w->n_hints;
    totals.n_claims += w->n_claims;
    totals.n_packets += w->n_packets;
    totals.n_samples += w->n_samples;
}

static struct world *current;

static void abandon(void)
{
    tear_down(current);
    free(current);
}

static void run(uint64_t seed, int mutation, bool trace)
{
    struct world *w = current = xcalloc(1, sizeof(*w));
    w->seed = seed;
    w->mutation = membership_mutation = (enum membership_mutation)mutation;
    w->trace = trace;
    build(w);
    sim_checks_start(w);
    run_until(w, sim_below(w, 8000));
    sim_faults_start(w);
    run_until(w, sim_now(w) + CHAOS_MS);
    sim_heal(w);
    run_until(w, sim_now(w) + QUIET_MS);
    sim_check_end(w);
    add_totals(w);
    abandon();
}

/* ---- the program ---- */

static void passed(uint64_t seeds)
{
    printf(
        "%llu seeds passed: %llu kills, %llu orderly stops, %llu pauses, %llu cuts, %llu hints, %llu claims, "
        "%llu messages, %llu looks at everything\n",
        (unsigned long long)seeds, (unsigned long long)totals.n_kills, (unsigned long long)totals.n_stops,
        (unsigned long long)totals.n_pauses, (unsigned long long)totals.n_cuts,
        (unsigned long long)totals.n_hints, (unsigned long long)totals.n_claims,
        (unsigned long long)totals.n_packets, (unsigned long long)totals.n_samples);
}

int main(int argc, char **argv)
{
    static const struct seeds_mutation mutations[] = {
        {MEMBERSHIP_MUT_OWN_GAPS, "own gaps count as silence of the others (B8)"},
        {MEMBERSHIP_MUT_OLD_GENERATION, "a lower generation overrides (F-3)"},
        {MEMBERSHIP_MUT_ANY_MENTION, "any mention of a node is a sign of its life"},
        {MEMBERSHIP_MUT_RELAYED_AGE, "relayed news are taken for new"},
        {MEMBERSHIP_MUT_NO_SUSPECT, "no suspect interval"},
        {MEMBERSHIP_MUT_LATE_NEWS, "news from before its end bring back a process that is gone"},
        {MEMBERSHIP_MUT_DEAF, "nodes that hear nobody count as alive"},
        {MEMBERSHIP_MUT_LAST_CLAIM, "the last claim leads, not the highest epoch"},
        {MEMBERSHIP_MUT_KEEP_ABSENT, "partitions that moved away are not forgotten"},
    };
    static const struct seeds_program program = {.source = "sim/membership_sim.c",
                                                 .run = run,
                                                 .abandon = abandon,
                                                 .passed = passed,
                                                 .mutations = mutations,
                                                 .n_mutations = ARRAY_LEN(mutations)};
    return seeds_main(&program, argc, argv);
}

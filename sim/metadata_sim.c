/* The simulator of the replicated metadata server: time, runs, options. See metadata_sim.h.
 *
 *   sim_metadata --seeds N [--first S]   N runs; the first failure ends the program and names its seed
 *   sim_metadata --seed S [--trace]      one run
 *   sim_metadata --mutations [--seeds N] breaks one rule after the other; each must be found within N seeds
 *
 * A run: a cluster of 1, 3 or 5 nodes comes up, clients work on a few keys while things go wrong, then
 * everything heals and must work again; invariants are checked all the time, the history at the end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/metadata_sim.h"
#include "sim/seeds.h"

#define CHAOS_MS 12000u
#define HEAL_MS  5000u /* until everything works again (spec V-1) */
#define QUIET_MS 6000u /* and the rest is checked */

void sim_fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    seeds_fail(w->seed, w->env.mono_ms, fmt, args);
}

void sim_trace(struct world *w, const char *fmt, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%8llu ", (unsigned long long)w->env.mono_ms);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void sim_enter(struct world *w, struct sim_env *env)
{
    ASSERT(env->mono_ms <= w->env.mono_ms);
    env->mono_ms = w->env.mono_ms;
}

void sim_leave(struct world *w, struct sim_node *n, struct sim_env *env)
{
    sim_env_run(env);
    if (n)
        sim_check_node(n);
}

/* ---- time: the next thing to happen anywhere ---- */

static uint64_t next_of(const struct sim_env *e)
{
    struct heap_node *n = heap_min(&e->timers);
    return n ? n->key : UINT64_MAX;
}

static void run_node(struct world *w, struct sim_node *n)
{
    sim_enter(w, &n->env);
    sim_env_next(&n->env, 0);
    sim_check_node(n);
}

static bool step(struct world *w, uint64_t until)
{
    uint64_t at = next_of(&w->env);
    struct sim_node *node = NULL;
    struct sim_client *client = NULL;
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        uint64_t t = MAX(next_of(&n->env), w->env.mono_ms);
        if (n->alive && !n->paused && heap_min(&n->env.timers) && t < at) {
            at = t;
            node = n;
        }
    }
    for (uint32_t i = 0; i < w->n_clients; i++) {
        uint64_t t = next_of(&w->clients[i].env);
        if (t < at) {
            at = t;
            client = &w->clients[i];
        }
    }
    if (at > until)
        return false;
    if (!node && !client)
        return sim_env_next(&w->env, at - MIN(at, w->env.mono_ms));
    w->env.mono_ms = MAX(at, w->env.mono_ms);
    if (client) {
        sim_enter(w, &client->env);
        sim_env_next(&client->env, 0);
    } else {
        run_node(w, node);
    }
    return true;
}

static void run_until(struct world *w, uint64_t until)
{
    while (step(w, until))
        ;
    w->env.mono_ms = until;
}

/* ---- a run ---- */

static void choose_options(struct world *w)
{
    raft_server_options_default(&w->options);
    w->options.cluster_name = CLUSTER_NAME;
    w->options.replace_lost_storage = sim_chance(w, 400);
    struct raft_options *r = &w->options.raft;
    /* Small, so that snapshots, parts and limits happen. */
    r->trim_entries = 3 + (uint32_t)sim_below(w, 60);
    r->trim_bytes = 500 + sim_below(w, 20000);
    r->message_bytes = 40 + sim_below(w, 4000);
    r->in_flight_bytes = 200 + sim_below(w, 8000);
    r->uncommitted_bytes = 4000 + sim_below(w, 20000);
    if (sim_chance(w, 300)) {
        r->heartbeat_ms = 20 + (uint32_t)sim_below(w, 150);
        r->election_ms = r->heartbeat_ms * (3 + (uint32_t)sim_below(w, 4));
    }
}

static void build(struct world *w)
{
    static const uint32_t sizes[] = {1, 3, 3, 5};
    sim_env_init(&w->env, w->seed);
    w->ops = xcalloc(OPS_MAX, sizeof(*w->ops));
    sim_net_init(w);
    choose_options(w);
    w->n_start = sizes[sim_below(w, ARRAY_LEN(sizes))];
    w->n_nodes = MIN(w->n_start + (uint32_t)sim_below(w, 3), NODES_MAX);
    w->n_clients = 3 + (uint32_t)sim_below(w, 3);
    w->delay_ms = 3;
    for (uint32_t i = 0; i < w->n_nodes; i++)
        sim_node_init(w, i);
    for (uint32_t i = 0; i < w->n_start; i++)
        sim_node_boot(&w->nodes[i]);
    for (uint32_t i = 0; i < w->n_clients; i++)
        sim_client_init(w, i, sim_chance(w, 400) ? (int)sim_below(w, w->n_start) : -1);
}

static void tear_down(struct world *w)
{
    for (uint32_t i = 0; i < w->n_nodes; i++)
        if (w->nodes[i].world)
            sim_node_free(&w->nodes[i]);
    for (uint32_t i = 0; i < w->n_clients; i++)
        if (w->clients[i].world)
            sim_client_free(&w->clients[i]);
    sim_net_free(w);
    for (uint32_t i = 0; i < w->n_ops; i++)
        bytes_unref(&w->ops[i].op.value);
    free(w->ops);
    VEC_FREE(&w->log);
    VEC_FREE(&w->leaders);
    sim_env_free(&w->env);
}

static struct world totals;

static void add_totals(const struct world *w)
{
    totals.n_done += w->n_done;
    totals.n_undecided += w->n_undecided;
    totals.n_crashes += w->n_crashes;
    totals.n_wipes += w->n_wipes;
    totals.n_restores += w->n_restores;
    totals.n_changes += w->n_changes;
    totals.n_refused += w->n_refused;
    totals.n_transfers += w->n_transfers;
}

static void run(uint64_t seed, int mutation, bool trace)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->seed = seed;
    w->mutation = (enum sim_mutation)mutation;
    w->trace = trace;
    raft_mutation = mutation < SIM_MUT_DISK_LIES ? (enum raft_mutation)mutation : RAFT_MUT_NONE;
    build(w);
    run_until(w, 800);
    sim_faults_start(w);
    run_until(w, 800 + CHAOS_MS);
    sim_heal(w);
    run_until(w, w->env.mono_ms + HEAL_MS);
    for (uint32_t i = 0; i < w->n_clients; i++)
        w->clients[i].ok_ms = MAX(w->clients[i].ok_ms, 1);
    run_until(w, w->env.mono_ms + QUIET_MS);
    sim_check_end(w);
    sim_check_history(w);
    add_totals(w);
    tear_down(w);
    free(w);
}

/* ---- the program ---- */

static void passed(uint64_t seeds)
{
    printf(
        "%llu seeds passed: %llu operations done, %llu undecided or not done, %llu crashes, %llu lost disks, "
        "%llu snapshots restored, %llu membership changes, %llu joins refused, %llu orderly stops\n",
        (unsigned long long)seeds, (unsigned long long)totals.n_done, (unsigned long long)totals.n_undecided,
        (unsigned long long)totals.n_crashes, (unsigned long long)totals.n_wipes,
        (unsigned long long)totals.n_restores, (unsigned long long)totals.n_changes,
        (unsigned long long)totals.n_refused, (unsigned long long)totals.n_transfers);
}

int main(int argc, char **argv)
{
    static const struct seeds_mutation mutations[] = {
        {RAFT_MUT_COMMIT_OLD_TERM, "commit entries of earlier terms by counting"},
        {RAFT_MUT_READ_UNCONFIRMED, "reads without a round"},
        {RAFT_MUT_ACK_EARLY, "acknowledge before the disk"},
        {RAFT_MUT_VOTE_EARLY, "vote before the disk"},
        {RAFT_MUT_CHANGE_ANYTIME, "membership changes at any time"},
        {SIM_MUT_DISK_LIES, "a disk that lies about syncing"},
        {SIM_MUT_WIPED_KEEPS_ID, "a wiped member keeps its id"},
        {SIM_MUT_TIMEOUT_IS_NO, "a client takes undecided for no"},
        {SIM_MUT_LOCAL_READS, "reads from the local copy"},
        {SIM_MUT_OTHER_CLUSTER, "messages of another cluster"},
    };
    static const struct seeds_program program = {.source = "sim/metadata_sim.c",
                                                 .run = run,
                                                 .passed = passed,
                                                 .mutations = mutations,
                                                 .n_mutations = ARRAY_LEN(mutations)};
    return seeds_main(&program, argc, argv);
}

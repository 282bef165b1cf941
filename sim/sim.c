/* The simulator: `sim --seeds N --seed S --ticks T`. Runs seeds S..S+N-1; a failing one prints what is wrong
 * and how to repeat it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sim/sim_world.h"

#define HEAL_BUDGET_MS 600000u

void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "seed %lu, %lu ms: %s: ", (unsigned long)w->options.seed, (unsigned long)w->env.mono_ms,
            what);
    vfprintf(stderr, fmt, args);
    fprintf(stderr,
            "\nrepeat: sim --seed %lu --seeds 1 --ticks %lu --partitions %u --nodes %u --objects %u "
            "--requests %u%s%s\n",
            (unsigned long)w->options.seed, (unsigned long)w->options.ticks, w->options.partitions,
            w->options.nodes, w->options.objects, w->options.requests,
            w->options.faults ? "" : " --no-faults", w->options.scopes ? " --scopes" : " --no-scopes");
    va_end(args);
    abort();
}

bool sim_chance(struct sim_world *w, uint32_t per_thousand)
{
    return w->faulty && sim_env_below(&w->env, 1000) < per_thousand;
}

uint32_t sim_partition_of(struct sim_world *w, uint64_t key)
{
    uint32_t i = 0;
    while (w->partitions[i].key_end < key)
        i++;
    return i;
}

static void partition_ranges(struct sim_world *w)
{
    uint64_t share = UINT64_MAX / w->options.partitions, start = 0;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct sim_partition *p = &w->partitions[i];
        p->leader = -1;
        p->key_start = start;
        p->key_end = i + 1 == w->options.partitions ? UINT64_MAX : start + share;
        start = p->key_end + 1;
    }
}

/* Appends are refused for a while, commits get slow, clocks jump forward. */
static void disturb(struct sim_world *w)
{
    static const enum rc refusals[] = {RC_OK, RC_OK, RC_NO_SPACE, RC_OVERLOADED};
    if (sim_chance(w, 20))
        sim_logs_refuse(w->logs, refusals[sim_env_below(&w->env, ARRAY_LEN(refusals))]);
    if (sim_chance(w, 20))
        sim_logs_set_latency(w->logs, sim_env_below(&w->env, 30));
    if (sim_chance(w, 2))
        w->env.wall_base_ms += sim_env_below(&w->env, 1000);
}

static void heal(struct sim_world *w)
{
    w->faulty = false;
    sim_logs_refuse(w->logs, RC_OK);
    sim_logs_set_latency(w->logs, 2);
}

static void step(struct sim_world *w)
{
    sim_env_advance(&w->env, 1 + sim_env_below(&w->env, 10));
    sim_nodes_tick(w);
    disturb(w);
    sim_operator_tick(w);
    sim_limits_tick(w);
    sim_kafka_tick(w);
    sim_env_run(&w->env);
    sim_check_tick(w);
}

static void run(const struct sim_options *options)
{
    struct sim_world *w = xcalloc(1, sizeof(*w));
    w->options = *options;
    w->faulty = options->faults;
    w->access = &sim_leader_access;
    sim_env_init(&w->env, options->seed);
    w->logs = sim_logs_new(&w->env, options->partitions);
    partition_ranges(w);
    w->take_over = sim_env_below(&w->env, 2);
    sim_kafka_start(w);
    sim_nodes_start(w);
    sim_outside_start(w);
    sim_clients_start(w);
    while (w->env.mono_ms < options->ticks)
        step(w);
    heal(w);
    uint64_t healed_at = w->env.mono_ms;
    while (!sim_quiescent(w)) {
        step(w);
        if (w->env.mono_ms <= healed_at + HEAL_BUDGET_MS)
            continue;
        sim_print_open(w);
        sim_fail(w, "no progress", "%zu of %zu requests answered %u ms after the faults healed",
                 w->clients_done, w->n_clients, HEAL_BUDGET_MS);
    }
    sim_check_final(w);
    if (options->verbose)
        printf("seed %lu: %zu requests, %lu operations, %lu attempts (%lu failed), %lu suspensions, %lu "
               "crashes, %lu leaderships, "
               "%lu snapshots, %lu restored, %lu ms to heal, %zu rule books, up to %zu held\n",
               (unsigned long)options->seed, w->n_clients, (unsigned long)w->operations,
               (unsigned long)w->attempts, (unsigned long)w->attempt_failures, (unsigned long)w->suspensions,
               (unsigned long)w->crashes, (unsigned long)w->leader_changes, (unsigned long)w->snapshots_made,
               (unsigned long)w->restored, (unsigned long)(w->env.mono_ms - healed_at), w->books.len,
               w->most_held);
    sim_clients_stop(w);
    sim_outside_stop(w);
    sim_kafka_stop(w);
    sim_nodes_stop(w);
    sim_kafka_free(w);
    sim_logs_free(w->logs);
    for (uint32_t i = 0; i < options->partitions; i++)
        VEC_FREE(&w->partitions[i].hashes);
    sim_limits_free(w);
    sim_env_free(&w->env);
    free(w);
}

static uint64_t number(const char *name, const char *value, uint64_t min, uint64_t max)
{
    char *end = NULL;
    uint64_t n = value ? strtoull(value, &end, 10) : 0;
    if (!value || *end || n < min || n > max) {
        fprintf(stderr, "%s needs a number from %lu to %lu\n", name, (unsigned long)min, (unsigned long)max);
        exit(2);
    }
    return n;
}

static void run_one(struct sim_options one, int scopes)
{
    /* Not given: from the seed. */
    one.partitions = one.partitions ? one.partitions : 1 + (uint32_t)(one.seed % 4);
    one.nodes = one.nodes ? one.nodes : 1 + (uint32_t)(one.seed / 4 % SIM_MAX_NODES);
    one.scopes = scopes < 0 ? one.seed % 2 == 1 : scopes == 1;
    run(&one);
}

#ifdef LIMITS_MUTATIONS
#include <sys/wait.h>
#include <unistd.h>

#include "partition/limits_mutations.h"

enum limits_mutation limits_mutation;

/* In a process of its own, because what finds a broken rule ends the process. */
static bool found_in(const struct sim_options *o, uint64_t seed, enum limits_mutation mutation,
                     char line[200])
{
    int ends[2], status = 0;
    if (pipe(ends) != 0)
        exit(2);
    pid_t child = fork();
    if (child == 0) {
        struct sim_options one = *o;
        limits_mutation = mutation;
        one.seed = seed;
        dup2(ends[1], STDERR_FILENO);
        run_one(one, 1);
        _exit(0);
    }
    close(ends[1]);
    FILE *f = fdopen(ends[0], "r");
    char text[200];
    line[0] = 0;
    while (f && fgets(text, sizeof(text), f))
        if (!line[0] || strncmp(text, "seed ", 5) == 0)
            memcpy(line, text, sizeof(text));
    if (f)
        fclose(f);
    waitpid(child, &status, 0);
    line[strcspn(line, "\n")] = 0;
    return status != 0;
}

static int run_mutations(const struct sim_options *o, uint64_t seeds)
{
    static const char *const names[] = {
        [LIMITS_MUT_SUSPENDED_KEEPS] = "a suspended invocation keeps its slot",
        [LIMITS_MUT_LEVEL2_FREE] = "counters of the second level never are full",
        [LIMITS_MUT_NOBODY_NEXT] = "a slot that becomes free is given to nobody",
        [LIMITS_MUT_RULES_LATER] = "new rules do not reach the counters that exist",
        [LIMITS_MUT_DROPPED_WAITS] = "one that is dropped while it is held goes on waiting",
        [LIMITS_MUT_RANK] = "the least literal pattern wins",
        [LIMITS_MUT_ORDER_LOST] = "what is read back stands in another order",
        [LIMITS_MUT_SLOT_LOST] = "what is read back as running is not counted",
        [LIMITS_MUT_STAYS_PAUSED] = "a queue that is resumed goes on waiting",
        [LIMITS_MUT_PAUSE_LOST] = "paused queues are not read back",
    };
    int missed = 0;
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        char line[200] = "";
        uint64_t seed = o->seed;
        while (seed < o->seed + seeds && !found_in(o, seed, (enum limits_mutation)i, line))
            seed++;
        bool found = seed < o->seed + seeds;
        printf("%s %s%s%s\n", found ? "found " : "MISSED", names[i], found ? ": " : "", line);
        fflush(stdout);
        missed += !found;
    }
    return missed ? 1 : 0;
}
#endif

int main(int argc, char **argv)
{
    struct sim_options o = {.seed = 1, .ticks = 3000, .objects = 5, .requests = 100, .faults = true};
    uint64_t seeds = 20;
    int scopes = -1; /* every other seed */
#ifdef LIMITS_MUTATIONS
    bool mutations =
        false; /* break one rule of the limits after the other: each must be found within the seeds */
#endif
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--no-faults") == 0) {
            o.faults = false;
            continue;
        }
        if (strcmp(a, "--scopes") == 0 || strcmp(a, "--no-scopes") == 0) {
            scopes = a[2] == 's';
            continue;
        }
#ifdef LIMITS_MUTATIONS
        if (strcmp(a, "--mutations") == 0) {
            mutations = true;
            continue;
        }
#endif
        if (strcmp(a, "--verbose") == 0) {
            o.verbose = true;
            continue;
        }
        if (strcmp(a, "--seeds") == 0)
            seeds = number(a, v, 1, UINT32_MAX);
        else if (strcmp(a, "--seed") == 0)
            o.seed = number(a, v, 0, UINT64_MAX);
        else if (strcmp(a, "--ticks") == 0)
            o.ticks = number(a, v, 1, UINT32_MAX);
        else if (strcmp(a, "--partitions") == 0)
            o.partitions = (uint32_t)number(a, v, 1, SIM_MAX_PARTITIONS);
        else if (strcmp(a, "--nodes") == 0)
            o.nodes = (uint32_t)number(a, v, 1, SIM_MAX_NODES);
        else if (strcmp(a, "--objects") == 0)
            o.objects = (uint32_t)number(a, v, 1, 1000);
        else if (strcmp(a, "--requests") == 0)
            o.requests = (uint32_t)number(a, v, 2, 1000000);
        else {
            fprintf(stderr, "usage: sim [--seeds N] [--seed FIRST] [--ticks MS] [--partitions N] [--nodes N] "
                            "[--objects N] [--requests N]\n"
                            "           [--no-faults] [--scopes | --no-scopes] [--verbose]\n");
            return 2;
        }
        i++;
    }
    struct err err = {0};
    log_set_filter("error", &err);
#ifdef LIMITS_MUTATIONS
    if (mutations)
        return run_mutations(&o, seeds);
#endif
    uint64_t first = o.seed;
    for (uint64_t i = 0; i < seeds; i++) {
        struct sim_options one = o;
        one.seed = first + i;
        run_one(one, scopes);
    }
    printf("%lu seeds from %lu: ok\n", (unsigned long)seeds, (unsigned long)first);
    return 0;
}

/* The whole-cluster simulator: `sim_cluster --seeds N --seed S --nodes K`. N seeds from S on, each in a
 * process of its own; a failing one prints what is wrong and how to repeat it. */
#include "sim/cluster_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

#define HEAL_BUDGET_MS 60000u
#define WIDE_BUDGET_MS 20000u
#define JOBS_MAX       64u

struct csim *csim;

void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
{
    const struct csim_options *o = &csim->options;
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "seed %lu, %lu ms: %s: ", (unsigned long)o->seed, (unsigned long)(csim->now_us / 1000),
            what);
    vfprintf(stderr, fmt, args);
    fprintf(
        stderr,
        "\nrepeat: sim_cluster --seed %lu --seeds 1 --nodes %u --partitions %u --shards %u --replication %u "
        "--requests %u --objects %u --ticks %lu%s%s%s%s --trace\n",
        (unsigned long)o->seed, o->nodes, o->partitions, o->shards, o->replication, o->requests, o->objects,
        (unsigned long)o->ticks, o->faults ? "" : " --no-faults",
        o->snapshots ? " --snapshots" : " --no-snapshots", o->scenario ? " --scenario " : "",
        o->scenario ? o->scenario : "");
    va_end(args);
    csim_print_state();
    fflush(stderr);
    abort();
}

bool sim_chance(struct sim_world *w, uint32_t per_thousand)
{
    return csim_chance(per_thousand);
}

uint32_t sim_partition_of(struct sim_world *w, uint64_t key)
{
    uint32_t i = 0;
    while (w->partitions[i].key_end < key)
        i++;
    return i;
}

void csim_trace(const char *fmt, ...)
{
    if (!csim->options.trace)
        return;
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%9.3f ms  == ", (double)csim_now() / 1000);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
}

static void log_line(void *ctx, enum log_level level, struct slice line)
{
    const struct csim_process *p = csim->current_process;
    if (!csim->options.log_filter)
        return;
    const char *text = (const char *)line.ptr;
    fprintf(stderr, "%9.3f ms  n%u %.*s\n", (double)csim_now() / 1000, p ? p->host->index + 1 : 0,
            (int)(line.len > 28 ? line.len - 28 : line.len), line.len > 28 ? text + 28 : text);
}

/* Bounds as partition_map_new makes them. */
static void partition_ranges(struct sim_world *w)
{
    struct partition_map *m = partition_map_new(w->options.partitions);
    for (uint32_t i = 0; i < m->count; i++) {
        w->partitions[i].key_start = m->slots[i].key_start;
        w->partitions[i].key_end = m->slots[i].key_end;
    }
    partition_map_free(m);
}

static void run_until(uint64_t until_us)
{
    while (csim_step(until_us))
        csim_processes_look();
    csim_processes_look();
}

static void report(uint64_t healed_us)
{
    const struct csim_options *o = &csim->options;
    const struct sim_world *w = &csim->base;
    printf(
        "seed %lu: %u nodes, %u partitions, R %u: %zu requests, %lu attempts (%lu failed), %lu suspensions, ",
        (unsigned long)o->seed, o->nodes, o->partitions, o->replication, w->n_clients,
        (unsigned long)w->attempts, (unsigned long)w->attempt_failures, (unsigned long)w->suspensions);
    printf("%lu crashes, %lu stops, %lu pauses, %lu cuts, %u disks of log-servers and %u whole ones lost, "
           "%lu leaderships, %u snapshots "
           "kept, %u compared, "
           "%u restored, %u plans of operators, %lu steps of metadata, %lu iterations, %lu ms to heal\n",
           (unsigned long)csim->crashes, (unsigned long)csim->stops, (unsigned long)csim->pauses,
           (unsigned long)csim->cuts, csim->lost_logs - csim->lost_disks, csim->lost_disks,
           (unsigned long)csim->leaderships, csim->snapshots, csim->compared, csim->imports, csim->plans,
           (unsigned long)csim->metadata_steps, (unsigned long)csim->iterations,
           (unsigned long)((csim->now_us - healed_us) / 1000));
}

static void become_quiet(const char *since)
{
    uint64_t since_us = csim->now_us;
    char why[200];
    while (run_until(csim->now_us + 10000), !csim_quiescent(why, sizeof(why))) {
        if ((csim->now_us - since_us) % 500000 == 0)
            csim_trace("not quiet: %s", why);
        if (csim->now_us > since_us + HEAL_BUDGET_MS * 1000)
            sim_fail(&csim->base, "no progress", "%s %u ms after %s", why, HEAL_BUDGET_MS, since);
    }
}

static void run(const struct csim_options *o)
{
    csim = xcalloc(1, sizeof(*csim));
    csim->options = *o;
    csim->delay_us = 100;
    heap_init(&csim->events);
    list_init(&csim->conns);
    struct sim_world *w = &csim->base;
    sim_env_init(&w->env, o->seed);
    w->options = (struct sim_options){.seed = o->seed,
                                      .ticks = o->ticks,
                                      .partitions = o->partitions,
                                      .nodes = o->nodes,
                                      .objects = o->objects,
                                      .requests = o->requests,
                                      .faults = o->faults,
                                      .verbose = false};
    w->faulty = o->faults;
    w->retry_unknown = csim_mutated(CSIM_RETRY_UNKNOWN);
    partition_ranges(w);
    csim_mutate();
    csim_nodes_init();
    csim_clients_start();
    csim_operator_start();
    if (o->scenario)
        csim_scenario_start();
    else if (o->faults)
        csim_faults_start();
    for (uint64_t t = 0; t < o->ticks; t += 10)
        run_until(t * 1000);
    csim_heal();
    uint64_t healed_us = csim->now_us;
    char why[200];
    become_quiet("the faults have ended");
    uint64_t quiet_us = csim->now_us;
    while (!csim_logs_are_wide(why, sizeof(why))) {
        if (csim->now_us > quiet_us + WIDE_BUDGET_MS * 1000)
            sim_fail(w, "A-7", "%s %u ms after all was quiet", why, WIDE_BUDGET_MS);
        run_until(csim->now_us + 10000);
    }
    become_quiet("the logs are wide"); /* leaders may have moved meanwhile */
    csim_check_final();
    if (o->verbose)
        report(healed_us);
}

/* ---- command line ---- */

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

static void fill_from_seed(struct csim_options *o)
{
    uint64_t s = o->seed;
    o->nodes = o->nodes ? o->nodes : s % 3 == 2 ? 5 : 3;
    o->partitions = o->partitions ? o->partitions : 1 + (uint32_t)(s / 3 % 4);
    if (o->snapshots < 0)
        o->snapshots = s / 7 % 2 == 0;
    o->shards = o->shards ? o->shards : 1 + (uint32_t)(s / 5 % 2);
    if (!o->replication)
        o->replication = o->nodes == 5 && s % 2 ? 3 : 2;
}

static bool parse(int argc, char **argv, struct csim_options *o, uint64_t *seeds, uint64_t *jobs)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--no-faults") == 0) {
            o->faults = false;
            continue;
        }
        if (strcmp(a, "--snapshots") == 0 || strcmp(a, "--no-snapshots") == 0) {
            o->snapshots = strcmp(a, "--snapshots") == 0;
            continue;
        }
        if (strcmp(a, "--verbose") == 0) {
            o->verbose = true;
            continue;
        }
        if (strcmp(a, "--trace") == 0) {
            o->trace = true;
            continue;
        }
        if (strcmp(a, "--mutations") == 0) {
            o->mutation = CSIM_MUTATIONS;
            continue;
        }
        i++;
        if (strcmp(a, "--seeds") == 0)
            *seeds = number(a, v, 1, UINT32_MAX);
        else if (strcmp(a, "--jobs") == 0)
            *jobs = number(a, v, 1, JOBS_MAX);
        else if (strcmp(a, "--seed") == 0)
            o->seed = number(a, v, 0, UINT64_MAX);
        else if (strcmp(a, "--ticks") == 0)
            o->ticks = number(a, v, 1, UINT32_MAX);
        else if (strcmp(a, "--nodes") == 0)
            o->nodes = (uint32_t)number(a, v, 1, CSIM_NODES_MAX);
        else if (strcmp(a, "--partitions") == 0)
            o->partitions = (uint32_t)number(a, v, 1, CSIM_PARTITIONS_MAX);
        else if (strcmp(a, "--shards") == 0)
            o->shards = (uint32_t)number(a, v, 1, CSIM_PARTITIONS_MAX);
        else if (strcmp(a, "--replication") == 0)
            o->replication = (uint32_t)number(a, v, 1, CSIM_NODES_MAX);
        else if (strcmp(a, "--requests") == 0)
            o->requests = (uint32_t)number(a, v, 2, 100000);
        else if (strcmp(a, "--objects") == 0)
            o->objects = (uint32_t)number(a, v, 1, 1000);
        else if (strcmp(a, "--scenario") == 0 && v && csim_scenario_known(v))
            o->scenario = v;
        else if (strcmp(a, "--check") == 0 && v)
            o->check = v;
        else if (strcmp(a, "--log") == 0 && v)
            o->log_filter = v;
        else
            return false;
    }
    return true;
}

/* Seeds run in children: what a simulated crash leaves behind is gone with them. */
struct children {
    unsigned running, at_most;
    uint64_t failed;
    const char *check; /* of a mutation: failures of others are not counted */
    struct {
        pid_t pid; /* 0: free */
        uint64_t seed;
        FILE *says; /* of a mutation: what it complains of */
    } who[JOBS_MAX];
};

/* The first line names the check that failed. */
static bool complains_of(FILE *says, const char *check)
{
    char line[512] = "", wanted[16];
    rewind(says);
    bool any = fgets(line, sizeof(line), says) != NULL;
    snprintf(wanted, sizeof(wanted), "%s%s", check, check[0] ? ":" : "");
    return any && strstr(line, wanted);
}

static void wait_for_one(struct children *c)
{
    int status;
    pid_t ended = wait(&status);
    ASSERT(ended > 0);
    c->running--;
    unsigned i = 0;
    while (c->who[i].pid != ended)
        i++;
    c->who[i].pid = 0;
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (c->check) {
        c->failed += !ok && complains_of(c->who[i].says, c->check);
        fclose(c->who[i].says);
        return;
    }
    c->failed += !ok;
    if (!ok)
        fprintf(stderr, "seed %lu has failed\n", (unsigned long)c->who[i].seed);
}

static void run_apart(struct children *c, const struct csim_options *o)
{
    while (c->running >= c->at_most)
        wait_for_one(c);
    fflush(NULL);
    FILE *says = c->check ? tmpfile() : NULL;
    ASSERT(!c->check || says);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        if (says && dup2(fileno(says), STDERR_FILENO) < 0)
            quick_exit(1);
        run(o);
        fflush(NULL);
        quick_exit(0);
    }
    unsigned i = 0;
    while (c->who[i].pid)
        i++;
    c->who[i].pid = child;
    c->who[i].seed = o->seed;
    c->who[i].says = says;
    c->running++;
}

/* Until a seed shows that the rule is missing; false: none of `seeds`. */
static bool noticed(struct csim_options o, const struct csim_mutant *m, uint64_t seeds, unsigned jobs)
{
    struct children c = {.at_most = jobs, .check = m->check};
    uint64_t i = 0;
    for (; i < seeds && !c.failed; i++) {
        struct csim_options one = o;
        one.mutation = m->mutation;
        one.seed = o.seed + i;
        fill_from_seed(&one);
        run_apart(&c, &one);
    }
    while (c.running)
        wait_for_one(&c);
    printf("%-5s %-78s %s after %lu seeds\n", m->check, m->name, c.failed ? "noticed" : "NOT NOTICED",
           (unsigned long)i);
    fflush(stdout);
    return c.failed > 0;
}

static int run_mutations(const struct csim_options *o, uint64_t seeds, unsigned jobs)
{
    bool all = true;
    size_t n;
    const struct csim_mutant *m = csim_mutants(&n);
    for (size_t i = 0; i < n; i++) {
        if (!o->check || strcmp(o->check, m[i].check) == 0)
            all &= noticed(*o, &m[i], seeds, jobs);
    }
    return all ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct csim_options o = {.seed = 1,
                             .ticks = 20000,
                             .requests = 60,
                             .objects = 5,
                             .faults = true,
                             .snapshots = -1,
                             .log_filter = NULL};
    struct children children = {.at_most = 1};
    uint64_t seeds = 20, jobs = 1;
    if (!parse(argc, argv, &o, &seeds, &jobs)) {
        fprintf(stderr,
                "usage: sim_cluster [--seeds N] [--jobs N] [--seed FIRST] [--ticks MS] [--nodes 3|5] "
                "[--partitions N] "
                "[--shards N]\n            [--replication N] [--requests N] [--objects N] "
                "[--scenario g7|kill|stop|cut] [--mutations [--check M-1]] [--[no-]snapshots] [--no-faults] "
                "[--verbose] [--trace] "
                "[--log FILTER]\n");
        return 2;
    }
    struct err err = {0};
    log_configure(&(struct log_config){.format = LOG_COMPACT});
    if (log_set_filter(o.log_filter ? o.log_filter : "error", &err) != RC_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 2;
    }
    log_set_sink(log_line, NULL);
    uint64_t first = o.seed;
    children.at_most = (unsigned)jobs;
    if (o.mutation == CSIM_MUTATIONS)
        return run_mutations(&o, seeds, (unsigned)jobs);
    for (uint64_t i = 0; i < seeds; i++) {
        struct csim_options one = o;
        one.seed = first + i;
        fill_from_seed(&one);
        run_apart(&children, &one);
    }
    while (children.running)
        wait_for_one(&children);
    uint64_t failed = children.failed;
    if (failed)
        printf("%lu of %lu seeds from %lu failed\n", (unsigned long)failed, (unsigned long)seeds,
               (unsigned long)first);
    else
        printf("%lu seeds from %lu: ok\n", (unsigned long)seeds, (unsigned long)first);
    return failed ? 1 : 0;
}

/* Explores the small models of spec/cluster.md §11.3 (docs/conformance.md has the table).
 *
 *   sim_models                 the quick bounds, and every mutation
 *   sim_models --full          all bounds
 *   sim_models --model NAME    one model; --mutations: only those; --explain: print the steps to a violation
 */
#include "sim/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

static const struct model *const models[] = {&model_segment, &model_chain, &model_leadership, &model_raft,
                                             &model_snapshot};

static struct {
    bool full, mutations, explain;
    const char *model;
    uint64_t max_runs;
} options;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool wanted(const char *model)
{
    return !options.model || !strcmp(options.model, model);
}

static int explore_part(const struct model_part *p)
{
    struct explore x = {.explain = true, .max_runs = options.max_runs};
    double start = seconds();
    bool ok = explore_all(&x, p->run, (void *)p->ctx);
    printf("%-10s %-78s %s%llu schedules (%llu to the end), %llu states, %u choices deep, %.1f s\n", p->model,
           p->bound, x.stats.truncated ? "TRUNCATED " : "", (unsigned long long)x.stats.runs,
           (unsigned long long)x.stats.complete, (unsigned long long)x.stats.states, x.stats.depth,
           seconds() - start);
    if (!ok)
        printf("VIOLATED: %s\n", x.violation);
    fflush(stdout);
    explore_free(&x);
    return ok ? 0 : 1;
}

_Noreturn static void mutation_child(const struct model_mutation *m, const char *wrong)
{
    struct explore x = {.explain = options.explain, .max_runs = options.max_runs};
    if (explore_all(&x, m->run, (void *)m->ctx)) {
        printf("MISSED %s: %s (%llu schedules)\n", m->model, wrong, (unsigned long long)x.stats.runs);
        fflush(stdout);
        _exit(7);
    }
    printf("found  %s: %s: schedule %llu: %s\n", m->model, wrong, (unsigned long long)x.stats.runs,
           x.violation);
    fflush(stdout);
    _exit(0);
}

/* In a process of its own: a wrong may also be caught by an assertion of the core. */
static int explore_mutation(const struct model_mutation *m, const char *wrong)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0)
        mutation_child(m, wrong);
    ASSERT(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
        printf("found  %s: %s: an assertion of the core\n", m->model, wrong);
        return 0;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

static int run_model(const struct model *m)
{
    int failed = 0;
    for (size_t i = 0; i < m->n_parts && !options.mutations; i++) {
        if ((m->parts[i].quick || options.full) && wanted(m->parts[i].model))
            failed |= explore_part(&m->parts[i]);
    }
    for (size_t i = 0; i < m->n_mutations; i++) {
        if (wanted(m->mutations[i].model))
            failed |= explore_mutation(&m->mutations[i], m->wrong_name(m->mutations[i].wrong));
    }
    return failed;
}

static void quiet(void *ctx, enum log_level level, struct slice line) {}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--full"))
            options.full = true;
        else if (!strcmp(argv[i], "--mutations"))
            options.mutations = true;
        else if (!strcmp(argv[i], "--explain"))
            options.explain = true;
        else if (!strcmp(argv[i], "--model") && i + 1 < argc)
            options.model = argv[++i];
        else if (!strcmp(argv[i], "--max-runs") && i + 1 < argc)
            options.max_runs = strtoull(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "usage: see the head of sim/models.c\n"), 2;
    }
    log_set_sink(quiet, NULL);
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        failed |= run_model(models[i]);
    return failed;
}

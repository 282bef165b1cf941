/* The program of simulators (sim/seeds.h). */
#include "sim/seeds.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static bool expected; /* a mutation is to be found */
static char failure[512];
static jmp_buf failed;

void seeds_fail(uint64_t seed, uint64_t now_ms, const char *fmt, va_list args)
{
    vsnprintf(failure, sizeof(failure), fmt, args);
    if (expected)
        longjmp(failed, 1);
    fprintf(stderr, "seed %llu at %llu ms: %s\n", (unsigned long long)seed, (unsigned long long)now_ms,
            failure);
    exit(1);
}

static bool finds(const struct seeds_program *p, uint64_t seed, int mutation)
{
    if (setjmp(failed)) {
        if (p->abandon)
            p->abandon();
        return true;
    }
    p->run(seed, mutation, false);
    return false;
}

static int run_mutations(const struct seeds_program *p, uint64_t seeds)
{
    int missed = 0;
    expected = true;
    for (size_t i = 0; i < p->n_mutations; i++) {
        const struct seeds_mutation *m = &p->mutations[i];
        uint64_t seed = 1;
        while (seed <= seeds && !finds(p, seed, m->mutation))
            seed++;
        if (seed > seeds) {
            printf("MISSED %s\n", m->name);
            missed++;
        } else {
            printf("found  %s: seed %llu: %s\n", m->name, (unsigned long long)seed, failure);
        }
        fflush(stdout);
    }
    return missed ? 1 : 0;
}

static void quiet_log(void *ctx, enum log_level level, struct slice line) {}

int seeds_main(const struct seeds_program *p, int argc, char **argv)
{
    uint64_t seeds = 100, first = 1, one = 0;
    bool trace = false, mutations = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (!strcmp(argv[i], "--trace"))
            trace = true;
        else if (!strcmp(argv[i], "--mutations"))
            mutations = true;
        else if (!strcmp(argv[i], "--seeds"))
            seeds = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--first"))
            first = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--seed"))
            one = strtoull(value, NULL, 10), i++;
        else
            return fprintf(stderr, "usage: see the head of %s\n", p->source), 2;
    }
    log_set_sink(quiet_log, NULL);
    if (mutations)
        return run_mutations(p, seeds);
    if (one)
        first = one, seeds = 1;
    for (uint64_t s = first; s < first + seeds; s++)
        p->run(s, 0, trace);
    p->passed(seeds);
    return 0;
}

/* The program of simulators whose runs are told apart by a seed:
 *
 *   --seeds N [--first S]   N runs; the first failure ends the program and names its seed
 *   --seed S [--trace]      one run
 *   --mutations [--seeds N] breaks one rule after the other; each must be found within N seeds */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seeds_mutation {
    int mutation; /* 0 is none */
    const char *name;
};

struct seeds_program {
    const char *source; /* whose head says how it is used */
    void (*run)(uint64_t seed, int mutation, bool trace);
    void (*abandon)(void);          /* what a failed run has left is freed; NULL: it stays */
    void (*passed)(uint64_t seeds); /* tells what happened in them */
    const struct seeds_mutation *mutations;
    size_t n_mutations;
};

int seeds_main(const struct seeds_program *p, int argc, char **argv);
/* A check failed: ends the program, or the run if that was to be found. */
_Noreturn void seeds_fail(uint64_t seed, uint64_t now_ms, const char *fmt, va_list args);

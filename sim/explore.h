/* Exhaustive exploration of small models (spec/cluster.md §11.3): depth-first search over the choices of a
 * run. A run is a function that builds its world anew, drives the real cores and asks here for every
 * decision: which message arrives next, which is lost, who crashes. It is repeated, with the choices of
 * before, until all of them have been taken.
 *
 * Pruning: between two steps a run may say which state it is in. A state that was seen with the same budgets
 * has been explored, and the run ends. For a deterministic process the sequence of its inputs is its state,
 * so a hash of inputs is sound; where a state can be read, a hash of that merges more.
 *
 * One thread. 64-bit hashes: with n states the chance that two of them collide is n^2 / 2^65. */
#pragma once
#include "base/containers.h"
#include "base/hash.h"

struct explore_stats {
    uint64_t runs, states, steps; /* schedules; different states; choices made, repetitions included */
    uint64_t complete;            /* runs that came to their end; the others met a known state */
    unsigned depth;               /* the longest run */
    bool truncated;               /* ended by max_runs */
};

struct explore {
    uint64_t max_runs; /* 0: no bound */
    bool explain;      /* a run that failed is repeated and its steps are printed */
    bool tracing;      /* it is being repeated */
    struct explore_stats stats;
    char violation[512]; /* "": none */
    /* private */
    struct {
        struct explore_choice {
            unsigned of, at;
        } * items;
        size_t len, cap;
    } path;
    size_t depth, replay;
    uint64_t *seen;
    size_t seen_len, seen_cap;
    bool ended;
};

/* Runs until everything is explored or something is violated; true if nothing was. */
bool explore_all(struct explore *x, void (*run)(struct explore *x, void *ctx), void *ctx);
void explore_free(struct explore *x);

/* 0 .. n-1; n >= 1. With one possibility there is no choice. */
unsigned explore_choose(struct explore *x, unsigned n);
/* On the way to the first new choice: the state need not be computed, every step was taken before. */
static inline bool explore_repeating(const struct explore *x)
{
    return x->depth < x->replay || x->tracing;
}
/* True if the run may end here: this state was explored before, or something was violated. */
bool explore_seen(struct explore *x, uint64_t state);
/* Which of `n` options; -1 if there is none. */
static inline int explore_option(struct explore *x, size_t n)
{
    return n > 0 ? (int)explore_choose(x, (unsigned)n) : -1;
}
/* The next step of a run: which of its options, or -1 where the run ends (its state was explored before, or
 * nothing is left to happen). `hash` of the state and `options`, their number, are computed only if needed.
 */
#define EXPLORE_STEP(x, hash, options)                                                                       \
    (!explore_repeating(x) && explore_seen((x), (hash)) ? -1 : explore_option((x), (options)))
/* The first counts. The run goes on until it asks explore_over. */
void explore_violated(struct explore *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool explore_over(const struct explore *x)
{
    return x->violation[0] != 0;
}
/* A line about what happens, seen when a failed run is repeated. */
void explore_note(struct explore *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

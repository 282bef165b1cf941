/* A deterministic `struct env`: virtual time, seeded randomness, timers and deferred tasks run by hand. For
 * unit tests and the simulator; one thread, no system calls. */
#pragma once
#include "base/env.h"

struct sim_env {
    struct env env;
    uint64_t mono_ms;
    uint64_t wall_base_ms; /* wall clock = wall_base_ms + mono_ms; change it to make the clock jump */
    struct heap timers;
    struct list tasks;
    uint64_t rng[4];
};

void sim_env_init(struct sim_env *e, uint64_t seed);
/* Timers and tasks still armed are forgotten, as when a process dies. */
void sim_env_free(struct sim_env *e);
static inline struct env *sim_env_get(struct sim_env *e)
{
    return &e->env;
}

/* Run deferred tasks until there are none. More than a million in a row is a livelock: abort. */
void sim_env_run(struct sim_env *e);
/* Run, then let `ms` of virtual time pass, firing timers in order (each followed by its deferred tasks). */
void sim_env_advance(struct sim_env *e, uint64_t ms);
/* Jump to the next timer, if it is due within `max_ms`, and fire it. False if there was none: nothing has
 * happened. */
bool sim_env_next(struct sim_env *e, uint64_t max_ms);
uint64_t sim_env_random(struct sim_env *e);
/* 0 .. n-1 */
static inline uint64_t sim_env_below(struct sim_env *e, uint64_t n)
{
    return sim_env_random(e) % n;
}

/* The generator by itself: xoshiro256**, seeded through splitmix64. */
void sim_rng_seed(uint64_t state[4], uint64_t seed);
uint64_t sim_rng_next(uint64_t state[4]);

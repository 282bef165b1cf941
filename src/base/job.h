/* Blocking or lengthy work that must not run on a loop: a core hands a job to a runner and goes on when it is
 * told that the job is done. Real runners use threads (loop/workers.h); tests and the simulator run jobs in
 * the next deferred pass (job_runner_deferred), so that a core which uses them stays deterministic. */
#pragma once
#include "base/env.h"

/* Embedded in its owner, who neither touches what `work` uses nor frees it until `done`. */
struct job {
    void (*work)(struct job *j); /* somewhere else: must not touch loops or cores */
    void (*done)(struct job *j); /* on the loop that submitted it, never from inside job_submit */
    struct list link;            /* private to the runner */
    void *private_;
};

struct job_runner {
    void (*submit)(struct job_runner *r, struct job *j);
};
/* Jobs of one runner may run at the same time and end in any order. */
static inline void job_submit(struct job_runner *r, struct job *j)
{
    r->submit(r, j);
}

/* Runs `work` and `done` in the next deferred pass of `env`, in the order of submission. */
struct job_runner_deferred {
    struct job_runner base;
    struct env *env;
    struct env_task task;
    struct list jobs;
};
void job_runner_deferred_init(struct job_runner_deferred *r, struct env *env);
/* Jobs that wait are forgotten. */
void job_runner_deferred_free(struct job_runner_deferred *r);

/* The frame of an object store whose operations are jobs: submitting them, breaking them off, closing.
 * Private to the providers. */
#pragma once
#include <stdatomic.h>

#include "base/env.h"
#include "base/job.h"
#include "objects/object_store.h"

struct job_store {
    struct object_store base;
    /* In a job: sets op->rc and the results. The key is a valid name. */
    void (*work)(struct job_store *s, struct object_op *op);
    void (*destroy)(struct job_store *s); /* frees the whole, after job_store_release */
    _Atomic bool canceled;                /* jobs that have not begun do nothing */

    struct env *env;
    struct job_runner *runner; /* owned */
    size_t in_flight;
    struct env_task close_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
};
void job_store_init(struct job_store *s, struct env *env, struct job_runner *runner_take,
                    void (*work)(struct job_store *s, struct object_op *op),
                    void (*destroy)(struct job_store *s));
void job_store_release(struct job_store *s);

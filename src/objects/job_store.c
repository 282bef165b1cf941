/* Implementation of objects/job_store.h. */
#include "objects/job_store.h"

#include <stdlib.h>

struct store_job {
    struct job job;
    struct job_store *store;
    struct object_op *op;
};

static void work(struct job *j)
{
    struct store_job *sj = CONTAINER_OF(j, struct store_job, job);
    struct object_op *op = sj->op;
    if (atomic_load(&sj->store->canceled))
        op->rc = err_set(&op->err, RC_CANCELED, "the object store was closed");
    else if (op->kind != OBJECT_LIST && !object_key_is_valid(op->key))
        op->rc = err_set(&op->err, RC_INVALID, "bad name of an object: %s", op->key);
    else
        sj->store->work(sj->store, op);
}

static void close_run(struct env_task *t)
{
    struct job_store *s = CONTAINER_OF(t, struct job_store, close_task);
    void (*closed)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    s->destroy(s);
    closed(ctx);
}

static void done(struct job *j)
{
    struct store_job *sj = CONTAINER_OF(j, struct store_job, job);
    struct job_store *s = sj->store;
    struct object_op *op = sj->op;
    free(sj);
    s->in_flight--;
    op->done(op);
    if (s->closed && s->in_flight == 0)
        env_defer(s->env, &s->close_task);
}

static void submit(struct object_store *base, struct object_op *op)
{
    struct job_store *s = CONTAINER_OF(base, struct job_store, base);
    ASSERT(!s->closed);
    struct store_job *sj = xcalloc(1, sizeof(*sj));
    sj->job.work = work;
    sj->job.done = done;
    sj->store = s;
    sj->op = op;
    object_op_reset_result(op);
    s->in_flight++;
    job_submit(s->runner, &sj->job);
}

static void close_store(struct object_store *base, void (*closed)(void *ctx), void *ctx)
{
    struct job_store *s = CONTAINER_OF(base, struct job_store, base);
    ASSERT(!s->closed);
    atomic_store(&s->canceled, true);
    s->closed = closed;
    s->closed_ctx = ctx;
    if (s->in_flight == 0)
        env_defer(s->env, &s->close_task);
}

static const struct object_store_ops ops = {.submit = submit, .close = close_store};

void job_store_init(struct job_store *s, struct env *env, struct job_runner *runner_take,
                    void (*work_fn)(struct job_store *s, struct object_op *op),
                    void (*destroy)(struct job_store *s))
{
    s->base.ops = &ops;
    s->env = env;
    s->runner = runner_take;
    s->work = work_fn;
    s->destroy = destroy;
    env_task_init(&s->close_task, close_run);
}

void job_store_release(struct job_store *s)
{
    free(s->runner);
}

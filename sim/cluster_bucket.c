/* The object store with the snapshots of the simulated cluster: one bucket that outlives every process, with
 * operations that are delayed, refused, lost and late. Each loop has a handle; what comes back comes by its
 * mailbox. */
#include <stdlib.h>

#include "objects/file_objects.h"
#include "objects/memory_objects.h"
#include "sim/cluster_sim.h"

struct handle {
    struct object_store base;
    struct loop *loop;
    struct object_store *inner;
    struct list out; /* struct forwarded.link */
    bool closed;     /* or about to be: its loop may not be there much longer */
    struct loop_msg close_msg;
    void (*close_done)(void *ctx);
    void *close_ctx;
};

/* An operation in the bucket; `outer` is the loop's. */
struct forwarded {
    struct list link;
    struct handle *handle;
    struct object_op op, *outer; /* NULL: nobody waits any more */
    struct loop_msg msg;
};

static enum object_fault random_fault(void *ctx, const struct object_op *op)
{
    return csim_chance(30) ? (enum object_fault)(1 + csim_below(4)) : OBJECT_FAULT_NONE;
}

static void forget(struct forwarded *f)
{
    list_remove(&f->link);
    object_op_release(&f->op);
    bytes_unref(&f->op.body);
    free((char *)f->op.key);
    free(f);
}

static void deliver(struct loop_msg *m)
{
    struct forwarded *f = CONTAINER_OF(m, struct forwarded, msg);
    struct object_op *outer = f->outer;
    if (!outer) {
        forget(f);
        return;
    }
    object_op_reset_result(outer);
    outer->rc = f->op.rc;
    outer->err = f->op.err;
    outer->content = f->op.content;
    outer->listed.items = f->op.listed.items;
    outer->listed.len = f->op.listed.len;
    outer->listed.cap = f->op.listed.cap;
    memcpy(outer->etag, f->op.etag, sizeof(outer->etag));
    f->op.content = BYTES_EMPTY;
    f->op.listed.items = NULL;
    f->op.listed.len = f->op.listed.cap = 0;
    forget(f);
    outer->done(outer);
}

static void bucket_done(struct object_op *op)
{
    struct forwarded *f = CONTAINER_OF(op, struct forwarded, op);
    f->msg.deliver = deliver;
    if (!f->handle->closed && csim_process_of(f->handle->loop)->alive)
        loop_post(f->handle->loop, &f->msg);
}

static void handle_submit(struct object_store *s, struct object_op *op)
{
    struct handle *h = CONTAINER_OF(s, struct handle, base);
    struct forwarded *f = xcalloc(1, sizeof(*f));
    f->handle = h;
    f->outer = op;
    f->op = (struct object_op){.kind = op->kind,
                               .key = xstrdup(op->key),
                               .body = bytes_ref(op->body),
                               .condition = op->condition,
                               .max_bytes = op->max_bytes,
                               .done = bucket_done};
    memcpy(f->op.etag, op->etag, sizeof(op->etag));
    list_init(&f->link);
    list_push_back(&h->out, &f->link);
    object_submit(h->inner, &f->op);
}

static void close_delivered(struct loop_msg *m)
{
    struct handle *h = CONTAINER_OF(m, struct handle, close_msg);
    LIST_FOREACH_SAFE(n, next, &h->out)
    {
        struct forwarded *f = CONTAINER_OF(n, struct forwarded, link);
        struct object_op *outer = f->outer;
        f->outer = NULL;
        if (!outer)
            continue;
        object_op_reset_result(outer);
        outer->rc = err_set(&outer->err, RC_CANCELED, "the store was closed");
        outer->done(outer);
    }
    h->close_done(h->close_ctx);
}

static void handle_close(struct object_store *s, void (*done)(void *ctx), void *ctx)
{
    struct handle *h = CONTAINER_OF(s, struct handle, base);
    h->closed = true;
    h->close_done = done;
    h->close_ctx = ctx;
    h->close_msg.deliver = close_delivered;
    loop_post(h->loop, &h->close_msg);
}

static struct object_store *open_handle(struct memory_objects *bucket, struct loop *loop)
{
    static const struct object_store_ops ops = {handle_submit, handle_close};
    struct handle *h = xcalloc(1, sizeof(*h));
    h->base.ops = &ops;
    h->loop = loop;
    h->inner = memory_objects_open(bucket);
    list_init(&h->out);
    return &h->base;
}

struct object_store *__wrap_file_objects_new(struct env *env, struct job_runner *runner,
                                             const struct file_objects_config *config);
/* What is durable is the bucket; scratch space is of one loop. */
struct object_store *__wrap_file_objects_new(struct env *env, struct job_runner *runner,
                                             const struct file_objects_config *config)
{
    struct env *world = sim_env_get(&csim->base.env);
    struct memory_objects_hooks hooks = {
        .fault = random_fault, .changed = csim_bucket_changed, .max_delay_ms = 10, .late_ms = 1000};
    if (!config->durable)
        return memory_objects_open(memory_objects_new(env, NULL));
    if (!csim->bucket)
        csim->bucket = memory_objects_new(world, &hooks);
    return open_handle(csim->bucket, csim->current);
}

/* Watching a key-value store: see kv_watch.h. */
#include "metadata/kv_watch.h"

#include <stdlib.h>

struct kv_watch {
    struct kv base;
    struct kv *inner;
    void (*seen)(void *ctx, const struct kv_entry *entry);
    void *ctx;
    size_t in_progress;
    bool closed;
};

/* The operation that `inner` gets in place of the caller's. */
struct watched_op {
    struct kv_op op;
    struct kv_op *outer;
    struct kv_watch *watch;
    struct bytes put_value;
};

static void release(struct kv_watch *w)
{
    if (w->closed && w->in_progress == 0)
        free(w);
}

static void done(struct kv_op *op, const struct kv_result *r)
{
    struct watched_op *o = CONTAINER_OF(op, struct watched_op, op);
    struct kv_watch *w = o->watch;
    if (r->rc == RC_OK && op->kind == KV_GET)
        w->seen(w->ctx, &r->entry);
    if (r->rc == RC_OK && op->kind == KV_PUT) {
        struct kv_entry entry = {op->key, o->put_value, op->version};
        w->seen(w->ctx, &entry);
    }
    struct kv_op *outer = o->outer;
    bytes_unref(&o->put_value);
    free(o);
    w->in_progress--;
    outer->done(outer, r);
    release(w);
}

static void watch_submit(struct kv *kv, struct kv_op *outer)
{
    struct kv_watch *w = CONTAINER_OF(kv, struct kv_watch, base);
    struct watched_op *o = xcalloc(1, sizeof(*o));
    o->op = (struct kv_op){.kind = outer->kind,
                           .key = outer->key,
                           .value = outer->value,
                           .version = outer->version,
                           .precondition = outer->precondition,
                           .expected_version = outer->expected_version,
                           .done = done};
    o->put_value = bytes_ref(outer->value);
    outer->value = BYTES_EMPTY; /* consumed */
    o->outer = outer;
    o->watch = w;
    w->in_progress++;
    kv_submit(w->inner, &o->op);
}

static void watch_close(struct kv *kv)
{
    struct kv_watch *w = CONTAINER_OF(kv, struct kv_watch, base);
    w->in_progress++; /* the store may answer from inside kv_close */
    w->closed = true;
    kv_close(w->inner);
    w->in_progress--;
    release(w);
}

struct kv *kv_watch_new(struct kv *inner_take, void (*seen)(void *ctx, const struct kv_entry *entry),
                        void *ctx)
{
    static const struct kv_provider provider = {watch_submit, watch_close};
    struct kv_watch *w = xcalloc(1, sizeof(*w));
    w->base.provider = &provider;
    w->inner = inner_take;
    w->seen = seen;
    w->ctx = ctx;
    return &w->base;
}

/* What all object stores share: results of operations, names, and the store that repeats
 * (objects/object_store.h). */
#include "objects/object_store.h"

#include <stdlib.h>

#include "base/env.h"

void object_op_release(struct object_op *op)
{
    bytes_unref(&op->content);
    for (size_t i = 0; i < op->listed.len; i++)
        free(op->listed.items[i].key);
    VEC_FREE(&op->listed);
}

void object_op_reset_result(struct object_op *op)
{
    object_op_release(op);
    op->rc = RC_OK;
    op->err = (struct err){0};
}

void object_list_add(struct object_op *op, struct slice key, uint64_t size)
{
    struct object_info info = {slice_dup_cstr(key), size};
    VEC_PUSH(&op->listed, info);
}

static int info_cmp(const void *a, const void *b)
{
    return strcmp(((const struct object_info *)a)->key, ((const struct object_info *)b)->key);
}

void object_list_sort(struct object_op *op)
{
    if (op->listed.len)
        qsort(op->listed.items, op->listed.len, sizeof(*op->listed.items), info_cmp);
}

bool object_key_is_valid(const char *key)
{
    if (strlen(key) > OBJECT_KEY_MAX)
        return false;
    for (const char *p = key;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++) {
            if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
                return false;
        }
        if (!p[n])
            return true;
        p += n + 1;
    }
}

/* ---- retries ---- */

struct object_retry {
    struct object_store base;
    struct env *env;
    struct object_store *inner;
    struct object_retry_policy policy;
    struct list attempts; /* all that are not finished */
    bool closing, inner_closed;
    struct env_task task; /* finishes closing */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* One operation of a user and its present try. */
struct attempt {
    struct list link;
    struct object_retry *store;
    struct object_op op; /* given to the inner store */
    struct object_op *outer;
    struct env_timer timer;
    unsigned tries;
    uint64_t wait_ms;
};

static void close_when_empty(struct object_retry *r)
{
    if (r->closing && r->inner_closed && list_empty(&r->attempts))
        env_defer(r->env, &r->task);
}

static void attempt_finish(struct attempt *a)
{
    struct object_retry *r = a->store;
    struct object_op *outer = a->outer;
    env_timer_cancel(r->env, &a->timer);
    outer->rc = a->op.rc;
    outer->err = a->op.err;
    outer->content = a->op.content;
    outer->listed.items = a->op.listed.items;
    outer->listed.len = a->op.listed.len;
    outer->listed.cap = a->op.listed.cap;
    memcpy(outer->etag, a->op.etag, sizeof(outer->etag));
    list_remove(&a->link);
    free(a);
    outer->done(outer);
    close_when_empty(r);
}

static bool worth_another_try(const struct attempt *a)
{
    const struct object_op *op = &a->op;
    const struct object_retry_policy *p = &a->store->policy;
    if (a->store->closing || (p->max_attempts && a->tries >= p->max_attempts))
        return false;
    if (op->rc == RC_UNAVAILABLE)
        return true;
    return op->rc == RC_TIMEOUT && (op->kind != OBJECT_PUT || op->condition == OBJECT_ANY);
}

static void attempt_done(struct object_op *op)
{
    struct attempt *a = CONTAINER_OF(op, struct attempt, op);
    struct object_retry *r = a->store;
    if (!worth_another_try(a)) {
        attempt_finish(a);
        return;
    }
    env_timer_arm(r->env, &a->timer, a->wait_ms);
    double next = (double)a->wait_ms * r->policy.factor;
    a->wait_ms = r->policy.max_ms && next > (double)r->policy.max_ms ? r->policy.max_ms : (uint64_t)next;
}

static void attempt_start(struct attempt *a)
{
    object_op_reset_result(&a->op);
    memcpy(a->op.etag, a->outer->etag, sizeof(a->op.etag));
    a->tries++;
    object_submit(a->store->inner, &a->op);
}

static void attempt_again(struct env_timer *t)
{
    attempt_start(CONTAINER_OF(t, struct attempt, timer));
}

static void retry_submit(struct object_store *base, struct object_op *op)
{
    struct object_retry *r = CONTAINER_OF(base, struct object_retry, base);
    ASSERT(!r->closing);
    struct attempt *a = xcalloc(1, sizeof(*a));
    a->store = r;
    a->outer = op;
    a->op.kind = op->kind;
    a->op.key = op->key;
    a->op.body = op->body;
    a->op.condition = op->condition;
    a->op.max_bytes = op->max_bytes;
    a->op.done = attempt_done;
    a->wait_ms = r->policy.initial_ms;
    env_timer_init(&a->timer, attempt_again);
    object_op_reset_result(op);
    list_push_back(&r->attempts, &a->link);
    attempt_start(a);
}

static void retry_free(struct env_task *t)
{
    struct object_retry *r = CONTAINER_OF(t, struct object_retry, task);
    void (*closed)(void *) = r->closed;
    void *ctx = r->closed_ctx;
    free(r);
    closed(ctx);
}

static void inner_closed(void *ctx)
{
    struct object_retry *r = ctx;
    r->inner_closed = true;
    /* What waits for its next try is over; the rest was answered by the inner store. */
    struct list waiting, *n;
    list_init(&waiting);
    list_splice(&waiting, &r->attempts);
    while ((n = list_pop_front(&waiting))) {
        struct attempt *a = CONTAINER_OF(n, struct attempt, link);
        err_set(&a->op.err, RC_CANCELED, "the object store was closed");
        a->op.rc = RC_CANCELED;
        attempt_finish(a);
    }
    close_when_empty(r);
}

static void retry_close(struct object_store *base, void (*done)(void *ctx), void *ctx)
{
    struct object_retry *r = CONTAINER_OF(base, struct object_retry, base);
    ASSERT(!r->closing);
    r->closing = true;
    r->closed = done;
    r->closed_ctx = ctx;
    LIST_FOREACH(n, &r->attempts)
    env_timer_cancel(r->env, &CONTAINER_OF(n, struct attempt, link)->timer);
    object_store_close(r->inner, inner_closed, r);
}

static const struct object_store_ops retry_ops = {.submit = retry_submit, .close = retry_close};

struct object_store *object_retry_new(struct env *env, struct object_store *inner,
                                      const struct object_retry_policy *policy)
{
    struct object_retry *r = xcalloc(1, sizeof(*r));
    r->base.ops = &retry_ops;
    r->env = env;
    r->inner = inner;
    r->policy = *policy;
    list_init(&r->attempts);
    env_task_init(&r->task, retry_free);
    return &r->base;
}

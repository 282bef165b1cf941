/* Implementation of objects/memory_objects.h. A request takes effect after a first delay and is answered
 * after a second one; a handle that is closed answers at once, but what was under way may still take effect.
 */
#include "objects/memory_objects.h"

#include <stdio.h>
#include <stdlib.h>

struct stored {
    struct omap_node node;
    char *key;
    struct bytes content;
    uint64_t version; /* the ETag */
};

struct memory_objects {
    struct env *env;
    struct memory_objects_hooks hooks;
    struct omap objects;
    struct list requests; /* all that have not taken effect, or are not answered */
    uint64_t next_version;
};

struct memory_handle {
    struct object_store base;
    struct memory_objects *bucket;
    struct env_task close_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct request {
    struct list link;
    struct memory_objects *bucket;
    struct memory_handle *handle;
    struct object_op *op; /* NULL: answered already, or nobody is there any more */
    enum object_op_kind kind;
    enum object_condition condition;
    enum object_fault fault;
    char *key;
    struct bytes body;
    char etag[OBJECT_ETAG_MAX];
    bool done; /* took effect */
    enum rc rc;
    struct env_timer timer;
};

static int stored_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return strcmp(CONTAINER_OF(a, struct stored, node)->key, CONTAINER_OF(b, struct stored, node)->key);
}

static int key_cmp(const void *key, const struct omap_node *n)
{
    return strcmp(key, CONTAINER_OF(n, struct stored, node)->key);
}

static struct stored *find(struct memory_objects *m, const char *key)
{
    struct omap_node *n = omap_find(&m->objects, key, key_cmp);
    return n ? CONTAINER_OF(n, struct stored, node) : NULL;
}

static void changed(struct memory_objects *m, const char *key, const struct bytes *content)
{
    if (m->hooks.changed)
        m->hooks.changed(m->hooks.ctx, key, content);
}

void memory_objects_poke(struct memory_objects *m, const char *key, struct bytes content_take)
{
    struct stored *o = find(m, key);
    if (!o) {
        o = xcalloc(1, sizeof(*o));
        o->key = xstrdup(key);
        omap_insert(&m->objects, &o->node);
    }
    bytes_unref(&o->content);
    o->content = content_take;
    o->version = ++m->next_version;
    changed(m, key, &o->content);
}

void memory_objects_remove(struct memory_objects *m, const char *key)
{
    struct stored *o = find(m, key);
    if (!o)
        return;
    omap_remove(&m->objects, &o->node);
    changed(m, key, NULL);
    bytes_unref(&o->content);
    free(o->key);
    free(o);
}

struct bytes memory_objects_peek(struct memory_objects *m, const char *key)
{
    struct stored *o = find(m, key);
    return o ? o->content : BYTES_EMPTY;
}

const char *memory_objects_next(struct memory_objects *m, const char *after)
{
    struct omap_node *n = after ? omap_lower_bound(&m->objects, after, key_cmp) : omap_first(&m->objects);
    if (n && after && strcmp(CONTAINER_OF(n, struct stored, node)->key, after) == 0)
        n = omap_next(n);
    return n ? CONTAINER_OF(n, struct stored, node)->key : NULL;
}

/* ---- effects ---- */

static void etag_of(const struct stored *o, char out[OBJECT_ETAG_MAX])
{
    snprintf(out, OBJECT_ETAG_MAX, "\"%llu\"", (unsigned long long)o->version);
}

static bool condition_holds(struct memory_objects *m, const struct request *q)
{
    struct stored *o = find(m, q->key);
    char etag[OBJECT_ETAG_MAX] = "";
    if (o)
        etag_of(o, etag);
    return q->condition == OBJECT_ANY || (q->condition == OBJECT_ABSENT && !o) ||
           (q->condition == OBJECT_MATCHES && o && strcmp(etag, q->etag) == 0);
}

static void do_get(struct request *q)
{
    struct stored *o = find(q->bucket, q->key);
    q->rc = !o ? RC_NOT_FOUND : o->content.len > q->op->max_bytes ? RC_TOO_LARGE : RC_OK;
    if (q->rc != RC_OK)
        return;
    etag_of(o, q->op->etag);
    q->op->content = bytes_ref(o->content);
}

static void do_put(struct request *q)
{
    if (!condition_holds(q->bucket, q)) {
        q->rc = RC_CONFLICT;
        return;
    }
    memory_objects_poke(q->bucket, q->key, bytes_ref(q->body));
    etag_of(find(q->bucket, q->key), q->etag);
}

static void do_list(struct request *q)
{
    struct omap_node *n = omap_lower_bound(&q->bucket->objects, q->key, key_cmp);
    for (; n; n = omap_next(n)) {
        struct stored *o = CONTAINER_OF(n, struct stored, node);
        if (strncmp(o->key, q->key, strlen(q->key)) != 0)
            break;
        object_list_add(q->op, slice_cstr(o->key), o->content.len);
    }
}

static void take_effect(struct request *q)
{
    q->done = true;
    if (q->fault == OBJECT_FAULT_REFUSED || q->fault == OBJECT_FAULT_LOST)
        return;
    if (q->kind == OBJECT_PUT)
        do_put(q);
    else if (q->kind == OBJECT_DELETE)
        memory_objects_remove(q->bucket, q->key);
    else if (q->op && q->kind == OBJECT_GET)
        do_get(q);
    else if (q->op)
        do_list(q);
}

static void request_free(struct request *q)
{
    env_timer_cancel(q->bucket->env, &q->timer);
    list_remove(&q->link);
    bytes_unref(&q->body);
    free(q->key);
    free(q);
}

static void answer(struct request *q, enum rc rc)
{
    struct object_op *op = q->op;
    q->op = NULL;
    if (rc != RC_OK && rc != RC_TOO_LARGE)
        object_op_reset_result(op); /* a read whose answer is lost returns nothing */
    op->rc = rc;
    if (rc != RC_OK)
        err_set(&op->err, rc, "object %s: %s", op->key, rc_name(rc));
    if (rc == RC_OK && op->kind == OBJECT_PUT)
        memcpy(op->etag, q->etag, sizeof(op->etag));
    if (q->done)
        request_free(q);
    op->done(op);
}

static uint64_t delay(struct memory_objects *m, uint64_t max_ms)
{
    return max_ms ? env_random(m->env) % (max_ms + 1) : 0;
}

static void request_step(struct env_timer *t)
{
    struct request *q = CONTAINER_OF(t, struct request, timer);
    struct memory_objects *m = q->bucket;
    if (q->fault == OBJECT_FAULT_LATE && q->op) {
        env_timer_arm(m->env, &q->timer, delay(m, m->hooks.late_ms));
        answer(q, RC_TIMEOUT);
        return;
    }
    if (!q->done) {
        take_effect(q);
        if (q->op)
            env_timer_arm(m->env, &q->timer, delay(m, m->hooks.max_delay_ms));
        else
            request_free(q); /* a late one */
        return;
    }
    answer(q, q->fault == OBJECT_FAULT_REFUSED ? RC_UNAVAILABLE
              : q->fault != OBJECT_FAULT_NONE  ? RC_TIMEOUT
                                               : q->rc);
}

/* ---- handles ---- */

static void memory_submit(struct object_store *base, struct object_op *op)
{
    struct memory_handle *h = CONTAINER_OF(base, struct memory_handle, base);
    struct memory_objects *m = h->bucket;
    ASSERT(op->kind == OBJECT_LIST || object_key_is_valid(op->key));
    object_op_reset_result(op);
    struct request *q = xcalloc(1, sizeof(*q));
    q->bucket = m;
    q->handle = h;
    q->op = op;
    q->kind = op->kind;
    q->condition = op->condition;
    q->key = xstrdup(op->key);
    q->body = bytes_ref(op->body);
    memcpy(q->etag, op->etag, sizeof(q->etag));
    q->fault = m->hooks.fault ? m->hooks.fault(m->hooks.ctx, op) : OBJECT_FAULT_NONE;
    env_timer_init(&q->timer, request_step);
    list_push_back(&m->requests, &q->link);
    env_timer_arm(m->env, &q->timer, delay(m, m->hooks.max_delay_ms));
}

static void close_run(struct env_task *t)
{
    struct memory_handle *h = CONTAINER_OF(t, struct memory_handle, close_task);
    LIST_FOREACH_SAFE(n, next, &h->bucket->requests)
    {
        struct request *q = CONTAINER_OF(n, struct request, link);
        if (q->handle != h)
            continue;
        q->handle = NULL;
        if (q->op)
            answer(q, RC_CANCELED);
    }
    void (*closed)(void *) = h->closed;
    void *ctx = h->closed_ctx;
    free(h);
    closed(ctx);
}

static void memory_close(struct object_store *base, void (*done)(void *ctx), void *ctx)
{
    struct memory_handle *h = CONTAINER_OF(base, struct memory_handle, base);
    h->closed = done;
    h->closed_ctx = ctx;
    env_defer(h->bucket->env, &h->close_task);
}

static const struct object_store_ops memory_ops = {.submit = memory_submit, .close = memory_close};

struct object_store *memory_objects_open(struct memory_objects *m)
{
    struct memory_handle *h = xcalloc(1, sizeof(*h));
    h->base.ops = &memory_ops;
    h->bucket = m;
    env_task_init(&h->close_task, close_run);
    return &h->base;
}

struct memory_objects *memory_objects_new(struct env *env, const struct memory_objects_hooks *hooks)
{
    struct memory_objects *m = xcalloc(1, sizeof(*m));
    m->env = env;
    if (hooks)
        m->hooks = *hooks;
    omap_init(&m->objects, stored_cmp);
    list_init(&m->requests);
    return m;
}

void memory_objects_free(struct memory_objects *m)
{
    while (!list_empty(&m->requests)) {
        struct request *q = CONTAINER_OF(m->requests.next, struct request, link);
        ASSERT_MSG(!q->op, "a bucket was freed while a handle is open");
        request_free(q);
    }
    m->hooks.changed = NULL;
    const char *key;
    while ((key = memory_objects_next(m, NULL)))
        memory_objects_remove(m, key);
    free(m);
}

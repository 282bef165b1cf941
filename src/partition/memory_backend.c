/* The key-value backend in memory, for tests and the simulator. Writes and syncs complete in the next
 * deferred pass, in order; a crash takes back everything after the last completed sync. */
#include <stdlib.h>

#include "base/env.h"
#include "partition/store.h"

struct mem_row {
    struct omap_node node;
    struct bytes key, value;
};

enum mem_op_kind { MEM_PUT, MEM_DELETE, MEM_DELETE_RANGE };
struct mem_op {
    enum mem_op_kind kind;
    struct bytes key;   /* or the start of the range */
    struct bytes value; /* or the end of the range */
};

struct kv_batch {
    struct list link;
    struct {
        struct mem_op *items;
        size_t len, cap;
    } ops;
    size_t bytes;
};

/* A write (batch != NULL) or a sync that was asked for and is not done. */
struct mem_request {
    struct list link;
    struct kv_batch *batch;
    bool crashed;
    void (*done)(void *ctx, enum rc rc);
    void *ctx;
};

struct memory_backend {
    struct kv_backend base;
    struct env *env;
    struct omap rows, durable;
    struct list unsynced; /* kv_batch: applied to rows, not to durable */
    struct list requests;
    struct env_task task;
};

struct kv_iter {
    struct omap_node *next;
    struct bytes to;
};

static int row_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(bytes_slice(CONTAINER_OF(a, struct mem_row, node)->key),
                     bytes_slice(CONTAINER_OF(b, struct mem_row, node)->key));
}

static int key_cmp(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, bytes_slice(CONTAINER_OF(n, struct mem_row, node)->key));
}

static void row_remove(struct omap *m, struct omap_node *n)
{
    struct mem_row *row = CONTAINER_OF(n, struct mem_row, node);
    omap_remove(m, n);
    bytes_unref(&row->key);
    bytes_unref(&row->value);
    free(row);
}

static void map_clear(struct omap *m)
{
    while (m->root)
        row_remove(m, m->root);
}

static void map_put(struct omap *m, struct bytes key, struct bytes value)
{
    struct slice k = bytes_slice(key);
    struct omap_node *n = omap_find(m, &k, key_cmp);
    struct mem_row *row;
    if (n) {
        row = CONTAINER_OF(n, struct mem_row, node);
        bytes_unref(&row->value);
    } else {
        row = xcalloc(1, sizeof(*row));
        row->key = bytes_ref(key);
        omap_insert(m, &row->node);
    }
    row->value = bytes_ref(value);
}

static void map_delete_range(struct omap *m, struct slice from, struct slice to)
{
    struct omap_node *n = omap_lower_bound(m, &from, key_cmp);
    while (n && key_cmp(&to, n) > 0) {
        struct omap_node *next = omap_next(n);
        row_remove(m, n);
        n = next;
    }
}

static void map_apply(struct omap *m, const struct kv_batch *w)
{
    for (size_t i = 0; i < w->ops.len; i++) {
        const struct mem_op *op = &w->ops.items[i];
        struct slice key = bytes_slice(op->key);
        if (op->kind == MEM_PUT) {
            map_put(m, op->key, op->value);
        } else if (op->kind == MEM_DELETE) {
            struct omap_node *n = omap_find(m, &key, key_cmp);
            if (n)
                row_remove(m, n);
        } else {
            map_delete_range(m, key, bytes_slice(op->value));
        }
    }
}

/* A copy of all rows (the bytes are shared). */
struct kv_view {
    struct omap rows;
};

/* ---- batches ---- */

static struct kv_batch *mem_batch_new(struct kv_backend *b)
{
    struct kv_batch *w = xcalloc(1, sizeof(*w));
    list_init(&w->link);
    return w;
}

static void mem_batch_free(struct kv_batch *w)
{
    for (size_t i = 0; i < w->ops.len; i++) {
        bytes_unref(&w->ops.items[i].key);
        bytes_unref(&w->ops.items[i].value);
    }
    VEC_FREE(&w->ops);
    free(w);
}

static void batch_add(struct kv_batch *w, enum mem_op_kind kind, struct slice key, struct slice value)
{
    struct mem_op op = {kind, bytes_copy(key), bytes_copy(value)};
    VEC_PUSH(&w->ops, op);
    w->bytes += key.len + value.len;
}

static void mem_batch_put(struct kv_batch *w, struct slice key, struct slice value)
{
    batch_add(w, MEM_PUT, key, value);
}

static void mem_batch_delete(struct kv_batch *w, struct slice key)
{
    batch_add(w, MEM_DELETE, key, SLICE_EMPTY);
}

static void mem_batch_delete_range(struct kv_batch *w, struct slice from, struct slice to)
{
    batch_add(w, MEM_DELETE_RANGE, from, to);
}

static size_t mem_batch_bytes(const struct kv_batch *w)
{
    return w->bytes;
}

/* ---- requests ---- */

static void request_add(struct memory_backend *m, struct kv_batch *batch, void (*done)(void *, enum rc),
                        void *ctx)
{
    struct mem_request *q = xcalloc(1, sizeof(*q));
    q->batch = batch;
    q->done = done;
    q->ctx = ctx;
    list_push_back(&m->requests, &q->link);
    env_defer(m->env, &m->task);
}

static void mem_batch_write(struct kv_backend *b, struct kv_batch *take, void (*done)(void *, enum rc),
                            void *ctx)
{
    request_add((struct memory_backend *)b, take, done, ctx);
}

static void mem_sync(struct kv_backend *b, void (*done)(void *, enum rc), void *ctx)
{
    request_add((struct memory_backend *)b, NULL, done, ctx);
}

static void drop_unsynced(struct memory_backend *m, bool keep)
{
    struct list *n;
    while ((n = list_pop_front(&m->unsynced))) {
        struct kv_batch *w = CONTAINER_OF(n, struct kv_batch, link);
        if (keep)
            map_apply(&m->durable, w);
        mem_batch_free(w);
    }
}

static void run_request(struct memory_backend *m, struct mem_request *q)
{
    if (q->batch && !q->crashed) {
        map_apply(&m->rows, q->batch);
        list_push_back(&m->unsynced, &q->batch->link);
    } else if (q->batch) {
        mem_batch_free(q->batch);
    } else if (!q->crashed) {
        drop_unsynced(m, true);
    }
    q->done(q->ctx, q->crashed ? RC_CLOSED : RC_OK);
    free(q);
}

/* Syncs first: a sync promises nothing about writes that were not done when it was asked for. */
static void run_requests(struct env_task *t)
{
    struct memory_backend *m = CONTAINER_OF(t, struct memory_backend, task);
    struct list syncs, writes, *n;
    list_init(&syncs);
    list_init(&writes);
    while ((n = list_pop_front(&m->requests))) /* what the callbacks ask for waits for the next pass */
        list_push_back(CONTAINER_OF(n, struct mem_request, link)->batch ? &writes : &syncs, n);
    list_splice(&syncs, &writes);
    while ((n = list_pop_front(&syncs)))
        run_request(m, CONTAINER_OF(n, struct mem_request, link));
}

/* ---- reads ---- */

static enum rc mem_get(struct kv_backend *b, struct slice key, struct bytes *out, struct err *err)
{
    struct memory_backend *m = (struct memory_backend *)b;
    struct omap_node *n = omap_find(&m->rows, &key, key_cmp);
    if (!n)
        return RC_NOT_FOUND;
    *out = bytes_ref(CONTAINER_OF(n, struct mem_row, node)->value);
    return RC_OK;
}

static struct kv_iter *mem_iter_new(struct kv_backend *b, struct slice from, struct slice to)
{
    struct memory_backend *m = (struct memory_backend *)b;
    struct kv_iter *it = xcalloc(1, sizeof(*it));
    it->next = omap_lower_bound(&m->rows, &from, key_cmp);
    it->to = bytes_copy(to);
    return it;
}

static bool mem_iter_next(struct kv_iter *it, struct slice *key, struct slice *value)
{
    struct slice to = bytes_slice(it->to);
    if (!it->next || key_cmp(&to, it->next) <= 0)
        return false;
    struct mem_row *row = CONTAINER_OF(it->next, struct mem_row, node);
    *key = bytes_slice(row->key);
    *value = bytes_slice(row->value);
    it->next = omap_next(it->next);
    return true;
}

static void mem_iter_free(struct kv_iter *it)
{
    bytes_unref(&it->to);
    free(it);
}

/* ---- views ---- */

static struct kv_view *mem_view_new(struct kv_backend *b)
{
    struct memory_backend *m = (struct memory_backend *)b;
    struct kv_view *v = xcalloc(1, sizeof(*v));
    omap_init(&v->rows, row_cmp);
    for (struct omap_node *n = omap_first(&m->rows); n; n = omap_next(n)) {
        struct mem_row *row = CONTAINER_OF(n, struct mem_row, node);
        map_put(&v->rows, row->key, row->value);
    }
    return v;
}

static void mem_view_free(struct kv_view *v)
{
    map_clear(&v->rows);
    free(v);
}

static struct kv_iter *mem_view_iter_new(struct kv_view *v, struct slice from, struct slice to)
{
    struct kv_iter *it = xcalloc(1, sizeof(*it));
    it->next = omap_lower_bound(&v->rows, &from, key_cmp);
    it->to = bytes_copy(to);
    return it;
}

static enum rc mem_view_iter_error(struct kv_iter *it, struct err *err)
{
    return RC_OK;
}

static const struct kv_backend_ops memory_backend_ops = {
    .get = mem_get,
    .batch_new = mem_batch_new,
    .batch_put = mem_batch_put,
    .batch_delete = mem_batch_delete,
    .batch_delete_range = mem_batch_delete_range,
    .batch_bytes = mem_batch_bytes,
    .batch_write = mem_batch_write,
    .sync = mem_sync,
    .iter_new = mem_iter_new,
    .iter_next = mem_iter_next,
    .iter_free = mem_iter_free,
    .view_new = mem_view_new,
    .view_free = mem_view_free,
    .view_iter_new = mem_view_iter_new,
    .view_iter_error = mem_view_iter_error,
};

struct kv_backend *memory_backend_new(struct env *env)
{
    struct memory_backend *m = xcalloc(1, sizeof(*m));
    m->base.ops = &memory_backend_ops;
    m->env = env;
    omap_init(&m->rows, row_cmp);
    omap_init(&m->durable, row_cmp);
    list_init(&m->unsynced);
    list_init(&m->requests);
    env_task_init(&m->task, run_requests);
    return &m->base;
}

void memory_backend_crash(struct kv_backend *b)
{
    struct memory_backend *m = (struct memory_backend *)b;
    drop_unsynced(m, false);
    map_clear(&m->rows);
    for (struct omap_node *n = omap_first(&m->durable); n; n = omap_next(n)) {
        struct mem_row *row = CONTAINER_OF(n, struct mem_row, node);
        map_put(&m->rows, row->key, row->value);
    }
    LIST_FOREACH(n, &m->requests)
    CONTAINER_OF(n, struct mem_request, link)->crashed = true;
}

static void forget_requests(struct memory_backend *m)
{
    env_undefer(&m->task);
    struct list *n;
    while ((n = list_pop_front(&m->requests))) {
        struct mem_request *q = CONTAINER_OF(n, struct mem_request, link);
        if (q->batch)
            mem_batch_free(q->batch);
        free(q);
    }
}

void memory_backend_reopen(struct kv_backend *b, struct env *env)
{
    struct memory_backend *m = (struct memory_backend *)b;
    forget_requests(m);
    m->env = env;
}

void memory_backend_free(struct kv_backend *b)
{
    struct memory_backend *m = (struct memory_backend *)b;
    forget_requests(m);
    drop_unsynced(m, false);
    map_clear(&m->rows);
    map_clear(&m->durable);
    free(m);
}

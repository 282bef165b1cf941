/* The view of one shard loop on the node's RocksDB: reads on the loop, batches on a pool thread in order,
 * syncs merged (store.h). */
#include <time.h>

#include "partition/rocks_internal.h"

struct kv_batch {
    struct list link;
    rocksdb_writebatch_t *batch;
    size_t bytes;
    void (*done)(void *ctx, enum rc rc);
    void *ctx;
};

struct kv_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *options;
    struct bytes to; /* RocksDB borrows the bound */
    bool started;
    bool may_fail; /* of a view: the reader asks for the error */
};

struct kv_view {
    struct rocks_db *db;
    const rocksdb_snapshot_t *snapshot;
};

struct rocks_backend {
    struct kv_backend base;
    struct rocks_db *db;
    struct loop *loop;
    struct list queue;   /* kv_batch waiting */
    struct list written; /* being written, then done */
    struct loop_work write;
    bool writing;
};

/* ---- reads ---- */

static enum rc backend_get(struct kv_backend *b, struct slice key, struct bytes *out, struct err *err)
{
    struct rocks_db *db = ((struct rocks_backend *)b)->db;
    char *text = NULL;
    rocksdb_pinnableslice_t *pinned =
        rocksdb_get_pinned(db->db, db->read_options, (const char *)key.ptr, key.len, &text);
    enum rc rc = rocks_error(text, err);
    if (rc == RC_OK && !pinned)
        return RC_NOT_FOUND;
    if (rc == RC_OK) {
        size_t len;
        const char *value = rocksdb_pinnableslice_value(pinned, &len);
        *out = bytes_copy(slice_make(value, len));
    }
    if (pinned)
        rocksdb_pinnableslice_destroy(pinned);
    return rc;
}

static struct kv_iter *backend_iter_new(struct kv_backend *b, struct slice from, struct slice to)
{
    struct rocks_db *db = ((struct rocks_backend *)b)->db;
    struct kv_iter *it = xcalloc(1, sizeof(*it));
    it->to = bytes_copy(to);
    it->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_upper_bound(it->options, (const char *)it->to.ptr, it->to.len);
    it->it = rocksdb_create_iterator(db->db, it->options);
    rocksdb_iter_seek(it->it, (const char *)from.ptr, from.len);
    return it;
}

static bool backend_iter_next(struct kv_iter *it, struct slice *key, struct slice *value)
{
    if (it->started)
        rocksdb_iter_next(it->it);
    it->started = true;
    if (!rocksdb_iter_valid(it->it)) {
        char *text = NULL;
        struct err err = {0};
        if (it->may_fail)
            return false;
        rocksdb_iter_get_error(it->it, &text);
        if (rocks_error(text, &err) != RC_OK) {
            /* An iteration that ends early would look like missing rows: the state would be wrong from here
             * on. */
            LOG0(LOG_ERROR, ROCKS_LOG, "reading the partition store failed: %s", err.msg);
            abort();
        }
        return false;
    }
    size_t len;
    const char *p = rocksdb_iter_key(it->it, &len);
    *key = slice_make(p, len);
    p = rocksdb_iter_value(it->it, &len);
    *value = slice_make(p, len);
    return true;
}

static void backend_iter_free(struct kv_iter *it)
{
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->options);
    bytes_unref(&it->to);
    free(it);
}

/* ---- views ---- */

static struct kv_view *backend_view_new(struct kv_backend *b)
{
    struct kv_view *v = xcalloc(1, sizeof(*v));
    v->db = ((struct rocks_backend *)b)->db;
    v->snapshot = rocksdb_create_snapshot(v->db->db);
    return v;
}

static void backend_view_free(struct kv_view *v)
{
    rocksdb_release_snapshot(v->db->db, v->snapshot);
    free(v);
}

/* Once through, so nothing of it should push the working set out of the cache. */
static struct kv_iter *backend_view_iter_new(struct kv_view *v, struct slice from, struct slice to)
{
    struct kv_iter *it = xcalloc(1, sizeof(*it));
    it->may_fail = true;
    it->to = bytes_copy(to);
    it->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(it->options, v->snapshot);
    rocksdb_readoptions_set_fill_cache(it->options, 0);
    rocksdb_readoptions_set_readahead_size(it->options, 1 << 20);
    rocksdb_readoptions_set_iterate_upper_bound(it->options, (const char *)it->to.ptr, it->to.len);
    it->it = rocksdb_create_iterator(v->db->db, it->options);
    rocksdb_iter_seek(it->it, (const char *)from.ptr, from.len);
    return it;
}

static enum rc backend_view_iter_error(struct kv_iter *it, struct err *err)
{
    char *text = NULL;
    rocksdb_iter_get_error(it->it, &text);
    return rocks_error(text, err);
}

/* ---- batches ---- */

static struct kv_batch *backend_batch_new(struct kv_backend *b)
{
    struct kv_batch *w = xcalloc(1, sizeof(*w));
    list_init(&w->link);
    w->batch = rocksdb_writebatch_create();
    return w;
}

static void backend_batch_put(struct kv_batch *w, struct slice key, struct slice value)
{
    rocksdb_writebatch_put(w->batch, (const char *)key.ptr, key.len, (const char *)value.ptr, value.len);
    w->bytes += key.len + value.len;
}

static void backend_batch_delete(struct kv_batch *w, struct slice key)
{
    rocksdb_writebatch_delete(w->batch, (const char *)key.ptr, key.len);
    w->bytes += key.len;
}

static void backend_batch_delete_range(struct kv_batch *w, struct slice from, struct slice to)
{
    rocksdb_writebatch_delete_range(w->batch, (const char *)from.ptr, from.len, (const char *)to.ptr, to.len);
    w->bytes += from.len + to.len;
}

static size_t backend_batch_bytes(const struct kv_batch *w)
{
    return w->bytes;
}

/* Into the memtable. It fails only when an earlier flush of RocksDB has failed. */
static void write_batch(struct rocks_db *db, struct kv_batch *w)
{
    for (bool told = false;; told = true) {
        char *text = NULL;
        struct err err = {0};
        rocksdb_write(db->db, db->write_options, w->batch, &text);
        enum rc rc = rocks_error(text, &err);
        if (rc == RC_OK)
            return;
        if (rc != RC_NO_SPACE) {
            LOG0(LOG_ERROR, ROCKS_LOG, "writing to the partition store failed: %s", err.msg);
            abort();
        }
        if (!told)
            LOG0(LOG_WARN, ROCKS_LOG, "the disk of the partition store is full; waiting for space: %s",
                 err.msg);
        nanosleep(&(struct timespec){1, 0}, NULL);
    }
}

static void write_run(struct loop_work *work)
{
    struct rocks_backend *b = CONTAINER_OF(work, struct rocks_backend, write);
    LIST_FOREACH(n, &b->written)
    write_batch(b->db, CONTAINER_OF(n, struct kv_batch, link));
}

static void write_start(struct rocks_backend *b)
{
    if (b->writing || list_empty(&b->queue))
        return;
    list_splice(&b->written, &b->queue);
    b->writing = true;
    loop_work_submit(b->loop, &b->write);
}

static void write_done(struct loop_work *work)
{
    struct rocks_backend *b = CONTAINER_OF(work, struct rocks_backend, write);
    struct list done, *n;
    list_init(&done);
    list_splice(&done, &b->written);
    b->writing = false;
    write_start(b);
    while ((n = list_pop_front(&done))) {
        struct kv_batch *w = CONTAINER_OF(n, struct kv_batch, link);
        rocksdb_writebatch_destroy(w->batch);
        w->done(w->ctx, RC_OK);
        free(w);
    }
}

static void backend_batch_write(struct kv_backend *base, struct kv_batch *take,
                                void (*done)(void *ctx, enum rc rc), void *ctx)
{
    struct rocks_backend *b = (struct rocks_backend *)base;
    take->done = done;
    take->ctx = ctx;
    list_push_back(&b->queue, &take->link);
    write_start(b);
}

/* ---- sync ---- */

static void backend_sync(struct kv_backend *base, void (*done)(void *ctx, enum rc rc), void *ctx)
{
    struct rocks_backend *b = (struct rocks_backend *)base;
    struct rocks_sync *q = xcalloc(1, sizeof(*q));
    q->loop = b->loop;
    q->done = done;
    q->ctx = ctx;
    rocks_db_sync(b->db, q);
}

static void backend_set_watermark(struct kv_backend *b, uint16_t partition_id, uint64_t durable_time_ms)
{
    watermark_set(&((struct rocks_backend *)b)->db->watermarks, partition_id, durable_time_ms);
}

static const struct kv_backend_ops rocks_backend_ops = {
    .get = backend_get,
    .batch_new = backend_batch_new,
    .batch_put = backend_batch_put,
    .batch_delete = backend_batch_delete,
    .batch_delete_range = backend_batch_delete_range,
    .batch_bytes = backend_batch_bytes,
    .batch_write = backend_batch_write,
    .sync = backend_sync,
    .iter_new = backend_iter_new,
    .iter_next = backend_iter_next,
    .iter_free = backend_iter_free,
    .set_watermark = backend_set_watermark,
    .view_new = backend_view_new,
    .view_free = backend_view_free,
    .view_iter_new = backend_view_iter_new,
    .view_iter_error = backend_view_iter_error,
};

struct kv_backend *rocks_backend_new(struct rocks_db *db, struct loop *loop)
{
    struct rocks_backend *b = xcalloc(1, sizeof(*b));
    b->base.ops = &rocks_backend_ops;
    b->db = db;
    b->loop = loop;
    list_init(&b->queue);
    list_init(&b->written);
    b->write.work = write_run;
    b->write.done = write_done;
    pthread_mutex_lock(&db->lock);
    db->backends++;
    pthread_mutex_unlock(&db->lock);
    return &b->base;
}

void rocks_backend_free(struct kv_backend *base)
{
    struct rocks_backend *b = (struct rocks_backend *)base;
    ASSERT_MSG(!b->writing && list_empty(&b->queue), "a backend was freed while it is used");
    pthread_mutex_lock(&b->db->lock);
    b->db->backends--;
    pthread_mutex_unlock(&b->db->lock);
    free(b);
}

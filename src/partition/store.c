/* The store's frame: opening, the bracket around a record, batches and syncs, eviction, closing. */
#include <stdarg.h>
#include <stdio.h>

#include "partition/store_internal.h"

/* Unsynced data is made durable once there is this much of it, or after SYNC_INTERVALS flush intervals. */
#define SYNC_BYTES     (16u << 20)
#define SYNC_INTERVALS 2

static void pump(struct partition_store *s);

/* ---- failure ---- */

void store_fail(struct partition_store *s, enum rc rc, const char *fmt, ...)
{
    if (s->failure.rc != RC_OK)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->failure.msg, sizeof(s->failure.msg), fmt, ap);
    va_end(ap);
    s->failure.rc = rc;
    LOG0(LOG_ERROR, STORE_LOG, "the store of partition %u cannot go on: %s", (unsigned)s->config.partition_id,
         s->failure.msg);
}

const struct err *store_failure(const struct partition_store *s)
{
    return s->failure.rc == RC_OK ? NULL : &s->failure;
}

enum rc store_kv_get(struct partition_store *s, struct slice key, struct bytes *out)
{
    struct err err = {0};
    *out = BYTES_EMPTY;
    enum rc rc = s->kv->ops->get(s->kv, key, out, &err);
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        store_fail(s, rc, "reading from the database failed: %s", err.msg);
    return rc == RC_OK ? RC_OK : RC_NOT_FOUND;
}

/* ---- write-back ---- */

void store_note_dirty(struct partition_store *s, size_t bytes)
{
    s->dirty_bytes += bytes;
    if (!s->dirty) {
        s->dirty = true;
        s->dirty_since_ms = env_mono_ms(s->env);
        if (!env_timer_armed(&s->timer))
            env_timer_arm(s->env, &s->timer, s->config.flush_interval_ms);
    }
}

void wb_dirty(struct partition_store *s, struct write_back *w, struct list *dirty)
{
    if (w->flags & WB_DIRTY)
        return;
    w->flags |= WB_DIRTY;
    list_remove(&w->link);
    list_push_back(dirty, &w->link);
    s->dirty_objects++;
}

static void wb_undirty(struct partition_store *s, struct write_back *w)
{
    if (w->flags & WB_DIRTY) {
        w->flags &= (uint8_t)~WB_DIRTY;
        s->dirty_objects--;
    }
    list_remove(&w->link);
}

bool wb_kill(struct partition_store *s, struct write_back *w, struct list *dirty, struct list *flushing)
{
    w->flags |= WB_DEAD;
    if (w->flags & WB_PERSISTED) {
        wb_dirty(s, w, dirty);
        return false;
    }
    wb_undirty(s, w);
    if (wb_settled(s, w))
        return true;
    list_push_back(flushing,
                   &w->link); /* its deletion is being written; until then it hides the backend's row */
    return false;
}

void wb_flushed(struct partition_store *s, struct write_back *w, struct list *flushing)
{
    wb_undirty(s, w);
    w->generation = s->in_batch.generation;
    if (w->flags & WB_DEAD)
        w->flags &= (uint8_t)~WB_PERSISTED;
    else
        w->flags |= WB_PERSISTED;
    list_push_back(flushing, &w->link);
}

/* ---- batches ---- */

void store_batch_put(struct partition_store *s, struct slice key, struct slice value)
{
    s->kv->ops->batch_put(s->batch, key, value);
}

void store_batch_delete(struct partition_store *s, struct slice key)
{
    s->kv->ops->batch_delete(s->batch, key);
}

void store_batch_delete_prefix(struct partition_store *s, struct writer *prefix)
{
    struct writer from = WRITER_INIT;
    write_slice_raw(&from, writer_slice(prefix));
    key_after_prefix(prefix);
    s->kv->ops->batch_delete_range(s->batch, writer_slice(&from), writer_slice(prefix));
    writer_free(&from);
}

static void vars_flush(struct partition_store *s)
{
    struct stored_vars v = {s->vars, s->live_invocations, s->next_blob_id};
    key_begin(&s->key, s->config.partition_id, TABLE_VARS);
    writer_reset(&s->value);
    stored_vars_encode(&s->value, &v);
    store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
}

static void on_batch_written(void *ctx, enum rc rc)
{
    struct partition_store *s = ctx;
    s->writing = false;
    if (rc != RC_OK && !s->abandoned)
        store_fail(s, rc, "writing a batch failed: %s", rc_name(rc));
    if (rc == RC_OK) {
        s->written = s->in_batch;
        invocations_written(s);
        objects_written(s);
        timers_written(s);
        dedup_written(s);
        slots_written(s);
        blobs_written(s);
        s->outbox_written = s->outbox_flushed;
    }
    pump(s);
}

/* Everything dirty goes into one batch, which is a consistent state at the applied LSN. */
static void start_batch(struct partition_store *s)
{
    ASSERT(!s->in_apply && !s->writing && !s->batch);
    s->batch = s->kv->ops->batch_new(s->kv);
    s->in_batch =
        (struct store_point){s->in_batch.generation + 1, s->vars.applied_lsn, s->vars.applied_time_ms};
    invocations_flush(s);
    objects_flush(s);
    timers_flush(s);
    outbox_flush(s);
    dedup_flush(s);
    slots_flush(s);
    blobs_flush(s); /* last: the others have changed reference counts */
    vars_flush(s);
    ASSERT(s->dirty_objects == 0);
    size_t bytes = s->kv->ops->batch_bytes(s->batch);
    struct kv_batch *batch = s->batch;
    s->batch = NULL;
    s->dirty = false;
    s->dirty_bytes = 0;
    s->flush_wanted = false;
    s->writing = true;
    s->flushes++;
    s->flushed_bytes += bytes;
    if (s->unsynced_bytes == 0)
        s->unsynced_since_ms = env_mono_ms(s->env);
    s->unsynced_bytes += bytes;
    s->kv->ops->batch_write(s->kv, batch, on_batch_written, s);
}

/* What an export sees stays until it is over. */
static void raise_watermark(struct partition_store *s)
{
    if (s->kv->ops->set_watermark && s->durable.lsn && s->views == 0)
        s->kv->ops->set_watermark(s->kv, s->config.partition_id, s->durable.time_ms);
}

void store_views_change(struct partition_store *s, int by)
{
    s->views += (unsigned)by;
    ASSERT(s->views < 1000);
    raise_watermark(s);
}

static void on_synced(void *ctx, enum rc rc)
{
    struct partition_store *s = ctx;
    s->syncing = false;
    if (rc != RC_OK && !s->abandoned)
        store_fail(s, rc, "making the database durable failed: %s", rc_name(rc));
    if (rc == RC_OK) {
        s->durable = s->in_sync;
        raise_watermark(s);
    }
    pump(s);
}

static void start_sync(struct partition_store *s)
{
    s->in_sync = s->written;
    s->syncing = true;
    s->unsynced_bytes = 0;
    s->kv->ops->sync(s->kv, on_synced, s);
}

/* Syncs of all partitions of a node fall on the same ticks of the monotonic clock, so that the backend can
 * merge them. */
static uint64_t sync_due_ms(const struct partition_store *s)
{
    uint64_t period = MAX(s->config.flush_interval_ms * SYNC_INTERVALS, 1);
    return (s->unsynced_since_ms / period + 1) * period;
}

static bool unsynced(const struct partition_store *s)
{
    return s->written.generation > s->durable.generation;
}

static void run_waiters(struct partition_store *s)
{
    struct list ready;
    list_init(&ready);
    for (struct list *n = s->waiters.next, *next; n != &s->waiters; n = next) {
        next = n->next;
        struct flush_waiter *w = CONTAINER_OF(n, struct flush_waiter, link);
        if (w->generation <= s->durable.generation || s->failure.rc != RC_OK || s->abandoned) {
            list_remove(n);
            list_push_back(&ready, n);
        }
    }
    struct list *n;
    while ((n = list_pop_front(&ready))) {
        struct flush_waiter *w = CONTAINER_OF(n, struct flush_waiter, link);
        w->done(w->ctx, s->durable.lsn);
        free(w);
    }
}

static void arm_timer(struct partition_store *s, uint64_t now)
{
    uint64_t at = UINT64_MAX;
    if (s->dirty && !s->writing)
        at = s->dirty_since_ms + s->config.flush_interval_ms;
    if (unsynced(s) && !s->syncing)
        at = MIN(at, sync_due_ms(s));
    if (at == UINT64_MAX || s->closing)
        env_timer_cancel(s->env, &s->timer);
    else
        env_timer_arm_at(s->env, &s->timer, MAX(at, now + 1));
}

/* Does a caller of store_flush or store_close wait for what is dirty now? */
static bool flush_awaited(const struct partition_store *s)
{
    if (s->closing)
        return true;
    return !list_empty(&s->waiters) &&
           CONTAINER_OF(s->waiters.prev, struct flush_waiter, link)->generation > s->in_batch.generation;
}

static void finish_close(struct partition_store *s);

/* Start what the policy or somebody waiting asks for. */
static void pump(struct partition_store *s)
{
    uint64_t now = env_mono_ms(s->env);
    bool sound = s->failure.rc == RC_OK && !s->abandoned;
    bool waiting = s->closing || !list_empty(&s->waiters);
    if (sound && s->dirty && !s->writing && !s->in_apply &&
        (s->flush_wanted || flush_awaited(s) || s->dirty_bytes >= s->config.flush_dirty_bytes ||
         now - s->dirty_since_ms >= s->config.flush_interval_ms))
        start_batch(s);
    if (sound && unsynced(s) && !s->syncing && (!s->writing || !waiting) &&
        (waiting || s->unsynced_bytes >= SYNC_BYTES || now >= sync_due_ms(s)))
        start_sync(s);
    run_waiters(s);
    arm_timer(s, now);
    if (s->closing)
        finish_close(s);
}

static void on_timer(struct env_timer *t)
{
    struct partition_store *s = CONTAINER_OF(t, struct partition_store, timer);
    ASSERT(!s->in_apply);
    pump(s);
}

static void on_task(struct env_task *t)
{
    pump(CONTAINER_OF(t, struct partition_store, task));
}

/* ---- eviction ---- */

/* One object of each kind. */
static bool evict_coldest(struct partition_store *s)
{
    bool any = invocations_evict_one(s);
    any = objects_evict_one(s) || any;
    return blobs_evict_one(s) || any;
}

static void evict(struct partition_store *s)
{
    bool over = s->cached_bytes > s->config.cache_bytes;
    outbox_maintain(s, over);
    dedup_maintain(s);
    /* Completed invocations first: nobody is likely to ask for them again. */
    while (s->cached_bytes > s->config.cache_bytes && invocations_evict_completed(s))
        ;
    while (s->cached_bytes > s->config.cache_bytes && evict_coldest(s))
        ;
    if (s->cached_bytes > s->config.cache_bytes && s->dirty)
        s->flush_wanted = true; /* only dirty objects are left: clean them */
}

void store_maintain(struct partition_store *s)
{
    ASSERT(!s->in_apply);
    evict(s);
    pump(s);
}

/* ---- the bracket ---- */

const struct store_config *store_get_config(const struct partition_store *s)
{
    return &s->config;
}

struct partition_vars *store_vars(struct partition_store *s)
{
    return &s->vars;
}

void store_apply_begin(struct partition_store *s, lsn_t lsn, uint64_t now_ms)
{
    ASSERT(!s->in_apply);
    ASSERT_MSG(lsn > s->vars.applied_lsn, "record %llu applied after %llu", (unsigned long long)lsn,
               (unsigned long long)s->vars.applied_lsn);
    s->in_apply = true;
    s->apply_lsn = lsn;
    s->now_ms = MAX(now_ms, s->vars.applied_time_ms);
}

void store_apply_end(struct partition_store *s)
{
    ASSERT(s->in_apply);
    for (size_t i = 0; i < s->touched.len; i++) {
        if (s->touched.items[i])
            store_hash_invocation(s, s->touched.items[i]);
    }
    s->touched.len = 0;
    struct partition_vars *v = &s->vars;
    v->applied_lsn = s->apply_lsn;
    v->applied_time_ms = s->now_ms;
    store_mutated(s, MUT_VARS, v->applied_lsn, v->applied_time_ms, v->inbox_seq);
    store_mutated(s, MUT_VARS, v->leader_epoch, (uint64_t)v->leader_node_id << 32 | v->leader_node_generation,
                  v->durable_lsn ^ v->features << 48);
    store_note_dirty(s, 16);
    s->in_apply = false;
}

lsn_t store_durable_lsn(const struct partition_store *s)
{
    return s->durable.lsn;
}

void store_flush(struct partition_store *s, void (*done)(void *ctx, lsn_t durable), void *ctx)
{
    ASSERT(!s->in_apply);
    struct flush_waiter *w = xcalloc(1, sizeof(*w));
    w->generation = s->in_batch.generation + (s->dirty ? 1 : 0);
    w->done = done;
    w->ctx = ctx;
    list_push_back(&s->waiters, &w->link);
    env_defer(s->env, &s->task);
}

void store_get_stats(const struct partition_store *s, struct store_stats *out)
{
    *out = (struct store_stats){.live_invocations = s->live_invocations,
                                .dirty_objects = s->dirty_objects,
                                .dirty_bytes = s->dirty_bytes,
                                .cached_bytes = s->cached_bytes,
                                .flushes = s->flushes,
                                .flushed_bytes = s->flushed_bytes};
}

/* ---- opening and closing ---- */

static bool table_is_empty(struct partition_store *s, enum store_table table)
{
    key_begin(&s->key, s->config.partition_id, table);
    key_begin(&s->key2, s->config.partition_id, table + 1);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice key, value;
    bool any = s->kv->ops->iter_next(it, &key, &value);
    s->kv->ops->iter_free(it);
    return !any;
}

static enum rc load_vars(struct partition_store *s, struct err *err)
{
    if (!table_is_empty(s, TABLE_IMPORT))
        return err_set(err, RC_CONFLICT, "an import into partition %u was interrupted",
                       (unsigned)s->config.partition_id);
    key_begin(&s->key, s->config.partition_id, TABLE_VARS);
    struct bytes value = BYTES_EMPTY;
    enum rc rc = s->kv->ops->get(s->kv, writer_slice(&s->key), &value, err);
    if (rc == RC_NOT_FOUND)
        return RC_OK;
    if (rc != RC_OK)
        return rc;
    struct stored_vars v;
    bool ok = stored_vars_decode(bytes_slice(value), &v);
    bytes_unref(&value);
    if (!ok)
        return err_set(err, RC_CORRUPT, "the variables of partition %u cannot be decoded",
                       (unsigned)s->config.partition_id);
    s->vars = v.vars;
    s->live_invocations = v.live_invocations;
    s->next_blob_id = v.next_blob_id;
    return RC_OK;
}

static void init_lists(struct partition_store *s)
{
    struct list *lists[] = {&s->inv_dirty,     &s->inv_flushing,   &s->inv_clean,   &s->obj_dirty,
                            &s->obj_flushing,  &s->obj_clean,      &s->timer_dirty, &s->timer_flushing,
                            &s->dedup_dirty,   &s->dedup_flushing, &s->dedup_clean, &s->blob_dirty,
                            &s->blob_flushing, &s->blob_clean,     &s->waiters};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    hmap_init(&s->invocations);
    hmap_init(&s->objects);
    hmap_init(&s->dedups);
    hmap_init(&s->blobs);
    timers_init(s);
    slots_init(s);
}

static void store_free(struct partition_store *s)
{
    env_timer_cancel(s->env, &s->timer);
    env_undefer(&s->task);
    invocations_free(s);
    objects_free(s);
    timers_free(s);
    outbox_free(s);
    dedup_free(s);
    slots_free(s);
    blobs_free(s);
    VEC_FREE(&s->touched);
    writer_free(&s->key);
    writer_free(&s->key2);
    writer_free(&s->value);
    free(s);
}

enum rc store_open(struct kv_backend *backend, struct env *env, const struct store_config *config,
                   struct partition_store **out, struct err *err)
{
    struct partition_store *s = xcalloc(1, sizeof(*s));
    s->kv = backend;
    s->env = env;
    s->config = *config;
    init_lists(s);
    env_timer_init(&s->timer, on_timer);
    env_task_init(&s->task, on_task);
    enum rc rc = load_vars(s, err);
    if (rc == RC_OK)
        rc = slots_load(s, err);
    if (rc != RC_OK) {
        store_free(s);
        return rc;
    }
    s->inv_backend_empty = table_is_empty(s, TABLE_INVOCATION);
    s->obj_backend_empty = table_is_empty(s, TABLE_OBJECT);
    s->window_base = s->outbox_flushed = s->outbox_written = s->vars.outbox_seq;
    s->outbox_deleted = s->outbox_delete_to = s->vars.outbox_head;
    s->written = s->durable = s->in_batch =
        (struct store_point){0, s->vars.applied_lsn, s->vars.applied_time_ms};
    raise_watermark(s);
    *out = s;
    return RC_OK;
}

static void finish_close(struct partition_store *s)
{
    bool lost = s->abandoned || s->failure.rc != RC_OK;
    if (s->writing || s->syncing || (!lost && (s->dirty || unsynced(s))))
        return;
    void (*closed)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    run_waiters(s);
    store_free(s);
    if (closed)
        closed(ctx);
}

void store_close(struct partition_store *s, bool abandon, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!s->closing && (abandon || !s->in_apply));
    s->closing = true;
    s->abandoned = abandon;
    s->closed = done;
    s->closed_ctx = ctx;
    env_defer(s->env, &s->task);
}

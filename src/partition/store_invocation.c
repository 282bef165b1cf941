/* Invocations: cache, flush, expiry, scans (store.h). */
#include "partition/store_internal.h"

_Static_assert(INV_HAS_BLOBS == 64, "store_codec.c knows this flag");

#define POINT_DELETES_MAX 64 /* above this many rows a range deletion is cheaper */

/* ---- memory ---- */

static struct invocation *lookup(struct partition_store *s, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&s->invocations, invocation_id_hash(id)); n;
         n = hmap_next_same(n)) {
        struct invocation *inv = CONTAINER_OF(n, struct invocation, by_id);
        if (invocation_id_eq(inv->id, id))
            return inv;
    }
    return NULL;
}

static struct invocation *invocation_new(struct partition_store *s, struct invocation_id id)
{
    struct invocation *inv = xcalloc(1, sizeof(*inv));
    inv->id = id;
    list_init(&inv->wb.link);
    hmap_insert(&s->invocations, &inv->by_id, invocation_id_hash(id));
    return inv;
}

void invocation_recharge(struct partition_store *s, struct invocation *inv)
{
    if (inv->store_flags & INV_DETACHED)
        return;
    size_t journal = inv->store_flags & INV_NOT_LOADED ? 0 : inv->journal_bytes;
    store_charge(s, &inv->charged_bytes,
                 sizeof(*inv) + inv->origin.len + inv->awaiting.encoded.len + inv->result_bytes.len +
                     journal + inv->journal.cap * sizeof(*inv->journal.items) +
                     inv->events.cap * sizeof(*inv->events.items) +
                     inv->sinks.cap * sizeof(*inv->sinks.items));
}

/* Take it off the cache and free it. */
void invocation_free(struct partition_store *s, struct invocation *inv)
{
    list_remove(&inv->wb.link);
    hmap_remove(&s->invocations, &inv->by_id);
    store_charge(s, &inv->charged_bytes, 0);
    journal_index_free(inv);
    invocation_release(inv);
    free(inv);
}

void invocations_free(struct partition_store *s)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&s->invocations, &it); n; n = hmap_step(&s->invocations, &it))
        invocation_free(s, CONTAINER_OF(n, struct invocation, by_id));
    hmap_free(&s->invocations);
}

bool invocations_evict_one(struct partition_store *s)
{
    if (list_empty(&s->inv_clean))
        return false;
    invocation_free(s, CONTAINER_OF(s->inv_clean.next, struct invocation, wb.link));
    return true;
}

bool invocations_evict_completed(struct partition_store *s)
{
    if (list_empty(&s->inv_clean))
        return false;
    struct invocation *inv = CONTAINER_OF(s->inv_clean.next, struct invocation, wb.link);
    return inv->status == INV_COMPLETED && invocations_evict_one(s);
}

/* ---- loading ---- */

static void decode_failed(struct partition_store *s, struct invocation_id id, const struct err *err)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(id, text);
    store_fail(s, RC_CORRUPT, "%s of %s", err->msg, text);
}

/* The origin row of a live invocation whose origin is not in its status. */
static void load_origin(struct partition_store *s, struct invocation *inv)
{
    key_begin(&s->key, s->config.partition_id, TABLE_JOURNAL);
    key_id(&s->key, inv->id);
    write_u8(&s->key, PART_ORIGIN);
    struct bytes origin;
    struct err err = {0};
    if (store_kv_get(s, writer_slice(&s->key), &origin) != RC_OK)
        err_set(&err, RC_CORRUPT, "the origin is missing");
    else
        invocation_set_origin(inv, origin, &err);
    bytes_unref(&origin);
    if (err.rc)
        decode_failed(s, inv->id, &err);
    inv->store_flags |= INV_ORIGIN_WRITTEN;
}

/* Fill `inv` (zeroed but for id) from its stored value. Small journals come along if asked for. */
static bool invocation_fill(struct partition_store *s, struct invocation *inv, struct bytes value,
                            bool journal)
{
    struct err err = {0};
    struct blob_source blobs = store_blob_source(s);
    if (invocation_decode(value, inv, store_now(s), &blobs, &err) != RC_OK) {
        decode_failed(s, inv->id, &err);
        return false;
    }
    inv->wb.flags = WB_PERSISTED;
    inv->store_flags |= INV_HASHED;
    inv->persisted_entries = (uint32_t)inv->journal.len;
    inv->persisted_events = (uint32_t)inv->events.len;
    if (inv->status == INV_COMPLETED) {
        inv->store_flags |= INV_BLOBS_FREED;
        return true;
    }
    inv->live_row = inv->status;
    inv->store_flags |= INV_LIVE | INV_ROWS;
    if (!inv->origin.len)
        load_origin(s, inv);
    if (inv->journal.len || inv->events.len)
        inv->store_flags |= INV_NOT_LOADED;
    if (journal && inv->journal_bytes <= STORE_JOURNAL_EAGER)
        store_journal_load(s, inv);
    return s->failure.rc == RC_OK;
}

static struct invocation *load(struct partition_store *s, struct invocation_id id, bool journal)
{
    if (s->inv_backend_empty)
        return NULL;
    key_begin(&s->key, s->config.partition_id, TABLE_INVOCATION);
    key_id(&s->key, id);
    struct bytes value;
    if (store_kv_get(s, writer_slice(&s->key), &value) != RC_OK)
        return NULL;
    struct invocation *inv = invocation_new(s, id);
    bool ok = invocation_fill(s, inv, value, journal);
    bytes_unref(&value);
    if (!ok) {
        invocation_free(s, inv);
        return NULL;
    }
    invocation_recharge(s, inv);
    list_push_back(&s->inv_clean, &inv->wb.link);
    return inv;
}

/* False if it is Free by now. Drops an expired journal from memory: the space in the backend returns by
 * compaction. */
static bool visible(struct partition_store *s, struct invocation *inv)
{
    if (inv->wb.flags & WB_DEAD)
        return false;
    if (inv->status != INV_COMPLETED)
        return true;
    uint64_t now = store_now(s);
    if (invocation_expiry_ms(inv) <= now)
        return false;
    if (!inv->journal_purged && invocation_journal_expiry_ms(inv) <= now) {
        journal_unref_blobs(s, inv);
        journal_index_free(inv);
        invocation_release_journal(inv);
        inv->store_flags &= ~(uint32_t)INV_NOT_LOADED;
        inv->journal_purged = true;
        inv->commands = 0;
        inv->journal_bytes = 0;
        invocation_recharge(s, inv);
    }
    return true;
}

static struct invocation *get(struct partition_store *s, struct invocation_id id, bool journal)
{
    struct invocation *inv = lookup(s, id);
    if (!inv) {
        inv = load(s, id, journal);
    } else if (wb_clean(s, &inv->wb)) {
        list_remove(&inv->wb.link);
        list_push_back(&s->inv_clean, &inv->wb.link);
    }
    if (!inv || !visible(s, inv))
        return NULL;
    if (journal && inv->journal_bytes <= STORE_JOURNAL_EAGER)
        store_journal_load(s, inv); /* a scan may have left it out */
    return inv;
}

struct invocation *store_invocation_get(struct partition_store *s, struct invocation_id id)
{
    return get(s, id, true);
}

bool store_invocation_exists(struct partition_store *s, struct invocation_id id)
{
    return get(s, id, false) != NULL;
}

/* ---- changes ---- */

static void touch(struct partition_store *s, struct invocation *inv)
{
    if (inv->store_flags & INV_TOUCHED)
        return;
    if (!s->in_apply) {
        store_hash_invocation(s, inv);
        return;
    }
    inv->store_flags |= INV_TOUCHED;
    VEC_PUSH(&s->touched, inv);
}

static void untouch(struct partition_store *s, struct invocation *inv)
{
    for (size_t i = 0; inv->store_flags & INV_TOUCHED && i < s->touched.len; i++) {
        if (s->touched.items[i] == inv)
            s->touched.items[i] = NULL;
    }
    inv->store_flags &= ~(uint32_t)INV_TOUCHED;
}

static void count_live(struct partition_store *s, struct invocation *inv, bool live)
{
    if (live && !(inv->store_flags & INV_LIVE)) {
        inv->store_flags |= INV_LIVE;
        s->live_invocations++;
    } else if (!live && inv->store_flags & INV_LIVE) {
        inv->store_flags &= ~(uint32_t)INV_LIVE;
        ASSERT(s->live_invocations > 0);
        s->live_invocations--;
    }
}

struct invocation *store_invocation_create(struct partition_store *s, struct invocation_id id)
{
    struct invocation *old = lookup(s, id);
    ASSERT_MSG(!old || !visible(s, old), "an invocation was created over an existing one");
    struct write_back wb = {0};
    uint32_t flags = 0;
    enum invocation_status live_row = INV_FREE;
    if (old) { /* deleted or expired: the new one takes over what the backend has of it */
        if (!(old->wb.flags & WB_DEAD)) {
            journal_unref_blobs(s, old);
            count_live(s, old, false);
        }
        if (old->wb.flags & WB_DIRTY)
            s->dirty_objects--;
        wb.flags = old->wb.flags & WB_PERSISTED;
        wb.generation = old->wb.generation;
        flags = old->store_flags & (INV_ROWS | INV_STALE_ROWS) ? INV_STALE_ROWS : 0;
        live_row = old->live_row;
        untouch(s, old);
        invocation_free(s, old);
    }
    struct invocation *inv = invocation_new(s, id);
    inv->wb.flags = wb.flags;
    inv->wb.generation = wb.generation;
    inv->store_flags = flags;
    inv->live_row = live_row;
    count_live(s, inv, true);
    touch(s, inv);
    wb_dirty(s, &inv->wb, &s->inv_dirty);
    store_note_dirty(s, sizeof(*inv));
    invocation_recharge(s, inv);
    return inv;
}

void store_invocation_changed(struct partition_store *s, struct invocation *inv)
{
    ASSERT(!(inv->wb.flags & WB_DEAD) && inv->status != INV_FREE);
    touch(s, inv);
    count_live(s, inv, inv->status != INV_COMPLETED);
    if (!(inv->wb.flags & WB_DIRTY))
        store_note_dirty(s, 128);
    size_t before = inv->charged_bytes;
    wb_dirty(s, &inv->wb, &s->inv_dirty);
    invocation_recharge(s, inv);
    if (inv->charged_bytes > before)
        store_note_dirty(s, inv->charged_bytes - before);
}

void store_invocation_delete(struct partition_store *s, struct invocation *inv)
{
    ASSERT(!(inv->wb.flags & WB_DEAD));
    store_mutated(s, MUT_INVOCATION_DELETE, hash_id(inv->id), 0, 0);
    untouch(s, inv);
    count_live(s, inv, false);
    journal_unref_blobs(s, inv);
    if (wb_kill(s, &inv->wb, &s->inv_dirty, &s->inv_flushing)) {
        invocation_free(s, inv);
        return;
    }
    journal_index_free(inv);
    invocation_release(inv);
    inv->origin = inv->result_bytes = BYTES_EMPTY;
    inv->si = (struct service_invocation){0};
    inv->status = INV_FREE;
    inv->journal_bytes = 0;
    invocation_recharge(s, inv);
    store_note_dirty(s, 64);
}

/* ---- flush ---- */

static void row_key(struct partition_store *s, struct invocation_id id, enum journal_part part,
                    uint32_t index)
{
    key_begin(&s->key, s->config.partition_id, TABLE_JOURNAL);
    key_id(&s->key, id);
    write_u8(&s->key, (uint8_t)part);
    if (part != PART_ORIGIN)
        write_u32be(&s->key, index);
}

static void delete_rows(struct partition_store *s, struct invocation *inv)
{
    bool rows = inv->store_flags & INV_ROWS;
    uint64_t n = (uint64_t)inv->persisted_entries + inv->persisted_events;
    if (inv->store_flags & INV_STALE_ROWS || (rows && n > POINT_DELETES_MAX)) {
        key_begin(&s->key, s->config.partition_id, TABLE_JOURNAL);
        key_id(&s->key, inv->id);
        store_batch_delete_prefix(s, &s->key);
    } else if (rows) {
        for (uint32_t i = 0; i < inv->persisted_entries; i++) {
            row_key(s, inv->id, PART_ENTRY, i);
            store_batch_delete(s, writer_slice(&s->key));
        }
        for (uint32_t i = 0; i < inv->persisted_events; i++) {
            row_key(s, inv->id, PART_EVENT, i);
            store_batch_delete(s, writer_slice(&s->key));
        }
        if (inv->store_flags & INV_ORIGIN_WRITTEN) {
            row_key(s, inv->id, PART_ORIGIN, 0);
            store_batch_delete(s, writer_slice(&s->key));
        }
    }
    inv->store_flags &= ~(uint32_t)(INV_STALE_ROWS | INV_ROWS | INV_ORIGIN_WRITTEN);
    inv->persisted_entries = inv->persisted_events = 0;
}

static void put_value(struct partition_store *s)
{
    store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
}

/* The row in the index of live invocations: `status` INV_FREE: none. */
static void set_live_row(struct partition_store *s, struct invocation *inv, enum invocation_status status)
{
    if (inv->live_row == status)
        return;
    key_begin(&s->key, s->config.partition_id, TABLE_LIVE);
    key_id(&s->key, inv->id);
    uint8_t byte = (uint8_t)status;
    if (status == INV_FREE)
        store_batch_delete(s, writer_slice(&s->key));
    else
        store_batch_put(s, writer_slice(&s->key), slice_make(&byte, 1));
    inv->live_row = status;
}

static void put_status(struct partition_store *s, struct invocation *inv, bool packed)
{
    key_begin(&s->key, s->config.partition_id, TABLE_INVOCATION);
    key_id(&s->key, inv->id);
    writer_reset(&s->value);
    invocation_encode(&s->value, inv, packed);
    put_value(s);
    s->inv_backend_empty = false;
}

static void flush_completed(struct partition_store *s, struct invocation *inv)
{
    store_journal_load(s, inv);
    journal_release_blobs(s, inv);
    delete_rows(s, inv);
    put_status(s, inv, true);
    set_live_row(s, inv, INV_FREE);
}

static void flush_live(struct partition_store *s, struct invocation *inv)
{
    if (inv->store_flags & INV_STALE_ROWS)
        delete_rows(s, inv);
    put_status(s, inv, false);
    set_live_row(s, inv, inv->status);
    inv->store_flags |= INV_ROWS;
    if (inv->origin.len > ORIGIN_INLINE_MAX && !(inv->store_flags & INV_ORIGIN_WRITTEN)) {
        row_key(s, inv->id, PART_ORIGIN, 0);
        store_batch_put(s, writer_slice(&s->key), bytes_slice(inv->origin));
        inv->store_flags |= INV_ORIGIN_WRITTEN;
    }
    for (size_t i = inv->persisted_entries; i < inv->journal.len; i++) {
        row_key(s, inv->id, PART_ENTRY, (uint32_t)i);
        writer_reset(&s->value);
        entry_encode(&s->value, inv, &inv->journal.items[i]);
        put_value(s);
    }
    for (size_t i = inv->persisted_events; i < inv->events.len; i++) {
        row_key(s, inv->id, PART_EVENT, (uint32_t)i);
        writer_reset(&s->value);
        event_encode(&s->value, &inv->events.items[i]);
        put_value(s);
    }
}

static void flush_one(struct partition_store *s, struct invocation *inv)
{
    if (inv->wb.flags & WB_DEAD) {
        delete_rows(s, inv);
        key_begin(&s->key, s->config.partition_id, TABLE_INVOCATION);
        key_id(&s->key, inv->id);
        store_batch_delete(s, writer_slice(&s->key));
        set_live_row(s, inv, INV_FREE);
        return;
    }
    bool rows = inv->store_flags & INV_ROWS && !(inv->store_flags & INV_STALE_ROWS);
    bool stays = rows && inv->status != INV_COMPLETED; /* what is written already goes on to be right */
    inv->settled_entries = stays ? inv->persisted_entries : 0;
    inv->settled_events = stays ? inv->persisted_events : 0;
    for (size_t i = inv->persisted_entries; i < inv->journal.len; i++)
        journal_attach_blob(s, inv, &inv->journal.items[i]);
    if (inv->status == INV_COMPLETED)
        flush_completed(s, inv);
    else
        flush_live(s, inv);
    inv->persisted_entries = (uint32_t)inv->journal.len;
    inv->persisted_events = (uint32_t)inv->events.len;
}

void invocations_flush(struct partition_store *s)
{
    while (!list_empty(&s->inv_dirty)) {
        struct invocation *inv = CONTAINER_OF(s->inv_dirty.next, struct invocation, wb.link);
        flush_one(s, inv);
        wb_flushed(s, &inv->wb, &s->inv_flushing);
    }
}

void invocations_written(struct partition_store *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->inv_flushing))) {
        struct invocation *inv = CONTAINER_OF(n, struct invocation, wb.link);
        if (inv->wb.flags & WB_DEAD)
            invocation_free(s, inv);
        else if (inv->status == INV_COMPLETED)
            list_push_front(&s->inv_clean, n); /* unlikely to be asked for again */
        else
            list_push_back(&s->inv_clean, n);
    }
}

/* ---- scans ---- */

struct id_list {
    struct invocation_id *items;
    size_t len, cap;
};

static int id_order(const void *a, const void *b)
{
    return invocation_id_cmp(*(const struct invocation_id *)a, *(const struct invocation_id *)b);
}

static void ids_sort(struct id_list *ids)
{
    if (ids->len > 1)
        qsort(ids->items, ids->len, sizeof(*ids->items), id_order);
}

static struct kv_iter *scan_table(struct partition_store *s, enum store_table table)
{
    key_begin(&s->key, s->config.partition_id, table);
    key_begin(&s->key2, s->config.partition_id, table + 1);
    return s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
}

static bool scan_next(struct kv_backend *kv, struct kv_iter *it, struct invocation_id *id,
                      struct slice *value)
{
    struct slice key;
    if (!kv->ops->iter_next(it, &key, value) || key.len != STORE_KEY_PREFIX + INVOCATION_ID_BYTES)
        return false;
    *id = invocation_id_from_bytes(key.ptr + STORE_KEY_PREFIX);
    return true;
}

void store_scan_invoked(struct partition_store *s, void (*visit)(void *ctx, struct invocation *inv),
                        void *ctx)
{
    struct id_list ids = {0};
    struct hmap_iter mi;
    for (struct hmap_node *n = hmap_begin(&s->invocations, &mi); n; n = hmap_step(&s->invocations, &mi)) {
        struct invocation *inv = CONTAINER_OF(n, struct invocation, by_id);
        if (inv->status == INV_INVOKED && !(inv->wb.flags & WB_DEAD))
            VEC_PUSH(&ids, inv->id);
    }
    struct kv_iter *it = scan_table(s, TABLE_LIVE);
    struct invocation_id id;
    struct slice value;
    while (scan_next(s->kv, it, &id, &value)) {
        if (value.len == 1 && value.ptr[0] == INV_INVOKED && !lookup(s, id))
            VEC_PUSH(&ids, id);
    }
    s->kv->ops->iter_free(it);
    ids_sort(&ids);
    for (size_t i = 0; i < ids.len; i++) {
        struct invocation *inv = get(s, ids.items[i], false);
        if (inv && inv->status == INV_INVOKED)
            visit(ctx, inv);
    }
    VEC_FREE(&ids);
}

/* Show one that is only in the backend, without caching it. */
static bool visit_stored(struct partition_store *s, struct invocation_id id, struct slice stored,
                         bool (*visit)(void *ctx, const struct invocation *inv), void *ctx)
{
    struct stored_head h;
    if (stored_head_get(stored, &h) && !(h.flags & STORED_KEEP) && h.expiry_ms <= store_now(s))
        return true;
    struct invocation inv = {.id = id, .store_flags = INV_DETACHED};
    struct bytes value = bytes_copy(stored);
    bool go_on = true;
    if (invocation_fill(s, &inv, value, true) && visible(s, &inv))
        go_on = visit(ctx, &inv);
    bytes_unref(&value);
    journal_index_free(&inv);
    invocation_release(&inv);
    return go_on;
}

void store_scan_invocations(struct partition_store *s, bool (*visit)(void *ctx, const struct invocation *inv),
                            void *ctx)
{
    struct id_list ids = {0};
    struct hmap_iter mi;
    for (struct hmap_node *n = hmap_begin(&s->invocations, &mi); n; n = hmap_step(&s->invocations, &mi))
        VEC_PUSH(&ids, CONTAINER_OF(n, struct invocation, by_id)->id);
    ids_sort(&ids);
    struct kv_iter *it = scan_table(s, TABLE_INVOCATION);
    struct invocation_id id;
    struct slice value;
    bool more = scan_next(s->kv, it, &id, &value), go_on = true;
    for (size_t i = 0; go_on && (more || i < ids.len);) {
        int order = !more ? -1 : i == ids.len ? 1 : invocation_id_cmp(ids.items[i], id);
        if (order <= 0) { /* what is in memory is newer */
            struct invocation *inv = get(s, ids.items[i++], true);
            go_on = !inv || visit(ctx, inv);
        } else {
            go_on = visit_stored(s, id, value, visit, ctx);
        }
        if (order >= 0)
            more = scan_next(s->kv, it, &id, &value);
    }
    s->kv->ops->iter_free(it);
    VEC_FREE(&ids);
}

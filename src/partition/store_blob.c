/* Blobs: large state values, written to the backend once and referred to by state rows and journals.
 *
 * A blob counts references of state rows and of journals of live invocations. When an invocation is packed,
 * its references become an expiry: the blob must outlive the packed journal, which may vanish in a compaction
 * without notice. A blob without references and past its expiry is deleted: at once, or by the sweep over
 * TABLE_BLOB_EXPIRY that goes with each batch. Ids are internal to this copy of the state; they are in no
 * state hash. */
#include "partition/store_internal.h"

#define SWEEP_MAX 256 /* per batch */

static struct blob *lookup(struct partition_store *s, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&s->blobs, hash64_combine(0, id)); n; n = hmap_next_same(n)) {
        struct blob *b = CONTAINER_OF(n, struct blob, by_id);
        if (b->id == id)
            return b;
    }
    return NULL;
}

static struct blob *blob_add(struct partition_store *s, uint64_t id)
{
    struct blob *b = xcalloc(1, sizeof(*b));
    b->id = id;
    list_init(&b->wb.link);
    hmap_insert(&s->blobs, &b->by_id, hash64_combine(0, id));
    store_charge(s, &b->charged_bytes, sizeof(*b));
    return b;
}

static void blob_free(struct partition_store *s, struct blob *b)
{
    list_remove(&b->wb.link);
    hmap_remove(&s->blobs, &b->by_id);
    store_charge(s, &b->charged_bytes, 0);
    bytes_unref(&b->content);
    free(b);
}

static void blob_key(struct partition_store *s, enum store_table table, uint64_t id)
{
    key_begin(&s->key, s->config.partition_id, table);
    write_u64be(&s->key, id);
}

static struct blob *blob_get(struct partition_store *s, uint64_t id)
{
    struct blob *b = lookup(s, id);
    if (b)
        return b;
    blob_key(s, TABLE_BLOB_META, id);
    struct bytes value;
    struct blob_meta meta;
    bool ok = store_kv_get(s, writer_slice(&s->key), &value) == RC_OK &&
              blob_meta_decode(bytes_slice(value), &meta);
    bytes_unref(&value);
    if (!ok) {
        store_fail(s, RC_CORRUPT, "blob %llu is missing or damaged", (unsigned long long)id);
        return NULL;
    }
    b = blob_add(s, id);
    b->meta = meta;
    b->content_written = true;
    b->wb.flags = WB_PERSISTED;
    list_push_back(&s->blob_clean, &b->wb.link);
    return b;
}

static void changed(struct partition_store *s, struct blob *b)
{
    store_note_dirty(s, 32);
    wb_dirty(s, &b->wb, &s->blob_dirty);
}

static void kill(struct partition_store *s, struct blob *b)
{
    if (wb_kill(s, &b->wb, &s->blob_dirty, &s->blob_flushing))
        blob_free(s, b);
    else
        store_note_dirty(s, 32);
}

uint64_t blob_new(struct partition_store *s, struct bytes content)
{
    struct blob *b = blob_add(s, ++s->next_blob_id);
    b->meta = (struct blob_meta){.refs = 1, .len = content.len};
    b->content = bytes_ref(content); /* until it is written; memory is charged to the state row */
    changed(s, b);
    store_note_dirty(s, content.len);
    return b->id;
}

void blob_ref(struct partition_store *s, uint64_t id)
{
    struct blob *b = blob_get(s, id);
    if (!b)
        return;
    ASSERT(b->meta.refs > 0 && !(b->wb.flags & WB_DEAD));
    b->meta.refs++;
    changed(s, b);
}

void blob_unref(struct partition_store *s, uint64_t id)
{
    struct blob *b = blob_get(s, id);
    if (!b)
        return;
    ASSERT_MSG(b->meta.refs > 0 && !(b->wb.flags & WB_DEAD), "blob %llu has no reference to give up",
               (unsigned long long)id);
    b->meta.refs--;
    if (b->meta.refs == 0 && b->meta.expiry_ms <= store_now(s))
        kill(s, b);
    else
        changed(s, b);
}

void blob_keep_until(struct partition_store *s, uint64_t id, uint64_t expiry_ms)
{
    struct blob *b = blob_get(s, id);
    if (!b || expiry_ms <= b->meta.expiry_ms)
        return;
    b->meta.expiry_ms = expiry_ms;
    changed(s, b);
}

bool blob_content(struct partition_store *s, uint64_t id, struct bytes *out)
{
    *out = BYTES_EMPTY;
    struct blob *b = lookup(s, id);
    if (b && b->content.len) {
        *out = bytes_ref(b->content);
        return true;
    }
    blob_key(s, TABLE_BLOB, id);
    return store_kv_get(s, writer_slice(&s->key), out) == RC_OK;
}

/* ---- flush ---- */

static void expiry_key(struct partition_store *s, const struct blob *b)
{
    key_begin(&s->key, s->config.partition_id, TABLE_BLOB_EXPIRY);
    write_u64be(&s->key, b->meta.expiry_ms);
    write_u64be(&s->key, b->id);
}

/* Unreferenced blobs whose last packed journal has expired. */
static void sweep(struct partition_store *s)
{
    uint64_t now = s->vars.applied_time_ms;
    if (now < s->next_blob_expiry)
        return;
    key_begin(&s->key, s->config.partition_id, TABLE_BLOB_EXPIRY);
    key_begin(&s->key2, s->config.partition_id, TABLE_BLOB_EXPIRY + 1);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice k, v;
    s->next_blob_expiry = NEVER_MS;
    for (size_t n = 0; s->kv->ops->iter_next(it, &k, &v) && k.len == STORE_KEY_PREFIX + 16; n++) {
        uint64_t expiry = get_u64be(k.ptr + STORE_KEY_PREFIX);
        if (expiry > now || n == SWEEP_MAX) {
            s->next_blob_expiry = expiry;
            break;
        }
        struct blob *b = lookup(s, get_u64be(k.ptr + STORE_KEY_PREFIX + 8));
        if (b && b->wb.flags & WB_DEAD) /* its deletion is being written */
            continue;
        b = blob_get(s, get_u64be(k.ptr + STORE_KEY_PREFIX + 8));
        if (b && b->meta.refs == 0)
            kill(s, b);
    }
    s->kv->ops->iter_free(it);
}

static void flush_one(struct partition_store *s, struct blob *b)
{
    bool is_dead = b->wb.flags & WB_DEAD;
    if (is_dead) {
        blob_key(s, TABLE_BLOB, b->id);
        store_batch_delete(s, writer_slice(&s->key));
        expiry_key(s, b);
        store_batch_delete(s, writer_slice(&s->key));
        blob_key(s, TABLE_BLOB_META, b->id);
        store_batch_delete(s, writer_slice(&s->key));
        return;
    }
    if (!b->content_written) {
        blob_key(s, TABLE_BLOB, b->id);
        store_batch_put(s, writer_slice(&s->key), bytes_slice(b->content));
        b->content_written = true;
    }
    if (b->meta.refs == 0) { /* nothing can refer to it again: the expiry is final */
        expiry_key(s, b);
        store_batch_put(s, writer_slice(&s->key), SLICE_EMPTY);
        s->next_blob_expiry = MIN(s->next_blob_expiry, b->meta.expiry_ms);
    }
    writer_reset(&s->value);
    blob_meta_encode(&s->value, &b->meta);
    blob_key(s, TABLE_BLOB_META, b->id);
    store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
}

void blobs_flush(struct partition_store *s)
{
    sweep(s);
    while (!list_empty(&s->blob_dirty)) {
        struct blob *b = CONTAINER_OF(s->blob_dirty.next, struct blob, wb.link);
        flush_one(s, b);
        wb_flushed(s, &b->wb, &s->blob_flushing);
    }
}

void blobs_written(struct partition_store *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->blob_flushing))) {
        struct blob *b = CONTAINER_OF(n, struct blob, wb.link);
        if (b->wb.flags & WB_DEAD) {
            blob_free(s, b);
            continue;
        }
        bytes_unref(&b->content); /* the state row keeps it as long as it is worth it */
        list_push_back(&s->blob_clean, n);
    }
    for (struct list *m = s->blob_dirty.next; m != &s->blob_dirty; m = m->next) {
        struct blob *b = CONTAINER_OF(m, struct blob, wb.link);
        if (b->content_written && wb_settled(s, &b->wb))
            bytes_unref(&b->content);
    }
}

bool blobs_evict_one(struct partition_store *s)
{
    if (list_empty(&s->blob_clean))
        return false;
    blob_free(s, CONTAINER_OF(s->blob_clean.next, struct blob, wb.link));
    return true;
}

void blobs_free(struct partition_store *s)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&s->blobs, &it); n; n = hmap_step(&s->blobs, &it))
        blob_free(s, CONTAINER_OF(n, struct blob, by_id));
    hmap_free(&s->blobs);
}

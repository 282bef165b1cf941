/* Objects - everything of one (service, key): the lock and the inbox, and the frame of the object cache
 * (store.h). State and promises are in store_state.c and store_promise.c.
 *
 * The header row (lock and counts) exists exactly when the object has anything. It is what makes first
 * touches cheap: no header, no rows, so a new object costs one lookup that the bloom filters answer. */
#include "partition/store_internal.h"

#define INBOX_BATCH     256  /* rows read at once */
#define INBOX_IN_MEMORY 4096 /* above this, clean rows at the end of a long inbox are dropped */

static struct row *row_of(struct omap_node *n)
{
    return CONTAINER_OF(n, struct row, node);
}

static struct inbox_row *inbox_row_of(struct omap_node *n)
{
    return CONTAINER_OF(row_of(n), struct inbox_row, row);
}

static int inbox_row_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct inbox_row, row.node)->entry.seq;
    uint64_t y = CONTAINER_OF(b, struct inbox_row, row.node)->entry.seq;
    return x < y ? -1 : x > y;
}

static int inbox_key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct inbox_row, row.node)->entry.seq;
    return x < y ? -1 : x > y;
}

/* ---- cache ---- */

uint64_t object_hash(struct slice service, struct slice key)
{
    return hash64_combine(hash64(service), hash64(key));
}

struct object *object_cached(struct partition_store *s, struct slice service, struct slice key)
{
    uint64_t hash = object_hash(service, key);
    for (struct hmap_node *n = hmap_first(&s->objects, hash); n; n = hmap_next_same(n)) {
        struct object *o = CONTAINER_OF(n, struct object, by_name);
        if (slice_eq(o->service, service) && slice_eq(o->key, key))
            return o;
    }
    return NULL;
}

void object_key(struct partition_store *s, struct writer *w, enum store_table table, const struct object *o)
{
    key_begin(w, s->config.partition_id, table);
    key_name(w, o->service);
    key_name(w, o->key);
}

void object_charge(struct partition_store *s, struct object *o, ptrdiff_t delta)
{
    store_charge(s, &o->charged_bytes, o->charged_bytes + (size_t)delta);
}

static void load_header(struct partition_store *s, struct object *o)
{
    if (s->obj_backend_empty)
        return;
    object_key(s, &s->key, TABLE_OBJECT, o);
    struct bytes value;
    if (store_kv_get(s, writer_slice(&s->key), &value) != RC_OK)
        return;
    struct reader embedded;
    if (object_header_decode(bytes_slice(value), &o->header, &embedded) &&
        (!o->header.embedded || state_load_embedded(s, o, &embedded)))
        o->wb.flags = WB_PERSISTED;
    else
        store_fail(s, RC_CORRUPT, "the header of object %.*s/%.*s cannot be decoded", SLICE_FMT(o->service),
                   SLICE_FMT(o->key));
    bytes_unref(&value);
    o->persisted = o->header;
}

struct object *object_get(struct partition_store *s, struct slice service, struct slice key)
{
    struct object *o = object_cached(s, service, key);
    if (o) {
        if (wb_clean(s, &o->wb)) {
            list_remove(&o->wb.link);
            list_push_back(&s->obj_clean, &o->wb.link);
        }
        return o;
    }
    o = xcalloc(1, sizeof(*o) + service.len + key.len);
    if (service.len)
        memcpy(o->names, service.ptr, service.len);
    if (key.len)
        memcpy(o->names + service.len, key.ptr, key.len);
    o->service = slice_make(o->names, service.len);
    o->key = slice_make(o->names + service.len, key.len);
    list_init(&o->dirty_rows);
    list_init(&o->flushing_rows);
    omap_init(&o->inbox, inbox_row_cmp);
    omap_init(&o->state, state_row_cmp);
    omap_init(&o->promises, promise_row_cmp);
    hmap_insert(&s->objects, &o->by_name, object_hash(service, key));
    list_init(&o->wb.link);
    list_push_back(&s->obj_clean, &o->wb.link);
    load_header(s, o);
    o->inbox_loaded = o->header.inbox ? 0 : UINT64_MAX;
    o->state_complete = o->header.state == 0 || o->header.embedded;
    o->promises_complete = o->header.promises == 0;
    object_charge(s, o, (ptrdiff_t)(sizeof(*o) + service.len + key.len));
    return o;
}

static size_t row_size(const struct row *r)
{
    if (r->kind == ROW_STATE)
        return state_row_size(CONTAINER_OF(r, struct state_row, row));
    if (r->kind == ROW_PROMISE)
        return promise_row_size(CONTAINER_OF(r, struct promise_row, row));
    return sizeof(struct inbox_row) + CONTAINER_OF(r, struct inbox_row, row)->entry.patch.len;
}

/* The row is in no map any more, or its map is given up. */
void object_row_free(struct partition_store *s, struct object *o, struct row *r)
{
    ASSERT(!(r->wb.flags & WB_DIRTY));
    object_charge(s, o, -(ptrdiff_t)row_size(r));
    list_remove(&r->wb.link);
    if (r->kind == ROW_STATE) {
        struct state_row *x = CONTAINER_OF(r, struct state_row, row);
        bytes_unref(&x->value);
        free(x);
    } else if (r->kind == ROW_PROMISE) {
        struct promise_row *x = CONTAINER_OF(r, struct promise_row, row);
        bytes_unref(&x->outcome_bytes);
        VEC_FREE(&x->listeners);
        free(x);
    } else {
        struct inbox_row *x = CONTAINER_OF(r, struct inbox_row, row);
        bytes_unref(&x->entry.patch);
        free(x);
    }
}

static void free_rows(struct partition_store *s, struct object *o, struct omap *map)
{
    struct omap_node *n;
    while ((n = map->root)) {
        omap_remove(map, n);
        row_of(n)->wb.flags &= (uint8_t)~WB_DIRTY;
        object_row_free(s, o, row_of(n));
    }
}

static void object_free(struct partition_store *s, struct object *o)
{
    free_rows(s, o, &o->inbox);
    free_rows(s, o, &o->state);
    free_rows(s, o, &o->promises);
    list_remove(&o->wb.link);
    hmap_remove(&s->objects, &o->by_name);
    store_charge(s, &o->charged_bytes, 0);
    free(o);
}

void objects_free(struct partition_store *s)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&s->objects, &it); n; n = hmap_step(&s->objects, &it))
        object_free(s, CONTAINER_OF(n, struct object, by_name));
    hmap_free(&s->objects);
}

bool objects_evict_one(struct partition_store *s)
{
    if (list_empty(&s->obj_clean))
        return false;
    object_free(s, CONTAINER_OF(s->obj_clean.next, struct object, wb.link));
    return true;
}

/* ---- changes ---- */

void object_changed(struct partition_store *s, struct object *o)
{
    if (!(o->wb.flags & WB_DIRTY))
        store_note_dirty(s, 64 + o->service.len + o->key.len);
    wb_dirty(s, &o->wb, &s->obj_dirty);
}

void object_row_changed(struct partition_store *s, struct object *o, struct row *r, size_t bytes)
{
    object_changed(s, o);
    o->state_dirty |= r->kind == ROW_STATE;
    wb_dirty(s, &r->wb, &o->dirty_rows);
    store_note_dirty(s, bytes);
}

void object_row_kill(struct partition_store *s, struct object *o, struct omap *map, struct row *r)
{
    object_changed(s, o);
    o->state_dirty |= r->kind == ROW_STATE;
    if (wb_kill(s, &r->wb, &o->dirty_rows, &o->flushing_rows)) {
        omap_remove(map, &r->node);
        object_row_free(s, o, r);
    }
}

/* ---- lock ---- */

bool store_lock_get(struct partition_store *s, struct slice service, struct slice key,
                    struct invocation_id *owner)
{
    struct object *o = object_get(s, service, key);
    if (o->header.locked && owner)
        *owner = o->header.owner;
    return o->header.locked;
}

void store_lock_set(struct partition_store *s, struct slice service, struct slice key,
                    struct invocation_id owner)
{
    struct object *o = object_get(s, service, key);
    o->header.locked = true;
    o->header.owner = owner;
    object_changed(s, o);
    store_mutated(s, MUT_LOCK, object_hash(service, key), hash_id(owner), 0);
}

void store_lock_clear(struct partition_store *s, struct slice service, struct slice key)
{
    struct object *o = object_get(s, service, key);
    o->header.locked = false;
    o->header.owner = (struct invocation_id){0};
    object_changed(s, o);
    store_mutated(s, MUT_UNLOCK, object_hash(service, key), 0, 0);
}

/* ---- inbox ---- */

static void inbox_add(struct partition_store *s, struct object *o, struct inbox_row *r)
{
    r->row.kind = ROW_INBOX;
    list_init(&r->row.wb.link);
    struct omap_node *there = omap_insert(&o->inbox, &r->row.node);
    ASSERT_MSG(!there, "two inbox entries with one sequence number");
    object_charge(s, o, (ptrdiff_t)row_size(&r->row));
}

void store_inbox_push(struct partition_store *s, struct slice service, struct slice key,
                      const struct inbox_entry *entry)
{
    struct object *o = object_get(s, service, key);
    struct inbox_row *r = xcalloc(1, sizeof(*r));
    r->entry = *entry;
    inbox_add(s, o, r);
    o->header.inbox++;
    object_row_changed(s, o, &r->row, 64 + entry->patch.len);
    store_mutated(s, MUT_INBOX_PUSH, object_hash(service, key), entry->seq,
                  hash64_combine(hash_id(entry->id), hash_value(bytes_slice(entry->patch))));
}

/* Read the next rows of the backend into memory. What is there already is newer. */
static void inbox_load(struct partition_store *s, struct object *o)
{
    object_key(s, &s->key, TABLE_INBOX, o);
    write_u64be(&s->key, o->inbox_loaded);
    object_key(s, &s->key2, TABLE_INBOX, o);
    key_after_prefix(&s->key2);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice k, v;
    size_t n = 0;
    bool more;
    while ((more = s->kv->ops->iter_next(it, &k, &v)) && n < INBOX_BATCH) {
        uint64_t seq = get_u64be(k.ptr + k.len - 8);
        o->inbox_loaded = seq + 1;
        n++;
        if (omap_find(&o->inbox, &seq, inbox_key_cmp))
            continue;
        struct inbox_row *r = xcalloc(1, sizeof(*r));
        struct bytes value = bytes_copy(v);
        r->entry.seq = seq;
        if (!inbox_decode(value, &r->entry))
            store_fail(s, RC_CORRUPT, "inbox entry %llu of %.*s/%.*s cannot be decoded",
                       (unsigned long long)seq, SLICE_FMT(o->service), SLICE_FMT(o->key));
        bytes_unref(&value);
        r->row.wb.flags = WB_PERSISTED;
        inbox_add(s, o, r);
    }
    if (!more)
        o->inbox_loaded = UINT64_MAX;
    s->kv->ops->iter_free(it);
}

/* The entry with the smallest seq, or NULL. */
static struct inbox_row *inbox_first(struct partition_store *s, struct object *o)
{
    if (o->header.inbox == 0)
        return NULL;
    for (;;) {
        struct omap_node *n = omap_first(&o->inbox);
        while (n && row_of(n)->wb.flags & WB_DEAD)
            n = omap_next(n);
        if (n && (inbox_row_of(n)->entry.seq < o->inbox_loaded || o->inbox_loaded == UINT64_MAX))
            return inbox_row_of(n);
        if (o->inbox_loaded == UINT64_MAX)
            break;
        inbox_load(s, o);
    }
    store_fail(s, RC_CORRUPT, "the inbox of %.*s/%.*s lacks %llu entries", SLICE_FMT(o->service),
               SLICE_FMT(o->key), (unsigned long long)o->header.inbox);
    return NULL;
}

/* `out` may be NULL. */
static void inbox_take(struct partition_store *s, struct object *o, struct inbox_row *r,
                       struct inbox_entry *out)
{
    store_mutated(s, MUT_INBOX_REMOVE, object_hash(o->service, o->key), r->entry.seq, 0);
    if (out) {
        *out = r->entry;
        out->patch = bytes_ref(r->entry.patch);
    }
    ASSERT(o->header.inbox > 0);
    o->header.inbox--;
    store_note_dirty(s, 32);
    object_row_kill(s, o, &o->inbox, &r->row);
}

bool store_inbox_pop(struct partition_store *s, struct slice service, struct slice key,
                     struct inbox_entry *out)
{
    struct object *o = object_get(s, service, key);
    struct inbox_row *r = inbox_first(s, o);
    if (!r)
        return false;
    inbox_take(s, o, r, out);
    return true;
}

bool store_inbox_remove(struct partition_store *s, struct slice service, struct slice key, uint64_t seq)
{
    struct object *o = object_get(s, service, key);
    if (o->header.inbox == 0)
        return false;
    struct omap_node *n = omap_find(&o->inbox, &seq, inbox_key_cmp);
    if (!n && seq >= o->inbox_loaded && o->inbox_loaded != UINT64_MAX) {
        object_key(s, &s->key, TABLE_INBOX, o);
        write_u64be(&s->key, seq);
        struct bytes value;
        if (store_kv_get(s, writer_slice(&s->key), &value) != RC_OK)
            return false;
        struct inbox_row *r = xcalloc(1, sizeof(*r));
        r->entry.seq = seq;
        if (!inbox_decode(value, &r->entry))
            store_fail(s, RC_CORRUPT, "inbox entry %llu cannot be decoded", (unsigned long long)seq);
        bytes_unref(&value);
        r->row.wb.flags = WB_PERSISTED;
        inbox_add(s, o, r);
        n = &r->row.node;
    }
    if (!n || row_of(n)->wb.flags & WB_DEAD)
        return false;
    inbox_take(s, o, inbox_row_of(n), NULL);
    return true;
}

/* Keep the head of a long inbox in memory and drop its clean tail. */
static void inbox_trim(struct partition_store *s, struct object *o)
{
    if (o->inbox.count <= INBOX_IN_MEMORY)
        return;
    struct omap_node *n = omap_first(&o->inbox);
    for (size_t i = 0; i < INBOX_IN_MEMORY / 4; i++)
        n = omap_next(n);
    while (n) {
        struct omap_node *next = omap_next(n);
        if (wb_clean(s, &row_of(n)->wb)) {
            o->inbox_loaded = MIN(o->inbox_loaded, inbox_row_of(n)->entry.seq);
            omap_remove(&o->inbox, n);
            object_row_free(s, o, row_of(n));
        }
        n = next;
    }
}

/* ---- flush ---- */

static void inbox_row_encode(struct partition_store *s, struct object *o, struct inbox_row *r)
{
    object_key(s, &s->key, TABLE_INBOX, o);
    write_u64be(&s->key, r->entry.seq);
    if (r->row.wb.flags & WB_DEAD)
        return;
    writer_reset(&s->value);
    inbox_encode(&s->value, &r->entry);
}

static void flush_rows(struct partition_store *s, struct object *o)
{
    while (!list_empty(&o->dirty_rows)) {
        struct row *r = CONTAINER_OF(o->dirty_rows.next, struct row, wb.link);
        if (r->kind == ROW_STATE && o->header.embedded && !(r->wb.flags & WB_DEAD)) {
            wb_flushed(s, &r->wb, &o->flushing_rows); /* goes with the header */
            r->wb.flags &= (uint8_t)~WB_PERSISTED;
            continue;
        }
        if (r->kind == ROW_STATE)
            state_row_encode(s, o, CONTAINER_OF(r, struct state_row, row));
        else if (r->kind == ROW_PROMISE)
            promise_row_encode(s, o, CONTAINER_OF(r, struct promise_row, row));
        else
            inbox_row_encode(s, o, CONTAINER_OF(r, struct inbox_row, row));
        if (r->wb.flags & WB_DEAD)
            store_batch_delete(s, writer_slice(&s->key));
        else
            store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
        wb_flushed(s, &r->wb, &o->flushing_rows);
    }
}

static void flush_wipe(struct partition_store *s, struct object *o)
{
    if (!o->state_wipe)
        return;
    object_key(s, &s->key, TABLE_STATE, o);
    store_batch_delete_prefix(s, &s->key);
    o->state_wipe = false;
    o->wipe_generation = s->in_batch.generation;
}

static void flush_header(struct partition_store *s, struct object *o)
{
    static const struct object_header empty;
    bool keep = !object_header_eq(&o->header, &empty), persisted = o->wb.flags & WB_PERSISTED;
    bool stale = !object_header_eq(&o->header, &o->persisted) || (o->header.embedded && o->state_dirty);
    o->state_dirty = false;
    if ((!keep && !persisted) || (keep && persisted && !stale))
        return;
    object_key(s, &s->key, TABLE_OBJECT, o);
    if (keep) {
        writer_reset(&s->value);
        object_header_encode(&s->value, &o->header);
        if (o->header.embedded)
            state_append_embedded(o, &s->value);
        store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
        s->obj_backend_empty = false;
    } else {
        store_batch_delete(s, writer_slice(&s->key));
    }
    o->persisted = o->header;
}

void objects_flush(struct partition_store *s)
{
    while (!list_empty(&s->obj_dirty)) {
        struct object *o = CONTAINER_OF(s->obj_dirty.next, struct object, wb.link);
        flush_wipe(s, o);
        state_choose_form(s, o);
        flush_rows(s, o);
        flush_header(s, o);
        wb_flushed(s, &o->wb, &s->obj_flushing);
        static const struct object_header empty;
        if (object_header_eq(&o->header, &empty))
            o->wb.flags &= (uint8_t)~WB_PERSISTED;
    }
}

static void rows_written(struct partition_store *s, struct object *o)
{
    struct list *n;
    while ((n = list_pop_front(&o->flushing_rows))) {
        struct row *r = CONTAINER_OF(n, struct row, wb.link);
        if (!(r->wb.flags & WB_DEAD))
            continue;
        struct omap *map = r->kind == ROW_STATE     ? &o->state
                           : r->kind == ROW_PROMISE ? &o->promises
                                                    : &o->inbox;
        omap_remove(map, &r->node);
        object_row_free(s, o, r);
    }
}

/* Rows of an object that is dirty again are looked after too: their generation is written. */
void objects_written(struct partition_store *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->obj_flushing))) {
        struct object *o = CONTAINER_OF(n, struct object, wb.link);
        rows_written(s, o);
        inbox_trim(s, o);
        state_trim(s, o);
        list_push_back(&s->obj_clean, n);
    }
    for (struct list *m = s->obj_dirty.next; m != &s->obj_dirty; m = m->next)
        rows_written(s, CONTAINER_OF(m, struct object, wb.link));
}

/* Journals and events of invocations: append, load, purge, and the index that finds notifications and
 * commands (store.h). */
#include "partition/store_internal.h"

#define INDEX_FROM 32 /* shorter journals are searched from the end */

/* ---- index: open addressing, one slot per notification id (its last entry) or completion id (its command)
 * ---- */

struct journal_index {
    size_t mask, used;
    size_t indexed; /* entries taken in */
    struct {
        uint32_t entry; /* index + 1; 0: empty */
        uint32_t hash;
    } * slots;
};

struct probe {
    bool command; /* find the command that owns `index` */
    struct notification_id id;
};

static uint32_t probe_hash(const struct probe *p)
{
    uint64_t h = p->id.kind == NOTIFICATION_NAMED_SIGNAL && !p->command ? hash64(p->id.name) : p->id.index;
    return (uint32_t)hash64_combine(h, p->command ? 7 : p->id.kind);
}

static bool entry_matches(const struct journal_entry *e, const struct probe *p)
{
    if (p->command)
        return message_is_command(e->type) && p->id.index != 0 &&
               (e->completion_id == p->id.index || e->completion_id2 == p->id.index);
    if (!message_is_notification(e->type) || e->notification_kind != p->id.kind)
        return false;
    if (p->id.kind == NOTIFICATION_NAMED_SIGNAL)
        return slice_eq(e->signal_name, p->id.name);
    return e->completion_id == p->id.index;
}

static size_t slot_find(const struct journal_index *x, const struct invocation *inv, const struct probe *p)
{
    uint32_t hash = probe_hash(p);
    size_t i = hash & x->mask;
    while (x->slots[i].entry &&
           !(x->slots[i].hash == hash && entry_matches(&inv->journal.items[x->slots[i].entry - 1], p)))
        i = (i + 1) & x->mask;
    return i;
}

static void index_resize(struct journal_index *x, size_t slots)
{
    struct journal_index old = *x;
    x->slots = xcalloc(slots, sizeof(*x->slots));
    x->mask = slots - 1;
    for (size_t i = 0; old.slots && i <= old.mask; i++) {
        if (!old.slots[i].entry)
            continue;
        size_t to = old.slots[i].hash & x->mask;
        while (x->slots[to].entry)
            to = (to + 1) & x->mask;
        x->slots[to] = old.slots[i];
    }
    free(old.slots);
}

static void index_put(struct journal_index *x, const struct invocation *inv, const struct probe *p,
                      size_t entry)
{
    if ((x->used + 1) * 2 > x->mask)
        index_resize(x, (x->mask + 1) * 2);
    size_t i = slot_find(x, inv, p);
    if (!x->slots[i].entry)
        x->used++;
    x->slots[i].entry = (uint32_t)entry + 1;
    x->slots[i].hash = probe_hash(p);
}

static void index_entry(struct journal_index *x, const struct invocation *inv, size_t at)
{
    const struct journal_entry *e = &inv->journal.items[at];
    if (message_is_notification(e->type)) {
        struct probe p = {false, {e->notification_kind, e->completion_id, e->signal_name}};
        index_put(x, inv, &p, at);
    } else if (message_is_command(e->type)) {
        const uint32_t ids[] = {e->completion_id, e->completion_id2};
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            struct probe p = {true, {NOTIFICATION_COMPLETION, ids[i], SLICE_EMPTY}};
            if (ids[i])
                index_put(x, inv, &p, at);
        }
    }
}

void journal_index_free(struct invocation *inv)
{
    if (inv->index)
        free(inv->index->slots);
    free(inv->index);
    inv->index = NULL;
}

static ptrdiff_t find(struct partition_store *s, struct invocation *inv, const struct probe *p)
{
    store_journal_load(s, inv);
    if (inv->journal.len < INDEX_FROM) {
        for (size_t i = inv->journal.len; i-- > 0;) {
            if (entry_matches(&inv->journal.items[i], p))
                return (ptrdiff_t)i;
        }
        return -1;
    }
    if (!inv->index) {
        inv->index = xcalloc(1, sizeof(*inv->index));
        index_resize(inv->index, 128);
    }
    struct journal_index *x = inv->index;
    for (; x->indexed < inv->journal.len; x->indexed++)
        index_entry(x, inv, x->indexed);
    return (ptrdiff_t)x->slots[slot_find(x, inv, p)].entry - 1;
}

ptrdiff_t store_find_notification(struct partition_store *s, struct invocation *inv,
                                  const struct notification_id *id)
{
    struct probe p = {false, *id};
    return find(s, inv, &p);
}

ptrdiff_t store_find_command(struct partition_store *s, struct invocation *inv, uint32_t completion_id)
{
    struct probe p = {true, {NOTIFICATION_COMPLETION, completion_id, SLICE_EMPTY}};
    return completion_id ? find(s, inv, &p) : -1;
}

/* ---- append, purge ---- */

uint32_t store_journal_append(struct partition_store *s, struct invocation *inv,
                              const struct journal_entry *entry)
{
    ASSERT(!inv->journal_purged && inv->journal.len < UINT32_MAX);
    store_journal_load(s, inv);
    uint32_t at = (uint32_t)inv->journal.len;
    VEC_PUSH(&inv->journal, *entry);
    struct journal_entry *e = &inv->journal.items[at];
    e->blob_id = 0;
    journal_attach_blob(s, inv, e);
    inv->journal_bytes += e->payload.len;
    uint64_t numbers = (uint64_t)e->completion_id << 32 | e->completion_id2;
    uint64_t kind = (uint64_t)e->type | (uint64_t)e->result << 16 | (uint64_t)e->notification_kind << 24 |
                    (uint64_t)at << 32;
    if (e->has_callee)
        numbers = hash64_combine(numbers, hash_id(e->callee));
    store_mutated(s, MUT_JOURNAL, hash64_combine(hash_id(inv->id), kind), numbers,
                  hash64_combine(hash_value(bytes_slice(e->payload)), e->appended_at_ms));
    return at;
}

void store_event_append(struct partition_store *s, struct invocation *inv, const struct journal_event *event)
{
    store_journal_load(s, inv);
    VEC_PUSH(&inv->events, *event);
    inv->journal_bytes += event->json.len;
    store_mutated(s, MUT_EVENT, hash_id(inv->id), hash64_combine(event->at_ms, event->lsn),
                  hash64_combine(hash_value(bytes_slice(event->json)), event->after_entry_index));
}

void store_journal_purge(struct partition_store *s, struct invocation *inv)
{
    store_mutated(s, MUT_PURGE, hash_id(inv->id), 0, 0);
    journal_unref_blobs(s, inv);
    journal_index_free(inv);
    invocation_release_journal(inv);
    inv->store_flags &= ~(uint32_t)INV_NOT_LOADED;
    if (inv->store_flags & INV_ROWS)
        inv->store_flags |= INV_STALE_ROWS;
    inv->journal_purged = true;
    inv->commands = 0;
    inv->journal_bytes = 0;
    store_invocation_changed(s, inv);
}

/* ---- load ---- */

static enum rc load_row(struct partition_store *s, struct invocation *inv, struct slice key,
                        struct slice stored, struct err *err)
{
    struct reader suffix = reader_make(slice_sub(key, STORE_KEY_PREFIX + INVOCATION_ID_BYTES,
                                                 key.len - STORE_KEY_PREFIX - INVOCATION_ID_BYTES));
    uint8_t part = read_u8(&suffix);
    if (part == PART_ORIGIN)
        return RC_OK;
    uint32_t index = read_u32be(&suffix);
    struct bytes value = bytes_copy(stored);
    struct reader r = reader_make(bytes_slice(value));
    struct blob_source blobs = store_blob_source(s);
    enum rc rc;
    if (part == PART_ENTRY) {
        struct journal_entry e;
        rc = entry_decode(value, &r, inv, &blobs, &e, err);
        if (rc == RC_OK)
            VEC_PUSH(&inv->journal, e);
        if (rc == RC_OK && index != inv->journal.len - 1)
            rc = err_set(err, RC_CORRUPT, "journal entry %u is missing", (unsigned)inv->journal.len - 1);
    } else {
        struct journal_event e;
        rc = event_decode(value, &r, &e, err);
        if (rc == RC_OK)
            VEC_PUSH(&inv->events, e);
        if (rc == RC_OK && index != inv->events.len - 1)
            rc = err_set(err, RC_CORRUPT, "journal event %u is missing", (unsigned)inv->events.len - 1);
    }
    if (rc == RC_OK && !reader_done(&r))
        rc = err_set(err, RC_CORRUPT, "a journal row has %zu bytes too many", reader_left(&r));
    bytes_unref(&value);
    return rc;
}

void store_journal_load(struct partition_store *s, struct invocation *inv)
{
    if (!(inv->store_flags & INV_NOT_LOADED))
        return;
    inv->store_flags &= ~(uint32_t)INV_NOT_LOADED;
    size_t entries = inv->journal.len, events = inv->events.len;
    inv->journal.len = inv->events.len = 0;
    key_begin(&s->key, s->config.partition_id, TABLE_JOURNAL);
    key_id(&s->key, inv->id);
    key_begin(&s->key2, s->config.partition_id, TABLE_JOURNAL);
    key_id(&s->key2, inv->id);
    key_after_prefix(&s->key2);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice key, value;
    struct err err = {0};
    while (err.rc == RC_OK && s->kv->ops->iter_next(it, &key, &value))
        load_row(s, inv, key, value, &err);
    s->kv->ops->iter_free(it);
    if (err.rc == RC_OK && (inv->journal.len != entries || inv->events.len != events))
        err_set(&err, RC_CORRUPT, "the journal has %zu of %zu entries and %zu of %zu events",
                inv->journal.len, entries, inv->events.len, events);
    if (err.rc) {
        char text[INVOCATION_ID_TEXT + 1];
        invocation_id_format(inv->id, text);
        store_fail(s, RC_CORRUPT, "%s of %s", err.msg, text);
    }
    invocation_recharge(s, inv);
}

/* ---- blobs in journals ---- */

/* The content of a Value {1: bytes} somewhere in the message's top level. */
static bool value_content(struct slice payload, struct slice *out)
{
    struct reader r = reader_make(payload);
    struct pb_field f, v;
    while (pb_next(&r, &f)) {
        if (f.wire != PB_LEN || f.bytes.len < STORE_BLOB_MIN)
            continue;
        struct reader inner = reader_make(f.bytes);
        while (pb_next(&inner, &v)) {
            if (v.wire == PB_LEN && v.number == 1 && v.bytes.len >= STORE_BLOB_MIN) {
                *out = v.bytes;
                return true;
            }
        }
    }
    return false;
}

void journal_attach_blob(struct partition_store *s, struct invocation *inv, struct journal_entry *e)
{
    if (e->blob_id || e->payload.len < STORE_BLOB_MIN || e->payload.len > UINT32_MAX ||
        (e->type != MSG_GET_EAGER_STATE && e->type != MSG_N_GET_LAZY_STATE && e->type != MSG_SET_STATE))
        return;
    struct object *o = object_cached(s, inv->si.target.service, inv->si.target.key);
    struct slice content;
    if (!o || !value_content(bytes_slice(e->payload), &content))
        return;
    uint64_t id = state_find_blob(s, o, content);
    if (!id)
        return;
    e->blob_id = id;
    e->blob_at = (uint32_t)(content.ptr - e->payload.ptr);
    e->blob_len = (uint32_t)content.len;
    blob_ref(s, id);
    inv->store_flags |= INV_HAS_BLOBS;
}

void journal_unref_blobs(struct partition_store *s, struct invocation *inv)
{
    if (!(inv->store_flags & INV_HAS_BLOBS) || inv->store_flags & INV_BLOBS_FREED)
        return;
    store_journal_load(s, inv);
    for (size_t i = 0; i < inv->journal.len; i++) {
        if (inv->journal.items[i].blob_id)
            blob_unref(s, inv->journal.items[i].blob_id);
    }
    inv->store_flags &= ~(uint32_t)INV_HAS_BLOBS;
}

void journal_release_blobs(struct partition_store *s, struct invocation *inv)
{
    if (!(inv->store_flags & INV_HAS_BLOBS) || inv->store_flags & INV_BLOBS_FREED)
        return;
    uint64_t expiry = invocation_journal_expiry_ms(inv);
    for (size_t i = 0; i < inv->journal.len; i++) {
        uint64_t id = inv->journal.items[i].blob_id;
        if (!id)
            continue;
        blob_keep_until(s, id, expiry);
        blob_unref(s, id);
    }
    inv->store_flags |= INV_BLOBS_FREED;
}

static bool source_content(void *ctx, uint64_t id, struct bytes *out)
{
    return blob_content(ctx, id, out);
}

struct blob_source store_blob_source(struct partition_store *s)
{
    return (struct blob_source){source_content, s};
}

/* Scans of invocations and journals (partition/scan.h). */
#include "partition/scan_internal.h"

/* ---- copying, on the store's loop ---- */

static const struct scan_invocation *copied(const struct store_scan *c, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&c->by_key, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        const struct scan_invocation *x = CONTAINER_OF(n, struct scan_invocation, node);
        if (invocation_id_eq(x->id, id))
            return x;
    }
    return NULL;
}

/* The items of the journal that the view does not have: `from` on. */
static void copy_journal(struct scan_invocation *x, const struct partition_store *s,
                         const struct invocation *inv)
{
    bool rows = inv->store_flags & INV_ROWS && !(inv->store_flags & INV_STALE_ROWS);
    if (inv->journal_purged)
        return;
    if (inv->store_flags & INV_NOT_LOADED) {
        x->entries_from = (uint32_t)inv->journal.len;
        x->events_from = (uint32_t)inv->events.len;
        return;
    }
    if (!wb_settled(s, &inv->wb)) {
        x->entries_from = inv->settled_entries;
        x->events_from = inv->settled_events;
    } else if (rows) {
        x->entries_from = inv->persisted_entries;
        x->events_from = inv->persisted_events;
    }
    struct invocation *out = &x->inv;
    out->journal.len = out->events.len = 0;
    for (size_t i = x->entries_from; i < inv->journal.len; i++) {
        struct journal_entry e = inv->journal.items[i];
        e.payload = bytes_ref(e.payload);
        VEC_PUSH(&out->journal, e);
    }
    for (size_t i = x->events_from; i < inv->events.len; i++) {
        struct journal_event e = inv->events.items[i];
        e.json = bytes_ref(e.json);
        VEC_PUSH(&out->events, e);
    }
}

static void copy(struct store_scan *c, const struct partition_store *s, const struct invocation *inv)
{
    struct scan_invocation *x = xcalloc(1, sizeof(*x));
    x->dead = inv->wb.flags & WB_DEAD;
    x->id = inv->id;
    if (!x->dead) {
        x->inv = *inv;
        x->inv.origin = bytes_ref(inv->origin);
        x->inv.awaiting.encoded = bytes_ref(inv->awaiting.encoded);
        x->inv.result_bytes = bytes_ref(inv->result_bytes);
        x->inv.index = NULL;
        memset(&x->inv.sinks, 0, sizeof(x->inv.sinks));
        x->inv.journal.items = NULL;
        x->inv.journal.cap = 0;
        x->inv.events.items = NULL;
        x->inv.events.cap = 0;
        if (c->kind == SCAN_JOURNALS)
            copy_journal(x, s, inv);
    }
    hmap_insert(&c->by_key, &x->node, invocation_id_hash(inv->id));
    VEC_PUSH(&c->invocations, x);
}

static void copy_one(struct store_scan *c, const struct partition_store *s)
{
    struct invocation_id id = c->filter.id;
    for (struct hmap_node *n = hmap_first(&s->invocations, invocation_id_hash(id)); n;
         n = hmap_next_same(n)) {
        const struct invocation *inv = CONTAINER_OF(n, struct invocation, by_id);
        if (invocation_id_eq(inv->id, id) && !wb_clean(s, &inv->wb))
            copy(c, s, inv);
    }
}

void scan_copy_invocations(struct store_scan *c, struct partition_store *s)
{
    if (c->filter.by_id) {
        copy_one(c, s);
        return;
    }
    LIST_FOREACH(n, &s->inv_dirty)
    copy(c, s, CONTAINER_OF(n, struct invocation, wb.link));
    LIST_FOREACH(n, &s->inv_flushing)
    copy(c, s, CONTAINER_OF(n, struct invocation, wb.link));
}

static void release(struct invocation *inv)
{
    invocation_release(inv);
    *inv = (struct invocation){0};
}

void scan_invocations_free(struct store_scan *c)
{
    release(&c->stored);
    for (size_t i = 0; i < c->invocations.len; i++) {
        release(&c->invocations.items[i]->inv);
        free(c->invocations.items[i]);
    }
    VEC_FREE(&c->invocations);
}

/* ---- filling up from the view ---- */

static bool blob_content_of(void *ctx, uint64_t id, struct bytes *out)
{
    return scan_blob(ctx, id, out);
}

static bool damaged(struct store_scan *c, struct invocation_id id, const struct err *err)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(id, text);
    scan_fail(c, RC_CORRUPT, "%s of %s", err->msg, text);
    return false;
}

/* One row of TABLE_JOURNAL; those at and after the limits are in memory. */
static bool take_row(struct store_scan *c, struct invocation *inv, struct slice key, struct slice stored,
                     uint32_t entries, uint32_t events)
{
    size_t head = STORE_KEY_PREFIX + INVOCATION_ID_BYTES;
    struct reader suffix = reader_make(slice_sub(key, head, key.len - head));
    uint8_t part = read_u8(&suffix);
    uint32_t index = read_u32be(&suffix);
    if (part == PART_ORIGIN || (part == PART_ENTRY ? index >= entries : index >= events))
        return true;
    struct bytes value = bytes_copy(stored);
    struct reader r = reader_make(bytes_slice(value));
    struct blob_source blobs = {blob_content_of, c};
    struct err err = {0};
    if (part == PART_ENTRY) {
        struct journal_entry e;
        if (entry_decode(value, &r, inv, &blobs, &e, &err) == RC_OK)
            VEC_PUSH(&inv->journal, e);
    } else {
        struct journal_event e;
        if (event_decode(value, &r, &e, &err) == RC_OK)
            VEC_PUSH(&inv->events, e);
    }
    bytes_unref(&value);
    return err.rc == RC_OK || damaged(c, inv->id, &err);
}

static bool read_rows(struct store_scan *c, struct invocation *inv, uint32_t entries, uint32_t events)
{
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    key_begin(&from, c->partition_id, TABLE_JOURNAL);
    key_id(&from, inv->id);
    write_slice_raw(&to, writer_slice(&from));
    key_after_prefix(&to);
    struct kv_iter *it = scan_iter(c, writer_slice(&from), writer_slice(&to));
    struct slice key, value;
    bool ok = true;
    while (ok && scan_iter_next(c, &it, &key, &value))
        ok = take_row(c, inv, key, value, entries, events);
    if (it)
        c->ops->iter_free(it);
    writer_free(&from);
    writer_free(&to);
    return ok && c->err.rc == RC_OK;
}

/* Put the first items, from the backend, in front of the copied ones. */
static bool complete_copy(struct store_scan *c, struct scan_invocation *x)
{
    if (c->kind != SCAN_JOURNALS || (x->entries_from == 0 && x->events_from == 0))
        return true;
    struct invocation head = {.id = x->inv.id, .origin = x->inv.origin};
    bool ok = read_rows(c, &head, x->entries_from, x->events_from);
    if (x->inv.store_flags & INV_NOT_LOADED)
        x->inv.journal.len = x->inv.events.len = 0;
    for (size_t i = 0; i < x->inv.journal.len; i++)
        VEC_PUSH(&head.journal, x->inv.journal.items[i]);
    for (size_t i = 0; i < x->inv.events.len; i++)
        VEC_PUSH(&head.events, x->inv.events.items[i]);
    VEC_FREE(&x->inv.journal);
    VEC_FREE(&x->inv.events);
    memcpy(&x->inv.journal, &head.journal, sizeof(head.journal));
    memcpy(&x->inv.events, &head.events, sizeof(head.events));
    x->entries_from = x->events_from = 0;
    return ok;
}

static bool load_origin(struct store_scan *c, struct invocation *inv)
{
    key_begin(&c->key, c->partition_id, TABLE_JOURNAL);
    key_id(&c->key, inv->id);
    write_u8(&c->key, PART_ORIGIN);
    struct bytes origin;
    struct err err = {0};
    if (!scan_get(c, writer_slice(&c->key), &origin)) {
        err_set(&err, RC_CORRUPT, "the origin is missing");
        return damaged(c, inv->id, &err);
    }
    invocation_set_origin(inv, origin, &err);
    bytes_unref(&origin);
    return err.rc == RC_OK || damaged(c, inv->id, &err);
}

/* c->stored from a value of TABLE_INVOCATION. False: not to be shown, or failed. */
static bool load_stored(struct store_scan *c, struct invocation_id id, struct slice stored)
{
    struct stored_head h;
    if (stored_head_get(stored, &h) && !(h.flags & STORED_KEEP) && h.expiry_ms <= c->now_ms)
        return false;
    struct invocation *inv = &c->stored;
    release(inv);
    inv->id = id;
    struct bytes value = bytes_copy(stored);
    struct blob_source blobs = {blob_content_of, c};
    struct err err = {0};
    bool ok = (c->kind == SCAN_JOURNALS ? invocation_decode(value, inv, c->now_ms, &blobs, &err)
                                        : invocation_decode_status(value, inv, c->now_ms, &err)) == RC_OK;
    bytes_unref(&value);
    if (!ok)
        return damaged(c, id, &err);
    if (inv->status == INV_COMPLETED)
        return true;
    if (!inv->origin.len && !load_origin(c, inv))
        return false;
    if (c->kind != SCAN_JOURNALS)
        return true;
    uint32_t entries = (uint32_t)inv->journal.len, events = (uint32_t)inv->events.len;
    inv->journal.len = inv->events.len = 0;
    return read_rows(c, inv, entries, events);
}

/* A copy as the clock sees it. */
static bool visible(const struct store_scan *c, struct scan_invocation *x)
{
    struct invocation *inv = &x->inv;
    if (inv->status != INV_COMPLETED)
        return true;
    if (invocation_expiry_ms(inv) <= c->now_ms)
        return false;
    if (!inv->journal_purged && invocation_journal_expiry_ms(inv) <= c->now_ms) {
        invocation_release_journal(inv);
        inv->journal.len = inv->events.len = 0;
        inv->journal_purged = true;
        inv->commands = 0;
        x->entries_from = x->events_from = 0;
    }
    return true;
}

/* ---- reading ---- */

static void open_backend(struct store_scan *c)
{
    enum store_table table = c->filter.live_only ? TABLE_LIVE : TABLE_INVOCATION;
    struct writer to = WRITER_INIT;
    key_begin(&c->key, c->partition_id, table);
    if (c->filter.by_id) {
        key_begin(&c->key, c->partition_id, TABLE_INVOCATION);
        key_id(&c->key, c->filter.id);
        write_slice_raw(&to, writer_slice(&c->key));
        write_u8(&to, 0);
    } else {
        key_begin(&to, c->partition_id, table + 1);
    }
    c->it = scan_iter(c, writer_slice(&c->key), writer_slice(&to));
    writer_free(&to);
}

/* The row of the index of live invocations leads to the invocation. */
static bool load_live(struct store_scan *c, struct invocation_id id)
{
    key_begin(&c->key, c->partition_id, TABLE_INVOCATION);
    key_id(&c->key, id);
    struct bytes value;
    if (!scan_get(c, writer_slice(&c->key), &value))
        return false;
    bool ok = load_stored(c, id, bytes_slice(value));
    bytes_unref(&value);
    return ok;
}

static const struct invocation *next_stored(struct store_scan *c)
{
    struct slice key, value;
    while (c->err.rc == RC_OK && scan_iter_next(c, &c->it, &key, &value)) {
        if (key.len != STORE_KEY_PREFIX + INVOCATION_ID_BYTES)
            continue;
        struct invocation_id id = invocation_id_from_bytes(key.ptr + STORE_KEY_PREFIX);
        if (copied(c, id))
            continue;
        bool loaded = c->filter.live_only && !c->filter.by_id ? load_live(c, id) : load_stored(c, id, value);
        if (loaded && !(c->filter.live_only && c->stored.status == INV_COMPLETED))
            return &c->stored;
    }
    return NULL;
}

const struct invocation *store_scan_invocation(struct store_scan *c)
{
    ASSERT(c->kind == SCAN_INVOCATIONS || c->kind == SCAN_JOURNALS);
    if (c->shown) { /* what was filled up is not kept for longer than needed */
        release(&c->shown->inv);
        c->shown = NULL;
    }
    while (c->at < c->invocations.len && c->err.rc == RC_OK) {
        struct scan_invocation *x = c->invocations.items[c->at++];
        bool show = !x->dead && visible(c, x) && !(c->filter.live_only && x->inv.status == INV_COMPLETED) &&
                    complete_copy(c, x);
        if (show) {
            c->shown = x;
            return &x->inv;
        }
        release(&x->inv);
    }
    if (c->err.rc != RC_OK || c->ended)
        return NULL;
    if (!c->it)
        open_backend(c);
    const struct invocation *inv = next_stored(c);
    c->ended = !inv;
    return inv;
}

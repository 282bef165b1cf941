/* Scans of what belongs to objects: locks, inboxes, state, promises (partition/scan.h). */
#include "partition/scan_internal.h"

#define COPY_WHOLE_MAX 1024 /* rows of an object that are copied although the backend has them */

/* ---- copying, on the store's loop ---- */

static struct scan_object *copied(const struct store_scan *c, struct slice service, struct slice key)
{
    for (struct hmap_node *n = hmap_first(&c->by_key, object_hash(service, key)); n; n = hmap_next_same(n)) {
        struct scan_object *x = CONTAINER_OF(n, struct scan_object, node);
        if (slice_eq(x->service, service) && slice_eq(x->key, key))
            return x;
    }
    return NULL;
}

static enum row_kind wanted(enum scan_kind kind)
{
    return kind == SCAN_INBOX ? ROW_INBOX : kind == SCAN_STATE ? ROW_STATE : ROW_PROMISE;
}

static void copy_row(struct scan_object *x, struct partition_store *s, const struct row *r)
{
    struct scan_entry e = {.dead = r->wb.flags & WB_DEAD};
    if (r->kind == ROW_INBOX) {
        const struct inbox_row *i = CONTAINER_OF(r, struct inbox_row, row);
        e.seq = i->entry.seq;
        e.inbox.kind = i->entry.kind;
        e.inbox.id = i->entry.id;
    } else if (r->kind == ROW_STATE) {
        const struct state_row *t = CONTAINER_OF(r, struct state_row, row);
        e.name = bytes_copy(t->key);
        if (t->value.ptr || !t->blob_id)
            e.value = bytes_ref(t->value);
        else if (!e.dead && !blob_content(s, t->blob_id, &e.value))
            e.dead = true;
    } else {
        const struct promise_row *p = CONTAINER_OF(r, struct promise_row, row);
        e.name = bytes_copy(p->key);
        e.outcome = p->outcome;
        e.outcome_bytes = bytes_ref(p->outcome_bytes);
    }
    VEC_PUSH(&x->entries, e);
}

static void copy_unwritten(struct scan_object *x, struct partition_store *s, const struct list *rows,
                           enum row_kind kind)
{
    LIST_FOREACH(n, rows)
    {
        const struct row *r = CONTAINER_OF(n, struct row, wb.link);
        if (r->kind == kind)
            copy_row(x, s, r);
    }
}

static void copy_entries(struct store_scan *c, struct partition_store *s, struct scan_object *x,
                         const struct object *o)
{
    if (c->kind == SCAN_LOCKS)
        return;
    bool state = c->kind == SCAN_STATE;
    x->complete = state && o->state_complete && o->state.count <= COPY_WHOLE_MAX;
    if (x->complete) {
        for (struct omap_node *n = omap_first(&o->state); n; n = omap_next(n))
            copy_row(x, s, CONTAINER_OF(n, struct row, node));
        return;
    }
    /* A wipe that is not written yet: what the view has is gone. */
    x->complete = state && (o->state_wipe || o->wipe_generation > s->written.generation);
    copy_unwritten(x, s, &o->dirty_rows, wanted(c->kind));
    copy_unwritten(x, s, &o->flushing_rows, wanted(c->kind));
}

static void copy(struct store_scan *c, struct partition_store *s, const struct object *o)
{
    struct scan_object *x = xcalloc(1, sizeof(*x));
    x->text = xmalloc(o->service.len + o->key.len + 1);
    if (o->service.len)
        memcpy(x->text, o->service.ptr, o->service.len);
    if (o->key.len)
        memcpy(x->text + o->service.len, o->key.ptr, o->key.len);
    x->service = slice_make(x->text, o->service.len);
    x->key = slice_make(x->text + o->service.len, o->key.len);
    x->locked = o->header.locked;
    x->owner = o->header.owner;
    copy_entries(c, s, x, o);
    hmap_insert(&c->by_key, &x->node, object_hash(x->service, x->key));
    VEC_PUSH(&c->objects, x);
}

void scan_copy_objects(struct store_scan *c, struct partition_store *s)
{
    if (c->filter.by_object) {
        struct object *o = object_cached(s, c->filter.service, c->filter.key);
        if (o && !wb_clean(s, &o->wb))
            copy(c, s, o);
        return;
    }
    LIST_FOREACH(n, &s->obj_dirty)
    copy(c, s, CONTAINER_OF(n, struct object, wb.link));
    LIST_FOREACH(n, &s->obj_flushing)
    copy(c, s, CONTAINER_OF(n, struct object, wb.link));
}

void scan_objects_free(struct store_scan *c)
{
    for (size_t i = 0; i < c->objects.len; i++) {
        struct scan_object *x = c->objects.items[i];
        for (size_t k = 0; k < x->entries.len; k++) {
            bytes_unref(&x->entries.items[k].value);
            bytes_unref(&x->entries.items[k].outcome_bytes);
            bytes_unref(&x->entries.items[k].name);
        }
        VEC_FREE(&x->entries);
        free(x->index);
        free(x->text);
        free(x);
    }
    VEC_FREE(&c->objects);
}

/* ---- reading: the copies ---- */

static struct scan_row row_of(struct slice name, struct slice key)
{
    struct scan_row row = {.key = key};
    object_name_split(name, &row.service, &row.scope);
    return row;
}

static bool next_copied(struct store_scan *c, struct scan_row *out)
{
    while (c->at < c->objects.len) {
        const struct scan_object *x = c->objects.items[c->at];
        *out = row_of(x->service, x->key);
        if (c->kind == SCAN_LOCKS) {
            c->at++;
            out->id = x->owner;
            if (x->locked)
                return true;
            continue;
        }
        if (c->entry_at == x->entries.len) {
            c->at++;
            c->entry_at = 0;
            continue;
        }
        const struct scan_entry *e = &x->entries.items[c->entry_at++];
        if (e->dead)
            continue;
        out->seq = e->seq;
        out->inbox = e->inbox.kind;
        out->id = e->inbox.id;
        out->name = bytes_slice(e->name);
        out->value = bytes_slice(e->value);
        out->outcome = e->outcome;
        return true;
    }
    return false;
}

static uint64_t entry_hash(const struct store_scan *c, struct slice name, uint64_t seq)
{
    return c->kind == SCAN_INBOX ? hash64_combine(1, seq) : hash64(name);
}

static void build_index(const struct store_scan *c, struct scan_object *x)
{
    size_t slots = 8;
    while (slots < x->entries.len * 2)
        slots *= 2;
    x->index = xcalloc(slots, sizeof(*x->index));
    x->index_mask = slots - 1;
    for (size_t i = 0; i < x->entries.len; i++) {
        const struct scan_entry *e = &x->entries.items[i];
        size_t at = entry_hash(c, bytes_slice(e->name), e->seq) & x->index_mask;
        while (x->index[at])
            at = (at + 1) & x->index_mask;
        x->index[at] = (uint32_t)i + 1;
    }
}

/* Do the copies tell about this row of the backend? */
static bool superseded(const struct store_scan *c, struct slice service, struct slice key, struct slice name,
                       uint64_t seq)
{
    struct scan_object *x = copied(c, service, key);
    if (!x)
        return false;
    if (x->complete || c->kind == SCAN_LOCKS)
        return true;
    if (!x->index)
        build_index(c, x);
    for (size_t at = entry_hash(c, name, seq) & x->index_mask; x->index[at]; at = (at + 1) & x->index_mask) {
        const struct scan_entry *e = &x->entries.items[x->index[at] - 1];
        if (c->kind == SCAN_INBOX ? e->seq == seq : slice_eq(bytes_slice(e->name), name))
            return true;
    }
    return false;
}

/* ---- reading: the backend ---- */

/* An escaped name of a key (store_codec.h). */
static bool read_name(struct reader *r, struct writer *out)
{
    writer_reset(out);
    while (r->p < r->end) {
        uint8_t b = *r->p++;
        if (b == 0) {
            uint8_t next = read_u8(r);
            if (next == 1)
                return true;
            if (next != 0xff)
                return false;
        }
        write_u8(out, b);
    }
    return false;
}

static struct kv_iter *open_table(struct store_scan *c, enum store_table table)
{
    struct writer to = WRITER_INIT;
    key_begin(&c->key, c->partition_id, table);
    if (c->filter.by_object) {
        key_name(&c->key, c->filter.service);
        key_name(&c->key, c->filter.key);
        write_slice_raw(&to, writer_slice(&c->key));
        key_after_prefix(&to);
    } else {
        key_begin(&to, c->partition_id, table + 1);
    }
    struct kv_iter *it = scan_iter(c, writer_slice(&c->key), writer_slice(&to));
    writer_free(&to);
    return it;
}

static void open_backend(struct store_scan *c)
{
    static const enum store_table tables[] = {[SCAN_LOCKS] = TABLE_OBJECT,
                                              [SCAN_INBOX] = TABLE_INBOX,
                                              [SCAN_STATE] = TABLE_OBJECT,
                                              [SCAN_PROMISES] = TABLE_PROMISE};
    c->it = open_table(c, tables[c->kind]);
    if (c->kind == SCAN_STATE)
        c->state = open_table(c, TABLE_STATE);
}

static bool damaged(struct store_scan *c)
{
    scan_fail(c, RC_CORRUPT, "a stored row of an object cannot be decoded");
    return false;
}

/* Service and key of a row; `suffix` is what follows them. */
static bool split_key(struct store_scan *c, struct slice key, struct reader *suffix)
{
    *suffix = reader_make(slice_sub(key, STORE_KEY_PREFIX, key.len - STORE_KEY_PREFIX));
    return (read_name(suffix, &c->service) && read_name(suffix, &c->name)) || damaged(c);
}

static bool lock_row(struct store_scan *c, struct slice value, struct scan_row *out)
{
    struct object_header h;
    struct reader embedded;
    if (!object_header_decode(value, &h, &embedded))
        return damaged(c);
    out->id = h.owner;
    return h.locked;
}

static bool inbox_row(struct store_scan *c, struct reader *suffix, struct scan_row *out)
{
    struct inbox_entry e = {0};
    out->seq = read_u64be(suffix);
    if (!inbox_decode(c->row, &e) || suffix->failed)
        return damaged(c);
    bytes_unref(&e.patch);
    out->inbox = e.kind;
    out->id = e.id;
    return true;
}

static bool state_row(struct store_scan *c, struct reader *suffix, struct slice value, struct scan_row *out)
{
    struct stored_state st;
    out->name = slice_make(suffix->p, reader_left(suffix));
    if (!state_decode(value, &st))
        return damaged(c);
    out->value = st.value;
    if (!st.blob_id)
        return true;
    bytes_unref(&c->blob);
    if (!scan_blob(c, st.blob_id, &c->blob))
        return damaged(c);
    out->value = bytes_slice(c->blob);
    return true;
}

static bool promise_row(struct store_scan *c, struct reader *suffix, struct slice value, struct scan_row *out)
{
    struct promise p;
    struct reader listeners;
    out->name = slice_make(suffix->p, reader_left(suffix));
    if (!promise_decode(value, &p, &listeners))
        return damaged(c);
    out->outcome = p.outcome;
    return true;
}

/* The row just read of c->it, or of TABLE_STATE. */
static bool take(struct store_scan *c, struct slice key, struct slice value, bool of_state,
                 struct scan_row *out)
{
    struct reader suffix;
    if (!split_key(c, key, &suffix))
        return false;
    /* Further reads (blobs) give up the iterator's memory: the row is kept. */
    bytes_unref(&c->suffix);
    c->suffix = bytes_copy(slice_make(suffix.p, reader_left(&suffix)));
    suffix = reader_make(bytes_slice(c->suffix));
    bytes_unref(&c->row);
    c->row = bytes_copy(value);
    value = bytes_slice(c->row);
    *out = row_of(writer_slice(&c->service), writer_slice(&c->name));
    if (of_state)
        return state_row(c, &suffix, value, out);
    switch (c->kind) {
    case SCAN_LOCKS:
        return lock_row(c, value, out);
    case SCAN_INBOX:
        return inbox_row(c, &suffix, out);
    case SCAN_PROMISES:
        return promise_row(c, &suffix, value, out);
    default: { /* SCAN_STATE: a header that may carry state */
        struct object_header h;
        if (!object_header_decode(value, &h, &c->embedded))
            return damaged(c);
        c->in_embedded = h.embedded;
        return false;
    }
    }
}

static bool next_embedded(struct store_scan *c, struct scan_row *out)
{
    while (c->in_embedded && reader_left(&c->embedded)) {
        *out = row_of(writer_slice(&c->service), writer_slice(&c->name));
        if (!embedded_state_read(&c->embedded, &out->name, &out->value))
            return damaged(c);
        if (!superseded(c, out->service, out->key, out->name, 0))
            return true;
    }
    c->in_embedded = false;
    return false;
}

static bool next_stored(struct store_scan *c, struct scan_row *out)
{
    struct slice key, value;
    for (;;) {
        if (c->in_embedded && next_embedded(c, out))
            return true;
        if (c->err.rc != RC_OK)
            return false;
        bool of_state = !c->it && c->state;
        if (!scan_iter_next(c, of_state ? &c->state : &c->it, &key, &value)) {
            if (c->state && c->err.rc == RC_OK)
                continue;
            return false;
        }
        if (take(c, key, value, of_state, out) && !superseded(c, out->service, out->key, out->name, out->seq))
            return true;
    }
}

bool store_scan_row(struct store_scan *c, struct scan_row *out)
{
    ASSERT(c->kind >= SCAN_LOCKS);
    if (c->err.rc != RC_OK || c->ended)
        return false;
    if (next_copied(c, out))
        return true;
    if (!c->it && !c->state && !c->in_embedded)
        open_backend(c);
    if (next_stored(c, out))
        return true;
    c->ended = true;
    return false;
}

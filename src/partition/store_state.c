/* State of objects: values by state key, cached per object (store.h). Large values are blobs (store_blob.c).
 */
#include <openssl/evp.h>

#include "partition/store_internal.h"

#define TRIM_ABOVE        (4u << 20) /* objects that hold more than this drop clean state rows after each flush */
#define EMBED_MAX         1024       /* state up to this size lives in the object's header row */
#define POINT_DELETES_MAX 64         /* clearing more keys than this is one range deletion */

static struct state_row *state_row_of(const struct omap_node *n)
{
    return CONTAINER_OF(CONTAINER_OF(n, struct row, node), struct state_row, row);
}

int state_row_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(state_row_of(a)->key, state_row_of(b)->key);
}

static int state_key_cmp(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, state_row_of(n)->key);
}

size_t state_row_size(const struct state_row *r)
{
    return sizeof(*r) + r->key.len + r->value.len;
}

static bool dead(const struct state_row *r)
{
    return r->row.wb.flags & WB_DEAD;
}

static struct state_row *find(const struct object *o, struct slice key)
{
    struct omap_node *n = omap_find(&o->state, &key, state_key_cmp);
    return n ? state_row_of(n) : NULL;
}

static struct state_row *row_new(struct partition_store *s, struct object *o, struct slice key)
{
    struct state_row *r = xcalloc(1, sizeof(*r) + key.len);
    if (key.len)
        memcpy(r->name, key.ptr, key.len);
    r->key = slice_make(r->name, key.len);
    r->row.kind = ROW_STATE;
    list_init(&r->row.wb.link);
    struct omap_node *there = omap_insert(&o->state, &r->row.node);
    ASSERT(!there);
    object_charge(s, o, (ptrdiff_t)state_row_size(r));
    return r;
}

static void row_set_value(struct partition_store *s, struct object *o, struct state_row *r,
                          struct bytes value_take)
{
    object_charge(s, o, (ptrdiff_t)value_take.len - (ptrdiff_t)r->value.len);
    bytes_unref(&r->value);
    r->value = value_take;
}

/* ---- loading ---- */

static bool decode(struct partition_store *s, const struct object *o, struct slice stored,
                   struct stored_state *out)
{
    if (state_decode(stored, out))
        return true;
    store_fail(s, RC_CORRUPT, "a state value of %.*s/%.*s cannot be decoded", SLICE_FMT(o->service),
               SLICE_FMT(o->key));
    return false;
}

/* A clean row from what the backend has. */
static struct state_row *row_from_stored(struct partition_store *s, struct object *o, struct slice key,
                                         struct slice stored)
{
    struct stored_state v;
    if (!decode(s, o, stored, &v))
        return NULL;
    struct state_row *r = row_new(s, o, key);
    r->row.wb.flags = WB_PERSISTED;
    r->blob_id = v.blob_id;
    r->len = v.len;
    if (!v.blob_id && v.len)
        row_set_value(s, o, r, bytes_copy(v.value));
    return r;
}

static struct kv_iter *backend_scan(struct partition_store *s, const struct object *o)
{
    object_key(s, &s->key, TABLE_STATE, o);
    object_key(s, &s->key2, TABLE_STATE, o);
    key_after_prefix(&s->key2);
    return s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
}

static size_t prefix_len(struct partition_store *s, const struct object *o)
{
    object_key(s, &s->key, TABLE_STATE, o);
    return s->key.len;
}

static void load_all(struct partition_store *s, struct object *o)
{
    if (o->state_complete)
        return;
    size_t prefix = prefix_len(s, o);
    struct kv_iter *it = backend_scan(s, o);
    struct slice k, v;
    while (s->kv->ops->iter_next(it, &k, &v)) {
        struct slice key = slice_sub(k, prefix, k.len - prefix);
        if (!find(o, key)) /* what is in memory is newer */
            row_from_stored(s, o, key, v);
    }
    s->kv->ops->iter_free(it);
    o->state_complete = true;
}

/* The row in memory (maybe a tombstone), read from the backend if need be; NULL: absent. */
static struct state_row *find_or_load(struct partition_store *s, struct object *o, struct slice key)
{
    struct state_row *r = find(o, key);
    if (r || o->state_complete)
        return r;
    if (o->header.state_bytes <= STORE_STATE_EAGER) {
        load_all(s, o);
        return find(o, key);
    }
    object_key(s, &s->key, TABLE_STATE, o);
    write_slice_raw(&s->key, key);
    struct bytes stored;
    if (store_kv_get(s, writer_slice(&s->key), &stored) != RC_OK)
        return NULL;
    r = row_from_stored(s, o, key, bytes_slice(stored));
    bytes_unref(&stored);
    return r;
}

static bool load_blob(struct partition_store *s, uint64_t id, uint64_t len, struct bytes *out)
{
    if (blob_content(s, id, out) && out->len == len)
        return true;
    bytes_unref(out);
    store_fail(s, RC_CORRUPT, "blob %llu of a state value is missing or has a wrong size",
               (unsigned long long)id);
    return false;
}

/* The value of a live row, borrowed from it. */
static struct bytes row_value(struct partition_store *s, struct object *o, struct state_row *r)
{
    struct bytes content;
    if (r->blob_id && r->value.len != r->len && load_blob(s, r->blob_id, r->len, &content))
        row_set_value(s, o, r, content);
    return r->value;
}

/* ---- reads ---- */

bool store_state_get(struct partition_store *s, struct slice service, struct slice key,
                     struct slice state_key, struct bytes *out)
{
    struct object *o = object_get(s, service, key);
    struct state_row *r = find_or_load(s, o, state_key);
    if (!r || dead(r))
        return false;
    *out = bytes_ref(row_value(s, o, r));
    return true;
}

struct scan {
    struct partition_store *s;
    struct object *o;
    bool (*visit)(void *ctx, struct slice state_key, struct bytes value);
    void *ctx;
};

static bool visit_row(const struct scan *c, struct state_row *r)
{
    return dead(r) || c->visit(c->ctx, r->key, row_value(c->s, c->o, r));
}

static bool visit_stored(const struct scan *c, struct slice key, struct slice stored)
{
    struct stored_state v;
    struct bytes value = BYTES_EMPTY;
    if (!decode(c->s, c->o, stored, &v) || (v.blob_id && !load_blob(c->s, v.blob_id, v.len, &value)))
        return false;
    if (!v.blob_id)
        value = bytes_copy(v.value);
    bool go_on = c->visit(c->ctx, key, value);
    bytes_unref(&value);
    return go_on;
}

/* Large state: merge memory and backend in key order without caching what is read. */
static void scan_merged(const struct scan *c)
{
    size_t prefix = prefix_len(c->s, c->o);
    struct kv_backend *kv = c->s->kv;
    struct kv_iter *it = backend_scan(c->s, c->o);
    struct omap_node *n = omap_first(&c->o->state);
    struct slice k, v;
    bool more = kv->ops->iter_next(it, &k, &v), go_on = true;
    while (go_on && (more || n)) {
        struct slice key = more ? slice_sub(k, prefix, k.len - prefix) : SLICE_EMPTY;
        int order = !more ? -1 : !n ? 1 : slice_cmp(state_row_of(n)->key, key);
        if (order <= 0) {
            struct omap_node *next = omap_next(n);
            go_on = visit_row(c, state_row_of(n));
            n = next;
        } else {
            go_on = visit_stored(c, key, v);
        }
        if (order >= 0)
            more = kv->ops->iter_next(it, &k, &v);
    }
    kv->ops->iter_free(it);
}

void store_state_scan(struct partition_store *s, struct slice service, struct slice key,
                      bool (*visit)(void *ctx, struct slice state_key, struct bytes value), void *ctx)
{
    struct scan c = {s, object_get(s, service, key), visit, ctx};
    if (c.o->header.state_bytes <= STORE_STATE_EAGER)
        load_all(s, c.o);
    if (!c.o->state_complete) {
        scan_merged(&c);
        return;
    }
    for (struct omap_node *n = omap_first(&c.o->state); n; n = omap_next(n)) {
        if (!visit_row(&c, state_row_of(n)))
            break;
    }
}

struct version {
    EVP_MD_CTX *md;
    uint64_t i;
};

static bool version_add(void *ctx, struct slice state_key, struct bytes value)
{
    struct version *v = ctx;
    uint8_t number[8];
    put_u64be(number, v->i++);
    EVP_DigestUpdate(v->md, number, sizeof(number));
    EVP_DigestUpdate(v->md, "\x01", 1);
    EVP_DigestUpdate(v->md, state_key.ptr, state_key.len);
    EVP_DigestUpdate(v->md, "\x02", 1);
    EVP_DigestUpdate(v->md, value.ptr, value.len);
    EVP_DigestUpdate(v->md, "\x03", 1);
    return true;
}

void store_state_version(struct partition_store *s, struct slice service, struct slice key, char out[44])
{
    struct version v = {EVP_MD_CTX_new(), 0};
    ASSERT(v.md && EVP_DigestInit_ex(v.md, EVP_sha256(), NULL) == 1);
    store_state_scan(s, service, key, version_add, &v);
    uint8_t digest[32];
    EVP_DigestFinal_ex(v.md, digest, NULL);
    EVP_MD_CTX_free(v.md);
    size_t n = base64url_encode(slice_make(digest, sizeof(digest)), out);
    out[n] = '\0';
}

/* ---- changes ---- */

/* Forget the value (the row was live): counts and the blob's reference. */
static void row_drop_value(struct partition_store *s, struct object *o, struct state_row *r)
{
    o->header.state--;
    o->header.state_bytes -= r->key.len + r->len;
    if (r->blob_id)
        blob_unref(s, r->blob_id);
    r->blob_id = 0;
    r->len = 0;
    row_set_value(s, o, r, BYTES_EMPTY);
}

void store_state_put(struct partition_store *s, struct slice service, struct slice key,
                     struct slice state_key, struct bytes value_take)
{
    struct object *o = object_get(s, service, key);
    struct state_row *r = find_or_load(s, o, state_key);
    if (r && !dead(r))
        row_drop_value(s, o, r);
    if (!r)
        r = row_new(s, o, state_key);
    r->row.wb.flags &= (uint8_t)~WB_DEAD;
    store_mutated(s, MUT_STATE_PUT, object_hash(service, key), hash64(state_key),
                  hash_value(bytes_slice(value_take)));
    r->len = value_take.len;
    if (r->len >= STORE_BLOB_MIN)
        r->blob_id = blob_new(s, value_take);
    else
        bytes_compact(&value_take); /* small values live long: do not pin their record */
    row_set_value(s, o, r, value_take);
    o->header.state++;
    o->header.state_bytes += state_key.len + r->len;
    object_row_changed(s, o, &r->row, 64 + state_key.len + (r->blob_id ? 0 : r->len));
}

void store_state_clear(struct partition_store *s, struct slice service, struct slice key,
                       struct slice state_key)
{
    store_mutated(s, MUT_STATE_CLEAR, object_hash(service, key), hash64(state_key), 0);
    struct object *o = object_get(s, service, key);
    struct state_row *r = find_or_load(s, o, state_key);
    if (!r || dead(r))
        return;
    row_drop_value(s, o, r);
    store_note_dirty(s, 64);
    object_row_kill(s, o, &o->state, &r->row);
}

/* Rows that are only in the backend give up their blobs. */
static void unref_stored_blobs(struct partition_store *s, struct object *o)
{
    size_t prefix = prefix_len(s, o);
    struct kv_iter *it = backend_scan(s, o);
    struct slice k, v;
    struct stored_state stored;
    while (s->kv->ops->iter_next(it, &k, &v)) {
        if (!find(o, slice_sub(k, prefix, k.len - prefix)) && decode(s, o, v, &stored) && stored.blob_id)
            blob_unref(s, stored.blob_id);
    }
    s->kv->ops->iter_free(it);
}

static void kill_each(struct partition_store *s, struct object *o)
{
    for (struct omap_node *n = omap_first(&o->state), *next; n; n = next) {
        next = omap_next(n);
        struct state_row *r = state_row_of(n);
        if (dead(r))
            continue;
        row_drop_value(s, o, r);
        object_row_kill(s, o, &o->state, &r->row);
    }
}

/* One range deletion; nothing of the backend counts any more. */
static void wipe(struct partition_store *s, struct object *o)
{
    if (!o->state_complete)
        unref_stored_blobs(s, o);
    struct omap_node *n;
    while ((n = o->state.root)) {
        struct state_row *r = state_row_of(n);
        if (!dead(r) && r->blob_id)
            blob_unref(s, r->blob_id);
        if (r->row.wb.flags & WB_DIRTY)
            s->dirty_objects--;
        r->row.wb.flags = 0;
        omap_remove(&o->state, n);
        object_row_free(s, o, &r->row);
    }
    o->header.state = o->header.state_bytes = 0;
    o->state_complete = true;
    o->state_wipe = true;
    object_changed(s, o);
}

void store_state_clear_all(struct partition_store *s, struct slice service, struct slice key)
{
    store_mutated(s, MUT_STATE_WIPE, object_hash(service, key), 0, 0);
    struct object *o = object_get(s, service, key);
    if (o->header.state == 0)
        return;
    if (o->header.state_bytes <= STORE_STATE_EAGER)
        load_all(s, o);
    if (o->state_complete && o->header.state <= POINT_DELETES_MAX)
        kill_each(s, o);
    else
        wipe(s, o);
}

/* ---- state inside the header row ---- */

bool state_load_embedded(struct partition_store *s, struct object *o, struct reader *r)
{
    struct slice key, value;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < o->header.state; i++) {
        if (!embedded_state_read(r, &key, &value) || find(o, key))
            return false;
        struct state_row *row = row_new(s, o, key);
        row->len = value.len;
        row_set_value(s, o, row, bytes_copy(value));
        bytes += key.len + value.len;
    }
    return reader_done(r) && bytes == o->header.state_bytes;
}

void state_choose_form(struct partition_store *s, struct object *o)
{
    size_t limit = o->header.embedded ? EMBED_MAX * 2 : EMBED_MAX; /* do not go back and forth */
    bool embed = o->state_complete && o->header.state > 0 && o->header.state_bytes <= limit;
    if (embed == o->header.embedded)
        return;
    o->header.embedded = embed;
    for (struct omap_node *n = omap_first(&o->state); n; n = omap_next(n)) {
        struct state_row *r = state_row_of(n);
        if (dead(r))
            continue;
        if (!embed) {
            wb_dirty(s, &r->row.wb, &o->dirty_rows);
        } else if (r->row.wb.flags & WB_PERSISTED) {
            object_key(s, &s->key, TABLE_STATE, o);
            write_slice_raw(&s->key, r->key);
            store_batch_delete(s, writer_slice(&s->key));
            r->row.wb.flags &= (uint8_t)~WB_PERSISTED;
        }
    }
}

void state_append_embedded(struct object *o, struct writer *w)
{
    for (struct omap_node *n = omap_first(&o->state); n; n = omap_next(n)) {
        const struct state_row *r = state_row_of(n);
        if (dead(r))
            continue;
        write_lp(w, r->key);
        write_lp(w, bytes_slice(r->value));
    }
}

/* ---- flush, trimming ---- */

void state_row_encode(struct partition_store *s, struct object *o, struct state_row *r)
{
    object_key(s, &s->key, TABLE_STATE, o);
    write_slice_raw(&s->key, r->key);
    if (dead(r))
        return;
    writer_reset(&s->value);
    struct bytes value = r->value;
    value.len = r->len;
    state_encode(&s->value, r->blob_id, value);
}

void state_trim(struct partition_store *s, struct object *o)
{
    if (o->charged_bytes <= TRIM_ABOVE || o->header.embedded || o->state_wipe ||
        o->wipe_generation > s->written.generation)
        return;
    for (struct omap_node *n = omap_first(&o->state), *next; n; n = next) {
        next = omap_next(n);
        struct state_row *r = state_row_of(n);
        if (!wb_clean(s, &r->row.wb))
            continue;
        o->state_complete = false;
        omap_remove(&o->state, n);
        object_row_free(s, o, &r->row);
    }
}

uint64_t state_find_blob(struct partition_store *s, struct object *o, struct slice content)
{
    for (struct omap_node *n = omap_first(&o->state); n; n = omap_next(n)) {
        struct state_row *r = state_row_of(n);
        if (r->blob_id && !dead(r) && r->value.len == content.len &&
            (r->value.ptr == content.ptr || memcmp(r->value.ptr, content.ptr, content.len) == 0))
            return r->blob_id;
    }
    return 0;
}

/* Durable promises of workflows (store.h). All promises of a key come into memory with the first touch of
 * one: workflows have few. */
#include "partition/store_internal.h"

static struct promise_row *promise_row_of(const struct omap_node *n)
{
    return CONTAINER_OF(CONTAINER_OF(n, struct row, node), struct promise_row, row);
}

int promise_row_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(promise_row_of(a)->key, promise_row_of(b)->key);
}

static int promise_key_cmp(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, promise_row_of(n)->key);
}

size_t promise_row_size(const struct promise_row *r)
{
    return sizeof(*r) + r->key.len + r->outcome_bytes.len + r->listeners.cap * sizeof(*r->listeners.items);
}

static struct promise_row *row_new(struct partition_store *s, struct object *o, struct slice key)
{
    struct promise_row *r = xcalloc(1, sizeof(*r) + key.len);
    if (key.len)
        memcpy(r->name, key.ptr, key.len);
    r->key = slice_make(r->name, key.len);
    r->row.kind = ROW_PROMISE;
    list_init(&r->row.wb.link);
    struct omap_node *there = omap_insert(&o->promises, &r->row.node);
    ASSERT(!there);
    object_charge(s, o, (ptrdiff_t)promise_row_size(r));
    return r;
}

/* Run `change` style edits between these two, so that the row's size stays accounted. */
static size_t edit_begin(const struct promise_row *r)
{
    return promise_row_size(r);
}

static void edit_end(struct partition_store *s, struct object *o, struct promise_row *r, size_t before)
{
    object_charge(s, o, (ptrdiff_t)promise_row_size(r) - (ptrdiff_t)before);
}

/* A copy of the outcome in one buffer of its own. */
static void set_outcome(struct promise_row *r, const struct outcome *outcome)
{
    bytes_unref(&r->outcome_bytes);
    struct writer w = WRITER_INIT;
    writer_init(&w, outcome->value.len + outcome->stacktrace.len + 1);
    write_slice_raw(&w, outcome->value);
    write_slice_raw(&w, outcome->stacktrace);
    r->outcome_bytes = writer_take(&w);
    struct slice all = bytes_slice(r->outcome_bytes);
    r->outcome.kind = outcome->kind;
    r->outcome.value = slice_sub(all, 0, outcome->value.len);
    r->outcome.stacktrace = slice_sub(all, outcome->value.len, outcome->stacktrace.len);
}

static void row_from_stored(struct partition_store *s, struct object *o, struct slice key,
                            struct slice stored)
{
    struct promise p;
    struct reader listeners;
    if (!promise_decode(stored, &p, &listeners)) {
        store_fail(s, RC_CORRUPT, "a promise of %.*s/%.*s cannot be decoded", SLICE_FMT(o->service),
                   SLICE_FMT(o->key));
        return;
    }
    struct promise_row *r = row_new(s, o, key);
    r->row.wb.flags = WB_PERSISTED;
    size_t before = edit_begin(r);
    if (p.outcome.kind != OUTCOME_NONE)
        set_outcome(r, &p.outcome);
    struct promise_listener l;
    while (promise_listener_read(&listeners, &l))
        VEC_PUSH(&r->listeners, l);
    edit_end(s, o, r, before);
}

static struct object *object_with_promises(struct partition_store *s, struct slice service, struct slice key)
{
    struct object *o = object_get(s, service, key);
    if (o->promises_complete)
        return o;
    object_key(s, &s->key, TABLE_PROMISE, o);
    size_t prefix = s->key.len;
    object_key(s, &s->key2, TABLE_PROMISE, o);
    key_after_prefix(&s->key2);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice k, v;
    while (s->kv->ops->iter_next(it, &k, &v)) {
        struct slice promise_key = slice_sub(k, prefix, k.len - prefix);
        if (!omap_find(&o->promises, &promise_key, promise_key_cmp))
            row_from_stored(s, o, promise_key, v);
    }
    s->kv->ops->iter_free(it);
    o->promises_complete = true;
    return o;
}

static struct promise_row *find(const struct object *o, struct slice promise_key)
{
    struct omap_node *n = omap_find(&o->promises, &promise_key, promise_key_cmp);
    return n ? promise_row_of(n) : NULL;
}

bool store_promise_get(struct partition_store *s, struct slice service, struct slice key,
                       struct slice promise_key, struct promise *out)
{
    struct promise_row *r = find(object_with_promises(s, service, key), promise_key);
    if (!r || r->row.wb.flags & WB_DEAD)
        return false;
    *out = (struct promise){r->outcome, r->listeners.items, r->listeners.len};
    return true;
}

/* The row, live. */
static struct promise_row *ensure(struct partition_store *s, struct object *o, struct slice promise_key)
{
    struct promise_row *r = find(o, promise_key);
    if (!r)
        r = row_new(s, o, promise_key);
    else if (!(r->row.wb.flags & WB_DEAD))
        return r;
    r->row.wb.flags &= (uint8_t)~WB_DEAD;
    o->header.promises++;
    return r;
}

void store_promise_listen(struct partition_store *s, struct slice service, struct slice key,
                          struct slice promise_key, struct promise_listener listener)
{
    struct object *o = object_with_promises(s, service, key);
    struct promise_row *r = ensure(s, o, promise_key);
    size_t before = edit_begin(r);
    VEC_PUSH(&r->listeners, listener);
    edit_end(s, o, r, before);
    object_row_changed(s, o, &r->row, 64 + promise_key.len);
    store_mutated(s, MUT_LISTEN, object_hash(service, key), hash64(promise_key),
                  hash64_combine(hash_id(listener.id), listener.completion_id));
}

void store_promise_complete(struct partition_store *s, struct slice service, struct slice key,
                            struct slice promise_key, const struct outcome *outcome)
{
    struct object *o = object_with_promises(s, service, key);
    struct promise_row *r = ensure(s, o, promise_key);
    size_t before = edit_begin(r);
    set_outcome(r, outcome);
    VEC_FREE(&r->listeners);
    edit_end(s, o, r, before);
    object_row_changed(s, o, &r->row, 64 + promise_key.len + r->outcome_bytes.len);
    store_mutated(s, MUT_PROMISE, object_hash(service, key), hash64(promise_key),
                  hash64_combine(hash_value(outcome->value), outcome->kind));
}

void store_promise_clear_all(struct partition_store *s, struct slice service, struct slice key)
{
    store_mutated(s, MUT_PROMISE_WIPE, object_hash(service, key), 0, 0);
    struct object *o = object_with_promises(s, service, key);
    for (struct omap_node *n = omap_first(&o->promises), *next; n; n = next) {
        next = omap_next(n);
        struct promise_row *r = promise_row_of(n);
        if (r->row.wb.flags & WB_DEAD)
            continue;
        size_t before = edit_begin(r);
        bytes_unref(&r->outcome_bytes);
        r->outcome = (struct outcome){0};
        VEC_FREE(&r->listeners);
        edit_end(s, o, r, before);
        o->header.promises--;
        object_row_kill(s, o, &o->promises, &r->row);
    }
}

void promise_row_encode(struct partition_store *s, struct object *o, struct promise_row *r)
{
    object_key(s, &s->key, TABLE_PROMISE, o);
    write_slice_raw(&s->key, r->key);
    if (r->row.wb.flags & WB_DEAD)
        return;
    struct promise p = {r->outcome, r->listeners.items, r->listeners.len};
    writer_reset(&s->value);
    promise_encode(&s->value, &p);
}

/* Timers: an ordered table in the backend and, in memory, only what the backend does not know yet (store.h).
 */
#include "partition/store_internal.h"

static struct timer_row *timer_row_of(const struct omap_node *n)
{
    return CONTAINER_OF(n, struct timer_row, node);
}

static int row_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return timer_key_cmp(&timer_row_of(a)->key, &timer_row_of(b)->key);
}

static int key_cmp(const void *key, const struct omap_node *n)
{
    return timer_key_cmp(key, &timer_row_of(n)->key);
}

void timers_init(struct partition_store *s)
{
    omap_init(&s->timers, row_cmp);
}

static struct timer_row *row_new(struct partition_store *s, const struct timer_key *key)
{
    struct timer_row *r = xcalloc(1, sizeof(*r));
    r->key = *key;
    list_init(&r->wb.link);
    omap_insert(&s->timers, &r->node);
    s->cached_bytes += sizeof(*r);
    return r;
}

static void row_free(struct partition_store *s, struct timer_row *r)
{
    list_remove(&r->wb.link);
    omap_remove(&s->timers, &r->node);
    s->cached_bytes -= sizeof(*r);
    free(r);
}

void timers_free(struct partition_store *s)
{
    while (s->timers.root)
        row_free(s, timer_row_of(s->timers.root));
}

static void put_key(struct partition_store *s, const struct timer_key *key)
{
    key_begin(&s->key, s->config.partition_id, TABLE_TIMER);
    key_timer(&s->key, key);
}

static bool stored(struct partition_store *s, const struct timer_key *key)
{
    put_key(s, key);
    struct bytes value;
    bool found = store_kv_get(s, writer_slice(&s->key), &value) == RC_OK;
    bytes_unref(&value);
    return found;
}

static uint64_t timer_hash(const struct timer_key *key)
{
    return hash64_combine(hash_id(key->id), (uint64_t)key->kind << 32 | key->index);
}

void store_timer_put(struct partition_store *s, const struct timer_key *key)
{
    store_mutated(s, MUT_TIMER_PUT, key->wake_up_ms, timer_hash(key), 0);
    struct omap_node *n = omap_find(&s->timers, key, key_cmp);
    struct timer_row *r = n ? timer_row_of(n) : row_new(s, key);
    r->wb.flags &= (uint8_t)~WB_DEAD;
    store_note_dirty(s, 64);
    wb_dirty(s, &r->wb, &s->timer_dirty);
}

bool store_timer_delete(struct partition_store *s, const struct timer_key *key)
{
    store_mutated(s, MUT_TIMER_DELETE, key->wake_up_ms, timer_hash(key), 0);
    struct omap_node *n = omap_find(&s->timers, key, key_cmp);
    if (n && timer_row_of(n)->wb.flags & WB_DEAD)
        return false;
    /* A row put here may be in the backend from long before: only a look tells whether there is anything to
     * delete. */
    bool persisted = (n && timer_row_of(n)->wb.flags & WB_PERSISTED) || stored(s, key);
    if (!n && !persisted)
        return false;
    struct timer_row *r = n ? timer_row_of(n) : row_new(s, key);
    if (persisted)
        r->wb.flags |= WB_PERSISTED;
    store_note_dirty(s, 64);
    if (wb_kill(s, &r->wb, &s->timer_dirty, &s->timer_flushing))
        row_free(s, r);
    return true;
}

size_t store_timer_scan(struct partition_store *s, const struct timer_key *after, struct timer_key *out,
                        size_t max)
{
    key_begin(&s->key, s->config.partition_id, TABLE_TIMER);
    if (after) {
        key_timer(&s->key, after);
        write_u8(&s->key, 0); /* the first key above it */
    }
    key_begin(&s->key2, s->config.partition_id, TABLE_TIMER + 1);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct omap_node *n = after ? omap_lower_bound(&s->timers, after, key_cmp) : omap_first(&s->timers);
    if (n && after && timer_key_cmp(&timer_row_of(n)->key, after) == 0)
        n = omap_next(n);
    struct slice k, v;
    struct timer_key in_backend;
    bool more = s->kv->ops->iter_next(it, &k, &v);
    size_t found = 0;
    while (found < max && (more || n)) {
        if (more &&
            !key_timer_decode(slice_sub(k, STORE_KEY_PREFIX, k.len - STORE_KEY_PREFIX), &in_backend)) {
            store_fail(s, RC_CORRUPT, "the key of a timer cannot be decoded");
            break;
        }
        int order = !more ? -1 : !n ? 1 : timer_key_cmp(&timer_row_of(n)->key, &in_backend);
        if (order > 0)
            out[found++] = in_backend;
        else if (!(timer_row_of(n)->wb.flags & WB_DEAD))
            out[found++] = timer_row_of(n)->key;
        if (order <= 0)
            n = omap_next(n);
        if (order >= 0)
            more = s->kv->ops->iter_next(it, &k, &v);
    }
    s->kv->ops->iter_free(it);
    return found;
}

void timers_flush(struct partition_store *s)
{
    while (!list_empty(&s->timer_dirty)) {
        struct timer_row *r = CONTAINER_OF(s->timer_dirty.next, struct timer_row, wb.link);
        put_key(s, &r->key);
        if (r->wb.flags & WB_DEAD)
            store_batch_delete(s, writer_slice(&s->key));
        else
            store_batch_put(s, writer_slice(&s->key), SLICE_EMPTY);
        wb_flushed(s, &r->wb, &s->timer_flushing);
    }
}

void timers_written(struct partition_store *s)
{
    while (!list_empty(&s->timer_flushing))
        row_free(s, CONTAINER_OF(s->timer_flushing.next, struct timer_row, wb.link));
}

/* Deduplication: the last sequence of each producer (store.h, spec/invocation-lifecycle.md §3.2). */
#include "partition/store_internal.h"

#define CLEAN_MAX 1024

static struct dedup_row *row_of(struct hmap_node *n)
{
    return CONTAINER_OF(n, struct dedup_row, node);
}

static uint64_t row_hash(uint8_t kind, struct u128 producer)
{
    return hash64_combine(hash64_combine(kind, producer.hi), producer.lo);
}

static void put_key(struct partition_store *s, uint8_t kind, struct u128 producer)
{
    key_begin(&s->key, s->config.partition_id, TABLE_DEDUP);
    write_u8(&s->key, kind);
    write_u64be(&s->key, producer.hi);
    write_u64be(&s->key, producer.lo);
}

static void row_free(struct partition_store *s, struct dedup_row *r)
{
    list_remove(&r->wb.link);
    hmap_remove(&s->dedups, &r->node);
    free(r);
}

void dedup_free(struct partition_store *s)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&s->dedups, &it); n; n = hmap_step(&s->dedups, &it))
        row_free(s, row_of(n));
    hmap_free(&s->dedups);
}

/* Else: nothing is stored, so sequence 0 is new. */
static bool known(const struct dedup_row *r)
{
    return (r->wb.flags & (WB_PERSISTED | WB_DIRTY)) && !(r->wb.flags & WB_DEAD);
}

static uint64_t epoch_of(const struct dedup_row *r)
{
    return r->kind == DEDUP_SELF ? r->hi : 0;
}

static struct dedup_row *find(struct partition_store *s, uint8_t kind, struct u128 producer)
{
    uint64_t hash = row_hash(kind, producer);
    for (struct hmap_node *n = hmap_first(&s->dedups, hash); n; n = hmap_next_same(n)) {
        if (row_of(n)->kind == kind && u128_eq(row_of(n)->producer, producer))
            return row_of(n);
    }
    struct dedup_row *r = xcalloc(1, sizeof(*r));
    r->kind = kind;
    r->producer = producer;
    list_init(&r->wb.link);
    hmap_insert(&s->dedups, &r->node, hash);
    list_push_back(&s->dedup_clean, &r->wb.link);
    put_key(s, kind, producer);
    struct bytes value;
    if (store_kv_get(s, writer_slice(&s->key), &value) == RC_OK) {
        struct reader rd = reader_make(bytes_slice(value));
        r->hi = read_u64le(&rd);
        r->lo = read_u64le(&rd);
        r->wb.flags = WB_PERSISTED;
        if (!reader_done(&rd))
            store_fail(s, RC_CORRUPT, "a deduplication row cannot be decoded");
        bytes_unref(&value);
    }
    return r;
}

bool store_dedup_check(struct partition_store *s, const struct record_header *h)
{
    if (h->dedup == DEDUP_NONE)
        return true;
    struct u128 producer = h->dedup == DEDUP_SELF ? (struct u128){0, 0} : h->producer;
    uint64_t epoch = h->dedup == DEDUP_SELF ? h->seq_hi : 0;
    struct dedup_row *r = find(s, h->dedup, producer);
    if (known(r) && (epoch_of(r) > epoch || (epoch_of(r) == epoch && r->lo >= h->seq_lo)))
        return false;
    r->wb.flags &= (uint8_t)~WB_DEAD;
    r->hi = h->dedup == DEDUP_FOREIGN ? 0 : h->seq_hi;
    r->lo = h->seq_lo;
    store_note_dirty(s, 16);
    wb_dirty(s, &r->wb, &s->dedup_dirty);
    store_mutated(s, MUT_DEDUP, row_hash(h->dedup, producer), r->hi, h->seq_lo);
    return true;
}

/* ---- producers whose owner is gone ---- */

/* All rows of producers into memory: few, as many as there are topic partitions. */
static void load_producers(struct partition_store *s)
{
    key_begin(&s->key, s->config.partition_id, TABLE_DEDUP);
    write_u8(&s->key, DEDUP_PRODUCER);
    key_begin(&s->key2, s->config.partition_id, TABLE_DEDUP);
    write_u8(&s->key2, DEDUP_PRODUCER + 1);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice key, value;
    while (s->kv->ops->iter_next(it, &key, &value)) {
        struct reader r = reader_make(slice_sub(key, STORE_KEY_PREFIX + 1, key.len - STORE_KEY_PREFIX - 1));
        struct u128 producer = {.hi = read_u64be(&r)};
        producer.lo = read_u64be(&r);
        if (!reader_done(&r))
            store_fail(s, RC_CORRUPT, "the key of a deduplication row cannot be decoded");
        else
            find(s, DEDUP_PRODUCER, producer);
    }
    s->kv->ops->iter_free(it);
}

bool store_dedup_orphan(struct partition_store *s, bool (*gone)(void *ctx, uint64_t owner), void *ctx,
                        uint64_t *owner)
{
    struct hmap_iter it;
    bool any = false;
    load_producers(s);
    for (struct hmap_node *n = hmap_begin(&s->dedups, &it); n; n = hmap_step(&s->dedups, &it)) {
        struct dedup_row *r = row_of(n);
        /* The smallest, because the order of the table is nobody's business. */
        if (r->kind != DEDUP_PRODUCER || !known(r) || r->hi == 0 || (any && r->hi >= *owner) ||
            !gone(ctx, r->hi))
            continue;
        *owner = r->hi;
        any = true;
    }
    return any;
}

size_t store_dedup_forget(struct partition_store *s, uint32_t tag, uint32_t schema_version)
{
    struct hmap_iter it;
    size_t forgotten = 0;
    load_producers(s);
    for (struct hmap_node *n = hmap_begin(&s->dedups, &it); n; n = hmap_step(&s->dedups, &it)) {
        struct dedup_row *r = row_of(n);
        if (r->kind != DEDUP_PRODUCER || !known(r) || (uint32_t)r->hi != tag || r->hi >> 32 > schema_version)
            continue;
        store_note_dirty(s, 16);
        if (wb_kill(s, &r->wb, &s->dedup_dirty, &s->dedup_flushing))
            row_free(s, r);
        forgotten++;
    }
    s->vars.subscriptions_version = MAX(s->vars.subscriptions_version, schema_version);
    store_mutated(s, MUT_DEDUP_FORGET, tag, schema_version, forgotten);
    return forgotten;
}

void dedup_flush(struct partition_store *s)
{
    while (!list_empty(&s->dedup_dirty)) {
        struct dedup_row *r = CONTAINER_OF(s->dedup_dirty.next, struct dedup_row, wb.link);
        put_key(s, r->kind, r->producer);
        writer_reset(&s->value);
        write_u64le(&s->value, r->hi);
        write_u64le(&s->value, r->lo);
        if (r->wb.flags & WB_DEAD)
            store_batch_delete(s, writer_slice(&s->key));
        else
            store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
        wb_flushed(s, &r->wb, &s->dedup_flushing);
    }
}

void dedup_written(struct partition_store *s)
{
    LIST_FOREACH_SAFE(n, next, &s->dedup_flushing)
    {
        struct dedup_row *r = CONTAINER_OF(n, struct dedup_row, wb.link);
        if (r->wb.flags & WB_DEAD)
            row_free(s, r);
    }
    list_splice(&s->dedup_clean, &s->dedup_flushing);
}

void dedup_maintain(struct partition_store *s)
{
    while (s->dedups.count > CLEAN_MAX && !list_empty(&s->dedup_clean))
        row_free(s, CONTAINER_OF(s->dedup_clean.next, struct dedup_row, wb.link));
}

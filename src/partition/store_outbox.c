/* The outbox: messages in sequence, a window of them in memory (store.h). A message that is truncated before
 * it was flushed never reaches the backend. */
#include "partition/store_internal.h"

#define POINT_DELETES_MAX 64

static struct outbox_slot *slot(struct partition_store *s, uint64_t index)
{
    return &s->window[index & (s->window_cap - 1)];
}

static void window_grow(struct partition_store *s)
{
    size_t cap = s->window_cap ? s->window_cap * 2 : 64;
    struct outbox_slot *grown = xcalloc(cap, sizeof(*grown));
    for (uint64_t i = s->window_base; i < s->vars.outbox_seq; i++)
        grown[i & (cap - 1)] = *slot(s, i);
    free(s->window);
    s->window = grown;
    s->window_cap = cap;
}

static void outbox_key(struct partition_store *s, struct writer *w, uint64_t index)
{
    key_begin(w, s->config.partition_id, TABLE_OUTBOX);
    write_u64be(w, index);
}

static size_t message_size(const struct outbox_message *m)
{
    return sizeof(struct outbox_slot) + m->record.len;
}

static void drop_first(struct partition_store *s)
{
    struct outbox_message *m = &slot(s, s->window_base)->message;
    s->cached_bytes -= message_size(m);
    bytes_unref(&m->record);
    s->window_base++;
}

uint64_t store_outbox_push(struct partition_store *s, uint64_t partition_key, enum command_kind kind,
                           struct bytes record_take)
{
    if (s->vars.outbox_seq - s->window_base == s->window_cap)
        window_grow(s);
    uint64_t index = s->vars.outbox_seq++;
    struct outbox_message *m = &slot(s, index)->message;
    *m = (struct outbox_message){index, partition_key, kind, record_take};
    s->cached_bytes += message_size(m);
    store_note_dirty(s, 32 + record_take.len);
    /* The header room is filled in by whoever ships a copy: it may hold anything here. */
    struct slice body = bytes_slice(record_take);
    if (body.len >= RECORD_HEADER_SIZE)
        body = record_body(body);
    store_mutated(s, MUT_OUTBOX_PUSH, index, hash64_combine(partition_key, kind), hash_value(body));
    return index;
}

/* Messages that left memory are read back and kept until the next maintain. */
static const struct outbox_message *load(struct partition_store *s, uint64_t index)
{
    for (size_t i = 0; i < s->outbox_loaded.len; i++) {
        if (s->outbox_loaded.items[i]->index == index)
            return s->outbox_loaded.items[i];
    }
    outbox_key(s, &s->key, index);
    struct bytes value;
    struct outbox_message m = {.index = index};
    bool ok = store_kv_get(s, writer_slice(&s->key), &value) == RC_OK && outbox_decode(value, &m);
    bytes_unref(&value);
    if (!ok) {
        store_fail(s, RC_CORRUPT, "outbox message %llu is missing or damaged", (unsigned long long)index);
        return NULL;
    }
    struct outbox_message *kept = xmalloc(sizeof(*kept));
    *kept = m;
    VEC_PUSH(&s->outbox_loaded, kept);
    return kept;
}

const struct outbox_message *store_outbox_get(struct partition_store *s, uint64_t index)
{
    if (index < s->vars.outbox_head || index >= s->vars.outbox_seq)
        return NULL;
    return index >= s->window_base ? &slot(s, index)->message : load(s, index);
}

void store_outbox_truncate(struct partition_store *s, uint64_t upto_index)
{
    store_mutated(s, MUT_OUTBOX_TRUNCATE, upto_index, 0, 0);
    if (upto_index < s->vars.outbox_head || s->vars.outbox_head == s->vars.outbox_seq)
        return;
    uint64_t head = MIN(upto_index, s->vars.outbox_seq - 1) + 1;
    while (s->window_base < head)
        drop_first(s);
    s->vars.outbox_head = head;
    s->outbox_delete_to = MAX(s->outbox_delete_to, MIN(head, s->outbox_flushed));
    s->outbox_flushed = MAX(s->outbox_flushed, head);
    store_note_dirty(s, 16);
}

static void delete_rows(struct partition_store *s)
{
    uint64_t from = s->outbox_deleted, to = s->outbox_delete_to;
    if (from < to && to - from > POINT_DELETES_MAX) {
        outbox_key(s, &s->key, from);
        outbox_key(s, &s->key2, to);
        s->kv->ops->batch_delete_range(s->batch, writer_slice(&s->key), writer_slice(&s->key2));
    } else {
        for (uint64_t i = from; i < to; i++) {
            outbox_key(s, &s->key, i);
            store_batch_delete(s, writer_slice(&s->key));
        }
    }
    s->outbox_deleted = s->vars.outbox_head;
}

void outbox_flush(struct partition_store *s)
{
    delete_rows(s);
    for (uint64_t i = s->outbox_flushed; i < s->vars.outbox_seq; i++) {
        outbox_key(s, &s->key, i);
        writer_reset(&s->value);
        outbox_encode(&s->value, &slot(s, i)->message);
        store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
    }
    s->outbox_flushed = s->vars.outbox_seq;
}

void outbox_maintain(struct partition_store *s, bool over_budget)
{
    for (size_t i = 0; i < s->outbox_loaded.len; i++) {
        bytes_unref(&s->outbox_loaded.items[i]->record);
        free(s->outbox_loaded.items[i]);
    }
    s->outbox_loaded.len = 0;
    while (over_budget && s->window_base < s->outbox_written && s->window_base < s->vars.outbox_seq)
        drop_first(s);
}

void outbox_free(struct partition_store *s)
{
    outbox_maintain(s, false);
    VEC_FREE(&s->outbox_loaded);
    while (s->window_base < s->vars.outbox_seq)
        drop_first(s);
    free(s->window);
}

/* The entries of scoped invocations that run or wait (partition/limits.h), the rules and the paused queues:
 * all in memory while they exist; a row for each entry in the backend, unless it comes and goes between two
 * batches (store.h), one for the rules, one for all pauses. */
#include "partition/limits_mutations.h"
#include "partition/store_internal.h"
#include "wire/scope.h"

#define SLOT_VERSION   1
#define RULES_VERSION  1
#define PAUSED_VERSION 1

struct slot_row {
    struct hmap_node by_id;
    struct write_back wb;
    struct limit_entry entry;
};

static struct slot_row *row_of_entry(struct limit_entry *e)
{
    return CONTAINER_OF(e, struct slot_row, entry);
}

/* Also one whose deletion is not written yet. */
static struct slot_row *lookup(struct partition_store *s, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&s->slots, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        struct slot_row *r = CONTAINER_OF(n, struct slot_row, by_id);
        if (invocation_id_eq(r->entry.id, id))
            return r;
    }
    return NULL;
}

static struct slot_row *row_new(struct partition_store *s, struct invocation_id id)
{
    struct slot_row *r = xcalloc(1, sizeof(*r));
    r->entry.id = id;
    list_init(&r->wb.link);
    hmap_insert(&s->slots, &r->by_id, invocation_id_hash(id));
    s->cached_bytes += sizeof(*r);
    return r;
}

static void row_free(struct partition_store *s, struct slot_row *r)
{
    list_remove(&r->wb.link);
    hmap_remove(&s->slots, &r->by_id);
    s->cached_bytes -= sizeof(*r);
    free(r);
}

static void changed(struct partition_store *s, struct slot_row *r)
{
    const struct limit_entry *e = &r->entry;
    store_mutated(s, MUT_SLOT, hash_id(e->id), hash64_combine(e->fair.tag, e->fair.seq), 1u + e->held);
    store_note_dirty(s, 128);
    wb_dirty(s, &r->wb, &s->slot_dirty);
}

/* ---- entering and leaving ---- */

bool store_slot_enter(struct partition_store *s, const struct invocation *inv, bool woken)
{
    struct slot_row *r = lookup(s, inv->id);
    if (r && !(r->wb.flags & WB_DEAD))
        return !r->entry.held;
    if (!r)
        r = row_new(s, inv->id);
    r->wb.flags &= (uint8_t)~WB_DEAD;
    struct limit_address a = {.scope = inv->si.target.scope, .service = inv->si.target.service};
    limit_key_split(inv->si.limit_key, &a.l1, &a.l2);
    bool runs = limits_enter(s->limits, &r->entry, &a, inv->inbox_seq, woken);
    changed(s, r);
    return runs;
}

void store_slot_leave(struct partition_store *s, struct invocation_id id)
{
    struct slot_row *r = s->slots.count ? lookup(s, id) : NULL;
    if (!r || r->wb.flags & WB_DEAD)
        return;
    limits_leave(s->limits, &r->entry);
    store_mutated(s, MUT_SLOT, hash_id(id), 0, 0);
    store_note_dirty(s, 32);
    if (wb_kill(s, &r->wb, &s->slot_dirty, &s->slot_flushing))
        row_free(s, r);
}

bool store_slot_next(struct partition_store *s, struct invocation_id *out)
{
    struct limit_entry *e = limits_next(s->limits);
    if (!e)
        return false;
    *out = e->id;
    changed(s, row_of_entry(e));
    return true;
}

bool store_slot_any_next(const struct partition_store *s)
{
    return limits_any_next(s->limits);
}

const struct limits *store_limits(const struct partition_store *s)
{
    return s->limits;
}

/* ---- rules ---- */

uint32_t store_rules_version(const struct partition_store *s)
{
    return s->rules_version;
}

void store_rules_set(struct partition_store *s, uint32_t version, struct bytes encoded)
{
    bytes_unref(&s->rules);
    s->rules = bytes_ref(encoded);
    s->rules_version = version;
    s->rules_dirty = true;
    limits_set_rules(s->limits, encoded);
    store_mutated(s, MUT_RULES, version, hash_value(bytes_slice(encoded)), 0);
    store_note_dirty(s, encoded.len);
}

/* ---- paused queues ---- */

static void queue_changed(struct partition_store *s, struct invocation_id queue, bool paused)
{
    s->paused_dirty = true;
    store_mutated(s, MUT_QUEUE, hash_id(queue), paused, 0);
    store_note_dirty(s, INVOCATION_ID_BYTES * limits_paused_count(s->limits));
}

bool store_queue_pause(struct partition_store *s, struct invocation_id queue)
{
    if (limits_paused(s->limits, queue))
        return true;
    if (!limits_pause(s->limits, queue))
        return false;
    queue_changed(s, queue, true);
    return true;
}

void store_queue_resume(struct partition_store *s, struct invocation_id queue)
{
    if (!limits_paused(s->limits, queue))
        return;
    limits_resume(s->limits, queue);
    queue_changed(s, queue, false);
}

/* ---- rows ---- */

static void slot_key(struct partition_store *s, struct invocation_id id)
{
    key_begin(&s->key, s->config.partition_id, TABLE_SLOT);
    key_id(&s->key, id);
}

static void slot_encode(struct writer *w, const struct limit_entry *e)
{
    struct limit_address a;
    limits_address(e, &a);
    write_u8(w, SLOT_VERSION);
    write_u8(w, e->held);
    write_varint(w, e->fair.tag);
    write_varint(w, e->fair.seq);
    write_lp(w, a.scope);
    write_lp(w, a.l1);
    write_lp(w, a.l2);
    write_lp(w, a.service);
}

static struct slice read_label(struct reader *r, bool optional)
{
    char room[LABEL_ROOM];
    struct slice label = read_lp(r);
    if (label.len == 0 && optional)
        return SLICE_EMPTY;
    if (label_problem(label, room))
        r->failed = true;
    return label;
}

bool slot_decode(struct slice value, struct limit_entry *e, struct limit_address *a)
{
    struct reader r = reader_make(value);
    uint8_t version = read_u8(&r), held = read_u8(&r);
    e->held = held;
    e->fair.tag = read_varint(&r);
    e->fair.seq = read_varint(&r);
    a->scope = read_label(&r, false);
    a->l1 = read_label(&r, true);
    a->l2 = read_label(&r, true);
    a->service = read_lp(&r);
    return reader_done(&r) && version == SLOT_VERSION && held <= 1 && (a->l1.ptr || !a->l2.ptr);
}

static void flush_rules(struct partition_store *s)
{
    s->rules_dirty = false;
    key_begin(&s->key, s->config.partition_id, TABLE_RULES);
    writer_reset(&s->value);
    write_u8(&s->value, RULES_VERSION);
    write_slice_raw(&s->value, bytes_slice(s->rules));
    store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
}

static void write_queue(void *ctx, struct invocation_id queue)
{
    struct partition_store *s = ctx;
    uint8_t raw[INVOCATION_ID_BYTES];
    invocation_id_to_bytes(queue, raw);
    write_raw(&s->value, raw, sizeof(raw));
}

static void flush_paused(struct partition_store *s)
{
    s->paused_dirty = false;
    key_begin(&s->key, s->config.partition_id, TABLE_PAUSED_QUEUES);
    writer_reset(&s->value);
    write_u8(&s->value, PAUSED_VERSION);
    limits_visit_paused(s->limits, write_queue, s);
    store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
}

void slots_flush(struct partition_store *s)
{
    while (!list_empty(&s->slot_dirty)) {
        struct slot_row *r = CONTAINER_OF(s->slot_dirty.next, struct slot_row, wb.link);
        slot_key(s, r->entry.id);
        if (r->wb.flags & WB_DEAD) {
            store_batch_delete(s, writer_slice(&s->key));
        } else {
            writer_reset(&s->value);
            slot_encode(&s->value, &r->entry);
            store_batch_put(s, writer_slice(&s->key), writer_slice(&s->value));
        }
        wb_flushed(s, &r->wb, &s->slot_flushing);
    }
    if (s->rules_dirty)
        flush_rules(s);
    if (s->paused_dirty)
        flush_paused(s);
}

void slots_written(struct partition_store *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->slot_flushing))) {
        struct slot_row *r = CONTAINER_OF(n, struct slot_row, wb.link);
        if (r->wb.flags & WB_DEAD)
            row_free(s, r);
    }
}

/* ---- opening and closing ---- */

static enum rc load_rules(struct partition_store *s, struct err *err)
{
    key_begin(&s->key, s->config.partition_id, TABLE_RULES);
    struct bytes value = BYTES_EMPTY;
    enum rc rc = s->kv->ops->get(s->kv, writer_slice(&s->key), &value, err);
    if (rc != RC_OK)
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    struct cmd_rule_book book;
    struct reader r = reader_make(bytes_slice(value));
    if (read_u8(&r) != RULES_VERSION || !cmd_rule_book_read(&r, &book)) {
        bytes_unref(&value);
        return err_set(err, RC_CORRUPT, "the rules of partition %u cannot be decoded",
                       (unsigned)s->config.partition_id);
    }
    s->rules_version = book.version;
    s->rules = bytes_part(value, slice_sub(bytes_slice(value), 1, value.len - 1));
    bytes_unref(&value);
    limits_set_rules(s->limits, s->rules);
    return RC_OK;
}

static enum rc load_paused(struct partition_store *s, struct err *err)
{
    key_begin(&s->key, s->config.partition_id, TABLE_PAUSED_QUEUES);
    struct bytes value = BYTES_EMPTY;
    enum rc rc = s->kv->ops->get(s->kv, writer_slice(&s->key), &value, err);
    if (rc != RC_OK)
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    struct reader r = reader_make(bytes_slice(value));
    bool ok = read_u8(&r) == PAUSED_VERSION;
    while (ok && reader_left(&r) > 0 && !LIMITS_BROKEN(PAUSE_LOST)) {
        struct slice raw = read_raw(&r, INVOCATION_ID_BYTES);
        ok = !r.failed && limits_pause(s->limits, invocation_id_from_bytes(raw.ptr));
    }
    bytes_unref(&value);
    return ok ? RC_OK
              : err_set(err, RC_CORRUPT, "the paused queues of partition %u cannot be decoded",
                        (unsigned)s->config.partition_id);
}

static bool load_slot(struct partition_store *s, struct slice key, struct slice value)
{
    struct limit_entry e = {0};
    struct limit_address a;
    if (key.len != STORE_KEY_PREFIX + INVOCATION_ID_BYTES || !slot_decode(value, &e, &a))
        return false;
    struct slot_row *r = row_new(s, invocation_id_from_bytes(key.ptr + STORE_KEY_PREFIX));
    r->wb.flags = WB_PERSISTED;
    r->entry.held = e.held;
    r->entry.fair.tag = LIMITS_BROKEN(ORDER_LOST) ? 0 : e.fair.tag;
    r->entry.fair.seq = e.fair.seq;
    limits_restore(s->limits, &r->entry, &a);
    return true;
}

enum rc slots_load(struct partition_store *s, struct err *err)
{
    enum rc rc = load_rules(s, err);
    if (rc == RC_OK)
        rc = load_paused(s, err);
    if (rc != RC_OK)
        return rc;
    key_begin(&s->key, s->config.partition_id, TABLE_SLOT);
    key_begin(&s->key2, s->config.partition_id, TABLE_SLOT + 1);
    struct kv_iter *it = s->kv->ops->iter_new(s->kv, writer_slice(&s->key), writer_slice(&s->key2));
    struct slice key, value;
    bool ok = true;
    while (ok && s->kv->ops->iter_next(it, &key, &value))
        ok = load_slot(s, key, value);
    s->kv->ops->iter_free(it);
    return ok ? RC_OK
              : err_set(err, RC_CORRUPT, "an entry of the limits of partition %u cannot be decoded",
                        (unsigned)s->config.partition_id);
}

void slots_init(struct partition_store *s)
{
    hmap_init(&s->slots);
    list_init(&s->slot_dirty);
    list_init(&s->slot_flushing);
    s->limits = limits_new();
}

void slots_free(struct partition_store *s)
{
    limits_free(s->limits);
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&s->slots, &it); n; n = hmap_step(&s->slots, &it)) {
        struct slot_row *r = CONTAINER_OF(n, struct slot_row, by_id);
        list_remove(&r->wb.link);
        free(r);
    }
    hmap_free(&s->slots);
    bytes_unref(&s->rules);
}

/* Stored form of keys and of the small rows: variables, objects, inbox, state, promises, outbox, blobs
 * (store_codec.h). */
#include "partition/store_codec.h"

#define ROW_VERSION 1

/* ---- keys ---- */

void key_begin(struct writer *w, uint16_t partition_id, enum store_table table)
{
    writer_reset(w);
    write_u16be(w, partition_id);
    write_u8(w, (uint8_t)table);
}

void key_id(struct writer *w, struct invocation_id id)
{
    uint8_t raw[INVOCATION_ID_BYTES];
    invocation_id_to_bytes(id, raw);
    write_raw(w, raw, sizeof(raw));
}

void key_name(struct writer *w, struct slice name)
{
    size_t at = 0;
    for (ptrdiff_t zero; (zero = slice_find(name, 0, at)) >= 0; at = (size_t)zero + 1) {
        write_slice_raw(w, slice_sub(name, at, (size_t)zero - at));
        write_raw(w, "\x00\xff", 2);
    }
    write_slice_raw(w, slice_sub(name, at, name.len - at));
    write_raw(w, "\x00\x01", 2);
}

void key_timer(struct writer *w, const struct timer_key *t)
{
    write_u64be(w, t->wake_up_ms);
    write_u8(w, (uint8_t)t->kind);
    key_id(w, t->id);
    write_u32be(w, t->index);
}

bool key_timer_decode(struct slice suffix, struct timer_key *out)
{
    struct reader r = reader_make(suffix);
    *out = (struct timer_key){.wake_up_ms = read_u64be(&r), .kind = read_u8(&r)};
    struct slice id = read_raw(&r, INVOCATION_ID_BYTES);
    out->index = read_u32be(&r);
    if (!reader_done(&r) || out->kind > TIMER_RETRY)
        return false;
    out->id = invocation_id_from_bytes(id.ptr);
    return true;
}

void key_after_prefix(struct writer *w)
{
    while (w->len > 0 && w->buf->data[w->len - 1] == 0xff)
        w->len--;
    ASSERT(w->len > 0);
    w->buf->data[w->len - 1]++;
}

/* ---- variables ---- */

void stored_vars_encode(struct writer *w, const struct stored_vars *v)
{
    const struct partition_vars *p = &v->vars;
    const uint64_t fields[] = {p->applied_lsn,    p->applied_time_ms,
                               p->inbox_seq,      p->outbox_seq,
                               p->outbox_head,    p->leader_epoch,
                               p->leader_node_id, p->leader_node_generation,
                               p->durable_lsn,    p->features,
                               p->state_hash,     v->live_invocations,
                               v->next_blob_id,   p->subscriptions_version};
    write_u8(w, ROW_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        write_u64le(w, fields[i]);
}

bool stored_vars_decode(struct slice value, struct stored_vars *out)
{
    struct reader r = reader_make(value);
    if (read_u8(&r) != ROW_VERSION)
        return false;
    struct partition_vars *p = &out->vars;
    p->applied_lsn = read_u64le(&r);
    p->applied_time_ms = read_u64le(&r);
    p->inbox_seq = read_u64le(&r);
    p->outbox_seq = read_u64le(&r);
    p->outbox_head = read_u64le(&r);
    p->leader_epoch = read_u64le(&r);
    p->leader_node_id = (uint32_t)read_u64le(&r);
    p->leader_node_generation = (uint32_t)read_u64le(&r);
    p->durable_lsn = read_u64le(&r);
    p->features = read_u64le(&r);
    p->state_hash = read_u64le(&r);
    out->live_invocations = read_u64le(&r);
    out->next_blob_id = read_u64le(&r);
    p->subscriptions_version = reader_left(&r) ? (uint32_t)read_u64le(&r) : 0; /* older builds end before */
    return reader_done(&r) && p->outbox_head <= p->outbox_seq;
}

/* ---- objects ---- */

bool object_header_eq(const struct object_header *a, const struct object_header *b)
{
    return a->locked == b->locked && a->embedded == b->embedded &&
           (!a->locked || invocation_id_eq(a->owner, b->owner)) && a->inbox == b->inbox &&
           a->state == b->state && a->state_bytes == b->state_bytes && a->promises == b->promises;
}

enum { HEADER_LOCKED = 1, HEADER_EMBEDDED = 2 };

void object_header_encode(struct writer *w, const struct object_header *h)
{
    write_u8(w, ROW_VERSION);
    write_u8(w, (uint8_t)((h->locked ? HEADER_LOCKED : 0) | (h->embedded ? HEADER_EMBEDDED : 0)));
    if (h->locked)
        key_id(w, h->owner);
    write_varint(w, h->inbox);
    write_varint(w, h->state);
    write_varint(w, h->state_bytes);
    write_varint(w, h->promises);
}

bool object_header_decode(struct slice value, struct object_header *out, struct reader *state)
{
    *out = (struct object_header){0};
    struct reader r = reader_make(value);
    if (read_u8(&r) != ROW_VERSION)
        return false;
    uint8_t flags = read_u8(&r);
    out->locked = flags & HEADER_LOCKED;
    out->embedded = flags & HEADER_EMBEDDED;
    if (out->locked) {
        struct slice id = read_raw(&r, INVOCATION_ID_BYTES);
        if (!r.failed)
            out->owner = invocation_id_from_bytes(id.ptr);
    }
    out->inbox = read_varint(&r);
    out->state = read_varint(&r);
    out->state_bytes = read_varint(&r);
    out->promises = read_varint(&r);
    *state = r;
    return !r.failed && flags <= (HEADER_LOCKED | HEADER_EMBEDDED) && (out->embedded || reader_done(&r));
}

bool embedded_state_read(struct reader *r, struct slice *key, struct slice *value)
{
    *key = read_lp(r);
    *value = read_lp(r);
    return !r->failed;
}

void inbox_encode(struct writer *w, const struct inbox_entry *e)
{
    write_u8(w, ROW_VERSION);
    write_u8(w, (uint8_t)e->kind);
    if (e->kind == INBOX_INVOCATION)
        key_id(w, e->id);
    else
        write_slice_raw(w, bytes_slice(e->patch));
}

bool inbox_decode(struct bytes value, struct inbox_entry *out)
{
    struct reader r = reader_make(bytes_slice(value));
    uint8_t version = read_u8(&r), kind = read_u8(&r);
    if (r.failed || version != ROW_VERSION || kind > INBOX_STATE_PATCH)
        return false;
    out->kind = kind;
    if (kind == INBOX_STATE_PATCH) {
        out->patch = bytes_part(value, read_raw(&r, reader_left(&r)));
        return true;
    }
    struct slice id = read_raw(&r, INVOCATION_ID_BYTES);
    if (!reader_done(&r))
        return false;
    out->id = invocation_id_from_bytes(id.ptr);
    return true;
}

enum { STATE_INLINE = 1, STATE_BLOB = 2 };

void state_encode(struct writer *w, uint64_t blob_id, struct bytes value)
{
    if (blob_id) {
        write_u8(w, STATE_BLOB);
        write_varint(w, blob_id);
        write_varint(w, value.len);
    } else {
        write_u8(w, STATE_INLINE);
        write_slice_raw(w, bytes_slice(value));
    }
}

bool state_decode(struct slice value, struct stored_state *out)
{
    *out = (struct stored_state){0};
    struct reader r = reader_make(value);
    uint8_t form = read_u8(&r);
    if (form == STATE_INLINE && !r.failed) {
        out->value = read_raw(&r, reader_left(&r));
        out->len = out->value.len;
        return true;
    }
    out->blob_id = read_varint(&r);
    out->len = read_varint(&r);
    return form == STATE_BLOB && out->blob_id != 0 && reader_done(&r);
}

void promise_encode(struct writer *w, const struct promise *p)
{
    write_u8(w, ROW_VERSION);
    outcome_write(w, &p->outcome);
    for (size_t i = 0; i < p->n_listeners; i++) {
        key_id(w, p->listeners[i].id);
        write_u32be(w, p->listeners[i].completion_id);
    }
}

bool promise_decode(struct slice value, struct promise *out, struct reader *listeners)
{
    *out = (struct promise){0};
    struct reader r = reader_make(value);
    if (read_u8(&r) != ROW_VERSION || !outcome_read(&r, &out->outcome) || r.failed)
        return false;
    *listeners = r;
    return reader_left(&r) % (INVOCATION_ID_BYTES + 4) == 0;
}

bool promise_listener_read(struct reader *r, struct promise_listener *out)
{
    if (reader_left(r) == 0)
        return false;
    struct slice id = read_raw(r, INVOCATION_ID_BYTES);
    out->completion_id = read_u32be(r);
    if (r->failed)
        return false;
    out->id = invocation_id_from_bytes(id.ptr);
    return true;
}

/* ---- outbox, blobs ---- */

void outbox_encode(struct writer *w, const struct outbox_message *m)
{
    write_u8(w, ROW_VERSION);
    write_u8(w, (uint8_t)m->kind);
    write_u64be(w, m->partition_key);
    write_slice_raw(w, bytes_slice(m->record));
}

bool outbox_decode(struct bytes value, struct outbox_message *out)
{
    struct reader r = reader_make(bytes_slice(value));
    uint8_t version = read_u8(&r);
    out->kind = read_u8(&r);
    out->partition_key = read_u64be(&r);
    if (r.failed || version != ROW_VERSION)
        return false;
    out->record = bytes_part(value, read_raw(&r, reader_left(&r)));
    return true;
}

void blob_meta_encode(struct writer *w, const struct blob_meta *m)
{
    write_u8(w, ROW_VERSION);
    write_varint(w, m->refs);
    write_varint(w, m->expiry_ms);
    write_varint(w, m->len);
}

bool blob_meta_decode(struct slice value, struct blob_meta *out)
{
    struct reader r = reader_make(value);
    uint8_t version = read_u8(&r);
    out->refs = read_varint(&r);
    out->expiry_ms = read_varint(&r);
    out->len = read_varint(&r);
    return reader_done(&r) && version == ROW_VERSION;
}

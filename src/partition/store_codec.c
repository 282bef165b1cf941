/* Stored form of invocations: head, status, journal entries, events (store_codec.h). */
#include <stdlib.h>

#include "partition/store_codec.h"

/* ---- head and expiry ---- */

void stored_head_put(uint8_t out[STORED_HEAD_SIZE], const struct stored_head *h)
{
    out[0] = h->version;
    out[1] = h->kind;
    out[2] = h->flags;
    out[3] = 0;
    put_u64le(out + 4, h->expiry_ms);
    put_u64le(out + 12, h->journal_expiry_ms);
    put_u32le(out + 20, h->status_len);
}

bool stored_head_get(struct slice value, struct stored_head *out)
{
    if (value.len < STORED_HEAD_SIZE)
        return false;
    const uint8_t *p = value.ptr;
    *out = (struct stored_head){p[0], p[1], p[2], get_u64le(p + 4), get_u64le(p + 12), get_u32le(p + 20)};
    if (out->version != STORED_VERSION || (out->kind != STORED_LIVE && out->kind != STORED_PACKED) ||
        p[3] != 0)
        return false;
    return out->status_len <= value.len - STORED_HEAD_SIZE;
}

enum row_fate stored_fate(struct slice key, struct slice value, uint64_t watermark_ms, size_t *cut)
{
    struct stored_head h;
    if (key.len != STORE_KEY_PREFIX + INVOCATION_ID_BYTES || key.ptr[2] != TABLE_INVOCATION ||
        !stored_head_get(value, &h) || h.kind != STORED_PACKED)
        return ROW_KEEP;
    if (!(h.flags & STORED_KEEP) && h.expiry_ms <= watermark_ms)
        return ROW_DROP;
    *cut = STORED_HEAD_SIZE + h.status_len;
    if (h.journal_expiry_ms <= watermark_ms && !(h.flags & STORED_JOURNAL_GONE) && value.len > *cut)
        return ROW_CUT;
    return ROW_KEEP;
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > NEVER_MS - b ? NEVER_MS : a + b;
}

uint64_t invocation_expiry_ms(const struct invocation *inv)
{
    if (inv->status != INV_COMPLETED || inv->si.target.kind == TARGET_WORKFLOW_RUN)
        return NEVER_MS;
    return add_saturating(inv->at.completed_at, inv->si.completion_retention_ms);
}

uint64_t invocation_journal_expiry_ms(const struct invocation *inv)
{
    if (inv->status != INV_COMPLETED)
        return NEVER_MS;
    return add_saturating(inv->at.completed_at, inv->si.journal_retention_ms);
}

/* ---- small parts ---- */

static void write_id(struct writer *w, struct invocation_id id)
{
    uint8_t raw[INVOCATION_ID_BYTES];
    invocation_id_to_bytes(id, raw);
    write_raw(w, raw, sizeof(raw));
}

static struct invocation_id read_id(struct reader *r)
{
    struct slice raw = read_raw(r, INVOCATION_ID_BYTES);
    if (r->failed)
        return (struct invocation_id){0};
    return invocation_id_from_bytes(raw.ptr);
}

static void write_u128(struct writer *w, struct u128 v)
{
    write_u64le(w, v.hi);
    write_u64le(w, v.lo);
}

static struct u128 read_u128(struct reader *r)
{
    uint64_t hi = read_u64le(r);
    return (struct u128){hi, read_u64le(r)};
}

static uint32_t read_varint32(struct reader *r)
{
    uint64_t v = read_varint(r);
    if (v > UINT32_MAX)
        r->failed = true;
    return (uint32_t)v;
}

static void sinks_write(struct writer *w, const struct invocation *inv)
{
    write_varint(w, inv->sinks.len);
    for (size_t i = 0; i < inv->sinks.len; i++) {
        const struct sink *k = &inv->sinks.items[i];
        write_u8(w, (uint8_t)k->kind);
        if (k->kind == SINK_INVOCATION) {
            write_id(w, k->caller);
            write_varint(w, k->completion_id);
        } else if (k->kind == SINK_INGRESS) {
            write_u128(w, k->request_id);
        }
    }
}

static void sinks_read(struct reader *r, struct invocation *inv)
{
    uint64_t n = read_varint(r);
    if (n > reader_left(r))
        r->failed = true;
    for (uint64_t i = 0; i < n && !r->failed; i++) {
        struct sink k = {.kind = read_u8(r)};
        if (k.kind == SINK_INVOCATION) {
            k.caller = read_id(r);
            k.completion_id = read_varint32(r);
        } else if (k.kind == SINK_INGRESS) {
            k.request_id = read_u128(r);
        } else if (k.kind != SINK_NONE) {
            r->failed = true;
        }
        VEC_PUSH(&inv->sinks, k);
    }
}

/* ---- status ---- */

enum {
    STATUS_PINNED = 1,
    STATUS_SEED = 2,
    STATUS_JOURNAL_PURGED = 4,
    STATUS_QUARANTINED = 8,
    STATUS_AWAITING_TREE = 16,
    STATUS_ORIGIN_ELSEWHERE = 32,
    STATUS_HAS_BLOBS = 64,
    STATUS_BACKOFF = 128,
};

#define STATUS_IN_QUEUE 128 /* with the status itself: the history of its queue follows at the end */

#define STORE_FLAG_HAS_BLOBS 64 /* INV_HAS_BLOBS of store_internal.h; checked there */

static bool has_backoff(const struct invocation *inv)
{
    return inv->backoff.resume_at_ms || inv->backoff.retries || inv->backoff.retries_since_command;
}

static uint8_t status_flags(const struct invocation *inv, bool origin_elsewhere)
{
    return (uint8_t)((inv->pinned ? STATUS_PINNED : 0) | (inv->has_random_seed ? STATUS_SEED : 0) |
                     (inv->journal_purged ? STATUS_JOURNAL_PURGED : 0) |
                     (inv->quarantined ? STATUS_QUARANTINED : 0) |
                     (inv->awaiting.is_tree ? STATUS_AWAITING_TREE : 0) |
                     (origin_elsewhere ? STATUS_ORIGIN_ELSEWHERE : 0) |
                     (inv->store_flags & STORE_FLAG_HAS_BLOBS ? STATUS_HAS_BLOBS : 0) |
                     (has_backoff(inv) ? STATUS_BACKOFF : 0));
}

static void queue_write(struct writer *w, const struct queue_history *q)
{
    const uint64_t parts[] = {q->attempts,    q->errors,           q->pauses,
                              q->suspensions, q->first_attempt_at, q->latest_attempt_at,
                              q->moved_at,    q->backing_off};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        write_varint(w, parts[i]);
}

static void queue_read(struct reader *r, struct queue_history *q)
{
    q->attempts = read_varint32(r);
    q->errors = read_varint32(r);
    q->pauses = read_varint32(r);
    q->suspensions = read_varint32(r);
    q->first_attempt_at = read_varint(r);
    q->latest_attempt_at = read_varint(r);
    q->moved_at = read_varint(r);
    uint64_t backing_off = read_varint(r);
    q->backing_off = backing_off;
    if (backing_off > 1 || q->moved_at == 0)
        r->failed = true;
}

static void status_write(struct writer *w, const struct invocation *inv, bool packed)
{
    bool elsewhere = !packed && inv->origin.len > ORIGIN_INLINE_MAX;
    bool queued = inv->queue.moved_at != 0;
    write_u8(w, (uint8_t)(inv->status | (queued ? STATUS_IN_QUEUE : 0)));
    write_u8(w, status_flags(inv, elsewhere));
    if (!elsewhere)
        write_lp(w, bytes_slice(inv->origin));
    sinks_write(w, inv);
    const struct invocation_timestamps *at = &inv->at;
    const uint64_t times[] = {at->created_at,   at->modified_at, at->inboxed_at,
                              at->scheduled_at, at->running_at,  at->completed_at};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        write_varint(w, times[i]);
    write_varint(w, inv->inbox_seq);
    write_lp(w, bytes_slice(inv->awaiting.encoded));
    if (inv->pinned) {
        write_u128(w, inv->deployment_id);
        write_varint(w, inv->protocol_version);
    }
    if (inv->has_random_seed)
        write_u64le(w, inv->random_seed);
    write_varint(w, inv->journal.len);
    write_varint(w, inv->commands);
    write_varint(w, inv->journal_bytes);
    write_varint(w, inv->events.len);
    outcome_write(w, &inv->result);
    if (has_backoff(inv)) {
        write_varint(w, inv->backoff.resume_at_ms);
        write_varint(w, inv->backoff.retries);
        write_varint(w, inv->backoff.retries_since_command);
    }
    if (queued)
        queue_write(w, &inv->queue);
}

struct status_extra {
    bool origin_elsewhere;
    uint64_t entries, events;
    struct slice origin;
};

static void status_read(struct reader *r, struct bytes value, struct invocation *inv, struct status_extra *x)
{
    uint8_t status = read_u8(r);
    inv->status = status & ~STATUS_IN_QUEUE;
    uint8_t flags = read_u8(r);
    inv->pinned = flags & STATUS_PINNED;
    inv->has_random_seed = flags & STATUS_SEED;
    inv->journal_purged = flags & STATUS_JOURNAL_PURGED;
    inv->quarantined = flags & STATUS_QUARANTINED;
    inv->awaiting.is_tree = flags & STATUS_AWAITING_TREE;
    inv->store_flags |= flags & STATUS_HAS_BLOBS ? STORE_FLAG_HAS_BLOBS : 0;
    x->origin_elsewhere = flags & STATUS_ORIGIN_ELSEWHERE;
    if (!x->origin_elsewhere)
        x->origin = read_lp(r);
    sinks_read(r, inv);
    struct invocation_timestamps *at = &inv->at;
    uint64_t *const times[] = {&at->created_at,   &at->modified_at, &at->inboxed_at,
                               &at->scheduled_at, &at->running_at,  &at->completed_at};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        *times[i] = read_varint(r);
    inv->inbox_seq = read_varint(r);
    struct slice awaiting = read_lp(r);
    if (awaiting.len)
        inv->awaiting.encoded = bytes_part(value, awaiting);
    if (inv->pinned) {
        inv->deployment_id = read_u128(r);
        inv->protocol_version = read_varint32(r);
    }
    if (inv->has_random_seed)
        inv->random_seed = read_u64le(r);
    x->entries = read_varint(r);
    inv->commands = read_varint32(r);
    inv->journal_bytes = read_varint(r);
    x->events = read_varint(r);
    if (!outcome_read(r, &inv->result))
        r->failed = true;
    if (flags & STATUS_BACKOFF) {
        inv->backoff.resume_at_ms = read_varint(r);
        inv->backoff.retries = read_varint32(r);
        inv->backoff.retries_since_command = read_varint32(r);
    }
    if (status & STATUS_IN_QUEUE)
        queue_read(r, &inv->queue);
    if (inv->status <= INV_FREE || inv->status > INV_HELD || x->entries > UINT32_MAX ||
        x->events > UINT32_MAX)
        r->failed = true;
}

/* ---- journal entries ---- */

enum payload_form {
    PAYLOAD_INLINE = 0,
    PAYLOAD_ORIGIN = 1, /* a part of the origin: the input */
    PAYLOAD_RESULT = 2, /* contains the result's value: the output */
    PAYLOAD_BLOB = 3,   /* contains a blob: state values */
};
#define SPLICE_MIN 32 /* shorter ones are not worth the indirection */

static bool slice_inside(struct slice part, struct slice whole)
{
    return part.len >= SPLICE_MIN && part.ptr >= whole.ptr && part.len <= whole.len &&
           (size_t)(part.ptr - whole.ptr) <= whole.len - part.len;
}

static void payload_write(struct writer *w, const struct invocation *inv, const struct journal_entry *e)
{
    struct slice payload = bytes_slice(e->payload), origin = bytes_slice(inv->origin);
    if (slice_inside(payload, origin)) {
        write_u8(w, PAYLOAD_ORIGIN);
        write_varint(w, (uint64_t)(payload.ptr - origin.ptr));
        write_varint(w, payload.len);
        return;
    }
    size_t at, len;
    if (e->blob_id) {
        write_u8(w, PAYLOAD_BLOB);
        write_varint(w, e->blob_id);
        at = e->blob_at;
        len = e->blob_len;
    } else if (inv->status == INV_COMPLETED && slice_inside(inv->result.value, payload)) {
        write_u8(w, PAYLOAD_RESULT);
        at = (size_t)(inv->result.value.ptr - payload.ptr);
        len = inv->result.value.len;
    } else {
        write_u8(w, PAYLOAD_INLINE);
        write_lp(w, payload);
        return;
    }
    write_varint(w, len);
    write_lp(w, slice_sub(payload, 0, at));
    write_lp(w, slice_sub(payload, at + len, payload.len - at - len));
}

/* head + middle + tail in one buffer */
static struct bytes payload_join(struct slice head, struct slice middle, struct slice tail)
{
    struct writer w = WRITER_INIT;
    writer_init(&w, head.len + middle.len + tail.len + 1);
    write_slice_raw(&w, head);
    write_slice_raw(&w, middle);
    write_slice_raw(&w, tail);
    return writer_take(&w);
}

static bool payload_read(struct bytes value, struct reader *r, const struct invocation *inv,
                         const struct blob_source *blobs, struct journal_entry *out)
{
    uint8_t form = read_u8(r);
    if (form == PAYLOAD_INLINE) {
        struct slice payload = read_lp(r);
        if (!r->failed && payload.len)
            out->payload = bytes_part(value, payload);
        return !r->failed;
    }
    if (form == PAYLOAD_ORIGIN) {
        uint64_t at = read_varint(r), len = read_varint(r);
        if (r->failed || at > inv->origin.len || len > inv->origin.len - at)
            return false;
        out->payload = bytes_part(inv->origin, slice_sub(bytes_slice(inv->origin), at, len));
        return true;
    }
    if (form != PAYLOAD_RESULT && form != PAYLOAD_BLOB)
        return false;
    uint64_t blob_id = form == PAYLOAD_BLOB ? read_varint(r) : 0;
    uint64_t len = read_varint(r);
    struct slice head = read_lp(r), tail = read_lp(r);
    if (r->failed || head.len > UINT32_MAX || len > UINT32_MAX)
        return false;
    struct bytes blob = BYTES_EMPTY;
    if (form == PAYLOAD_BLOB && (blob_id == 0 || !blobs || !blobs->content(blobs->ctx, blob_id, &blob)))
        return false;
    struct slice middle = form == PAYLOAD_BLOB ? bytes_slice(blob) : inv->result.value;
    bool ok = middle.len == len;
    if (ok)
        out->payload = payload_join(head, middle, tail);
    if (ok && form == PAYLOAD_BLOB) {
        out->blob_id = blob_id;
        out->blob_at = (uint32_t)head.len;
        out->blob_len = (uint32_t)len;
    }
    bytes_unref(&blob);
    return ok;
}

enum { ENTRY_CALLEE = 1, ENTRY_SIGNAL_NAME = 2 };

void entry_encode(struct writer *w, const struct invocation *inv, const struct journal_entry *e)
{
    write_u16le(w, e->type);
    write_u8(w, e->result);
    write_u8(w, e->notification_kind);
    write_u8(w, (uint8_t)((e->has_callee ? ENTRY_CALLEE : 0) | (e->signal_name.ptr ? ENTRY_SIGNAL_NAME : 0)));
    write_varint(w, e->completion_id);
    write_varint(w, e->completion_id2);
    write_varint(w, e->appended_at_ms);
    if (e->has_callee)
        write_id(w, e->callee);
    payload_write(w, inv, e);
    if (e->signal_name.ptr) {
        size_t at = e->signal_name.len ? (size_t)(e->signal_name.ptr - e->payload.ptr) : 0;
        ASSERT(at <= e->payload.len && e->signal_name.len <= e->payload.len - at);
        write_varint(w, at);
        write_varint(w, e->signal_name.len);
    }
}

static bool entry_read(struct bytes value, struct reader *r, const struct invocation *inv,
                       const struct blob_source *blobs, struct journal_entry *e)
{
    e->type = read_u16le(r);
    e->result = read_u8(r);
    e->notification_kind = read_u8(r);
    uint8_t flags = read_u8(r);
    e->completion_id = read_varint32(r);
    e->completion_id2 = read_varint32(r);
    e->appended_at_ms = read_varint(r);
    e->has_callee = flags & ENTRY_CALLEE;
    if (e->has_callee)
        e->callee = read_id(r);
    if (r->failed || !payload_read(value, r, inv, blobs, e))
        return false;
    if (flags & ENTRY_SIGNAL_NAME) {
        uint64_t at = read_varint(r), len = read_varint(r);
        if (r->failed || at > e->payload.len || len > e->payload.len - at)
            return false;
        e->signal_name = slice_sub(bytes_slice(e->payload), at, len);
        if (!e->signal_name.ptr)
            e->signal_name = SLICE_LIT("");
    }
    return !r->failed && !(flags & ~(ENTRY_CALLEE | ENTRY_SIGNAL_NAME)) && e->result <= OUTCOME_FAILURE &&
           e->notification_kind <= NOTIFICATION_NAMED_SIGNAL;
}

enum rc entry_decode(struct bytes value, struct reader *r, const struct invocation *inv,
                     const struct blob_source *blobs, struct journal_entry *out, struct err *err)
{
    *out = (struct journal_entry){0};
    if (entry_read(value, r, inv, blobs, out))
        return RC_OK;
    bytes_unref(&out->payload);
    return err_set(err, RC_CORRUPT, "a stored journal entry cannot be decoded (%zu bytes left of %zu)",
                   reader_left(r), value.len);
}

void event_encode(struct writer *w, const struct journal_event *e)
{
    write_varint(w, e->at_ms);
    write_varint(w, e->lsn);
    write_varint(w, e->after_entry_index);
    write_lp(w, bytes_slice(e->json));
}

enum rc event_decode(struct bytes value, struct reader *r, struct journal_event *out, struct err *err)
{
    *out = (struct journal_event){.at_ms = read_varint(r), .lsn = read_varint(r)};
    out->after_entry_index = read_varint32(r);
    struct slice json = read_lp(r);
    if (r->failed)
        return err_set(err, RC_CORRUPT, "a stored journal event cannot be decoded");
    if (json.len)
        out->json = bytes_part(value, json);
    return RC_OK;
}

/* ---- whole invocations ---- */

void invocation_encode(struct writer *w, const struct invocation *inv, bool packed)
{
    size_t start = w->len;
    writer_reserve(w, STORED_HEAD_SIZE);
    w->len += STORED_HEAD_SIZE;
    status_write(w, inv, packed);
    struct stored_head h = {.version = STORED_VERSION,
                            .kind = packed ? STORED_PACKED : STORED_LIVE,
                            .flags = inv->si.target.kind == TARGET_WORKFLOW_RUN ? STORED_KEEP : 0,
                            .expiry_ms = invocation_expiry_ms(inv),
                            .journal_expiry_ms = invocation_journal_expiry_ms(inv),
                            .status_len = (uint32_t)(w->len - start - STORED_HEAD_SIZE)};
    if (packed) {
        for (size_t i = 0; i < inv->journal.len; i++)
            entry_encode(w, inv, &inv->journal.items[i]);
        for (size_t i = 0; i < inv->events.len; i++)
            event_encode(w, &inv->events.items[i]);
    }
    stored_head_put(w->buf->data + start, &h);
}

enum rc invocation_set_origin(struct invocation *inv, struct bytes origin, struct err *err)
{
    struct reader r = reader_make(bytes_slice(origin));
    if (!service_invocation_read(&r, &inv->si) || !reader_done(&r))
        return err_set(err, RC_CORRUPT, "the origin of a stored invocation cannot be decoded (%zu bytes)",
                       origin.len);
    bytes_unref(&inv->origin);
    inv->origin = bytes_ref(origin);
    return RC_OK;
}

static enum rc packed_journal_read(struct bytes value, struct reader *r, struct invocation *inv,
                                   const struct status_extra *x, const struct blob_source *blobs,
                                   struct err *err)
{
    enum rc rc = RC_OK;
    for (uint64_t i = 0; i < x->entries && rc == RC_OK; i++) {
        struct journal_entry e;
        rc = entry_decode(value, r, inv, blobs, &e, err);
        if (rc == RC_OK)
            VEC_PUSH(&inv->journal, e);
    }
    for (uint64_t i = 0; i < x->events && rc == RC_OK; i++) {
        struct journal_event e;
        rc = event_decode(value, r, &e, err);
        if (rc == RC_OK)
            VEC_PUSH(&inv->events, e);
    }
    if (rc == RC_OK && !reader_done(r))
        rc = err_set(err, RC_CORRUPT, "a stored invocation has %zu bytes too many", reader_left(r));
    return rc;
}

/* The status part; *body is where journal and events of a packed one begin. */
static enum rc status_decode(struct bytes value, struct invocation *inv, uint64_t now_ms,
                             struct status_extra *x, size_t *body, struct err *err)
{
    struct stored_head h;
    if (!stored_head_get(bytes_slice(value), &h))
        return err_set(err, RC_CORRUPT, "the head of a stored invocation is damaged (%zu bytes)", value.len);
    struct slice all = bytes_slice(value);
    struct reader r = reader_make(slice_sub(all, STORED_HEAD_SIZE, h.status_len));
    status_read(&r, value, inv, x);
    bool packed = h.kind == STORED_PACKED;
    if (!reader_done(&r) || packed != (inv->status == INV_COMPLETED) || (packed && x->origin_elsewhere))
        return err_set(err, RC_CORRUPT, "the status of a stored invocation is damaged (%zu bytes)",
                       value.len);
    if (inv->result.kind != OUTCOME_NONE)
        inv->result_bytes = bytes_ref(value);
    if (!x->origin_elsewhere) {
        struct bytes origin = bytes_part(value, x->origin);
        enum rc rc = invocation_set_origin(inv, origin, err);
        bytes_unref(&origin);
        if (rc)
            return rc;
    }
    *body = STORED_HEAD_SIZE + h.status_len;
    if (!packed && *body != value.len)
        return err_set(err, RC_CORRUPT, "a stored invocation has %zu bytes too many", value.len - *body);
    inv->journal.len = x->entries;
    inv->events.len = x->events;
    if (packed && (h.flags & STORED_JOURNAL_GONE || h.journal_expiry_ms <= now_ms)) {
        inv->journal.len = inv->events.len = 0;
        inv->journal_purged = true;
        inv->commands = 0;
        inv->journal_bytes = 0;
    }
    return RC_OK;
}

enum rc invocation_decode_status(struct bytes value, struct invocation *inv, uint64_t now_ms, struct err *err)
{
    struct status_extra x = {0};
    size_t body;
    return status_decode(value, inv, now_ms, &x, &body, err);
}

enum rc invocation_decode(struct bytes value, struct invocation *inv, uint64_t now_ms,
                          const struct blob_source *blobs, struct err *err)
{
    struct status_extra x = {0};
    size_t body;
    enum rc rc = status_decode(value, inv, now_ms, &x, &body, err);
    if (rc != RC_OK || inv->status != INV_COMPLETED || inv->journal_purged)
        return rc;
    inv->journal.len = inv->events.len = 0;
    struct slice all = bytes_slice(value);
    struct reader r = reader_make(slice_sub(all, body, all.len - body));
    return packed_journal_read(value, &r, inv, &x, blobs, err);
}

void invocation_release_journal(struct invocation *inv)
{
    for (size_t i = 0; inv->journal.items && i < inv->journal.len; i++)
        bytes_unref(&inv->journal.items[i].payload);
    VEC_FREE(&inv->journal);
    for (size_t i = 0; inv->events.items && i < inv->events.len; i++)
        bytes_unref(&inv->events.items[i].json);
    VEC_FREE(&inv->events);
}

void invocation_release(struct invocation *inv)
{
    invocation_release_journal(inv);
    VEC_FREE(&inv->sinks);
    bytes_unref(&inv->origin);
    bytes_unref(&inv->awaiting.encoded);
    bytes_unref(&inv->result_bytes);
}

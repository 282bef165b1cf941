/* Encoding of the replicated log's messages: see loglet_message.h. */
#include "wire/loglet_message.h"

#include "wire/fields.h"

static const char *const kind_names[LOGLET_MESSAGE_KINDS] = {
    "unknown",     "store",   "stored",     "release", "seal",          "sealed", "get-info", "info",
    "get-records", "records", "get-digest", "digest",  "wait-for-tail", "tail",   "trim",     "trimmed"};

const char *loglet_message_kind_name(enum loglet_message_kind kind)
{
    return (unsigned)kind < LOGLET_MESSAGE_KINDS ? kind_names[kind] : kind_names[0];
}

const char *loglet_status_name(enum loglet_status status)
{
    static const char *const names[] = {
        "unknown",       "ok",        "disabled", "dropped", "sealed", "sealing", "mismatch of the sequencer",
        "out of bounds", "malformed", "lost"};
    return (unsigned)status < ARRAY_LEN(names) ? names[status] : names[0];
}

size_t loglet_message_body_bytes(const struct loglet_message *m)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < m->n_records; i++)
        sum += m->records[i].len;
    return sum;
}

/* ---- writing ---- */

static void write_node(struct writer *w, struct node_ref n)
{
    write_varint(w, n.id);
    write_varint(w, n.generation);
}

static void write_record_lengths(struct writer *w, const struct loglet_message *m)
{
    ASSERT(m->n_records <= LOGLET_RECORDS_MAX);
    write_varint(w, m->n_records);
    for (uint32_t i = 0; i < m->n_records; i++)
        write_varint(w, m->records[i].len);
}

static void write_ranges(struct writer *w, const struct loglet_message *m)
{
    ASSERT(m->n_ranges <= LOGLET_RANGES_MAX);
    write_varint(w, m->n_ranges);
    for (uint32_t i = 0; i < m->n_ranges; i++) {
        write_varint(w, m->ranges[i].from);
        write_varint(w, m->ranges[i].to);
        write_u8(w, (uint8_t)m->ranges[i].kind);
    }
}

static void write_request(struct writer *w, const struct loglet_message *m)
{
    switch (m->kind) {
    case LOGLET_STORE:
        write_node(w, m->sequencer);
        write_varint(w, m->first_offset);
        write_varint(w, m->flags);
        write_varint(w, m->timeout_ms);
        write_record_lengths(w, m);
        break;
    case LOGLET_SEAL:
        write_node(w, m->sequencer);
        break;
    case LOGLET_GET_RECORDS:
        write_varint(w, m->from);
        write_varint(w, m->to);
        write_varint(w, m->max_bytes);
        break;
    case LOGLET_GET_DIGEST:
        write_varint(w, m->from);
        write_varint(w, m->to);
        break;
    case LOGLET_WAIT_FOR_TAIL:
        write_varint(w, m->from);
        write_varint(w, m->timeout_ms);
        break;
    case LOGLET_TRIM:
        write_varint(w, m->to);
        break;
    default:
        ASSERT(m->kind == LOGLET_RELEASE || m->kind == LOGLET_GET_INFO);
    }
}

static void write_reply(struct writer *w, const struct loglet_message *m)
{
    write_u8(w, (uint8_t)m->status);
    write_bool(w, m->sealed);
    write_varint(w, m->local_tail);
    write_varint(w, m->trim_point);
    if (m->kind == LOGLET_RECORDS) {
        write_varint(w, m->first_offset);
        write_varint(w, m->next_offset);
        write_record_lengths(w, m);
    } else if (m->kind == LOGLET_DIGEST) {
        write_varint(w, m->next_offset);
        write_ranges(w, m);
    }
}

void loglet_message_encode_head(struct writer *w, const struct loglet_message *m)
{
    write_u8(w, LOGLET_MESSAGE_VERSION);
    write_u8(w, (uint8_t)m->kind);
    write_varint(w, m->request_id);
    write_u64le(w, m->loglet_id);
    write_varint(w, m->committed_tail);
    write_varint(w, m->repaired_tail);
    if (loglet_message_is_reply(m->kind))
        write_reply(w, m);
    else
        write_request(w, m);
}

void loglet_message_encode(struct writer *w, const struct loglet_message *m)
{
    loglet_message_encode_head(w, m);
    for (uint32_t i = 0; i < m->n_records; i++)
        write_slice_raw(w, bytes_slice(m->records[i]));
}

/* ---- reading ---- */

static struct node_ref read_node(struct reader *r)
{
    struct node_ref n;
    n.id = read_varint32(r);
    n.generation = read_varint32(r);
    return n;
}

static uint64_t read_offset(struct reader *r, uint64_t least)
{
    uint64_t v = read_varint(r);
    if (v < least || v > LOGLET_OFFSET_MAX)
        field_fail(r);
    return v;
}

/* The lengths stand in the head, the bodies at the end of the frame: only `records[i].len` is set here. */
static void read_record_lengths(struct reader *r, struct loglet_message_room *room, struct loglet_message *m)
{
    uint64_t n = read_varint(r);
    if (n > LOGLET_RECORDS_MAX || m->first_offset + n > LOGLET_OFFSET_MAX) {
        field_fail(r);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        room->records[i] = BYTES_EMPTY;
        room->records[i].len = read_varint(r);
    }
    m->records = room->records;
    m->n_records = (uint32_t)n;
}

static void read_ranges(struct reader *r, struct loglet_message_room *room, struct loglet_message *m)
{
    uint64_t n = read_varint(r), least = 1;
    if (n > LOGLET_RANGES_MAX) {
        field_fail(r);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        struct loglet_range *range = &room->ranges[i];
        range->from = read_offset(r, least);
        range->to = read_offset(r, range->from);
        range->kind = (enum loglet_range_kind)read_u8(r);
        if (range->kind != LOGLET_RANGE_EXISTS && range->kind != LOGLET_RANGE_TRIMMED)
            field_fail(r);
        least = range->to + 1;
    }
    m->ranges = room->ranges;
    m->n_ranges = (uint32_t)n;
}

static void read_request(struct reader *r, struct loglet_message_room *room, struct loglet_message *m)
{
    switch (m->kind) {
    case LOGLET_STORE:
        m->sequencer = read_node(r);
        m->first_offset = read_offset(r, 1);
        m->flags = read_varint32(r);
        m->timeout_ms = read_varint32(r);
        read_record_lengths(r, room, m);
        break;
    case LOGLET_SEAL:
        m->sequencer = read_node(r);
        break;
    case LOGLET_GET_RECORDS:
        m->from = read_offset(r, 1);
        m->to = read_offset(r, m->from);
        m->max_bytes = read_varint32(r);
        break;
    case LOGLET_GET_DIGEST:
        m->from = read_offset(r, 1);
        m->to = read_offset(r, m->from);
        break;
    case LOGLET_WAIT_FOR_TAIL:
        m->from = read_offset(r, 1);
        m->timeout_ms = read_varint32(r);
        break;
    case LOGLET_TRIM:
        m->to = read_offset(r, 0);
        break;
    default:
        break;
    }
}

static void read_reply(struct reader *r, struct loglet_message_room *room, struct loglet_message *m)
{
    m->status = (enum loglet_status)read_enum(r, LOGLET_LOST + 1);
    m->sealed = read_bool(r);
    m->local_tail = read_offset(r, 1);
    m->trim_point = read_offset(r, 0);
    if (m->kind == LOGLET_RECORDS) {
        m->first_offset = read_offset(r, 1);
        m->next_offset = read_offset(r, m->first_offset);
        read_record_lengths(r, room, m);
    } else if (m->kind == LOGLET_DIGEST) {
        m->next_offset = read_offset(r, 1);
        read_ranges(r, room, m);
    }
}

/* Cut the rest of the frame into the bodies whose lengths are known. */
static bool read_bodies(struct reader *r, struct bytes frame, struct loglet_message_room *room,
                        const struct loglet_message *m)
{
    for (uint32_t i = 0; i < m->n_records; i++) {
        struct slice body = read_raw(r, room->records[i].len);
        if (r->failed)
            return false;
        room->records[i] = (struct bytes){body.ptr, body.len, frame.owner};
    }
    return reader_done(r);
}

bool loglet_message_decode(struct bytes frame, struct loglet_message_room *room, struct loglet_message *out)
{
    struct reader r = reader_make(bytes_slice(frame));
    *out = (struct loglet_message){0};
    if (read_u8(&r) != LOGLET_MESSAGE_VERSION)
        return false;
    out->kind = (enum loglet_message_kind)read_enum(&r, LOGLET_MESSAGE_KINDS);
    if (r.failed || out->kind == 0)
        return false;
    out->request_id = read_varint(&r);
    out->loglet_id = read_u64le(&r);
    out->committed_tail = read_offset(&r, 1);
    out->repaired_tail = read_offset(&r, 1);
    if (loglet_message_is_reply(out->kind))
        read_reply(&r, room, out);
    else
        read_request(&r, room, out);
    return !r.failed && read_bodies(&r, frame, room, out);
}

/* Field encodings shared by the record bodies (wire/fields.h), and what is made of them: targets, sinks,
 * outcomes. */
#include "wire/fields.h"

#include "wire/message_parts.h"
#include "wire/pb.h"
#include "wire/scope.h"

struct slice read_text(struct reader *r)
{
    struct slice s = read_lp(r);
    if (!r->failed && !slice_is_utf8(s))
        field_fail(r);
    return s;
}

void write_opt_text(struct writer *w, struct slice s)
{
    write_bool(w, s.ptr != NULL);
    if (s.ptr)
        write_lp(w, s);
}

struct slice read_opt_text(struct reader *r)
{
    return read_bool(r) ? read_text(r) : SLICE_EMPTY;
}

void write_id(struct writer *w, struct invocation_id id)
{
    invocation_id_to_bytes(id, writer_reserve(w, INVOCATION_ID_BYTES));
    w->len += INVOCATION_ID_BYTES;
}

struct invocation_id read_id(struct reader *r)
{
    struct slice s = read_raw(r, INVOCATION_ID_BYTES);
    return s.len ? invocation_id_from_bytes(s.ptr) : (struct invocation_id){0, {0, 0}};
}

void write_u128(struct writer *w, struct u128 v)
{
    write_u64be(w, v.hi);
    write_u64be(w, v.lo);
}

struct u128 read_u128(struct reader *r)
{
    uint64_t hi = read_u64be(r);
    uint64_t lo = read_u64be(r);
    return (struct u128){hi, lo};
}

void write_bool(struct writer *w, bool v)
{
    write_u8(w, v);
}

bool read_bool(struct reader *r)
{
    return read_enum(r, 2) == 1;
}

struct slice read_opt_scope(struct reader *r)
{
    char room[LABEL_ROOM];
    struct slice scope = read_opt_text(r);
    if (scope.ptr && label_problem(scope, room))
        field_fail(r);
    return scope;
}

struct slice read_opt_limit_key(struct reader *r)
{
    struct slice key = read_opt_text(r);
    if (key.ptr && !limit_key_valid(key))
        field_fail(r);
    return key;
}

uint8_t read_enum(struct reader *r, uint8_t end)
{
    uint8_t v = read_u8(r);
    if (v < end)
        return v;
    field_fail(r);
    return 0;
}

uint32_t read_varint32(struct reader *r)
{
    uint64_t v = read_varint(r);
    if (v <= UINT32_MAX)
        return (uint32_t)v;
    field_fail(r);
    return 0;
}

/* ---- targets and sinks ---- */

#define TARGET_KINDS (TARGET_WORKFLOW_SHARED + 1)

void target_write(struct writer *w, const struct target *t)
{
    write_u8(w, (uint8_t)t->kind);
    write_lp(w, t->service);
    write_lp(w, t->handler);
    if (target_is_keyed(t->kind))
        write_lp(w, t->key);
    write_opt_text(w, t->scope);
}

bool target_read(struct reader *r, struct target *out)
{
    out->kind = (enum target_kind)read_enum(r, TARGET_KINDS);
    out->service = read_text(r);
    out->handler = read_text(r);
    out->key = target_is_keyed(out->kind) ? read_text(r) : SLICE_EMPTY;
    out->scope = read_opt_scope(r);
    return !r->failed;
}

void target_format(struct writer *w, const struct target *t)
{
    write_slice_raw(w, t->service);
    write_u8(w, '/');
    if (target_is_keyed(t->kind)) {
        write_slice_raw(w, t->key);
        write_u8(w, '/');
    }
    write_slice_raw(w, t->handler);
}

void sink_write(struct writer *w, const struct sink *s)
{
    write_u8(w, (uint8_t)s->kind);
    if (s->kind == SINK_INVOCATION) {
        write_id(w, s->caller);
        write_varint(w, s->completion_id);
    } else if (s->kind == SINK_INGRESS) {
        write_u128(w, s->request_id);
    }
}

bool sink_read(struct reader *r, struct sink *out)
{
    *out = (struct sink){.kind = (enum sink_kind)read_enum(r, SINK_INGRESS + 1)};
    if (out->kind == SINK_INVOCATION) {
        out->caller = read_id(r);
        out->completion_id = read_varint32(r);
    } else if (out->kind == SINK_INGRESS) {
        out->request_id = read_u128(r);
    }
    return !r->failed;
}

/* ---- outcomes and failures ---- */

void outcome_write(struct writer *w, const struct outcome *o)
{
    write_u8(w, (uint8_t)o->kind);
    if (o->kind == OUTCOME_SUCCESS || o->kind == OUTCOME_FAILURE)
        write_lp(w, o->value);
    if (o->kind == OUTCOME_FAILURE)
        write_lp(w, o->stacktrace);
}

bool outcome_read(struct reader *r, struct outcome *out)
{
    *out = (struct outcome){.kind = (enum outcome_kind)read_enum(r, OUTCOME_FAILURE + 1)};
    if (out->kind == OUTCOME_SUCCESS || out->kind == OUTCOME_FAILURE)
        out->value = read_lp(r);
    if (out->kind != OUTCOME_FAILURE)
        return !r->failed;
    out->stacktrace = read_text(r);
    struct failure_view failure;
    if (!r->failed && !failure_parse(out->value, &failure))
        field_fail(r);
    return !r->failed;
}

/* Text with every malformed byte replaced by U+FFFD: a replica must be able to decode what was logged. */
static void write_lossy_utf8(struct writer *w, struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_sequence(s.ptr + i, s.len - i);
        if (n)
            write_raw(w, s.ptr + i, n);
        else
            write_raw(w, "\xef\xbf\xbd", 3);
        i += n ? n : 1;
    }
}

void failure_write(struct writer *w, uint32_t code, struct slice message)
{
    pb_write_u64(w, 1, code);
    if (slice_is_utf8(message)) {
        pb_write_bytes(w, 2, message);
        return;
    }
    struct writer text = WRITER_INIT;
    write_lossy_utf8(&text, message);
    pb_write_bytes(w, 2, writer_slice(&text));
    writer_free(&text);
}

bool failure_parse(struct slice encoded, struct failure_view *out)
{
    struct reader r = reader_make(encoded);
    struct pb_field f;
    struct slice key, value;
    *out = (struct failure_view){.metadata = encoded};
    while (pb_next(&r, &f)) {
        if (f.number < 1 || f.number > 3)
            continue;
        if (f.wire != (f.number == 1 ? PB_VARINT : PB_LEN))
            return false;
        if (f.number == 1)
            out->code = failure_code((uint32_t)f.value);
        else if (f.number == 2)
            out->message = f.bytes;
        else if (!header_parse(f.bytes, &key, &value))
            return false;
    }
    return !r.failed && slice_is_utf8(out->message);
}

bool failure_metadata_next(struct slice encoded, size_t *pos, struct slice *key, struct slice *value)
{
    if (*pos >= encoded.len)
        return false;
    struct reader r = reader_make(slice_sub(encoded, *pos, encoded.len - *pos));
    struct pb_field f;
    while (pb_next(&r, &f)) {
        *pos = (size_t)(r.p - encoded.ptr);
        if (f.number == 3 && f.wire == PB_LEN)
            return header_parse(f.bytes, key, value);
    }
    *pos = encoded.len;
    return false;
}

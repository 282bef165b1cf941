/* Protobuf cursor and writer (wire/pb.h). */
#include "wire/pb.h"

#define PB_MAX_FIELD_NUMBER 0x1fffffffu

static bool pb_fail(struct reader *r)
{
    r->failed = true;
    r->p = r->end;
    return false;
}

bool pb_next(struct reader *r, struct pb_field *f)
{
    if (r->failed || r->p == r->end)
        return false;
    uint64_t tag = read_varint(r);
    if (r->failed)
        return false;
    uint64_t number = tag >> 3;
    if (number == 0 || number > PB_MAX_FIELD_NUMBER)
        return pb_fail(r);
    *f = (struct pb_field){.number = (uint32_t)number, .wire = (enum pb_wire)(tag & 7)};
    switch (tag & 7) {
    case PB_VARINT:
        f->value = read_varint(r);
        break;
    case PB_FIXED64:
        f->value = read_u64le(r);
        break;
    case PB_LEN:
        f->bytes = read_lp(r);
        break;
    case PB_FIXED32:
        f->value = read_u32le(r);
        break;
    default: /* groups and unassigned wire types */
        return pb_fail(r);
    }
    return !r->failed;
}

bool pb_packed_next(struct reader *r, uint64_t *value)
{
    if (r->failed || r->p == r->end)
        return false;
    *value = read_varint(r);
    return !r->failed;
}

bool pb_valid(struct slice message)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f))
        ;
    return !r.failed;
}

void pb_write_tag(struct writer *w, uint32_t number, enum pb_wire wire)
{
    ASSERT(number > 0 && number <= PB_MAX_FIELD_NUMBER);
    write_varint(w, (uint64_t)number << 3 | wire);
}

void pb_write_u64(struct writer *w, uint32_t number, uint64_t v)
{
    if (v)
        pb_write_u64_always(w, number, v);
}

void pb_write_u64_always(struct writer *w, uint32_t number, uint64_t v)
{
    pb_write_tag(w, number, PB_VARINT);
    write_varint(w, v);
}

void pb_write_bool(struct writer *w, uint32_t number, bool v)
{
    pb_write_u64(w, number, v);
}

void pb_write_bytes(struct writer *w, uint32_t number, struct slice v)
{
    if (v.len)
        pb_write_bytes_always(w, number, v);
}

void pb_write_bytes_always(struct writer *w, uint32_t number, struct slice v)
{
    pb_write_len_header(w, number, v.len);
    write_slice_raw(w, v);
}

void pb_write_len_header(struct writer *w, uint32_t number, size_t len)
{
    pb_write_tag(w, number, PB_LEN);
    write_varint(w, len);
}

size_t pb_varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

size_t pb_len_field_size(uint32_t number, size_t payload_len)
{
    return pb_varint_size((uint64_t)number << 3) + pb_varint_size(payload_len) + payload_len;
}

void pb_put_message(struct writer *w, uint32_t number, struct writer *inner_take)
{
    pb_write_bytes_always(w, number, writer_slice(inner_take));
    writer_free(inner_take);
}

void pb_put_text(struct writer *w, uint32_t number, const char *text)
{
    pb_write_bytes(w, number, slice_cstr(text));
}

void pb_put_wrapped(struct writer *w, uint32_t number, uint64_t value)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, value);
    pb_put_message(w, number, &inner);
}

void pb_put_time(struct writer *w, uint32_t number, uint64_t ms)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, ms / 1000);
    pb_write_u64(&inner, 2, ms % 1000 * 1000000);
    pb_put_message(w, number, &inner);
}

void pb_put_node_id(struct writer *w, uint32_t number, uint32_t id, uint32_t generation)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, id);
    pb_write_u64(&inner, 2, generation);
    pb_put_message(w, number, &inner);
}

/* Output buffer and input cursor (base/codec.h). */
#include "base/codec.h"

#include <stdarg.h>
#include <stdio.h>

#define WRITER_MIN_CAP 64

void writer_init(struct writer *w, size_t cap)
{
    w->buf = cap ? buf_new(cap) : NULL;
    w->len = 0;
}

void writer_free(struct writer *w)
{
    buf_unref(w->buf);
    *w = WRITER_INIT;
}

static void writer_enlarge(struct writer *w, size_t n)
{
    ASSERT(n < SIZE_MAX / 4 && w->len < SIZE_MAX / 4);
    size_t cap = MAX(w->len + n, (size_t)WRITER_MIN_CAP);
    if (!w->buf) {
        w->buf = buf_new(cap);
        return;
    }
    w->buf = buf_grow(w->buf, MAX(cap, w->buf->cap * 2));
}

uint8_t *writer_reserve(struct writer *w, size_t n)
{
    if (!w->buf || w->buf->cap - w->len < n)
        writer_enlarge(w, n);
    return w->buf->data + w->len;
}

struct slice writer_slice(const struct writer *w)
{
    return w->buf ? slice_make(w->buf->data, w->len) : SLICE_EMPTY;
}

struct bytes writer_take(struct writer *w)
{
    struct bytes out = BYTES_EMPTY;
    if (w->buf && w->len)
        out = bytes_take_buf(w->buf, 0, w->len);
    else
        buf_unref(w->buf);
    *w = WRITER_INIT;
    return out;
}

void writer_reset(struct writer *w)
{
    w->len = 0;
}

void write_raw(struct writer *w, const void *ptr, size_t len)
{
    if (len == 0)
        return;
    memcpy(writer_reserve(w, len), ptr, len);
    w->len += len;
}

void write_slice_raw(struct writer *w, struct slice s)
{
    write_raw(w, s.ptr, s.len);
}

void write_u8(struct writer *w, uint8_t v)
{
    *writer_reserve(w, 1) = v;
    w->len++;
}

void write_u16le(struct writer *w, uint16_t v)
{
    write_raw(w, &v, sizeof(v));
}

void write_u32le(struct writer *w, uint32_t v)
{
    write_raw(w, &v, sizeof(v));
}

void write_u64le(struct writer *w, uint64_t v)
{
    write_raw(w, &v, sizeof(v));
}

void write_u16be(struct writer *w, uint16_t v)
{
    put_u16be(writer_reserve(w, 2), v);
    w->len += 2;
}

void write_u32be(struct writer *w, uint32_t v)
{
    put_u32be(writer_reserve(w, 4), v);
    w->len += 4;
}

void write_u64be(struct writer *w, uint64_t v)
{
    put_u64be(writer_reserve(w, 8), v);
    w->len += 8;
}

void write_varint(struct writer *w, uint64_t v)
{
    uint8_t *p = writer_reserve(w, 10);
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    w->len += n;
}

void write_lp(struct writer *w, struct slice s)
{
    write_varint(w, s.len);
    write_raw(w, s.ptr, s.len);
}

void write_fmt(struct writer *w, const char *fmt, ...)
{
    uint8_t *p = writer_reserve(w, 128);
    size_t room = w->buf->cap - w->len;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf((char *)p, room, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if ((size_t)n >= room) {
        p = writer_reserve(w, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf((char *)p, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    w->len += (size_t)n;
}

static void write_json_escape(struct writer *w, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";
    static const char shorts[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (c == '"' || c == '\\') {
        write_raw(w, (char[2]){'\\', (char)c}, 2);
    } else if (c < 0x20 && shorts[c]) {
        write_raw(w, (char[2]){'\\', shorts[c]}, 2);
    } else {
        write_raw(w, (char[6]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
    }
}

void write_json_string(struct writer *w, struct slice s)
{
    write_u8(w, '"');
    size_t from = 0, i = 0;
    while (i < s.len) {
        uint8_t c = s.ptr[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t n = utf8_sequence(s.ptr + i, s.len - i);
        if (n > 1) {
            i += n;
            continue;
        }
        write_raw(w, s.ptr + from, i - from);
        if (n == 1)
            write_json_escape(w, c);
        else
            write_raw(w, "\xef\xbf\xbd", 3);
        from = ++i;
    }
    if (i > from)
        write_raw(w, s.ptr + from, i - from);
    write_u8(w, '"');
}

/* The next `n` bytes, or NULL after marking the reader failed and empty. */
static const uint8_t *reader_advance(struct reader *r, size_t n)
{
    if (r->failed || reader_left(r) < n) {
        r->failed = true;
        r->p = r->end;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 1);
    return p ? *p : 0;
}

uint16_t read_u16le(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 2);
    return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

uint32_t read_u32le(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 4);
    return p ? get_u32le(p) : 0;
}

uint64_t read_u64le(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 8);
    return p ? get_u64le(p) : 0;
}

uint16_t read_u16be(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 2);
    return p ? get_u16be(p) : 0;
}

uint32_t read_u32be(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 4);
    return p ? get_u32be(p) : 0;
}

uint64_t read_u64be(struct reader *r)
{
    const uint8_t *p = reader_advance(r, 8);
    return p ? get_u64be(p) : 0;
}

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *p = reader_advance(r, 1);
        if (!p)
            return 0;
        if (shift == 63 && *p > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80))
            return v;
    }
    r->failed = true;
    r->p = r->end;
    return 0;
}

struct slice read_raw(struct reader *r, size_t n)
{
    const uint8_t *p = reader_advance(r, n);
    return p ? slice_make(p, n) : SLICE_EMPTY;
}

struct slice read_lp(struct reader *r)
{
    uint64_t n = read_varint(r);
    return read_raw(r, n);
}

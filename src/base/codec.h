/* Writing and reading of byte-oriented encodings: little- and big-endian integers, LEB128 varints,
 * length-prefixed strings. Used by every format of ours on disk and between nodes, and below the
 * protobuf cursor (wire/pb.h). */
#pragma once
#include "base/bytes.h"

/* A growing output buffer. `writer_take` turns it into an immutable `bytes` without a copy. */
struct writer {
    struct buf *buf; /* NULL until the first byte */
    size_t len;
};

#define WRITER_INIT ((struct writer){NULL, 0})
/* Reserve room for `cap` bytes up front. */
void writer_init(struct writer *w, size_t cap);
void writer_free(struct writer *w);
/* Make room for `n` more bytes and return where they start; the caller then adds to w->len what it wrote. */
uint8_t *writer_reserve(struct writer *w, size_t n);
struct slice writer_slice(const struct writer *w);
/* The written bytes; the writer is empty afterwards. */
struct bytes writer_take(struct writer *w);
void writer_reset(struct writer *w); /* keep the room, forget the content */

void write_raw(struct writer *w, const void *ptr, size_t len);
void write_slice_raw(struct writer *w, struct slice s);
void write_u8(struct writer *w, uint8_t v);
void write_u16le(struct writer *w, uint16_t v);
void write_u32le(struct writer *w, uint32_t v);
void write_u64le(struct writer *w, uint64_t v);
void write_u16be(struct writer *w, uint16_t v);
void write_u32be(struct writer *w, uint32_t v);
void write_u64be(struct writer *w, uint64_t v);
void write_varint(struct writer *w, uint64_t v);
void write_lp(struct writer *w, struct slice s); /* varint length, then the bytes */
void write_fmt(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* JSON string literal with quotes; invalid UTF-8 becomes U+FFFD. */
void write_json_string(struct writer *w, struct slice s);

/* A bounded cursor over borrowed bytes. A read past the end, or an overlong varint, sets `failed`; from then
 * on every read returns zero / empty, so a decoder may check once at its end. */
struct reader {
    const uint8_t *p, *end;
    bool failed;
};

static inline struct reader reader_make(struct slice s)
{
    return (struct reader){s.ptr, s.ptr ? s.ptr + s.len : NULL, false};
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}
uint8_t read_u8(struct reader *r);
uint16_t read_u16le(struct reader *r);
uint32_t read_u32le(struct reader *r);
uint64_t read_u64le(struct reader *r);
uint16_t read_u16be(struct reader *r);
uint32_t read_u32be(struct reader *r);
uint64_t read_u64be(struct reader *r);
uint64_t read_varint(struct reader *r);
struct slice read_raw(struct reader *r, size_t n);
struct slice read_lp(struct reader *r);
/* True if everything was read and nothing failed. */
static inline bool reader_done(const struct reader *r)
{
    return !r->failed && r->p == r->end;
}

/* Unaligned fixed-width access for headers patched in place. */
static inline void put_u32le(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void put_u64le(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static inline uint32_t get_u32le(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get_u64le(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline uint16_t get_u16be(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t get_u64be(const uint8_t *p)
{
    return (uint64_t)get_u32be(p) << 32 | get_u32be(p + 4);
}
static inline void put_u16be(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put_u32be(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline void put_u64be(uint8_t *p, uint64_t v)
{
    put_u32be(p, (uint32_t)(v >> 32));
    put_u32be(p + 4, (uint32_t)v);
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the *le accessors assume a little-endian machine");

/* Byte strings.
 *
 *   struct slice   borrows: valid as long as whatever it points into
 *   struct bytes   owns a reference to an immutable, reference-counted buffer (or to static data)
 *   struct buf     the buffer itself
 *
 * A payload is received into a buf and every later holder keeps a `bytes` of it (principle 4: bytes are
 * written once). Reference counts are atomic, so a `bytes` may be handed to another loop; the content is
 * immutable from the moment a second holder exists. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/rc.h"

struct slice {
    const uint8_t *ptr;
    size_t len;
};

#define SLICE_EMPTY    ((struct slice){NULL, 0})
#define SLICE_LIT(lit) ((struct slice){(const uint8_t *)(lit), sizeof(lit) - 1})

static inline struct slice slice_make(const void *ptr, size_t len)
{
    return (struct slice){(const uint8_t *)ptr, len};
}
static inline struct slice slice_cstr(const char *s)
{
    return (struct slice){(const uint8_t *)s, s ? strlen(s) : 0};
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool slice_eq_cstr(struct slice a, const char *s)
{
    return slice_eq(a, slice_cstr(s));
}
static inline struct slice slice_sub(struct slice s, size_t off, size_t len)
{
    ASSERT(off <= s.len && len <= s.len - off);
    return (struct slice){s.ptr ? s.ptr + off : NULL, len};
}
/* Lexicographic order of unsigned bytes, shorter first on equal prefix: -1, 0, 1. */
int slice_cmp(struct slice a, struct slice b);
bool slice_eq_nocase(struct slice a, struct slice b); /* ASCII only */
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_ends_with(struct slice s, struct slice suffix);
struct slice slice_trim(struct slice s); /* without spaces and tabs at both ends */
/* Index of byte `c` at or after `from`, or -1. */
ptrdiff_t slice_find(struct slice s, uint8_t c, size_t from);
bool slice_is_utf8(struct slice s);
/* Length (1..4) of the well-formed UTF-8 sequence at `p`, or 0 if there is none within `left` bytes. */
size_t utf8_sequence(const uint8_t *p, size_t left);
/* NUL-terminated heap copy; the caller frees. */
char *slice_dup_cstr(struct slice s);
/* printf("%.*s", SLICE_FMT(s)) */
#define SLICE_FMT(s) (int)(s).len, (const char *)(s).ptr

struct buf {
    _Atomic uint32_t refs;
    uint32_t flags; /* private */
    size_t cap;     /* bytes available in data[] */
    uint8_t data[];
};

/* A new buffer with one reference and undefined content. Counted in buf_live_bytes(). */
struct buf *buf_new(size_t cap);
struct buf *buf_ref(struct buf *b);
void buf_unref(struct buf *b);
/* Enlarge a buffer that has exactly one reference; the content moves, the old pointer is invalid. */
struct buf *buf_grow(struct buf *b, size_t cap);
/* Sum of `cap` over all live buffers of the process (relaxed; for budgets and metrics). */
size_t buf_live_bytes(void);

struct bytes {
    const uint8_t *ptr;
    size_t len;
    struct buf *owner; /* NULL: static or empty */
};

#define BYTES_EMPTY ((struct bytes){NULL, 0, NULL})

static inline struct slice bytes_slice(struct bytes b)
{
    return (struct slice){b.ptr, b.len};
}
/* Points at memory that outlives every holder (string literals, tables). */
static inline struct bytes bytes_static(struct slice s)
{
    return (struct bytes){s.ptr, s.len, NULL};
}
/* Another reference to the same bytes. */
static inline struct bytes bytes_ref(struct bytes b)
{
    if (b.owner)
        buf_ref(b.owner);
    return b;
}
/* Drop the reference and clear the variable. */
static inline void bytes_unref(struct bytes *b)
{
    if (b->owner)
        buf_unref(b->owner);
    *b = BYTES_EMPTY;
}
/* A fresh buffer holding a copy of `s`. */
struct bytes bytes_copy(struct slice s);
/* A new reference to a part of `b`. `part` must lie inside `b`. */
struct bytes bytes_part(struct bytes b, struct slice part);
/* Takes the reference to `owner` (no increment). */
static inline struct bytes bytes_take_buf(struct buf *owner, size_t off, size_t len)
{
    ASSERT(off <= owner->cap && len <= owner->cap - off);
    return (struct bytes){owner->data + off, len, owner};
}
/* For holders that live long: if `b` pins a buffer more than four times its size, replace it by a copy. */
void bytes_compact(struct bytes *b);

/* 128-bit identifiers (ULIDs, request ids, the unique part of an invocation id); `hi` is most significant. */
struct u128 {
    uint64_t hi, lo;
};
static inline bool u128_eq(struct u128 a, struct u128 b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
static inline int u128_cmp(struct u128 a, struct u128 b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return a.lo < b.lo ? -1 : a.lo > b.lo;
}

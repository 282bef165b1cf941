/* Slices and reference-counted buffers (base/bytes.h). */
#include "base/bytes.h"

#include <stdlib.h>
#include <strings.h>

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c)
        return c < 0 ? -1 : 1;
    return a.len < b.len ? -1 : a.len > b.len;
}

static uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    }
    return true;
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool slice_ends_with(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0);
}

struct slice slice_trim(struct slice s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_sub(s, 1, s.len - 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

ptrdiff_t slice_find(struct slice s, uint8_t c, size_t from)
{
    if (from >= s.len)
        return -1;
    const uint8_t *hit = memchr(s.ptr + from, c, s.len - from);
    return hit ? hit - s.ptr : -1;
}

bool slice_is_utf8(struct slice s)
{
    const uint8_t *p = s.ptr, *end = s.ptr ? s.ptr + s.len : NULL;
    while (p < end) {
        uint64_t word;
        if (end - p >= 8) { /* most text is ASCII: eight bytes at a time */
            memcpy(&word, p, 8);
            if (!(word & 0x8080808080808080ull)) {
                p += 8;
                continue;
            }
        }
        size_t n = utf8_sequence(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

size_t utf8_sequence(const uint8_t *p, size_t left)
{
    if (left == 0)
        return 0;
    uint8_t c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    size_t n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left < n)
        return 0;
    /* The second byte excludes overlong forms, surrogates and code points above U+10FFFF. */
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

char *slice_dup_cstr(struct slice s)
{
    char *out = xmalloc(s.len + 1);
    if (s.len)
        memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return out;
}

static _Atomic size_t live_bytes;

struct buf *buf_new(size_t cap)
{
    ASSERT(cap < SIZE_MAX - sizeof(struct buf));
    struct buf *b = xmalloc(sizeof(*b) + cap);
    atomic_init(&b->refs, 1);
    b->flags = 0;
    b->cap = cap;
    atomic_fetch_add_explicit(&live_bytes, cap, memory_order_relaxed);
    return b;
}

struct buf *buf_ref(struct buf *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX / 2);
    return b;
}

void buf_unref(struct buf *b)
{
    if (!b)
        return;
    /* The only holder cannot race with anybody: skip the read-modify-write. */
    if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1) {
        uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
        ASSERT(before > 0);
        if (before != 1)
            return;
    }
    atomic_fetch_sub_explicit(&live_bytes, b->cap, memory_order_relaxed);
    free(b);
}

struct buf *buf_grow(struct buf *b, size_t cap)
{
    ASSERT(cap >= b->cap && cap < SIZE_MAX - sizeof(struct buf));
    ASSERT(atomic_load_explicit(&b->refs, memory_order_relaxed) == 1);
    atomic_fetch_add_explicit(&live_bytes, cap - b->cap, memory_order_relaxed);
    b = xrealloc(b, sizeof(*b) + cap);
    b->cap = cap;
    return b;
}

size_t buf_live_bytes(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

struct bytes bytes_copy(struct slice s)
{
    if (s.len == 0)
        return BYTES_EMPTY;
    struct buf *b = buf_new(s.len);
    memcpy(b->data, s.ptr, s.len);
    return bytes_take_buf(b, 0, s.len);
}

struct bytes bytes_part(struct bytes b, struct slice part)
{
    if (part.len == 0)
        return BYTES_EMPTY;
    ASSERT(part.ptr >= b.ptr && part.ptr + part.len <= b.ptr + b.len);
    if (b.owner)
        buf_ref(b.owner);
    return (struct bytes){part.ptr, part.len, b.owner};
}

void bytes_compact(struct bytes *b)
{
    if (!b->owner || b->owner->cap / 4 <= b->len)
        return;
    struct bytes copy = bytes_copy(bytes_slice(*b));
    bytes_unref(b);
    *b = copy;
}

/* See query/flatbuffer.h. */
#include "query/flatbuffer.h"

#include <stdlib.h>

void flatbuffer_free(struct flatbuffer *f)
{
    free(f->buf);
    *f = (struct flatbuffer){0};
}

void flatbuffer_reset(struct flatbuffer *f)
{
    f->len = 0;
    f->alignment = 1;
}

static void reserve(struct flatbuffer *f, size_t n)
{
    if (f->cap - f->len >= n)
        return;
    size_t cap = MAX((size_t)1024, f->cap * 2);
    while (cap - f->len < n)
        cap *= 2;
    uint8_t *buf = xmalloc(cap);
    if (f->len)
        memcpy(buf + cap - f->len, f->buf + f->cap - f->len, f->len);
    free(f->buf);
    f->buf = buf;
    f->cap = cap;
}

static void put(struct flatbuffer *f, const void *p, size_t n)
{
    reserve(f, n);
    f->len += n;
    if (n)
        memcpy(f->buf + f->cap - f->len, p, n);
}

/* Zeros, so that after `additional` more bytes the position is a multiple of `size`. */
static void align(struct flatbuffer *f, size_t size, size_t additional)
{
    static const uint8_t zeros[16];
    f->alignment = MAX(f->alignment, size);
    put(f, zeros, (size - (f->len + additional) % size) % size);
}

static void put_uint(struct flatbuffer *f, uint64_t v, size_t size)
{
    put(f, &v, size); /* little endian, as the host */
}

static void put_offset(struct flatbuffer *f, size_t target)
{
    align(f, 4, 0);
    ASSERT(target <= f->len);
    put_uint(f, f->len + 4 - target, 4);
}

void flatbuffer_table(struct flatbuffer *f)
{
    memset(f->slots, 0, sizeof(f->slots));
    f->table_start = f->len;
}

void flatbuffer_add(struct flatbuffer *f, unsigned slot, uint64_t value, size_t size)
{
    ASSERT(slot < FLATBUFFER_SLOTS);
    align(f, size, 0);
    put_uint(f, value, size);
    f->slots[slot] = f->len;
}

void flatbuffer_add_offset(struct flatbuffer *f, unsigned slot, size_t target)
{
    ASSERT(slot < FLATBUFFER_SLOTS);
    put_offset(f, target);
    f->slots[slot] = f->len;
}

size_t flatbuffer_table_end(struct flatbuffer *f)
{
    align(f, 4, 0);
    put_uint(f, 0, 4); /* distance to the vtable, known below */
    size_t table = f->len;
    unsigned n = FLATBUFFER_SLOTS;
    while (n && !f->slots[n - 1])
        n--;
    for (unsigned i = n; i-- > 0;)
        put_uint(f, f->slots[i] ? table - f->slots[i] : 0, 2);
    put_uint(f, table - f->table_start, 2);
    put_uint(f, (n + 2) * 2, 2);
    put_u32le(f->buf + f->cap - table, (uint32_t)(f->len - table));
    return table;
}

size_t flatbuffer_string(struct flatbuffer *f, struct slice s)
{
    static const uint8_t zero;
    align(f, 4, s.len + 1);
    put(f, &zero, 1);
    put(f, s.ptr, s.len);
    put_uint(f, s.len, 4);
    return f->len;
}

void flatbuffer_vector(struct flatbuffer *f, size_t n, size_t item_size, size_t alignment)
{
    align(f, 4, n * item_size);
    align(f, alignment, n * item_size);
}

void flatbuffer_item_offset(struct flatbuffer *f, size_t target)
{
    put_offset(f, target);
}

void flatbuffer_item_u64(struct flatbuffer *f, uint64_t v)
{
    put_uint(f, v, 8);
}

size_t flatbuffer_vector_end(struct flatbuffer *f, size_t n)
{
    put_uint(f, n, 4);
    return f->len;
}

struct slice flatbuffer_finish(struct flatbuffer *f, size_t root)
{
    align(f, f->alignment, 4);
    put_offset(f, root);
    return slice_make(f->buf + f->cap - f->len, f->len);
}

/* The FlexBuffers writer: see flexbuffers.h and spec/restatectl.md §7.4. A stack holds the values of the
 * containers that are open; closing one writes its slots and leaves a single reference to it. */
#include <stdlib.h>

#include "base/hash.h"
#include "wire/flexbuffers_format.h"

static void push(struct flex_writer *f, uint8_t type, unsigned width_bits, uint64_t value)
{
    struct flex_pending p = {type, (uint8_t)width_bits, value};
    VEC_PUSH(&f->stack, p);
}

static unsigned unsigned_bits(uint64_t v)
{
    return v <= UINT8_MAX ? 0 : v <= UINT16_MAX ? 1 : v <= UINT32_MAX ? 2 : 3;
}

static unsigned signed_bits(int64_t v)
{
    return v >= INT8_MIN && v <= INT8_MAX     ? 0
           : v >= INT16_MIN && v <= INT16_MAX ? 1
           : v >= INT32_MIN && v <= INT32_MAX ? 2
                                              : 3;
}

static size_t aligned(size_t at, unsigned bits)
{
    size_t width = (size_t)1 << bits;
    return (at + width - 1) & ~(width - 1);
}

static void align_out(struct flex_writer *f, unsigned bits)
{
    size_t to = aligned(f->out.len, bits);
    while (f->out.len < to)
        write_u8(&f->out, 0);
}

/* Little-endian, truncated to the width: sign bits of a narrower number are kept. */
static void put_width(struct flex_writer *f, uint64_t v, unsigned bits)
{
    write_raw(&f->out, &v, (size_t)1 << bits);
}

/* ---- keys: written once, found again by content ---- */

static struct slice key_at(const struct flex_writer *f, uint32_t entry)
{
    const char *text = (const char *)writer_slice(&f->out).ptr + (entry - 1);
    return slice_cstr(text);
}

static void keys_grow(struct flex_writer *f)
{
    size_t cap = f->keys_cap ? f->keys_cap * 2 : 64;
    uint32_t *grown = xcalloc(cap, sizeof(*grown));
    for (size_t i = 0; i < f->keys_cap; i++) {
        if (!f->keys[i])
            continue;
        size_t at = hash64(key_at(f, f->keys[i])) & (cap - 1);
        while (grown[at])
            at = (at + 1) & (cap - 1);
        grown[at] = f->keys[i];
    }
    free(f->keys);
    f->keys = grown;
    f->keys_cap = cap;
}

void flex_key_slice(struct flex_writer *f, struct slice key)
{
    ASSERT(f->depth > 0 && slice_find(key, 0, 0) < 0);
    if ((f->n_keys + 1) * 2 > f->keys_cap)
        keys_grow(f);
    size_t at = hash64(key) & (f->keys_cap - 1);
    while (f->keys[at] && !slice_eq(key_at(f, f->keys[at]), key))
        at = (at + 1) & (f->keys_cap - 1);
    if (!f->keys[at]) {
        ASSERT(f->out.len < UINT32_MAX);
        f->keys[at] = (uint32_t)f->out.len + 1;
        f->n_keys++;
        write_slice_raw(&f->out, key);
        write_u8(&f->out, 0);
    }
    push(f, FLEX_T_KEY, 0, f->keys[at] - 1);
}

void flex_key(struct flex_writer *f, const char *key)
{
    flex_key_slice(f, slice_cstr(key));
}

/* ---- scalars ---- */

void flex_put_u64(struct flex_writer *f, uint64_t v)
{
    push(f, FLEX_T_UINT, unsigned_bits(v), v);
}

void flex_put_i64(struct flex_writer *f, int64_t v)
{
    if (v >= 0)
        flex_put_u64(f, (uint64_t)v);
    else
        push(f, FLEX_T_INT, signed_bits(v), (uint64_t)v);
}

void flex_put_f64(struct flex_writer *f, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    push(f, FLEX_T_FLOAT, 3, bits); /* the slot is then eight bytes wide, whatever stands next to it */
}

void flex_put_bool(struct flex_writer *f, bool v)
{
    push(f, FLEX_T_BOOL, 0, v);
}

void flex_put_null(struct flex_writer *f)
{
    push(f, FLEX_T_NULL, 0, 0);
}

void flex_put_text(struct flex_writer *f, struct slice text)
{
    unsigned bits = unsigned_bits(text.len);
    align_out(f, bits);
    put_width(f, text.len, bits);
    size_t address = f->out.len;
    write_slice_raw(&f->out, text);
    write_u8(&f->out, 0);
    push(f, FLEX_T_STRING, bits, address);
}

/* ---- containers ---- */

static void open_container(struct flex_writer *f)
{
    ASSERT_MSG(f->depth < FLEX_MAX_DEPTH, "FlexBuffers value nested too deeply");
    f->open[f->depth++] = f->stack.len;
}

void flex_open_map(struct flex_writer *f)
{
    open_container(f);
}

void flex_open_sequence(struct flex_writer *f)
{
    open_container(f);
}

/* Width that `p` needs when it stands in slot `index` of a container written next. */
static unsigned slot_bits(const struct flex_writer *f, const struct flex_pending *p, size_t index)
{
    if (flex_type_is_inline(p->type))
        return p->width_bits;
    for (unsigned bits = 0; bits < 3; bits++) {
        size_t slot = aligned(f->out.len, bits) + (index << bits);
        if (unsigned_bits(slot - p->value) <= bits)
            return bits;
    }
    return 3;
}

static void put_slot(struct flex_writer *f, const struct flex_pending *p, unsigned bits)
{
    put_width(f, flex_type_is_inline(p->type) ? p->value : f->out.len - p->value, bits);
}

static uint8_t packed_type(const struct flex_pending *p, unsigned container_bits)
{
    unsigned bits = flex_type_is_inline(p->type) ? MAX(p->width_bits, container_bits) : p->width_bits;
    return (uint8_t)(p->type << 2 | bits);
}

/* Typed vectors: all elements of one type; 0 if the sequence must be a mixed vector. */
static uint8_t typed_vector(const struct flex_pending *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (items[i].type != items[0].type)
            return 0;
    }
    if (n == 0)
        return 0;
    uint8_t type = items[0].type;
    if (type == FLEX_T_BOOL)
        return FLEX_T_VECTOR_BOOL;
    if (type != FLEX_T_INT && type != FLEX_T_UINT)
        return 0;
    return n >= 2 && n <= 4 ? (uint8_t)(FLEX_T_VECTOR_INT2 + 3 * (n - 2) + (type - FLEX_T_INT))
                            : (uint8_t)(FLEX_T_VECTOR_INT + (type - FLEX_T_INT));
}

static void write_sequence(struct flex_writer *f, const struct flex_pending *items, size_t n,
                           struct flex_pending *result)
{
    uint8_t typed = typed_vector(items, n);
    bool fixed = typed >= FLEX_T_VECTOR_INT2 && typed < FLEX_T_BLOB;
    size_t first = fixed ? 0 : 1;
    unsigned bits = fixed ? 0 : unsigned_bits(n);
    for (size_t i = 0; i < n; i++)
        bits = MAX(bits, slot_bits(f, &items[i], first + i));
    align_out(f, bits);
    if (!fixed)
        put_width(f, n, bits);
    *result = (struct flex_pending){typed ? typed : FLEX_T_VECTOR, (uint8_t)bits, f->out.len};
    for (size_t i = 0; i < n; i++)
        put_slot(f, &items[i], bits);
    for (size_t i = 0; !typed && i < n; i++)
        write_u8(&f->out, packed_type(&items[i], bits));
}

static void close_container(struct flex_writer *f, size_t begin, struct flex_pending result)
{
    f->depth--;
    f->stack.len = begin;
    VEC_PUSH(&f->stack, result);
}

void flex_close_sequence(struct flex_writer *f)
{
    ASSERT(f->depth > 0);
    size_t begin = f->open[f->depth - 1], n = f->stack.len - begin;
    struct flex_pending result;
    write_sequence(f, n ? f->stack.items + begin : NULL, n, &result);
    close_container(f, begin, result);
}

/* Entries lie on the stack as key, value, key, value, ... */
struct map_entry {
    struct slice name;
    struct flex_pending key, value;
};

static int compare_entries(const void *a, const void *b)
{
    return slice_cmp(((const struct map_entry *)a)->name, ((const struct map_entry *)b)->name);
}

/* The vector of keys, a typed vector of its own. */
static struct flex_pending write_keys(struct flex_writer *f, const struct map_entry *entries, size_t n)
{
    unsigned bits = unsigned_bits(n);
    for (size_t i = 0; i < n; i++)
        bits = MAX(bits, slot_bits(f, &entries[i].key, 1 + i));
    align_out(f, bits);
    put_width(f, n, bits);
    struct flex_pending keys = {FLEX_T_VECTOR_KEY, (uint8_t)bits, f->out.len};
    for (size_t i = 0; i < n; i++)
        put_slot(f, &entries[i].key, bits);
    return keys;
}

static struct flex_pending write_map(struct flex_writer *f, const struct map_entry *entries, size_t n)
{
    struct flex_pending keys = write_keys(f, entries, n);
    unsigned bits = MAX(unsigned_bits(n), slot_bits(f, &keys, 0));
    for (size_t i = 0; i < n; i++)
        bits = MAX(bits, slot_bits(f, &entries[i].value, 3 + i));
    align_out(f, bits);
    put_slot(f, &keys, bits);
    put_width(f, (uint64_t)1 << keys.width_bits, bits);
    put_width(f, n, bits);
    struct flex_pending map = {FLEX_T_MAP, (uint8_t)bits, f->out.len};
    for (size_t i = 0; i < n; i++)
        put_slot(f, &entries[i].value, bits);
    for (size_t i = 0; i < n; i++)
        write_u8(&f->out, packed_type(&entries[i].value, bits));
    return map;
}

void flex_close_map(struct flex_writer *f)
{
    ASSERT(f->depth > 0);
    size_t begin = f->open[f->depth - 1], n = (f->stack.len - begin) / 2;
    ASSERT((f->stack.len - begin) % 2 == 0);
    struct map_entry *entries = xcalloc(n + 1, sizeof(*entries));
    for (size_t i = 0; i < n; i++) {
        entries[i].key = f->stack.items[begin + 2 * i];
        entries[i].value = f->stack.items[begin + 2 * i + 1];
        ASSERT(entries[i].key.type == FLEX_T_KEY);
        entries[i].name = key_at(f, (uint32_t)entries[i].key.value + 1);
    }
    qsort(entries, n, sizeof(*entries), compare_entries);
    for (size_t i = 1; i < n; i++)
        ASSERT_MSG(slice_cmp(entries[i - 1].name, entries[i].name) < 0, "a key stands twice in a map");
    struct flex_pending map = write_map(f, entries, n);
    free(entries);
    close_container(f, begin, map);
}

/* ---- the end ---- */

static void write_root(struct flex_writer *f)
{
    ASSERT(f->depth == 0 && f->stack.len == 1);
    const struct flex_pending *root = &f->stack.items[0];
    unsigned bits = slot_bits(f, root, 0);
    align_out(f, bits);
    put_slot(f, root, bits);
    write_u8(&f->out, packed_type(root, bits));
    write_u8(&f->out, (uint8_t)(1u << bits));
}

void flex_writer_free(struct flex_writer *f)
{
    writer_free(&f->out);
    VEC_FREE(&f->stack);
    free(f->keys);
    *f = FLEX_WRITER_INIT;
}

struct bytes flex_finish(struct flex_writer *f)
{
    write_root(f);
    struct bytes document = writer_take(&f->out);
    flex_writer_free(f);
    return document;
}

void flex_finish_stored(struct flex_writer *f, struct writer *w)
{
    write_root(f);
    write_u8(w, CODEC_FLEXBUFFERS);
    write_u32le(w, (uint32_t)f->out.len);
    write_slice_raw(w, writer_slice(&f->out));
    flex_writer_free(f);
}

/* The FlexBuffers reader: see flexbuffers.h and spec/restatectl.md §7.3. flex_parse walks the whole document
 * once; afterwards the accessors only assert. */
#include "wire/flexbuffers.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/flexbuffers_format.h"

/* ---- raw access ---- */

static uint64_t load(const uint8_t *p, size_t width)
{
    uint64_t v = 0;
    memcpy(&v, p, width);
    return v;
}

static int64_t load_signed(const uint8_t *p, size_t width)
{
    uint64_t v = load(p, width);
    unsigned unused = 64 - 8 * (unsigned)width;
    return (int64_t)(v << unused) >> unused;
}

static double load_float(const uint8_t *p, size_t width)
{
    if (width == 4) {
        float f;
        memcpy(&f, p, 4);
        return (double)f;
    }
    double d;
    memcpy(&d, p, 8);
    return d;
}

static unsigned type_of(struct flex v)
{
    return v.packed >> 2;
}

/* Width of the elements (or the size field) of what an offset refers to. */
static size_t target_width(struct flex v)
{
    return (size_t)1 << (v.packed & 3);
}

static size_t target(struct flex v)
{
    return v.slot - (size_t)load(v.doc + v.slot, v.slot_width);
}

static bool is_fixed(unsigned type)
{
    return type >= FLEX_T_VECTOR_INT2 && type < FLEX_T_BLOB;
}

static bool is_sequence(unsigned type)
{
    return (type >= FLEX_T_VECTOR && type < FLEX_T_BLOB) || type == FLEX_T_VECTOR_BOOL;
}

/* Type of all elements of a typed vector. */
static unsigned element_type(unsigned type)
{
    if (type == FLEX_T_VECTOR_BOOL)
        return FLEX_T_BOOL;
    return is_fixed(type) ? FLEX_T_INT + (type - FLEX_T_VECTOR_INT2) % 3 : type - FLEX_T_VECTOR;
}

static size_t element_count(struct flex v)
{
    unsigned type = type_of(v);
    if (is_fixed(type))
        return 2 + (type - FLEX_T_VECTOR_INT2) / 3;
    return (size_t)load(v.doc + target(v) - target_width(v), target_width(v));
}

static struct flex element(struct flex v, size_t i)
{
    size_t width = target_width(v), at = target(v), n = element_count(v);
    unsigned type = type_of(v);
    bool mixed = type == FLEX_T_VECTOR || type == FLEX_T_MAP;
    uint8_t packed = mixed ? v.doc[at + n * width + i]
                           : (uint8_t)(element_type(type) << 2 |
                                       (flex_type_is_inline(element_type(type)) ? v.packed & 3 : 0));
    return (struct flex){v.doc, at + i * width, (uint8_t)width, packed};
}

/* The vector of a map's keys, as a typed vector. */
static struct flex map_keys(struct flex map)
{
    size_t width = target_width(map), at = target(map);
    size_t key_width = (size_t)load(map.doc + at - 2 * width, width);
    unsigned bits = key_width == 1 ? 0 : key_width == 2 ? 1 : key_width == 4 ? 2 : 3;
    return (struct flex){map.doc, at - 3 * width, (uint8_t)width, (uint8_t)(FLEX_T_VECTOR_KEY << 2 | bits)};
}

static struct slice text_at(struct flex v)
{
    size_t at = target(v);
    if (type_of(v) == FLEX_T_KEY)
        return slice_cstr((const char *)v.doc + at);
    return slice_make(v.doc + at, (size_t)load(v.doc + at - target_width(v), target_width(v)));
}

/* ---- checking ---- */

struct check {
    size_t len;
    uint64_t values_left; /* each legitimate value has a slot of its own */
    uint64_t text_left;   /* bytes of keys looked at: they may be shared, within reason */
    struct err *err;
};

static enum rc broken(struct check *c, const char *what)
{
    return err_set(c->err, RC_INVALID, "malformed FlexBuffers: %s", what);
}

static enum rc check_value(struct check *c, struct flex v, unsigned depth);

/* `n` bytes at `at` lie inside the document. */
static bool inside(const struct check *c, size_t at, uint64_t n)
{
    return at <= c->len && n <= c->len - at;
}

static enum rc check_text(struct check *c, struct flex v, size_t at)
{
    size_t n;
    if (type_of(v) == FLEX_T_KEY) {
        const uint8_t *end = at < c->len ? memchr(v.doc + at, 0, c->len - at) : NULL;
        if (!end)
            return broken(c, "a key without an end");
        n = (size_t)(end - (v.doc + at));
    } else {
        size_t width = target_width(v);
        if (at < width || !inside(c, at - width, width))
            return broken(c, "a string outside of the document");
        uint64_t size = load(v.doc + at - width, width);
        if (size >= c->len || !inside(c, at, size + 1) || v.doc[at + size] != 0)
            return broken(c, "a string longer than the document");
        n = (size_t)size;
    }
    if (n > c->text_left)
        return broken(c, "texts overlap too much");
    c->text_left -= n;
    return slice_is_utf8(slice_make(v.doc + at, n)) ? RC_OK : broken(c, "a text that is not UTF-8");
}

static enum rc check_keys(struct check *c, struct flex map, size_t n)
{
    size_t width = target_width(map), at = target(map);
    if (at < 3 * width)
        return broken(c, "a map outside of the document");
    uint64_t back = load(map.doc + at - 3 * width, width), key_width = load(map.doc + at - 2 * width, width);
    if (key_width != 1 && key_width != 2 && key_width != 4 && key_width != 8)
        return broken(c, "keys of an impossible width");
    if (back > at - 3 * width)
        return broken(c, "keys outside of the document");
    size_t keys_at = at - 3 * width - (size_t)back;
    if (keys_at < key_width || !inside(c, keys_at, n * key_width) ||
        load(map.doc + keys_at - key_width, key_width) != n)
        return broken(c, "a map whose keys and values differ in number");
    struct slice previous = SLICE_EMPTY;
    for (size_t i = 0; i < n; i++) {
        struct flex key = element(map_keys(map), i);
        uint64_t distance = load(map.doc + key.slot, key_width);
        if (distance > key.slot)
            return broken(c, "a key outside of the document");
        enum rc rc = check_text(c, key, key.slot - (size_t)distance);
        if (rc != RC_OK)
            return rc;
        struct slice name = text_at(key);
        if (i > 0 && slice_cmp(previous, name) >= 0)
            return broken(c, "keys that are not in ascending order");
        previous = name;
    }
    return RC_OK;
}

static enum rc check_container(struct check *c, struct flex v, size_t at, unsigned depth)
{
    unsigned type = type_of(v);
    size_t width = target_width(v);
    bool mixed = type == FLEX_T_VECTOR || type == FLEX_T_MAP;
    if (depth == 0)
        return broken(c, "nested too deeply");
    if (!is_fixed(type) && (at < width || !inside(c, at - width, width)))
        return broken(c, "a vector outside of the document");
    uint64_t n = element_count(v);
    if (n > c->len || !inside(c, at, n * width + (mixed ? n : 0)))
        return broken(c, "a vector longer than the document");
    enum rc rc = type == FLEX_T_MAP ? check_keys(c, v, (size_t)n) : RC_OK;
    for (size_t i = 0; rc == RC_OK && i < n; i++)
        rc = check_value(c, element(v, i), depth - 1);
    return rc;
}

static enum rc check_value(struct check *c, struct flex v, unsigned depth)
{
    unsigned type = type_of(v);
    if (c->values_left-- == 0)
        return broken(c, "values overlap");
    if (flex_type_is_inline(type))
        return type != FLEX_T_FLOAT || v.slot_width >= 4 ? RC_OK
                                                         : broken(c, "a float of an impossible width");
    uint64_t back = load(v.doc + v.slot, v.slot_width);
    if (back > v.slot)
        return broken(c, "an offset outside of the document");
    size_t at = v.slot - (size_t)back, width = target_width(v);
    switch (type) {
    case FLEX_T_KEY:
    case FLEX_T_STRING:
        return check_text(c, v, at);
    case FLEX_T_INDIRECT_FLOAT:
    case FLEX_T_INDIRECT_INT:
    case FLEX_T_INDIRECT_UINT:
        if (!inside(c, at, width) || (type == FLEX_T_INDIRECT_FLOAT && width < 4))
            return broken(c, "a number outside of the document");
        return RC_OK;
    case FLEX_T_BLOB:
        if (at < width || !inside(c, at, load(v.doc + at - width, width)))
            return broken(c, "a blob outside of the document");
        return RC_OK;
    case FLEX_T_VECTOR_STRING:
        return broken(c, "the retired vector of strings");
    default:
        return is_sequence(type) || type == FLEX_T_MAP ? check_container(c, v, at, depth)
                                                       : broken(c, "an unknown type");
    }
}

enum rc flex_parse(struct slice doc, struct flex *root, struct err *err)
{
    struct check c = {doc.len, doc.len, 64 * (uint64_t)doc.len, err};
    if (doc.len < 3)
        return broken(&c, "too short");
    uint8_t width = doc.ptr[doc.len - 1];
    if ((width != 1 && width != 2 && width != 4 && width != 8) || doc.len < 2u + width)
        return broken(&c, "a root of an impossible width");
    *root = (struct flex){doc.ptr, doc.len - 2 - width, width, doc.ptr[doc.len - 2]};
    return check_value(&c, *root, FLEX_MAX_DEPTH);
}

enum rc flex_parse_stored(struct slice stored, struct flex *root, struct err *err)
{
    if (stored.len == 0)
        return err_set(err, RC_INVALID, "a stored value is empty");
    if (stored.ptr[0] != CODEC_FLEXBUFFERS)
        return err_set(err, RC_UNSUPPORTED, "unsupported codec kind: %u", stored.ptr[0]);
    if (stored.len < 5 || get_u32le(stored.ptr + 1) != stored.len - 5)
        return err_set(err, RC_INVALID, "the length of a stored value does not fit");
    return flex_parse(slice_sub(stored, 5, stored.len - 5), root, err);
}

/* ---- access ---- */

enum flex_kind flex_kind(struct flex v)
{
    unsigned type = type_of(v);
    switch (type) {
    case FLEX_T_NULL:
        return FLEX_NULL;
    case FLEX_T_BOOL:
        return FLEX_BOOL;
    case FLEX_T_INT:
    case FLEX_T_INDIRECT_INT:
        return FLEX_INT;
    case FLEX_T_UINT:
    case FLEX_T_INDIRECT_UINT:
        return FLEX_UINT;
    case FLEX_T_FLOAT:
    case FLEX_T_INDIRECT_FLOAT:
        return FLEX_FLOAT;
    case FLEX_T_KEY:
    case FLEX_T_STRING:
        return FLEX_TEXT;
    case FLEX_T_BLOB:
        return FLEX_BLOB;
    case FLEX_T_MAP:
        return FLEX_MAP;
    default:
        ASSERT(is_sequence(type));
        return FLEX_SEQUENCE;
    }
}

/* Where a number stands, and how wide it is there. */
static const uint8_t *number_at(struct flex v, size_t *width)
{
    bool direct = flex_type_is_inline(type_of(v));
    *width = direct ? v.slot_width : target_width(v);
    return v.doc + (direct ? v.slot : target(v));
}

bool flex_bool(struct flex v, bool *out)
{
    if (flex_kind(v) != FLEX_BOOL)
        return false;
    *out = load(v.doc + v.slot, v.slot_width) != 0;
    return true;
}

bool flex_u64(struct flex v, uint64_t *out)
{
    size_t width;
    const uint8_t *p = number_at(v, &width);
    enum flex_kind kind = flex_kind(v);
    if (kind == FLEX_UINT)
        *out = load(p, width);
    else if (kind == FLEX_INT && load_signed(p, width) >= 0)
        *out = (uint64_t)load_signed(p, width);
    else
        return false;
    return true;
}

bool flex_i64(struct flex v, int64_t *out)
{
    size_t width;
    const uint8_t *p = number_at(v, &width);
    enum flex_kind kind = flex_kind(v);
    if (kind == FLEX_INT)
        *out = load_signed(p, width);
    else if (kind == FLEX_UINT && load(p, width) <= INT64_MAX)
        *out = (int64_t)load(p, width);
    else
        return false;
    return true;
}

bool flex_f64(struct flex v, double *out)
{
    size_t width;
    if (flex_kind(v) != FLEX_FLOAT)
        return false;
    const uint8_t *p = number_at(v, &width);
    *out = load_float(p, width);
    return true;
}

bool flex_text(struct flex v, struct slice *out)
{
    if (flex_kind(v) != FLEX_TEXT)
        return false;
    *out = text_at(v);
    return true;
}

size_t flex_count(struct flex v)
{
    enum flex_kind kind = flex_kind(v);
    return kind == FLEX_SEQUENCE || kind == FLEX_MAP ? element_count(v) : 0;
}

struct flex flex_at(struct flex v, size_t i)
{
    ASSERT(i < flex_count(v));
    return element(v, i);
}

struct slice flex_key_at(struct flex map, size_t i)
{
    ASSERT(flex_kind(map) == FLEX_MAP && i < element_count(map));
    return text_at(element(map_keys(map), i));
}

bool flex_get(struct flex v, const char *key, struct flex *out)
{
    if (flex_kind(v) != FLEX_MAP)
        return false;
    size_t low = 0, high = element_count(v);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = slice_cmp(flex_key_at(v, middle), slice_cstr(key));
        if (c == 0) {
            *out = element(v, middle);
            return true;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool flex_get_u64(struct flex map, const char *key, uint64_t *out)
{
    struct flex v;
    return flex_get(map, key, &v) && flex_u64(v, out);
}

bool flex_get_text(struct flex map, const char *key, struct slice *out)
{
    struct flex v;
    return flex_get(map, key, &v) && flex_text(v, out);
}

/* ---- JSON ---- */

struct json_style {
    struct writer *w;
    unsigned indent;
};

static void json_value(const struct json_style *s, struct flex v, unsigned depth);

static void new_line(const struct json_style *s, unsigned depth)
{
    if (s->indent)
        write_fmt(s->w, "\n%*s", (int)(depth * s->indent), "");
}

static void json_float(struct writer *w, double d)
{
    if (d != d || d - d != 0) {
        write_fmt(w, "null"); /* no such number in JSON */
        return;
    }
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    write_fmt(w, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void json_blob(const struct json_style *s, struct flex v)
{
    size_t at = target(v), width = target_width(v), n = (size_t)load(v.doc + at - width, width);
    write_u8(s->w, '[');
    for (size_t i = 0; i < n; i++)
        write_fmt(s->w, "%s%u", i ? "," : "", v.doc[at + i]);
    write_u8(s->w, ']');
}

static void json_member(const struct json_style *s, struct flex map, size_t i, bool first, unsigned depth)
{
    if (!first)
        write_u8(s->w, ',');
    new_line(s, depth + 1);
    write_json_string(s->w, flex_key_at(map, i));
    write_fmt(s->w, s->indent ? ": " : ":");
    json_value(s, flex_at(map, i), depth + 1);
}

static void json_map(const struct json_style *s, struct flex map, unsigned depth)
{
    size_t n = flex_count(map);
    bool first = true;
    write_u8(s->w, '{');
    for (size_t i = 0; depth == 0 && i < n; i++) {
        if (!slice_eq_cstr(flex_key_at(map, i), "version"))
            continue;
        json_member(s, map, i, true, depth);
        first = false;
    }
    bool version_first = !first;
    for (size_t i = 0; i < n; i++) {
        if (version_first && slice_eq_cstr(flex_key_at(map, i), "version"))
            continue;
        json_member(s, map, i, first, depth);
        first = false;
    }
    if (n)
        new_line(s, depth);
    write_u8(s->w, '}');
}

static void json_sequence(const struct json_style *s, struct flex v, unsigned depth)
{
    size_t n = flex_count(v);
    write_u8(s->w, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            write_u8(s->w, ',');
        new_line(s, depth + 1);
        json_value(s, flex_at(v, i), depth + 1);
    }
    if (n)
        new_line(s, depth);
    write_u8(s->w, ']');
}

static void json_value(const struct json_style *s, struct flex v, unsigned depth)
{
    bool flag = false;
    int64_t i = 0;
    uint64_t u = 0;
    size_t width;
    switch (flex_kind(v)) {
    case FLEX_NULL:
        write_fmt(s->w, "null");
        break;
    case FLEX_BOOL:
        flex_bool(v, &flag);
        write_fmt(s->w, flag ? "true" : "false");
        break;
    case FLEX_INT:
        flex_i64(v, &i);
        write_fmt(s->w, "%lld", (long long)i);
        break;
    case FLEX_UINT:
        flex_u64(v, &u);
        write_fmt(s->w, "%llu", (unsigned long long)u);
        break;
    case FLEX_FLOAT: {
        const uint8_t *p = number_at(v, &width);
        json_float(s->w, load_float(p, width));
        break;
    }
    case FLEX_TEXT:
        write_json_string(s->w, text_at(v));
        break;
    case FLEX_BLOB:
        json_blob(s, v);
        break;
    case FLEX_SEQUENCE:
        json_sequence(s, v, depth);
        break;
    case FLEX_MAP:
        json_map(s, v, depth);
        break;
    }
}

void flex_write_json(struct writer *w, struct flex v, unsigned indent)
{
    struct json_style s = {w, indent};
    json_value(&s, v, 0);
}

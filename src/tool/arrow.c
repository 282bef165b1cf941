/* Arrow IPC streams: see arrow.h. FlatBuffers are read in place; every offset is checked. */
#include "tool/arrow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "base/hash.h"

/* ---- FlatBuffers ---- */

struct table {
    struct slice buf;
    size_t at, vtable;
    uint32_t vtable_size;
    bool good;
};

static bool inside(struct slice b, size_t at, size_t n)
{
    return at <= b.len && n <= b.len - at;
}

static struct table table_at(struct slice b, size_t at)
{
    struct table t = {.buf = b, .at = at};
    if (!inside(b, at, 4))
        return t;
    int64_t vtable = (int64_t)at - (int32_t)get_u32le(b.ptr + at);
    if (vtable < 0 || !inside(b, (size_t)vtable, 4))
        return t;
    t.vtable = (size_t)vtable;
    t.vtable_size = (uint32_t)b.ptr[t.vtable] | (uint32_t)b.ptr[t.vtable + 1] << 8;
    t.good = inside(b, t.vtable, t.vtable_size);
    return t;
}

/* Position of a field of `n` bytes; 0: absent. */
static size_t slot(const struct table *t, unsigned index, size_t n)
{
    size_t entry = 4 + 2 * (size_t)index;
    if (!t->good || entry + 2 > t->vtable_size)
        return 0;
    size_t offset = (size_t)t->buf.ptr[t->vtable + entry] | (size_t)t->buf.ptr[t->vtable + entry + 1] << 8;
    return offset && inside(t->buf, t->at + offset, n) ? t->at + offset : 0;
}

static uint64_t scalar(const struct table *t, unsigned index, size_t n, uint64_t fallback)
{
    size_t at = slot(t, index, n);
    uint64_t v = 0;
    if (!at)
        return fallback;
    memcpy(&v, t->buf.ptr + at, n);
    return v;
}

/* Where an offset field leads to; 0: absent or outside. */
static size_t follow(struct slice b, size_t at)
{
    size_t to = at ? at + get_u32le(b.ptr + at) : 0;
    return at && inside(b, to, 4) ? to : 0;
}

static struct table child_table(const struct table *t, unsigned index)
{
    size_t at = follow(t->buf, slot(t, index, 4));
    return at ? table_at(t->buf, at) : (struct table){0};
}

/* Number of elements, and where the first is. */
static size_t vector(const struct table *t, unsigned index, size_t element, size_t *first)
{
    size_t at = follow(t->buf, slot(t, index, 4));
    if (!at)
        return 0;
    size_t n = get_u32le(t->buf.ptr + at);
    *first = at + 4;
    return n <= t->buf.len && inside(t->buf, *first, n * element) ? n : 0;
}

static const char *text(struct arena *a, const struct table *t, unsigned index)
{
    size_t first = 0, n = vector(t, index, 1, &first);
    return arena_copy_slice(a, slice_make(t->buf.ptr + (n ? first : 0), n));
}

/* ---- schema ---- */

static enum rc read_field(struct arrow_reader *r, const struct table *t, struct arrow_field *f,
                          unsigned depth, struct err *err)
{
    struct table type = child_table(t, 3);
    size_t first = 0;
    f->name = text(r->arena, t, 0);
    f->type = (enum arrow_type)scalar(t, 2, 1, 0);
    switch (f->type) {
    case ARROW_NULL:
    case ARROW_UTF8:
    case ARROW_LARGE_UTF8:
    case ARROW_BINARY:
    case ARROW_LARGE_BINARY:
    case ARROW_BOOL:
        return RC_OK;
    case ARROW_INT:
        f->bits = (unsigned)scalar(&type, 0, 4, 0);
        f->is_signed = scalar(&type, 1, 1, 0) != 0;
        if (f->bits == 8 || f->bits == 16 || f->bits == 32 || f->bits == 64)
            return RC_OK;
        break;
    case ARROW_FLOAT:
        f->bits = scalar(&type, 0, 2, 0) == 2 ? 64 : scalar(&type, 0, 2, 0) == 1 ? 32 : 0;
        if (f->bits)
            return RC_OK;
        break;
    case ARROW_TIMESTAMP:
        f->bits = 64;
        f->unit = (unsigned)scalar(&type, 0, 2, 0);
        f->zoned = slot(&type, 1, 4) != 0;
        if (f->unit <= 3)
            return RC_OK;
        break;
    case ARROW_DURATION:
        f->bits = 64;
        f->unit = (unsigned)scalar(&type, 0, 2, 1);
        if (f->unit <= 3)
            return RC_OK;
        break;
    case ARROW_DATE: /* days */
        f->bits = 32;
        if (scalar(&type, 0, 2, 1) == 0)
            return RC_OK;
        break;
    case ARROW_INTERVAL: /* months, days, nanoseconds */
        f->bits = 128;
        if (scalar(&type, 0, 2, 0) == 2)
            return RC_OK;
        break;
    case ARROW_LIST:
    case ARROW_LARGE_LIST:
        if (depth >= ARROW_DEPTH_MAX || vector(t, 5, 4, &first) != 1)
            break;
        struct table child = table_at(t->buf, follow(t->buf, first));
        f->child = arena_alloc(r->arena, sizeof(*f->child));
        return read_field(r, &child, f->child, depth + 1, err);
    default:
        break;
    }
    return err_set(err, RC_UNSUPPORTED, "column '%s' has a type that is not known here (%u)", f->name,
                   f->type);
}

static enum rc read_schema(struct arrow_reader *r, const struct table *schema, struct err *err)
{
    size_t first = 0, n = vector(schema, 1, 4, &first);
    if (n > ARROW_COLUMNS_MAX)
        return err_set(err, RC_TOO_LARGE, "the answer has %zu columns, at most %u are shown", n,
                       ARROW_COLUMNS_MAX);
    if (scalar(schema, 0, 2, 0) != 0)
        return err_set(err, RC_UNSUPPORTED, "the answer is big-endian");
    r->schema = (struct arrow_schema){arena_array(r->arena, struct arrow_field, n + 1), n};
    for (size_t i = 0; i < n; i++) {
        struct table t = table_at(schema->buf, follow(schema->buf, first + 4 * i));
        enum rc rc = read_field(r, &t, &r->schema.fields[i], 0, err);
        if (rc != RC_OK)
            return rc;
    }
    r->has_schema = true;
    return RC_OK;
}

/* ---- batches ---- */

struct batch_cursor {
    struct slice meta, body;
    size_t nodes, n_nodes, next_node;       /* 16 bytes each: length, nulls */
    size_t buffers, n_buffers, next_buffer; /* 16 bytes each: offset, length */
};

static bool next_buffer(struct batch_cursor *c, size_t need, struct slice *out)
{
    if (c->next_buffer >= c->n_buffers)
        return false;
    const uint8_t *p = c->meta.ptr + c->buffers + 16 * c->next_buffer++;
    uint64_t offset = get_u64le(p), length = get_u64le(p + 8);
    if (offset > c->body.len || length > c->body.len - offset || length < need)
        return false;
    *out = slice_sub(c->body, offset, length);
    return true;
}

static bool is_list(const struct arrow_field *f)
{
    return f->type == ARROW_LIST || f->type == ARROW_LARGE_LIST;
}

/* Has offsets: texts, binary, lists. Their width in bytes, or 0. */
static size_t offset_width(const struct arrow_field *f)
{
    if (f->type == ARROW_UTF8 || f->type == ARROW_BINARY || f->type == ARROW_LIST)
        return 4;
    return f->type >= ARROW_LARGE_BINARY && f->type <= ARROW_LARGE_LIST ? 8 : 0;
}

static uint64_t offset_at(const struct arrow_array *a, size_t i)
{
    return offset_width(a->field) == 8 ? get_u64le(a->offsets.ptr + 8 * i)
                                       : get_u32le(a->offsets.ptr + 4 * i);
}

/* Ascending, the last within `limit`. */
static bool offsets_good(const struct arrow_array *a, size_t limit)
{
    uint64_t last = 0;
    for (size_t i = 0; a->length && i <= a->length; i++) {
        uint64_t v = offset_at(a, i);
        if (v < last || v > limit)
            return false;
        last = v;
    }
    return true;
}

static bool read_array(struct arrow_reader *r, struct batch_cursor *c, const struct arrow_field *f,
                       struct arrow_array *a)
{
    if (c->next_node >= c->n_nodes)
        return false;
    const uint8_t *node = c->meta.ptr + c->nodes + 16 * c->next_node++;
    uint64_t length = get_u64le(node);
    bool nulls = get_u64le(node + 8) != 0;
    if (length > UINT32_MAX)
        return false;
    *a = (struct arrow_array){.field = f, .length = length};
    if (f->type == ARROW_NULL)
        return true;
    if (!next_buffer(c, nulls ? (length + 7) / 8 : 0, &a->validity))
        return false;
    if (!nulls)
        a->validity = SLICE_EMPTY;
    if (f->type == ARROW_BOOL)
        return next_buffer(c, (length + 7) / 8, &a->data);
    size_t width = offset_width(f);
    if (!width)
        return next_buffer(c, length * (f->bits / 8), &a->data);
    /* no values: the one offset may be left out */
    if (!next_buffer(c, length ? (length + 1) * width : 0, &a->offsets))
        return false;
    if (!is_list(f))
        return next_buffer(c, 0, &a->data) && offsets_good(a, a->data.len);
    a->child = arena_alloc(r->arena, sizeof(*a->child));
    return read_array(r, c, f->child, a->child) && offsets_good(a, a->child->length);
}

static enum rc read_batch(struct arrow_reader *r, const struct table *batch, struct slice body,
                          struct arrow_batch *out, struct err *err)
{
    struct batch_cursor c = {.meta = batch->buf, .body = body};
    c.n_nodes = vector(batch, 1, 16, &c.nodes);
    c.n_buffers = vector(batch, 2, 16, &c.buffers);
    if (!r->has_schema)
        return err_set(err, RC_CORRUPT, "rows come before the columns");
    if (slot(batch, 3, 4))
        return err_set(err, RC_UNSUPPORTED, "compressed rows are not supported");
    out->rows = scalar(batch, 0, 8, 0);
    out->columns = arena_array(r->arena, struct arrow_array, r->schema.n + 1);
    for (size_t i = 0; i < r->schema.n; i++)
        if (!read_array(r, &c, &r->schema.fields[i], &out->columns[i]) || out->columns[i].length != out->rows)
            return err_set(err, RC_CORRUPT, "column '%s' is broken", r->schema.fields[i].name);
    return RC_OK;
}

size_t arrow_message_size(struct slice s)
{
    struct reader head = reader_make(s);
    uint32_t marker = read_u32le(&head), size = read_u32le(&head);
    if (head.failed)
        return 0;
    if (marker != UINT32_MAX)
        return s.len;
    if (size == 0)
        return 8;
    struct slice meta = read_raw(&head, size);
    if (head.failed)
        return 0;
    if (meta.len < 4)
        return s.len;
    struct table message = table_at(meta, get_u32le(meta.ptr));
    uint64_t body = scalar(&message, 3, 8, 0);
    return body > SIZE_MAX / 2 ? s.len : 8 + (size_t)size + (size_t)body;
}

enum rc arrow_next(struct arrow_reader *r, struct slice *in, struct arrow_batch *out, struct err *err)
{
    if (r->ended)
        return RC_EOF;
    if (in->len == 0)
        return RC_AGAIN;
    struct reader head = reader_make(*in);
    uint32_t marker = read_u32le(&head), size = read_u32le(&head);
    if (head.failed || marker != UINT32_MAX)
        return err_set(err, RC_CORRUPT, "the answer is no Arrow stream");
    if (size == 0) {
        r->ended = true;
        return RC_EOF;
    }
    struct slice meta = read_raw(&head, size);
    if (head.failed || meta.len < 4)
        return err_set(err, RC_CORRUPT, "the answer is cut off");
    struct table message = table_at(meta, get_u32le(meta.ptr)), header = child_table(&message, 2);
    uint64_t kind = scalar(&message, 1, 1, 0), body_len = scalar(&message, 3, 8, 0);
    if (!message.good || !header.good || body_len > reader_left(&head))
        return err_set(err, RC_CORRUPT, "the answer is cut off");
    struct slice body = read_raw(&head, (size_t)body_len);
    *in = slice_make(head.p, reader_left(&head));
    if (kind == 3)
        return read_batch(r, &header, body, out, err);
    if (kind != 1)
        return err_set(err, RC_UNSUPPORTED, "an Arrow message of kind %u is not supported", (unsigned)kind);
    enum rc rc = read_schema(r, &header, err);
    return rc == RC_OK ? RC_AGAIN : rc;
}

/* ---- values ---- */

bool arrow_is_null(const struct arrow_array *a, size_t row)
{
    return a->field->type == ARROW_NULL || (a->validity.len && !(a->validity.ptr[row / 8] >> (row % 8) & 1));
}

static uint64_t raw_value(const struct arrow_array *a, size_t row)
{
    uint64_t v = 0;
    size_t width = a->field->bits / 8;
    memcpy(&v, a->data.ptr + row * width, width);
    return v;
}

static void print_int(struct writer *w, const struct arrow_array *a, size_t row)
{
    uint64_t v = raw_value(a, row);
    unsigned shift = 64 - a->field->bits;
    if (a->field->is_signed)
        write_fmt(w, "%lld", (long long)((int64_t)(v << shift) >> shift));
    else
        write_fmt(w, "%llu", (unsigned long long)v);
}

static void print_float(struct writer *w, const struct arrow_array *a, size_t row, bool json)
{
    uint64_t bits = raw_value(a, row);
    double v;
    char out[40];
    if (a->field->bits == 32) {
        float single;
        memcpy(&single, &bits, 4);
        v = (double)single;
    } else {
        memcpy(&v, &bits, 8);
    }
    if (json && !isfinite(v)) {
        write_fmt(w, "null");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(out, sizeof(out), "%.*g", precision, v);
        if (strtod(out, NULL) == v)
            break;
    }
    write_fmt(w, "%s%s", out, strpbrk(out, ".eni") ? "" : ".0");
}

static const int64_t per_second[] = {1, 1000, 1000000, 1000000000};

static void print_day(struct writer *w, int64_t days)
{
    struct calendar_date d = calendar_date_of(days);
    write_fmt(w, "%s%04lld-%02u-%02u", d.year < 0 ? "-" : "", (long long)llabs(d.year), d.month, d.day);
}

static void print_timestamp(struct writer *w, const struct arrow_array *a, size_t row)
{
    int64_t unit = per_second[a->field->unit], v = (int64_t)raw_value(a, row), per_day = 86400 * unit;
    int64_t days = v / per_day - (v % per_day < 0), rest = v - days * per_day, seconds = rest / unit;
    print_day(w, days);
    write_fmt(w, "T%02lld:%02lld:%02lld", (long long)(seconds / 3600), (long long)(seconds / 60 % 60),
              (long long)(seconds % 60));
    int64_t part = rest % unit;
    int digits = (int)(3 * a->field->unit);
    for (; part && part % 1000 == 0; part /= 1000)
        digits -= 3;
    if (part)
        write_fmt(w, ".%0*lld", digits, (long long)part);
    write_fmt(w, a->field->zoned ? "Z" : "");
}

/* ISO 8601 in seconds: `PT86400S`, `-PT1.5S`, `P0D`. */
static void print_duration(struct writer *w, const struct arrow_array *a, size_t row)
{
    int64_t v = (int64_t)raw_value(a, row);
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v, unit = (uint64_t)per_second[a->field->unit];
    uint64_t part = size % unit;
    int digits = (int)(3 * a->field->unit);
    write_fmt(w, v ? "%sPT%llu" : "P0D", v < 0 ? "-" : "", (unsigned long long)(size / unit));
    for (; part && part % 10 == 0; part /= 10)
        digits--;
    if (part)
        write_fmt(w, ".%0*llu", digits, (unsigned long long)part);
    if (v)
        write_u8(w, 'S');
}

/* `-1 mons 3 days 2 hours 1.500000000 secs`; what is zero is left out. */
static void print_interval(struct writer *w, const struct arrow_array *a, size_t row)
{
    const uint8_t *p = a->data.ptr + 16 * row;
    int64_t ns = (int64_t)get_u64le(p + 8), s = ns / 1000000000, part = ns % 1000000000;
    const struct {
        int64_t n;
        const char *name;
    } parts[] = {{(int32_t)get_u32le(p), "mons"},
                 {(int32_t)get_u32le(p + 4), "days"},
                 {s / 3600, "hours"},
                 {s / 60 % 60, "mins"}};
    size_t start = w->len;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].n)
            write_fmt(w, "%s%lld %s", w->len > start ? " " : "", (long long)parts[i].n, parts[i].name);
    if (s % 60 || part)
        write_fmt(w, "%s%s%lld.%09lld secs", w->len > start ? " " : "", ns < 0 ? "-" : "", llabs(s % 60),
                  llabs(part));
    if (w->len == start)
        write_fmt(w, "0 secs");
}

/* What is a text between quotes as JSON, although it is none. */
static void print_time(struct writer *w, const struct arrow_array *a, size_t row)
{
    if (a->field->type == ARROW_TIMESTAMP)
        print_timestamp(w, a, row);
    else if (a->field->type == ARROW_DURATION)
        print_duration(w, a, row);
    else if (a->field->type == ARROW_INTERVAL)
        print_interval(w, a, row);
    else
        print_day(w, (int32_t)raw_value(a, row));
}

static struct slice blob(const struct arrow_array *a, size_t row)
{
    uint64_t from = offset_at(a, row), to = offset_at(a, row + 1);
    return slice_sub(a->data, from, to - from);
}

static void print_list(struct writer *w, const struct arrow_array *a, size_t row, bool json)
{
    uint64_t from = offset_at(a, row), to = offset_at(a, row + 1);
    write_u8(w, '[');
    for (uint64_t i = from; i < to; i++) {
        write_fmt(w, "%s", i > from ? json ? "," : ", " : "");
        arrow_print(w, a->child, i, json);
    }
    write_u8(w, ']');
}

void arrow_print(struct writer *w, const struct arrow_array *a, size_t row, bool json)
{
    if (arrow_is_null(a, row)) {
        write_fmt(w, json ? "null" : "");
        return;
    }
    switch (a->field->type) {
    case ARROW_NULL:
        break;
    case ARROW_INT:
        print_int(w, a, row);
        break;
    case ARROW_FLOAT:
        print_float(w, a, row, json);
        break;
    case ARROW_BOOL:
        write_fmt(w, a->data.ptr[row / 8] >> (row % 8) & 1 ? "true" : "false");
        break;
    case ARROW_DATE:
    case ARROW_TIMESTAMP:
    case ARROW_INTERVAL:
    case ARROW_DURATION:
        write_fmt(w, json ? "\"" : "");
        print_time(w, a, row);
        write_fmt(w, json ? "\"" : "");
        break;
    case ARROW_UTF8:
    case ARROW_LARGE_UTF8:
        if (json)
            write_json_string(w, blob(a, row));
        else
            write_slice_raw(w, blob(a, row));
        break;
    case ARROW_BINARY:
    case ARROW_LARGE_BINARY:
        write_fmt(w, json ? "\"" : "");
        write_hex(w, blob(a, row));
        write_fmt(w, json ? "\"" : "");
        break;
    case ARROW_LIST:
    case ARROW_LARGE_LIST:
        print_list(w, a, row, json);
        break;
    }
}

/* The Arrow IPC stream (spec/sql.md §9): little endian, no dictionaries, no compression, buffers padded to
 * eight bytes, no validity bitmap for columns without NULL. */
#include <stdlib.h>

#include "base/containers.h"
#include "query/result.h"

enum { METADATA_V5 = 4, HEADER_SCHEMA = 1, HEADER_RECORD_BATCH = 3 };
enum {
    TYPE_NULL = 1,
    TYPE_INT = 2,
    TYPE_FLOAT = 3,
    TYPE_BINARY = 4,
    TYPE_UTF8 = 5,
    TYPE_BOOL = 6,
    TYPE_DECIMAL = 7,
    TYPE_DATE = 8,
    TYPE_TIMESTAMP = 10,
    TYPE_INTERVAL = 11,
    TYPE_LIST = 12,
    TYPE_DURATION = 18,
    TYPE_LARGE_BINARY = 19,
    TYPE_LARGE_UTF8 = 20,
};

/* ---- what a type looks like ---- */

static uint8_t type_number(enum sql_type t)
{
    switch (t) {
    case SQL_NULL:
        return TYPE_NULL;
    case SQL_BOOL:
        return TYPE_BOOL;
    case SQL_I32:
    case SQL_I64:
    case SQL_U32:
    case SQL_U64:
    case SQL_U64_KEY:
        return TYPE_INT;
    case SQL_F64:
        return TYPE_FLOAT;
    case SQL_DECIMAL20:
    case SQL_DECIMAL21:
        return TYPE_DECIMAL;
    case SQL_UTF8:
    case SQL_UTF8_VIEW: /* an older and simpler layout of the same */
        return TYPE_UTF8;
    case SQL_LARGE_UTF8:
        return TYPE_LARGE_UTF8;
    case SQL_BINARY:
        return TYPE_BINARY;
    case SQL_LARGE_BINARY:
        return TYPE_LARGE_BINARY;
    case SQL_TIME_MS:
    case SQL_TIME_NS:
        return TYPE_TIMESTAMP;
    case SQL_DATE:
        return TYPE_DATE;
    case SQL_DURATION_MS:
        return TYPE_DURATION;
    case SQL_INTERVAL:
        return TYPE_INTERVAL;
    default:
        return TYPE_LIST;
    }
}

/* Bytes of one value; 0: variable, with offsets; 1: booleans, which are packed into bits afterwards. */
static size_t value_width(enum sql_type t)
{
    switch (type_number(t)) {
    case TYPE_BOOL:
        return 1;
    case TYPE_INT:
        return t == SQL_I32 || t == SQL_U32 ? 4 : 8;
    case TYPE_DATE:
        return 4;
    case TYPE_FLOAT:
    case TYPE_TIMESTAMP:
    case TYPE_DURATION:
        return 8;
    case TYPE_DECIMAL:
    case TYPE_INTERVAL:
        return 16;
    default:
        return 0;
    }
}

static size_t offset_width(enum sql_type t)
{
    return t == SQL_LARGE_UTF8 || t == SQL_LARGE_BINARY ? 8 : 4;
}

/* ---- schema ---- */

static size_t write_type(struct flatbuffer *f, enum sql_type t)
{
    size_t zone = t == SQL_TIME_MS ? flatbuffer_string(f, SLICE_LIT("+00:00")) : 0;
    flatbuffer_table(f);
    switch (type_number(t)) {
    case TYPE_INT:
        if (t == SQL_I32 || t == SQL_I64)
            flatbuffer_add(f, 1, 1, 1);
        flatbuffer_add(f, 0, value_width(t) * 8, 4);
        break;
    case TYPE_FLOAT:
        flatbuffer_add(f, 0, 2, 2); /* double precision */
        break;
    case TYPE_DECIMAL:
        flatbuffer_add(f, 2, 128, 4);
        flatbuffer_add(f, 0, t == SQL_DECIMAL20 ? 20 : 21, 4);
        break;
    case TYPE_DATE:
        flatbuffer_add(f, 0, 0, 2); /* days */
        break;
    case TYPE_TIMESTAMP:
        flatbuffer_add(f, 0, t == SQL_TIME_MS ? 1 : 3, 2);
        if (zone)
            flatbuffer_add_offset(f, 1, zone);
        break;
    case TYPE_INTERVAL:
        flatbuffer_add(f, 0, 2, 2); /* months, days, nanoseconds */
        break;
    case TYPE_DURATION:
        flatbuffer_add(f, 0, 1, 2); /* milliseconds */
        break;
    }
    return flatbuffer_table_end(f);
}

static size_t write_field(struct flatbuffer *f, const char *name, enum sql_type t, bool nullable)
{
    size_t child = sql_is_list(t) ? write_field(f, "item", sql_list_element(t), true) : 0;
    flatbuffer_vector(f, child ? 1 : 0, 4, 4);
    if (child)
        flatbuffer_item_offset(f, child);
    size_t children = flatbuffer_vector_end(f, child ? 1 : 0);
    size_t type = write_type(f, t);
    size_t text = flatbuffer_string(f, slice_cstr(name));
    flatbuffer_table(f);
    flatbuffer_add(f, 1, nullable, 1);
    flatbuffer_add(f, 2, type_number(t), 1);
    flatbuffer_add_offset(f, 0, text);
    flatbuffer_add_offset(f, 3, type);
    flatbuffer_add_offset(f, 5, children);
    return flatbuffer_table_end(f);
}

/* ff ff ff ff, length of the metadata with padding, metadata. */
static void write_message(struct result *r, uint8_t header_type, size_t header, uint64_t body_length)
{
    struct flatbuffer *f = &r->fb;
    static const uint8_t zeros[8];
    flatbuffer_table(f);
    flatbuffer_add(f, 1, header_type, 1);
    flatbuffer_add(f, 0, METADATA_V5, 2);
    flatbuffer_add_offset(f, 2, header);
    if (body_length)
        flatbuffer_add(f, 3, body_length, 8);
    struct slice metadata = flatbuffer_finish(f, flatbuffer_table_end(f));
    size_t padding = (8 - metadata.len % 8) % 8;
    write_u32le(&r->out, UINT32_MAX);
    write_u32le(&r->out, (uint32_t)(metadata.len + padding));
    write_slice_raw(&r->out, metadata);
    write_raw(&r->out, zeros, padding);
}

void arrow_schema(struct result *r)
{
    struct flatbuffer *f = &r->fb;
    flatbuffer_reset(f);
    size_t *fields = xcalloc(MAX(r->n_columns, (size_t)1), sizeof(*fields));
    for (size_t i = 0; i < r->n_columns; i++)
        fields[i] = write_field(f, r->columns[i].name, r->columns[i].type, r->columns[i].nullable);
    flatbuffer_vector(f, r->n_columns, 4, 4);
    for (size_t i = r->n_columns; i-- > 0;)
        flatbuffer_item_offset(f, fields[i]);
    size_t vector = flatbuffer_vector_end(f, r->n_columns);
    free(fields);
    flatbuffer_table(f);
    flatbuffer_add_offset(f, 1, vector);
    size_t schema = flatbuffer_table_end(f);
    write_message(r, HEADER_SCHEMA, schema, 0);
}

/* ---- values ---- */

static void put_offset(struct writer *w, enum sql_type t, size_t end)
{
    if (w->len == 0) /* offsets have one more than there are rows */
        (offset_width(t) == 8) ? write_u64le(w, 0) : write_u32le(w, 0);
    (offset_width(t) == 8) ? write_u64le(w, end) : write_u32le(w, (uint32_t)end);
}

static void put_integer(struct writer *w, enum sql_type t, int64_t v)
{
    switch (value_width(t)) {
    case 1:
        write_u8(w, v != 0);
        break;
    case 4:
        write_u32le(w, (uint32_t)v);
        break;
    case 8:
        write_u64le(w, t == SQL_U64_KEY ? u64_from_key(v) : (uint64_t)v);
        break;
    case 16: /* decimals: sign extended */
        write_u64le(w, (uint64_t)v);
        write_u64le(w, v < 0 ? UINT64_MAX : 0);
        break;
    }
}

static void put_real(struct writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    write_u64le(w, bits);
}

static void put_null(struct writer *data, struct writer *offsets, enum sql_type t)
{
    size_t width = value_width(t);
    if (width)
        for (size_t i = 0; i < width; i++)
            write_u8(data, 0);
    else if (t != SQL_NULL)
        put_offset(offsets, t, data->len);
}

/* One element of a list, from the JSON text at `r`. */
static void put_element(struct arrow_column *c, enum sql_type t, struct reader *r)
{
    bool is_null = *r->p == 'n';
    write_u8(&c->child_valid, !is_null);
    c->child_nulls += is_null;
    c->child_rows++;
    if (is_null) {
        while (r->p < r->end && *r->p != ',' && *r->p != ']')
            r->p++;
        put_null(&c->child_data, &c->child_offsets, t);
        return;
    }
    if (!sql_is_text(t)) {
        char number[24] = "";
        for (size_t i = 0; r->p < r->end && *r->p != ',' && *r->p != ']' && i < sizeof(number) - 1; i++)
            number[i] = (char)*r->p++;
        put_integer(&c->child_data, t, strtoll(number, NULL, 10));
        return;
    }
    bool quoted = *r->p == '"';
    r->p += quoted;
    while (r->p < r->end && (quoted ? *r->p != '"' : *r->p != ',' && *r->p != ']')) {
        uint8_t b = *r->p++;
        if (b == '\\' && r->p < r->end) {
            b = *r->p++;
            b = b == 'n' ? '\n' : b == 't' ? '\t' : b == 'r' ? '\r' : b == 'b' ? '\b' : b == 'f' ? '\f' : b;
            if (b == 'u' && reader_left(r) >= 4) { /* only control characters are written that way */
                char hex[5] = {(char)r->p[0], (char)r->p[1], (char)r->p[2], (char)r->p[3], 0};
                b = (uint8_t)strtoul(hex, NULL, 16);
                r->p += 4;
            }
        }
        write_u8(&c->child_data, b);
    }
    r->p += quoted && r->p < r->end;
    put_offset(&c->child_offsets, t, c->child_data.len);
}

static void put_list(struct arrow_column *c, enum sql_type t, struct slice json)
{
    struct reader r = reader_make(json);
    r.p += json.len > 0; /* [ */
    while (r.p < r.end && *r.p != ']') {
        put_element(c, sql_list_element(t), &r);
        r.p += r.p < r.end && *r.p == ',';
    }
    put_offset(&c->offsets, t, c->child_rows);
}

static void put_value(struct arrow_column *c, enum sql_type t, sqlite3_stmt *row, int i)
{
    bool is_null = sqlite3_column_type(row, i) == SQLITE_NULL;
    write_u8(&c->valid, !is_null);
    c->nulls += is_null;
    if (is_null && sql_is_list(t)) {
        put_offset(&c->offsets, t, c->child_rows);
        return;
    }
    if (is_null) {
        put_null(&c->data, &c->offsets, t);
        return;
    }
    if (t == SQL_F64) {
        put_real(&c->data, sqlite3_column_double(row, i));
    } else if (t == SQL_INTERVAL || value_width(t) == 0) {
        bool blob = sqlite3_column_type(row, i) == SQLITE_BLOB;
        const void *p = blob ? sqlite3_column_blob(row, i) : sqlite3_column_text(row, i);
        struct slice s = slice_make(p, (size_t)sqlite3_column_bytes(row, i));
        if (sql_is_list(t)) {
            put_list(c, t, s);
            return;
        }
        write_slice_raw(&c->data, s);
        if (t != SQL_INTERVAL)
            put_offset(&c->offsets, t, c->data.len);
    } else {
        put_integer(&c->data, t, sqlite3_column_int64(row, i));
    }
}

void arrow_row(struct result *r, sqlite3_stmt *row)
{
    for (size_t i = 0; i < r->n_columns; i++)
        put_value(&r->arrow[i], r->columns[i].type, row, (int)i);
}

/* ---- record batch ---- */

struct body {
    struct writer bytes;
    struct {
        uint64_t *items;
        size_t len, cap;
    } nodes, buffers; /* pairs */
};

static void add_buffer(struct body *b, struct slice s)
{
    static const uint8_t zeros[8];
    VEC_PUSH(&b->buffers, b->bytes.len);
    VEC_PUSH(&b->buffers, s.len);
    write_slice_raw(&b->bytes, s);
    write_raw(&b->bytes, zeros, (8 - s.len % 8) % 8);
}

/* Bytes that are 0 or 1 as a bitmap, least significant bit first. */
static void add_bits(struct body *b, struct slice flags)
{
    struct writer bits = WRITER_INIT;
    for (size_t i = 0; i < flags.len; i += 8) {
        uint8_t byte = 0;
        for (size_t k = 0; k < 8 && i + k < flags.len; k++)
            byte |= (uint8_t)(flags.ptr[i + k] << k);
        write_u8(&bits, byte);
    }
    add_buffer(b, writer_slice(&bits));
    writer_free(&bits);
}

static void add_offsets(struct body *b, struct writer *offsets, enum sql_type t)
{
    if (offsets->len == 0) /* no rows at all still have the first offset */
        (offset_width(t) == 8) ? write_u64le(offsets, 0) : write_u32le(offsets, 0);
    add_buffer(b, writer_slice(offsets));
}

static void add_column(struct body *b, enum sql_type t, uint64_t rows, uint64_t nulls, struct writer *valid,
                       struct writer *offsets, struct writer *data)
{
    VEC_PUSH(&b->nodes, rows);
    VEC_PUSH(&b->nodes, nulls);
    if (t == SQL_NULL)
        return;
    if (nulls)
        add_bits(b, writer_slice(valid));
    else
        add_buffer(b, SLICE_EMPTY);
    if (value_width(t) == 0)
        add_offsets(b, offsets, t);
    if (t == SQL_BOOL)
        add_bits(b, writer_slice(data));
    else if (!sql_is_list(t))
        add_buffer(b, writer_slice(data));
}

static void column_reset(struct arrow_column *c)
{
    writer_reset(&c->valid);
    writer_reset(&c->data);
    writer_reset(&c->offsets);
    writer_reset(&c->child_valid);
    writer_reset(&c->child_data);
    writer_reset(&c->child_offsets);
    c->nulls = c->child_nulls = c->child_rows = 0;
}

static size_t pairs(struct flatbuffer *f, const uint64_t *items, size_t len)
{
    flatbuffer_vector(f, len / 2, 16, 8);
    for (size_t i = len; i-- > 0;)
        flatbuffer_item_u64(f, items[i]);
    return flatbuffer_vector_end(f, len / 2);
}

void arrow_batch(struct result *r)
{
    struct body b = {0};
    for (size_t i = 0; i < r->n_columns; i++) {
        struct arrow_column *c = &r->arrow[i];
        enum sql_type t = r->columns[i].type;
        add_column(&b, t, r->rows, c->nulls, &c->valid, &c->offsets, &c->data);
        if (sql_is_list(t))
            add_column(&b, sql_list_element(t), c->child_rows, c->child_nulls, &c->child_valid,
                       &c->child_offsets, &c->child_data);
        column_reset(c);
    }
    struct flatbuffer *f = &r->fb;
    flatbuffer_reset(f);
    size_t buffers = pairs(f, b.buffers.items, b.buffers.len);
    size_t nodes = pairs(f, b.nodes.items, b.nodes.len);
    flatbuffer_table(f);
    flatbuffer_add_offset(f, 1, nodes);
    flatbuffer_add_offset(f, 2, buffers);
    flatbuffer_add(f, 0, r->rows, 8);
    write_message(r, HEADER_RECORD_BATCH, flatbuffer_table_end(f), b.bytes.len);
    write_slice_raw(&r->out, writer_slice(&b.bytes));
    writer_free(&b.bytes);
    VEC_FREE(&b.nodes);
    VEC_FREE(&b.buffers);
}

void arrow_end(struct result *r)
{
    write_u32le(&r->out, UINT32_MAX);
    write_u32le(&r->out, 0);
}

void arrow_free(struct result *r)
{
    for (size_t i = 0; i < r->n_columns; i++) {
        struct arrow_column *c = &r->arrow[i];
        writer_free(&c->valid);
        writer_free(&c->data);
        writer_free(&c->offsets);
        writer_free(&c->child_valid);
        writer_free(&c->child_data);
        writer_free(&c->child_offsets);
    }
    free(r->arrow);
}

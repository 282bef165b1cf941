/* Rows as bytes (query/row_set.h): per value a letter, then 8 bytes little-endian or a length and the bytes.
 */
#include "query/row_set.h"

#include <stdarg.h>
#include <stdio.h>

void row_null(struct row_set *s)
{
    write_u8(&s->bytes, 'n');
}

void row_int(struct row_set *s, int64_t v)
{
    write_u8(&s->bytes, 'i');
    write_u64le(&s->bytes, (uint64_t)v);
}

void row_bool(struct row_set *s, bool v)
{
    row_int(s, v);
}

void row_text(struct row_set *s, struct slice text)
{
    if (!text.ptr) {
        row_null(s);
        return;
    }
    write_u8(&s->bytes, 't');
    write_lp(&s->bytes, text);
}

void row_fmt(struct row_set *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    row_text(s, slice_cstr(text));
}

void row_value(struct row_set *s, const struct sql_value *v)
{
    uint64_t bits;
    switch (v->kind) {
    case VALUE_NULL:
        row_null(s);
        break;
    case VALUE_INT:
        row_int(s, v->integer);
        break;
    case VALUE_REAL:
        memcpy(&bits, &v->real, sizeof(bits));
        write_u8(&s->bytes, 'r');
        write_u64le(&s->bytes, bits);
        break;
    case VALUE_TEXT:
        row_text(s, v->bytes.ptr ? v->bytes : SLICE_LIT(""));
        break;
    case VALUE_BLOB:
        write_u8(&s->bytes, 'b');
        write_lp(&s->bytes, v->bytes);
        break;
    }
}

void row_end(struct row_set *s)
{
    s->rows++;
}

void row_set_free(struct row_set *s)
{
    writer_free(&s->bytes);
    s->rows = 0;
}

static bool read_value(struct reader *r, struct sql_value *v)
{
    uint64_t bits;
    *v = (struct sql_value){0};
    switch (read_u8(r)) {
    case 'n':
        break;
    case 'i':
        v->kind = VALUE_INT;
        v->integer = (int64_t)read_u64le(r);
        break;
    case 'r':
        v->kind = VALUE_REAL;
        bits = read_u64le(r);
        memcpy(&v->real, &bits, sizeof(bits));
        break;
    case 't':
        v->kind = VALUE_TEXT;
        v->bytes = read_lp(r);
        break;
    case 'b':
        v->kind = VALUE_BLOB;
        v->bytes = read_lp(r);
        break;
    default:
        r->failed = true;
    }
    return !r->failed;
}

bool row_read(struct reader *r, struct sql_value *values, size_t n)
{
    if (r->failed || reader_left(r) == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!read_value(r, &values[i]))
            return false;
    return true;
}

/* Values on their way to PostgreSQL clients (pgwire/value.h). */
#include "pgwire/value.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

#define DAYS_TO_2000  10957 /* from 1970-01-01 */
#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (INT64_C(86400) * US_PER_SECOND)

enum pg_oid pg_type_of(enum sql_type t)
{
    if (sql_is_text(t))
        return PG_VARCHAR;
    if (sql_is_binary(t))
        return PG_BYTEA;
    switch (t) {
    case SQL_BOOL:
        return PG_BOOL;
    case SQL_I32:
        return PG_INT4;
    case SQL_I64:
    case SQL_U32:
    case SQL_U64:
        return PG_INT8;
    case SQL_U64_KEY:
    case SQL_DECIMAL20:
    case SQL_DECIMAL21:
        return PG_NUMERIC;
    case SQL_F64:
        return PG_FLOAT8;
    case SQL_TIME_MS:
    case SQL_TIME_NS:
        return PG_TIMESTAMP;
    case SQL_DATE:
        return PG_DATE;
    case SQL_DURATION_MS:
    case SQL_INTERVAL:
        return PG_INTERVAL;
    case SQL_LIST_U32:
    case SQL_LIST_I64:
        return PG_INT8_ARRAY;
    case SQL_LIST_UTF8:
    case SQL_LIST_LARGE_UTF8:
        return PG_TEXT_ARRAY;
    default:
        return PG_TEXT;
    }
}

static int16_t type_length(enum pg_oid oid)
{
    switch (oid) {
    case PG_BOOL:
        return 1;
    case PG_INT4:
    case PG_DATE:
        return 4;
    case PG_INT8:
    case PG_FLOAT8:
    case PG_TIMESTAMP:
        return 8;
    case PG_INTERVAL:
        return 16;
    default:
        return -1;
    }
}

void pg_row_description(struct writer *w, const struct result_column *columns, size_t n, const bool *binary)
{
    size_t at = pg_begin(w, 'T');
    write_u16be(w, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        enum pg_oid oid = pg_type_of(columns[i].type);
        pg_text(w, slice_cstr(columns[i].name));
        write_u32be(w, 0); /* table, attribute */
        write_u16be(w, 0);
        write_u32be(w, oid);
        write_u16be(w, (uint16_t)type_length(oid));
        write_u32be(w, UINT32_MAX);
        write_u16be(w, binary && binary[i]);
    }
    pg_end(w, at);
}

/* ---- text ---- */

static void write_civil(struct writer *w, int64_t days)
{
    struct sql_civil c = sql_civil_of(days, 1);
    if (c.year > 0)
        write_fmt(w, "%04" PRId64 "-%02u-%02u", c.year, c.month, c.day);
    else
        write_fmt(w, "%04" PRId64 "-%02u-%02u BC", 1 - c.year, c.month, c.day);
}

/* HH:MM:SS and up to six digits, without zeros at the end. */
static void write_clock(struct writer *w, uint64_t us)
{
    uint64_t s = us / 1000000;
    unsigned fraction = (unsigned)(us % 1000000);
    write_fmt(w, "%02" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    if (!fraction)
        return;
    char digits[8];
    snprintf(digits, sizeof(digits), "%06u", fraction);
    size_t n = 6;
    while (digits[n - 1] == '0')
        n--;
    write_fmt(w, ".%.*s", (int)n, digits);
}

/* Microseconds since 1970, rounded down. */
static int64_t time_us(const struct sql_value *v, enum sql_type t)
{
    if (t == SQL_TIME_NS)
        return v->integer >= 0 ? v->integer / 1000 : -((999 - v->integer) / 1000);
    int64_t us;
    if (__builtin_mul_overflow(v->integer, 1000, &us))
        us = v->integer < 0 ? INT64_MIN : INT64_MAX;
    return us;
}

static void write_timestamp(struct writer *w, int64_t us)
{
    int64_t days = us / US_PER_DAY - (us % US_PER_DAY < 0);
    write_civil(w, days);
    write_u8(w, ' ');
    write_clock(w, (uint64_t)(us - days * US_PER_DAY));
}

struct pg_interval {
    int32_t months, days;
    int64_t us;
};
static struct pg_interval interval_of(const struct sql_value *v, enum sql_type t)
{
    struct sql_interval i = {0};
    if (t == SQL_INTERVAL) {
        sql_interval_get(v->bytes, &i);
        return (struct pg_interval){i.months, i.days, i.ns / 1000};
    }
    return (struct pg_interval){.us = time_us(v, SQL_TIME_MS)};
}

static void write_interval(struct writer *w, struct pg_interval i)
{
    size_t start = w->len;
    int32_t years = i.months / 12, months = i.months % 12;
    if (years)
        write_fmt(w, "%d year%s", years, years == 1 ? "" : "s");
    if (months)
        write_fmt(w, "%s%d mon%s", w->len > start ? " " : "", months, months == 1 ? "" : "s");
    if (i.days)
        write_fmt(w, "%s%d day%s", w->len > start ? " " : "", i.days, i.days == 1 ? "" : "s");
    if (!i.us && w->len > start)
        return;
    write_fmt(w, "%s%s", w->len > start ? " " : "", i.us < 0 ? "-" : "");
    write_clock(w, i.us < 0 ? 0 - (uint64_t)i.us : (uint64_t)i.us);
}

static void write_float(struct writer *w, double v)
{
    char text[40];
    if (isnan(v) || isinf(v)) {
        write_fmt(w, "%s", isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    write_slice_raw(w, slice_cstr(text));
}

/* An element of an array that needs quotes: empty, NULL, or with special characters. */
static void write_element(struct writer *w, const char *text, size_t n)
{
    struct slice s = slice_make(text, n);
    bool quote = n == 0 || slice_eq_nocase(s, SLICE_LIT("null"));
    for (size_t i = 0; i < n && !quote; i++)
        quote = strchr("{},\"\\ \t\n\r\v\f", text[i]) != NULL;
    if (!quote) {
        write_slice_raw(w, s);
        return;
    }
    write_u8(w, '"');
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"' || text[i] == '\\')
            write_u8(w, '\\');
        write_u8(w, (uint8_t)text[i]);
    }
    write_u8(w, '"');
}

static void write_array(struct writer *w, struct slice json)
{
    json_t *list = json_loadb((const char *)json.ptr, json.len, JSON_ALLOW_NUL, NULL), *item;
    size_t i;
    write_u8(w, '{');
    json_array_foreach(list, i, item)
    {
        if (i)
            write_u8(w, ',');
        if (json_is_string(item))
            write_element(w, json_string_value(item), json_string_length(item));
        else if (json_is_integer(item))
            write_fmt(w, "%lld", (long long)json_integer_value(item));
        else
            write_fmt(w, "NULL");
    }
    write_u8(w, '}');
    json_decref(list);
}

static void write_text(struct writer *w, const struct sql_value *v, enum sql_type t)
{
    switch (pg_type_of(t)) {
    case PG_BOOL:
        write_u8(w, v->integer ? 't' : 'f');
        break;
    case PG_BYTEA:
        write_slice_raw(w, SLICE_LIT("\\x"));
        write_hex(w, v->bytes);
        break;
    case PG_FLOAT8:
        write_float(w, v->kind == VALUE_REAL ? v->real : (double)v->integer);
        break;
    case PG_DATE:
        write_civil(w, v->integer);
        break;
    case PG_TIMESTAMP:
        write_timestamp(w, time_us(v, t));
        break;
    case PG_INTERVAL:
        write_interval(w, interval_of(v, t));
        break;
    case PG_INT8_ARRAY:
    case PG_TEXT_ARRAY:
        write_array(w, v->bytes);
        break;
    default:
        if (t == SQL_U64_KEY)
            write_fmt(w, "%" PRIu64, u64_from_key(v->integer));
        else if (v->kind == VALUE_INT)
            write_fmt(w, "%" PRId64, v->integer);
        else
            write_slice_raw(w, v->bytes);
    }
}

/* ---- binary ---- */

static void write_u64_bits(struct writer *w, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    write_u64be(w, bits);
}

/* Groups of four decimal digits, the highest first. */
static void write_numeric(struct writer *w, uint64_t magnitude, bool negative)
{
    uint16_t groups[5];
    unsigned n = 0, skipped = 0;
    for (; magnitude; magnitude /= 10000)
        groups[n++] = (uint16_t)(magnitude % 10000);
    while (skipped < n && groups[skipped] == 0)
        skipped++; /* zeros at the end are not written */
    write_u16be(w, (uint16_t)(n - skipped));
    write_u16be(w, (uint16_t)(n ? n - 1 : 0)); /* weight of the first */
    write_u16be(w, negative ? 0x4000 : 0);
    write_u16be(w, 0);
    for (unsigned i = n; i > skipped; i--)
        write_u16be(w, groups[i - 1]);
}

static void write_binary_array(struct writer *w, struct slice json, bool text)
{
    json_t *list = json_loadb((const char *)json.ptr, json.len, JSON_ALLOW_NUL, NULL), *item;
    size_t i, n = json_array_size(list);
    bool nulls = false;
    json_array_foreach(list, i, item) nulls |= json_is_null(item);
    write_u32be(w, n ? 1 : 0);
    write_u32be(w, nulls);
    write_u32be(w, text ? PG_VARCHAR : PG_INT8);
    if (n) {
        write_u32be(w, (uint32_t)n);
        write_u32be(w, 1);
    }
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item)) {
            write_u32be(w, (uint32_t)json_string_length(item));
            write_raw(w, json_string_value(item), json_string_length(item));
        } else if (json_is_integer(item)) {
            write_u32be(w, 8);
            write_u64be(w, (uint64_t)json_integer_value(item));
        } else {
            write_u32be(w, UINT32_MAX);
        }
    }
    json_decref(list);
}

static void write_binary(struct writer *w, const struct sql_value *v, enum sql_type t)
{
    struct pg_interval i;
    switch (pg_type_of(t)) {
    case PG_BOOL:
        write_u8(w, v->integer != 0);
        break;
    case PG_INT4:
        write_u32be(w, (uint32_t)v->integer);
        break;
    case PG_INT8:
        write_u64be(w, (uint64_t)v->integer);
        break;
    case PG_NUMERIC:
        if (t == SQL_U64_KEY)
            write_numeric(w, u64_from_key(v->integer), false);
        else
            write_numeric(w, v->integer < 0 ? 0 - (uint64_t)v->integer : (uint64_t)v->integer,
                          v->integer < 0);
        break;
    case PG_FLOAT8:
        write_u64_bits(w, v->kind == VALUE_REAL ? v->real : (double)v->integer);
        break;
    case PG_DATE:
        write_u32be(w, (uint32_t)(v->integer - DAYS_TO_2000));
        break;
    case PG_TIMESTAMP:
        write_u64be(w, (uint64_t)time_us(v, t) - (uint64_t)(DAYS_TO_2000 * US_PER_DAY));
        break;
    case PG_INTERVAL:
        i = interval_of(v, t);
        write_u64be(w, (uint64_t)i.us);
        write_u32be(w, (uint32_t)i.days);
        write_u32be(w, (uint32_t)i.months);
        break;
    case PG_INT8_ARRAY:
        write_binary_array(w, v->bytes, false);
        break;
    case PG_TEXT_ARRAY:
        write_binary_array(w, v->bytes, true);
        break;
    default:
        write_slice_raw(w, v->bytes);
    }
}

void pg_data_row(struct writer *w, const struct sql_value *values, const struct result_column *columns,
                 size_t n, const bool *binary)
{
    size_t at = pg_begin(w, 'D');
    write_u16be(w, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        if (values[i].kind == VALUE_NULL) {
            write_u32be(w, UINT32_MAX);
            continue;
        }
        size_t length = w->len;
        write_u32be(w, 0);
        if (binary && binary[i])
            write_binary(w, &values[i], columns[i].type);
        else
            write_text(w, &values[i], columns[i].type);
        put_u32be(w->buf->data + length, (uint32_t)(w->len - length - 4));
    }
    pg_end(w, at);
}

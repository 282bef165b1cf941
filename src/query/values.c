/* Conversions between types (query/values.h). */
#include "query/values.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

static void set_int(struct sql_value *v, int64_t integer)
{
    *v = (struct sql_value){.kind = VALUE_INT, .integer = integer};
}

static void set_real(struct sql_value *v, double real)
{
    *v = (struct sql_value){.kind = VALUE_REAL, .real = real};
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---- text ---- */

void sql_value_write(struct writer *w, const struct sql_value *v, enum sql_type type)
{
    struct sql_interval interval;
    switch (type) {
    case SQL_BOOL:
        write_slice_raw(w, v->integer ? SLICE_LIT("true") : SLICE_LIT("false"));
        break;
    case SQL_U64:
        write_fmt(w, "%" PRIu64, (uint64_t)v->integer);
        break;
    case SQL_U64_KEY:
        write_fmt(w, "%" PRIu64, u64_from_key(v->integer));
        break;
    case SQL_F64:
        sql_float_write(w, v->kind == VALUE_REAL ? v->real : (double)v->integer);
        break;
    case SQL_TIME_MS:
        sql_time_ms_write(w, v->integer);
        break;
    case SQL_TIME_NS:
        sql_time_ns_write(w, v->integer);
        break;
    case SQL_DATE:
        sql_date_write(w, v->integer);
        break;
    case SQL_DURATION_MS:
        sql_duration_write(w, v->integer);
        break;
    case SQL_INTERVAL:
        if (sql_interval_get(v->bytes, &interval))
            sql_interval_write(w, interval);
        break;
    case SQL_BINARY:
    case SQL_LARGE_BINARY:
        write_hex(w, v->bytes);
        break;
    default:
        if (v->kind == VALUE_INT)
            write_fmt(w, "%" PRId64, v->integer);
        else if (v->kind == VALUE_REAL)
            write_fmt(w, "%.0f", v->real);
        else
            write_slice_raw(w, v->bytes);
    }
}

static bool number_of_text(struct slice text, enum sql_type to, struct sql_value *out)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy) || text.ptr[0] == ' ' || text.ptr[text.len - 1] == ' ')
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (strchr(copy, 'x') || strchr(copy, 'X'))
        return false; /* no hexadecimal */
    char *end;
    errno = 0;
    if (to == SQL_F64) {
        set_real(out, strtod(copy, &end));
        return *end == '\0' && end != copy;
    }
    if (to == SQL_U64_KEY) {
        unsigned long long v = strtoull(copy, &end, 10);
        set_int(out, u64_to_key(v));
        return *end == '\0' && errno == 0 && copy[0] != '-';
    }
    set_int(out, strtoll(copy, &end, 10));
    return *end == '\0' && end != copy && errno == 0;
}

static bool bool_of_text(struct slice text, struct sql_value *out)
{
    static const char *const words[] = {"false", "f", "no",  "n", "off", "0",
                                        "true",  "t", "yes", "y", "on",  "1"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_eq_nocase(text, slice_cstr(words[i]))) {
            set_int(out, i >= ARRAY_LEN(words) / 2);
            return true;
        }
    }
    return false;
}

static int64_t interval_ms(struct sql_interval v)
{
    return (int64_t)(((uint64_t)v.months * 30 + (uint64_t)v.days) * 86400000u + (uint64_t)(v.ns / 1000000));
}

static void set_interval(struct sql_value *v, struct sql_interval interval, struct writer *scratch)
{
    uint8_t raw[SQL_INTERVAL_BYTES];
    sql_interval_put(raw, interval);
    writer_reset(scratch);
    write_raw(scratch, raw, sizeof(raw));
    *v = (struct sql_value){.kind = VALUE_BLOB, .bytes = writer_slice(scratch)};
}

static bool of_text(struct sql_value *v, enum sql_type to, struct writer *scratch)
{
    struct slice text = v->bytes;
    int64_t ns;
    int32_t days;
    struct sql_interval interval;
    if (sql_is_number(to))
        return number_of_text(text, to, v);
    switch (to) {
    case SQL_BOOL:
        return bool_of_text(text, v);
    case SQL_TIME_MS:
    case SQL_TIME_NS:
        if (!sql_time_parse(text, &ns))
            return false;
        set_int(v, to == SQL_TIME_MS ? floor_div(ns, 1000000) : ns);
        return true;
    case SQL_DATE:
        if (!sql_date_parse(text, &days))
            return false;
        set_int(v, days);
        return true;
    case SQL_DURATION_MS:
    case SQL_INTERVAL:
        if (!sql_interval_parse(text, NULL, &interval))
            return false;
        if (to == SQL_DURATION_MS)
            set_int(v, interval_ms(interval));
        else
            set_interval(v, interval, scratch);
        return true;
    case SQL_BINARY:
    case SQL_LARGE_BINARY:
        v->kind = VALUE_BLOB;
        return true;
    default:
        return true;
    }
}

/* ---- numbers and times ---- */

static bool integer_in_range(int64_t v, enum sql_type to)
{
    switch (to) {
    case SQL_I32:
        return v >= INT32_MIN && v <= INT32_MAX;
    case SQL_U32:
        return v >= 0 && v <= UINT32_MAX;
    case SQL_U64:
        return v >= 0;
    default:
        return true;
    }
}

static bool of_real(struct sql_value *v, enum sql_type to)
{
    if (to == SQL_F64)
        return true;
    if (to == SQL_BOOL) {
        set_int(v, v->real != 0);
        return true;
    }
    double whole = trunc(v->real);
    if (to == SQL_U64_KEY) {
        if (!(whole >= 0 && whole < 18446744073709551616.0))
            return false;
        set_int(v, u64_to_key((uint64_t)whole));
        return true;
    }
    if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0))
        return false;
    set_int(v, (int64_t)whole);
    return integer_in_range(v->integer, to);
}

static bool of_integer(struct sql_value *v, enum sql_type from, enum sql_type to)
{
    if (from == SQL_U64_KEY) {
        uint64_t u = u64_from_key(v->integer);
        if (to == SQL_F64) {
            set_real(v, (double)u);
            return true;
        }
        v->integer = (int64_t)u;
        return u <= INT64_MAX && integer_in_range(v->integer, to);
    }
    if (to == SQL_F64)
        set_real(v, (double)v->integer);
    else if (to == SQL_U64_KEY) {
        if (v->integer < 0)
            return false;
        v->integer = u64_to_key((uint64_t)v->integer);
    } else if (to == SQL_BOOL)
        v->integer = v->integer != 0;
    else if (to == SQL_TIME_NS && __builtin_mul_overflow(v->integer, INT64_C(1000000000), &v->integer))
        return false; /* seconds */
    return integer_in_range(v->integer, to);
}

static bool of_time(struct sql_value *v, enum sql_type from, enum sql_type to)
{
    if (from == SQL_DATE && to != SQL_I64) {
        int64_t unit = to == SQL_TIME_MS ? 86400000 : INT64_C(86400000000000);
        return to == SQL_DATE || !__builtin_mul_overflow(v->integer, unit, &v->integer);
    }
    if (to == SQL_DATE)
        v->integer = floor_div(v->integer, from == SQL_TIME_MS ? 86400000 : INT64_C(86400000000000));
    else if (from == SQL_TIME_NS && to == SQL_TIME_MS)
        v->integer = floor_div(v->integer, 1000000);
    else if (from == SQL_TIME_MS && to == SQL_TIME_NS)
        return !__builtin_mul_overflow(v->integer, 1000000, &v->integer);
    return true;
}

/* ---- dispatch ---- */

static bool to_text(struct sql_value *v, enum sql_type from, struct writer *scratch)
{
    writer_reset(scratch);
    if (sql_is_binary(from)) {
        v->kind = VALUE_TEXT;
        return slice_is_utf8(v->bytes);
    }
    sql_value_write(scratch, v, from);
    *v = (struct sql_value){.kind = VALUE_TEXT, .bytes = writer_slice(scratch)};
    return true;
}

static bool convert(struct sql_value *v, enum sql_type from, enum sql_type to, struct writer *scratch)
{
    if (sql_is_text(from))
        return sql_is_text(to) || of_text(v, to, scratch);
    if (sql_is_text(to))
        return to_text(v, from, scratch);
    if (from == SQL_F64)
        return of_real(v, to);
    if (sql_is_time(from))
        return of_time(v, from, to);
    if (from == SQL_INTERVAL) {
        struct sql_interval interval;
        if (to != SQL_DURATION_MS || !sql_interval_get(v->bytes, &interval))
            return to == SQL_INTERVAL;
        set_int(v, interval_ms(interval));
        return true;
    }
    if (sql_is_integer(from) || from == SQL_BOOL)
        return of_integer(v, from, to);
    if (from == SQL_DURATION_MS && to == SQL_INTERVAL)
        set_interval(v, (struct sql_interval){.ns = v->integer * 1000000}, scratch);
    return true;
}

bool sql_convert(struct sql_value *v, enum sql_type from, enum sql_type to, struct writer *scratch,
                 char *reason, size_t reason_cap)
{
    struct sql_value original = *v;
    if (v->kind == VALUE_NULL || from == to || convert(v, from, to, scratch))
        return true;
    struct writer text = WRITER_INIT;
    sql_value_write(&text, &original, from);
    const char *format = sql_is_time(to) && sql_is_text(from)
                             ? "Arrow error: Parser error: Error parsing timestamp from '%.*s'"
                             : "Arrow error: Cast error: Cannot cast string '%.*s' to value of %s type";
    if (!sql_is_text(from))
        format = "Arrow error: Cast error: Can't cast value %.*s to type %s";
    snprintf(reason, reason_cap, format, (int)MIN(text.len, (size_t)200),
             text.len ? (const char *)text.buf->data : "", sql_type_name(to));
    writer_free(&text);
    return false;
}

/* Parameters become literals of the statement (pgwire/value.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgwire/value.h"

struct substitution {
    struct writer *w;
    const struct pg_parameters *p;
    bool after_limit; /* the last word was LIMIT or OFFSET: they take bare numbers only */
    char *code;
    struct err *err;
};

static bool refuse(struct substitution *s, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(struct substitution *s, const char *code, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(s->code, 6, "%s", code);
    err_set(s->err, RC_INVALID, "%s", text);
    return false;
}

static bool put_string(struct substitution *s, struct slice v)
{
    if (!slice_is_utf8(v) || (v.len && memchr(v.ptr, 0, v.len)))
        return refuse(s, "22021", "invalid byte sequence for encoding \"UTF8\"");
    write_u8(s->w, '\'');
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '\'')
            write_u8(s->w, '\'');
        write_u8(s->w, v.ptr[i]);
    }
    write_u8(s->w, '\'');
    return true;
}

static bool is_integer(struct slice v)
{
    size_t i = v.len && (v.ptr[0] == '-' || v.ptr[0] == '+');
    if (i == v.len || v.len > 20)
        return false;
    for (; i < v.len; i++)
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return false;
    return true;
}

static bool is_number(struct slice v)
{
    char text[64], *end;
    if (v.len == 0 || v.len >= sizeof(text))
        return false;
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    if (strspn(text, "0123456789+-.eE") != v.len)
        return false;
    strtod(text, &end);
    return *end == '\0';
}

static bool put_number(struct substitution *s, struct slice v, bool integer)
{
    if (integer ? !is_integer(v) : !is_number(v))
        return refuse(s, "22P02", "invalid input syntax for a number: \"%.*s\"", (int)MIN(v.len, (size_t)60),
                      v.ptr);
    if (v.ptr[0] == '+')
        v = slice_sub(v, 1, v.len - 1);
    bool negative = v.ptr[0] == '-';
    write_fmt(s->w, negative ? "(%.*s)" : "%.*s", SLICE_FMT(v));
    return true;
}

static bool put_text_value(struct substitution *s, struct slice v, uint32_t oid)
{
    switch (oid) {
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
    case PG_OID:
        return put_number(s, v, true);
    case PG_FLOAT4:
    case PG_FLOAT8:
    case PG_NUMERIC:
        return put_number(s, v, false);
    case PG_BOOL:
        if (v.len == 0 || !strchr("tTfFyYnN10", v.ptr[0]))
            return refuse(s, "22P02", "invalid input syntax for type boolean");
        write_fmt(s->w, "%s", strchr("tTyY1", v.ptr[0]) ? "true" : "false");
        return true;
    case PG_INTERVAL:
        write_fmt(s->w, "INTERVAL ");
        return put_string(s, v);
    default:
        if (s->after_limit && is_integer(v))
            return put_number(s, v, true);
        return put_string(s, v);
    }
}

#define EPOCH_2000_DAYS 10957 /* PostgreSQL counts from 2000 */

static bool put_date(struct substitution *s, int32_t days)
{
    if (days == INT32_MAX || days == INT32_MIN)
        return refuse(s, "22008", "infinite dates are not supported");
    write_fmt(s->w, "DATE '");
    sql_date_write(s->w, (int64_t)days + EPOCH_2000_DAYS);
    write_u8(s->w, '\'');
    return true;
}

static bool put_timestamp(struct substitution *s, int64_t us)
{
    int64_t ns;
    if (__builtin_add_overflow(us, EPOCH_2000_DAYS * INT64_C(86400000000), &us) ||
        __builtin_mul_overflow(us, 1000, &ns))
        return refuse(s, "22008", "timestamp out of range");
    write_fmt(s->w, "TIMESTAMP '");
    sql_time_ns_write(s->w, ns);
    write_u8(s->w, '\'');
    return true;
}

/* Digits to the base of 10,000: how many, the weight of the first, sign, digits to show, and the digits. */
static bool put_numeric(struct substitution *s, struct slice v)
{
    enum { GROUPS_MAX = 10 };
    int digits = v.len >= 8 ? get_u16be(v.ptr) : 0, weight = v.len >= 8 ? (int16_t)get_u16be(v.ptr + 2) : 0;
    unsigned sign = v.len >= 8 ? get_u16be(v.ptr + 4) : 1;
    if ((sign != 0 && sign != 0x4000) || v.len != 8 + 2 * (size_t)digits)
        return refuse(s, "22P03", "a numeric that is not finite, or incorrect");
    if (digits > GROUPS_MAX || weight >= GROUPS_MAX || weight < -GROUPS_MAX)
        return refuse(s, "22003", "numeric out of range");
    write_fmt(s->w, sign ? "(-" : "");
    int first = MAX(weight, 0);
    for (int power = first; power >= MIN(weight - digits + 1, 0); power--) {
        int at = weight - power;
        unsigned group = at >= 0 && at < digits ? get_u16be(v.ptr + 8 + 2 * at) : 0;
        if (group > 9999)
            return refuse(s, "22P03", "incorrect numeric");
        if (power == -1)
            write_u8(s->w, '.');
        write_fmt(s->w, power == first ? "%u" : "%04u", group);
    }
    write_fmt(s->w, sign ? ")" : "");
    return true;
}

static bool put_binary_value(struct substitution *s, struct slice v, uint32_t oid)
{
    uint64_t bits;
    uint32_t bits32;
    double d;
    float f;
    if (oid == PG_INT2 && v.len == 2) {
        write_fmt(s->w, "(%d)", (int16_t)get_u16be(v.ptr));
    } else if (oid == PG_INT4 && v.len == 4) {
        write_fmt(s->w, "(%" PRId32 ")", (int32_t)get_u32be(v.ptr));
    } else if (oid == PG_INT8 && v.len == 8) {
        write_fmt(s->w, "(%" PRId64 ")", (int64_t)get_u64be(v.ptr));
    } else if (oid == PG_FLOAT8 && v.len == 8) {
        bits = get_u64be(v.ptr);
        memcpy(&d, &bits, sizeof(d));
        write_fmt(s->w, "CAST('%.17g' AS DOUBLE)", d);
    } else if (oid == PG_FLOAT4 && v.len == 4) {
        bits32 = get_u32be(v.ptr);
        memcpy(&f, &bits32, sizeof(f));
        write_fmt(s->w, "CAST('%.9g' AS DOUBLE)", (double)f);
    } else if (oid == PG_BOOL && v.len == 1) {
        write_fmt(s->w, "%s", v.ptr[0] ? "true" : "false");
    } else if (oid == PG_DATE && v.len == 4) {
        return put_date(s, (int32_t)get_u32be(v.ptr));
    } else if ((oid == PG_TIMESTAMP || oid == PG_TIMESTAMPTZ) && v.len == 8) {
        return put_timestamp(s, (int64_t)get_u64be(v.ptr));
    } else if (oid == PG_INTERVAL && v.len == 16) {
        write_fmt(s->w, "INTERVAL '%" PRId32 " months %" PRId32 " days %" PRId64 " microseconds'",
                  (int32_t)get_u32be(v.ptr + 12), (int32_t)get_u32be(v.ptr + 8), (int64_t)get_u64be(v.ptr));
    } else if (oid == PG_NUMERIC) {
        return put_numeric(s, v);
    } else if (oid == PG_TEXT || oid == PG_VARCHAR || oid == PG_BPCHAR || oid == PG_NAME ||
               oid == PG_UNKNOWN || oid == PG_BYTEA || oid == 0) {
        return put_string(s, v);
    } else {
        return refuse(s, "0A000", "binary parameters of type %u are not supported", oid);
    }
    return true;
}

static bool put_parameter(struct substitution *s, unsigned n)
{
    const struct pg_parameters *p = s->p;
    if (!p->values) {
        write_fmt(s->w, "NULL");
        return true;
    }
    if (n > p->n_values)
        return refuse(s, "08P01", "bind message supplies %zu parameters, but the statement refers to $%u",
                      p->n_values, n);
    const struct pg_value *v = &p->values[n - 1];
    uint32_t oid = n <= p->n_oids ? p->oids[n - 1] : 0;
    if (!v->bytes.ptr)
        write_fmt(s->w, "NULL");
    else
        return v->binary ? put_binary_value(s, v->bytes, oid) : put_text_value(s, v->bytes, oid);
    return true;
}

static bool digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool word_start(uint8_t c)
{
    return c == '_' || c >= 0x80 || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Length of what stands at `p` and is taken over as it is: a quoted thing, a comment, a word, one byte. */
static size_t skip(const uint8_t *p, size_t left)
{
    size_t n = 1;
    if (*p == '\'' || *p == '"') {
        while (n < left && p[n] != *p)
            n++;
        return MIN(n + 1, left);
    }
    if (left > 1 && p[0] == '-' && p[1] == '-') {
        while (n < left && p[n] != '\n')
            n++;
        return n;
    }
    if (left > 1 && p[0] == '/' && p[1] == '*') {
        unsigned depth = 1;
        for (n = 2; n < left && depth; n++) {
            if (n + 1 < left && p[n] == '*' && p[n + 1] == '/')
                depth--, n++;
            else if (n + 1 < left && p[n] == '/' && p[n + 1] == '*')
                depth++, n++;
        }
        return n;
    }
    while (word_start(*p) && n < left && (word_start(p[n]) || digit(p[n]) || p[n] == '$'))
        n++;
    return n;
}

bool pg_substitute(struct writer *w, struct slice sql, const struct pg_parameters *p, unsigned *highest,
                   char code[6], struct err *err)
{
    struct substitution s = {.w = w, .p = p, .code = code, .err = err};
    *highest = 0;
    for (size_t i = 0; i < sql.len;) {
        const uint8_t *at = sql.ptr + i;
        size_t left = sql.len - i;
        if (*at == '$' && left > 1 && digit(at[1])) {
            unsigned n = 0;
            for (i++; i < sql.len && digit(sql.ptr[i]) && n < 100000; i++)
                n = n * 10 + (sql.ptr[i] - '0');
            *highest = MAX(*highest, n);
            if (n == 0)
                return refuse(&s, "42P02", "there is no parameter $0");
            if (n > PG_PARAMETERS_MAX)
                return refuse(&s, "54000", "more than %u parameters", PG_PARAMETERS_MAX);
            if (!put_parameter(&s, n))
                return false;
            s.after_limit = false;
            continue;
        }
        /* In E'...' a backslash takes the next character along. */
        size_t n = skip(at, left);
        bool escape = n == 1 && (*at | 32) == 'e' && left > 1 && at[1] == '\'';
        if (escape) {
            for (n = 2; n < left && at[n] != '\''; n++)
                n += at[n] == '\\' && n + 1 < left;
            n = MIN(n + 1, left);
        }
        struct slice part = slice_make(at, n);
        write_slice_raw(w, part);
        if (*at > ' ')
            s.after_limit =
                slice_eq_nocase(part, SLICE_LIT("limit")) || slice_eq_nocase(part, SLICE_LIT("offset"));
        i += n;
    }
    return true;
}

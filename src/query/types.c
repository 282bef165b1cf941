/* Names, parsing and printing of SQL values (query/types.h). */
#include "query/types.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/calendar.h"

#define NS_PER_DAY (INT64_C(86400) * 1000000000)

static const char *const names[SQL_TYPES] = {
    [SQL_NULL] = "Null",
    [SQL_BOOL] = "Boolean",
    [SQL_I32] = "Int32",
    [SQL_I64] = "Int64",
    [SQL_U32] = "UInt32",
    [SQL_U64] = "UInt64",
    [SQL_U64_KEY] = "UInt64",
    [SQL_F64] = "Float64",
    [SQL_DECIMAL20] = "Decimal128(20, 0)",
    [SQL_DECIMAL21] = "Decimal128(21, 0)",
    [SQL_UTF8] = "Utf8",
    [SQL_UTF8_VIEW] = "Utf8View",
    [SQL_LARGE_UTF8] = "LargeUtf8",
    [SQL_BINARY] = "Binary",
    [SQL_LARGE_BINARY] = "LargeBinary",
    [SQL_TIME_MS] = "Timestamp(ms, \"+00:00\")",
    [SQL_TIME_NS] = "Timestamp(ns)",
    [SQL_DATE] = "Date32",
    [SQL_DURATION_MS] = "Duration(ms)",
    [SQL_INTERVAL] = "Interval(MonthDayNano)",
    [SQL_LIST_U32] = "List(UInt32)",
    [SQL_LIST_I64] = "List(Int64)",
    [SQL_LIST_UTF8] = "List(Utf8)",
    [SQL_LIST_LARGE_UTF8] = "List(LargeUtf8)",
};

const char *sql_type_name(enum sql_type t)
{
    ASSERT(t < SQL_TYPES);
    return names[t];
}

bool sql_is_text(enum sql_type t)
{
    return t == SQL_UTF8 || t == SQL_UTF8_VIEW || t == SQL_LARGE_UTF8;
}

bool sql_is_binary(enum sql_type t)
{
    return t == SQL_BINARY || t == SQL_LARGE_BINARY;
}

bool sql_is_integer(enum sql_type t)
{
    return (t >= SQL_I32 && t <= SQL_U64_KEY) || t == SQL_DECIMAL20 || t == SQL_DECIMAL21;
}

bool sql_is_number(enum sql_type t)
{
    return sql_is_integer(t) || t == SQL_F64;
}

bool sql_is_list(enum sql_type t)
{
    return t >= SQL_LIST_U32 && t <= SQL_LIST_LARGE_UTF8;
}

bool sql_is_time(enum sql_type t)
{
    return t == SQL_TIME_MS || t == SQL_TIME_NS || t == SQL_DATE;
}

enum sql_type sql_list_element(enum sql_type list)
{
    switch (list) {
    case SQL_LIST_U32:
        return SQL_U32;
    case SQL_LIST_I64:
        return SQL_I64;
    case SQL_LIST_UTF8:
        return SQL_UTF8;
    default:
        return SQL_LARGE_UTF8;
    }
}

enum sql_type sql_list_of(enum sql_type element)
{
    if (element == SQL_U32)
        return SQL_LIST_U32;
    if (element == SQL_LARGE_UTF8)
        return SQL_LIST_LARGE_UTF8;
    return sql_is_integer(element) ? SQL_LIST_I64 : SQL_LIST_UTF8;
}

/* ---- calendar ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

struct sql_civil sql_civil_of(int64_t time, int64_t per_day)
{
    int64_t days = floor_div(time, per_day);
    struct calendar_date d = calendar_date_of(days);
    return (struct sql_civil){d.year, d.month, d.day, time - days * per_day};
}

static unsigned month_length(int64_t year, unsigned month)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return lengths[month - 1] + (month == 2 && leap);
}

int64_t sql_time_add_months(int64_t time, int64_t per_day, int32_t months)
{
    struct sql_civil c = sql_civil_of(time, per_day);
    int64_t index = c.year * 12 + (c.month - 1) + months;
    int64_t year = floor_div(index, 12);
    unsigned month = (unsigned)(index - year * 12) + 1;
    unsigned day = MIN(c.day, month_length(year, month));
    int64_t out;
    if (__builtin_mul_overflow(calendar_days(year, month, day), per_day, &out) ||
        __builtin_add_overflow(out, c.rest, &out))
        return time;
    return out;
}

/* ---- reading ---- */

static bool digits(struct reader *r, unsigned min, unsigned max, int64_t *out)
{
    unsigned n = 0;
    for (*out = 0; n < max && r->p < r->end && *r->p >= '0' && *r->p <= '9'; n++)
        *out = *out * 10 + (*r->p++ - '0');
    return n >= min;
}

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != (uint8_t)c)
        return false;
    r->p++;
    return true;
}

static bool read_date(struct reader *r, int64_t *days)
{
    int64_t year, month, day;
    if (!digits(r, 4, 4, &year) || !take(r, '-') || !digits(r, 1, 2, &month) || !take(r, '-') ||
        !digits(r, 1, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > month_length(year, (unsigned)month))
        return false;
    *days = calendar_days(year, (unsigned)month, (unsigned)day);
    return true;
}

static bool read_offset(struct reader *r, int64_t *seconds)
{
    *seconds = 0;
    if (r->p == r->end || take(r, 'Z') || take(r, 'z'))
        return true;
    bool negative = *r->p == '-';
    if (!take(r, '+') && !take(r, '-'))
        return false;
    int64_t hours, minutes = 0;
    if (!digits(r, 2, 2, &hours))
        return false;
    take(r, ':');
    if (r->p < r->end && !digits(r, 2, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (negative ? -1 : 1);
    return true;
}

static bool read_fraction(struct reader *r, int64_t *ns)
{
    *ns = 0;
    if (!take(r, '.'))
        return true;
    int64_t unit = 100000000;
    const uint8_t *from = r->p;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++, unit /= 10)
        *ns += (*r->p - '0') * unit;
    return r->p > from && r->p - from <= 9;
}

static struct slice trimmed(struct slice s)
{
    while (s.len && s.ptr[0] == ' ')
        s = slice_sub(s, 1, s.len - 1);
    while (s.len && s.ptr[s.len - 1] == ' ')
        s.len--;
    return s;
}

bool sql_time_parse(struct slice text, int64_t *out_ns)
{
    struct reader r = reader_make(trimmed(text));
    int64_t days, hour = 0, minute = 0, second = 0, ns = 0, offset = 0;
    if (!read_date(&r, &days))
        return false;
    if (r.p < r.end) {
        if (!take(&r, 'T') && !take(&r, 't') && !take(&r, ' '))
            return false;
        if (!digits(&r, 2, 2, &hour) || !take(&r, ':') || !digits(&r, 2, 2, &minute))
            return false;
        if (take(&r, ':') && (!digits(&r, 2, 2, &second) || !read_fraction(&r, &ns)))
            return false;
        if (hour > 23 || minute > 59 || second > 59 || !read_offset(&r, &offset) || r.p != r.end)
            return false;
    }
    int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset;
    return !__builtin_mul_overflow(seconds, INT64_C(1000000000), out_ns) &&
           !__builtin_add_overflow(*out_ns, ns, out_ns);
}

bool sql_date_parse(struct slice text, int32_t *out_days)
{
    struct reader r = reader_make(trimmed(text));
    int64_t days;
    if (!read_date(&r, &days) || r.p != r.end)
        return false;
    *out_days = (int32_t)days;
    return true;
}

struct unit {
    const char *name;
    int32_t months, days;
    int64_t ns;
};
static const struct unit units[] = {
    {"century", 1200, 0, 0},
    {"centuries", 1200, 0, 0},
    {"decade", 120, 0, 0},
    {"decades", 120, 0, 0},
    {"year", 12, 0, 0},
    {"years", 12, 0, 0},
    {"y", 12, 0, 0},
    {"month", 1, 0, 0},
    {"months", 1, 0, 0},
    {"mon", 1, 0, 0},
    {"mons", 1, 0, 0},
    {"week", 0, 7, 0},
    {"weeks", 0, 7, 0},
    {"w", 0, 7, 0},
    {"day", 0, 1, 0},
    {"days", 0, 1, 0},
    {"d", 0, 1, 0},
    {"hour", 0, 0, INT64_C(3600000000000)},
    {"hours", 0, 0, INT64_C(3600000000000)},
    {"h", 0, 0, INT64_C(3600000000000)},
    {"minute", 0, 0, INT64_C(60000000000)},
    {"minutes", 0, 0, INT64_C(60000000000)},
    {"min", 0, 0, INT64_C(60000000000)},
    {"mins", 0, 0, INT64_C(60000000000)},
    {"m", 0, 0, INT64_C(60000000000)},
    {"second", 0, 0, 1000000000},
    {"seconds", 0, 0, 1000000000},
    {"sec", 0, 0, 1000000000},
    {"secs", 0, 0, 1000000000},
    {"s", 0, 0, 1000000000},
    {"millisecond", 0, 0, 1000000},
    {"milliseconds", 0, 0, 1000000},
    {"ms", 0, 0, 1000000},
    {"microsecond", 0, 0, 1000},
    {"microseconds", 0, 0, 1000},
    {"us", 0, 0, 1000},
    {"nanosecond", 0, 0, 1},
    {"nanoseconds", 0, 0, 1},
    {"ns", 0, 0, 1},
};

static const struct unit *unit_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcasecmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

/* value * unit, where fractions of months and days flow down. */
static bool interval_add(struct sql_interval *v, double value, const struct unit *u)
{
    double months = value * u->months, whole_months = trunc(months);
    double days = value * u->days + (months - whole_months) * 30, whole_days = trunc(days);
    double ns = value * (double)u->ns + (days - whole_days) * (double)NS_PER_DAY;
    if (fabs(whole_months) > 1e8 || fabs(whole_days) > 1e9 || fabs(ns) > 9e18)
        return false;
    v->months += (int32_t)whole_months;
    v->days += (int32_t)whole_days;
    return !__builtin_add_overflow(v->ns, llround(ns), &v->ns) && abs(v->months) < 100000000 &&
           abs(v->days) < 1000000000;
}

bool sql_interval_parse(struct slice text, const char *default_unit, struct sql_interval *out)
{
    *out = (struct sql_interval){0};
    char copy[128];
    text = trimmed(text);
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    for (char *p = copy; *p;) {
        if (!strchr("+-.0123456789", *p))
            return false;
        char *end, word[32];
        double value = strtod(p, &end);
        if (end == p || !isfinite(value))
            return false;
        p = end + strspn(end, " ");
        size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n >= sizeof(word))
            return false;
        memcpy(word, p, n);
        word[n] = '\0';
        const struct unit *u = unit_find(n ? word : default_unit ? default_unit : "second");
        if (!u || !interval_add(out, value, u))
            return false;
        p += n;
        p += strspn(p, " ");
    }
    return true;
}

void sql_interval_put(uint8_t out[SQL_INTERVAL_BYTES], struct sql_interval v)
{
    put_u32le(out, (uint32_t)v.months);
    put_u32le(out + 4, (uint32_t)v.days);
    put_u64le(out + 8, (uint64_t)v.ns);
}

bool sql_interval_get(struct slice blob, struct sql_interval *out)
{
    if (blob.len != SQL_INTERVAL_BYTES)
        return false;
    *out = (struct sql_interval){(int32_t)get_u32le(blob.ptr), (int32_t)get_u32le(blob.ptr + 4),
                                 (int64_t)get_u64le(blob.ptr + 8)};
    return true;
}

/* ---- printing ---- */

static void civil_write(struct writer *w, const struct sql_civil *c)
{
    if (c->year > 9999)
        write_u8(w, '+');
    write_fmt(w, c->year < 0 ? "-%04lld-%02u-%02u" : "%04lld-%02u-%02u",
              (long long)(c->year < 0 ? -c->year : c->year), c->month, c->day);
}

/* Fraction digits in groups of three, as few as are needed. */
static void clock_write(struct writer *w, int64_t ns_of_day)
{
    int64_t seconds = ns_of_day / 1000000000, ns = ns_of_day % 1000000000;
    write_fmt(w, "T%02d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (ns % 1000)
        write_fmt(w, ".%09d", (int)ns);
    else if (ns % 1000000)
        write_fmt(w, ".%06d", (int)(ns / 1000));
    else if (ns)
        write_fmt(w, ".%03d", (int)(ns / 1000000));
}

void sql_time_ms_write(struct writer *w, int64_t ms)
{
    struct sql_civil c = sql_civil_of(ms, 86400000);
    civil_write(w, &c);
    clock_write(w, c.rest * 1000000);
    write_u8(w, 'Z');
}

void sql_time_ns_write(struct writer *w, int64_t ns)
{
    struct sql_civil c = sql_civil_of(ns, NS_PER_DAY);
    civil_write(w, &c);
    clock_write(w, c.rest);
}

void sql_date_write(struct writer *w, int64_t days)
{
    struct sql_civil c = sql_civil_of(days, 1);
    civil_write(w, &c);
}

void sql_duration_write(struct writer *w, int64_t ms)
{
    if (ms == 0) {
        write_slice_raw(w, SLICE_LIT("P0D"));
        return;
    }
    uint64_t v = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    write_fmt(w, "%sPT%llu", ms < 0 ? "-" : "", (unsigned long long)(v / 1000));
    unsigned fraction = (unsigned)(v % 1000);
    if (fraction) {
        char text[8];
        snprintf(text, sizeof(text), ".%03u", fraction);
        size_t n = strlen(text);
        while (text[n - 1] == '0')
            n--;
        write_raw(w, text, n);
    }
    write_u8(w, 'S');
}

void sql_interval_write(struct writer *w, struct sql_interval v)
{
    size_t start = w->len;
    if (v.months)
        write_fmt(w, "%d mons", v.months);
    if (v.days)
        write_fmt(w, "%s%d days", w->len > start ? " " : "", v.days);
    int64_t seconds = v.ns / 1000000000, rest = v.ns % 1000000000;
    if (seconds / 3600)
        write_fmt(w, "%s%lld hours", w->len > start ? " " : "", (long long)(seconds / 3600));
    if (seconds / 60 % 60)
        write_fmt(w, "%s%d mins", w->len > start ? " " : "", (int)(seconds / 60 % 60));
    if (seconds % 60 || rest) {
        bool negative = seconds % 60 < 0 || rest < 0;
        write_fmt(w, "%s%s%d.%09d secs", w->len > start ? " " : "", negative ? "-" : "",
                  abs((int)(seconds % 60)), abs((int)rest));
    }
    if (w->len == start)
        write_slice_raw(w, SLICE_LIT("0 secs"));
}

/* Shortest digits that read back equal (seventeen always do), written plainly from 1e-5 to below ten to the
 * power of `plain_below`, else with an exponent. */
static void write_float(struct writer *w, double v, int plain_below, bool always_decimals)
{
    char text[40];
    if (!isfinite(v)) {
        write_slice_raw(w, isnan(v) ? SLICE_LIT("NaN") : v > 0 ? SLICE_LIT("inf") : SLICE_LIT("-inf"));
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    char *e = strchr(text, 'e');
    int exponent = atoi(e + 1);
    if (v == 0 || (exponent >= -5 && exponent < plain_below)) {
        size_t mantissa = (size_t)(e - text) - (text[0] == '-');
        int decimals = (mantissa > 1 ? (int)mantissa - 2 : 0) - exponent;
        snprintf(text, sizeof(text), "%.*f", MAX(decimals, 1), v);
        write_slice_raw(w, slice_cstr(text));
        return;
    }
    *e = '\0';
    write_fmt(w, "%s%se%d", text, strchr(text, '.') || !always_decimals ? "" : ".0", exponent);
}

void sql_float_write(struct writer *w, double v)
{
    write_float(w, v, 16, false);
}

void sql_float_json(struct writer *w, double v)
{
    write_float(w, v, 10, true);
}

/* Registration, helpers, conversions, numbers and times (query/functions.h). */
#include "query/functions.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "query/values.h"

/* ---- helpers ---- */

struct slice value_text(sqlite3_value *v)
{
    const void *p = sqlite3_value_type(v) == SQLITE_BLOB ? sqlite3_value_blob(v) : sqlite3_value_text(v);
    return p ? slice_make(p, (size_t)sqlite3_value_bytes(v)) : SLICE_LIT("");
}

void result_slice(sqlite3_context *c, struct slice s)
{
    sqlite3_result_text64(c, s.len ? (const char *)s.ptr : "", s.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

void result_writer(sqlite3_context *c, struct writer *w)
{
    result_slice(c, writer_slice(w));
    writer_free(w);
}

void result_error(sqlite3_context *c, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sqlite3_result_error(c, text, -1);
}

bool any_null(int n, sqlite3_value **v)
{
    for (int i = 0; i < n; i++)
        if (sqlite3_value_type(v[i]) == SQLITE_NULL)
            return true;
    return false;
}

/* ---- conversions ---- */

static struct sql_value value_get(sqlite3_value *v)
{
    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
        return (struct sql_value){.kind = VALUE_INT, .integer = sqlite3_value_int64(v)};
    case SQLITE_FLOAT:
        return (struct sql_value){.kind = VALUE_REAL, .real = sqlite3_value_double(v)};
    case SQLITE_TEXT:
        return (struct sql_value){.kind = VALUE_TEXT, .bytes = value_text(v)};
    case SQLITE_BLOB:
        return (struct sql_value){.kind = VALUE_BLOB, .bytes = value_text(v)};
    default:
        return (struct sql_value){.kind = VALUE_NULL};
    }
}

static void result_value(sqlite3_context *c, const struct sql_value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        break;
    case VALUE_INT:
        sqlite3_result_int64(c, v->integer);
        break;
    case VALUE_REAL:
        sqlite3_result_double(c, v->real);
        break;
    case VALUE_TEXT:
        result_slice(c, v->bytes);
        break;
    case VALUE_BLOB:
        sqlite3_result_blob64(c, v->bytes.len ? (const void *)v->bytes.ptr : "", v->bytes.len,
                              SQLITE_TRANSIENT);
        break;
    }
}

static void run_conv(sqlite3_context *c, sqlite3_value **v, bool try)
{
    struct sql_value x = value_get(v[0]);
    int from = sqlite3_value_int(v[1]), to = sqlite3_value_int(v[2]);
    ASSERT(from >= 0 && from < SQL_TYPES && to >= 0 && to < SQL_TYPES);
    if (x.kind == VALUE_INT && from == SQL_F64) /* SQLite keeps whole reals as integers here and there */
        x = (struct sql_value){.kind = VALUE_REAL, .real = (double)x.integer};
    struct writer scratch = WRITER_INIT;
    char reason[400];
    if (sql_convert(&x, (enum sql_type)from, (enum sql_type)to, &scratch, reason, sizeof(reason)))
        result_value(c, &x);
    else if (!try)
        sqlite3_result_error(c, reason, -1);
    writer_free(&scratch);
}

static void sql_conv(sqlite3_context *c, int n, sqlite3_value **v)
{
    run_conv(c, v, false);
}

static void sql_try_conv(sqlite3_context *c, int n, sqlite3_value **v)
{
    run_conv(c, v, true);
}

/* ---- numbers ---- */

static bool divisor_ok(sqlite3_context *c, int64_t divisor)
{
    if (divisor == 0)
        sqlite3_result_error(c, "Arrow error: Divide by zero error", -1);
    return divisor != 0;
}

#define WRAPPING(name, op)                                                                                   \
    static void name(sqlite3_context *c, int n, sqlite3_value **v)                                           \
    {                                                                                                        \
        if (!any_null(n, v))                                                                                 \
            sqlite3_result_int64(c, (sqlite3_int64)((uint64_t)sqlite3_value_int64(v[0]) op(uint64_t)         \
                                                        sqlite3_value_int64(v[1])));                         \
    }
WRAPPING(sql_add, +)
WRAPPING(sql_sub, -)
WRAPPING(sql_mul, *)

static void sql_div(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    int64_t a = sqlite3_value_int64(v[0]), b = sqlite3_value_int64(v[1]);
    if (divisor_ok(c, b))
        sqlite3_result_int64(c, b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b);
}

static void sql_mod(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    int64_t a = sqlite3_value_int64(v[0]), b = sqlite3_value_int64(v[1]);
    if (divisor_ok(c, b))
        sqlite3_result_int64(c, b == -1 ? 0 : a % b);
}

/* In floats; whole numbers (the third argument) know no infinity. */
static void sql_quotient(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    double a = sqlite3_value_double(v[0]), b = sqlite3_value_double(v[1]);
    if (b == 0 && sqlite3_value_int(v[2]))
        divisor_ok(c, 0);
    else
        sqlite3_result_double(c, a / b);
}

static void sql_fmod(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_double(c, fmod(sqlite3_value_double(v[0]), sqlite3_value_double(v[1])));
}

static void sql_floor_div(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    int64_t a = sqlite3_value_int64(v[0]), b = sqlite3_value_int64(v[1]);
    sqlite3_result_int64(c, a / b - (a % b < 0));
}

static void sql_round(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    double x = sqlite3_value_double(v[0]);
    int digits = n > 1 ? sqlite3_value_int(v[1]) : 0;
    double scale = pow(10, MIN(MAX(digits, -300), 300));
    double scaled = x * scale;
    sqlite3_result_double(c, isfinite(scaled) ? round(scaled) / scale : x);
}

#define REAL_FUNCTION(name, call)                                                                            \
    static void sql_##name(sqlite3_context *c, int n, sqlite3_value **v)                                     \
    {                                                                                                        \
        if (!any_null(n, v))                                                                                 \
            sqlite3_result_double(c, call(sqlite3_value_double(v[0])));                                      \
    }
REAL_FUNCTION(floor, floor)
REAL_FUNCTION(ceil, ceil)
REAL_FUNCTION(trunc, trunc)
REAL_FUNCTION(sqrt, sqrt)
REAL_FUNCTION(exp, exp)
REAL_FUNCTION(ln, log)
REAL_FUNCTION(log10, log10)
REAL_FUNCTION(log2, log2)

static void sql_power(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_double(c, pow(sqlite3_value_double(v[0]), sqlite3_value_double(v[1])));
}

int value_compare(sqlite3_value *a, sqlite3_value *b)
{
    int ta = sqlite3_value_type(a), tb = sqlite3_value_type(b);
    if (ta == SQLITE_INTEGER && tb == SQLITE_INTEGER) {
        int64_t x = sqlite3_value_int64(a), y = sqlite3_value_int64(b);
        return x < y ? -1 : x > y;
    }
    if (ta <= SQLITE_FLOAT && tb <= SQLITE_FLOAT) {
        double x = sqlite3_value_double(a), y = sqlite3_value_double(b);
        return x < y ? -1 : x > y;
    }
    return slice_cmp(value_text(a), value_text(b));
}

static void extreme(sqlite3_context *c, int n, sqlite3_value **v, int sign)
{
    sqlite3_value *best = NULL;
    for (int i = 0; i < n; i++)
        if (sqlite3_value_type(v[i]) != SQLITE_NULL && (!best || sign * value_compare(v[i], best) > 0))
            best = v[i];
    if (best)
        sqlite3_result_value(c, best);
}

static void sql_greatest(sqlite3_context *c, int n, sqlite3_value **v)
{
    extreme(c, n, v, 1);
}

static void sql_least(sqlite3_context *c, int n, sqlite3_value **v)
{
    extreme(c, n, v, -1);
}

const struct function_entry number_functions[] = {
    {"sql_conv", 3, sql_conv},
    {"sql_try_conv", 3, sql_try_conv},
    {"sql_add", 2, sql_add},
    {"sql_sub", 2, sql_sub},
    {"sql_mul", 2, sql_mul},
    {"sql_div", 2, sql_div},
    {"sql_mod", 2, sql_mod},
    {"sql_quotient", 3, sql_quotient},
    {"sql_fmod", 2, sql_fmod},
    {"sql_floor_div", 2, sql_floor_div},
    {"sql_round", -1, sql_round},
    {"sql_floor", 1, sql_floor},
    {"sql_ceil", 1, sql_ceil},
    {"sql_trunc", 1, sql_trunc},
    {"sql_sqrt", 1, sql_sqrt},
    {"sql_exp", 1, sql_exp},
    {"sql_ln", 1, sql_ln},
    {"sql_log10", 1, sql_log10},
    {"sql_log2", 1, sql_log2},
    {"sql_power", 2, sql_power},
    {"sql_greatest", -1, sql_greatest},
    {"sql_least", -1, sql_least},
    {NULL, 0, NULL},
};

/* ---- times: integers, with the number of their units per second or day as last argument ---- */

static void sql_date_bin(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    int64_t stride = sqlite3_value_int64(v[0]), time = sqlite3_value_int64(v[1]);
    int64_t origin = sqlite3_value_int64(v[2]), distance;
    if (stride <= 0 || __builtin_sub_overflow(time, origin, &distance)) {
        result_error(c, "Execution error: DATE_BIN is out of range");
        return;
    }
    int64_t rest = distance % stride;
    sqlite3_result_int64(c, time - (rest < 0 ? rest + stride : rest));
}

static void sql_date_trunc(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice part = value_text(v[0]);
    int64_t time = sqlite3_value_int64(v[1]), second = sqlite3_value_int64(v[2]), day = 86400 * second;
    struct sql_civil d = sql_civil_of(time, day);
    unsigned month = d.month;
    int64_t days = calendar_days(d.year, month, d.day), out;
    if (slice_eq_nocase(part, SLICE_LIT("year")))
        out = calendar_days(d.year, 1, 1) * day;
    else if (slice_eq_nocase(part, SLICE_LIT("quarter")))
        out = calendar_days(d.year, month - (month - 1) % 3, 1) * day;
    else if (slice_eq_nocase(part, SLICE_LIT("month")))
        out = calendar_days(d.year, month, 1) * day;
    else if (slice_eq_nocase(part, SLICE_LIT("week")))
        out = (days - ((days + 3) % 7 + 7) % 7) * day;
    else if (slice_eq_nocase(part, SLICE_LIT("day")))
        out = days * day;
    else if (slice_eq_nocase(part, SLICE_LIT("hour")))
        out = time - d.rest % (3600 * second);
    else if (slice_eq_nocase(part, SLICE_LIT("minute")))
        out = time - d.rest % (60 * second);
    else if (slice_eq_nocase(part, SLICE_LIT("second")))
        out = time - d.rest % second;
    else if (slice_eq_nocase(part, SLICE_LIT("millisecond")))
        out = time - d.rest % (second / 1000);
    else if (slice_eq_nocase(part, SLICE_LIT("microsecond")))
        out = time - d.rest % MAX(second / 1000000, (int64_t)1);
    else {
        result_error(c, "Execution error: Unsupported date_trunc granularity: '%.*s'", SLICE_FMT(part));
        return;
    }
    sqlite3_result_int64(c, out);
}

static bool calendar_part(struct slice part, const struct sql_civil *d, int64_t *out)
{
    int64_t days = calendar_days(d->year, d->month, d->day);
    int64_t weekday = ((days + 4) % 7 + 7) % 7; /* Sunday 0 */
    if (slice_eq_nocase(part, SLICE_LIT("year")))
        *out = d->year;
    else if (slice_eq_nocase(part, SLICE_LIT("quarter")))
        *out = (d->month + 2) / 3;
    else if (slice_eq_nocase(part, SLICE_LIT("month")))
        *out = d->month;
    else if (slice_eq_nocase(part, SLICE_LIT("day")))
        *out = d->day;
    else if (slice_eq_nocase(part, SLICE_LIT("dow")))
        *out = weekday;
    else if (slice_eq_nocase(part, SLICE_LIT("isodow")))
        *out = (weekday + 6) % 7 + 1;
    else if (slice_eq_nocase(part, SLICE_LIT("doy")))
        *out = days - calendar_days(d->year, 1, 1) + 1;
    else if (slice_eq_nocase(part, SLICE_LIT("week"))) { /* ISO: the week of its Thursday */
        struct sql_civil thursday = sql_civil_of(days - (weekday + 6) % 7 + 3, 1);
        *out = (calendar_days(thursday.year, thursday.month, thursday.day) -
                calendar_days(thursday.year, 1, 1)) /
                   7 +
               1;
    } else
        return false;
    return true;
}

static void sql_date_part(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice part = value_text(v[0]);
    int64_t time = sqlite3_value_int64(v[1]), second = sqlite3_value_int64(v[2]), out;
    struct sql_civil d = sql_civil_of(time, 86400 * second);
    if (calendar_part(part, &d, &out))
        sqlite3_result_int64(c, out);
    else if (slice_eq_nocase(part, SLICE_LIT("hour")))
        sqlite3_result_int64(c, d.rest / (3600 * second));
    else if (slice_eq_nocase(part, SLICE_LIT("minute")))
        sqlite3_result_int64(c, d.rest / (60 * second) % 60);
    else if (slice_eq_nocase(part, SLICE_LIT("second")))
        sqlite3_result_int64(c, d.rest / second % 60);
    else if (slice_eq_nocase(part, SLICE_LIT("millisecond")))
        sqlite3_result_int64(c, d.rest % (60 * second) * 1000 / second);
    else if (slice_eq_nocase(part, SLICE_LIT("microsecond")))
        sqlite3_result_int64(c, d.rest % (60 * second) / MAX(second / 1000000, (int64_t)1) *
                                    (second < 1000000 ? 1000000 / second : 1));
    else if (slice_eq_nocase(part, SLICE_LIT("epoch")))
        sqlite3_result_double(c, (double)time / (double)second);
    else
        result_error(c, "Execution error: Date part '%.*s' not supported", SLICE_FMT(part));
}

static void sql_duration_part(sqlite3_context *c, int n, sqlite3_value **v)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"week", 604800000}, {"day", 86400000}, {"hour", 3600000},
                 {"minute", 60000},   {"second", 1000},  {"millisecond", 1}};
    if (any_null(n, v))
        return;
    struct slice part = value_text(v[0]);
    int64_t ms = sqlite3_value_int64(v[1]);
    if (slice_eq_nocase(part, SLICE_LIT("epoch"))) {
        sqlite3_result_double(c, (double)ms / 1000);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_eq_nocase(part, slice_cstr(units[i].name))) {
            int64_t whole = ms / units[i].ms;
            if (whole < INT32_MIN || whole > INT32_MAX)
                result_error(c, "Execution error: Date part '%.*s' is out of range", SLICE_FMT(part));
            else
                sqlite3_result_int64(c, whole);
            return;
        }
    }
    result_error(c, "Arrow error: Compute error: %.*s does not support: Duration(ms)", SLICE_FMT(part));
}

static void sql_add_months(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_int64(c, sql_time_add_months(sqlite3_value_int64(v[0]), sqlite3_value_int64(v[1]),
                                                    sqlite3_value_int(v[2])));
}

const struct function_entry time_functions[] = {
    {"sql_date_bin", 3, sql_date_bin},     {"sql_date_trunc", 3, sql_date_trunc},
    {"sql_date_part", 3, sql_date_part},   {"sql_duration_part", 2, sql_duration_part},
    {"sql_add_months", 3, sql_add_months}, {NULL, 0, NULL},
};

/* ---- registration ---- */

bool functions_register(sqlite3 *db)
{
    const struct function_entry *tables[] = {text_functions, time_functions, number_functions,
                                             json_functions};
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (const struct function_entry *f = tables[t]; f->name; f++)
            if (sqlite3_create_function_v2(db, f->name, f->args, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                           f->run, NULL, NULL, NULL) != SQLITE_OK)
                return false;
    for (const struct aggregate_entry *a = aggregates; a->name; a++)
        if (sqlite3_create_function_v2(db, a->name, a->args, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, NULL,
                                       a->step, a->final, NULL) != SQLITE_OK)
            return false;
    return true;
}

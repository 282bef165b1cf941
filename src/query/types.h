/* The types of SQL values (spec/sql.md §2): what the reference calls them, how they travel through SQLite.
 *
 * SQLite knows integers, reals, texts and blobs only; the translator (bind.h) knows the type of every
 * expression and the writers (result.h) turn the four back. Inside SQLite
 *   booleans are 0 and 1; times and durations are integers in the unit of their type; intervals are blobs of
 *   16 bytes; lists are JSON arrays as text; SQL_U64_KEY is an unsigned integer minus 2^63, so that its order
 *   is right (partition keys and literals above 2^63-1). Decimals are integers (scale 0 only). */
#pragma once
#include "base/codec.h"

enum sql_type {
    SQL_NULL,
    SQL_BOOL,
    SQL_I32,
    SQL_I64,
    SQL_U32,
    SQL_U64,
    SQL_U64_KEY,
    SQL_F64,
    SQL_DECIMAL20, /* Decimal128(20, 0) */
    SQL_DECIMAL21, /* Decimal128(21, 0) */
    SQL_UTF8,
    SQL_UTF8_VIEW,
    SQL_LARGE_UTF8,
    SQL_BINARY,
    SQL_LARGE_BINARY,
    SQL_TIME_MS, /* Timestamp(ms, "+00:00") */
    SQL_TIME_NS, /* Timestamp(ns) without zone */
    SQL_DATE,
    SQL_DURATION_MS,
    SQL_INTERVAL,
    SQL_LIST_U32,
    SQL_LIST_I64,
    SQL_LIST_UTF8,
    SQL_LIST_LARGE_UTF8,
    SQL_TYPES
};

const char *sql_type_name(enum sql_type t); /* as `DESCRIBE` prints it */
bool sql_is_text(enum sql_type t);
bool sql_is_binary(enum sql_type t);
bool sql_is_integer(enum sql_type t); /* also SQL_U64_KEY and decimals */
bool sql_is_number(enum sql_type t);
bool sql_is_list(enum sql_type t);
bool sql_is_time(enum sql_type t); /* SQL_TIME_MS, SQL_TIME_NS, SQL_DATE */
enum sql_type sql_list_element(enum sql_type list);
/* The list of this element type; SQL_LIST_LARGE_UTF8 for what has none of its own. */
enum sql_type sql_list_of(enum sql_type element);

static inline int64_t u64_to_key(uint64_t v)
{
    return (int64_t)(v ^ (UINT64_C(1) << 63));
}
static inline uint64_t u64_from_key(int64_t k)
{
    return (uint64_t)k ^ (UINT64_C(1) << 63);
}

#define SQL_INTERVAL_BYTES 16
struct sql_interval {
    int32_t months, days;
    int64_t ns;
};
void sql_interval_put(uint8_t out[SQL_INTERVAL_BYTES], struct sql_interval v);
bool sql_interval_get(struct slice blob, struct sql_interval *out);
/* '1 day 2 hours', '90 mins'; a bare number counts `default_unit` (NULL: seconds). */
bool sql_interval_parse(struct slice text, const char *default_unit, struct sql_interval *out);

/* Timestamps as literals (spec/sql.md §11.2 item 4): date, then optionally a time with up to nine digits of
 * fraction and an offset. Nanoseconds since the epoch; false if malformed or out of range. */
bool sql_time_parse(struct slice text, int64_t *out_ns);
bool sql_date_parse(struct slice text, int32_t *out_days);
/* Add months (clamped to the length of the month). */
int64_t sql_time_add_months(int64_t time, int64_t per_day, int32_t months);
struct sql_civil {
    int64_t year;
    unsigned month, day; /* 1.. */
    int64_t rest;        /* since midnight, unit of the time */
};
struct sql_civil sql_civil_of(int64_t time, int64_t per_day);

/* Text of one value as in JSON results (spec/sql.md §2.1), without quotes. */
void sql_time_ms_write(struct writer *w, int64_t ms);
void sql_time_ns_write(struct writer *w, int64_t ns);
void sql_date_write(struct writer *w, int64_t days);
void sql_duration_write(struct writer *w, int64_t ms);
void sql_interval_write(struct writer *w, struct sql_interval v);
void sql_float_write(struct writer *w, double v); /* as a cast to text: 1e16; also "NaN", "inf", "-inf" */
void sql_float_json(struct writer *w, double v);  /* 1.0e10 */

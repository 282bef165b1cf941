/* Clocks and calendar text (base/time.h). Durations and byte sizes are in units.c. */
#include "base/time.h"

#include <time.h>

#include "base/calendar.h"
#include "base/codec.h"

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    ASSERT(rc == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t os_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

uint64_t os_wall_us(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000;
}

uint64_t os_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void time_format_rfc3339(struct writer *w, uint64_t wall_us, int fraction_digits, const char *zone_suffix)
{
    uint64_t s = wall_us / 1000000, us = wall_us % 1000000;
    struct calendar_date c = calendar_date_of((int64_t)(s / 86400));
    unsigned t = (unsigned)(s % 86400);
    write_fmt(w, "%04llu-%02u-%02uT%02u:%02u:%02u", (unsigned long long)c.year, c.month, c.day, t / 3600,
              t / 60 % 60, t % 60);
    if (fraction_digits == 3)
        write_fmt(w, ".%03u", (unsigned)(us / 1000));
    else if (fraction_digits == 6)
        write_fmt(w, ".%06u", (unsigned)us);
    else if (fraction_digits == 9)
        write_fmt(w, ".%06u000", (unsigned)us);
    else
        ASSERT(fraction_digits == 0);
    write_raw(w, zone_suffix, strlen(zone_suffix));
}

static char *put_digits(char *out, unsigned v, int width)
{
    for (int i = width; i-- > 0; v /= 10)
        out[i] = (char)('0' + v % 10);
    return out + width;
}

void time_format_http(char out[30], uint64_t wall_s)
{
    struct calendar_date c = calendar_date_of((int64_t)(wall_s / 86400));
    unsigned t = (unsigned)(wall_s % 86400);
    memcpy(out, day_names[(wall_s / 86400 + 4) % 7], 3);
    memcpy(out + 3, ", ", 2);
    put_digits(out + 5, c.day, 2);
    out[7] = ' ';
    memcpy(out + 8, month_names[c.month - 1], 3);
    out[11] = ' ';
    put_digits(out + 12, (unsigned)(c.year % 10000), 4);
    out[16] = ' ';
    put_digits(out + 17, t / 3600, 2);
    out[19] = ':';
    put_digits(out + 20, t / 60 % 60, 2);
    out[22] = ':';
    put_digits(out + 23, t % 60, 2);
    memcpy(out + 25, " GMT", 5);
}

/* ---- parsing of RFC 2822 / HTTP dates ---- */

static bool skip_blanks(struct reader *r)
{
    const uint8_t *from = r->p;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
    return r->p > from;
}

static bool take_char(struct reader *r, uint8_t c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool take_number(struct reader *r, size_t min_digits, size_t max_digits, unsigned *out)
{
    unsigned v = 0;
    size_t n = 0;
    while (n < max_digits && r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        v = v * 10 + (unsigned)(*r->p++ - '0');
        n++;
    }
    *out = v;
    return n >= min_digits;
}

/* One of `count` three-letter names, any case. */
static bool take_name(struct reader *r, const char (*names)[4], unsigned count, unsigned *out)
{
    if (reader_left(r) < 3)
        return false;
    struct slice word = slice_make(r->p, 3);
    for (unsigned i = 0; i < count; i++) {
        if (slice_eq_nocase(word, slice_make(names[i], 3))) {
            r->p += 3;
            *out = i;
            return true;
        }
    }
    return false;
}

static bool take_zone(struct reader *r, int64_t *offset_s)
{
    static const char *const utc_names[] = {"GMT", "UTC", "UT", "Z"};
    *offset_s = 0;
    if (reader_left(r) > 0 && (*r->p == '+' || *r->p == '-')) {
        bool negative = *r->p++ == '-';
        unsigned hours, minutes;
        if (!take_number(r, 2, 2, &hours) || !take_number(r, 2, 2, &minutes) || minutes > 59)
            return false;
        int64_t s = (int64_t)hours * 3600 + (int64_t)minutes * 60;
        *offset_s = negative ? -s : s;
        return true;
    }
    struct slice rest = slice_make(r->p, reader_left(r));
    for (size_t i = 0; i < ARRAY_LEN(utc_names); i++) {
        if (slice_eq_nocase(rest, slice_cstr(utc_names[i]))) {
            r->p = r->end;
            return true;
        }
    }
    return false;
}

bool time_parse_http(struct slice text, uint64_t *out_s)
{
    struct reader r = reader_make(text);
    unsigned weekday, day, month, year, hour, minute, second = 0;
    int64_t offset_s;
    skip_blanks(&r);
    if (take_name(&r, day_names, 7, &weekday) && !take_char(&r, ','))
        return false;
    skip_blanks(&r);
    if (!take_number(&r, 1, 2, &day) || !skip_blanks(&r) || !take_name(&r, month_names, 12, &month) ||
        !skip_blanks(&r) || !take_number(&r, 4, 4, &year) || !skip_blanks(&r))
        return false;
    if (!take_number(&r, 2, 2, &hour) || !take_char(&r, ':') || !take_number(&r, 2, 2, &minute))
        return false;
    if (take_char(&r, ':') && !take_number(&r, 2, 2, &second))
        return false;
    while (r.end > r.p && (r.end[-1] == ' ' || r.end[-1] == '\t'))
        r.end--;
    if (!skip_blanks(&r) || !take_zone(&r, &offset_s) || r.p != r.end)
        return false;
    static const unsigned month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day < 1 || day > month_days[month] + (month == 1 && leap) || hour > 23 || minute > 59 || second > 60)
        return false;
    int64_t s = calendar_days(year, month + 1, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    if (s < 0)
        return false;
    *out_s = (uint64_t)s;
    return true;
}

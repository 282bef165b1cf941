/* Times and durations for people: see times.h. */
#include "tool/times.h"

#include <stdio.h>
#include <time.h>

#include "base/time.h"

#define MINUTE 60u
#define HOUR   3600u
#define DAY    86400u

void duration_precise(struct writer *w, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *one, *many;
    } units[] = {
        {365ull * DAY * 1000, "year", "years"},
        {30ull * DAY * 1000, "month", "months"},
        {7ull * DAY * 1000, "week", "weeks"},
        {DAY * 1000ull, "day", "days"},
        {HOUR * 1000ull, "hour", "hours"},
        {MINUTE * 1000ull, "minute", "minutes"},
        {1000, "second", "seconds"},
        {1, "ms", "ms"},
    };
    char parts[ARRAY_LEN(units)][40];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t count = ms / units[i].ms;
        ms %= units[i].ms;
        if (count)
            snprintf(parts[n++], sizeof(parts[0]), "%llu %s", (unsigned long long)count,
                     count == 1 ? units[i].one : units[i].many);
    }
    if (n == 0)
        write_fmt(w, "0 seconds");
    for (size_t i = 0; i < n; i++)
        write_fmt(w, "%s%s", i == 0 ? "" : i + 1 == n ? " and " : ", ", parts[i]);
}

void duration_rough(struct writer *w, uint64_t s)
{
    static const struct {
        uint64_t up_to, unit;
        const char *one, *many; /* `one`: instead of a number */
    } steps[] = {
        {10, 1, "now", NULL},
        {45, 1, NULL, "seconds"},
        {90, 1, "a minute", NULL},
        {45 * MINUTE, MINUTE, NULL, "minutes"},
        {90 * MINUTE, 1, "an hour", NULL},
        {22 * HOUR, HOUR, NULL, "hours"},
        {36 * HOUR, 1, "a day", NULL},
        {156 * HOUR, DAY, NULL, "days"},
        {252 * HOUR, 1, "a week", NULL},
        {29 * DAY, 7 * DAY, NULL, "weeks"},
        {45 * DAY, 1, "a month", NULL},
        {345 * DAY, 30 * DAY, NULL, "months"},
        {547 * DAY, 1, "a year", NULL},
        {UINT64_MAX, 365 * DAY, NULL, "years"},
    };
    size_t i = 0;
    while (s > steps[i].up_to)
        i++;
    if (steps[i].one)
        write_fmt(w, "%s", steps[i].one);
    else
        write_fmt(w, "%llu %s", (unsigned long long)MAX(s / steps[i].unit, 2), steps[i].many);
}

void duration_friendly(struct writer *w, uint64_t s)
{
    const uint64_t parts[] = {s / DAY, s % DAY / HOUR, s % HOUR / MINUTE, s % MINUTE};
    const char *sep = "";
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i]) {
            write_fmt(w, "%s%llu%c", sep, (unsigned long long)parts[i], "dhms"[i]);
            sep = " ";
        }
    if (!*sep)
        write_fmt(w, "n/a");
}

void instant_print(struct writer *w, enum time_format format, uint64_t wall_ms)
{
    if (format != TIME_RFC2822) {
        time_format_rfc3339(w, wall_ms * 1000, 3, "+00:00");
        return;
    }
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    write_fmt(w, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
              tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Days and dates of the proleptic Gregorian calendar, years before 1 too. Pure. */
#pragma once
#include <stdint.h>

struct calendar_date {
    int64_t year;
    unsigned month, day; /* 1.. */
};
/* Of days since 1970-01-01. */
struct calendar_date calendar_date_of(int64_t days);
/* The other way; a `day` beyond its month counts on into the next. */
int64_t calendar_days(int64_t year, unsigned month, unsigned day);

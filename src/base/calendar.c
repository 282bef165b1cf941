/* Implementation of base/calendar.h. Years are counted from March, so that the leap day is the last of its
 * year: the months of such a year begin at day (153 m + 2) / 5. An era has 400 years. */
#include "base/calendar.h"

#define DAYS_PER_ERA 146097
#define EPOCH_DAYS   719468 /* from 0000-03-01 to 1970-01-01 */

struct calendar_date calendar_date_of(int64_t days)
{
    days += EPOCH_DAYS;
    int64_t era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    unsigned of_era = (unsigned)(days - era * DAYS_PER_ERA);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / (DAYS_PER_ERA - 1)) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned m = (5 * of_year + 2) / 153;
    struct calendar_date d = {.month = m < 10 ? m + 3 : m - 9, .day = of_year - (153 * m + 2) / 5 + 1};
    d.year = era * 400 + year_of_era + (d.month <= 2);
    return d;
}

int64_t calendar_days(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    return era * DAYS_PER_ERA + of_era - EPOCH_DAYS;
}

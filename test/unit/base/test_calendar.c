/* Days and dates (base/calendar.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/calendar.h"

static void known_days(void **state)
{
    assert_int_equal(calendar_days(1970, 1, 1), 0);
    assert_int_equal(calendar_days(2000, 2, 29), 11016);
    assert_int_equal(calendar_days(2000, 3, 1), 11017);
    assert_int_equal(calendar_days(2026, 11, 29), 20786);
    assert_int_equal(calendar_days(1969, 12, 31), -1);
    assert_int_equal(calendar_days(0, 3, 1), -719468);
    assert_int_equal(calendar_days(2023, 2, 29), calendar_days(2023, 3, 1));
}

/* Every day from the year -1000 to 3000: each is the one before and a day more, and comes back. */
static void days_follow_each_other(void **state)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct calendar_date d = {-1000, 1, 1};
    for (int64_t day = calendar_days(-1000, 1, 1); d.year < 3000; day++) {
        struct calendar_date got = calendar_date_of(day);
        assert_true(got.year == d.year && got.month == d.month && got.day == d.day);
        assert_int_equal(calendar_days(d.year, d.month, d.day), day);
        bool leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
        if (d.day++ == lengths[d.month - 1] + (d.month == 2 && leap ? 1u : 0u)) {
            d.day = 1;
            if (d.month++ == 12) {
                d.month = 1;
                d.year++;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_days),
                                       cmocka_unit_test(days_follow_each_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

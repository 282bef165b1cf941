/* When the thread of a query gives way (query/pace.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/pace.h"

#define MS ((uint64_t)1000000)

static void alone_it_never_rests(void **state)
{
    struct pace p = {0};
    for (uint64_t ms = 1; ms < 100; ms++) {
        assert_true(pace_slice_over(&p, ms * MS));
        assert_int_equal(pace_rest(&p, ms * MS, ms * MS, 3), 0);
    }
    assert_false(pace_slice_over(&p, 99 * MS + MS / 2));
}

/* A slice of 2 ms of which it got 1 ms, preempted: 15 times its work, for a quarter of a second. */
static void preempted_it_works_a_little(void **state)
{
    struct pace p = {0};
    assert_int_equal(pace_rest(&p, 10 * MS, 5 * MS, 0), 0);
    assert_int_equal(pace_rest(&p, 12 * MS, 6 * MS, 1), 15 * MS);
    assert_int_equal(pace_rest(&p, 14 * MS, 8 * MS, 1),
                     30 * MS); /* still polite, though nobody disturbed it */
    assert_int_equal(pace_rest(&p, 24 * MS, 18 * MS, 1), 40 * MS); /* at most so long */
    assert_int_equal(pace_rest(&p, 262 * MS, 20 * MS, 1), 0);
    assert_int_equal(pace_rest(&p, 264 * MS, 21 * MS, 2), 15 * MS);
}

static void what_is_no_preemption(void **state)
{
    struct pace p = {0};
    assert_int_equal(pace_rest(&p, 10 * MS, 5 * MS, 7), 0);  /* of the job before */
    assert_int_equal(pace_rest(&p, 60 * MS, 6 * MS, 7), 0);  /* it waited for a disk or a client */
    assert_int_equal(pace_rest(&p, 70 * MS, 15 * MS, 8), 0); /* a short wake-up of somebody else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_never_rests),
        cmocka_unit_test(preempted_it_works_a_little),
        cmocka_unit_test(what_is_no_preemption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

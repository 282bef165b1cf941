/* The table of spec/cluster.md §6.4: what may be trimmed in which mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "partition/durability.h"

struct row {
    lsn_t durable[3];
    size_t n;
    lsn_t archived;
    lsn_t none, replicas, snapshot, both, balanced;
};

static void the_table(void **state)
{
    static const struct row rows[] = {
        {{0}, 0, 0, 0, 0, 0, 0, 0},
        {{0}, 0, 9, 0, 0, 9, 0, 0}, /* replicas that are not known hold nothing */
        {{7}, 1, 0, 0, 7, 0, 0, 0},
        {{7}, 1, 5, 0, 7, 5, 5, 5},
        {{7}, 1, 9, 0, 7, 9, 7, 7},
        {{7, 3, 12}, 3, 10, 0, 3, 10, 3, 10},
        {{7, 3, 12}, 3, 20, 0, 3, 20, 3, 12},
        {{7, 3, 12}, 3, 2, 0, 3, 2, 2, 2},
        {{7, 0, 12}, 3, 10, 0, 0, 10, 0, 10}, /* one that is silent */
        {{0, 0, 0}, 3, 10, 0, 0, 10, 0, 0},
        {{7, 3, 12}, 3, 0, 0, 3, 0, 0, 0}, /* the repository was swapped: TR-12 */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        const struct {
            enum durability_mode mode;
            lsn_t expected;
        } all[] = {{DURABILITY_NONE, r->none},
                   {DURABILITY_REPLICA_SET_ONLY, r->replicas},
                   {DURABILITY_SNAPSHOT_ONLY, r->snapshot},
                   {DURABILITY_SNAPSHOT_AND_REPLICA_SET, r->both},
                   {DURABILITY_BALANCED, r->balanced}};
        for (size_t m = 0; m < ARRAY_LEN(all); m++)
            assert_int_equal(durability_point(all[m].mode, r->durable, r->n, r->archived), all[m].expected);
    }
}

static void names_and_defaults(void **state)
{
    for (int m = DURABILITY_NONE; m <= DURABILITY_BALANCED; m++) {
        enum durability_mode parsed;
        assert_true(
            durability_mode_parse(slice_cstr(durability_mode_name((enum durability_mode)m)), &parsed));
        assert_int_equal(parsed, m);
    }
    enum durability_mode unused;
    assert_false(durability_mode_parse(SLICE_LIT("Balanced"), &unused));
    assert_false(durability_mode_parse(SLICE_EMPTY, &unused));
    assert_int_equal(durability_mode_default(durability_is_cluster(1, 1)), DURABILITY_REPLICA_SET_ONLY);
    assert_int_equal(durability_mode_default(durability_is_cluster(2, 1)), DURABILITY_BALANCED);
    assert_int_equal(durability_mode_default(durability_is_cluster(1, 2)), DURABILITY_BALANCED);
    assert_true(durability_needs_snapshots(DURABILITY_BALANCED));
    assert_true(durability_needs_snapshots(DURABILITY_SNAPSHOT_ONLY));
    assert_true(durability_needs_snapshots(DURABILITY_SNAPSHOT_AND_REPLICA_SET));
    assert_false(durability_needs_snapshots(DURABILITY_REPLICA_SET_ONLY));
    assert_false(durability_needs_snapshots(DURABILITY_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(names_and_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

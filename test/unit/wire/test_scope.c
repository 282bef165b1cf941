/* Scopes, limit keys and patterns of rules as they are written (spec/ingress.md §5.7, spec/admin-api.md §14).
 * The sentences are those of the live server. */
#include "wire/scope.h"

#include "wire_test.h"

static void limit_keys_have_one_or_two_levels(void **state)
{
    struct slice l1, l2;
    limit_key_split(SLICE_LIT("user"), &l1, &l2);
    assert_true(slice_eq_cstr(l1, "user") && !l2.ptr);
    limit_key_split(SLICE_LIT("user/42/"), &l1, &l2);
    assert_true(slice_eq_cstr(l1, "user") && slice_eq_cstr(l2, "42"));
    limit_key_split(SLICE_EMPTY, &l1, &l2);
    assert_true(!l1.ptr && !l2.ptr);
    assert_true(slice_eq_cstr(limit_key_trim(SLICE_LIT("a/")), "a"));
    assert_null(limit_key_trim(SLICE_LIT("")).ptr);
}

static void patterns(void **state)
{
    static const struct {
        const char *text, *problem;
        size_t levels;
    } cases[] = {
        {"*", NULL, 1},
        {"acme/*", NULL, 2},
        {"acme/t1/u1/", NULL, 3},
        {"*/*/*", NULL, 3},
        {"", "pattern cannot be empty", 0},
        {"/", "pattern cannot be empty", 0},
        {"a/b/c/d", "too many path components (max 3)", 0},
        {"a b", "invalid component: value contains characters outside the allowed set [a-zA-Z0-9_.-]", 0},
        {"a//b", "invalid component: value cannot be empty", 0},
        {"a/**", "invalid component: value contains characters outside the allowed set [a-zA-Z0-9_.-]", 0},
        {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "invalid component: value too long: 37 bytes (max 36)", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice levels[PATTERN_LEVELS];
        char room[128];
        const char *problem = pattern_problem(slice_cstr(cases[i].text), levels, room);
        if (!cases[i].problem != !problem || (problem && strcmp(problem, cases[i].problem) != 0))
            fail_msg("%s: %s", cases[i].text, problem ? problem : "accepted");
        for (size_t k = 0; !problem && k < PATTERN_LEVELS; k++)
            assert_int_equal(levels[k].ptr != NULL, k < cases[i].levels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_keys_have_one_or_two_levels),
        cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

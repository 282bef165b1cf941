/* Versions of states (spec/admin-api.md §9) and times of the admin API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/state_version.h"

static void versions(void **state)
{
    static const struct entry count[] = {{"count", {(const uint8_t *)"7", 1}},
                                         {"last", {(const uint8_t *)"{\"n\":7}", 7}}};
    static const struct entry name[] = {{"name", {(const uint8_t *)"bob", 3}}};
    char v[STATE_VERSION_SIZE];
    state_version(NULL, 0, v);
    assert_string_equal(v, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    state_version(name, 1, v);
    assert_string_equal(v, "tDqA04Lj3_qJ-PgNPTecXDGZgpwy6jm2Ni2BYqJIthM");
    state_version(count, 2, v);
    assert_string_equal(v, "7_yDAmqniFsZP3QJCFmIMMH2xt60O_oTCe6ppl2tTGA");
}

static void instants(void **state)
{
    uint64_t ms = 0;
    assert_true(parse_rfc3339("2026-11-22T17:16:05.645000000Z", &ms) && ms == 1795367765645);
    assert_true(parse_rfc3339("2026-11-22T17:16:05Z", &ms) && ms == 1795367765000);
    assert_true(parse_rfc3339("2026-11-22T18:16:05.5+01:00", &ms) && ms == 1795367765500);
    assert_false(parse_rfc3339("", &ms));
    assert_false(parse_rfc3339("2026-11-22", &ms));
    assert_false(parse_rfc3339("2026-13-22T17:16:05Z", &ms));
    assert_false(parse_rfc3339("2026-11-22T17:16:05", &ms));
}

static void sql_quotes(void **state)
{
    static const struct command root = {.name = "tool", .help = "A tool"};
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    assert_string_equal(sql_text(&t, "it's"), "'it''s'");
    assert_string_equal(sql_text(&t, ""), "''");
    tool_free(&t);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(instants),
        cmocka_unit_test(sql_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

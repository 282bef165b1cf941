/* The rule book: versions, preconditions, all or none, its stored form and what partitions get of it
 * (spec/admin-api.md §14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "metadata/rule_book.h"
#include "wire/command.h"

static struct arena arena;
static struct err err;

static bool change(struct rule_book *b, struct rule_change c, uint64_t now)
{
    bool changed;
    err = (struct err){0};
    enum rc rc = rule_book_change(b, &arena, &c, 1, now, &changed, &err);
    assert_int_equal(rc, RC_OK);
    return changed;
}

static void versions(void **state)
{
    struct rule_book b = {0};
    assert_true(change(&b, (struct rule_change){.pattern = "b", .concurrency = 2}, 10));
    assert_true(change(&b, (struct rule_change){.pattern = "a/*", .description = "x"}, 20));
    assert_int_equal(b.version, 2);
    const struct rule *a = rule_book_find(&b, "a/*"), *r;
    assert_int_equal(a->version, 2);
    assert_ptr_equal(a, &b.rules[0]); /* in order */
    assert_false(change(&b, (struct rule_change){.pattern = "a/*", .description = "x"}, 30));
    assert_int_equal(b.version, 2);
    assert_true(change(&b, (struct rule_change){.pattern = "a/*", .description = "y"}, 40));
    r = rule_book_find(&b, "a/*");
    assert_true(b.version == 3 && r->version == 2 && r->modified_ms == 20);
    assert_true(change(&b, (struct rule_change){.pattern = "a/*", .description = "y", .disabled = true}, 50));
    r = rule_book_find(&b, "a/*");
    assert_true(r->version == 3 && r->modified_ms == 50 && r->disabled);
    assert_true(change(&b, (struct rule_change){.pattern = "b", .remove = true}, 60));
    assert_false(change(&b, (struct rule_change){.pattern = "b", .remove = true}, 60));
    assert_null(rule_book_find(&b, "b"));
    assert_true(change(&b, (struct rule_change){.pattern = "b"}, 70));
    assert_int_equal(rule_book_find(&b, "b")->version, b.version); /* never one it had before */
    arena_free(&arena);
}

static void preconditions_see_what_came_before(void **state)
{
    struct rule_book b = {0};
    bool changed;
    struct rule_change good[] = {
        {.pattern = "a", .concurrency = 1, .precondition = RULE_ABSENT},
        {.pattern = "a", .concurrency = 2, .precondition = RULE_AT_VERSION, .expected_version = 1},
        {.pattern = "a", .remove = true, .precondition = RULE_AT_VERSION, .expected_version = 2},
        {.pattern = "a", .concurrency = 4, .precondition = RULE_ABSENT},
    };
    assert_int_equal(rule_book_change(&b, &arena, good, ARRAY_LEN(good), 1, &changed, &err), RC_OK);
    assert_true(changed && b.version == 1 && b.n_rules == 1 && b.rules[0].concurrency == 4);
    assert_true(good[2].existed && !good[3].existed);

    struct rule_book broken = b;
    struct rule_change bad[] = {{.pattern = "b"},
                                {.pattern = "a", .precondition = RULE_AT_VERSION, .expected_version = 99}};
    assert_int_equal(rule_book_change(&broken, &arena, bad, 2, 1, &changed, &err), RC_CONFLICT);
    assert_string_equal(err.msg,
                        "rule precondition Matches(v99) for pattern a failed (actual version: Some(v1))");
    assert_int_equal(b.n_rules, 1); /* the book that was given is whole */
    struct rule_change none = {.pattern = "c", .precondition = RULE_AT_VERSION, .expected_version = 1};
    broken = b;
    assert_int_equal(rule_book_change(&broken, &arena, &none, 1, 1, &changed, &err), RC_CONFLICT);
    assert_string_equal(err.msg, "rule precondition Matches(v1) for pattern c failed (actual version: None)");
    struct rule_change there = {.pattern = "a", .precondition = RULE_ABSENT};
    broken = b;
    assert_int_equal(rule_book_change(&broken, &arena, &there, 1, 1, &changed, &err), RC_CONFLICT);
    assert_string_equal(err.msg,
                        "rule precondition DoesNotExist for pattern a failed (actual version: Some(v1))");
    arena_free(&arena);
}

static void a_full_book_refuses(void **state)
{
    struct rule_book b = {0};
    struct rule_change *all = arena_array(&arena, struct rule_change, RULES_MAX + 1);
    bool changed;
    for (size_t i = 0; i <= RULES_MAX; i++) {
        char text[16];
        snprintf(text, sizeof(text), "s%zu", i);
        all[i] = (struct rule_change){.pattern = arena_copy_text(&arena, text), .concurrency = 1};
    }
    struct rule_book full = b;
    assert_int_equal(rule_book_change(&full, &arena, all, RULES_MAX, 1, &changed, &err), RC_OK);
    assert_int_equal(rule_book_change(&b, &arena, all, RULES_MAX + 1, 1, &changed, &err), RC_NO_SPACE);
    assert_string_equal(err.msg, "rule book is full (10000 rules)");
    /* and what partitions get of a full one can be read */
    struct writer w = WRITER_INIT;
    struct cmd_rule_book c;
    rule_book_command(&w, &full);
    struct reader r = reader_make(writer_slice(&w));
    assert_true(cmd_rule_book_read(&r, &c) && reader_done(&r));
    assert_int_equal(c.n_rules, RULES_MAX);
    writer_free(&w);
    arena_free(&arena);
}

static void the_stored_form_reads_back(void **state)
{
    struct rule_book b = {0}, again;
    change(&b, (struct rule_change){.pattern = "s/*", .concurrency = UINT32_MAX, .description = "\"quoted\""},
           1795368838130);
    change(&b, (struct rule_change){.pattern = "off", .concurrency = 1, .disabled = true}, 2);
    change(&b, (struct rule_change){.pattern = "free"}, 3);
    struct writer w = WRITER_INIT, w2 = WRITER_INIT;
    rule_book_encode(&w, &b);
    assert_int_equal(rule_book_decode(&arena, writer_slice(&w), &again, &err), RC_OK);
    rule_book_encode(&w2, &again);
    assert_true(slice_eq(writer_slice(&w), writer_slice(&w2)));
    assert_int_equal(again.version, 3);
    assert_string_equal(again.rules[2].description, "\"quoted\"");

    /* partitions need what limits something */
    writer_reset(&w);
    rule_book_command(&w, &b);
    struct cmd_rule_book c;
    struct reader r = reader_make(writer_slice(&w));
    struct slice pattern;
    uint32_t limit;
    assert_true(cmd_rule_book_read(&r, &c) && c.n_rules == 1 && c.version == 3);
    assert_true(cmd_rule_book_next(&c, &pattern, &limit) && slice_eq_cstr(pattern, "s/*") &&
                limit == UINT32_MAX);
    assert_false(cmd_rule_book_next(&c, &pattern, &limit));
    writer_free(&w);
    writer_free(&w2);
    arena_free(&arena);
}

static void damaged_books_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"v\":2,\"version\":1,\"rules\":[]}",
        "{\"v\":1,\"version\":-1,\"rules\":[]}",
        "{\"v\":1,\"version\":1,\"rules\":[{\"pattern\":\"a b\"}]}",
        "{\"v\":1,\"version\":1,\"rules\":[{\"pattern\":\"b\"},{\"pattern\":\"a\"}]}",
        "{\"v\":1,\"version\":1,\"rules\":[{\"pattern\":\"a\"},{\"pattern\":\"a\"}]}",
        "{\"v\":1,\"version\":1,\"rules\":[{\"pattern\":\"a\",\"concurrency\":4294967296}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct rule_book b;
        if (rule_book_decode(&arena, slice_cstr(bad[i]), &b, &err) != RC_CORRUPT)
            fail_msg("%s", bad[i]);
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(preconditions_see_what_came_before),
        cmocka_unit_test(a_full_book_refuses),
        cmocka_unit_test(the_stored_form_reads_back),
        cmocka_unit_test(damaged_books_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Log filter rules and the three formats of spec/config.md §5.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static char captured[4096];
static int lines;

static void sink(void *ctx, enum log_level level, struct slice line)
{
    assert_true(line.len < sizeof(captured));
    memcpy(captured, line.ptr, line.len);
    captured[line.len] = '\0';
    lines++;
}

/* The line without its 27 characters of time. */
static const char *after_time(const char *s)
{
    assert_int_equal(s[10], 'T');
    assert_int_equal(s[26], 'Z');
    return s + 27;
}

static void test_default_filter(void **state)
{
    assert_true(log_enabled(LOG_INFO, "restate"));
    assert_true(log_enabled(LOG_INFO, "restate_node"));
    assert_true(log_enabled(LOG_INFO, "restate_worker::partition::state_machine"));
    assert_false(log_enabled(LOG_DEBUG, "restate_node"));
    assert_true(log_enabled(LOG_WARN, "hyper"));
    assert_false(log_enabled(LOG_INFO, "hyper"));
    assert_false(log_enabled(LOG_INFO, "restateful")); /* not at a boundary */
}

static void test_filter_longest_wins(void **state)
{
    assert_int_equal(
        log_set_filter("warn,restate=info, restate_worker=DEBUG,restate_worker::partition=off,hyper=5", NULL),
        0);
    assert_true(log_enabled(LOG_DEBUG, "restate_worker"));
    assert_true(log_enabled(LOG_DEBUG, "restate_worker::other"));
    assert_false(log_enabled(LOG_ERROR, "restate_worker::partition::processor"));
    assert_true(log_enabled(LOG_DEBUG, "restate_worker::partitions"));
    assert_true(log_enabled(LOG_TRACE, "hyper"));
    assert_false(log_enabled(LOG_DEBUG, "restate_node"));
    assert_int_equal(log_set_filter("debug", NULL), 0);
    assert_true(log_enabled(LOG_DEBUG, "anything"));
    assert_int_equal(log_set_filter("my_target", NULL), 0); /* a bare target: everything of it */
    assert_true(log_enabled(LOG_TRACE, "my_target"));
    assert_true(log_enabled(LOG_ERROR, "other"));
    assert_false(log_enabled(LOG_WARN, "other"));
}

static void test_filter_spans_and_errors(void **state)
{
    assert_int_equal(log_set_filter("info,restate[invoke{id=\"a,b\"}]=trace,[span]=debug", NULL), 0);
    assert_true(log_enabled(LOG_INFO, "restate"));
    assert_false(log_enabled(LOG_DEBUG, "restate"));
    static const char *const bad[] = {"restate=loud", "=info",     "a=b=c",
                                      "foo[bar=info", "what ever", "info,x=9"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        if (log_set_filter(bad[i], &err) != RC_INVALID || !err.msg[0])
            fail_msg("'%s' was accepted", bad[i]);
    }
    assert_true(log_enabled(LOG_INFO, "restate")); /* the previous one stayed */
}

static void test_formats(void **state)
{
    log_set_filter("warn,restate=info", NULL);
    log_set_sink(sink, NULL);
    log_configure(&(struct log_config){LOG_JSON, true});
    LOG(LOG_INFO, "restate_node", LOG_FIELDS({"node_name", "n\"1"}, {"roles", "a | b"}), "My Node ID is %s",
        "N1:2");
    assert_memory_equal(captured, "{\"timestamp\":\"", 14);
    assert_string_equal(
        after_time(captured + 14),
        "\",\"level\":\"INFO\",\"fields\":{\"message\":\"My Node ID is N1:2\",\"node_name\":\"n\\\"1\","
        "\"roles\":\"a | b\"},\"target\":\"restate_node\"}");
    log_configure(&(struct log_config){LOG_COMPACT, false});
    LOG(LOG_INFO, "restate_node", LOG_FIELDS({"node_name", "n1"}), "two\nlines");
    assert_string_equal(after_time(captured), "  INFO restate_node: two\\nlines node_name=n1");
    log_configure(&(struct log_config){LOG_PRETTY, false});
    LOG(LOG_ERROR, "restate_server", LOG_FIELDS({"error", "no"}, {"code", "None"}),
        "Restate application failed");
    assert_string_equal(
        after_time(captured),
        " ERROR restate_server\n  Restate application failed\n    error: no\n    code: None\non main");
    log_configure(&(struct log_config){LOG_COMPACT, true});
    LOG0(LOG_WARN, "restate", "careful \x1b[31m");
    assert_non_null(strstr(captured, "\x1b[33m WARN\x1b[0m"));
    assert_non_null(strstr(captured, "careful \\x1b[31m")); /* no foreign escape sequences */
    lines = 0;
    LOG0(LOG_DEBUG, "restate", "%s", (abort(), "never evaluated"));
    assert_int_equal(lines, 0);
    char big[3000];
    memset(big, 'z', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    LOG0(LOG_INFO, "restate", "%s", big);
    assert_true(strlen(captured) > sizeof(big));
    log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_filter),
        cmocka_unit_test(test_filter_longest_wins),
        cmocka_unit_test(test_filter_spans_and_errors),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Command lines: options everywhere, lists, prefixes, aliases, what is refused; completion and man page of
 * the same table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tool/tool.h"

static int run_nothing(struct tool *t)
{
    return 0;
}

static const struct option root_options[] = {{"address", 's', "ADDRESS", OPTION_LIST, "Where",
                                              .aliases = "addresses", .fallback = "default",
                                              .env = "TEST_ADDRESS", .excludes = "single"},
                                             {"single", 'S', "SINGLE", .help = "One"},
                                             {"verbose", 'v', .help = "More"},
                                             {"yes", 'y', .help = "Yes"},
                                             {0}};
static const struct option trim_options[] = {
    {"ID", .value = "ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED | OPTION_LIST, .help = "Ids",
     .check = check_u16},
    {"point", 't', "POINT", OPTION_REQUIRED, "Point", .check = check_u64},
    {"nodes", 'n', "NODES", OPTION_LIST | OPTION_MANY, .help = "Nodes"},
    {"kind", 0, "KIND", 0, "Kind", .choices = "a|b|~secret", .fallback = "a"},
    {"version", 0, "VERSION", 0, "Hides --version", .check = check_u32},
    {0}};
static const struct command log_commands[] = {
    {"list", "List", .aliases = "ls", .run = run_nothing},
    {"trim", "Trim", .options = trim_options, .run = run_nothing, .examples = "tool logs trim 1 -t 2"},
    {"trace", "Trace", .run = run_nothing},
    {0}};
static const struct command root_commands[] = {{"logs", "Logs", .children = log_commands}, {0}};
static const struct command root = {"tool", "A tool", .options = root_options, .children = root_commands};

struct line {
    struct tool t;
    enum rc rc;
    int exit_code;
};

/* Standard error is of no interest here. */
static void parse(struct line *l, ...)
{
    char *argv[24] = {(char *)(uintptr_t) "tool"};
    int argc = 1;
    va_list ap;
    va_start(ap, l);
    for (char *a; (a = va_arg(ap, char *));)
        argv[argc++] = a;
    va_end(ap);
    tool_init(&l->t, &root, "1", NULL);
    int keep = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stderr));
    l->rc = command_parse(&l->t, argc, argv, &l->t.parsed, &l->exit_code);
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    close(keep);
}

static void values(void **state)
{
    struct line l;
    parse(&l, "-v", "logs", "trim", "--addresses=x,y", "1,2", "3", "-t7", "-s", "z", "-vy", "--nodes", "N1",
          "N2,N3", "--kind", "secret", NULL);
    assert_int_equal(l.rc, RC_OK);
    assert_string_equal(l.t.parsed.path[2]->name, "trim");
    assert_string_equal(tool_item(&l.t, "ID", 0), "1");
    assert_string_equal(tool_item(&l.t, "ID", 2), "3");
    assert_null(tool_item(&l.t, "ID", 3));
    assert_int_equal(tool_number(&l.t, "point"), 7);
    assert_string_equal(tool_item(&l.t, "address", 1), "y");
    assert_string_equal(tool_item(&l.t, "address", 2), "z");
    assert_string_equal(tool_item(&l.t, "nodes", 2), "N3");
    assert_int_equal(tool_count(&l.t, "verbose"), 2);
    assert_true(tool_flag(&l.t, "yes"));
    assert_string_equal(tool_text(&l.t, "kind"), "secret");
    assert_false(tool_given(&l.t, "single"));
    tool_free(&l.t);
}

static void fallbacks_and_environment(void **state)
{
    struct line l;
    parse(&l, "log", "ls", NULL); /* an unambiguous prefix, an alias */
    assert_int_equal(l.rc, RC_OK);
    assert_string_equal(l.t.parsed.path[2]->name, "list");
    assert_string_equal(tool_item(&l.t, "address", 0), "default");
    assert_null(tool_item(&l.t, "address", 1));
    tool_free(&l.t);
    setenv("TEST_ADDRESS", "from,env", 1);
    parse(&l, "logs", "list", NULL);
    assert_string_equal(tool_item(&l.t, "address", 1), "env");
    tool_free(&l.t);
    parse(&l, "logs", "list", "-S", "one", NULL); /* given beats the environment: no contradiction */
    assert_int_equal(l.rc, RC_OK);
    tool_free(&l.t);
    parse(&l, "logs", "list", "-s", "given", NULL);
    assert_string_equal(tool_item(&l.t, "address", 0), "given");
    assert_null(tool_item(&l.t, "address", 1));
    tool_free(&l.t);
    unsetenv("TEST_ADDRESS");
}

static void own_option_hides_version(void **state)
{
    struct line l;
    parse(&l, "logs", "trim", "1", "-t", "1", "--version", "9", "--", NULL);
    assert_int_equal(l.rc, RC_OK);
    assert_int_equal(tool_number(&l.t, "version"), 9);
    tool_free(&l.t);
    parse(&l, "logs", "list", "--version", NULL);
    assert_int_equal(l.rc, RC_EOF);
    assert_int_equal(l.exit_code, 0);
    tool_free(&l.t);
}

static void refused(void **state)
{
    static const char *const lines[][8] = {
        {"bogus"},
        {"logs", "tr"}, /* trim or trace */
        {"logs"},
        {NULL},
        {"logs", "trim", "1"},
        {"logs", "trim", "-t", "1"},
        {"logs", "trim", "1", "-t"},
        {"logs", "trim", "70000", "-t", "1"},
        {"logs", "trim", "x", "-t", "1"},
        {"logs", "trim", "1", "-t", "18446744073709551616"},
        {"logs", "trim", "1", "-t", "1", "-t", "2"},
        {"logs", "trim", "1", "-t", "1", "--kind", "c"},
        {"logs", "list", "extra"},
        {"logs", "list", "--nope"},
        {"logs", "list", "-z"},
        {"logs", "list", "--yes=1"},
        {"-s", "a", "-S", "b", "logs", "list"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct line l;
        const char *const *a = lines[i];
        parse(&l, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], NULL);
        assert_int_equal(l.rc, RC_INVALID);
        assert_int_equal(l.exit_code, 2);
        tool_free(&l.t);
    }
}

static bool contains(const struct writer *w, const char *text)
{
    char *all = slice_dup_cstr(writer_slice(w));
    bool found = strstr(all, text) != NULL;
    free(all);
    return found;
}

static void help(void **state)
{
    struct line l;
    parse(&l, "logs", "trim", "--help", NULL);
    assert_int_equal(l.rc, RC_EOF);
    assert_true(contains(&l.t.out, "Usage: tool logs trim [OPTIONS] --point <POINT> <ID>...\n"));
    assert_true(contains(&l.t.out, "[possible values: a, b]"));
    assert_true(contains(&l.t.out, "Examples:\n  tool logs trim 1 -t 2\n"));
    assert_true(contains(&l.t.out, "-s, --address <ADDRESS>"));
    assert_false(contains(&l.t.out, "secret"));
    tool_free(&l.t);
    parse(&l, "help", "logs", NULL);
    assert_true(contains(&l.t.out, "  list   List [alias: ls]\n"));
    tool_free(&l.t);
}

static void generated(void **state)
{
    struct writer w = WRITER_INIT;
    assert_true(command_completion(&w, &root, "bash"));
    assert_true(contains(&w, "\"tool logs trim\") words=\" --point --nodes --kind --version\""));
    writer_reset(&w);
    assert_true(command_completion(&w, &root, "fish"));
    assert_true(
        contains(&w, "complete -c tool -n '__tool_at \"logs trim\"' -l kind -r -f -a ' a b' -d 'Kind'\n"));
    writer_reset(&w);
    assert_false(command_completion(&w, &root, "tcsh"));
    command_manual(&w, &root, "1");
    assert_true(contains(&w, ".SS \"logs trim\"\nTrim\n"));
    writer_free(&w);
}

static void numbers(void **state)
{
    uint64_t v;
    assert_true(parse_u64("18446744073709551615", UINT64_MAX, &v) && v == UINT64_MAX);
    assert_false(parse_u64("18446744073709551616", UINT64_MAX, &v));
    assert_true(parse_u64("65535", 65535, &v));
    assert_false(parse_u64("65536", 65535, &v));
    assert_true(parse_u64("0", 5, &v) && v == 0);
    assert_false(parse_u64("9", 5, &v));
    assert_false(parse_u64("", 5, &v));
    assert_false(parse_u64("-1", 5, &v));
    assert_false(parse_u64("1 ", 5, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(fallbacks_and_environment),
        cmocka_unit_test(own_option_hides_version),
        cmocka_unit_test(refused),
        cmocka_unit_test(help),
        cmocka_unit_test(generated),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

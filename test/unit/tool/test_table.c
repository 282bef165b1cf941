/* Tables as text, with borders, within a terminal, as JSON; times; differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tool/table.h"
#include "tool/times.h"

static const struct command root = {.name = "tool", .help = "A tool"};

#define EXPECT(t, text)                                                                                      \
    do {                                                                                                     \
        char *got_ = slice_dup_cstr(writer_slice(&(t)->out));                                                \
        assert_string_equal(got_, text);                                                                     \
        free(got_);                                                                                          \
        writer_reset(&(t)->out);                                                                             \
    } while (0)

static struct table *sample(struct tool *t)
{
    struct table *tb = table_new(t, "things");
    table_header(tb, "ID", "NAME", NULL);
    table_row(tb);
    table_cell(tb, STYLE_GREEN, "%d", 1);
    table_text(tb, STYLE_PLAIN, "caf\xc3\xa9");
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "22");
    return tb;
}

static void compact(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    table_print(sample(&t));
    EXPECT(&t, " ID  NAME \n 1   caf\xc3\xa9 \n 22       \n");
    t.color = true;
    table_print(sample(&t));
    EXPECT(&t,
           "\033[1m ID \033[0m\033[1m NAME \033[0m\n\033[38;5;10m 1  \033[39m caf\xc3\xa9 \n 22       \n");
    t.color = false;
    t.borders = true;
    table_print(sample(&t));
    EXPECT(&t, "╭────┬──────╮\n│ ID ┆ NAME │\n╞════╪══════╡\n│ 1  ┆ caf\xc3\xa9 │\n├╌╌╌╌┼╌╌╌╌╌╌┤\n│ 22 ┆     "
               " │\n╰────┴──────╯\n");
    tool_free(&t);
}

static void lines_in_cells(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    struct table *tb = table_new(&t, "kv");
    table_key_value(tb, "Key", "%s", "a\nbb");
    table_key_value(tb, "Longer", "%d", 5);
    table_print(tb);
    EXPECT(&t, " Key:     a  \n          bb \n Longer:  5  \n");
    tb = table_new(&t, "marked");
    table_marker_first(tb);
    table_header(tb, "", "IDX", NULL);
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "▶︎");
    table_text(tb, STYLE_PLAIN, "7");
    table_print(tb);
    EXPECT(&t, "  IDX \n▶︎ 7   \n");
    tool_free(&t);
}

static void narrow_terminal(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    t.columns = 24;
    struct table *tb = table_new(&t, "wide");
    table_header(tb, "A", "TEXT", NULL);
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "1");
    table_text(tb, STYLE_PLAIN, "the quick brown fox jumps over it");
    table_print(tb);
    EXPECT(&t, " A  TEXT                \n 1  the quick brown fox \n    jumps over it       \n");
    tool_free(&t);
}

static void as_json(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    t.json = true;
    tool_say(&t, "not shown\n");
    table_print(sample(&t));
    struct table *tb = table_new(&t, "kv");
    table_key_value(tb, "Key", "%s", "a\"b");
    table_print(tb);
    table_json_end(&t);
    EXPECT(&t, "{\n  \"things\": [\n    {\"id\": \"1\", \"name\": \"caf\xc3\xa9\"},\n    {\"id\": \"22\", "
               "\"name\": null}\n  ],\n"
               "  \"kv\": {\n    \"Key\": \"a\\\"b\"\n  }\n}\n");
    tool_free(&t);
}

static void widths(void **state)
{
    assert_int_equal(display_width(SLICE_LIT("abc")), 3);
    assert_int_equal(display_width(SLICE_LIT("日本")), 4);
    assert_int_equal(display_width(SLICE_LIT("⚙️")), 2); /* the picture */
    assert_int_equal(display_width(SLICE_LIT("▶︎")), 1); /* the text form */
    assert_int_equal(display_width(SLICE_LIT("e\xcc\x81")), 1);
    assert_int_equal(display_width(SLICE_LIT("\xff\xfe")),
                     2); /* no UTF-8: something is shown for each byte */
}

/* What a caller put into a key does not reach the terminal as a command. */
static void control_characters(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    write_for_terminal(&t.out, SLICE_LIT("a\033]0;title\a\033[2Jb\rc\x7f\xc2\x9b"
                                         "2J\033[1;31mred\033[0m\tcaf\xc3\xa9\xc2\xa0\n\033["));
    EXPECT(&t, "a\u241b]0;title\u2407\u241b[2Jb\u240dc\u2421\u2421"
               "2J\033[1;31mred\033[0m\tcaf\xc3\xa9\xc2\xa0\n\u241b[");
    tool_free(&t);
}

static void differences(void **state)
{
    struct tool t;
    tool_init(&t, &root, "1", NULL);
    struct table *tb = table_new(&t, "changes");
    table_diff(tb, &t, "a\nb\nc\nd\n", "a\nx\nc\nd\ne\n");
    table_print(tb);
    EXPECT(&t, "  a \n -b \n +x \n  c \n  d \n +e \n");
    tool_free(&t);
}

#define TIME(call, text)                                                                                     \
    do {                                                                                                     \
        struct writer w = WRITER_INIT;                                                                       \
        call;                                                                                                \
        char *got_ = slice_dup_cstr(writer_slice(&w));                                                       \
        assert_string_equal(got_, text);                                                                     \
        free(got_);                                                                                          \
        writer_free(&w);                                                                                     \
    } while (0)

static void times(void **state)
{
    TIME(duration_precise(&w, 873), "873 ms");
    TIME(duration_precise(&w, 1077), "1 second and 77 ms");
    TIME(duration_precise(&w, 90061016), "1 day, 1 hour, 1 minute, 1 second and 16 ms");
    TIME(duration_precise(&w, 0), "0 seconds");
    TIME(duration_rough(&w, 10), "now");
    TIME(duration_rough(&w, 11), "11 seconds");
    TIME(duration_rough(&w, 46), "a minute");
    TIME(duration_rough(&w, 91), "2 minutes");
    TIME(duration_rough(&w, 46 * 60), "an hour");
    TIME(duration_rough(&w, 3 * 3600), "3 hours");
    TIME(duration_rough(&w, 23 * 3600), "a day");
    TIME(duration_rough(&w, 7 * 86400), "a week");
    TIME(duration_rough(&w, 12 * 86400), "2 weeks");
    TIME(duration_rough(&w, 800 * 86400ull), "2 years");
    TIME(duration_friendly(&w, 0), "n/a");
    TIME(duration_friendly(&w, 54), "54s");
    TIME(duration_friendly(&w, 783), "13m 3s");
    TIME(duration_friendly(&w, 93600), "1d 2h");
    TIME(instant_print(&w, TIME_ISO8601, 1795368421902), "2026-11-22T17:27:01.902+00:00");
    TIME(instant_print(&w, TIME_RFC2822, 1795368421902), "Sun, 22 Nov 2026 17:27:01 +0000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact),         cmocka_unit_test(lines_in_cells),
        cmocka_unit_test(narrow_terminal), cmocka_unit_test(as_json),
        cmocka_unit_test(widths),          cmocka_unit_test(differences),
        cmocka_unit_test(times),           cmocka_unit_test(control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Command lines of any bytes, and tables of any text on terminals of any width. */
#include <stdio.h>
#include <stdlib.h>

#include "tool/table.h"

static int nothing(struct tool *t)
{
    return 0;
}
static const struct option options[] = {
    {"address", 's', "ADDRESS", OPTION_LIST, "Where", .fallback = "x", .excludes = "single"},
    {"single", 'S', "SINGLE", 0, "One", .check = check_duration},
    {"verbose", 'v', .help = "More"},
    {0}};
static const struct option run_options[] = {
    {"ID", .value = "ID", .flags = OPTION_POSITIONAL | OPTION_LIST, .help = "Ids"},
    {"many", 'm', "MANY", OPTION_MANY | OPTION_LIST, "Many", .choices = "a|b|~c"},
    {0}};
static const struct command inner[] = {{"run", "Run", .aliases = "r", .options = run_options, .run = nothing},
                                       {"ruin", "Ruin", .run = nothing},
                                       {0}};
static const struct command children[] = {{"group", "Group", .children = inner}, {0}};
static const struct command root = {"tool", "A tool", .options = options, .children = children};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *quiet; /* only the streams: reports of the sanitizers go to the descriptor */
    char *argv[34] = {(char *)(uintptr_t) "tool"};
    int argc = 1, exit_code;
    struct tool t;
    if (size < 2)
        return 0;
    if (!quiet)
        stdout = stderr = quiet = fopen("/dev/null", "w");
    tool_init(&t, &root, "1", NULL);
    t.columns = data[0];
    t.borders = data[1] & 1;
    char *text = slice_dup_cstr(slice_make(data + 2, size - 2)), *save = NULL;
    struct table *tb = table_new(&t, "t");
    table_header(tb, "A", "B", NULL);
    table_row(tb);
    table_text(tb, STYLE_BOLD, arena_copy_text(&t.arena, text));
    table_text(tb, STYLE_GREEN, arena_copy_text(&t.arena, text));
    table_print(tb);
    writer_reset(&t.out);
    table_diff(table_new(&t, "d"), &t, text, text + strlen(text) / 2);
    for (char *word = strtok_r(text, "\n", &save); word && argc < 32; word = strtok_r(NULL, "\n", &save))
        argv[argc++] = word;
    if (command_parse(&t, argc, argv, &t.parsed, &exit_code) == RC_OK)
        tool_item(&t, "address", 1);
    free(text);
    tool_free(&t);
    return 0;
}

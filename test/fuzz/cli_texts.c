/* Times of the admin API and quoting: any text. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/state_version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct command root = {.name = "tool", .help = "A tool"};
    static struct cli cli;
    struct tool t;
    uint64_t ms;
    char version[STATE_VERSION_SIZE];
    tool_init(&t, &root, "1", &cli);
    char *text = slice_dup_cstr(slice_make(data, size));
    if (parse_rfc3339(text, &ms)) {
        date_text(&t, text);
        stamp_text(&t, text);
        since_text(&t, text);
        rough_ago_text(&t, text);
    }
    const char *quoted = sql_text(&t, text);
    size_t quotes = 0;
    for (const char *p = quoted; *p; p++)
        quotes += *p == '\'';
    ASSERT(quotes % 2 == 0); /* nothing of the text ends the literal */
    url_part(&t, text);
    state_version(&(struct entry){"k", slice_make(data, size)}, 1, version);
    free(text);
    tool_free(&t);
    return 0;
}

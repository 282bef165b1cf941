/* See pairs.h. */
#include "cli/pairs.h"

#include <stdlib.h>

static bool take(struct tool *t, const char *text, json_t *into)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        tool_usage_error(t, "invalid value '%s': expected KEY=VALUE", text);
        return false;
    }
    size_t len = (size_t)(equals - text);
    while (len && strchr(" \t", text[len - 1]))
        len--;
    const char *value = equals + 1 + strspn(equals + 1, " \t");
    json_object_set_new(into, tool_format(t, "%.*s", (int)len, text), json_string(value));
    return true;
}

static bool take_lines(struct tool *t, struct slice text, json_t *into)
{
    char *copy = arena_copy_slice(&t->arena, text), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        line[strcspn(line, "\r")] = 0;
        if (*line && *line != '#' && !take(t, line, into))
            return false;
    }
    return true;
}

bool pairs_read(struct tool *t, const char *argument, const char *file, json_t *into)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    const char *item;
    bool good = true;
    if (file && tool_read_file(file, 1u << 20, &text, &err) != RC_OK) {
        tool_fail(t, "%s", err.msg);
        return false;
    }
    if (file)
        good = take_lines(t, bytes_slice(text), into);
    bytes_unref(&text);
    for (size_t i = 0; good && (item = tool_item(t, argument, i)); i++)
        good = take(t, item, into);
    return good;
}

json_t *pairs_edit(struct tool *t, const json_t *pairs)
{
    struct writer w = WRITER_INIT;
    struct bytes edited = BYTES_EMPTY;
    struct err err = {0};
    const char *key;
    json_t *value, *result = cli_keep(t, json_object());
    write_fmt(&w, "# KEY=VALUE, one a line\n");
    json_object_foreach((json_t *)(uintptr_t)pairs, key, value)
    {
        write_fmt(&w, "%s=%s\n", key, json_is_string(value) ? json_string_value(value) : "");
    }
    enum rc rc = tool_edit_text(t, ".properties", writer_slice(&w), &edited, &err);
    writer_free(&w);
    if (rc != RC_OK) {
        tool_fail(t, "%s", err.msg);
        return NULL;
    }
    bool good = take_lines(t, bytes_slice(edited), result);
    bytes_unref(&edited);
    return good ? result : NULL;
}

void pairs_print(struct tool *t, const char *name, const json_t *pairs)
{
    struct table *tb = table_new(t, name);
    const char *key;
    json_t *value;
    table_header(tb, "KEY", "VALUE", NULL);
    json_object_foreach((json_t *)(uintptr_t)pairs, key, value)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, key);
        table_text(tb, STYLE_PLAIN, json_is_string(value) ? json_string_value(value) : "");
    }
    table_print(tb);
}

const char *pairs_text(struct tool *t, json_t *pairs)
{
    char *text = json_text_of(pairs);
    const char *copy = arena_copy_text(&t->arena, text);
    free(text);
    return copy;
}

const char *pairs_brokers(const json_t *properties)
{
    const char *brokers = jtext(properties, "bootstrap.servers");
    return *brokers ? brokers : jtext(properties, "metadata.broker.list");
}

/* See pairs.h. */
#include "cli/pairs.h"

#include <stdlib.h>

#include "tool/document.h"

#define FILE_MAX (1u << 20)

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

/* Texts of a map; the others are refused, since what they would look like as properties is a guess. */
static bool take_table(struct tool *t, const char *file, const struct doc *map, json_t *into)
{
    for (size_t i = 0; i < map->n; i++) {
        const struct doc *value = map->items[i];
        const char *key = tool_format(t, "%.*s", SLICE_FMT(map->keys[i]));
        if (value->kind != DOC_TEXT) {
            tool_fail(t, "%s: the value of `%s` must be a text between quotes%s", file, key,
                      value->kind == DOC_MAP ? "; a name with dots needs quotes too" : "");
            return false;
        }
        json_object_set_new(into, key, json_stringn((const char *)value->text.ptr, value->text.len));
    }
    return true;
}

static bool take_toml(struct tool *t, const char *file, struct slice text, const char *table, bool above,
                      json_t *into)
{
    const char *problem = NULL;
    struct doc *doc = NULL;
    if (doc_parse_toml(&t->arena, text, &doc, &problem) != RC_OK) {
        tool_fail(t, "%s is no TOML: %s", file, problem);
        return false;
    }
    struct doc *map = doc_member(doc, slice_cstr(table));
    bool found = map && map->kind == DOC_MAP;
    if (!found)
        tool_fail(t, "%s: the table `[%s]` is missing", file, table);
    if (!found || !take_table(t, file, map, into))
        return false;
    doc_drop(doc, slice_cstr(table));
    return !above || take_table(t, file, doc, into);
}

bool pairs_read_file(struct tool *t, const char *file, const char *table, bool above, json_t *into)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    if (!file)
        return true;
    if (tool_read_file(file, FILE_MAX, &text, &err) != RC_OK) {
        tool_fail(t, "%s", err.msg);
        return false;
    }
    size_t n = strlen(file);
    bool toml = n > 5 && strcmp(file + n - 5, ".toml") == 0;
    bool good = toml ? take_toml(t, file, bytes_slice(text), table, above, into)
                     : take_lines(t, bytes_slice(text), into);
    bytes_unref(&text);
    return good;
}

bool pairs_read(struct tool *t, const char *argument, json_t *into)
{
    const char *item;
    bool good = true;
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

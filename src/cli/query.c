/* Queries answered as JSON: see cli.h (spec/admin-api.md §16, §22). */
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"

const char *query_body(struct tool *t, const char *sql)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"query\":");
    write_json_string(&w, slice_cstr(sql));
    write_u8(&w, '}');
    return tool_take_text(t, &w);
}

json_t *query_rows(struct tool *t, const char *sql)
{
    if (!api_ready(t))
        return NULL;
    struct api_call call = {
        .method = "POST", .path = "/query", .accept = "application/json", .body = query_body(t, sql)};
    api_run(t, &call, 1);
    if (!api_good(&call)) {
        api_failed(t, &call);
        return NULL;
    }
    if (strcmp(call.content_type, "application/json") != 0) {
        tool_fail(t, "The server does not answer queries as JSON");
        return NULL;
    }
    json_t *doc = api_json(t, &call, NULL);
    json_t *rows = json_member(doc, "rows");
    if (!json_is_array(rows))
        tool_fail(t, "(Protocol error) the answer to the query cannot be read");
    return json_is_array(rows) ? rows : NULL;
}

json_t *query_rowsf(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *sql = tool_format_va(t, fmt, ap);
    va_end(ap);
    return query_rows(t, sql);
}

bool query_count(struct tool *t, const char *sql, int64_t *out)
{
    json_t *rows = query_rows(t, sql);
    void *first = json_object_iter(json_array_get(rows, 0));
    *out = first ? json_integer_value(json_object_iter_value(first)) : 0;
    return rows != NULL;
}

const char *sql_text(struct tool *t, const char *text)
{
    struct writer w = WRITER_INIT;
    write_u8(&w, '\'');
    for (; *text; text++)
        write_fmt(&w, *text == '\'' ? "''" : "%c", *text);
    write_u8(&w, '\'');
    return tool_take_text(t, &w);
}

const char *sql_list(struct tool *t, const char *option)
{
    struct writer w = WRITER_INIT;
    const char *text;
    write_u8(&w, '(');
    for (size_t i = 0; (text = tool_item(t, option, i)); i++)
        write_fmt(&w, "%s%s", i ? "," : "", sql_text(t, text));
    write_u8(&w, ')');
    return tool_take_text(t, &w);
}

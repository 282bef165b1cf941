/* Queries answered as JSON: see cli.h (spec/admin-api.md §16, §22). */
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"

json_t *query_rows(struct tool *t, const char *sql)
{
    struct writer w = WRITER_INIT;
    json_error_t error;
    if (!api_ready(t))
        return NULL;
    write_fmt(&w, "{\"query\":");
    write_json_string(&w, slice_cstr(sql));
    write_u8(&w, '}');
    struct api_call call = {.method = "POST",
                            .path = "/query",
                            .accept = "application/json",
                            .body = arena_copy_slice(&t->arena, writer_slice(&w))};
    writer_free(&w);
    api_run(t, &call, 1);
    if (!api_good(&call)) {
        api_failed(t, &call);
        return NULL;
    }
    if (strcmp(call.content_type, "application/json") != 0) {
        tool_fail(t, "The server does not answer queries as JSON");
        return NULL;
    }
    json_t *doc = cli_keep(t, json_loadb((const char *)call.reply.ptr, call.reply.len, 0, &error));
    json_t *rows = json_member(doc, "rows");
    if (!json_is_array(rows))
        tool_fail(t, "(Protocol error) the answer to the query cannot be read");
    return json_is_array(rows) ? rows : NULL;
}

json_t *query_rowsf(struct tool *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *sql = arena_alloc(&t->arena, (size_t)len + 1);
    vsnprintf(sql, (size_t)len + 1, fmt, ap);
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
    const char *quoted = arena_copy_slice(&t->arena, writer_slice(&w));
    writer_free(&w);
    return quoted;
}

const char *sql_list(struct tool *t, const char *option)
{
    struct writer w = WRITER_INIT;
    const char *text;
    write_u8(&w, '(');
    for (size_t i = 0; (text = tool_item(t, option, i)); i++)
        write_fmt(&w, "%s%s", i ? "," : "", sql_text(t, text));
    write_u8(&w, ')');
    const char *list = arena_copy_slice(&t->arena, writer_slice(&w));
    writer_free(&w);
    return list;
}

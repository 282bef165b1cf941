/* Deployments and handlers as text: see cli.h. */
#include <stdlib.h>

#include "cli/cli.h"

const char *deployment_address(const json_t *d)
{
    return *jtext(d, "uri") ? jtext(d, "uri") : jtext(d, "arn");
}

const char *deployment_kind(const json_t *d)
{
    return *jtext(d, "uri") ? "HTTP" : "AWS Lambda";
}

bool deployment_active(struct tool *t, const char *id, int64_t *out)
{
    return query_count(
        t,
        tool_format(t,
                    "SELECT COUNT(1) AS inv_count FROM sys_invocation_status WHERE pinned_deployment_id = %s "
                    "AND status != 'completed'",
                    sql_text(t, id)),
        out);
}

json_t *find_named(const json_t *array, const char *member, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)array, i, item)
    {
        if (strcmp(jtext(item, member), value) == 0)
            return item;
    }
    return NULL;
}

static const char *sort_member;

static int by_member(const void *a, const void *b)
{
    return strcmp(jtext(*(const json_t *const *)a, sort_member),
                  jtext(*(const json_t *const *)b, sort_member));
}

const json_t **sorted_by(struct tool *t, const json_t *array, const char *member, size_t *n)
{
    *n = json_array_size(array);
    const json_t **items = arena_array(&t->arena, const json_t *, *n + 1);
    for (size_t i = 0; i < *n; i++)
        items[i] = json_array_get(array, i);
    sort_member = member;
    qsort(items, *n, sizeof(*items), by_member);
    return items;
}

static void plain_row(struct table *tb, const char *key, const char *value)
{
    table_key_value(tb, key, "%s", value);
}

static void object_rows(struct table *tb, const char *title, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        table_key_value(tb, title, "%s: %s", key, json_is_string(value) ? json_string_value(value) : "");
    }
}

static const char *protocol_text(struct tool *t, const json_t *d)
{
    long long low = jint(d, "min_protocol_version"), high = jint(d, "max_protocol_version");
    return low == high ? tool_format(t, "%lld", low) : tool_format(t, "[%lld, %lld]", low, high);
}

void deployment_rows(struct tool *t, struct table *tb, const json_t *d)
{
    bool http = *jtext(d, "uri") != 0;
    plain_row(tb, "Transport", http ? jtext(d, "http_version") : "AWS Lambda");
    plain_row(tb, "Protocol Style",
              http && strcmp(jtext(d, "protocol_type"), "BidiStream") == 0 ? "Bidirectional Stream"
                                                                           : "Request/Response");
    plain_row(tb, "Endpoint", deployment_address(d));
    if (*jtext(d, "assume_role_arn"))
        plain_row(tb, "Deployment Assume Role ARN", jtext(d, "assume_role_arn"));
    if (*jtext(d, "sdk_version"))
        plain_row(tb, "SDK Version", jtext(d, "sdk_version"));
    plain_row(tb, "Created at", date_text(t, jtext(d, "created_at")));
    object_rows(tb, "Deployment Additional Header", json_object_get(d, "additional_headers"));
    plain_row(tb, "Protocol", protocol_text(t, d));
    object_rows(tb, "Metadata", json_object_get(d, "metadata"));
}

static long long active_of(const json_t *active, const char *service, const char *handler)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)(uintptr_t)active, i, row)
    {
        if (strcmp(jtext(row, "service"), service) == 0 && strcmp(jtext(row, "handler"), handler) == 0)
            return jint(row, "inv_count");
    }
    return 0;
}

/* A table in a text of its own, each line behind blanks. */
void handlers_table(struct tool *t, const json_t *service, const json_t *active, unsigned indent)
{
    size_t n;
    const json_t **handlers = sorted_by(t, json_object_get(service, "handlers"), "name", &n);
    struct table *tb = table_new(t, jtext(service, "name"));
    struct writer before = t->out;
    table_header(tb, "HANDLER", "INPUT", "OUTPUT", NULL);
    if (active)
        table_column(tb, "ACTIVE-INVOCATIONS");
    for (size_t i = 0; i < n; i++) {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(handlers[i], "name"));
        table_text(tb, STYLE_PLAIN, jtext(handlers[i], "input_description"));
        table_text(tb, STYLE_PLAIN, jtext(handlers[i], "output_description"));
        if (active)
            table_cell(tb, STYLE_PLAIN, "%lld",
                       active_of(active, jtext(service, "name"), jtext(handlers[i], "name")));
    }
    if (t->json || indent == 0) {
        table_print(tb);
        return;
    }
    t->out = WRITER_INIT;
    table_print(tb);
    struct writer text = t->out;
    t->out = before;
    struct slice rest = writer_slice(&text);
    while (rest.len) {
        size_t end = (size_t)slice_find(rest, '\n', 0);
        tool_say(t, "%*s%.*s\n", (int)indent, "", (int)end, (const char *)rest.ptr);
        rest = slice_sub(rest, end + 1, rest.len - end - 1);
    }
    writer_free(&text);
}

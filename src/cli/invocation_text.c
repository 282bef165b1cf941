/* Invocations as `invocations list`, `describe` and `services status` show them (spec/admin-api.md §21.4, §22
 * Q2, Q3). */
#include <stdlib.h>

#include "cli/cli.h"

/* Q2 for the ids in their order, then Q3 for what they are. */
json_t *invocation_rows(struct tool *t, const char *where, const char *order, unsigned limit)
{
    struct writer list = WRITER_INIT;
    size_t i;
    json_t *row;
    json_t *ids = query_rowsf(t, "SELECT id FROM sys_invocation inv %s %s LIMIT %u", where, order, limit);
    if (!ids || json_array_size(ids) == 0)
        return ids;
    json_array_foreach(ids, i, row)
    {
        write_fmt(&list, "%s%s", i ? "," : "", sql_text(t, jtext(row, "id")));
    }
    json_t *rows = query_rowsf(
        t,
        "SELECT inv.id, inv.target, inv.target_service_ty, inv.idempotency_key, inv.status, inv.created_at, "
        "inv.modified_at as state_modified_at, inv.pinned_deployment_id, inv.retry_count as num_retries, "
        "inv.last_failure as last_failure_message, inv.last_failure_related_entry_index as "
        "last_failure_entry_index, "
        "inv.last_failure_related_entry_name as last_failure_entry_name, inv.last_failure_related_entry_type "
        "as "
        "last_failure_entry_ty, inv.last_attempt_deployment_id, inv.last_attempt_server, inv.next_retry_at, "
        "inv.last_start_at, inv.invoked_by_id, inv.invoked_by_target, inv.trace_id, inv.completion_result, "
        "inv.completion_failure, dp.id IS NOT NULL as pinned_deployment_exists FROM sys_invocation inv LEFT "
        "JOIN "
        "sys_deployment dp ON dp.id = inv.pinned_deployment_id %s %s inv.id in (%.*s) %s",
        where, *where ? "AND" : "WHERE", SLICE_FMT(writer_slice(&list)), order);
    writer_free(&list);
    return rows;
}

static unsigned status_style(const char *status)
{
    if (strcmp(status, "running") == 0)
        return STYLE_GREEN;
    if (strcmp(status, "backing-off") == 0)
        return STYLE_RED;
    if (strcmp(status, "pending") == 0 || strcmp(status, "paused") == 0)
        return STYLE_YELLOW;
    return strcmp(status, "scheduled") == 0 || strcmp(status, "ready") == 0 ? STYLE_BLUE : STYLE_PLAIN;
}

const char *invocation_status_text(struct tool *t, const json_t *row)
{
    const char *status = jtext(row, "status"), *next = jtext(row, "next_retry_at"),
               *since = jtext(row, "last_start_at");
    const char *styled = tool_styled(t, status_style(status), status);
    long long retries = jint(row, "num_retries");
    if (strcmp(status, "completed") == 0)
        return *jtext(row, "completion_result")
                   ? tool_format(t, "%s with %s", styled, jtext(row, "completion_result"))
                   : styled;
    if (strcmp(status, "running") == 0 && *since)
        return tool_format(t, "%s  (%s%s)", styled, since_text(t, since),
                           retries > 1 ? tool_format(t, ". Retried %lld time(s)", retries - 1) : "");
    if (strcmp(status, "backing-off") == 0)
        return tool_format(t, "%s  (%s. Retried %lld time(s).%s)", styled,
                           since_text(t, *since ? since : jtext(row, "state_modified_at")), retries,
                           *next ? tool_format(t, " Next retry in %s", until_text(t, next)) : "");
    if (strcmp(status, "suspended") == 0 && *jtext(row, "state_modified_at"))
        return tool_format(t, "%s  (%s)", styled, since_text(t, jtext(row, "state_modified_at")));
    return styled;
}

static const char *deployment_text(struct tool *t, const json_t *row)
{
    const char *pinned = jtext(row, "pinned_deployment_id"), *last = jtext(row, "last_attempt_deployment_id");
    const char *server = jtext(row, "last_attempt_server");
    const char *using = *server ? tool_format(t, " using %s", server) : "";
    if (*pinned)
        return tool_format(
            t, "%s [required]%s%s", pinned,
            jbool(row, "pinned_deployment_exists") ? "" : tool_styled(t, STYLE_RED, " [ZOMBIE]"), using);
    return *last ? tool_format(t, "%s %s", last, using) : "";
}

static void error_rows(struct tool *t, struct table *tb, const json_t *row)
{
    const char *failure = jtext(row, "completion_failure"), *message = jtext(row, "last_failure_message");
    if (*failure) {
        table_key_value(tb, "Error", "%s", failure);
        return;
    }
    if (strcmp(jtext(row, "status"), "completed") == 0 || !*message)
        return;
    const char *when = jtext(row, "last_start_at"), *type = jtext(row, "last_failure_entry_ty");
    table_key_value(tb, "Error", "%s%s%s%s", *when ? "[" : "", *when ? stamp_text(t, when) : "",
                    *when ? "]\n" : "", message);
    if (*type)
        table_key_value(
            tb, "Caused by", "%s #%lld%s%s%s", type, (long long)jint(row, "last_failure_entry_index"),
            *jtext(row, "last_failure_entry_name") ? " [" : "", jtext(row, "last_failure_entry_name"),
            *jtext(row, "last_failure_entry_name") ? "]" : "");
    else
        table_key_value(tb, "Caused by", "UNKNOWN");
}

void invocation_details(struct tool *t, struct table *tb, const json_t *row)
{
    table_key_value(tb, "Target", "%s", jtext(row, "target"));
    table_key_value(tb, "Status", "%s", invocation_status_text(t, row));
    if (*jtext(row, "idempotency_key"))
        table_key_value(tb, "Idempotency key", "%s", jtext(row, "idempotency_key"));
    if (*jtext(row, "invoked_by_target"))
        table_key_value(tb, "Invoked by", "%s %s", jtext(row, "invoked_by_target"),
                        jtext(row, "invoked_by_id"));
    if (*deployment_text(t, row))
        table_key_value(tb, "Deployment", "%s", deployment_text(t, row));
    if (*jtext(row, "trace_id"))
        table_key_value(tb, "Trace ID", "%s", jtext(row, "trace_id"));
    error_rows(t, tb, row);
}

/* Lines of a table, moved to the right. */
static void print_indented(struct tool *t, struct table *tb, unsigned indent)
{
    struct writer before = t->out;
    t->out = WRITER_INIT;
    table_print(tb);
    struct writer text = t->out;
    t->out = before;
    for (struct slice rest = writer_slice(&text); rest.len;) {
        size_t end = (size_t)slice_find(rest, '\n', 0);
        tool_say(t, "%*s%.*s\n", (int)indent, "", (int)end, (const char *)rest.ptr);
        rest = slice_sub(rest, end + 1, rest.len - end - 1);
    }
    writer_free(&text);
}

void invocation_print(struct tool *t, const json_t *row)
{
    struct table *tb = table_new(t, jtext(row, "id"));
    tool_say(t, "  ❯ [%s] %s\n", stamp_text(t, jtext(row, "created_at")),
             tool_styled(t, STYLE_BOLD, jtext(row, "id")));
    invocation_details(t, tb, row);
    print_indented(t, tb, 4);
    tool_say(t, "\n");
}

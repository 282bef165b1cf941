/* `invocations cancel`, `kill`, `purge`, `pause`, `resume`, `restart-as-new` (spec/admin-api.md §21.4, §25):
 * every answer is looked at, and what failed is listed. */
#include <stdlib.h>

#include "cli/cli.h"

#define AT_ONCE 50 /* requests in flight; after each round the progress is shown on a terminal */

struct change {
    const char *verb, *done; /* "cancel", "Cancelled" */
    const char *route;       /* below the invocation */
    const char *states;      /* condition on sys_invocation_status */
    const char *hint;        /* when nothing was found */
    bool restart;
};

/* What the argument means, as a condition (spec §22, Q4). */
static const char *target_condition(struct tool *t, const char *query)
{
    size_t slashes = 0;
    for (const char *p = query; *p; p++)
        slashes += *p == '/';
    if (slashes == 0 && strncmp(query, "inv_", 4) == 0)
        return tool_format(t, "id = %s", sql_text(t, query));
    const char *below = sql_text(t, tool_format(t, "%s/%%", query)), *exact = sql_text(t, query);
    if (slashes == 0)
        return tool_format(t, "target LIKE %s", below);
    if (slashes == 1)
        return tool_format(
            t,
            "((target = %s AND target_service_ty = 'service') OR (target LIKE %s AND target_service_ty != "
            "'service'))",
            exact, below);
    return tool_format(t, "target LIKE %s", exact);
}

static json_t *find(struct tool *t, const struct change *c)
{
    const char *query = tool_text(t, "QUERY");
    json_t *rows = query_rowsf(t, "SELECT id, target FROM sys_invocation_status WHERE %s AND %s LIMIT %u",
                               target_condition(t, query), c->states, (unsigned)tool_number(t, "limit"));
    if (rows && json_array_size(rows) == 0) {
        tool_fail(t, "No invocations found for query %s! %s", query, c->hint);
        return NULL;
    }
    return rows;
}

static struct api_call *run_all(struct tool *t, json_t *rows, const char *route)
{
    size_t n = json_array_size(rows);
    struct api_call *calls = arena_array(&t->arena, struct api_call, n + 1);
    for (size_t i = 0; i < n; i++)
        calls[i] =
            (struct api_call){.method = "PATCH",
                              .path = tool_format(t, "/invocations/%s/%s",
                                                  url_part(t, jtext(json_array_get(rows, i), "id")), route)};
    for (size_t at = 0; at < n; at += AT_ONCE) {
        api_run(t, calls + at, MIN(AT_ONCE, n - at));
        if (t->columns && n > AT_ONCE) {
            tool_say(t, "\r%zu of %zu", MIN(at + AT_ONCE, n), n);
            tool_flush(t);
        }
    }
    if (t->columns && n > AT_ONCE)
        tool_say(t, "\r\033[K");
    return calls;
}

static void good_rows(struct tool *t, json_t *rows, const struct api_call *calls, bool restart)
{
    struct table *tb = table_new(t, "restarted");
    table_header(tb, "OLD ID", "NEW ID", NULL);
    for (size_t i = 0; restart && i < json_array_size(rows); i++) {
        if (!api_good(&calls[i]))
            continue;
        json_t *doc = api_json(t, &calls[i], NULL);
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(json_array_get(rows, i), "id"));
        table_text(tb, STYLE_PLAIN, jtext(doc, "new_invocation_id"));
    }
    if (restart)
        table_print(tb);
}

static int finish(struct tool *t, const struct change *c, json_t *rows, const struct api_call *calls)
{
    size_t n = json_array_size(rows), good = 0;
    struct table *bad = table_new(t, "failed");
    table_header(bad, "ID", "REASON", NULL);
    for (size_t i = 0; i < n; i++) {
        if (api_good(&calls[i])) {
            good++;
            continue;
        }
        table_row(bad);
        table_text(bad, STYLE_PLAIN, jtext(json_array_get(rows, i), "id"));
        table_text(bad, STYLE_RED, api_reason(t, &calls[i]));
    }
    tool_say(t, "\n");
    if (good)
        say_good(t, "%s %zu invocations%s", c->done, good, c->restart ? ":" : "");
    if (good)
        good_rows(t, rows, calls, c->restart);
    if (good == n)
        return 0;
    tool_warn(t, "⚠️", "[WARNING]:", "Failed to %s:", c->verb);
    table_print(bad);
    return tool_fail(t, "%zu of %zu invocations failed", n - good, n);
}

static int change_run(struct tool *t, const struct change *c)
{
    size_t i;
    json_t *row, *rows = find(t, c);
    if (!rows)
        return 1;
    struct table *tb = table_new(t, "invocations");
    table_header(tb, "ID", "TARGET", NULL);
    json_array_foreach(rows, i, row)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(row, "id"));
        table_text(tb, STYLE_PLAIN, jtext(row, "target"));
    }
    table_print(tb);
    tool_say(t, "\n");
    if (!tool_confirm(t, tool_format(t, "Are you sure you want to %s these invocations?", c->verb)))
        return tool_aborted(t);
    return finish(t, c, rows, run_all(t, rows, c->route));
}

#define NOT_COMPLETED "status != 'completed'"
#define USE_PURGE                                                                                            \
    "Note that the %s command only works on non-completed invocations. If you want to remove a completed "   \
    "invocation, "                                                                                           \
    "consider using the purge command instead."

int invocations_cancel_run(struct tool *t)
{
    bool kill = tool_flag(t, "kill");
    struct change c = {kill ? "kill" : "cancel",
                       kill ? "Killed" : "Cancelled",
                       kill ? "kill" : "cancel",
                       NOT_COMPLETED,
                       tool_format(t, USE_PURGE, kill ? "kill" : "cancel"),
                       false};
    return change_run(t, &c);
}

int invocations_kill_run(struct tool *t)
{
    struct change c = {"kill", "Killed", "kill", NOT_COMPLETED, tool_format(t, USE_PURGE, "kill"), false};
    return change_run(t, &c);
}

int invocations_purge_run(struct tool *t)
{
    static const struct change c = {
        "purge",
        "Purged",
        "purge",
        "status = 'completed'",
        "Note that the purge command only works on completed invocations. If you need to cancel/kill an "
        "invocation, consider using the cancel command.",
        false};
    return change_run(t, &c);
}

int invocations_restart_run(struct tool *t)
{
    static const struct change c = {"restart",
                                    "Restarted",
                                    "restart-as-new",
                                    "status = 'completed'",
                                    "Note that the restart command only works on completed invocations.",
                                    true};
    return change_run(t, &c);
}

int invocations_resume_run(struct tool *t)
{
    const char *deployment = tool_text(t, "deployment");
    struct change c = {
        "resume",
        "Resumed",
        deployment ? tool_format(t, "resume?deployment=%s", url_part(t, deployment)) : "resume",
        "status IN ('paused', 'invoked', 'suspended')",
        "Note that the resume command only works on paused, suspended or backing-off invocations.",
        false};
    return change_run(t, &c);
}

int invocations_pause_run(struct tool *t)
{
    static const struct change c = {
        "pause",
        "Paused",
        "pause",
        "status IN ('invoked', 'suspended')",
        "Note that the pause command only works on running, suspended or backing-off invocations.",
        false};
    if (!api_ready(t))
        return 1;
    if (cli_of(t)->version == 2)
        return tool_fail(t, "pausing needs version 3 of the admin API; the server speaks version 2");
    return change_run(t, &c);
}

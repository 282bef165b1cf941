/* `invocations list` and the table of the group (spec/admin-api.md §21.4). */
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "cli/cli.h"
#include "tool/rows.h"

#define COUNT_LIMIT 50000

/* The WHERE clause that the options mean. */
static const char *where_clause(struct tool *t)
{
    struct writer w = WRITER_INIT;
    static const char *const lists[][2] = {{"service", "inv.target_service_name"},
                                           {"handler", "inv.target_handler_name"},
                                           {"key", "inv.target_service_key"}};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (tool_given(t, lists[i][0])) {
            write_fmt(&w, "%s%s IN %s", w.len ? " AND " : "WHERE ", lists[i][1], sql_list(t, lists[i][0]));
        }
    const char *and = w.len ? " AND " : "WHERE ";
    if (tool_flag(t, "virtual-objects-only")) {
        write_fmt(&w,
                  "%sinv.target_service_name IN (select name from sys_service where ty = 'virtual_object')",
                  and);
        and = " AND ";
    }
    if (tool_flag(t, "zombie")) {
        write_fmt(&w,
                  "%s(inv.pinned_deployment_id IS NOT NULL AND inv.pinned_deployment_id NOT IN (select id "
                  "from sys_deployment))",
                  and);
        and = " AND ";
    }
    if (tool_given(t, "deployment")) {
        const char *ids = sql_list(t, "deployment");
        write_fmt(&w, "%s(inv.pinned_deployment_id IN %s OR inv.last_attempt_deployment_id IN %s)", and, ids,
                  ids);
        and = " AND ";
    }
    if (tool_given(t, "completion-result"))
        write_fmt(&w, "%sstatus = 'completed' AND inv.completion_result = %s", and,
                  sql_text(t, tool_text(t, "completion-result")));
    else if (tool_flag(t, "all"))
        ;
    else if (tool_given(t, "status"))
        write_fmt(&w, "%sstatus IN %s", and, sql_list(t, "status"));
    else
        write_fmt(&w, "%sstatus != 'completed'", and);
    return tool_take_text(t, &w);
}

static int list_once(struct tool *t)
{
    const char *where = where_clause(t);
    const char *order = tool_flag(t, "oldest-first") ? "ORDER BY inv.created_at ASC, inv.id"
                                                     : "ORDER BY inv.created_at DESC, inv.id";
    struct writer took = WRITER_INIT;
    uint64_t begin = os_mono_ns();
    int64_t total;
    size_t i;
    json_t *row;
    unsigned limit = (unsigned)tool_number(t, "limit");
    if (!query_count(t,
                     tool_format(t, "SELECT COUNT(1) FROM (SELECT * FROM sys_invocation inv LIMIT %u ) %s",
                                 COUNT_LIMIT, where),
                     &total))
        return 1;
    json_t *rows = invocation_rows(t, where, order, limit);
    if (!rows)
        return 1;
    rows_duration(&took, os_mono_ns() - begin);
    if (tool_flag(t, "json")) {
        print_json(t, rows);
    } else {
        json_array_foreach(rows, i, row) invocation_print(t, row);
    }
    tool_flush(t);
    size_t n = json_array_size(rows);
    fprintf(stderr, "Showing %zu/%lld%s invocations. Query took %.*s\n", n, (long long)MAX(total, (int64_t)n),
            n && n >= limit ? "+" : "", SLICE_FMT(writer_slice(&took)));
    writer_free(&took);
    return 0;
}

static int list_run(struct tool *t)
{
    return cli_watch(t, list_once);
}

/* ---- the group ---- */

#define QUERY_HELP                                                                                           \
    "An invocation id, or what it calls: `Service`, `Service/handler`, `Object/key`, `Object/key/handler`"
#define QUERY_ARGUMENT                                                                                       \
    {                                                                                                        \
        "QUERY", .value = "QUERY", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = QUERY_HELP          \
    }
#define LIMIT_OPTION                                                                                         \
    {                                                                                                        \
        "limit", 0, "LIMIT", .help = "At most so many", .fallback = "500", .check = check_u32                \
    }
static const struct option list_options[] = {
    {"service", 0, "SERVICE", OPTION_LIST, .help = "Of these services"},
    {"handler", 0, "HANDLER", OPTION_LIST, .help = "Of these handlers"},
    {"key", 0, "KEY", OPTION_LIST, .help = "Of these keys"},
    {"status", 0, "STATUS", OPTION_LIST, .help = "In these states",
     .choices = "scheduled|pending|ready|running|suspended|backing-off|completed|paused"},
    {"deployment", 0, "DEPLOYMENT", OPTION_LIST, .help = "On these deployments", .aliases = "dp"},
    {"completion-result", 0, "COMPLETION_RESULT", .help = "Completed ones with this result",
     .choices = "success|failure", .excludes = "all|status"},
    {"all", .help = "Completed ones too"},
    {"virtual-objects-only", .help = "Of virtual objects"},
    {"zombie", .help = "Bound to a deployment that does not exist any more"},
    {"oldest-first", .help = "Oldest first"},
    {"limit", 0, "LIMIT", .help = "At most so many", .fallback = "100", .check = check_u32},
    {"json", .help = "Print JSON"},
    WATCH_OPTIONS,
    {0}};
static const struct option describe_options[] = {{"ID", .value = "ID",
                                                  .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
                                                  .help = "Id of the invocation: inv_..."},
                                                 {"json", .help = "Print JSON"},
                                                 WATCH_OPTIONS,
                                                 {0}};
static const struct option cancel_options[] = {
    QUERY_ARGUMENT, {"kill", .help = "Kill instead: no compensation runs"}, LIMIT_OPTION, {0}};
static const struct option query_options[] = {QUERY_ARGUMENT, LIMIT_OPTION, {0}};
static const struct option resume_options[] = {
    QUERY_ARGUMENT,
    {"deployment", 0, "DEPLOYMENT", .help = "`latest`, `keep`, or the id of the deployment to go on with"},
    LIMIT_OPTION,
    {0}};

const struct command invocations_commands[] = {
    {"list", "Invocations that are not completed, or others", .aliases = "ls", .options = list_options,
     .run = list_run,
     .examples = "restate invocations list --service Counter --status running,backing-off\n"
                 "restate invocations list --all --limit 20 --watch"},
    {"describe", "One invocation and its journal", .aliases = "get", .options = describe_options,
     .run = invocations_describe_run},
    {"cancel", "Cancel invocations: they may compensate", .options = cancel_options,
     .run = invocations_cancel_run, .examples = "restate invocations cancel Greeter/greet"},
    {"kill", "End invocations at once", .options = query_options, .run = invocations_kill_run},
    {"purge", "Forget completed invocations", .aliases = "rm", .options = query_options,
     .run = invocations_purge_run},
    {"restart-as-new", "Run completed invocations again, with the same input", .aliases = "restart",
     .options = query_options, .run = invocations_restart_run},
    {"resume", "Let paused or suspended invocations go on", .options = resume_options,
     .run = invocations_resume_run},
    {"pause", "Stop invocations until they are resumed", .options = query_options,
     .run = invocations_pause_run},
    {0}};

/* `vqueues`: queues of invocations with a scope (spec/admin-api.md §21.8). */
#include <stdio.h>

#include "cli/cli.h"
#include "wire/id.h"

#define COLUMNS                                                                                              \
    "id, is_active, queue_is_paused, service_name, scope, limit_key, lock_name, created_at, "                \
    "last_enqueued_at, last_start_at, last_attempt_at, last_finish_at, num_inbox, num_running, "             \
    "num_suspended, num_paused, num_finished"
#define ENTRY_COLUMNS "entry_id, entry_kind, stage, status, has_lock, created_at, num_attempts, deployment"

static const char *const counts[] = {"num_inbox", "num_running", "num_suspended", "num_paused",
                                     "num_finished"};

/* What is absent is a dash: an empty cell could be an empty text. */
static const char *text_or_dash(const json_t *row, const char *key)
{
    return *jtext(row, key) ? jtext(row, key) : "-";
}

static const char *time_or_dash(struct tool *t, const json_t *row, const char *key)
{
    return *jtext(row, key) ? date_text(t, jtext(row, key)) : "-";
}

static const char *truth_of(const json_t *row, const char *key)
{
    return jbool(row, key) ? "true" : "false";
}

static void count_cells(struct table *tb, const json_t *row)
{
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(row, counts[i]));
}

static int list_once(struct tool *t)
{
    size_t i;
    json_t *row;
    json_t *rows = query_rowsf(t, "SELECT " COLUMNS " FROM sys_vqueue_meta LIMIT %llu",
                               (unsigned long long)tool_number(t, "limit"));
    if (!rows)
        return 1;
    if (json_array_size(rows) == 0 && !t->json) {
        tool_say(t, "No virtual queues found.\n");
        return 0;
    }
    struct table *tb = table_new(t, "vqueues");
    table_header(tb, "ID", "SERVICE", "SCOPE", "LIMIT-KEY", "LOCK", "QUEUE-PAUSED", "INBOX", "RUNNING",
                 "SUSPENDED", "PAUSED ENTRIES", "FINISHED", NULL);
    json_array_foreach(rows, i, row)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(row, "id"));
        table_text(tb, STYLE_PLAIN, text_or_dash(row, "service_name"));
        table_text(tb, STYLE_PLAIN, text_or_dash(row, "scope"));
        table_text(tb, STYLE_PLAIN, text_or_dash(row, "limit_key"));
        table_text(tb, STYLE_PLAIN, text_or_dash(row, "lock_name"));
        table_text(tb, STYLE_PLAIN, truth_of(row, "queue_is_paused"));
        count_cells(tb, row);
    }
    table_print(tb);
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, list_once);
}

static void print_queue(struct tool *t, const json_t *queue)
{
    struct table *tb = table_new(t, "vqueue"), *entries = table_new(t, "entry_counts");
    say_title(t, "Virtual Queue Information");
    table_key_value(tb, "ID", "%s", jtext(queue, "id"));
    table_key_value(tb, "Service", "%s", text_or_dash(queue, "service_name"));
    table_key_value(tb, "Scope", "%s", text_or_dash(queue, "scope"));
    table_key_value(tb, "Limit key", "%s", text_or_dash(queue, "limit_key"));
    table_key_value(tb, "Lock", "%s", text_or_dash(queue, "lock_name"));
    table_key_value(tb, "Active", "%s", truth_of(queue, "is_active"));
    table_key_value(tb, "Paused", "%s", truth_of(queue, "queue_is_paused"));
    table_key_value(tb, "Created at", "%s", time_or_dash(t, queue, "created_at"));
    table_key_value(tb, "Last enqueued at", "%s", time_or_dash(t, queue, "last_enqueued_at"));
    table_key_value(tb, "Last started at", "%s", time_or_dash(t, queue, "last_start_at"));
    table_key_value(tb, "Last attempted at", "%s", time_or_dash(t, queue, "last_attempt_at"));
    table_key_value(tb, "Last finished at", "%s", time_or_dash(t, queue, "last_finish_at"));
    table_print(tb);
    tool_say(t, "\n");
    say_title(t, "Entry Counts");
    table_header(entries, "INBOX", "RUNNING", "SUSPENDED", "PAUSED", "FINISHED", NULL);
    table_row(entries);
    count_cells(entries, queue);
    table_print(entries);
}

static void print_entries(struct tool *t, json_t *rows)
{
    struct table *tb = table_new(t, "entries");
    size_t i;
    json_t *row;
    table_header(tb, "ENTRY ID", "KIND", "STAGE", "STATUS", "HAS LOCK", "ATTEMPTS", "CREATED-AT",
                 "DEPLOYMENT", NULL);
    json_array_foreach(rows, i, row)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(row, "entry_id"));
        table_text(tb, STYLE_PLAIN, jtext(row, "entry_kind"));
        table_text(tb, STYLE_PLAIN, jtext(row, "stage"));
        table_text(tb, STYLE_PLAIN, jtext(row, "status"));
        table_text(tb, STYLE_PLAIN, truth_of(row, "has_lock"));
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(row, "num_attempts"));
        table_text(tb, STYLE_PLAIN, time_or_dash(t, row, "created_at"));
        table_text(tb, STYLE_PLAIN, text_or_dash(row, "deployment"));
    }
    tool_say(t, "\n");
    say_title(t, "Entries");
    table_print(tb);
}

static int describe_once(struct tool *t)
{
    const char *id = tool_text(t, "VQUEUE_ID");
    json_t *found = query_rowsf(t, "SELECT " COLUMNS " FROM sys_vqueue_meta WHERE id = '%s'", id);
    const json_t *queue = json_array_get(found, 0);
    long long total = 0;
    if (!found)
        return 1;
    if (!queue)
        return tool_fail(t, "Virtual queue %s not found!", id);
    json_t *rows = query_rowsf(t, "SELECT " ENTRY_COLUMNS " FROM sys_vqueues WHERE id = '%s' %s LIMIT %llu",
                               id, tool_flag(t, "newest-first") ? "ORDER BY sequence_number DESC" : "",
                               (unsigned long long)tool_number(t, "limit"));
    if (!rows)
        return 1;
    print_queue(t, queue);
    print_entries(t, rows);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        total += jint(queue, counts[i]);
    tool_flush(t);
    fprintf(stderr, "Showing %zu/%lld entries.\n", json_array_size(rows), total);
    return 0;
}

static int describe_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, describe_once);
}

static enum rc check_queue_id(const char *value, struct err *err)
{
    struct invocation_id id;
    char text[128];
    enum id_error e = queue_id_parse(slice_cstr(value), &id);
    if (e == ID_OK)
        return RC_OK;
    id_error_message(e, slice_cstr(value), text, sizeof(text));
    return err_set(err, RC_INVALID, "%s", text);
}

#define LIMIT_OPTION                                                                                         \
    {                                                                                                        \
        "limit", 0, "LIMIT", .help = "At most so many", .fallback = "100", .check = check_u32                \
    }
static const struct option list_options[] = {
    LIMIT_OPTION, {"json", .help = "Print JSON"}, WATCH_OPTIONS, {0}};
static const struct option describe_options[] = {{"VQUEUE_ID", .value = "VQUEUE_ID",
                                                  .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
                                                  .help = "Id of the queue: vq_...", .check = check_queue_id},
                                                 LIMIT_OPTION,
                                                 {"newest-first", .help = "Newest first"},
                                                 {"json", .help = "Print JSON"},
                                                 WATCH_OPTIONS,
                                                 {0}};

const struct command vqueues_commands[] = {
    {"list", "The virtual queues", .aliases = "ls", .options = list_options, .run = list_run},
    {"describe", "One virtual queue and its entries", .aliases = "get", .options = describe_options,
     .run = describe_run, .examples = "restate vqueues describe vq_1... --newest-first --limit 10"},
    {0}};

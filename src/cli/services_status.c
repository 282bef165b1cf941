/* `services status` (spec/admin-api.md §21.3, §22 Q8 to Q11). */
#include <stdlib.h>

#include "base/time.h"
#include "cli/cli.h"

struct facts {
    json_t *inboxed;  /* Q8 */
    json_t *by_state; /* Q9 */
    json_t *queues;   /* Q10 */
    json_t *locks;    /* Q11 */
};

static const char *names_list(struct tool *t, const json_t *const *services, size_t n, bool keyed_only,
                              bool *any)
{
    struct writer w = WRITER_INIT;
    *any = false;
    write_u8(&w, '(');
    for (size_t i = 0; i < n; i++) {
        if (keyed_only && !*flavor_text(jtext(services[i], "ty")))
            continue;
        write_fmt(&w, "%s%s", *any ? "," : "", sql_text(t, jtext(services[i], "name")));
        *any = true;
    }
    write_u8(&w, ')');
    return tool_take_text(t, &w);
}

static bool fetch(struct tool *t, const json_t *const *services, size_t n, struct facts *f)
{
    bool any;
    const char *all = names_list(t, services, n, false, &any);
    *f = (struct facts){0};
    f->inboxed = query_rowsf(
        t,
        "SELECT target_service_name, target_handler_name, 'pending' as status, COUNT(1) as num_invocations, "
        "MIN(created_at) as "
        "oldest_at, FIRST_VALUE(id ORDER BY created_at ASC) as oldest_invocation FROM sys_invocation_status "
        "WHERE status == "
        "'inboxed' AND target_service_name IN %s GROUP BY target_service_name, target_handler_name",
        all);
    f->by_state =
        !f->inboxed
            ? NULL
            : query_rowsf(
                  t,
                  "SELECT target_service_name, target_handler_name, status, COUNT(1) as "
                  "num_invocations, MIN(created_at) as oldest_at, FIRST_VALUE(id ORDER BY created_at "
                  "ASC) as oldest_invocation FROM sys_invocation WHERE target_service_name IN %s GROUP "
                  "BY target_service_name, target_handler_name, status ORDER BY target_handler_name",
                  all);
    if (!f->by_state)
        return false;
    const char *keyed = names_list(t, services, n, true, &any);
    if (!any)
        return true;
    f->queues = query_rowsf(
        t,
        "SELECT service_name, service_key, COUNT(1) as num_pending FROM sys_inbox WHERE service_name IN %s "
        "GROUP BY service_name, service_key ORDER BY num_pending DESC",
        keyed);
    f->locks =
        !f->queues
            ? NULL
            : query_rowsf(
                  t,
                  "SELECT target_service_name as service_name, target_service_key as service_key, status as "
                  "invocation_status, first_value(id) as invocation_holding_lock, "
                  "first_value(target_handler_name) as "
                  "invocation_method_holding_lock, first_value(created_at) as invocation_created_at, "
                  "first_value(modified_at) as modified_at, first_value(pinned_deployment_id) as "
                  "pinned_deployment_id, "
                  "first_value(last_attempt_deployment_id) as last_attempt_deployment_id, "
                  "first_value(last_failure) as "
                  "last_failure_message, first_value(next_retry_at) as next_retry_at, "
                  "first_value(last_start_at) as "
                  "last_start_at, 0 as num_pending, sum(retry_count) as num_retries FROM sys_invocation "
                  "WHERE status != "
                  "'pending' AND target_service_name IN %s GROUP BY target_service_name, target_service_key, "
                  "status",
                  keyed);
    return f->locks != NULL;
}

/* ---- summary ---- */

static const char *const states[] = {"pending", "scheduled", "ready", "running", "backing-off", "suspended"};

static long long count_in(json_t *rows, const char *service, const char *handler, const char *state)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(jtext(row, "target_service_name"), service) == 0 &&
            strcmp(jtext(row, "target_handler_name"), handler) == 0 &&
            strcmp(jtext(row, "status"), state) == 0)
            return jint(row, "num_invocations");
    }
    return 0;
}

static const json_t *oldest_of(json_t *rows, const char *service, const char *handler)
{
    const json_t *oldest = NULL;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(jtext(row, "target_service_name"), service) != 0 ||
            strcmp(jtext(row, "target_handler_name"), handler) != 0 ||
            strcmp(jtext(row, "status"), "suspended") == 0)
            continue;
        if (!oldest || strcmp(jtext(row, "oldest_at"), jtext(oldest, "oldest_at")) < 0)
            oldest = row;
    }
    return oldest;
}

/* People see the service once, above its rows; as JSON each row names it. */
static void first_cells(struct table *tb, struct tool *t, const char *service, const char *name)
{
    table_row(tb);
    if (t->json)
        table_text(tb, STYLE_PLAIN, service);
    table_cell(tb, STYLE_PLAIN, t->json ? "%s" : "  %s", name);
}

static void first_columns(struct table *tb, struct tool *t, const char *name)
{
    if (t->json)
        table_header(tb, "SERVICE", name, NULL);
    else
        table_column(tb, "");
}

static void handler_row(struct tool *t, struct table *tb, const struct facts *f, const char *service,
                        const char *handler)
{
    first_cells(tb, t, service, handler);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        long long n = count_in(i == 0 ? f->inboxed : f->by_state, service, handler, states[i]);
        if (n || t->json)
            table_cell(tb, i == 4 ? STYLE_RED : i == 3 ? STYLE_GREEN : STYLE_PLAIN, "%lld", n);
        else
            table_text(tb, STYLE_PLAIN, "-");
    }
    const json_t *oldest = oldest_of(f->by_state, service, handler);
    if (oldest)
        table_cell(tb, STYLE_PLAIN, "%s %s (invoked %s)", jtext(oldest, "oldest_invocation"),
                   jtext(oldest, "status"), rough_ago_text(t, jtext(oldest, "oldest_at")));
    else
        table_text(tb, STYLE_PLAIN, "-");
}

/* Nothing as JSON. */
static void blank_row(struct table *tb, const struct tool *t, const char *first)
{
    if (t->json)
        return;
    table_row(tb);
    table_text(tb, STYLE_BOLD, first);
}

static void print_summary(struct tool *t, const json_t *const *services, size_t n, const struct facts *f)
{
    struct table *tb = table_new(t, "summary");
    say_title(t, "Summary");
    first_columns(tb, t, "HANDLER");
    table_header(tb, "PENDING", "SCHEDULED", "READY", "RUNNING", "BACKING-OFF", "SUSPENDED",
                 "OLDEST-NON-SUSPENDED-INVOCATION", NULL);
    for (size_t i = 0; i < n; i++) {
        const char *name = jtext(services[i], "name"), *flavor = flavor_text(jtext(services[i], "ty"));
        size_t n_handlers;
        const json_t **handlers = sorted_by(t, json_object_get(services[i], "handlers"), "name", &n_handlers);
        blank_row(tb, t, *flavor ? tool_format(t, "%s %s", name, flavor) : name);
        for (size_t k = 0; k < n_handlers; k++)
            handler_row(t, tb, f, name, jtext(handlers[k], "name"));
        blank_row(tb, t, "");
    }
    table_print(tb);
}

/* ---- keys ---- */

static long long queue_length(json_t *queues, const char *service, const char *key)
{
    size_t i;
    json_t *row;
    json_array_foreach(queues, i, row)
    {
        if (strcmp(jtext(row, "service_name"), service) == 0 && strcmp(jtext(row, "service_key"), key) == 0)
            return jint(row, "num_pending");
    }
    return 0;
}

/* `` It's been holding the lock for 13 s``, if for longer than --locked-key-held-threshold-second. */
static const char *held_text(struct tool *t, const json_t *lock)
{
    uint64_t since;
    if (!parse_rfc3339(jtext(lock, "modified_at"), &since))
        return "";
    uint64_t now = os_wall_ms(), limit = tool_number(t, "locked-key-held-threshold-second") * 1000;
    return now > since && now - since > limit ? tool_format(t, " It's been holding the lock for %s",
                                                            since_text(t, jtext(lock, "modified_at")))
                                              : "";
}

static const char *notes_text(struct tool *t, const json_t *lock)
{
    const char *state = jtext(lock, "invocation_status");
    if (strcmp(state, "running") == 0 && *jtext(lock, "last_start_at"))
        return tool_format(
            t, "Current attempt has been in-flight for %s.%s%s", since_text(t, jtext(lock, "last_start_at")),
            jint(lock, "num_retries") > 1
                ? tool_format(t, " Retried %lld time(s).", (long long)jint(lock, "num_retries") - 1)
                : "",
            held_text(t, lock));
    if (strcmp(state, "backing-off") == 0)
        return tool_format(
            t, "Retried %lld time(s).%s", (long long)jint(lock, "num_retries"),
            *jtext(lock, "next_retry_at")
                ? tool_format(t, " Next retry in %s.", until_text(t, jtext(lock, "next_retry_at")))
                : "");
    if (strcmp(state, "suspended") == 0 && *jtext(lock, "modified_at"))
        return tool_format(t, "Suspended for %s.", since_text(t, jtext(lock, "modified_at")));
    return "";
}

/* At most --locked-keys-limit of a service, as JSON all unless it is given; how many there are stands in
 * front. */
static void keys_of(struct tool *t, struct table *tb, const char *service, const struct facts *f)
{
    bool all = t->json && !tool_given(t, "locked-keys-limit");
    uint64_t left = all ? UINT64_MAX : tool_number(t, "locked-keys-limit");
    size_t i, n = 0;
    json_t *lock;
    json_array_foreach(f->locks, i, lock) n += strcmp(jtext(lock, "service_name"), service) == 0;
    if (n == 0)
        return;
    blank_row(tb, t, tool_format(t, "%s (%zu active keys)", service, n));
    json_array_foreach(f->locks, i, lock)
    {
        if (strcmp(jtext(lock, "service_name"), service) != 0)
            continue;
        if (left-- == 0)
            break;
        first_cells(tb, t, service, jtext(lock, "service_key"));
        table_cell(tb, STYLE_PLAIN, "%lld", queue_length(f->queues, service, jtext(lock, "service_key")));
        table_cell(tb, STYLE_PLAIN, "%s (%s)", jtext(lock, "invocation_holding_lock"),
                   jtext(lock, "invocation_status"));
        table_text(tb, STYLE_PLAIN, jtext(lock, "invocation_method_holding_lock"));
        table_text(tb, STYLE_PLAIN, notes_text(t, lock));
    }
    blank_row(tb, t, "");
}

static void print_keys(struct tool *t, const json_t *const *services, size_t n, const struct facts *f)
{
    struct table *tb = table_new(t, "active_keys");
    first_columns(tb, t, "KEY");
    table_header(tb, "QUEUE", "LOCKED-BY", "HANDLER", "NOTES", NULL);
    for (size_t i = 0; i < n; i++)
        keys_of(t, tb, jtext(services[i], "name"), f);
    if (table_rows(tb) == 0)
        return;
    say_title(t, "Active Keys");
    table_print(tb);
}

/* ---- the command ---- */

static int status_once(struct tool *t)
{
    const char *name = tool_text(t, "NAME");
    struct facts f;
    size_t n = 1, i;
    const json_t **services, *one;
    json_t *doc = api_get(t, name ? tool_format(t, "/services/%s", url_part(t, name)) : "/services"), *row;
    if (!doc)
        return 1;
    one = doc;
    services = name ? &one : sorted_by(t, json_object_get(doc, "services"), "name", &n);
    if (n == 0) {
        say_bad(t, "%s", NO_SERVICES_TEXT);
        return 0;
    }
    if (!fetch(t, services, n, &f))
        return 1;
    print_summary(t, services, n, &f);
    print_keys(t, services, n, &f);
    if (!name || t->json)
        return 0;
    json_t *recent = invocation_rows(
        t, tool_format(t, "WHERE inv.target_service_name = %s", sql_text(t, name)),
        "ORDER BY inv.created_at DESC, inv.id", (unsigned)tool_number(t, "sample-invocations-limit"));
    if (!recent)
        return 1;
    if (json_array_size(recent))
        say_title(t, "Recent Invocations");
    json_array_foreach(recent, i, row) invocation_print(t, row);
    return 0;
}

int services_status_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, status_once);
}

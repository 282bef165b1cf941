/* `invocations describe` (spec/admin-api.md §21.4, §22 Q13, §23). */
#include <stdlib.h>

#include "base/time.h"
#include "cli/cli.h"

#define JOURNAL_LIMIT 100

static uint64_t wake_up_ms(const json_t *v)
{
    return json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
}

/* `Counter/key/add ` of {"VirtualObject": {"name", "key", "handler"}}. */
static const char *target_text(struct tool *t, json_t *target)
{
    void *first = target ? json_object_iter(target) : NULL;
    const json_t *v = first ? json_object_iter_value(first) : NULL;
    const char *name = jtext(v, "name"), *key = jtext(v, "key");
    if (!*name)
        return "";
    return *key ? tool_format(t, "%s/%s/%s ", name, key, jtext(v, "handler"))
                : tool_format(t, "%s/%s ", name, jtext(v, "handler"));
}

/* What a command of the journal is about, from its JSON form. */
static const char *entry_details(struct tool *t, const char *entry_json)
{
    json_t *doc = cli_keep(t, json_loads(entry_json, 0, NULL));
    json_t *command = json_member(doc, "Command");
    void *first = command ? json_object_iter(command) : NULL;
    if (!first)
        return "";
    const char *kind = json_object_iter_key(first);
    json_t *v = json_object_iter_value(first);
    if (strcmp(kind, "Sleep") == 0 && wake_up_ms(json_object_get(v, "wake_up_time"))) {
        struct writer at = WRITER_INIT;
        uint64_t ms = wake_up_ms(json_object_get(v, "wake_up_time"));
        time_format_rfc3339(&at, ms * 1000, 3, "Z");
        const char *text = tool_take_text(t, &at);
        return ms > os_wall_ms()
                   ? tool_format(t, "until %s (%s left)", stamp_text(t, text), until_text(t, text))
                   : tool_format(t, "until %s", stamp_text(t, text));
    }
    if (*jtext(v, "key"))
        return tool_format(t, "key %s", jtext(v, "key"));
    json_t *request = json_member(v, "request");
    if (*jtext(request, "invocation_id"))
        return tool_format(t, "%s%s", target_text(t, json_member(request, "invocation_target")),
                           jtext(request, "invocation_id"));
    if (*jtext(v, "invocation_id"))
        return jtext(v, "invocation_id");
    return *jtext(v, "id") ? tool_format(t, "id %s", jtext(v, "id")) : "";
}

static void journal_line(struct tool *t, const json_t *e)
{
    const char *when = jtext(e, "appended_at"), *name = jtext(e, "name"),
               *target = jtext(e, "invoked_target");
    const char *details = *jtext(e, "entry_json") ? entry_details(t, jtext(e, "entry_json")) : "";
    const char *invoked = jtext(e, "invoked_id"), *promise = jtext(e, "promise_name");
    struct writer w = WRITER_INIT;
    write_fmt(&w, "     ├──── #%lld", (long long)jint(e, "index"));
    if (*when)
        write_fmt(&w, " [%s]", stamp_text(t, when));
    write_fmt(&w, " %s", jtext(e, "entry_type"));
    if (*name)
        write_fmt(&w, " [%s]", name);
    if (*target)
        write_fmt(&w, " %s", target);
    if (*invoked)
        write_fmt(&w, " %s", invoked);
    else if (*promise && !*details)
        write_fmt(&w, " key %s", promise);
    else
        write_fmt(&w, " %s", details);
    tool_say(t, "%.*s\n", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

static void print_progress(struct tool *t, const json_t *row, json_t *journal)
{
    const char *caller = jtext(row, "invoked_by_target");
    size_t n = json_array_size(journal);
    say_title(t, "Invocation Progress");
    if (*caller)
        tool_say(t, "%s %s\n", caller, jtext(row, "invoked_by_id"));
    else
        tool_say(t, "[Ingress]\n");
    tool_say(t, " └──(this)─> %s\n     ▸\n", jtext(row, "target"));
    if (n == JOURNAL_LIMIT)
        tool_say(t, "     ⋮ (the last %d entries)\n", JOURNAL_LIMIT);
    for (size_t i = n; i-- > 0;) /* newest first in the answer */
        journal_line(t, json_array_get(journal, i));
    tool_say(t, "     └────>> %s\n", jtext(row, "status"));
}

static void print_both(struct tool *t, json_t *row, json_t *journal)
{
    json_t *doc = cli_keep(t, json_object());
    json_object_set(doc, "invocation", row);
    json_object_set(doc, "journal", journal);
    print_json(t, doc);
}

static int describe_once(struct tool *t)
{
    const char *id = tool_text(t, "ID");
    json_t *rows = invocation_rows(t, tool_format(t, "WHERE inv.id = %s", sql_text(t, id)), "", 1);
    if (!rows)
        return 1;
    json_t *row = json_array_get(rows, 0);
    if (!row)
        return tool_fail(t, "Invocation %s not found!", id);
    json_t *journal = query_rowsf(
        t,
        "SELECT sj.index, sj.entry_type, sj.completed, sj.invoked_id, sj.invoked_target, "
        "sj.sleep_wakeup_at, sj.name, sj.promise_name, sj.version, sj.entry_json, sj.appended_at FROM "
        "sys_journal sj WHERE sj.id = %s ORDER BY index DESC LIMIT %d",
        sql_text(t, id), JOURNAL_LIMIT);
    if (!journal)
        return 1;
    if (tool_flag(t, "json")) {
        print_both(t, row, journal);
        return 0;
    }
    say_title(t, "Invocation Information");
    struct table *tb = table_new(t, "invocation");
    table_key_value(tb, "Created at", "%s (%s)", stamp_text(t, jtext(row, "created_at")),
                    rough_ago_text(t, jtext(row, "created_at")));
    invocation_details(t, tb, row);
    if (*jtext(row, "state_modified_at"))
        table_key_value(tb, "Modified at", "%s", stamp_text(t, jtext(row, "state_modified_at")));
    table_print(tb);
    if (*jtext(row, "pinned_deployment_id"))
        say_tip(t,
                tool_format(
                    t,
                    "This invocation is bound to deployment '%s' and does not move to a newer one by itself.",
                    jtext(row, "pinned_deployment_id")));
    tool_say(t, "\n");
    print_progress(t, row, journal);
    return 0;
}

int invocations_describe_run(struct tool *t)
{
    return cli_watch(t, describe_once);
}

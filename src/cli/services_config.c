/* `services config view`, `patch`, `edit` (spec/admin-api.md §21.3). */
#include <stdlib.h>

#include "cli/cli.h"

/* The members that can be changed, in the order in which they are sent and shown. */
static const struct {
    const char *member, *option, *title, *comment;
} settings[] = {
    {"public", "public", "Public", "Can it be called through the ingress? true or false"},
    {"idempotency_retention", "idempotency-retention", "Idempotent requests retention",
     "How long results of calls with an idempotency key are kept"},
    {"workflow_completion_retention", "workflow-completion-retention", "Workflow retention time",
     "How long results, state and promises of a workflow run are kept"},
    {"journal_retention", "journal-retention", "Journal retention",
     "How long the journal of a completed invocation is kept"},
    {"inactivity_timeout", "inactivity-timeout", "Inactivity timeout",
     "After so long without progress the handler is asked to suspend"},
    {"abort_timeout", "abort-timeout", "Abort timeout",
     "After so long more the connection to the handler is cut"},
};
#define N_SETTINGS ARRAY_LEN(settings)

static const char *value_text(struct tool *t, const json_t *v)
{
    if (json_is_boolean(v))
        return json_is_true(v) ? "true" : "false";
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_integer(v))
        return tool_format(t, "%lld", (long long)json_integer_value(v));
    if (json_is_real(v))
        return tool_format(t, "%g", json_real_value(v));
    return "<UNSET>";
}

static bool for_workflows_only(size_t i)
{
    return strcmp(settings[i].member, "workflow_completion_retention") == 0;
}

static json_t *get_service(struct tool *t)
{
    return api_get(t, tool_format(t, "/services/%s", url_part(t, tool_text(t, "NAME"))));
}

/* ---- view ---- */

static void key_value_table(struct tool *t, const char *key, const char *value)
{
    struct table *tb = table_new(t, key);
    table_key_value(tb, key, "%s", value);
    table_print(tb);
    tool_say(t, "\n");
}

static void retry_rows(struct tool *t, const json_t *policy)
{
    static const char *const rows[][2] = {{"max_attempts", "Max attempts"},
                                          {"on_max_attempts", "On max attempts"},
                                          {"initial_interval", "Initial interval"},
                                          {"exponentiation_factor", "Exponentiation factor"},
                                          {"max_interval", "Max interval"}};
    struct table *tb = table_new(t, "retry_policy");
    tool_say(t, " Retry Policy:\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const json_t *v = json_object_get(policy, rows[i][0]);
        table_key_value(tb, tool_format(t, "  %s", rows[i][1]), "%s",
                        v && !json_is_null(v) ? value_text(t, v) : "<UNSET>");
    }
    table_print(tb);
}

static void handler_overrides(struct tool *t, const json_t *service)
{
    static const char *const members[] = {"public",
                                          "idempotency_retention",
                                          "workflow_completion_retention",
                                          "journal_retention",
                                          "inactivity_timeout",
                                          "abort_timeout",
                                          "enable_lazy_state"};
    size_t n;
    const json_t **handlers = sorted_by(t, json_object_get(service, "handlers"), "name", &n);
    for (size_t i = 0; i < n; i++) {
        struct table *tb = table_new(t, jtext(handlers[i], "name"));
        for (size_t k = 1; k < ARRAY_LEN(members); k++) {
            const json_t *v = json_object_get(handlers[i], members[k]);
            if (v && !json_is_null(v))
                table_key_value(tb, tool_format(t, "  %s", members[k]), "%s", value_text(t, v));
        }
        if (table_rows(tb) == 0)
            continue;
        tool_say(t, "\n Handler %s:\n", jtext(handlers[i], "name"));
        table_print(tb);
    }
}

static int view_run(struct tool *t)
{
    json_t *s = get_service(t);
    if (!s)
        return 1;
    if (tool_flag(t, "json")) {
        print_json(t, s);
        return 0;
    }
    bool workflow = strcmp(jtext(s, "ty"), "Workflow") == 0;
    struct table *tb = table_new(t, "service");
    table_key_value(tb, "Name", "%s", jtext(s, "name"));
    table_key_value(tb, "Service type", "%s", jtext(s, "ty"));
    table_print(tb);
    tool_say(t, "\n");
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (workflow || !for_workflows_only(i))
            key_value_table(t, settings[i].title, value_text(t, json_object_get(s, settings[i].member)));
    key_value_table(t, "Enable lazy state", value_text(t, json_object_get(s, "enable_lazy_state")));
    retry_rows(t, json_object_get(s, "retry_policy"));
    handler_overrides(t, s);
    tool_say(t, "\n");
    return 0;
}

/* ---- patch, edit ---- */

/* `values`: text per setting or NULL. */
static int apply(struct tool *t, const char *const *values)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    struct table *tb = table_new(t, "changes");
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (values[i])
            table_key_value(tb, settings[i].title, "%s", values[i]);
    if (table_rows(tb) == 0) {
        tool_say(t, "No changes requested\n");
        return 0;
    }
    table_print(tb);
    if (!tool_confirm(t, "Are you sure you want to apply these changes?"))
        return tool_aborted(t);
    json_open(&o, '{');
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (i == 0 && values[i])
            json_flag(&o, settings[i].member, strcmp(values[i], "true") == 0);
        else
            json_text(&o, settings[i].member, values[i]);
    }
    json_close(&o, '}');
    const char *body = tool_take_text(t, &w);
    return api_do(t, "PATCH", tool_format(t, "/services/%s", url_part(t, tool_text(t, "NAME"))), body) ? 0
                                                                                                       : 1;
}

static int patch_run(struct tool *t)
{
    const char *values[N_SETTINGS];
    for (size_t i = 0; i < N_SETTINGS; i++)
        values[i] = tool_text(t, settings[i].option);
    return apply(t, values);
}

static const char *template_of(struct tool *t, const json_t *s)
{
    struct writer w = WRITER_INIT;
    bool workflow = strcmp(jtext(s, "ty"), "Workflow") == 0;
    write_fmt(&w, "# Settings of %s. Lines that stay as they are change nothing.\n", jtext(s, "name"));
    for (size_t i = 0; i < N_SETTINGS; i++) {
        const json_t *v = json_object_get(s, settings[i].member);
        if (for_workflows_only(i) && !workflow)
            continue;
        write_fmt(&w, "\n# %s\n", settings[i].comment);
        if (!v || json_is_null(v))
            write_fmt(&w, "# %s = \"1d\"\n", settings[i].member);
        else
            write_fmt(&w, json_is_boolean(v) ? "%s = %s\n" : "%s = \"%s\"\n", settings[i].member,
                      value_text(t, v));
    }
    return tool_take_text(t, &w);
}

/* `member = "value"` lines. NULL or why not. */
static const char *read_template(struct tool *t, const char *text, const char **values)
{
    char *copy = arena_copy_text(&t->arena, text), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        char *equals = strchr(line, '=');
        if (!*line || *line == '#')
            continue;
        if (!equals)
            return tool_format(t, "a line is not understood: %s", line);
        size_t len = (size_t)(equals - line);
        while (len && strchr(" \t", line[len - 1]))
            len--;
        char *value = equals + 1 + strspn(equals + 1, " \t\"");
        value[strcspn(value, "\"\r#")] = 0;
        for (size_t n = strlen(value); n && strchr(" \t", value[n - 1]);)
            value[--n] = 0;
        size_t i = 0;
        while (i < N_SETTINGS && !slice_eq_cstr(slice_make(line, len), settings[i].member))
            i++;
        if (i == N_SETTINGS)
            return tool_format(t, "unknown setting '%.*s'", (int)len, line);
        values[i] = value;
    }
    return NULL;
}

static int edit_run(struct tool *t)
{
    json_t *s = get_service(t);
    const char *before[N_SETTINGS] = {NULL}, *after[N_SETTINGS] = {NULL};
    struct bytes changed = BYTES_EMPTY;
    struct err err = {0};
    if (!s)
        return 1;
    const char *text = template_of(t, s);
    if (tool_edit_text(t, ".toml", slice_cstr(text), &changed, &err) != RC_OK)
        return tool_fail(t, "%s", err.msg);
    const char *edited = arena_copy_slice(&t->arena, bytes_slice(changed));
    bytes_unref(&changed);
    read_template(t, text, before);
    const char *why = read_template(t, edited, after);
    if (why)
        return tool_fail(t, "%s", why);
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (after[i] && before[i] && strcmp(after[i], before[i]) == 0)
            after[i] = NULL;
    return apply(t, after);
}

/* ---- the group ---- */

#define NAME_ARGUMENT                                                                                        \
    {                                                                                                        \
        "NAME", .value = "NAME", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "Name of the service" \
    }
static const struct option view_options[] = {NAME_ARGUMENT, {"json", .help = "Print JSON"}, {0}};
static const struct option edit_options[] = {NAME_ARGUMENT, {0}};
static const struct option patch_options[] = {
    NAME_ARGUMENT,
    {"public", 0, "PUBLIC", .help = "Can it be called through the ingress?", .choices = "true|false"},
    {"idempotency-retention", 0, "IDEMPOTENCY_RETENTION",
     .help = "Results of idempotent calls are kept so long", .check = check_duration},
    {"workflow-completion-retention", 0, "WORKFLOW_COMPLETION_RETENTION",
     .help = "Workflow runs are kept so long", .check = check_duration},
    {"journal-retention", 0, "JOURNAL_RETENTION", .help = "Journals are kept so long",
     .check = check_duration},
    {"inactivity-timeout", 0, "INACTIVITY_TIMEOUT", .help = "Then the handler is asked to suspend",
     .check = check_duration},
    {"abort-timeout", 0, "ABORT_TIMEOUT", .help = "Then the connection is cut", .check = check_duration},
    {0}};

const struct command service_config_commands[] = {
    {"view", "Show the settings of a service", .aliases = "get", .options = view_options, .run = view_run},
    {"edit", "Change the settings of a service in an editor", .options = edit_options, .run = edit_run},
    {"patch", "Change settings of a service", .options = patch_options, .run = patch_run,
     .examples = "restate services config patch Greeter --public false --journal-retention 1h"},
    {0}};

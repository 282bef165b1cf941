/* `rules`: limits of concurrency (spec/admin-api.md §21.8). */
#include <stdlib.h>

#include "cli/cli.h"
#include "wire/scope.h"

#define COLUMNS "pattern, concurrency, description, disabled, version, last_modified"

static int list_once(struct tool *t)
{
    bool extra = tool_flag(t, "extra");
    size_t i;
    json_t *r;
    json_t *rows = query_rows(t, "SELECT " COLUMNS " FROM sys_rules ORDER BY pattern");
    if (!rows)
        return 1;
    if (json_array_size(rows) == 0 && !t->json) {
        tool_say(t, "No rules defined.\n");
        return 0;
    }
    struct table *tb = table_new(t, "rules");
    table_header(tb, "PATTERN", "CONCURRENCY", "DISABLED", NULL);
    if (extra)
        table_header(tb, "DESCRIPTION", "VERSION", "LAST MODIFIED", NULL);
    json_array_foreach(rows, i, r)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(r, "pattern"));
        if (json_object_get(r, "concurrency"))
            table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(r, "concurrency"));
        else
            table_text(tb, STYLE_PLAIN, "unlimited");
        table_text(tb, STYLE_PLAIN, jbool(r, "disabled") ? "yes" : "no");
        if (extra) {
            table_text(tb, STYLE_PLAIN, jtext(r, "description"));
            table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(r, "version"));
            table_text(tb, STYLE_PLAIN, date_text(t, jtext(r, "last_modified")));
        }
    }
    table_print(tb);
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, list_once);
}

/* Said before anything is asked of the server. */
static bool pattern_good(struct tool *t)
{
    struct slice levels[PATTERN_LEVELS];
    char room[128];
    const char *pattern = tool_text(t, "PATTERN"),
               *problem = pattern_problem(slice_cstr(pattern), levels, room);
    if (problem)
        tool_fail(t, "Invalid rule pattern '%s': %s", pattern, problem);
    return !problem;
}

/* The rule now; `*rule` NULL: there is none. false: failed. */
static bool current(struct tool *t, json_t **rule)
{
    json_t *rows = query_rowsf(t, "SELECT " COLUMNS " FROM sys_rules WHERE pattern = %s",
                               sql_text(t, tool_text(t, "PATTERN")));
    *rule = json_array_get(rows, 0);
    return rows != NULL;
}

static int sent(struct tool *t, struct api_call *call)
{
    if (call->status == 409)
        return tool_fail(t, "Rule '%s' was modified concurrently; please re-run.", tool_text(t, "PATTERN"));
    return api_good(call) ? 0 : api_failed(t, call);
}

/* Put with a precondition on what was read. `concurrency` below 0: unlimited. */
static int put(struct tool *t, const json_t *old, int64_t concurrency, const char *description, bool disabled,
               int64_t *version)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '[');
    json_open(&o, '{');
    json_text(&o, "pattern", tool_text(t, "PATTERN"));
    json_open_at(&o, "limits", '{');
    if (concurrency >= 0)
        json_number(&o, "concurrency", (uint64_t)concurrency);
    json_close(&o, '}');
    json_text_opt(&o, "description", description && *description ? description : NULL);
    json_flag(&o, "disabled", disabled);
    json_open_at(&o, "precondition", '{');
    json_text(&o, "type", old ? "matches" : "does_not_exist");
    if (old)
        json_number(&o, "version", (uint64_t)jint(old, "version"));
    json_close(&o, '}');
    json_close(&o, '}');
    json_close(&o, ']');
    struct api_call call = {.method = "PUT", .path = "/limits/rules", .body = tool_take_text(t, &w)};
    api_run(t, &call, 1);
    json_t *doc = api_json(t, &call, NULL);
    *version = jint(json_array_get(doc, 0), "version");
    return sent(t, &call);
}

static int64_t concurrency_of(const json_t *rule)
{
    return rule && json_object_get(rule, "concurrency") ? jint(rule, "concurrency") : -1;
}

static int set_run(struct tool *t)
{
    json_t *old;
    int64_t version;
    if (!pattern_good(t) || !current(t, &old))
        return 1;
    int64_t concurrency = tool_flag(t, "unlimited")      ? -1
                          : tool_given(t, "concurrency") ? (int64_t)tool_number(t, "concurrency")
                                                         : concurrency_of(old);
    const char *description =
        tool_given(t, "description") ? tool_text(t, "description") : jtext(old, "description");
    bool disabled = tool_flag(t, "disabled") || (old && jbool(old, "disabled"));
    int rc = put(t, old, concurrency, description, disabled, &version);
    if (rc == 0)
        say_good(t, "%s rule '%s' (version v%lld)", old ? "Updated" : "Created", tool_text(t, "PATTERN"),
                 (long long)version);
    return rc;
}

static int switch_run(struct tool *t, bool disabled)
{
    json_t *old;
    int64_t version;
    const char *pattern = tool_text(t, "PATTERN"), *word = disabled ? "disabled" : "enabled";
    if (!current(t, &old))
        return 1;
    if (!old)
        return tool_fail(t, "Rule '%s' does not exist", pattern);
    if (jbool(old, "disabled") == disabled) {
        tool_say(t, "Rule '%s' is already %s.\n", pattern, word);
        return 0;
    }
    int rc = put(t, old, concurrency_of(old), jtext(old, "description"), disabled, &version);
    if (rc == 0)
        say_good(t, "Rule '%s' %s", pattern, word);
    return rc;
}

static int enable_run(struct tool *t)
{
    return switch_run(t, false);
}

static int disable_run(struct tool *t)
{
    return switch_run(t, true);
}

static int delete_run(struct tool *t)
{
    json_t *old;
    const char *pattern = tool_text(t, "PATTERN");
    if (!current(t, &old))
        return 1;
    if (!old)
        return tool_fail(t, "Rule '%s' does not exist", pattern);
    struct table *tb = table_new(t, "rule");
    table_key_value(tb, "Pattern", "%s", pattern);
    if (concurrency_of(old) >= 0)
        table_key_value(tb, "Concurrency", "%lld", (long long)concurrency_of(old));
    else
        table_key_value(tb, "Concurrency", "unlimited");
    if (jtext(old, "description")[0])
        table_key_value(tb, "Description", "%s", jtext(old, "description"));
    table_key_value(tb, "Disabled", "%s", jbool(old, "disabled") ? "yes" : "no");
    table_print(tb);
    if (!tool_confirm(t, tool_format(t, "Delete rule '%s'?", pattern)))
        return tool_aborted(t);
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '[');
    json_open(&o, '{');
    json_text(&o, "pattern", pattern);
    json_number(&o, "expected_version", (uint64_t)jint(old, "version"));
    json_close(&o, '}');
    json_close(&o, ']');
    struct api_call call = {
        .method = "POST", .path = "/limits/rules/bulk-delete", .body = tool_take_text(t, &w)};
    api_run(t, &call, 1);
    int rc = sent(t, &call);
    if (rc == 0)
        say_good(t, "Deleted rule '%s'", pattern);
    return rc;
}

#define PATTERN_ARGUMENT                                                                                     \
    {                                                                                                        \
        "PATTERN", .value = "PATTERN", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,                         \
                   .help = "What the rule is for: `scope/*`"                                                 \
    }
static const struct option list_options[] = {{"extra", 'x', .help = "Description, version, last change"},
                                             {"json", .help = "Print JSON"},
                                             WATCH_OPTIONS,
                                             {0}};
static enum rc check_concurrency(const char *value, struct err *err)
{
    return strspn(value, "0") == strlen(value) && *value
               ? err_set(err, RC_INVALID, "at least 1, since nothing could run; see --unlimited")
               : check_u32(value, err);
}

static const struct option set_options[] = {PATTERN_ARGUMENT,
                                            {"concurrency", 0, "CONCURRENCY", .help = "So many at a time",
                                             .check = check_concurrency, .excludes = "unlimited"},
                                            {"unlimited", .help = "No limit"},
                                            {"description", 0, "DESCRIPTION", .help = "What it is for"},
                                            {"disabled", .help = "Create it switched off"},
                                            {0}};
static const struct option one_options[] = {PATTERN_ARGUMENT, {0}};

const struct command rules_commands[] = {
    {"list", "The rules", .aliases = "ls", .options = list_options, .run = list_run},
    {"set", "Create or change a rule", .options = set_options, .run = set_run,
     .examples = "restate rules set 'tenant/*' --concurrency 10"},
    {"enable", "Switch a rule on", .options = one_options, .run = enable_run},
    {"disable", "Switch a rule off", .options = one_options, .run = disable_run},
    {"delete", "Delete a rule", .aliases = "rm|remove", .options = one_options, .run = delete_run},
    {0}};

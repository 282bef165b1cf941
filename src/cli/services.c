/* `services list`, `describe`, and the table of the group (spec/admin-api.md §21.3). */
#include <stdlib.h>

#include "cli/cli.h"

static const char *methods_text(struct tool *t, const json_t *service)
{
    struct writer w = WRITER_INIT;
    size_t n;
    const json_t **handlers = sorted_by(t, json_object_get(service, "handlers"), "name", &n);
    for (size_t i = 0; i < n; i++)
        write_fmt(&w, "%s%s", i ? "\n" : "", jtext(handlers[i], "name"));
    return tool_take_text(t, &w);
}

/* Absent means public. */
static bool is_public(const json_t *service)
{
    return !json_is_false(json_object_get(service, "public"));
}

static const char *visibility(struct tool *t, bool public)
{
    return public ? (t->color ? "🌎" : "[public]") : t->color ? "🔒" : "[private]";
}

static int list_once(struct tool *t)
{
    bool extra = tool_flag(t, "extra");
    size_t n;
    json_t *doc = api_get(t, "/services");
    if (!doc)
        return 1;
    const json_t **services = sorted_by(t, json_object_get(doc, "services"), "name", &n);
    if (n == 0 && !t->json) {
        say_bad(t, "%s", NO_SERVICES_TEXT);
        return 0;
    }
    json_t *deployments = api_get(t, "/deployments");
    if (!deployments)
        return 1;
    struct table *tb = table_new(t, "services");
    table_header(tb, t->json ? "VISIBILITY" : "", "NAME", "REVISION", "FLAVOR", "DEPLOYMENT-TYPE",
                 "DEPLOYMENT-ID", NULL);
    if (extra)
        table_header(tb, "ENDPOINT", "METHODS", NULL);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = services[i];
        const json_t *d =
            find_named(json_object_get(deployments, "deployments"), "id", jtext(s, "deployment_id"));
        if (tool_flag(t, "public-only") && !is_public(s))
            continue;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, visibility(t, is_public(s)));
        table_text(tb, STYLE_PLAIN, jtext(s, "name"));
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(s, "revision"));
        table_text(tb, STYLE_PLAIN, flavor_text(jtext(s, "ty")));
        table_text(tb, STYLE_PLAIN, d ? deployment_kind(d) : "");
        table_text(tb, STYLE_PLAIN, jtext(s, "deployment_id"));
        if (extra) {
            table_text(tb, STYLE_PLAIN, d ? deployment_address(d) : "");
            table_text(tb, STYLE_PLAIN, methods_text(t, s));
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

/* ---- describe ---- */

static int older_revisions(struct tool *t, const json_t *service)
{
    json_t *all = api_get(t, "/deployments");
    struct table *tb = table_new(t, "older_revisions");
    size_t i;
    json_t *d;
    if (!all)
        return 1;
    table_header(tb, "ADDRESS", "TYPE", "SERVICE-REVISION", "ACTIVE-INVOCATIONS", "DEPLOYMENT-ID", NULL);
    json_array_foreach(json_object_get(all, "deployments"), i, d)
    {
        const json_t *own = find_named(json_object_get(d, "services"), "name", jtext(service, "name"));
        int64_t active;
        if (!own || strcmp(jtext(d, "id"), jtext(service, "deployment_id")) == 0)
            continue;
        if (!deployment_active(t, jtext(d, "id"), &active))
            return 1;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, deployment_address(d));
        table_text(tb, STYLE_PLAIN, deployment_kind(d));
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(own, "revision"));
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)active);
        table_text(tb, STYLE_PLAIN, jtext(d, "id"));
    }
    if (table_rows(tb)) {
        tool_say(t, "\n");
        say_title(t, "Older Revisions");
        table_print(tb);
    }
    return 0;
}

static int describe_once(struct tool *t)
{
    json_t *s = api_get(t, tool_format(t, "/services/%s", url_part(t, tool_text(t, "NAME"))));
    json_t *d =
        s ? api_get(t, tool_format(t, "/deployments/%s", url_part(t, jtext(s, "deployment_id")))) : NULL;
    if (!d)
        return 1;
    struct table *tb = table_new(t, "service");
    say_title(t, "Service Information");
    table_key_value(tb, "Name", "%s", jtext(s, "name"));
    table_key_value(tb, "Service type", "%s", jtext(s, "ty"));
    table_key_value(tb, "Revision", "%lld", (long long)jint(s, "revision"));
    table_key_value(tb, "Public", "%s", is_public(s) ? "true" : "false");
    table_key_value(tb, "Deployment ID", "%s", jtext(s, "deployment_id"));
    deployment_rows(t, tb, d);
    table_print(tb);
    tool_say(t, "\n");
    say_title(t, "Handlers");
    handlers_table(t, s, NULL, 0);
    return older_revisions(t, s);
}

static int describe_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, describe_once);
}

/* ---- the group ---- */

#define NAME_ARGUMENT(extra_flags)                                                                           \
    {                                                                                                        \
        "NAME", .value = "NAME", .flags = OPTION_POSITIONAL | (extra_flags), .help = "Name of the service"   \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "json", .help = "Print JSON"                                                                         \
    }
static const struct option list_options[] = {
    {"public-only", .help = "Only services that can be called through the ingress"},
    {"extra", .help = "Endpoints and handlers"},
    JSON_OPTION,
    WATCH_OPTIONS,
    {0}};
static const struct option describe_options[] = {
    NAME_ARGUMENT(OPTION_REQUIRED), JSON_OPTION, WATCH_OPTIONS, {0}};
static const struct option status_options[] = {
    NAME_ARGUMENT(0),
    {"locked-keys-limit", 0, "LIMIT", .help = "At most so many active keys of a service; JSON has all",
     .fallback = "5", .check = check_u32},
    {"locked-key-held-threshold-second", 0, "SECONDS",
     .help = "From which time on it is said how long a key has been locked", .fallback = "5",
     .check = check_u32},
    {"sample-invocations-limit", 0, "LIMIT", .help = "At most so many recent invocations", .fallback = "5",
     .check = check_u32},
    JSON_OPTION,
    WATCH_OPTIONS,
    {0}};

const struct command services_commands[] = {
    {"list", "The registered services", .aliases = "ls", .options = list_options, .run = list_run},
    {"describe", "One service: where it runs, its handlers", .aliases = "get", .options = describe_options,
     .run = describe_run},
    {"status", "What services do now", .options = status_options, .run = services_status_run},
    {"config", "Settings of a service", .children = service_config_commands},
    {0}};

/* `deployments list`, `describe`, `remove` (spec/admin-api.md §21.2). */
#include <stdlib.h>

#include "cli/cli.h"

#define NONE_REGISTERED                                                                                      \
    "No deployments were found! Did you forget to register your deployment with 'restate dep register'?"

enum deployment_status { DEPLOYMENT_ACTIVE, DEPLOYMENT_DRAINING, DEPLOYMENT_DRAINED };
static const char *const status_names[] = {"Active", "Draining", "Drained"};
static const unsigned status_styles[] = {STYLE_GREEN, STYLE_YELLOW, STYLE_PLAIN};

/* Holds the latest revision of any of its services, or one that is not known any more? */
static enum deployment_status status_of(const json_t *deployment, const json_t *services, int64_t active)
{
    size_t i;
    json_t *own;
    json_array_foreach(json_object_get(deployment, "services"), i, own)
    {
        const json_t *latest = find_named(services, "name", jtext(own, "name"));
        if (!latest || strcmp(jtext(latest, "deployment_id"), jtext(deployment, "id")) == 0)
            return DEPLOYMENT_ACTIVE;
    }
    return active > 0 ? DEPLOYMENT_DRAINING : DEPLOYMENT_DRAINED;
}

static const char *services_text(struct tool *t, const json_t *deployment)
{
    struct writer w = WRITER_INIT;
    size_t n;
    const json_t **services = sorted_by(t, json_object_get(deployment, "services"), "name", &n);
    for (size_t i = 0; i < n; i++)
        write_fmt(&w, "%s- %s [%lld]", i ? "\n" : "", jtext(services[i], "name"),
                  (long long)jint(services[i], "revision"));
    return tool_take_text(t, &w);
}

/* ---- list ---- */

struct line {
    const json_t *d;
    enum deployment_status status;
    int64_t active;
};

static int newest_first(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->status != y->status)
        return x->status < y->status ? -1 : 1;
    return strcmp(jtext(y->d, "created_at"), jtext(x->d, "created_at"));
}

static int list_once(struct tool *t)
{
    bool extra = tool_flag(t, "extra");
    json_t *services = api_get(t, "/services"), *all = services ? api_get(t, "/deployments") : NULL;
    if (!all)
        return 1;
    json_t *list = json_object_get(all, "deployments");
    size_t n = json_array_size(list);
    struct line *lines = arena_array(&t->arena, struct line, n + 1);
    for (size_t i = 0; i < n; i++) {
        lines[i].d = json_array_get(list, i);
        if (extra && !deployment_active(t, jtext(lines[i].d, "id"), &lines[i].active))
            return 1;
        if (extra)
            lines[i].status = status_of(lines[i].d, json_object_get(services, "services"), lines[i].active);
    }
    if (n == 0 && !t->json) {
        say_bad(t, "%s", NONE_REGISTERED);
        return 0;
    }
    qsort(lines, n, sizeof(*lines), newest_first);
    struct table *tb = table_new(t, "deployments");
    table_header(tb, "DEPLOYMENT", "TYPE", NULL);
    if (extra)
        table_header(tb, "STATUS", "ACTIVE-INVOCATIONS", NULL);
    table_header(tb, "ID", "CREATED-AT", extra || t->json ? "SERVICES" : "", NULL);
    for (size_t i = 0; i < n; i++) {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, deployment_address(lines[i].d));
        table_text(tb, STYLE_PLAIN, deployment_kind(lines[i].d));
        if (extra) {
            table_text(tb, status_styles[lines[i].status], status_names[lines[i].status]);
            table_cell(tb, STYLE_PLAIN, "%lld", (long long)lines[i].active);
        }
        table_text(tb, STYLE_PLAIN, jtext(lines[i].d, "id"));
        table_text(tb, STYLE_PLAIN, date_text(t, jtext(lines[i].d, "created_at")));
        table_text(tb, STYLE_PLAIN, services_text(t, lines[i].d));
    }
    table_print(tb);
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, list_once);
}

/* ---- describe, remove ---- */

struct details {
    json_t *services, *deployment, *active;
    int64_t n_active;
    enum deployment_status status;
};

static bool fetch_details(struct tool *t, const char *id, bool with_active, struct details *d)
{
    size_t i;
    json_t *row;
    *d = (struct details){.services = api_get(t, "/services")};
    if (!d->services || !(d->deployment = api_get(t, tool_format(t, "/deployments/%s", url_part(t, id)))))
        return false;
    if (!with_active)
        return true;
    d->active = query_rowsf(
        t,
        "SELECT target_service_name as service, target_handler_name as handler, COUNT(1) AS inv_count "
        "FROM sys_invocation_status WHERE pinned_deployment_id = %s AND status != 'completed' GROUP BY "
        "pinned_deployment_id, target_service_name, target_handler_name",
        sql_text(t, id));
    json_array_foreach(d->active, i, row) d->n_active += jint(row, "inv_count");
    d->status = status_of(d->deployment, json_object_get(d->services, "services"), d->n_active);
    return d->active != NULL;
}

static void print_details(struct tool *t, const struct details *d)
{
    struct table *tb = table_new(t, "deployment");
    table_key_value(tb, "ID", "%s", jtext(d->deployment, "id"));
    deployment_rows(t, tb, d->deployment);
    if (d->active) {
        table_key_value(tb, "Status", "%s", status_names[d->status]);
        table_key_value(tb, "Invocations", "%lld", (long long)d->n_active);
    }
    table_print(tb);
}

static void print_service_head(struct tool *t, const struct details *d, const json_t *service)
{
    const char *name = jtext(service, "name"), *type = jtext(service, "ty");
    const json_t *latest = find_named(json_object_get(d->services, "services"), "name", name);
    const char *where =
        !latest ? ""
        : strcmp(jtext(latest, "deployment_id"), jtext(d->deployment, "id")) == 0
            ? " [Latest]"
            : tool_format(t, " [Latest %lld is in deployment ID %s]", (long long)jint(latest, "revision"),
                          jtext(latest, "deployment_id"));
    tool_say(t, "  - %s\n    Type: %s %s\n    Revision: %lld%s\n", name, type, flavor_text(type),
             (long long)jint(service, "revision"), where);
}

static int describe_once(struct tool *t)
{
    struct details d;
    size_t n;
    if (!fetch_details(t, tool_text(t, "ID"), tool_flag(t, "extra"), &d))
        return 1;
    say_title(t, "Deployment Information");
    print_details(t, &d);
    tool_say(t, "\n");
    say_title(t, "Services");
    const json_t **services = sorted_by(t, json_object_get(d.deployment, "services"), "name", &n);
    for (size_t i = 0; i < n; i++) {
        print_service_head(t, &d, services[i]);
        handlers_table(t, services[i], d.active, 4);
        tool_say(t, "\n");
    }
    return 0;
}

static int describe_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, describe_once);
}

static int remove_run(struct tool *t)
{
    struct details d;
    const char *id = tool_text(t, "ID");
    bool force = tool_flag(t, "force");
    size_t n;
    if (!fetch_details(t, id, true, &d))
        return 1;
    print_details(t, &d);
    tool_say(t, "Services:\n");
    const json_t **services = sorted_by(t, json_object_get(d.deployment, "services"), "name", &n);
    for (size_t i = 0; i < n; i++)
        print_service_head(t, &d, services[i]);
    tool_say(t, "\n");
    if (d.status == DEPLOYMENT_ACTIVE)
        say_bad(t, "Deployment is still Active: it hosts the latest revision of the services marked above. "
                   "Without it they "
                   "are unavailable, and their current and future invocations fail.");
    else if (d.status == DEPLOYMENT_DRAINING)
        say_bad(t,
                "Deployment is still Draining: %lld invocations are bound to it and cannot go on without it.",
                (long long)d.n_active);
    if (d.status != DEPLOYMENT_DRAINED && !force)
        return tool_fail(
            t, "If you accept the risk of breaking in-flight invocations, you can use --force to forcefully "
               "remove this deployment.");
    if (!tool_confirm(t, "Are you sure you want to remove this deployment?"))
        return tool_aborted(t);
    /* the API removes deployments with force only; the check for a drained one is ours */
    if (!api_do(t, "DELETE", tool_format(t, "/deployments/%s?force=true", url_part(t, id)), NULL))
        return 1;
    tool_say(t, "\n");
    say_good(t, "Deployment %s removed successfully", id);
    return 0;
}

/* ---- the group ---- */

#define ID_ARGUMENT                                                                                          \
    {                                                                                                        \
        "ID", .value = "ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,                                   \
              .help = "Id of the deployment: dp_..."                                                         \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "json", .help = "Print JSON"                                                                         \
    }
static const struct option list_options[] = {
    {"extra", .help = "Status and number of active invocations"}, JSON_OPTION, WATCH_OPTIONS, {0}};
static const struct option describe_options[] = {ID_ARGUMENT,
                                                 {"extra", .help = "Status and number of active invocations"},
                                                 JSON_OPTION,
                                                 WATCH_OPTIONS,
                                                 {0}};
static const struct option remove_options[] = {
    ID_ARGUMENT, {"force", .help = "Even if it is still needed"}, {0}};
static const struct option register_options[] = {
    {"DEPLOYMENT", .value = "DEPLOYMENT", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
     .help = "URL of the service endpoint, or ARN of a Lambda function"},
    {"force", .help = "Overwrite a deployment with the same address"},
    {"breaking", .help = "Accept changes that break callers"},
    {"use-http1.1", .help = "Speak HTTP/1.1 to it (request/response)"},
    {"extra-header", 0, "EXTRA_HEADER", OPTION_REPEAT, .help = "NAME=VALUE, sent with every request to it"},
    {"metadata", 0, "METADATA", OPTION_REPEAT, .help = "KEY=VALUE, kept with the deployment"},
    {"assume-role-arn", 0, "ARN", .help = "Role to assume for a Lambda function"},
    {0}};

const struct command deployments_commands[] = {
    {"list", "The registered deployments", .aliases = "ls", .options = list_options, .run = list_run},
    {"register", "Register a deployment, or a new revision of its services", .aliases = "discover|add",
     .options = register_options, .run = deployments_register_run,
     .examples = "restate deployments register http://localhost:9080\n"
                 "restate deployments register --force --yes http://localhost:9080"},
    {"describe", "One deployment with its services", .aliases = "get", .options = describe_options,
     .run = describe_run},
    {"remove", "Remove a deployment that is not needed any more", .aliases = "rm", .options = remove_options,
     .run = remove_run},
    {0}};

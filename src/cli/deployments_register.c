/* `deployments register` (spec/admin-api.md §21.2): a dry run, what would change, a question, the real run.
 */
#include <stdlib.h>

#include "cli/cli.h"

struct registration {
    struct tool *t;
    const char *address; /* normal form */
    bool lambda, force, breaking;
    json_t *headers, *metadata; /* objects, kept */
};

/* ---- the request ---- */

static const char *normal_address(struct tool *t, const char *text)
{
    struct http_uri uri;
    const char *full =
        strstr(text, "://") || strncmp(text, "unix:", 5) == 0 ? text : tool_format(t, "http://%s", text);
    if (http_uri_parse(slice_cstr(full), &uri, NULL) != RC_OK || uri.is_unix)
        return full;
    return uri.path.len == 1 && !strchr(strstr(full, "://") + 3, '/') ? tool_format(t, "%s/", full) : full;
}

/* KEY=VALUE pairs of a list option. */
static bool read_pairs(struct tool *t, const char *option, json_t *into)
{
    const char *text;
    for (size_t i = 0; (text = tool_item(t, option, i)); i++) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text) {
            tool_usage_error(t, "invalid value '%s' for '--%s': expected KEY=VALUE", text, option);
            return false;
        }
        json_object_set_new(into, tool_format(t, "%.*s", (int)(equals - text), text),
                            json_string(equals + 1));
    }
    return true;
}

/* What a build on GitHub says about itself, unless given. */
static void metadata_of_build(json_t *metadata)
{
    static const char *const names[][2] = {{"GITHUB_REPOSITORY", "github.repository"},
                                           {"GITHUB_RUN_ID", "github.actions.run.id"},
                                           {"GITHUB_SHA", "git.commit.sha"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i][0]);
        if (v && *v && !json_object_get(metadata, names[i][1]))
            json_object_set_new(metadata, names[i][1], json_string(v));
    }
}

static const char *request_body(const struct registration *r, bool dry_run)
{
    struct tool *t = r->t;
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    const char *role = tool_text(t, "assume-role-arn");
    json_open(&o, '{');
    json_text(&o, r->lambda ? "arn" : "uri", r->address);
    if (r->lambda)
        json_text(&o, "assume_role_arn", role);
    char *headers = json_object_size(r->headers) ? json_text_of(r->headers) : NULL;
    char *metadata = json_object_size(r->metadata) ? json_text_of(r->metadata) : NULL;
    json_raw(&o, "additional_headers", headers ? headers : "null");
    json_raw_opt(&o, "metadata", metadata);
    free(headers);
    free(metadata);
    if (!r->lambda)
        json_flag(&o, "use_http_11", tool_flag(t, "use-http1.1"));
    json_flag(&o, "breaking", r->breaking);
    json_flag(&o, "force", r->force);
    json_flag(&o, "dry_run", dry_run);
    json_close(&o, '}');
    return tool_take_text(t, &w);
}

/* ---- what would change ---- */

static void print_services(const struct registration *r, const json_t *services, bool updates)
{
    struct tool *t = r->t;
    size_t n;
    const json_t **list = sorted_by(t, services, "name", &n);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = list[i];
        int64_t revision = jint(s, "revision");
        if ((revision > 1) != updates)
            continue;
        if (!any)
            tool_say(t, "\n❯ SERVICES THAT WILL BE %s:\n", updates ? "UPDATED" : "ADDED");
        any = true;
        tool_say(t, "  - %s\n    Type: %s %s\n", jtext(s, "name"), jtext(s, "ty"),
                 flavor_text(jtext(s, "ty")));
        if (updates)
            tool_say(t, "    Revision: %lld -> %lld\n", (long long)revision - 1, (long long)revision);
        handlers_table(t, s, NULL, 4);
        tool_say(t, "\n");
    }
}

/* Handlers that callers may use now and that would be gone. */
static bool print_losses(const struct registration *r, const json_t *services)
{
    struct tool *t = r->t;
    size_t i, k;
    json_t *s, *handler;
    json_array_foreach((json_t *)(uintptr_t)services, i, s)
    {
        if (jint(s, "revision") <= 1)
            continue;
        json_t *old = api_get(t, tool_format(t, "/services/%s", url_part(t, jtext(s, "name"))));
        if (!old)
            return false;
        json_array_foreach(json_object_get(old, "handlers"), k, handler)
        {
            if (!find_named(json_object_get(s, "handlers"), "name", jtext(handler, "name")))
                tool_say(t, "  -- handler %s/%s will be REMOVED\n", jtext(s, "name"), jtext(handler, "name"));
        }
    }
    return true;
}

static int breaking_changes(const struct registration *r, const struct api_call *call)
{
    struct tool *t = r->t;
    tool_say(t, "\n❯ Breaking changes detected:\n  %s\n\n", api_reason(t, call));
    tool_say(
        t,
        "If you accept them, register it with --breaking:\n    restate deployment register %s --breaking\n\n",
        r->address);
    return tool_fail(t, "Registration failed");
}

static int already_there(const struct registration *r, const json_t *doc)
{
    tool_say(r->t,
             "❯ Deployment already exists with id %s\n       No changes will be made.\n\n"
             "❯ To overwrite this deployment during development, use:\n    restate deployment register %s "
             "--force\n",
             jtext(doc, "id"), r->address);
    return 0;
}

/* ---- the run ---- */

static int apply(const struct registration *r)
{
    struct tool *t = r->t;
    size_t n;
    json_t *done = api_send(t, "POST", "/deployments", request_body(r, false));
    if (!done)
        return 1;
    say_good(t, "DEPLOYMENT:");
    tool_say(t, "Deployment ID:  %s\n", jtext(done, "id"));
    struct table *tb = table_new(t, "services");
    table_header(tb, "SERVICE", "REV", NULL);
    const json_t **services = sorted_by(t, json_object_get(done, "services"), "name", &n);
    for (size_t i = 0; i < n; i++) {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(services[i], "name"));
        table_cell(tb, STYLE_PLAIN, "%lld", (long long)jint(services[i], "revision"));
    }
    table_print(tb);
    return 0;
}

int deployments_register_run(struct tool *t)
{
    struct registration r = {.t = t,
                             .lambda = strncmp(tool_text(t, "DEPLOYMENT"), "arn:", 4) == 0,
                             .force = tool_flag(t, "force"),
                             .breaking = tool_flag(t, "breaking"),
                             .headers = cli_keep(t, json_object()),
                             .metadata = cli_keep(t, json_object())};
    r.address = r.lambda ? tool_text(t, "DEPLOYMENT") : normal_address(t, tool_text(t, "DEPLOYMENT"));
    if (!read_pairs(t, "extra-header", r.headers) || !read_pairs(t, "metadata", r.metadata))
        return 2;
    metadata_of_build(r.metadata);
    if (!api_ready(t))
        return 1;
    if (cli_of(t)->version == 2)
        return tool_fail(t, "registering needs version 3 of the admin API; the server speaks version 2");
    struct api_call dry = {.method = "POST", .path = "/deployments", .body = request_body(&r, true)};
    api_run(t, &dry, 1);
    if (dry.status == 409)
        return breaking_changes(&r, &dry);
    if (!api_good(&dry))
        return api_failed(t, &dry);
    json_t *doc = api_json(t, &dry, NULL);
    if (!doc)
        return tool_fail(t, "(Protocol error) the answer is no JSON");
    if (dry.status == 200 && !r.force)
        return already_there(&r, doc);
    if (dry.status == 200)
        tool_warning_box(
            t, tool_format(
                   t,
                   "This deployment is already known to the server under the ID \"%s\". Its services will be "
                   "overwritten, and invocations that are in progress on it may fail for good. In "
                   "production rather register each version under an address of its own.",
                   jtext(doc, "id")));
    print_services(&r, json_object_get(doc, "services"), false);
    print_services(&r, json_object_get(doc, "services"), true);
    if (!print_losses(&r, json_object_get(doc, "services")))
        return 1;
    tool_say(t, "\n");
    if (!tool_confirm(t, "Are you sure you want to apply those changes?"))
        return tool_aborted(t);
    return apply(&r);
}

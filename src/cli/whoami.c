/* `whoami` (spec/admin-api.md §21.1). */
#include <unistd.h>

#include "cli/cli.h"

const struct option whoami_options[] = {{"json", .help = "Print JSON"}, {0}};

static const char *path_text(struct tool *t, const char *path)
{
    return access(path, F_OK) == 0 ? path : tool_format(t, "%s (does not exist)", path);
}

static void row(struct table *tb, const char *key, const char *value)
{
    table_row(tb);
    table_text(tb, STYLE_PLAIN, key);
    table_text(tb, STYLE_PLAIN, value);
}

int whoami_run(struct tool *t)
{
    struct cli *c = cli_of(t);
    struct settings *s = &c->settings;
    struct table *urls = table_new(t, "server"), *local = table_new(t, "local"),
                 *build = table_new(t, "build");
    t->json = tool_flag(t, "json");
    row(urls, "Ingress base URL", s->ingress_url);
    row(urls, "Admin base URL", s->admin_url);
    if (s->token)
        row(urls, "Authentication Token", "(set)");
    row(local, "Config Dir", path_text(t, s->config_dir));
    row(local, "Environment File", path_text(t, s->environment_file));
    row(local, "Environment", tool_format(t, "%s (source: %s)", s->environment, s->environment_source));
    row(local, "Config File", path_text(t, s->config_file));
    row(build, "Version", t->version);
    row(build, "Supported admin API", "[2,3,4]");
    tool_say(t, "\n");
    table_print(urls);
    tool_say(t, "\nLocal Environment\n");
    table_print(local);
    tool_say(t, "\nRestate CLI Build Information\n");
    table_print(build);
    tool_say(t, "\n");
    struct api_call version = {.method = "GET", .path = "/version", .no_prefix = true};
    struct api_call health = {.method = "GET", .path = "/health"};
    api_run(t, &version, 1);
    if (version.status == 0) {
        say_bad(t, "Could not connect to Admin Service '%s':\n   >> %s", c->base, api_reason(t, &version));
        return 0;
    }
    if (!api_ready(t))
        return 0;
    api_run(t, &health, 1);
    if (!api_good(&health)) {
        say_bad(t, "Admin Service '%s' is unhealthy:\n   >> %s", c->base, api_reason(t, &health));
        return 0;
    }
    say_good(t, "Admin Service '%s' is healthy!", c->base);
    struct table *more = table_new(t, "admin");
    row(more, "Server version", c->server_version);
    if (c->advertised_ingress[0])
        row(more, "Advertised ingress address", c->advertised_ingress);
    table_print(more);
    tool_say(t, "\n");
    return 0;
}

/* Settings: environment variables, profiles of a configuration file; and the `config` commands
 * (spec/admin-api.md §20, §21.9). */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/cli.h"

#define CONFIG_MAX (1u << 20)

/* ---- the file: TOML with one table per environment and text values ---- */

struct profile {
    const char *name, *admin_url, *ingress_url, *token;
};
struct profiles {
    struct profile items[64];
    size_t n;
};

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = 0;
    return s;
}

/* `"text"`, `'text'`, a bare word; a comment behind it is cut off. */
static char *value_of(char *s)
{
    s = trim(s);
    if (*s == '"' || *s == '\'') {
        char quote = *s++;
        char *end = strchr(s, quote);
        if (end)
            *end = 0;
        return s;
    }
    s[strcspn(s, "#")] = 0;
    return trim(s);
}

static void profile_line(struct profiles *p, char *line)
{
    line = trim(line);
    if (*line == '[') {
        char *end = strchr(line, ']');
        if (!end || p->n == ARRAY_LEN(p->items))
            return;
        *end = 0;
        p->items[p->n++] = (struct profile){.name = value_of(line + 1)};
        return;
    }
    char *equals = strchr(line, '=');
    if (*line == '#' || !equals || p->n == 0)
        return;
    *equals = 0;
    const char *key = trim(line), *value = value_of(equals + 1);
    struct profile *last = &p->items[p->n - 1];
    if (strcmp(key, "admin_base_url") == 0)
        last->admin_url = value;
    else if (strcmp(key, "ingress_base_url") == 0)
        last->ingress_url = value;
    else if (strcmp(key, "bearer_token") == 0)
        last->token = value;
}

static void read_profiles(struct tool *t, const char *path, struct profiles *p)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    p->n = 0;
    if (tool_read_file(path, CONFIG_MAX, &text, &err) != RC_OK)
        return;
    char *copy = arena_copy_slice(&t->arena, bytes_slice(text)), *save = NULL;
    bytes_unref(&text);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        profile_line(p, line);
}

static const struct profile *find_profile(const struct profiles *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->items[i].name, name) == 0)
            return &p->items[i];
    return NULL;
}

/* ---- loading ---- */

static const char *env_text(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static void choose_environment(struct tool *t, struct settings *s)
{
    struct bytes text = BYTES_EMPTY;
    s->environment = tool_text(t, "environment");
    s->environment_source = "command line or RESTATE_ENVIRONMENT";
    if (s->environment)
        return;
    if (tool_read_file(s->environment_file, 4096, &text, NULL) == RC_OK) {
        s->environment = trim(arena_copy_slice(&t->arena, bytes_slice(text)));
        char *end = strchr(s->environment, '\n');
        if (end)
            *end = 0;
        s->environment_source = "file";
        bytes_unref(&text);
    }
    if (!s->environment || !*s->environment) {
        s->environment = LOCAL_ENVIRONMENT;
        s->environment_source = "default";
    }
}

static const char *with_slash(struct tool *t, const char *url)
{
    size_t n = strlen(url);
    return strncmp(url, "unix:", 5) == 0 || (n && url[n - 1] == '/') ? url : tool_format(t, "%s/", url);
}

int settings_load(struct tool *t)
{
    struct settings *s = &cli_of(t)->settings;
    struct profiles profiles;
    const char *home = env_text("HOME"), *dir = env_text("RESTATE_CLI_CONFIG_HOME"),
               *file = env_text("RESTATE_CLI_CONFIG");
    const char *host = env_text("RESTATE_HOST"), *scheme = env_text("RESTATE_HOST_SCHEME");
    s->config_dir = dir ? dir : tool_format(t, "%s/.config/restate", home ? home : "");
    s->config_file = file ? file : tool_format(t, "%s/config.toml", s->config_dir);
    s->environment_file = tool_format(t, "%s/environment", s->config_dir);
    choose_environment(t, s);
    read_profiles(t, s->config_file, &profiles);
    const struct profile *p = find_profile(&profiles, s->environment);
    if (!p && strcmp(s->environment, LOCAL_ENVIRONMENT) != 0)
        return tool_fail(t, "Environment '%s' is not in %s", s->environment, s->config_file);
    scheme = scheme ? scheme : "http";
    s->admin_url = p && p->admin_url ? p->admin_url : DEFAULT_ADMIN_URL;
    s->ingress_url = p && p->ingress_url ? p->ingress_url : DEFAULT_INGRESS_URL;
    s->token = env_text("RESTATE_AUTH_TOKEN") ? env_text("RESTATE_AUTH_TOKEN") : p ? p->token : NULL;
    if (host) {
        s->admin_url = tool_format(t, "%s://%s:9070/", scheme, host);
        s->ingress_url = tool_format(t, "%s://%s:8080/", scheme, host);
    }
    if (env_text("RESTATE_ADMIN_URL"))
        s->admin_url = env_text("RESTATE_ADMIN_URL");
    if (env_text("RESTATE_INGRESS_URL"))
        s->ingress_url = env_text("RESTATE_INGRESS_URL");
    s->admin_url = with_slash(t, s->admin_url);
    s->ingress_url = with_slash(t, s->ingress_url);
    return 0;
}

/* ---- commands ---- */

static int list_run(struct tool *t)
{
    struct settings *s = &cli_of(t)->settings;
    struct profiles profiles;
    struct table *tb = table_new(t, "environments");
    t->json = tool_flag(t, "json");
    read_profiles(t, s->config_file, &profiles);
    if (!find_profile(&profiles, LOCAL_ENVIRONMENT) && profiles.n < ARRAY_LEN(profiles.items)) {
        memmove(profiles.items + 1, profiles.items, profiles.n++ * sizeof(*profiles.items));
        profiles.items[0] = (struct profile){.name = LOCAL_ENVIRONMENT};
    }
    table_header(tb, "CURRENT", "NAME", "ADMIN_BASE_URL", NULL);
    for (size_t i = 0; i < profiles.n; i++) {
        const struct profile *p = &profiles.items[i];
        table_row(tb);
        table_text(tb, STYLE_PLAIN, strcmp(p->name, s->environment) == 0 ? "*" : "");
        table_text(tb, STYLE_PLAIN, p->name);
        table_text(tb, STYLE_PLAIN, p->admin_url ? with_slash(t, p->admin_url) : DEFAULT_ADMIN_URL);
    }
    table_print(tb);
    return 0;
}

static bool make_config_dir(struct tool *t, const char *path)
{
    char *copy = tool_format(t, "%s/", path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST) {
            tool_fail(t, "cannot create %s: %s", copy, strerror(errno));
            return false;
        }
        *p = '/';
    }
    return true;
}

static bool write_file(struct tool *t, const char *path, struct slice text)
{
    FILE *f = fopen(path, "we");
    bool good = f && fwrite(text.ptr, 1, text.len, f) == text.len;
    if (f && fclose(f) != 0)
        good = false;
    if (!good)
        tool_fail(t, "cannot write %s", path);
    return good;
}

static int use_run(struct tool *t)
{
    struct settings *s = &cli_of(t)->settings;
    struct profiles profiles;
    const char *name = tool_text(t, "NAME");
    read_profiles(t, s->config_file, &profiles);
    if (!find_profile(&profiles, name) && strcmp(name, LOCAL_ENVIRONMENT) != 0)
        return tool_fail(t, "Environment '%s' is not in %s", name, s->config_file);
    if (!make_config_dir(t, s->config_dir) || !write_file(t, s->environment_file, slice_cstr(name)))
        return 1;
    tool_say(t, "Now using the environment '%s'\n", name);
    return 0;
}

static int view_run(struct tool *t)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    const char *path = cli_of(t)->settings.config_file;
    enum rc rc = tool_read_file(path, CONFIG_MAX, &text, &err);
    if (rc == RC_NOT_FOUND) {
        tool_say(t, "# %s does not exist\n", path);
        return 0;
    }
    if (rc != RC_OK)
        return tool_fail(t, "%s", err.msg);
    write_slice_raw(&t->out, bytes_slice(text));
    bytes_unref(&text);
    return 0;
}

static int edit_run(struct tool *t)
{
    struct settings *s = &cli_of(t)->settings;
    struct bytes text = BYTES_EMPTY, changed = BYTES_EMPTY;
    struct err err = {0};
    static const char fresh[] =
        "# One table per environment; choose one with `restate config use-environment`.\n"
        "#\n# [staging]\n# admin_base_url = \"http://staging:9070/\"\n"
        "# ingress_base_url = \"http://staging:8080/\"\n# bearer_token = \"...\"\n";
    if (tool_read_file(s->config_file, CONFIG_MAX, &text, &err) != RC_OK)
        text = bytes_static(SLICE_LIT(fresh));
    enum rc rc = tool_edit_text(t, ".toml", bytes_slice(text), &changed, &err);
    bytes_unref(&text);
    if (rc != RC_OK)
        return tool_fail(t, "%s", err.msg);
    bool good = make_config_dir(t, s->config_dir) && write_file(t, s->config_file, bytes_slice(changed));
    bytes_unref(&changed);
    return good ? 0 : 1;
}

static const struct option list_options[] = {{"json", .help = "Print JSON"}, {0}};
static const struct option use_options[] = {{"NAME", .value = "NAME",
                                             .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
                                             .help = "Environment of the file"},
                                            {0}};

const struct command config_commands[] = {{"list-environments", "Environments of the configuration file",
                                           .aliases = "list", .options = list_options, .run = list_run},
                                          {"use-environment", "Use another environment from now on",
                                           .aliases = "use", .options = use_options, .run = use_run},
                                          {"view", "Print the configuration file", .run = view_run},
                                          {"edit", "Edit the configuration file", .run = edit_run},
                                          {0}};

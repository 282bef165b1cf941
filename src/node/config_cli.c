/* Implementation of node/config_cli.h. */
#include "node/config_cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "node/config_keys.h"

enum flag_kind {
    FLAG_TEXT,
    FLAG_BOOL,
    FLAG_INT,
    FLAG_ENUM,
    FLAG_LIST,
    FLAG_NODE_ID,
    FLAG_DURATION,
    FLAG_IGNORED,
    FLAG_SWITCH
};
struct flag {
    const char *name, *alias, *value_name, *path, *choices;
    enum flag_kind kind;
    bool reads_env;
    const char *help;
};

static const struct flag flags[] = {
    {"config-file", NULL, "FILE", NULL, NULL, FLAG_TEXT, true, "Path of the TOML configuration file"},
    {"dump-config", NULL, NULL, NULL, NULL, FLAG_SWITCH, false,
     "Print the effective configuration as TOML and exit"},
    {"production", NULL, NULL, NULL, NULL, FLAG_SWITCH, false,
     "Production defaults: auto-provision is off unless set"},
    {"metadata-migration-mode", NULL, NULL, NULL, NULL, FLAG_SWITCH, false,
     "Only the roles admin and metadata-server act, for `restatectl metadata migrate`"},
    {"no-logo", NULL, NULL, NULL, NULL, FLAG_SWITCH, false, "Do not print the banner on a terminal"},
    {"listen-mode", NULL, "MODE", "listen-mode", "all,tcp,unix", FLAG_ENUM, true,
     "Listen on TCP, unix sockets, or both"},
    {"use-random-ports", NULL, "BOOL", "use-random-ports", NULL, FLAG_BOOL, true,
     "Bind every listener without an explicit port to a free port"},
    {"advertised-host", NULL, "HOST", "advertised-host", NULL, FLAG_TEXT, true,
     "Host name or IP that others use to reach this node"},
    {"bind-ip", NULL, "IP", "bind-ip", NULL, FLAG_TEXT, true, "IP address to bind"},
    {"bind-port", NULL, "PORT", "bind-port", NULL, FLAG_INT, true,
     "Port of the node-to-node listener (5122)"},
    {"bind-address", NULL, "ADDRESS", "bind-address", NULL, FLAG_TEXT, true,
     "IP and port of the node-to-node listener"},
    {"advertised-address", NULL, "URI", "advertised-address", NULL, FLAG_TEXT, true,
     "Address other nodes and tools use for this node"},
    {"roles", "role", "ROLES", "roles", NULL, FLAG_LIST, false,
     "Roles: http-ingress, admin, worker, log-server, metadata-server"},
    {"node-name", NULL, "NAME", "node-name", NULL, FLAG_TEXT, true, "Unique name of this node (host name)"},
    {"cluster-name", NULL, "NAME", "cluster-name", NULL, FLAG_TEXT, true,
     "Name of the cluster (localcluster)"},
    {"location", "node-location", "LOCATION", "location", NULL, FLAG_TEXT, false,
     "Location of this node: region[.zone]"},
    {"force-node-id", NULL, "ID", "force-node-id", NULL, FLAG_NODE_ID, false,
     "Insist on this node id when joining"},
    {"auto-provision", "allow-bootstrap", "BOOL", "auto-provision", NULL, FLAG_BOOL, false,
     "Provision the cluster if it is not yet"},
    {"base-dir", NULL, "PATH", "base-dir", NULL, FLAG_TEXT, false, "Directory of all data (./restate-data)"},
    {"default-num-partitions", "bootstrap-num-partitions", "N", "default-num-partitions", NULL, FLAG_INT,
     false, "Number of partitions at provisioning (24)"},
    {"shutdown-timeout", NULL, "DURATION", "shutdown-timeout", NULL, FLAG_DURATION, false,
     "Limit of a graceful shutdown (1m)"},
    {"tracing-endpoint", NULL, "URL", "tracing-endpoint", NULL, FLAG_TEXT, true, "OTLP endpoint for traces"},
    {"tracing-runtime-endpoint", NULL, "URL", "tracing-runtime-endpoint", NULL, FLAG_TEXT, true,
     "Accepted, no effect"},
    {"tracing-services-endpoint", NULL, "URL", "tracing-services-endpoint", NULL, FLAG_TEXT, true,
     "OTLP endpoint for invocation traces"},
    {"tracing-json-path", NULL, "PATH", "tracing-json-path", NULL, FLAG_TEXT, false, "Accepted, no effect"},
    {"tracing-filter", NULL, "FILTER", "tracing-filter", NULL, FLAG_TEXT, false, "Accepted, no effect"},
    {"log-filter", NULL, "FILTER", "log-filter", NULL, FLAG_TEXT, false, "Log filter (warn,restate=info)"},
    {"log-format", NULL, "FORMAT", "log-format", "pretty,compact,json", FLAG_ENUM, false, "Log format"},
    {"log-disable-ansi-codes", NULL, "BOOL", "log-disable-ansi-codes", NULL, FLAG_BOOL, false,
     "No colours in logs"},
    {"metadata-store-address", NULL, "ADDRESS", NULL, NULL, FLAG_IGNORED, false, "Accepted, no effect"},
    {"help", NULL, NULL, NULL, NULL, FLAG_SWITCH, false, "Print this help"},
    {"version", NULL, NULL, NULL, NULL, FLAG_SWITCH, false, "Print the version"},
};

static enum rc usage_error(const char *fmt, const char *a, const char *b, const char *c)
{
    fprintf(stderr, "error: ");
    fprintf(stderr, fmt, a, b, c);
    fprintf(stderr, "\n\nUsage: restate-server [OPTIONS]\n\nFor more information, try '--help'.\n");
    return RC_INVALID;
}

static const struct flag *find_flag(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if ((strlen(flags[i].name) == len && strncmp(flags[i].name, name, len) == 0) ||
            (flags[i].alias && strlen(flags[i].alias) == len && strncmp(flags[i].alias, name, len) == 0))
            return &flags[i];
    }
    return NULL;
}

bool cli_key_reads_env(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].reads_env && flags[i].path && strcmp(flags[i].path, path) == 0)
            return flags[i].kind == FLAG_TEXT;
    }
    return false;
}

static enum rc bad_value(const struct flag *f, const char *value)
{
    char flag[80];
    snprintf(flag, sizeof(flag), "--%s <%s>", f->name, f->value_name);
    if (f->kind == FLAG_ENUM)
        return usage_error("invalid value '%s' for '%s'\n  [possible values: %s]", value, flag, f->choices);
    return usage_error("invalid value '%s' for '%s'%s", value, flag, "");
}

static struct cv *flag_value(const struct flag *f, const char *text)
{
    char *end;
    switch (f->kind) {
    case FLAG_TEXT:
        return cv_string(text, "");
    case FLAG_BOOL:
        return strcmp(text, "true") == 0    ? cv_bool(true, "")
               : strcmp(text, "false") == 0 ? cv_bool(false, "")
                                            : NULL;
    case FLAG_NODE_ID:
        text += *text == 'N';
        /* fall through */
    case FLAG_INT: {
        long long n = strtoll(text, &end, 10);
        bool minimum_one = strcmp(f->path, "default-num-partitions") == 0;
        return end == text || *end || n < minimum_one || n > UINT32_MAX ? NULL : cv_int(n, "");
    }
    case FLAG_ENUM:
        return choice_listed(f->choices, text) ? cv_string(text, "") : NULL;
    case FLAG_DURATION: {
        uint64_t ns;
        return duration_parse(slice_cstr(text), &ns, NULL) == RC_OK ? cv_string(text, "") : NULL;
    }
    default:
        return NULL;
    }
}

static enum rc add_roles(struct cv *layer, const char *text)
{
    struct cv *list = cv_member(layer, "roles");
    if (!list) {
        list = cv_new(CV_LIST, "");
        cv_set_member(layer, "roles", list);
    }
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, ",");
        char *role = slice_dup_cstr(slice_make(p, len));
        bool known = choice_listed("http-ingress,admin,worker,log-server,metadata-server", role);
        if (!known) {
            enum rc rc = usage_error(
                "invalid value '%s' for '%s'%s", role, "--roles <ROLES>",
                "\n  [possible values: http-ingress, admin, worker, log-server, metadata-server]");
            free(role);
            return rc;
        }
        cv_push(list, cv_string(role, ""));
        free(role);
        p += len + (p[len] == ',');
    }
    return RC_OK;
}

static void set_switch(struct cli *out, const struct flag *f)
{
    if (strcmp(f->name, "dump-config") == 0)
        out->dump_config = true;
    else if (strcmp(f->name, "production") == 0)
        out->production = true;
    else if (strcmp(f->name, "metadata-migration-mode") == 0)
        out->metadata_migration = true;
    else if (strcmp(f->name, "no-logo") == 0)
        out->no_logo = true;
    else if (strcmp(f->name, "version") == 0)
        out->version = true;
    else
        out->help = true;
}

static enum rc take_value(struct cli *out, const struct flag *f, const char *value)
{
    if (f->kind == FLAG_IGNORED)
        return RC_OK;
    if (strcmp(f->name, "config-file") == 0) {
        if (out->config_file)
            return usage_error("the argument '%s' cannot be used multiple times%s%s", "--config-file <FILE>",
                               "", "");
        out->config_file = value;
        return RC_OK;
    }
    struct cv *v = flag_value(f, value);
    if (!v)
        return bad_value(f, value);
    return cv_set(out->layer, f->path, v);
}

enum rc cli_parse(int argc, char **argv, struct cli *out)
{
    memset(out, 0, sizeof(*out));
    out->layer = cv_new(CV_TABLE, "");
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        const struct flag *f = NULL;
        if (strncmp(arg, "--", 2) == 0 && arg[2]) {
            const char *eq = strchr(arg, '=');
            f = find_flag(arg + 2, eq ? (size_t)(eq - arg - 2) : strlen(arg + 2));
            value = eq ? eq + 1 : NULL;
        } else if (strcmp(arg, "-c") == 0) {
            f = find_flag("config-file", 11);
        } else if (strcmp(arg, "-h") == 0) {
            f = find_flag("help", 4);
        } else if (strcmp(arg, "-V") == 0) {
            f = find_flag("version", 7);
        }
        if (!f)
            return usage_error("unexpected argument '%s' found%s%s", arg, "", "");
        if (f->kind == FLAG_SWITCH) {
            set_switch(out, f);
            continue;
        }
        enum rc rc = RC_OK;
        if (f->kind == FLAG_LIST) {
            rc = add_roles(out->layer, value ? value : "");
            while (rc == RC_OK && !value && i + 1 < argc && argv[i + 1][0] != '-')
                rc = add_roles(out->layer, argv[++i]);
        } else {
            char shown[80];
            snprintf(shown, sizeof(shown), "--%s <%s>", f->name, f->value_name);
            if (!value && (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0))
                return usage_error("a value is required for '%s' but none was supplied%s%s", shown, "", "");
            rc = take_value(out, f, value ? value : argv[++i]);
        }
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

void cli_print_help(void)
{
    printf("Restate in C: a durable execution engine that speaks the protocols of Restate 1.7\n\n"
           "Usage: restate-server [OPTIONS]\n"
           "       restate-server recover metadata --help\n\nOptions:\n");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        const struct flag *f = &flags[i];
        char left[64];
        const char *prefix = strcmp(f->name, "config-file") == 0 ? "-c, "
                             : strcmp(f->name, "help") == 0      ? "-h, "
                             : strcmp(f->name, "version") == 0   ? "-V, "
                                                                 : "    ";
        snprintf(left, sizeof(left), f->value_name ? "%s--%s <%s>" : "%s--%s", prefix, f->name,
                 f->value_name);
        printf("  %-48s %s\n", left, f->help);
    }
    printf("\nEvery key of the configuration file can also be set by an environment variable: "
           "RESTATE_WORKER__INVOKER__ABORT_TIMEOUT=5m\n"
           "sets worker.invoker.abort-timeout. `restate-server --dump-config` prints all keys with their "
           "values.\n");
}

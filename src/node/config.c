/* Loading of the configuration: layers, checks, derived values, and the struct the server works with
 * (node/config.h). */
#include "node/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"
#include "http/http.h"
#include "http/proxy.h"
#include "loop/read_file.h"
#include "metadata/etcd_client.h"
#include "node/config_cli.h"
#include "node/config_internal.h"
#include "node/config_keys.h"
#include "node/version.h"
#include "objects/object_url.h"

#define CONFIG_FILE_MAX (16u << 20)

static void warn(struct loaded *l, bool to_stderr, char *take)
{
    struct config_warning w = {take, to_stderr};
    VEC_PUSH(&l->warnings, w);
}

/* ---- layers ---- */

static void apply_defaults(struct cv *root)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (!k->default_text)
            continue;
        bool text = k->type == K_STRING || k->type == K_PATH || k->type == K_ENUM || k->type == K_DURATION ||
                    k->type == K_DURATION_POSITIVE || k->type == K_BYTES || k->type == K_BYTES_POSITIVE;
        struct cv *v = text ? cv_string(k->default_text, "") : cv_parse_env(k->default_text);
        v->source = "";
        ASSERT(cv_set(root, k->path, v) == RC_OK);
    }
}

static enum rc apply_file(struct loaded *l, struct cv *root, const char *path, struct err *err)
{
    struct bytes text;
    struct err reason = {0};
    if (read_file(path, CONFIG_FILE_MAX, &text, &reason) != RC_OK)
        return err_set(err, RC_INVALID, "config-file path is valid: %s", reason.msg);
    l->file_source = xasprintf("in %s TOML file", path);
    struct cv *layer;
    char *message = NULL;
    enum rc rc = cv_parse_toml(bytes_slice(text), l->file_source, &layer, &message);
    bytes_unref(&text);
    if (rc != RC_OK) {
        err_set(err, RC_INVALID, "%s", message);
        free(message);
        return rc;
    }
    cv_merge(root, layer);
    l->file_layer = layer;
    return RC_OK;
}

/* RESTATE_A__B_C -> a.b-c */
static void env_path(const char *name, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < cap; i++) {
        if (name[i] == '_' && i + 1 < len && name[i + 1] == '_') {
            out[n++] = '.';
            i++;
        } else {
            out[n++] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
        }
    }
    out[n] = 0;
}

/* Deprecated places of keys, which still act and win (spec/config.md §2.17). */
static const struct {
    const char *from, *to;
} moved_keys[] = {
    {"connect-timeout", "worker.invoker.connect-timeout"},
    {"http-proxy", "worker.invoker.http-proxy"},
    {"no-proxy", "worker.invoker.no-proxy"},
    {"request-identity-private-key-pem-file", "worker.invoker.request-identity-private-key-pem-file"},
    {"additional-request-headers", "worker.invoker.additional-request-headers"},
    {"aws-profile", "worker.invoker.aws-profile"},
    {"aws-assume-role-external-id", "worker.invoker.aws-assume-role-external-id"},
    {"request-compression-threshold", "worker.invoker.request-compression-threshold"},
    {"initial-max-send-streams", "worker.invoker.http2-initial-max-send-streams"},
    {"http-keep-alive-options.interval", "worker.invoker.http2-keep-alive-interval"},
    {"http-keep-alive-options.timeout", "worker.invoker.http2-keep-alive-timeout"},
    {"http-keep-alive-options.jitter", "worker.invoker.http2-keep-alive-jitter"},
};

static bool key_was_moved(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(moved_keys); i++)
        if (strcmp(moved_keys[i].from, path) == 0)
            return true;
    return false;
}

static enum rc apply_env(struct loaded *l, struct cv *root, char **envp, struct err *err)
{
    for (char **e = envp; *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq || strncasecmp(*e, "RESTATE_", 8) != 0)
            continue;
        char path[256];
        env_path(*e + 8, (size_t)(eq - *e - 8), path, sizeof(path));
        if (strcmp(path, "config") == 0 || !*path)
            continue;
        bool table = config_key_is_table(path);
        const struct config_key *key = config_key_find(path);
        if (!key && !table && !strchr(path, '.') && !key_was_moved(path))
            continue; /* not ours: ignored silently (spec/config.md §1.3) */
        struct cv *v = cli_key_reads_env(path) ? cv_string(eq + 1, "`RESTATE_` environment variable(s)")
                                               : cv_parse_env(eq + 1);
        if (table && !key && v->type != CV_TABLE) {
            char what[200];
            cv_describe(v, what, sizeof(what));
            cv_free(v);
            return err_set(err, RC_INVALID,
                           "invalid type: found %s, expected a table for key \"%s\" in `RESTATE_` "
                           "environment variable(s)",
                           what, path);
        }
        struct cv *layer = cv_new(CV_TABLE, "`RESTATE_` environment variable(s)");
        if (cv_set(layer, path, v) == RC_OK)
            cv_merge(root, layer);
        cv_free(layer);
    }
    return RC_OK;
}

static const char *env_get(char **envp, const char *name)
{
    size_t n = strlen(name);
    for (char **e = envp; *e; e++) {
        if (strncasecmp(*e, name, n) == 0 && (*e)[n] == '=')
            return *e + n + 1;
    }
    return NULL;
}

static void apply_special_env(struct cv *root, char **envp)
{
    static const struct {
        const char *variable, *path;
    } specials[] = {
        {"RUST_LOG", "log-filter"},
        {"MEMORY_LIMIT", "rocksdb-total-memory-size"},
        {"HTTP_PROXY", "http-proxy"},
        {"NO_PROXY", "no-proxy"},
        {"AWS_EXTERNAL_ID", "aws-assume-role-external-id"},
    };
    for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
        const char *v = env_get(envp, specials[i].variable);
        if (v)
            cv_set(root, specials[i].path, cv_string(v, "environment"));
    }
}

static void move_deprecated(struct loaded *l, struct cv *root)
{
    for (size_t i = 0; i < ARRAY_LEN(moved_keys); i++) {
        struct cv *v = cv_get(root, moved_keys[i].from);
        if (!v)
            continue;
        cv_set(root, moved_keys[i].to, cv_copy(v));
        warn(l, true,
             xasprintf("Using the deprecated config option '%s' instead of '%s'. Please update the config to "
                       "use '%s' instead.",
                       moved_keys[i].from, moved_keys[i].to, moved_keys[i].to));
        if (!strchr(moved_keys[i].from, '.'))
            cv_remove_member(root, moved_keys[i].from);
    }
    cv_remove_member(root, "http-keep-alive-options");
    static const struct {
        const char *section, *from;
    } endpoints[] = {{"admin", "advertised-admin-endpoint"}, {"ingress", "advertised-ingress-endpoint"}};
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        struct cv *section = cv_member(root, endpoints[i].section);
        struct cv *v = section ? cv_member(section, endpoints[i].from) : NULL;
        if (v)
            cv_set_member(section, "advertised-address", cv_copy(v));
    }
}

/* ---- checks ---- */

static enum rc check_tree(struct loaded *l, struct cv *node, const char *prefix, struct err *err)
{
    for (size_t i = 0; i < node->len; i++) {
        struct cv *v = node->items[i];
        char path[256];
        snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", v->key);
        const struct config_key *key = config_key_find(path);
        if (key) {
            if (config_key_check(key, v, err) == RC_OK)
                continue;
            char *reason = xstrdup(err->msg);
            const char *source = v->source && *v->source ? v->source : "the command line";
            err_set(err, RC_INVALID, "%s for key \"%s\" %s%s", reason, path,
                    strncmp(source, "in ", 3) == 0 ? "" : "in ", source);
            free(reason);
            return RC_INVALID;
        }
        if (config_key_is_table(path)) {
            if (v->type != CV_TABLE) {
                char what[200];
                cv_describe(v, what, sizeof(what));
                return err_set(err, RC_INVALID, "invalid type: found %s, expected a table for key \"%s\"",
                               what, path);
            }
            enum rc rc = check_tree(l, v, path, err);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        warn(l, false, xasprintf("Unknown configuration key '%s' is ignored", path));
    }
    return RC_OK;
}

/* ---- decisions of §8 and derived values of §1.9 ---- */

static bool has(const struct cv *root, const char *path)
{
    return root && cv_get(root, path) != NULL;
}

static void decide_legacy(struct loaded *l, struct cv *root, struct cv *explicit_layers)
{
    struct cv *old_replication = cv_get(root, "bifrost.replicated-loglet.default-log-replication");
    if (old_replication && !has(explicit_layers, "default-replication")) {
        cv_set(root, "default-replication", cv_copy(old_replication));
        warn(l, false,
             xstrdup("'bifrost.replicated-loglet.default-log-replication' is a key of older releases; its "
                     "value is used as "
                     "'default-replication'. Please set 'default-replication' instead."));
    }
    struct cv *roles = cv_member(explicit_layers, "roles");
    struct cv *separate = cv_get(root, "ingress.experimental-feature-enable-separate-ingress-role");
    bool aged = old_replication || has(root, "metadata-server.type") ||
                has(root, "admin.query-engine.pgsql-bind-address") ||
                (separate && separate->type == CV_BOOL && !separate->boolean);
    bool worker = false, ingress = false;
    for (size_t i = 0; roles && roles->type == CV_LIST && i < roles->len; i++) {
        const char *name = roles->items[i]->type == CV_STRING ? roles->items[i]->string : "";
        worker = worker || strcmp(name, "worker") == 0;
        ingress = ingress || strcmp(name, "http-ingress") == 0;
        aged = aged || strcmp(name, "metadata-store") == 0;
    }
    if (aged && worker && !ingress) {
        struct cv *effective = cv_member(root, "roles");
        cv_push(effective, cv_string("http-ingress", ""));
        warn(l, false,
             xstrdup("The configuration was written for a release in which the worker role served ingress: "
                     "role 'http-ingress' is "
                     "added. Please list it in 'roles'."));
    }
    if (has(root, "worker.invoker.retry-policy"))
        warn(l, false,
             xstrdup("'worker.invoker.retry-policy' is ignored: 'default-retry-policy' governs retries of "
                     "invocations"));
}

static int64_t number(const struct cv *root, const char *path, int64_t otherwise)
{
    struct cv *v = cv_get(root, path);
    return v && v->type == CV_INT ? v->integer : otherwise;
}

static void clamp_to(struct cv *root, const char *path, int64_t limit)
{
    int64_t v = number(root, path, limit);
    cv_set(root, path, cv_int(MIN(v, limit), ""));
}

static void derive(struct cv *root)
{
    static const char *const sections[] = {"admin", "ingress"};
    static const char *const cascading[] = {"use-random-ports", "listen-mode", "bind-ip"};
    for (size_t s = 0; s < 2; s++) {
        struct cv *section = cv_member(root, sections[s]);
        for (size_t i = 0; i < ARRAY_LEN(cascading); i++) {
            struct cv *v = cv_member(root, cascading[i]);
            if (v && !cv_member(section, cascading[i]))
                cv_set_member(section, cascading[i], cv_copy(v));
        }
        struct cv *host = cv_member(root, "advertised-host");
        if (host && !cv_member(section, "advertised-host") && !cv_member(section, "advertised-address"))
            cv_set_member(section, "advertised-host", cv_copy(host));
    }
    int64_t limit = number(root, "networking.message-size-limit", 32 << 20);
    clamp_to(root, "metadata-client.message-size-limit", limit);
    clamp_to(root, "worker.invoker.message-size-limit", limit);
    clamp_to(root, "ingress.request-size-limit", limit);
    clamp_to(root, "bifrost.record-size-limit", limit);
    clamp_to(root, "worker.invoker.per-invocation-memory-limit", limit);
    struct cv *lazy = cv_get(root, "worker.invoker.disable-eager-state");
    if (lazy && lazy->boolean && !cv_get(root, "worker.invoker.eager-state-size-limit"))
        cv_set(root, "worker.invoker.eager-state-size-limit", cv_int(0, ""));
    clamp_to(root, "worker.invoker.eager-state-size-limit",
             MIN(limit, number(root, "worker.invoker.per-invocation-memory-limit", limit)));
    if (!cv_get(root, "worker.invoker.additional-request-headers")) {
        char *name = xstrdup(cv_member(root, "cluster-name")->string);
        size_t n = 0;
        for (char *p = name; *p; p++) {
            if (*p >= 0x20 && *p < 0x7f)
                name[n++] = *p;
        }
        name[n] = 0;
        struct cv *headers = cv_new(CV_TABLE, "");
        cv_set_member(headers, "x-restate-cluster-name", cv_string(name, ""));
        free(name);
        cv_set(root, "worker.invoker.additional-request-headers", headers);
    }
    static const char *const engines[] = {"worker.storage", "bifrost.local", "log-server", "metadata-server"};
    for (size_t i = 0; i < config_key_count; i++) {
        const char *path = config_keys[i].path;
        if (strncmp(path, "rocksdb-", 8) != 0)
            continue;
        struct cv *v = cv_member(root, path);
        for (size_t e = 0; v && e < ARRAY_LEN(engines); e++) {
            char full[128];
            snprintf(full, sizeof(full), "%s.%s", engines[e], path);
            if (config_key_find(full) && !cv_get(root, full))
                cv_set(root, full, cv_copy(v));
        }
    }
}

static bool has_port(struct slice authority)
{
    size_t i = authority.len;
    while (i > 0 && authority.ptr[i - 1] >= '0' && authority.ptr[i - 1] <= '9')
        i--;
    return i > 1 && i < authority.len && authority.ptr[i - 1] == ':';
}

/* `host:port`, stored as a URI. */
static enum rc check_etcd_address(struct cv *address, struct err *err)
{
    char *text =
        strstr(address->string, "://") ? xstrdup(address->string) : xasprintf("http://%s", address->string);
    struct http_uri uri;
    enum rc rc = http_uri_parse(slice_cstr(text), &uri, err);
    if (rc == RC_OK && (uri.is_unix || uri.tls || !has_port(uri.authority)))
        rc = err_set(err, RC_INVALID, "an address of etcd is host:port, without TLS");
    if (rc != RC_OK)
        err_prefix(err, "`%s` (key \"metadata-client.addresses\"): ", address->string);
    free(address->string);
    address->string = text;
    return rc;
}

static enum rc check_etcd(const struct cv *client, struct err *err)
{
    const struct cv *list = cv_member(client, "addresses");
    enum rc rc = RC_OK;
    if (!list || list->len == 0)
        return err_set(err, RC_INVALID, "missing field `addresses` (key \"metadata-client.addresses\")");
    if (list->len > ETCD_ENDPOINTS_MAX)
        return err_set(err, RC_INVALID, "at most %u addresses of etcd (key \"metadata-client.addresses\")",
                       ETCD_ENDPOINTS_MAX);
    for (size_t i = 0; i < list->len && rc == RC_OK; i++)
        rc = check_etcd_address(list->items[i], err);
    return rc;
}

static enum rc check_object_store(const struct cv *client, struct err *err)
{
    const struct cv *path = cv_member(client, "path");
    struct object_url url;
    if (!path)
        return err_set(err, RC_INVALID, "missing field `path` (key \"metadata-client.path\")");
    enum rc rc = object_url_parse(slice_cstr(path->string), &url, err);
    if (rc != RC_OK)
        err_prefix(err, "(key \"metadata-client.path\"): ");
    return rc;
}

enum rc config_check_metadata_client(struct cv *client, struct err *err)
{
    const struct cv *type = cv_member(client, "type");
    const char *name = type && type->type == CV_STRING ? type->string : "";
    if (strcmp(name, "etcd") == 0)
        return check_etcd(client, err);
    if (strcmp(name, "object-store") == 0)
        return check_object_store(client, err);
    if (strcmp(name, "dynamo-db") == 0)
        return err_set(err, RC_UNSUPPORTED,
                       "metadata in `%s` is not supported by this server, only in `replicated`, `etcd` and "
                       "`object-store` (key \"metadata-client.type\")",
                       name);
    /* Anything else means the default (spec/config.md §1.6). */
    cv_set_member(client, "type", cv_string("replicated", ""));
    return RC_OK;
}

static enum rc metadata_client(struct cv *root, const struct cv *explicit_layers, struct err *err)
{
    struct cv *client = cv_member(root, "metadata-client");
    struct cv *address = cv_member(client, "address");
    if (address) {
        if (has(explicit_layers, "metadata-client.addresses"))
            return err_set(
                err, RC_INVALID,
                "Conflicting configuration, embedded metadata-client cannot have both `address` and "
                "`addresses` (keys \"metadata-client.address\", \"metadata-client.addresses\")");
        struct cv *list = cv_new(CV_LIST, "");
        cv_push(list, cv_copy(address));
        cv_set_member(client, "addresses", list);
        cv_remove_member(client, "address");
    }
    return config_check_metadata_client(client, err);
}

/* Without its metadata server such a node would do nothing. */
static enum rc check_roles(const struct loaded *l, struct err *err)
{
    if (l->config.roles || l->config.metadata_migration)
        return RC_OK;
    return err_set(err, RC_INVALID,
                   "a node whose only role is metadata-server has nothing to do when the metadata is not in "
                   "the `replicated` store (keys \"roles\", \"metadata-client.type\")");
}

/* Which node's data lives in the base directory (spec/config.md §1.12). */
static enum rc resolve_node_name(struct cv *root, struct err *err)
{
    if (cv_member(root, "node-name"))
        return RC_OK;
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    struct cv *base = cv_member(root, "base-dir");
    const char *dir = base ? base->string : "restate-data";
    size_t others = 0, mine = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char *path = xasprintf("%s/%s", dir, e->d_name);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            if (strcmp(e->d_name, host) == 0)
                mine++;
            else
                others++;
        }
        free(path);
    }
    if (d)
        closedir(d);
    if (others == 0)
        return RC_OK;
    return err_set(err, RC_INVALID,
                   "node-name is required: %s holds the data of %s. Set `node-name` (key \"node-name\", flag "
                   "--node-name).",
                   dir, mine + others > 1 ? "several nodes" : "a node with another name than this host");
}

/* A proxy that cannot be used is refused at the start: calls that go around it unseen would be worse. */
static enum rc check_proxy(const struct cv *root, struct err *err)
{
    const struct cv *uri = cv_get(root, "worker.invoker.http-proxy");
    if (!uri || uri->type != CV_STRING)
        return RC_OK;
    struct http_proxy *proxy = NULL;
    struct err why = {0};
    if (http_proxy_new(uri->string, NULL, &proxy, &why) != RC_OK)
        return err_set(err, RC_INVALID, "%s (key \"worker.invoker.http-proxy\")", why.msg);
    http_proxy_free(proxy);
    return RC_OK;
}

static enum rc build(struct loaded *l, struct cv *root, struct cli *cli, char **envp, struct err *err,
                     bool *semantic)
{
    apply_defaults(root);
    if (cli->production)
        cv_set(root, "auto-provision", cv_bool(false, ""));
    struct cv *layers = cv_new(CV_TABLE, ""); /* everything somebody set */
    l->explicit_layers = layers;
    const char *file = cli->config_file ? cli->config_file : env_get(envp, "RESTATE_CONFIG");
    enum rc rc = file ? apply_file(l, layers, file, err) : RC_OK;
    if (rc == RC_OK)
        rc = apply_env(l, layers, envp, err);
    if (rc != RC_OK)
        return rc;
    apply_special_env(layers, envp);
    cv_merge(layers, cli->layer);
    const char *track = env_get(envp, "DO_NOT_TRACK");
    if (track && (strcmp(track, "1") == 0 || strcmp(track, "true") == 0 || strcmp(track, "yes") == 0))
        cv_set(layers, "disable-telemetry", cv_bool(true, ""));
    else if (track && (strcmp(track, "0") == 0 || strcmp(track, "false") == 0 || strcmp(track, "no") == 0))
        cv_set(layers, "disable-telemetry", cv_bool(false, ""));
    move_deprecated(l, layers);
    struct cv *node_id = cv_member(layers, "force-node-id");
    cv_merge(root, layers);
    decide_legacy(l, root, layers);
    rc = check_tree(l, root, "", err);
    if (rc != RC_OK)
        return rc;
    *semantic = true;
    if (node_id && number(root, "force-node-id", 1) == 0)
        return err_set(err, RC_INVALID, "force-node-id can not be 0 (key \"force-node-id\")");
    if (number(root, "default-num-partitions", 24) > 65535)
        return err_set(err, RC_INVALID,
                       "default-num-partitions must be at most 65535 (key \"default-num-partitions\")");
    rc = metadata_client(root, layers, err);
    if (rc == RC_OK)
        rc = check_proxy(root, err);
    if (rc == RC_OK)
        rc = resolve_node_name(root, err);
    if (rc == RC_OK)
        derive(root);
    return rc;
}

void config_free(struct node_config *c)
{
    struct loaded *l = CONTAINER_OF(c, struct loaded, config);
    for (size_t i = 0; i < l->warnings.len; i++)
        free(l->warnings.items[i].text);
    VEC_FREE(&l->warnings);
    cv_free(l->root);
    cv_free(l->explicit_layers);
    cv_free(l->file_layer);
    free(l->file_source);
    free((void *)c->admin_options.routing_headers);
    free((void *)c->metadata.client.addresses);
    free(c->invoker.additional_headers);
    free(c->tracing.headers);
    free(c->invoker.no_proxy);
    config_free_kafka_clusters(&c->ingress_options.kafka_clusters);
    free(c);
}

static enum rc load(int argc, char **argv, char **envp, struct cli *cli, struct loaded **out, struct err *err,
                    bool *semantic)
{
    struct loaded *l = xcalloc(1, sizeof(*l));
    l->root = cv_new(CV_TABLE, "");
    l->argc = argc;
    l->argv = argv;
    l->envp = envp;
    enum rc rc = build(l, l->root, cli, envp, err, semantic);
    if (rc != RC_OK) {
        for (size_t i = 0; i < l->warnings.len; i++) {
            if (l->warnings.items[i].to_stderr)
                fprintf(stderr, "%s\n", l->warnings.items[i].text);
        }
        config_free(&l->config);
        return rc;
    }
    config_fill(l);
    if (cli->metadata_migration) {
        l->config.metadata_migration = true;
        l->config.implicit_ingress = false;
        l->config.roles &= ROLE_ADMIN | ROLE_METADATA_SERVER;
    }
    rc = check_roles(l, err);
    if (rc != RC_OK) {
        config_free(&l->config);
        return rc;
    }
    const char *file = cli->config_file ? cli->config_file : env_get(envp, "RESTATE_CONFIG");
    l->config.config_file = (char *)file;
    *out = l;
    return RC_OK;
}

enum rc config_load(int argc, char **argv, char **envp, struct node_config **out, enum config_action *action,
                    int *exit_code)
{
    struct cli cli;
    *exit_code = 0;
    *action = CONFIG_EXIT;
    *out = NULL;
    if (cli_parse(argc, argv, &cli) != RC_OK) {
        cv_free(cli.layer);
        *exit_code = 2;
        return RC_INVALID;
    }
    if (cli.help || cli.version) {
        if (cli.help)
            cli_print_help();
        else
            printf("restate-server %s\n", RESTATE_VERSION);
        cv_free(cli.layer);
        return RC_OK;
    }
    struct err err = {0};
    bool semantic = false;
    struct loaded *l;
    enum rc rc = load(argc, argv, envp, &cli, &l, &err, &semantic);
    bool dump = cli.dump_config;
    cv_free(cli.layer);
    if (rc != RC_OK) {
        fprintf(stderr, "[RT0002] %s: %s\n\n",
                semantic ? "invalid configuration" : "configuration loading error", err.msg);
        *exit_code = 1;
        return rc;
    }
    for (size_t i = 0; i < l->warnings.len; i++) {
        if (l->warnings.items[i].to_stderr)
            fprintf(stderr, "%s\n", l->warnings.items[i].text);
    }
    if (dump) {
        struct bytes text = config_dump(&l->config);
        fwrite(text.ptr, 1, text.len, stdout);
        bytes_unref(&text);
        config_free(&l->config);
        return RC_OK;
    }
    *action = CONFIG_RUN;
    *out = &l->config;
    return RC_OK;
}

enum rc config_reload(const struct node_config *current, struct node_config **out, struct err *err)
{
    const struct loaded *old = CONTAINER_OF(current, struct loaded, config);
    struct cli cli;
    bool semantic = false;
    if (cli_parse(old->argc, old->argv, &cli) != RC_OK)
        return err_set(err, RC_INTERNAL, "the command line no longer parses");
    struct loaded *l;
    enum rc rc = load(old->argc, old->argv, old->envp, &cli, &l, err, &semantic);
    cv_free(cli.layer);
    if (rc == RC_OK)
        *out = &l->config;
    return rc;
}

void config_log_warnings(const struct node_config *c)
{
    const struct loaded *l = CONTAINER_OF(c, struct loaded, config);
    for (size_t i = 0; i < l->warnings.len; i++) {
        if (!l->warnings.items[i].to_stderr)
            LOG0(LOG_WARN, "restate_server", "%s", l->warnings.items[i].text);
    }
}

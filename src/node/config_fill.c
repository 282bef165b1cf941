/* From the checked configuration tree to struct node_config, and the dump. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/codec.h"
#include "node/config_internal.h"
#include "node/config_keys.h"

static const char *text(const struct cv *root, const char *path, const char *otherwise)
{
    struct cv *v = cv_get(root, path);
    return v && v->type == CV_STRING ? v->string : otherwise;
}

static bool boolean(const struct cv *root, const char *path)
{
    struct cv *v = cv_get(root, path);
    return v && v->type == CV_BOOL && v->boolean;
}

static uint64_t integer(const struct cv *root, const char *path, uint64_t otherwise)
{
    struct cv *v = cv_get(root, path);
    return v && v->type == CV_INT ? (uint64_t)v->integer : otherwise;
}

/* Durations are kept in nanoseconds; a positive one below a millisecond counts as one. */
static uint64_t ms(const struct cv *root, const char *path, uint64_t otherwise)
{
    struct cv *v = cv_get(root, path);
    if (!v || v->type != CV_INT)
        return otherwise;
    uint64_t ns = (uint64_t)v->integer;
    return ns == 0 ? 0 : MAX(ns / 1000000, 1u);
}

static double real(const struct cv *root, const char *path, double otherwise)
{
    struct cv *v = cv_get(root, path);
    return v && v->type == CV_FLOAT ? v->number : otherwise;
}

/* A number or a normal text: it was checked when it was read. */
static void fill_replication(const struct cv *root, const char *key, struct replication *out)
{
    const char *property = text(root, key, NULL);
    uint64_t copies = integer(root, key, 0);
    if (copies)
        *out = replication_nodes((uint8_t)copies);
    if (property)
        ASSERT(replication_parse(slice_cstr(property), out, NULL) == RC_OK);
}

static void fill_retry(const struct cv *v, struct object_retry_policy *out)
{
    const char *type = text(v, "type", "exponential");
    *out = (struct object_retry_policy){.factor = 1, .max_attempts = (unsigned)integer(v, "max-attempts", 0)};
    if (strcmp(type, "none") == 0) {
        out->max_attempts = 1;
    } else if (strcmp(type, "fixed-delay") == 0) {
        out->initial_ms = ms(v, "interval", 100);
    } else {
        const struct cv *factor = cv_member(v, "factor");
        out->initial_ms = ms(v, "initial-interval", 100);
        out->max_ms = ms(v, "max-interval", 0);
        out->factor = factor && factor->type == CV_FLOAT ? factor->number
                      : factor                           ? (double)factor->integer
                                                         : 2.0;
        out->factor = MAX(out->factor, 1.0);
    }
}

static void fill_object_access(const struct cv *section, struct object_access *out)
{
    *out = (struct object_access){
        .aws_profile = text(section, "aws-profile", NULL),
        .aws_region = text(section, "aws-region", NULL),
        .aws_access_key_id = text(section, "aws-access-key-id", NULL),
        .aws_secret_access_key = text(section, "aws-secret-access-key", NULL),
        .aws_session_token = text(section, "aws-session-token", NULL),
        .aws_endpoint_url = text(section, "aws-endpoint-url", NULL),
        .aws_allow_http = boolean(section, "aws-allow-http"),
    };
    const struct cv *retry = cv_member(section, "object-store-retry-policy");
    if (retry)
        fill_retry(retry, &out->retry);
    else
        out->retry = (struct object_retry_policy){100, 10000, 2.0, 10};
}

void config_fill_metadata_client(const struct cv *section, struct metadata_client_config *c)
{
    const struct cv *list = cv_member(section, "addresses");
    const char *type = text(section, "type", "replicated");
    c->type = strcmp(type, "etcd") == 0           ? METADATA_ETCD
              : strcmp(type, "object-store") == 0 ? METADATA_OBJECT_STORE
                                                  : METADATA_REPLICATED;
    c->addresses = xcalloc((list ? list->len : 0) + 1, sizeof(char *));
    for (size_t i = 0; list && i < list->len; i++)
        c->addresses[c->n_addresses++] = list->items[i]->string;
    c->path = text(section, "path", NULL);
    fill_object_access(section, &c->access);
    c->connect_timeout_ms = ms(section, "connect-timeout", 3000);
    c->keep_alive_interval_ms = ms(section, "keep-alive-interval", 5000);
    c->keep_alive_timeout_ms = ms(section, "keep-alive-timeout", 5000);
}

static void fill_metadata(const struct cv *root, struct node_config *c)
{
    config_fill_metadata_client(cv_member(root, "metadata-client"), &c->metadata.client);
    if (c->metadata.client.type != METADATA_REPLICATED)
        c->roles &= ~(unsigned)ROLE_METADATA_SERVER;
    c->metadata.auto_join = boolean(root, "metadata-server.auto-join");
    c->metadata.log_trim_threshold =
        (uint32_t)MAX(integer(root, "metadata-server.log-trim-threshold", 1000), 1u);
    c->metadata.update_interval_ms = ms(root, "metadata-update-interval", 10000);
}

static void fill_listener(const struct cv *section, uint16_t default_port, struct listener_config *out)
{
    const char *mode = text(section, "listen-mode", "all");
    out->mode = strcmp(mode, "tcp") == 0 ? LISTEN_TCP : strcmp(mode, "unix") == 0 ? LISTEN_UNIX : LISTEN_ALL;
    snprintf(out->bind_host, sizeof(out->bind_host), "%s", text(section, "bind-ip", "::"));
    bool random_port = boolean(section, "use-random-ports");
    out->bind_port = (uint16_t)integer(section, "bind-port", random_port ? 0 : default_port);
    const char *address = text(section, "bind-address", NULL);
    if (address) {
        const char *colon = strrchr(address, ':');
        bool v6 = address[0] == '[';
        snprintf(out->bind_host, sizeof(out->bind_host), "%.*s", (int)(colon - address) - 2 * v6,
                 address + v6);
        out->bind_port = (uint16_t)atoi(colon + 1);
    }
    snprintf(out->advertised_host, sizeof(out->advertised_host), "%s", text(section, "advertised-host", ""));
    snprintf(out->advertised_address, sizeof(out->advertised_address), "%s",
             text(section, "advertised-address", ""));
}

static unsigned roles(const struct cv *list)
{
    unsigned bits = 0;
    for (size_t i = 0; i < list->len; i++)
        bits |= node_role_parse(slice_cstr(list->items[i]->string));
    return bits;
}

void node_roles_format(unsigned bits, const char *separator, char *out, size_t cap)
{
    static const enum node_role order[] = {ROLE_HTTP_INGRESS, ROLE_ADMIN, ROLE_WORKER, ROLE_LOG_SERVER,
                                           ROLE_METADATA_SERVER};
    out[0] = 0;
    for (size_t r = 0; r < ARRAY_LEN(order); r++) {
        if (bits & order[r])
            snprintf(out + strlen(out), cap - strlen(out), "%s%s", out[0] ? separator : "",
                     node_role_name(order[r]));
    }
}

static void fill_defaults(const struct cv *root, struct schema_defaults *d)
{
    d->inactivity_timeout_ms = ms(root, "worker.invoker.inactivity-timeout", 60000);
    d->abort_timeout_ms = ms(root, "worker.invoker.abort-timeout", 600000);
    d->journal_retention_ms = ms(root, "default-journal-retention", 0);
    d->idempotency_retention_ms = ms(root, "default-idempotency-retention", 0);
    d->workflow_completion_retention_ms = ms(root, "default-workflow-completion-retention", 0);
    d->max_journal_retention_ms = ms(root, "max-journal-retention", OPTION_UNSET);
    d->max_idempotency_retention_ms = ms(root, "max-idempotency-retention", OPTION_UNSET);
    d->max_workflow_completion_retention_ms = ms(root, "max-workflow-completion-retention", OPTION_UNSET);
    d->retry_initial_interval_ms = ms(root, "default-retry-policy.initial-interval", 500);
    d->retry_max_interval_ms = ms(root, "default-retry-policy.max-interval", 60000);
    d->retry_max_attempts = integer(root, "default-retry-policy.max-attempts", RETRY_UNLIMITED);
    d->retry_max_attempts_cap = integer(root, "max-retry-policy-max-attempts", OPTION_UNSET);
    d->retry_factor = real(root, "default-retry-policy.exponentiation-factor", 2.0);
    d->retry_on_max_attempts =
        strcmp(text(root, "default-retry-policy.on-max-attempts", "pause"), "kill") == 0
            ? ON_MAX_ATTEMPTS_KILL
            : ON_MAX_ATTEMPTS_PAUSE;
    d->disable_eager_state = boolean(root, "worker.invoker.disable-eager-state");
}

/* A list, or the text that the environment gives. */
static char *no_proxy(const struct cv *v)
{
    if (!v || v->type == CV_STRING)
        return v ? xstrdup(v->string) : NULL;
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < v->len; i++)
        write_fmt(&w, "%s%s", i > 0 ? "," : "", v->items[i]->string);
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

/* "6/min" and the like; plain numbers are per second. */
static double rate_per_second(const struct cv *rate)
{
    if (rate->type != CV_STRING)
        return (double)rate->integer;
    char *unit;
    double n = (double)strtol(rate->string, &unit, 10);
    while (*unit == ' ' || *unit == '/')
        unit++;
    char first = (char)(*unit | 32);
    return first == 'm' ? n / 60 : first == 'h' ? n / 3600 : n;
}

static void fill_rate(const struct cv *limit, double *per_second, double *burst)
{
    const struct cv *rate = limit ? cv_member(limit, "rate") : NULL;
    if (!rate)
        return;
    *per_second = rate_per_second(rate);
    double n = rate->type == CV_STRING ? (double)strtol(rate->string, NULL, 10) : (double)rate->integer;
    *burst = (double)integer(limit, "capacity", (uint64_t)n);
}

static void fill_invoker(const struct cv *root, struct node_config *c)
{
    c->rule_book_poll_interval_ms = ms(root, "worker.rule-book-poll-interval", 30000);
    const struct cv *i = cv_get(root, "worker.invoker");
    c->invoker.concurrent_invocations_limit = (uint32_t)integer(i, "concurrent-invocations-limit", 1000);
    c->invoker.message_size_warning = integer(i, "message-size-warning", 10u << 20);
    c->invoker.message_size_limit = integer(i, "message-size-limit", 32u << 20);
    c->invoker.eager_state_size_limit = integer(i, "eager-state-size-limit", 32u << 20);
    c->invoker.memory_limit = integer(i, "memory-limit", 1536u << 20);
    c->invoker.per_invocation_memory_limit = integer(i, "per-invocation-memory-limit", 32u << 20);
    c->invoker.max_awaited_future_depth = (uint32_t)integer(i, "max-awaited-future-depth", 1000);
    c->invoker.enable_v7 = boolean(root, "experimental-enable-protocol-v7");
    c->invoker.yield_threshold_ms = ms(root, "invocation-yield-threshold", 2000);
    c->invoker.scopes = boolean(root, "experimental-enable-vqueues");
    c->ingress_options.kafka_scope = boolean(root, "experimental-enable-kafka-scope");
    c->invoker.scoped_objects = boolean(root, "experimental-enable-scoped-virtual-objects");
    c->invoker.identity_key_pem_file = (char *)text(i, "request-identity-private-key-pem-file", NULL);
    c->invoker.identity_expiration_s = MAX(ms(i, "request-identity-expiration", 60000) / 1000, 1u);
    c->invoker.http_proxy = text(i, "http-proxy", NULL);
    c->invoker.no_proxy = no_proxy(cv_get(i, "no-proxy"));
    c->invoker.aws_profile = text(i, "aws-profile", NULL);
    c->invoker.aws_assume_role_external_id = text(i, "aws-assume-role-external-id", NULL);
    c->invoker.lambda_compression_threshold = integer(i, "request-compression-threshold", 4u << 20);
    c->invoker.connect_timeout_ms = ms(i, "connect-timeout", 10000);
    c->invoker.keep_alive_interval_ms = ms(i, "http2-keep-alive-interval", 40000);
    c->invoker.keep_alive_timeout_ms = ms(i, "http2-keep-alive-timeout", 20000);
    c->invoker.keep_alive_jitter = real(i, "http2-keep-alive-jitter", 0.2);
    c->invoker.idle_connection_timeout_ms = ms(i, "http2-idle-connection-timeout", 300000);
    c->invoker.streams_per_connection = (uint32_t)integer(i, "http2-streams-per-connection-limit", 128);
    c->invoker.initial_max_send_streams = (uint32_t)integer(i, "http2-initial-max-send-streams", 50);
    c->invoker.initial_stream_window = (uint32_t)integer(i, "http2-initial-stream-window-size", 2u << 20);
    c->invoker.initial_connection_window =
        (uint32_t)integer(i, "http2-initial-connection-window-size", 5u << 20);
    c->invoker.max_frame_size = (uint32_t)integer(i, "http2-max-frame-size", 16384);
    fill_rate(cv_member(i, "invocation-throttling"), &c->invoker.starts_per_second, &c->invoker.starts_burst);
    fill_rate(cv_member(i, "action-throttling"), &c->invoker.actions_per_second, &c->invoker.actions_burst);
    const struct cv *headers = cv_get(i, "additional-request-headers");
    c->invoker.n_additional_headers = headers->len;
    c->invoker.additional_headers = xcalloc(headers->len + 1, sizeof(*c->invoker.additional_headers));
    for (size_t h = 0; h < headers->len; h++)
        c->invoker.additional_headers[h] =
            (struct schema_header){headers->items[h]->key, headers->items[h]->string};
}

static void fill_tracing(const struct cv *root, struct node_config *c)
{
    const struct cv *headers = cv_get(root, "tracing-headers");
    c->tracing.endpoint = text(root, "tracing-services-endpoint", text(root, "tracing-endpoint", NULL));
    c->tracing.headers = xcalloc((headers ? headers->len : 0) + 1, sizeof(*c->tracing.headers));
    for (size_t i = 0; headers && i < headers->len; i++)
        c->tracing.headers[c->tracing.n_headers++] =
            (struct schema_header){headers->items[i]->key, headers->items[i]->string};
}

static void fill_networking(const struct cv *root, struct node_config *c)
{
    const struct cv *n = cv_get(root, "networking");
    c->networking.connect_timeout_ms = ms(n, "connect-timeout", 3000);
    c->networking.handshake_timeout_ms = ms(n, "handshake-timeout", 3000);
    c->networking.keep_alive_interval_ms = ms(n, "http2-keep-alive-interval", 1000);
    c->networking.keep_alive_timeout_ms = ms(n, "http2-keep-alive-timeout", 3000);
    uint64_t fixed = ms(n, "connect-retry-policy.interval", 250);
    c->networking.retry_min_ms = MAX(ms(n, "connect-retry-policy.initial-interval", fixed), 10u);
    c->networking.retry_max_ms =
        MAX(ms(n, "connect-retry-policy.max-interval", 3000), c->networking.retry_min_ms);
}

static void fill_admin(const struct cv *root, struct node_config *c)
{
    const struct cv *a = cv_member(root, "admin");
    c->admin_options.concurrent_requests_limit = integer(a, "concurrent-api-requests-limit", 0);
    c->admin_options.disable_web_ui = boolean(a, "disable-web-ui");
    c->admin_options.web_ui_dir = text(root, "extensions.web-ui-dir", NULL);
    c->admin_options.query_memory_bytes = integer(a, "query-engine.memory-size", 1u << 30);
    c->admin_options.query_tmp_dir = text(a, "query-engine.tmp-dir", NULL);
    c->admin_options.query_parallelism = (unsigned)integer(a, "query-engine.query-parallelism", 0);
    fill_rate(cv_get(a, "query-engine.rate-limiting"), &c->admin_options.query_rate_per_second,
              &c->admin_options.query_rate_burst);
    c->admin_options.disable_config_table = boolean(root, "disable-config-sql-table");
    const struct cv *routing = cv_member(a, "deployment-routing-headers");
    c->admin_options.n_routing_headers = routing->len;
    c->admin_options.routing_headers = xcalloc(routing->len + 1, sizeof(char *));
    for (size_t i = 0; i < routing->len; i++)
        c->admin_options.routing_headers[i] = routing->items[i]->string;
    snprintf(c->pgsql_bind_address, sizeof(c->pgsql_bind_address), "%s",
             text(a, "query-engine.pgsql-bind-address", ""));
}

/* gossip-num-peers is a lower bound here, gossip-time-skew-threshold has no effect: the failure detector does
 * not compare clocks (membership/membership.h). */
static void fill_gossip(const struct cv *root, struct membership_config *g)
{
    membership_config_default(g);
    g->tick_ms = ms(root, "gossip-tick-interval", g->tick_ms);
    g->failure_threshold = (uint32_t)integer(root, "gossip-failure-threshold", g->failure_threshold);
    g->num_peers = (uint32_t)integer(root, "gossip-num-peers", g->num_peers);
    g->stability_threshold = (uint32_t)integer(root, "gossip-fd-stability-threshold", g->stability_threshold);
    g->suspect_ms = ms(root, "gossip-suspect-interval", g->suspect_ms);
    g->loneliness_threshold = (uint32_t)integer(root, "gossip-loneliness-threshold", g->loneliness_threshold);
    g->extras_every = (uint32_t)integer(root, "gossip-extras-exchange-frequency", g->extras_every);
}

static void fill_snapshots(const struct cv *root, struct node_config *c)
{
    const struct cv *s = cv_get(root, "worker.snapshots");
    const char *mode = text(root, "worker.durability-mode", NULL);
    c->durability_mode_set = mode && durability_mode_parse(slice_cstr(mode), &c->durability_mode);
    c->snapshots = (struct snapshot_config){
        .destination = text(s, "destination", NULL),
        .interval_ms = ms(s, "snapshot-interval", 0),
        .num_records = integer(s, "snapshot-interval-num-records", 0),
        .num_retained = (unsigned)integer(s, "num-retained", 1),
        .export_concurrency_limit = (unsigned)MIN(integer(s, "export-concurrency-limit", 4), 1000u),
    };
    fill_object_access(s, &c->snapshots.access);
}

void config_fill(struct loaded *l)
{
    const struct cv *root = l->root;
    struct node_config *c = &l->config;
    c->roles = roles(cv_member(root, "roles"));
    /* Documents from before http-ingress was a role of its own list `worker` alone and expect calls to work
     * (spec/cluster.md A-19). */
    c->implicit_ingress = (c->roles & ROLE_WORKER) && !(c->roles & ROLE_HTTP_INGRESS) &&
                          !boolean(root, "disable-implicit-ingress");
    if (c->implicit_ingress)
        c->roles |= ROLE_HTTP_INGRESS;
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    snprintf(c->node_name, sizeof(c->node_name), "%s", text(root, "node-name", host));
    snprintf(c->cluster_name, sizeof(c->cluster_name), "%s", text(root, "cluster-name", "localcluster"));
    snprintf(c->base_dir, sizeof(c->base_dir), "%s", text(root, "base-dir", "restate-data"));
    c->auto_provision = boolean(root, "auto-provision");
    c->num_partitions = (uint32_t)integer(root, "default-num-partitions", 24);
    c->default_replication = replication_nodes(1);
    fill_replication(root, "default-replication", &c->default_replication);
    c->log_replication = c->default_replication;
    fill_replication(root, "bifrost.replicated-loglet.default-log-replication", &c->log_replication);
    c->bifrost.window_records =
        (unsigned)integer(root, "bifrost.replicated-loglet.maximum-inflight-records", 1000);
    c->bifrost.cache_bytes = integer(root, "bifrost.record-cache-memory-size", 250u << 20);
    c->bifrost.disable_improvement = boolean(root, "bifrost.disable-auto-improvement");
    fill_metadata(root, c);
    ASSERT(log_provider_parse(slice_cstr(text(root, "bifrost.default-provider", "replicated")),
                              &c->default_provider));
    snprintf(c->location, sizeof(c->location), "%s", text(root, "location", ""));
    c->force_node_id = (uint32_t)integer(root, "force-node-id", 0);
    fill_listener(root, 5122, &c->fabric);
    fill_listener(cv_member(root, "admin"), 9070, &c->admin);
    fill_listener(cv_member(root, "ingress"), 8080, &c->ingress);
    c->shutdown_timeout_ms = ms(root, "shutdown-timeout", 60000);
    c->initialization_timeout_ms = ms(root, "initialization-timeout", 300000);
    fill_gossip(root, &c->gossip);
    const char *format = text(root, "log-format", "pretty");
    c->log_format = strcmp(format, "json") == 0      ? LOG_JSON
                    : strcmp(format, "compact") == 0 ? LOG_COMPACT
                                                     : LOG_PRETTY;
    c->log_filter = (char *)text(root, "log-filter", "warn,restate=info");
    c->log_ansi = !boolean(root, "log-disable-ansi-codes");
    c->disable_prometheus = boolean(root, "disable-prometheus");
    fill_defaults(root, &c->defaults);
    c->cleanup_interval_ms = ms(root, "worker.cleanup-interval", 3600000);
    c->trim_delay_ms = ms(root, "worker.trim-delay-interval", 600000);
    fill_snapshots(root, c);
    c->storage_memory_bytes = MAX(integer(root, "rocksdb-total-memory-size", 2ull << 30), 256ull << 20);
    c->message_size_limit = integer(root, "networking.message-size-limit", 32u << 20);
    c->disable_compression = boolean(root, "networking.disable-compression");
    c->disable_idempotent_sharding = boolean(root, "disable-controlled-idempotent-sharding");
    c->ingress_options.request_size_limit = integer(root, "ingress.request-size-limit", 32u << 20);
    c->ingress_options.concurrent_requests_limit = integer(root, "ingress.concurrent-api-requests-limit", 0);
    c->ingress_options.kafka_inflight_bytes =
        integer(root, "ingress.ingestion.inflight-memory-budget", 1u << 20);
    c->ingress_options.kafka_batch_bytes = integer(root, "ingress.ingestion.request-batch-size", 50u << 10);
    config_fill_kafka_clusters(cv_get(root, "ingress.kafka-clusters"), &c->ingress_options.kafka_clusters);
    c->ingress_options.http2_max_concurrent_streams =
        (uint32_t)integer(root, "ingress.http2-max-concurrent-streams", 200);
    fill_networking(root, c);
    fill_tracing(root, c);
    fill_admin(root, c);
    fill_invoker(root, c);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    c->shards = (uint32_t)MAX(integer(root, "default-thread-pool-size", 0), 0u);
    if (c->shards == 0)
        c->shards = (uint32_t)MAX(cores, 1);
    c->shards = MIN(c->shards, MAX(c->num_partitions, 1u));
}

/* ---- dump ---- */

static void dump_section(const struct cv *root, const char *section, struct writer *w)
{
    size_t n = strlen(section);
    bool headed = n == 0;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        const char *name = n == 0 ? k->path : k->path + n + 1;
        if ((n > 0 && (strncmp(k->path, section, n) != 0 || k->path[n] != '.')) || strchr(name, '.') ||
            k->type == K_REMOVED)
            continue;
        const struct cv *v = cv_get(root, k->path);
        if (!v)
            continue;
        if ((k->flags & KF_HIDDEN) && v->type != CV_STRING && !*v->source)
            continue;
        if (!headed) {
            write_fmt(w, "\n[%s]\n", section);
            headed = true;
        }
        write_fmt(w, "%s = ", name);
        config_key_print(k, v, w);
        write_u8(w, '\n');
    }
}

struct bytes config_dump(const struct node_config *c)
{
    const struct loaded *l = CONTAINER_OF(c, struct loaded, config);
    struct writer w = WRITER_INIT;
    writer_init(&w, 16384);
    dump_section(l->root, "", &w);
    char last[128] = "";
    for (size_t i = 0; i < config_key_count; i++) {
        char section[128];
        const char *dot = strrchr(config_keys[i].path, '.');
        if (!dot)
            continue;
        snprintf(section, sizeof(section), "%.*s", (int)(dot - config_keys[i].path), config_keys[i].path);
        if (strcmp(section, last) == 0)
            continue;
        /* Keys of one section may stand apart in the table: print it where it first appears. */
        bool first = true;
        for (size_t j = 0; j < i && first; j++) {
            const char *d = strrchr(config_keys[j].path, '.');
            first = !(d && (size_t)(d - config_keys[j].path) == strlen(section) &&
                      strncmp(config_keys[j].path, section, strlen(section)) == 0);
        }
        if (first)
            dump_section(l->root, section, &w);
        snprintf(last, sizeof(last), "%s", section);
    }
    return writer_take(&w);
}

/* ---- one by one ---- */

struct visitor {
    void (*visit)(void *ctx, const char *key, struct slice value);
    void *ctx;
};

static void visit_scalar(const struct visitor *v, const char *path, const struct cv *value)
{
    struct writer w = WRITER_INIT;
    if (value->type == CV_STRING || value->type == CV_CHAR)
        write_slice_raw(&w, slice_cstr(value->string));
    else if (value->type == CV_BOOL)
        write_fmt(&w, "%s", value->boolean ? "true" : "false");
    else if (value->type == CV_FLOAT)
        write_fmt(&w, "%g", value->number);
    else
        write_fmt(&w, "%lld", (long long)value->integer);
    v->visit(v->ctx, path, writer_slice(&w));
    writer_free(&w);
}

static void visit_members(const struct visitor *v, const char *path, const struct cv *value)
{
    for (size_t i = 0; i < value->len; i++) {
        char *below = value->type == CV_TABLE ? xasprintf("%s.%s", path, value->items[i]->key)
                                              : xasprintf("%s[%zu]", path, i);
        if (value->items[i]->type == CV_TABLE || value->items[i]->type == CV_LIST)
            visit_members(v, below, value->items[i]);
        else
            visit_scalar(v, below, value->items[i]);
        free(below);
    }
}

static void visit_key(const struct visitor *v, const struct config_key *k, const struct cv *value)
{
    if (!value) {
        v->visit(v->ctx, k->path, SLICE_LIT("null"));
    } else if (value->type == CV_STRING) {
        visit_scalar(v, k->path, value);
    } else if (k->type == K_STRING_TABLE || k->type == K_TABLE_LIST) {
        visit_members(v, k->path, value);
    } else {
        struct writer w = WRITER_INIT;
        config_key_print(k, value, &w);
        struct slice text = writer_slice(&w);
        bool quoted = text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"';
        v->visit(v->ctx, k->path, quoted ? slice_sub(text, 1, text.len - 2) : text);
        writer_free(&w);
    }
}

static int key_order(const void *a, const void *b)
{
    return strcmp((*(const struct config_key *const *)a)->path, (*(const struct config_key *const *)b)->path);
}

void config_each(const struct node_config *c, void (*visit)(void *ctx, const char *key, struct slice value),
                 void *ctx)
{
    const struct loaded *l = CONTAINER_OF(c, struct loaded, config);
    const struct visitor v = {visit, ctx};
    const struct config_key **keys = xcalloc(config_key_count, sizeof(*keys));
    for (size_t i = 0; i < config_key_count; i++)
        keys[i] = &config_keys[i];
    qsort(keys, config_key_count, sizeof(*keys), key_order);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct cv *value = cv_get(l->root, keys[i]->path);
        bool hidden = keys[i]->flags & KF_HIDDEN && (!value || (value->type != CV_STRING && !*value->source));
        if (keys[i]->type != K_REMOVED && !hidden)
            visit_key(&v, keys[i], value);
    }
    free(keys);
}

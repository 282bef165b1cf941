/* The server's configuration: defaults, TOML file, environment, command line, derived values (spec/config.md
 * §1, §2, §8). All keys of the reference are known with their types, so that a wrong value fails and names
 * the key, and `--dump-config` is complete; the ones this server acts on are in `struct node_config`. */
#pragma once
#include "base/log.h"
#include "loop/net.h"
#include "membership/membership.h"
#include "metadata/schema_kafka.h"
#include "metadata/values.h"
#include "objects/object_store.h"
#include "partition/durability.h"

/* "http-ingress | admin | worker | log-server | metadata-server" with the given separator. */
void node_roles_format(unsigned roles, const char *separator, char *out, size_t cap);

enum listen_mode { LISTEN_ALL, LISTEN_TCP, LISTEN_UNIX };

/* One of fabric (5122), admin (9070), ingress (8080), after the cascade of §1.9. */
struct listener_config {
    enum listen_mode mode;
    char bind_host[64];           /* "::" by default */
    uint16_t bind_port;           /* 0: random */
    char advertised_host[256];    /* "" unset */
    char advertised_address[512]; /* "" unset: derived from the bound socket (§4.3) */
};

/* How an object store is reached; texts belong to the configuration. */
struct object_access {
    struct object_retry_policy retry;
    const char *aws_profile, *aws_region, *aws_access_key_id, *aws_secret_access_key, *aws_session_token,
        *aws_endpoint_url; /* NULL unset */
    bool aws_allow_http;
    uint32_t connect_timeout_ms, stall_timeout_ms; /* 0: the store's defaults */
};

/* [worker.snapshots] */
struct snapshot_config {
    const char *destination;           /* NULL: no repository */
    uint64_t interval_ms, num_records; /* 0 unset */
    unsigned num_retained, export_concurrency_limit;
    struct object_access access;
};

/* [metadata-client] */
enum metadata_store_type { METADATA_REPLICATED, METADATA_ETCD, METADATA_OBJECT_STORE };
struct metadata_client_config {
    enum metadata_store_type type;
    const char **addresses; /* replicated: of nodes with metadata servers, as configured; etcd: URIs */
    size_t n_addresses;
    const char *path; /* object store: its URL */
    struct object_access access;
    uint64_t connect_timeout_ms, keep_alive_interval_ms, keep_alive_timeout_ms;
};

/* The store that metadata is to be migrated to. */
struct metadata_client_target;
/* From the JSON of a [metadata-client] table: like one of the configuration, but nothing is ignored.
 * RC_INVALID, RC_UNSUPPORTED. */
enum rc metadata_client_target_parse(struct slice json, struct metadata_client_target **out, struct err *err);
const struct metadata_client_config *metadata_client_target_config(const struct metadata_client_target *t);
void metadata_client_target_free(struct metadata_client_target *t);

struct node_config {
    unsigned roles;          /* without metadata-server when the metadata is in an external store */
    bool metadata_migration; /* --metadata-migration-mode: roles admin and metadata-server at most, and
                                nothing is decided */
    bool implicit_ingress;   /* http-ingress was added to the configured roles because of worker */
    char node_name[256], cluster_name[256];
    char base_dir[4096]; /* as configured; data lives in base_dir/node_name */
    bool auto_provision;
    uint32_t num_partitions;                /* at provisioning, as are: */
    struct replication default_replication; /* of partitions, and of logs unless: */
    struct replication log_replication;
    enum log_provider default_provider;
    char location[128];
    uint32_t force_node_id; /* 0 unset */
    struct listener_config fabric, admin, ingress;
    char pgsql_bind_address[128]; /* "" unset */
    uint64_t shutdown_timeout_ms, initialization_timeout_ms;
    struct {
        struct metadata_client_config client;
        bool auto_join;
        uint32_t log_trim_threshold; /* entries */
        uint64_t update_interval_ms; /* without any hint, values are read again so often */
    } metadata;
    struct membership_config gossip; /* gossip-* */
    struct {
        unsigned window_records; /* replicated-loglet.maximum-inflight-records */
        uint64_t cache_bytes;    /* record-cache-memory-size */
        bool disable_improvement;
    } bifrost;

    enum log_format log_format;
    char *log_filter;
    bool log_ansi;
    bool disable_prometheus;

    struct schema_defaults defaults; /* retentions, retry policy, inactivity and abort timeouts */
    uint64_t cleanup_interval_ms;
    uint64_t trim_delay_ms;
    bool durability_mode_set; /* else it depends on the cluster: durability_mode_default */
    enum durability_mode durability_mode;
    struct snapshot_config snapshots;
    uint64_t storage_memory_bytes; /* rocksdb-total-memory-size */
    uint64_t message_size_limit;   /* networking.message-size-limit */
    bool disable_compression;      /* networking.disable-compression */
    bool disable_idempotent_sharding;
    struct { /* [networking] */
        uint64_t connect_timeout_ms, handshake_timeout_ms, keep_alive_interval_ms, keep_alive_timeout_ms;
        uint64_t retry_min_ms, retry_max_ms; /* connect-retry-policy; its number of attempts is not used */
    } networking;

    struct {
        uint64_t request_size_limit;
        uint64_t concurrent_requests_limit;    /* 0: none */
        uint32_t http2_max_concurrent_streams; /* 200 */
        struct schema_fixed_clusters kafka_clusters;
        bool kafka_scope;                                 /* scopes from the headers of records */
        uint64_t kafka_inflight_bytes, kafka_batch_bytes; /* ingestion.* */
    } ingress_options;
    struct {
        uint64_t concurrent_requests_limit;
        const char **routing_headers;
        size_t n_routing_headers;
        bool disable_web_ui;
        const char *web_ui_dir; /* NULL: the page of our own */
        uint64_t query_memory_bytes;
        const char *query_tmp_dir;                      /* NULL: the system's */
        unsigned query_parallelism;                     /* 0: number of cores */
        double query_rate_per_second, query_rate_burst; /* 0: no limit */
        bool disable_config_table;
    } admin_options;
    struct {
        uint32_t concurrent_invocations_limit;
        uint64_t message_size_warning, message_size_limit, eager_state_size_limit, memory_limit,
            per_invocation_memory_limit;
        uint32_t max_awaited_future_depth;
        bool enable_v7;
        bool scopes, scoped_objects;
        uint64_t yield_threshold_ms;
        char *identity_key_pem_file; /* NULL unset */
        uint64_t identity_expiration_s;
        struct schema_header *additional_headers;
        size_t n_additional_headers;
        uint64_t connect_timeout_ms, keep_alive_interval_ms, keep_alive_timeout_ms,
            idle_connection_timeout_ms;
        double keep_alive_jitter;
        const char *http_proxy;                                /* NULL unset */
        char *no_proxy;                                        /* separated by commas; NULL unset */
        const char *aws_profile, *aws_assume_role_external_id; /* NULL unset */
        uint64_t lambda_compression_threshold;
        double starts_per_second, starts_burst, actions_per_second, actions_burst; /* 0: no limit */
        uint32_t streams_per_connection, initial_max_send_streams, initial_stream_window,
            initial_connection_window, max_frame_size;
    } invoker;

    uint64_t rule_book_poll_interval_ms;
    char *config_file; /* NULL: "[default]" */
    struct {
        const char *endpoint; /* of traces of invocations; NULL: none */
        struct schema_header *headers;
        size_t n_headers;
    } tracing;
    uint32_t shards; /* worker loops: cores (default-thread-pool-size) */
};

enum config_action { CONFIG_RUN, CONFIG_EXIT /* --help, --version, --dump-config were answered on stdout */ };

/* Load all layers. On failure prints what spec/config.md §1.6 says to stderr and returns RC_INVALID with the
 * exit code (1, or 2 for command-line usage). Warnings (unknown keys, deprecated keys, decisions of §8) are
 * printed/logged by config_log_warnings once logging is configured. */
enum rc config_load(int argc, char **argv, char **envp, struct node_config **out, enum config_action *action,
                    int *exit_code);
/* Load again with the same arguments and environment (hot reload, SIGUSR1). The old configuration stays
 * valid. */
enum rc config_reload(const struct node_config *current, struct node_config **out, struct err *err);
void config_log_warnings(const struct node_config *c);
/* The dump of §1.7; also for SIGUSR1. The caller owns the bytes. */
struct bytes config_dump(const struct node_config *c);
/* Every setting with its effective value as text, in the order of their names; "null": not set. Values are
 * shown as they are, secrets too. */
void config_each(const struct node_config *c, void (*visit)(void *ctx, const char *key, struct slice value),
                 void *ctx);
void config_free(struct node_config *c);

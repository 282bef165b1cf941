/* The schema registry: deployments, the service revisions they offer, and options (spec/admin-api.md §7, §8;
 * spec/service-protocol.md §2). A `struct schema` is an immutable, reference-counted snapshot that every loop
 * may read; changes make a new snapshot with a higher version (metadata/schema_edit.h). Persisted and
 * propagated as one metadata record per deployment and per service-options change (BETTER B16), never as one
 * growing object. */
#pragma once
#include "base/bytes.h"
#include "wire/command.h"

enum service_type { SERVICE_PLAIN, SERVICE_OBJECT, SERVICE_WORKFLOW };
enum on_max_attempts { ON_MAX_ATTEMPTS_PAUSE, ON_MAX_ATTEMPTS_KILL };

#define OPTION_UNSET UINT64_MAX /* for *_ms and counts: not set at this level */

/* Options a service or a handler may set; handler over service over server default. */
struct service_options {
    uint64_t inactivity_timeout_ms, abort_timeout_ms;
    uint64_t journal_retention_ms, idempotency_retention_ms;
    uint64_t workflow_completion_retention_ms; /* service level: only set by PATCH /services; handler level:
                                                  run handlers */
    int8_t enable_lazy_state;                  /* -1 unset, 0, 1 */
    int8_t ingress_private;                    /* -1 unset, 0, 1 */
    uint64_t retry_initial_interval_ms, retry_max_interval_ms,
        retry_max_attempts;       /* attempts: 0 is stored as 1; OPTION_UNSET; RETRY_UNLIMITED */
    double retry_factor;          /* NAN unset */
    int8_t retry_on_max_attempts; /* -1 unset, else enum on_max_attempts */
};
#define RETRY_UNLIMITED (UINT64_MAX - 1)

enum input_rule_kind { INPUT_NOTHING, INPUT_CONTENT_TYPE, INPUT_JSON };
struct input_rule {
    enum input_rule_kind kind;
    const char *content_type; /* CONTENT_TYPE, JSON */
};

struct schema_service;
struct schema_handler {
    const char *name;
    const struct schema_service *service;
    enum target_kind kind;
    struct service_options options;
    const char *documentation;        /* NULL */
    const char *metadata_json;        /* object of strings, NULL if none */
    struct input_rule input_rules[2]; /* tried in order (spec/ingress.md §7.1) */
    size_t n_input_rules;
    const char *input_json_schema; /* JSON text or NULL */
    bool output_absent;            /* manifest has no output: content type application/json, not when empty */
    const char *output_content_type; /* NULL: none */
    bool output_set_if_empty;
    const char *output_json_schema;
    const char *manifest_json; /* the handler as announced */
};
struct schema_deployment;
struct schema_service { /* one revision of one service */
    const char *name;
    enum service_type type;
    uint32_t revision;
    const struct schema_deployment *deployment;
    struct service_options options; /* manifest values, then PATCH /services */
    bool is_public;
    const char *documentation, *metadata_json;
    const struct schema_handler *handlers;
    size_t n_handlers;
    /* Hash table over `handlers` (position + 1, 0: free), NULL: schema_handler scans. */
    const uint32_t *handler_index;
    uint32_t handler_index_mask;
};
enum deployment_kind { DEPLOYMENT_HTTP, DEPLOYMENT_LAMBDA };
struct schema_header {
    const char *name, *value;
};
struct schema_deployment {
    struct u128 id;
    enum deployment_kind kind;
    const char *uri;                   /* HTTP: normal form */
    bool http_1_1;                     /* HTTP version found by discovery: false = HTTP/2 */
    const char *arn, *assume_role_arn; /* LAMBDA */
    bool lambda_zstd;
    bool request_response; /* protocolMode */
    uint32_t min_protocol_version, max_protocol_version;
    const char *sdk_version; /* NULL */
    uint64_t created_at_ms;
    const struct schema_header *headers;
    size_t n_headers;
    const char *metadata_json; /* NULL if none */
    const struct schema_service *const *services;
    size_t n_services;
};

/* ---- Kafka (spec/ingress.md §12, spec/admin-api.md §12, §13) ---- */
struct schema_kafka_cluster {
    const char *name;
    const struct schema_header *properties; /* of librdkafka; sorted by name */
    size_t n_properties;
    uint64_t created_at_ms;
};
struct schema_subscription {
    struct u128 id;
    const char *source, *sink;     /* as given: kafka://<cluster>/<topic>, service://<service>/<handler> */
    const char *cluster, *topic;   /* parts of `source` */
    const char *service, *handler; /* parts of `sink` */
    enum target_kind kind;         /* of the handler when the subscription was created */
    const struct schema_header *options; /* of librdkafka, over the cluster's properties; sorted by name */
    size_t n_options;
    bool paused;   /* nobody consumes */
    bool skip_bad; /* records that can never become an invocation are skipped; else they block their partition
                    */
};

struct schema;
struct schema *schema_ref(struct schema *s);
void schema_unref(struct schema *s);
uint32_t schema_version(const struct schema *s);
/* Latest revision of a service, or NULL. */
const struct schema_service *schema_service(const struct schema *s, struct slice name);
/* Handler of the latest revision, or NULL. */
const struct schema_handler *schema_handler(const struct schema_service *service, struct slice name);
/* By id, or NULL (deleted). */
const struct schema_deployment *schema_deployment(const struct schema *s, struct u128 id);
/* The service as this very deployment offers it, or NULL. */
const struct schema_service *schema_deployment_service(const struct schema_deployment *d, struct slice name);
/* All latest services, sorted by name; all deployments, by creation. */
size_t schema_services(const struct schema *s, const struct schema_service *const **out);
size_t schema_deployments(const struct schema *s, const struct schema_deployment *const **out);
/* All revisions still present of one service, newest first. */
size_t schema_service_revisions(const struct schema *s, struct slice name, const struct schema_service **out,
                                size_t max);

/* By name; by creation. */
size_t schema_kafka_clusters(const struct schema *s, const struct schema_kafka_cluster *const **out);
size_t schema_subscriptions(const struct schema *s, const struct schema_subscription *const **out);
/* Or NULL. */
const struct schema_kafka_cluster *schema_kafka_cluster(const struct schema *s, struct slice name);
const struct schema_subscription *schema_subscription(const struct schema *s, struct u128 id);

/* Server-wide defaults and caps from configuration, to resolve options. Hot-reloadable. */
struct schema_defaults {
    uint64_t inactivity_timeout_ms, abort_timeout_ms;
    uint64_t journal_retention_ms, idempotency_retention_ms, workflow_completion_retention_ms;
    uint64_t max_journal_retention_ms, max_idempotency_retention_ms,
        max_workflow_completion_retention_ms; /* OPTION_UNSET: no cap */
    uint64_t retry_initial_interval_ms, retry_max_interval_ms, retry_max_attempts, retry_max_attempts_cap;
    double retry_factor;
    enum on_max_attempts retry_on_max_attempts;
    bool disable_eager_state;
};
/* Retention put on a new invocation (spec/invocation-lifecycle.md §4.5). */
void schema_resolve_retention(const struct schema_defaults *d, const struct schema_handler *h,
                              bool has_idempotency_key, uint64_t *completion_ms, uint64_t *journal_ms);
struct invocation_options {
    uint64_t inactivity_timeout_ms, abort_timeout_ms;
    bool lazy_state;
    uint64_t retry_initial_interval_ms, retry_max_interval_ms, retry_max_attempts; /* RETRY_UNLIMITED */
    double retry_factor;
    enum on_max_attempts retry_on_max_attempts;
};
/* Options of an attempt on this deployment's revision of the handler; request-response deployments get
 * inactivity 0. */
void schema_resolve_options(const struct schema_defaults *d, const struct schema_handler *h,
                            struct invocation_options *out);

/* A place where one loop finds the current snapshot and defaults; the node replaces both by messages to the
 * loop. */
struct schema_cell {
    struct schema *schema;
    struct schema_defaults defaults;
};

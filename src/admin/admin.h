/* The admin REST API (spec/admin-api.md §1 to §10): deployments, services, invocations, state, health. Lives
 * on the main loop; every call and callback is on that loop's thread.
 *
 * The room is in two halves. `admin_handle` maps one request to one answer and knows nothing of sockets;
 * admin/admin_http.h binds it to the HTTP server. Discovery belongs to the invoker, which this room must not
 * know: the node wires `struct admin_discovery`. */
#pragma once
#include "base/env.h"
#include "metadata/rule_store.h"
#include "metadata/schema_store.h"
#include "partition/rpc.h"

#define ADMIN_BODY_LIMIT_BYTES     (2u << 20)
#define ADMIN_RAW_BODY_LIMIT_BYTES (32u << 20) /* payloads for serdes */

/* ---- what the room needs ---- */
struct admin_discovery_request {
    const char *uri;                   /* HTTP, normal form; NULL for Lambda */
    const char *arn, *assume_role_arn; /* Lambda */
    bool use_http_11;
    const struct schema_header *headers;
    size_t n_headers;
};
struct admin_discovery_result {
    enum rc rc;               /* RC_OK, or failed */
    const char *restate_code; /* "META0003" or "" (the message does not carry it) */
    const char *message;
    int http_status;         /* of the answer when failed */
    bool http_1_1;           /* version of the endpoint's response */
    const char *sdk_version; /* "" if none */
    struct slice manifest;   /* body, when RC_OK */
};
struct admin_discovery {
    /* One discovery with its retries (spec/service-protocol.md §2.7); `done` exactly once, on the loop, with
     * everything lent. The request is lent until `done` has run. */
    void (*discover)(void *ctx, const struct admin_discovery_request *request,
                     void (*done)(void *done_ctx, const struct admin_discovery_result *result),
                     void *done_ctx);
    void *ctx;
};
struct admin_preview_request {
    const struct schema_deployment *deployment; /* all of this is lent for the call */
    struct slice service, serde;
    bool encode;
    struct slice body;
    /* Bytes of a successful answer, lent; to be given back by `consumed`, then or later. */
    void (*on_data)(void *ctx, struct bytes data);
    /* Exactly once, never from inside `start`, unless cancelled: NULL, or what went wrong. */
    void (*on_done)(void *ctx, const char *failure);
    void *ctx;
};
struct admin_previews { /* of serdes, spec/service-protocol.md §3.11 */
    void *(*start)(void *ctx, const struct admin_preview_request *request);
    void (*consumed)(void *preview, size_t n);
    void (*cancel)(void *preview); /* no callback runs any more */
    void *ctx;
};
struct admin_info {
    const char *version;          /* MAJOR.MINOR.PATCH, at least 1.7.12 (spec/admin-api.md §2) */
    const char *ingress_endpoint; /* advertised HTTP ingress with trailing slash, or NULL */
    const char *cluster_name;
    /* Plain ids of the metadata servers' members, at most `cap`; NULL: no embedded metadata server. */
    size_t (*metadata_members)(void *ctx, uint32_t *out, size_t cap);
    void *metadata_ctx;
    bool enable_protocol_v7, enable_kafka_scope;
};
struct admin_config {
    size_t concurrent_requests_limit;   /* 0: none; above it 429 */
    const char *const *routing_headers; /* admin.deployment-routing-headers, lower case */
    size_t n_routing_headers;
};
struct query_engine;
struct admin_ui;
struct schema_fixed_clusters;
struct admin_deps { /* everything outlives the admin object */
    struct env *env;
    struct partition_router *router;
    struct schema_store *schema;
    const struct schema_defaults *defaults; /* read for every answer: follows configuration reloads */
    struct admin_discovery discovery;
    struct admin_previews previews;
    const struct admin_ui *ui;                          /* NULL: /ui answers 404 */
    const struct schema_fixed_clusters *fixed_clusters; /* Kafka clusters of the configuration; NULL: none */
    struct rule_store *rules;                           /* NULL: concurrency rules are answered 501 */
    struct query_engine *queries; /* NULL: this node answers none; stopped before the admin object is freed */
    struct admin_info info;
    struct admin_config config;
};

struct admin;
struct admin *admin_new(const struct admin_deps *deps);
/* Requests that wait for a retry are answered 503; those that wait for somebody else's answer finish when it
 * arrives, the object lives until then. */
void admin_free(struct admin *a);
size_t admin_requests_in_progress(const struct admin *a);

/* ---- one request ---- */
struct admin_answer {
    int status;
    const char *content_type;     /* NULL: none, the body is empty */
    const char *location, *allow; /* NULL: header absent */
    bool is_ui_file;              /* service-worker-allowed: / */
    unsigned retry_after_s;       /* 0: header absent */
    struct bytes body;            /* lent */
};
struct admin_exchange {
    struct slice method, target; /* "GET", "/v4/services?x=y" */
    struct slice content_type;   /* ptr NULL: no such header */
    struct slice accept;
    struct slice body;
    bool body_too_large; /* the caller refused to read more than the limit */
    /* Exactly once, possibly before admin_handle returns; the exchange is over. */
    void (*respond)(struct admin_exchange *x, const struct admin_answer *answer);
    /* Instead of respond, for long answers: start once (answer->body is not looked at), write any number of
     * times, end once - or only end, when `gone` was called. `complete` false: the client must see that
     * something is missing. */
    void (*start)(struct admin_exchange *x, const struct admin_answer *answer);
    size_t (*write)(struct admin_exchange *x, struct bytes take); /* bytes that wait to be sent now */
    void (*end)(struct admin_exchange *x, bool complete);
    /* Set by the handler of a long answer: below the low-water mark again; the client is not there any more
     * (end it at once). */
    void (*writable)(struct admin_exchange *x);
    void (*gone)(struct admin_exchange *x);
    void *user; /* the handler's */
};
/* How much of a body the route reads; 0: it never looks at it. */
size_t admin_body_limit(struct slice method, struct slice target);
/* The slices of `x` are lent for this call only; `x` itself until `respond`. */
void admin_handle(struct admin *a, struct admin_exchange *x);

/* Inside the admin room: one call in progress, its helpers, the route table. One file per resource implements
 * the handlers. */
#pragma once
#include "admin/admin.h"
#include "metadata/json.h"
#include "metadata/manifest.h"

#define ADMIN_PARAMS_MAX  2
#define ADMIN_VERSION_MIN 2
#define ADMIN_VERSION_MAX 4

struct admin {
    struct admin_deps deps;
    struct list calls;
    size_t n_calls;
    bool closing;
};

struct admin_call {
    struct admin *admin;
    struct admin_exchange *exchange;
    struct list link;
    struct arena arena;
    const struct admin_route *route;
    unsigned api_version;                 /* 0: no prefix in the path */
    const char *params[ADMIN_PARAMS_MAX]; /* percent-decoded path parameters */
    const char *query;                    /* after '?', "" if none */
    const char *content_type;             /* NULL */
    struct slice body;
    bool body_too_large;
    json_t *json;
    /* A request to a partition leader, see admin/call_rpc.c. */
    struct partition_rpc rpc;
    struct slice rpc_record;
    struct env_timer rpc_retry;
    uint64_t rpc_deadline_ms, rpc_backoff_ms;
    void (*rpc_done)(struct admin_call *c, const struct rpc_reply *reply);
    /* State of the resource's own operation. */
    void *state;
    struct schema_edit edit;
};

enum admin_body { BODY_IGNORED, BODY_JSON, BODY_RAW };
struct admin_route {
    const char *method;  /* GET routes answer HEAD too */
    const char *pattern; /* "/services/{}/state"; a last segment "{*}" takes the rest of the path */
    enum admin_body body;
    void (*handle)(struct admin_call *c);
    const char *summary; /* for the OpenAPI document */
};
extern const struct admin_route admin_routes[];
extern const size_t admin_n_routes;

/* ---- answers: each ends the call, which must not be touched afterwards ---- */
void answer_empty(struct admin_call *c, int status);
/* For an exchange that was answered in pieces: only the call ends. */
void call_close(struct admin_call *c);
/* Family B: no restate_code. `retry_after_s` 0: no such header. The writer is consumed. */
void answer_query_error(struct admin_call *c, int status, struct writer *message, unsigned retry_after_s);
/* Family A of spec/admin-api.md §3. */
void answer_error(struct admin_call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void answer_problem(struct admin_call *c, const struct problem *p);
/* Family C. */
void answer_text(struct admin_call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* JSON in the writer, which is consumed. `location` may be NULL. */
void answer_json(struct admin_call *c, int status, struct writer *w, const char *location);
void answer_file(struct admin_call *c, const char *content_type, struct bytes content); /* lent */
void answer_redirect(struct admin_call *c, const char *location);
void answer_not_implemented(struct admin_call *c, const char *what);

/* ---- input ---- */
/* The JSON body, or NULL after having answered. */
json_t *call_json(struct admin_call *c);
/* The JSON body as an object, or NULL after having answered. */
json_t *call_json_object(struct admin_call *c);
/* 422 of family C. */
void answer_bad_shape(struct admin_call *c, const char *path, const char *reason);
/* Typed optional members, null counts as absent. False after having answered 422. */
bool call_json_text(struct admin_call *c, const json_t *o, const char *key, const char **out);
bool call_json_flag(struct admin_call *c, const json_t *o, const char *key, bool *out);
bool call_json_duration(struct admin_call *c, const json_t *o, const char *key, uint64_t *out_ms);
/* A member that is an object of strings. */
bool call_json_texts(struct admin_call *c, const json_t *o, const char *key, json_t **out);
/* Value of a query parameter, decoded, or NULL. */
const char *call_query(struct admin_call *c, const char *name);
bool call_query_flag(struct admin_call *c, const char *name, bool *out); /* false after 400 */
/* Path parameter as an id; false after having answered (spec/admin-api.md §3). */
bool call_deployment_id(struct admin_call *c, unsigned param, struct u128 *out);
bool call_invocation_id(struct admin_call *c, unsigned param, struct invocation_id *out);
struct u128 call_random_id(struct admin_call *c);
struct schema *call_schema(struct admin_call *c); /* current snapshot, lent */

/* Submit c->rpc; `done` runs once with an answer that is final: "certainly not processed" is retried for a
 * while. A record is copied for each attempt from `record` (in the call's arena). */
void call_rpc(struct admin_call *c, struct slice record,
              void (*done)(struct admin_call *c, const struct rpc_reply *reply));
/* The answer for RPC_FAILED. */
void answer_rpc_failed(struct admin_call *c, const struct rpc_reply *reply);
/* On shutdown: if the call waits for a retry, answer it and return true. */
bool call_rpc_abandon(struct admin_call *c);

/* ---- JSON of resources, also in the order of the reference ---- */
void json_duration(struct json_out *o, const char *key, uint64_t ms);
void json_service(struct json_out *o, const struct schema_service *s, const struct schema_defaults *d);
void json_handler(struct json_out *o, const struct schema_handler *h);
void json_deployment_item(struct json_out *o, const struct schema_deployment *d);
void json_deployment_detail(struct json_out *o, const struct schema_deployment *d,
                            const struct schema_defaults *def);
void json_deployment_registered(struct json_out *o, const struct schema_deployment *d,
                                const struct schema_defaults *def);

/* Deployment bodies (admin/deployment_body.c). */
bool call_json_headers(struct admin_call *c, const json_t *o, struct schema_header **out, size_t *n,
                       bool *present);
bool call_json_uri(struct admin_call *c, const char *uri, const char **out);
bool call_json_arn(struct admin_call *c, const char *arn);
bool discovery_manifest(struct admin_call *c, const struct admin_discovery_result *r, bool lambda,
                        struct manifest *m, struct problem *p);
/* What a failed edit answers; RC_INVALID is the caller's own problem. */
void answer_edit_failed(struct admin_call *c, enum rc rc, const char *message);
void answer_deployment_missing(struct admin_call *c, struct u128 id);

/* ---- handlers ---- */
void handle_health(struct admin_call *c);
void handle_version(struct admin_call *c);
void handle_cluster_health(struct admin_call *c);
void handle_openapi(struct admin_call *c);
void handle_root(struct admin_call *c);
void handle_ui(struct admin_call *c);
void handle_query(struct admin_call *c);
void handle_list_deployments(struct admin_call *c);
void handle_register_deployment(struct admin_call *c);
void handle_get_deployment(struct admin_call *c);
void handle_patch_deployment(struct admin_call *c);
void handle_put_deployment(struct admin_call *c);
void handle_delete_deployment(struct admin_call *c);
void handle_list_services(struct admin_call *c);
void handle_get_service(struct admin_call *c);
void handle_patch_service(struct admin_call *c);
void handle_service_openapi(struct admin_call *c);
void handle_list_handlers(struct admin_call *c);
void handle_get_handler(struct admin_call *c);
void handle_modify_state(struct admin_call *c);
void handle_cancel(struct admin_call *c);
void handle_kill(struct admin_call *c);
void handle_purge(struct admin_call *c);
void handle_purge_journal(struct admin_call *c);
void handle_pause(struct admin_call *c);
void handle_resume(struct admin_call *c);
void handle_restart_as_new(struct admin_call *c);
void handle_delete_invocation(struct admin_call *c);
void handle_batch(struct admin_call *c);
void handle_list_subscriptions(struct admin_call *c);
void handle_create_subscription(struct admin_call *c);
void handle_get_subscription(struct admin_call *c);
void handle_patch_subscription(struct admin_call *c);
void handle_delete_subscription(struct admin_call *c);
void handle_list_kafka_clusters(struct admin_call *c);
void handle_create_kafka_cluster(struct admin_call *c);
void handle_get_kafka_cluster(struct admin_call *c);
void handle_patch_kafka_cluster(struct admin_call *c);
void handle_delete_kafka_cluster(struct admin_call *c);
void handle_put_rules(struct admin_call *c);
void handle_delete_rules(struct admin_call *c);
void handle_pause_queue(struct admin_call *c);
void handle_resume_queue(struct admin_call *c);
void handle_decode(struct admin_call *c);
void handle_encode(struct admin_call *c);

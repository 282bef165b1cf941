/* Private to ingress/: one request from its head to its response.
 *
 * Life of a struct ingress_request: created when the route is known, released with the response; if the
 * client goes away it lives on until the router has replied. What is only needed until dispatch hangs off
 * `head` and is freed there, so that a parked request costs this struct, the record it may have to send
 * again, and nothing else. */
#pragma once
#include "base/metrics.h"
#include "ingress/ingress.h"
#include "ingress/route.h"

struct service_metrics;

enum operation { OP_CALL, OP_SEND, OP_ATTACH, OP_OUTPUT, OP_LOOKUP, OP_AWAKEABLE };

/* From request head to dispatch. Slices borrow from the http request, which outlives this. */
struct request_head {
    struct route route;
    struct schema *schema; /* reference: keeps route.service and handler alive while the body arrives */
    const struct schema_handler *handler;
    struct slice path, query;
    struct slice idempotency_key; /* ptr NULL if none; the automatic one points to auto_key */
    char auto_key[ULID_TEXT + 1];
};

struct ingress_request {
    struct partition_rpc rpc;
    struct env_timer retry;
    struct ingress *in;
    struct http_request *http;       /* NULL: the client is gone */
    struct request_head *head;       /* NULL from dispatch on */
    struct bytes record;             /* to be sent again after a failure; empty if the operation has none */
    struct service_metrics *metrics; /* calls and sends */
    char *handler_path; /* "service" NUL "handler" NUL of calls; NULL if unknown: for the output's content
                           type */
    uint64_t started_us;
    uint32_t failures; /* in a row, for the back-off */
    enum operation op;
    bool in_flight;  /* the router owes a reply */
    bool idempotent; /* may be sent again although it may have been processed */
};

struct ingress_shared {
    struct ingress_config config;
    char *version;
    _Atomic uint64_t in_progress;
    struct metric *admitted, *rate_limited;
    struct metric *connections_created, *connections_ok, *connections_failed;
};

struct ingress {
    struct ingress_shared *shared;
    struct loop *loop;
    struct env *env;
    struct http_server *server;
    struct partition_router *router;
    const struct schema_cell *schema;
    struct tracer *tracer; /* NULL: no tracing */
    struct hmap services;  /* struct service_metrics by name */
    size_t requests;       /* structs alive, parked ones without client included */
    bool freed;            /* ingress_free was called; goes away with the last request */
};

/* ---- metrics.c ---- */
enum request_result { RESULT_COMPLETED, RESULT_REQUEST_ERROR, RESULT_INGRESS_ERROR, RESULT_INVOCATION_ERROR };
#define REQUEST_RESULTS 4
void shared_metrics_register(struct ingress_shared *shared);
struct service_metrics *service_metrics_get(struct ingress *in, const char *service);
void service_metrics_count(struct service_metrics *m, enum operation op, enum request_result result,
                           uint64_t duration_us);
void service_metrics_free_all(struct ingress *in);

/* ---- respond.c: every response of the ingress; adds the CORS headers ---- */
void respond_preflight(struct http_request *http);
void respond_length_limit(struct http_request *http);
void respond(struct http_request *http, int status, const struct http_header *headers, size_t n,
             struct bytes body_take);
/* The error body of spec/ingress.md §10.1. */
void respond_error(struct http_request *http, int status, struct slice message);

/* ---- request.c ---- */
void request_on_head(void *ctx, struct http_request *http);
/* Give the request up: the response was sent, or nobody waits for it. */
void request_release(struct ingress_request *q);
void request_head_free(struct ingress_request *q);
/* A request holds its permit from its head to its response, or until the client is gone. */
void return_permit(struct ingress_shared *s);
/* Respond with an error, count it and release. */
void request_fail(struct ingress_request *q, int status, struct slice message);
void request_fail_text(struct ingress_request *q, int status, const char *message);
/* The same with the content of a writer, which is freed. */
void request_fail_writer(struct ingress_request *q, int status, struct writer *message_take);
void request_count(struct ingress_request *q, enum request_result result);

/* ---- invoke.c: call and send ---- */
/* Steps 2 to 8 of spec/ingress.md §3; false: answered. */
bool invoke_check_head(struct ingress_request *q);
/* Steps 10 to 14. */
void invoke_on_body(struct ingress_request *q, struct slice body);

/* ---- tracing.c ---- */
/* The trace context to store with a new invocation, as text at the end of `w`; nothing if there is none. With
 * a tracer the `ingress` span is sent. `target` and rpc.id are those of the invocation. */
void ingress_trace(struct ingress_request *q, const struct target *target, struct writer *w);

/* ---- operations.c: attach, output, lookup, awakeables ---- */
void operation_by_path(struct ingress_request *q, bool is_get); /* a bad id is told before a wrong method */
void operation_on_target_body(struct ingress_request *q, struct slice body);
void awakeable_on_body(struct ingress_request *q, struct slice body);

/* ---- dispatch.c ---- */
/* rpc.kind, partition_key, id, wait_result and `record` are set. Frees the head. */
void dispatch(struct ingress_request *q);
/* The client went away while the request was with the router or backing off. */
void dispatch_abandon(struct ingress_request *q);

/* ---- result.c ---- */
void respond_invocation_result(struct ingress_request *q, const struct rpc_reply *reply);
void respond_submitted(struct ingress_request *q, const struct rpc_reply *reply);

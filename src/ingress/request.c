/* A request's way up to its operation: size check, CORS, permit, path, method, body (spec/ingress.md §3). */
#include <stdlib.h>

#include "base/time.h"
#include "ingress/internal.h"

void return_permit(struct ingress_shared *s)
{
    uint64_t before = atomic_fetch_sub_explicit(&s->in_progress, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

/* Several loops may take permits at once: the counter goes up first, so that the limit is never exceeded. */
static bool take_permit(struct ingress_shared *s)
{
    uint64_t before = atomic_fetch_add_explicit(&s->in_progress, 1, memory_order_relaxed);
    if (s->config.concurrent_requests_limit == 0 || before < s->config.concurrent_requests_limit)
        return true;
    return_permit(s);
    return false;
}

void request_head_free(struct ingress_request *q)
{
    if (!q->head)
        return;
    route_free(&q->head->route);
    schema_unref(q->head->schema);
    free(q->head);
    q->head = NULL;
}

void request_count(struct ingress_request *q, enum request_result result)
{
    if (q->metrics)
        service_metrics_count(q->metrics, q->op, result, os_mono_ns() / 1000 - q->started_us);
}

void request_fail(struct ingress_request *q, int status, struct slice message)
{
    request_count(q, status >= 500 ? RESULT_INGRESS_ERROR : RESULT_REQUEST_ERROR);
    respond_error(q->http, status, message);
    request_release(q);
}

void request_fail_text(struct ingress_request *q, int status, const char *message)
{
    request_fail(q, status, slice_cstr(message));
}

void request_fail_writer(struct ingress_request *q, int status, struct writer *message_take)
{
    struct writer message = *message_take;
    *message_take = WRITER_INIT;
    request_fail(q, status, writer_slice(&message));
    writer_free(&message);
}

/* ---- body ---- */

static void on_body(struct http_request *http, enum rc rc, struct bytes body)
{
    struct ingress_request *q = http_request_user(http);
    if (!q)
        return; /* answered before the body was complete */
    if (rc == RC_TOO_LARGE) {
        request_fail_text(q, 413, "cannot read body: LengthLimitError");
        return;
    }
    if (rc != RC_OK) {
        request_fail_text(q, 500, "cannot read body: error reading a body from connection");
        return;
    }
    switch (q->head->route.kind) {
    case ROUTE_CALL:
    case ROUTE_SEND:
        invoke_on_body(q, bytes_slice(body));
        return;
    case ROUTE_BODY_TARGET:
    case ROUTE_LOOKUP:
        operation_on_target_body(q, bytes_slice(body));
        return;
    case ROUTE_AWAKEABLE:
        awakeable_on_body(q, bytes_slice(body));
        return;
    case ROUTE_HEALTH:
    case ROUTE_INVOCATION:
        break;
    }
    UNREACHABLE("route %d reads no body", (int)q->head->route.kind);
}

static void on_finished(struct http_request *http, bool completed)
{
    struct ingress_request *q = http_request_user(http);
    if (!q)
        return; /* answered */
    q->http = NULL;
    return_permit(q->in->shared);
    if (q->in_flight || env_timer_armed(&q->retry))
        dispatch_abandon(q);
    else
        request_release(q);
}

static const struct http_request_ops request_ops = {.on_body = on_body, .on_finished = on_finished};

/* ---- routes ---- */

static void respond_health(struct ingress *in, struct http_request *http)
{
    const struct http_header header = HTTP_HEADER_LIT("content-type", "application/json");
    const struct schema_service *const *services;
    size_t n = schema_services(in->schema->schema, &services);
    struct writer body = WRITER_INIT;
    write_fmt(&body, "{\"services\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            write_u8(&body, ',');
        write_json_string(&body, slice_cstr(services[i]->name));
    }
    write_fmt(&body, "]}");
    respond(http, 200, &header, 1, writer_take(&body));
}

static enum operation operation_of(const struct route *r)
{
    switch (r->kind) {
    case ROUTE_CALL:
        return OP_CALL;
    case ROUTE_SEND:
        return OP_SEND;
    case ROUTE_INVOCATION:
    case ROUTE_BODY_TARGET:
        return r->output ? OP_OUTPUT : OP_ATTACH;
    case ROUTE_LOOKUP:
        return OP_LOOKUP;
    case ROUTE_AWAKEABLE:
        return OP_AWAKEABLE;
    case ROUTE_HEALTH:
        break;
    }
    UNREACHABLE("route %d is no operation", (int)r->kind);
}

static struct ingress_request *request_new(struct ingress *in, struct http_request *http,
                                           struct request_head *head_take)
{
    struct ingress_request *q = xcalloc(1, sizeof(*q));
    q->in = in;
    q->http = http;
    q->head = head_take;
    q->op = operation_of(&head_take->route);
    q->started_us = os_mono_ns() / 1000;
    env_timer_init(&q->retry, NULL);
    in->requests++;
    http_request_set_user(http, q);
    http_request_set_ops(http, &request_ops);
    return q;
}

static bool method_is(struct http_request *http, const char *method)
{
    return slice_eq_cstr(http_request_method(http), method);
}

static void serve_route(struct ingress_request *q)
{
    struct http_request *http = q->http;
    size_t limit = q->in->shared->config.request_size_limit;
    switch (q->head->route.kind) {
    case ROUTE_CALL:
    case ROUTE_SEND:
        if (invoke_check_head(q))
            http_request_collect(http, limit);
        return;
    case ROUTE_INVOCATION:
        operation_by_path(q, method_is(http, "GET"));
        return;
    case ROUTE_BODY_TARGET:
    case ROUTE_LOOKUP:
    case ROUTE_AWAKEABLE:
        if (method_is(http, "POST"))
            http_request_collect(http, limit);
        else
            request_fail_text(q, 405, "method not allowed");
        return;
    case ROUTE_HEALTH:
        break;
    }
    UNREACHABLE("route %d", (int)q->head->route.kind);
}

static void serve(struct ingress *in, struct http_request *http)
{
    struct request_head *head = xcalloc(1, sizeof(*head));
    head->schema = schema_ref(in->schema->schema);
    target_split(http_request_target(http), &head->path, &head->query);
    struct route *r = &head->route;
    if (route_parse(head->path, head->schema, r) && r->kind != ROUTE_HEALTH) {
        serve_route(request_new(in, http, head));
        return;
    }
    if (r->status)
        respond_error(http, r->status, writer_slice(&r->message));
    else if (method_is(http, "GET"))
        respond_health(in, http);
    else
        respond_error(http, 405, SLICE_LIT("method not allowed"));
    return_permit(in->shared);
    route_free(r);
    schema_unref(head->schema);
    free(head);
}

void request_on_head(void *ctx, struct http_request *http)
{
    struct ingress *in = ctx;
    int64_t length = http_request_content_length(http);
    if (length > 0 && (uint64_t)length > in->shared->config.request_size_limit) {
        respond_length_limit(http);
        return;
    }
    if (method_is(http, "OPTIONS")) {
        respond_preflight(http);
        return;
    }
    if (!take_permit(in->shared)) {
        metric_inc(in->shared->rate_limited);
        respond_error(http, 429, SLICE_LIT("too many requests, the ingress is overloaded. Retry later."));
        return;
    }
    metric_inc(in->shared->admitted);
    serve(in, http);
}

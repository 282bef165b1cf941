/* Metrics of the ingress (spec/ingress.md §1.5). Series of a service are looked up by name once per loop. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "ingress/internal.h"

struct service_metrics {
    struct hmap_node node;
    char *service;
    struct metric *requests[2][REQUEST_RESULTS]; /* call, send */
    struct metric *duration[2];
};

static const char requests_name[] = "restate_ingress_requests_total";
static const char requests_help[] = "Number of ingress requests in different states";

void shared_metrics_register(struct ingress_shared *s)
{
    static const char dropped_name[] = "restate_ingress_http_connection_dropped_total";
    static const char dropped_help[] = "Number of closed ingress connections";
    s->admitted = metric_counter(requests_name, "status=\"admitted\"", requests_help);
    s->rate_limited = metric_counter(requests_name, "status=\"rate-limited\"", requests_help);
    s->connections_created = metric_counter("restate_ingress_http_connection_created_total", NULL,
                                            "Number of accepted ingress connections");
    s->connections_ok = metric_counter(dropped_name, "status=\"success\"", dropped_help);
    s->connections_failed = metric_counter(dropped_name, "status=\"failure\"", dropped_help);
}

static struct service_metrics *service_metrics_new(const char *service)
{
    static const char *const types[] = {"call", "send"};
    static const char *const results[] = {"completed", "request_error", "ingress_error", "invocation_error"};
    struct service_metrics *m = xcalloc(1, sizeof(*m));
    m->service = xstrdup(service);
    for (int t = 0; t < 2; t++) {
        for (int r = 0; r < REQUEST_RESULTS; r++) {
            char *labels =
                xasprintf("status=\"%s\",rpc_service=\"%s\",rpc_type=\"%s\"", results[r], service, types[t]);
            m->requests[t][r] = metric_counter(requests_name, labels, requests_help);
            free(labels);
        }
        char *labels = xasprintf("rpc_service=\"%s\",rpc_type=\"%s\"", service, types[t]);
        m->duration[t] = metric_summary("restate_ingress_request_duration_seconds", labels,
                                        "Duration of calls and sends until the response");
        free(labels);
    }
    return m;
}

struct service_metrics *service_metrics_get(struct ingress *in, const char *service)
{
    uint64_t hash = hash64(slice_cstr(service));
    for (struct hmap_node *n = hmap_first(&in->services, hash); n; n = hmap_next_same(n)) {
        struct service_metrics *m = CONTAINER_OF(n, struct service_metrics, node);
        if (strcmp(m->service, service) == 0)
            return m;
    }
    struct service_metrics *m = service_metrics_new(service);
    hmap_insert(&in->services, &m->node, hash);
    return m;
}

void service_metrics_count(struct service_metrics *m, enum operation op, enum request_result result,
                           uint64_t duration_us)
{
    int type = op == OP_SEND;
    metric_inc(m->requests[type][result]);
    metric_observe_us(m->duration[type], duration_us);
}

void service_metrics_free_all(struct ingress *in)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&in->services, &it); n; n = hmap_step(&in->services, &it)) {
        struct service_metrics *m = CONTAINER_OF(n, struct service_metrics, node);
        free(m->service);
        free(m);
    }
    hmap_free(&in->services);
}

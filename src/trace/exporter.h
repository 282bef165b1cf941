/* Sends batches of spans to an OpenTelemetry collector over OTLP (spec/config.md §5.6). One per node, on the
 * main loop. A collector that is slow or gone costs spans, never anything else. */
#pragma once
#include "http/client.h"
#include "trace/span.h"

struct trace_exporter;

/* What a tracing endpoint's text says: the scheme selects the transport. */
enum otlp_transport { OTLP_OVER_GRPC, OTLP_OVER_HTTP };
struct trace_endpoint {
    enum otlp_transport transport;
    enum otlp_format format;
    char uri[512]; /* http:// or https:// */
};
/* RC_INVALID with the reason. */
enum rc trace_endpoint_parse(const char *text, struct trace_endpoint *out, struct err *err);

struct trace_exporter_config {
    struct trace_endpoint endpoint;
    const struct http_header *headers; /* lower-case names; copied */
    size_t n_headers;
    const struct span_attribute *resource; /* copied */
    size_t n_resource;
};
struct trace_exporter *trace_exporter_new(struct loop *loop, const struct trace_exporter_config *config);
enum otlp_format trace_exporter_format(const struct trace_exporter *x);
/* Any thread. Queue encoded spans; dropped and counted while TRACE_QUEUE_BYTES are queued. */
void trace_exporter_put(struct trace_exporter *x, struct bytes spans_take, size_t n);
/* On the loop: sends what is queued, but gives up after `timeout_ms` or the first failure; then `done`.
 * All tracers were freed before. */
void trace_exporter_close(struct trace_exporter *x, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx);

/* key=value,key=value of OTEL_RESOURCE_ATTRIBUTES (values percent-decoded): calls `visit` for each pair that
 * is one. */
void trace_resource_parse(struct slice text, void (*visit)(void *ctx, struct slice key, struct slice value),
                          void *ctx);

#define TRACE_QUEUE_BYTES (16u << 20)

/* Implementation of trace/exporter.h. */
#include "trace/exporter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/grpc_client.h"

#define TARGET       "restate_tracing"
#define EXPORT_PATH  "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define REQUEST_MS   10000u
#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 30000u
#define ANSWER_MAX   (64u << 10)

struct batch {
    struct loop_msg msg;
    struct list link;
    struct trace_exporter *exporter;
    struct bytes spans;
    size_t n;
};

struct trace_exporter {
    struct loop *loop;
    struct env *env;
    struct http_client *client;
    struct trace_endpoint endpoint;
    struct http_uri uri; /* into endpoint.uri */
    struct http_header *headers;
    size_t n_headers;
    struct span_attribute *resource;
    size_t n_resource;

    _Atomic size_t queued_bytes; /* also of what is on its way to the loop */
    struct list queue;           /* the first one is being sent while `busy` */
    bool busy, failing;
    struct http_stream *stream; /* OTLP_OVER_HTTP */
    struct grpc_client_call *call;
    int http_status;
    struct env_timer retry, deadline;
    uint64_t retry_ms;
    struct metric *exported, *dropped, *queue_bytes;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct env_timer close_timer;
};

/* ---- settings ---- */

static bool scheme_part(struct slice part, struct trace_endpoint *out, bool *http, bool *tls)
{
    static const struct {
        const char *name;
        bool http, tls, grpc, json;
    } parts[] = {{"http", true, false, false, false},   {"https", true, true, false, false},
                 {"grpc", false, false, true, false},   {"otlp", false, false, false, false},
                 {"proto", false, false, false, false}, {"json", false, false, false, true}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!slice_eq_cstr(part, parts[i].name))
            continue;
        *http = *http || parts[i].http;
        *tls = *tls || parts[i].tls;
        if (parts[i].grpc)
            out->transport = OTLP_OVER_GRPC;
        if (parts[i].json)
            out->format = OTLP_JSON;
        return true;
    }
    return false;
}

enum rc trace_endpoint_parse(const char *text, struct trace_endpoint *out, struct err *err)
{
    const char *rest = strstr(text, "://");
    bool http = false, tls = false, known = rest != NULL;
    *out = (struct trace_endpoint){.transport = OTLP_OVER_HTTP};
    struct slice scheme = slice_make(text, rest ? (size_t)(rest - text) : 0);
    struct slice left = scheme;
    while (known && left.len) {
        ptrdiff_t plus = slice_find(left, '+', 0);
        size_t len = plus < 0 ? left.len : (size_t)plus;
        known = scheme_part(slice_sub(left, 0, len), out, &http, &tls);
        left = slice_sub(left, MIN(len + 1, left.len), left.len - MIN(len + 1, left.len));
    }
    bool grpc = out->transport == OTLP_OVER_GRPC;
    if (!known || scheme.len == 0 || (!http && !grpc) || (grpc && (http || out->format == OTLP_JSON)))
        return err_set(err, RC_INVALID,
                       "the tracing endpoint '%s' has none of the schemes http, https, grpc, otlp+grpc, "
                       "otlp+http, otlp+https, otlp+json+http, otlp+json+https",
                       text);
    if (scheme.len == 4 + (size_t)tls) /* plain http, https */
        out->transport = OTLP_OVER_GRPC;
    int n = snprintf(out->uri, sizeof(out->uri), "%s%s", tls ? "https" : "http", rest);
    struct http_uri uri;
    if (n >= (int)sizeof(out->uri) || http_uri_parse(slice_cstr(out->uri), &uri, err) != RC_OK)
        return err_set(err, RC_INVALID, "the tracing endpoint '%s' is no URL", text);
    return RC_OK;
}

void trace_resource_parse(struct slice text, void (*visit)(void *ctx, struct slice key, struct slice value),
                          void *ctx)
{
    while (text.len) {
        ptrdiff_t comma = slice_find(text, ',', 0);
        struct slice pair = slice_sub(text, 0, comma < 0 ? text.len : (size_t)comma);
        size_t used = MIN(pair.len + 1, text.len);
        text = slice_sub(text, used, text.len - used);
        while (pair.len && pair.ptr[0] == ' ')
            pair = slice_sub(pair, 1, pair.len - 1);
        ptrdiff_t equals = slice_find(pair, '=', 0);
        if (equals <= 0)
            continue;
        struct writer value = WRITER_INIT;
        percent_decode(&value, slice_sub(pair, (size_t)equals + 1, pair.len - (size_t)equals - 1));
        visit(ctx, slice_sub(pair, 0, (size_t)equals), writer_slice(&value));
        writer_free(&value);
    }
}

/* ---- the end of a request ---- */

static void send_next(struct trace_exporter *x);

static void batch_free(struct batch *b)
{
    struct trace_exporter *x = b->exporter;
    atomic_fetch_sub(&x->queued_bytes, b->spans.len);
    metric_set(x->queue_bytes, (int64_t)atomic_load(&x->queued_bytes));
    bytes_unref(&b->spans);
    free(b);
}

static void drop_first(struct trace_exporter *x, struct metric *count)
{
    struct batch *b = CONTAINER_OF(list_pop_front(&x->queue), struct batch, link);
    metric_add(count, (int64_t)b->n);
    batch_free(b);
}

static void finish_close(struct trace_exporter *x)
{
    while (!list_empty(&x->queue))
        drop_first(x, x->dropped);
    env_timer_cancel(x->env, &x->retry);
    env_timer_cancel(x->env, &x->close_timer);
    void (*closed)(void *ctx) = x->closed;
    void *ctx = x->closed_ctx;
    for (size_t i = 0; i < x->n_headers; i++) {
        free((char *)x->headers[i].name.ptr);
        free((char *)x->headers[i].value.ptr);
    }
    for (size_t i = 0; i < x->n_resource; i++) {
        free((char *)x->resource[i].key);
        free((char *)x->resource[i].text.ptr);
    }
    free(x->headers);
    free(x->resource);
    http_client_free(x->client);
    free(x);
    closed(ctx);
}

static void on_close_timer(struct env_timer *t)
{
    struct trace_exporter *x = CONTAINER_OF(t, struct trace_exporter, close_timer);
    if (x->busy && x->stream)
        http_stream_reset(x->stream);
    else if (x->busy && x->call)
        grpc_client_cancel(x->call);
    else
        finish_close(x);
}

/* The request is over. `again`: the collector may take the same batch later. */
static void request_ended(struct trace_exporter *x, bool ok, bool again, const char *why)
{
    x->busy = false;
    x->stream = NULL;
    x->call = NULL;
    env_timer_cancel(x->env, &x->deadline);
    if (!ok && !x->failing)
        LOG0(LOG_WARN, TARGET, "Cannot export traces to %s: %s", x->endpoint.uri, why);
    if (ok && x->failing)
        LOG0(LOG_INFO, TARGET, "Traces are exported to %s again", x->endpoint.uri);
    x->failing = !ok;
    if (ok || !again)
        drop_first(x, ok ? x->exported : x->dropped);
    if (x->closing && (!ok || list_empty(&x->queue))) {
        env_timer_arm(x->env, &x->close_timer, 0); /* not from inside the client */
        return;
    }
    if (ok)
        x->retry_ms = 0;
    else
        x->retry_ms = MIN(MAX(x->retry_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
    if (ok || !again)
        send_next(x);
    else
        env_timer_arm(x->env, &x->retry, x->retry_ms);
}

/* ---- OTLP over gRPC ---- */

static void grpc_message(void *ctx, struct bytes message) {}

static void grpc_done(void *ctx, const struct grpc_status *status)
{
    bool again = status->transport || status->code == GRPC_UNAVAILABLE || status->code == GRPC_CANCELLED ||
                 status->code == GRPC_RESOURCE_EXHAUSTED || status->code == GRPC_DEADLINE_EXCEEDED;
    request_ended(ctx, status->code == GRPC_OK, again, status->message);
}

static const struct grpc_client_ops grpc_ops = {.on_message = grpc_message, .on_done = grpc_done};

/* ---- OTLP over HTTP ---- */

static void http_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                      const struct http_header *headers, size_t n)
{
    ((struct trace_exporter *)ctx)->http_status = status;
}

static void http_data(void *ctx, struct http_stream *s, struct bytes data)
{
    http_stream_consumed(s, data.len);
}

static void http_end(void *ctx, struct http_stream *s) {}

static void http_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct trace_exporter *x = ctx;
    char status[48];
    int code = x->http_status;
    snprintf(status, sizeof(status), "HTTP status %d", code);
    if (err->rc != RC_OK)
        request_ended(x, false, true, err->msg);
    else
        request_ended(x, code >= 200 && code <= 299, code == 429 || code == 502 || code == 503 || code == 504,
                      status);
}

static const struct http_stream_ops http_ops = {
    .on_head = http_head, .on_data = http_data, .on_end = http_end, .on_done = http_done};

static void open_http(struct trace_exporter *x, struct bytes body_take)
{
    struct http_header headers[2 + 64] = {
        HTTP_HEADER_LIT("content-type", "application/x-protobuf"),
        HTTP_HEADER_LIT("accept", "*/*"),
    };
    size_t n = 2;
    if (x->endpoint.format == OTLP_JSON)
        headers[0].value = SLICE_LIT("application/json");
    for (size_t i = 0; i < x->n_headers && n < ARRAY_LEN(headers); i++)
        headers[n++] = x->headers[i];
    x->http_status = 0;
    struct writer path = WRITER_INIT;
    write_slice_raw(&path, x->uri.path);
    if (x->uri.query.len) {
        write_u8(&path, '?');
        write_slice_raw(&path, x->uri.query);
    }
    x->stream = http_client_open(x->client, &x->uri, HTTP_CLIENT_H1, SLICE_LIT("POST"), writer_slice(&path),
                                 headers, n, &http_ops, x);
    writer_free(&path);
    http_stream_write(x->stream, body_take);
    http_stream_end(x->stream);
}

/* ---- the queue ---- */

static void on_deadline(struct env_timer *t)
{
    struct trace_exporter *x = CONTAINER_OF(t, struct trace_exporter, deadline);
    if (x->stream)
        http_stream_reset(x->stream);
}

static void send_next(struct trace_exporter *x)
{
    if (x->busy || list_empty(&x->queue) || env_timer_armed(&x->retry))
        return;
    struct batch *b = CONTAINER_OF(x->queue.next, struct batch, link);
    struct otlp_resource resource = {x->resource, x->n_resource};
    struct bytes body = otlp_request(x->endpoint.format, &resource, bytes_slice(b->spans));
    x->busy = true;
    if (x->endpoint.transport == OTLP_OVER_HTTP) {
        open_http(x, body);
        env_timer_arm(x->env, &x->deadline, REQUEST_MS);
    } else {
        x->call = grpc_client_call_with(x->loop, x->client, &x->uri, EXPORT_PATH, x->headers, x->n_headers,
                                        body, REQUEST_MS, ANSWER_MAX, &grpc_ops, x);
    }
}

static void on_retry(struct env_timer *t)
{
    send_next(CONTAINER_OF(t, struct trace_exporter, retry));
}

static void batch_arrived(struct loop_msg *m)
{
    struct batch *b = CONTAINER_OF(m, struct batch, msg);
    struct trace_exporter *x = b->exporter;
    list_push_back(&x->queue, &b->link);
    metric_set(x->queue_bytes, (int64_t)atomic_load(&x->queued_bytes));
    send_next(x);
}

void trace_exporter_put(struct trace_exporter *x, struct bytes spans_take, size_t n)
{
    if (atomic_load(&x->queued_bytes) + spans_take.len > TRACE_QUEUE_BYTES) {
        metric_add(x->dropped, (int64_t)n);
        bytes_unref(&spans_take);
        return;
    }
    struct batch *b = xcalloc(1, sizeof(*b));
    *b = (struct batch){.msg = {.deliver = batch_arrived}, .exporter = x, .spans = spans_take, .n = n};
    atomic_fetch_add(&x->queued_bytes, spans_take.len);
    loop_post(x->loop, &b->msg);
}

/* ---- life ---- */

static void copy_settings(struct trace_exporter *x, const struct trace_exporter_config *c)
{
    x->headers = xcalloc(c->n_headers + 1, sizeof(*x->headers));
    x->resource = xcalloc(c->n_resource + 1, sizeof(*x->resource));
    for (; x->n_headers < c->n_headers; x->n_headers++) {
        const struct http_header *h = &c->headers[x->n_headers];
        x->headers[x->n_headers] =
            (struct http_header){slice_cstr(slice_dup_cstr(h->name)), slice_cstr(slice_dup_cstr(h->value))};
    }
    for (; x->n_resource < c->n_resource; x->n_resource++) {
        const struct span_attribute *a = &c->resource[x->n_resource];
        x->resource[x->n_resource] =
            (struct span_attribute){.key = xstrdup(a->key), .text = slice_cstr(slice_dup_cstr(a->text))};
    }
}

struct trace_exporter *trace_exporter_new(struct loop *loop, const struct trace_exporter_config *config)
{
    struct trace_exporter *x = xcalloc(1, sizeof(*x));
    struct http_client_config client;
    x->loop = loop;
    x->env = loop_env(loop);
    x->endpoint = config->endpoint;
    ASSERT(http_uri_parse(slice_cstr(x->endpoint.uri), &x->uri, NULL) == RC_OK);
    copy_settings(x, config);
    http_client_config_default(&client);
    x->client = http_client_new(loop, &client);
    list_init(&x->queue);
    env_timer_init(&x->retry, on_retry);
    env_timer_init(&x->deadline, on_deadline);
    env_timer_init(&x->close_timer, on_close_timer);
    x->exported =
        metric_counter("restate_trace_spans_total", "status=\"exported\"", "Spans by what became of them");
    x->dropped =
        metric_counter("restate_trace_spans_total", "status=\"dropped\"", "Spans by what became of them");
    x->queue_bytes =
        metric_gauge("restate_trace_queue_bytes", NULL, "Encoded spans that wait for the collector");
    return x;
}

enum otlp_format trace_exporter_format(const struct trace_exporter *x)
{
    return x->endpoint.format;
}

static void begin_close(struct loop_msg *m)
{
    struct batch *b = CONTAINER_OF(m, struct batch, msg); /* behind the last batch: the mailbox keeps order */
    struct trace_exporter *x = b->exporter;
    free(b);
    x->closing = true;
    env_timer_cancel(x->env, &x->retry);
    send_next(x);
    if (!x->busy)
        env_timer_arm(x->env, &x->close_timer, 0);
}

void trace_exporter_close(struct trace_exporter *x, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    *b = (struct batch){.msg = {.deliver = begin_close}, .exporter = x};
    x->closed = done;
    x->closed_ctx = ctx;
    env_timer_arm(x->env, &x->close_timer, timeout_ms);
    loop_post(x->loop, &b->msg);
}

/* Preview of serdes (spec/service-protocol.md §3.11): one POST to an endpoint, its answer passed on in pieces
 * as fast as they are taken. Nothing is tried again: a person waits for it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "invoker/invoker_internal.h"

#define SILENCE_LIMIT_MS 30000
#define ERROR_BODY_SHOWN 1024 /* bytes */

struct preview {
    struct list link;    /* invoker.previews */
    struct invoker *inv; /* NULL: freed meanwhile */
    struct endpoint *ep;
    void (*on_data)(void *ctx, struct bytes data);
    void (*on_done)(void *ctx, const char *failure);
    void *ctx;
    struct carrier stream;
    struct env_timer
        timer; /* the endpoint is silent for too long; or, without a stream: only defers on_done */
    bool told, timed_out;
    int status;
    size_t held;           /* bytes that are not consumed: the endpoint may wait for us */
    struct writer headers; /* of an answer that is no success, and the beginning of its body */
    struct writer body;
    struct writer failure;
};

static void preview_free(struct preview *p)
{
    if (p->inv) {
        env_timer_cancel(p->inv->env, &p->timer);
        list_remove(&p->link);
    }
    if (p->ep)
        endpoint_unref(p->ep);
    writer_free(&p->headers);
    writer_free(&p->body);
    writer_free(&p->failure);
    free(p);
}

static void tell(struct preview *p, const char *failure)
{
    p->told = true;
    p->on_done(p->ctx, failure);
}

static void tell_failure(struct preview *p)
{
    write_u8(&p->failure, 0);
    tell(p, (const char *)writer_slice(&p->failure).ptr);
}

static bool succeeded(const struct preview *p)
{
    return p->status >= 200 && p->status <= 299;
}

/* ---- the answer ---- */

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct preview *p = ctx;
    p->status = status;
    if (!succeeded(p))
        headers_show(&p->headers, headers, n);
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct preview *p = ctx;
    p->held += data.len;
    if (!p->told && succeeded(p)) {
        env_timer_cancel(p->inv->env, &p->timer);
        p->on_data(p->ctx, data);
        return;
    }
    if (p->body.len < ERROR_BODY_SHOWN)
        write_slice_raw(&p->body,
                        slice_sub(bytes_slice(data), 0, MIN(data.len, ERROR_BODY_SHOWN - p->body.len)));
    preview_consumed(p, data.len);
}

static void on_end(void *ctx, struct http_stream *s) {} /* on_done follows: the request side is closed */

static void describe_failure(struct preview *p, const struct err *err)
{
    if (p->timed_out) {
        write_fmt(&p->failure, "error when calling '%s': nothing arrived for %d seconds", p->ep->uri_text,
                  SILENCE_LIMIT_MS / 1000);
    } else if (err->rc != RC_OK || p->status == 0) {
        char cause[ERR_MESSAGE_SIZE];
        dial_cause(err, p->ep->http_1_1 || p->ep->is_lambda, cause, sizeof(cause));
        write_fmt(&p->failure, "error when calling '%s': %s", p->ep->uri_text, cause);
    } else {
        if (p->status == 404)
            write_fmt(&p->failure,
                      "got status code '404'. This might indicate the SDK doesn't support the serdes "
                      "endpoint, or the serde name doesn't exist.");
        else
            write_fmt(&p->failure, "got status code '%d %s'.", p->status, http_reason(p->status));
        write_fmt(&p->failure, " Response headers: %.*s. Body: %.*s", SLICE_FMT(writer_slice(&p->headers)),
                  SLICE_FMT(writer_slice(&p->body)));
    }
}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct preview *p = ctx;
    p->stream = (struct carrier){0};
    if (!p->told && err->rc == RC_OK && succeeded(p)) {
        tell(p, NULL);
    } else if (!p->told) {
        describe_failure(p, err);
        tell_failure(p);
    }
    preview_free(p);
}

static const struct http_stream_ops stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_done = on_done};

static void on_timer(struct env_timer *t)
{
    struct preview *p = CONTAINER_OF(t, struct preview, timer);
    if (carrier_is_open(&p->stream)) {
        p->timed_out = true;
        carrier_reset(&p->stream);
        return;
    }
    if (!p->told)
        tell_failure(p);
    preview_free(p);
}

/* ---- the request ---- */

/* "/serdes/<service>/decode/<serde>"; names of serdes may contain slashes. */
static void write_suffix(struct writer *w, const struct preview_request *r)
{
    write_fmt(w, "/serdes/");
    percent_encode(w, r->service);
    write_fmt(w, r->encode ? "/encode/" : "/decode/");
    struct slice left = r->serde;
    for (;;) {
        ptrdiff_t slash = slice_find(left, '/', 0);
        size_t n = slash < 0 ? left.len : (size_t)slash;
        percent_encode(w, slice_sub(left, 0, n));
        if (slash < 0)
            return;
        write_u8(w, '/');
        left = slice_sub(left, n + 1, left.len - n - 1);
    }
}

static void open_stream(struct preview *p, const struct preview_request *r)
{
    const struct http_header types[2][2] = {
        {HTTP_HEADER_LIT("content-type", "application/octet-stream"),
         HTTP_HEADER_LIT("accept", "application/json")},
        {HTTP_HEADER_LIT("content-type", "application/json"), HTTP_HEADER_LIT("accept", "*/*")}};
    const struct http_header protocol = HTTP_HEADER_LIT("x-restate-serdes-protocol", "v1");
    struct invoker *inv = p->inv;
    struct writer path = WRITER_INIT, suffix = WRITER_INIT, jwt = WRITER_INIT;
    write_suffix(&suffix, r);
    write_slice_raw(&path, bytes_slice(p->ep->path_prefix));
    write_slice_raw(&path, writer_slice(&suffix));
    write_slice_raw(&path, bytes_slice(p->ep->path_query));
    inv->head.len = 0;
    head_push(inv, types[r->encode], 2);
    head_push(inv, &protocol, 1);
    head_push(inv, p->ep->headers, p->ep->n_headers);
    struct http_header signature[2];
    head_push(inv, signature, signature_headers(inv, writer_slice(&suffix), SLICE_EMPTY, &jwt, signature));
    head_push(inv, inv->extra_headers, inv->config.n_additional_headers);
    p->stream = endpoint_post(inv, p->ep, writer_slice(&path), &stream_ops, p);
    writer_free(&path);
    writer_free(&suffix);
    writer_free(&jwt);
}

struct preview *invoker_preview(struct invoker *inv, const struct preview_request *r)
{
    struct preview *p = xcalloc(1, sizeof(*p));
    p->inv = inv;
    p->on_data = r->on_data;
    p->on_done = r->on_done;
    p->ctx = r->ctx;
    env_timer_init(&p->timer, on_timer);
    list_push_back(&inv->previews, &p->link);
    struct err err = {0};
    p->ep = endpoint_get(inv, r->deployment, &err);
    if (p->ep && p->ep->is_lambda && !inv->lambda)
        write_fmt(&p->failure, "this node has no access to AWS Lambda");
    else if (p->ep)
        open_stream(p, r);
    else
        write_fmt(&p->failure, "%s", err.msg);
    if (carrier_is_open(&p->stream)) {
        if (r->body.len > 0)
            carrier_write(&p->stream, bytes_copy(r->body));
        carrier_end(&p->stream);
        env_timer_arm(inv->env, &p->timer, SILENCE_LIMIT_MS);
        return p;
    }
    if (p->failure.len == 0)
        write_fmt(&p->failure, "error when calling '%s': too many requests are waiting for a connection",
                  p->ep->uri_text);
    env_timer_arm(inv->env, &p->timer, 0);
    return p;
}

void preview_consumed(struct preview *p, size_t n)
{
    ASSERT(n <= p->held);
    p->held -= n;
    if (carrier_is_open(&p->stream))
        carrier_consumed(&p->stream, n);
    if (p->held == 0 && p->inv && carrier_is_open(&p->stream))
        env_timer_arm(p->inv->env, &p->timer, SILENCE_LIMIT_MS);
}

void preview_cancel(struct preview *p)
{
    p->told = true;
    if (carrier_is_open(&p->stream))
        carrier_reset(&p->stream);
}

void preview_cancel_all(struct invoker *inv)
{
    LIST_FOREACH_SAFE(l, next, &inv->previews)
    {
        struct preview *p = CONTAINER_OF(l, struct preview, link);
        if (!p->told)
            tell(p, "the server is shutting down");
        env_timer_cancel(inv->env, &p->timer);
        list_remove(&p->link);
        p->inv = NULL;
        if (carrier_is_open(&p->stream))
            carrier_reset(&p->stream);
        else
            preview_free(p);
    }
}

/* gRPC client calls: see grpc_client.h (spec/restatectl.md §3.2, §3.3, §4.4). */
#include "http/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/hash.h"

struct grpc_client_call {
    struct env *env;
    struct http_stream *stream;
    struct grpc_client_ops ops;
    void *ctx;
    struct grpc_reader reader;
    struct env_timer deadline;
    struct grpc_status status;
    bool has_status; /* the answer gave one */
    bool broken;     /* the answer is no gRPC, or broken: `status` says how */
    int http_status;
};

static void set_status(struct grpc_client_call *c, enum grpc_code code, const char *message)
{
    c->status.code = code;
    snprintf(c->status.message, sizeof(c->status.message), "%s", message);
}

static void abort_call(struct grpc_client_call *c, enum grpc_code code, bool transport, const char *message)
{
    if (c->broken)
        return;
    set_status(c, code, message);
    c->status.transport = transport;
    c->broken = true;
    http_stream_reset(c->stream);
}

static void take_status(struct grpc_client_call *c, const struct http_header *headers, size_t n)
{
    struct slice code = http_header_find(headers, n, "grpc-status");
    struct slice message = http_header_find(headers, n, "grpc-message");
    struct writer text = WRITER_INIT;
    uint32_t v = 0;
    if (!code.ptr || c->broken)
        return;
    for (size_t i = 0; i < code.len && v <= 16; i++)
        v = code.ptr[i] >= '0' && code.ptr[i] <= '9' ? v * 10 + (code.ptr[i] - '0') : 99;
    percent_decode(&text, message);
    c->status.code = v <= 16 && code.len ? (enum grpc_code)v : GRPC_UNKNOWN;
    size_t len = MIN(text.len, sizeof(c->status.message) - 1);
    if (len)
        memcpy(c->status.message, text.buf->data, len);
    c->status.message[len] = 0;
    writer_free(&text);
    c->has_status = true;
}

/* ---- stream callbacks ---- */

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct grpc_client_call *c = ctx;
    struct slice encoding = http_header_find(headers, n, "grpc-encoding");
    c->http_status = status;
    take_status(c, headers, n);
    if (encoding.len && !grpc_encoding_parse(encoding, &c->reader.encoding))
        abort_call(c, GRPC_UNIMPLEMENTED, false, "the answer is compressed in an unknown way");
}

static void on_trailers(void *ctx, struct http_stream *s, const struct http_header *headers, size_t n)
{
    take_status(ctx, headers, n);
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct grpc_client_call *c = ctx;
    struct slice in = bytes_slice(data);
    struct bytes message = BYTES_EMPTY;
    struct err err = {0};
    http_stream_consumed(s, data.len);
    if (c->http_status != 200 || c->broken)
        return;
    enum rc rc;
    while ((rc = grpc_reader_next(&c->reader, data, &in, &message, &err)) == RC_OK) {
        c->ops.on_message(c->ctx, message);
        bytes_unref(&message);
    }
    if (rc != RC_AGAIN)
        abort_call(c, rc == RC_TOO_LARGE ? GRPC_OUT_OF_RANGE : GRPC_INTERNAL, false, err.msg);
}

static void on_end(void *ctx, struct http_stream *s) {}

static enum grpc_code code_of_http(int status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static void settle(struct grpc_client_call *c, const struct err *err)
{
    char text[96];
    if (c->broken || c->has_status)
        return;
    c->status.transport = true;
    if (err->rc != RC_OK) {
        set_status(c, err->rc == RC_CANCELED ? GRPC_CANCELLED : GRPC_UNAVAILABLE, err->msg);
    } else if (c->http_status != 200) {
        snprintf(text, sizeof(text), "grpc-status header missing, mapped from HTTP status code %d",
                 c->http_status);
        set_status(c, code_of_http(c->http_status), text);
    } else {
        set_status(c, GRPC_INTERNAL, "the answer has no status");
    }
}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct grpc_client_call *c = ctx;
    settle(c, err);
    c->status.unsent = !http_stream_was_sent(s);
    env_timer_cancel(c->env, &c->deadline);
    c->ops.on_done(c->ctx, &c->status);
    grpc_reader_free(&c->reader);
    free(c);
}

static void on_deadline(struct env_timer *t)
{
    struct grpc_client_call *c = CONTAINER_OF(t, struct grpc_client_call, deadline);
    abort_call(c, GRPC_CANCELLED, true, "Timeout expired");
}

static const struct http_stream_ops stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_trailers = on_trailers, .on_end = on_end, .on_done = on_done};

/* The message in its frame; consumed. */
static struct bytes frame_of(struct bytes message_take, enum grpc_encoding encoding)
{
    struct writer body = WRITER_INIT, w = WRITER_INIT;
    bool smaller = grpc_deflate(encoding, bytes_slice(message_take), &body) == RC_OK;
    struct slice payload = smaller ? writer_slice(&body) : bytes_slice(message_take);
    write_u8(&w, smaller);
    write_u32be(&w, (uint32_t)payload.len);
    write_slice_raw(&w, payload);
    bytes_unref(&message_take);
    writer_free(&body);
    return writer_take(&w);
}

static struct grpc_client_call *start(struct loop *loop, struct http_client *client,
                                      const struct http_uri *uri, const char *path,
                                      const struct http_header *headers, size_t n_headers,
                                      struct bytes frame_take, uint64_t timeout_ms, size_t max_message_bytes,
                                      const struct grpc_client_ops *ops, void *ctx)
{
    struct grpc_client_call *c = xcalloc(1, sizeof(*c));
    c->env = loop_env(loop);
    c->ops = *ops;
    c->ctx = ctx;
    c->reader.limit = max_message_bytes;
    env_timer_init(&c->deadline, on_deadline);
    c->stream = http_client_open(client, uri, HTTP_CLIENT_H2, SLICE_LIT("POST"), slice_cstr(path), headers,
                                 n_headers, &stream_ops, c);
    http_stream_write(c->stream, frame_take);
    http_stream_end(c->stream);
    if (timeout_ms)
        env_timer_arm(c->env, &c->deadline, timeout_ms);
    return c;
}

#define COMMON_HEADERS                                                                                       \
    {SLICE_LIT("te"), SLICE_LIT("trailers")}, {SLICE_LIT("content-type"), SLICE_LIT("application/grpc")},    \
    {                                                                                                        \
        SLICE_LIT("grpc-accept-encoding"), SLICE_LIT("zstd,gzip,identity")                                   \
    }

struct grpc_client_call *grpc_client_call(struct loop *loop, struct http_client *client,
                                          const struct http_uri *uri, const char *path,
                                          struct bytes message_take, uint64_t timeout_ms,
                                          size_t max_message_bytes, const struct grpc_client_ops *ops,
                                          void *ctx)
{
    static const struct http_header headers[] = {COMMON_HEADERS,
                                                 {SLICE_LIT("grpc-encoding"), SLICE_LIT("zstd")}};
    return start(loop, client, uri, path, headers, ARRAY_LEN(headers), frame_of(message_take, GRPC_ZSTD),
                 timeout_ms, max_message_bytes, ops, ctx);
}

struct grpc_client_call *grpc_client_call_with(struct loop *loop, struct http_client *client,
                                               const struct http_uri *uri, const char *path,
                                               const struct http_header *metadata, size_t n_metadata,
                                               struct bytes message_take, uint64_t timeout_ms,
                                               size_t max_message_bytes, const struct grpc_client_ops *ops,
                                               void *ctx)
{
    struct http_header headers[3 + GRPC_CLIENT_METADATA_MAX] = {COMMON_HEADERS};
    size_t n_headers = 3;
    for (size_t i = 0; i < n_metadata && n_headers < ARRAY_LEN(headers); i++)
        headers[n_headers++] = metadata[i];
    return start(loop, client, uri, path, headers, n_headers, frame_of(message_take, GRPC_IDENTITY),
                 timeout_ms, max_message_bytes, ops, ctx);
}

void grpc_client_cancel(struct grpc_client_call *c)
{
    abort_call(c, GRPC_CANCELLED, true, "canceled");
}

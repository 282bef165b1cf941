/* The server engine behind the fake network, with handlers that use every way to take a body and to answer.
 */
#pragma once
#include "http/grpc.h"
#include "http_fake_net.h"

static size_t live;

static void on_body(struct http_request *r, enum rc rc, struct bytes body)
{
    http_respond(r, rc == RC_OK ? 200 : 413, NULL, 0, bytes_ref(body));
}
static void on_chunk(struct http_request *r, struct bytes chunk)
{
    http_response_write(r, bytes_ref(chunk));
    http_request_consumed(r, chunk.len);
}
static void on_end(struct http_request *r)
{
    struct http_header t = HTTP_HEADER_LIT("x-t", "1");
    http_response_end(r, &t, 1);
}
static void on_finished(struct http_request *r, bool completed)
{
    live--;
}
static void grpc_message(struct grpc_call *c, struct bytes m)
{
    grpc_call_send(c, bytes_ref(m));
}
static void grpc_end(struct grpc_call *c)
{
    grpc_call_finish(c, GRPC_OK, NULL);
}
static void grpc_finished(struct grpc_call *c, bool completed)
{
    live--;
}

static void on_request(void *ctx, struct http_request *r)
{
    static const struct http_request_ops ops = {
        .on_body = on_body, .on_chunk = on_chunk, .on_end = on_end, .on_finished = on_finished};
    static const struct grpc_call_ops grpc = {
        .on_message = grpc_message, .on_end = grpc_end, .on_finished = grpc_finished};
    struct slice t = http_request_target(r);
    size_t n;
    const struct http_header *h = http_request_headers(r, &n);
    live++;
    http_request_set_ops(r, &ops);
    switch (t.len > 1 ? t.ptr[1] : 0) {
    case 'c':
        http_request_collect(r, 64);
        break;
    case 's':
        http_request_stream(r);
        http_response_start(r, 200, h, n); /* the client's fields come back */
        break;
    case 'g':
        grpc_call_accept(r, t.len & 1, 4096, &grpc, NULL);
        break;
    case 'a':
        http_response_abort(r);
        break;
    case 'h':
        break; /* never answered */
    default:
        http_respond(r, 404, h, n, bytes_static(SLICE_LIT("no")));
    }
}

static void serve(const uint8_t *prefix, size_t prefix_len, const uint8_t *data, size_t size)
{
    struct http_server_config config;
    if (size < 1)
        return;
    fake_start();
    http_server_config_default(&config);
    struct http_server *s =
        http_server_new(&fake_loop, &config, &(struct http_server_ops){on_request, NULL, NULL}, NULL);
    http_server_accept(s, &fake_conn);
    if (prefix_len) {
        struct bytes b = bytes_static(slice_make(prefix, prefix_len));
        fake_conn.ops->on_read(fake_conn.ctx, b);
    }
    fake_deliver(data + 1, size - 1, data[0]);
    fake_end();
    ASSERT(live == 0 && http_server_requests_in_progress(s) == 0);
    http_server_free(s);
}

/* Arbitrary answers of a server to the client: HTTP/1 or HTTP/2, chosen by the second byte. */
#include "http_fake_net.h"

static void (*connected)(void *ctx, struct net_conn *conn, const struct err *err);
static void *connected_ctx;
static size_t done;

struct net_conn *net_connect(struct loop *l, const struct net_address *addr, uint64_t timeout_ms,
                             void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err),
                             void *ctx)
{
    connected = on_connected;
    connected_ctx = ctx;
    return &fake_conn;
}

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *h, size_t n)
{
    ASSERT(status >= 200);
    if (status == 222)
        http_stream_reset(s);
}
static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    http_stream_consumed(s, data.len);
}
static void on_trailers(void *ctx, struct http_stream *s, const struct http_header *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ASSERT(h[i].name.ptr || h[i].name.len == 0);
}
static void on_end(void *ctx, struct http_stream *s)
{
    http_stream_end(s);
}
static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    done++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_stream_ops ops = {.on_head = on_head,
                                               .on_data = on_data,
                                               .on_trailers = on_trailers,
                                               .on_end = on_end,
                                               .on_done = on_done};
    struct http_client_config config;
    struct http_uri uri;
    struct err ok = {0};
    if (size < 2)
        return 0;
    fake_start();
    done = 0;
    http_client_config_default(&config);
    config.max_connections_per_endpoint = 1;
    struct http_client *c = http_client_new(&fake_loop, &config);
    ASSERT(http_uri_parse(SLICE_LIT("http://h"), &uri, NULL) == RC_OK);
    struct http_stream *s = http_client_open(c, &uri, data[1] & 1 ? HTTP_CLIENT_H2 : HTTP_CLIENT_H1,
                                             SLICE_LIT("POST"), SLICE_LIT("/"), NULL, 0, &ops, NULL);
    http_stream_write(s, bytes_static(SLICE_LIT("body")));
    fake_run_tasks();
    connected(connected_ctx, &fake_conn, &ok);
    fake_run_tasks();
    fake_deliver(data + 2, size - 2, data[0]);
    http_client_free(c);
    fake_end();
    ASSERT(done == 1);
    return 0;
}

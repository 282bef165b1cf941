/* Fixture of the http tests: a loop on the test's thread, a server with a handler per path on a loopback
 * port, a client, and raw connections that send and collect text. Include once per test program. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after the system headers: */
#include <cmocka.h>

#include "base/codec.h"
#include "http/client.h"
#include "http/server.h"

#define S(lit) SLICE_LIT(lit)

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_client *client;
    struct net_listener *listener;
    struct net_address addr;
    char url[64];
    size_t opened, closed, closed_clean;
    /* what the handler saw last */
    size_t requests, finished, finished_completed;
    char target[256], peer[64], host[64];
    enum http_version version;
    int64_t content_length;
    size_t n_headers;
    struct http_request *parked; /* the last request on /hang */
    size_t n_parked;
    size_t chunk_bytes;
    bool drained;
};

static struct fixture F;

/* ---- running the loop ---- */

struct until {
    struct env_timer timer;
    bool (*cond)(void *ctx);
    void *ctx;
    uint64_t deadline;
};

static void until_fire(struct env_timer *t)
{
    struct until *u = CONTAINER_OF(t, struct until, timer);
    struct env *env = loop_env(F.loop);
    if (u->cond(u->ctx) || env_mono_ms(env) >= u->deadline)
        loop_stop(F.loop);
    else
        env_timer_arm(env, &u->timer, 1);
}

/* Run until `cond` holds; false after `ms`. */
static inline bool run_until(bool (*cond)(void *ctx), void *ctx, uint64_t ms)
{
    struct until u = {.cond = cond, .ctx = ctx};
    struct env *env = loop_env(F.loop);
    if (cond(ctx))
        return true;
    u.deadline = env_mono_ms(env) + ms;
    env_timer_init(&u.timer, until_fire);
    env_timer_arm(env, &u.timer, 1);
    loop_run(F.loop);
    env_timer_cancel(env, &u.timer);
    return cond(ctx);
}

static bool never(void *ctx)
{
    return false;
}
static inline void run_for(uint64_t ms)
{
    run_until(never, NULL, ms);
}

/* ---- handler ---- */

static void on_body_echo(struct http_request *r, enum rc rc, struct bytes body)
{
    if (rc == RC_OK) {
        struct http_header h[] = {HTTP_HEADER_LIT("content-type", "text/plain"),
                                  HTTP_HEADER_LIT("x-echo", "yes")};
        http_respond(r, 200, h, 2, bytes_ref(body));
    } else {
        http_respond(r, rc == RC_TOO_LARGE ? 413 : 400, NULL, 0, bytes_copy(slice_cstr(rc_name(rc))));
    }
}

static void on_finished_count(struct http_request *r, bool completed)
{
    F.finished++;
    F.finished_completed += completed;
    if (F.parked == r)
        F.parked = NULL;
    free(http_request_user(r));
}

static void on_chunk_echo(struct http_request *r, struct bytes chunk)
{
    F.chunk_bytes += chunk.len;
    http_response_write(r, bytes_ref(chunk));
    http_request_consumed(r, chunk.len);
}

static void on_end_echo(struct http_request *r)
{
    struct http_header t[] = {HTTP_HEADER_LIT("x-trailer", "tail")};
    http_response_end(r, t, 1);
}

struct producer {
    size_t left;
};

static void produce(struct http_request *r)
{
    struct producer *p = http_request_user(r);
    size_t queued = 0;
    while (p && p->left && queued <= NET_HIGH_WATER) {
        size_t n = MIN(p->left, (size_t)100000);
        struct buf *b = buf_new(n);
        memset(b->data, 'x', n);
        p->left -= n;
        queued = http_response_write(r, bytes_take_buf(b, 0, n));
    }
    if (p && p->left == 0)
        http_response_end(r, NULL, 0);
}

static const struct http_request_ops handler_ops = {.on_body = on_body_echo,
                                                    .on_chunk = on_chunk_echo,
                                                    .on_end = on_end_echo,
                                                    .on_finished = on_finished_count,
                                                    .on_writable = produce};

static void on_request(void *ctx, struct http_request *r)
{
    struct slice t = http_request_target(r);
    F.requests++;
    F.version = http_request_version(r);
    snprintf(F.target, sizeof(F.target), "%.*s", SLICE_FMT(t));
    snprintf(F.host, sizeof(F.host), "%.*s", SLICE_FMT(http_request_header(r, "host")));
    http_request_peer(r, F.peer, sizeof(F.peer));
    F.content_length = http_request_content_length(r);
    http_request_headers(r, &F.n_headers);
    http_request_set_ops(r, &handler_ops);
    if (slice_eq_cstr(t, "/echo")) {
        http_request_collect(r, 64u << 20);
    } else if (slice_eq_cstr(t, "/small")) {
        http_request_collect(r, 10);
    } else if (slice_eq_cstr(t, "/duplex")) {
        http_request_stream(r);
        http_response_start(r, 200, NULL, 0);
    } else if (slice_eq_cstr(t, "/hang")) {
        F.parked = r;
        F.n_parked++;
    } else if (slice_eq_cstr(t, "/big")) {
        struct producer *p = xcalloc(1, sizeof(*p));
        p->left = 8u << 20;
        http_request_set_user(r, p);
        http_response_start(r, 200, NULL, 0);
        produce(r);
    } else if (slice_eq_cstr(t, "/204")) {
        http_respond(r, 204, NULL, 0, BYTES_EMPTY);
    } else if (slice_eq_cstr(t, "/abort")) {
        http_response_abort(r);
    } else if (slice_eq_cstr(t, "/early")) {
        http_respond(r, 404, NULL, 0, bytes_static(S("not here")));
    } else {
        http_respond(r, 200, NULL, 0, bytes_static(S("hello")));
    }
}

static void on_opened(void *ctx)
{
    F.opened++;
}
static void on_closed(void *ctx, bool clean)
{
    F.closed++;
    F.closed_clean += clean;
}
static void on_accept(void *ctx, struct net_conn *conn)
{
    http_server_accept(F.server, conn);
}

static inline void fixture_start(const struct http_server_config *sc, const struct http_client_config *cc)
{
    struct http_server_config server_config;
    struct http_client_config client_config;
    struct err err = {0};
    memset(&F, 0, sizeof(F));
    http_server_config_default(&server_config);
    http_client_config_default(&client_config);
    F.loop = loop_new("test");
    F.server = http_server_new(F.loop, sc ? sc : &server_config,
                               &(struct http_server_ops){on_request, on_opened, on_closed}, NULL);
    F.client = http_client_new(F.loop, cc ? cc : &client_config);
    struct net_address any = {.family = NET_TCP, .host = "127.0.0.1"};
    static const struct net_listener_ops lops = {on_accept};
    assert_int_equal(net_listen(F.loop, &any, false, &lops, NULL, &F.listener, &err), RC_OK);
    assert_int_equal(net_listener_start(F.listener, &err), RC_OK);
    net_listener_address(F.listener, &F.addr);
    snprintf(F.url, sizeof(F.url), "http://127.0.0.1:%u", F.addr.port);
}

static inline void fixture_stop(void)
{
    if (F.client)
        http_client_free(F.client);
    if (F.server)
        http_server_free(F.server);
    net_listener_close(F.listener);
    run_for(5);
    loop_free(F.loop);
}

static inline int setup(void **state)
{
    fixture_start(NULL, NULL);
    return 0;
}
static inline int teardown(void **state)
{
    fixture_stop();
    return 0;
}

/* ---- raw connection ---- */

struct raw {
    struct net_conn *conn;
    struct writer in;
    bool eof, closed;
    const char *wanted;
    size_t wanted_count;
};

static void raw_read(void *ctx, struct bytes data)
{
    write_slice_raw(&((struct raw *)ctx)->in, bytes_slice(data));
}
static void raw_eof(void *ctx)
{
    ((struct raw *)ctx)->eof = true;
}
static void raw_closed(void *ctx, const struct err *why)
{
    ((struct raw *)ctx)->closed = true;
    ((struct raw *)ctx)->conn = NULL;
}
static void raw_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    static const struct net_conn_ops ops = {.on_read = raw_read, .on_eof = raw_eof, .on_closed = raw_closed};
    assert_int_equal(err->rc, RC_OK);
    net_conn_start(conn, &ops, ctx);
}
static inline void raw_open(struct raw *r)
{
    memset(r, 0, sizeof(*r));
    r->conn = net_connect(F.loop, &F.addr, 20000, raw_connected, r);
}
static inline void raw_send(struct raw *r, struct slice s)
{
    net_conn_write(r->conn, bytes_copy(s));
}
static inline size_t raw_count(const struct raw *r, const char *text)
{
    size_t n = 0, len = strlen(text);
    const uint8_t *p = r->in.buf ? r->in.buf->data : NULL, *end = p + r->in.len;
    while (p && (p = memmem(p, (size_t)(end - p), text, len))) {
        n++;
        p += len;
    }
    return n;
}
static bool raw_has(void *ctx)
{
    struct raw *r = ctx;
    return raw_count(r, r->wanted) >= r->wanted_count;
}
static bool raw_ended(void *ctx)
{
    return ((struct raw *)ctx)->eof || ((struct raw *)ctx)->closed;
}
static inline const char *raw_text(struct raw *r)
{
    write_u8(&r->in, 0);
    r->in.len--;
    return (const char *)r->in.buf->data;
}
/* Wait until `text` was received `n` times. */
static inline void raw_expect(struct raw *r, const char *text, size_t n)
{
    r->wanted = text;
    r->wanted_count = n;
    if (!run_until(raw_has, r, 10000))
        fail_msg("expected %zu x '%s' in: %s", n, text, raw_text(r));
}
static inline void raw_expect_eof(struct raw *r)
{
    if (!run_until(raw_ended, r, 10000))
        fail_msg("the server keeps the connection open");
}
static inline void raw_close(struct raw *r)
{
    if (r->conn)
        net_conn_close(r->conn);
    run_until(raw_ended, r, 100);
    run_for(2);
    writer_free(&r->in);
}

/* ---- client side of an exchange ---- */

struct call {
    struct http_stream *stream;
    int status;
    enum http_version version;
    char content_type[64];
    struct writer body;
    bool head, ended, done, writable;
    bool hold; /* do not give window back */
    size_t held;
    struct err err;
};

static void call_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                      const struct http_header *h, size_t n)
{
    struct call *c = ctx;
    assert_false(c->head);
    c->head = true;
    c->status = status;
    c->version = version;
    snprintf(c->content_type, sizeof(c->content_type), "%.*s",
             SLICE_FMT(http_header_find(h, n, "content-type")));
}
static void call_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct call *c = ctx;
    assert_true(c->head && !c->ended && !c->done);
    write_slice_raw(&c->body, bytes_slice(data));
    if (c->hold)
        c->held += data.len;
    else
        http_stream_consumed(s, data.len);
}
static void call_end(void *ctx, struct http_stream *s)
{
    struct call *c = ctx;
    assert_false(c->ended);
    c->ended = true;
}
static void call_writable(void *ctx, struct http_stream *s)
{
    ((struct call *)ctx)->writable = true;
}
static void call_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct call *c = ctx;
    assert_false(c->done);
    c->done = true;
    c->err = *err;
    c->stream = NULL;
}

static const struct http_stream_ops call_ops = {.on_head = call_head,
                                                .on_data = call_data,
                                                .on_end = call_end,
                                                .on_writable = call_writable,
                                                .on_done = call_done};

static inline void call_open_at(struct call *c, const char *url, enum http_client_protocol protocol,
                                const char *method, const char *path)
{
    struct http_uri uri;
    struct err err = {0};
    struct http_header h[] = {HTTP_HEADER_LIT("x-test", "1")};
    memset(c, 0, sizeof(*c));
    assert_int_equal(http_uri_parse(slice_cstr(url), &uri, &err), RC_OK);
    c->stream =
        http_client_open(F.client, &uri, protocol, slice_cstr(method), slice_cstr(path), h, 1, &call_ops, c);
}
static inline void call_open(struct call *c, enum http_client_protocol protocol, const char *method,
                             const char *path)
{
    call_open_at(c, F.url, protocol, method, path);
}
static inline void call_write(struct call *c, const char *text)
{
    http_stream_write(c->stream, bytes_copy(slice_cstr(text)));
}
static bool call_is_done(void *ctx)
{
    return ((struct call *)ctx)->done;
}
static inline void call_finish(struct call *c)
{
    if (!run_until(call_is_done, c, 20000))
        fail_msg("the stream does not end (status %d, %zu bytes)", c->status, c->body.len);
}
static inline void call_free(struct call *c)
{
    writer_free(&c->body);
}
#define assert_body(c, text)                                                                                 \
    do {                                                                                                     \
        assert_int_equal((c)->body.len, strlen(text));                                                       \
        assert_memory_equal((c)->body.buf ? (void *)(c)->body.buf->data : (void *)"", text, strlen(text));   \
    } while (0)

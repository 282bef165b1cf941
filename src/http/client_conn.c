/* One client connection: connect, TLS handshake, timers, and what HTTP/1 and HTTP/2 have in common. */
#include <stdarg.h>
#include <stdio.h>

#include "http/client_internal.h"
#include "http/proxy.h"

void client_conn_defer(struct client_conn *c)
{
    if (c->state == CLIENT_OPEN)
        env_defer(c->env, &c->task);
}

/* ---- bytes out ---- */

static void conn_flush_tls(struct client_conn *c)
{
    struct bytes out = c->tls ? tls_conn_output(c->tls) : BYTES_EMPTY;
    if (out.len)
        net_conn_write(c->net, out);
}

void client_conn_send(struct client_conn *c, struct bytes take)
{
    if (!c->tls) {
        net_conn_write(c->net, take);
        return;
    }
    tls_conn_write(c->tls, bytes_slice(take)); /* a broken session shows when reading */
    bytes_unref(&take);
    conn_flush_tls(c);
}

/* ---- end ---- */

/* Give back everything but the struct; it is freed when net reports the end, or now if net will not. */
static void conn_close(struct client_conn *c, bool goodbye)
{
    struct client_endpoint *ep = c->endpoint;
    bool connecting = c->state == CLIENT_CONNECTING;
    ASSERT(list_empty(&c->streams));
    if (c->state < CLIENT_OPEN)
        ep->n_connecting--;
    if (c->state == CLIENT_OPEN && c->version == HTTP_2)
        client_h2_stop(c, goodbye);
    if (c->tls && c->state == CLIENT_OPEN) {
        tls_conn_close_notify(c->tls);
        conn_flush_tls(c);
    }
    c->state = CLIENT_CLOSED;
    tls_conn_free(c->tls);
    c->tls = NULL;
    env_undefer(&c->task);
    env_timer_cancel(c->env, &c->handshake_timer);
    env_timer_cancel(c->env, &c->keep_alive_timer);
    env_timer_cancel(c->env, &c->idle_timer);
    list_remove(&c->link);
    ep->n_conns--;
    c->client->n_conns--;
    client_endpoint_touch(ep);
    c->client = NULL;
    c->endpoint = NULL;
    if (c->net)
        net_conn_close(c->net);
    if (connecting)
        free(c);
}

void client_conn_fail(struct client_conn *c, enum rc rc, const char *fmt, ...)
{
    struct err err = {.rc = rc};
    struct client_endpoint *ep = c->endpoint;
    bool never_open = c->state < CLIENT_OPEN;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
    va_end(ap);
    if (c->state == CLIENT_CLOSED)
        return;
    bool goodbye = c->n_streams == 0;
    LIST_FOREACH_SAFE(node, tmp, &c->streams)
    {
        struct http_stream *s = CONTAINER_OF(node, struct http_stream, link);
        if (s->response_ended)
            client_stream_done(s, RC_OK, "%s", "");
        client_stream_done(s, err.rc, "%s", err.msg);
        client_stream_release(s);
    }
    c->h1.current = NULL;
    conn_close(c, goodbye);
    if (never_open)
        client_endpoint_failed(ep, &err);
}

/* ---- timers ---- */

static void conn_arm_idle(struct client_conn *c)
{
    uint64_t after = c->client->config.idle_connection_timeout_ms;
    if (after && !env_timer_armed(&c->idle_timer))
        env_timer_arm(c->env, &c->idle_timer, after);
}

static void conn_idle_fire(struct env_timer *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, idle_timer);
    if (c->n_streams == 0)
        client_conn_fail(c, RC_CLOSED, "idle");
}

static void conn_handshake_fire(struct env_timer *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, handshake_timer);
    client_conn_fail(c, RC_TIMEOUT, "TLS: no handshake within %llu ms",
                     (unsigned long long)c->client->config.connect_timeout_ms);
}

static void conn_arm_keep_alive(struct client_conn *c)
{
    const struct http_client_config *config = &c->client->config;
    double share = (double)(env_random(c->env) >> 11) / (double)(1ull << 53);
    uint64_t interval = config->keep_alive_interval_ms;
    if (interval)
        env_timer_arm(c->env, &c->keep_alive_timer,
                      interval + (uint64_t)((double)interval * config->keep_alive_jitter * share));
}

/* Fires for the interval, and again for the time-out while a PING is unanswered. */
static void conn_keep_alive_fire(struct env_timer *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, keep_alive_timer);
    uint64_t timeout = c->client->config.keep_alive_timeout_ms;
    if (c->h2.ping_outstanding) {
        client_conn_fail(c, RC_TIMEOUT, "h2 keep-alive: no answer to PING within %llu ms",
                         (unsigned long long)timeout);
        return;
    }
    c->h2.ping_outstanding = true;
    nghttp2_submit_ping(c->h2.io.session, NGHTTP2_FLAG_NONE, NULL);
    env_timer_arm(c->env, &c->keep_alive_timer, timeout);
    client_conn_defer(c);
}

/* ---- open ---- */

static void conn_task(struct env_task *t)
{
    struct client_conn *c = CONTAINER_OF(t, struct client_conn, task);
    if (c->state != CLIENT_OPEN)
        return;
    c->client->callback_depth++;
    struct http_client *client = c->client;
    if (c->version == HTTP_2)
        client_h2_run(c);
    else
        client_h1_run(c);
    client->callback_depth--;
    if (c->state != CLIENT_OPEN)
        return;
    struct list *node;
    while ((node = list_pop_front(&c->writable))) {
        struct http_stream *s = CONTAINER_OF(node, struct http_stream, writable_link);
        client->callback_depth++;
        if (s->ops.on_writable && !s->done && !s->out.ended)
            s->ops.on_writable(s->ctx, s);
        client->callback_depth--;
    }
    if (c->version == HTTP_2 && !env_timer_armed(&c->keep_alive_timer))
        conn_arm_keep_alive(c);
    if (c->n_streams > 0)
        env_timer_cancel(c->env, &c->idle_timer);
    else if (c->retiring)
        client_conn_fail(c, RC_CLOSED, "retired");
    else
        conn_arm_idle(c);
}

static void conn_opened(struct client_conn *c, enum http_version version)
{
    env_timer_cancel(c->env, &c->handshake_timer);
    c->state = CLIENT_OPEN;
    c->version = version;
    c->endpoint->n_connecting--;
    if (version == HTTP_2) {
        client_h2_start(c);
    } else {
        c->endpoint->speaks_h1 = true;
        client_h1_start(c);
    }
    client_endpoint_touch(c->endpoint);
    client_conn_defer(c);
}

void client_conn_assign(struct client_conn *c, struct http_stream *s)
{
    ASSERT(c->state == CLIENT_OPEN && c->n_streams < c->max_streams);
    s->conn = c;
    s->assigned = true;
    list_push_back(&c->streams, &s->link);
    c->n_streams++;
    if (c->version == HTTP_2)
        client_h2_assign(c, s);
    else
        client_h1_assign(c, s);
    client_conn_defer(c);
}

/* The first answer shows whether the server took h2 (NEGOTIATE: or http/1.1). */
static void conn_handshake(struct client_conn *c)
{
    struct err err = {0};
    enum rc rc = tls_conn_handshake(c->tls, &err);
    conn_flush_tls(c);
    if (rc == RC_AGAIN)
        return;
    if (rc != RC_OK) {
        client_conn_fail(c, err.rc, "%s", err.msg);
        return;
    }
    bool h2 = slice_eq(tls_conn_alpn(c->tls), SLICE_LIT("h2"));
    if (!h2 && c->endpoint->protocol == HTTP_CLIENT_H2) {
        client_conn_fail(c, RC_UNSUPPORTED, "TLS: the server does not offer h2 (ALPN)");
        return;
    }
    conn_opened(c, h2 ? HTTP_2 : HTTP_1_1);
}

static void conn_input(struct client_conn *c, struct bytes data)
{
    struct http_client *client = c->client;
    client->callback_depth++;
    c->input = data;
    if (c->version == HTTP_2)
        client_h2_input(c, data);
    else
        client_h1_input(c, data);
    c->input = BYTES_EMPTY;
    client->callback_depth--;
}

static void conn_eof(struct client_conn *c)
{
    if (c->state == CLIENT_HANDSHAKE) {
        client_conn_fail(c, RC_CLOSED, "TLS: closed by the peer during the handshake");
        return;
    }
    c->client->callback_depth++;
    struct http_client *client = c->client;
    if (c->version == HTTP_2)
        client_h2_eof(c);
    else
        client_h1_eof(c);
    client->callback_depth--;
}

static void conn_read_tls(struct client_conn *c)
{
    struct err err = {0};
    if (c->state == CLIENT_HANDSHAKE)
        conn_handshake(c);
    while (c->state == CLIENT_OPEN) {
        struct bytes plain;
        enum rc rc = tls_conn_read(c->tls, &plain, &err);
        if (rc == RC_OK) {
            conn_input(c, plain);
            bytes_unref(&plain);
            continue;
        }
        if (rc == RC_AGAIN)
            conn_flush_tls(c);
        else if (rc == RC_EOF)
            conn_eof(c);
        else
            client_conn_fail(c, RC_CLOSED, "%s", err.msg);
        return;
    }
}

static void conn_on_read(void *ctx, struct bytes data)
{
    struct client_conn *c = ctx;
    if (c->state == CLIENT_CLOSED || data.len == 0)
        return;
    if (c->tls) {
        tls_conn_feed(c->tls, bytes_slice(data));
        conn_read_tls(c);
    } else {
        conn_input(c, data);
    }
}

static void conn_on_eof(void *ctx)
{
    struct client_conn *c = ctx;
    if (c->state != CLIENT_CLOSED)
        conn_eof(c);
}

static void conn_on_drain(void *ctx)
{
    client_conn_defer(ctx);
}

static void conn_on_closed(void *ctx, const struct err *why)
{
    struct client_conn *c = ctx;
    if (c->state != CLIENT_CLOSED)
        client_conn_fail(c, why->rc == RC_OK ? RC_CLOSED : why->rc, "connection lost: %s", why->msg);
    free(c);
}

static struct slice conn_alpn(const struct client_conn *c)
{
    switch (c->endpoint->protocol) {
    case HTTP_CLIENT_H2:
        return SLICE_LIT("\x02h2");
    case HTTP_CLIENT_NEGOTIATE:
        return SLICE_LIT("\x02h2\x08http/1.1");
    default:
        return SLICE_EMPTY;
    }
}

static void conn_start_tls(struct client_conn *c)
{
    struct http_client *client = c->client;
    struct err err = {0};
    struct tls_settings settings = {client->ca_file, client->cert_file, client->key_file,
                                    client->config.tls_skip_verify};
    if (!client->tls && tls_context_new(&settings, &client->tls, &err) != RC_OK) {
        client_conn_fail(c, err.rc, "TLS: %s", err.msg);
        return;
    }
    c->tls = tls_conn_new(client->tls, slice_cstr(c->endpoint->host), conn_alpn(c));
    if (client->config.connect_timeout_ms)
        env_timer_arm(c->env, &c->handshake_timer, client->config.connect_timeout_ms);
    conn_handshake(c);
}

static void conn_on_connected(void *ctx, struct net_conn *net, const struct err *err)
{
    static const struct net_conn_ops ops = {.on_read = conn_on_read,
                                            .on_eof = conn_on_eof,
                                            .on_drain = conn_on_drain,
                                            .on_closed = conn_on_closed};
    struct client_conn *c = ctx;
    if (err->rc != RC_OK) {
        c->net = NULL; /* net frees it */
        client_conn_fail(c, err->rc, "%s", err->msg);
        return;
    }
    c->state = CLIENT_HANDSHAKE;
    net_conn_start(net, &ops, c);
    if (c->endpoint->tls)
        conn_start_tls(c);
    else
        conn_opened(c, c->endpoint->protocol == HTTP_CLIENT_H1 ? HTTP_1_1 : HTTP_2);
}

void client_conn_open(struct client_endpoint *ep)
{
    struct client_conn *c = xcalloc(1, sizeof(*c));
    struct net_address addr = {.family = ep->is_unix ? NET_UNIX : NET_TCP, .port = ep->port};
    const struct http_proxy *proxy = ep->client->proxy;
    bool proxied = proxy && !ep->tls && !ep->is_unix && http_proxy_serves(proxy, ep->host);
    if (proxied)
        addr.port = http_proxy_port(proxy);
    snprintf(addr.host, sizeof(addr.host), "%s", proxied ? http_proxy_host(proxy) : ep->host);
    c->client = ep->client;
    c->endpoint = ep;
    c->env = ep->client->env;
    c->version = ep->protocol == HTTP_CLIENT_H1 ? HTTP_1_1 : HTTP_2;
    env_task_init(&c->task, conn_task);
    env_timer_init(&c->handshake_timer, conn_handshake_fire);
    env_timer_init(&c->keep_alive_timer, conn_keep_alive_fire);
    env_timer_init(&c->idle_timer, conn_idle_fire);
    list_init(&c->streams);
    list_init(&c->writable);
    list_push_back(&ep->conns, &c->link);
    ep->n_conns++;
    ep->n_connecting++;
    ep->client->n_conns++;
    c->net =
        net_connect(ep->client->loop, &addr, ep->client->config.connect_timeout_ms, conn_on_connected, c);
}

/* HTTP client: streams and the pool of connections per endpoint (http/client.h, spec/service-protocol.md
 * §3.3). */
#include "http/client_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "http/proxy.h"

#define POOL_AHEAD_PERCENT 70 /* of the stream slots in use: open the next connection ahead of time */

static void client_task(struct env_task *t);

void http_client_config_default(struct http_client_config *c)
{
    *c = (struct http_client_config){.connect_timeout_ms = 10000,
                                     .keep_alive_interval_ms = 40000,
                                     .keep_alive_timeout_ms = 20000,
                                     .keep_alive_jitter = 0.2,
                                     .streams_per_connection = 128,
                                     .initial_max_send_streams = 50,
                                     .idle_connection_timeout_ms = 300000,
                                     .initial_stream_window = 2u << 20,
                                     .initial_connection_window = 5u << 20,
                                     .max_frame_size = 16384,
                                     .max_connections_per_endpoint = 64,
                                     .max_queued_streams = 10000};
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config)
{
    struct http_client *c = xcalloc(1, sizeof(*c));
    h1_parser_global_init();
    c->loop = loop;
    c->env = loop_env(loop);
    c->config = *config;
    c->ca_file = copy_of(config->ca_file);
    c->cert_file = copy_of(config->cert_file);
    c->key_file = copy_of(config->key_file);
    c->config.proxy = c->config.no_proxy = NULL; /* live on in `proxy` */
    if (config->proxy)
        ASSERT_MSG(http_proxy_new(config->proxy, config->no_proxy, &c->proxy, NULL) == RC_OK,
                   "the address of the proxy is checked with the configuration");
    c->h2_callbacks = client_h2_callbacks();
    c->h2_option = client_h2_option(config);
    hmap_init(&c->endpoints);
    list_init(&c->dirty);
    list_init(&c->done);
    env_task_init(&c->task, client_task);
    return c;
}

void http_client_get_stats(const struct http_client *c, struct http_client_stats *out)
{
    *out =
        (struct http_client_stats){.connections = c->n_conns, .streams = c->n_streams, .queued = c->n_queued};
}

/* ---- endpoints ---- */

static uint64_t endpoint_hash(const struct http_uri *uri, enum http_client_protocol protocol)
{
    uint64_t h = hash64(uri->host);
    h = hash64_combine(h, uri->port);
    return hash64_combine(h, (uint64_t)protocol << 2 | (uint64_t)uri->tls << 1 | uri->is_unix);
}

static struct client_endpoint *endpoint_get(struct http_client *c, const struct http_uri *uri,
                                            enum http_client_protocol protocol)
{
    uint64_t hash = endpoint_hash(uri, protocol);
    for (struct hmap_node *n = hmap_first(&c->endpoints, hash); n; n = hmap_next_same(n)) {
        struct client_endpoint *ep = CONTAINER_OF(n, struct client_endpoint, node);
        if (ep->port == uri->port && ep->tls == uri->tls && ep->is_unix == uri->is_unix &&
            ep->protocol == protocol && slice_eq_cstr(uri->host, ep->host))
            return ep;
    }
    struct client_endpoint *ep = xcalloc(1, sizeof(*ep));
    ep->client = c;
    ep->tls = uri->tls;
    ep->is_unix = uri->is_unix;
    ep->protocol = protocol;
    ep->host = slice_dup_cstr(uri->host);
    ep->port = uri->port;
    ep->speaks_h1 = protocol == HTTP_CLIENT_H1;
    list_init(&ep->conns);
    list_init(&ep->queue);
    list_init(&ep->dirty_link);
    hmap_insert(&c->endpoints, &ep->node, hash);
    return ep;
}

static void endpoint_free(struct client_endpoint *ep)
{
    hmap_remove(&ep->client->endpoints, &ep->node);
    if (list_linked(&ep->dirty_link))
        list_remove(&ep->dirty_link);
    free(ep->host);
    free(ep);
}

void client_endpoint_touch(struct client_endpoint *ep)
{
    if (!list_linked(&ep->dirty_link))
        list_push_back(&ep->client->dirty, &ep->dirty_link);
    env_defer(ep->client->env, &ep->client->task);
}

static struct http_stream *endpoint_dequeue(struct client_endpoint *ep)
{
    struct list *node = list_pop_front(&ep->queue);
    if (!node)
        return NULL;
    ep->n_queued--;
    ep->client->n_queued--;
    return CONTAINER_OF(node, struct http_stream, link);
}

void client_endpoint_failed(struct client_endpoint *ep, const struct err *err)
{
    if (ep->n_conns > 0)
        return;
    struct http_stream *s;
    while ((s = endpoint_dequeue(ep)))
        client_stream_done(s, err->rc, "%s", err->msg);
}

/* The first connection with room, in order of age, so that the youngest become idle first. */
static struct client_conn *endpoint_pick(struct client_endpoint *ep, size_t *used, size_t *slots)
{
    struct client_conn *pick = NULL;
    *used = *slots = 0;
    LIST_FOREACH(node, &ep->conns)
    {
        struct client_conn *c = CONTAINER_OF(node, struct client_conn, link);
        if (c->state != CLIENT_OPEN || c->retiring)
            continue;
        *used += c->n_streams;
        *slots += c->max_streams;
        if (!pick && c->n_streams < c->max_streams)
            pick = c;
    }
    return pick;
}

/* Hand queued streams to connections; open as many connections as the rest needs. */
static void endpoint_pump(struct client_endpoint *ep)
{
    const struct http_client_config *config = &ep->client->config;
    size_t used, slots, per_conn = ep->speaks_h1 ? 1 : config->initial_max_send_streams;
    struct client_conn *c = endpoint_pick(ep, &used, &slots);
    while (ep->n_queued && c) {
        client_conn_assign(c, endpoint_dequeue(ep));
        if (c->n_streams >= c->max_streams)
            c = endpoint_pick(ep, &used, &slots);
    }
    while (ep->n_queued > ep->n_connecting * per_conn && ep->n_conns < config->max_connections_per_endpoint)
        client_conn_open(ep);
    endpoint_pick(ep, &used, &slots);
    if (!ep->speaks_h1 && ep->n_connecting == 0 && slots > 0 && used * 100 >= slots * POOL_AHEAD_PERCENT &&
        ep->n_conns < config->max_connections_per_endpoint)
        client_conn_open(ep);
    if (ep->n_conns == 0 && ep->n_streams == 0)
        endpoint_free(ep);
}

/* ---- streams ---- */

struct slice client_stream_authority(const struct http_stream *s)
{
    return http_head_text(&s->head, s->authority_off, s->authority_len);
}

static void stream_free(struct http_stream *s)
{
    struct client_endpoint *ep = s->endpoint;
    ASSERT(s->magic == CLIENT_STREAM_MAGIC && s->conn == NULL);
    s->magic = 0;
    s->client->n_streams--;
    ep->n_streams--;
    h2_out_free(&s->out);
    http_head_free(&s->head);
    http_head_free(&s->response);
    free(s);
    if (ep->n_streams == 0)
        client_endpoint_touch(ep);
}

void client_stream_done(struct http_stream *s, enum rc rc, const char *fmt, ...)
{
    if (s->done)
        return;
    s->done = true;
    s->err.rc = rc;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->err.msg, sizeof(s->err.msg), fmt, ap);
    va_end(ap);
    list_push_back(&s->client->done, &s->done_link);
    env_defer(s->client->env, &s->client->task);
}

void client_stream_release(struct http_stream *s)
{
    struct client_conn *c = s->conn;
    if (!c)
        return;
    s->conn = NULL;
    list_remove(&s->link);
    if (list_linked(&s->writable_link))
        list_remove(&s->writable_link);
    c->n_streams--;
    client_endpoint_touch(s->endpoint);
    client_conn_defer(c);
    if (s->user_gone)
        stream_free(s);
}

static void client_run_done(struct http_client *c)
{
    struct list *node;
    while ((node = list_pop_front(&c->done))) {
        struct http_stream *s = CONTAINER_OF(node, struct http_stream, done_link);
        c->callback_depth++;
        s->ops.on_done(s->ctx, s, &s->err);
        c->callback_depth--;
        s->user_gone = true;
        if (!s->conn)
            stream_free(s);
    }
}

static void client_task(struct env_task *t)
{
    struct http_client *c = CONTAINER_OF(t, struct http_client, task);
    struct list *node;
    while ((node = list_pop_front(&c->dirty)))
        endpoint_pump(CONTAINER_OF(node, struct client_endpoint, dirty_link));
    client_run_done(c);
}

static void stream_on_low(struct h2_out *out)
{
    struct http_stream *s = CONTAINER_OF(out, struct http_stream, out);
    if (s->conn && !list_linked(&s->writable_link))
        list_push_back(&s->conn->writable, &s->writable_link);
}

struct http_stream *http_client_open(struct http_client *c, const struct http_uri *uri,
                                     enum http_client_protocol protocol, struct slice method,
                                     struct slice path, const struct http_header *headers, size_t n,
                                     const struct http_stream_ops *ops, void *ctx)
{
    ASSERT(!c->freeing);
    if (protocol == HTTP_CLIENT_NEGOTIATE && !uri->tls)
        protocol = HTTP_CLIENT_H2;
    struct client_endpoint *ep = endpoint_get(c, uri, protocol);
    struct http_stream *s = xcalloc(1, sizeof(*s));
    s->magic = CLIENT_STREAM_MAGIC;
    s->client = c;
    s->endpoint = ep;
    s->ops = *ops;
    s->ctx = ctx;
    list_init(&s->link);
    list_init(&s->done_link);
    list_init(&s->writable_link);
    h2_out_init(&s->out, stream_on_low);
    s->method_off = http_head_append(&s->head, method.ptr, method.len);
    s->method_len = (uint32_t)method.len;
    s->path_off = http_head_append(&s->head, path.ptr, path.len);
    s->path_len = (uint32_t)path.len;
    s->authority_off = http_head_append(&s->head, uri->authority.ptr, uri->authority.len);
    s->authority_len = (uint32_t)uri->authority.len;
    for (size_t i = 0; i < n; i++) {
        if (http_header_is_sane(&headers[i]) && !http_header_is_hop_by_hop(headers[i].name))
            http_head_add(&s->head, headers[i].name, headers[i].value);
    }
    http_head_resolve(&s->head);
    c->n_streams++;
    ep->n_streams++;
    if (ep->n_queued >= c->config.max_queued_streams) {
        client_stream_done(s, RC_OVERLOADED, "%u streams already wait for a connection to this endpoint",
                           c->config.max_queued_streams);
        return s;
    }
    list_push_back(&ep->queue, &s->link);
    ep->n_queued++;
    c->n_queued++;
    client_endpoint_touch(ep);
    return s;
}

static void stream_more(struct http_stream *s)
{
    if (!s->conn)
        return;
    if (s->conn->version == HTTP_2)
        client_h2_more(s);
    client_conn_defer(s->conn);
}

size_t http_stream_write(struct http_stream *s, struct bytes take)
{
    ASSERT(s->magic == CLIENT_STREAM_MAGIC && !s->out.ended);
    if (s->done) {
        bytes_unref(&take);
        return 0;
    }
    out_queue_push(&s->out.queue, take);
    if (s->out.queue.total > NET_HIGH_WATER)
        s->out.above_water = true;
    stream_more(s);
    return s->out.queue.total;
}

void http_stream_end(struct http_stream *s)
{
    ASSERT(s->magic == CLIENT_STREAM_MAGIC);
    if (s->out.ended)
        return;
    s->out.ended = true;
    if (!s->done)
        stream_more(s);
}

void http_stream_consumed(struct http_stream *s, size_t n)
{
    ASSERT(s->magic == CLIENT_STREAM_MAGIC && n <= s->unconsumed);
    s->unconsumed -= n;
    if (!s->conn)
        return;
    if (s->conn->version == HTTP_2)
        client_h2_consumed(s, n);
    else
        client_h1_consumed(s->conn, s);
}

bool http_stream_was_sent(const struct http_stream *s)
{
    return s->assigned && s->err.rc != RC_UNAVAILABLE; /* that is: certainly not processed */
}

void http_stream_reset(struct http_stream *s)
{
    ASSERT(s->magic == CLIENT_STREAM_MAGIC);
    if (s->done)
        return;
    s->aborted = s->out.aborted = true;
    client_stream_done(s, RC_CANCELED, "reset by the caller");
    if (!s->conn) {
        if (list_linked(&s->link)) {
            list_remove(&s->link);
            s->endpoint->n_queued--;
            s->client->n_queued--;
        }
        return;
    }
    if (s->conn->version == HTTP_2)
        client_h2_reset(s);
    client_conn_defer(s->conn);
}

/* ---- end ---- */

void http_client_free(struct http_client *c)
{
    ASSERT_MSG(c->callback_depth == 0, "http_client_free from inside a callback of the client");
    c->freeing = true;
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&c->endpoints, &it); n; n = hmap_step(&c->endpoints, &it)) {
        struct client_endpoint *ep = CONTAINER_OF(n, struct client_endpoint, node);
        struct http_stream *s;
        while ((s = endpoint_dequeue(ep)))
            client_stream_done(s, RC_CANCELED, "the client was closed");
        LIST_FOREACH_SAFE(node, tmp, &ep->conns)
        client_conn_fail(CONTAINER_OF(node, struct client_conn, link), RC_CANCELED, "the client was closed");
    }
    client_run_done(c);
    env_undefer(&c->task);
    for (struct hmap_node *n = hmap_begin(&c->endpoints, &it); n; n = hmap_step(&c->endpoints, &it))
        endpoint_free(CONTAINER_OF(n, struct client_endpoint, node));
    hmap_free(&c->endpoints);
    tls_context_free(c->tls);
    nghttp2_session_callbacks_del(c->h2_callbacks);
    nghttp2_option_del(c->h2_option);
    VEC_FREE(&c->nv);
    http_proxy_free(c->proxy);
    free(c->ca_file);
    free(c->cert_file);
    free(c->key_file);
    free(c);
}

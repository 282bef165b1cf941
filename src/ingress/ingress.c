/* The ingress of one loop: creation, connections, draining (ingress/ingress.h). */
#include "ingress/ingress.h"

#include <stdlib.h>

#include "ingress/internal.h"

#define DEFAULT_REQUEST_SIZE_LIMIT (32u << 20)

struct ingress_shared *ingress_shared_new(const struct ingress_config *config)
{
    struct ingress_shared *s = xcalloc(1, sizeof(*s));
    s->config = *config;
    if (s->config.request_size_limit == 0)
        s->config.request_size_limit = DEFAULT_REQUEST_SIZE_LIMIT;
    s->version = xstrdup(config->version ? config->version : "");
    s->config.version = s->version;
    shared_metrics_register(s);
    return s;
}

void ingress_shared_free(struct ingress_shared *s)
{
    free(s->version);
    free(s);
}

uint64_t ingress_shared_in_progress(const struct ingress_shared *s)
{
    return atomic_load_explicit(&s->in_progress, memory_order_relaxed);
}

static void on_connection_opened(void *ctx)
{
    struct ingress *in = ctx;
    metric_inc(in->shared->connections_created);
}

static void on_connection_closed(void *ctx, bool clean)
{
    struct ingress *in = ctx;
    metric_inc(clean ? in->shared->connections_ok : in->shared->connections_failed);
}

struct ingress *ingress_new(struct ingress_shared *shared, struct loop *loop, struct partition_router *router,
                            const struct schema_cell *schema)
{
    static const struct http_server_ops ops = {
        .on_request = request_on_head,
        .on_connection_opened = on_connection_opened,
        .on_connection_closed = on_connection_closed,
    };
    struct http_server_config config;
    http_server_config_default(&config);
    if (shared->config.http2_max_concurrent_streams)
        config.max_concurrent_streams = shared->config.http2_max_concurrent_streams;
    struct ingress *in = xcalloc(1, sizeof(*in));
    in->shared = shared;
    in->loop = loop;
    in->env = loop_env(loop);
    in->router = router;
    in->schema = schema;
    hmap_init(&in->services);
    in->server = http_server_new(loop, &config, &ops, in);
    return in;
}

void ingress_accept(struct ingress *in, struct net_conn *conn)
{
    http_server_accept(in->server, conn);
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    ingress_accept(ctx, conn);
}

const struct net_listener_ops ingress_listener_ops = {.on_accept = on_accept};

void ingress_drain(struct ingress *in, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    http_server_drain(in->server, timeout_ms, done, ctx);
}

static void ingress_destroy(struct ingress *in)
{
    service_metrics_free_all(in);
    free(in);
}

void ingress_free(struct ingress *in)
{
    ASSERT(!in->freed);
    in->requests++; /* hold it while connections end and release their requests */
    http_server_free(in->server);
    in->server = NULL;
    in->freed = true;
    if (--in->requests == 0)
        ingress_destroy(in);
}

void request_release(struct ingress_request *q)
{
    struct ingress *in = q->in;
    ASSERT(!q->in_flight && !env_timer_armed(&q->retry));
    if (q->http) {
        http_request_set_user(q->http, NULL);
        return_permit(in->shared);
    }
    request_head_free(q);
    bytes_unref(&q->record);
    bytes_unref(&q->rpc.record);
    free(q->handler_path);
    free(q);
    ASSERT(in->requests > 0);
    if (--in->requests == 0 && in->freed)
        ingress_destroy(in);
}

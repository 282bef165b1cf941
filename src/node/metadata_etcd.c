/* Metadata in etcd: the gRPC calls of metadata/etcd_client.h. */
#include <stdlib.h>

#include "http/grpc_client.h"
#include "metadata/etcd_client.h"
#include "node/metadata_store_internal.h"

/* The largest answer: a page of a list, whose values etcd bounds to 1.5 MiB each unless it is told otherwise.
 */
#define MESSAGE_MAX ((size_t)128 << 20)

struct etcd_store {
    struct metadata_store base;
    struct loop *loop;
    struct http_uri endpoints[ETCD_ENDPOINTS_MAX]; /* slices of the configuration's texts */
    struct http_client *http;                      /* NULL: stopped */
    struct etcd_client *core;
    struct env_task stopped_task;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

struct etcd_request {
    struct etcd_store *store;
    struct etcd_call *call;
    struct bytes body;
};

static void on_message(void *ctx, struct bytes message)
{
    struct etcd_request *r = ctx;
    bytes_unref(&r->body); /* a unary call has one; of more the last counts */
    r->body = bytes_ref(message);
}

static void on_done(void *ctx, const struct grpc_status *status)
{
    struct etcd_request *r = ctx;
    struct etcd_reply reply = {.transport = status->transport,
                               .unsent = status->unsent,
                               .code = status->code,
                               .message = status->message,
                               .body = r->body};
    etcd_client_answered(r->store->core, r->call, &reply);
    bytes_unref(&r->body);
    free(r);
}

static void send_call(void *ctx, struct etcd_call *call, struct bytes message_take)
{
    static const struct grpc_client_ops ops = {on_message, on_done};
    struct etcd_store *s = ctx;
    struct etcd_request *r = xcalloc(1, sizeof(*r));
    r->store = s;
    r->call = call;
    grpc_client_call_with(s->loop, s->http, &s->endpoints[call->endpoint], call->path, NULL, 0, message_take,
                          call->timeout_ms, MESSAGE_MAX, &ops, r);
}

static const struct etcd_client_ops core_ops = {.send = send_call};

static void run_stopped(struct env_task *t)
{
    struct etcd_store *s = CONTAINER_OF(t, struct etcd_store, stopped_task);
    s->stopped(s->stopped_ctx);
}

/* Calls in progress are answered in here. */
static void disconnect(struct etcd_store *s)
{
    struct http_client *http = s->http;
    s->http = NULL;
    etcd_client_stop(s->core);
    if (http)
        http_client_free(http);
}

static void etcd_stop(struct metadata_store *base, void (*done)(void *ctx), void *ctx)
{
    struct etcd_store *s = CONTAINER_OF(base, struct etcd_store, base);
    s->stopped = done;
    s->stopped_ctx = ctx;
    disconnect(s);
    env_defer(loop_env(s->loop), &s->stopped_task);
}

static void etcd_abandon(struct metadata_store *base)
{
    disconnect(CONTAINER_OF(base, struct etcd_store, base));
}

static void etcd_free(struct metadata_store *base)
{
    struct etcd_store *s = CONTAINER_OF(base, struct etcd_store, base);
    env_undefer(&s->stopped_task);
    free(s);
}

enum rc metadata_etcd_open(struct loop *loop, const struct metadata_client_config *config,
                           struct metadata_store **out, struct err *err)
{
    static const struct metadata_store_ops ops = {etcd_stop, etcd_abandon, etcd_free};
    struct etcd_store *s = xcalloc(1, sizeof(*s));
    size_t n = MIN(config->n_addresses, ETCD_ENDPOINTS_MAX);
    for (size_t i = 0; i < n; i++) {
        enum rc rc = http_uri_parse(slice_cstr(config->addresses[i]), &s->endpoints[i], err);
        if (rc != RC_OK) {
            free(s);
            return rc;
        }
    }
    struct http_client_config http;
    http_client_config_default(&http);
    http.connect_timeout_ms = config->connect_timeout_ms;
    http.keep_alive_interval_ms = config->keep_alive_interval_ms;
    http.keep_alive_timeout_ms = config->keep_alive_timeout_ms;
    http.max_connections_per_endpoint = 2;
    struct etcd_client_options options;
    etcd_client_options_default(&options);
    s->base.ops = &ops;
    s->loop = loop;
    s->http = http_client_new(loop, &http);
    env_task_init(&s->stopped_task, run_stopped);
    s->core = etcd_client_new(loop_env(loop), &options, n, &core_ops, s);
    s->base.kv = etcd_client_kv(s->core);
    *out = &s->base;
    return RC_OK;
}

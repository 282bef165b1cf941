/* Implementation of node/fabric.h. */
#include "node/fabric.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/metrics.h"
#include "base/time.h"

struct fabric {
    struct http_server *server;
    struct peer_acceptor *acceptor; /* NULL: no links */
    bool prometheus;
    const struct fabric_ops *ops;
    void *ctx;
};

static void respond_text(struct http_request *r, int status, const char *type, struct bytes body)
{
    struct http_header h = {SLICE_LIT("content-type"), slice_cstr(type)};
    http_respond(r, status, &h, 1, body);
}

static void write_addresses(struct writer *w, const struct health_report *h)
{
    write_fmt(w, ",\"bound_addresses\":[");
    bool first = true;
    for (size_t i = 0; i < 3; i++) {
        const struct service *s = h->services[i];
        for (size_t j = 0; s && j < s->n_listeners; j++) {
            const struct net_address *a = &s->bound[j];
            write_fmt(w, "%s{\"name\":\"%s\",\"address\":\"", first ? "" : ",", s->name);
            if (a->family == NET_UNIX)
                write_fmt(w, "%s\",\"kind\":\"unix\"}", a->host);
            else
                write_fmt(w,
                          strchr(a->host, ':') ? "[%s]:%u\",\"kind\":\"tcp\"}" : "%s:%u\",\"kind\":\"tcp\"}",
                          a->host, a->port);
            first = false;
        }
    }
    write_fmt(w, "],\"advertised_addresses\":[");
    first = true;
    for (size_t i = 0; i < 3; i++) {
        const struct service *s = h->services[i];
        if (!s)
            continue;
        write_fmt(w, "%s{\"name\":\"%s\",\"address\":", first ? "" : ",", s->name);
        write_json_string(w, slice_cstr(s->advertised));
        write_fmt(w, ",\"kind\":\"%s\"}", strncmp(s->advertised, "unix:", 5) == 0 ? "unix" : "http");
        first = false;
    }
    write_u8(w, ']');
}

static const char *role_status(unsigned roles, unsigned role, bool ready)
{
    return !(roles & role) ? "Unknown" : ready ? "Ready" : "StartingUp";
}

static void respond_health(struct fabric *f, struct http_request *r)
{
    static const char *const states[] = {"StartingUp", "Alive", "ShuttingDown"};
    static const char *const metadata_states[] = {"Unknown", "StartingUp", "AwaitingProvisioning", "Member",
                                                  "Standby"};
    struct health_report h = {0};
    f->ops->health(f->ctx, &h);
    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"status\":\"%s\",\"node_id\":", states[h.state]);
    if (h.node_id)
        write_fmt(&w, "\"N%u:%u\"", h.node_id, h.node_generation);
    else
        write_fmt(&w, "null");
    write_fmt(&w, ",\"cluster_name\":");
    write_json_string(&w, slice_cstr(h.cluster_name));
    char roles[128];
    node_roles_format(h.roles, "\",\"", roles, sizeof(roles));
    write_fmt(&w, ",\"roles\":[%s%s%s],\"age\":\"", roles[0] ? "\"" : "", roles, roles[0] ? "\"" : "");
    duration_format(&w, h.age_ns);
    write_fmt(&w,
              "\",\"admin_status\":\"%s\",\"worker_status\":\"%s\",\"log_server_status\":\"%s\",\"metadata_"
              "server_status\":\"%s\"",
              role_status(h.roles, ROLE_ADMIN, h.admin_ready),
              role_status(h.roles, ROLE_WORKER, h.worker_ready),
              h.log_server_failsafe ? "Failsafe" : role_status(h.roles, ROLE_LOG_SERVER, h.log_server_ready),
              metadata_states[h.metadata_status]);
    write_fmt(&w,
              ",\"nodes_config_version\":%u,\"logs_version\":%u,\"schema_version\":%u,\"partition_table_"
              "version\":%u",
              h.nodes_config_version, h.logs_version, h.schema_version, h.partition_table_version);
    write_addresses(&w, &h);
    write_u8(&w, '}');
    respond_text(r, 200, "application/json", writer_take(&w));
}

static void respond_metrics(struct fabric *f, struct http_request *r)
{
    struct writer w = WRITER_INIT;
    if (f->prometheus)
        metrics_render(&w, f->ops->metric_labels(f->ctx));
    respond_text(r, 200, "text/plain; charset=utf-8", writer_take(&w));
}

/* `/<package.Service>/<Method>` */
static bool serve_grpc(struct fabric *f, struct http_request *r, struct slice path)
{
    ptrdiff_t slash = path.len > 1 ? slice_find(path, '/', 1) : -1;
    if (slash < 0 || !slice_eq_cstr(http_request_method(r), "POST"))
        return false;
    size_t at = (size_t)slash;
    return f->ops->grpc(f->ctx, r, slice_sub(path, 1, at - 1), slice_sub(path, at + 1, path.len - at - 1));
}

static void respond_lost(struct http_request *r)
{
    respond_text(r, 404, "text/plain",
                 bytes_static(SLICE_LIT("Are you lost? Maybe visit https://restate.dev instead!")));
}

static void on_request(void *ctx, struct http_request *r)
{
    struct fabric *f = ctx;
    struct slice target = http_request_target(r);
    ptrdiff_t query = slice_find(target, '?', 0);
    if (query >= 0)
        target.len = (size_t)query;
    bool get = slice_eq_cstr(http_request_method(r), "GET");
    if (get && slice_eq_cstr(target, "/health"))
        respond_health(f, r);
    else if (get && slice_eq_cstr(target, "/metrics"))
        respond_metrics(f, r);
    else if (slice_eq_cstr(target, "/health") || slice_eq_cstr(target, "/metrics"))
        http_respond(r, 405, NULL, 0, BYTES_EMPTY);
    else if (!serve_grpc(f, r, target))
        respond_lost(r);
}

static void accept_http(void *ctx, struct net_conn *conn)
{
    struct fabric *f = ctx;
    http_server_accept(f->server, conn);
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    struct fabric *f = ctx;
    if (f->acceptor)
        peer_acceptor_accept(f->acceptor, conn);
    else
        accept_http(f, conn);
}

struct peer_acceptor *fabric_accept_links(struct fabric *f, struct peers *p)
{
    ASSERT(!f->acceptor);
    f->acceptor = peer_acceptor_new(p, accept_http, f);
    return f->acceptor;
}

void fabric_close_links(struct fabric *f)
{
    if (f->acceptor)
        peer_acceptor_free(f->acceptor);
    f->acceptor = NULL;
}

static const struct net_listener_ops listener_ops = {.on_accept = on_accept};
static const struct http_server_ops server_ops = {.on_request = on_request};

const struct net_listener_ops *fabric_listener_ops(void)
{
    return &listener_ops;
}

struct fabric *fabric_new(struct loop *loop, bool prometheus, const struct fabric_ops *ops, void *ctx)
{
    struct fabric *f = xcalloc(1, sizeof(*f));
    f->prometheus = prometheus;
    f->ops = ops;
    f->ctx = ctx;
    struct http_server_config config;
    http_server_config_default(&config);
    f->server = http_server_new(loop, &config, &server_ops, f);
    return f;
}

void fabric_drain(struct fabric *f, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    http_server_drain(f->server, timeout_ms, done, ctx);
}

void fabric_free(struct fabric *f)
{
    fabric_close_links(f);
    http_server_free(f->server);
    free(f);
}

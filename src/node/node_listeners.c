/* The node's listeners: admin API, node port, and the ingress of its shards. */
#include <stdio.h>

#include "node/grpc_server.h"
#include "node/node_internal.h"

void node_log_listening(const struct service *s, const char *target, const char *message)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct net_address *a = &s->bound[i];
        char port[8];
        snprintf(port, sizeof(port), "%u", a->port);
        if (a->family == NET_UNIX)
            LOG(LOG_INFO, target, LOG_FIELDS({"server_name", s->name}, {"uds.path", a->host}), "%s", message);
        else
            LOG(LOG_INFO, target,
                LOG_FIELDS({"server_name", s->name}, {"server.address", a->host}, {"server.port", port}),
                "%s", message);
    }
}

static void admin_accepted(void *ctx, struct net_conn *conn)
{
    struct node *n = ctx;
    http_server_accept(n->admin_server, conn);
}

static const struct net_listener_ops admin_listener_ops = {.on_accept = admin_accepted};

enum rc node_bind_admin(struct node *n, struct err *err)
{
    n->admin_service = (struct service){.name = "admin-api-server", .socket_name = "admin.sock"};
    return service_bind(&n->admin_service, n->loop, &n->config->admin, n->dir.path, false,
                        &admin_listener_ops, n, err);
}

/* The shards that will accept do not exist before the node has joined; connections wait until then. */
enum rc node_bind_ingress(struct node *n, struct err *err)
{
    n->ingress_service = (struct service){.name = "http-ingress-server", .socket_name = "ingress.sock"};
    return service_bind(&n->ingress_service, n->loop, &n->config->ingress, n->dir.path, n->config->shards > 1,
                        &ingress_listener_ops, NULL, err);
}

/* The first shard takes over what is bound, the others join its port. */
enum rc node_spread_ingress(struct node *n, struct err *err)
{
    struct listener_config config = n->config->ingress;
    enum rc rc = service_move(&n->ingress_service, shard_loop(n->shards[0]), &ingress_listener_ops,
                              shard_ingress(n->shards[0]), err);
    n->ingress_listeners[0] = n->ingress_service;
    for (size_t l = 0; l < n->ingress_service.n_listeners; l++) {
        if (n->ingress_service.bound[l].family == NET_TCP)
            config.bind_port = n->ingress_service.bound[l].port; /* maybe a random one */
    }
    for (uint32_t i = 1; i < n->n_shards && rc == RC_OK && config.mode != LISTEN_UNIX; i++) {
        struct service *s = &n->ingress_listeners[i];
        s->name = n->ingress_service.name;
        rc = service_bind(s, shard_loop(n->shards[i]), &config, n->dir.path, true, &ingress_listener_ops,
                          shard_ingress(n->shards[i]), err);
    }
    return rc;
}

static void fabric_health(void *ctx, struct health_report *out)
{
    node_health(ctx, out);
}

static bool fabric_grpc(void *ctx, struct http_request *r, struct slice service, struct slice method)
{
    return grpc_server_serve(ctx, r, service, method);
}

static const char *fabric_metric_labels(void *ctx)
{
    struct node *n = ctx;
    return n->metric_labels;
}

static const struct fabric_ops fabric_callbacks = {
    .health = fabric_health, .metric_labels = fabric_metric_labels, .grpc = fabric_grpc};

enum rc node_bind_fabric(struct node *n, struct err *err)
{
    snprintf(n->metric_labels, sizeof(n->metric_labels), "cluster_name=\"%s\",node_name=\"%s\"",
             n->config->cluster_name, n->config->node_name);
    n->fabric = fabric_new(n->loop, !n->config->disable_prometheus, &fabric_callbacks, n);
    n->fabric_service = (struct service){.name = "message-fabric-server", .socket_name = "fabric.sock"};
    enum rc rc = service_bind(&n->fabric_service, n->loop, &n->config->fabric, n->dir.path, false,
                              fabric_listener_ops(), n->fabric, err);
    if (rc == RC_OK)
        rc = service_start(&n->fabric_service, err);
    if (rc == RC_OK)
        node_log_listening(&n->fabric_service, "restate_core::network::net_util", "Server listening");
    return rc;
}

/* The admin API on the main loop: what admin/ needs from the rest of the node - discovery by the invoker,
 * addresses, identity. */
#include <stdlib.h>

#include "node/node_internal.h"
#include "node/version.h"

struct discovery_call {
    void (*done)(void *ctx, const struct admin_discovery_result *result);
    void *ctx;
};

static void discovered(void *ctx, const struct discovery_result *r)
{
    struct discovery_call *c = ctx;
    struct admin_discovery_result out = {
        .rc = r->rc,
        .restate_code = r->restate_code,
        .message = r->message,
        .http_status = r->http_status,
        .http_1_1 = r->http_1_1,
        .sdk_version = r->sdk_version,
        .manifest = bytes_slice(r->manifest),
    };
    c->done(c->ctx, &out);
    free(c);
}

static void discover(void *ctx, const struct admin_discovery_request *request,
                     void (*done)(void *done_ctx, const struct admin_discovery_result *result),
                     void *done_ctx)
{
    struct node *n = ctx;
    struct discovery_call *c = xcalloc(1, sizeof(*c));
    c->done = done;
    c->ctx = done_ctx;
    struct discovery_request r = {
        .uri = request->uri ? request->uri : request->arn,
        .use_http_11 = request->use_http_11,
        .headers = request->headers,
        .n_headers = request->n_headers,
    };
    invoker_discover(n->invoker, &r, discovered, c);
}

static size_t metadata_members(void *ctx, uint32_t *out, size_t cap)
{
    return node_metadata_members(ctx, out, cap);
}

enum rc node_admin_new(struct node *n, struct err *err)
{
    struct http_client_config client;
    shard_client_config(n->config, &client);
    n->client = http_client_new(n->loop, &client);
    struct invoker_config invoker;
    shard_invoker_config(&n->shared, n->config, &invoker);
    enum rc rc = invoker_new(n->loop, n->env, n->client, &invoker, &n->schema_cell, &n->invoker, err);
    if (rc != RC_OK)
        return rc;
    struct admin_deps deps = {
        .env = n->env,
        .router = n->router,
        .schema = n->schemas,
        .defaults = &n->schema_cell.defaults,
        .discovery = {discover, n},
        .info = {.version = RESTATE_VERSION,
                 .ingress_endpoint = n->ingress_service.advertised,
                 .cluster_name = n->config->cluster_name,
                 .metadata_members = metadata_members,
                 .metadata_ctx = n,
                 .enable_protocol_v7 = n->config->invoker.enable_v7},
        .config = {.concurrent_requests_limit = n->config->admin_options.concurrent_requests_limit,
                   .routing_headers = n->config->admin_options.routing_headers,
                   .n_routing_headers = n->config->admin_options.n_routing_headers},
    };
    n->admin = admin_new(&deps);
    struct http_server_config server;
    http_server_config_default(&server);
    n->admin_server = http_server_new(n->loop, &server, &admin_http_server_ops, n->admin);
    return RC_OK;
}

void node_admin_free(struct node *n)
{
    if (n->admin_server)
        http_server_free(n->admin_server);
    if (n->admin)
        admin_free(n->admin);
    if (n->invoker)
        invoker_free(n->invoker);
    if (n->client)
        http_client_free(n->client);
}

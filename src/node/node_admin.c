/* The admin API on the main loop: what admin/ needs from the rest of the node - discovery and previews by the
 * invoker, addresses, identity. */
#include <stdlib.h>
#include <unistd.h>

#include "node/node_internal.h"
#include "node/query_remote.h"
#include "node/query_source.h"
#include "node/version.h"

#define QUERIES_WAITING_MAX  64u
#define QUERY_TIME_LIMIT_MS  (10u * 60 * 1000)
#define QUERY_STALL_LIMIT_MS (60u * 1000)
#define QUERY_WINDOW_BYTES   (1u << 20)

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
        .uri = request->uri,
        .arn = request->arn,
        .assume_role_arn = request->assume_role_arn,
        .use_http_11 = request->use_http_11,
        .headers = request->headers,
        .n_headers = request->n_headers,
    };
    invoker_discover(n->invoker, &r, discovered, c);
}

static void *preview_start(void *ctx, const struct admin_preview_request *request)
{
    struct node *n = ctx;
    struct preview_request r = {
        .deployment = request->deployment,
        .service = request->service,
        .serde = request->serde,
        .encode = request->encode,
        .body = request->body,
        .on_data = request->on_data,
        .on_done = request->on_done,
        .ctx = request->ctx,
    };
    return invoker_preview(n->invoker, &r);
}

static void preview_taken(void *preview, size_t n)
{
    preview_consumed(preview, n);
}

static void preview_left(void *preview)
{
    preview_cancel(preview);
}

static size_t metadata_members(void *ctx, uint32_t *out, size_t cap)
{
    return node_metadata_members(ctx, out, cap);
}

/* Queries and scans for others get threads of their own; a few more wait. */
void node_queries_start(struct node *n)
{
    const struct node_config *c = n->config;
    unsigned cores = c->admin_options.query_parallelism;
    struct query_engine_config config = {
        .threads = MIN(MAX(cores ? cores : (unsigned)sysconf(_SC_NPROCESSORS_ONLN), 4u), 32u),
        .waiting = QUERIES_WAITING_MAX,
        .time_limit_ms = QUERY_TIME_LIMIT_MS,
        .stall_limit_ms = QUERY_STALL_LIMIT_MS,
        .window_bytes = QUERY_WINDOW_BYTES,
    };
    n->query_source =
        (struct query_source){.ops = &node_query_source_ops, .ctx = n, .scopes = n->config->invoker.scopes};
    query_set_limits(c->admin_options.query_memory_bytes, c->admin_options.query_tmp_dir);
    if (c->roles & ROLE_WORKER) {
        n->scan_engine = query_engine_new(n->loop, &n->query_source, &config);
        n->scans = query_scans_new(n);
    }
    config.rate_per_second = c->admin_options.query_rate_per_second;
    config.rate_burst = c->admin_options.query_rate_burst;
    if (c->roles & ROLE_ADMIN)
        n->queries = query_engine_new(n->loop, &n->query_source, &config);
}

static void scans_stopped(void *ctx)
{
    struct node *n = ctx;
    n->queries_stopped(n);
}

static void queries_stopped(void *ctx)
{
    struct node *n = ctx;
    if (n->scans)
        query_scans_free(n->scans);
    n->scans = NULL;
    if (n->scan_engine)
        query_engine_stop(n->scan_engine, scans_stopped, n);
    else
        scans_stopped(n);
}

void node_queries_stop(struct node *n, void (*done)(struct node *n))
{
    n->queries_stopped = done;
    if (n->pgwire)
        pg_server_free(n->pgwire);
    n->pgwire = NULL;
    if (n->queries)
        query_engine_stop(n->queries, queries_stopped, n);
    else
        queries_stopped(n);
}

/* The PostgreSQL endpoint, if an address is given for it. */
static enum rc start_pgwire(struct node *n, struct err *err)
{
    const char *address = n->config->pgsql_bind_address;
    if (!address[0])
        return RC_OK;
    enum rc rc = pg_server_new(n->loop, n->queries, address, &n->pgwire, err);
    if (rc != RC_OK) {
        err_prefix(err, "Cannot open the PostgreSQL endpoint (admin.query-engine.pgsql-bind-address)");
        return rc;
    }
    struct net_address bound;
    pg_server_address(n->pgwire, &bound);
    LOG0(LOG_INFO, "restate_admin::service", "PostgreSQL endpoint listening on %s:%u (no authentication)",
         bound.host, bound.port);
    return RC_OK;
}

static enum rc load_ui(struct node *n, struct err *err)
{
    if (n->config->admin_options.disable_web_ui)
        return RC_OK;
    if (n->config->admin_options.web_ui_dir)
        return admin_ui_load(n->config->admin_options.web_ui_dir, &n->ui, err);
    n->ui = admin_ui_own();
    return RC_OK;
}

enum rc node_admin_new(struct node *n, struct err *err)
{
    enum rc pgwire_rc = start_pgwire(n, err);
    if (pgwire_rc != RC_OK)
        return pgwire_rc;
    struct http_client_config client;
    shard_client_config(n->config, &client);
    n->client = http_client_new(n->loop, &client);
    struct invoker_config invoker;
    shard_invoker_config(&n->shared, n->config, &invoker);
    enum rc rc = invoker_new(n->loop, n->env, n->client, &invoker, &n->schema_cell, &n->invoker, err);
    if (rc != RC_OK)
        return rc;
    if (load_ui(n, err) != RC_OK)
        return err->rc;
    struct admin_deps deps = {
        .env = n->env,
        .router = n->router,
        .schema = n->schemas,
        .rules = n->rules,
        .defaults = &n->schema_cell.defaults,
        .discovery = {discover, n},
        .previews = {preview_start, preview_taken, preview_left, n},
        .ui = n->ui,
        .fixed_clusters = &n->config->ingress_options.kafka_clusters,
        .queries = n->queries,
        .info = {.version = RESTATE_VERSION,
                 .ingress_endpoint = n->ingress_service.advertised,
                 .cluster_name = n->config->cluster_name,
                 .metadata_members = metadata_members,
                 .metadata_ctx = n,
                 .enable_protocol_v7 = n->config->invoker.enable_v7,
                 .enable_kafka_scope = n->config->ingress_options.kafka_scope},
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
    if (n->ui)
        admin_ui_free(n->ui);
    if (n->queries)
        query_engine_free(n->queries);
    if (n->scan_engine)
        query_engine_free(n->scan_engine);
    if (n->invoker)
        invoker_free(n->invoker);
    if (n->client)
        http_client_free(n->client);
}

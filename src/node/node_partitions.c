/* From joining to Alive: the stores are opened, partitions start, services follow (spec/cluster.md §1.7,
 * §5.12). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "invoker/identity.h"
#include "loop/read_file.h"
#include "node/node_internal.h"
#include "node/node_metrics.h"
#include "node/tracing.h"
#include "node/version.h"

#define TARGET           "restate_node"
#define LEADERS_WAIT_MS  1000u
#define IDENTITY_KEY_MAX 8191u

static void print_addresses(const struct node *n)
{
    if (n->config->roles & ROLE_ADMIN)
        printf("Admin: %s\n", n->admin_service.advertised);
    if (n->config->roles & ROLE_HTTP_INGRESS)
        printf("HTTP Ingress: %s\n", n->ingress_service.advertised);
    printf("Message Fabric: %s\n\n", n->fabric_service.advertised);
    fflush(stdout);
}

/* Other nodes place nothing on this one before its states are written: that is repeated until it works. The
 * pauses differ, so that nodes that start at once do not meet each time. */
static void write_states_later(struct node *n, const struct err *why)
{
    uint64_t now = env_mono_ms(n->env);
    if (!n->states_told_ms || now - n->states_told_ms >= NODE_TELL_MS) {
        n->states_told_ms = MAX(now, 1);
        LOG0(LOG_INFO, TARGET,
             "The states of this node's roles cannot be registered yet, which is repeated: %s", why->msg);
    }
    env_timer_arm(n->env, &n->states_timer, NODE_RETRY_MS + env_random(n->env) % NODE_RETRY_MS);
}

static void activated(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (n->stopping || !err)
        return;
    if (err->rc == RC_AGAIN)
        write_states_later(n, err);
    else
        LOG0(LOG_ERROR, TARGET, "Cannot register the states of this node's roles: %s", err->msg);
}

static void become_alive(struct node *n)
{
    if (n->shards_ready < n->n_shards || !n->schemas_loaded || n->state != NODE_STARTING_UP || n->stopping)
        return;
    /* Requests that come before a partition has a leader are tried again after a pause: better wait for it,
     * but not for long, since it may need nodes that are not there. */
    if (!n->leaders_waited && !cluster_all_led(n->cluster)) {
        if (!env_timer_armed(&n->leaders_timer))
            env_timer_arm(n->env, &n->leaders_timer, LEADERS_WAIT_MS);
        return;
    }
    struct err err = {0};
    node_queries_start(n);
    if (n->config->roles & ROLE_ADMIN) {
        if (node_admin_new(n, &err) != RC_OK || service_start(&n->admin_service, &err) != RC_OK) {
            node_fail(n, &err);
            return;
        }
        node_log_listening(&n->admin_service, "restate_core::network::net_util", "Server listening");
        LOG0(LOG_INFO, "restate_admin::service", "Admin API starting on: %s", n->admin_service.advertised);
    }
    /* Last: connections wait at its port, and what may end the start must come before the first answer. */
    if (n->config->roles & ROLE_HTTP_INGRESS) {
        for (uint32_t i = 0; i < n->n_shards; i++)
            shard_serve_ingress(n->shards[i], n->ingress_listeners[i].listeners,
                                n->ingress_listeners[i].n_listeners);
        node_log_listening(&n->ingress_service, "restate_ingress_http::server", "Ingress HTTP listening");
    }
    n->state = NODE_ALIVE;
    if (isatty(STDOUT_FILENO))
        print_addresses(n);
    char roles[128];
    node_roles_format(n->config->roles, " | ", roles, sizeof(roles));
    LOG0(LOG_INFO, TARGET, "Restate node roles [%s] were started", roles);
}

static void leaders_waited(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, leaders_timer);
    n->leaders_waited = true;
    become_alive(n);
}

void node_leaders_changed(struct node *n)
{
    become_alive(n);
}

void node_liveness_changed(struct node *n)
{
    struct membership *m = cluster_membership(n->cluster);
    uint32_t alive = 0;
    for (size_t i = 0; m && i < membership_node_count(m); i++) {
        struct membership_node node;
        membership_node_at(m, i, &node);
        alive += node.self || node.verdict != MEMBERSHIP_DEAD;
    }
    atomic_store(&n->cut_off, m && alive < n->view.logs.replication.copies[0]);
}

static void shard_ready(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (err) {
        node_fail(n, err);
        return;
    }
    if (++n->shards_ready < n->n_shards)
        return;
    cluster_start(n->cluster);
    join_activate(n->env, n->kv, n->joined.node_id, activated, n);
    become_alive(n);
}

static void schema_applied(void *ctx)
{
    struct node *n = ctx;
    schema_store_release(n->schemas);
}

/* Its edit is answered when every loop knows the snapshot: what was registered can be called. */
static void schema_changed(void *ctx, struct schema *schema)
{
    struct node *n = ctx;
    schema_ref(schema);
    schema_unref(n->schema_cell.schema);
    n->schema_cell.schema = schema;
    for (uint32_t i = 0; i < n->n_shards; i++) {
        schema_store_hold(n->schemas);
        shard_set_schema(n->shards[i], schema, n->loop, schema_applied, n);
    }
    cluster_schema_changed(n->cluster, schema_version(schema));
}

/* Partitions need rules only where there can be scopes. */
static void rules_changed(void *ctx, const struct rule_book *book)
{
    struct node *n = ctx;
    if (!n->config->invoker.scopes)
        return;
    struct writer w = WRITER_INIT;
    rule_book_command(&w, book);
    struct bytes encoded = writer_take(&w);
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_set_rules(n->shards[i], book->version, encoded);
    bytes_unref(&encoded);
}

static void schema_loaded(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (err && err->rc != RC_OK) {
        node_fail(n, err);
        return;
    }
    n->schemas_loaded = true;
    become_alive(n);
}

static void write_states_again(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, states_timer);
    join_activate(n->env, n->kv, n->joined.node_id, activated, n);
}

/* ---- a member opens its stores ---- */

static enum rc open_database(struct node *n, struct err *err)
{
    char *path = xasprintf("%s/db", n->dir.path);
    struct rocks_db_config db = {.path = path, .memory_budget_bytes = n->config->storage_memory_bytes};
    enum rc rc = rocks_db_open(&db, &n->db, err);
    free(path);
    return rc;
}

static enum liveness node_liveness(void *ctx, uint32_t node)
{
    struct node *n = ctx;
    struct membership *m = n->cluster ? cluster_membership(n->cluster) : NULL;
    if (!m || node == n->joined.node_id)
        return LIVENESS_ALIVE;
    return membership_verdict(m, node) == MEMBERSHIP_DEAD ? LIVENESS_DEAD : LIVENESS_ALIVE;
}

static void open_logs(struct node *n)
{
    if (n->log_host) {
        log_server_links_serve(n->log_links, links_add(n->links, log_host_loop(n->log_host), PEER_LOG),
                               n->log_host);
        log_host_start(n->log_host);
    }
    size_t retain = MAX(n->config->bifrost.cache_bytes / MAX(n->joined.n_partitions, 1u), (uint64_t)1 << 20);
    n->logs = node_logs_new(&(struct node_logs_config){
        .loop = n->loop,
        .kv = n->kv,
        .me = {n->joined.node_id, n->joined.generation},
        .host = n->log_host,
        .peers = links_main(n->links),
        .window_records = n->config->bifrost.window_records,
        .retain_bytes = retain,
        .improve_ms = n->config->bifrost.disable_improvement ? 0 : LOGS_IMPROVE_MS});
    node_logs_set_liveness(n->logs, node_liveness, n);
    node_logs_on_nodes_config(n->logs, &n->view.nodes);
    node_logs_on_logs_config(n->logs, n->view.logs_value.stored, n->view.logs_value.version);
}

static enum rc read_identity_key(struct node *n, struct err *err)
{
    const char *path = n->config->invoker.identity_key_pem_file;
    if (!path)
        return RC_OK;
    struct bytes text = BYTES_EMPTY;
    struct err reason = {0};
    if (read_file(path, IDENTITY_KEY_MAX, &text, &reason) != RC_OK || text.len == 0)
        return err_set(err, RC_INVALID, "Failed to read request identity private key: cannot read %s", path);
    char *pem = xasprintf("%.*s", SLICE_FMT(bytes_slice(text)));
    bytes_unref(&text);
    struct identity *id;
    if (identity_new(pem, n->config->invoker.identity_expiration_s, &id, &reason) != RC_OK) {
        free(pem);
        return err_set(err, RC_INVALID, "Failed to read request identity private key: %s", reason.msg);
    }
    LOG(LOG_INFO, "restate_service_client::request_identity::v1",
        LOG_FIELDS({"kid", identity_key_id(id)}, {"path", path}), "Loaded request identity key");
    identity_free(id);
    n->shared.identity_key_pem = pem;
    return RC_OK;
}

static struct ingress_shared *new_ingress_shared(const struct node_config *c, bool idempotent_sharding)
{
    struct ingress_config ic = {
        .request_size_limit = c->ingress_options.request_size_limit,
        .concurrent_requests_limit = c->ingress_options.concurrent_requests_limit,
        .http2_max_concurrent_streams = c->ingress_options.http2_max_concurrent_streams,
        .controlled_idempotent_sharding = idempotent_sharding,
        .vqueues = c->invoker.scopes,
        .scoped_virtual_objects = c->invoker.scoped_objects,
        .version = RESTATE_VERSION,
    };
    return ingress_shared_new(&ic);
}

static void replicas_changed(void *ctx)
{
    struct node *n = ctx;
    cluster_replicas_changed(n->cluster);
}

static void prepare_shards(struct node *n)
{
    n->shared.replicas_changed = replicas_changed;
    n->shared.replicas_ctx = n;
    n->shared.config = n->config;
    n->shared.version = RESTATE_VERSION;
    n->shared.throttles = &n->throttles;
    shard_throttles_config(n->config, &n->throttles);
    n->shared.traces = node_tracing_new(n->loop, n->config, RESTATE_VERSION);
    n->shared.lambda = lambda_access_new(&(struct lambda_access_config){
        n->config->invoker.aws_profile, n->config->invoker.aws_assume_role_external_id});
    n->n_shards = n->config->shards;
    n->shards = xcalloc(n->n_shards, sizeof(struct shard *));
    n->ingress_listeners = xcalloc(n->n_shards, sizeof(struct service));
    n->map = partition_map_new(MAX(n->joined.n_partitions, 1u));
    n->shared.map = n->map;
    n->map->node_id = n->joined.node_id;
    n->router = router_new(n->loop, n->map);
    n->remote = remote_new(n->loop, links_main(n->links), n->map, n->router, false);
    if (n->config->roles & ROLE_HTTP_INGRESS)
        n->shared.ingress = n->ingress = new_ingress_shared(n->config, n->joined.idempotent_sharding);
    for (uint32_t i = 0; i < n->n_shards; i++)
        n->shards[i] = shard_new(&n->shared, i, n->schema_cell.schema);
    node_metrics_register(n);
}

void node_start_partitions(struct node *n)
{
    struct err err = {0};
    open_logs(n);
    n->shared.logs = n->logs;
    n->shared.links = n->links;
    n->shared.db = n->db;
    n->shared.snapshots = n->snapshots;
    node_watch_snapshots(n);
    prepare_shards(n);
    if (n->config->roles & ROLE_HTTP_INGRESS && node_spread_ingress(n, &err) != RC_OK) {
        node_fail(n, &err);
        return;
    }
    n->cluster = cluster_new(n);
    n->view.epochs = cluster_epochs(n->cluster);
    n->rules = rule_store_new(n->env, n->kv, n->config->rule_book_poll_interval_ms, rules_changed, n);
    n->schemas = schema_store_new(n->env, n->kv, schema_changed, schema_loaded, n);
    links_nodes(n->links, &n->view.nodes); /* to the links of the other loops */
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_start(n->shards[i], n->loop, shard_ready, n);
}

void node_partitions_init(struct node *n)
{
    env_timer_init(&n->leaders_timer, leaders_waited);
    env_timer_init(&n->states_timer, write_states_again);
}

enum rc node_open_partitions(struct node *n, struct err *err)
{
    enum rc rc = read_identity_key(n, err);
    if (rc == RC_OK)
        rc = open_database(n, err);
    if (rc == RC_OK)
        rc = node_snapshots_new(n->config, n->dir.path, n->joined.fingerprint, &n->snapshots, err);
    if (rc == RC_OK && n->config->roles & ROLE_LOG_SERVER)
        rc = node_open_log_store(n, err);
    else if (rc == RC_OK)
        node_start_partitions(n);
    return rc;
}

/* Start-up in the order of spec/cluster.md §1.7: data directory, listeners, metadata, joining, storage,
 * partitions, services. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/time.h"
#include "invoker/identity.h"
#include "metadata/schema_records.h"
#include "node/grpc_server.h"
#include "node/leader_call.h"
#include "node/node_internal.h"
#include "node/node_metrics.h"
#include "node/query_gather.h"
#include "node/query_remote.h"
#include "node/tracing.h"
#include "node/version.h"

#define TARGET              "restate_node"
#define JOIN_RETRY_MS       250u
#define JOIN_RETRY_BLANK_MS 100u
#define JOIN_TELL_MS        30000u
#define JOIN_WARN_MS        120000u
#define LEADERS_WAIT_MS     1000u
#define PROBE_MS            1000u

void node_fail(struct node *n, const struct err *err)
{
    LOG(LOG_ERROR, "restate_server",
        LOG_FIELDS({"error", err->msg},
                   {"restate.error.code", strstr(err->msg, "failed binding") ? "RT0004" : "None"}),
        "Restate application failed");
    if (strstr(err->msg, "failed binding"))
        fprintf(stderr, "Failed: %s\n", err->msg);
    n->exit_code = 1;
    loop_stop(n->loop);
}

static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        LOG0(LOG_WARN, "restate_server", "Cannot raise the limit of open files");
}

/* ---- listeners ---- */

static void log_listening(const struct service *s, const char *target, const char *message)
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

static enum rc bind_ingress(struct node *n, struct err *err)
{
    struct listener_config config = n->config->ingress;
    for (uint32_t i = 0; i < n->n_shards; i++) {
        struct service *s = &n->ingress_listeners[i];
        s->name = "http-ingress-server";
        s->socket_name = i == 0 ? "ingress.sock" : NULL;
        if (i > 0 && config.mode == LISTEN_UNIX)
            break;
        enum rc rc = service_bind(s, shard_loop(n->shards[i]), &config, n->dir.path, n->n_shards > 1,
                                  &ingress_listener_ops, shard_ingress(n->shards[i]), err);
        if (rc != RC_OK)
            return rc;
        for (size_t l = 0; i == 0 && l < s->n_listeners; l++) {
            if (s->bound[l].family == NET_TCP)
                config.bind_port = s->bound[l].port; /* the others join the same, possibly random, port */
        }
    }
    n->ingress_service = n->ingress_listeners[0];
    return RC_OK;
}

size_t node_metadata_members(struct node *n, uint32_t *out, size_t cap)
{
    struct raft_server *server = metadata_host_server(n->metadata);
    struct raft_server_status s = {0};
    size_t count = 0;
    if (server)
        raft_server_status(server, &s);
    for (uint32_t i = 0; i < s.members.n && count < cap; i++)
        out[count++] = s.members.items[i].node;
    for (size_t i = 0; s.members.n == 0 && i < n->view.nodes.n_nodes && count < cap; i++) {
        const struct node_entry *e = &n->view.nodes.nodes[i];
        if (!e->tombstone && e->metadata_server == METADATA_SERVER_MEMBER)
            out[count++] = e->id;
    }
    return count;
}

static enum metadata_status metadata_status(const struct node *n)
{
    struct raft_server *server = n->metadata ? metadata_host_server(n->metadata) : NULL;
    struct raft_server_status s;
    if (!server)
        return METADATA_STATUS_UNKNOWN;
    raft_server_status(server, &s);
    return s.state == RAFT_MEMBER    ? METADATA_STATUS_MEMBER
           : s.state == RAFT_STANDBY ? METADATA_STATUS_STANDBY
                                     : METADATA_STATUS_AWAITING_PROVISIONING;
}

void node_health(struct node *n, struct health_report *out)
{
    bool up = n->state == NODE_ALIVE;
    *out = (struct health_report){
        .state = n->state,
        .node_id = n->joined.node_id,
        .node_generation = n->joined.generation,
        .cluster_name = n->config->cluster_name,
        .roles = n->config->roles,
        .age_ns = os_mono_ns() - n->started_mono_ns,
        .admin_ready = up,
        .worker_ready = up,
        .log_server_ready = n->log_host != NULL,
        .log_server_failsafe = n->log_host && log_host_refuses(n->log_host),
        .metadata_status = metadata_status(n),
        .nodes_config_version = n->view.nodes_value.version,
        .logs_version = n->view.logs_value.version,
        .schema_version = n->schemas ? schema_version(schema_store_current(n->schemas)) : 0,
        .partition_table_version = n->view.table_value.version,
        .services = {n->config->roles & ROLE_HTTP_INGRESS ? &n->ingress_service : NULL,
                     n->config->roles & ROLE_ADMIN ? &n->admin_service : NULL, &n->fabric_service},
    };
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

static enum rc bind_fabric(struct node *n, struct err *err)
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
        log_listening(&n->fabric_service, "restate_core::network::net_util", "Server listening");
    return rc;
}

/* ---- after joining: storage, partitions, services ---- */

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
    if (!n->states_told_ms || now - n->states_told_ms >= JOIN_TELL_MS) {
        n->states_told_ms = MAX(now, 1);
        LOG0(LOG_INFO, TARGET,
             "The states of this node's roles cannot be registered yet, which is repeated: %s", why->msg);
    }
    env_timer_arm(n->env, &n->states_timer, JOIN_RETRY_MS + env_random(n->env) % JOIN_RETRY_MS);
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
    if (n->config->roles & ROLE_HTTP_INGRESS) {
        for (uint32_t i = 0; i < n->n_shards; i++)
            shard_serve_ingress(n->shards[i], n->ingress_listeners[i].listeners,
                                n->ingress_listeners[i].n_listeners);
        log_listening(&n->ingress_service, "restate_ingress_http::server", "Ingress HTTP listening");
    }
    node_queries_start(n);
    if (n->config->roles & ROLE_ADMIN) {
        if (node_admin_new(n, &err) != RC_OK || service_start(&n->admin_service, &err) != RC_OK) {
            node_fail(n, &err);
            return;
        }
        log_listening(&n->admin_service, "restate_core::network::net_util", "Server listening");
        LOG0(LOG_INFO, "restate_admin::service", "Admin API starting on: %s", n->admin_service.advertised);
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

/* ---- the log-server's store (spec/cluster.md §5.12) ---- */

static void storage_lost(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    struct err reason = n->storage_err;
    if (err)
        LOG0(LOG_ERROR, TARGET, "Cannot register that this node has lost its data: %s", err->msg);
    node_fail(n, &reason);
}

static void start_partitions(struct node *n);

static void storage_ready(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (n->stopping)
        return;
    if (err && err->rc == RC_AGAIN) {
        n->storage_waits = true;
        write_states_later(n, err);
    } else if (err) {
        node_fail(n, err);
    } else {
        n->storage_waits = false;
        start_partitions(n);
    }
}

static void write_states_again(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, states_timer);
    if (n->storage_waits)
        join_set_storage(n->env, n->kv, n->joined.node_id, STORAGE_READ_WRITE, storage_ready, n);
    else
        join_activate(n->env, n->kv, n->joined.node_id, activated, n);
}

/* Whose store is it, and what follows? RC_OK: start_partitions or node_fail will follow. */
static enum rc open_log_store(struct node *n, struct err *err)
{
    const struct node_entry *me = nodes_config_by_id(&n->view.nodes, n->joined.node_id);
    n->log_links = log_server_links_new();
    struct log_host_config config = {.me = {n->joined.node_id, n->joined.generation},
                                     .remote_reply = log_server_links_reply,
                                     .ctx = n->log_links};
    char *path = xasprintf("%s/log-store", n->dir.path);
    enum rc rc = log_host_open(path, &config, &n->log_host, err);
    free(path);
    if (rc != RC_OK)
        return rc;
    enum log_store_verdict verdict = log_host_check(n->log_host, me->storage, &n->storage_err);
    if (verdict == LOG_STORE_FRESH)
        rc = log_host_write_marker(n->log_host, env_wall_ms(n->env), err);
    if (verdict == LOG_STORE_REFUSE) {
        *err = n->storage_err;
        rc = err->rc;
    } else if (verdict == LOG_STORE_LOST) {
        join_set_storage(n->env, n->kv, me->id, STORAGE_DATA_LOSS, storage_lost, n);
    } else if (rc == RC_OK && verdict == LOG_STORE_RUN) {
        start_partitions(n);
    } else if (rc == RC_OK) {
        join_set_storage(n->env, n->kv, me->id, STORAGE_READ_WRITE, storage_ready, n);
    }
    return rc;
}

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
    FILE *f = fopen(path, "rb");
    char text[8192];
    size_t len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        fclose(f);
    if (len == 0)
        return err_set(err, RC_INVALID, "Failed to read request identity private key: cannot read %s", path);
    text[len] = 0;
    struct identity *id;
    struct err reason = {0};
    if (identity_new(text, n->config->invoker.identity_expiration_s, &id, &reason) != RC_OK)
        return err_set(err, RC_INVALID, "Failed to read request identity private key: %s", reason.msg);
    LOG(LOG_INFO, "restate_service_client::request_identity::v1",
        LOG_FIELDS({"kid", identity_key_id(id)}, {"path", path}), "Loaded request identity key");
    identity_free(id);
    n->shared.identity_key_pem = xstrdup(text);
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

static void joined(void *ctx, const struct joined *j, const struct err *err);
static bool provision_external(struct node *n);

static void try_join(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, retry_timer);
    if (n->joining || n->stopping)
        return;
    n->joining = true;
    join_start(n->env, n->kv, n->config, n->fabric_service.advertised, n->dir.fingerprint, joined, n);
}

void node_join_now(struct node *n)
{
    if (env_timer_armed(&n->retry_timer))
        env_timer_arm(n->env, &n->retry_timer, 0);
}

/* Not yet: the cluster is not provisioned, or nobody that knows it answers. Say so after a while, then now
 * and again (spec/cluster.md §1.7, §1.8). */
static void join_later(struct node *n, const struct err *why)
{
    uint64_t now = env_mono_ms(n->env), waited = now - n->join_began_ms;
    if (waited >= n->config->initialization_timeout_ms) {
        struct err err;
        err_set(&err, RC_TIMEOUT, "Cannot join the cluster within the initialization-timeout of %llu s: %s",
                (unsigned long long)n->config->initialization_timeout_ms / 1000, why->msg);
        node_fail(n, &err);
        return;
    }
    bool blank = metadata_host_is_blank(n->metadata), external = metadata_host_is_external(n->metadata);
    if (provision_external(n))
        n->join_told_ms = MAX(now, 1); /* it is not waited for somebody else */
    if (!n->join_told_ms || now - n->join_told_ms >= JOIN_TELL_MS) {
        n->join_told_ms = MAX(now, 1);
        LOG0(waited >= JOIN_WARN_MS ? LOG_WARN : LOG_INFO, TARGET,
             "Waiting for the cluster '%s' to be provisioned or reachable (%s). %s", n->config->cluster_name,
             why->msg,
             external && !n->dir.provisioned ? "A new cluster is provisioned with `restatectl provision`."
             : blank ? "A new cluster is provisioned with `restatectl provision`; to join an existing one, "
                       "metadata-client.addresses must name its metadata servers."
                     : "This node was part of it before.");
    }
    uint32_t pause = blank ? JOIN_RETRY_BLANK_MS : JOIN_RETRY_MS;
    env_timer_arm(n->env, &n->retry_timer, pause / 2 + env_random(n->env) % pause);
}

static void log_joined(struct node *n)
{
    char roles[128], version[16];
    node_roles_format(n->config->roles, " | ", roles, sizeof(roles));
    snprintf(version, sizeof(version), "v%u", n->joined.nodes_config_version);
    LOG(LOG_INFO, TARGET,
        LOG_FIELDS({"node_name", n->config->node_name}, {"roles", roles},
                   {"address", n->fabric_service.advertised}, {"location", n->config->location},
                   {"nodes_config_version", version}, {"cluster_name", n->config->cluster_name}),
        "My Node ID is N%u:%u", n->joined.node_id, n->joined.generation);
}

static void joined(void *ctx, const struct joined *j, const struct err *join_err)
{
    struct node *n = ctx;
    n->joining = false;
    if (n->stopping)
        return;
    if (join_err && join_err->rc == RC_AGAIN) {
        join_later(n, join_err);
        return;
    }
    struct err err = {0};
    enum rc rc = RC_OK;
    if (join_err) {
        node_fail(n, join_err);
        return;
    }
    n->joined = *j;
    n->shared.node_id = j->node_id;
    n->shared.node_generation = j->generation;
    links_joined(n->links, (struct node_ref){j->node_id, j->generation}, j->fingerprint);
    links_nodes(n->links, &n->view.nodes);
    control_link_set_identity(n->control, j->node_id);
    metadata_host_joined(n->metadata, j->node_id, j->fingerprint);
    rc = data_dir_set_provisioned(&n->dir, j->fingerprint, &err);
    if (rc == RC_OK)
        log_joined(n);
    if (rc == RC_OK)
        rc = read_identity_key(n, &err);
    if (rc == RC_OK)
        rc = open_database(n, &err);
    if (rc == RC_OK)
        rc = node_snapshots_new(n->config, n->dir.path, j->fingerprint, &n->snapshots, &err);
    if (rc == RC_OK && n->config->roles & ROLE_LOG_SERVER)
        rc = open_log_store(n, &err);
    else if (rc == RC_OK)
        start_partitions(n);
    if (rc != RC_OK)
        node_fail(n, &err);
}

/* The node is a member and its stores are open. */
static void start_partitions(struct node *n)
{
    struct err err = {0};
    open_logs(n);
    n->shared.logs = n->logs;
    n->shared.links = n->links;
    n->shared.db = n->db;
    n->shared.snapshots = n->snapshots;
    node_watch_snapshots(n);
    prepare_shards(n);
    if (n->config->roles & ROLE_HTTP_INGRESS && bind_ingress(n, &err) != RC_OK) {
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

/* Does the nodes configuration still want this process? (spec/cluster.md §1.2, §1.10) */
static void check_membership(struct node *n)
{
    const struct node_entry *me = nodes_config_by_id(&n->view.nodes, n->joined.node_id);
    struct err err;
    if (!n->joined.node_id || n->stopping)
        return;
    if (!me || me->tombstone)
        err_set(&err, RC_CLOSED, "This node has been removed from nodes configuration");
    else if (me->generation > n->joined.generation)
        err_set(&err, RC_CLOSED, "This node is N%u:%u and was replaced by N%u:%u", me->id,
                n->joined.generation, me->id, me->generation);
    else
        return;
    node_fail(n, &err);
}

static void metadata_seen(void *ctx, const struct kv_entry *entry)
{
    struct node *n = ctx;
    if (n->cluster)
        cluster_seen(n->cluster, entry);
    if (n->rules)
        rule_store_seen(n->rules, entry);
    if (!cluster_view_seen(&n->view, entry))
        return;
    if (slice_eq_cstr(entry->key, LOGS_CONFIG_KEY) && n->logs)
        node_logs_on_logs_config(n->logs, entry->value, entry->version);
    if (slice_eq_cstr(entry->key, NODES_CONFIG_KEY)) {
        if (n->logs)
            node_logs_on_nodes_config(n->logs, &n->view.nodes);
        if (n->metadata)
            metadata_host_set_nodes(n->metadata, &n->view.nodes);
        control_link_set_nodes(n->control, &n->view.nodes);
        links_nodes(n->links, &n->view.nodes);
        check_membership(n);
        node_join_now(n);
    }
    if (n->cluster)
        cluster_metadata_changed(n->cluster);
}

static void metadata_send(void *ctx, uint32_t node, struct slice message)
{
    struct node *n = ctx;
    if (n->control)
        control_link_send_metadata(n->control, node, message);
}

static void metadata_send_request(void *ctx, const char *address, uint64_t attempt, struct slice message)
{
    struct node *n = ctx;
    if (n->control)
        control_link_request_metadata(n->control, address, attempt, message);
}

/* ---- from other nodes ---- */

static void gossip_arrived(void *ctx, struct slice message)
{
    struct node *n = ctx;
    if (n->cluster)
        cluster_gossip(n->cluster, message);
}

static void command_arrived(void *ctx, const struct node_ref *from, enum link_command command,
                            uint16_t partition)
{
    struct node *n = ctx;
    if (n->cluster && command == LINK_COMMAND_LEAD)
        cluster_lead(n->cluster, partition);
}

static void question_arrived(void *ctx, const struct node_ref *from, enum node_method method,
                             struct slice payload, struct node_answer *answer)
{
    struct node *n = ctx;
    if (method == NODE_METHOD_CREATE_SNAPSHOT || method == NODE_METHOD_TRIM_LOG)
        leader_call_asked(n, method, payload, answer);
    else if (method == NODE_METHOD_ROWS && n->cluster)
        query_gather_asked(n, payload, answer);
    else if (method == NODE_METHOD_SCAN && n->scans)
        query_scans_question(n->scans, payload, answer);
    else
        node_answer_send(answer, RC_UNSUPPORTED, "this node cannot answer that yet", SLICE_EMPTY);
}

static void peer_seen(void *ctx, struct node_ref node)
{
    struct node *n = ctx;
    metadata_host_peer_seen(n->metadata);
    if (n->cluster)
        cluster_peer_seen(n->cluster, node);
}

static void peer_lost(void *ctx, struct node_ref node, bool gone)
{
    struct node *n = ctx;
    if (n->cluster)
        cluster_peer_lost(n->cluster, node, gone);
}

static void peer_refused(void *ctx, const char *why)
{
    struct node *n = ctx;
    struct err err;
    if (n->joined.node_id || n->stopping || n->exit_code)
        return;
    err_set(&err, RC_CONFLICT, "This node cannot join the cluster '%s': %s", n->config->cluster_name, why);
    node_fail(n, &err);
}

static const struct control_link_ops control_callbacks = {.gossip = gossip_arrived,
                                                          .command = command_arrived,
                                                          .question = question_arrived,
                                                          .seen = peer_seen,
                                                          .lost = peer_lost,
                                                          .refused = peer_refused};

/* ---- provisioning ---- */

static void external_provisioned(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    void (*done)(void *ctx, const struct err *err) = n->provisioning.done;
    n->provisioning.done = NULL;
    if (n->stopping)
        return;
    done(n->provisioning.ctx, err);
    node_join_now(n);
}

void node_provision(struct node *n, const struct provision_settings *settings,
                    void (*done)(void *ctx, const struct err *err), void *ctx)
{
    struct kv_table values;
    struct provision_identity identity;
    struct err err = {0};
    bool external = metadata_host_is_external(n->metadata);
    /* In an external store whoever provisions completes what another node began. */
    bool complete = n->view.nodes_value.version &&
                    (!external || (n->view.logs_value.version && n->view.table_value.version));
    if (n->dir.provisioned || n->provisioning.done || complete) {
        err_set(&err, RC_EXISTS, "The cluster has already been provisioned");
        done(ctx, &err);
        return;
    }
    provision_values(n->env, n->config, n->fabric_service.advertised, settings, &values, &identity);
    if (external) {
        n->provisioning.done = done;
        n->provisioning.ctx = ctx;
        provision_store(n->kv, n->config->cluster_name, &values, external_provisioned, n);
        return;
    }
    enum rc rc = metadata_host_provision(n->metadata, identity.node_id, identity.fingerprint, &values, &err);
    kv_table_free(&values);
    if (rc != RC_OK) {
        done(ctx, &err);
        return;
    }
    n->provisioning.done = done;
    n->provisioning.ctx = ctx;
}

static void metadata_changed(void *ctx)
{
    struct node *n = ctx;
    void (*done)(void *ctx, const struct err *err) = n->provisioning.done;
    if (!done)
        return;
    struct err err;
    bool failed = metadata_host_is_blank(n->metadata);
    if (failed)
        err_set(&err, RC_IO, "the metadata store cannot be written");
    n->provisioning.done = NULL;
    done(n->provisioning.ctx, failed ? &err : NULL);
    node_join_now(n);
}

static const struct metadata_host_ops metadata_callbacks = {.seen = metadata_seen,
                                                            .changed = metadata_changed,
                                                            .send = metadata_send,
                                                            .send_request = metadata_send_request};

static void provisioned_automatically(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (!err) {
        LOG0(LOG_INFO, TARGET, "Cluster '%s' has been automatically provisioned", n->config->cluster_name);
        return;
    }
    struct err why = *err;
    err_prefix(&why, "cannot provision the cluster: ");
    node_fail(n, &why);
}

/* A node whose disk was lost, or that was told to provision by mistake, would split the cluster in two that
 * can never merge (S-17): ask those that should know first. */
static void probed(void *ctx, const char *address)
{
    struct node *n = ctx;
    struct provision_settings settings;
    if (n->stopping || n->view.nodes_value.version)
        return;
    if (address) {
        LOG0(LOG_WARN, TARGET,
             "auto-provision is on, but %s belongs to a provisioned cluster '%s' already: joining it",
             address, n->config->cluster_name);
        return;
    }
    provision_settings_from(n->config, &settings);
    node_provision(n, &settings, provisioned_automatically, n);
}

/* The store arbitrates between nodes that provision at once; what was not reached is tried again when the
 * node tries to join again. */
static void provisioned_externally(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (!err || err->rc == RC_CONFLICT)
        provisioned_automatically(n, err);
    else if (err->rc != RC_EXISTS)
        LOG0(LOG_DEBUG, TARGET, "Cannot provision the cluster yet: %s", err->msg);
}

/* Is it this node's to provision the cluster? Then it is on the way. */
static bool provision_external(struct node *n)
{
    struct provision_settings settings;
    if (!metadata_host_is_external(n->metadata) || !n->config->auto_provision || n->dir.provisioned ||
        n->provisioning.done)
        return false;
    provision_settings_from(n->config, &settings);
    node_provision(n, &settings, provisioned_externally, n);
    return n->provisioning.done != NULL;
}

/* spec/cluster.md §1.9: only with a blank metadata server, and only once in the life of a data directory. */
static enum rc provision_automatically(struct node *n, struct err *err)
{
    struct provision_settings settings;
    bool blank = metadata_host_is_blank(n->metadata), external = metadata_host_is_external(n->metadata);
    if (n->dir.provisioned && blank && n->config->metadata.client.n_addresses == 0)
        return err_set(err, RC_CORRUPT,
                       "the data directory was provisioned, but its metadata store is empty: restore it from "
                       "a backup, or name other metadata servers in metadata-client.addresses");
    if (!n->config->auto_provision || n->dir.provisioned || !(blank || external))
        return RC_OK;
    provision_settings_from(n->config, &settings);
    enum rc rc = provision_settings_check(&settings, err);
    if (rc != RC_OK)
        err_prefix(err, "cannot provision the cluster: ");
    else if (!external) /* there: when the first try to join finds nothing */
        metadata_host_probe(n->metadata, PROBE_MS, probed, n);
    return rc;
}

static enum rc start(struct node *n, struct err *err)
{
    const struct node_config *c = n->config;
    enum rc rc = node_snapshots_check(c, err);
    if (rc == RC_OK)
        rc = data_dir_open(c->base_dir, c->node_name, c->cluster_name, &n->dir, err);
    if (rc != RC_OK)
        return rc;
    if (c->roles & ROLE_ADMIN) {
        n->admin_service = (struct service){.name = "admin-api-server", .socket_name = "admin.sock"};
        rc = service_bind(&n->admin_service, n->loop, &c->admin, n->dir.path, false, &admin_listener_ops, n,
                          err);
    }
    if (rc == RC_OK)
        rc = bind_fabric(n, err);
    if (rc != RC_OK)
        return rc;
    n->links = links_new(n->loop, c, n->fabric);
    n->control = control_link_new(n->env, links_main(n->links), &control_callbacks, n);
    rc = metadata_host_open(n->env, n->loop, c, n->dir.path, n->fabric_service.advertised,
                            &metadata_callbacks, n, &n->metadata, err);
    if (rc != RC_OK)
        return rc;
    n->kv = metadata_host_kv(n->metadata);
    control_link_set_metadata(n->control, n->metadata);
    if (n->view.nodes_value.version)
        metadata_host_set_nodes(n->metadata, &n->view.nodes);
    return provision_automatically(n, err);
}

void node_start(struct node *n)
{
    raise_open_files();
    n->schema_cell.schema = schema_empty();
    n->schema_cell.defaults = n->config->defaults;
    service_not_bound(&n->ingress_service, 8080);
    service_not_bound(&n->admin_service, 9070);
    env_timer_init(&n->retry_timer, try_join);
    env_timer_init(&n->leaders_timer, leaders_waited);
    env_timer_init(&n->states_timer, write_states_again);
    struct err err = {0};
    if (start(n, &err) != RC_OK) {
        node_fail(n, &err);
        return;
    }
    if (n->config->implicit_ingress)
        LOG0(LOG_INFO, "restate_node::init",
             "The configured roles name worker but not http-ingress: this node serves ingress as well. Set "
             "disable-implicit-ingress = true if it shall not");
    LOG0(LOG_INFO, "restate_node::init",
         n->dir.provisioned ? "Trying to join the provisioned cluster '%s'"
                            : "Trying to join the cluster '%s'",
         n->config->cluster_name);
    n->join_began_ms = env_mono_ms(n->env);
    try_join(&n->retry_timer);
}

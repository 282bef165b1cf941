/* Start-up in the order of spec/cluster.md §1.7: data directory, listeners, metadata; then joining
 * (node_join.c) and the partitions (node_partitions.c). What comes from the metadata and from other nodes. */
#include <stdio.h>
#include <sys/resource.h>

#include "metadata/schema_records.h"
#include "node/leader_call.h"
#include "node/node_internal.h"
#include "node/query_gather.h"
#include "node/query_remote.h"

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

/* ---- from the metadata ---- */

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
        node_check_membership(n);
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

static void metadata_changed(void *ctx)
{
    node_provisioned(ctx);
}

static const struct metadata_host_ops metadata_callbacks = {.seen = metadata_seen,
                                                            .changed = metadata_changed,
                                                            .send = metadata_send,
                                                            .send_request = metadata_send_request};

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

/* ---- starting ---- */

static enum rc start(struct node *n, struct err *err)
{
    const struct node_config *c = n->config;
    enum rc rc = node_snapshots_check(c, err);
    if (rc == RC_OK)
        rc = data_dir_open(c->base_dir, c->node_name, c->cluster_name, &n->dir, err);
    if (rc != RC_OK)
        return rc;
    if (c->roles & ROLE_ADMIN)
        rc = node_bind_admin(n, err);
    if (rc == RC_OK && c->roles & ROLE_HTTP_INGRESS)
        rc = node_bind_ingress(n, err);
    if (rc == RC_OK)
        rc = node_bind_fabric(n, err);
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
    return node_provision_automatically(n, err);
}

void node_start(struct node *n)
{
    raise_open_files();
    n->schema_cell.schema = schema_empty();
    n->schema_cell.defaults = n->config->defaults;
    service_not_bound(&n->ingress_service, 8080);
    service_not_bound(&n->admin_service, 9070);
    node_join_init(n);
    node_partitions_init(n);
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
    node_join(n);
}

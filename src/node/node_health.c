/* What the node says of itself: /health, IdentResponse, and who is a metadata server. */
#include "base/time.h"
#include "node/node_internal.h"

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
        .log_server_ready = n->storage.usable,
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

/* restate.metadata_server_svc.MetadataServerSvc (spec/restatectl.md §5.4, §8.4): this node's metadata server.
 */
#include "node/grpc_messages.h"
#include "node/grpc_metadata_store.h"
#include "node/grpc_requests.h"
#include "node/node_internal.h"

enum { STATUS_AWAITING_PROVISIONING = 2, STATUS_MEMBER, STATUS_STANDBY };

static void put_members(struct writer *w, const struct raft_members *m)
{
    struct writer configuration = WRITER_INIT, member = WRITER_INIT;
    pb_put_wrapped(&configuration, 1, m->version);
    for (uint32_t i = 0; i < m->n; i++) {
        pb_write_u64(&member, 1, m->items[i].node);
        pb_write_u64(&member, 2, m->items[i].storage);
        pb_put_message(&configuration, 2, &member);
    }
    writer_free(&member);
    pb_put_message(w, 2, &configuration);
}

static void put_numbers(struct writer *w, const struct raft_numbers *n)
{
    struct writer snapshot = WRITER_INIT, raft = WRITER_INIT;
    if (n->snapshot_index) {
        pb_write_u64(&snapshot, 1, n->snapshot_index);
        pb_write_u64(&snapshot, 2, n->snapshot_bytes);
        pb_put_message(w, 4, &snapshot);
    }
    pb_write_u64(&raft, 1, n->term);
    pb_write_u64(&raft, 2, n->applied);
    pb_write_u64(&raft, 3, n->commit);
    pb_write_u64(&raft, 4, n->first_index);
    pb_write_u64(&raft, 5, n->last_index);
    pb_put_message(w, 5, &raft);
}

static void status(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct writer w = WRITER_INIT;
    struct raft_server_status s;
    raft_server_status(metadata_host_server(n->metadata), &s);
    if (s.state != RAFT_MEMBER) {
        pb_write_u64(&w, 1, s.state == RAFT_STANDBY ? STATUS_STANDBY : STATUS_AWAITING_PROVISIONING);
        rpc_reply(rpc, &w);
        return;
    }
    pb_write_u64(&w, 1, STATUS_MEMBER);
    put_members(&w, &s.members);
    if (s.leader.node)
        pb_write_u64_always(&w, 3, s.leader.node);
    put_numbers(&w, &s.raft);
    rpc_reply(rpc, &w);
}

static void add_node(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct err err;
    enum rc rc = metadata_host_add(n->metadata, &err);
    if (rc == RC_OK)
        rpc_reply_empty(rpc);
    else
        rpc_fail(rpc, rc == RC_EXISTS ? GRPC_ALREADY_EXISTS : GRPC_INTERNAL, "%s", err.msg);
}

static void remove_node(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t fields[2]; /* the node, since when it is a member */
    enum rc rc = numbers_request_decode(bytes_slice(message), fields, 2, NULL);
    uint64_t id = fields[0], created_at = fields[1];
    if (rc != RC_OK || id == 0 || id > UINT32_MAX) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "a plain node id is required");
        return;
    }
    struct raft_server *server = metadata_host_server(n->metadata);
    struct raft_server_status s;
    struct err err;
    raft_server_status(server, &s);
    for (uint32_t i = 0; created_at && i < s.members.n; i++) {
        if (s.members.items[i].node == id && s.members.items[i].storage != created_at) {
            rpc_fail(rpc, GRPC_INTERNAL,
                     "failed to remove node: node 'N%llu' is not a member with that storage",
                     (unsigned long long)id);
            return;
        }
    }
    if (raft_server_remove(server, (uint32_t)id, &err) == RC_OK)
        rpc_reply_empty(rpc);
    else
        rpc_fail(rpc, GRPC_INTERNAL, "failed to remove node: %s", err.msg);
}

static void provision(struct rpc *rpc, struct node *n, struct bytes message)
{
    if (n->view.nodes_value.version) { /* as the reference: not an error, `newly_provisioned` is false */
        rpc_reply_empty(rpc);
        return;
    }
    rpc_fail(rpc, GRPC_UNIMPLEMENTED,
             "clusters are provisioned through NodeCtlSvc/ProvisionCluster (`restatectl provision`)");
}

static const struct rpc_method methods[] = {
    {"Status", status},           {"AddNode", add_node},
    {"RemoveNode", remove_node},  {"Provision", provision},
    {"Get", metadata_server_get}, {"GetVersion", metadata_server_get_version},
    {"Put", metadata_server_put}, {"Delete", metadata_server_delete},
};
const struct rpc_service metadata_server_service = {
    .name = "restate.metadata_server_svc.MetadataServerSvc",
    .role = ROLE_METADATA_SERVER,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

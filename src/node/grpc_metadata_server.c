/* restate.metadata_server_svc.MetadataServerSvc (spec/restatectl.md §5.4, §8.4) on a node whose metadata
 * store is its own file: a membership of one that cannot change. */
#include "node/grpc_messages.h"
#include "node/grpc_metadata_store.h"
#include "node/node_internal.h"

enum { STATUS_AWAITING_PROVISIONING = 2, STATUS_MEMBER };

static void status(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct writer w = WRITER_INIT, configuration = WRITER_INIT, member = WRITER_INIT;
    if (!n->joined.node_id) {
        pb_write_u64(&w, 1, STATUS_AWAITING_PROVISIONING);
        rpc_reply(rpc, &w);
        return;
    }
    pb_write_u64(&w, 1, STATUS_MEMBER);
    pb_put_wrapped(&configuration, 1, 1);
    pb_write_u64(&member, 1, n->joined.node_id);
    pb_put_message(&configuration, 2, &member);
    pb_put_message(&w, 2, &configuration);
    pb_write_u64_always(&w, 3, n->joined.node_id);
    rpc_reply(rpc, &w);
}

static void add_node(struct rpc *rpc, struct node *n, struct bytes message)
{
    if (n->joined.node_id)
        rpc_fail(rpc, GRPC_ALREADY_EXISTS,
                 "cannot add node because it is still a member of the metadata cluster");
    else
        rpc_fail(
            rpc, GRPC_INTERNAL,
            "failed to add node: node needs to join the Restate cluster first before becoming a metadata "
            "cluster member");
}

static void remove_node(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t id;
    if (!pb_read_wrapped(bytes_slice(message), &id) || id == 0 || id > UINT32_MAX)
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "a plain node id is required");
    else if (id != n->joined.node_id)
        rpc_fail(rpc, GRPC_INTERNAL, "failed to remove node: node 'N%llu' is not a member",
                 (unsigned long long)id);
    else
        rpc_fail(rpc, GRPC_INTERNAL,
                 "failed to remove node: cannot remove the only member 'N%u' of the metadata cluster",
                 n->joined.node_id);
}

static void provision(struct rpc *rpc, struct node *n, struct bytes message)
{
    if (n->view.nodes_value.version) { /* as the reference: not an error, `newly_provisioned` is false */
        rpc_reply_empty(rpc);
        return;
    }
    rpc_fail(rpc, GRPC_UNIMPLEMENTED,
             "a single node is provisioned through NodeCtlSvc/ProvisionCluster (`restatectl provision`)");
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

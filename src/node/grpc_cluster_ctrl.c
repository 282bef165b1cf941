/* restate.cluster_ctrl.ClusterCtrlSvc (spec/restatectl.md §5.2, §6.4, §8.2): state of partitions
 * and logs, configuration; the methods stand in files of their own. */
#include <jansson.h>
#include <stdlib.h>

#include "node/grpc_cluster_config.h"
#include "node/grpc_cluster_state.h"
#include "node/grpc_logs.h"
#include "node/grpc_query.h"
#include "node/grpc_requests.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"
#include "node/snapshot_rpc.h"

/* ---- MigrateMetadata: there is no other store to migrate to ---- */

static void migrate_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct slice target;
    json_error_t parse;
    bytes_request_decode(bytes_slice(message), 2, &target);
    json_t *config = json_loadb((const char *)target.ptr, target.len, JSON_REJECT_DUPLICATES, &parse);
    const char *type = config ? json_string_value(json_object_get(config, "type")) : NULL;
    if (!json_is_object(config))
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", parse.text);
    else if (!type || strcmp(type, "replicated") == 0)
        rpc_fail(rpc, GRPC_UNIMPLEMENTED,
                 "Metadata migration to replicated metadata store is not supported yet");
    else
        rpc_fail(
            rpc, GRPC_UNIMPLEMENTED,
            "this server keeps the metadata of its cluster in the replicated store of its nodes only: it "
            "can not be migrated to a store of type '%.64s'",
            type ? type : "");
    json_decref(config);
}

static bool ready(const struct node *n)
{
    return n->state == NODE_ALIVE;
}

static const struct rpc_method methods[] = {
    {"GetClusterState", cluster_get_state},
    {"ListLogs", grpc_list_logs},
    {"DescribeLog", grpc_describe_log},
    {"TrimLog", grpc_trim_log},
    {"CreatePartitionSnapshot", grpc_create_snapshot},
    {"SealAndExtendChain", grpc_reconfigure_log},
    {"SealChain", grpc_seal_log},
    {"FindTail", grpc_find_tail},
    {"GetClusterConfiguration", cluster_get_configuration},
    {"SetClusterConfiguration", cluster_set_configuration},
    {"Query", cluster_query},
    {"MigrateMetadata", migrate_metadata},
    {"SyncEpochMetadata", cluster_sync_epoch_metadata},
};
const struct rpc_service cluster_ctrl_service = {
    .name = "restate.cluster_ctrl.ClusterCtrlSvc",
    .role = ROLE_ADMIN,
    .ready = ready,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

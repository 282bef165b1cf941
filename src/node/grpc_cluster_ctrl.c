/* restate.cluster_ctrl.ClusterCtrlSvc (spec/restatectl.md §5.2, §6.4, §8.2): state of partitions
 * and logs, configuration; the methods stand in files of their own. */
#include "node/grpc_cluster_config.h"
#include "node/grpc_cluster_state.h"
#include "node/grpc_logs.h"
#include "node/grpc_query.h"
#include "node/grpc_server.h"
#include "node/metadata_migration.h"
#include "node/node_internal.h"
#include "node/snapshot_rpc.h"

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
    {"MigrateMetadata", grpc_migrate_metadata},
    {"SyncEpochMetadata", cluster_sync_epoch_metadata},
};
const struct rpc_service cluster_ctrl_service = {
    .name = "restate.cluster_ctrl.ClusterCtrlSvc",
    .role = ROLE_ADMIN,
    .ready = ready,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

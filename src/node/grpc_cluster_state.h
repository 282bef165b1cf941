/* GetClusterState and SyncEpochMetadata of the cluster control service (spec/restatectl.md §5.2, §6.4). */
#pragma once
#include "node/grpc_server.h"

/* What this node knows of all nodes and their partitions. */
void cluster_get_state(struct rpc *rpc, struct node *n, struct bytes message);
void cluster_sync_epoch_metadata(struct rpc *rpc, struct node *n, struct bytes message);

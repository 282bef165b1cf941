/* Snapshots on request of operators (ClusterCtrlSvc/CreatePartitionSnapshot, spec/cluster.md §6.3): made by
 * the leader of the partition, here or on another node (node/leader_call.h). Main loop. */
#pragma once
#include "node/grpc_server.h"

void grpc_create_snapshot(struct rpc *rpc, struct node *n, struct bytes message);

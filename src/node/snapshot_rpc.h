/* Snapshots on request of operators (ClusterCtrlSvc/CreatePartitionSnapshot, spec/cluster.md §6.3): made by
 * the leader of the partition, here or on another node. Main loop. */
#pragma once
#include "node/control_link.h"
#include "node/grpc_server.h"

void grpc_create_snapshot(struct rpc *rpc, struct node *n, struct bytes message);
/* NODE_METHOD_CREATE_SNAPSHOT: another node was asked and believes that the leader is here. */
void snapshot_rpc_asked(struct node *n, struct slice payload, struct node_answer *answer);

/* ClusterCtrlSvc/Query: SQL over the tables of the cluster, for `restatectl sql` (spec/restatectl.md §9). */
#pragma once
#include "node/grpc_server.h"

void cluster_query(struct rpc *rpc, struct node *n, struct bytes message);

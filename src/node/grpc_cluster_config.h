/* ClusterCtrlSvc's Get- and SetClusterConfiguration (spec/restatectl.md §8.2): the settings behind `config
 * get` and `config set`, kept in the partition table and the configuration of the logs. */
#pragma once
#include "node/grpc_server.h"

void cluster_get_configuration(struct rpc *rpc, struct node *n, struct bytes message);
void cluster_set_configuration(struct rpc *rpc, struct node *n, struct bytes message);

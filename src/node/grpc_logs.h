/* The methods of ClusterCtrlSvc about logs (spec/restatectl.md §5.2, §8.2). Main loop. */
#pragma once
#include "bifrost/log.h"
#include "node/grpc_server.h"

void grpc_list_logs(struct rpc *rpc, struct node *n, struct bytes message);
void grpc_describe_log(struct rpc *rpc, struct node *n, struct bytes message);
void grpc_trim_log(struct rpc *rpc, struct node *n, struct bytes message);
void grpc_find_tail(struct rpc *rpc, struct node *n, struct bytes message);

/* grpc_logs_change.c */
void grpc_seal_log(struct rpc *rpc, struct node *n, struct bytes message);
void grpc_reconfigure_log(struct rpc *rpc, struct node *n, struct bytes message);

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

/* trim_rpc.c: how far the log is trimmed, as its leader knows; `done` may run from inside. */
void trim_point_ask(struct node *n, uint16_t log_id, void (*done)(void *ctx, bool known, lsn_t trim_point),
                    void *ctx);

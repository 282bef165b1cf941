/* NodeCtlSvc/TriggerCompaction (spec/restatectl.md §8.1): the partition store of this node is compacted; the
 * stores of logs and metadata reclaim their space themselves, there is nothing to trigger. Main loop. */
#pragma once
#include "node/grpc_server.h"

struct compaction_request {
    unsigned databases; /* bit per DatabaseKind; all when none was named */
    unsigned bottommost;
    bool recalculate_level;
};
enum rc compaction_request_decode(struct slice message, struct compaction_request *out, struct err *err);

void grpc_trigger_compaction(struct rpc *rpc, struct node *n, struct bytes message);
/* The node stops: what is under way is broken off; `done` when nothing is left, possibly from inside. */
void grpc_compactions_stop(struct node *n, void (*done)(void *ctx));

/* ClusterCtrlSvc/MigrateMetadata (spec/cluster.md §2.7, spec/restatectl.md §8.2): the cluster's metadata is
 * copied from its replicated store to an external one, while all nodes run in migration mode. Main loop. */
#pragma once
#include "node/grpc_server.h"

void grpc_migrate_metadata(struct rpc *rpc, struct node *n, struct bytes message);
/* The node stops: a migration under way is broken off; `done` when nothing is left, possibly from inside. */
void metadata_migration_stop(struct node *n, void (*done)(void *ctx));

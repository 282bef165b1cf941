/* Access to the metadata store through the operator services (spec/restatectl.md §8.3, §8.4): the same four
 * operations in MetadataProxySvc and MetadataServerSvc. */
#pragma once
#include "node/grpc_server.h"

/* With an identity check (MetadataServerSvc). */
void metadata_server_get(struct rpc *rpc, struct node *n, struct bytes message);
void metadata_server_get_version(struct rpc *rpc, struct node *n, struct bytes message);
void metadata_server_put(struct rpc *rpc, struct node *n, struct bytes message);
void metadata_server_delete(struct rpc *rpc, struct node *n, struct bytes message);

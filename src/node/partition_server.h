/* Serves other nodes' requests to the partitions of this node, and takes their outbox messages: the answering
 * side of node/remote_calls.h and node/remote_ships.h (spec/cluster.md §4.8). One per loop that serves links
 * of the PARTITION channel, on that loop; the partitions may be on any loop of this node.
 *
 * A request is never passed on to a third node: if this node does not lead the partition, it says so. When a
 * link ends, its requests are canceled; what they proposed stays. An answer that finds the link's queue full
 * ends the link, so that the asking side does not wait for it. */
#pragma once
#include "node/router.h"
#include "peer/peer.h"

#define SERVED_CALLS_MAX 20000u /* waiting per link; more are answered RC_OVERLOADED */

struct partition_server;
/* `router`: of this loop. */
struct partition_server *partition_server_new(struct loop *loop, struct peers *peers,
                                              struct partition_map *map, struct partition_router *router);
/* Cancels all requests and hears no more of the links; goes away when the last request and message have come
 * back. Before peers_free. */
void partition_server_free(struct partition_server *s);

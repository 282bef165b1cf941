/* What one loop has to do with partitions of other nodes: asking them, shipping to them, and serving them. */
#pragma once
#include "node/partition_server.h"
#include "node/remote_calls.h"
#include "node/remote_ships.h"

struct remote {
    struct peers *peers; /* owned */
    struct remote_calls *calls;
    struct remote_ships *ships;
    struct partition_server *server; /* NULL on loops that serve no links */
    struct partition_router *router;
};
/* Takes over `peers`, which belongs to `loop`; requests of `router` (of the same loop) to partitions that
 * other nodes lead go over it. `serves`: the loop is given links of the PARTITION channel. */
struct remote *remote_new(struct loop *loop, struct peers *peers, struct partition_map *map,
                          struct partition_router *router, bool serves);
/* On the loop, when its partitions and shippers are closed. The loop must run one more iteration. */
void remote_free(struct remote *r);
/* The same on a loop whose peers belong to somebody else. */
void remote_free_keeping_peers(struct remote *r);

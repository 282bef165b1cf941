/* Implementation of node/remote.h. */
#include "node/remote.h"

#include <stdlib.h>

struct remote *remote_new(struct loop *loop, struct peers *peers, struct partition_map *map,
                          struct partition_router *router, bool serves)
{
    struct remote *r = xcalloc(1, sizeof(*r));
    r->peers = peers;
    r->router = router;
    r->calls = remote_calls_new(loop, peers, map);
    r->ships = remote_ships_new(loop, peers);
    if (serves)
        r->server = partition_server_new(loop, peers, map, router);
    router_set_remote(router, r->calls);
    return r;
}

void remote_free_keeping_peers(struct remote *r)
{
    router_set_remote(r->router, NULL);
    if (r->server)
        partition_server_free(r->server);
    remote_calls_free(r->calls);
    remote_ships_free(r->ships);
    free(r);
}

void remote_free(struct remote *r)
{
    struct peers *peers = r->peers;
    remote_free_keeping_peers(r);
    peers_free(peers);
}

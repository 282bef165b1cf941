/* Outbox messages of one loop's partitions to partitions led by other nodes: the sending side, below
 * node/shipper.h. The receiving side is node/partition_server.h. One per loop, on that loop.
 *
 * Messages of one *stream* arrive in the order of sending; once one of a stream was refused, so are all later
 * ones. When a link ends, every message that was sent on it and not confirmed is reported as failed, and may
 * yet be committed. */
#pragma once
#include "loop/loop.h"
#include "peer/peer.h"

struct remote_ships;

/* A message on its way; embedded in its owner. */
struct remote_ship {
    struct hmap_node by_id;
    struct list link_;
    uint64_t id, link;
    /* RC_OK: committed in the destination's log. Else refused, or unknown: then the later ones of the stream
     * fail too. Never from inside remote_ships_send. */
    void (*done)(struct remote_ship *m, enum rc rc);
};

struct remote_ships *remote_ships_new(struct loop *loop, struct peers *peers);
/* Nothing may be on its way. */
void remote_ships_free(struct remote_ships *s);
/* A new stream: never used before, and higher than all others. */
uint64_t remote_ships_stream(struct remote_ships *s);
/* The link that messages to `node` would take now; 0: it has to be dialed. A stream must not go on on another
 * link while messages of it are on their way. */
uint64_t remote_ships_link(const struct remote_ships *s, uint32_t node);
/* `record` is lent. RC_OK: on its way. Else it certainly was not sent. */
enum rc remote_ships_send(struct remote_ships *s, struct remote_ship *m, uint32_t node, uint64_t stream,
                          uint16_t source, uint16_t destination, struct bytes record);
/* `done` will not run. */
void remote_ships_abandon(struct remote_ships *s, struct remote_ship *m);

/* Carries outbox messages of a partition to the partition that owns their key, in order per destination
 * (spec/invocation-lifecycle.md §10.2). Go-back-N: when the destination refuses a message, everything sent
 * after it in the same round is refused too, and the source sends again from there; the destination's log
 * drops repeats by (source, index). One shipper per source partition, on its loop.
 *
 * The destination may be led by another node (node/remote_ships.h). Nothing is sent another way before
 * everything sent before has come back: so the messages of each way are without gaps, and whichever order two
 * ways' messages get in the destination's log, the first of each index comes after the first of the one
 * before. Only messages to a node that leads no more are not waited for. */
#pragma once
#include "node/router.h"

struct shipper;
struct remote_ships;
struct shipper *shipper_new(struct loop *loop, struct partition_map *map, struct processor *source,
                            uint16_t source_id);
void shipper_ship(struct shipper *s, uint64_t index, uint64_t partition_key, struct bytes record_take);
/* From now on messages to partitions that other nodes lead go this way; without, they wait. NULL: no more.
 * The shipper must have nothing on its way, or be reset. */
void shipper_set_remote(struct shipper *s, struct remote_ships *remote);
/* Forget everything not yet acknowledged (leadership lost, shutdown). Messages on their way come back and are
 * dropped. */
void shipper_reset(struct shipper *s);
/* Frees when nothing is on its way any more. `source` is not touched from here on. */
void shipper_free(struct shipper *s);

/* Carries outbox messages of a partition to the partition that owns their key, in order per destination
 * (spec/invocation-lifecycle.md §10.2). Go-back-N: when the destination refuses a message, everything sent
 * after it in the same round is refused too, and the source sends again from there; the destination's log
 * drops repeats by (source, index). One shipper per source partition, on its loop. */
#pragma once
#include "node/router.h"

struct shipper;
struct shipper *shipper_new(struct loop *loop, struct partition_map *map, struct processor *source,
                            uint16_t source_id);
void shipper_ship(struct shipper *s, uint64_t index, uint64_t partition_key, struct bytes record_take);
/* Forget everything not yet acknowledged (leadership lost, shutdown). Messages on their way come back and are
 * dropped. */
void shipper_reset(struct shipper *s);
/* Frees when nothing is on its way any more. `source` is not touched from here on. */
void shipper_free(struct shipper *s);

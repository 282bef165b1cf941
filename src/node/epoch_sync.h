/* The part of a cluster controller that a single node needs (spec/cluster.md §4.3): a placement that an
 * operator prepared becomes current as soon as it can be served, which here means that it consists of this
 * node. */
#pragma once
#include <stdint.h>

#include "base/rc.h"

struct node;
/* Re-read the epoch metadata of a partition and complete its `next` configuration if possible. `done` (may be
 * NULL) runs later with NULL on success; nothing to do is a success. Main loop. */
void epoch_sync_start(struct node *n, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                      void *ctx);

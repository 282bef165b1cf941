/* One look at all partitions of this node: asks every shard and puts the answers together. Main loop. */
#pragma once
#include "node/shard.h"

struct node;
struct partition_reports {
    const struct partition_report *items; /* by partition id */
    const bool *present;                  /* this node runs the partition */
    size_t n;                             /* partitions of the cluster */
};
/* `done` once, later; the reports are valid during the call. */
void partition_reports_collect(struct node *n,
                               void (*done)(void *ctx, struct node *n, const struct partition_reports *r),
                               void *ctx);

/* Gauges of a node that are looked at when metrics are read: partitions, storage engine, memory
 * (spec/config.md §5.3, §5.4; docs/metrics.md). */
#pragma once

struct node;

/* Once, when the shards exist. They are read until n->n_shards is 0, the database until it is closed with the
 * loop at rest. */
void node_metrics_register(struct node *n);

/* What queries read on this node: partitions on their shards, tables of the cluster on the main loop
 * (query/source.h). */
#pragma once
#include "query/source.h"

struct node;
extern const struct query_source_ops node_query_source_ops; /* ctx: struct node */

/* query_tables.c, main loop: fills in the rows that this node knows. */
void node_query_rows(struct node *n, struct rows_request *r);
struct membership_node;
bool query_node_is_alive(const struct membership_node *m);

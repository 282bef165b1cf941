/* SQL queries over partitions that other nodes lead: scans (query/remote.h) over the control links, as
 * questions that each bring one piece of rows (NODE_METHOD_SCAN). */
#pragma once
#include "node/control_link.h"
#include "query/source.h"

struct node;

/* query_source_ops.remote; ctx: struct node. Query threads. */
enum rc query_remote_open(void *ctx, uint32_t partition, struct slice request, const struct query_wait *wait,
                          struct row_stream **out, struct err *err);

/* Main loop: another node asks. */
struct query_scans;
struct query_scans *query_scans_new(struct node *n);
void query_scans_question(struct query_scans *s, struct slice payload, struct node_answer *answer);
/* Ends all of them. Before the engine is stopped. */
void query_scans_free(struct query_scans *s);

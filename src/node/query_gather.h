/* Rows of tables of the cluster (spec/restatectl.md §9.4), for queries. Most are this node's knowledge
 * (node/query_tables.c); those that each node has for itself - its configuration, its log-server's segments,
 * its readers - are gathered from all nodes, and a node that does not answer becomes a warning of the query.
 * Main loop. */
#pragma once
#include "node/control_link.h"
#include "query/source.h"

struct node;

/* Fills in r->rows, r->warnings and r->err; `done` once, possibly from inside. `r` is kept by the caller. */
void query_gather(struct node *n, struct rows_request *r, void (*done)(void *ctx), void *ctx);
/* NODE_METHOD_ROWS: another node gathers. */
void query_gather_asked(struct node *n, struct slice payload, struct node_answer *answer);

/* Scans of partitions that another node leads: what is asked for, as bytes, and how the leader's node answers
 * (spec/sql.md §13.5). The asker's cursor sends a scan_request and reads rows (row_set.h); the leader's node
 * runs it like a query (engine.h, query_request.scan), with its own thread, window and cancellation. Rows
 * have all columns of their table, those that are not used are NULL. What carries the bytes is the host's
 * business (query_source_ops.remote). */
#pragma once
#include "query/plan.h"
#include "wire/id.h"

struct scan_request {
    uint32_t partition;
    enum sql_table_id table; /* one of the partitioned ones */
    uint64_t used;           /* bit per column */
    uint64_t now_ms;         /* of the query */
    bool by_id, by_object, live_only;
    struct invocation_id id;   /* by_id */
    struct slice service, key; /* by_object */
};
void scan_request_encode(struct writer *w, const struct scan_request *r);
/* `out` points into `in`. */
bool scan_request_decode(struct slice in, struct scan_request *out);
/* The plan that answers it; sql_plan_free. */
void scan_request_plan(struct sql_plan *p, const struct scan_request *r);
extern const struct result_encoder row_set_encoder; /* rows of the answer; no context */

/* Runs a plan to its end on the calling thread: a SQLite connection of its own over the virtual tables of
 * tables.h, its rows encoded and handed on in batches. */
#pragma once
#include "query/plan.h"
#include "query/tables.h"

struct query_output {
    /* One batch, or the frame around them; false: nobody wants more. May block. */
    bool (*write)(void *ctx, struct bytes take);
    void *ctx;
};
/* `q` and `result` are initialised by the caller. False with q->err. A result without rows is written too. */
bool query_run(struct query *q, const struct sql_plan *plan, struct result *result,
               const struct query_output *out);
/* Once per process, before the first query: memory for SQLite in all queries together, directory for what is
 * sorted on disk (NULL: the system's). */
void query_set_limits(uint64_t memory_bytes, const char *tmp_dir);

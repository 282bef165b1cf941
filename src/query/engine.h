/* Queries in the background of a loop: compiled and run on threads of their own, results handed to the loop
 * in batches, no faster than they are taken (spec/sql.md §8, §15; BETTER B28).
 *
 * All calls and callbacks are on the loop that owns the engine. Limits: so many queries at a time, so many
 * more wait, each has a time limit, and one whose results nobody takes for a while is ended. */
#pragma once
#include "loop/loop.h"
#include "query/run.h"

struct query_engine_config {
    unsigned threads;        /* queries at a time */
    unsigned waiting;        /* beyond them; more are refused with RC_OVERLOADED's meaning, 503 */
    uint64_t time_limit_ms;  /* of one query, from when it begins to run; 0: none */
    uint64_t stall_limit_ms; /* without anything taken while something waits to be */
    size_t window_bytes;     /* results on their way to the taker of one query */
    double rate_per_second;  /* token bucket, a query is a token; 0: no limit */
    double rate_burst;
};
struct query_engine;
/* `source` is asked on the loop (schema, wall_ms, partition_count, partition_of) and on query threads
 * (visit, partition_of, rows). */
struct query_engine *query_engine_new(struct loop *loop, const struct query_source *source,
                                      const struct query_engine_config *config);
/* Cancels all queries; `done` when the last thread has let go of the source. No queries start afterwards. */
void query_engine_stop(struct query_engine *e, void (*done)(void *ctx), void *ctx);
void query_engine_free(struct query_engine *e); /* stopped */
size_t query_engine_running(const struct query_engine *e);

struct query_job;
struct query_events {
    /* The statement is accepted: its columns, lent. Not called for an error found before. May be NULL. */
    void (*on_columns)(void *ctx, const struct sql_plan *plan);
    /* Rows of other nodes are missing (rows_request.warnings), lent. Before the data that follows. May be
     * NULL. */
    void (*on_warnings)(void *ctx, struct slice warnings);
    /* Some of the result. Tell with query_taken when it has gone on. */
    void (*on_data)(void *ctx, struct bytes take);
    /* The last callback, not from inside query_start; err->kind SQL_ERROR_NONE: complete. `retry_after_s` is
     * not 0 when the rate limit refused it. */
    void (*on_end)(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s);
};
struct query_request {
    struct slice sql; /* copied */
    struct slice
        scan; /* instead: a scan_request of another node (query/remote.h), copied; gives pieces of rows */
    enum sql_context context;
    enum result_format format;
    const struct result_encoder *encoder; /* RESULT_CUSTOM; static */
    void *encoder_ctx;                    /* lives as long as the job: freed with it */
    void (*encoder_free)(void *ctx);
};
struct query_job *query_start(struct query_engine *e, const struct query_request *request,
                              const struct query_events *events, void *ctx);
/* `n` bytes of data have been passed on: more may come. */
void query_taken(struct query_job *j, size_t n);
/* The asker is not interested any more: no callback follows. */
void query_cancel(struct query_job *j);

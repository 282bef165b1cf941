/* What queries need from the node: access to partitions on their loops, and the schema registry. Called from
 * query threads. */
#pragma once
#include "metadata/schema.h"
#include "partition/attempt_status.h"
#include "partition/scan.h"
#include "query/catalog.h"
#include "query/row_set.h"

/* What the leader's memory knows of one invocation; texts belong to it. */
struct query_attempt {
    struct hmap_node node;
    struct invocation_id id;
    struct invocation_attempt_status status;
};
struct query_attempts {
    struct hmap by_id;
    struct {
        struct query_attempt **items;
        size_t len, cap;
    } list;
};
/* Copies `status`. `ctx`: struct query_attempts. */
void query_attempts_add(void *ctx, struct invocation_id id, const struct invocation_attempt_status *status);
void query_attempts_free(struct query_attempts *a);
const struct query_attempt *query_attempts_find(const struct query_attempts *a, struct invocation_id id);

/* One visit to a partition's leader. */
struct partition_request {
    uint32_t partition;
    bool want_store;
    enum scan_kind kind;
    struct scan_filter filter;
    /* TABLE_SYS_USER_LIMITS, TABLE_SYS_SCHEDULER; TABLE_SYS_VQUEUE_META: the ids of the paused queues, as
     * bytes; else none */
    enum sql_table_id want_rows;
    bool want_attempts; /* all of them, or the one of filter.id */
    /* The answer; both are the asker's. */
    struct err err;
    struct store_scan *scan;
    struct query_attempts attempts;
    struct row_set rows;
};
/* The rows of want_rows (rows_limits.c). */
void limit_rows(struct row_set *out, enum sql_table_id table, const struct partition_store *store);
/* On the partition's loop: takes the scan of the store along. Attempts are added by the host with
 * query_attempts_add, to r->attempts: all that its invoker knows, or the one of filter.id. */
void partition_request_serve(struct partition_request *r, struct partition_store *store);
void partition_request_release(struct partition_request *r);

/* The rows of a table that only the node can fill in: those of the cluster context. */
struct rows_request {
    enum sql_table_id table;
    /* The answer, the asker's. Rows that a node should have given and did not are a warning: its name and the
     * reason, both length-prefixed. */
    struct row_set rows;
    struct writer warnings;
    struct err err;
};

/* The asker may lose interest while it is blocked. */
struct query_wait {
    bool (*canceled)(void *ctx); /* NULL: never */
    void *ctx;
};

/* Rows that arrive in pieces, from another node. Query threads. */
struct row_stream_ops;
struct row_stream {
    const struct row_stream_ops *ops;
};
struct row_stream_ops {
    /* Blocks for the next piece: whole rows (row_set.h), a reference; empty at the end. */
    enum rc (*next)(struct row_stream *s, struct bytes *out, struct err *err);
    /* Also before the end: the other node stops. */
    void (*close)(struct row_stream *s);
};

struct query_source_ops {
    /* On the engine's loop, when a query starts. */
    uint32_t (*partition_count)(void *ctx);
    struct schema *(*schema)(void *ctx); /* a reference */
    uint64_t (*wall_ms)(void *ctx);
    void (*defaults)(void *ctx, struct schema_defaults *out);
    /* Any thread. */
    uint32_t (*partition_of)(void *ctx, uint64_t partition_key);
    /* Query threads; block until answered or canceled, then everything in the request is the asker's or
     * nobody's: nothing of it is referred to any more. The result is also in r->err.
     * Serves the request on the loop of its partition; RC_UNAVAILABLE: the partition has no leader that could
     * be asked; RC_NOT_LEADER: another node leads it. */
    enum rc (*visit)(void *ctx, struct partition_request *r, const struct query_wait *wait);
    enum rc (*rows)(void *ctx, struct rows_request *r, const struct query_wait *wait);
    /* After `visit` gave RC_NOT_LEADER: the rows of the partition from the node that leads it. `request` is a
     * scan_request as bytes (query/remote.h), lent. NULL: there are no other nodes. */
    enum rc (*remote)(void *ctx, uint32_t partition, struct slice request, const struct query_wait *wait,
                      struct row_stream **out, struct err *err);
};
struct query_source {
    const struct query_source_ops *ops;
    void *ctx;
    bool scopes; /* objects, workflows and invocations may have one, which decides their partition */
};

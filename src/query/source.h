/* What queries need from the node: access to partitions on their loops, and the schema registry. Called from
 * query threads. */
#pragma once
#include "invoker/invoker.h"
#include "metadata/schema.h"
#include "partition/scan.h"

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
void query_attempts_free(struct query_attempts *a);
const struct query_attempt *query_attempts_find(const struct query_attempts *a, struct invocation_id id);

/* One visit to a partition's leader. */
struct partition_request {
    uint32_t partition;
    bool want_store;
    enum scan_kind kind;
    struct scan_filter filter;
    bool want_attempts; /* all of them, or the one of filter.id */
    /* The answer; both are the asker's. */
    struct err err;
    struct store_scan *scan;
    struct query_attempts attempts;
};
/* On the partition's loop; `invoker` NULL: the partition is not led here (no attempts). */
void partition_request_serve(struct partition_request *r, struct partition_store *store,
                             struct invoker_partition *invoker);
void partition_request_release(struct partition_request *r);

struct query_source_ops {
    uint32_t (*partition_count)(void *ctx);
    uint32_t (*partition_of)(void *ctx, uint64_t partition_key);
    /* Serves the request on the loop of its partition; blocks until it is answered. RC_UNAVAILABLE: the
     * partition has no leader that could be asked. */
    enum rc (*visit)(void *ctx, struct partition_request *r);
    struct schema *(*schema)(void *ctx); /* a reference */
    uint64_t (*wall_ms)(void *ctx);
};
struct query_source {
    const struct query_source_ops *ops;
    void *ctx;
};

/* A shard: one loop (thread) with the partitions it owns and everything that serves them - invoker, ingress
 * listeners, connections to deployments, timers (DESIGN §3). Partition p lives on shard p mod W. */
#pragma once
#include "ingress/ingress.h"
#include "invoker/invoker.h"
#include "kafka/kafka.h"
#include "node/config.h"
#include "node/links.h"
#include "node/logs.h"
#include "node/replica.h"

struct shard;

/* What all shards of a node share. Owned by the node, outlives them. */
struct shard_shared {
    const struct node_config *config;
    struct partition_map *map;
    struct node_logs *logs;
    struct links *links;
    struct rocks_db *db;
    struct ingress_shared *ingress; /* limits shared by all ingress loops; NULL without the role */
    uint32_t node_id, node_generation;
    const char *version;
    char *identity_key_pem; /* NULL */
    struct node_snapshots *snapshots;
    struct lambda_access *lambda;
    struct invoker_throttles *throttles;
    struct trace_exporter *traces; /* NULL: no tracing */
    /* Main loop: a replica began or ceased to run or to lead; ask for reports. Several changes may be told
     * once. */
    void (*replicas_changed)(void *ctx);
    void *replicas_ctx;
};

/* Settings of the invoker and of its HTTP client, from the node's configuration; without a tracer. */
void shard_invoker_config(const struct shard_shared *shared, const struct node_config *c,
                          struct invoker_config *out);
void shard_throttles_config(const struct node_config *c, struct invoker_throttles *out);
void shard_client_config(const struct node_config *c, struct http_client_config *out);

struct shard *shard_new(const struct shard_shared *shared, uint32_t index, struct schema *schema);
struct loop *shard_loop(struct shard *s);
/* The loop's ingress; NULL without the role. */
struct ingress *shard_ingress(struct shard *s);
/* Starts the thread. `ready` runs on `reply_loop` when replicas can be run, or with the error. */
void shard_start(struct shard *s, struct loop *reply_loop, void (*ready)(void *ctx, const struct err *err),
                 void *ctx);
/* Any thread. The replica of this partition runs here, or does not. Idempotent. */
void shard_set_replica(struct shard *s, uint16_t partition, bool run);
/* Any thread. Lead the partition with an epoch that was claimed for this process; 0: stop leading it. */
void shard_lead(struct shard *s, uint16_t partition, uint64_t epoch);
/* Any thread. New schema snapshot for this loop; `applied` runs on `reply_loop` when it counts here. */
void shard_set_schema(struct shard *s, struct schema *schema, struct loop *reply_loop,
                      void (*applied)(void *ctx), void *ctx);
/* Any thread. New configuration for this loop. */
void shard_set_config(struct shard *s, const struct node_config *config);
/* Any thread. The newest rule book, as processor_set_rules wants it. */
void shard_set_rules(struct shard *s, uint32_t version, struct bytes encoded);
/* Any thread. Begin accepting ingress connections on this loop. */
void shard_serve_ingress(struct shard *s, struct net_listener **listeners, size_t n);
/* Stop accepting ingress connections and reading from Kafka, and let requests in progress finish, at most
 * `timeout_ms`; `done` on `reply_loop`. The partitions of all shards go on meanwhile: a request may wait for
 * a partition of any. */
void shard_drain(struct shard *s, uint64_t timeout_ms, struct loop *reply_loop, void (*done)(void *ctx),
                 void *ctx);
/* Step down, flush and close the partitions; `done` on `reply_loop`. Then shard_free joins the thread. */
void shard_stop(struct shard *s, struct loop *reply_loop, void (*done)(void *ctx), void *ctx);
void shard_free(struct shard *s);

/* Any thread. Asks the shard; `done` on `reply_loop` with the reports of its open partitions, valid during
 * the call. Not answered any more once shard_stop was called. */
void shard_report(struct shard *s, struct loop *reply_loop,
                  void (*done)(void *ctx, const struct partition_report *reports, size_t n), void *ctx);
/* Any thread. replica_trim_log; `done` (may be NULL) on `reply_loop`, also when the shard is stopping
 * (RC_CANCELED). */
void shard_trim_log(struct shard *s, uint16_t partition, lsn_t upto, struct loop *reply_loop,
                    replica_trim_done done, void *ctx);
/* Any thread. replica_set_peers. */
void shard_set_peers(struct shard *s, uint16_t partition, const lsn_t *durable, size_t n);
/* Any thread. replica_create_snapshot; `done` on `reply_loop`, also when the shard is stopping (RC_CANCELED).
 */
void shard_create_snapshot(struct shard *s, uint16_t partition, lsn_t min_lsn, struct loop *reply_loop,
                           snapshot_create_done done, void *ctx);

struct shard_stats {
    uint32_t partitions, leaders;
    uint64_t busy_us;
    int64_t max_lag, oldest_waiting_ms;
};
/* Values published by the shard about once a second; any thread. */
void shard_get_stats(const struct shard *s, struct shard_stats *out);

/* Any thread. Runs `visit` on the shard's loop with the partition's store, and its invoker while it leads;
 * both NULL if the partition is not led here (or is not open). Once, unless the shard stops before. Must be
 * short. */
void shard_visit(struct shard *s, uint16_t partition,
                 void (*visit)(void *ctx, struct partition_store *store, struct invoker_partition *invoker),
                 void *ctx);

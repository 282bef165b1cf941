/* The Kafka front door of one loop (spec/ingress.md §12): runs a consumer (kafka/consumer.h) for each
 * subscription of the schema that falls to this loop. All worker nodes do so for all subscriptions; Kafka's
 * group protocol spreads the topic partitions among them.
 *
 * Nothing is created - no thread, no client - as long as there is no subscription. On the loop. */
#pragma once
#include "kafka/event.h"
#include "loop/loop.h"
#include "metadata/schema_kafka.h"
#include "partition/rpc.h"

struct kafka_ingress_config {
    struct loop *loop;
    struct partition_router *router;                             /* of that loop */
    uint32_t (*partition_of)(void *ctx, uint64_t partition_key); /* any thread */
    void *partition_ctx;
    const struct schema_fixed_clusters *fixed; /* outlives the room; NULL: none */
    uint32_t index, n_loops;                   /* this loop, of so many */
    size_t inflight_bytes;                     /* held between Kafka and the logs, on this loop */
    size_t batch_bytes;                        /* of one request to a partition */
    const char *version;
    struct event_scopes scopes;
};
struct kafka_ingress;
struct kafka_ingress *kafka_ingress_new(const struct kafka_ingress_config *config);
/* Start, stop and restart consumers so that they fit this schema. */
void kafka_ingress_set_schema(struct kafka_ingress *k, struct schema *schema,
                              const struct schema_defaults *defaults);
/* Stop all consumers for good; `done` when their threads have ended, possibly from inside, and the room is
 * gone. A few seconds at most. Requests that are still in flight then end with their partitions. */
void kafka_ingress_stop(struct kafka_ingress *k, void (*done)(void *ctx), void *ctx);

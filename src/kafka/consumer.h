/* One subscription's consumer: a thread of its own around librdkafka, which blocks where it likes. It reads
 * the topic partitions that Kafka's group protocol gives to this node, makes records of them, and hands those
 * to its loop; the loop brings them into the logs (kafka/ingestion.h) and tells the thread how far that is,
 * and the thread gives these offsets to librdkafka, which commits them now and then.
 *
 * What is held between reading and the log is bounded: a thread stops reading while the loop's consumers
 * together hold more than the budget; but each topic partition may have one record on its way, so that none
 * starves.
 *
 * Functions on the loop, unless they say otherwise. */
#pragma once
#include "kafka/event.h"
#include "kafka/ingestion.h"
#include "kafka/settings.h"
#include "loop/loop.h"

struct kafka_budget {
    size_t limit;
    _Atomic size_t used;
};
struct consumer_config { /* all but the subscription and the settings outlive the consumer */
    struct loop *loop;
    struct ingestion *ingestion;
    struct kafka_budget *budget;
    uint32_t (*partition_of)(void *ctx, uint64_t partition_key); /* any thread */
    void *partition_ctx;
    const char *version;
    struct event_scopes scopes;
    struct u128 subscription;
};
struct consumer;
/* Takes over `settings`. The subscription is looked up in `schema`. */
struct consumer *consumer_start(const struct consumer_config *config, struct kafka_settings *settings,
                                struct schema *schema, const struct schema_defaults *defaults);
/* The schema changed, but nothing that needs another consumer. */
void consumer_set_schema(struct consumer *c, struct schema *schema, const struct schema_defaults *defaults);
/* Read no more, wait a moment for what is on its way, leave the group. `stopped` later, after which the
 * consumer is gone; bounded to a few seconds even if the brokers do not answer. */
void consumer_stop(struct consumer *c, void (*stopped)(void *ctx), void *ctx);

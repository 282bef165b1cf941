/* From a record of a topic to an Invoke record of the log (spec/ingress.md §12.3, §12.4). Pure: the same
 * record always becomes the same invocation, for the same partition, so that reading it again is harmless. */
#pragma once
#include "metadata/schema.h"

/* More would not pass between nodes. */
#define EVENT_MAX_BYTES (32u << 20)

struct kafka_event {
    struct slice topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;          /* negative: none */
    struct slice key, value;       /* ptr NULL: none */
    struct slice scope, limit_key; /* of its headers; ptr NULL: none, or not looked at */
};

/* Scopes from the headers of records (experimental-enable-kafka-scope), and what else is switched on. */
struct event_scopes {
    bool from_headers;
    bool allowed, of_objects; /* scoped invocations at all (vqueues); those of virtual objects */
};

struct event_target {
    const struct schema *schema;
    const struct schema_defaults *defaults;
    const struct schema_subscription *subscription;
    struct u128 producer; /* of the topic partition */
    const char *version;
    struct event_scopes scopes;
};

/* Identifies the source of a sequence of offsets in the deduplication of partitions. */
struct u128 event_producer(struct u128 subscription, struct slice group, struct slice topic,
                           int32_t partition);
/* `record`: a complete record (but for the time) of dedup kind PRODUCER; `partition_key` is where it goes.
 * RC_INVALID, RC_TOO_LARGE: this record can never become an invocation; RC_NOT_FOUND: not as long as the
 * target is not registered, or its deployment is deprecated; RC_UNSUPPORTED: its scope needs a switch of the
 * configuration. */
enum rc event_to_record(const struct event_target *target, const struct kafka_event *event,
                        struct bytes *record, uint64_t *partition_key, struct err *err);

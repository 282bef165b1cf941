/* What librdkafka is told for a subscription: the properties of its cluster, its own options over them, and
 * what this server needs itself (spec/ingress.md §12.2). Pure. */
#pragma once
#include "metadata/schema.h"

enum reset_policy { RESET_LATEST, RESET_EARLIEST, RESET_ERROR };

struct kafka_settings { /* owned */
    struct {
        struct schema_header *items; /* name and value on the heap */
        size_t len, cap;
    } properties;
    enum reset_policy reset; /* where a topic partition without a committed offset begins */
    uint64_t hash;           /* of everything: another one means another consumer */
};
void kafka_settings_init(struct kafka_settings *out, const struct schema_kafka_cluster *cluster,
                         const struct schema_subscription *subscription);
void kafka_settings_free(struct kafka_settings *s);
const char *kafka_settings_get(const struct kafka_settings *s, const char *name); /* or NULL */

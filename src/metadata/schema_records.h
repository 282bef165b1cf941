/* The schema as records (BETTER B16): one per deployment and one per change of service options, JSON texts
 * with a version of their own, validated when read.
 *
 *   schema/deployment/<deployment id>              a deployment with its services as announced
 *   schema/options/<deployment id>/<service>       options patched with PATCH /services onto one revision
 *   schema/kafka-cluster/<name>                    a Kafka cluster (metadata/schema_kafka.h)
 *   schema/subscription/<subscription id>          a subscription
 *   schema/head                                    version of the schema and the last edit, see
 * metadata/schema_store.h */
#pragma once
#include "metadata/schema.h"

#define SCHEMA_PREFIX              "schema/"
#define SCHEMA_DEPLOYMENT_PREFIX   "schema/deployment/"
#define SCHEMA_OPTIONS_PREFIX      "schema/options/"
#define SCHEMA_CLUSTER_PREFIX      "schema/kafka-cluster/"
#define SCHEMA_SUBSCRIPTION_PREFIX "schema/subscription/"
#define SCHEMA_HEAD_KEY            "schema/head"

struct schema_record {
    struct slice key, value;
};

/* Build a snapshot from all records (those with other keys are ignored). RC_CORRUPT with the key in the
 * sentence. */
enum rc schema_decode(const struct schema_record *records, size_t n, uint32_t version, struct schema **out,
                      struct err *err);
/* A snapshot without anything, version 0. */
struct schema *schema_empty(void);

/* What schema.c, schema_records.c and schema_edit.c know of each other. A snapshot is a list of boxes; a box
 * is one immutable deployment with everything that it owns, shared by all snapshots that contain it. */
#pragma once
#include <stdatomic.h>

#include "metadata/arena.h"
#include "metadata/manifest.h"
#include "metadata/schema.h"
#include "metadata/schema_records.h"

struct options_record { /* a stored patch that is in force */
    const char *service;
    const char *json;
};
struct deployment_box {
    _Atomic uint32_t refs;
    struct arena arena;
    struct schema_deployment d;
    const char *record_json;
    struct options_record *patches;
    size_t n_patches;
};

/* Decode one deployment record and lay the patches over it; those for another revision or an unknown service
 * are dropped. RC_INVALID. */
enum rc deployment_box_new(struct slice record_json, const struct options_record *patches, size_t n_patches,
                           struct deployment_box **out, struct err *err);
struct deployment_box *deployment_box_ref(struct deployment_box *b);
void deployment_box_unref(struct deployment_box *b);

/* A Kafka cluster or a subscription, with everything that it owns. */
struct kafka_box {
    _Atomic uint32_t refs;
    struct arena arena;
    bool is_cluster;
    union {
        struct schema_kafka_cluster cluster;
        struct schema_subscription subscription;
    };
};
/* Decode one record; `key` is its whole key. RC_INVALID. */
enum rc kafka_box_new(struct slice key, struct slice record_json, struct kafka_box **out, struct err *err);
/* Is this the key of such a record? */
bool kafka_box_key(struct slice key);
struct kafka_box *kafka_box_ref(struct kafka_box *b);
void kafka_box_unref(struct kafka_box *b);

/* A snapshot of these boxes; takes the references, frees nothing else. */
struct schema *schema_build(uint32_t version, struct deployment_box *const *boxes, size_t n,
                            struct kafka_box *const *kafka, size_t n_kafka);
size_t schema_kafka_boxes(const struct schema *s, struct kafka_box *const **out);
size_t schema_boxes(const struct schema *s, struct deployment_box *const **out);

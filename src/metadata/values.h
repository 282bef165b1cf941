/* The typed values of cluster metadata, in the reference's storage encoding - the only one there is, because
 * operators' tools read and write these values themselves (spec/restatectl.md §7.5, spec/cluster.md §0.3):
 * partition table and leader epochs here, nodes and logs in nodes_config.h and logs_config.h.
 *
 * Decoding validates; RC_CORRUPT names what is wrong. Strings and arrays live in the arena. Unknown members
 * are dropped. */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"
#include "metadata/logs_config.h"
#include "metadata/nodes_config.h"
#include "metadata/replication.h"

/* ---- partition table: key ranges follow from the number of partitions, which is fixed at provisioning ----
 */
#define PARTITION_TABLE_KEY "partition_table"
#define PARTITIONS_MAX      65535u
struct key_range {
    uint64_t start, end; /* inclusive */
};
struct partition_table {
    uint32_t version;
    uint32_t n_partitions;
    struct replication replication; /* copies of a partition */
};
/* Range of partition `i` of `n` (spec/invocation-lifecycle.md §2.3). */
struct key_range partition_key_range(uint32_t n, uint32_t i);
uint32_t partition_of_key(uint32_t n, uint64_t key);
void partition_table_encode(struct writer *w, const struct partition_table *t);
/* Refuses tables whose ranges or logs are not the equal ranges and the logs of the same number. */
enum rc partition_table_decode(struct slice stored, struct partition_table *out, struct err *err);

/* ---- epoch metadata of a partition: leadership and placement (spec/cluster.md §4.3) ---- */
#define EPOCH_KEY_PREFIX "pp_epoch_"
#define EPOCH_KEY_SIZE   24
void epoch_key(uint32_t partition, char out[EPOCH_KEY_SIZE]); /* pp_epoch_<p> */
/* The other way round; false if this is no such key. */
bool epoch_key_parse(struct slice key, uint32_t *partition);

struct context_entry {
    const char *key, *value;
};
/* A set of nodes that hold the partition. Version 0: none yet. */
struct partition_configuration {
    uint32_t version;
    struct replication replication;
    uint32_t *replicas; /* plain node ids */
    size_t n_replicas;
    uint64_t modified_at_ms; /* unix */
    struct context_entry *context;
    size_t n_context;
};
struct epoch_metadata {
    uint32_t version;
    uint64_t epoch;                    /* of the last claim; goes up by one with each claim */
    uint32_t node_id, node_generation; /* the last claimer; 0: nobody yet */
    struct partition_configuration current, next;
    bool has_next;
    const char *leadership_freeze, *placement_freeze; /* reasons; NULL: not frozen */
    uint32_t affinity_node;                           /* 0: none */
    const char *affinity_location;                    /* NULL: none */
};
void epoch_metadata_encode(struct writer *w, uint32_t partition, const struct epoch_metadata *e);
/* Refuses the value of another partition. */
enum rc epoch_metadata_decode(struct arena *a, struct slice stored, uint32_t partition,
                              struct epoch_metadata *out, struct err *err);
/* Claim leadership: version and epoch + 1. */
void epoch_metadata_claim(struct epoch_metadata *e, uint32_t node_id, uint32_t generation);
/* The first configuration; `e` is all zero for a partition that has no value yet (it becomes version 1, epoch
 * 1, led by nobody). The configuration gets the version of the value, so that configuration versions never
 * repeat even if an old writer dropped the member. The array is borrowed. */
void epoch_metadata_set_initial(struct epoch_metadata *e, const struct replication *replication,
                                uint32_t *replicas, size_t n, uint64_t now_ms);
/* Prepare (or prepare anew) a configuration: version + 1, next.version = (next or current).version + 1. A
 * partition that has a current one. The array is borrowed. */
void epoch_metadata_set_next(struct epoch_metadata *e, const struct replication *replication,
                             uint32_t *replicas, size_t n, uint64_t now_ms);
/* The prepared configuration becomes the current one: version + 1. */
void epoch_metadata_complete_next(struct epoch_metadata *e);
bool configuration_has(const struct partition_configuration *c, uint32_t node_id);
/* True if the node holds the partition, or is about to: its processor belongs to current and next. */
bool epoch_metadata_has(const struct epoch_metadata *e, uint32_t node_id);

/* Hybrid timestamp of a wall clock (spec/restatectl.md §7.7). */
uint64_t hybrid_timestamp(uint64_t wall_ms);
uint64_t hybrid_wall_ms(uint64_t hybrid); /* back; `hybrid` is not 0 */

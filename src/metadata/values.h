/* The typed values of cluster metadata that a node needs now (spec/cluster.md §1.2, §1.3, §2.1, §4.1, §4.3),
 * each a JSON record with a format version, validated when read. Numbers above 2^53 are written as decimal
 * strings. */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"

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
    uint32_t replication; /* copies of a partition; 1 on a single node */
};
/* Range of partition `i` of `n` (spec/invocation-lifecycle.md §2.3). */
struct key_range partition_key_range(uint32_t n, uint32_t i);
uint32_t partition_of_key(uint32_t n, uint64_t key);
void partition_table_encode(struct writer *w, const struct partition_table *t);
enum rc partition_table_decode(struct slice json, struct partition_table *out, struct err *err);

/* ---- nodes configuration: identity of the cluster and its nodes ---- */
#define NODES_CONFIG_KEY "nodes_config"
enum node_role { /* bit set */
    ROLE_ADMIN = 1,
    ROLE_HTTP_INGRESS = 2,
    ROLE_LOG_SERVER = 4,
    ROLE_METADATA_SERVER = 8,
    ROLE_WORKER = 16,
};
/* "admin", "http-ingress", ...; 0 if unknown. */
uint32_t node_role_parse(struct slice name);
const char *node_role_name(enum node_role role);
struct node_entry {
    uint32_t id, generation;
    const char *name, *address;
    uint32_t roles; /* enum node_role bits */
    bool tombstone; /* removed; the id is never used again */
};
struct nodes_config {
    uint32_t version;
    const char *cluster_name;
    uint64_t cluster_fingerprint; /* not 0 */
    struct node_entry *nodes;    /* by id */
    size_t n_nodes;
};
/* 11 base62 characters. */
void cluster_fingerprint_format(uint64_t fingerprint, char out[12]);
void nodes_config_encode(struct writer *w, const struct nodes_config *c);
/* Strings and nodes live in `a`. */
enum rc nodes_config_decode(struct arena *a, struct slice json, struct nodes_config *out, struct err *err);
const struct node_entry *nodes_config_by_name(const struct nodes_config *c, const char *name);
/* Register or restart the node of this name: its generation goes up by one, a new one gets the next id that
 * was never used. The version goes up by one. Strings are not copied. Returns the node's entry inside `c`,
 * whose array is moved to `a`. */
struct node_entry *nodes_config_join(struct arena *a, struct nodes_config *c, const char *name,
                                      const char *address, uint32_t roles);

/* ---- leader epoch of a partition ---- */
#define EPOCH_KEY_SIZE 24
void epoch_key(uint32_t partition, char out[EPOCH_KEY_SIZE]); /* pp_epoch_<p> */
struct leader_epoch {
    uint32_t version;
    uint64_t epoch;                    /* of the last claim; goes up by one with each claim */
    uint32_t node_id, node_generation; /* the claimer */
};
void leader_epoch_encode(struct writer *w, const struct leader_epoch *e);
enum rc leader_epoch_decode(struct slice json, struct leader_epoch *out, struct err *err);

/* Becoming a member of a provisioned cluster: register this process (generation + 1), learn the partition
 * table, and claim leadership epochs (spec/cluster.md §1.8, §1.9, §4.3). On a single node
 * all of it is a handful of compare-and-swaps on the local metadata store. */
#pragma once
#include "metadata/kv.h"
#include "metadata/values.h"
#include "node/config.h"

struct joined {
    uint32_t node_id, generation;
    uint64_t fingerprint;
    uint32_t n_partitions;
    uint32_t nodes_config_version;
    bool idempotent_sharding; /* cluster feature */
};
struct join;
/* `known_fingerprint` 0: this node was never provisioned. `advertised` is the node port's address. `done`
 * once: err NULL on success; fatal otherwise, except RC_AGAIN: not provisioned, nobody that knows answers, or
 * other nodes wrote at the same time (the caller waits and calls again). Everything on the loop of `kv`. */
void join_start(struct env *env, struct kv *kv, const struct node_config *config, const char *advertised,
                uint64_t known_fingerprint,
                void (*done)(void *ctx, const struct joined *joined, const struct err *err), void *ctx);

/* After the roles have started: this node's states in the nodes configuration leave `provisioning` (worker
 * active, metadata member). `done` with NULL on success; RC_AGAIN as above, and nothing is harmed by calling
 * again. */
void join_activate(struct env *env, struct kv *kv, uint32_t node_id,
                   void (*done)(void *ctx, const struct err *err), void *ctx);
/* The storage state of this node: the log-server's store is ready, or lost (spec/cluster.md §5.12). `done` as
 * above. */
void join_set_storage(struct env *env, struct kv *kv, uint32_t node_id, enum storage_state state,
                      void (*done)(void *ctx, const struct err *err), void *ctx);

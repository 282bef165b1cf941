/* Provisioning a cluster: its identity, the settings of its logs and its partition table, the first content
 * of its metadata store (spec/cluster.md §1.9). All three become durable together, as the first snapshot of
 * the metadata server that is provisioned. */
#pragma once
#include "base/env.h"
#include "metadata/kv_table.h"
#include "metadata/values.h"
#include "node/config.h"

struct provision_settings {
    uint32_t n_partitions;
    struct replication partition_replication, log_replication;
    enum log_provider provider;
    uint32_t target_nodeset_size;
    bool idempotent_sharding; /* the cluster feature */
};
/* What the node's configuration says. */
void provision_settings_from(const struct node_config *c, struct provision_settings *out);
/* RC_INVALID: outside of the documented limits. RC_UNSUPPORTED: more than this server can do. */
enum rc provision_settings_check(const struct provision_settings *s, struct err *err);

/* The values, with this node registered as generation 1 in state provisioning. */
struct provision_identity {
    uint32_t node_id;
    uint64_t fingerprint;
};
void provision_values(struct env *env, const struct node_config *config, const char *advertised,
                      const struct provision_settings *settings, struct kv_table *out,
                      struct provision_identity *identity);

/* Into an external store, which other nodes may provision at the same moment: each value only where there is
 * none, the nodes configuration first, since it decides who wins. The loser, too, completes what is missing:
 * the winner may be dead. Takes over `values`. `done` once, never from inside: NULL - this node has
 * provisioned; RC_EXISTS - somebody had, or has, and nothing is missing; RC_CONFLICT: the store belongs to
 * another cluster; otherwise nothing was reached that cannot be tried again. */
void provision_store(struct kv *kv, const char *cluster_name, struct kv_table *values,
                     void (*done)(void *ctx, const struct err *err), void *ctx);

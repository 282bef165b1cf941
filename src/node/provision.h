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

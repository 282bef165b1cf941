/* Provisioning a cluster: its identity, the settings of its logs and its partition table, each written only
 * if absent (spec/cluster.md §1.9). The first write decides who provisions; the others are completed by
 * whoever comes next, so a crash in between is repaired by repeating. */
#pragma once
#include "metadata/kv.h"
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

/* Registers this node as generation 1 in state provisioning. `newly` is false if the cluster had an identity
 * already. Everything on the loop of `kv`; `done` once, never from inside. */
void provision_start(struct env *env, struct kv *kv, const struct node_config *config, const char *advertised,
                     const struct provision_settings *settings,
                     void (*done)(void *ctx, bool newly, const struct err *err), void *ctx);

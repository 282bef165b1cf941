/* All chains of a cluster and the settings for new segments, at one version of `bifrost_config`: an immutable
 * value that all loops of a process share, and its conversion from and to the stored form
 * (metadata/logs_config.h). */
#pragma once
#include "bifrost/chain.h"
#include "metadata/logs_config.h"

struct chain_set {
    _Atomic uint32_t refs;
    uint32_t version;
    /* Of new segments. Provider `local` is one copy on the writer's node. */
    struct replication replication;
    unsigned target_nodeset_size;
    struct chain *chains; /* by log id */
    size_t n;
};
struct chain_set *chain_set_new(const struct logs_config *c);
struct chain_set *chain_set_ref(struct chain_set *s);
void chain_set_unref(struct chain_set *s); /* NULL: nothing */
/* NULL: there is no such log. */
const struct chain *chain_set_find(const struct chain_set *s, uint32_t log_id);

/* One chain from its stored form. */
struct chain chain_from_stored(const struct log_chain *stored);
/* Put the chain in place of the one of the same log, or add it. The stored form has one segment per LSN, so
 * the empty segment that a marker seals is left out. Memory comes from `a`; what is new is created at `now`,
 * a hybrid timestamp. */
void logs_config_put_chain(struct arena *a, struct logs_config *c, const struct chain *chain, uint64_t now);

/* What this node knows of the cluster's metadata: the newest values of nodes configuration, logs and
 * partition table that passed through its metadata store, decoded and as stored (spec/cluster.md §2.6). Only
 * moves forward. Owned by the main loop. */
#pragma once
#include "controller/epochs.h"
#include "metadata/kv.h"
#include "metadata/values.h"

struct cluster_view_value {
    struct arena arena;  /* what was decoded */
    struct bytes stored; /* empty: nothing known yet */
    uint32_t version;    /* 0 with it */
};
struct cluster_view {
    struct cluster_view_value nodes_value, logs_value, table_value;
    struct nodes_config nodes;
    struct logs_config logs;
    struct partition_table table;

    const struct epochs *epochs; /* NULL before the node has joined */
};
/* A value that was read or written. True if it is news about one of the three. A value that does not decode
 * is logged and ignored: writers from outside are checked before (cluster_view_check). */
bool cluster_view_seen(struct cluster_view *v, const struct kv_entry *entry);
/* May an operator write this value? Values of other keys: always. RC_INVALID with a sentence: it does not
 * decode, its version is not that of the entry, or it changes what cannot be changed (identity of the
 * cluster, number of partitions, the chains of the logs, the leader of a partition). */
enum rc cluster_view_check(const struct cluster_view *v, const struct kv_entry *entry, struct err *err);
/* Is it one of the keys that the server itself lives on and that must not be deleted? */
bool cluster_view_is_system_key(struct slice key);
void cluster_view_free(struct cluster_view *v);

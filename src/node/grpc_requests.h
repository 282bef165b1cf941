/* Requests of the operator services as they come from outside (spec/restatectl.md §6), read into structs:
 * pure functions, apart from what the methods do with them. Slices point into the message. Unknown fields are
 * skipped; errors are RC_INVALID with the sentence for the caller. */
#pragma once
#include <jansson.h>

#include "bifrost/nodeset.h"
#include "node/provision.h"

/* Messages whose fields are plain numbers: fields 1 to `n` into `out` (0: absent). */
enum rc numbers_request_decode(struct slice message, uint64_t *out, size_t n, struct err *err);

/* SealChain and SealAndExtendChain. */
struct log_change_request {
    uint64_t log_id;
    bool has_index;
    uint64_t index;
    uint64_t min_version;
    /* seal */
    uint64_t forced_tail; /* 0: find it */
    json_t *context;      /* NULL: none; the caller's */
    /* extend */
    bool has_replication;
    struct replication replication;
    struct nodeset nodes;
    uint32_t sequencer; /* 0: not given */
};
enum rc seal_request_decode(struct slice message, struct log_change_request *out, struct err *err);
/* RC_UNSUPPORTED: another provider than `replicated`. */
enum rc extend_request_decode(struct slice message, struct log_change_request *out, struct err *err);

/* ProvisionCluster: what is given goes over what stands in `settings`. */
struct provision_request {
    struct provision_settings settings;
    bool dry_run;
};
enum rc provision_request_decode(struct slice message, struct provision_request *q, struct err *err);

/* SetClusterConfiguration: as provisioning. */
struct config_request {
    struct provision_settings wanted;
    bool has_configuration, has_provider, has_partition_replication, has_log_replication;
};
enum rc config_request_decode(struct slice message, struct config_request *q, struct err *err);

/* Get, GetVersion, Put, Delete of metadata. Numbers of the fields after the key; 0: there is no such field.
 */
struct store_request_layout {
    uint32_t value, precondition, fingerprint, cluster_name;
};
extern const struct store_request_layout store_get_layout, store_put_layout, store_delete_layout;
struct store_request {
    struct slice key, value, cluster_name;
    bool has_value, has_version, has_precondition, has_cluster_name;
    uint64_t version, precondition, expected, fingerprint;
};
bool store_request_decode(struct slice message, const struct store_request_layout *layout,
                          struct store_request *out);

/* SyncEpochMetadata: calls back for each partition; false: none was named, all are meant. */
bool sync_request_each(struct slice message, void (*visit)(void *ctx, uint64_t partition), void *ctx);

/* Query, MigrateMetadata: the bytes of one field; false if malformed. */
bool bytes_request_decode(struct slice message, uint32_t number, struct slice *out);

/* Kafka clusters and subscriptions in the schema: their URIs, secrets, and edits (spec/admin-api.md §12, §13;
 * spec/ingress.md §12.1, §12.2). Pure, as metadata/schema_edit.h; the records are JSON, see schema_records.h.
 *
 * Clusters may also stand in the configuration file (deprecated, but it works): those are given to the edits
 * as `fixed`; of two with one name the one in the schema is used. */
#pragma once
#include "metadata/schema_edit.h"

struct schema_fixed_clusters {
    const struct schema_kafka_cluster *items;
    size_t n;
};

/* Parts of scheme://authority/path: the path without its first slash and without a query, nothing decoded.
 * `scheme.ptr` or `authority.ptr` is NULL when there is none. False: not a URI. */
struct kafka_uri {
    struct slice scheme, authority, path;
};
bool kafka_uri_parse(struct slice text, struct kafka_uri *out);
/* May this be the name of a cluster: a valid authority of a URI. */
bool kafka_cluster_name_valid(struct slice name);
/* Properties whose values nobody is shown again. */
bool kafka_property_secret(const char *name);
#define KAFKA_SECRET_SHOWN "***"

/* The cluster by name, the schema's before a fixed one; NULL: there is none. */
const struct schema_kafka_cluster *
schema_find_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed, struct slice name);

/* `properties` need not be sorted; of two with one name the last counts. */
bool schema_create_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, const struct schema_header *properties, size_t n,
                           uint64_t now_ms, struct schema_change *out, struct problem *problem);
/* Replaces all properties; a secret that comes as "***" keeps its value. */
bool schema_update_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, const struct schema_header *properties, size_t n,
                           struct schema_change *out, struct problem *problem);
/* Without `force` not while subscriptions read from it. */
bool schema_delete_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, bool force, struct schema_change *out, struct problem *problem);

struct schema_subscribe {
    const char *source, *sink; /* valid URIs */
    const struct schema_header *options;
    size_t n_options;
    bool paused, skip_bad;
};
bool schema_create_subscription(const struct schema *s, const struct schema_fixed_clusters *fixed,
                                const struct schema_subscribe *r, struct u128 new_id,
                                struct schema_change *out, struct problem *problem);
/* -1 leaves a flag alone. */
bool schema_patch_subscription(const struct schema *s, struct u128 id, int paused, int skip_bad,
                               struct schema_change *out, struct problem *problem);
bool schema_delete_subscription(const struct schema *s, struct u128 id, struct schema_change *out,
                                struct problem *problem);

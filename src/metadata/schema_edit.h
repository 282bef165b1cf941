/* Edits of the schema: pure functions from (snapshot, request, discovery, clock, new id) to the next snapshot
 * and the records that make it durable (spec/admin-api.md §7, §8). Nothing is stored here:
 * metadata/schema_store.h does that. */
#pragma once
#include "base/containers.h"
#include "metadata/manifest.h"
#include "metadata/schema.h"

struct schema_op {
    char *key;
    char *value; /* NULL: the record is deleted */
};
/* What an edit did. Owns its memory; schema_change_free when done. */
struct schema_change {
    struct schema *next;
    struct {
        struct schema_op *items;
        size_t len, cap;
    } ops; /* empty: nothing changed */
};
void schema_change_free(struct schema_change *c);

/* What discovery found. `manifest` is lent. */
struct schema_discovered {
    bool http_1_1;
    const char *sdk_version; /* NULL */
    const struct manifest *manifest;
};

struct schema_register {
    enum deployment_kind kind;
    const char *uri; /* normal form (metadata/deployment_uri.h) */
    const char *arn, *assume_role_arn;
    const struct schema_header *headers; /* names in lower case */
    size_t n_headers;
    const char *metadata_json; /* object of strings or NULL */
    bool overwrite, breaking;  /* overwrite implies breaking */
};
enum schema_register_outcome { SCHEMA_CREATED, SCHEMA_OVERWRITTEN };

/* The deployment that counts as the same (§7.1), the latest if there are several, or NULL. Header names
 * listed in `routing_headers` must carry equal values. */
const struct schema_deployment *schema_find_same(const struct schema *s, const struct schema_register *r,
                                                 const char *const *routing_headers,
                                                 size_t n_routing_headers);
/* `same`: the result of schema_find_same on `s`, when overwriting. `now_ms` becomes created_at. */
bool schema_register(const struct schema *s, const struct schema_register *r,
                     const struct schema_deployment *same, const struct schema_discovered *found,
                     uint64_t now_ms, struct u128 new_id, struct schema_change *out,
                     enum schema_register_outcome *outcome, struct u128 *id, struct problem *problem);

/* PATCH /deployments/{id}: address and headers as they shall be. */
struct schema_update {
    enum deployment_kind kind;
    const char *uri, *arn, *assume_role_arn;
    const struct schema_header *headers;
    size_t n_headers;
    bool overwrite; /* take over the services that were discovered, at their revision numbers */
};
bool schema_update_deployment(const struct schema *s, struct u128 id, const struct schema_update *u,
                              const struct schema_discovered *found, struct schema_change *out,
                              struct problem *problem);
bool schema_delete_deployment(const struct schema *s, struct u128 id, struct schema_change *out,
                              struct problem *problem);

/* PATCH /services/{service}: OPTION_UNSET and -1 leave a value alone. */
struct schema_service_patch {
    int8_t is_public;
    uint64_t idempotency_retention_ms, workflow_completion_retention_ms, journal_retention_ms;
    uint64_t inactivity_timeout_ms, abort_timeout_ms;
};
void schema_service_patch_init(struct schema_service_patch *p);
bool schema_service_patch_empty(const struct schema_service_patch *p);
bool schema_patch_service(const struct schema *s, struct slice service,
                          const struct schema_service_patch *patch, struct schema_change *out,
                          struct problem *problem);

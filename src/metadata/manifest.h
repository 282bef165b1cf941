/* The discovery manifest of an endpoint (spec/service-protocol.md §2.4 to §2.6): parsing with its closed
 * schema, and the checks of the admin API (spec/admin-api.md §7.3). */
#pragma once
#include "metadata/arena.h"
#include "metadata/json.h"
#include "metadata/problem.h"
#include "metadata/schema.h"

/* Service protocol versions that a new deployment may bring. */
#define SERVICE_PROTOCOL_MIN 5u
#define SERVICE_PROTOCOL_MAX 7u

struct manifest_service { /* shape checked, not yet the checks of §7.3 */
    const char *name;
    enum service_type type;
    const json_t *json;
};
struct manifest {
    json_t *root; /* owns everything below */
    bool request_response;
    uint32_t min_protocol_version, max_protocol_version;
    bool lambda_zstd;
    struct manifest_service *services;
    size_t n_services;
};

/* Parse the body of a discovery answer: JSON, closed schema, protocol mode and versions. `sdk_version` is the
 * x-restate-server header or NULL (old TypeScript SDKs lie about their range); `lambda` refuses bidirectional
 * streaming. On success the caller frees with manifest_free; on failure `problem` holds what the admin API
 * answers and nothing is to be freed. */
bool manifest_parse(struct slice body, const char *sdk_version, bool lambda, struct manifest *out,
                    struct problem *problem);
void manifest_free(struct manifest *m);

/* Shape of one service object (used again when a stored record is read): RC_INVALID with path and reason. */
enum rc manifest_service_shape(const json_t *service, struct manifest_service *out, struct err *err);
/* Turn a service into its schema form, allocated in `a` (revision and deployment are left to the caller),
 * applying the checks of spec/admin-api.md §7.3 that answer 400. */
bool manifest_service_build(struct arena *a, const struct manifest_service *service,
                            struct schema_service *out, struct problem *problem);
/* 400 META0005: names that belong to the server. */
bool manifest_service_name_allowed(const char *name, struct problem *problem);

/* "Service", "VirtualObject", "Workflow": as REST bodies and messages print it. */
const char *service_type_name(enum service_type type);
/* Everything unset. */
void service_options_init(struct service_options *o);
/* A JSON schema as far as it is checked: keywords have the right types and references stay inside. RC_INVALID
 * with the reason. */
enum rc json_schema_check(const json_t *schema, struct err *err);

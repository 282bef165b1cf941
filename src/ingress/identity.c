/* Identity of invocations (ingress/identity.h). */
#include "ingress/identity.h"

#define SERVICE_BUCKETS 512

struct invocation_id identity_derived(const struct derived_target *t, bool bucketed)
{
    struct invocation_id id;
    if (t->scope.ptr)
        id.partition_key = partition_key_of_key(t->scope);
    else if (t->key.ptr)
        id.partition_key = partition_key_of_key(t->key);
    else if (bucketed)
        id.partition_key =
            partition_key_of_service_bucket(t->service, idempotency_bucket(t->idempotency_key));
    else
        id.partition_key = partition_key_of_key(t->idempotency_key);
    id.uuid = t->workflow_run
                  ? workflow_run_uuid(t->scope, t->service, t->key)
                  : idempotency_uuid(t->scope, t->service, t->key, t->handler, t->idempotency_key);
    return id;
}

struct invocation_id identity_random(const struct derived_target *t, uint64_t wall_ms,
                                     const uint64_t random[3])
{
    struct invocation_id id;
    if (t->scope.ptr)
        id.partition_key = partition_key_of_key(t->scope);
    else if (t->key.ptr)
        id.partition_key = partition_key_of_key(t->key);
    else
        id.partition_key =
            partition_key_of_service_bucket(t->service, (uint32_t)(random[0] % SERVICE_BUCKETS));
    id.uuid = ulid_make(wall_ms, random[1], random[2]);
    return id;
}

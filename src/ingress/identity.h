/* Identity of invocations as the ingress computes it before dispatch (spec/ingress.md §5.4). Pure. */
#pragma once
#include "wire/id.h"

/* What the invocation id of an idempotent request or a workflow run is derived from. */
struct derived_target {
    bool workflow_run;
    struct slice service;
    struct slice key;             /* ptr NULL if not keyed */
    struct slice handler;         /* not for workflow runs */
    struct slice idempotency_key; /* not for workflow runs */
    struct slice scope;           /* ptr NULL if none */
};
/* `bucketed`: the cluster feature controlled-idempotent-sharding. */
struct invocation_id identity_derived(const struct derived_target *t, bool bucketed);
/* For requests without any idempotency: a time-ordered random id; services get a random bucket. */
struct invocation_id identity_random(const struct derived_target *t, uint64_t wall_ms,
                                     const uint64_t random[3]);

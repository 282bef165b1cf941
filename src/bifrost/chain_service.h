/* The chains of all logs over cluster metadata: one service per process, on the loop of the key-value store.
 * Questions and changes of many logs that come together share one read and one compare-and-swap of
 * `bifrost_config` (spec/cluster.md §5.1). Deterministic: it needs an env and a `struct kv`. */
#pragma once
#include "bifrost/chain_set.h"
#include "metadata/kv.h"

struct chain_service;

struct chain_service_config {
    struct env *env;
    struct kv *kv;
    /* There is a newer version. Take a reference to keep it. */
    void (*changed)(void *ctx, struct chain_set *set);
    void *ctx;
};
struct chain_service *chain_service_new(const struct chain_service_config *config);
/* Nothing may be in progress. */
void chain_service_free(struct chain_service *s);
/* A value of `bifrost_config` that is committed, from wherever; older ones are ignored. */
void chain_service_on_logs_config(struct chain_service *s, struct bytes value, uint32_t version);
/* The newest known; NULL: none yet. Lent. */
struct chain_set *chain_service_newest(struct chain_service *s);

/* One question or change. Embedded in its owner, who keeps it until `answer`. */
struct chain_ask {
    struct list link; /* private */
    uint32_t log_id;
    bool swap, has_expected;
    struct chain expected, next; /* of a swap; the owner's */
    /* Never from inside chain_service_ask. `set`: the newest, lent; NULL with an error.
     * read: RC_OK, RC_NOT_FOUND (no such log). swap: RC_OK, RC_CONFLICT. Anything else: unknown. */
    void (*answer)(struct chain_ask *ask, enum rc rc, struct chain_set *set);
};
void chain_service_ask(struct chain_service *s, struct chain_ask *ask);

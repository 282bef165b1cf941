/* The versioned key-value interface below cluster metadata (spec/cluster.md §2.1, §2.2): one linearizable
 * register per key. Providers: `replicated` (metadata/raft_client.h), `etcd` (metadata/etcd_client.h),
 * `object-store` (node/object_kv.h).
 *
 * Threading: an operation belongs to one loop. `done` runs exactly once on that loop, never from inside
 * kv_submit. */
#pragma once
#include "base/containers.h"

#define KV_KEY_MAX   512u
#define KV_VALUE_MAX (8u << 20)

enum kv_precondition { KV_NONE = 1, KV_DOES_NOT_EXIST = 2, KV_MATCHES_VERSION = 3 };
enum kv_op_kind { KV_GET, KV_PUT, KV_DELETE, KV_LIST };

struct kv_entry {
    struct slice key;
    struct bytes value;
    uint32_t version;
};
struct kv_result {
    enum rc rc; /* GET: RC_NOT_FOUND if absent. PUT, DELETE: RC_CONFLICT if the precondition does not hold;
                   RC_NO_SPACE, RC_IO, RC_UNAVAILABLE: not done. RC_TIMEOUT, RC_CLOSED: it may have happened,
                   read back and compare. RC_INVALID, RC_TOO_LARGE: refused */
    const char *message;   /* "" or a sentence */
    struct kv_entry entry; /* GET: valid during the callback, take a reference to the value to keep it */
    const struct kv_entry *entries; /* LIST: in order of keys */
    size_t n_entries;
};
/* Embedded in or allocated by the caller, who keeps it and what `key` points to alive until `done`. */
struct kv_op {
    enum kv_op_kind kind;
    struct slice key;   /* LIST: the prefix */
    struct bytes value; /* PUT: consumed */
    uint32_t version; /* PUT: version attached to the value, chosen by the writer (normally the version read +
                         1), never lower than the one it replaces */
    enum kv_precondition precondition;
    uint32_t expected_version; /* KV_MATCHES_VERSION */
    void (*done)(struct kv_op *op, const struct kv_result *result);
    struct list link; /* private */
    uint64_t private_[2];
};

struct kv;
struct kv_provider {
    void (*submit)(struct kv *kv, struct kv_op *op);
    /* Finishes what is in progress and frees; operations that were not begun answer RC_CLOSED. Not from
     * inside `done`. */
    void (*close)(struct kv *kv);
};
struct kv {
    const struct kv_provider *provider;
};
static inline void kv_submit(struct kv *kv, struct kv_op *op)
{
    kv->provider->submit(kv, op);
}
static inline void kv_close(struct kv *kv)
{
    kv->provider->close(kv);
}

/* An object store: named blobs that are read, written and deleted as a whole, with conditional writes by
 * ETag. Providers: S3 (s3_objects.h), a directory (file_objects.h), memory (memory_objects.h). Used by the
 * snapshot repository (spec/cluster.md §6) and by metadata in an object store (§2.7).
 *
 * Threading: a store handle belongs to one loop; every call and callback is on it. */
#pragma once
#include "base/bytes.h"
#include "base/containers.h"

#define OBJECT_KEY_MAX  1024u
#define OBJECT_ETAG_MAX 128u
#define OBJECT_LIST_MAX 100000u /* keys one listing returns at most */

enum object_op_kind { OBJECT_GET, OBJECT_PUT, OBJECT_DELETE, OBJECT_LIST };
enum object_condition {
    OBJECT_ANY,     /* write whatever is there */
    OBJECT_ABSENT,  /* only if there is no such object (If-None-Match: *) */
    OBJECT_MATCHES, /* only if its ETag is `etag` (If-Match) */
};
struct object_info {
    char *key; /* owned by the operation */
    uint64_t size;
};

/* Embedded in or allocated by the caller, who keeps it and what `key`, `body` and `etag` refer to alive until
 * `done`. */
struct object_op {
    enum object_op_kind kind;
    const char *key;   /* `a/b/c`; LIST: the prefix */
    struct bytes body; /* PUT: stays the caller's reference */
    enum object_condition condition;
    char etag[OBJECT_ETAG_MAX]; /* in: OBJECT_MATCHES. Out: of the object read or written */
    size_t max_bytes;           /* GET: larger objects are refused with RC_TOO_LARGE */
    void (*done)(struct object_op *op);

    /* The outcome, valid from `done` on:
     *   RC_OK
     *   RC_NOT_FOUND     GET: no such object (deleting what is not there is RC_OK)
     *   RC_CONFLICT      PUT: the condition does not hold; nothing was written
     *   RC_UNAVAILABLE   certainly not done, may work later (cannot connect, throttled)
     *   RC_TIMEOUT       PUT, DELETE: undecided - it may have happened, or may still happen
     *   RC_NO_SPACE      not done: the disk is full
     *   RC_INVALID       not done and will not be: no permission, no such bucket, bad name
     *   RC_TOO_LARGE, RC_IO, RC_CORRUPT: not done, the sentence says why
     *   RC_CANCELED      the store was closed; undecided */
    enum rc rc;
    struct err err;
    struct bytes content; /* GET: the receiver's reference, to be dropped or taken over in `done` */
    struct {
        struct object_info *items;
        size_t len, cap;
    } listed; /* LIST: in byte order of the keys; freed with object_op_release */

    struct list link; /* private to the provider */
    void *private_;
};

struct object_store;
struct object_store_ops {
    void (*submit)(struct object_store *s, struct object_op *op);
    void (*close)(struct object_store *s, void (*done)(void *ctx), void *ctx);
};
struct object_store {
    const struct object_store_ops *ops;
};

/* `op->done` runs exactly once, never from inside. Operations run in parallel: whoever needs an order waits.
 */
static inline void object_submit(struct object_store *s, struct object_op *op)
{
    s->ops->submit(s, op);
}
/* Operations that are not finished are broken off (RC_CANCELED); then the store is freed and `done` runs. */
static inline void object_store_close(struct object_store *s, void (*done)(void *ctx), void *ctx)
{
    s->ops->close(s, done, ctx);
}

/* Drop content and listing; the operation may be used again. */
void object_op_release(struct object_op *op);
/* For providers. */
void object_op_reset_result(struct object_op *op);
void object_list_add(struct object_op *op, struct slice key, uint64_t size);
void object_list_sort(struct object_op *op);
/* Non-empty parts between slashes, none of them "." or "..", no control characters. */
bool object_key_is_valid(const char *key);

/* ---- retries ---- */
struct env;
struct object_retry_policy {
    uint64_t initial_ms, max_ms; /* max 0: none */
    double factor;
    unsigned max_attempts; /* counts the first; 0: without end */
};
/* A store that repeats what RC_UNAVAILABLE says may be repeated, and reads, listings, deletions and
 * unconditional writes also after RC_TIMEOUT. Conditional writes with an undecided outcome are the caller's
 * business: it has to look. Takes over `inner`. */
struct object_store *object_retry_new(struct env *env, struct object_store *inner,
                                      const struct object_retry_policy *policy);

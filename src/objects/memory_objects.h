/* An object store in memory, for tests and the simulator: one bucket, any number of handles ("nodes") in one
 * thread, with delays and failures as a test wants them. */
#pragma once
#include "base/env.h"
#include "objects/object_store.h"

struct memory_objects;
/* What happens to one operation. */
enum object_fault {
    OBJECT_FAULT_NONE,
    OBJECT_FAULT_REFUSED,     /* RC_UNAVAILABLE, not done */
    OBJECT_FAULT_LOST,        /* RC_TIMEOUT, not done */
    OBJECT_FAULT_LOST_ANSWER, /* RC_TIMEOUT, done */
    OBJECT_FAULT_LATE,        /* RC_TIMEOUT, and done later */
};
struct memory_objects_hooks {
    /* Asked at the submission of each operation. NULL: no faults. */
    enum object_fault (*fault)(void *ctx, const struct object_op *op);
    /* After each change of the bucket; `content` NULL: deleted. */
    void (*changed)(void *ctx, const char *key, const struct bytes *content);
    void *ctx;
    uint64_t max_delay_ms; /* before and after the operation takes effect, at random; 0: next pass */
    uint64_t late_ms;      /* how late a late one may be */
};
struct memory_objects *memory_objects_new(struct env *env, const struct memory_objects_hooks *hooks);
/* Handles must be closed. Late operations are forgotten. */
void memory_objects_free(struct memory_objects *m);
struct object_store *memory_objects_open(struct memory_objects *m);
/* Look and change without delay. BYTES_EMPTY with ptr NULL if absent; a borrowed reference. */
struct bytes memory_objects_peek(struct memory_objects *m, const char *key);
void memory_objects_poke(struct memory_objects *m, const char *key, struct bytes content_take);
void memory_objects_remove(struct memory_objects *m, const char *key);
/* In order; NULL after the last. `after` NULL: the first. */
const char *memory_objects_next(struct memory_objects *m, const char *after);

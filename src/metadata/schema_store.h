/* The schema in the metadata store: loading, and edits one after the other.
 *
 * The commit point of an edit is one compare-and-swap of `schema/head`, whose value is the edit itself (the
 * records it writes and deletes) and whose version is the version of the schema. The records follow; whoever
 * loads lays the last edit over the records it finds and finishes it before the next one. So an edit of
 * several records happens in full or not at all, and no record holds the whole schema.
 *
 * Everything on the loop of `env`. */
#pragma once
#include "base/env.h"
#include "metadata/kv.h"
#include "metadata/schema_edit.h"

#define SCHEMA_EDITS_WAITING_MAX 256u

struct schema_store;

/* An edit, embedded by the caller and kept until `done`. */
struct schema_edit {
    /* Compute the change against the current snapshot; runs again if another node was faster. False: refused,
     * the problem is kept by the caller. An empty list of operations changes nothing and succeeds. */
    bool (*plan)(struct schema_edit *e, const struct schema *current, struct schema_change *out);
    /* Exactly once, never from inside schema_store_edit. RC_OK: durable, `schema` is the snapshot with it.
     * RC_INVALID: `plan` refused. Otherwise the metadata store failed; `message` says how. RC_TIMEOUT,
     * RC_CLOSED: it may have happened. */
    void (*done)(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema);
    struct list link; /* private */
};

/* `changed` runs for each new snapshot (take a reference to keep it), also for the first; `loaded` once, with
 * what opening came to: what is stored cannot be used, or the key-value store was closed. While it cannot be
 * reached, loading is repeated. */
struct schema_store *schema_store_new(struct env *env, struct kv *kv,
                                      void (*changed)(void *ctx, struct schema *schema),
                                      void (*loaded)(void *ctx, const struct err *err), void *ctx);
/* The current snapshot (lent); never NULL, empty before it was loaded. */
struct schema *schema_store_current(const struct schema_store *s);
/* Between `changed` and the last release, the edit that made the snapshot is not answered: whoever sent it
 * may use what it registered at once. For holders that hand the snapshot to other threads; one release for
 * each hold. */
void schema_store_hold(struct schema_store *s);
void schema_store_release(struct schema_store *s);
/* Another node may have changed the schema: read it again, once the edit in progress is over. */
void schema_store_refresh(struct schema_store *s);
/* RC_OVERLOADED, and `done` does not run, when too many edits wait or the schema was not loaded. */
enum rc schema_store_edit(struct schema_store *s, struct schema_edit *e);
/* Edits in progress and waiting answer RC_CLOSED (the one in progress may happen). The key-value store is
 * closed after this. */
void schema_store_free(struct schema_store *s);

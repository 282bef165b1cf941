/* Snapshots of partitions in an object store (spec/cluster.md §6.2, §6.3): creating with a conditional
 * publish, loading with fall-back to older ones, pruning. A deterministic core over `struct object_store`;
 * many nodes use one repository at the same time.
 *
 * What holds at every moment, whatever crashed and whatever answer got lost (T-b): latest.json names a
 * complete snapshot, and its LSN never decreases. */
#pragma once
#include "base/job.h"
#include "objects/object_store.h"
#include "partition/snapshot_manifest.h"
#include "partition/store.h"

#define SNAPSHOT_GRACE_MS                                                                                    \
    (5u * 60 * 1000) /* a snapshot that is no longer retained stays this long (TR-11)                        \
                      */

struct snapshot_repository;
struct snapshot_repository_config {
    const char *prefix; /* of all keys, "" or "a/b"; copied like the other texts */
    const char *place;  /* for messages: the configured destination */
    const char *cluster_name, *node_name;
    uint64_t fingerprint;  /* of the cluster */
    unsigned num_retained; /* at least 1 */
    uint64_t grace_ms;     /* SNAPSHOT_GRACE_MS */
};
/* Takes over `store` and `scratch`: space for the files of a snapshot that is being loaded, in use by nobody
 * else. `jobs`: for checking and exporting. */
struct snapshot_repository *snapshot_repository_new(struct env *env, struct object_store *store,
                                                    struct object_store *scratch, struct job_runner *jobs,
                                                    const struct snapshot_repository_config *config);
/* Breaks off everything: the callbacks come with RC_CANCELED, then `done`. Nothing may be started any more.
 */
void snapshot_repository_close(struct snapshot_repository *r, void (*done)(void *ctx), void *ctx);

/* What the repository has of a partition. */
struct snapshot_status {
    bool exists;
    struct snapshot_ref latest;
    lsn_t archived; /* of the oldest that is retained: the log may be trimmed to here (§6.4); 0: none */
};
/* RC_CONFLICT: it belongs to another cluster or partition; RC_CORRUPT, RC_UNSUPPORTED, RC_UNAVAILABLE... */
typedef void (*snapshot_status_done)(void *ctx, const struct snapshot_status *s, const struct err *err);
void snapshot_repository_status(struct snapshot_repository *r, uint16_t partition_id,
                                snapshot_status_done done, void *ctx);

/* ---- create ---- */
struct snapshot_create;
struct snapshot_create_request {
    struct partition_store *store;
    uint16_t partition_id;
    uint32_t log_id;
    uint64_t key_start, key_end;
    lsn_t
        min_lsn; /* a snapshot at or above is as good as a new one; 0: only one that has everything applied */
};
struct snapshot_created {
    struct snapshot_ref ref;       /* the new one, or the one that is as good or newer */
    bool existed;                  /* nothing new was published */
    struct snapshot_status status; /* after it */
    uint64_t bytes, rows, files;   /* of the new one */
};
typedef void (*snapshot_create_done)(void *ctx, const struct snapshot_created *c, const struct err *err);
struct snapshot_create *snapshot_create_start(struct snapshot_repository *r,
                                              const struct snapshot_create_request *request,
                                              snapshot_create_done done, void *ctx);
/* `done` comes with RC_CANCELED as soon as the store is not used any more (never from inside); what was
 * uploaded is removed in the background. */
void snapshot_create_cancel(struct snapshot_create *c);

/* ---- load ---- */
struct snapshot_load;
struct snapshot_load_request {
    struct kv_backend *kv;
    uint16_t partition_id; /* its store is closed */
    lsn_t min_lsn;         /* the trim point: older snapshots are of no use */
};
/* RC_NOT_FOUND: there is no snapshot; RC_TRIMMED: only older ones. What cannot be read or verified is skipped
 * and the next older one tried; nothing is changed in the partition before a snapshot was verified
 * completely. */
typedef void (*snapshot_load_done)(void *ctx, const struct snapshot_ref *loaded, const struct err *err);
struct snapshot_load *snapshot_load_start(struct snapshot_repository *r,
                                          const struct snapshot_load_request *request,
                                          snapshot_load_done done, void *ctx);
/* `done` comes with RC_CANCELED when the step under way has ended. */
void snapshot_load_cancel(struct snapshot_load *l);

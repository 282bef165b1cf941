/* When snapshots are made (spec/cluster.md §6.3), and what is known about those that exist. A deterministic
 * core, one per loop, for the partitions of that loop; the work is done by the repository.
 *
 * By itself it makes snapshots of partitions that are led here, looked at every second, for the first time 30
 * to 60 s after its start: when the interval (±10 %) and the number of records since the latest one are
 * exceeded - both, if both are configured. Without a snapshot the interval counts as exceeded. Nothing is
 * made when nothing was applied since. */
#pragma once
#include <stdatomic.h>

#include "partition/snapshot_repository.h"

/* How many exports a node runs at a time, shared by the agents of its loops. */
struct snapshot_slots {
    _Atomic int free;
};

struct snapshot_agent;
struct snapshot_agent_config {
    uint64_t interval_ms; /* 0: not configured */
    uint64_t num_records; /* 0: not configured; with neither there are no automatic snapshots */
};
/* `repository` NULL: none is configured, every request is refused. Neither it nor `slots` is taken over. */
struct snapshot_agent *snapshot_agent_new(struct env *env, struct snapshot_repository *repository,
                                          struct snapshot_slots *slots,
                                          const struct snapshot_agent_config *config);
void snapshot_agent_configure(struct snapshot_agent *a, const struct snapshot_agent_config *config);
/* All partitions must have been removed. */
void snapshot_agent_free(struct snapshot_agent *a);

struct snapshot_partition;
struct snapshot_partition_config {
    uint16_t partition_id;
    uint32_t log_id;
    uint64_t key_start, key_end;
    struct partition_store *store; /* used until snapshot_partition_remove has called back */
    /* What the repository has is known for the first time, or has changed; also when somebody else made it.
     * May be NULL. */
    void (*changed)(void *ctx, const struct snapshot_status *status);
    void *ctx;
};
/* A replica that follows its log. Its status is read at once and then about every five minutes. */
struct snapshot_partition *snapshot_agent_add(struct snapshot_agent *a,
                                              const struct snapshot_partition_config *config);
void snapshot_partition_lead(struct snapshot_partition *p, bool leading);
/* As far as it is known: exists false and archived 0 before the first answer, and when the repository has
 * none or is another cluster's. */
const struct snapshot_status *snapshot_partition_status(const struct snapshot_partition *p);
/* A snapshot on request; waits for its turn. min_lsn 0: of everything that is applied when it begins. Errors:
 * RC_CONFLICT, "Applied LSN below the target LSN: ..."; RC_UNSUPPORTED, no repository; RC_CANCELED; or as
 * snapshot_create_start. Never calls back from inside. */
void snapshot_partition_create(struct snapshot_partition *p, lsn_t min_lsn, snapshot_create_done done,
                               void *ctx);
/* Requests are answered RC_CANCELED; `done`, never from inside, when the store is not used any more. The
 * repository is closed after all partitions were removed. */
void snapshot_partition_remove(struct snapshot_partition *p, void (*done)(void *ctx), void *ctx);

/* How far the log of a partition may be trimmed (spec/cluster.md §6.4): pure functions. */
#pragma once
#include "bifrost/log.h"

enum durability_mode {
    DURABILITY_NONE,                     /* never */
    DURABILITY_REPLICA_SET_ONLY,         /* every replica has it on its disk */
    DURABILITY_SNAPSHOT_ONLY,            /* a snapshot in the repository has it */
    DURABILITY_SNAPSHOT_AND_REPLICA_SET, /* both */
    DURABILITY_BALANCED,                 /* a snapshot and one replica have it */
};
/* The spelling of `worker.durability-mode`; false: another text. */
bool durability_mode_parse(struct slice text, enum durability_mode *out);
const char *durability_mode_name(enum durability_mode mode);
/* What holds when it is not configured: in a cluster `balanced`, else `replica-set-only`. */
enum durability_mode durability_mode_default(bool cluster);
/* More than one worker or copies of the log: what is on this disk is not all there is. */
static inline bool durability_is_cluster(unsigned log_replication, unsigned workers)
{
    return log_replication > 1 || workers > 1;
}
/* Without a repository nothing is ever trimmed in this mode. */
bool durability_needs_snapshots(enum durability_mode mode);

/* The durability point D: everything up to it may be trimmed, 0 is nothing.
 * `durable`: of each replica - all members of the current and of the next replica set - what it has flushed,
 * 0 if that is not known. `archived`: LSN of the oldest snapshot that is retained in the repository that is
 * configured now, 0 without one. */
lsn_t durability_point(enum durability_mode mode, const lsn_t *durable, size_t n_replicas, lsn_t archived);

/* Implementation of partition/durability.h. */
#include "partition/durability.h"

static const char *const names[] = {
    [DURABILITY_NONE] = "none",
    [DURABILITY_REPLICA_SET_ONLY] = "replica-set-only",
    [DURABILITY_SNAPSHOT_ONLY] = "snapshot-only",
    [DURABILITY_SNAPSHOT_AND_REPLICA_SET] = "snapshot-and-replica-set",
    [DURABILITY_BALANCED] = "balanced",
};

bool durability_mode_parse(struct slice text, enum durability_mode *out)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_cstr(text, names[i])) {
            *out = (enum durability_mode)i;
            return true;
        }
    }
    return false;
}

const char *durability_mode_name(enum durability_mode mode)
{
    return names[mode];
}

enum durability_mode durability_mode_default(bool cluster)
{
    return cluster ? DURABILITY_BALANCED : DURABILITY_REPLICA_SET_ONLY;
}

bool durability_needs_snapshots(enum durability_mode mode)
{
    return mode == DURABILITY_SNAPSHOT_ONLY || mode == DURABILITY_SNAPSHOT_AND_REPLICA_SET ||
           mode == DURABILITY_BALANCED;
}

lsn_t durability_point(enum durability_mode mode, const lsn_t *durable, size_t n_replicas, lsn_t archived)
{
    lsn_t least = n_replicas ? UINT64_MAX : 0, most = 0;
    for (size_t i = 0; i < n_replicas; i++) {
        least = MIN(least, durable[i]);
        most = MAX(most, durable[i]);
    }
    switch (mode) {
    case DURABILITY_NONE:
        return 0;
    case DURABILITY_REPLICA_SET_ONLY:
        return least;
    case DURABILITY_SNAPSHOT_ONLY:
        return archived;
    case DURABILITY_SNAPSHOT_AND_REPLICA_SET:
        return MIN(archived, least);
    case DURABILITY_BALANCED:
        return MIN(archived, most);
    }
    UNREACHABLE("durability mode %d", (int)mode);
}

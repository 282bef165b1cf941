/* Rules switched off one at a time, to show that the checks notice: `sim_cluster --mutations`. Where a rule
 * is a function of its own it is replaced when linking; what a disk promises is broken in cluster_disk.c,
 * what a client promises in sim_client.c. */
#include "bifrost/nodeset.h"
#include "sim/cluster_sim.h"

static const char *const names[CSIM_MUTATIONS] = {
    [CSIM_MUTATION_NONE] = "none",
    [CSIM_LOG_FORGETS] = "the log-server's disk loses what it said was durable",
    [CSIM_RAFT_FORGETS] = "the metadata server's disk loses what it said was durable",
    [CSIM_NO_DEDUP] = "outbox messages count as often as they arrive",
    [CSIM_APPLY_SKIPS] = "a replica leaves records out",
    [CSIM_RETRY_UNKNOWN] = "a client takes an unknown outcome for a refusal",
    [CSIM_QUORUM_OF_ONE] = "one node is enough for a record to be committed",
    [CSIM_SEAL_OF_ONE] = "one node is enough for a segment to be sealed, and for its tail to be known",
};

const char *csim_mutation_name(enum csim_mutation m)
{
    return names[m];
}

bool csim_mutated(enum csim_mutation m)
{
    return csim && csim->options.mutation == m;
}

static bool some(struct marks m)
{
    return marks_count(m) > 0;
}

bool __real_quorum_is_write(const struct quorum *q, struct marks m);
bool __wrap_quorum_is_write(const struct quorum *q, struct marks m);
bool __wrap_quorum_is_write(const struct quorum *q, struct marks m)
{
    return csim_mutated(CSIM_QUORUM_OF_ONE) ? some(m) : __real_quorum_is_write(q, m);
}

enum quorum_authority __real_quorum_authority(const struct quorum *q, struct marks m);
enum quorum_authority __wrap_quorum_authority(const struct quorum *q, struct marks m);
enum quorum_authority __wrap_quorum_authority(const struct quorum *q, struct marks m)
{
    return csim_mutated(CSIM_SEAL_OF_ONE) && some(m) ? AUTHORITY_SUCCESS : __real_quorum_authority(q, m);
}

bool __real_quorum_is_best_write(const struct quorum *q, struct marks m);
bool __wrap_quorum_is_best_write(const struct quorum *q, struct marks m);
bool __wrap_quorum_is_best_write(const struct quorum *q, struct marks m)
{
    return csim_mutated(CSIM_SEAL_OF_ONE) ? some(m) : __real_quorum_is_best_write(q, m);
}

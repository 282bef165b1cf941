/* Rules switched off one at a time, to show that the checks notice: `sim_cluster --mutations`. Each must be
 * noticed by the check that it is there for, others may notice it too. Where a rule
 * is a function of its own it is replaced when linking; what a disk promises is broken in cluster_disk.c,
 * what a client promises in sim_client.c. */
#include "bifrost/log_host.h"
#include "bifrost/nodeset.h"
#include "membership/membership_internal.h"
#include "metadata/raft_core.h"
#include "partition/durability.h"
#include "partition/snapshot_file.h"
#include "sim/cluster_sim.h"

static const struct csim_mutant mutants[] = {
    {CSIM_LOG_FORGETS, "L-2", "the log-server's disk loses what it said was durable"},
    {CSIM_RAFT_FORGETS, "M-3", "the metadata server's disk loses what it said was durable"},
    {CSIM_NO_DEDUP, "", "outbox messages count as often as they arrive"},
    {CSIM_APPLY_SKIPS, "P-3", "a replica leaves records out"},
    {CSIM_RETRY_UNKNOWN, "", "a client takes an unknown outcome for a refusal"},
    {CSIM_QUORUM_OF_ONE, "L-2", "one node is enough for a record to be committed"},
    {CSIM_SEAL_OF_ONE, "L-9", "one node is enough for a segment to be sealed, and for its tail to be known"},
    {CSIM_SEAL_FORGOTTEN, "L-6", "a log-server does not write down that a segment is sealed"},
    {CSIM_OTHER_BYTES, "L-3", "a record is sent again with other bytes"},
    {CSIM_HOLES, "L-4", "a log-server takes records above what it knows to be committed"},
    {CSIM_REPAIR_TRUSTED, "L-5", "what a sealer repaired is taken for committed (TR-1)"},
    {CSIM_TRIM_MORE, "L-8", "log-servers drop more than was asked for"},
    {CSIM_SECOND_SENDER, "L-10", "one node is taken for another"},
    {CSIM_NO_MARKER, "N-5", "a log-server does not miss its storage marker"},
    {CSIM_LOSS_FORGOTTEN, "N-5", "a new storage generation answers for the one before"},
    {CSIM_READ_UNCONFIRMED, "M-1", "reads of metadata are answered without asking the others"},
    {CSIM_RAFT_OLD_COPY, "M-4", "a metadata server whose disk was lost comes back with an old copy of it"},
    {CSIM_CHANGE_ANYTIME, "M-5", "a change of the metadata servers does not wait for the one before"},
    {CSIM_REMOVE_AT_ONCE, "L-11", "a node is removed while segments are on it"},
    {CSIM_TRIM_EARLY, "T-a", "the log is trimmed to what one replica has, whatever the snapshots"},
    {CSIM_FILE_LOST, "T-b", "the object store loses the content of a file of a snapshot"},
    {CSIM_ROW_LOST, "T-c", "a snapshot leaves rows out"},
    {CSIM_IMPORT_BACK, "T-d", "a partition is opened with the latest snapshot, whatever it has"},
    {CSIM_OLD_GENERATION, "F-3", "the failure detector takes whatever generation was told last"},
    {CSIM_DEAF, "F-2", "a node that was started again hears no heartbeats"},
};

const struct csim_mutant *csim_mutants(size_t *n)
{
    *n = ARRAY_LEN(mutants);
    return mutants;
}

void csim_mutate(void)
{
    raft_mutation = csim_mutated(CSIM_READ_UNCONFIRMED) ? RAFT_MUT_READ_UNCONFIRMED
                    : csim_mutated(CSIM_CHANGE_ANYTIME) ? RAFT_MUT_CHANGE_ANYTIME
                                                        : RAFT_MUT_NONE;
    if (csim_mutated(CSIM_CHANGE_ANYTIME))
        csim->delay_us = 20000; /* a change takes long enough for the next to come */
    membership_mutation =
        csim_mutated(CSIM_OLD_GENERATION) ? MEMBERSHIP_MUT_OLD_GENERATION : MEMBERSHIP_MUT_NONE;
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

enum log_store_verdict __real_log_host_check(struct log_host *h, enum storage_state state,
                                             const struct storage_generation *generation, struct err *err);
enum log_store_verdict __wrap_log_host_check(struct log_host *h, enum storage_state state,
                                             const struct storage_generation *generation, struct err *err);
enum log_store_verdict __wrap_log_host_check(struct log_host *h, enum storage_state state,
                                             const struct storage_generation *generation, struct err *err)
{
    enum log_store_verdict v = __real_log_host_check(h, state, generation, err);
    return csim_mutated(CSIM_NO_MARKER) && v == LOG_STORE_LOST ? LOG_STORE_RUN : v;
}

void __real_log_host_set_lost(struct log_host *h, const struct storage_generation *generation);
void __wrap_log_host_set_lost(struct log_host *h, const struct storage_generation *generation);
void __wrap_log_host_set_lost(struct log_host *h, const struct storage_generation *generation)
{
    if (!csim_mutated(CSIM_LOSS_FORGOTTEN))
        __real_log_host_set_lost(h, generation);
}

lsn_t __real_durability_point(enum durability_mode mode, const lsn_t *durable, size_t n_replicas,
                              lsn_t archived);
lsn_t __wrap_durability_point(enum durability_mode mode, const lsn_t *durable, size_t n_replicas,
                              lsn_t archived);
lsn_t __wrap_durability_point(enum durability_mode mode, const lsn_t *durable, size_t n_replicas,
                              lsn_t archived)
{
    return csim_mutated(CSIM_TRIM_EARLY) && n_replicas
               ? durable[0]
               : __real_durability_point(mode, durable, n_replicas, archived);
}

void __real_snapshot_writer_add(struct snapshot_writer *w, struct slice key, struct slice value);
void __wrap_snapshot_writer_add(struct snapshot_writer *w, struct slice key, struct slice value);
void __wrap_snapshot_writer_add(struct snapshot_writer *w, struct slice key, struct slice value)
{
    if (!csim_mutated(CSIM_ROW_LOST) || w->rows == 0 || !csim_chance(20))
        __real_snapshot_writer_add(w, key, value);
}

/* Provider `replicated` (spec/cluster.md §5): a log as a chain of segments, each kept by a node set of
 * log-servers and written by one sequencer. Everything behind `struct log` is a deterministic core: it needs
 * an env, a transport (loglet_calls) and the chains (chain_store).
 *
 * Writing ("prefer me", §5.9): the first append on a handle claims the log. If the last segment's sequencer
 * is not this process, it is sealed and a new segment with a sequencer here is appended to the chain; appends
 * wait meanwhile. When somebody else takes the log away, the chain says which of the appends in flight are
 * part of the log (RC_OK); the others are certainly not (RC_NOT_LEADER), and appends are refused with
 * RC_SEALED until replicated_log_claim. When the segment was sealed but nobody took over, or this handle
 * reconfigured the log itself, the rest is appended to the new segment in the same order: the caller notices
 * nothing.
 *
 * Reading: what this process committed comes from memory, the rest from log-servers; only what the sequencer
 * committed or the chain decided is delivered (TR-1).
 *
 * All of a `struct replicated_logs` belongs to one loop. A log has at most one handle in a process. */
#pragma once
#include "bifrost/log.h"
#include "bifrost/replicated_calls.h"
#include "bifrost/replicated_chain.h"

struct replicated_logs;

/* Zero means the default in parentheses. */
struct replicated_logs_config {
    struct loglet_calls *calls;
    struct chain_store *chains;
    struct replication replication; /* of new segments ({node: 1}) */
    unsigned target_nodeset_size;   /* (automatic) */
    size_t inflight_limit_bytes;    /* per log (64 MiB) */
    size_t retain_bytes;            /* committed records kept for a reader that lags, per log (16 MiB) */
    unsigned window_records;        /* per sequencer (1000) */
    uint64_t stall_ms;              /* no commit for so long: look for a better node set (2 s) */
    /* The writer moves on to a better node set or to another replication about so long (+-50 %) after it has
     * become possible, at most a third of a loop's logs within a second; at once if the present node set does
     * not survive the failures that so many copies promise (§5.9). (never) */
    uint64_t improve_ms;
    uint64_t recovery_ms; /* a segment is sealed and nobody extends the chain: end it with a marker (5 s) */
};
struct replicated_logs *replicated_logs_new(const struct replicated_logs_config *config);
/* Forgets all logs without calling anybody, as when the process dies; or after all were closed. */
void replicated_logs_free(struct replicated_logs *l);
/* Change improve_ms; 0: never. */
void replicated_logs_set_improvement(struct replicated_logs *l, uint64_t improve_ms);
/* For segments from now on (`config set`); existing ones change through replicated_log_reconfigure. */
void replicated_logs_set_replication(struct replicated_logs *l, const struct replication *r,
                                     unsigned target_size);

struct replicated_logs_stats {
    uint64_t committed_records, committed_bytes; /* appended through handles of this loop */
};
void replicated_logs_get_stats(const struct replicated_logs *l, struct replicated_logs_stats *out);

struct log *replicated_log_open(struct replicated_logs *l, uint32_t log_id);

/* Metadata has a newer version of the chain. Optional, for speed: a handle reads the chain itself when
 * something hints at a change. Ignored if the log is not open here or the version is not newer. */
void replicated_logs_on_chain(struct replicated_logs *l, uint32_t log_id, const struct chain *chain,
                              uint64_t version);

/* Become the writer (again), without waiting for the first append. */
void replicated_log_claim(struct log *log);
/* Move to a new segment, with the replication configured now and the best node set: drain, seal, extend.
 * No-op if this handle is not the writer. */
void replicated_log_reconfigure(struct log *log);
/* Would replicated_log_reconfigure change the replication or improve the node set? For the improvement task.
 */
bool replicated_log_improvable(struct log *log);

enum replicated_log_role {
    REPLICATED_LOG_READER,   /* has not claimed */
    REPLICATED_LOG_CLAIMING, /* sealing, extending, or waiting for metadata or nodes (B4: visible, not silent)
                              */
    REPLICATED_LOG_WRITER,
    REPLICATED_LOG_LOST,   /* somebody else is the writer now */
    REPLICATED_LOG_SEALED, /* by log_seal on this handle */
    REPLICATED_LOG_BROKEN, /* the chain holds what this server cannot read */
};
struct replicated_log_status {
    enum replicated_log_role role;
    uint32_t segment_index; /* of the last segment */
    lsn_t base_lsn, next_lsn;
    uint64_t stalled_ms; /* appends are waiting without progress */
    size_t waiting;      /* appends not committed */
};
void replicated_log_get_status(struct log *log, struct replicated_log_status *out);

/* The sequencer of a replicated segment (spec/cluster.md §5.4): assigns offsets, sends the records to all
 * members of the node set, and says what is committed: on a write quorum, with everything before it.
 *
 * Trap TR-4: a process creates a sequencer only once for a segment, and only for one that names this very
 * process; offsets start at 1. replicated_log.c keeps the register.
 *
 * Waves: the records handed over together get contiguous offsets and travel together, to every node in order.
 * Nodes that fail or lag are left behind: a wave is forgotten when it is committed, so memory is bounded by
 * the window, and what is outstanding at one node by a limit of its own. Repetitions have the same offsets
 * and the same bytes (TR-5): they are references to the caller's buffers.
 *
 * Belongs to one loop. Callbacks run from replies and timers, never from inside a call, and may not call
 * back. */
#pragma once
#include "bifrost/replicated_calls.h"
#include "bifrost/replicated_params.h"

struct sequencer;

struct sequencer_config {
    struct loglet_calls *calls;
    const struct loglet_params *params; /* copied; params->sequencer must be calls->me */
    unsigned window_records;            /* 0: 1000 (`maximum-inflight-records`) */
    size_t window_bytes;                /* 0: 64 MiB */
    /* All offsets below `tail` are committed. */
    void (*committed)(void *ctx, uint64_t tail);
    /* An f-majority is sealed: whatever is not committed may or may not be part of the log, the chain will
     * tell. Appends are over. Once. */
    void (*sealed)(void *ctx);
    void *ctx;
};
struct sequencer *sequencer_new(const struct sequencer_config *config);
/* Forgets what is not committed; no callbacks. */
void sequencer_free(struct sequencer *s);

/* How many records of together at most so many bytes fit now: a prefix of `records`. 0 when sealed or
 * draining. */
size_t sequencer_room(const struct sequencer *s, const struct bytes *records, size_t n);
/* Append one wave; takes references. Returns the offset of the first. Precondition: sequencer_room says n. */
uint64_t sequencer_append(struct sequencer *s, const struct bytes *records, size_t n);

uint64_t sequencer_committed_tail(const struct sequencer *s);
uint64_t sequencer_next_offset(const struct sequencer *s);
bool sequencer_sealed(const struct sequencer *s);
/* Since when something has been waiting without any commit; 0: nothing is waiting. */
uint64_t sequencer_stalled_since_ms(const struct sequencer *s);
/* Do the storage states permit a write quorum at all? Otherwise the segment must be reconfigured. */
bool sequencer_writable(const struct sequencer *s);
/* Members that have lost what they had of the segment: it is better to go on with another one. */
unsigned sequencer_lost_members(const struct sequencer *s);
/* Members that are known to be sealed. */
unsigned sequencer_sealed_members(const struct sequencer *s);

/* Graceful end (§5.6): take nothing more and call `done` when everything in flight is committed. The tail is
 * then known without a repair: sequencer_committed_tail. */
void sequencer_drain(struct sequencer *s, void (*done)(void *ctx), void *ctx);

/* One-shot operations on one replicated segment: seal, find the tail (with repair), trim, read, and watching
 * the tail. Deterministic cores over `struct loglet_calls`; several of the same kind may run at once, here
 * and on other nodes: all of them are idempotent and none needs a lock.
 *
 * Each runs until it succeeds or is canceled: a node that does not answer is asked again with growing pauses,
 * and at once when it shows a sign of life. `done` never runs from inside the starting call; the operation is
 * gone when it runs. */
#pragma once
#include "bifrost/replicated_calls.h"
#include "bifrost/replicated_params.h"

struct loglet_op; /* any of them */
/* `done` will not run. */
void loglet_op_cancel(struct loglet_op *op);

/* ---- seal (spec/cluster.md §5.6) ---- */

struct loglet_seal_result {
    enum rc rc;        /* RC_OK: an f-majority is durably sealed; no append that is not stored yet will be
                          acknowledged.        RC_UNAVAILABLE: all nodes are still provisioning */
    bool with_risk;    /* the f-majority needs nodes that lost data */
    uint64_t max_tail; /* a hint: highest local tail seen (TR-2: find the tail to know it) */
};
struct loglet_op *loglet_seal(struct loglet_calls *c, const struct loglet_params *p,
                              void (*done)(void *ctx, const struct loglet_seal_result *r), void *ctx);

/* ---- find the tail (§5.7, §5.8) ---- */

enum loglet_tail_kind {
    LOGLET_TAIL_OPEN,          /* certainly not sealed when asked; all offsets below are on a write quorum */
    LOGLET_TAIL_PROBABLY_OPEN, /* as far as an f-majority knows; all offsets below are committed */
    LOGLET_TAIL_SEALED, /* for good, and all offsets below are on a write quorum. Two callers may be told
                           different sealed tails; the chain decides (TR-1) */
};
struct loglet_tail {
    enum loglet_tail_kind kind;
    uint64_t tail;      /* first offset that is not committed */
    uint64_t committed; /* watermark of the sequencer, as far as heard; always <= tail */
    bool with_risk;
};
enum loglet_tail_flags {
    LOGLET_TAIL_SEAL = 1,     /* seal first; the answer is LOGLET_TAIL_SEALED */
    LOGLET_TAIL_MAY_SEAL = 2, /* seal when the sequencer is gone and its last appends are in limbo */
};
struct loglet_op *loglet_find_tail(struct loglet_calls *c, const struct loglet_params *p, unsigned flags,
                                   void (*done)(void *ctx, const struct loglet_tail *t), void *ctx);

/* Bring [from, to) of a sealed segment onto a write quorum. Precondition: everything below `from` is, and
 * some node has local tail `to`. RC_UNAVAILABLE: not now; unlike the others it gives up, find_tail then
 * starts over. */
struct loglet_op *loglet_repair(struct loglet_calls *c, const struct loglet_params *p, uint64_t from,
                                uint64_t to, uint64_t committed_tail, void (*done)(void *ctx, enum rc rc),
                                void *ctx);

/* ---- trim (§5.11) ---- */

/* Drop the offsets up to and including `upto` < committed_tail, on a write quorum at least. */
struct loglet_op *loglet_trim(struct loglet_calls *c, const struct loglet_params *p, uint64_t upto,
                              uint64_t committed_tail, void (*done)(void *ctx), void *ctx);

/* ---- read (§5.10) ---- */

struct loglet_read_result {
    uint64_t trim_point;         /* >= from: the offsets up to here are trimmed; no records then */
    const struct bytes *records; /* offsets from, from + 1, ...; lent */
    uint32_t n;
};
/* Records from..to (inclusive), at least one. The caller guarantees that `to` is below a tail it may trust:
 * what the sequencer committed, or the chain decided. Own node first, then the other members. */
struct loglet_op *loglet_read(struct loglet_calls *c, const struct loglet_params *p, uint64_t from,
                              uint64_t to, uint32_t max_bytes, uint64_t committed_tail,
                              void (*done)(void *ctx, const struct loglet_read_result *r), void *ctx);

/* ---- watch the tail (§5.10) ---- */

struct loglet_watch_news {
    uint64_t committed_tail; /* only what the sequencer committed (TR-1) */
    bool sealed;             /* some member is sealed: look at the chain */
};
/* Runs until canceled; `news` whenever something is new. */
struct loglet_op *loglet_watch(struct loglet_calls *c, const struct loglet_params *p, uint64_t committed_tail,
                               void (*news)(void *ctx, const struct loglet_watch_news *n), void *ctx);

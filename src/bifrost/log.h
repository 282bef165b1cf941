/* The virtual log of a partition, as its owner loop sees it (spec/cluster.md §5.1): append, read in order,
 * find the tail, trim, seal. It is a chain of segments (loglets); each segment is implemented by a provider:
 * `memory` (tests, simulator), `replicated` (log-servers, of this node alone or of several;
 * replicated_log.h). Whether an append needs one fsync here or a quorum elsewhere is the provider's business.
 *
 * Threading: a `struct log` belongs to one loop; every call and callback is on it. */
#pragma once
#include "base/bytes.h"
#include "base/env.h"

typedef uint64_t lsn_t; /* first record has LSN 1; 0 is "none" */

struct log;

struct log_record {
    lsn_t lsn;
    struct bytes body;
};

/* A caller that wants to know about one append. Embedded in the caller's object; must stay alive until
 * called. */
struct log_append_wait {
    struct list link; /* private */
    lsn_t lsn;        /* private */
    /* RC_OK: committed at `lsn`. RC_SEALED, RC_CLOSED, RC_IO: outcome unknown. */
    void (*done)(struct log_append_wait *w, enum rc rc, lsn_t lsn);
};

struct log_reader_ops {
    /* Committed records in LSN order without holes, at most LOG_READ_BATCH at a time. The bodies are lent
     * (take references). */
    void (*on_records)(void *ctx, const struct log_record *records, size_t n);
    /* LSNs from..to (inclusive) have been trimmed away and are not readable; reading goes on at to + 1 unless
     * the reader is closed. */
    void (*on_trim_gap)(void *ctx, lsn_t from, lsn_t to);
    /* Reading cannot go on (RC_CORRUPT, RC_IO): the replica must stop. */
    void (*on_error)(void *ctx, const struct err *err);
    /* Another node writes the log now: appends of this handle that were not committed are not, or may not be,
     * part of it, and further ones are refused. Reading goes on. May be NULL. */
    void (*on_taken_over)(void *ctx);
};
#define LOG_READ_BATCH 256

struct log_ops {
    enum rc (*append)(struct log *log, struct bytes record_take, struct log_append_wait *wait);
    void (*read_from)(struct log *log, lsn_t from, const struct log_reader_ops *ops, void *ctx);
    void (*read_stop)(struct log *log);
    void (*find_tail)(struct log *log, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx);
    void (*trim)(struct log *log, lsn_t upto);
    void (*seal)(struct log *log, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx);
    void (*close)(struct log *log, void (*done)(void *ctx), void *ctx);
};
struct log {
    const struct log_ops *ops;
    uint32_t log_id;
    /* Read-only for users: */
    lsn_t committed;       /* last committed LSN this handle knows of */
    lsn_t trim_point;      /* last trimmed LSN, 0 if none */
    size_t inflight_bytes; /* appended, not yet committed */
};

/* Append one record. The reference is consumed in any case, also when the append is refused. Order of appends
 * on one handle is the order in the log. Appends of one iteration are handed over together and share one
 * group commit. RC_OK: accepted; the outcome comes through `wait` (may be NULL) and the record through the
 * reader, `wait` first. Never calls back from inside. RC_OVERLOADED: more than the in-flight limit (64 MiB)
 * unless nothing is in flight; RC_NO_SPACE: disk full, retriable (what was accepted before stays in flight
 * and is committed when there is space); RC_TOO_LARGE: more than 64 MiB; RC_SEALED, RC_CLOSED; RC_IO: the
 * store has failed. */
static inline enum rc log_append(struct log *l, struct bytes record_take, struct log_append_wait *wait)
{
    return l->ops->append(l, record_take, wait);
}
/* Deliver everything from `from` on, first from storage, then live. One reader per handle. */
static inline void log_read_from(struct log *l, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    l->ops->read_from(l, from, ops, ctx);
}
static inline void log_read_stop(struct log *l)
{
    l->ops->read_stop(l);
}
/* `tail` = LSN after the last committed record. */
static inline void log_find_tail(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    l->ops->find_tail(l, done, ctx);
}
/* Records up to and including `upto` may be dropped. Asynchronous, merged by maximum, durable before space is
 * reused. */
static inline void log_trim(struct log *l, lsn_t upto)
{
    l->ops->trim(l, upto);
}
/* No more appends after this; `tail` is final. */
static inline void log_seal(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    l->ops->seal(l, done, ctx);
}
/* Stop reading, fail waiting appends with RC_CLOSED, free the handle; `done` runs when nothing is in flight
 * any more. */
static inline void log_close(struct log *l, void (*done)(void *ctx), void *ctx)
{
    l->ops->close(l, done, ctx);
}

/* ---- provider `memory`: commits in the next deferred pass; content survives log_close within the process
 * ---- */
struct memory_logs;
struct memory_logs *memory_logs_new(void);
void memory_logs_free(struct memory_logs *m);
struct log *memory_log_open(struct memory_logs *m, struct env *env, uint32_t log_id);

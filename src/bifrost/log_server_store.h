/* What a log-server needs from its disk (spec/cluster.md §5.5): atomic batches that are durable when
 * reported, and reading what is durable. Implemented by the segment store (log_server_segments.c) and, in the
 * simulator, by a disk whose crash keeps only what was synced.
 *
 * Belongs to the loop of the log-server. */
#pragma once
#include "base/env.h"
#include "bifrost/segment_store.h"

struct log_server_store;

enum store_entry_kind { STORE_RECORD, STORE_META, STORE_SEAL, STORE_TRIM };
struct store_entry {
    enum store_entry_kind kind;
    uint64_t loglet;
    uint64_t offset;   /* RECORD: its offset; TRIM: last trimmed one */
    struct slice body; /* RECORD, META; valid until `done` */
};
/* All of it or nothing, also after a crash. Offsets of one loglet ascend within a batch, and none of them is
 * stored already. */
struct store_batch {
    struct store_entry *items;
    size_t len, cap;
    bool control_only; /* no records: may use the reserve of a full disk */
    /* RC_OK: durable. RC_NO_SPACE: certainly not done, try again when the store is not full. Anything else:
     * unknown, and the store takes nothing more until it is opened again. */
    void (*done)(struct store_batch *b, enum rc rc);
};

struct log_server_store_ops {
    /* One batch at a time; `done` is never called from inside. */
    void (*submit)(struct log_server_store *s, struct store_batch *b);
    /* RC_NOT_FOUND: nothing is stored of this loglet (*out is then that of an empty one). */
    enum rc (*info)(struct log_server_store *s, uint64_t loglet, struct loglet_info *out);
    bool (*has)(struct log_server_store *s, uint64_t loglet, uint64_t offset);
    /* The first stretch of stored offsets at or after `from`. */
    bool (*extent)(struct log_server_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                   uint64_t *last);
    /* As segment_store_read. */
    enum rc (*read)(struct log_server_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                    struct stored_records *out, struct err *err);
    bool (*full)(struct log_server_store *s);
};
struct log_server_store {
    const struct log_server_store_ops *ops;
};

/* Over an open segment store (not owned); commits in the deferred pass after submit. */
struct log_server_store *log_server_segments_new(struct env *env, struct segment_store *segments);
/* Told about each batch, for clocks and metrics, which are not the core's: `begin` before it is written,
 * `end` when its outcome is known and before anybody is answered. */
struct log_server_segments_observer {
    void (*begin)(void *ctx);
    void (*end)(void *ctx, enum rc rc, size_t records, uint64_t bytes, const struct err *err);
    void *ctx;
};
void log_server_segments_observe(struct log_server_store *s, const struct log_server_segments_observer *o);
/* No batch may be in progress. */
void log_server_segments_free(struct log_server_store *s);

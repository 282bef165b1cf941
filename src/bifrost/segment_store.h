/* The segment store: the log-server's disk (DESIGN §6, spec/cluster.md §5.5). All loglets of a node append
 * into one active segment file whose blocks are already written, so one commit is one aligned overwrite that
 * covers every loglet. Written only against `struct disk`: no threads, clock or loop; it belongs to the log
 * loop. On disk: docs/segment-format.md.
 *
 * Promises:
 *   - what segment_store_commit acknowledged is there after any crash;
 *   - a batch is all there or not at all; a torn last batch is cut at open, damage anywhere else is
 * RC_CORRUPT;
 *   - space is reused only after the trim that allows it is durable;
 *   - disk use stays below about 100 / rewrite_percent times the live data plus a few segments.
 *
 * The store keeps records and a little state per loglet; protocol rules (no holes, who may store, sealing)
 * are the caller's. A record is stored at most once: ask segment_store_has first when it may be a repetition.
 */
#pragma once
#include "bifrost/disk.h"

struct segment_store;

/* Zero means the default in parentheses. */
struct segment_store_options {
    uint64_t random; /* salt of the segments written from now on; fresh for each open, not secret */
    uint64_t first_segment_bytes; /* (2 MiB) sizes double from here ... */
    uint64_t max_segment_bytes;   /* (64 MiB) ... to here; larger only for a record that needs it */
    uint64_t reserve_bytes;       /* (4 MiB) file that makes room for trims when the disk is full */
    unsigned max_spares;          /* (2) recycled files kept */
    unsigned rewrite_percent;     /* (20) closed segments with less live data than this are rewritten */
};

/* Largest body of one record. */
#define SEGMENT_RECORD_MAX ((size_t)64 << 20)
#define SEGMENT_META_MAX   ((size_t)4096)

/* Open the directory behind `disk` (not owned), creating the first segment if it is empty. RC_CORRUPT names
 * file and offset; RC_UNSUPPORTED: written by a newer version; RC_NO_SPACE: no room for the first segment. */
enum rc segment_store_open(struct disk *disk, const struct segment_store_options *options,
                           struct segment_store **out, struct err *err);
void segment_store_close(struct segment_store *s);

/* ---- writing: begin, put..., commit. Bodies are copied by put. ---- */

enum segment_room {
    SEGMENT_ROOM_DATA,    /* records */
    SEGMENT_ROOM_CONTROL, /* only trims, seals and the like: may use the reserve when the disk is full */
};
/* Start a batch of at most `entries` puts with `body_bytes` in total, moving on to the next segment if
 * needed. RC_NO_SPACE: nothing was started, try again when segment_store_full is false. RC_IO: a former
 * failure; the store is read-only. */
enum rc segment_store_begin(struct segment_store *s, enum segment_room room, size_t entries,
                            uint64_t body_bytes, struct err *err);
/* Offsets of one loglet must ascend within a batch. Offsets start at 1. */
void segment_store_put(struct segment_store *s, uint64_t loglet, uint64_t offset, struct slice body);
/* Records up to and including `upto` are dropped. Merged by maximum. */
void segment_store_put_trim(struct segment_store *s, uint64_t loglet, uint64_t upto);
void segment_store_put_seal(struct segment_store *s, uint64_t loglet);
/* Replaces the loglet's metadata blob (sequencer identity, global tail; the store does not interpret it). Its
 * size counts among body_bytes. */
void segment_store_put_meta(struct segment_store *s, uint64_t loglet, struct slice meta);
/* Forget the loglet and all its records. */
void segment_store_put_drop(struct segment_store *s, uint64_t loglet);
/* Make the batch durable in one write and apply it. After an error nothing of it is applied. */
enum rc segment_store_commit(struct segment_store *s, struct err *err);

/* ---- reading ---- */

struct loglet_info {
    uint64_t tail;       /* offset after the last one stored; 1 if none */
    uint64_t trim_point; /* 0 if none */
    bool sealed;
    struct slice meta; /* valid until the next commit */
};
/* RC_NOT_FOUND: nothing was ever stored for this loglet (*out is then that of an empty one). */
enum rc segment_store_info(const struct segment_store *s, uint64_t loglet, struct loglet_info *out);
/* In order of loglet id. */
void segment_store_each(const struct segment_store *s, void (*visit)(void *ctx, uint64_t loglet), void *ctx);
bool segment_store_has(const struct segment_store *s, uint64_t loglet, uint64_t offset);
/* The first stretch of consecutive stored offsets at or after `from`: for GetDigest. false if there is none.
 */
bool segment_store_extent(const struct segment_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                          uint64_t *last);

struct stored_record {
    uint64_t offset;
    struct bytes body;
};
struct stored_records {
    struct stored_record *items;
    size_t len, cap;
};
/* Append to `out` the records at and after `from` in order, until `max_bytes` of bodies are reached (at least
 * one record). Offsets that are not stored are skipped. The bodies share large read buffers. RC_OK: at least
 * one record. RC_AGAIN: none there. RC_TRIMMED: `from` is not above the trim point. RC_CORRUPT, RC_IO. */
enum rc segment_store_read(struct segment_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                           struct stored_records *out, struct err *err);
/* Free the memory that reads have left for later ones (up to 64 MiB), and what was kept of the last writes
 * because somebody reads behind the writer (up to 4 MiB): until the next read nothing is. */
void segment_store_forget_reads(struct segment_store *s);
/* Drop the references and forget the content; keeps the room. */
void stored_records_clear(struct stored_records *r);
void stored_records_free(struct stored_records *r);

/* ---- housekeeping, between commits ---- */

/* Files are zero-filled ahead of time. begin: is there anything to prepare? If so the job must be run (on a
 * pool thread if the caller likes) and ended, also when it failed. One job at a time. */
struct segment_prepare {
    struct disk *disk;
    char temporary[32], name[32];
    uint64_t size;
    bool reserve;
    enum rc rc;
    struct err err;
};
bool segment_store_prepare_begin(struct segment_store *s, struct segment_prepare *job);
void segment_prepare_run(struct segment_prepare *job);
/* RC_NO_SPACE: the disk is still full; try again later. */
enum rc segment_store_prepare_end(struct segment_store *s, struct segment_prepare *job, struct err *err);
/* All three on this thread. RC_OK if something was prepared, RC_AGAIN if nothing was to do. */
enum rc segment_store_prepare(struct segment_store *s, struct err *err);

/* One bounded step (about a MiB of I/O): write a footer, free a segment, rewrite a part of one. RC_OK: did
 * something, call again; RC_AGAIN: nothing to do; RC_NO_SPACE; RC_CORRUPT (that segment is left alone from
 * then on). */
enum rc segment_store_housekeep(struct segment_store *s, struct err *err);

struct segment_store_stats {
    uint64_t commits, records, bytes_appended; /* since open */
    uint64_t segments, live_bytes, file_bytes; /* file_bytes: with spares and reserve */
    uint64_t rewritten_bytes;
    bool full;
};
void segment_store_get_stats(const struct segment_store *s, struct segment_store_stats *out);
/* Appends are refused for lack of disk space. */
bool segment_store_full(const struct segment_store *s);

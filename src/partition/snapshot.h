/* A partition's store out of and into the data files of a snapshot (snapshot_file.h): all tables at one
 * applied LSN, nothing of leader memory (spec/invocation-lifecycle.md §13.2). Lengthy work runs as jobs; the
 * loop only flushes the store before an export and hands over batches during an import. Both belong to the
 * loop of the store. */
#pragma once
#include "base/job.h"
#include "partition/snapshot_file.h"
#include "partition/store.h"

/* Which partition's rows and how they are compared: no other implementation's data can be taken for ours
 * (spec/cluster.md §6.2). */
#define SNAPSHOT_COMPARATOR "restate-c.snapshot.v1"

struct snapshot_file {
    struct bytes content; /* the receiver's reference */
    uint32_t index;
    uint64_t rows;
    struct bytes first_key, last_key; /* for the manifest; the receiver's references */
};
void snapshot_file_release(struct snapshot_file *f);
/* Read everything: RC_CORRUPT unless it is file `index` of this partition's snapshot at `lsn`, intact from
 * end to end. Any thread. */
enum rc snapshot_file_verify(struct slice file, uint16_t partition_id, lsn_t lsn, uint32_t index,
                             uint64_t *rows, struct err *err);

/* ---- export ---- */
struct store_export;
/* Flushes the store, then holds a view of it. `ready` gets the LSN of the export (at least the one applied
 * now), or the error. While the export exists, values that are visible in it are not reclaimed; it must be
 * freed before the store is closed. */
struct store_export *store_export_new(struct partition_store *s, struct job_runner *jobs,
                                      void (*ready)(void *ctx, lsn_t lsn, const struct err *err), void *ctx);
/* After `ready` with RC_OK: the next file, of SNAPSHOT_FILE_SIZE or a little more; NULL without an error: the
 * one before was the last. There is always at least one. One call at a time. */
void store_export_next(struct store_export *e,
                       void (*done)(void *ctx, struct snapshot_file *file_take, const struct err *err),
                       void *ctx);
/* Makes the call that is under way end soon, with RC_CANCELED. */
void store_export_cancel(struct store_export *e);
/* Not while a call is under way. */
void store_export_free(struct store_export *e);

/* ---- import ---- */
/* Nothing of an import is visible until its commit: store_open refuses a partition with an unfinished one,
 * whatever crashed in between. */
struct store_import;
typedef void (*store_import_done)(void *ctx, const struct err *err); /* NULL: done */
/* The LSN that store_open would find: 0 for an empty partition and for one with an unfinished import
 * (*unfinished). Blocking backend read. */
enum rc store_peek_applied(struct kv_backend *b, uint16_t partition_id, lsn_t *applied, bool *unfinished,
                           struct err *err);
/* Delete all rows of a partition whose store is closed, durably; also ends an unfinished import. */
void store_drop(struct kv_backend *b, uint16_t partition_id, store_import_done done, void *ctx);

struct store_import *store_import_new(struct kv_backend *b, struct job_runner *jobs, uint16_t partition_id,
                                      lsn_t lsn);
/* Begin: drop the old rows. RC_CONFLICT, and nothing is changed, if the partition has applied more than the
 * snapshot: an import never lowers the applied LSN (T-d). */
void store_import_begin(struct store_import *i, store_import_done done, void *ctx);
/* The rows of a verified file, in order of their numbers. */
void store_import_file(struct store_import *i, struct bytes file_take, store_import_done done, void *ctx);
/* All files are in: make it visible and durable. RC_CORRUPT if the variables are missing or of another LSN.
 */
void store_import_commit(struct store_import *i, store_import_done done, void *ctx);
/* Not while a call is under way. Without a commit the import stays unfinished: store_drop removes it. */
void store_import_free(struct store_import *i);

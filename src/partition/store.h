/* The partition's materialised state: typed tables under a write-back object cache (DESIGN §5,
 * spec/invocation-lifecycle.md §13).
 *
 * Applying a record touches objects in memory. Dirty objects are encoded into one write batch together with
 * the applied LSN, and handed to the backend off the loop; an object stays in memory until its write is done.
 * A crash loses what was not flushed, the log replays it. Reads look at the cache, then at the backend.
 *
 * All functions run on the owner's loop. Pointers returned are valid until the next store_maintain() on this
 * store (eviction happens only there). */
#pragma once
#include "partition/types.h"

/* ---- backend: an ordered key-value space, no durability needed before sync ---- */
struct kv_backend;
struct kv_batch;
struct kv_iter;
struct kv_view;
struct kv_backend_ops {
    /* RC_NOT_FOUND if absent. */
    enum rc (*get)(struct kv_backend *b, struct slice key, struct bytes *out, struct err *err);
    struct kv_batch *(*batch_new)(struct kv_backend *b);
    void (*batch_put)(struct kv_batch *w, struct slice key, struct slice value);
    void (*batch_delete)(struct kv_batch *w, struct slice key);
    void (*batch_delete_range)(struct kv_batch *w, struct slice from, struct slice to); /* [from, to) */
    size_t (*batch_bytes)(const struct kv_batch *w);
    /* Apply the batch atomically and free it; `done` on the store's loop. Batches of one partition are
     * written in order. */
    void (*batch_write)(struct kv_backend *b, struct kv_batch *take, void (*done)(void *ctx, enum rc rc),
                        void *ctx);
    /* Everything whose batch_write was done becomes durable; `done` on the store's loop. Shared by all
     * partitions of a node: concurrent calls are merged. */
    void (*sync)(struct kv_backend *b, void (*done)(void *ctx, enum rc rc), void *ctx);
    /* Ascending iteration from `from` (inclusive) while key < `to`. */
    struct kv_iter *(*iter_new)(struct kv_backend *b, struct slice from, struct slice to);
    bool (*iter_next)(struct kv_iter *it, struct slice *key,
                      struct slice *value); /* slices valid until the next call */
    void (*iter_free)(struct kv_iter *it);
    /* Optional (may be NULL). Values of `partition_id` whose expiry (store_codec.h) is <= `durable_time_ms`
     * may be dropped from now on. */
    void (*set_watermark)(struct kv_backend *b, uint16_t partition_id, uint64_t durable_time_ms);
    /* A frozen view of everything whose batch_write was done; any thread may read and free it. */
    struct kv_view *(*view_new)(struct kv_backend *b);
    void (*view_free)(struct kv_view *v);
    /* As iter_new, but a failed read ends the iteration early: view_iter_error tells (RC_OK: complete). Free
     * with iter_free. */
    struct kv_iter *(*view_iter_new)(struct kv_view *v, struct slice from, struct slice to);
    enum rc (*view_iter_error)(struct kv_iter *it, struct err *err);
};
struct kv_backend {
    const struct kv_backend_ops *ops;
};

/* RocksDB for all partitions of a node: one column family, keys prefixed by partition id, WAL off (the log is
 * the WAL). */
struct rocks_db;
struct loop;
struct rocks_db_config {
    const char *path;
    uint64_t memory_budget_bytes; /* block cache + memtables */
};
enum rc rocks_db_open(const struct rocks_db_config *config, struct rocks_db **out, struct err *err);
void rocks_db_close(struct rocks_db *db); /* all backends freed before, all compactions done */
/* Any thread: sets the gauges restate_rocksdb_* (docs/metrics.md). */
void rocks_db_refresh_metrics(struct rocks_db *db);
/* A view of the database for one shard loop. */
struct kv_backend *rocks_backend_new(struct rocks_db *db, struct loop *loop);
void rocks_backend_free(struct kv_backend *b);
/* An ordered map in memory with crash semantics for tests and sim/: memory_backend_crash drops everything
 * after the last sync. */
struct kv_backend *memory_backend_new(struct env *env);
void memory_backend_crash(struct kv_backend *b);
/* The process that used it is gone with its env: another one goes on, and nobody waits for anything. */
void memory_backend_reopen(struct kv_backend *b, struct env *env);
void memory_backend_free(struct kv_backend *b);

/* ---- the store ---- */
struct partition_store;
struct store_config {
    uint16_t partition_id;
    uint64_t key_start, key_end;
    size_t cache_bytes;         /* clean objects are evicted above this */
    size_t flush_dirty_bytes;   /* start a flush when this much is dirty: 4 MiB */
    uint64_t flush_interval_ms; /* or the oldest dirty object is this old: 10 s */
};
/* Reads the variables; blocking backend reads. A fresh partition starts at LSN 0. RC_CONFLICT: an import into
 * the partition was interrupted (partition/snapshot.h: drop it first). */
enum rc store_open(struct kv_backend *backend, struct env *env, const struct store_config *config,
                   struct partition_store **out, struct err *err);
/* `done` after a final flush and sync (unless `abandon`, which drops what is dirty: as after a crash). */
void store_close(struct partition_store *s, bool abandon, void (*done)(void *ctx), void *ctx);

/* The configuration given to store_open. */
const struct store_config *store_get_config(const struct partition_store *s);
/* The variables, to be read and changed in place between store_apply_begin and store_apply_end. */
struct partition_vars *store_vars(struct partition_store *s);
/* Bracket the application of one record: `now_ms` = its creation time. end sets applied_lsn / applied_time.
 */
void store_apply_begin(struct partition_store *s, lsn_t lsn, uint64_t now_ms);
void store_apply_end(struct partition_store *s);
/* NULL while all is well. RC_CORRUPT, RC_IO: stored bytes could not be read or written. What was read since
 * may be wrong and nothing is written any more: the owner checks after each applied record and stops the
 * replica. */
const struct err *store_failure(const struct partition_store *s);
/* Last LSN whose effects are durable in the backend: the log may be trimmed up to here. */
lsn_t store_durable_lsn(const struct partition_store *s);
/* Once per batch of applied records, outside apply: starts flushes by policy, finishes bookkeeping, evicts.
 */
void store_maintain(struct partition_store *s);
/* Flush everything dirty now; `done` when durable. */
void store_flush(struct partition_store *s, void (*done)(void *ctx, lsn_t durable), void *ctx);
struct store_stats {
    size_t live_invocations, dirty_objects, dirty_bytes, cached_bytes, flushes;
    uint64_t flushed_bytes;
};
void store_get_stats(const struct partition_store *s, struct store_stats *out);

/* ---- invocations ----
 * get: NULL if Free. An expired completed invocation (completed_at + completion retention <= now of the
 * record being applied, or `vars.applied_time_ms` outside apply) is Free; expired journals (journal
 * retention) read as purged. Space of expired ones is reclaimed in the background (compaction), never by a
 * scan. Workflow runs (TARGET_WORKFLOW_RUN) never expire by time: their state and promises must go with them,
 * so the state machine purges them when their TIMER_CLEANUP is applied. */
struct invocation *store_invocation_get(struct partition_store *s, struct invocation_id id);
/* Like get, for lookups of ids that are almost certainly new (automatic idempotency keys): same result,
 * cheaper miss. */
bool store_invocation_exists(struct partition_store *s, struct invocation_id id);
/* The id must be Free. Zeroed but for id; the caller fills it. */
struct invocation *store_invocation_create(struct partition_store *s, struct invocation_id id);
/* After any change of fields, sinks, events or appended entries. */
void store_invocation_changed(struct partition_store *s, struct invocation *inv);
/* Delete record, journal and events; `inv` is invalid afterwards. */
void store_invocation_delete(struct partition_store *s, struct invocation *inv);
/* Drop journal and events, keep the record (sets journal_purged). */
void store_journal_purge(struct partition_store *s, struct invocation *inv);
/* Append (consumes entry->payload's reference); returns its index. Call store_invocation_changed afterwards;
 * `commands` is counted by the caller. */
uint32_t store_journal_append(struct partition_store *s, struct invocation *inv,
                              const struct journal_entry *entry);
/* The journal is loaded with the invocation when it is small; this makes sure it is in memory. */
void store_journal_load(struct partition_store *s, struct invocation *inv);
/* Index of the last notification with this id, or -1; index of the command that owns a completion id (field
 * 11 or 10), or -1. */
ptrdiff_t store_find_notification(struct partition_store *s, struct invocation *inv,
                                  const struct notification_id *id);
ptrdiff_t store_find_command(struct partition_store *s, struct invocation *inv, uint32_t completion_id);
void store_event_append(struct partition_store *s, struct invocation *inv, const struct journal_event *event);
/* Every invocation in status Invoked (start of leadership), in id order. */
void store_scan_invoked(struct partition_store *s, void (*visit)(void *ctx, struct invocation *inv),
                        void *ctx);
/* Every invocation in id order, loaded one by one without filling the cache (SQL, tests). Return false to
 * stop. */
void store_scan_invocations(struct partition_store *s, bool (*visit)(void *ctx, const struct invocation *inv),
                            void *ctx);

/* ---- per object (service, key): lock, inbox, state, promises ---- */
bool store_lock_get(struct partition_store *s, struct slice service, struct slice key,
                    struct invocation_id *owner);
void store_lock_set(struct partition_store *s, struct slice service, struct slice key,
                    struct invocation_id owner);
void store_lock_clear(struct partition_store *s, struct slice service, struct slice key);
/* Consumes entry->patch. */
void store_inbox_push(struct partition_store *s, struct slice service, struct slice key,
                      const struct inbox_entry *entry);
/* Smallest seq; the caller owns out->patch. */
bool store_inbox_pop(struct partition_store *s, struct slice service, struct slice key,
                     struct inbox_entry *out);
bool store_inbox_remove(struct partition_store *s, struct slice service, struct slice key, uint64_t seq);

/* Value of a state key (a new reference), false if absent. */
bool store_state_get(struct partition_store *s, struct slice service, struct slice key,
                     struct slice state_key, struct bytes *out);
void store_state_put(struct partition_store *s, struct slice service, struct slice key,
                     struct slice state_key, struct bytes value_take);
void store_state_clear(struct partition_store *s, struct slice service, struct slice key,
                       struct slice state_key);
void store_state_clear_all(struct partition_store *s, struct slice service, struct slice key);
/* In byte order of the state key; return false to stop. */
void store_state_scan(struct partition_store *s, struct slice service, struct slice key,
                      bool (*visit)(void *ctx, struct slice state_key, struct bytes value), void *ctx);
/* Version string of the object's state (§6.3): 43 characters and NUL. */
void store_state_version(struct partition_store *s, struct slice service, struct slice key, char out[44]);

/* Promise: OUTCOME_NONE = not completed (then `listeners`); false if there is no row. Slices valid until the
 * next change of it. */
struct promise {
    struct outcome outcome;
    const struct promise_listener *listeners;
    size_t n_listeners;
};
bool store_promise_get(struct partition_store *s, struct slice service, struct slice key,
                       struct slice promise_key, struct promise *out);
void store_promise_listen(struct partition_store *s, struct slice service, struct slice key,
                          struct slice promise_key, struct promise_listener listener);
/* Drops the listeners. */
void store_promise_complete(struct partition_store *s, struct slice service, struct slice key,
                            struct slice promise_key, const struct outcome *outcome);
void store_promise_clear_all(struct partition_store *s, struct slice service, struct slice key);

/* ---- limits of scopes (partition/limits.h) ----
 * A scoped invocation that runs or is held has an entry; all of them are in memory, about 200 bytes each. */
struct limits;
/* True: it has a slot. False: it has to wait; store_slot_next tells when it is its turn. inv->inbox_seq is
 * its place. */
bool store_slot_enter(struct partition_store *s, const struct invocation *inv, bool woken);
void store_slot_leave(struct partition_store *s, struct invocation_id id); /* nothing if it has no entry */
/* The next one whose turn it is: it has a slot from now on. */
bool store_slot_next(struct partition_store *s, struct invocation_id *out);
bool store_slot_any_next(const struct partition_store *s);
const struct limits *store_limits(const struct partition_store *s);
/* Queues of scopes. False: too many are paused. */
bool store_queue_pause(struct partition_store *s, struct invocation_id queue);
void store_queue_resume(struct partition_store *s, struct invocation_id queue);
/* `encoded`: a valid cmd_rule_book. */
void store_rules_set(struct partition_store *s, uint32_t version, struct bytes encoded);
uint32_t store_rules_version(const struct partition_store *s); /* 0: none yet */

/* ---- timers, outbox, dedup ---- */
void store_timer_put(struct partition_store *s, const struct timer_key *key);
bool store_timer_delete(struct partition_store *s,
                        const struct timer_key *key); /* false if it was not there */
/* Up to `max` timers after `after` (NULL: from the first) in order; returns how many. */
size_t store_timer_scan(struct partition_store *s, const struct timer_key *after, struct timer_key *out,
                        size_t max);
/* Takes the record; assigns vars.outbox_seq++. */
uint64_t store_outbox_push(struct partition_store *s, uint64_t partition_key, enum command_kind kind,
                           struct bytes record_take);
/* NULL if index was truncated or not yet assigned. The message's record may be patched (header) by the
 * shuffle only in a copy. */
const struct outbox_message *store_outbox_get(struct partition_store *s, uint64_t index);
void store_outbox_truncate(struct partition_store *s, uint64_t upto_index);
/* False if stored >= (hi, lo): drop the record. Else stores it. `kind` SELF uses one row, FOREIGN one per
 * source partition. */
bool store_dedup_check(struct partition_store *s, const struct record_header *h);
/* Outside apply: the smallest owner (wire/command.h) of a producer here of which `gone` says so. Owners that
 * are not known are not asked about. */
bool store_dedup_orphan(struct partition_store *s, bool (*gone)(void *ctx, uint64_t owner), void *ctx,
                        uint64_t *owner);
/* CMD_FORGET_PRODUCERS. How many producers are not known any more. */
size_t store_dedup_forget(struct partition_store *s, uint32_t tag, uint32_t schema_version);

/* The inside of the partition store, shared by store*.c. See README.md for the life of an object.
 *
 * Write-back: an object is clean, dirty (on its table's dirty list) or flushing (in the batch that is being
 * written); changed while flushing, it is dirty again and its generation tells that an older version is on
 * its way. Only one batch is in flight. An object may leave memory when it is clean and its generation is
 * written. */
#pragma once
#include <stdlib.h>

#include "base/env.h"
#include "base/hash.h"
#include "base/log.h"
#include "partition/limits.h"
#include "partition/store_codec.h"

#define STORE_LOG           "restate_partition::store"
#define STORE_BLOB_MIN      4096        /* state values of this size and above are blobs */
#define STORE_JOURNAL_EAGER (256 << 10) /* journals up to this size are loaded with their invocation */
#define STORE_STATE_EAGER   (256 << 10) /* state of an object up to this size is loaded as a whole */

enum write_back_flags {
    WB_DIRTY = 1,
    WB_PERSISTED = 2, /* the backend has it, or will once the batch in flight is written */
    WB_DEAD = 4,      /* deleted; kept until the backend knows */
};

/* store_flags of an invocation */
enum {
    INV_ROWS = 1,           /* rows in TABLE_JOURNAL may exist */
    INV_STALE_ROWS = 2,     /* those rows are of an earlier life of the id, or of a purged journal */
    INV_ORIGIN_WRITTEN = 4, /* the origin's own row exists */
    INV_NOT_LOADED = 8,     /* journal.len is right, journal.items is not there */
    INV_TOUCHED = 16,       /* on the list of the record being applied */
    INV_HASHED = 32,        /* its origin is part of the state hash */
    INV_HAS_BLOBS = 64,     /* entries refer to blobs */
    INV_BLOBS_FREED = 128,  /* ... and no longer count as references (blobs live by expiry) */
    INV_LIVE = 256,         /* counted in live_invocations */
    INV_DETACHED = 512,     /* a temporary object of a scan: not in the cache */
};

enum row_kind { ROW_INBOX, ROW_STATE, ROW_PROMISE };
struct row {
    struct omap_node node;
    struct write_back wb;
    enum row_kind kind;
};
struct inbox_row {
    struct row row;
    struct inbox_entry entry;
};
struct state_row {
    struct row row;
    uint64_t blob_id, len; /* len: of the value; the value of a blob may not be loaded */
    struct bytes value;
    struct slice key; /* into name[] */
    uint8_t name[];
};
struct promise_row {
    struct row row;
    struct outcome outcome; /* slices into outcome_bytes */
    struct bytes outcome_bytes;
    struct {
        struct promise_listener *items;
        size_t len, cap;
    } listeners;
    struct slice key; /* into name[] */
    uint8_t name[];
};

/* Everything of one (service, key). wb: the header row. */
struct object {
    struct hmap_node by_name;
    struct write_back wb;
    struct object_header header, persisted;
    struct list dirty_rows, flushing_rows;
    struct omap inbox, state, promises;
    uint64_t inbox_loaded;                  /* every live inbox row with a smaller seq is in memory */
    bool state_complete, promises_complete; /* every live row is in memory */
    bool state_wipe;          /* the next batch begins by deleting all state rows of the backend */
    bool state_dirty;         /* since the header row was written */
    uint64_t wipe_generation; /* last batch with such a deletion */
    size_t charged_bytes;
    struct slice service, key; /* into names[] */
    uint8_t names[];
};

struct timer_row {
    struct omap_node node;
    struct write_back wb;
    struct timer_key key;
};

struct dedup_row {
    struct hmap_node node;
    struct write_back wb;
    uint8_t kind;
    struct u128 producer;
    uint64_t hi, lo; /* hi: SELF the epoch, PRODUCER its owner */
};

struct blob {
    struct hmap_node by_id;
    struct write_back wb;
    uint64_t id;
    struct blob_meta meta;
    struct bytes content; /* empty when not loaded */
    bool content_written;
    size_t charged_bytes;
};

struct outbox_slot {
    struct outbox_message message;
};

struct flush_waiter {
    struct list link;
    uint64_t generation;
    void (*done)(void *ctx, lsn_t durable);
    void *ctx;
};

/* A point in the history: what a batch contains, what is written, what is durable. */
struct store_point {
    uint64_t generation;
    lsn_t lsn;
    uint64_t time_ms;
};

struct partition_store {
    struct kv_backend *kv;
    struct env *env;
    struct store_config config;
    struct partition_vars vars;
    struct err failure; /* rc != RC_OK: stop */

    bool in_apply;
    lsn_t apply_lsn;
    uint64_t now_ms;
    struct {
        struct invocation **items;
        size_t len, cap;
    } touched;

    struct hmap invocations;
    struct list inv_dirty, inv_flushing, inv_clean;
    bool inv_backend_empty; /* TABLE_INVOCATION has never had a row */
    size_t live_invocations;

    struct hmap objects;
    struct list obj_dirty, obj_flushing, obj_clean;
    bool obj_backend_empty;

    struct omap timers; /* what the backend does not know yet */
    struct list timer_dirty, timer_flushing;

    /* Outbox: messages window_base..outbox_seq-1 are in memory, those below `flushed` are in (or on the way
     * to) the backend. */
    struct outbox_slot *window;
    size_t window_cap;
    uint64_t window_base, outbox_flushed;
    uint64_t outbox_deleted,
        outbox_delete_to;    /* rows between are to be deleted by the next batch, those below are gone */
    uint64_t outbox_written; /* messages below may leave memory */
    struct {
        struct outbox_message **items;
        size_t len, cap;
    } outbox_loaded; /* read back for the shuffle; freed by the next maintain */

    struct hmap dedups;
    struct list dedup_dirty, dedup_flushing, dedup_clean;

    struct hmap blobs;
    struct list blob_dirty, blob_flushing, blob_clean;
    uint64_t next_blob_id;
    uint64_t next_blob_expiry; /* no row of TABLE_BLOB_EXPIRY is due before */

    struct hmap slots;
    struct list slot_dirty, slot_flushing;
    struct limits *limits;
    struct bytes rules;
    uint32_t rules_version;
    bool rules_dirty, paused_dirty;

    size_t cached_bytes, dirty_objects;
    size_t dirty_bytes; /* estimate, since the last batch began */
    bool dirty;
    uint64_t dirty_since_ms;

    struct kv_batch *batch; /* being encoded */
    bool writing, syncing, flush_wanted;
    struct store_point in_batch, written, in_sync, durable;
    size_t unsynced_bytes;
    uint64_t unsynced_since_ms;
    struct list waiters;
    unsigned views; /* exports that read: the backend may not reclaim what they see */
    struct env_timer timer;
    struct env_task task;
    bool closing, abandoned;
    void (*closed)(void *ctx);
    void *closed_ctx;

    size_t flushes;
    uint64_t flushed_bytes;
    struct writer key, key2, value;
};

/* ---- store.c ---- */
/* The first failure counts; from then on nothing is flushed. */
void store_fail(struct partition_store *s, enum rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* RC_OK or RC_NOT_FOUND; anything else has become the store's failure. */
enum rc store_kv_get(struct partition_store *s, struct slice key, struct bytes *out);
/* Something of about this size has to be written. */
void store_note_dirty(struct partition_store *s, size_t bytes);
static inline uint64_t store_now(const struct partition_store *s)
{
    return s->in_apply ? s->now_ms : s->vars.applied_time_ms;
}
static inline void store_charge(struct partition_store *s, size_t *charged, size_t bytes)
{
    s->cached_bytes += bytes - *charged;
    *charged = bytes;
}

/* An export begins (1) or ends (-1) to hold a view of the backend. */
void store_views_change(struct partition_store *s, int by);

/* ---- state hash (store_hash.c) ---- */
enum mutation {
    MUT_VARS = 1,
    MUT_INVOCATION,
    MUT_INVOCATION_DELETE,
    MUT_JOURNAL,
    MUT_EVENT,
    MUT_PURGE,
    MUT_LOCK,
    MUT_UNLOCK,
    MUT_INBOX_PUSH,
    MUT_INBOX_REMOVE,
    MUT_STATE_PUT,
    MUT_STATE_CLEAR,
    MUT_STATE_WIPE,
    MUT_LISTEN,
    MUT_PROMISE,
    MUT_PROMISE_WIPE,
    MUT_TIMER_PUT,
    MUT_TIMER_DELETE,
    MUT_OUTBOX_PUSH,
    MUT_OUTBOX_TRUNCATE,
    MUT_DEDUP,
    MUT_SLOT,
    MUT_RULES,
    MUT_QUEUE,
    MUT_DEDUP_FORGET,
};
uint64_t
hash_value(struct slice value); /* of long values only length and ends: their content came through the log */
uint64_t hash_id(struct invocation_id id);
/* Chain one mutation; unused numbers are 0. */
void store_mutated(struct partition_store *s, enum mutation kind, uint64_t a, uint64_t b, uint64_t c);
void store_hash_invocation(struct partition_store *s, struct invocation *inv);

/* ---- write-back lists (store.c) ---- */
void wb_dirty(struct partition_store *s, struct write_back *w, struct list *dirty);
/* Mark as dead. True: nobody else knows of it, the caller frees it now. */
bool wb_kill(struct partition_store *s, struct write_back *w, struct list *dirty, struct list *flushing);
/* It was encoded into the batch. */
void wb_flushed(struct partition_store *s, struct write_back *w, struct list *flushing);
/* No version of it is on its way to the backend. */
static inline bool wb_settled(const struct partition_store *s, const struct write_back *w)
{
    return w->generation <= s->written.generation;
}
static inline bool wb_clean(const struct partition_store *s, const struct write_back *w)
{
    return !(w->flags & WB_DIRTY) && wb_settled(s, w);
}

/* ---- per table: encode what is dirty; the batch was written; drop clean things until under budget; free
 * everything ---- */
void store_batch_put(struct partition_store *s, struct slice key, struct slice value);
void store_batch_delete(struct partition_store *s, struct slice key);
void store_batch_delete_prefix(struct partition_store *s, struct writer *prefix); /* the writer is changed */

void invocations_flush(struct partition_store *s);
void invocations_written(struct partition_store *s);
bool invocations_evict_one(struct partition_store *s);
bool invocations_evict_completed(struct partition_store *s); /* one, if one is at the cold end */
void invocations_free(struct partition_store *s);
void objects_flush(struct partition_store *s);
void objects_written(struct partition_store *s);
bool objects_evict_one(struct partition_store *s);
void objects_free(struct partition_store *s);
void timers_init(struct partition_store *s);
void timers_flush(struct partition_store *s);
void timers_written(struct partition_store *s);
void timers_free(struct partition_store *s);
void outbox_flush(struct partition_store *s);
void outbox_maintain(struct partition_store *s, bool over_budget);
void outbox_free(struct partition_store *s);
void dedup_flush(struct partition_store *s);
void dedup_written(struct partition_store *s);
void dedup_maintain(struct partition_store *s);
void dedup_free(struct partition_store *s);
void slots_init(struct partition_store *s);
enum rc slots_load(struct partition_store *s, struct err *err);
void slots_flush(struct partition_store *s);
void slots_written(struct partition_store *s);
void slots_free(struct partition_store *s);
bool slot_decode(struct slice value, struct limit_entry *e, struct limit_address *a); /* borrows `value` */
void blobs_flush(struct partition_store *s);
void blobs_written(struct partition_store *s);
bool blobs_evict_one(struct partition_store *s);
void blobs_free(struct partition_store *s);

/* ---- invocations (store_invocation.c, store_journal.c) ---- */
void invocation_free(struct partition_store *s, struct invocation *inv);
void invocation_recharge(struct partition_store *s, struct invocation *inv);
void journal_index_free(struct invocation *inv);
/* Give up the journal's references to blobs: at deletion, or when packed with an expiry. */
void journal_unref_blobs(struct partition_store *s, struct invocation *inv);
/* A completed invocation is about to be packed: its blobs live until its journal expires. */
void journal_release_blobs(struct partition_store *s, struct invocation *inv);
/* Let large entries refer to the state value they contain. */
void journal_attach_blob(struct partition_store *s, struct invocation *inv, struct journal_entry *e);
struct blob_source store_blob_source(struct partition_store *s);

/* ---- objects (store_object.c, store_state.c, store_promise.c) ---- */
struct object *object_get(struct partition_store *s, struct slice service, struct slice key);
/* NULL if it is not in memory. */
struct object *object_cached(struct partition_store *s, struct slice service, struct slice key);
/* Begin the key of one of the object's rows. */
void object_key(struct partition_store *s, struct writer *w, enum store_table table, const struct object *o);
void object_changed(struct partition_store *s, struct object *o);
void object_row_changed(struct partition_store *s, struct object *o, struct row *r, size_t bytes);
/* Remove from the map's view: freed now or kept as a tombstone. */
void object_row_kill(struct partition_store *s, struct object *o, struct omap *map, struct row *r);
void object_row_free(struct partition_store *s, struct object *o, struct row *r);
void object_charge(struct partition_store *s, struct object *o, ptrdiff_t delta);
uint64_t object_hash(struct slice service, struct slice key);
int state_row_cmp(const struct omap_node *a, const struct omap_node *b);
int promise_row_cmp(const struct omap_node *a, const struct omap_node *b);
void state_row_encode(struct partition_store *s, struct object *o, struct state_row *r);
void promise_row_encode(struct partition_store *s, struct object *o, struct promise_row *r);
size_t state_row_size(const struct state_row *r);
size_t promise_row_size(const struct promise_row *r);
/* Rows of a header that carries the state. False: damaged. */
bool state_load_embedded(struct partition_store *s, struct object *o, struct reader *r);
/* Small state moves into the header row, state that has grown out of it gets rows of its own: sets
 * header.embedded and what is dirty accordingly. Before the rows are flushed. */
void state_choose_form(struct partition_store *s, struct object *o);
void state_append_embedded(struct object *o, struct writer *w);
/* Drop clean state rows of a large object. */
void state_trim(struct partition_store *s, struct object *o);
/* The blob whose content equals `content` among the object's state values in memory, or 0. */
uint64_t state_find_blob(struct partition_store *s, struct object *o, struct slice content);

/* ---- blobs (store_blob.c) ---- */
uint64_t blob_new(struct partition_store *s,
                  struct bytes content); /* one reference; takes a ref of content */
void blob_ref(struct partition_store *s, uint64_t id);
void blob_unref(struct partition_store *s, uint64_t id);
void blob_keep_until(struct partition_store *s, uint64_t id, uint64_t expiry_ms);
bool blob_content(struct partition_store *s, uint64_t id, struct bytes *out);

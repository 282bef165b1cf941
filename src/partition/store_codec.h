/* How the objects of a partition look in the backend. Every value begins with a version; decoders validate
 * everything and answer RC_CORRUPT with a sentence. Private to the store, its tests and the compaction
 * filter.
 *
 * Keys: u16 BE partition id, u8 table, then the table's own key. Names are escaped (00 -> 00 ff, end 00 01),
 * so that no key is a prefix of another object's and the order of keys is the order of names. */
#pragma once
#include "partition/store.h"

enum store_table {
    TABLE_IMPORT = 0,         /* -> there while an import is unfinished; never in a snapshot */
    TABLE_VARS = 1,           /* -> variables */
    TABLE_DEDUP = 2,          /* kind, producer -> sequence */
    TABLE_INVOCATION = 3,     /* id -> status row, or everything packed (completed) */
    TABLE_LIVE = 4,           /* id -> status: invocations that are not completed */
    TABLE_JOURNAL = 5,        /* id, part, index -> origin, entry, event of a live invocation */
    TABLE_OBJECT = 6,         /* service, key -> lock and counts */
    TABLE_INBOX = 7,          /* service, key, seq -> inbox entry */
    TABLE_STATE = 8,          /* service, key, state key -> value or blob reference */
    TABLE_PROMISE = 9,        /* service, key, promise key -> outcome or listeners */
    TABLE_TIMER = 10,         /* wake-up, kind, id, index -> nothing */
    TABLE_OUTBOX = 11,        /* index -> message */
    TABLE_BLOB = 12,          /* blob id -> content */
    TABLE_BLOB_META = 13,     /* blob id -> references, expiry */
    TABLE_BLOB_EXPIRY = 14,   /* expiry, blob id -> nothing */
    TABLE_SLOT = 15,          /* id -> entry of a scoped invocation that runs or is held */
    TABLE_RULES = 16,         /* -> rule book */
    TABLE_PAUSED_QUEUES = 17, /* -> ids of the queues of scopes that are paused */
    TABLE_LAST = TABLE_PAUSED_QUEUES,
};
enum journal_part { PART_ORIGIN = 0, PART_ENTRY = 1, PART_EVENT = 2 };

#define STORE_KEY_PREFIX 3
void key_begin(struct writer *w, uint16_t partition_id, enum store_table table); /* resets the writer */
void key_id(struct writer *w, struct invocation_id id);
void key_name(struct writer *w, struct slice name);
void key_timer(struct writer *w, const struct timer_key *t);
/* Turn a prefix into the smallest key above everything that starts with it. */
void key_after_prefix(struct writer *w);
bool key_timer_decode(struct slice suffix, struct timer_key *out);

/* ---- invocation values ----
 * Head of fixed layout, so that the compaction filter can judge a value without decoding it; then the status;
 * then, if packed, journal and events. */
#define STORED_VERSION   1
#define STORED_HEAD_SIZE 24
enum stored_kind { STORED_LIVE = 1, STORED_PACKED = 2 };
enum {
    STORED_KEEP = 1,         /* never dropped by expiry: workflow runs */
    STORED_JOURNAL_GONE = 2, /* the filter has cut the journal off */
};
#define NEVER_MS UINT64_MAX
struct stored_head {
    uint8_t version, kind, flags;
    uint64_t expiry_ms, journal_expiry_ms; /* NEVER_MS: none */
    uint32_t status_len;
};
void stored_head_put(uint8_t out[STORED_HEAD_SIZE], const struct stored_head *h);
bool stored_head_get(struct slice value, struct stored_head *out);

/* The compaction filter's judgement of one row: keep it, drop it, or keep only its first *cut bytes with
 * STORED_JOURNAL_GONE set. */
enum row_fate { ROW_KEEP, ROW_DROP, ROW_CUT };
enum row_fate stored_fate(struct slice key, struct slice value, uint64_t watermark_ms, size_t *cut);

uint64_t invocation_expiry_ms(const struct invocation *inv); /* NEVER_MS for workflow runs and live ones */
uint64_t invocation_journal_expiry_ms(const struct invocation *inv); /* NEVER_MS for live ones */

/* Where contents of blobs come from when decoding: false if there is no such blob. */
struct blob_source {
    bool (*content)(void *ctx, uint64_t id, struct bytes *out);
    void *ctx;
};

#define ORIGIN_INLINE_MAX 1024 /* larger origins of live invocations have a row of their own */
void invocation_encode(struct writer *w, const struct invocation *inv, bool packed);
/* `inv` is zeroed but for id. A live one comes without journal items (len is set) and, if origin.len is 0,
 * without origin. A journal that has expired at `now_ms` is not looked at (its blobs may be gone):
 * journal_purged. */
enum rc invocation_decode(struct bytes value, struct invocation *inv, uint64_t now_ms,
                          const struct blob_source *blobs, struct err *err);
/* Without the items of the journal, also of a packed one (journal.len and events.len are set). */
enum rc invocation_decode_status(struct bytes value, struct invocation *inv, uint64_t now_ms,
                                 struct err *err);
/* Sets origin and si. */
enum rc invocation_set_origin(struct invocation *inv, struct bytes origin, struct err *err);
void entry_encode(struct writer *w, const struct invocation *inv, const struct journal_entry *e);
enum rc entry_decode(struct bytes value, struct reader *r, const struct invocation *inv,
                     const struct blob_source *blobs, struct journal_entry *out, struct err *err);
void event_encode(struct writer *w, const struct journal_event *e);
enum rc event_decode(struct bytes value, struct reader *r, struct journal_event *out, struct err *err);
/* Drop every reference held by the fields (not the struct). */
void invocation_release(struct invocation *inv);
void invocation_release_journal(struct invocation *inv);

/* ---- the small ones ---- */
struct stored_vars {
    struct partition_vars vars;
    uint64_t live_invocations, next_blob_id;
};
void stored_vars_encode(struct writer *w, const struct stored_vars *v);
bool stored_vars_decode(struct slice value, struct stored_vars *out);

struct object_header {
    bool locked;
    bool embedded; /* the state follows in this row; there are no rows in TABLE_STATE */
    struct invocation_id owner;
    uint64_t inbox, state, state_bytes, promises; /* rows; bytes of state keys and values */
};
bool object_header_eq(const struct object_header *a, const struct object_header *b);
/* If `embedded`, the caller appends `state` times lp key, lp value. */
void object_header_encode(struct writer *w, const struct object_header *h);
/* `state` is left at the embedded state, to be read with embedded_state_read until it is done. */
bool object_header_decode(struct slice value, struct object_header *out, struct reader *state);
bool embedded_state_read(struct reader *r, struct slice *key, struct slice *value);

void inbox_encode(struct writer *w, const struct inbox_entry *e); /* without seq */
bool inbox_decode(struct bytes value, struct inbox_entry *out);   /* references */

/* `blob_id` 0: the value itself follows. */
void state_encode(struct writer *w, uint64_t blob_id, struct bytes value);
struct stored_state {
    uint64_t blob_id, len;
    struct slice value; /* inline */
};
bool state_decode(struct slice value, struct stored_state *out);

void promise_encode(struct writer *w, const struct promise *p);
/* The outcome borrows `value`; listeners: *n of them follow in `r`, see promise_listener_read. */
bool promise_decode(struct slice value, struct promise *out, struct reader *listeners);
bool promise_listener_read(struct reader *r, struct promise_listener *out);

void outbox_encode(struct writer *w, const struct outbox_message *m); /* without index */
bool outbox_decode(struct bytes value, struct outbox_message *out);   /* references */

struct blob_meta {
    uint64_t refs, expiry_ms, len;
};
void blob_meta_encode(struct writer *w, const struct blob_meta *m);
bool blob_meta_decode(struct slice value, struct blob_meta *out);

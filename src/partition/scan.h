/* Reading a partition's tables from outside of its loop (SQL): a scan is opened on the store's loop and then
 * read on any one thread.
 *
 * Opening takes a frozen view of the backend and copies what the backend does not have yet - the objects that
 * changed since the last write, bounded by the flush policy - as references, so that the loop is held up for
 * the time of that copy only. Everything else - iterating, decoding - happens on the reader's thread. What is
 * read is the partition at the moment of opening. */
#pragma once
#include "partition/store.h"

enum scan_kind {
    SCAN_INVOCATIONS, /* without journals: journal.len is right, journal.items is NULL */
    SCAN_JOURNALS,    /* invocations with their journals and events */
    SCAN_LOCKS,
    SCAN_INBOX,
    SCAN_STATE,
    SCAN_PROMISES,
};
struct scan_filter {
    bool by_id; /* SCAN_INVOCATIONS, SCAN_JOURNALS */
    struct invocation_id id;
    bool by_object; /* the others */
    struct slice service, key;
    bool live_only;  /* SCAN_INVOCATIONS: not those that have completed */
    uint64_t now_ms; /* retention is judged by this, or by the last record if that is later */
};
struct store_scan;
/* On the store's loop. `filter` is lent for the call. */
struct store_scan *store_scan_new(struct partition_store *s, enum scan_kind kind,
                                  const struct scan_filter *filter);

/* Any one thread from here on; the store may be closed meanwhile, its backend may not. */
/* SCAN_INVOCATIONS, SCAN_JOURNALS: the next one, in no order; NULL at the end or after an error. Valid until
 * the next call. */
const struct invocation *store_scan_invocation(struct store_scan *c);

struct scan_row {
    struct slice service, key, scope; /* scope: ptr NULL if none */
    struct invocation_id id;          /* LOCKS: the holder; INBOX: who waits */
    uint64_t seq;                     /* INBOX */
    enum inbox_entry_kind inbox;      /* INBOX */
    struct slice name;                /* STATE, PROMISES: key of the entry */
    struct slice value;               /* STATE */
    struct outcome outcome;           /* PROMISES: OUTCOME_NONE while open */
};
/* The other kinds. Slices are valid until the next call. */
bool store_scan_row(struct store_scan *c, struct scan_row *out);
/* RC_OK, or what ended the scan early. */
enum rc store_scan_error(const struct store_scan *c, struct err *err);
void store_scan_free(struct store_scan *c);

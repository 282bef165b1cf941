/* The inside of a scan (partition/scan.h), shared by store_scan*.c. */
#pragma once
#include "base/hash.h"
#include "partition/scan.h"
#include "partition/store_internal.h"

/* Copies of what memory knows better than the backend. */
struct scan_invocation {
    struct hmap_node node;
    struct invocation_id id;
    bool dead;
    uint32_t entries_from, events_from; /* items before are in the backend; those after are copied */
    struct invocation inv;
};
struct scan_entry {
    bool dead;
    struct bytes name; /* state key, promise key */
    uint64_t seq;      /* inbox */
    struct inbox_entry inbox;
    struct bytes value; /* state */
    struct outcome outcome;
    struct bytes outcome_bytes;
};
struct scan_object {
    struct hmap_node node;
    struct slice service, key;
    bool locked, complete; /* complete: rows of the backend do not count */
    struct invocation_id owner;
    struct {
        struct scan_entry *items;
        size_t len, cap;
    } entries;
    uint32_t *index; /* of the entries by name or sequence number, position + 1; built when first asked */
    size_t index_mask;
    uint8_t *text; /* what the slices point to */
};

struct store_scan {
    enum scan_kind kind;
    struct scan_filter filter; /* slices into filter_text */
    uint8_t *filter_text;
    uint16_t partition_id;
    uint64_t now_ms;
    const struct kv_backend_ops *ops;
    struct kv_view *view;
    struct err err;

    struct {
        struct scan_invocation **items;
        size_t len, cap;
    } invocations;
    struct {
        struct scan_object **items;
        size_t len, cap;
    } objects;
    struct hmap by_key; /* of either */

    /* reading */
    size_t at, entry_at;   /* in the copies */
    struct kv_iter *it;    /* then in the backend */
    struct kv_iter *state; /* SCAN_STATE: TABLE_STATE after the headers */
    bool ended;
    struct scan_invocation *shown;  /* a copy that is filled up from the backend */
    struct invocation stored;       /* the current one from the backend */
    struct bytes suffix, row, blob; /* of the current row: end of its key, value; blob of a state value */
    struct reader embedded;         /* state rows inside of a header */
    bool in_embedded;
    struct writer key, service, name;
};

void scan_fail(struct store_scan *c, enum rc rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The value of one key in the view; false if it is not there or the scan failed. */
bool scan_get(struct store_scan *c, struct slice key, struct bytes *out);
struct kv_iter *scan_iter(struct store_scan *c, struct slice from, struct slice to);
/* Next row; at the end the iterator is freed and NULL. */
bool scan_iter_next(struct store_scan *c, struct kv_iter **it, struct slice *key, struct slice *value);
bool scan_blob(struct store_scan *c, uint64_t id, struct bytes *out);

/* store_scan_invocation.c, store_scan_object.c: copying, on the store's loop; and releasing. */
void scan_copy_invocations(struct store_scan *c, struct partition_store *s);
void scan_copy_objects(struct store_scan *c, struct partition_store *s);
void scan_invocations_free(struct store_scan *c);
void scan_objects_free(struct store_scan *c);

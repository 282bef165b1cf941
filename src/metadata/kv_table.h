/* The entries of a key-value store in memory, ordered by key, and the rules of its writes (spec/cluster.md
 * §2.2). Shared by the `local` provider and the members of the replicated one. Pure; one owner. */
#pragma once
#include "base/codec.h"
#include "metadata/kv.h"

struct kv_table {
    struct omap entries;
    size_t bytes; /* of keys and values, and a little for each entry */
};

void kv_table_init(struct kv_table *t);
void kv_table_free(struct kv_table *t);

/* True and a borrowed view, valid until the next change. */
bool kv_table_get(const struct kv_table *t, struct slice key, struct kv_entry *out);
/* Insert or replace without asking. */
void kv_table_put(struct kv_table *t, struct slice key, struct bytes value_take, uint32_t version);
/* No-op if absent. */
void kv_table_delete(struct kv_table *t, struct slice key);

/* A write to be judged: the fields of struct kv_op. */
struct kv_write {
    bool put; /* else delete */
    enum kv_precondition precondition;
    uint32_t version, expected_version;
    struct slice key, value;
};
/* RC_OK if the write may be done against the entries as they are; otherwise RC_CONFLICT, RC_INVALID or
 * RC_TOO_LARGE and a sentence (static). */
enum rc kv_table_judge(const struct kv_table *t, const struct kv_write *w, const char **message);

/* In order of keys: the first entry at or after `key`, and the one after. NULL at the end. */
struct kv_cursor {
    struct omap_node *node;
};
struct kv_cursor kv_table_seek(const struct kv_table *t, struct slice key);
bool kv_cursor_next(struct kv_cursor *c, struct kv_entry *out);

/* The whole table as bytes (a snapshot): entry*, entry := u32 version, varint-prefixed key and value. Reading
 * requires strictly ascending keys: RC_CORRUPT otherwise, and the table is left empty. */
void kv_table_write(const struct kv_table *t, struct writer *w);
enum rc kv_table_read(struct kv_table *t, struct slice content, struct err *err);

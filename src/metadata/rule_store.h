/* The rule book in the metadata store: a cache that follows it, and changes. Everything on the loop of `env`.
 */
#pragma once
#include "base/env.h"
#include "metadata/kv_edit.h"
#include "metadata/rule_book.h"

struct rule_store;

/* Reads the book now and every `poll_ms`, because other nodes change it. `changed` runs for each newer book
 * (lent). */
struct rule_store *rule_store_new(struct env *env, struct kv *kv, uint64_t poll_ms,
                                  void (*changed)(void *ctx, const struct rule_book *book), void *ctx);
/* The newest book known here (lent); never NULL, version 0 while there is none. */
const struct rule_book *rule_store_current(const struct rule_store *s);
/* A value that was read or written by somebody on this node; others are ignored. */
void rule_store_seen(struct rule_store *s, const struct kv_entry *entry);
/* Before the key-value store is closed. */
void rule_store_free(struct rule_store *s);

/* A change, embedded by the caller and kept until `done`. */
struct rule_edit {
    struct rule_change *changes;
    size_t n_changes;
    /* `err` NULL: `book` (lent) has the changes. RC_CONFLICT, RC_NO_SPACE: refused, nothing was changed.
     * Otherwise the metadata store failed; RC_TIMEOUT, RC_CLOSED: it may have happened. */
    void (*done)(struct rule_edit *e, const struct rule_book *book, const struct err *err);
    /* private */
    struct rule_store *store;
    struct kv_edit edit;
    struct arena arena;
    struct rule_book book;
    uint64_t now_ms;
};
/* `done` never runs from inside. */
void rule_store_edit(struct rule_store *s, struct rule_edit *e);

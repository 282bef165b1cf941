/* What a node knows of the epoch metadata of all partitions (spec/cluster.md §4.3): one cache for the
 * controller, the claims and whoever follows placements. Values only move forward in version (N-3).
 *
 * It reads: everything (one list) at the start and every `refresh_ms`, one partition when somebody heard of a
 * newer version or wants it fresh. It is told what other writers of this node read and wrote (epochs_seen
 * fits metadata/kv_watch.h). A value that cannot be decoded is named in the log and kept out: the partition
 * then counts as not known, and nobody writes over it.
 *
 * Everything on the loop of `env`, the one of the key-value store. */
#pragma once
#include "base/env.h"
#include "metadata/kv.h"
#include "metadata/values.h"

struct epochs;
struct epochs_config {
    uint32_t refresh_ms; /* 0: 30 s */
    uint32_t parallel;   /* reads at the same time; 0: 32 */
};

/* Runs for each newer value, inside whatever brought it (a read, a write, epochs_seen). `m` is valid during
 * the call; epochs_get gives it later. Listeners are added and removed outside of it. */
struct epochs_listener {
    void (*changed)(struct epochs_listener *l, uint32_t partition, const struct epoch_metadata *m);
    struct list link; /* private */
};
/* Wants a read that begins after now. Kept by the caller until `done`, which runs exactly once, never from
 * inside the call; not after epochs_free. RC_OK also if the partition has no value. */
struct epochs_wait {
    void (*done)(struct epochs_wait *w, enum rc rc, const char *message);
    struct list link; /* private */
};

struct epochs *epochs_new(struct env *env, struct kv *kv, const struct epochs_config *config);
/* Operations in flight may end later; the key-value store is closed after this. Waiters are forgotten. */
void epochs_free(struct epochs *e);
void epochs_listen(struct epochs *e, struct epochs_listener *l);
void epochs_unlisten(struct epochs_listener *l);

/* The number of partitions, from the partition table; it never changes to another number but 0. Starts the
 * first list. */
void epochs_set_partitions(struct epochs *e, uint32_t n);
uint32_t epochs_partitions(const struct epochs *e);

/* The newest value known; NULL: none, or not known. Valid until the loop goes on. */
const struct epoch_metadata *epochs_get(const struct epochs *e, uint32_t partition);
enum epochs_state {
    EPOCHS_UNKNOWN, /* not read yet, or not readable */
    EPOCHS_ABSENT,  /* nobody wrote it yet */
    EPOCHS_PRESENT,
    EPOCHS_DELETED, /* it was there (epochs_get still gives it), and is gone */
};
enum epochs_state epochs_state(const struct epochs *e, uint32_t partition);
/* False while a read is wanted or under way: what is known may be old. */
bool epochs_settled(const struct epochs *e, uint32_t partition);

/* A hint: this version exists (gossip, an operator's write). Read it unless known. */
void epochs_heard(struct epochs *e, uint32_t partition, uint32_t version);
/* A value that was read or written: committed. Other keys are ignored. */
void epochs_seen(struct epochs *e, const struct kv_entry *entry);
/* Read one partition again, or all of them. `w` may be NULL. */
void epochs_refresh(struct epochs *e, uint32_t partition, struct epochs_wait *w);
void epochs_refresh_all(struct epochs *e, struct epochs_wait *w);

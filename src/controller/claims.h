/* Claiming the leadership of a partition (spec/cluster.md §4.7 step 1): compare-and-swap pp_epoch_<p> to
 * epoch + 1 with this process as leader.
 *
 * Only a member of the current configuration may claim. The first attempt works on the cached value: one
 * write and no read when nobody else changed it. A lost comparison is repeated on the fresh value while
 * nobody else claimed; when somebody did, the claim is lost. An undecided write is read back (TR-6): the
 * epoch is ours if the stored value names exactly this process and the epoch that was tried.
 *
 * The result says that the epoch is ours alone (P-1). It does not make a leader: append AnnounceLeader and
 * act only after reading it back (TR-7).
 *
 * At most one claim of a partition at a time in a process. Everything on the loop of the key-value store. */
#pragma once
#include "controller/epochs.h"
#include "wire/node_ref.h"

#define CLAIM_TRIES   5u
#define CLAIM_READ_MS 5000u /* so long it tries to read back */

struct claim {
    /* Exactly once, never from inside claim_start. RC_OK and the epoch. Otherwise 0 and a sentence:
     * RC_NOT_FOUND: no configuration yet; RC_NOT_LEADER: this node is not in the current one; RC_CONFLICT:
     * somebody else was faster; RC_TIMEOUT, RC_CLOSED: not known, the epoch may be ours in the store and is
     * not to be used; others: the store failed and nothing was changed. */
    void (*done)(struct claim *c, enum rc rc, uint64_t epoch, const char *message);

    /* private */
    struct env *env;
    struct kv *kv;
    struct epochs *epochs;
    struct node_ref me;
    uint32_t partition, tries;
    uint64_t read_epoch; /* that of the value the first attempt was based on */
    uint64_t tried;      /* 0: nothing is in doubt */
    uint64_t deadline_ms;
    bool fresh;
    struct bytes value;
    uint32_t version;
    char key[EPOCH_KEY_SIZE];
    struct kv_op op;
    struct env_timer again;
    struct env_task begin;
};
/* `c` is kept by the caller until `done`; only `done` is set before. */
void claim_start(struct claim *c, struct env *env, struct kv *kv, struct epochs *epochs, struct node_ref me,
                 uint32_t partition);

/* Raft (Ongaro's dissertation), for the few members of a metadata server: one deterministic object that is
 * fed messages, finished writes and time, and hands back messages, writes and committed entries through a
 * host. It knows nothing of what the entries mean (metadata/raft_server.h does).
 *
 * With pre-vote, check of the quorum (a leader that hears no majority steps down), reads confirmed by a round
 * of messages instead of a clock, leadership transfer, one membership change at a time (the newcomer catches
 * up before it counts), snapshots by number of entries and by bytes. spec/cluster.md §2.3, §2.4; invariants
 * M-3, M-4, M-5 of §11.2. Why our own: docs/metadata.md.
 *
 * What must be durable before what: a vote, and the term in which one asks for votes, are on disk before they
 * are sent; an entry counts for its holder, and is acknowledged, once it is on disk. Everything else may be
 * forgotten.
 *
 * One owner, on the loop of its `env`. Not to be called from inside the host's functions, except the
 * accessors. Peers' messages may be lost, repeated, delayed and reordered. */
#pragma once
#include "base/env.h"
#include "wire/metadata_message.h"

/* Built only into the simulator's copy: rules that can be switched off to show that its checkers notice. */
enum raft_mutation {
    RAFT_MUT_NONE,
    RAFT_MUT_COMMIT_OLD_TERM,  /* commit entries of earlier terms by counting */
    RAFT_MUT_READ_UNCONFIRMED, /* answer reads without asking the others */
    RAFT_MUT_ACK_EARLY,        /* acknowledge entries that are not on disk yet */
    RAFT_MUT_VOTE_EARLY,       /* send votes that are not on disk yet */
    RAFT_MUT_CHANGE_ANYTIME,   /* do not wait with a membership change for the one before */
};
#ifdef RAFT_MUTATIONS
extern enum raft_mutation raft_mutation;
#define RAFT_MUTATED(m) (raft_mutation == (m))
#else
#define RAFT_MUTATED(m) false
#endif

struct raft;
struct raft_host;

struct raft_options {
    uint32_t heartbeat_ms;  /* 100 */
    uint32_t election_ms;   /* 500: silence of the leader after which others may stand; drawn from 1x to 2x */
    uint32_t trim_entries;  /* 1000: a snapshot when the log has this many, */
    size_t trim_bytes;      /* 1 MiB: or this many bytes and more than the snapshot would have */
    size_t message_bytes;   /* 64 KiB of entries or snapshot in one message, at least one entry */
    size_t in_flight_bytes; /* 1 MiB sent to a follower and not acknowledged */
    size_t uncommitted_bytes; /* 4 MiB: above, proposals are refused as RC_OVERLOADED */
};
void raft_options_default(struct raft_options *o);

struct raft_snapshot_state {
    uint64_t index, term; /* of the last entry it replaces; 0: there is no snapshot */
    struct raft_members members;
    struct bytes data;
};
struct raft_log_entry {
    uint64_t term;
    enum raft_entry_kind kind;
    struct bytes data;
    uint64_t bytes_before; /* of all entries since the start of the log, private */
};

/* What a member keeps on disk, and what it is after reading it. raft_core.c writes the records, and
 * raft_durable_fold reads them: the only two that know their form.
 *
 *   body   := record*
 *   record := u8 kind, varint-prefixed content
 *   kinds  : 1 identity  u32 node, u64 storage, u64 fingerprint, varint-prefixed cluster name
 *            2 state     u64 term, vote (u32 node, u64 storage), u64 commit, u32 removed in members version
 *            3 entries   u64 index of the first, entries: replace what stands there and behind
 *            4 snapshot  u64 index, u64 term, u64 base index, u64 base term, members, bytes: resets the log
 */
struct raft_durable {
    struct raft_member self; /* node 0: this storage has no identity yet */
    uint64_t fingerprint;
    char *cluster_name; /* heap, NULL if there is no identity */
    uint64_t term;
    struct raft_member vote;
    uint64_t commit;
    uint32_t removed_in; /* this member was removed by members of this version; 0: it was not */
    struct raft_snapshot_state snapshot;
    uint64_t base_index, base_term; /* the entry before the first of `entries` */
    struct {
        struct raft_log_entry *items;
        size_t len, cap;
    } entries;
};
/* RC_CORRUPT if it cannot be read or does not fit what was there; `d` is then unusable but can be freed. */
enum rc raft_durable_fold(struct raft_durable *d, struct slice body, struct err *err);
bool raft_durable_readable(struct slice body);
/* The last members that stand there, committed or not; false: none, or they cannot be read. */
bool raft_durable_members(const struct raft_durable *d, struct raft_members *out);
void raft_durable_free(struct raft_durable *d);

struct raft_host_ops {
    /* Send one message to a member; only `kind`, `header.to` and the body are filled. May fail silently. */
    void (*send)(struct raft_host *h, const struct metadata_message *m);
    /* Append (or, with `rewrite`, replace everything by) this body and sync, then raft_written. One at a
     * time. Not to call raft_written from inside. */
    void (*write)(struct raft_host *h, struct bytes body_take, bool rewrite);
    /* The next committed entry. Members' changes are reported too, after they took effect. */
    void (*apply)(struct raft_host *h, uint64_t index, const struct raft_log_entry *e);
    /* The state after the last applied entry. */
    void (*snapshot)(struct raft_host *h, struct writer *w);
    /* Replace the state by a snapshot of the entries up to `index`. RC_OK, or it is refused and the state is
     * as it was. */
    enum rc (*restore)(struct raft_host *h, uint64_t index, struct slice data, struct err *err);
    /* Leadership, leader, membership or removal changed, or an answer to reads became due (raft_confirmed):
     * look at the accessors. */
    void (*changed)(struct raft_host *h);
};
struct raft_host {
    const struct raft_host_ops *ops;
};

/* `durable` is consumed; it must have an identity. The host's restore and apply run from inside for what is
 * known to be committed. RC_CORRUPT: restore refused. */
enum rc raft_new(struct env *env, struct raft_host *host, const struct raft_options *o,
                 struct raft_durable *durable, struct raft **out, struct err *err);
/* Nothing runs after this; a write still under way must not call back. */
void raft_free(struct raft *r);

/* The body of a rewrite that makes an empty storage the first member of a new cluster, holding `data` as its
 * snapshot; or, with `alone` false, one that has an identity but no part in a cluster yet. */
void raft_provision_write(struct writer *w, struct raft_member self, uint64_t fingerprint,
                          struct slice cluster_name, bool alone, struct slice data);

/* The body to append to a storage whose group has lost its majority for ever: the only member of a group of
 * its own from then on, under a new storage id, with everything that stands in its log (what was not
 * committed there is an undecided request that turns out done). Members of the old group find no one under
 * the old id. `d` has an identity and members. */
void raft_recover_write(struct writer *w, const struct raft_durable *d, struct raft_member self);

/* A message of a peer, addressed to this member. The kinds above RAFT_TIMEOUT_NOW are not for it. */
void raft_receive(struct raft *r, const struct metadata_message *m);
/* The write is on disk (RC_OK), or nothing of it happened (RC_NO_SPACE, RC_IO): it is tried again. */
void raft_written(struct raft *r, enum rc rc);

/* Leader: put an entry into the log. `*index` identifies it together with raft_term. RC_NOT_LEADER,
 * RC_OVERLOADED, RC_UNAVAILABLE (leadership is being handed over), RC_NO_SPACE (the disk refuses writes). */
enum rc raft_propose(struct raft *r, struct slice command, uint64_t *index);

/* Leader: reads. A read that asks for a ticket now may be answered from the applied state as soon as
 * raft_confirmed reaches the ticket; tickets die with the leadership (raft_term changes or role is lost). 0:
 * not the leader. */
uint64_t raft_read_ticket(struct raft *r);
uint64_t raft_confirmed(const struct raft *r);

/* Leader: membership, one change at a time. RC_NOT_LEADER; RC_EXISTS: is a member (add); RC_NOT_FOUND: is not
 * (remove); RC_AGAIN: another change is pending, or this leader has not committed anything yet; RC_CONFLICT:
 * the node is a member with another storage (add), or the last one (remove); RC_TOO_LARGE: RAFT_MEMBERS_MAX.
 * RC_OK: begun; done when raft_members shows it committed, or forgotten when the newcomer does not catch up
 * or leadership is lost. */
enum rc raft_add(struct raft *r, struct raft_member m);
enum rc raft_remove(struct raft *r, uint32_t node);
/* Leader: hand over to the member that has most, or to `node` if not 0. RC_NOT_LEADER, RC_NOT_FOUND: nobody
 * to hand over to, RC_AGAIN: under way. */
enum rc raft_transfer(struct raft *r, uint32_t node);
/* The connection to a peer broke in a way that means its process is gone. If it led, do not wait for the
 * whole silence. */
void raft_peer_lost(struct raft *r, uint32_t node);

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
enum raft_role raft_role(const struct raft *r);
struct raft_member raft_self(const struct raft *r);
struct raft_member raft_leader(const struct raft *r); /* node 0: unknown */
uint64_t raft_term(const struct raft *r);
/* The members of the last committed change, and whether this one is among them. */
const struct raft_members *raft_members_committed(const struct raft *r);
bool raft_is_member(const struct raft *r);
/* Taken out of the members, and not taken in again since. */
bool raft_removed(const struct raft *r);
uint64_t raft_fingerprint(const struct raft *r);
bool raft_change_pending(const struct raft *r);
bool raft_disk_full(const struct raft *r); /* the last write failed */

struct raft_numbers {
    uint64_t term, applied, commit, first_index, last_index, snapshot_index, snapshot_bytes, log_bytes;
};
void raft_numbers(const struct raft *r, struct raft_numbers *out);

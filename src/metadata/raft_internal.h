/* The inside of raft_core.h, shared by raft_core.c (roles, terms, time), raft_vote.c, raft_replicate.c (both
 * ends of appends and snapshots), raft_change.c (membership, transfer), raft_durable.c (records on disk). */
#pragma once
#include "metadata/raft_core.h"

#define HELD_MAX     64u
#define PROGRESS_MAX (RAFT_MEMBERS_MAX + 2u) /* members, one newcomer, one that leaves */

enum progress_state { PROGRESS_PROBE, PROGRESS_STREAM, PROGRESS_SNAPSHOT };
/* What a leader knows of another one. */
struct raft_progress {
    struct raft_member member;
    enum progress_state state;
    uint64_t match; /* on its disk */
    uint64_t next;  /* to send; all below were sent */
    uint64_t round; /* confirmed by it */
    uint64_t heard_ms;
    bool probe_sent; /* wait for an answer or the next heartbeat */
    bool leaving;    /* removed: kept until it knows */
    uint64_t left_at_ms;
    struct raft_snapshot_state snapshot; /* the one being sent */
    uint64_t snapshot_offset;
    uint32_t snapshot_crc;
};

/* A message that waits for a write. */
struct raft_held {
    uint64_t after_write;
    struct metadata_message message; /* no slices inside: votes only */
};

struct raft {
    struct env *env;
    struct raft_host *host;
    struct raft_options opt;
    struct raft_member self;
    uint64_t fingerprint;
    char *cluster_name;

    uint64_t term;
    struct raft_member vote;
    uint32_t removed_in;
    struct raft_snapshot_state snapshot;
    uint64_t base_index, base_term, base_bytes;
    struct {
        struct raft_log_entry *items;
        size_t len, cap;
    } log;
    uint64_t commit, applied;
    struct raft_members members; /* the last in the log, committed or not */
    uint64_t members_index;      /* its entry, or the snapshot's index */
    struct raft_members committed_members;

    enum raft_role role;
    struct raft_member leader;
    uint64_t heard_leader_ms;  /* 0: never in this term */
    uint64_t verified;         /* follower: the log equals the leader's up to here */
    uint32_t granted, denied;  /* candidates: bits of members.items */
    uint64_t vote_after_write; /* the own vote counts when this write is done */
    struct {
        struct bytes data; /* private buffer that is filled */
        size_t have;
        uint64_t index, last_term, total;
        uint32_t crc;
        struct raft_member from;
        uint64_t term;
    } incoming;

    struct raft_progress progress[PROGRESS_MAX]; /* leader: all others */
    uint32_t n_progress;
    uint64_t first_of_term; /* leader: index of its first entry */
    uint64_t round, confirmed;
    bool round_wanted, heartbeat_wanted;
    struct raft_member newcomer; /* node 0: none */
    uint64_t newcomer_until_ms;
    struct raft_member transfer_to; /* node 0: none */
    uint64_t transfer_until_ms;

    /* disk */
    bool state_dirty, rewrite_wanted, writing, write_failed;
    bool state_writing, rewrite_writing;
    uint64_t entries_from;        /* first that was not handed to a write; UINT64_MAX: none */
    uint64_t writing_from;        /* first of the write under way, for a retry */
    uint64_t writing_last;        /* what becomes durable with the write under way */
    uint64_t durable;             /* the log is on disk up to here */
    uint64_t n_writes, n_written; /* begun, finished */
    uint64_t journal_bytes;       /* appended since the last rewrite */
    struct raft_held held[HELD_MAX];
    size_t n_held;

    struct env_timer timer, retry;
    struct env_task flush;
    bool changed; /* tell the host at the end of the iteration */
};

/* raft_core.c */
void raft_wake(struct raft *r); /* run the flush at the end of the iteration */
void raft_note(struct raft *r); /* and tell the host that something changed */
uint64_t raft_last_index(const struct raft *r);
/* 0 if unknown (before the base or behind the end). */
uint64_t raft_term_at(const struct raft *r, uint64_t index);
const struct raft_log_entry *raft_entry(const struct raft *r, uint64_t index);
uint64_t raft_bytes_upto(const struct raft *r, uint64_t index); /* of all entries at or before it */
void raft_append_local(struct raft *r, uint64_t term, enum raft_entry_kind kind, struct bytes data_take);
void raft_truncate(struct raft *r, uint64_t from); /* and behind */
void raft_drop_prefix(struct raft *r, uint64_t upto, uint64_t term_of_upto);
void raft_advance_commit(struct raft *r, uint64_t commit);
void raft_become_follower(struct raft *r, uint64_t term, struct raft_member leader);
void raft_become_leader(struct raft *r);
void raft_step_down(struct raft *r);
void raft_arm_election(struct raft *r);
void raft_send(struct raft *r, struct raft_member to, struct metadata_message *m);
/* Send once everything that is to be written now is on disk. */
void raft_send_durable(struct raft *r, struct raft_member to, struct metadata_message *m);
int raft_member_at(const struct raft_members *m, struct raft_member who); /* position or -1 */
int raft_node_at(const struct raft_members *m, uint32_t node);
uint32_t raft_quorum(const struct raft_members *m);

/* In the last membership of the log, or taken out of it by a change that is not committed. */
bool raft_may_stand(const struct raft *r);

/* raft_vote.c */
void raft_campaign(struct raft *r, bool pre, bool transfer);
void raft_on_vote(struct raft *r, const struct metadata_message *m);
void raft_on_vote_result(struct raft *r, const struct metadata_message *m);
void raft_tally(struct raft *r);

/* raft_replicate.c */
struct raft_progress *raft_progress_of(struct raft *r, struct raft_member m);
struct raft_progress *raft_progress_add(struct raft *r, struct raft_member m);
void raft_progress_clear(struct raft *r);
void raft_progress_drop(struct raft *r, struct raft_progress *p);
void raft_heartbeat(struct raft *r);
void raft_send_more(struct raft *r);
void raft_count_commit(struct raft *r);
void raft_count_rounds(struct raft *r);
void raft_on_append(struct raft *r, const struct metadata_message *m);
void raft_on_append_result(struct raft *r, const struct metadata_message *m);
void raft_on_snapshot(struct raft *r, const struct metadata_message *m);
void raft_on_snapshot_result(struct raft *r, const struct metadata_message *m);
void raft_acknowledge(struct raft *r); /* follower, after a write */
void raft_take_snapshot(struct raft *r);
bool raft_snapshot_due(const struct raft *r);

/* raft_change.c */
void raft_change_tick(struct raft *r);
void raft_change_progressed(struct raft *r, struct raft_progress *p);
void raft_change_committed(struct raft *r);
void raft_on_timeout_now(struct raft *r, const struct metadata_message *m);

/* raft_durable.c */
void raft_write_state(const struct raft *r, struct writer *w);
void raft_write_entries(const struct raft *r, uint64_t from, struct writer *w);
void raft_write_all(const struct raft *r, struct writer *w);

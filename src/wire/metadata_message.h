/* Messages of the replicated metadata server (spec/cluster.md §2.3 to §2.5): between its members, from nodes
 * that want to join, and from metadata clients. They travel over the node port; the carrier keeps frames
 * whole and may lose, repeat or reorder members' messages, but must deliver a client's request at most once.
 *
 *   message := u8 wire version, u8 kind, header, body
 *   header  := u64 cluster fingerprint (0 unknown), varint-prefixed cluster name, member from, member to
 *   member  := u32 node id, u64 storage id
 *
 * Integers little endian. The decoder borrows from its input and rejects what is longer than the limits
 * below. */
#pragma once
#include "base/codec.h"

#define METADATA_WIRE_VERSION     1u
#define METADATA_MESSAGE_MAX      (40u << 20) /* a LIST of everything fits */
#define METADATA_ENTRIES_MAX      4096u       /* log entries of one message */
#define RAFT_MEMBERS_MAX          15u
#define METADATA_CLUSTER_NAME_MAX 256u
#define METADATA_ADDRESS_MAX      1024u
#define METADATA_TEXT_MAX         1024u

/* One disk of a metadata server: a node, and when this storage was created (spec §1.2 "member id"). A node
 * that lost its disk comes back as another member. Node 0: none, or not known. */
struct raft_member {
    uint32_t node;
    uint64_t storage; /* ms since the epoch */
};
static inline bool raft_member_eq(struct raft_member a, struct raft_member b)
{
    return a.node == b.node && a.storage == b.storage;
}

/* Who votes. In order of node ids, one per node. */
struct raft_members {
    uint32_t version; /* goes up by one with every change; 0: none known */
    uint32_t n;
    struct raft_member items[RAFT_MEMBERS_MAX];
};
void raft_members_write(struct writer *w, const struct raft_members *m);
/* Fails the reader if it is not well-formed. */
void raft_members_read(struct reader *r, struct raft_members *out);

enum raft_entry_kind { RAFT_NOOP = 1, RAFT_COMMAND = 2, RAFT_MEMBERS = 3 };
struct raft_entry_view {
    uint64_t term;
    enum raft_entry_kind kind;
    struct slice data; /* RAFT_MEMBERS: raft_members_write */
};
void raft_entry_write(struct writer *w, const struct raft_entry_view *e);
void raft_entry_read(struct reader *r, struct raft_entry_view *out);

enum metadata_message_kind {
    RAFT_VOTE = 1,
    RAFT_VOTE_RESULT,
    RAFT_APPEND,
    RAFT_APPEND_RESULT,
    RAFT_SNAPSHOT,
    RAFT_SNAPSHOT_RESULT,
    RAFT_TIMEOUT_NOW,
    METADATA_REQUEST,
    METADATA_RESPONSE,
};

struct raft_vote {
    uint64_t term; /* a pre-vote asks about this term without entering it */
    uint64_t last_index, last_term;
    uint32_t members_version;
    bool pre;
    bool transfer; /* on behalf of the leader that hands over: do not wait for its silence */
};
struct raft_vote_result {
    uint64_t term;
    bool pre, granted;
    uint32_t removed_in; /* the candidate is not in the committed members of this version; 0: it is */
};
struct raft_append {
    uint64_t term, prev_index, prev_term, commit;
    uint64_t round;       /* echoed: confirms leadership for reads */
    uint32_t n_entries;   /* follow prev_index */
    struct slice entries; /* raft_entry_write, one after the other; checked by the decoder */
};
struct raft_append_result {
    uint64_t term, round;
    bool ok;
    uint64_t prev_index;            /* of the append */
    uint64_t verified;              /* ok: up to here the log is the leader's */
    uint64_t match;                 /* ok: and up to here it is on disk */
    uint64_t hint_index, hint_term; /* not ok: try from here */
};
/* A snapshot travels in parts, each acknowledged. */
struct raft_snapshot_part {
    uint64_t term, round;
    uint64_t index, last_term; /* what the snapshot replaces */
    uint64_t total, offset;
    uint32_t crc; /* of the whole */
    struct raft_members members;
    struct slice data;
};
struct raft_snapshot_result {
    uint64_t term, round, index;
    uint64_t next_offset; /* wanted next; total when it is complete */
};
struct raft_timeout_now {
    uint64_t term;
};

enum metadata_request_kind {
    METADATA_GET = 1,
    METADATA_PUT,
    METADATA_DELETE,
    METADATA_LIST,
    METADATA_JOIN, /* header.from wants to become a member */
    METADATA_REQUEST_END
};
struct metadata_request {
    uint64_t id; /* echoed */
    enum metadata_request_kind kind;
    uint8_t precondition; /* enum kv_precondition, 0 where it has none */
    bool replace;         /* JOIN: take the place of a member of this node whose disk was lost */
    uint32_t version, expected_version;
    struct slice key, value;
};
/* What became of a request. Stable numbers, unlike enum rc. */
enum metadata_outcome {
    METADATA_DONE = 0,
    METADATA_ABSENT,
    METADATA_CONFLICT, /* the precondition does not hold; JOIN: refused */
    METADATA_REFUSED,  /* invalid */
    METADATA_TOO_LARGE,
    METADATA_NO_SPACE,   /* not done */
    METADATA_NOT_LEADER, /* not done */
    METADATA_BUSY,       /* not done: overloaded, or a change is pending; try again */
    METADATA_UNDECIDED,  /* leadership was lost: it may have happened */
    METADATA_NOT_PROVISIONED,
    METADATA_WRONG_CLUSTER, /* fingerprint or name differ */
    METADATA_OUTCOME_END
};
struct metadata_response {
    uint64_t id;
    enum metadata_outcome outcome;
    uint32_t version;            /* GET */
    struct raft_member leader;   /* NOT_LEADER: whom to ask instead, the leader if it is known */
    struct slice leader_address; /* "" unknown */
    struct slice message;
    struct slice value; /* GET: the value; LIST: metadata_entry_write, in order of keys */
};

struct metadata_header {
    uint64_t fingerprint;
    struct slice cluster_name;
    struct raft_member from, to;
};
struct metadata_message {
    enum metadata_message_kind kind;
    struct metadata_header header;
    union {
        struct raft_vote vote;
        struct raft_vote_result vote_result;
        struct raft_append append;
        struct raft_append_result append_result;
        struct raft_snapshot_part snapshot;
        struct raft_snapshot_result snapshot_result;
        struct raft_timeout_now timeout_now;
        struct metadata_request request;
        struct metadata_response response;
    };
};

void metadata_message_encode(struct writer *w, const struct metadata_message *m);
/* Slices in `out` point into `in`. */
enum rc metadata_message_decode(struct slice in, struct metadata_message *out, struct err *err);

/* An entry of a LIST answer. */
struct metadata_entry {
    uint32_t version;
    struct slice key, value;
};
void metadata_entry_write(struct writer *w, const struct metadata_entry *e);
void metadata_entry_read(struct reader *r, struct metadata_entry *out);

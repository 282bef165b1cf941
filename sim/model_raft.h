/* The world of the small model of Raft (spec/cluster.md §11.3): three nodes with the metadata server as it is
 * (metadata/raft_server.h), their disks, a network, and requests. What arrives next, is lost, late or
 * repeated, when a write is on disk, whose timer fires, who crashes or loses its disk and who asks for a
 * change of the members is chosen by the explorer. Checked at every step: M-1 to M-5 of §11.2.
 *
 * Every node has a clock of its own; time passes for it only when one of its timers fires. Election timers
 * have no random part: which one fires first is a choice.
 *
 * Files: model_raft.c (steps, cases), model_raft_node.c (nodes, disks, states), model_raft_check.c (oracle).
 */
#pragma once
#include "metadata/raft_internal.h"
#include "metadata/raft_server_internal.h"
#include "sim/explore.h"
#include "sim/sim_env.h"

#define MR_NODES       3
#define MR_REQUESTS    4
#define MR_INDEX_MAX   64
#define MR_TERMS_MAX   64
#define MR_FINGERPRINT UINT64_C(0x5afe)
#define MR_KEY         "key"

/* Wrongs that can be switched on to see that the explorer finds them. Those of the core come first (enum
 * raft_mutation). */
enum mr_wrong {
    MR_RIGHT,
    MR_WIPED_KEEPS_ID = RAFT_MUT_CHANGE_ANYTIME + 1, /* M-4: a new disk under the old member id */
    MR_VOTE_FORGOTTEN,                               /* M-3: a member forgets for whom it voted */
    MR_WRONGS
};

struct mr_case {
    unsigned delays;  /* departures from the order of sending: a message or write is put behind all others */
    unsigned losses;  /* messages lost */
    unsigned repeats; /* messages that arrive now and once more */
    unsigned crashes; /* the node starts again at once; a write under way is on its disk or not */
    unsigned wipes;   /* crashes that take the disk; the node comes back as another member and asks to join */
    unsigned joins;   /* how often such a node asks */
    unsigned removals;  /* members that an operator takes out */
    unsigned transfers; /* the leader is told to hand over */
    unsigned timers;    /* fired, in all */
    unsigned early; /* of these, while something is on its way, or so late that a leader has heard nobody for
                       an election timeout */
    unsigned trim_entries; /* of the log: a snapshot when it has so many; 0: never */
    bool leaderless;       /* to begin with: all three have just been started */
    bool one_by_one;       /* one entry in a message */
    unsigned limbo;        /* so many messages with entries are lost to begin with */
    const char *requests;  /* 'P': put version 2 where version 1 is, 'G': get */
    unsigned wrong;        /* enum raft_mutation or enum mr_wrong */
};

struct mr_world;
struct mr_request {
    struct mr_world *world;
    unsigned number;
    char kind;
    enum { MR_UNSENT, MR_OPEN, MR_DONE, MR_REFUSED, MR_UNDECIDED } state;
    unsigned node;  /* that it was sent to */
    uint64_t floor; /* what had completed before was at or before this index */
    struct raft_call call;
};

struct mr_node {
    struct mr_world *world;
    unsigned index;
    unsigned disks_lost;
    struct sim_env env;
    struct raft_store store;
    struct raft_server *server;
    /* The disk: bodies since the last rewrite, and what they say. */
    struct {
        struct bytes *items;
        size_t len, cap;
    } bodies;
    struct raft_durable disk;
    uint64_t applied; /* in this life */
    uint64_t led,
        led_applied; /* the term in which it leads, 0: none, and what it had applied at the last look */
};

struct mr_packet {
    bool write; /* of `to`, to its own disk */
    bool rewrite;
    unsigned from, to;
    struct bytes data;
};

struct mr_world {
    struct explore *x;
    struct mr_case left; /* what is left of the bounds */
    bool begun;          /* everything before is the same in all runs */
    struct mr_node nodes[MR_NODES];
    struct mr_request requests[MR_REQUESTS];
    unsigned n_requests;
    struct {
        struct mr_packet *items;
        size_t len, cap;
    } packets; /* in order of sending */
    struct raft_reply no_reply;
    /* The oracle. */
    struct {
        uint64_t entry;          /* hash; 0: not committed */
        uint32_t version, value; /* of the key, behind this entry */
    } log[MR_INDEX_MAX];
    uint64_t committed;                       /* the last index of `log` */
    uint64_t floor;                           /* what has completed was at or before this index */
    struct raft_member leaders[MR_TERMS_MAX]; /* by term */
    struct raft_member wiped[4];
    unsigned n_wiped;
    struct raft_members members; /* the last committed */
};

/* ---- model_raft_node.c ---- */
void mr_node_init(struct mr_world *w, unsigned index);
void mr_node_start(struct mr_node *n);
void mr_node_stop(struct mr_node *n);
void mr_node_free(struct mr_node *n);
void mr_node_identify(struct mr_node *n, const struct kv_table *initial); /* NULL: to join others */
/* The write is on disk; the server is told unless it died. */
void mr_disk_write(struct mr_node *n, const struct mr_packet *p, bool tell);
void mr_disk_wipe(struct mr_node *n);
struct raft *mr_raft(const struct mr_node *n); /* NULL: no identity yet */
bool mr_leads(const struct mr_node *n);
uint64_t mr_node_hash(const struct mr_node *n);
uint64_t mr_member_hash(struct raft_member m);

/* ---- model_raft_check.c ---- */
void mr_check_committed(struct mr_node *n, uint64_t index, const struct raft_log_entry *e);
void mr_check_sent(struct mr_node *n, const struct metadata_message *m);
void mr_check_node(struct mr_node *n); /* after every step at it */
void mr_check_answer(struct mr_request *r, const struct metadata_response *p);

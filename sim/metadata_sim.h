/* The simulated world of the replicated metadata server: nodes with disks and clocks, clients, a network, one
 * seed (spec/cluster.md §11.1). Everything is the production code but the carriers of messages and the disks.
 *
 * Files: metadata_sim.c (time, options, runs), metadata_sim_node.c (nodes and disks), metadata_sim_net.c
 * (network), metadata_sim_client.c (workload), metadata_sim_faults.c (what goes wrong, and healing),
 * metadata_sim_check.c (invariants), metadata_sim_history.c (linearizability). */
#pragma once
#include "metadata/raft_join.h"
#include "sim/sim_env.h"

#define NODES_MAX    8u
#define CLIENTS_MAX  8u
#define KEYS         4u /* the last one is also deleted */
#define OPS_MAX      640u
#define OPS_KEPT     240u /* of these, for after the healing */
#define FINGERPRINT  UINT64_C(0x5afe)
#define CLUSTER_NAME "sim"

/* Breaks one rule, to show that a checker notices. The first ones are the core's (enum raft_mutation). */
enum sim_mutation {
    SIM_MUT_NONE,
    SIM_MUT_DISK_LIES = 100, /* the disk says "synced" too early */
    SIM_MUT_WIPED_KEEPS_ID,  /* a wiped member comes back under its old member id */
    SIM_MUT_TIMEOUT_IS_NO,   /* a client takes an undecided write for one that was not done */
    SIM_MUT_LOCAL_READS,     /* members answer reads without being asked by the leader */
    SIM_MUT_OTHER_CLUSTER,   /* the fingerprint of the sender is ignored */
    SIM_MUT_END,
};

struct world;

/* A frame file whose unsynced end does not survive a crash. */
struct sim_disk {
    struct writer content;
    uint64_t sequence;
    struct raft_durable model; /* what a restart would find */
    /* the write under way */
    bool busy, rewrite, reported;
    struct bytes body;
    struct env_timer timer;
    uint64_t life; /* of the node, when it began */
    bool full;
    uint32_t slow_ms;
};

struct sim_node {
    struct world *world;
    uint32_t id, index;
    bool alive, paused, started, gone;
    uint64_t life;
    struct sim_env env;
    struct sim_disk disk;
    struct raft_store *store;
    struct raft_server *server;
    struct raft_client *client;
    struct raft_joiner *joiner;
    struct env_timer boot;
    bool again; /* add-node was given */
    bool refused, stopping;
    uint32_t seen[KEYS]; /* versions applied in this life (N-3) */
    uint64_t seen_applied;
    struct raft_member last_self;
};

enum op_end { END_OK, END_ABSENT, END_CONFLICT, END_UNDECIDED, END_NOT_DONE, END_OPEN };
/* One operation of a client, for the history. */
struct op_record {
    struct kv_op op;
    struct world *world;
    uint32_t client, key;
    uint64_t begun, ended; /* order of events */
    uint64_t begun_ms;
    enum op_end end;
    uint32_t version; /* read */
    uint32_t value;   /* written, or read: number of the operation that wrote it, + 1 */
    char key_text[16];
};

struct sim_client {
    struct world *world;
    uint32_t index;
    int home; /* node in whose process it lives, or -1 */
    struct sim_env env;
    struct raft_client *client; /* without a home */
    struct env_timer next;
    bool busy;
    uint32_t known[KEYS]; /* version last seen, 0: absent */
    uint64_t ok_ms;       /* last success */
};

struct packet {
    struct list link;
    struct world *world;
    struct env_timer timer;
    uint32_t from, to; /* nodes 0.., clients NODES_MAX.. */
    uint64_t to_life;  /* 0: whoever is there */
    enum { PACKET_PEER, PACKET_REQUEST, PACKET_RESPONSE, PACKET_FAILURE } kind;
    uint64_t attempt;
    bool sent;
    struct bytes data;
};

struct committed_entry {
    uint64_t hash;
    uint64_t state; /* hash of the table behind it, 0: not seen */
};

struct world {
    uint64_t seed;
    struct sim_env env; /* time, events of the world, all its dice */
    struct raft_server_options options;
    uint32_t n_nodes, n_clients, n_start;
    struct sim_node nodes[NODES_MAX];
    struct sim_client clients[CLIENTS_MAX];
    /* network */
    struct list packets;
    bool blocked[NODES_MAX + CLIENTS_MAX][NODES_MAX + CLIENTS_MAX];
    uint32_t drop_permille, repeat_permille, delay_ms, late_permille;
    /* faults */
    struct env_timer fault;
    bool healed, faults_off;
    uint64_t wipes;
    /* history */
    struct op_record *ops;
    uint32_t n_ops;
    uint64_t order;
    /* checks */
    struct {
        struct committed_entry *items;
        size_t len, cap;
    } log; /* by index */
    struct {
        struct raft_member *items;
        size_t len, cap;
    } leaders;                        /* by term */
    struct raft_members members[256]; /* by version */
    uint32_t members_max;
    struct raft_member wiped[64];
    uint32_t n_wiped;
    enum sim_mutation mutation;
    bool trace;
    /* statistics */
    uint64_t n_done, n_undecided, n_crashes, n_wipes, n_restores, n_changes, n_refused, n_transfers;
};

_Noreturn void sim_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline uint64_t sim_below(struct world *w, uint64_t n)
{
    return sim_env_below(&w->env, n);
}
static inline bool sim_chance(struct world *w, uint32_t permille)
{
    return sim_below(w, 1000) < permille;
}
/* Run `fn` now on the clock of a node or client, then its deferred tasks. */
void sim_enter(struct world *w, struct sim_env *env);
void sim_leave(struct world *w, struct sim_node *n, struct sim_env *env);

/* nodes */
void sim_node_init(struct world *w, uint32_t index);
void sim_node_boot(struct sim_node *n);
void sim_node_crash(struct sim_node *n);
void sim_node_wipe(struct sim_node *n); /* while down */
void sim_node_free(struct sim_node *n);
void sim_disk_full(struct sim_node *n, bool full);

/* network */
void sim_net_init(struct world *w);
void sim_net_peer(struct sim_node *from, uint32_t node, struct slice message);
void sim_net_request(struct world *w, uint32_t from, const char *address, uint64_t attempt,
                     struct slice message);
void sim_net_free(struct world *w);
extern const struct raft_client_ops sim_client_ops, sim_node_client_ops;

/* clients */
void sim_client_init(struct world *w, uint32_t index, int home);
void sim_client_learn(struct sim_client *c, uint32_t n_addresses);
void sim_client_free(struct sim_client *c);

/* faults */
void sim_faults_start(struct world *w);
void sim_heal(struct world *w);
bool sim_quorum_possible(struct world *w);

/* checks */
void sim_check_committed(struct sim_node *n, uint64_t index, const struct raft_log_entry *e);
void sim_check_applied(struct sim_node *n, struct slice key, uint32_t version);
void sim_check_node(struct sim_node *n); /* after every event at it */
void sim_check_sent(struct sim_node *n, struct slice message);
void sim_check_end(struct world *w);
void sim_check_history(struct world *w);

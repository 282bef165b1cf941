/* The world of the small models of the log (spec/cluster.md §11.3): log-servers, their disks, a network, a
 * chain store, and processes that use them. The cores are the real ones (bifrost/); which message arrives
 * next, is lost or late, which log-server crashes and what becomes of a compare-and-swap is chosen by the
 * explorer. Checked against an oracle at every step: L-1 to L-8 and L-10 of §11.2.
 *
 * Disks are durable at once, between two messages: a crash before the write is the message lost, a crash
 * after it is the reply lost; what a crash takes beyond that is memory. Every process has a clock of its
 * own; time passes for it only when one of its timers fires. */
#pragma once
#include "bifrost/log_server.h"
#include "bifrost/replicated_chain.h"
#include "bifrost/replicated_client.h"
#include "bifrost/replicated_sequencer.h"
#include "sim/explore.h"
#include "sim/sim_env.h"

#define ML_SERVERS_MAX 5
#define ML_CLIENTS_MAX 4
#define ML_OFFSETS_MAX 4
#define ML_LOGLETS_MAX 4
#define ML_CLIENT_ID   11 /* node id of client 0 */

/* Wrongs that can be switched on to see that the explorer finds them. */
enum ml_mutation {
    ML_RIGHT,
    ML_ACK_ONE_LESS,        /* the sequencer acknowledges at one copy less than a write quorum */
    ML_SEAL_FORGOTTEN,      /* a crash takes the seal away */
    ML_SEAL_IGNORED,        /* a sealed log-server takes the sequencer's records */
    ML_SEAL_ON_TOO_FEW,     /* a sealer is content with one log-server less than an f-majority */
    ML_REPAIR_TOO_FEW,      /* a sealer is content with one copy less than a write quorum */
    ML_REPAIR_RAISES_TRUST, /* TR-1: a repairer's watermark is the one that readers trust */
    ML_OTHER_BYTES,         /* TR-5: a store carries other bytes to one of the log-servers */
    ML_SWAP_BLIND,          /* the chain store does not compare */
    ML_CONFLICT_IS_SUCCESS, /* an extender takes a conflict for success */
    ML_MUTATIONS
};
const char *ml_mutation_name(unsigned m);

struct ml_bounds {
    unsigned servers, copies, records;
    /* How many departures from the order of sending: a message is put behind all others. ML_ANY_ORDER: none
     * is needed, any link may be next (a link itself keeps its order). */
    unsigned delays;
#define ML_ANY_ORDER UINT32_MAX
    unsigned losses;  /* messages lost */
    unsigned crashes; /* of log-servers, which come back with their disks */
    unsigned unknown; /* compare-and-swaps whose answer is lost, with and without effect, at once or later */
    unsigned timers;  /* fired by one process, when nothing is on its way */
    bool sequencer_dies;
    unsigned limbo; /* so many stores of the sequencer are lost to begin with: records on too few nodes */
};

struct ml_world;
struct ml_client {
    struct ml_world *world;
    unsigned index;
    const char *name;
    bool dead;
    unsigned timers_left;
    uint64_t inputs; /* hash of everything it was told, which determines its state */
    struct node_ref me;
    struct sim_env env;
    struct loglet_net net;
    struct loglet_calls calls;
    struct chain_store chains;
    /* The model's own. */
    struct loglet_op *op;
    struct sequencer *sequencer;
    uint64_t told; /* a tail, 0: none yet */
    lsn_t base;    /* of the sequencer's segment */
    uint64_t loglet;
};

struct ml_loglet { /* oracle */
    uint64_t id;
    struct loglet_params params;
    struct quorum quorum;              /* the truth */
    uint64_t assigned[ML_OFFSETS_MAX]; /* hashes of the bytes */
    struct marks sealed;
    uint64_t quorum_tail, sealed_bound, acked, delivered, least_tail, most_tail, told_repaired, end;
};

struct ml_packet;
struct ml_server;
struct ml_world {
    struct explore *x;
    struct ml_bounds left; /* what is left of them */
    enum ml_mutation mutation;
    struct node_directory directory;
    struct ml_server *servers[ML_SERVERS_MAX];
    struct ml_client clients[ML_CLIENTS_MAX];
    unsigned n_servers, n_clients, copies;
    struct ml_loglet loglets[ML_LOGLETS_MAX];
    unsigned n_loglets;
    struct {
        struct ml_packet **items;
        size_t len, cap;
    } packets;          /* in order of sending */
    struct chain chain; /* len 0: none */
    uint64_t version;
    struct {
        uint64_t hash;
        bool acked;
    } by_lsn[ML_OFFSETS_MAX * 2 + 1];
};

struct ml_world *ml_new(struct explore *x, const struct ml_bounds *b, enum ml_mutation mutation);
void ml_free(struct ml_world *w);
struct ml_client *ml_add_client(struct ml_world *w, const char *name);
/* A client does something of its own accord, when it is its turn. */
void ml_act(struct ml_client *c, void (*act)(struct ml_client *c, unsigned arg), unsigned arg);
/* One choice, one step. False: nothing can happen any more, or the run is over. */
bool ml_step(struct ml_world *w);

/* The oracle learns of a segment. `p` as its writer believes it. */
struct ml_loglet *ml_add_loglet(struct ml_world *w, const struct loglet_params *p);
/* Parameters with the node set of all log-servers; `copies` as somebody believes. */
struct loglet_params ml_params(struct ml_world *w, uint64_t loglet, struct node_ref sequencer,
                               unsigned copies);
/* A sequencer that reports what is committed to the oracle. */
void ml_start_sequencer(struct ml_client *c, const struct loglet_params *p, lsn_t base);
/* An act: the client's sequencer, if it has one with room, appends record `uid`. */
void ml_append(struct ml_client *c, unsigned uid);
/* A sealer was told that the segment is sealed at `tail`. */
void ml_check_sealed(struct ml_client *c, uint64_t loglet, uint64_t tail);
void ml_check_delivered(struct ml_client *c, uint64_t loglet, uint64_t offset, struct slice body);
/* Every acknowledged record is where its LSN says. */
void ml_check_end(struct ml_world *w);

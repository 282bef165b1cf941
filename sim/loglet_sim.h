/* Simulator of the replicated log (docs/replicated-log.md): several nodes, each a log-server with its disk
 * and a loop with handles of all logs, in one thread with virtual time. The cores run unchanged; network,
 * disks, metadata and the failure detector are simulated and misbehave. Checkers for L-1 to L-11 of
 * spec/cluster.md §11.2 look at every durable write, message, acknowledgement, chain change and delivery. A
 * run is a seed. */
#pragma once
#include "bifrost/log_server.h"
#include "bifrost/replicated_client.h"
#include "bifrost/replicated_log.h"
#include "sim/sim_env.h"

#define SIM_NODES_MAX 7
#define SIM_LOGS_MAX  3

/* Wrongs that can be switched on to see that the checkers notice. */
enum sim_mutation {
    MUTATE_NOTHING,
    MUTATE_REPAIR_RAISES_TRUST, /* TR-1: a repairer puts its watermark where readers look */
    MUTATE_REPAIR_IS_DELIVERED, /* the same with L-5 looking away: a reader must be caught (L-8, L-1) */
    MUTATE_ACK_BEFORE_SYNC,     /* TR-3: the disk reports what a crash may still take away */
    MUTATE_SECOND_SEQUENCER,    /* TR-4: a restart keeps the generation */
    MUTATE_OTHER_BYTES,         /* TR-5: a repeated store carries other bytes */
    MUTATE_SEAL_FORGOTTEN,      /* a crash takes the seal away */
    MUTATE_HOLES,               /* stores are admitted above the known tail */
    MUTATE_SWAP_BLIND,          /* the chain store does not compare */
    MUTATE_WRITE_QUORUM_OF_ONE, /* the sequencer believes that one copy is enough */
    MUTATIONS
};
const char *sim_mutation_name(enum sim_mutation m);

/* ---- disks ---- */

struct sim_disk;
struct sim_disk_loglet {
    struct omap_node node;
    uint64_t id, tail, trim_point;
    bool sealed;
    struct bytes meta;
    struct bytes *records; /* [offset - 1]; ptr NULL: not stored */
    size_t cap;
};

struct sim_world;
struct sim_node;
struct sim_disk *sim_disk_new(struct sim_world *w, unsigned node);
void sim_disk_free(struct sim_disk *d);
struct log_server_store *sim_disk_store(struct sim_disk *d);
/* The process died: what was being written is there or not. */
void sim_disk_crash(struct sim_disk *d);
void sim_disk_wipe(struct sim_disk *d);
void sim_disk_set_latency(struct sim_disk *d, unsigned ms);
void sim_disk_set_full(struct sim_disk *d, bool full);
void sim_disk_fail_next(struct sim_disk *d, bool fail);
const struct sim_disk_loglet *sim_disk_find(struct sim_disk *d, uint64_t loglet);
bool sim_disk_has(struct sim_disk *d, uint64_t loglet, uint64_t offset);

/* ---- appends ---- */

enum sim_outcome { OUTCOME_PENDING, OUTCOME_COMMITTED, OUTCOME_NOT, OUTCOME_UNKNOWN };
struct sim_append {
    struct log_append_wait wait;
    struct sim_world *world;
    uint64_t uid;
    unsigned log, node, incarnation;
    uint64_t handle, order; /* which handle, and its how manyeth append */
    enum sim_outcome outcome;
    lsn_t lsn;
    uint64_t at_ms;
};

/* ---- nodes ---- */

struct sim_handle {
    struct sim_node *node;
    unsigned log_id;
    struct log *log; /* NULL: closed */
    uint64_t id, appended;
    lsn_t next; /* the reader's position */
    bool closing;
};

struct sim_chains;
struct sim_node {
    struct sim_world *world;
    unsigned id, generation, incarnation;
    bool up, wiped;
    enum storage_state storage;
    uint64_t paused_until_ms;
    struct sim_env env;
    struct sim_disk *disk;
    struct log_server *server;
    struct node_directory directory;
    struct loglet_net net;
    struct loglet_calls calls;
    struct sim_chains *chains;
    struct replicated_logs *logs;
    struct sim_handle handles[SIM_LOGS_MAX + 1];
    struct loglet_op *sealer; /* a sealer that never extends the chain */
    unsigned sends;           /* for MUTATE_OTHER_BYTES */
};

/* ---- the world ---- */

struct sim_event {
    struct heap_node heap;
    unsigned node, incarnation; /* whose process must be alive, not paused; 0: the world's own */
    void (*run)(struct sim_world *w, struct sim_event *e); /* frees */
    void (*drop)(struct sim_event *e);                     /* the process is gone */
};

struct sim_options {
    unsigned nodes, copies, logs;
    bool zones, random_detector, trace;
    enum sim_mutation mutation;
    uint64_t chaos_ms;
};

struct sim_stats {
    uint64_t messages, lost, appends, committed, not_committed, unknown, crashes, seals, swaps, conflicts,
        undecided, delivered, gaps, repairs, tails, wipes, trims, tr1, max_heal_ms;
};

struct sim_oracle;
struct sim_world {
    struct sim_options options;
    uint64_t seed, now_ms, rng[4];
    struct heap events;
    struct sim_node nodes[SIM_NODES_MAX + 1];       /* by id */
    bool cut[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1]; /* from, to */
    bool meta_cut[SIM_NODES_MAX + 1];
    unsigned loss_percent, dup_percent, delay_ms, meta_fault_percent;
    unsigned leader[SIM_LOGS_MAX + 1];
    bool healing;
    /* The metadata store's truth. */
    struct chain chains[SIM_LOGS_MAX + 1]; /* len 0: none */
    uint64_t version;
    lsn_t trimmed[SIM_LOGS_MAX + 1]; /* highest LSN that anybody asked to trim */
    struct {
        struct sim_append **items;
        size_t len, cap;
    } appends; /* by uid - 1 */
    struct {
        void **items;
        size_t len, cap;
    } asks; /* freed at the end: a crash answers nobody */
    uint64_t next_handle;
    struct sim_oracle *oracle;
    struct sim_stats stats;
};

uint64_t sim_random(struct sim_world *w, uint64_t below);
bool sim_chance(struct sim_world *w, unsigned percent);
void sim_at(struct sim_world *w, struct sim_event *e, uint64_t after_ms);
/* Run deferred work of the node, after anything was done to it. */
void sim_node_settle(struct sim_node *n);
_Noreturn void sim_fail(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* loglet_sim_net.c */
void sim_net_init(struct sim_node *n);
void sim_net_reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m);
/* The connection between two nodes broke: both may notice. */
void sim_net_broken(struct sim_world *w, unsigned a, unsigned b);

/* loglet_sim_chain.c */
struct sim_chains *sim_chains_new(struct sim_node *n);
void sim_chains_free(struct sim_chains *c);
struct chain_store *sim_chains_store(struct sim_chains *c);

/* loglet_sim_node.c */
void sim_node_start(struct sim_node *n);
void sim_node_crash(struct sim_node *n);
void sim_node_append(struct sim_node *n, unsigned log_id);
void sim_node_find_tail(struct sim_node *n, unsigned log_id);
void sim_node_reread(struct sim_node *n, unsigned log_id, lsn_t from);
void sim_node_reopen(struct sim_node *n, unsigned log_id);
void sim_node_seal_log(struct sim_node *n, unsigned log_id);
void sim_node_lone_sealer(struct sim_node *n, unsigned log_id);
/* The node's directory follows the truth, more or less. */
void sim_node_gossip(struct sim_node *n);

/* loglet_sim_check.c */
struct sim_oracle *sim_oracle_new(struct sim_world *w);
void sim_oracle_free(struct sim_oracle *o);
void sim_check_durable(struct sim_world *w, unsigned node, const struct store_entry *e);
void sim_check_disk(struct sim_world *w, unsigned node, uint64_t loglet);
/* A log-server that has sealed never says otherwise (L-6). */
void sim_check_reply(struct sim_world *w, unsigned from, const struct loglet_message *m);
void sim_check_message(struct sim_world *w, unsigned from, const struct loglet_message *m);
void sim_check_swap(struct sim_world *w, unsigned log_id, const struct chain *before,
                    const struct chain *after);
void sim_check_append_done(struct sim_world *w, struct sim_append *a);
void sim_check_delivery(struct sim_world *w, struct sim_handle *h, lsn_t lsn, struct slice body);
void sim_check_gap(struct sim_world *w, struct sim_handle *h, lsn_t from, lsn_t to);
void sim_check_tail_begin(struct sim_world *w, unsigned log_id, lsn_t *least);
void sim_check_tail_end(struct sim_world *w, unsigned log_id, lsn_t least, lsn_t tail);
void sim_check_end(struct sim_world *w);

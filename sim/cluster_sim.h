/* The whole-cluster simulator: the program that runs on real nodes - node/, controller/, membership/,
 * metadata/, bifrost/, partition/, peer/ - runs here unchanged, several nodes in one thread. What differs is
 * below it and at its edges, put in place when linking:
 *
 *   loop/          virtual time, one scheduler for the loops of all processes, simulated sockets
 *                  (cluster_loop.c, cluster_net.c)
 *   disks          the log-server's disk, the file of the metadata server, the partition stores and the data
 *                  directory in memory (cluster_disk.c)
 *   invoker/       runs the programs of sim_attempt.c (cluster_invoker.c)
 *   http, ingress, admin, query    are not there; clients hand their requests to the router of a loop, as the
 *                  ingress does (cluster_edge.c, cluster_client.c)
 *
 * Every seed runs in a child process: a process of the cluster that crashes leaves its memory behind. */
#pragma once
#include <setjmp.h>

#include "bifrost/disk_memory.h"
#include "loop/loop.h"
#include "node/node_internal.h"
#include "sim/sim_world.h"

#define CSIM_NODES_MAX      5
#define CSIM_PARTITIONS_MAX SIM_MAX_PARTITIONS
#define CSIM_NEVER          UINT64_MAX

struct csim;
struct csim_process;

/* Something that happens at a time, in microseconds. Embedded. */
struct csim_event {
    struct heap_node heap;
    void (*fire)(struct csim_event *e);
};

/* What survives a crash. */
struct csim_disk {
    struct disk *log;        /* NULL: never opened */
    struct disk *log_before; /* a mutation: what a crash goes back to */
    unsigned log_writes;
    size_t raft_before;                                 /* length of raft.log, the same */
    size_t raft_identity;                               /* and when it was written anew */
    struct writer raft;                                 /* content of raft.log */
    uint64_t raft_frames;                               /* sequence number of the last one */
    struct kv_backend *partitions[CSIM_PARTITIONS_MAX]; /* by shard */
    bool provisioned;
    uint64_t fingerprint;
    bool full;
};

struct csim_host {
    struct csim *world;
    uint32_t index;   /* from 0; node name n1, n2, ... */
    uint32_t node_id; /* 0: has never been told */
    struct csim_disk disk;
    struct csim_process *process; /* NULL: none runs */
    bool powered;                 /* answers connections to a process that is not there; else it is silent */
    bool gone;                    /* for ever */
    bool lost_log;                /* the log-server's disk was lost, and the new one does not serve yet */
    bool no_provision;            /* its operator has switched auto-provision off: the cluster exists */
    bool removed;                 /* from the cluster: a process that starts says so and ends */
    uint64_t restart_us;          /* a process starts then */
    uint64_t disk_us;             /* mean duration of a durable write */
    uint64_t cpu_us;              /* mean extra duration of an iteration of a loop (load) */
    int64_t wall_offset_ms;
    uint32_t starts;
    lsn_t applied[CSIM_PARTITIONS_MAX]; /* by its replicas, last */
};

/* One life of a node. */
struct csim_process {
    struct csim *world;
    struct csim_host *host;
    struct node node;
    struct list loops, conns; /* struct loop.link, struct net_conn.of_process */
    bool alive, paused, leaving, identified;
    uint64_t resume_us, started_us;
    struct { /* of ingresses */
        struct csim_door **items;
        size_t len, cap;
    } doors;
};

/* Rules that can be switched off: see cluster_mutation.c. */
enum csim_mutation {
    CSIM_MUTATION_NONE,
    CSIM_LOG_FORGETS,
    CSIM_RAFT_FORGETS,
    CSIM_NO_DEDUP,
    CSIM_APPLY_SKIPS,
    CSIM_RETRY_UNKNOWN,
    CSIM_QUORUM_OF_ONE,
    CSIM_SEAL_OF_ONE,
    CSIM_SEAL_FORGOTTEN,
    CSIM_OTHER_BYTES,
    CSIM_HOLES,
    CSIM_REPAIR_TRUSTED,
    CSIM_TRIM_MORE,
    CSIM_SECOND_SENDER,
    CSIM_NO_MARKER,
    CSIM_LOSS_FORGOTTEN,
    CSIM_READ_UNCONFIRMED,
    CSIM_RAFT_OLD_COPY,
    CSIM_CHANGE_ANYTIME,
    CSIM_REMOVE_AT_ONCE,
    CSIM_TRIM_EARLY,
    CSIM_FILE_LOST,
    CSIM_ROW_LOST,
    CSIM_IMPORT_BACK,
    CSIM_OLD_GENERATION,
    CSIM_DEAF,
    CSIM_MUTATIONS,
};

struct csim_options {
    uint64_t seed, ticks; /* milliseconds of load and faults */
    uint32_t nodes, partitions, shards, replication, requests, objects;
    bool faults, verbose, trace;
    int snapshots; /* there is a repository, and logs are trimmed; -1: not given */
    const char *log_filter;
    const char *check;    /* with --mutations: only those that this one must notice; NULL: all */
    const char *scenario; /* NULL: random faults */
    enum csim_mutation mutation;
};

struct csim {
    struct sim_world
        base; /* what the programs and clients of sim/ know; its env is that of the loop that runs */
    struct csim_options options;
    struct csim_host hosts[CSIM_NODES_MAX];
    struct heap events;
    uint64_t now_us, elapsed_us; /* start of what runs now, and how long it has taken so far */
    struct loop *current;
    struct csim_process *current_process;
    sigjmp_buf death; /* of the current process */
    bool may_die;
    bool cut[CSIM_NODES_MAX][CSIM_NODES_MAX]; /* nothing gets from .. to .. */
    uint64_t delay_us;                        /* mean delay of the network */
    struct list conns;
    struct memory_objects *bucket; /* NULL: not used yet */
    uint64_t iterations, crashes, restarts, pauses, cuts, wipes, stops;
    uint32_t copies; /* that new segments have, and replica sets */
    unsigned plans;  /* of operators */
    bool removed;    /* a node has been, or is being */
    unsigned snapshots, lost_logs, lost_disks, compared,
        imports;             /* snapshots with a replay; replicas that went on behind what they had applied */
    uint64_t metadata_steps; /* changes of metadata that were looked at */
    uint64_t scenario_us;    /* when it happened; 0: not yet */
    uint64_t leaderships, told_epochs[CSIM_PARTITIONS_MAX];
};

extern struct csim *csim; /* the one world of this process */

static inline uint64_t csim_now(void)
{
    return csim->now_us + csim->elapsed_us;
}
uint64_t csim_below(uint64_t n);         /* 0 .. n-1 */
bool csim_chance(uint32_t per_thousand); /* never while the world is healed */
void csim_at(struct csim_event *e, void (*fire)(struct csim_event *e), uint64_t at_us);
void csim_cancel(struct csim_event *e);
void csim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- cluster_loop.c ---- */
/* The next thing that happens; false: nothing will before `until_us`. */
bool csim_step(uint64_t until_us);
/* Run something as if it was an event of the loop. */
void csim_enter(struct loop *l, void (*run)(void *ctx), void *ctx);
struct csim_process *csim_process_of(const struct loop *l);
bool csim_loop_ended(const struct loop *l);
/* A socket of the loop has something. */
void csim_loop_wake(struct loop *l);
/* The thread of the current loop is busy. */
void csim_spend(uint64_t us);
/* The current process dies here: does not return. */
_Noreturn void csim_die(void);
void csim_loops_forget(struct csim_process *p);
void csim_loops_resume(struct csim_process *p);
/* Waiting socket events of a loop; run by the loop. */
void csim_sockets_run(struct loop *l);
bool csim_sockets_waiting(const struct loop *l);

/* ---- cluster_net.c ---- */
/* The process of these connections has died; `silent`: with its host. */
void csim_net_died(struct csim_process *p, bool silent);
void csim_net_changed(void); /* cuts have changed */

/* ---- cluster_disk.c ---- */
void csim_disk_crash(struct csim_host *h);
/* Of a node that is down. */
void csim_disk_lose_partitions(struct csim_host *h);
void csim_disk_lose_log(struct csim_host *h);
void csim_disk_lose_raft(struct csim_host *h);
void csim_disk_lose_directory(struct csim_host *h);
struct csim_host *csim_host_of_path(const char *path);

/* ---- cluster_node.c ---- */
void csim_nodes_init(void);
void csim_process_start(struct csim_host *h);
void csim_process_crash(struct csim_host *h, bool power, uint64_t restart_in_us);
void csim_process_stop(struct csim_host *h); /* as by SIGTERM */
/* After each step: processes that have ended. */
void csim_processes_look(void);
/* As an operator would: of a partition that is led. */
void csim_create_snapshot(uint32_t partition);
struct processor *csim_processor(const struct csim_host *h, uint32_t partition);

/* Nodes that are not gone for ever, nor about to be. */
uint32_t csim_nodes_left(void);

/* ---- cluster_client.c ---- */
struct csim_door { /* a loop that takes requests */
    struct loop *loop;
    struct partition_router *router;
};
void csim_clients_start(void);

/* ---- cluster_faults.c ---- */
void csim_faults_start(void);
/* Instead: one event, whose victims never come back. */
void csim_scenario_start(void);
bool csim_scenario_known(const char *name);
void csim_heal(void);

/* ---- cluster_operator.c ---- */
void csim_operator_start(void);
/* A plan is being carried out. */
bool csim_operator_busy(void);
/* All nodes that are left are members of the metadata servers, and all of them run and know. */
bool csim_metadata_complete(void);

/* ---- cluster_detector.c ---- */
void csim_detectors_heal(void);
/* On who runs; F-2: after some time they must. */
bool csim_detectors_agree(void);

/* ---- cluster_mutation.c ---- */
bool csim_mutated(enum csim_mutation m);
/* A rule, and the check that must notice that it is off. */
struct csim_mutant {
    enum csim_mutation mutation;
    const char *check, *name;
};
const struct csim_mutant *csim_mutants(size_t *n);
/* Before anything runs. */
void csim_mutate(void);

/* ---- cluster_log.c ---- */
struct log_chain;
/* A log as the metadata has it now. */
void csim_log_chain(const struct log_chain *c);
/* A replica has applied it. */
void csim_log_delivered(uint32_t log_id, lsn_t lsn, struct slice record);
/* The log-server's disk is gone. */
void csim_log_lost(struct csim_host *h);
/* It serves as a new storage generation. */
void csim_log_back(const struct csim_host *h);
/* Would the other copies suffice, for every segment, if it were lost? */
bool csim_log_may_lose(const struct csim_host *h);

/* ---- cluster_meta.c ---- */
/* The disk of this member of the metadata servers is gone. */
void csim_meta_lost(struct raft_member m);
/* Is a disk that was lost one of these members? */
bool csim_meta_has_lost(const struct raft_members *m);

/* ---- cluster_snapshot.c ---- */
/* The bucket's hook. */
void csim_bucket_changed(void *ctx, const char *key, const struct bytes *content);
/* A replay of the log of the store's partition has come to where the store is (T-c). */
void csim_snapshot_replayed(struct partition_store *s, struct sim_env *env);
/* Somebody drops the records up to and including `upto`. */
void csim_snapshot_trim(uint32_t partition, lsn_t upto);

/* ---- cluster_history.c ---- */
/* Does a chain, or a replica set, still name the node, as far as anybody knows? */
bool csim_history_uses(uint32_t node);
/* What a metadata key is, or was, as somebody sees it. */
void csim_history_see(const struct kv_entry *entry);
void csim_check_identity(struct csim_process *p);

/* ---- cluster_check.c ---- */
void csim_check_final(void);
bool csim_quiescent(char *why, size_t cap);
/* Every log is written to as many nodes as its replication wants of those that are there. */
bool csim_logs_are_wide(char *why, size_t cap);
void csim_print_state(void);

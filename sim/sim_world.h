/* A simulated cluster: every node hosts a replica of every partition over shared simulated logs; a controller
 * hands out leadership; a host plays invoker and SDK with random handler programs; clients submit and retry;
 * faults are injected; checks follow. One thread, virtual time, everything from one seed. */
#pragma once
#include "objects/memory_objects.h"
#include "partition/processor.h"
#include "partition/snapshot_agent.h"
#include "partition/store_opening.h"
#include "sim/sim_env.h"
#include "sim/sim_log.h"

#define SIM_MAX_PARTITIONS 8
#define SIM_MAX_NODES      3
#define SIM_DAY_MS         86400000u

struct sim_options {
    uint64_t seed, ticks; /* ticks: virtual milliseconds with load and faults */
    uint32_t partitions, nodes, objects, requests;
    bool faults, verbose;
    bool scopes; /* some invocations have a scope, and rules limit them */
};

struct sim_world;

/* One replica: a partition on a node. */
struct sim_replica {
    struct sim_world *world;
    struct env *env; /* of its loop */
    uint32_t node, partition;
    struct kv_backend *kv;
    struct log *log;
    struct processor *p; /* NULL while down and while it waits for its store */
    struct store_opening *opening;
    struct snapshot_partition *snapshots;
    lsn_t min_lsn; /* its log was found to be trimmed to here */
    bool closing;
    bool gap;   /* its processor stopped because of that: to be opened again */
    bool crash; /* closing without a flush */
    struct hmap attempts;
    struct list attempt_order;
    uint64_t next_token;
    struct sim_shipper *shippers[SIM_MAX_PARTITIONS];
    uint32_t incarnation;
};

struct sim_partition {
    uint64_t key_start, key_end, next_epoch;
    int leader; /* node that was told to lead, -1: none */
    struct {
        uint64_t *items; /* state hash after LSN i + 1, 0: not seen */
        size_t len, cap;
    } hashes;
};

/* What a node has of snapshots; with one node there are none. */
struct sim_snapshots {
    struct job_runner_deferred jobs;
    struct memory_objects *scratch;
    struct snapshot_repository *repository;
    struct snapshot_slots slots;
    struct snapshot_agent *agent;
    bool closed;
};

/* A request of somebody outside of the nodes. */
struct sim_request {
    struct partition_rpc rpc;
    struct processor *asked; /* while it is out, by sim_leader_access */
};

/* How clients get at partitions. */
struct sim_access {
    /* Consumes the record; the reply comes later, once. False: there is nobody to ask. */
    bool (*submit)(struct sim_world *w, struct sim_request *q);
    /* Let go of it: the reply comes. False: not now. */
    bool (*cancel)(struct sim_world *w, struct sim_request *q);
};

struct sim_world {
    struct sim_env env;
    const struct sim_access *access;
    struct sim_options options;
    struct sim_logs *logs;
    struct sim_partition partitions[SIM_MAX_PARTITIONS];
    struct sim_replica replicas[SIM_MAX_NODES][SIM_MAX_PARTITIONS];
    struct memory_objects *bucket;
    struct sim_snapshots snapshots[SIM_MAX_NODES];
    bool node_up[SIM_MAX_NODES];
    uint64_t node_restart_at[SIM_MAX_NODES];
    bool faulty;        /* faults are being injected */
    bool retry_unknown; /* a mutation: clients take unknown outcomes for refusals */
    struct sim_client *clients;
    size_t n_clients, clients_done;
    size_t operations_out;   /* operator requests without an answer */
    struct sim_kafka *kafka; /* NULL: none */
    bool take_over;          /* a new leader takes the log over: nothing of an older one enters it any more */
    struct list outside;     /* signals on their way from outside */
    struct {
        struct bytes *items;
        size_t len, cap;
    } books; /* rule books, by version - 1 */
    size_t most_held;
    uint64_t operations, crashes, leader_changes, attempts, attempt_failures, suspensions, snapshots_made,
        restored;
};

#define SIM_CHECK(w, cond, ...) ((cond) ? (void)0 : sim_fail(w, #cond, __VA_ARGS__))
/* Print what is wrong and the command that reproduces it, then abort. */
_Noreturn void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

bool sim_chance(struct sim_world *w, uint32_t per_thousand); /* never while the world is healed */
uint32_t sim_partition_of(struct sim_world *w, uint64_t key);
/* The processor that leads the partition as far as the controller knows, or NULL. */
struct processor *sim_leader(struct sim_world *w, uint32_t partition);

/* ---- sim_node.c ---- */
void sim_nodes_start(struct sim_world *w);
void sim_nodes_stop(struct sim_world *w);
void sim_node_crash(struct sim_world *w, uint32_t node);
/* Once per step: restarts, leadership, hashes. */
void sim_nodes_tick(struct sim_world *w);
extern const struct processor_host_ops sim_host_ops;

/* ---- sim_snapshot.c ---- */
void sim_snapshots_init(struct sim_world *w);
void sim_snapshots_free(struct sim_world *w);
void sim_snapshots_open(struct sim_world *w, uint32_t node);
void sim_snapshots_close(struct sim_world *w, uint32_t node);
void sim_snapshots_tick(struct sim_world *w);

/* ---- sim_ship.c ---- */
void sim_ship(struct sim_replica *r, uint64_t index, uint64_t partition_key, struct bytes record_take);
void sim_ship_reset(struct sim_replica *r);

/* ---- sim_attempt.c: the invoker and the SDK; the handlers are in sim_handlers.c and sim_objects.c ---- */
void sim_attempt_start(struct sim_replica *r, struct invocation *inv);
void sim_attempt_abort(struct sim_replica *r, struct invocation_id id);
void sim_attempt_abort_all(struct sim_replica *r);
bool sim_attempt_pause(struct sim_replica *r, struct invocation_id id);
void sim_attempt_notify(struct sim_replica *r, struct invocation_id id);
void sim_attempt_applied(struct sim_replica *r, struct invocation_id id, uint64_t token, bool dropped);

/* ---- sim_program.c: what handlers do ---- */
enum sim_op_kind {
    OP_SLEEP,
    OP_CALL_APPEND,
    OP_READ,
    OP_SEND_APPEND,
    OP_SEND_APPEND_LATER,
    OP_RUN,
    OP_AWAKEABLE,
    OP_CALL_FLOW,
    OP_RACE_SLEEP_CALL,
    OP_SIGNAL,
    OP_OUTSIDE,
    OP_ATTACH,
    OP_HOLD,
    OP_KINDS,
};
struct sim_op {
    enum sim_op_kind kind;
    uint32_t object;
    uint64_t delay_ms;
    uint64_t child_seed;
};
#define SIM_MAX_OPS 8
struct sim_program {
    uint64_t seed;
    uint32_t depth;
    size_t n;
    struct sim_op ops[SIM_MAX_OPS];
};
void sim_program_make(struct sim_program *p, uint64_t seed, uint32_t depth, uint32_t objects);
/* One append to an object's log: 16 bytes, who and its sequence within the program. */
struct sim_append {
    uint64_t tag, seq;
    uint32_t object;
    bool ordered; /* false: delayed */
    bool
        maybe; /* of a program that operators interfere with: at most once, or as often as it was restarted */
    bool once; /* though `maybe`, not more than once */
};
struct sim_appends {
    struct sim_append *items;
    size_t len, cap;
};
void sim_program_expect(const struct sim_program *p, uint32_t objects, bool maybe, struct sim_appends *out);
void sim_object_key(uint32_t object, char out[16]);
/* The state of an object besides its log: this many keys, sim_extra_key(0...), each with the last append. */
uint32_t sim_object_extras(struct slice log);
void sim_extra_key(uint32_t n, char out[16]);
/* Objects that handlers only lock, and whose state operators patch. */
#define SIM_PATCHED 3
void sim_patched_key(uint32_t n, char out[16]);

/* ---- sim_client.c ---- */
extern const struct sim_access sim_leader_access; /* the leader that the controller has chosen */
void sim_clients_start(struct sim_world *w);
void sim_clients_stop(struct sim_world *w);
void sim_clients_expect(struct sim_world *w, struct sim_appends *out);

/* ---- sim_outside.c ---- */
struct sim_signal {
    struct invocation_id id;
    uint32_t index; /* if it has no name */
    char name[24];
    uint64_t value;
    bool reject;
};
struct notification_id sim_signal_id(const struct sim_signal *s);
void sim_outside_start(struct sim_world *w);
void sim_outside_stop(struct sim_world *w);
/* Have it sent. Asked twice, it is sent twice. */
void sim_outside_ask(struct sim_world *w, const struct sim_signal *signal);

/* ---- sim_kafka.c ---- */
void sim_kafka_start(struct sim_world *w);
void sim_kafka_stop(struct sim_world *w);
void sim_kafka_free(struct sim_world *w); /* when every request is answered */
void sim_kafka_tick(struct sim_world *w);
/* It reads the schema, not necessarily the newest. */
void sim_kafka_node_starts(struct sim_world *w, uint32_t node);
void sim_kafka_tell(struct sim_world *w, uint32_t node, struct processor *p);
bool sim_kafka_done(struct sim_world *w);
void sim_kafka_expect(struct sim_world *w, struct sim_appends *out);
void sim_kafka_check(struct sim_world *w, uint32_t partition);

/* ---- sim_operator.c: cancel, kill, pause, resume, purge, restart of the victims among the clients'
 * invocations; attach, reads; state patches ---- */
void sim_operator_tick(struct sim_world *w);
/* The invocation of a random victim (true) or of any client. */
bool sim_clients_pick(struct sim_world *w, bool victim, struct invocation_id *id);

/* ---- sim_limits.c ---- */
#define SIM_COUNTERS 64
struct sim_limits_state { /* what the counters were after the record before */
    size_t n;
    char scope[SIM_COUNTERS][8], l1[SIM_COUNTERS][8], l2[SIM_COUNTERS][8];
    uint32_t usage[SIM_COUNTERS];
    /* and who ran of the paused queues when everything was counted last */
    bool resumed; /* one since */
    size_t n_paused;
    struct sim_queue {
        struct invocation_id id;
        uint32_t running;
    } paused[SIM_COUNTERS];
};
struct slice sim_scope(uint64_t dice);
struct slice sim_limit_key(uint64_t dice);           /* ptr NULL: none */
struct invocation_id sim_queue(struct sim_world *w); /* of a scope, with or without invocations */
/* Every other object lives in a scope; ptr NULL: none. */
struct slice sim_object_scope(const struct sim_world *w, uint32_t object);
void sim_limits_tick(struct sim_world *w);
void sim_limits_free(struct sim_world *w);
void sim_limits_check(struct sim_world *w, struct partition_store *s, lsn_t lsn,
                      struct sim_limits_state *state);

/* ---- sim_check.c ---- */
void sim_check_tick(struct sim_world *w);
/* The objects hold every append that clients made, once and in order; nothing else. */
void sim_check_appends(struct sim_world *w);
size_t sim_open_invocations(struct processor *p);
bool sim_quiescent(struct sim_world *w);  /* everything accepted has completed */
void sim_print_open(struct sim_world *w); /* what keeps it from being quiescent */
void sim_check_final(struct sim_world *w);

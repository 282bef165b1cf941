/* The small model of leadership (spec/cluster.md §11.3): two candidates for one partition, each with the
 * processor, its store and the claims as they are (partition/processor.h, controller/claims.h), over a
 * metadata store whose answers get lost, and a log that takes records from whoever sends them: what a deposed
 * or dead leader proposed may enter it at any time, also behind the announcement of its successor. The real
 * log refuses most of that; here it must not matter. Clients call a handler that appends the number of its
 * request to the state of one object.
 *
 * What reaches the metadata and the log next, who reads on, whose attempt ends, who crashes and who is asked
 * to lead is chosen by the explorer, in any order. Time stands still. Checked after every step: P-1, P-2, P-3
 * and P-6 of spec/cluster.md §11.2. */
#pragma once
#include "controller/claims.h"
#include "controller/controller_internal.h"
#include "metadata/kv_table.h"
#include "partition/processor_internal.h"
#include "sim/explore.h"
#include "sim/sim_env.h"

#define LD_NODES        2
#define LD_REQUESTS_MAX 2
#define LD_RECORDS_MAX  32
#define LD_EPOCHS_MAX   8
#define LD_KEY          SLICE_LIT("key")
#define LD_STATE        SLICE_LIT("log")

/* Wrongs that can be switched on to see that the explorer finds them. */
enum ld_wrong {
    RIGHT,
    CLAIM_TIMEOUT = CLAIM_MUT_TIMEOUT_IS_YES, /* of the core */
    CLAIM_NODE = CLAIM_MUT_NODE_IS_ENOUGH,
    BLIND_SWAP = 100,
    NO_FENCE,
    OLD_ANNOUNCEMENT,
    LEADS_AT_ONCE,
    RETRY_AS_NEW,
};

struct ld_case {
    unsigned hints;           /* to lead, to nodes that follow */
    unsigned undecided;       /* claims whose answer is lost, with effect, without, or with effect later */
    unsigned crashes;         /* a node starts again at once, with nothing but what is in the log */
    unsigned requests, tries; /* of clients, and how often each is sent */
    unsigned wrong;
};

struct ld_ask {       /* in the hands of the metadata store */
    struct kv_op *op; /* NULL: nobody waits any more */
    unsigned node;
    enum kv_op_kind kind;
    struct bytes value;
    enum kv_precondition precondition;
    uint32_t version, expected;
};

struct ld_attempt {
    unsigned request;
    struct invocation_id id;
    struct bytes state; /* of the object, when it began */
};

struct ld_pending { /* on its way to the log */
    struct bytes record;
    struct log_append_wait *wait;
};

enum ld_fate { DONE, DONE_UNHEARD, NOT_DONE, DONE_LATER };

struct ld_world;
struct ld_node {
    struct ld_world *world;
    unsigned index;
    uint32_t generation;
    struct sim_env env;
    struct kv kv;
    struct epochs *epochs;
    struct claim claim;
    bool claiming, closed;
    struct kv_backend *backend;
    struct processor *p;
    struct log log;
    const struct log_reader_ops *reader;
    void *reader_ctx;
    lsn_t next;
    struct {
        struct ld_pending *items;
        size_t len, cap;
    } pending, late; /* of this process; of one that died */
    struct {
        struct ld_attempt *items;
        size_t len, cap;
    } attempts;
};

struct ld_request {
    struct ld_world *world;
    struct partition_rpc rpc;
    unsigned number, node, tries, incarnation;
    bool open, done;
};

struct ld_world {
    struct explore *x;
    const struct ld_case *scenario;
    struct ld_case left;
    struct kv_table table;
    struct {
        struct ld_ask *items;
        size_t len, cap;
    } asks;
    struct ld_node nodes[LD_NODES];
    struct ld_request requests[LD_REQUESTS_MAX];
    struct bytes log[LD_RECORDS_MAX];
    lsn_t committed;
    /* The oracle: a replica that applies what is committed at once. */
    struct sim_env env;
    struct kv_backend *backend;
    struct partition_store *store;
    uint64_t states[LD_RECORDS_MAX + 1]; /* hash, behind the record of this LSN */
    uint64_t epoch, last_seq;            /* announced; accepted in it */
    struct node_ref owners[LD_EPOCHS_MAX];
    struct bytes object;
};

/* ---- model_leadership_node.c: the nodes, and what they use ---- */
void ld_node_start(struct ld_node *n);
void ld_node_stop(struct ld_node *n); /* as by a crash */
void ld_node_crash(struct ld_node *n);
struct partition_store *ld_open_store(struct kv_backend *backend, struct sim_env *env);
void ld_on_closed(void *ctx); /* of a bool */
void ld_wait_closed(struct sim_env *env, const bool *closed);
/* What becomes of operation `i` in the hands of the metadata store. */
void ld_arrive(struct ld_world *w, size_t i, enum ld_fate fate);
/* The oldest record on its way gets into the log. */
void ld_commit(struct ld_node *n, bool late);
/* The node reads the next record. */
void ld_deliver(struct ld_node *n);
/* Attempt `i` ends: state := state as it was when it began + the number of the request. */
void ld_finish(struct ld_node *n, size_t i);
void ld_ask(struct ld_request *r, struct ld_node *n);
void ld_hint(struct ld_node *n);

/* ---- model_leadership_check.c ---- */
void ld_check_owner(struct ld_world *w, uint64_t epoch, struct node_ref who, const char *what);
void ld_check_object(struct ld_world *w);
/* `h` as its proposer wrote it, `r` what the oracle made of it. */
void ld_check_accepted(struct ld_world *w, const struct record_header *h, const struct apply_result *r);
void ld_check_node(struct ld_node *n);

/* Requests of ingress and admin to the leader of a partition, and the router that finds it
 * (spec/invocation-lifecycle.md §3.3, spec/cluster.md §4.8). The caller speaks to a `struct
 * partition_router`; whether the leader is on this loop, on another one or on another node is the router's
 * business. */
#pragma once
#include "partition/types.h"

enum rpc_kind {
    RPC_INVOKE,      /* record = Invoke; reply when applied (wait_result false) or completed (true) */
    RPC_ATTACH,      /* reply with the outcome when completed */
    RPC_GET_OUTPUT,  /* point read: reply at once */
    RPC_SIGNAL,      /* record = Signal; reply when committed */
    RPC_PATCH_STATE, /* record = PatchState; reply when committed */
    RPC_TERMINATE,   /* cancel or kill; reply when applied */
    RPC_PURGE,
    RPC_PURGE_JOURNAL,
    RPC_PAUSE,
    RPC_RESUME,
    RPC_RESTART_AS_NEW,
    RPC_STATUS, /* point read of the status, for pre-checks of admin operations */
    RPC_INGEST, /* record = several Invoke records of other producers (rpc_ingest_add): appended in this order
                   up to the first that is refused; RPC_OK when all are committed */
    RPC_PAUSE_QUEUE, /* id = that of a queue (queue_id_format), known or not; reply when applied */
    RPC_RESUME_QUEUE,
};

enum rpc_status {
    RPC_OK = 0,
    RPC_APPENDED, /* cancel of a started invocation: 202 */
    RPC_NOT_FOUND,
    RPC_ALREADY_COMPLETED,
    RPC_NOT_COMPLETED,
    RPC_NOT_RUNNING,    /* pause */
    RPC_NOT_STARTED,    /* resume, restart of scheduled or inboxed: 425 */
    RPC_STILL_RUNNING,  /* restart */
    RPC_UNSUPPORTED,    /* restart of workflow handlers, or of a prefix below protocol V6: 422 */
    RPC_GONE,           /* restart: journal no longer there: 410 */
    RPC_BAD_PREFIX,     /* restart */
    RPC_BAD_DEPLOYMENT, /* resume, restart: incompatible or refused */
    RPC_NOT_READY,      /* get output: in flight, 470 */
    RPC_FAILED,         /* see rc: RC_NOT_LEADER, RC_UNAVAILABLE, RC_OVERLOADED: certainly not processed.
                           RC_LOST_LEADERSHIP,         RC_INTERNAL: unknown. RC_CANCELED: router_cancel */
    RPC_QUEUES_FULL,    /* pause of a queue: too many are paused */
};

struct rpc_reply {
    enum rpc_status status;
    enum rc rc; /* RPC_FAILED */
    struct invocation_id id;
    /* RPC_INVOKE with wait_result, RPC_ATTACH, RPC_GET_OUTPUT */
    struct outcome
        outcome; /* slices into outcome_bytes; valid during the callback: take a reference to keep them */
    struct bytes outcome_bytes;
    struct target target; /* RPC_ATTACH, RPC_GET_OUTPUT, RPC_STATUS: whose it is (service.ptr NULL:
                             unknown). Slices into target_bytes */
    struct bytes target_bytes;
    uint64_t
        expiry_ms; /* completed_at + completion retention, only for answers from retained results; 0: none */
    /* RPC_INVOKE without wait_result */
    uint64_t execution_time_ms; /* 0: none */
    bool is_new;
    /* RPC_STATUS */
    enum invocation_status invocation_status;
    bool pinned;
    struct u128 deployment_id;
    uint32_t protocol_version;
    struct invocation_id new_id; /* RPC_RESTART_AS_NEW */
    char detail[160];            /* a sentence for RPC_FAILED, RPC_BAD_DEPLOYMENT; may be empty */
};

/* One request. The caller embeds or allocates it, fills the upper part and keeps it alive until `reply` has
 * run (exactly once, on the loop that submitted it, never from inside partition_router_submit). */
struct partition_rpc {
    enum rpc_kind kind;
    struct u128 request_id; /* random per HTTP request; the same on retries of it */
    uint64_t partition_key;
    struct invocation_id id; /* the invocation concerned (INVOKE: the one inside `record`) */
    bool wait_result;        /* INVOKE */
    struct bytes record;     /* INVOKE, SIGNAL, PATCH_STATE: a record with header room; consumed. INGEST */
    bool kill;               /* TERMINATE */
    bool repin;              /* RESUME, RESTART */
    struct u128 deployment_id;
    uint32_t deployment_min_protocol, deployment_max_protocol;
    struct invocation_id new_id; /* RESTART */
    uint32_t copy_prefix_up_to;  /* RESTART */
    void (*reply)(struct partition_rpc *rpc, const struct rpc_reply *reply);

    /* Private to router and leader. */
    struct {
        void *loop;
        struct list link;
        struct hmap_node node;
        void *a, *b;
        uint32_t state;
        struct log_append_wait append;
        struct rpc_reply *stored;
    } private_;
};

struct partition_router;
struct partition_router_ops {
    void (*submit)(struct partition_router *r, struct partition_rpc *rpc);
    void (*cancel)(struct partition_router *r, struct partition_rpc *rpc);
};
struct partition_router {
    const struct partition_router_ops *ops;
};
/* Hand the request to the partition that owns rpc->partition_key. No leader known: RPC_FAILED /
 * RC_UNAVAILABLE at once; the caller retries with back-off if it may. */
static inline void partition_router_submit(struct partition_router *r, struct partition_rpc *rpc)
{
    r->ops->submit(r, rpc);
}
/* The caller lost interest (client went away). `reply` still runs exactly once, normally with RC_CANCELED.
 * What was proposed stays. */
static inline void partition_router_cancel(struct partition_router *r, struct partition_rpc *rpc)
{
    r->ops->cancel(r, rpc);
}

/* RPC_INGEST: put a record behind others in `batch`. Its header is complete but for the time and
 * seq_hi, which the leader fills in: CMD_INVOKE of a subscription with DEDUP_PRODUCER, the key range being
 * the key of its invocation. All records of a batch belong to the partition of rpc->partition_key. */
void rpc_ingest_add(struct writer *batch, struct slice record);
/* The next record; false at the end, or with r->failed. */
bool rpc_ingest_next(struct reader *r, struct slice *record);

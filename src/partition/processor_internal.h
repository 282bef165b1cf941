/* The inside of a partition processor, shared by processor*.c. One env task, the pass, does everything that
 * talks to the outside: on_records only applies and collects actions; the pass runs them, then timers,
 * shuffle, requests and store upkeep. */
#pragma once
#include "partition/processor.h"

#define PROCESSOR_LOG "restate_partition::processor"
#define RETRY_MS      50 /* own proposals that the log refused (full, overloaded) */

/* Timers held by the leader: all of the store's, or the earliest ones up to `horizon`. */
struct leader_timers {
    struct omap map;          /* struct pending_timer, by key */
    bool complete;            /* nothing in the store behind the last one in the map */
    struct timer_key horizon; /* !complete: the store is known up to here */
    size_t limit, proposed;
    struct env_timer wake;
    bool check; /* something may be due */
};

/* Outbox messages between the store and their destination logs. */
struct shuffle {
    uint64_t next;  /* first index not handed to the host */
    uint64_t acked; /* every index below is committed at its destination */
    bool *ring;     /* acknowledged out of order, by index % window */
    size_t window;
    uint64_t truncated; /* every index below was truncated or is about to be */
    bool truncating;    /* one truncation is on its way through the log */
    bool due;           /* truncate without waiting for more */
    struct env_timer timer;
};

struct processor {
    struct env *env;
    struct processor_config config;
    struct partition_store *store;
    struct log *log;
    const struct processor_host_ops *ops;
    void *host;

    /* Leadership. Epoch and next_seq are those of the candidacy or leadership. */
    enum processor_role role;
    uint64_t epoch, next_seq;
    uint64_t host_epoch;   /* leadership the host was told of, 0: none */
    bool candidacy_failed; /* to be told */
    struct env_timer announce_retry;

    /* Applying. */
    struct actions actions, running; /* collected; being run */
    struct metric *action_counts[ACTION_KINDS];
    struct env_task pass;
    uint64_t clock_ms; /* hybrid: wall clock, but never below a record seen or written */
    bool failed, failure_told;
    lsn_t trim_gap;
    struct err failure;

    /* Own proposals in the log and not yet read back. The mark is one of them, the oldest when it was set. */
    size_t self_bytes, self_count;
    bool marked;
    uint64_t mark_seq, mark_at_ms, last_seq, last_seq_at_ms;
    uint64_t behind_since_ms; /* first seen with committed > applied, 0: not */

    /* Requests: waiting for an action, by request id; and those to be looked at in the pass. */
    struct hmap waiting;
    struct list waiting_order, ready;

    struct leader_timers timers;
    struct shuffle shuffle;

    struct bytes rules; /* to be proposed by the leader, with their version; 0: none */
    uint32_t rules_version, rules_proposed;
    bool admitting; /* an Admit is on its way through the log */

    struct subscriptions {
        uint32_t version; /* of the schema, 0: not told yet */
        struct u128 *ids;
        size_t n;
        bool check;      /* there may be producers whose subscription was deleted */
        bool forgetting; /* a ForgetProducers is on its way through the log */
    } subscriptions;

    struct env_timer housekeeping;
    lsn_t durability; /* given by the owner; used unless config.trim_log */
    lsn_t trim_to, trimmed;
    uint64_t trim_at_ms;

    bool closing, abandon;
    struct env_task close_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static inline void processor_schedule(struct processor *p)
{
    env_defer(p->env, &p->pass);
}
uint64_t processor_clock(struct processor *p);
/* Append a proposal of this leader (DEDUP_SELF). Consumes `record_take`. Not RC_OK: nothing was appended. */
enum rc processor_propose(struct processor *p, enum command_kind kind, uint64_t key_start, uint64_t key_end,
                          struct bytes record_take);
/* A partition-wide command written by the caller into `w` after record_begin. */
enum rc processor_propose_writer(struct processor *p, enum command_kind kind, struct writer *w);
/* Append as it is, not as a proposal of the leader. As log_append; RC_NOT_LEADER, and a follower from now on:
 * the log belongs to another node. */
enum rc processor_append(struct processor *p, struct bytes record_take, struct log_append_wait *wait);

/* ---- processor_rpc.c ---- */
void rpcs_init(struct processor *p);
void rpcs_free(struct processor *p);
void rpcs_lost_leadership(struct processor *p); /* fail everything that waits */
void rpcs_run(struct processor *p);             /* in the pass, and once more when closing */
void rpcs_on_action(struct processor *p, const struct action *a);
/* Reply in the next pass. */
struct rpc_reply *rpc_reply_later(struct processor *p, struct partition_rpc *rpc);
void rpc_fail_later(struct processor *p, struct partition_rpc *rpc, enum rc rc, const char *detail);
/* An append was refused. */
void rpc_refuse_later(struct processor *p, struct partition_rpc *rpc, enum rc rc);
/* The log answered for an append of `rpc` that it had taken. */
void rpc_append_done(struct processor *p, struct partition_rpc *rpc, enum rc rc);
/* The log has the records of the request now. */
void rpc_appending(struct partition_rpc *rpc);

/* ---- processor_ingest.c: RPC_INGEST ---- */
void ingest_run(struct processor *p, struct partition_rpc *rpc);
void subscriptions_free(struct processor *p);
void subscriptions_start(struct processor *p); /* leader from now on */
void subscriptions_on_record(struct processor *p, const struct apply_result *r);
void subscriptions_run(struct processor *p); /* in the pass */

/* ---- processor_timers.c ---- */
void leader_timers_init(struct processor *p);
void leader_timers_start(struct processor *p);
void leader_timers_stop(struct processor *p);
void leader_timers_on_registered(struct processor *p, const struct timer_key *key);
void leader_timers_on_deleted(struct processor *p, const struct timer_key *key);
void leader_timers_run(struct processor *p);

/* ---- processor_shuffle.c ---- */
void shuffle_init(struct processor *p);
void shuffle_free(struct processor *p);
void shuffle_start(struct processor *p);
void shuffle_stop(struct processor *p);
void shuffle_run(struct processor *p);
void shuffle_truncated(struct processor *p); /* own truncation was read back */

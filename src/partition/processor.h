/* A partition replica: reads the log, applies, and - as leader - acts (spec/invocation-lifecycle.md §3, §10,
 * §11; spec/cluster.md §4.6, §4.7). A deterministic core: everything it touches comes through `struct env`,
 * `struct log`, `struct kv_backend` and the host. */
#pragma once
#include "partition/machine.h"
#include "partition/rpc.h"

struct processor;

/* What the leader needs from its surroundings. All calls on the owner's loop, from the processor's deferred
 * work. */
struct processor_host_ops {
    /* Start or resume an attempt of this Invoked invocation. */
    void (*invoke)(void *host, struct processor *p, struct invocation *inv);
    void (*abort)(void *host, struct processor *p, struct invocation_id id);
    void (*forward_notification)(void *host, struct processor *p, struct invocation *inv,
                                 uint32_t entry_index);
    void (*ack_command)(void *host, struct processor *p, struct invocation_id id, uint32_t command_index);
    void (*retry_now)(void *host, struct processor *p, struct invocation_id id);
    /* Invoker record `batch` of attempt `token` was applied (dropped: it had no effect). */
    void (*effects_applied)(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                            uint64_t batch, bool dropped);
    /* Ask the running attempt to pause (§8.5): true if the invoker has one (running or backing off). */
    bool (*pause)(void *host, struct processor *p, struct invocation_id id);
    /* Ship outbox record `index` (header filled in: dedup FOREIGN(this partition, index)) to the partition
     * that owns `partition_key`: append it to that log; then processor_outbox_shipped. Per destination the
     * order of calls is the order of appends; retried by the host until done. */
    void (*ship)(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                 struct bytes record_take);
    /* An invocation ended with this result; `origin` is its encoded service_invocation. Only with
     * processor_config.traces. */
    void (*ended)(void *host, struct processor *p, struct invocation_id id, struct bytes origin,
                  const struct outcome *result);
    /* Leadership began (leader tasks run) or ended (abort every attempt, forget retry state). */
    void (*leading)(void *host, struct processor *p, uint64_t epoch);
    void (*following)(void *host, struct processor *p);
    /* The replica cannot go on: unknown command, corrupt log, trim gap without snapshot. It has stopped
     * reading. */
    void (*failed)(void *host, struct processor *p, const struct err *err);
};

struct processor_config {
    uint16_t partition_id;
    uint32_t node_id, node_generation;
    uint64_t key_start, key_end;
    size_t max_inflight_ship; /* outbox messages shipped and not yet acknowledged: 1024 */
    size_t
        self_proposal_limit_bytes; /* 64 MiB: beyond it proposals of clients are refused with RC_OVERLOADED */
    size_t max_timers_in_memory;   /* the earliest ones; 0: 4096 */
    size_t max_held;        /* scoped invocations that wait; above it clients are refused. 0: 1,000,000 */
    uint64_t trim_delay_ms; /* after durable before the log is trimmed */
    bool trim_log;       /* to what its own store has flushed; false: to what processor_set_durability says */
    bool traces;         /* ops->ended is wanted */
    const char *version; /* for AnnounceLeader / created_using */
};

enum processor_role { PROCESSOR_FOLLOWER, PROCESSOR_CANDIDATE, PROCESSOR_LEADER };

/* Takes over `store` and `log` (closed by processor_close). Starts reading at applied + 1. */
struct processor *processor_new(struct env *env, const struct processor_config *config,
                                struct partition_store *store, struct log *log,
                                const struct processor_host_ops *ops, void *host);
/* Leadership was obtained for `epoch` (unique, higher than any before): append AnnounceLeader; leader once it
 * is read back. */
/* Epochs not above one that is announced in the log already never lead: ops->following tells. */
void processor_become_leader(struct processor *p, uint64_t epoch);
void processor_step_down(struct processor *p);
/* May be called from a host callback. No host callback runs afterwards. Stops reading, fails waiters with
 * RC_LOST_LEADERSHIP, flushes (unless abandon) and closes store and log. */
void processor_close(struct processor *p, bool abandon, void (*done)(void *ctx), void *ctx);

/* A request routed here. Uses private_.b, .node, .link, .append, .stored and .state of the request; .a and
 * .loop belong to the router. A second request with the same id takes the place of the first, which is
 * answered RC_CANCELED; nothing is proposed again. */
void processor_rpc(struct processor *p, struct partition_rpc *rpc);
void processor_rpc_cancel(struct processor *p, struct partition_rpc *rpc);
/* All the following consume `record_take` whatever they return. */
/* The invoker proposes effects: `record` from effects_begin / effect_write with header room. RC_NOT_LEADER,
 * RC_OVERLOADED (retry later), RC_NO_SPACE. */
enum rc processor_propose_effects(struct processor *p, struct bytes record_take);
/* Another partition's outbox message for this one: appended as it is; `wait` at commit. RC_NOT_LEADER etc.:
 * not appended. */
enum rc processor_ingest(struct processor *p, struct bytes record_take, struct log_append_wait *wait);
/* Message `index` of this partition's outbox is committed in its destination's log. */
void processor_outbox_shipped(struct processor *p, uint64_t index);

/* The durability point as the owner computes it (partition/durability.h): as leader, and trim_delay_ms after
 * it was told, this replica trims the log up to it. A smaller one than before also takes back what waits. */
void processor_set_durability(struct processor *p, lsn_t lsn);

/* The newest rule book this node knows: `encoded` is a valid cmd_rule_book. The leader brings it into the
 * log. */
void processor_set_rules(struct processor *p, uint32_t version, struct bytes encoded);

/* The Kafka subscriptions of a schema; versions below the last one count for nothing. Until it has been told,
 * and as long as it is told of a schema older than that by which something was forgotten, a leader takes no
 * RPC_INGEST, and never one of a subscription that does not stand here: RC_UNAVAILABLE. What the partition
 * knows of subscriptions that were deleted the leader removes through the log (CMD_FORGET_PRODUCERS). No
 * record of such a subscription can follow: its leader knows that it is gone, and so does every later one. */
void processor_set_subscriptions(struct processor *p, uint32_t schema_version, const struct u128 *ids,
                                 size_t n);

struct partition_store *processor_store(struct processor *p);
const struct processor_config *processor_get_config(const struct processor *p);
struct processor_status {
    enum processor_role role;
    uint64_t epoch;
    lsn_t applied, committed, durable;
    lsn_t trim_gap; /* not 0: it has failed because the log was trimmed to here (store_opening.h helps) */
    uint64_t
        oldest_waiting_ms; /* age of the oldest committed but unapplied record or unanswered proposal (B1) */
    size_t waiting_rpcs, timers, outbox_depth;
    size_t held;          /* scoped invocations that wait for their turn */
    size_t self_inflight; /* bytes proposed and not read back */
};
void processor_get_status(struct processor *p, struct processor_status *out);

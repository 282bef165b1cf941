/* The deterministic core of a partition: apply(store, record) -> effects (spec/invocation-lifecycle.md §3.4
 * to §8). No clock, no randomness, no configuration, no I/O: state after record N is a pure function of
 * records 1..N. One C function per command. */
#pragma once
#include "partition/store.h"

/* Actions of the leader, collected while applying and executed after it (§3.5). Followers pass NULL. Slices
 * and ids are valid until the list is cleared; byte strings are references owned by the list. */
enum action_kind {
    ACTION_INVOKE,               /* id: start or resume an attempt */
    ACTION_ABORT,                /* id: close the stream, forget retry state */
    ACTION_FORWARD_NOTIFICATION, /* id, index: journal entry index */
    ACTION_ACK_COMMAND,          /* id, index: command index */
    ACTION_RETRY_NOW,            /* id: resume of an Invoked one: skip the back-off timer */
    ACTION_TIMER_REGISTERED,     /* timer */
    ACTION_TIMER_DELETED,        /* timer */
    ACTION_OUTBOX,               /* seq: a message was pushed */
    ACTION_RESPONSE,             /* request_id, id, outcome, expiry_ms: resolve a waiting call or attach */
    ACTION_SUBMITTED,            /* request_id, id, execution_time_ms, is_new: resolve a waiting send */
    ACTION_OPERATION_REPLY,      /* request_id, status (+ new_id): resolve cancel, kill, purge, pause, resume,
                                    restart */
    ACTION_EFFECTS_APPLIED, /* id, token, batch: the invoker's record was applied (or dropped, then `dropped`)
                             */
    ACTION_ENDED,           /* id, origin, outcome: for tracing, only if actions.traces */
};
#define ACTION_KINDS (ACTION_ENDED + 1)
struct action {
    enum action_kind kind;
    struct invocation_id id, new_id;
    uint32_t index;
    struct timer_key timer;
    uint64_t seq;
    struct u128 request_id;
    struct outcome outcome; /* slices into outcome_bytes */
    struct bytes outcome_bytes;
    struct bytes origin; /* the encoded service_invocation */
    uint64_t expiry_ms, execution_time_ms;
    bool is_new, dropped;
    uint64_t token, batch;
    int status; /* enum rpc_status (partition/rpc.h) */
};
struct actions {
    struct action *items;
    size_t len, cap;
    bool traces; /* somebody wants ACTION_ENDED */
};
void actions_clear(struct actions *a); /* drops references, keeps the room */
void actions_free(struct actions *a);

struct apply_result {
    bool leader_announced; /* the record was an AnnounceLeader that took effect */
    bool skipped;          /* out of range or deduplicated */
    uint64_t epoch;        /* leader_announced */
    uint32_t node_id, node_generation;
    /* From the record's header, also when skipped: a leader recognises its own proposals by it. */
    uint8_t kind, dedup;
    uint64_t seq_hi, seq_lo;
};

/* Apply one record (brackets it with store_apply_begin and _end). "Now" is the record's creation time, but
 * never below that of an earlier record. RC_OK also for records that are ignored by the rules.
 * RC_UNSUPPORTED: a command kind or version this replica does not know: the replica must stop (never skip
 * silently). RC_CORRUPT: the record cannot be decoded although its checksum holds: the replica must stop. An
 * impossible state met while applying quarantines that invocation and returns RC_OK (B2). */
enum rc machine_apply(struct partition_store *s, lsn_t lsn, struct bytes record, struct actions *actions,
                      struct apply_result *result, struct err *err);

/* Is the awaited set or tree decided by the notifications in the journal? (§5.7) */
bool machine_awaiting_decided(struct partition_store *s, struct invocation *inv,
                              const struct awaiting *awaiting);

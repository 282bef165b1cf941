/* Shared by the machine_*.c files: the context of one record being applied and the steps that several
 * commands have in common. Everything here mutates the store through store.h only; nothing reads a clock or
 * draws a random number. */
#pragma once
#include "partition/machine.h"
#include "partition/rpc.h"

/* One record being applied. Lives on the stack of machine_apply. */
struct machine {
    struct partition_store *store;
    struct partition_vars *vars;
    struct actions *actions; /* NULL: follower */
    struct bytes record;     /* lent; payloads kept are references into it */
    struct slice body;
    lsn_t lsn;
    uint64_t now_ms; /* the record's creation time, never below that of an earlier record */
    uint16_t partition_id;
};

/* RC_CORRUPT: the body of the record, which is of this kind. */
enum rc machine_undecodable(const struct machine *m, enum command_kind kind, struct err *err);

/* ---- machine_send.c: what leaves the machine ---- */

/* A new zeroed action, or NULL on a follower. */
struct action *machine_action(struct machine *m, enum action_kind kind, struct invocation_id id);
void machine_action_index(struct machine *m, enum action_kind kind, struct invocation_id id, uint32_t index);
/* Completes the record in `w` (begun with record_begin), puts it into the outbox and tells the shuffle.
 * Empties `w`. */
void machine_send(struct machine *m, uint64_t partition_key, enum command_kind kind, struct writer *w);
void machine_send_response(struct machine *m, enum command_kind kind, struct invocation_id caller,
                           uint32_t completion_id, const struct outcome *outcome);
void machine_send_signal(struct machine *m, const struct cmd_signal *signal);
/* Deliver a result to a sink (§5.1 "Reply"): ingress -> action, invocation -> outbox message of kind
 * `message`. `owner` owns what the slices of `outcome` point to. */
void machine_reply(struct machine *m, const struct sink *sink, struct invocation_id id,
                   enum command_kind message, const struct outcome *outcome, struct bytes owner,
                   uint64_t expiry_ms);
/* Resolve a waiting operator request; zero request id: nobody waits. */
void machine_operation_reply(struct machine *m, struct u128 request_id, struct invocation_id id,
                             enum rpc_status status, struct invocation_id new_id);
/* A failure result; the caller drops `*owner`. */
struct outcome machine_failure(uint32_t code, const char *message, struct bytes *owner);

/* ---- timers ---- */
void machine_timer_set(struct machine *m, uint64_t wake_up_ms, enum timer_kind kind, struct invocation_id id,
                       uint32_t index);
/* False if there was no such timer. */
bool machine_timer_delete(struct machine *m, const struct timer_key *key);

/* ---- machine_invoke.c: start and end ---- */
void machine_touch(struct machine *m, struct invocation *inv); /* modified_at */
/* The only way to another status. */
void machine_set_status(struct machine *m, struct invocation *inv, enum invocation_status status);
void machine_start_or_inbox(struct machine *m, struct invocation *inv);
/* To Invoked, with an Invoke action, or to Held; clears what the invocation was waiting for. */
void machine_start_attempt(struct machine *m, struct invocation *inv);
/* The same once it has its slot, if it needs one. */
void machine_begin_attempt(struct machine *m, struct invocation *inv);
/* §5.8: reply to the sinks, retain or delete, pass the lock on. `inv` may be gone afterwards. */
void machine_end(struct machine *m, struct invocation *inv, const struct outcome *result, struct bytes owner);
/* §5.8 pass_lock: the next in the object's inbox starts, or the object is unlocked. */
void machine_pass_lock(struct machine *m, const struct target *t);
/* Completed invocation with everything that hangs on it (§8.3). `inv` is gone afterwards. */
void machine_purge(struct machine *m, struct invocation *inv);
enum rc apply_invoke(struct machine *m, struct err *err);
enum rc apply_proxy_through(struct machine *m, struct err *err);
enum rc apply_attach(struct machine *m, struct err *err);

/* ---- machine_limits.c: an attempt of a scoped invocation needs a slot (§12.5) ---- */
bool machine_take_slot(struct machine *m, struct invocation *inv); /* also if it has one; false: it is held */
/* No attempt any more, nor held: forgets how it backed off, too. */
void machine_leave_slot(struct machine *m, struct invocation *inv);
/* It backs off until e->resume_at_ms and gives its slot back. */
void machine_yield(struct machine *m, struct invocation *inv, const struct effect *e);
/* Held and backing off: it goes on now. `again`: as if for the first time. */
void machine_resume_backoff(struct machine *m, struct invocation *inv, bool again);
/* After each record: start those whose turn it is, up to a bound. */
void machine_admit_held(struct machine *m);
enum rc apply_rule_book(struct machine *m, struct err *err);
enum rc apply_queue(struct machine *m, bool pause, struct err *err);

/* ---- machine_effects.c ---- */
enum rc apply_invoker_effects(struct machine *m, struct err *err);
/* Park an in-flight invocation whose record makes no sense (B2): Paused, marked, with an event that says why.
 */
void machine_quarantine(struct machine *m, struct invocation *inv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void machine_event(struct machine *m, struct invocation *inv, struct bytes json_take);

/* ---- machine_entry.c: one journal entry of an attempt (§5.4) ---- */
/* False if the invocation was quarantined. */
bool machine_entry(struct machine *m, struct invocation *inv, const struct effect *e);

/* ---- machine_notify.c: results and signals that reach an invocation (§5.5, §5.6) ---- */
/* Held before it ever ran: like one in an inbox, it can be dropped. */
static inline bool held_unstarted(const struct invocation *inv)
{
    return inv->status == INV_HELD && inv->at.running_at == 0;
}
static inline bool status_in_flight(enum invocation_status s)
{
    return s == INV_INVOKED || s == INV_SUSPENDED || s == INV_PAUSED || s == INV_HELD;
}
/* Append the notification and tell or wake the invocation, which must be in flight. */
void machine_notify(struct machine *m, struct invocation *inv, uint16_t type,
                    const struct notification_id *id, enum outcome_kind result, struct bytes payload_take);
/* The same, with the payload made from `outcome`. */
void machine_complete(struct machine *m, struct invocation *inv, uint16_t type, uint32_t completion_id,
                      const struct outcome *outcome);
/* Cancel of an in-flight invocation (§8.1): the built-in signal. */
void machine_cancel_in_flight(struct machine *m, struct invocation *inv);
enum rc apply_response(struct machine *m, enum command_kind kind, struct err *err);
enum rc apply_signal(struct machine *m, struct err *err);
enum rc apply_timer(struct machine *m, struct err *err);

/* ---- machine_operate.c (§8) ---- */
/* Cancel (`kill` false) or kill, in whatever status; also reached by the cancel signal. */
void machine_terminate(struct machine *m, struct invocation_id id, bool kill, struct u128 reply_request_id);
enum rc apply_terminate(struct machine *m, struct err *err);
enum rc apply_purge(struct machine *m, bool journal_only, struct err *err);
enum rc apply_pause(struct machine *m, struct err *err);
enum rc apply_resume(struct machine *m, struct err *err);
enum rc apply_restart_as_new(struct machine *m, struct err *err);
/* Preconditions, shared with the leader's checks before proposing. `inv` may be NULL (Free). RPC_OK: go on.
 * `now_ms` decides whether the journal is still retained: the record's time, or the leader's clock. */
enum rpc_status machine_resume_check(const struct invocation *inv, bool repin);
enum rpc_status machine_restart_check(struct partition_store *s, struct invocation *old,
                                      uint32_t copy_prefix_up_to, uint64_t now_ms);

/* ---- machine_state.c: state patches and promises ---- */
enum rc apply_patch_state(struct machine *m, struct err *err);
/* `patch` = an encoded cmd_patch_state. */
void machine_patch_state(struct machine *m, struct bytes patch);
void machine_get_promise(struct machine *m, struct invocation *inv, const struct command_view *c);
void machine_peek_promise(struct machine *m, struct invocation *inv, const struct command_view *c);
void machine_complete_promise(struct machine *m, struct invocation *inv, const struct command_view *c);
void machine_get_lazy_state(struct machine *m, struct invocation *inv, const struct command_view *c);
void machine_get_lazy_state_keys(struct machine *m, struct invocation *inv, const struct command_view *c);

/* ---- futures.c (§5.7) ---- */
/* Does this one notification, just stored, decide what the invocation waits for? */
bool awaiting_decided_by(struct partition_store *s, struct invocation *inv, const struct notification_id *id);
/* Has it at least one leaf, and is it well-formed? */
bool awaiting_valid(const struct awaiting *awaiting);

static inline uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
static inline uint64_t retained_until(const struct invocation *inv)
{
    return add_saturating(inv->at.completed_at, inv->si.completion_retention_ms);
}
static inline uint64_t journal_retained_until(const struct invocation *inv)
{
    return add_saturating(inv->at.completed_at, inv->si.journal_retention_ms);
}

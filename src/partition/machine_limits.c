/* Concurrency limits of scopes (spec/invocation-lifecycle.md §12.5): an attempt of a scoped invocation needs
 * a slot; without one the invocation is held. Decided while applying, so a decision costs no record and the
 * limits hold exactly, whoever leads.
 */
#include "partition/limits_mutations.h"
#include "partition/machine_internal.h"

/* Held invocations started by one record: a rule that goes may free any number. */
#define ADMIT_MAX 256

bool machine_take_slot(struct machine *m, struct invocation *inv)
{
    bool woken = inv->at.running_at != 0;
    if (inv->inbox_seq == 0) { /* its place among all, for good */
        inv->inbox_seq = MAX(m->vars->inbox_seq, 1u);
        m->vars->inbox_seq = inv->inbox_seq + 1;
    }
    return store_slot_enter(m->store, inv, woken);
}

static void forget_retry(struct machine *m, struct invocation *inv)
{
    if (inv->backoff.resume_at_ms)
        machine_timer_delete(
            m,
            &(struct timer_key){.wake_up_ms = inv->backoff.resume_at_ms, .kind = TIMER_RETRY, .id = inv->id});
    inv->backoff.resume_at_ms = 0;
}

static void give_back(struct machine *m, struct invocation *inv)
{
    if (LIMITS_BROKEN(SUSPENDED_KEEPS) && inv->status == INV_SUSPENDED)
        return;
    if (LIMITS_BROKEN(DROPPED_WAITS) && inv->status == INV_HELD)
        return;
    if (inv->si.target.scope.ptr)
        store_slot_leave(m->store, inv->id);
}

void machine_leave_slot(struct machine *m, struct invocation *inv)
{
    give_back(m, inv);
    forget_retry(m, inv);
    inv->backoff.retries = inv->backoff.retries_since_command = 0;
}

void machine_yield(struct machine *m, struct invocation *inv, const struct effect *e)
{
    machine_set_status(m, inv, INV_HELD);
    give_back(m, inv);
    inv->queue.errors++;
    inv->queue.backing_off = true;
    inv->backoff.resume_at_ms = e->resume_at_ms;
    inv->backoff.retries = e->retries;
    inv->backoff.retries_since_command = e->retries_since_command;
    machine_timer_set(m, e->resume_at_ms, TIMER_RETRY, inv->id, 0);
    machine_touch(m, inv);
}

void machine_resume_backoff(struct machine *m, struct invocation *inv, bool again)
{
    ASSERT(inv->status == INV_HELD && inv->backoff.resume_at_ms);
    forget_retry(m, inv);
    if (again)
        inv->backoff.retries = inv->backoff.retries_since_command = 0;
    machine_start_attempt(m, inv);
}

void machine_admit_held(struct machine *m)
{
    struct invocation_id id;
    for (int i = LIMITS_BROKEN(NOBODY_NEXT) ? ADMIT_MAX : 0; i < ADMIT_MAX && store_slot_next(m->store, &id);
         i++) {
        struct invocation *inv = store_invocation_get(m->store, id);
        if (!inv || inv->status != INV_HELD) { /* contradicts the table; its slot must not be lost */
            store_slot_leave(m->store, id);
            continue;
        }
        machine_begin_attempt(m, inv);
        store_invocation_changed(m->store, inv);
    }
}

enum rc apply_rule_book(struct machine *m, struct err *err)
{
    struct cmd_rule_book c;
    struct reader r = reader_make(m->body);
    if (!cmd_rule_book_read(&r, &c))
        return machine_undecodable(m, CMD_RULE_BOOK, err);
    if (c.version <= store_rules_version(m->store))
        return RC_OK;
    struct bytes encoded = bytes_part(m->record, m->body);
    bytes_compact(&encoded);
    store_rules_set(m->store, c.version, encoded);
    bytes_unref(&encoded);
    return RC_OK;
}

/* Who of a resumed queue may start does so at the end of the record, like after any other. */
enum rc apply_queue(struct machine *m, bool pause, struct err *err)
{
    struct cmd_target_id c;
    struct reader r = reader_make(m->body);
    if (!cmd_target_id_read(&r, &c))
        return machine_undecodable(m, pause ? CMD_PAUSE_QUEUE : CMD_RESUME_QUEUE, err);
    enum rpc_status status = RPC_OK;
    if (!pause)
        store_queue_resume(m->store, c.id);
    else if (!store_queue_pause(m->store, c.id))
        status = RPC_QUEUES_FULL;
    machine_operation_reply(m, c.reply_request_id, c.id, status, (struct invocation_id){0});
    return RC_OK;
}

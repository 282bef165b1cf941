/* Results and signals that reach an invocation: completions of its commands, signals, timers
 * (spec/invocation-lifecycle.md §5.2, §5.5, §5.6, §8.1). */
#include "partition/machine_internal.h"

void machine_notify(struct machine *m, struct invocation *inv, uint16_t type,
                    const struct notification_id *id, enum outcome_kind result, struct bytes payload_take)
{
    ASSERT(status_in_flight(inv->status));
    struct journal_entry e = {
        .type = type,
        .result = (uint8_t)(result == OUTCOME_NONE ? OUTCOME_SUCCESS : result),
        .notification_kind = (uint8_t)id->kind,
        .completion_id = id->kind == NOTIFICATION_NAMED_SIGNAL ? 0 : id->index,
        .appended_at_ms = m->now_ms,
        .payload = payload_take,
        .signal_name = id->kind == NOTIFICATION_NAMED_SIGNAL ? id->name : SLICE_EMPTY,
    };
    uint32_t index = store_journal_append(m->store, inv, &e);
    machine_touch(m, inv);
    switch (inv->status) {
    case INV_INVOKED:
        machine_action_index(m, ACTION_FORWARD_NOTIFICATION, inv->id, index);
        break;
    case INV_SUSPENDED:
        if (awaiting_decided_by(m->store, inv, id))
            machine_start_attempt(m, inv);
        break;
    case INV_HELD: /* stored; one that backs off is woken by a cancel */
        if (inv->backoff.resume_at_ms && id->kind == NOTIFICATION_SIGNAL && id->index == SIGNAL_INDEX_CANCEL)
            machine_resume_backoff(m, inv, false);
        break;
    case INV_PAUSED: /* stored, but only a cancel wakes it */
        if (id->kind == NOTIFICATION_SIGNAL && id->index == SIGNAL_INDEX_CANCEL)
            machine_start_attempt(m, inv);
        break;
    default:
        break;
    }
}

/* Appends a notification whose payload is made here, so that `id->name` may point into another buffer. */
static void notify_outcome(struct machine *m, struct invocation *inv, uint16_t type,
                           const struct notification_id *id, const struct outcome *outcome)
{
    struct writer w = WRITER_INIT;
    writer_init(&w, 32 + id->name.len + outcome->value.len);
    notification_write(&w, id, outcome);
    struct bytes payload = writer_take(&w);
    struct notification_id stored = *id;
    if (id->kind == NOTIFICATION_NAMED_SIGNAL) {
        struct notification_view view;
        bool ok =
            notification_decode(bytes_slice(payload), &view); /* the name must live as long as the payload */
        ASSERT(ok);
        stored.name = view.id.name;
    }
    machine_notify(m, inv, type, &stored, outcome->kind, payload);
}

void machine_complete(struct machine *m, struct invocation *inv, uint16_t type, uint32_t completion_id,
                      const struct outcome *outcome)
{
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = completion_id};
    notify_outcome(m, inv, type, &id, outcome);
}

void machine_cancel_in_flight(struct machine *m, struct invocation *inv)
{
    struct notification_id id = {.kind = NOTIFICATION_SIGNAL, .index = SIGNAL_INDEX_CANCEL};
    notify_outcome(m, inv, MSG_N_SIGNAL, &id, &(struct outcome){.kind = OUTCOME_VOID});
}

/* May a result of this kind complete this command? Anything else is a leftover of an earlier invocation with
 * the same derived id. */
static bool response_fits(const struct journal_entry *command, uint32_t completion_id, enum outcome_kind kind)
{
    if (command->completion_id != completion_id)
        return false;
    switch (command->type) {
    case MSG_CALL:
    case MSG_ATTACH:
    case MSG_GET_PROMISE:
        return kind == OUTCOME_SUCCESS || kind == OUTCOME_FAILURE;
    case MSG_GET_OUTPUT:
        return kind != OUTCOME_NONE;
    case MSG_SLEEP:
        return kind == OUTCOME_VOID;
    default:
        return false;
    }
}

enum rc apply_response(struct machine *m, enum command_kind kind, struct err *err)
{
    struct cmd_invocation_response c;
    struct reader r = reader_make(m->body);
    if (!cmd_invocation_response_read(&r, &c))
        return machine_undecodable(m, kind, err);
    struct invocation *inv = store_invocation_get(m->store, c.caller);
    if (!inv || !status_in_flight(inv->status))
        return RC_OK;
    ptrdiff_t index = store_find_command(m->store, inv, c.completion_id);
    if (index < 0)
        return RC_OK; /* a leftover, see response_fits; harmless (spec/service-protocol.md §13) */
    store_journal_load(m->store, inv);
    const struct journal_entry *command = &inv->journal.items[index];
    if (!response_fits(command, c.completion_id, c.outcome.kind))
        return RC_OK;
    machine_complete(m, inv, notification_type_for(command->type), c.completion_id, &c.outcome);
    store_invocation_changed(m->store, inv);
    return RC_OK;
}

enum rc apply_signal(struct machine *m, struct err *err)
{
    struct cmd_signal c;
    struct reader r = reader_make(m->body);
    if (!cmd_signal_read(&r, &c))
        return machine_undecodable(m, CMD_SIGNAL, err);
    if (!c.named && c.index == SIGNAL_INDEX_CANCEL) {
        machine_terminate(m, c.id, false, (struct u128){0});
        return RC_OK;
    }
    struct invocation *inv = store_invocation_get(m->store, c.id);
    if (!inv || !status_in_flight(inv->status))
        return RC_OK;
    struct notification_id id = {
        .kind = c.named ? NOTIFICATION_NAMED_SIGNAL : NOTIFICATION_SIGNAL,
        .index = c.index,
        .name = c.name,
    };
    notify_outcome(m, inv, MSG_N_SIGNAL, &id, &c.outcome);
    store_invocation_changed(m->store, inv);
    return RC_OK;
}

enum rc apply_timer(struct machine *m, struct err *err)
{
    struct timer_key key;
    struct reader r = reader_make(m->body);
    if (!timer_key_read(&r, &key))
        return machine_undecodable(m, CMD_TIMER, err);
    if (!machine_timer_delete(m, &key))
        return RC_OK; /* fired or removed before */
    struct invocation *inv = store_invocation_get(m->store, key.id);
    if (!inv)
        return RC_OK;
    switch (key.kind) {
    case TIMER_INVOKE:
        if (inv->status != INV_SCHEDULED)
            return RC_OK;
        machine_start_or_inbox(m, inv);
        break;
    case TIMER_SLEEP:
        if (!status_in_flight(inv->status))
            return RC_OK;
        machine_complete(m, inv, MSG_N_SLEEP, key.index, &(struct outcome){.kind = OUTCOME_VOID});
        break;
    case TIMER_RETRY:
        if (inv->status != INV_HELD || inv->backoff.resume_at_ms != key.wake_up_ms)
            return RC_OK;
        machine_resume_backoff(m, inv, false);
        break;
    case TIMER_CLEANUP:
        if (inv->status == INV_COMPLETED && retained_until(inv) <= m->now_ms)
            machine_purge(m, inv);
        return RC_OK;
    }
    store_invocation_changed(m->store, inv);
    return RC_OK;
}

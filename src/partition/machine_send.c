/* What leaves the machine while a record is applied: actions for the leader, messages for the outbox, replies
 * to sinks, timers. */
#include <stdlib.h>

#include "partition/machine_internal.h"

void actions_clear(struct actions *a)
{
    for (size_t i = 0; i < a->len; i++) {
        bytes_unref(&a->items[i].outcome_bytes);
        bytes_unref(&a->items[i].origin);
    }
    a->len = 0;
}

void actions_free(struct actions *a)
{
    actions_clear(a);
    VEC_FREE(a);
}

struct action *machine_action(struct machine *m, enum action_kind kind, struct invocation_id id)
{
    struct actions *a = m->actions;
    if (!a)
        return NULL;
    VEC_PUSH(a, ((struct action){.kind = kind, .id = id}));
    return &a->items[a->len - 1];
}

void machine_action_index(struct machine *m, enum action_kind kind, struct invocation_id id, uint32_t index)
{
    struct action *a = machine_action(m, kind, id);
    if (a)
        a->index = index;
}

void machine_send(struct machine *m, uint64_t partition_key, enum command_kind kind, struct writer *w)
{
    struct bytes record = writer_take(w);
    /* The header is final here, so that the shuffle ships this very buffer: its index is the deduplication
     * sequence. */
    struct record_header h = {
        .version = RECORD_VERSION,
        .kind = (uint8_t)kind,
        .dedup = DEDUP_FOREIGN,
        .created_at_ms = m->now_ms,
        .key_start = partition_key,
        .key_end = partition_key,
        .producer = {0, m->partition_id},
        .seq_lo = m->vars->outbox_seq,
    };
    record_header_put((uint8_t *)record.ptr, &h);
    uint64_t seq = store_outbox_push(m->store, partition_key, kind, record);
    ASSERT(seq == h.seq_lo);
    struct action *a = machine_action(m, ACTION_OUTBOX, (struct invocation_id){0});
    if (a)
        a->seq = seq;
}

void machine_send_response(struct machine *m, enum command_kind kind, struct invocation_id caller,
                           uint32_t completion_id, const struct outcome *outcome)
{
    struct cmd_invocation_response c = {
        .caller = caller, .completion_id = completion_id, .outcome = *outcome};
    c.outcome.stacktrace =
        SLICE_EMPTY; /* callers get code, message and metadata only (spec/service-protocol.md §7.1) */
    struct writer w = WRITER_INIT;
    record_begin(&w, 64 + outcome->value.len);
    cmd_invocation_response_write(&w, &c);
    machine_send(m, caller.partition_key, kind, &w);
}

void machine_send_signal(struct machine *m, const struct cmd_signal *signal)
{
    struct writer w = WRITER_INIT;
    record_begin(&w, 64 + signal->name.len + signal->outcome.value.len);
    cmd_signal_write(&w, signal);
    machine_send(m, signal->id.partition_key, CMD_SIGNAL, &w);
}

void machine_reply(struct machine *m, const struct sink *sink, struct invocation_id id,
                   enum command_kind message, const struct outcome *outcome, struct bytes owner,
                   uint64_t expiry_ms)
{
    switch (sink->kind) {
    case SINK_NONE:
        return;
    case SINK_INVOCATION:
        machine_send_response(m, message, sink->caller, sink->completion_id, outcome);
        return;
    case SINK_INGRESS: {
        struct action *a = machine_action(m, ACTION_RESPONSE, id);
        if (!a)
            return;
        a->request_id = sink->request_id;
        a->outcome = *outcome;
        a->outcome_bytes = bytes_ref(owner);
        a->expiry_ms = expiry_ms;
        return;
    }
    }
}

void machine_operation_reply(struct machine *m, struct u128 request_id, struct invocation_id id,
                             enum rpc_status status, struct invocation_id new_id)
{
    if (request_id.hi == 0 && request_id.lo == 0)
        return;
    struct action *a = machine_action(m, ACTION_OPERATION_REPLY, id);
    if (!a)
        return;
    a->request_id = request_id;
    a->status = status;
    a->new_id = new_id;
}

struct outcome machine_failure(uint32_t code, const char *message, struct bytes *owner)
{
    struct writer w = WRITER_INIT;
    failure_write(&w, code, slice_cstr(message));
    *owner = writer_take(&w);
    return (struct outcome){.kind = OUTCOME_FAILURE, .value = bytes_slice(*owner)};
}

void machine_timer_set(struct machine *m, uint64_t wake_up_ms, enum timer_kind kind, struct invocation_id id,
                       uint32_t index)
{
    struct timer_key key = {.wake_up_ms = wake_up_ms, .kind = kind, .id = id, .index = index};
    store_timer_put(m->store, &key);
    struct action *a = machine_action(m, ACTION_TIMER_REGISTERED, id);
    if (a)
        a->timer = key;
}

bool machine_timer_delete(struct machine *m, const struct timer_key *key)
{
    bool existed = store_timer_delete(m->store, key);
    /* Also when it was gone already: the leader forgets the timer it proposed. */
    struct action *a = machine_action(m, ACTION_TIMER_DELETED, key->id);
    if (a)
        a->timer = *key;
    return existed;
}

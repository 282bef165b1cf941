/* One message from the SDK (spec/service-protocol.md §4.2, §6.3, §8, §13): validated completely, then turned
 * into an effect. */
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "invoker/invoker_internal.h"
#include "invoker/rt_codes.h"

static bool violation(struct attempt *a, const char *what)
{
    attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL, "%s", what);
    return false;
}

#define MALFORMED "not a valid protobuf message"

static bool undecodable(struct attempt *a, uint16_t type, const char *reason)
{
    attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL,
                  "message encoding error: cannot decode message type %s%s. Reason: %s",
                  message_type_name(type), message_is_command(type) ? "Command" : "", reason);
    return false;
}

/* Pin before the first entry (§3.1). */
static struct writer *effects_after_pin(struct attempt *a)
{
    struct writer *w = entry_effects(a->entry);
    if (!a->pinned) {
        struct effect pin = {
            .kind = EFFECT_PIN_DEPLOYMENT, .deployment_id = a->ep->id, .protocol_version = a->version};
        effect_write(w, &pin);
        a->pinned = true;
    }
    return w;
}

/* ---- eager state: values the log already has are not written again ---- */

static uint64_t state_key_hash(struct slice key)
{
    return hash64(key);
}

static void note_write(struct attempt *a, const struct command_view *c)
{
    uint64_t batch = a->entry->batch, hash = state_key_hash(c->key);
    if (c->type == MSG_CLEAR_ALL_STATE) {
        a->last_clear_all_batch = batch;
        return;
    }
    for (uint32_t i = 0; i < a->n_writes; i++) {
        if (a->writes[i].key_hash == hash || a->writes[i].batch <= a->entry->applied) {
            a->writes[i] = (struct pending_write){hash, batch};
            return;
        }
    }
    if (a->n_writes < PENDING_WRITES_MAX)
        a->writes[a->n_writes++] = (struct pending_write){hash, batch};
    else
        a->writes_overflow = true;
}

/* May a write of this attempt to the key still be on its way into the store? */
static bool write_pending(const struct attempt *a, struct slice key)
{
    uint64_t applied = a->entry->applied, hash = state_key_hash(key);
    if (a->last_clear_all_batch > applied || a->writes_overflow)
        return true;
    for (uint32_t i = 0; i < a->n_writes; i++)
        if (a->writes[i].key_hash == hash && a->writes[i].batch > applied)
            return true;
    return false;
}

#define VALUE_FROM_STATE_MIN 64 /* below it the bytes saved are not worth the lookup */
#define EAGER_STATE_VALUE    14

/* GetEagerState: may the state machine take the value from the object's state instead of the record? Exact
 * only if nobody else writes this state between now and the apply: the invocation holds the object's lock
 * (exclusive handlers; the state of a workflow is not locked and may be patched), and none of its own writes
 * to the key is in flight. Then the stored value now is the value at apply time, and it must equal what the
 * SDK reports. The message is cut before its value, which must be its last field in the encoding that the
 * state machine rebuilds. */
static bool value_is_in_state(struct attempt *a, const struct command_view *c, struct slice *without_value)
{
    struct entry *e = a->entry;
    if (a->kind != TARGET_OBJECT_EXCLUSIVE || c->value.kind != OUTCOME_SUCCESS ||
        c->value.value.len < VALUE_FROM_STATE_MIN || write_pending(a, c->key))
        return false;
    size_t inner = pb_len_field_size(1, c->value.value.len);
    size_t tail = pb_len_field_size(EAGER_STATE_VALUE, inner);
    if (tail > c->payload.len || c->value.value.ptr + c->value.value.len != c->payload.ptr + c->payload.len)
        return false;
    struct slice head = slice_sub(c->payload, 0, c->payload.len - tail);
    struct reader r = reader_make(head);
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == EAGER_STATE_VALUE)
            return false;
    if (!reader_done(&r))
        return false;

    struct invocation *inv = e->p->ops->invocation(e->p->ctx, e->id);
    struct bytes stored;
    if (!inv)
        return false;
    struct object_name o = object_name_of(&inv->si.target);
    bool found = store_state_get(e->p->ops->store(e->p->ctx), o.service, o.key, c->key, &stored);
    object_name_free(&o);
    if (!found)
        return false;
    bool equal = slice_eq(bytes_slice(stored), c->value.value);
    bytes_unref(&stored);
    *without_value = head;
    return equal;
}

/* ---- commands ---- */

static bool on_command(struct attempt *a, const struct frame_header *h, struct slice payload)
{
    struct entry *e = a->entry;
    struct command_view c;
    struct err err = {0};
    const struct schema_cell *cell = a->inv->cell;
    struct command_context ctx = {cell->schema, &cell->defaults,       a->inv->env,
                                  a->kind,      a->inv->config.scopes, a->inv->config.scoped_objects};
    struct effect effect = {.kind = EFFECT_ENTRY, .entry_type = h->type, .ack = h->ack, .payload = payload};
    const char *doc_code;
    enum rc rc = command_prepare(&ctx, h->type, payload, &c, &effect, &doc_code, &err);
    if (rc == RC_CONFLICT) {
        attempt_failf(
            a, CODE_INTERNAL, doc_code,
            "cannot process command Command: %s (command index %u) because of a failed precondition: %s",
            message_type_name(h->type), a->next_command_index, err.msg);
        return false;
    }
    if (rc != RC_OK)
        return undecodable(a, h->type, err.msg);

    if (h->type == MSG_GET_EAGER_STATE)
        effect.value_from_state = value_is_in_state(a, &c, &effect.payload);
    if (!effect.value_from_state)
        effect.payload = payload;
    struct writer context = WRITER_INIT;
    if (a->trace && effect.has_callee) {
        attempt_trace_callee(a, h->type == MSG_ONE_WAY_CALL, &context);
        effect.callee.trace_context = writer_slice(&context);
    }
    effect_write(effects_after_pin(a), &effect);
    e->actions++;
    writer_free(&context);
    attempt_trace_command(a, h->type, c.name);
    invoker_metrics_command(&a->inv->metrics, h->type);

    if (h->type == MSG_SET_STATE || h->type == MSG_CLEAR_STATE || h->type == MSG_CLEAR_ALL_STATE)
        note_write(a, &c);
    if (h->type == MSG_OUTPUT)
        a->has_output = true;
    a->next_command_index++;
    e->retries_since_command = 0;
    e->last_emitted = false;
    return true;
}

static bool on_propose_run(struct attempt *a, const struct frame_header *h, struct slice payload)
{
    struct propose_run_view view;
    if (!propose_run_decode(payload, &view))
        return undecodable(a, h->type, MALFORMED);
    if (view.outcome.kind == OUTCOME_NONE)
        return violation(a, "malformed ProposeRunCompletionMessage, missing result field");
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = view.completion_id};
    struct writer *w = &a->inv->scratch;
    writer_reset(w);
    notification_write(w, &id, &view.outcome);
    struct effect effect = {.kind = EFFECT_ENTRY, .entry_type = MSG_N_RUN, .payload = writer_slice(w)};
    effect_write(effects_after_pin(a), &effect);
    a->entry->actions++;
    attempt_trace_event(a, "run_ended");
    if (h->ack && a->version >= 7)
        VEC_PUSH(&a->run_acks, view.completion_id);
    return true;
}

/* ---- terminal messages ---- */

static bool on_end(struct attempt *a, struct slice payload)
{
    if (!pb_valid(payload))
        return undecodable(a, MSG_END, MALFORMED);
    if (!a->has_output)
        return violation(a, "received unexpected message: End without an Output command");
    struct effect effect = {.kind = EFFECT_END};
    effect_write(entry_effects(a->entry), &effect);
    a->entry->effects_terminal = true;
    attempt_trace_end(a, SPAN_OK, SLICE_EMPTY, "");
    attempt_metrics_end(a, TASK_COMPLETED);
    attempt_decided(a);
    return false;
}

static bool future_refused(struct attempt *a, uint16_t type, enum rc rc, struct slice payload)
{
    if (rc != RC_TOO_LARGE && payload.len == 0)
        return violation(a, type == MSG_SUSPENSION ? "got empty SuspensionMessage"
                                                   : "got empty AwaitingOnMessage");
    if (rc != RC_TOO_LARGE)
        return undecodable(a, type, "the future is malformed or empty");
    char text[96];
    int n = snprintf(text, sizeof(text), "maximum awaited future depth limit of %u has been reached.",
                     a->inv->config.max_awaited_future_depth);
    struct failure f = {.code = CODE_INTERNAL, .doc_code = RT_FUTURE_DEPTH, .behavior = FAILURE_PAUSE};
    f.message = slice_make(text, (size_t)n);
    attempt_fail(a, &f);
    return false;
}

static bool suspend(struct attempt *a, enum effect_kind kind, struct slice awaiting)
{
    struct entry *e = a->entry;
    if (e->pause_requested) { /* §8.5 of the lifecycle: the operator asked for this */
        entry_propose_paused(e, NULL);
    } else {
        struct effect effect = {.kind = kind, .payload = awaiting};
        effect_write(entry_effects(e), &effect);
        e->effects_terminal = true;
    }
    attempt_trace_event(a, "suspended");
    attempt_trace_end(a, SPAN_UNSET, SLICE_EMPTY, "");
    attempt_metrics_end(a, TASK_SUSPENDED);
    attempt_decided(a);
    return false;
}

static bool on_suspension(struct attempt *a, struct slice payload)
{
    if (a->version >= 7) {
        struct slice future;
        enum rc rc = future_decode(payload, 4, a->inv->config.max_awaited_future_depth, &future);
        if (rc != RC_OK)
            return future_refused(a, MSG_SUSPENSION, rc, payload);
        return suspend(a, EFFECT_SUSPEND_TREE, future);
    }
    struct writer *ids = &a->inv->scratch;
    writer_reset(ids);
    size_t count = 0;
    if (!suspension_decode(payload, ids, &count))
        return undecodable(a, MSG_SUSPENSION, MALFORMED);
    if (count == 0)
        return undecodable(a, MSG_SUSPENSION, "it waits for nothing");
    if (a->entry->pause_requested)
        return suspend(a, EFFECT_SUSPEND, SLICE_EMPTY);
    return suspend(a, EFFECT_SUSPEND, writer_slice(ids));
}

static const char *doc_code_of(uint32_t code)
{
    if (code == CODE_JOURNAL_MISMATCH)
        return RT_JOURNAL_MISMATCH;
    return code == CODE_PROTOCOL_VIOLATION ? RT_PROTOCOL : RT_HANDLER_ERROR;
}

static bool on_error(struct attempt *a, struct slice payload)
{
    struct error_view v;
    if (!error_decode(payload, &v))
        return undecodable(a, MSG_ERROR, MALFORMED);
    struct failure f = {
        .code = failure_code(v.code),
        .doc_code = doc_code_of(v.code),
        .message = v.message,
        .stacktrace = v.stacktrace,
        .has_command_index = v.has_command_index,
        .command_index = v.command_index,
        .has_command_name = v.has_command_name,
        .command_name = v.command_name,
        .command_type = v.has_command_type && v.command_type <= UINT16_MAX ? v.command_type : 0,
        .has_delay = v.has_next_retry_delay,
        .delay_ms = v.next_retry_delay_ms,
        .behavior = v.behavior == 1   ? FAILURE_PAUSE
                    : v.behavior == 2 ? FAILURE_FAIL
                                      : FAILURE_RETRY,
    };
    attempt_fail(a, &f);
    return false;
}

#define AWAITING_ON_KEPT 1024 /* it is for introspection, and every running invocation has one */

static bool on_awaiting(struct attempt *a, struct slice payload)
{
    struct slice future;
    enum rc rc = future_decode(payload, 1, a->inv->config.max_awaited_future_depth, &future);
    if (rc != RC_OK)
        return future_refused(a, MSG_AWAITING_ON, rc, payload);
    writer_reset(&a->entry->awaiting_on);
    if (future.len <= AWAITING_ON_KEPT)
        write_slice_raw(&a->entry->awaiting_on, future);
    return true;
}

/* ---- dispatch ---- */

static bool unexpected(struct attempt *a, uint16_t type)
{
    const char *name = message_type_name(type);
    const char *kind = type == MSG_N_SIGNAL            ? "Notification"
                       : message_is_notification(type) ? "CompletionNotification"
                                                       : "";
    if (name)
        attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL, "received unexpected message: %s%s", name, kind);
    else
        attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL,
                      "message encoding error: unknown protocol.message code 0x%X", type);
    return false;
}

bool attempt_on_frame(void *ctx, const struct frame_header *h, struct slice payload)
{
    struct attempt *a = ctx;
    if (a->inv->config.message_size_warning > 0 && payload.len >= a->inv->config.message_size_warning)
        LOG0(LOG_WARN, "restate_invoker",
             "received a message of %zu bytes from the endpoint, above message-size-warning", payload.len);
    switch (h->type) {
    case MSG_END:
        return on_end(a, payload);
    case MSG_SUSPENSION:
        return on_suspension(a, payload);
    case MSG_ERROR:
        return on_error(a, payload);
    case MSG_PROPOSE_RUN:
        return on_propose_run(a, h, payload);
    case MSG_AWAITING_ON:
        return on_awaiting(a, payload);
    default:
        if (message_is_command(h->type))
            return on_command(a, h, payload);
        return unexpected(a, h->type);
    }
}

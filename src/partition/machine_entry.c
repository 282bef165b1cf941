/* One journal entry of an attempt: stored verbatim, then its effect (spec/invocation-lifecycle.md §5.4,
 * spec/service-protocol.md §7). The invoker has validated the entry before proposing it; what does not decode
 * or may not be here quarantines the invocation. */
#include "partition/machine_internal.h"
#include "wire/scope.h"

/* ---- calls ---- */

static size_t value_size(struct slice content)
{
    return content.len ? pb_len_field_size(1, content.len) : 0;
}

/* InputCommandMessage of the callee: exactly the headers of the command, then its parameter. Written straight
 * into the record. */
static size_t callee_input_size(const struct command_view *c)
{
    size_t size = pb_len_field_size(14, value_size(c->parameter));
    struct reader r = reader_make(c->payload);
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == c->header_field)
            size += pb_len_field_size(1, f.bytes.len);
    return size;
}

static void callee_input_write(struct writer *w, const struct command_view *c)
{
    struct reader r = reader_make(c->payload);
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == c->header_field)
            pb_write_bytes_always(w, 1, f.bytes);
    pb_write_len_header(w, 14, value_size(c->parameter));
    pb_write_bytes(w, 1, c->parameter);
}

static void send_call(struct machine *m, struct invocation *inv, const struct command_view *c,
                      const struct callee *callee)
{
    struct service_invocation si = {
        .id = callee->id,
        .target = {.kind = callee->kind, .service = c->service, .handler = c->handler},
        .source = SOURCE_SERVICE,
        .source_id = inv->id,
        .source_target = inv->si.target,
        .execution_time_ms = c->type == MSG_ONE_WAY_CALL ? c->time_ms : 0,
        .completion_retention_ms = callee->completion_retention_ms,
        .journal_retention_ms = callee->journal_retention_ms,
        .traceparent = callee->trace_context.len ? callee->trace_context : inv->si.traceparent,
        .created_using = inv->si.created_using,
    };
    if (target_is_keyed(callee->kind))
        si.target.key = c->key.ptr ? c->key : SLICE_LIT("");
    if (c->has_scope)
        si.target.scope = c->scope;
    if (c->has_idempotency_key)
        si.idempotency_key = c->idempotency_key;
    if (c->has_limit_key)
        si.limit_key = limit_key_trim(c->limit_key);
    if (c->type == MSG_CALL)
        si.response_sink =
            (struct sink){.kind = SINK_INVOCATION, .caller = inv->id, .completion_id = c->completion_id};
    struct writer w = WRITER_INIT;
    record_begin(&w, 256 + c->payload.len + inv->si.target.key.len);
    service_invocation_write_head(&w, &si, callee_input_size(c));
    callee_input_write(&w, c);
    machine_send(m, callee->id.partition_key, CMD_INVOKE, &w);

    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = c->invocation_id_completion_id};
    writer_init(&w, 64);
    notification_invocation_id_write(&w, id.index, callee->id);
    machine_notify(m, inv, MSG_N_CALL_INVOCATION_ID, &id, OUTCOME_SUCCESS, writer_take(&w));
}

static void send_attach(struct machine *m, struct invocation *inv, const struct command_view *c,
                        struct invocation_id target)
{
    struct cmd_attach attach = {
        .id = target,
        .block = c->type == MSG_ATTACH,
        .sink = {.kind = SINK_INVOCATION, .caller = inv->id, .completion_id = c->completion_id},
    };
    struct writer w = WRITER_INIT;
    record_begin(&w, 96);
    cmd_attach_write(&w, &attach);
    machine_send(m, target.partition_key, CMD_ATTACH, &w);
}

/* ---- signals ---- */

static bool send_signal(struct machine *m, const struct command_view *c)
{
    struct cmd_signal s = {
        .named = c->signal_named, .index = c->signal_index, .name = c->signal_name, .outcome = c->value};
    if (invocation_id_parse(c->target_id, &s.id) != ID_OK)
        return false;
    machine_send_signal(m, &s);
    return true;
}

static bool complete_awakeable(struct machine *m, const struct command_view *c)
{
    struct awakeable_id awakeable;
    if (awakeable_id_parse(c->target_id, &awakeable) != ID_OK)
        return false;
    /* The old form names a journal entry of a protocol 3 invocation; this server has none, so nobody waits
     * for it. */
    if (awakeable.is_promise)
        return true;
    struct cmd_signal s = {.id = awakeable.invocation, .index = awakeable.index, .outcome = c->value};
    machine_send_signal(m, &s);
    return true;
}

/* ---- state ---- */

/* From this size on, the bytes in front of a state value make it the payload of a GetEagerState command:
 * reading it again stores a reference instead of a copy (principle 4). */
#define EAGER_LAYOUT_MIN 4096

/* Everything of a GetEagerState payload up to the content: the command without its value, then 14 Value{1
 * content}. */
static void eager_prefix_write(struct writer *w, struct slice without_value, size_t content_len)
{
    write_slice_raw(w, without_value);
    pb_write_len_header(w, 14, content_len ? pb_len_field_size(1, content_len) : 0);
    if (content_len)
        pb_write_len_header(w, 1, content_len);
}

static void set_state(struct machine *m, const struct target *t, const struct command_view *c)
{
    struct bytes value;
    if (c->value.value.len < EAGER_LAYOUT_MIN) {
        value = bytes_part(m->record, c->value.value);
        bytes_compact(&value); /* state outlives the record it came with */
    } else {
        struct writer key = WRITER_INIT, w = WRITER_INIT;
        pb_write_bytes(&key, 1, c->key);
        writer_init(&w, key.len + 32 + c->value.value.len);
        eager_prefix_write(&w, writer_slice(&key), c->value.value.len);
        write_slice_raw(&w, c->value.value);
        writer_free(&key);
        struct bytes whole = writer_take(&w);
        value = bytes_part(whole,
                           slice_sub(bytes_slice(whole), whole.len - c->value.value.len, c->value.value.len));
        bytes_unref(&whole);
    }
    struct object_name o = object_name_of(t);
    store_state_put(m->store, o.service, o.key, c->key, value);
    object_name_free(&o);
}

static void clear_state(struct machine *m, const struct target *t, const struct command_view *c)
{
    struct object_name o = object_name_of(t);
    if (c->type == MSG_CLEAR_ALL_STATE)
        store_state_clear_all(m->store, o.service, o.key);
    else
        store_state_clear(m->store, o.service, o.key, c->key);
    object_name_free(&o);
}

/* The payload made of `prefix` and `value` (consumed): by reference if the one stands in front of the other
 * already. */
static struct bytes join_value(struct slice prefix, struct bytes value)
{
    if (value.owner && value.len >= EAGER_LAYOUT_MIN &&
        (size_t)(value.ptr - value.owner->data) >= prefix.len &&
        memcmp(value.ptr - prefix.len, prefix.ptr, prefix.len) == 0)
        return (struct bytes){value.ptr - prefix.len, prefix.len + value.len, value.owner};
    struct writer w = WRITER_INIT;
    writer_init(&w, prefix.len + value.len + 1);
    write_slice_raw(&w, prefix);
    write_slice_raw(&w, bytes_slice(value));
    bytes_unref(&value);
    return writer_take(&w);
}

/* GetEagerState as the invoker proposes it: the payload without its value, which the object's state provides.
 * The value is field 13 or 14, behind everything else. */
static struct bytes eager_state_payload(struct machine *m, const struct target *t, const struct effect *e)
{
    struct reader r = reader_make(e->payload);
    struct pb_field f;
    struct slice key = SLICE_EMPTY;
    while (pb_next(&r, &f))
        if (f.number == 1 && f.wire == PB_LEN)
            key = f.bytes;
    struct bytes value = BYTES_EMPTY;
    struct writer prefix = WRITER_INIT;
    struct object_name o = object_name_of(t);
    if (target_is_keyed(t->kind) && store_state_get(m->store, o.service, o.key, key, &value)) {
        eager_prefix_write(&prefix, e->payload, value.len);
    } else {
        write_slice_raw(&prefix, e->payload);
        pb_write_len_header(&prefix, 13, 0);
    }
    struct bytes payload = join_value(writer_slice(&prefix), value);
    writer_free(&prefix);
    object_name_free(&o);
    return payload;
}

/* ---- the entry ---- */

/* Preconditions the invoker has checked (spec/service-protocol.md §7); NULL if they hold. */
static const char *refused(const struct target *t, const struct effect *e)
{
    switch (e->entry_type) {
    case MSG_SET_STATE:
    case MSG_CLEAR_STATE:
    case MSG_CLEAR_ALL_STATE:
        return target_writes_state(t->kind) ? NULL : "this handler type cannot write state";
    case MSG_GET_LAZY_STATE:
    case MSG_GET_LAZY_STATE_KEYS:
        return target_is_keyed(t->kind) ? NULL : "this service type doesn't have state access";
    case MSG_GET_PROMISE:
    case MSG_PEEK_PROMISE:
    case MSG_COMPLETE_PROMISE:
        return target_is_workflow(t->kind) ? NULL : "only Workflow services support promises";
    case MSG_CALL:
    case MSG_ONE_WAY_CALL:
        return e->has_callee ? NULL : "call without a resolved callee";
    default:
        return NULL;
    }
}

/* The callee's partition could not read it. */
static bool bad_labels(const struct command_view *c)
{
    char room[LABEL_ROOM];
    return (c->has_scope && label_problem(c->scope, room)) ||
           (c->has_limit_key && c->limit_key.len && !limit_key_valid(c->limit_key));
}

static bool entry_effect(struct machine *m, struct invocation *inv, const struct effect *e,
                         const struct command_view *c)
{
    const struct target *t = &inv->si.target;
    switch (e->entry_type) {
    case MSG_SET_STATE:
        set_state(m, t, c);
        return true;
    case MSG_CLEAR_STATE:
    case MSG_CLEAR_ALL_STATE:
        clear_state(m, t, c);
        return true;
    case MSG_GET_LAZY_STATE:
        machine_get_lazy_state(m, inv, c);
        return true;
    case MSG_GET_LAZY_STATE_KEYS:
        machine_get_lazy_state_keys(m, inv, c);
        return true;
    case MSG_GET_PROMISE:
        machine_get_promise(m, inv, c);
        return true;
    case MSG_PEEK_PROMISE:
        machine_peek_promise(m, inv, c);
        return true;
    case MSG_COMPLETE_PROMISE:
        machine_complete_promise(m, inv, c);
        return true;
    case MSG_SLEEP:
        machine_timer_set(m, c->time_ms, TIMER_SLEEP, inv->id, c->completion_id);
        return true;
    case MSG_CALL:
    case MSG_ONE_WAY_CALL:
        if (bad_labels(c))
            return false;
        send_call(m, inv, c, &e->callee);
        return true;
    case MSG_ATTACH:
    case MSG_GET_OUTPUT:
        send_attach(m, inv, c, e->attach_id);
        return true;
    case MSG_SEND_SIGNAL:
        return send_signal(m, c);
    case MSG_COMPLETE_AWAKEABLE:
        return complete_awakeable(m, c);
    default: /* Input, Output, Run and the eager reads: nothing besides being stored */
        return true;
    }
}

static bool command_entry(struct machine *m, struct invocation *inv, const struct effect *e)
{
    bool from_state = e->entry_type == MSG_GET_EAGER_STATE && e->value_from_state;
    struct command_view c;
    struct err err = {0};
    const char *why = refused(&inv->si.target, e);
    if (why) {
        machine_quarantine(m, inv, "%s: %s", message_type_name(e->entry_type), why);
        return false;
    }
    struct bytes payload =
        from_state ? eager_state_payload(m, &inv->si.target, e) : bytes_part(m->record, e->payload);
    if (command_decode(e->entry_type, bytes_slice(payload), &c, &err) != RC_OK) {
        machine_quarantine(m, inv, "undecodable %s: %s", message_type_name(e->entry_type), err.msg);
        bytes_unref(&payload);
        return false;
    }
    bool call = e->entry_type == MSG_CALL || e->entry_type == MSG_ONE_WAY_CALL;
    bool attach = e->entry_type == MSG_ATTACH || e->entry_type == MSG_GET_OUTPUT;
    struct journal_entry entry = {
        .type = e->entry_type,
        .completion_id = c.completion_id,
        .completion_id2 = call ? c.invocation_id_completion_id : 0,
        .appended_at_ms = m->now_ms,
        .callee = call ? e->callee.id : e->attach_id,
        .has_callee = call || attach,
        .payload = payload,
    };
    store_journal_append(m->store, inv, &entry);
    uint32_t command_index = inv->commands++;
    inv->backoff.retries_since_command = 0;
    machine_touch(m, inv);
    if (e->ack)
        machine_action_index(m, ACTION_ACK_COMMAND, inv->id, command_index);
    if (!entry_effect(m, inv, e, &c)) {
        machine_quarantine(m, inv, "%s: malformed target", message_type_name(e->entry_type));
        return false;
    }
    return true;
}

/* The result of a run, proposed by the SDK and turned into a notification by the invoker
 * (spec/service-protocol.md §7.2). */
static bool run_completion(struct machine *m, struct invocation *inv, const struct effect *e)
{
    struct bytes payload = bytes_part(m->record, e->payload);
    struct notification_view view;
    if (!notification_decode(bytes_slice(payload), &view) || view.id.kind != NOTIFICATION_COMPLETION) {
        machine_quarantine(m, inv, "undecodable run completion");
        bytes_unref(&payload);
        return false;
    }
    machine_notify(m, inv, MSG_N_RUN, &view.id, view.outcome.kind, payload);
    return true;
}

bool machine_entry(struct machine *m, struct invocation *inv, const struct effect *e)
{
    if (message_is_command(e->entry_type))
        return command_entry(m, inv, e);
    if (e->entry_type == MSG_N_RUN)
        return run_completion(m, inv, e);
    machine_quarantine(m, inv, "entry of type 0x%04x from an attempt", e->entry_type);
    return false;
}

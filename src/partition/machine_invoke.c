/* Start and end of invocations: Invoke, ProxyThrough, AttachInvocation, the object's lock and inbox,
 * completion and retention (spec/invocation-lifecycle.md §5.1, §5.6, §5.8, §6.2). */
#include "partition/machine_internal.h"

void machine_touch(struct machine *m, struct invocation *inv)
{
    inv->at.modified_at = m->now_ms;
}

void machine_set_status(struct machine *m, struct invocation *inv, enum invocation_status status)
{
    enum queue_stage from = queue_stage_of(inv->status), to = queue_stage_of(status);
    struct queue_history *q = &inv->queue;
    inv->status = status;
    if (!inv->si.target.scope.ptr)
        return;
    if (from != to)
        q->moved_at = m->now_ms;
    q->suspensions += to == STAGE_SUSPENDED;
    q->pauses += to == STAGE_PAUSED;
    if (to != STAGE_RUNNING)
        return;
    q->attempts++;
    q->latest_attempt_at = m->now_ms;
    if (q->first_attempt_at == 0)
        q->first_attempt_at = m->now_ms;
    q->backing_off = false;
}

void machine_start_attempt(struct machine *m, struct invocation *inv)
{
    inv->quarantined = false;
    bytes_unref(&inv->awaiting.encoded);
    inv->awaiting.is_tree = false;
    if (!inv->si.target.scope.ptr || machine_take_slot(m, inv)) {
        machine_begin_attempt(m, inv);
        return;
    }
    machine_set_status(m, inv, INV_HELD);
    inv->at.inboxed_at = m->now_ms;
    machine_touch(m, inv);
}

void machine_begin_attempt(struct machine *m, struct invocation *inv)
{
    machine_set_status(m, inv, INV_INVOKED);
    machine_touch(m, inv);
    if (inv->at.running_at == 0)
        inv->at.running_at = m->now_ms;
    machine_action(m, ACTION_INVOKE, inv->id);
}

/* The object's lock, or a place in its inbox. */
static bool lock_or_inbox(struct machine *m, struct invocation *inv)
{
    struct object_name o = object_name_of(&inv->si.target);
    struct invocation_id owner;
    bool locked = store_lock_get(m->store, o.service, o.key, &owner);
    if (locked) {
        struct inbox_entry e = {.seq = m->vars->inbox_seq++, .kind = INBOX_INVOCATION, .id = inv->id};
        store_inbox_push(m->store, o.service, o.key, &e);
        machine_set_status(m, inv, INV_INBOXED);
        inv->inbox_seq = e.seq;
        inv->at.inboxed_at = m->now_ms;
        machine_touch(m, inv);
    } else {
        store_lock_set(m->store, o.service, o.key, inv->id);
    }
    object_name_free(&o);
    return !locked;
}

void machine_start_or_inbox(struct machine *m, struct invocation *inv)
{
    if (inv->si.target.kind != TARGET_OBJECT_EXCLUSIVE || lock_or_inbox(m, inv))
        machine_start_attempt(m, inv);
}

/* ---- sinks ---- */

static bool sink_eq(const struct sink *a, const struct sink *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == SINK_INGRESS)
        return u128_eq(a->request_id, b->request_id);
    return invocation_id_eq(a->caller, b->caller) && a->completion_id == b->completion_id;
}

static void sink_add(struct invocation *inv, const struct sink *sink)
{
    if (sink->kind == SINK_NONE)
        return;
    for (size_t i = 0; i < inv->sinks.len; i++)
        if (sink_eq(&inv->sinks.items[i], sink))
            return;
    VEC_PUSH(&inv->sinks, *sink);
}

static void reply_retained(struct machine *m, const struct invocation *inv, const struct sink *sink,
                           enum command_kind message)
{
    machine_reply(m, sink, inv->id, message, &inv->result, inv->result_bytes, retained_until(inv));
}

static void reply_failure(struct machine *m, const struct sink *sink, struct invocation_id id,
                          enum command_kind message, uint32_t code, const char *text)
{
    struct bytes owner;
    struct outcome failure = machine_failure(code, text, &owner);
    machine_reply(m, sink, id, message, &failure, owner, 0);
    bytes_unref(&owner);
}

/* ---- Invoke ---- */

static void notify_submission(struct machine *m, const struct service_invocation *si,
                              uint64_t execution_time_ms, bool is_new)
{
    if (!si->notify_submission)
        return;
    struct action *a = machine_action(m, ACTION_SUBMITTED, si->id);
    if (!a)
        return;
    a->request_id = si->source_request_id;
    a->execution_time_ms = execution_time_ms;
    a->is_new = is_new;
}

/* The same request once more: a retry of the ingress after a lost answer. */
static bool same_request(const struct invocation *inv, const struct service_invocation *si)
{
    return inv->si.source == SOURCE_INGRESS && si->source == SOURCE_INGRESS &&
           u128_eq(inv->si.source_request_id, si->source_request_id);
}

static void invoke_existing(struct machine *m, struct invocation *inv, const struct service_invocation *si)
{
    bool waiting = inv->status == INV_SCHEDULED || inv->status == INV_INBOXED;
    bool same = same_request(inv, si);
    notify_submission(m, si, waiting ? inv->si.execution_time_ms : 0, same);
    if (si->response_sink.kind == SINK_NONE)
        return;
    /* A retry of the very request that started the run joins it instead of being told of a conflict (B10). */
    if (inv->si.target.kind == TARGET_WORKFLOW_RUN && !same) {
        reply_failure(m, &si->response_sink, inv->id, CMD_INVOCATION_RESPONSE, 409,
                      "the workflow method was already invoked");
        return;
    }
    switch (inv->status) {
    case INV_COMPLETED:
        reply_retained(m, inv, &si->response_sink, CMD_INVOCATION_RESPONSE);
        return;
    case INV_SCHEDULED:
    case INV_INBOXED:
    case INV_INVOKED:
    case INV_SUSPENDED:
    case INV_PAUSED:
    case INV_HELD:
        sink_add(inv, &si->response_sink);
        store_invocation_changed(m->store, inv);
        return;
    case INV_FREE:
        break;
    }
    UNREACHABLE("a stored invocation is never Free");
}

static void append_input(struct machine *m, struct invocation *inv)
{
    struct journal_entry input = {
        .type = MSG_INPUT,
        .appended_at_ms = m->now_ms,
        .payload = bytes_part(inv->origin, inv->si.input),
    };
    store_journal_append(m->store, inv, &input);
    inv->commands = 1;
}

enum rc apply_invoke(struct machine *m, struct err *err)
{
    struct service_invocation si;
    struct reader r = reader_make(m->body);
    if (!service_invocation_read(&r, &si))
        return machine_undecodable(m, CMD_INVOKE, err);
    struct invocation *inv = store_invocation_get(m->store, si.id);
    if (inv) {
        invoke_existing(m, inv, &si);
        return RC_OK;
    }
    inv = store_invocation_create(m->store, si.id);
    inv->origin = bytes_part(m->record, m->body);
    inv->si = si;
    inv->at.created_at = m->now_ms;
    machine_touch(m, inv);
    sink_add(inv, &si.response_sink);
    append_input(m, inv);
    notify_submission(m, &si, si.execution_time_ms, true);
    if (si.execution_time_ms) {
        machine_set_status(m, inv, INV_SCHEDULED);
        inv->at.scheduled_at = m->now_ms;
        machine_timer_set(m, si.execution_time_ms, TIMER_INVOKE, inv->id, 0);
    } else {
        machine_start_or_inbox(m, inv);
    }
    store_invocation_changed(m->store, inv);
    return RC_OK;
}

enum rc apply_proxy_through(struct machine *m, struct err *err)
{
    struct service_invocation si;
    struct reader r = reader_make(m->body);
    if (!service_invocation_read(&r, &si))
        return machine_undecodable(m, CMD_PROXY_THROUGH, err);
    struct writer w = WRITER_INIT;
    record_begin(&w, m->body.len);
    write_slice_raw(&w, m->body);
    machine_send(m, si.id.partition_key, CMD_INVOKE, &w);
    return RC_OK;
}

enum rc apply_attach(struct machine *m, struct err *err)
{
    struct cmd_attach c;
    struct reader r = reader_make(m->body);
    if (!cmd_attach_read(&r, &c))
        return machine_undecodable(m, CMD_ATTACH, err);
    enum command_kind message = c.block ? CMD_INVOCATION_RESPONSE : CMD_OUTPUT_RESPONSE;
    struct invocation *inv = store_invocation_get(m->store, c.id);
    switch (inv ? inv->status : INV_FREE) {
    case INV_FREE:
        reply_failure(m, &c.sink, c.id, message, 404, "not found");
        break;
    case INV_COMPLETED:
        reply_retained(m, inv, &c.sink, message);
        break;
    case INV_SCHEDULED:
    case INV_INBOXED:
    case INV_INVOKED:
    case INV_SUSPENDED:
    case INV_PAUSED:
    case INV_HELD:
        if (c.block) {
            sink_add(inv, &c.sink);
            store_invocation_changed(m->store, inv);
        } else if (c.sink.kind == SINK_INVOCATION) {
            machine_send_response(m, message, c.sink.caller, c.sink.completion_id,
                                  &(struct outcome){.kind = OUTCOME_VOID});
        } else {
            reply_failure(m, &c.sink, c.id, message, 470, "the response is not ready yet");
        }
        break;
    }
    return RC_OK;
}

/* ---- end ---- */

/* The next in the object's inbox that is to start; patches of the state before it are applied. */
static struct invocation *next_in_inbox(struct machine *m, const struct object_name *o)
{
    struct inbox_entry e;
    while (store_inbox_pop(m->store, o->service, o->key, &e)) {
        if (e.kind == INBOX_STATE_PATCH) {
            machine_patch_state(m, e.patch);
            bytes_unref(&e.patch);
            continue;
        }
        struct invocation *next = store_invocation_get(m->store, e.id);
        if (next && next->status == INV_INBOXED)
            return next; /* else it contradicts the table; the object must not stay locked for it */
    }
    return NULL;
}

void machine_pass_lock(struct machine *m, const struct target *t)
{
    struct object_name o = object_name_of(t);
    struct invocation *next = next_in_inbox(m, &o);
    if (next) {
        store_lock_set(m->store, o.service, o.key, next->id);
        machine_start_attempt(m, next);
        store_invocation_changed(m->store, next);
    } else {
        store_lock_clear(m->store, o.service, o.key);
    }
    object_name_free(&o);
}

/* Sleeps that nobody waits for any more: without this they would stay in the table until due, and might fire
 * into a later invocation with the same (derived) id. */
static void drop_open_sleeps(struct machine *m, struct invocation *inv)
{
    store_journal_load(m->store, inv);
    for (size_t i = 0; i < inv->journal.len; i++) {
        const struct journal_entry *e = &inv->journal.items[i];
        if (e->type != MSG_SLEEP)
            continue;
        struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = e->completion_id};
        struct command_view c;
        if (store_find_notification(m->store, inv, &id) >= 0 ||
            command_decode(e->type, bytes_slice(e->payload), &c, NULL) != RC_OK)
            continue;
        machine_timer_delete(
            m, &(struct timer_key){
                   .wake_up_ms = c.time_ms, .kind = TIMER_SLEEP, .id = inv->id, .index = c.completion_id});
    }
}

static void clear_workflow(struct machine *m, const struct target *t)
{
    struct object_name o = object_name_of(t);
    store_state_clear_all(m->store, o.service, o.key);
    store_promise_clear_all(m->store, o.service, o.key);
    object_name_free(&o);
}

static void retain_result(struct machine *m, struct invocation *inv, const struct outcome *result,
                          struct bytes owner)
{
    machine_set_status(m, inv, INV_COMPLETED);
    inv->quarantined = false;
    inv->result = *result;
    inv->result_bytes = bytes_ref(owner);
    bytes_unref(&inv->awaiting.encoded);
    inv->sinks.len = 0;
    inv->at.completed_at = m->now_ms;
    machine_touch(m, inv);
    if (inv->si.target.kind == TARGET_WORKFLOW_RUN && retained_until(inv) != UINT64_MAX)
        machine_timer_set(m, retained_until(inv), TIMER_CLEANUP, inv->id, 0);
    if (inv->si.journal_retention_ms == 0)
        store_journal_purge(m->store, inv);
    store_invocation_changed(m->store, inv);
}

static void trace_end(struct machine *m, const struct invocation *inv, const struct outcome *result,
                      struct bytes owner)
{
    if (!m->actions || !m->actions->traces)
        return;
    struct action *a = machine_action(m, ACTION_ENDED, inv->id);
    a->outcome = *result;
    a->outcome_bytes = bytes_ref(owner);
    a->origin = bytes_ref(inv->origin);
}

void machine_end(struct machine *m, struct invocation *inv, const struct outcome *result, struct bytes owner)
{
    trace_end(m, inv, result, owner);
    for (size_t i = 0; i < inv->sinks.len; i++)
        machine_reply(m, &inv->sinks.items[i], inv->id, CMD_INVOCATION_RESPONSE, result, owner, 0);
    drop_open_sleeps(m, inv);
    machine_leave_slot(m, inv);

    struct bytes origin = bytes_ref(inv->origin); /* the target outlives the invocation */
    struct target target = inv->si.target;
    if (inv->si.completion_retention_ms > 0) {
        retain_result(m, inv, result, owner);
    } else {
        store_invocation_delete(m->store, inv);
        if (target.kind == TARGET_WORKFLOW_RUN)
            clear_workflow(m, &target);
    }
    if (target.kind == TARGET_OBJECT_EXCLUSIVE)
        machine_pass_lock(m, &target);
    bytes_unref(&origin);
}

void machine_purge(struct machine *m, struct invocation *inv)
{
    ASSERT(inv->status == INV_COMPLETED);
    if (inv->si.target.kind == TARGET_WORKFLOW_RUN) {
        clear_workflow(m, &inv->si.target);
        machine_timer_delete(
            m, &(struct timer_key){.wake_up_ms = retained_until(inv), .kind = TIMER_CLEANUP, .id = inv->id});
    }
    store_invocation_delete(m->store, inv);
}

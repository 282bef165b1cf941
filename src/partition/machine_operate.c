/* Operator actions: cancel, kill, purge, pause, resume, restart as new (spec/invocation-lifecycle.md §8). */
#include "partition/machine_internal.h"

/* What an operation finds: held invocations are like those in an inbox until they have begun, then like
 * suspended ones. */
static enum invocation_status operated_status(const struct invocation *inv)
{
    if (!inv)
        return INV_FREE;
    if (inv->status == INV_HELD)
        return held_unstarted(inv) ? INV_INBOXED : INV_SUSPENDED;
    return inv->status;
}

/* ---- cancel and kill ---- */

/* Before it ever ran: no completed record stays, not even with an idempotency key (§17 trap 4). */
static void drop_unstarted(struct machine *m, struct invocation *inv, const char *message)
{
    struct bytes owner;
    struct outcome failure = machine_failure(409, message, &owner);
    for (size_t i = 0; i < inv->sinks.len; i++)
        machine_reply(m, &inv->sinks.items[i], inv->id, CMD_INVOCATION_RESPONSE, &failure, owner, 0);
    bytes_unref(&owner);
    if (inv->status == INV_SCHEDULED) {
        machine_timer_delete(m, &(struct timer_key){.wake_up_ms = inv->si.execution_time_ms,
                                                    .kind = TIMER_INVOKE,
                                                    .id = inv->id});
    } else if (inv->status == INV_INBOXED) {
        struct object_name o = object_name_of(&inv->si.target);
        store_inbox_remove(m->store, o.service, o.key, inv->inbox_seq);
        object_name_free(&o);
    }
    machine_leave_slot(m, inv);
    bool locked = inv->status == INV_HELD && inv->si.target.kind == TARGET_OBJECT_EXCLUSIVE;
    struct bytes origin = bytes_ref(inv->origin); /* the target outlives the invocation */
    struct target target = inv->si.target;
    store_invocation_delete(m->store, inv);
    if (locked)
        machine_pass_lock(m, &target);
    bytes_unref(&origin);
}

static void kill_children(struct machine *m, struct invocation *inv)
{
    store_journal_load(m->store, inv);
    for (size_t i = 0; i < inv->journal.len; i++) {
        const struct journal_entry *e = &inv->journal.items[i];
        if (!e->has_callee || (e->type != MSG_CALL && e->type != MSG_ONE_WAY_CALL))
            continue;
        struct cmd_terminate c = {.id = e->callee, .kill = true};
        struct writer w = WRITER_INIT;
        record_begin(&w, 64);
        cmd_terminate_write(&w, &c);
        machine_send(m, c.id.partition_key, CMD_TERMINATE, &w);
    }
}

static void kill_in_flight(struct machine *m, struct invocation *inv)
{
    struct invocation_id id = inv->id;
    kill_children(m, inv);
    struct bytes owner;
    struct outcome failure = machine_failure(409, "killed", &owner);
    /* The attempt ends before whoever waits for the object's lock starts. */
    machine_action(m, ACTION_ABORT, id);
    machine_end(m, inv, &failure, owner);
    bytes_unref(&owner);
}

static enum rpc_status terminate(struct machine *m, struct invocation_id id, bool kill)
{
    struct invocation *inv = store_invocation_get(m->store, id);
    switch (operated_status(inv)) {
    case INV_FREE:
        machine_action(m, ACTION_ABORT, id);
        return RPC_NOT_FOUND;
    case INV_SCHEDULED:
    case INV_INBOXED:
        drop_unstarted(m, inv, kill ? "killed" : "canceled");
        return RPC_OK;
    case INV_INVOKED:
    case INV_SUSPENDED:
    case INV_PAUSED:
        if (kill) {
            kill_in_flight(m, inv);
            return RPC_OK;
        }
        machine_cancel_in_flight(m, inv);
        store_invocation_changed(m->store, inv);
        return RPC_APPENDED;
    case INV_COMPLETED:
        return RPC_ALREADY_COMPLETED;
    case INV_HELD:
        break;
    }
    UNREACHABLE("status %d", (int)inv->status);
}

void machine_terminate(struct machine *m, struct invocation_id id, bool kill, struct u128 reply_request_id)
{
    machine_operation_reply(m, reply_request_id, id, terminate(m, id, kill), (struct invocation_id){0});
}

enum rc apply_terminate(struct machine *m, struct err *err)
{
    struct cmd_terminate c;
    struct reader r = reader_make(m->body);
    if (!cmd_terminate_read(&r, &c))
        return machine_undecodable(m, CMD_TERMINATE, err);
    machine_terminate(m, c.id, c.kill, c.reply_request_id);
    return RC_OK;
}

/* ---- purge ---- */

enum rc apply_purge(struct machine *m, bool journal_only, struct err *err)
{
    struct cmd_target_id c;
    struct reader r = reader_make(m->body);
    if (!cmd_target_id_read(&r, &c))
        return machine_undecodable(m, journal_only ? CMD_PURGE_JOURNAL : CMD_PURGE, err);
    struct invocation *inv = store_invocation_get(m->store, c.id);
    enum rpc_status status = RPC_OK;
    if (!inv) {
        status = RPC_NOT_FOUND;
    } else if (inv->status != INV_COMPLETED) {
        status = RPC_NOT_COMPLETED;
    } else if (!journal_only) {
        machine_purge(m, inv);
    } else if (!inv->journal_purged) {
        store_journal_purge(m->store, inv);
        machine_touch(m, inv);
        store_invocation_changed(m->store, inv);
    }
    machine_operation_reply(m, c.reply_request_id, c.id, status, (struct invocation_id){0});
    return RC_OK;
}

/* ---- pause and resume ---- */

/* The logged form of pause (§8.5), for invocations with a scope that have no attempt. Of running ones leaders
 * poke the invoker instead; kept so that a replica understands the command. */
static enum rpc_status pause_invocation(struct machine *m, struct invocation *inv)
{
    switch (operated_status(inv)) {
    case INV_FREE:
        return RPC_NOT_FOUND;
    case INV_INVOKED:
        machine_action(m, ACTION_ABORT, inv->id);
        break;
    case INV_SUSPENDED:
        bytes_unref(&inv->awaiting.encoded);
        break;
    case INV_HELD:
        UNREACHABLE("operated_status");
    case INV_PAUSED:
        return RPC_OK;
    case INV_SCHEDULED:
    case INV_INBOXED:
    case INV_COMPLETED:
        return RPC_NOT_RUNNING;
    }
    machine_set_status(m, inv, INV_PAUSED);
    machine_leave_slot(m, inv);
    machine_event(m, inv, bytes_static(SLICE_LIT("{\"ty\":\"Paused\"}")));
    machine_touch(m, inv);
    store_invocation_changed(m->store, inv);
    return RPC_APPENDED;
}

enum rc apply_pause(struct machine *m, struct err *err)
{
    struct cmd_target_id c;
    struct reader r = reader_make(m->body);
    if (!cmd_target_id_read(&r, &c))
        return machine_undecodable(m, CMD_PAUSE, err);
    enum rpc_status status = pause_invocation(m, store_invocation_get(m->store, c.id));
    machine_operation_reply(m, c.reply_request_id, c.id, status, (struct invocation_id){0});
    return RC_OK;
}

enum rpc_status machine_resume_check(const struct invocation *inv, bool repin)
{
    switch (operated_status(inv)) {
    case INV_FREE:
        return RPC_NOT_FOUND;
    case INV_SCHEDULED:
    case INV_INBOXED:
        return RPC_NOT_STARTED;
    case INV_COMPLETED:
        return RPC_ALREADY_COMPLETED;
    case INV_INVOKED: /* only "retry now"; the running attempt keeps its deployment */
        return repin ? RPC_BAD_DEPLOYMENT : RPC_OK;
    case INV_SUSPENDED:
    case INV_PAUSED:
        return repin && !inv->pinned ? RPC_BAD_DEPLOYMENT : RPC_OK;
    case INV_HELD:
        break;
    }
    UNREACHABLE("status %d", (int)inv->status);
}

enum rc apply_resume(struct machine *m, struct err *err)
{
    struct cmd_resume c;
    struct reader r = reader_make(m->body);
    if (!cmd_resume_read(&r, &c))
        return machine_undecodable(m, CMD_RESUME, err);
    struct invocation *inv = store_invocation_get(m->store, c.id);
    enum rpc_status status = machine_resume_check(inv, c.repin);
    if (status == RPC_OK && inv->status == INV_INVOKED) {
        machine_action(m, ACTION_RETRY_NOW, c.id);
    } else if (status == RPC_OK) {
        if (c.repin)
            inv->deployment_id = c.deployment_id;
        if (inv->status != INV_HELD)
            machine_start_attempt(m, inv);
        else if (inv->backoff.resume_at_ms)
            machine_resume_backoff(m, inv, true);
        /* else its turn comes without being asked for */
        store_invocation_changed(m->store, inv);
    }
    machine_operation_reply(m, c.reply_request_id, c.id, status, (struct invocation_id){0});
    return RC_OK;
}

/* ---- restart as new ---- */

static bool completed_in_journal(struct partition_store *s, struct invocation *inv, uint32_t completion_id)
{
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = completion_id};
    return completion_id == 0 || store_find_notification(s, inv, &id) >= 0;
}

enum rpc_status machine_restart_check(struct partition_store *s, struct invocation *old,
                                      uint32_t copy_prefix_up_to, uint64_t now_ms)
{
    switch (operated_status(old)) {
    case INV_FREE:
        return RPC_NOT_FOUND;
    case INV_SCHEDULED:
    case INV_INBOXED:
        return RPC_NOT_STARTED;
    case INV_HELD:
        UNREACHABLE("operated_status");
    case INV_INVOKED:
    case INV_SUSPENDED:
    case INV_PAUSED:
        return RPC_STILL_RUNNING;
    case INV_COMPLETED:
        break;
    }
    if (target_is_workflow(old->si.target.kind))
        return RPC_UNSUPPORTED;
    if (old->journal_purged || old->journal.len == 0 || journal_retained_until(old) <= now_ms)
        return RPC_GONE;
    if (copy_prefix_up_to == 0)
        return RPC_OK;
    if (!old->pinned || old->protocol_version < 6)
        return RPC_UNSUPPORTED;
    if (copy_prefix_up_to >= old->journal.len)
        return RPC_BAD_PREFIX;
    store_journal_load(s, old);
    for (uint32_t i = 1; i <= copy_prefix_up_to; i++) {
        const struct journal_entry *e = &old->journal.items[i];
        if (message_is_command(e->type) && (!completed_in_journal(s, old, e->completion_id) ||
                                            !completed_in_journal(s, old, e->completion_id2)))
            return RPC_BAD_PREFIX;
    }
    return RPC_OK;
}

static void copy_entry(struct machine *m, struct invocation *to, const struct journal_entry *from)
{
    struct journal_entry e = {
        .type = from->type,
        .result = from->result,
        .notification_kind = from->notification_kind,
        .completion_id = from->completion_id,
        .completion_id2 = from->completion_id2,
        .appended_at_ms = m->now_ms,
        .callee = from->callee,
        .has_callee = from->has_callee,
        .payload = bytes_ref(from->payload),
        .signal_name = from->signal_name,
    };
    store_journal_append(m->store, to, &e);
    if (message_is_command(e.type))
        to->commands++;
}

/* Entries 0..upto, then the completions of those commands that stand behind. */
static void copy_journal(struct machine *m, struct invocation *old, struct invocation *to, uint32_t upto)
{
    store_journal_load(m->store, old);
    for (uint32_t i = 0; i <= upto; i++)
        copy_entry(m, to, &old->journal.items[i]);
    if (upto == 0)
        return; /* Input has no completions */
    for (size_t i = upto + 1; i < old->journal.len; i++) {
        const struct journal_entry *e = &old->journal.items[i];
        if (!message_is_notification(e->type) || e->notification_kind != NOTIFICATION_COMPLETION)
            continue;
        ptrdiff_t command = store_find_command(m->store, old, e->completion_id);
        if (command >= 0 && command <= (ptrdiff_t)upto)
            copy_entry(m, to, e);
    }
}

static void create_copy(struct machine *m, struct invocation *old, const struct cmd_restart_as_new *c)
{
    struct service_invocation si = old->si;
    si.id = c->new_id;
    si.input =
        SLICE_LIT("\x72\x00"); /* an empty Input: the real one, journal entry 0, is copied by reference */
    si.source = SOURCE_RESTART;
    si.source_id = old->id;
    si.source_request_id = (struct u128){0};
    si.source_target = (struct target){0};
    si.execution_time_ms = 0;
    si.idempotency_key = SLICE_EMPTY;
    si.response_sink = (struct sink){.kind = SINK_NONE};
    si.notify_submission = false;
    struct writer w = WRITER_INIT;
    service_invocation_write(&w, &si);

    struct invocation *inv = store_invocation_create(m->store, c->new_id);
    inv->origin = writer_take(&w);
    struct reader r = reader_make(bytes_slice(inv->origin));
    bool ok = service_invocation_read(&r, &inv->si);
    ASSERT(ok);
    inv->at.created_at = m->now_ms;
    machine_touch(m, inv);
    inv->pinned = old->pinned;
    inv->protocol_version = old->protocol_version;
    inv->deployment_id = old->pinned && c->repin ? c->deployment_id : old->deployment_id;
    if (c->copy_prefix_up_to > 0) { /* random decisions inside the prefix must replay the same (§2.7) */
        inv->has_random_seed = true;
        inv->random_seed = old->has_random_seed ? old->random_seed : invocation_random_seed(old->id);
    }
    copy_journal(m, old, inv, c->copy_prefix_up_to);
    machine_start_or_inbox(m, inv);
    store_invocation_changed(m->store, inv);
}

enum rc apply_restart_as_new(struct machine *m, struct err *err)
{
    struct cmd_restart_as_new c;
    struct reader r = reader_make(m->body);
    if (!cmd_restart_as_new_read(&r, &c))
        return machine_undecodable(m, CMD_RESTART_AS_NEW, err);
    struct invocation *existing = store_invocation_get(m->store, c.new_id);
    enum rpc_status status;
    if (existing) /* the same request once more, or an id that is taken */
        status = existing->si.source == SOURCE_RESTART && invocation_id_eq(existing->si.source_id, c.id)
                     ? RPC_OK
                     : RPC_UNSUPPORTED;
    else
        status = machine_restart_check(m->store, store_invocation_get(m->store, c.id), c.copy_prefix_up_to,
                                       m->now_ms);
    if (status == RPC_OK && !existing)
        create_copy(m, store_invocation_get(m->store, c.id), &c);
    machine_operation_reply(m, c.reply_request_id, c.id, status, c.new_id);
    return RC_OK;
}

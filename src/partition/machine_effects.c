/* InvokerEffects: what an attempt said, applied in order (spec/invocation-lifecycle.md §5.3, §5.7, §5.8), and
 * quarantine (B2). */
#include <stdarg.h>
#include <stdio.h>

#include "partition/machine_internal.h"

void machine_event(struct machine *m, struct invocation *inv, struct bytes json_take)
{
    struct journal_event e = {
        .at_ms = m->now_ms,
        .lsn = m->lsn,
        .after_entry_index = inv->journal.len ? (uint32_t)inv->journal.len - 1 : 0,
        .json = json_take,
    };
    store_event_append(m->store, inv, &e);
}

void machine_quarantine(struct machine *m, struct invocation *inv, const char *fmt, ...)
{
    ASSERT(status_in_flight(inv->status));
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);

    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"ty\":\"Paused\",\"last_failure\":{\"ty\":\"TransientError\",\"error_code\":500,\"error_"
                  "message\":");
    char message[320];
    snprintf(message, sizeof(message), "quarantined by the server at LSN %lu: %s", (unsigned long)m->lsn,
             why);
    write_json_string(&w, slice_cstr(message));
    write_fmt(&w, "}}");
    machine_event(m, inv, writer_take(&w));
    machine_set_status(m, inv, INV_PAUSED);
    machine_leave_slot(m, inv);
    inv->quarantined = true;
    bytes_unref(&inv->awaiting.encoded);
    machine_touch(m, inv);
    machine_action(m, ACTION_ABORT, inv->id);
}

static void effects_applied(struct machine *m, const struct effects_head *head, bool dropped)
{
    struct action *a = machine_action(m, ACTION_EFFECTS_APPLIED, head->id);
    if (!a)
        return;
    a->token = head->token;
    a->batch = head->batch;
    a->dropped = dropped;
}

/* Larger trees are in sys_invocation while they last, but not in an event that is kept with the journal. */
#define EVENT_TREE_MAX 16384

static void suspended_event(struct machine *m, struct invocation *inv)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"ty\":\"Suspended\",\"awaiting_on\":");
    if (inv->awaiting.encoded.len <= EVENT_TREE_MAX)
        awaiting_write_json(&w, &inv->awaiting);
    else
        write_fmt(&w, "{\"Unknown\":[]}");
    write_fmt(&w, "}");
    machine_event(m, inv, writer_take(&w));
}

static void suspend(struct machine *m, struct invocation *inv, struct slice encoded, bool is_tree)
{
    bytes_unref(&inv->awaiting.encoded);
    inv->awaiting = (struct awaiting){.is_tree = is_tree, .encoded = bytes_part(m->record, encoded)};
    if (!awaiting_valid(&inv->awaiting)) {
        machine_quarantine(m, inv, "suspension without anything to wait for");
        return;
    }
    if (machine_awaiting_decided(
            m->store, inv, &inv->awaiting)) { /* §17 trap 7: it came while the attempt was going to sleep */
        machine_start_attempt(m, inv);
        return;
    }
    machine_set_status(m, inv, INV_SUSPENDED);
    machine_leave_slot(m, inv);
    machine_touch(m, inv);
    if (is_tree)
        suspended_event(m, inv);
}

/* The last Output decides (spec/service-protocol.md §7.4). */
static void end_with_output(struct machine *m, struct invocation *inv)
{
    store_journal_load(m->store, inv);
    for (size_t i = inv->journal.len; i-- > 0;) {
        const struct journal_entry *e = &inv->journal.items[i];
        if (e->type != MSG_OUTPUT)
            continue;
        struct command_view c;
        if (command_decode(MSG_OUTPUT, bytes_slice(e->payload), &c, NULL) != RC_OK)
            break;
        struct bytes owner = bytes_ref(e->payload);
        machine_end(m, inv, &c.value, owner);
        bytes_unref(&owner);
        return;
    }
    struct bytes owner;
    struct outcome failure = machine_failure(500, "the handler ended without an output", &owner);
    machine_end(m, inv, &failure, owner);
    bytes_unref(&owner);
}

/* What is left to do for an invocation after one effect. */
enum after_effect {
    GO_ON, /* next effect */
    STOP,  /* no further effect of this attempt counts; store the changes */
    GONE,  /* completed or deleted: stored already */
};

static enum after_effect apply_effect(struct machine *m, struct invocation *inv, const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_PIN_DEPLOYMENT:
        inv->pinned = true;
        inv->deployment_id = e->deployment_id;
        inv->protocol_version = e->protocol_version;
        machine_touch(m, inv);
        return GO_ON;
    case EFFECT_ENTRY:
        return machine_entry(m, inv, e) ? GO_ON : STOP;
    case EFFECT_EVENT:
        machine_event(m, inv, bytes_part(m->record, e->payload));
        return GO_ON;
    case EFFECT_SUSPEND:
    case EFFECT_SUSPEND_TREE:
        suspend(m, inv, e->payload, e->kind == EFFECT_SUSPEND_TREE);
        return STOP;
    case EFFECT_PAUSED:
        machine_event(m, inv, bytes_part(m->record, e->payload));
        machine_set_status(m, inv, INV_PAUSED);
        machine_leave_slot(m, inv);
        machine_touch(m, inv);
        return STOP;
    case EFFECT_YIELD:
        if (inv->si.target.scope.ptr)
            machine_yield(m, inv, e);
        else
            machine_quarantine(m, inv, "a slot is given back by an invocation without a scope");
        return STOP;
    case EFFECT_END:
        end_with_output(m, inv);
        return GONE;
    case EFFECT_FAILED:
        if (e->failure.kind != OUTCOME_FAILURE) {
            machine_quarantine(m, inv, "failed without a failure");
            return STOP;
        }
        machine_end(m, inv, &e->failure, m->record);
        return GONE;
    }
    machine_quarantine(m, inv, "unknown effect %d", (int)e->kind);
    return STOP;
}

enum rc apply_invoker_effects(struct machine *m, struct err *err)
{
    struct reader r = reader_make(m->body);
    struct effects_head head;
    if (!effects_begin_read(&r, &head))
        return machine_undecodable(m, CMD_INVOKER_EFFECTS, err);
    struct invocation *inv = store_invocation_get(m->store, head.id);
    if (!inv || inv->status != INV_INVOKED) {
        machine_action(m, ACTION_ABORT, head.id);
        effects_applied(m, &head, true);
        return RC_OK;
    }
    enum after_effect after = GO_ON;
    struct effect e;
    while (after == GO_ON && effect_read(&r, &e))
        after = apply_effect(m, inv, &e);
    if (after == GO_ON && r.failed)
        machine_quarantine(m, inv, "malformed effect");
    if (after != GONE)
        store_invocation_changed(m->store, inv);
    effects_applied(m, &head, false);
    return RC_OK;
}

/* InvokerEffects: what an attempt said, several effects per record (wire/command.h). Entries are validated to
 * the last field, so that the state machine may rely on every command in the log being decodable
 * (spec/service-protocol.md §13). */
#include "wire/command.h"
#include "wire/fields.h"
#include "wire/service_protocol.h"

/* ---- notification ids ---- */

void notification_id_write(struct writer *w, const struct notification_id *id)
{
    write_u8(w, (uint8_t)id->kind);
    if (id->kind == NOTIFICATION_NAMED_SIGNAL)
        write_lp(w, id->name);
    else
        write_varint(w, id->index);
}

bool notification_id_read(struct reader *r, struct notification_id *out)
{
    *out = (struct notification_id){
        .kind = (enum notification_id_kind)read_enum(r, NOTIFICATION_NAMED_SIGNAL + 1)};
    if (out->kind == NOTIFICATION_NAMED_SIGNAL)
        out->name = read_text(r);
    else
        out->index = read_varint32(r);
    return !r->failed;
}

static bool notification_ids_valid(struct slice ids)
{
    struct reader r = reader_make(ids);
    struct notification_id id;
    if (ids.len == 0)
        return false;
    while (r.p != r.end)
        if (!notification_id_read(&r, &id))
            return false;
    return true;
}

/* ---- effects ---- */

enum { ENTRY_ACK = 1, ENTRY_VALUE_FROM_STATE = 2, ENTRY_TRACED = 4, ENTRY_FLAGS_END = 8 };

void effects_begin(struct writer *w, struct invocation_id id, uint64_t token, uint64_t batch)
{
    write_id(w, id);
    write_u64be(w, token);
    write_u64be(w, batch);
}

bool effects_begin_read(struct reader *r, struct effects_head *out)
{
    out->id = read_id(r);
    out->token = read_u64be(r);
    out->batch = read_u64be(r);
    return !r->failed;
}

static bool entry_has_callee(uint16_t type)
{
    return type == MSG_CALL || type == MSG_ONE_WAY_CALL;
}

static bool entry_has_attach_id(uint16_t type)
{
    return type == MSG_ATTACH || type == MSG_GET_OUTPUT;
}

static void entry_write(struct writer *w, const struct effect *e)
{
    ASSERT(e->has_callee == entry_has_callee(e->entry_type));
    ASSERT(!e->value_from_state || e->entry_type == MSG_GET_EAGER_STATE);
    write_u16be(w, e->entry_type);
    bool traced = e->has_callee && e->callee.trace_context.len > 0;
    write_u8(w, (uint8_t)((e->ack ? ENTRY_ACK : 0) | (e->value_from_state ? ENTRY_VALUE_FROM_STATE : 0) |
                          (traced ? ENTRY_TRACED : 0)));
    if (e->has_callee) {
        write_id(w, e->callee.id);
        write_u8(w, (uint8_t)e->callee.kind);
        write_varint(w, e->callee.completion_retention_ms);
        write_varint(w, e->callee.journal_retention_ms);
    }
    if (traced)
        write_lp(w, e->callee.trace_context);
    if (entry_has_attach_id(e->entry_type))
        write_id(w, e->attach_id);
    write_lp(w, e->payload);
}

void effect_write(struct writer *w, const struct effect *e)
{
    write_u8(w, (uint8_t)e->kind);
    switch (e->kind) {
    case EFFECT_PIN_DEPLOYMENT:
        write_u128(w, e->deployment_id);
        write_varint(w, e->protocol_version);
        return;
    case EFFECT_ENTRY:
        entry_write(w, e);
        return;
    case EFFECT_EVENT:
    case EFFECT_SUSPEND:
    case EFFECT_SUSPEND_TREE:
    case EFFECT_PAUSED:
        write_lp(w, e->payload);
        return;
    case EFFECT_END:
        return;
    case EFFECT_FAILED:
        ASSERT(e->failure.kind == OUTCOME_FAILURE);
        outcome_write(w, &e->failure);
        return;
    case EFFECT_YIELD:
        write_varint(w, e->resume_at_ms);
        write_varint(w, e->retries);
        write_varint(w, e->retries_since_command);
        return;
    }
    UNREACHABLE("effect kind %d", (int)e->kind);
}

static bool entry_payload_valid(const struct effect *e)
{
    struct command_view command;
    struct notification_view notification;
    struct slice key;
    if (e->value_from_state)
        return e->entry_type == MSG_GET_EAGER_STATE && eager_state_key(e->payload, &key);
    if (e->entry_type == MSG_N_RUN)
        return notification_decode(e->payload, &notification) &&
               notification.id.kind == NOTIFICATION_COMPLETION && !notification.has_other_result;
    return message_is_command(e->entry_type) &&
           command_decode(e->entry_type, e->payload, &command, NULL) == RC_OK;
}

static void entry_read(struct reader *r, struct effect *out)
{
    out->entry_type = read_u16be(r);
    uint8_t flags = read_enum(r, ENTRY_FLAGS_END);
    out->ack = flags & ENTRY_ACK;
    out->value_from_state = flags & ENTRY_VALUE_FROM_STATE;
    out->has_callee = entry_has_callee(out->entry_type);
    if (out->has_callee) {
        out->callee.id = read_id(r);
        out->callee.kind = (enum target_kind)read_enum(r, TARGET_WORKFLOW_SHARED + 1);
        out->callee.completion_retention_ms = read_varint(r);
        out->callee.journal_retention_ms = read_varint(r);
    }
    if (flags & ENTRY_TRACED) {
        out->callee.trace_context = read_text(r);
        if (!out->has_callee || out->callee.trace_context.len == 0)
            field_fail(r);
    }
    if (entry_has_attach_id(out->entry_type))
        out->attach_id = read_id(r);
    out->payload = read_lp(r);
    if (!r->failed && !entry_payload_valid(out))
        field_fail(r);
}

bool effect_read(struct reader *r, struct effect *out)
{
    if (r->failed || r->p == r->end)
        return false;
    *out = (struct effect){.kind = (enum effect_kind)read_u8(r)};
    switch (out->kind) {
    case EFFECT_PIN_DEPLOYMENT:
        out->deployment_id = read_u128(r);
        out->protocol_version = read_varint32(r);
        break;
    case EFFECT_ENTRY:
        entry_read(r, out);
        break;
    case EFFECT_EVENT:
    case EFFECT_PAUSED:
        out->payload = read_text(r);
        break;
    case EFFECT_YIELD:
        out->resume_at_ms = read_varint(r);
        out->retries = read_varint32(r);
        out->retries_since_command = read_varint32(r);
        if (out->resume_at_ms == 0)
            field_fail(r);
        break;
    case EFFECT_SUSPEND:
        out->payload = read_lp(r);
        if (!notification_ids_valid(out->payload))
            field_fail(r);
        break;
    case EFFECT_SUSPEND_TREE:
        out->payload = read_lp(r);
        if (!r->failed && future_validate(out->payload, FUTURE_DEPTH_HARD_LIMIT) != RC_OK)
            field_fail(r);
        break;
    case EFFECT_END:
        break;
    case EFFECT_FAILED:
        if (outcome_read(r, &out->failure) && out->failure.kind != OUTCOME_FAILURE)
            field_fail(r);
        break;
    default:
        field_fail(r);
    }
    return !r->failed;
}

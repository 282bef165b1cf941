/* Decoding of journal commands (wire/service_protocol.h; spec/service-protocol.md §5.3, §13): one table per
 * command says which field goes where; the walk over the fields is common to all. */
#include <stddef.h>

#include "wire/message_parts.h"

/* ---- nested messages ---- */

bool value_parse(struct slice message, struct slice *content)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    *content = slice_make(message.ptr, 0);
    while (pb_next(&r, &f)) {
        if (f.number != 1)
            continue;
        if (f.wire != PB_LEN)
            return false;
        *content = f.bytes;
    }
    return !r.failed;
}

void value_field_write(struct writer *w, uint32_t number, struct slice content)
{
    pb_write_len_header(w, number, content.len ? pb_len_field_size(1, content.len) : 0);
    pb_write_bytes(w, 1, content);
}

bool outcome_field(const struct pb_field *f, enum outcome_kind kind, struct outcome *out)
{
    struct failure_view failure;
    if (f->wire != PB_LEN)
        return false;
    *out = (struct outcome){.kind = kind};
    switch (kind) {
    case OUTCOME_VOID:
        return pb_valid(f->bytes);
    case OUTCOME_SUCCESS:
        return value_parse(f->bytes, &out->value);
    case OUTCOME_FAILURE:
        out->value = f->bytes;
        return failure_parse(f->bytes, &failure);
    case OUTCOME_NONE:
        break;
    }
    return false;
}

bool state_keys_valid(struct slice message)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == 1 && (f.wire != PB_LEN || !slice_is_utf8(f.bytes)))
            return false;
    return !r.failed;
}

bool header_parse(struct slice message, struct slice *key, struct slice *value)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    *key = *value = slice_make(message.ptr, 0);
    while (pb_next(&r, &f)) {
        if (f.number != 1 && f.number != 2)
            continue;
        if (f.wire != PB_LEN || !slice_is_utf8(f.bytes))
            return false;
        *(f.number == 1 ? key : value) = f.bytes;
    }
    return !r.failed;
}

/* ---- field tables ---- */

enum field_kind {
    F_END = 0,
    F_TEXT,     /* string */
    F_OPT_TEXT, /* string with a presence flag just before it in command_view (see OPT) */
    F_KEY,      /* bytes that must be UTF-8 */
    F_BYTES,
    F_U32,
    F_U64,
    F_HEADER,
    F_VOID,
    F_VALUE,
    F_FAILURE,
    F_STATE_KEYS,
    F_SIGNAL_INDEX,
    F_SIGNAL_NAME,
    F_ATTACH_ID,
    F_ATTACH_IDEMPOTENT,
    F_ATTACH_WORKFLOW,
};
struct field_rule {
    uint8_t number;
    uint8_t kind;
    uint16_t offset;      /* destination in command_view */
    uint16_t flag_offset; /* F_OPT_TEXT */
};
#define AT(member) offsetof(struct command_view, member)
#define OPT(number, member)                                                                                  \
    {                                                                                                        \
        number, F_OPT_TEXT, AT(member), AT(has_##member)                                                     \
    }
#define END_OF_FIELDS                                                                                        \
    {                                                                                                        \
        0, F_END, 0, 0                                                                                       \
    }
#define CID                                                                                                  \
    {                                                                                                        \
        11, F_U32, AT(completion_id), 0                                                                      \
    }
#define STATE_KEY                                                                                            \
    {                                                                                                        \
        1, F_KEY, AT(key), 0                                                                                 \
    }

enum need {
    NEED_VALUE = 1, /* result oneof, or the value */
    NEED_SIGNAL_ID = 2,
    NEED_ATTACH_TARGET = 4,
    NEED_STATE_KEYS = 8,
    NEED_INVOCATION_ID = 16, /* target_id parses as an invocation id */
    NEED_AWAKEABLE_ID = 32,
};
struct command_rule {
    uint8_t need;
    uint8_t header_field;
    struct field_rule fields[12];
};

#define RULE(type) [(type)-MSG_INPUT]
static const struct command_rule command_rules[] = {
    RULE(MSG_INPUT) = {NEED_VALUE, 1, {{1, F_HEADER, 0, 0}, {14, F_VALUE, 0, 0}, END_OF_FIELDS}},
    RULE(MSG_OUTPUT) = {NEED_VALUE, 0, {{14, F_VALUE, 0, 0}, {15, F_FAILURE, 0, 0}, END_OF_FIELDS}},
    RULE(MSG_GET_LAZY_STATE) = {0, 0, {STATE_KEY, CID, END_OF_FIELDS}},
    RULE(MSG_SET_STATE) = {NEED_VALUE, 0, {STATE_KEY, {3, F_VALUE, 0, 0}, END_OF_FIELDS}},
    RULE(MSG_CLEAR_STATE) = {0, 0, {STATE_KEY, END_OF_FIELDS}},
    RULE(MSG_CLEAR_ALL_STATE) = {0, 0, {END_OF_FIELDS}},
    RULE(MSG_GET_LAZY_STATE_KEYS) = {0, 0, {CID, END_OF_FIELDS}},
    RULE(MSG_GET_EAGER_STATE) = {NEED_VALUE,
                                 0,
                                 {STATE_KEY, {13, F_VOID, 0, 0}, {14, F_VALUE, 0, 0}, END_OF_FIELDS}},
    RULE(MSG_GET_EAGER_STATE_KEYS) = {NEED_STATE_KEYS, 0, {{14, F_STATE_KEYS, 0, 0}, END_OF_FIELDS}},
    RULE(MSG_GET_PROMISE) = {0, 0, {{1, F_TEXT, AT(key), 0}, CID, END_OF_FIELDS}},
    RULE(MSG_PEEK_PROMISE) = {0, 0, {{1, F_TEXT, AT(key), 0}, CID, END_OF_FIELDS}},
    RULE(MSG_COMPLETE_PROMISE) =
        {NEED_VALUE,
         0,
         {{1, F_TEXT, AT(key), 0}, {2, F_VALUE, 0, 0}, {3, F_FAILURE, 0, 0}, CID, END_OF_FIELDS}},
    RULE(MSG_SLEEP) = {0, 0, {{1, F_U64, AT(time_ms), 0}, CID, END_OF_FIELDS}},
    RULE(MSG_CALL) = {0,
                      4,
                      {{1, F_TEXT, AT(service), 0},
                       {2, F_TEXT, AT(handler), 0},
                       {3, F_BYTES, AT(parameter), 0},
                       {4, F_HEADER, 0, 0},
                       {5, F_TEXT, AT(key), 0},
                       OPT(6, idempotency_key),
                       OPT(7, scope),
                       OPT(8, limit_key),
                       {10, F_U32, AT(invocation_id_completion_id), 0},
                       CID,
                       END_OF_FIELDS}},
    RULE(MSG_ONE_WAY_CALL) = {0,
                              5,
                              {{1, F_TEXT, AT(service), 0},
                               {2, F_TEXT, AT(handler), 0},
                               {3, F_BYTES, AT(parameter), 0},
                               {4, F_U64, AT(time_ms), 0},
                               {5, F_HEADER, 0, 0},
                               {6, F_TEXT, AT(key), 0},
                               OPT(7, idempotency_key),
                               OPT(8, scope),
                               OPT(9, limit_key),
                               {10, F_U32, AT(invocation_id_completion_id), 0},
                               END_OF_FIELDS}},
    RULE(MSG_SEND_SIGNAL) = {NEED_VALUE | NEED_SIGNAL_ID | NEED_INVOCATION_ID,
                             0,
                             {{1, F_TEXT, AT(target_id), 0},
                              {2, F_SIGNAL_INDEX, 0, 0},
                              {3, F_SIGNAL_NAME, 0, 0},
                              {4, F_VOID, 0, 0},
                              {5, F_VALUE, 0, 0},
                              {6, F_FAILURE, 0, 0},
                              END_OF_FIELDS}},
    RULE(MSG_RUN) = {0, 0, {CID, END_OF_FIELDS}},
    RULE(MSG_ATTACH) = {NEED_ATTACH_TARGET,
                        0,
                        {{1, F_ATTACH_ID, AT(target_id), 0},
                         {3, F_ATTACH_IDEMPOTENT, 0, 0},
                         {4, F_ATTACH_WORKFLOW, 0, 0},
                         CID,
                         END_OF_FIELDS}},
    RULE(MSG_GET_OUTPUT) = {NEED_ATTACH_TARGET,
                            0,
                            {{1, F_ATTACH_ID, AT(target_id), 0},
                             {3, F_ATTACH_IDEMPOTENT, 0, 0},
                             {4, F_ATTACH_WORKFLOW, 0, 0},
                             CID,
                             END_OF_FIELDS}},
    RULE(MSG_COMPLETE_AWAKEABLE) =
        {NEED_VALUE | NEED_AWAKEABLE_ID,
         0,
         {{1, F_TEXT, AT(target_id), 0}, {2, F_VALUE, 0, 0}, {3, F_FAILURE, 0, 0}, END_OF_FIELDS}},
};

/* Every command's label. */
static const struct field_rule name_rule = {12, F_TEXT, AT(name), 0};

static const struct field_rule *rule_for(const struct command_rule *rule, uint32_t number)
{
    for (const struct field_rule *f = rule->fields; f->kind != F_END; f++)
        if (f->number == number)
            return f;
    return number == name_rule.number ? &name_rule : NULL;
}

/* ---- decoding ---- */

/* WorkflowTarget {1 name, 2 key, 3 scope} and IdempotentRequestTarget {1 service, 2 opt key, 3 handler, 4
 * idempotency key, 5 scope}. */
static bool attach_target(struct slice message, bool workflow, struct command_view *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    struct slice empty = slice_make(message.ptr, 0);
    out->attach_kind = workflow ? ATTACH_TARGET_WORKFLOW : ATTACH_TARGET_IDEMPOTENT;
    out->attach_service = out->attach_handler = out->attach_idempotency_key = empty;
    out->attach_key = workflow ? empty : SLICE_EMPTY;
    out->has_scope = false;
    while (pb_next(&r, &f)) {
        if (f.number > (workflow ? 3u : 5u))
            continue;
        if (f.wire != PB_LEN || !slice_is_utf8(f.bytes))
            return false;
        if (f.number == 1) {
            out->attach_service = f.bytes;
        } else if (f.number == 2) {
            out->attach_key = f.bytes;
        } else if (f.number == (workflow ? 3u : 5u)) {
            out->has_scope = true;
            out->scope = f.bytes;
        } else if (f.number == 3) {
            out->attach_handler = f.bytes;
        } else {
            out->attach_idempotency_key = f.bytes;
        }
    }
    return !r.failed;
}

struct decoding {
    struct command_view *out;
    bool has_signal_id, has_state_keys;
};

static bool decode_text(const struct field_rule *rule, const struct pb_field *f, struct command_view *out)
{
    if (f->wire != PB_LEN || !slice_is_utf8(f->bytes))
        return false;
    *(struct slice *)((char *)out + rule->offset) = f->bytes;
    if (rule->kind == F_OPT_TEXT)
        *(bool *)((char *)out + rule->flag_offset) = true;
    return true;
}

static bool decode_number(const struct field_rule *rule, const struct pb_field *f, struct command_view *out)
{
    if (f->wire != PB_VARINT)
        return false;
    void *to = (char *)out + rule->offset;
    if (rule->kind == F_U64)
        *(uint64_t *)to = f->value;
    else
        *(uint32_t *)to = (uint32_t)f->value;
    return true;
}

static bool decode_field(struct decoding *d, const struct field_rule *rule, const struct pb_field *f)
{
    struct command_view *out = d->out;
    struct slice key, value;
    switch ((enum field_kind)rule->kind) {
    case F_TEXT:
    case F_OPT_TEXT:
    case F_KEY:
        return decode_text(rule, f, out);
    case F_BYTES:
        *(struct slice *)((char *)out + rule->offset) = f->bytes;
        return f->wire == PB_LEN;
    case F_U32:
    case F_U64:
        return decode_number(rule, f, out);
    case F_HEADER:
        return f->wire == PB_LEN && header_parse(f->bytes, &key, &value);
    case F_VOID:
        return outcome_field(f, OUTCOME_VOID, &out->value);
    case F_VALUE:
        return outcome_field(f, OUTCOME_SUCCESS, &out->value);
    case F_FAILURE:
        return outcome_field(f, OUTCOME_FAILURE, &out->value);
    case F_STATE_KEYS:
        d->has_state_keys = true;
        return f->wire == PB_LEN && state_keys_valid(f->bytes);
    case F_SIGNAL_INDEX:
        d->has_signal_id = true;
        out->signal_named = false;
        out->signal_index = (uint32_t)f->value;
        return f->wire == PB_VARINT;
    case F_SIGNAL_NAME:
        d->has_signal_id = true;
        out->signal_named = true;
        out->signal_name = f->bytes;
        return f->wire == PB_LEN && slice_is_utf8(f->bytes);
    case F_ATTACH_ID:
        out->attach_kind = ATTACH_TARGET_ID;
        return decode_text(rule, f, out);
    case F_ATTACH_IDEMPOTENT:
        return f->wire == PB_LEN && attach_target(f->bytes, false, out);
    case F_ATTACH_WORKFLOW:
        return f->wire == PB_LEN && attach_target(f->bytes, true, out);
    case F_END:
        break;
    }
    UNREACHABLE("field kind %d", rule->kind);
}

static enum rc check_ids(uint8_t need, const struct command_view *out, struct err *err)
{
    struct invocation_id id;
    struct awakeable_id awakeable;
    enum id_error e = ID_OK;
    if (need & NEED_INVOCATION_ID || out->attach_kind == ATTACH_TARGET_ID)
        e = invocation_id_parse(out->target_id, &id);
    if (need & NEED_AWAKEABLE_ID)
        e = awakeable_id_parse(out->target_id, &awakeable);
    if (e == ID_OK)
        return RC_OK;
    char reason[128];
    id_error_message(e, out->target_id, reason, sizeof(reason));
    return err_set(err, RC_INVALID, "bad id '%.*s': %s", (int)MIN(out->target_id.len, (size_t)64),
                   (const char *)out->target_id.ptr, reason);
}

static enum rc decode(uint16_t type, struct slice payload, uint8_t need, struct command_view *out,
                      struct err *err)
{
    const struct command_rule *rule = &command_rules[type - MSG_INPUT];
    struct decoding d = {.out = out};
    struct reader r = reader_make(payload);
    struct pb_field f;
    *out = (struct command_view){.type = type, .payload = payload, .header_field = rule->header_field};
    while (pb_next(&r, &f)) {
        const struct field_rule *field = rule_for(rule, f.number);
        if (field && !decode_field(&d, field, &f))
            return err_set(err, RC_INVALID, "malformed field %u", f.number);
    }
    if (r.failed)
        return err_set(err, RC_INVALID, "not a valid protobuf message");
    if (need & NEED_VALUE && out->value.kind == OUTCOME_NONE)
        return err_set(err, RC_INVALID, "missing value or result");
    if (need & NEED_SIGNAL_ID && !d.has_signal_id)
        return err_set(err, RC_INVALID, "missing signal index or name");
    if (need & NEED_STATE_KEYS && !d.has_state_keys)
        return err_set(err, RC_INVALID, "missing state keys");
    if (need & NEED_ATTACH_TARGET && out->attach_kind == ATTACH_TARGET_NONE)
        return err_set(err, RC_INVALID, "missing target");
    return check_ids(need, out, err);
}

enum rc command_decode(uint16_t type, struct slice payload, struct command_view *out, struct err *err)
{
    ASSERT(message_is_command(type));
    return decode(type, payload, command_rules[type - MSG_INPUT].need, out, err);
}

bool eager_state_key(struct slice payload, struct slice *key)
{
    struct command_view view;
    if (decode(MSG_GET_EAGER_STATE, payload, 0, &view, NULL) != RC_OK)
        return false;
    *key = view.key;
    return true;
}

bool input_valid(struct slice payload)
{
    struct command_view view;
    return command_decode(MSG_INPUT, payload, &view, NULL) == RC_OK;
}

bool command_header_next(const struct command_view *c, size_t *pos, struct slice *key, struct slice *value)
{
    if (!c->header_field || *pos >= c->payload.len)
        return false;
    struct reader r = reader_make(slice_sub(c->payload, *pos, c->payload.len - *pos));
    struct pb_field f;
    while (pb_next(&r, &f)) {
        *pos = (size_t)(r.p - c->payload.ptr);
        if (f.number == c->header_field && f.wire == PB_LEN)
            return header_parse(f.bytes, key, value);
    }
    *pos = c->payload.len;
    return false;
}

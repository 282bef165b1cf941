/* Frames and the messages the server writes or reads outside the journal's commands (wire/service_protocol.h;
 * spec/service-protocol.md §4, §5). Decoding of commands is in command_decode.c. */
#include "wire/service_protocol.h"

#include "wire/message_parts.h"

/* ---- frames ---- */

void frame_header_put(uint8_t out[FRAME_HEADER_SIZE], uint16_t type, uint32_t length)
{
    put_u16be(out, type);
    put_u16be(out + 2, 0);
    put_u32be(out + 4, length);
}

struct frame_header frame_header_get(const uint8_t in[FRAME_HEADER_SIZE])
{
    return (struct frame_header){
        .type = get_u16be(in),
        .ack = in[2] & FRAME_FLAG_ACK,
        .length = get_u32be(in + 4),
    };
}

const char *message_type_name(uint16_t type)
{
    static const char *const control[] = {
        "Start",      "Suspension",           "Error",      "End",
        "CommandAck", "ProposeRunCompletion", "AwaitingOn", "ProposeRunCompletionAck"};
    /* Commands by low byte; their notifications share the name. */
    static const char *const entries[] = {
        "Input",
        "Output",
        "GetLazyState",
        "SetState",
        "ClearState",
        "ClearAllState",
        "GetLazyStateKeys",
        "GetEagerState",
        "GetEagerStateKeys",
        "GetPromise",
        "PeekPromise",
        "CompletePromise",
        "Sleep",
        "Call",
        "OneWayCall",
        NULL,
        "SendSignal",
        "Run",
        "AttachInvocation",
        "GetInvocationOutput",
        "CompleteAwakeable",
    };
    if (type <= MSG_PROPOSE_RUN_ACK)
        return control[type];
    if (message_is_command(type))
        return entries[type - MSG_INPUT];
    if (type == MSG_N_SIGNAL)
        return "Signal";
    if (type == MSG_N_CALL_INVOCATION_ID)
        return "CallInvocationId";
    uint16_t command = (uint16_t)(MSG_INPUT | (type & 0xff));
    if (message_is_notification(type) && message_is_command(command) &&
        notification_type_for(command) == type)
        return entries[command - MSG_INPUT];
    return NULL;
}

uint16_t notification_type_for(uint16_t command_type)
{
    switch (command_type) {
    case MSG_GET_LAZY_STATE:
    case MSG_GET_LAZY_STATE_KEYS:
    case MSG_GET_PROMISE:
    case MSG_PEEK_PROMISE:
    case MSG_COMPLETE_PROMISE:
    case MSG_SLEEP:
    case MSG_CALL:
    case MSG_RUN:
    case MSG_ATTACH:
    case MSG_GET_OUTPUT:
        return (uint16_t)(0x8000 | (command_type & 0xff));
    default:
        return 0;
    }
}

/* ---- messages from the SDK ---- */

bool error_decode(struct slice payload, struct error_view *out)
{
    struct reader r = reader_make(payload);
    struct pb_field f;
    *out = (struct error_view){0};
    while (pb_next(&r, &f)) {
        bool is_text = f.number == 2 || f.number == 3 || f.number == 5;
        bool is_known = f.number >= 1 && f.number <= 9 && f.number != 7;
        if (is_known && f.wire != (is_text ? PB_LEN : PB_VARINT))
            return false;
        if (is_text && !slice_is_utf8(f.bytes))
            return false;
        switch (f.number) {
        case 1:
            out->code = (uint32_t)f.value;
            break;
        case 2:
            out->message = f.bytes;
            break;
        case 3:
            out->stacktrace = f.bytes;
            break;
        case 4:
            out->has_command_index = true;
            out->command_index = (uint32_t)f.value;
            break;
        case 5:
            out->has_command_name = true;
            out->command_name = f.bytes;
            break;
        case 6:
            out->has_command_type = true;
            out->command_type = (uint32_t)f.value;
            break;
        case 8:
            out->has_next_retry_delay = true;
            out->next_retry_delay_ms = f.value;
            break;
        case 9:
            out->behavior = (uint32_t)f.value;
            break;
        default:
            break;
        }
    }
    return !r.failed;
}

bool propose_run_decode(struct slice payload, struct propose_run_view *out)
{
    struct reader r = reader_make(payload);
    struct pb_field f;
    struct failure_view failure;
    *out = (struct propose_run_view){0};
    while (pb_next(&r, &f)) {
        if (f.number == 1) {
            if (f.wire != PB_VARINT)
                return false;
            out->completion_id = (uint32_t)f.value;
        } else if (f.number == 14) {
            if (f.wire != PB_LEN)
                return false;
            out->outcome = (struct outcome){.kind = OUTCOME_SUCCESS, .value = f.bytes};
        } else if (f.number == 15) {
            if (f.wire != PB_LEN || !failure_parse(f.bytes, &failure))
                return false;
            out->outcome = (struct outcome){.kind = OUTCOME_FAILURE, .value = f.bytes};
        }
    }
    return !r.failed;
}

/* One field of a repeated u32, packed or not. */
static bool u32_list_field(const struct pb_field *f, enum notification_id_kind kind, struct writer *ids,
                           size_t *count)
{
    struct notification_id id = {.kind = kind};
    if (f->wire == PB_VARINT) {
        id.index = (uint32_t)f->value;
        if (ids)
            notification_id_write(ids, &id);
        ++*count;
        return true;
    }
    if (f->wire != PB_LEN)
        return false;
    struct reader r = reader_make(f->bytes);
    uint64_t value;
    while (pb_packed_next(&r, &value)) {
        id.index = (uint32_t)value;
        if (ids)
            notification_id_write(ids, &id);
        ++*count;
    }
    return !r.failed;
}

/* Fields 1..3 of Suspension and of Future: the leaves. `ids` may be NULL to count only. */
static bool leaf_field(const struct pb_field *f, struct writer *ids, size_t *count)
{
    if (f->number == 1)
        return u32_list_field(f, NOTIFICATION_COMPLETION, ids, count);
    if (f->number == 2)
        return u32_list_field(f, NOTIFICATION_SIGNAL, ids, count);
    if (f->wire != PB_LEN || !slice_is_utf8(f->bytes))
        return false;
    struct notification_id id = {.kind = NOTIFICATION_NAMED_SIGNAL, .name = f->bytes};
    if (ids)
        notification_id_write(ids, &id);
    ++*count;
    return true;
}

bool suspension_decode(struct slice payload, struct writer *ids, size_t *count)
{
    struct reader r = reader_make(payload);
    struct pb_field f;
    *count = 0;
    while (pb_next(&r, &f))
        if (f.number <= 3 && !leaf_field(&f, ids, count))
            return false;
    return !r.failed;
}

#define COMBINATOR_TYPES 5

static enum rc future_walk(struct slice future, uint32_t depth_left, size_t *leaves)
{
    if (depth_left == 0)
        return RC_TOO_LARGE;
    struct reader r = reader_make(future);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        if (f.number <= 3 && !leaf_field(&f, NULL, leaves))
            return RC_INVALID;
        if (f.number == 4) {
            if (f.wire != PB_LEN)
                return RC_INVALID;
            enum rc rc = future_walk(f.bytes, depth_left - 1, leaves);
            if (rc != RC_OK)
                return rc;
        }
        if (f.number == 5 && (f.wire != PB_VARINT || f.value >= COMBINATOR_TYPES))
            return RC_INVALID;
    }
    return r.failed ? RC_INVALID : RC_OK;
}

enum rc future_validate(struct slice future, uint32_t max_depth)
{
    size_t leaves = 0;
    enum rc rc = future_walk(future, MIN(max_depth, FUTURE_DEPTH_HARD_LIMIT), &leaves);
    return rc == RC_OK && leaves == 0 ? RC_INVALID : rc;
}

enum rc future_decode(struct slice payload, uint32_t field, uint32_t max_depth, struct slice *future)
{
    struct reader r = reader_make(payload);
    struct pb_field f;
    *future = SLICE_EMPTY;
    while (pb_next(&r, &f)) {
        if (f.number != field)
            continue;
        if (f.wire != PB_LEN)
            return RC_INVALID;
        *future = f.bytes;
    }
    if (r.failed || !future->ptr)
        return RC_INVALID;
    return future_validate(*future, max_depth);
}

/* ---- Start ---- */

#define START_TAIL_ROOM 128

void start_begin(struct writer *w, const struct start_message *m)
{
    ASSERT_MSG(w->len == 0, "start_finish finds the frame header at the beginning of the writer");
    uint8_t id[INVOCATION_ID_BYTES];
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_to_bytes(m->id, id);
    invocation_id_format(m->id, text);
    memset(writer_reserve(w, FRAME_HEADER_SIZE), 0, FRAME_HEADER_SIZE);
    w->len = FRAME_HEADER_SIZE;
    pb_write_bytes_always(w, 1, slice_make(id, sizeof(id)));
    pb_write_bytes_always(w, 2, slice_make(text, INVOCATION_ID_TEXT));
    pb_write_u64(w, 3, m->known_entries);
}

void start_state(struct writer *w, struct slice key, struct slice value)
{
    size_t size =
        (key.len ? pb_len_field_size(1, key.len) : 0) + (value.len ? pb_len_field_size(2, value.len) : 0);
    /* At most one growth per entry; start_finish must not move a large state again for its few fields. */
    writer_reserve(w, pb_len_field_size(4, size) + START_TAIL_ROOM);
    pb_write_len_header(w, 4, size);
    pb_write_bytes(w, 1, key);
    pb_write_bytes(w, 2, value);
}

void start_finish(struct writer *w, const struct start_message *m)
{
    pb_write_bool(w, 5, m->partial_state);
    pb_write_bytes(w, 6, m->key);
    pb_write_u64(w, 7, m->retry_count);
    pb_write_u64(w, 8, m->duration_since_last_entry_ms);
    pb_write_u64(w, 9, m->random_seed);
    const struct slice optional[] = {m->scope, m->limit_key, m->idempotency_key};
    for (uint32_t i = 0; i < ARRAY_LEN(optional); i++)
        if (optional[i].ptr)
            pb_write_bytes_always(w, 10 + i, optional[i]);
    ASSERT(w->len - FRAME_HEADER_SIZE <= UINT32_MAX);
    frame_header_put(w->buf->data, MSG_START, (uint32_t)(w->len - FRAME_HEADER_SIZE));
}

/* ---- notifications ---- */

/* With a code in range. */
static void failure_field_write(struct writer *w, uint32_t number, struct slice encoded)
{
    struct reader r = reader_make(encoded);
    struct pb_field f;
    bool in_range = true;
    while (pb_next(&r, &f))
        in_range = in_range && (f.number != 1 || failure_code((uint32_t)f.value) == f.value);
    if (in_range) {
        pb_write_bytes_always(w, number, encoded);
        return;
    }
    struct writer failure = WRITER_INIT;
    r = reader_make(encoded);
    while (pb_next(&r, &f)) {
        if (f.number == 1)
            pb_write_u64(&failure, 1, failure_code((uint32_t)f.value));
        else if (f.wire == PB_LEN)
            pb_write_bytes_always(&failure, f.number, f.bytes);
    }
    pb_put_message(w, number, &failure);
}

void notification_write(struct writer *w, const struct notification_id *id, const struct outcome *o)
{
    if (id->kind == NOTIFICATION_NAMED_SIGNAL)
        pb_write_bytes_always(w, 3, id->name);
    else
        pb_write_u64_always(w, id->kind == NOTIFICATION_COMPLETION ? 1 : 2, id->index);
    switch (o->kind) {
    case OUTCOME_VOID:
        pb_write_len_header(w, 4, 0);
        return;
    case OUTCOME_SUCCESS:
        value_field_write(w, 5, o->value);
        return;
    case OUTCOME_FAILURE:
        failure_field_write(w, 6, o->value);
        return;
    case OUTCOME_NONE:
        break;
    }
    UNREACHABLE("a notification needs a result");
}

void notification_invocation_id_write(struct writer *w, uint32_t completion_id, struct invocation_id id)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(id, text);
    pb_write_u64_always(w, 1, completion_id);
    pb_write_bytes_always(w, 16, slice_make(text, INVOCATION_ID_TEXT));
}

void notification_state_keys_write(struct writer *w, uint32_t completion_id, struct slice keys)
{
    size_t size = 0;
    struct reader r = reader_make(keys);
    while (r.p != r.end)
        size += pb_len_field_size(1, read_lp(&r).len);
    ASSERT(!r.failed);
    pb_write_u64_always(w, 1, completion_id);
    pb_write_len_header(w, 17, size);
    r = reader_make(keys);
    while (r.p != r.end)
        pb_write_bytes_always(w, 1, read_lp(&r));
}

static bool notification_id_field(const struct pb_field *f, struct notification_id *id)
{
    if (f->number == 3) {
        *id = (struct notification_id){.kind = NOTIFICATION_NAMED_SIGNAL, .name = f->bytes};
        return f->wire == PB_LEN && slice_is_utf8(f->bytes);
    }
    *id = (struct notification_id){
        .kind = f->number == 1 ? NOTIFICATION_COMPLETION : NOTIFICATION_SIGNAL,
        .index = (uint32_t)f->value,
    };
    return f->wire == PB_VARINT;
}

bool notification_decode(struct slice payload, struct notification_view *out)
{
    struct reader r = reader_make(payload);
    struct pb_field f;
    bool has_id = false;
    *out = (struct notification_view){0};
    while (pb_next(&r, &f)) {
        if (f.number <= 3) {
            if (!notification_id_field(&f, &out->id))
                return false;
            has_id = true;
        } else if (f.number <= 6) {
            static const enum outcome_kind kinds[] = {OUTCOME_VOID, OUTCOME_SUCCESS, OUTCOME_FAILURE};
            if (!outcome_field(&f, kinds[f.number - 4], &out->outcome))
                return false;
            out->has_other_result = false;
        } else if (f.number == 16 || f.number == 17) {
            struct invocation_id id;
            if (f.wire != PB_LEN)
                return false;
            if (f.number == 16 ? invocation_id_parse(f.bytes, &id) != ID_OK : !state_keys_valid(f.bytes))
                return false;
            out->outcome.kind = OUTCOME_NONE;
            out->has_other_result = true;
        }
    }
    return !r.failed && has_id && (out->has_other_result || out->outcome.kind != OUTCOME_NONE);
}

/* ---- Input ---- */

static size_t text_field_size(uint32_t number, size_t len)
{
    return len ? pb_len_field_size(number, len) : 0;
}

size_t input_header_size(struct slice name, struct slice value)
{
    return pb_len_field_size(1, text_field_size(1, name.len) + text_field_size(2, value.len));
}

size_t input_value_size(size_t content_len)
{
    return pb_len_field_size(14, text_field_size(1, content_len));
}

void input_write_header(struct writer *w, struct slice name, struct slice value)
{
    pb_write_len_header(w, 1, text_field_size(1, name.len) + text_field_size(2, value.len));
    pb_write_bytes(w, 1, name);
    pb_write_bytes(w, 2, value);
}

void input_write_value(struct writer *w, struct slice content)
{
    value_field_write(w, 14, content);
}

/* Implementation of partition/rpc_message.h. */
#include "partition/rpc_message.h"

#include <stdio.h>

#include "wire/fields.h"

#define RPC_MESSAGE_VERSION 1

/* Results as numbers of the wire: they must not move when enum rc grows. */
static const uint8_t rc_codes[][2] = {
    {RC_OK, 0},         {RC_UNAVAILABLE, 1}, {RC_NOT_LEADER, 2},   {RC_LOST_LEADERSHIP, 3},
    {RC_OVERLOADED, 4}, {RC_CANCELED, 5},    {RC_INTERNAL, 6},     {RC_INVALID, 7},
    {RC_TOO_LARGE, 8},  {RC_NO_SPACE, 9},    {RC_UNSUPPORTED, 10},
};

static uint8_t rc_to_wire(enum rc rc)
{
    for (size_t i = 0; i < ARRAY_LEN(rc_codes); i++) {
        if (rc_codes[i][0] == rc)
            return rc_codes[i][1];
    }
    return 6; /* what happened is not known */
}

static enum rc rc_from_wire(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(rc_codes); i++) {
        if (rc_codes[i][1] == code)
            return (enum rc)rc_codes[i][0];
    }
    return RC_INTERNAL; /* of a later version */
}

static void begin(struct writer *w, enum rpc_message_kind kind, uint64_t call)
{
    write_u8(w, RPC_MESSAGE_VERSION);
    write_u8(w, (uint8_t)kind);
    write_varint(w, call);
}

static enum rpc_message_kind begin_read(struct reader *r, uint64_t *call)
{
    uint8_t version = read_u8(r), kind = read_u8(r);
    *call = read_varint(r);
    bool ok = !r->failed && version == RPC_MESSAGE_VERSION && kind >= RPC_MESSAGE_REQUEST &&
              kind <= RPC_MESSAGE_CANCEL;
    return ok ? (enum rpc_message_kind)kind : 0;
}

enum rpc_message_kind rpc_message_peek(struct slice message, uint64_t *call)
{
    struct reader r = reader_make(message);
    return begin_read(&r, call);
}

void rpc_cancel_encode(struct writer *w, uint64_t call)
{
    begin(w, RPC_MESSAGE_CANCEL, call);
}

/* ---- requests ---- */

static bool has_record(enum rpc_kind kind)
{
    return kind == RPC_INVOKE || kind == RPC_SIGNAL || kind == RPC_PATCH_STATE || kind == RPC_INGEST;
}

void rpc_request_encode(struct writer *w, uint64_t call, const struct partition_rpc *rpc)
{
    begin(w, RPC_MESSAGE_REQUEST, call);
    write_u8(w, (uint8_t)rpc->kind);
    write_u128(w, rpc->request_id);
    write_u64le(w, rpc->partition_key);
    write_id(w, rpc->id);
    write_bool(w, rpc->wait_result);
    write_bool(w, rpc->kill);
    write_bool(w, rpc->repin);
    if (rpc->repin) {
        write_u128(w, rpc->deployment_id);
        write_varint(w, rpc->deployment_min_protocol);
        write_varint(w, rpc->deployment_max_protocol);
    }
    if (rpc->kind == RPC_RESTART_AS_NEW) {
        write_id(w, rpc->new_id);
        write_varint(w, rpc->copy_prefix_up_to);
    }
}

/* The rest of the message. */
static struct slice rest(struct reader *r)
{
    return read_raw(r, reader_left(r));
}

bool rpc_request_decode(struct bytes message, uint64_t *call, struct partition_rpc *out)
{
    struct reader r = reader_make(bytes_slice(message));
    *out = (struct partition_rpc){0};
    if (begin_read(&r, call) != RPC_MESSAGE_REQUEST)
        return false;
    out->kind = (enum rpc_kind)read_enum(&r, RPC_RESUME_QUEUE + 1);
    out->request_id = read_u128(&r);
    out->partition_key = read_u64le(&r);
    out->id = read_id(&r);
    out->wait_result = read_bool(&r);
    out->kill = read_bool(&r);
    out->repin = read_bool(&r);
    if (out->repin) {
        out->deployment_id = read_u128(&r);
        out->deployment_min_protocol = read_varint32(&r);
        out->deployment_max_protocol = read_varint32(&r);
    }
    if (out->kind == RPC_RESTART_AS_NEW) {
        out->new_id = read_id(&r);
        out->copy_prefix_up_to = read_varint32(&r);
    }
    if (r.failed || !has_record(out->kind))
        return reader_done(&r);
    struct slice record = rest(&r);
    if (record.len < RECORD_HEADER_SIZE)
        return false;
    out->record = bytes_part(message, record);
    bytes_compact(&out->record);
    return true;
}

/* ---- batches of records: u32 length, then the record ---- */

void rpc_ingest_add(struct writer *batch, struct slice record)
{
    write_u32le(batch, (uint32_t)record.len);
    write_slice_raw(batch, record);
}

bool rpc_ingest_next(struct reader *r, struct slice *record)
{
    if (reader_left(r) == 0)
        return false;
    *record = read_raw(r, read_u32le(r));
    return !r->failed;
}

/* ---- replies ---- */

void rpc_reply_encode(struct writer *w, uint64_t call, const struct rpc_reply *reply)
{
    begin(w, RPC_MESSAGE_REPLY, call);
    write_u8(w, (uint8_t)reply->status);
    write_u8(w, rc_to_wire(reply->rc));
    write_id(w, reply->id);
    write_bool(w, reply->target.service.ptr != NULL);
    if (reply->target.service.ptr)
        target_write(w, &reply->target);
    write_varint(w, reply->expiry_ms);
    write_varint(w, reply->execution_time_ms);
    write_bool(w, reply->is_new);
    write_u8(w, (uint8_t)reply->invocation_status);
    write_bool(w, reply->pinned);
    write_u128(w, reply->deployment_id);
    write_varint(w, reply->protocol_version);
    write_id(w, reply->new_id);
    write_lp(w, slice_cstr(reply->detail));
    write_u8(w, (uint8_t)reply->outcome.kind);
    write_lp(w, reply->outcome.stacktrace);
    write_bool(w, reply->outcome.value.ptr != NULL);
}

static void read_outcome(struct reader *r, struct outcome *out)
{
    out->kind = (enum outcome_kind)read_enum(r, OUTCOME_FAILURE + 1);
    out->stacktrace = read_lp(r);
    bool has_value = read_bool(r);
    struct slice value = rest(r);
    if (has_value)
        out->value = value;
    else if (value.len)
        field_fail(r);
    /* As record bodies are checked: consumers rely on a failure that parses. */
    struct failure_view failure;
    if (!r->failed && out->kind == OUTCOME_FAILURE && !failure_parse(out->value, &failure))
        field_fail(r);
}

bool rpc_reply_decode(struct bytes message, uint64_t *call, struct rpc_reply *out)
{
    struct reader r = reader_make(bytes_slice(message));
    *out = (struct rpc_reply){0};
    if (begin_read(&r, call) != RPC_MESSAGE_REPLY)
        return false;
    out->status = (enum rpc_status)read_enum(&r, RPC_QUEUES_FULL + 1);
    out->rc = rc_from_wire(read_u8(&r));
    out->id = read_id(&r);
    if (read_bool(&r))
        target_read(&r, &out->target);
    out->expiry_ms = read_varint(&r);
    out->execution_time_ms = read_varint(&r);
    out->is_new = read_bool(&r);
    out->invocation_status = (enum invocation_status)read_enum(&r, INV_HELD + 1);
    out->pinned = read_bool(&r);
    out->deployment_id = read_u128(&r);
    out->protocol_version = read_varint32(&r);
    out->new_id = read_id(&r);
    struct slice detail = read_text(&r);
    if (!r.failed)
        snprintf(out->detail, sizeof(out->detail), "%.*s", SLICE_FMT(detail));
    read_outcome(&r, &out->outcome);
    out->outcome_bytes = out->target_bytes = message;
    return reader_done(&r);
}

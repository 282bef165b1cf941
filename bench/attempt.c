/* The journal side of the benchmark's endpoint: frames in, replay, frames out. */
#include "attempt.h"

#include <stdio.h>
#include <stdlib.h>

struct attempt_stats attempt_stats;

struct slice attempt_slice(const struct attempt *a, struct attempt_part part)
{
    return slice_sub(writer_slice(&a->in), part.off, part.len);
}

/* ---- frames out ---- */

size_t attempt_frame_begin(struct attempt *a, uint16_t type)
{
    size_t frame = a->out.len;
    frame_header_put(writer_reserve(&a->out, FRAME_HEADER_SIZE), type, 0);
    a->out.len += FRAME_HEADER_SIZE;
    return frame;
}

void attempt_frame_end(struct attempt *a, size_t frame)
{
    put_u32be(a->out.buf->data + frame + 4, (uint32_t)(a->out.len - frame - FRAME_HEADER_SIZE));
}

static void decide(struct attempt *a, uint64_t *counter)
{
    a->decided = true;
    a->awaiting = 0;
    ++*counter;
}

static void emit_end(struct attempt *a)
{
    attempt_frame_end(a, attempt_frame_begin(a, MSG_END));
    decide(a, &attempt_stats.ended);
}

static void emit_suspension(struct attempt *a)
{
    size_t frame = attempt_frame_begin(a, MSG_SUSPENSION);
    pb_write_len_header(&a->out, 1, pb_varint_size(a->awaiting));
    write_varint(&a->out, a->awaiting);
    pb_write_len_header(&a->out, 2, 1); /* signal 1: every await can be canceled */
    write_varint(&a->out, 1);
    attempt_frame_end(a, frame);
    decide(a, &attempt_stats.suspended);
}

void attempt_error(struct attempt *a, uint32_t code, const char *message)
{
    if (a->decided)
        return;
    fprintf(stderr, "bench_endpoint: %s: error %u: %s\n", a->handler->path, code, message);
    size_t frame = attempt_frame_begin(a, MSG_ERROR);
    pb_write_u64(&a->out, 1, code);
    pb_write_bytes(&a->out, 2, slice_cstr(message));
    attempt_frame_end(a, frame);
    decide(a, &attempt_stats.failed);
}

void attempt_succeed(struct attempt *a, struct slice value)
{
    if (!attempt_next_recorded(a, MSG_OUTPUT, NULL)) {
        if (a->decided)
            return;
        size_t frame = attempt_frame_begin(a, MSG_OUTPUT);
        pb_write_len_header(&a->out, 14, value.len ? pb_len_field_size(1, value.len) : 0);
        pb_write_bytes(&a->out, 1, value);
        attempt_frame_end(a, frame);
    }
    emit_end(a);
}

void attempt_fail(struct attempt *a, uint32_t code, struct slice message)
{
    if (!attempt_next_recorded(a, MSG_OUTPUT, NULL)) {
        if (a->decided)
            return;
        size_t frame = attempt_frame_begin(a, MSG_OUTPUT);
        struct writer failure = WRITER_INIT;
        failure_write(&failure, code, message);
        pb_write_bytes_always(&a->out, 15, writer_slice(&failure));
        writer_free(&failure);
        attempt_frame_end(a, frame);
    }
    emit_end(a);
}

static void flush(struct attempt *a)
{
    if (a->out.len) {
        if (!a->response_started) {
            struct http_header headers[] = {
                {SLICE_LIT("content-type"), slice_cstr(a->content_type)},
                HTTP_HEADER_LIT("x-restate-server", "restate-bench/1"),
            };
            http_response_start(a->req, 200, headers, ARRAY_LEN(headers));
            a->response_started = true;
        }
        http_response_write(a->req, writer_take(&a->out));
    }
    /* As the SDKs do: the response ends after the server has closed its side. */
    if (a->decided && a->half_closed && !a->response_ended) {
        a->response_ended = true;
        http_response_end(a->req, NULL, 0);
    }
}

/* ---- the journal ---- */

bool attempt_next_recorded(struct attempt *a, uint16_t type, struct slice *recorded)
{
    ASSERT(!a->decided);
    uint32_t at = a->cursor++;
    if (at < a->n_commands) {
        if (a->command_types[at] != type) {
            attempt_error(a, 570, "journal mismatch");
            return false;
        }
        if (recorded)
            *recorded = attempt_slice(a, a->commands[at]);
        return true;
    }
    ASSERT(at == a->n_commands && at < ATTEMPT_MAX_COMMANDS);
    a->command_types[at] = type;
    a->commands[at] = (struct attempt_part){0, 0};
    a->n_commands++;
    return false;
}

enum attempt_result attempt_await(struct attempt *a, uint32_t id, struct slice *value)
{
    ASSERT(id && id < ATTEMPT_MAX_COMPLETIONS);
    uint32_t at = a->arrived[id];
    if (a->cancel_arrived && (!at || a->cancel_arrived < at)) {
        attempt_fail(a, 409, SLICE_LIT("Cancelled"));
        return ATTEMPT_FAILURE;
    }
    if (!at) {
        a->awaiting = id;
        return ATTEMPT_PENDING;
    }
    struct notification_view view;
    if (!notification_decode(attempt_slice(a, a->completions[id]), &view)) {
        attempt_error(a, 571, "malformed notification");
        return ATTEMPT_FAILURE;
    }
    if (view.outcome.kind == OUTCOME_FAILURE) {
        struct failure_view failure;
        if (failure_parse(view.outcome.value, &failure))
            attempt_fail(a, failure.code, failure.message);
        else
            attempt_error(a, 571, "malformed failure");
        return ATTEMPT_FAILURE;
    }
    *value = view.outcome.kind == OUTCOME_SUCCESS ? view.outcome.value : SLICE_EMPTY;
    return ATTEMPT_SUCCESS;
}

struct slice attempt_input(const struct attempt *a)
{
    struct reader r = reader_make(attempt_slice(a, a->input));
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.number != 14 || f.wire != PB_LEN)
            continue;
        struct reader value = reader_make(f.bytes);
        for (struct pb_field v; pb_next(&value, &v);) {
            if (v.number == 1 && v.wire == PB_LEN)
                return v.bytes;
        }
    }
    return SLICE_EMPTY;
}

bool attempt_state(const struct attempt *a, struct slice key, struct slice *value, bool *known)
{
    struct reader r = reader_make(attempt_slice(a, a->start));
    *known = true;
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.number == 5 && f.wire == PB_VARINT && f.value)
            *known = false;
        if (f.number != 4 || f.wire != PB_LEN)
            continue;
        struct slice name = SLICE_EMPTY;
        *value = SLICE_EMPTY;
        struct reader entry = reader_make(f.bytes);
        for (struct pb_field e; pb_next(&entry, &e);) {
            if (e.wire == PB_LEN && e.number == 1)
                name = e.bytes;
            else if (e.wire == PB_LEN && e.number == 2)
                *value = e.bytes;
        }
        if (slice_eq(name, key))
            return true;
    }
    return false;
}

/* ---- frames in ---- */

static bool take_start(struct attempt *a, struct attempt_part part)
{
    a->start = part;
    a->has_start = true;
    struct reader r = reader_make(attempt_slice(a, part));
    for (struct pb_field f; pb_next(&r, &f);) {
        if (f.number == 3 && f.wire == PB_VARINT)
            a->known_entries = (uint32_t)f.value;
    }
    return !r.failed && a->known_entries > 0;
}

static bool take_notification(struct attempt *a, struct attempt_part part)
{
    struct notification_view view;
    if (!notification_decode(attempt_slice(a, part), &view))
        return false;
    a->arrivals++;
    if (view.id.kind == NOTIFICATION_SIGNAL && view.id.index == 1 && !a->cancel_arrived)
        a->cancel_arrived = a->arrivals;
    if (view.id.kind != NOTIFICATION_COMPLETION)
        return true;
    uint32_t id = view.id.index;
    if (id >= ATTEMPT_MAX_COMPLETIONS)
        return false;
    if (!a->arrived[id]) {
        a->arrived[id] = a->arrivals;
        a->completions[id] = part;
    }
    return true;
}

static bool take_frame(struct attempt *a, uint16_t type, struct attempt_part part)
{
    if (!a->has_start)
        return type == MSG_START && take_start(a, part);
    if (message_is_notification(type)) {
        a->entries_seen++;
        return take_notification(a, part);
    }
    if (!message_is_command(type) || a->entries_seen == a->known_entries)
        return false; /* nothing else is sent to us, and commands only as replay */
    if (a->entries_seen++ == 0) {
        a->input = part;
        return type == MSG_INPUT;
    }
    if (a->n_commands == ATTEMPT_MAX_COMMANDS)
        return false;
    a->command_types[a->n_commands] = type;
    a->commands[a->n_commands++] = part;
    return true;
}

/* Parse what is complete; false if the server broke the protocol. */
static bool take_frames(struct attempt *a)
{
    while (a->in.len - a->parsed >= FRAME_HEADER_SIZE) {
        struct frame_header h = frame_header_get(a->in.buf->data + a->parsed);
        if (a->in.len - a->parsed - FRAME_HEADER_SIZE < h.length)
            break;
        struct attempt_part part = {a->parsed + FRAME_HEADER_SIZE, h.length};
        a->parsed = part.off + part.len;
        if (!take_frame(a, h.type, part))
            return false;
    }
    return true;
}

static void advance(struct attempt *a)
{
    if (!a->decided && a->has_start && a->entries_seen >= a->known_entries) {
        a->cursor = 0;
        a->awaiting = 0;
        a->handler->run(a);
        ASSERT(a->decided || a->awaiting);
        if (!a->decided && (a->suspend_now || a->half_closed))
            emit_suspension(a);
    }
    flush(a);
}

static void on_chunk(struct http_request *r, struct bytes chunk)
{
    struct attempt *a = http_request_user(r);
    if (!a->decided) {
        write_slice_raw(&a->in, bytes_slice(chunk));
        if (!take_frames(a))
            attempt_error(a, 571, "protocol violation");
        advance(a);
    }
    http_request_consumed(r, chunk.len);
}

static void on_end(struct http_request *r)
{
    struct attempt *a = http_request_user(r);
    a->half_closed = true;
    if (!a->decided && a->entries_seen < a->known_entries)
        attempt_error(a, 571, "the request ended within the replay");
    advance(a);
}

static void on_finished(struct http_request *r, bool completed)
{
    struct attempt *a = http_request_user(r);
    if (!completed || !a->decided)
        attempt_stats.lost++;
    writer_free(&a->in);
    writer_free(&a->out);
    free(a);
}

void attempt_begin(struct http_request *req, const struct bench_handler *handler)
{
    static const struct http_request_ops ops = {
        .on_chunk = on_chunk, .on_end = on_end, .on_finished = on_finished};
    struct attempt *a = xcalloc(1, sizeof(*a));
    struct slice type = http_request_header(req, "content-type");
    a->req = req;
    a->handler = handler;
    snprintf(a->content_type, sizeof(a->content_type), "%.*s", SLICE_FMT(type));
    attempt_stats.attempts++;
    http_request_set_user(req, a);
    http_request_set_ops(req, &ops);
    http_request_stream(req);
}

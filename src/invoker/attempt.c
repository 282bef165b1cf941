/* The life of one attempt (spec/service-protocol.md §3.8, §3.9): HTTP callbacks, timers, half close, drain,
 * and frames towards the SDK. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "invoker/invoker_internal.h"
#include "invoker/rt_codes.h"

/* ---- timers: one per attempt, its meaning follows the phase; activity only moves a time stamp ---- */

static uint64_t phase_timeout_ms(const struct attempt *a)
{
    switch (a->phase) {
    case ATTEMPT_DUPLEX:
        return a->entry->options.inactivity_timeout_ms;
    case ATTEMPT_HALF_CLOSED:
        return a->entry->options.abort_timeout_ms;
    case ATTEMPT_DECIDED:
        return DRAIN_TIMEOUT_MS;
    }
    UNREACHABLE("phase %d", a->phase);
}

static void arm(struct attempt *a)
{
    uint64_t timeout = phase_timeout_ms(a);
    uint64_t at = a->last_activity_ms + timeout;
    if (timeout == OPTION_UNSET || at < a->last_activity_ms) {
        env_timer_cancel(a->inv->env, &a->timer);
        return;
    }
    env_timer_arm_at(a->inv->env, &a->timer, at);
}

static void enter_phase(struct attempt *a, enum attempt_phase phase)
{
    a->phase = phase;
    a->last_activity_ms = env_mono_ms(a->inv->env);
    arm(a);
}

void attempt_touch(struct attempt *a)
{
    a->last_activity_ms = env_mono_ms(a->inv->env);
}

void attempt_begin_timers(struct attempt *a)
{
    enter_phase(a, ATTEMPT_DUPLEX);
}

static void abort_timeout(struct attempt *a)
{
    struct writer d = WRITER_INIT;
    duration_format(&d, a->entry->options.abort_timeout_ms * 1000000);
    attempt_failf(a, CODE_INTERNAL, RT_TIMEOUT_OR_MEMORY,
                  "the invocation stream was closed after the 'abort timeout' (%.*s) fired.",
                  SLICE_FMT(writer_slice(&d)));
    writer_free(&d);
}

static void on_timer(struct env_timer *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, timer);
    if (a->last_activity_ms + phase_timeout_ms(a) > env_mono_ms(a->inv->env)) {
        arm(a); /* there was activity meanwhile */
        return;
    }
    switch (a->phase) {
    case ATTEMPT_DUPLEX:
        attempt_half_close(a);
        break;
    case ATTEMPT_HALF_CLOSED:
        abort_timeout(a);
        break;
    case ATTEMPT_DECIDED:
        carrier_reset(&a->stream);
        break;
    }
}

/* ---- creation and end ---- */

static void on_flush_task(struct env_task *t)
{
    attempt_flush_out(CONTAINER_OF(t, struct attempt, flush_task));
}

struct attempt *attempt_new(struct entry *e)
{
    struct attempt *a = xcalloc(1, sizeof(*a));
    a->inv = e->p->inv;
    a->entry = e;
    a->charged = ATTEMPT_BASE_CHARGE;
    memory_charge(a->inv, a->charged);
    list_push_back(&a->inv->attempts, &a->link);
    env_timer_init(&a->timer, on_timer);
    env_task_init(&a->flush_task, on_flush_task);
    return a;
}

void attempt_free(struct attempt *a)
{
    ASSERT_MSG(!a->entry, "an attempt ended without telling its chain");
    attempt_trace_free(a);
    env_undefer(&a->flush_task);
    if (a->inv) {
        env_timer_cancel(a->inv->env, &a->timer);
        memory_release(a->inv, a->charged);
        list_remove(&a->link);
    }
    if (a->ep)
        endpoint_unref(a->ep);
    frame_input_free(&a->input);
    writer_free(&a->out);
    VEC_FREE(&a->run_acks);
    free(a);
}

void attempt_abort(struct attempt *a)
{
    a->entry = NULL;
    a->phase = ATTEMPT_DECIDED;
    attempt_trace_end(a, SPAN_UNSET, SLICE_EMPTY, "");
    a->counted_task = false;
    env_timer_cancel(a->inv->env, &a->timer);
    env_undefer(&a->flush_task);
    carrier_reset(&a->stream);
}

/* ---- towards the SDK ---- */

static void set_queued_charge(struct attempt *a, uint64_t n)
{
    uint64_t before = a->queued_charge;
    a->queued_charge = n;
    a->charged += n - before;
    if (n >= before)
        memory_charge(a->inv, n - before);
    else
        memory_release(a->inv, before - n);
}

/* What the peer is slow to take counts against the node's memory until on_writable. */
static void stream_write(struct attempt *a, struct bytes take)
{
    metric_add(a->inv->metrics.sent[a->carrier_type], (int64_t)take.len);
    size_t queued = carrier_write(&a->stream, take);
    if (queued > NET_HIGH_WATER)
        set_queued_charge(a, queued);
}

void attempt_flush_out(struct attempt *a)
{
    env_undefer(&a->flush_task);
    if (a->out.len > 0)
        stream_write(a, writer_take(&a->out));
}

void attempt_write_frame(struct attempt *a, uint16_t type, struct bytes payload)
{
    ASSERT(a->phase == ATTEMPT_DUPLEX);
    frame_header_put(writer_reserve(&a->out, FRAME_HEADER_SIZE), type, (uint32_t)payload.len);
    a->out.len += FRAME_HEADER_SIZE;
    if (payload.len <= COPY_LIMIT) {
        write_slice_raw(&a->out, bytes_slice(payload));
        env_defer(a->inv->env, &a->flush_task);
    } else {
        attempt_flush_out(a);
        stream_write(a, bytes_ref(payload));
    }
    attempt_touch(a);
}

static bool take_run_ack(struct attempt *a, uint32_t completion_id)
{
    for (size_t i = 0; i < a->run_acks.len; i++) {
        if (a->run_acks.items[i] == completion_id) {
            a->run_acks.items[i] = a->run_acks.items[--a->run_acks.len];
            return true;
        }
    }
    return false;
}

/* Nothing helps but a higher limit: pause or end as at the last attempt (lifecycle §12.2). */
static void fail_on_memory(struct attempt *a, const char *doing, uint64_t needed)
{
    char text[MEMORY_TEXT_MAX];
    memory_exhausted_text(text, doing, needed);
    struct failure f = {.code = CODE_INTERNAL,
                        .doc_code = RT_TIMEOUT_OR_MEMORY,
                        .message = slice_cstr(text),
                        .not_retryable = true};
    attempt_fail(a, &f);
}

void attempt_forward(struct attempt *a, const struct journal_entry *entry)
{
    if (!memory_fits(a->inv, entry->payload.len)) {
        fail_on_memory(a, "forwarding a notification", entry->payload.len);
        return;
    }
    if (entry->type == MSG_N_RUN && take_run_ack(a, entry->completion_id)) {
        struct writer w = WRITER_INIT;
        pb_write_u64(&w, 1, entry->completion_id);
        struct bytes payload = writer_take(&w);
        attempt_write_frame(a, MSG_PROPOSE_RUN_ACK, payload);
        bytes_unref(&payload);
        return;
    }
    attempt_write_frame(a, entry->type, entry->payload);
}

void attempt_half_close(struct attempt *a)
{
    if (a->phase != ATTEMPT_DUPLEX)
        return;
    attempt_flush_out(a);
    carrier_end(&a->stream);
    enter_phase(a, ATTEMPT_HALF_CLOSED);
}

/* ---- results ---- */

void attempt_decided(struct attempt *a)
{
    if (a->phase == ATTEMPT_DUPLEX) { /* SDKs wait for the end of the request before they end the response */
        attempt_flush_out(a);
        carrier_end(&a->stream);
    }
    enter_phase(a, ATTEMPT_DECIDED);
}

void attempt_fail(struct attempt *a, const struct failure *f)
{
    ASSERT(a->phase != ATTEMPT_DECIDED && a->entry);
    attempt_trace_end(a, SPAN_ERROR, f->message, f->doc_code);
    attempt_metrics_end(a, TASK_FAILED);
    attempt_decided(a);
    entry_failed(a->entry, f);
}

void attempt_failf(struct attempt *a, uint32_t code, const char *doc_code, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct failure f = {.code = code, .doc_code = doc_code};
    f.message = slice_make(text, (size_t)MIN(n, (int)sizeof(text) - 1));
    attempt_fail(a, &f);
}

/* ---- HTTP callbacks ---- */

static void fail_on_rate_limit(struct attempt *a, int status, struct slice retry_after)
{
    char text[256];
    struct failure f = {.code = CODE_INTERNAL, .doc_code = RT_RATE_LIMITED};
    int n =
        snprintf(text, sizeof(text), "service is rate limited due to '%d %s'", status, http_reason(status));
    f.has_delay = retry_after.ptr && retry_after_parse(retry_after, env_wall_ms(a->inv->env), &f.delay_ms);
    if (f.has_delay)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " (retry after: %" PRIu64 " seconds)",
                      (f.delay_ms + 999) / 1000);
    f.message = slice_make(text, (size_t)n);
    attempt_fail(a, &f);
}

static void fail_on_status(struct attempt *a, int status, const struct http_header *headers, size_t n)
{
    switch (status) {
    case 415:
        attempt_failf(a, CODE_UNSUPPORTED_MEDIA, RT_VERSION_REFUSED,
                      "cannot start the invocation because the SDK doesn't support the protocol version '%u' "
                      "negotiated at "
                      "discovery time",
                      a->version);
        break;
    case 413:
        attempt_failf(a, CODE_INTERNAL, RT_CONTENT_TOO_LARGE, "service replied with content too large");
        break;
    case 429:
    case 503:
        fail_on_rate_limit(a, status, http_header_find(headers, n, "retry-after"));
        break;
    case 502:
    case 504:
        attempt_failf(a, CODE_INTERNAL, RT_NETWORK, "service is temporary unavailable '%d %s'", status,
                      http_reason(status));
        break;
    default:
        attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL, "unexpected http status code: %d %s", status,
                      http_reason(status));
    }
}

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct attempt *a = ctx;
    if (a->phase == ATTEMPT_DECIDED || !a->inv)
        return;
    invoker_metrics_status(&a->inv->metrics, a->carrier_type, status);
    struct slice server = http_header_find(headers, n, "x-restate-server");
    size_t server_len = MIN(server.len, sizeof(a->entry->last_server) - 1);
    if (server_len > 0)
        memcpy(a->entry->last_server, server.ptr, server_len);
    a->entry->last_server[server_len] = 0;
    if (status < 200 || status > 299) {
        fail_on_status(a, status, headers, n);
        return;
    }
    struct slice expected = attempt_media_type(a->version);
    struct slice type = http_header_find(headers, n, "content-type");
    if (!type.ptr)
        attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL,
                      "unexpected content type 'None'; expected content type '\"%.*s\"'",
                      SLICE_FMT(expected));
    else if (!slice_eq(type, expected))
        attempt_failf(a, CODE_INTERNAL, RT_PROTOCOL,
                      "unexpected content type 'Some(\"%.*s\")'; expected content type '\"%.*s\"'",
                      SLICE_FMT(type), SLICE_FMT(expected));
    else
        a->head_ok = true;
}

void attempt_consume(struct attempt *a)
{
    if (a->unconsumed > 0) {
        carrier_consumed(&a->stream, a->unconsumed);
        a->unconsumed = 0;
    }
}

/* Keep the charge equal to what the message under assembly holds. */
static void charge_input(struct attempt *a, size_t held_before)
{
    size_t held = frame_input_held(&a->input);
    if (held > held_before) {
        memory_charge(a->inv, held - held_before);
        a->charged += held - held_before;
    } else if (held < held_before) {
        a->charged -= held_before - held;
        memory_release(a->inv, held_before - held);
    }
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct attempt *a = ctx;
    a->unconsumed += data.len;
    if (a->phase == ATTEMPT_DECIDED) {
        if (a->inv && !a->warned_trailing && a->head_ok) {
            a->warned_trailing = true;
            LOG0(LOG_WARN, "restate_invoker", "discarding bytes received after the end of an attempt");
        }
        attempt_consume(a);
        return;
    }
    attempt_touch(a);
    metric_add(a->inv->metrics.received[a->carrier_type], (int64_t)data.len);
    size_t held = frame_input_held(&a->input);
    uint64_t limit = message_limit(a->inv), budget = a->inv->config.per_invocation_memory_limit;
    if (budget > 0 && budget < a->inv->config.message_size_limit)
        limit = MIN(limit, budget + 1);
    enum rc rc = frame_input_feed(&a->input, bytes_slice(data), limit, attempt_on_frame, a);
    charge_input(a, held);
    if (rc == RC_TOO_LARGE && a->input.header.length < message_limit(a->inv))
        fail_on_memory(a, "receiving a message", a->input.header.length);
    else if (rc == RC_TOO_LARGE)
        attempt_failf(a, CODE_INTERNAL, RT_MESSAGE_TOO_LARGE,
                      "message encoding error: hit message size limit: %u >= %" PRIu64,
                      a->input.header.length, message_limit(a->inv));
    struct entry *e = a->entry;
    if (!e || (e->effects.len == 0 && !e->refused.ptr))
        attempt_consume(a); /* nothing waits to be proposed */
}

static void on_writable(void *ctx, struct http_stream *s)
{
    struct attempt *a = ctx;
    if (a->inv)
        set_queued_charge(a, 0);
}

static void on_end(void *ctx, struct http_stream *s)
{
    struct attempt *a = ctx;
    if (a->phase != ATTEMPT_DECIDED)
        attempt_failf(a, CODE_INTERNAL, RT_HANDLER_ERROR, "unknown");
}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct attempt *a = ctx;
    struct entry *e = a->entry;
    a->stream = (struct carrier){0};
    if (a->inv)
        env_undefer(&a->flush_task);
    if (e && a->phase != ATTEMPT_DECIDED) {
        /* Without a stream there is nothing to end or to drain. */
        char cause[ERR_MESSAGE_SIZE], text[ERR_MESSAGE_SIZE + 512];
        dial_cause(err, a->ep->http_1_1 || a->ep->is_lambda, cause, sizeof(cause));
        int n =
            a->head_ok
                ? snprintf(text, sizeof(text), "unexpected error while reading the response body: %s", cause)
                : snprintf(text, sizeof(text), "error when calling '%s': %s", a->ep->uri_text, cause);
        struct failure f = {.code = CODE_INTERNAL, .doc_code = RT_NETWORK};
        f.message = slice_make(text, (size_t)MIN(n, (int)sizeof(text) - 1));
        a->phase = ATTEMPT_DECIDED;
        attempt_trace_end(a, SPAN_ERROR, f.message, f.doc_code);
        attempt_metrics_end(a, TASK_FAILED);
        entry_failed(e, &f);
    }
    if (e) {
        e->attempt = NULL;
        a->entry = NULL;
    }
    attempt_free(a);
    if (e)
        entry_maybe_retry(e);
}

const struct http_stream_ops attempt_stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_writable = on_writable, .on_done = on_done};

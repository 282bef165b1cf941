/* The services of the benchmark's endpoint. Each handler runs again from its beginning after every arrival
 * (attempt.h), so it must be deterministic. */
#include <stdio.h>
#include <stdlib.h>

#include "attempt.h"
#include "base/time.h"
#include "endpoint.h"

#define RUN_STEPS        9
#define STATE_VALUE_SIZE (1u << 20)

/* ---- Bench ---- */

static void greet(struct attempt *a)
{
    attempt_succeed(a, SLICE_LIT("\"hello\""));
}

/* The argument, unchanged: for sizes. */
static void echo(struct attempt *a)
{
    attempt_succeed(a, attempt_input(a));
}

/* ---- eager state ---- */

/* Value of `key` as the SDKs read it: from the state map, recorded in the journal. False: return. */
static bool read_eager(struct attempt *a, struct slice key, struct slice *value)
{
    bool known, present = attempt_state(a, key, value, &known);
    struct slice recorded = SLICE_EMPTY;
    if (attempt_next_recorded(a, MSG_GET_EAGER_STATE, &recorded)) {
        if (recorded.len == 0)
            return true; /* emitted by an earlier run in this attempt, from the same map */
        struct command_view view;
        struct err err;
        if (command_decode(MSG_GET_EAGER_STATE, recorded, &view, &err) != RC_OK) {
            attempt_error(a, 571, err.msg);
            return false;
        }
        *value = view.value.kind == OUTCOME_SUCCESS ? view.value.value : SLICE_EMPTY;
        return true;
    }
    if (a->decided)
        return false;
    if (!present && !known) {
        attempt_error(a, 500, "the benchmark needs eager state");
        return false;
    }
    size_t frame = attempt_frame_begin(a, MSG_GET_EAGER_STATE);
    pb_write_bytes(&a->out, 1, key);
    if (present) {
        pb_write_len_header(&a->out, 14, value->len ? pb_len_field_size(1, value->len) : 0);
        pb_write_bytes(&a->out, 1, *value);
    } else {
        pb_write_len_header(&a->out, 13, 0);
        *value = SLICE_EMPTY;
    }
    attempt_frame_end(a, frame);
    return true;
}

/* False: return. */
static bool write_state(struct attempt *a, struct slice key, struct slice value)
{
    if (attempt_next_recorded(a, MSG_SET_STATE, NULL))
        return true;
    if (a->decided)
        return false;
    size_t frame = attempt_frame_begin(a, MSG_SET_STATE);
    pb_write_bytes(&a->out, 1, key);
    pb_write_len_header(&a->out, 3, value.len ? pb_len_field_size(1, value.len) : 0);
    pb_write_bytes(&a->out, 1, value);
    attempt_frame_end(a, frame);
    return true;
}

static uint64_t parse_u64(struct slice s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= '0' && s.ptr[i] <= '9')
            v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return v;
}

static void counter_add(struct attempt *a)
{
    struct slice old;
    if (!read_eager(a, SLICE_LIT("count"), &old))
        return;
    char text[24];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)parse_u64(old) + 1);
    struct slice value = slice_make(text, (size_t)n);
    if (write_state(a, SLICE_LIT("count"), value))
        attempt_succeed(a, value);
}

static void counter_get(struct attempt *a)
{
    struct slice value;
    if (read_eager(a, SLICE_LIT("count"), &value))
        attempt_succeed(a, value.len ? value : SLICE_LIT("0"));
}

/* Replace the value by one of the size in the argument (bytes; default 1 MiB). */
static void state_write(struct attempt *a)
{
    uint64_t size = parse_u64(attempt_input(a));
    if (size == 0 || size > (16u << 20))
        size = STATE_VALUE_SIZE;
    uint8_t *value = xmalloc(size);
    memset(value, 'x', size);
    value[0] = value[size - 1] = '"';
    bool written = write_state(a, SLICE_LIT("blob"), slice_make(value, size));
    free(value);
    if (written)
        attempt_succeed(a, SLICE_LIT("true"));
}

static void state_read(struct attempt *a)
{
    struct slice value;
    if (!read_eager(a, SLICE_LIT("blob"), &value))
        return;
    char text[24];
    int n = snprintf(text, sizeof(text), "%zu", value.len);
    attempt_succeed(a, slice_make(text, (size_t)n));
}

/* ---- nine run steps ---- */

static void steps_run(struct attempt *a)
{
    struct slice value = SLICE_EMPTY;
    for (uint32_t id = 1; id <= RUN_STEPS; id++) {
        if (!attempt_next_recorded(a, MSG_RUN, NULL)) {
            if (a->decided)
                return;
            size_t frame = attempt_frame_begin(a, MSG_RUN);
            pb_write_u64(&a->out, 11, id);
            pb_write_bytes(&a->out, 12, SLICE_LIT("step"));
            attempt_frame_end(a, frame);
        }
        if (!a->arrived[id] && !(a->proposed & 1ull << id)) {
            a->proposed |= 1ull << id;
            size_t frame = attempt_frame_begin(a, MSG_PROPOSE_RUN);
            pb_write_u64(&a->out, 1, id);
            pb_write_bytes(&a->out, 14, SLICE_LIT("\"done\""));
            attempt_frame_end(a, frame);
        }
        if (attempt_await(a, id, &value) != ATTEMPT_SUCCESS)
            return;
    }
    attempt_succeed(a, value);
}

/* ---- call chain ---- */

static void call_next(struct attempt *a, struct slice handler)
{
    if (!attempt_next_recorded(a, MSG_CALL, NULL)) {
        if (a->decided)
            return;
        size_t frame = attempt_frame_begin(a, MSG_CALL);
        pb_write_bytes(&a->out, 1, SLICE_LIT("BenchChain"));
        pb_write_bytes(&a->out, 2, handler);
        pb_write_bytes(&a->out, 3, SLICE_LIT("\"next\""));
        pb_write_u64(&a->out, 10, 1);
        pb_write_u64(&a->out, 11, 2);
        attempt_frame_end(a, frame);
    }
    struct slice value;
    if (attempt_await(a, 2, &value) == ATTEMPT_SUCCESS)
        attempt_succeed(a, value);
}

static void chain_a(struct attempt *a)
{
    call_next(a, SLICE_LIT("b"));
}
static void chain_b(struct attempt *a)
{
    call_next(a, SLICE_LIT("c"));
}
static void chain_c(struct attempt *a)
{
    attempt_succeed(a, SLICE_LIT("\"end of chain\""));
}

/* ---- sleep ---- */

/* Sleeps the milliseconds of the argument and leaves at once; what wakes it up is a new attempt. */
static void sleep_ms(struct attempt *a)
{
    struct slice recorded = SLICE_EMPTY;
    if (!attempt_next_recorded(a, MSG_SLEEP, &recorded)) {
        if (a->decided)
            return;
        size_t frame = attempt_frame_begin(a, MSG_SLEEP);
        pb_write_u64(&a->out, 1, os_wall_ms() + parse_u64(attempt_input(a)));
        pb_write_u64(&a->out, 11, 1);
        attempt_frame_end(a, frame);
    }
    a->suspend_now = true;
    struct slice value;
    if (attempt_await(a, 1, &value) != ATTEMPT_SUCCESS)
        return;
    struct command_view view;
    struct err err;
    if (recorded.len && command_decode(MSG_SLEEP, recorded, &view, &err) == RC_OK)
        endpoint_record_wake_up(view.time_ms);
    attempt_succeed(a, SLICE_LIT("true"));
}

static const struct bench_handler handlers[] = {
    {"Bench/greet", greet},
    {"Bench/echo", echo},
    {"BenchCounter/add", counter_add},
    {"BenchCounter/get", counter_get},
    {"BenchState/write", state_write},
    {"BenchState/read", state_read},
    {"BenchState/peek", state_read},
    {"BenchSteps/run", steps_run},
    {"BenchFlow/run", steps_run},
    {"BenchChain/a", chain_a},
    {"BenchChain/b", chain_b},
    {"BenchChain/c", chain_c},
    {"BenchSleep/sleep", sleep_ms},
};

const struct bench_handler *bench_handler_find(struct slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        if (slice_eq_cstr(path, handlers[i].path))
            return &handlers[i];
    }
    return NULL;
}

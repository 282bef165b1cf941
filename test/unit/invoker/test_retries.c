/* What failed attempts lead to: retries, delays, events, pause, kill, operator actions
 * (spec/service-protocol.md §9, spec/invocation-lifecycle.md §8.5, §9). */
#include "invoker_fixture.h"

/* The endpoint answers attempt k with plan[k] (the last one for all further attempts). */
static const char *plan[16];
static size_t plan_len;
static void play_plan(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, plan[MIN((size_t)x->number, plan_len) - 1]);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}
static void set_plan(size_t n, const char *const *frames)
{
    memcpy(plan, frames, n * sizeof(*frames));
    plan_len = n;
    F.play = play_plan;
}
#define PLAN(...)                                                                                            \
    set_plan(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

/* Error messages: V6.23 (flaky 1, 2), V6.19 (with next_retry_delay) */
#define ERROR_FLAKY_1 "000200000000001c 08f4031207666c616b7920311a0e4572726f723a20666c616b792031"
#define ERROR_FLAKY_2 "000200000000001c 08f4031207666c616b7920321a0e4572726f723a20666c616b792032"
#define ERROR_RUN_DELAY                                                                                      \
    "0002000000000032 "                                                                                      \
    "08f403120b7472616e7369656e7420311a124572726f723a207472616e7369656e74203120012a05666c616b7930910840 14"
#define GREET FRAME_OUTPUT_5 FRAME_END

static bool backing_off(void)
{
    struct invocation_attempt_status s;
    return invoker_status(F.p, F.invocation.id, &s) && !s.in_flight && s.next_retry_at_ms > 0;
}
static uint64_t start_field(int exchange, uint32_t number)
{
    struct reader r = reader_make(writer_slice(&F.exchanges[exchange].start));
    struct pb_field f;
    uint64_t value = 0;
    while (pb_next(&r, &f))
        if (f.number == number)
            value = f.value;
    return value;
}

static void errors_are_retried_by_the_policy(void **state)
{
    PLAN(ERROR_FLAKY_1, ERROR_FLAKY_2, GREET);
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL); /* initial 20 ms, factor 2 */
    assert_true(run_until(has_ended, 3000));
    assert_string_equal(text_of(&F.proposed), "EVENT | EVENT | PIN6 Output END ");
    assert_string_equal(text_of(&F.events), "{\"ty\":\"TransientError\",\"error_code\":500,\"error_message\":"
                                            "\"flaky 1\",\"error_stacktrace\":\"Error: flaky "
                                            "1\",\"restate_doc_error_code\":\"RT0007\"}\n"
                                            "{\"ty\":\"TransientError\",\"error_code\":500,\"error_message\":"
                                            "\"flaky 2\",\"error_stacktrace\":\"Error: flaky "
                                            "2\",\"restate_doc_error_code\":\"RT0007\"}\n");
    assert_in_range(F.exchanges[1].opened_ms - F.exchanges[0].opened_ms, 19, 120);
    assert_in_range(F.exchanges[2].opened_ms - F.exchanges[1].opened_ms, 39, 160);
    assert_int_equal(start_field(0, 7), 0);
    assert_int_equal(start_field(1, 7), 1);
    assert_int_equal(start_field(2, 7), 2);
}

static void equal_failures_make_one_event(void **state)
{
    PLAN(ERROR_FLAKY_1, ERROR_FLAKY_1, GREET);
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL);
    assert_true(run_until(has_ended, 3000));
    assert_string_equal(text_of(&F.proposed), "EVENT | PIN6 Output END ");
}

static void max_attempts_counts_the_first_and_pauses(void **state)
{
    PLAN(FRAME_RUN_1 ERROR_FLAKY_1, ERROR_FLAKY_1, ERROR_FLAKY_2);
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL); /* max 3, pause */
    assert_true(run_until(has_ended, 3000));
    assert_int_equal(F.n_exchanges, 3);
    assert_string_equal(text_of(&F.proposed), "PIN6 Run EVENT | PAUSED ");
    assert_non_null(
        strstr(text_of(&F.events),
               "{\"ty\":\"Paused\",\"last_failure\":{\"error_code\":500,\"error_message\":\"flaky 2\","));
    struct invocation_attempt_status s;
    assert_false(invoker_status(F.p, F.invocation.id, &s));
    /* a command was received in attempt 1 only: field 7 counts from there */
    assert_int_equal(start_field(1, 7), 1);
    assert_int_equal(start_field(2, 7), 2);
    assert_int_equal(start_field(1, 3), 2); /* known entries: the retry saw the stored Run */
}

static bool yields(uint32_t retries)
{
    F.ended = false;
    invoker_invoke(F.p, &F.invocation);
    return run_until(has_ended, 3000) && F.invocation.backoff.retries == retries;
}

/* A scoped invocation gives its slot back for a long back-off; the counts go on with the next attempt,
 * whoever makes it. */
static void long_delays_of_scoped_invocations_yield(void **state)
{
    struct invocation_attempt_status s;
    PLAN(ERROR_FLAKY_1, ERROR_FLAKY_2, ERROR_FLAKY_1);
    F.config.yield_threshold_ms = 30;
    invoker_reconfigure(F.inv, &F.config);
    make_invocation(TARGET_SERVICE, "Greeter", "fast", NULL); /* 20 ms, 40 ms, max 3, pause */
    F.invocation.si.target.scope = SLICE_LIT("s");
    uint64_t before = env_wall_ms(F.env);
    assert_true(yields(2)); /* the first delay is below the threshold */
    assert_string_equal(text_of(&F.proposed), "EVENT | EVENT YIELD ");
    assert_in_range(F.invocation.backoff.resume_at_ms - before, 39, 400);
    assert_int_equal(F.invocation.backoff.retries_since_command, 2);
    assert_false(invoker_status(F.p, F.invocation.id, &s));
    assert_true(yields(2));
    assert_int_equal(start_field(2, 7), 2);
    assert_string_equal(text_of(&F.proposed),
                        "EVENT | EVENT YIELD | PAUSED "); /* the third attempt was the last */
}

static void without_a_scope_the_invoker_waits_itself(void **state)
{
    PLAN(ERROR_FLAKY_1, GREET);
    F.config.yield_threshold_ms = 1;
    invoker_reconfigure(F.inv, &F.config);
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL);
    assert_true(run_until(has_ended, 3000));
    assert_string_equal(text_of(&F.proposed), "EVENT | PIN6 Output END ");
}

static void max_attempts_may_kill(void **state)
{
    PLAN(ERROR_FLAKY_1, ERROR_FLAKY_2);
    invoke(TARGET_SERVICE, "Greeter", "killed", NULL); /* max 2, kill */
    assert_true(run_until(has_ended, 3000));
    assert_int_equal(F.n_exchanges, 2);
    assert_string_equal(text_of(&F.proposed), "EVENT | FAILED ");
    struct failure_view view;
    assert_true(failure_parse(F.last_failed.failure.value, &view));
    assert_int_equal(view.code, 500);
    assert_true(slice_eq_cstr(view.message, "flaky 2"));
    assert_true(slice_eq_cstr(F.last_failed.failure.stacktrace, "Error: flaky 2"));
}

static void delays_of_the_sdk_do_not_consume_attempts(void **state)
{
    PLAN(FRAME_RUN_1 ERROR_RUN_DELAY, ERROR_RUN_DELAY, ERROR_RUN_DELAY, ERROR_RUN_DELAY, ERROR_RUN_DELAY,
         GREET);
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL); /* max 3, but the SDK asks for 20 ms each time */
    assert_true(run_until(has_ended, 3000));
    assert_int_equal(F.n_exchanges, 6);
    assert_string_equal(text_of(&F.proposed), "PIN6 Run EVENT | Output END ");
    assert_non_null(strstr(text_of(&F.events),
                           "\"related_command_index\":1,\"related_command_name\":\"flaky\","
                           "\"related_command_type\":\"Run\"}"));
    assert_in_range(F.exchanges[1].opened_ms - F.exchanges[0].opened_ms, 19, 100);
    assert_in_range(F.exchanges[5].opened_ms - F.exchanges[4].opened_ms, 19, 100);
}

static void behavior_of_the_error_is_honoured(void **state)
{
    PLAN("0002000000000008 08f4031201784801"); /* behavior 1: pause */
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PAUSED ");
    F.ended = false;
    writer_reset(&F.proposed);
    PLAN("0002000000000008 08f4031201784802"); /* behavior 2: fail */
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "FAILED ");
}

static void sdk_codes_map_to_documentation_codes(void **state)
{
    static const struct {
        const char *frames, *doc_code;
        uint32_t code;
    } cases[] = {{"0002000000000003 08ba04", "RT0016", 570},
                 {"0002000000000003 08bb04", "RT0012", 571},
                 {"0002000000000000", "RT0007", 0},
                 {"0002000000000004 08f0a204", "RT0007", 500}}; /* 70000 */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_plan(1, &cases[i].frames);
        invoke_greet();
        assert_true(run_until(backing_off, 2000));
        struct invocation_attempt_status s;
        assert_true(invoker_status(F.p, F.invocation.id, &s));
        assert_string_equal(s.last_error_doc_code, cases[i].doc_code);
        assert_int_equal(s.last_error_code, cases[i].code);
        assert_string_equal(s.last_attempt_server, "test-sdk/1.0");
        invoker_abort(F.p, F.invocation.id);
    }
}

static void a_future_too_deep_pauses(void **state)
{
    F.inv->config.max_awaited_future_depth = 1;
    F.inv->config.enable_v7 = true;
    PLAN("000100000000000f 220d12010122060a02010228042801"); /* V7.3: nested */
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PAUSED ");
    assert_non_null(strstr(text_of(&F.events), "RT0025"));
    assert_non_null(strstr(text_of(&F.events), "maximum awaited future depth limit of 1 has been reached."));
}

static void retry_waits_for_its_own_records(void **state)
{
    PLAN(FRAME_RUN_1 ERROR_FLAKY_1, GREET);
    F.hold_applied = true;
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL);
    assert_true(run_until(backing_off, 2000));
    run_for(120);
    assert_int_equal(F.n_exchanges, 1); /* the timer fired long ago */
    struct reader r = reader_make(record_body(bytes_slice(F.last_record)));
    struct effects_head head;
    assert_true(effects_begin_read(&r, &head));
    invoker_effects_applied(F.p, head.id, head.token + 1, head.batch, false); /* another chain: no matter */
    run_for(20);
    assert_int_equal(F.n_exchanges, 1);
    F.hold_applied = false;
    invoker_effects_applied(F.p, head.id, head.token, head.batch, false);
    assert_true(run_until(has_ended, 2000));
    assert_int_equal(F.n_exchanges, 2);
}

static void retry_now_skips_the_delay(void **state)
{
    PLAN(ERROR_FLAKY_1, GREET);
    invoke_greet(); /* 500 ms */
    assert_true(run_until(backing_off, 2000));
    uint64_t before = env_mono_ms(F.env);
    invoker_retry_now(F.p, F.invocation.id);
    assert_true(run_until(has_ended, 400));
    assert_true(env_mono_ms(F.env) - before < 300);
}

/* ---- pause by the operator ---- */

static void play_long(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_SLEEP_1);
    if (event == PLAY_HALF_CLOSED) {
        send_hex(x, x->number == 1 ? FRAME_SUSPENSION_1 : ERROR_FLAKY_1);
        end_response(x);
    }
}
static bool slept(void)
{
    return F.invocation.journal.len == 2;
}

static void pause_of_a_running_attempt(void **state)
{
    F.play = play_long;
    assert_false(invoker_pause(F.p, F.invocation.id));
    for (int attempt = 1; attempt <= 2; attempt++) { /* it suspends; it fails: paused both times */
        F.ended = false;
        writer_reset(&F.proposed);
        invoke_greet();
        assert_true(run_until(slept, 2000));
        assert_true(invoker_pause(F.p, F.invocation.id));
        assert_true(run_until(has_ended, 2000));
        assert_string_equal(text_of(&F.proposed), "PIN6 Sleep | PAUSED ");
    }
    assert_string_equal(
        text_of(&F.events),
        "{\"ty\":\"Paused\"}\n"
        "{\"ty\":\"Paused\",\"last_failure\":{\"error_code\":500,\"error_message\":\"flaky 1\","
        "\"error_stacktrace\":\"Error: flaky 1\",\"restate_doc_error_code\":\"RT0007\"}}\n");
}

static void pause_while_backing_off(void **state)
{
    PLAN(ERROR_FLAKY_1);
    invoke_greet();
    assert_true(run_until(backing_off, 2000));
    run_for(5);
    assert_true(invoker_pause(F.p, F.invocation.id));
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "EVENT | PAUSED ");
    assert_non_null(strstr(text_of(&F.events), "{\"ty\":\"Paused\",\"last_failure\":{"));
    assert_int_equal(F.n_exchanges, 1);
}

/* A failed attempt whose response does not end holds the next attempt back until its stream is dropped
 * (§3.9): never two at once. */
static void play_hang_after_error(struct exchange *x, enum play_event event, uint16_t type,
                                  struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, x->number == 1 ? ERROR_FLAKY_1 : GREET);
    if (event == PLAY_HALF_CLOSED && x->number > 1)
        end_response(x);
}
static void drain_ends_after_five_seconds(void **state)
{
    F.play = play_hang_after_error;
    invoke(TARGET_SERVICE, "Greeter", "fast", NULL);
    assert_true(run_until(has_ended, 8000));
    assert_false(F.exchanges[0].completed); /* reset */
    assert_in_range(F.exchanges[0].finished_ms - F.exchanges[0].half_closed_ms, 4900, 5500);
    assert_true(F.exchanges[1].opened_ms >= F.exchanges[0].half_closed_ms + 4900);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {
        T(errors_are_retried_by_the_policy),
        T(equal_failures_make_one_event),
        T(max_attempts_counts_the_first_and_pauses),
        T(max_attempts_may_kill),
        T(long_delays_of_scoped_invocations_yield),
        T(without_a_scope_the_invoker_waits_itself),
        T(delays_of_the_sdk_do_not_consume_attempts),
        T(behavior_of_the_error_is_honoured),
        T(sdk_codes_map_to_documentation_codes),
        T(a_future_too_deep_pauses),
        T(retry_waits_for_its_own_records),
        T(retry_now_skips_the_delay),
        T(pause_of_a_running_attempt),
        T(pause_while_backing_off),
        T(drain_ends_after_five_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

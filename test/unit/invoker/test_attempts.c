/* Attempts against an endpoint in the same process: what is sent, what is proposed in which records, and what
 * happens at the end (spec/service-protocol.md §3, §4.2, §6 to §9, §12, §13). */
#include "invoker_fixture.h"

#include <unistd.h>

/* ---- trivial call ---- */

static void play_greet(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_OUTPUT_5 FRAME_END);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void greet_is_one_record(void **state)
{
    F.play = play_greet;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_true(run_until(all_finished, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Output END ");
    assert_int_equal(F.n_records, 1); /* one log append for the whole attempt */
    struct exchange *x = &F.exchanges[0];
    assert_string_equal(x->path, "/invoke/Greeter/greet");
    assert_string_equal(x->content_type, "application/vnd.restate.invocation.v6");
    assert_string_equal(x->extra, "yes");
    assert_false(x->has_key);
    assert_string_equal(text_of(&x->frames), "start|0400 72030a0132");
    assert_true(x->completed && x->half_closed);
    struct invocation_attempt_status status;
    assert_false(invoker_status(F.p, F.invocation.id, &status)); /* forgotten once proposed */
}

static void key_is_percent_encoded_and_state_is_eager(void **state)
{
    F.play = play_greet;
    put_state("count", "5");
    invoke(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87 /%a");
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(F.exchanges[0].key, "%D0%BA%D0%BB%D1%8E%D1%87%20%2F%25a");
    struct writer hex = WRITER_INIT;
    write_hex(&hex, writer_slice(&F.exchanges[0].start));
    /* state_map {count = 5} and no partial_state */
    assert_non_null(strstr(text_of(&hex), "1801220a0a05636f756e74120135320c"));
    writer_free(&hex);
}

static void lazy_state_sends_no_map(void **state)
{
    F.play = play_greet;
    put_state("count", "5");
    invoke(TARGET_OBJECT_EXCLUSIVE, "Counter", "lazy", "a");
    assert_true(run_until(has_ended, 2000));
    struct writer hex = WRITER_INIT;
    write_hex(&hex, writer_slice(&F.exchanges[0].start));
    assert_non_null(strstr(text_of(&hex), "18012801320161"));
    writer_free(&hex);
}

static void state_above_the_limit_is_partial(void **state)
{
    F.inv->config.eager_state_size_limit = 10;
    F.play = play_greet;
    put_state("a", "1");
    put_state("b", "0123456789");
    invoke(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", "k");
    assert_true(run_until(has_ended, 2000));
    struct writer hex = WRITER_INIT;
    write_hex(&hex, writer_slice(&F.exchanges[0].start));
    assert_non_null(strstr(text_of(&hex), "180122060a01611201312801"));
    writer_free(&hex);
}

/* ---- runs, notifications, acks ---- */

static void play_run(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_RUN_1 FRAME_PROPOSE_1);
    if (event == PLAY_FRAME && type == MSG_N_RUN)
        send_hex(x, FRAME_OUTPUT_5 FRAME_END);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void run_proposal_comes_back_stored(void **state)
{
    F.play = play_run;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Run RunCompletion | Output END ");
    assert_string_equal(text_of(&F.exchanges[0].frames), "start|0400 72030a0132|8011 08012a050a03225222");
}

static void play_run_v7(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_RUN_1 "0005800000000007 08017203225222 000600000000000a 0a080a01011201012801");
    if (event == PLAY_FRAME && type == MSG_PROPOSE_RUN_ACK)
        send_hex(x, FRAME_SLEEP_1 "000100000000000f 220d12010122060a02010228042801");
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void version_7_acks_runs_and_suspends_on_trees(void **state)
{
    F.inv->config.enable_v7 = true;
    F.play = play_run_v7;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN7 Run RunCompletion | Sleep SUSPEND_TREE ");
    assert_string_equal(F.exchanges[0].content_type, "application/vnd.restate.invocation.v7");
    assert_string_equal(text_of(&F.exchanges[0].frames), "start|0400 72030a0132|0007 0801");
}

static void play_acks(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, "0403800000000008 0a016b1a030a0131 0411800000000005 5801620172");
    if (event == PLAY_FRAME && slice_eq(payload, SLICE_LIT("\x08\x02")))
        send_hex(x, FRAME_OUTPUT_5 FRAME_END);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void acks_are_sent_when_asked_for(void **state)
{
    F.play = play_acks; /* X.4 of the vectors */
    invoke(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", "k");
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.exchanges[0].frames), "start|0400 72030a0132|0004 0801|0004 0802");
}

static void play_sleep(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_SLEEP_1);
    if (event == PLAY_FRAME)
        send_hex(x, FRAME_OUTPUT_5 FRAME_END);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}
static bool slept(void)
{
    return F.invocation.journal.len == 2;
}

static void notifications_are_forwarded_but_never_twice(void **state)
{
    F.play = play_sleep;
    make_invocation(TARGET_SERVICE, "Greeter", "greet", NULL);
    uint8_t raw[8];
    append_entry(MSG_N_SIGNAL, bytes_copy(hex_bytes("10012200", raw, sizeof(raw))));
    invoker_invoke(F.p, &F.invocation);
    run_for(20);
    assert_int_equal(F.invocation.journal.len, 3);
    invoker_notify(F.p, &F.invocation, 1); /* late action: the replay contained it */
    run_for(10);
    assert_false(F.ended);
    notify_hex(MSG_N_SLEEP, "08012200");
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.exchanges[0].frames), "start|0400 72030a0132|fbff 10012200|800c 08012200");
}

/* ---- suspension, timeouts, modes ---- */

static void play_suspend(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, FRAME_SLEEP_1);
    if (event == PLAY_HALF_CLOSED) {
        send_hex(x, FRAME_SUSPENSION_1);
        end_response(x);
    }
}

static void inactivity_half_closes_and_the_sdk_suspends(void **state)
{
    F.play = play_suspend;
    invoke(TARGET_SERVICE, "Greeter", "idle", NULL);
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Sleep | SUSPEND ");
    struct exchange *x = &F.exchanges[0];
    assert_in_range(x->half_closed_ms - x->opened_ms, 38, 200);
    /* the notification that wakes it starts a fresh attempt with a full replay */
    F.ended = false;
    F.play = play_greet;
    uint8_t raw[8];
    append_entry(MSG_N_SLEEP, bytes_copy(hex_bytes("08012200", raw, sizeof(raw))));
    invoker_invoke(F.p, &F.invocation);
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.exchanges[1].frames),
                        "start|0400 72030a0132|040c 08fed6d9a3a0345801|800c 08012200");
    assert_string_equal(text_of(&F.proposed), "PIN6 Sleep | SUSPEND | Output END "); /* pinned once */
}

static void request_response_ends_the_request_after_the_replay(void **state)
{
    F.play = play_suspend;
    invoke(TARGET_SERVICE, "Greeter", "oneway", NULL);
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Sleep SUSPEND ");
    assert_in_range(F.exchanges[0].half_closed_ms - F.exchanges[0].opened_ms, 0, 30);
}

static void request_response_over_http_1(void **state)
{
    set_services(default_services, 5, 7, "REQUEST_RESPONSE", true);
    F.play = play_suspend;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Sleep SUSPEND ");
}

static bool backing_off(void)
{
    struct invocation_attempt_status s;
    return invoker_status(F.p, F.invocation.id, &s) && !s.in_flight && s.next_retry_at_ms > 0;
}

static void abort_timeout_fails_the_attempt(void **state)
{
    F.play = play_nothing; /* never answers */
    invoke(TARGET_SERVICE, "Greeter", "idle", NULL);
    assert_true(run_until(backing_off, 2000));
    struct invocation_attempt_status s;
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    assert_string_equal(s.last_error_doc_code, "RT0001");
    assert_int_equal(s.last_error_code, 500);
    assert_true(slice_eq_cstr(s.last_error_message,
                              "the invocation stream was closed after the 'abort timeout' (60ms) fired."));
    assert_string_equal(text_of(&F.proposed), "EVENT ");
}

/* ---- failures of the response head (§3.8) ---- */

static int answer_status;
static const char *answer_type;
static void play_status(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_OPEN) {
        struct http_header headers[2] = {{SLICE_LIT("content-type"), slice_cstr(answer_type)},
                                         HTTP_HEADER_LIT("retry-after", "7")};
        http_response_start(x->req, answer_status, headers,
                            answer_status == 429 || answer_status == 503 ? 2 : 1);
        end_response(x);
    }
}

static void expect_failure(const char *doc_code, uint32_t code, const char *message)
{
    struct invocation_attempt_status s;
    assert_true(run_until(backing_off, 2000));
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    char text[512];
    snprintf(text, sizeof(text), "%.*s", SLICE_FMT(s.last_error_message));
    assert_string_equal(text, message);
    assert_string_equal(s.last_error_doc_code, doc_code);
    assert_int_equal(s.last_error_code, code);
    invoker_abort(F.p, F.invocation.id);
}

static void every_bad_status_has_its_code(void **state)
{
    static const struct {
        int status;
        const char *type, *doc_code;
        uint32_t code;
        const char *message;
    } cases[] = {
        {200, "text/plain", "RT0012", 500,
         "unexpected content type 'Some(\"text/plain\")'; expected content type "
         "'\"application/vnd.restate.invocation.v6\"'"},
        {415, "", "RT0015", 415,
         "cannot start the invocation because the SDK doesn't support the protocol version '6' negotiated at "
         "discovery time"},
        {413, "", "RT0019", 500, "service replied with content too large"},
        {429, "", "RT0023", 500,
         "service is rate limited due to '429 Too Many Requests' (retry after: 7 seconds)"},
        {503, "", "RT0023", 500,
         "service is rate limited due to '503 Service Unavailable' (retry after: 7 seconds)"},
        {502, "", "RT0010", 500, "service is temporary unavailable '502 Bad Gateway'"},
        {504, "", "RT0010", 500, "service is temporary unavailable '504 Gateway Timeout'"},
        {404, "", "RT0012", 500, "unexpected http status code: 404 Not Found"},
        {302, "", "RT0012", 500, "unexpected http status code: 302 Found"},
    };
    F.play = play_status;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        answer_status = cases[i].status;
        answer_type = cases[i].type;
        invoke_greet();
        expect_failure(cases[i].doc_code, cases[i].code, cases[i].message);
    }
    assert_null(strstr(text_of(&F.proposed), "PIN")); /* an attempt without commands does not pin */
}

/* ---- protocol violations (§4.2, §13) ---- */

static const char *bad_frames;
static void play_bad(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED)
        send_hex(x, bad_frames);
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void violations_are_rejected_before_anything_is_stored(void **state)
{
    static const struct {
        const char *frames, *message_start;
    } cases[] = {
        {"0000000000000000", "received unexpected message: Start"},
        {"0004000000000002 0801", "received unexpected message: CommandAck"},
        {"0007000000000002 0801", "received unexpected message: ProposeRunCompletionAck"},
        {"800c000000000004 08012200", "received unexpected message: SleepCompletionNotification"},
        {"0600000000000000", "message encoding error: unknown protocol.message code 0x600"},
        {"fc01000000000000", "message encoding error: unknown protocol.message code 0xFC01"},
        {"040f000000000000", "message encoding error: unknown protocol.message code 0x40F"},
        {"0003000000000000", "received unexpected message: End without an Output"},
        {"0401000000000000",
         "message encoding error: cannot decode message type OutputCommand. Reason: missing value or result"},
        {"0403000000000003 0a0161", "message encoding error"}, /* SetState without value */
        {"0412000000000002 5801", "message encoding error"},   /* Attach without target */
        {"0413000000000002 5801", "message encoding error"},   /* GetInvocationOutput without target */
        {"040c000000000002 08ff", "message encoding error"},   /* truncated varint */
        {"0005000000000002 0801", "malformed ProposeRunCompletionMessage, missing result field"},
        {"0003000000000004 ffffffff",
         "message encoding error: cannot decode message type End. Reason: not a valid"},
        {"0414000000000009 0a05 7369676e5f 1200",
         "message encoding error: cannot decode message type CompleteAwakeableCommand. Reason: bad id"},
        {"0001000000000000", "message encoding error"},               /* empty Suspension */
        {"0006000000000000", "got empty AwaitingOnMessage"},          /* empty AwaitingOn */
        {"040b000000000005 0a01705801 00", "message encoding error"}, /* CompletePromise without value */
    };
    F.play = play_bad;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bad_frames = cases[i].frames;
        writer_reset(&F.proposed);
        invoke(TARGET_WORKFLOW_RUN, "Flow", "run", "w");
        assert_true(run_until(backing_off, 2000));
        struct invocation_attempt_status s;
        assert_true(invoker_status(F.p, F.invocation.id, &s));
        char text[512];
        snprintf(text, sizeof(text), "%.*s", SLICE_FMT(s.last_error_message));
        if (strncmp(text, cases[i].message_start, strlen(cases[i].message_start)) != 0)
            fail_msg("case %zu: %s", i, text);
        assert_string_equal(s.last_error_doc_code, "RT0012");
        invoker_abort(F.p, F.invocation.id);
        run_for(5);
        assert_null(strstr(text_of(&F.proposed), "PIN"));
        if (F.n_exchanges == MAX_EXCHANGES - 1) { /* make room for more */
            assert_true(run_until(all_finished, 1000));
            teardown(NULL);
            setup(NULL);
            F.play = play_bad;
        }
    }
}

static void end_needs_an_output_but_the_replay_may_bring_it(void **state)
{
    bad_frames = FRAME_END;
    F.play = play_bad;
    make_invocation(TARGET_SERVICE, "Greeter", "greet", NULL);
    uint8_t raw[8];
    append_entry(MSG_OUTPUT, bytes_copy(hex_bytes("7200", raw, sizeof(raw))));
    invoker_invoke(F.p, &F.invocation);
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "END ");
}

static void commands_before_a_violation_are_kept(void **state)
{
    bad_frames = FRAME_RUN_1 "0600000000000000" FRAME_OUTPUT_5;
    F.play = play_bad;
    invoke_greet();
    assert_true(run_until(backing_off, 2000));
    run_for(2);
    assert_string_equal(text_of(&F.proposed), "PIN6 Run EVENT ");
}

static void a_message_above_the_limit_fails(void **state)
{
    F.inv->config.message_size_limit = 1000; /* plus 256 KiB */
    bad_frames = "0401000000040400";         /* announces 263,168 bytes */
    F.play = play_bad;
    invoke_greet();
    expect_failure("RT0003", 500, "message encoding error: hit message size limit: 263168 >= 263144");
}

static void play_no_terminal(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED) {
        send_hex(x, FRAME_RUN_1);
        end_response(x);
    }
}

static void a_response_without_terminal_message_is_unknown(void **state)
{
    F.play = play_no_terminal;
    invoke_greet();
    expect_failure("RT0007", 500, "unknown");
}

static void connection_refused(void **state)
{
    net_listener_close(F.listener);
    F.listener = NULL;
    invoke_greet();
    assert_true(run_until(backing_off, 2000));
    struct invocation_attempt_status s;
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    assert_string_equal(s.last_error_doc_code, "RT0010");
    char text[512];
    snprintf(text, sizeof(text), "%.*s", SLICE_FMT(s.last_error_message));
    assert_non_null(strstr(text, "error when calling 'http://127.0.0.1:"));
    assert_non_null(strstr(text, "h2 pool connection error: Connection refused (os error 111)"));
}

/* ---- choice of the deployment (§3.1) ---- */

static void deployments_that_cannot_be_used(void **state)
{
    invoke(TARGET_SERVICE, "Nobody", "home", NULL);
    expect_failure("RT0011", 500, "no deployment was found to process the invocation");

    make_invocation(TARGET_SERVICE, "Greeter", "greet", NULL);
    F.invocation.pinned = true;
    F.invocation.deployment_id = (struct u128){7, 7};
    F.invocation.protocol_version = 6;
    invoker_invoke(F.p, &F.invocation);
    assert_true(run_until(backing_off, 1000));
    struct invocation_attempt_status s;
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    assert_string_equal(s.last_error_doc_code, "RT0011");
    invoker_abort(F.p, F.invocation.id);

    F.invocation.deployment_id = (struct u128){1, 2};
    F.invocation.protocol_version = 4;
    invoker_invoke(F.p, &F.invocation);
    assert_true(run_until(backing_off, 1000));
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    assert_string_equal(s.last_error_doc_code, "RT0014");
    invoker_abort(F.p, F.invocation.id);

    set_services(default_services, 7, 7, "BIDI_STREAM", false);
    invoke_greet();
    assert_true(run_until(backing_off, 1000));
    assert_true(invoker_status(F.p, F.invocation.id, &s));
    assert_string_equal(s.last_error_doc_code, "RT0013");
    assert_int_equal(F.n_exchanges, 0);
}

/* ---- preconditions on the stream ---- */

static void precondition_discards_the_command_and_the_rest(void **state)
{
    /* Run, then a Call of Nope/x, then Output */
    bad_frames = FRAME_RUN_1 "040d00000000000d 0a044e6f706512017850015802" FRAME_OUTPUT_5;
    F.play = play_bad;
    invoke_greet();
    assert_true(run_until(backing_off, 2000));
    run_for(2);
    assert_string_equal(text_of(&F.proposed), "PIN6 Run EVENT ");
    assert_string_equal(
        text_of(&F.events),
        "{\"ty\":\"TransientError\",\"error_code\":500,\"error_message\":\"cannot process command Command: "
        "Call "
        "(command index 2) because of a failed precondition: the service handler Nope/x was not "
        "found\",\"restate_doc_error_code\":\"RT0018\"}\n");
}

static void calls_are_resolved(void **state)
{
    bad_frames = "040d000000000019 0a07436f756e74657212036164641a01322a026b3250015802" FRAME_SUSPENSION_1;
    F.play = play_bad; /* V6.10: Counter/k2/add */
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Call SUSPEND ");
    assert_int_equal(F.last_call.callee.kind, TARGET_OBJECT_EXCLUSIVE);
    assert_true(F.last_call.callee.id.partition_key == 0x758d82ac80d0460a);
    assert_int_equal(F.last_call.callee.completion_retention_ms, 86400000);
}

/* ---- eager reads: no value in the log when the state has it ---- */

static char *eager_frames(const char *value, bool write_first)
{
    struct writer w = WRITER_INIT, payload = WRITER_INIT, hex = WRITER_INIT;
    size_t n = strlen(value), inner = pb_len_field_size(1, n);
    uint8_t head[FRAME_HEADER_SIZE];
    if (write_first) {
        pb_write_bytes(&payload, 1, SLICE_LIT("big"));
        pb_write_len_header(&payload, 3, inner);
        pb_write_bytes(&payload, 1, slice_cstr(value));
        frame_header_put(head, MSG_SET_STATE, (uint32_t)payload.len);
        write_raw(&w, head, sizeof(head));
        write_slice_raw(&w, writer_slice(&payload));
        writer_reset(&payload);
    }
    pb_write_bytes(&payload, 1, SLICE_LIT("big"));
    pb_write_len_header(&payload, 14, inner);
    pb_write_bytes(&payload, 1, slice_cstr(value));
    frame_header_put(head, MSG_GET_EAGER_STATE, (uint32_t)payload.len);
    write_raw(&w, head, sizeof(head));
    write_slice_raw(&w, writer_slice(&payload));
    write_hex(&hex, writer_slice(&w));
    char *out = xasprintf("%s%s%s", text_of(&hex), FRAME_OUTPUT_5, FRAME_END);
    writer_free(&w);
    writer_free(&payload);
    writer_free(&hex);
    return out;
}

static void eager_read(enum target_kind kind, const char *service, const char *handler, const char *value,
                       bool write_first, const char *expected)
{
    char *frames = eager_frames(value, write_first);
    bad_frames = frames;
    F.play = play_bad;
    F.ended = false;
    writer_reset(&F.proposed);
    invoke(kind, service, handler, "k");
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), expected);
    free(frames);
}

#define VALUE_100                                                                                            \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static void eager_values_are_not_logged_again(void **state)
{
    put_state("big", VALUE_100);
    eager_read(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", VALUE_100, false,
               "PIN6 GetEagerState* Output END ");
    /* another value than stored, an own write in flight, a workflow (its state may be patched): sent in full
     */
    eager_read(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", VALUE_100 "x", false,
               "PIN6 GetEagerState Output END ");
    eager_read(TARGET_OBJECT_EXCLUSIVE, "Counter", "add", VALUE_100, true,
               "PIN6 SetState GetEagerState Output END ");
    eager_read(TARGET_WORKFLOW_RUN, "Flow", "run", VALUE_100, false, "PIN6 GetEagerState Output END ");
    eager_read(TARGET_OBJECT_SHARED, "Counter", "get", VALUE_100, false, "PIN6 GetEagerState Output END ");
}

/* ---- big payloads ---- */

#define BIG (3u << 20)
static size_t big_received;
static void play_big(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_REPLAYED) {
        struct buf *b = buf_new(BIG + 32);
        struct writer w = {b, 0};
        size_t inner = pb_len_field_size(1, BIG);
        uint8_t head[FRAME_HEADER_SIZE];
        frame_header_put(head, MSG_OUTPUT, (uint32_t)pb_len_field_size(14, inner));
        write_raw(&w, head, sizeof(head));
        pb_write_len_header(&w, 14, inner);
        pb_write_len_header(&w, 1, BIG);
        memset(writer_reserve(&w, BIG), 'x', BIG);
        w.len += BIG;
        respond_head(x, 200, x->content_type);
        http_response_write(x->req, writer_take(&w));
        send_hex(x, FRAME_END);
        big_received = x->frames.len;
    }
    if (event == PLAY_HALF_CLOSED)
        end_response(x);
}

static void large_messages_pass_both_ways(void **state)
{
    F.play = play_big;
    make_invocation(TARGET_SERVICE, "Greeter", "greet", NULL);
    bytes_unref(&F.invocation.journal.items[0].payload);
    struct buf *b = buf_new(BIG);
    memset(b->data, 0, BIG);
    F.invocation.journal.items[0].payload = bytes_take_buf(b, 0, BIG);
    invoker_invoke(F.p, &F.invocation);
    assert_true(run_until(has_ended, 10000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Output END ");
    assert_string_equal(text_of(&F.exchanges[0].frames), "start|0400 (3145728 bytes)");
    assert_true(run_until(all_finished, 2000));
    run_for(5);
    assert_int_equal(F.inv->memory_used, 0); /* every charge was given back */
}

/* ---- unwilling partition ---- */

static void overloaded_partition_is_asked_again(void **state)
{
    F.play = play_greet;
    F.propose_rc = RC_OVERLOADED;
    invoke_greet();
    run_for(70);
    assert_true(F.refused >= 2);
    assert_false(F.ended);
    F.propose_rc = RC_OK;
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Output END ");
}

static void lost_leadership_aborts(void **state)
{
    F.play = play_sleep;
    F.propose_rc = RC_NOT_LEADER;
    invoke_greet();
    assert_true(run_until(all_finished, 50) || run_until(all_finished, 2000));
    struct invocation_attempt_status s;
    assert_false(invoker_status(F.p, F.invocation.id, &s));
    assert_false(F.exchanges[0].completed); /* reset */
}

/* ---- abort, queue ---- */

static void abort_resets_the_stream_and_drops_effects(void **state)
{
    F.play = play_sleep;
    invoke_greet();
    assert_true(run_until(slept, 2000));
    invoker_abort(F.p, F.invocation.id);
    assert_true(run_until(all_finished, 2000));
    assert_false(F.exchanges[0].completed);
    assert_false(F.exchanges[0].half_closed);
    struct invocation_attempt_status s;
    assert_false(invoker_status(F.p, F.invocation.id, &s));
}

static void stop_with_a_stream_open(void **state)
{
    F.play = play_sleep;
    invoke_greet();
    assert_true(run_until(slept, 2000));
    invoker_partition_free(F.p); /* teardown frees the rest with the stream not yet done */
    F.p = NULL;
}

/* A second invocation behind the one that runs. */
static struct invocation_id invoke_second(void)
{
    struct invocation second = F.invocation;
    second.id.uuid.lo = 99;
    invoker_invoke(F.p, &second);
    return second.id;
}

/* The first one goes; the fixture knows one invocation at a time. */
static void abort_first(struct invocation_id second)
{
    struct invocation_id first = F.invocation.id;
    F.invocation.id = second;
    invoker_abort(F.p, first);
}

static void slots_are_taken_in_order(void **state)
{
    F.inv->config.concurrent_invocations_limit = 1;
    F.play = play_sleep;
    invoke_greet();
    assert_true(run_until(slept, 2000));
    struct invocation_id second = invoke_second();
    run_for(20);
    assert_int_equal(F.n_exchanges, 1);
    struct invoker_stats stats;
    invoker_get_stats(F.inv, &stats);
    assert_int_equal(stats.running, 1);
    assert_int_equal(stats.queued, 1);
    F.play = play_greet;
    abort_first(second);
    assert_true(run_until(has_ended, 2000));
    assert_int_equal(F.n_exchanges, 2);
}

static void starts_wait_for_tokens(void **state)
{
    static struct invoker_throttles throttles;
    throttles = (struct invoker_throttles){0};
    throttle_set(&throttles.starts, 1, 1);
    F.inv->config.throttles = &throttles;
    F.play = play_sleep;
    invoke_greet();
    assert_true(run_until(slept, 2000));
    struct invocation_id second = invoke_second();
    abort_first(second);
    F.play = play_greet;
    run_for(50);
    assert_int_equal(F.n_exchanges, 1);
    assert_true(run_until(has_ended, 2000));
    assert_int_equal(F.n_exchanges, 2);
}

static void actions_wait_for_tokens(void **state)
{
    static struct invoker_throttles throttles;
    throttles = (struct invoker_throttles){0};
    throttle_set(&throttles.actions, 2, 1);
    F.inv->config.throttles = &throttles;
    bad_frames = FRAME_RUN_1 FRAME_PROPOSE_1 FRAME_OUTPUT_5 FRAME_END; /* three actions, one token */
    F.play = play_bad;
    invoke_greet();
    run_for(150);
    assert_string_equal(text_of(&F.proposed), "");
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Run RunCompletion Output END ");
}

static void memory_pool_makes_attempts_wait(void **state)
{
    F.inv->config.memory_limit = ATTEMPT_BASE_CHARGE;
    F.play = play_sleep;
    invoke_greet();
    assert_true(run_until(slept, 2000));
    struct invocation_id second = invoke_second();
    run_for(20);
    assert_int_equal(F.n_exchanges, 1);
    F.play = play_greet;
    abort_first(second);
    assert_true(run_until(has_ended, 2000));
}

static void an_entry_above_the_invocation_limit_pauses(void **state)
{
    F.inv->config.per_invocation_memory_limit = 4;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PAUSED ");
    assert_non_null(strstr(text_of(&F.events),
                           "memory budget exhausted (upper bound exceeded) while reading journal entries"));
    assert_non_null(strstr(text_of(&F.events), "RT0001"));
}

static void a_message_above_the_invocation_limit_pauses(void **state)
{
    F.inv->config.per_invocation_memory_limit = 1000;
    bad_frames = FRAME_RUN_1 "04010000000003e9"; /* announces 1,001 bytes */
    F.play = play_bad;
    invoke_greet();
    assert_true(run_until(has_ended, 2000));
    assert_string_equal(text_of(&F.proposed), "PIN6 Run PAUSED ");
    assert_non_null(strstr(text_of(&F.events), "while receiving a message: needed 1001"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {
        T(greet_is_one_record),
        T(key_is_percent_encoded_and_state_is_eager),
        T(lazy_state_sends_no_map),
        T(state_above_the_limit_is_partial),
        T(run_proposal_comes_back_stored),
        T(version_7_acks_runs_and_suspends_on_trees),
        T(acks_are_sent_when_asked_for),
        T(notifications_are_forwarded_but_never_twice),
        T(inactivity_half_closes_and_the_sdk_suspends),
        T(request_response_ends_the_request_after_the_replay),
        T(request_response_over_http_1),
        T(abort_timeout_fails_the_attempt),
        T(every_bad_status_has_its_code),
        T(violations_are_rejected_before_anything_is_stored),
        T(end_needs_an_output_but_the_replay_may_bring_it),
        T(commands_before_a_violation_are_kept),
        T(a_message_above_the_limit_fails),
        T(a_response_without_terminal_message_is_unknown),
        T(connection_refused),
        T(deployments_that_cannot_be_used),
        T(precondition_discards_the_command_and_the_rest),
        T(calls_are_resolved),
        T(eager_values_are_not_logged_again),
        T(large_messages_pass_both_ways),
        T(overloaded_partition_is_asked_again),
        T(lost_leadership_aborts),
        T(abort_resets_the_stream_and_drops_effects),
        T(stop_with_a_stream_open),
        T(slots_are_taken_in_order),
        T(starts_wait_for_tokens),
        T(actions_wait_for_tokens),
        T(memory_pool_makes_attempts_wait),
        T(an_entry_above_the_invocation_limit_pauses),
        T(a_message_above_the_invocation_limit_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

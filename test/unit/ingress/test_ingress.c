/* The front door over real connections, with a router whose answers the test decides: what goes to the
 * partition, what comes back to the client, retries, overload, disconnects, draining (spec/ingress.md). */
#include "ingress_fixture.h"

#include "base/metrics.h"

#define JSON "content-type: application/json"

/* The input of a submission: headers as "name=value;..." and the content. */
static void input_text(const struct submitted *s, char *headers, size_t cap, struct slice *content)
{
    struct command_view c;
    struct slice key, value;
    size_t pos = 0, len = 0;
    assert_int_equal(command_decode(MSG_INPUT, s->si.input, &c, NULL), RC_OK);
    *content = c.value.value;
    headers[0] = '\0';
    while (command_header_next(&c, &pos, &key, &value))
        len += (size_t)snprintf(headers + len, cap - len, "%.*s=%.*s;", SLICE_FMT(key), SLICE_FMT(value));
}

static void echo_script(struct submitted *s)
{
    if (s->kind == RPC_INVOKE && s->rpc->wait_result) {
        struct command_view c;
        assert_int_equal(command_decode(MSG_INPUT, s->si.input, &c, NULL), RC_OK);
        answer_value(s, c.value.value, 0);
    } else {
        answer(s, &(struct rpc_reply){.status = RPC_OK, .is_new = true});
    }
}

static void overloaded_script(struct submitted *s)
{
    answer_failed(s, RC_UNAVAILABLE);
}

/* ---- calls ---- */

static void a_call_is_submitted_and_answered(void **state)
{
    struct client c;
    struct response r;
    char headers[2048], id[INVOCATION_ID_TEXT + 1];
    struct slice content;
    client_open(&c);
    client_request(&c, "POST", "//Vec/echo/?x=%20a+b",
                   JSON "\nX-Custom: One\nx-custom: Two\nConnection: keep-alive\nIdempotency-Key: k1\n"
                        "idempotency-expires: foo\nx-restate-id: zzz\nOrigin: http://a.b\n"
                        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                   "{\"a\":1}");
    struct submitted *s = submission(1);
    assert_int_equal(s->kind, RPC_INVOKE);
    assert_true(s->rpc->wait_result);
    const struct service_invocation *si = &s->si;
    assert_true(si->target.kind == TARGET_SERVICE && slice_eq_cstr(si->target.service, "Vec"));
    assert_true(slice_eq_cstr(si->target.handler, "echo") && !si->target.key.ptr && !si->target.scope.ptr);
    assert_true(invocation_id_eq(si->id, s->rpc->id));
    assert_true(u128_eq(si->id.uuid, idempotency_uuid(SLICE_EMPTY, SLICE_LIT("Vec"), SLICE_EMPTY,
                                                      SLICE_LIT("echo"), SLICE_LIT("k1"))));
    assert_true(slice_eq_cstr(si->idempotency_key, "k1"));
    assert_true(si->source == SOURCE_INGRESS && u128_eq(si->source_request_id, s->request_id));
    assert_true(si->response_sink.kind == SINK_INGRESS &&
                u128_eq(si->response_sink.request_id, s->request_id));
    assert_false(si->notify_submission);
    assert_true(si->execution_time_ms == 0);
    assert_true(si->completion_retention_ms == 86400000 && si->journal_retention_ms == 86400000);
    assert_true(slice_eq_cstr(si->traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_true(slice_eq_cstr(si->created_using, "1.7.0-test"));
    input_text(s, headers, sizeof(headers), &content);
    assert_string_equal(
        headers, "x-restate-ingress-path=/Vec/echo?x=%20a+b;content-type=application/json;x-custom=One;"
                 "x-restate-id=zzz;origin=http://a.b;"
                 "traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01;content-length=7;");
    assert_true(slice_eq_cstr(content, "{\"a\":1}"));
    invocation_id_format(s->rpc->id, id);
    assert_int_equal(ingress_shared_in_progress(F.shared), 1);

    answer_value(s, SLICE_LIT("\"result\""), 1795454637940u);
    client_receive(&c, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "\"result\"");
    expect_header(&r, "x-restate-id", id);
    expect_header(&r, "content-type", "application/json");
    expect_header(&r, "idempotency-expires", "2026-11-23T17:23:57.940+00:00");
    expect_header(&r, "access-control-allow-origin", "http://a.b");
    expect_header(&r, "access-control-allow-credentials", "true");
    expect_header(&r, "vary", "origin, access-control-request-method, access-control-request-headers");
    expect_no_header(&r, "x-restate-error-source");
    assert_int_equal(ingress_shared_in_progress(F.shared), 0);
    response_free(&r);
    client_close(&c);
}

static void identities_depend_on_key_and_kind(void **state)
{
    struct response r;
    F.script = echo_script;
    exchange(&r, "POST", "/Vec/echo", NULL, NULL); /* an automatic key */
    response_free(&r);
    assert_int_equal(F.submitted[0].si.idempotency_key.len, ULID_TEXT);
    exchange(&r, "GET", "/VecObj/a%2Fb/add", NULL, NULL);
    response_free(&r);
    const struct service_invocation *si = &F.submitted[1].si;
    assert_true(si->target.kind == TARGET_OBJECT_EXCLUSIVE && slice_eq_cstr(si->target.key, "a/b"));
    assert_true(si->id.partition_key == partition_key_of_key(SLICE_LIT("a/b")));
    assert_int_equal(si->idempotency_key.len, ULID_TEXT);
    exchange(&r, "POST", "/VecWf/w/run", NULL, NULL); /* workflows never get one */
    response_free(&r);
    si = &F.submitted[2].si;
    assert_null(si->idempotency_key.ptr);
    assert_true(u128_eq(si->id.uuid, workflow_run_uuid(SLICE_EMPTY, SLICE_LIT("VecWf"), SLICE_LIT("w"))));
    exchange(&r, "POST", "/VecWf/w/key", NULL, NULL);
    response_free(&r);
    si = &F.submitted[3].si;
    assert_true(si->target.kind == TARGET_WORKFLOW_SHARED && !si->idempotency_key.ptr);
    exchange(&r, "POST", "/VecObj//key", "idempotency-key:", NULL); /* both empty, both there */
    response_free(&r);
    si = &F.submitted[4].si;
    assert_true(si->target.key.ptr && si->target.key.len == 0);
    assert_true(si->idempotency_key.ptr && si->idempotency_key.len == 0);
}

static void without_the_cluster_feature_plain_requests_get_random_ids(void **state)
{
    struct response r;
    fixture_stop();
    fixture_start(&(struct ingress_config){.version = "t"});
    F.script = echo_script;
    exchange(&r, "POST", "/Vec/echo", NULL, NULL);
    response_free(&r);
    assert_null(F.submitted[0].si.idempotency_key.ptr);
    exchange(&r, "POST", "/Vec/echo", "idempotency-key: ik", NULL);
    response_free(&r);
    assert_true(F.submitted[1].si.id.partition_key == partition_key_of_key(SLICE_LIT("ik")));
}

static void failures_of_invocations_are_told(void **state)
{
    static const struct {
        uint32_t code;
        int status;
    } codes[] = {{409, 409}, {200, 200}, {599, 599}, {1000, 500}, {99, 500}, {100, 500}, {65535, 500}};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct client c;
        struct response r;
        char want[200];
        struct writer f = WRITER_INIT;
        client_open(&c);
        client_request(&c, "POST", "/Vec/fail", NULL, NULL);
        struct submitted *s = submission(i + 1);
        failure_write(&f, codes[i].code, SLICE_LIT("no\"pe"));
        pb_write_bytes(&f, 3, SLICE_LIT("\x0a\x01k\x12\x01v"));
        struct rpc_reply reply = {
            .status = RPC_OK,
            .outcome = {.kind = OUTCOME_FAILURE,
                        .value = writer_slice(&f),
                        .stacktrace = SLICE_LIT("at x\n")},
        };
        answer(s, &reply);
        writer_free(&f);
        client_receive(&c, &r);
        assert_int_equal(r.status, codes[i].status);
        snprintf(want, sizeof(want),
                 "{\"code\":%u,\"message\":\"no\\\"pe\",\"stacktrace\":\"at "
                 "x\\n\",\"metadata\":{\"k\":\"v\"},\"source\":\"invocation\"}",
                 codes[i].code);
        assert_string_equal(r.body, want);
        expect_header(&r, "x-restate-error-source", "invocation");
        expect_header(&r, "content-type", "application/json");
        assert_non_null(header(&r, "x-restate-id"));
        response_free(&r);
        client_close(&c);
    }
}

static void the_output_rule_of_the_handler_decides_the_content_type(void **state)
{
    static const struct {
        const char *path, *headers, *body, *type;
    } cases[] = {
        {"/Vec/raw", "content-type: x/y", "hi", "application/octet-stream"},
        {"/Vec/plain", "content-type: text/plain", "", NULL},
        {"/Vec/plainAlways", "content-type: text/plain", "", "text/plain"},
        {"/Vec/nothingAnnounced", "content-type: a", "x", "application/json"},
    };
    F.script = echo_script;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct response r;
        exchange(&r, "POST", cases[i].path, cases[i].headers, cases[i].body);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, cases[i].body);
        if (cases[i].type)
            expect_header(&r, "content-type", cases[i].type);
        else
            expect_no_header(&r, "content-type");
        response_free(&r);
    }
}

static void a_result_whose_handler_is_gone_is_not_found(void **state)
{
    struct client c;
    struct response r;
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", NULL, NULL);
    struct submitted *s = submission(1);
    schema_unref(F.cell.schema);
    F.cell.schema = schema_empty();
    answer_value(s, SLICE_LIT("1"), 0);
    client_receive(&c, &r);
    assert_int_equal(r.status, 404);
    assert_string_equal(r.body, "{\"code\":404,\"message\":\"not found\",\"source\":\"ingress\"}");
    expect_no_header(&r, "x-restate-id");
    response_free(&r);
    client_close(&c);
}

/* ---- sends ---- */

static void a_send_is_accepted_once_applied(void **state)
{
    struct client c;
    struct response r;
    char want[200], id[INVOCATION_ID_TEXT + 1];
    client_open(&c);
    client_request(&c, "POST", "/Vec/greet/send?delay=PT2S", JSON, "\"x\"");
    struct submitted *s = submission(1);
    assert_false(s->rpc->wait_result);
    assert_true(s->si.notify_submission && s->si.response_sink.kind == SINK_NONE);
    assert_true(s->si.execution_time_ms > 1700000000000u);
    invocation_id_format(s->rpc->id, id);
    answer(s, &(struct rpc_reply){.status = RPC_OK, .is_new = true, .execution_time_ms = 1795368240029u});
    client_receive(&c, &r);
    assert_int_equal(r.status, 202);
    snprintf(want, sizeof(want),
             "{\"invocationId\":\"%s\",\"executionTime\":\"2026-11-22T17:24:00.029000000Z\",\"status\":"
             "\"Accepted\"}",
             id);
    assert_string_equal(r.body, want);
    expect_header(&r, "x-restate-id", id);
    expect_header(&r, "content-type", "application/json");
    response_free(&r);
    client_request(&c, "POST", "/restate/send/Vec/greet", JSON, "\"x\"");
    s = submission(2);
    assert_true(s->si.execution_time_ms == 0);
    invocation_id_format(s->rpc->id, id);
    answer(s, &(struct rpc_reply){.status = RPC_OK});
    client_receive(&c, &r);
    snprintf(want, sizeof(want), "{\"invocationId\":\"%s\",\"status\":\"PreviouslyAccepted\"}", id);
    assert_string_equal(r.body, want);
    response_free(&r);
    client_close(&c);
}

/* ---- attach, output, awakeables ---- */

#define SOME_ID "inv_1bIt27e8ImUs3mWWmESRaRAy04YQhikUFu"

static void attach_and_output(void **state)
{
    static const struct {
        const char *path;
        struct rpc_reply reply;
        int status;
        const char *body, *source;
        bool id;
    } cases[] = {
        {"/restate/output/" SOME_ID,
         {.status = RPC_NOT_FOUND},
         404,
         "{\"code\":404,\"message\":\"invocation not found\",\"source\":\"ingress\"}",
         "ingress",
         false},
        {"/restate/attach/" SOME_ID,
         {.status = RPC_NOT_FOUND},
         404,
         "{\"code\":404,\"message\":\"not found\",\"source\":\"invocation\"}",
         "invocation",
         true},
        {"/restate/output/" SOME_ID,
         {.status = RPC_NOT_READY},
         470,
         "{\"code\":470,\"message\":\"the invocation exists but has not completed "
         "yet\",\"source\":\"ingress\"}",
         "ingress",
         false},
        {"/restate/invocation/" SOME_ID "/output",
         {.status = RPC_OK, .outcome = {.kind = OUTCOME_SUCCESS}, .expiry_ms = 1795454637000u},
         200,
         "",
         NULL,
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        struct response r;
        client_open(&c);
        client_request(&c, "GET", cases[i].path, NULL, NULL);
        struct submitted *s = submission(i + 1);
        assert_int_equal(s->kind, strstr(cases[i].path, "output") ? RPC_GET_OUTPUT : RPC_ATTACH);
        char id[INVOCATION_ID_TEXT + 1];
        invocation_id_format(s->rpc->id, id);
        assert_string_equal(id, SOME_ID);
        answer(s, &cases[i].reply);
        client_receive(&c, &r);
        assert_int_equal(r.status, cases[i].status);
        assert_string_equal(r.body, cases[i].body);
        if (cases[i].source)
            expect_header(&r, "x-restate-error-source", cases[i].source);
        if (cases[i].id)
            expect_header(&r, "x-restate-id", SOME_ID);
        else
            expect_no_header(&r, "x-restate-id");
        if (cases[i].reply.expiry_ms)
            expect_header(&r, "idempotency-expires", "2026-11-23T17:23:57+00:00");
        response_free(&r);
        client_close(&c);
    }
}

static void attach_uses_the_rule_of_the_handler_it_is_told(void **state)
{
    struct client c;
    struct response r;
    client_open(&c);
    client_request(&c, "GET", "/restate/attach/" SOME_ID, NULL, NULL);
    struct submitted *s = submission(1);
    struct bytes value = bytes_copy(SLICE_LIT("hi"));
    struct rpc_reply reply = {
        .status = RPC_OK,
        .outcome = {.kind = OUTCOME_SUCCESS, .value = bytes_slice(value)},
        .outcome_bytes = value,
        .target = {.kind = TARGET_SERVICE, .service = SLICE_LIT("Vec"), .handler = SLICE_LIT("plain")},
    };
    answer(s, &reply);
    bytes_unref(&value);
    client_receive(&c, &r);
    assert_string_equal(r.body, "hi");
    expect_header(&r, "content-type", "text/plain");
    response_free(&r);
    client_close(&c);
}

static void targets_in_bodies_reach_the_same_invocation(void **state)
{
    struct client c;
    struct response r;
    char id[INVOCATION_ID_TEXT + 1];
    client_open(&c);
    client_request(&c, "POST", "/restate/output", NULL,
                   "{\"target\":\"idempotentInvocation\",\"service\":\"Vec\",\"handler\":\"count\","
                   "\"idempotencyKey\":\"a1\"}");
    struct submitted *s = submission(1);
    assert_int_equal(s->kind, RPC_GET_OUTPUT);
    invocation_id_format(s->rpc->id, id);
    assert_string_equal(id, SOME_ID);
    answer(s, &(struct rpc_reply){.status = RPC_NOT_READY});
    client_receive(&c, &r);
    response_free(&r);
    client_request(&c, "GET", "/restate/invocation/Vec/count/a1/attach", NULL, NULL);
    s = submission(2);
    assert_int_equal(s->kind, RPC_ATTACH);
    invocation_id_format(s->rpc->id, id);
    assert_string_equal(id, SOME_ID);
    client_close(&c);
}

#define SIGN "sign_1_MTaZc2PDnXX9auIk0icKNfE8-856NmdAAAAEQ"

static void awakeables_become_signals(void **state)
{
    struct client c;
    struct response r;
    struct failure_view failure;
    client_open(&c);
    client_request(&c, "POST", "/restate/awakeables/" SIGN "/resolve", NULL, "{\"ok\":true}");
    struct submitted *s = submission(1);
    assert_int_equal(s->kind, RPC_SIGNAL);
    assert_true(!s->signal.named && s->signal.index == 17 && s->signal.outcome.kind == OUTCOME_SUCCESS);
    assert_true(slice_eq_cstr(s->signal.outcome.value, "{\"ok\":true}"));
    answer(s, &(struct rpc_reply){.status = RPC_OK});
    client_receive(&c, &r);
    assert_int_equal(r.status, 202);
    assert_string_equal(r.body, "");
    expect_no_header(&r, "content-type");
    response_free(&r);
    client_request(&c, "POST", "/restate/a/" SIGN "/reject", NULL,
                   "be\xff"
                   "cause");
    s = submission(2);
    assert_int_equal(s->signal.outcome.kind, OUTCOME_FAILURE);
    assert_true(failure_parse(s->signal.outcome.value, &failure) && failure.code == 500);
    assert_true(slice_eq_cstr(failure.message, "be\xef\xbf\xbd"
                                               "cause"));
    answer(s, &(struct rpc_reply){.status = RPC_OK});
    client_receive(&c, &r);
    assert_int_equal(r.status, 202);
    response_free(&r);
    client_close(&c);
}

/* ---- dispatch ---- */

static void refusals_are_retried_with_the_same_request(void **state)
{
    static const enum rc refusals[] = {RC_UNAVAILABLE, RC_NOT_LEADER, RC_OVERLOADED, RC_LOST_LEADERSHIP};
    struct client c;
    struct response r;
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", JSON, "7");
    struct env *env = loop_env(F.loop);
    uint64_t started = env_mono_ms(env);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct submitted *s = submission(i + 1);
        assert_true(u128_eq(s->request_id, F.submitted[0].request_id));
        assert_true(invocation_id_eq(s->si.id, F.submitted[0].si.id));
        assert_true(i == 0 || s->record.ptr != F.submitted[0].record.ptr); /* the first may still be in use */
        answer_failed(s, refusals[i]);
    }
    struct submitted *s = submission(ARRAY_LEN(refusals) + 1);
    uint64_t waited = env_mono_ms(env) - started; /* 50 + 100 + 200 + 400, up to a quarter less */
    assert_true(waited >= 550 && waited < 1500);
    answer_value(s, SLICE_LIT("7"), 0);
    client_receive(&c, &r);
    assert_int_equal(r.status, 200);
    response_free(&r);
    client_close(&c);
}

static void what_may_have_been_processed_is_retried_only_if_idempotent(void **state)
{
    struct client c;
    struct response r;
    client_open(&c);
    client_request(&c, "POST", "/VecWf/w/run", NULL, NULL); /* workflows are idempotent */
    answer_failed(submission(1), RC_LOST_LEADERSHIP);
    answer_value(submission(2), SLICE_LIT("1"), 0);
    client_receive(&c, &r);
    assert_int_equal(r.status, 200);
    response_free(&r);
    client_close(&c);

    fixture_stop();
    fixture_start(&(struct ingress_config){.version = "t"}); /* no automatic keys */
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", NULL, NULL);
    answer_failed(submission(1), RC_UNAVAILABLE); /* certainly not processed */
    answer_failed(submission(2), RC_LOST_LEADERSHIP);
    client_receive(&c, &r);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body, "{\"code\":503,\"message\":\"internal routing error: the test says "
                                "lost_leadership. If the request has an "
                                "'idempotency-key', it can be safely retried, otherwise submitting it again "
                                "may result in executing the "
                                "invocation twice.\",\"source\":\"ingress\"}");
    expect_header(&r, "x-restate-error-source", "ingress");
    response_free(&r);
    client_request(&c, "GET", "/restate/attach/" SOME_ID, NULL, NULL);
    answer_failed(submission(3), RC_INVALID); /* would fail for ever */
    client_receive(&c, &r);
    assert_int_equal(r.status, 503);
    assert_non_null(strstr(r.body, "You may safely retry the request."));
    response_free(&r);
    client_close(&c);
}

static bool nothing_in_progress(void *ctx)
{
    return ingress_shared_in_progress(F.shared) == 0;
}

static void a_client_that_goes_away_is_forgotten(void **state)
{
    struct client c;
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", NULL, NULL);
    submission(1);
    client_close(&c);
    assert_true(run_until(nothing_in_progress, NULL, 2000));
    assert_int_equal(F.n_canceled, 1);

    F.script = overloaded_script; /* and while it backs off */
    F.n_scripted = F.n_submitted;
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", NULL, NULL);
    submission(3);
    client_close(&c);
    assert_true(run_until(nothing_in_progress, NULL, 2000));
    size_t before = F.n_submitted;
    run_for(300);
    assert_int_equal(F.n_submitted, before);
}

static void a_client_that_leaves_before_its_body_submits_nothing(void **state)
{
    struct client c;
    client_open(&c);
    client_send(
        &c, SLICE_LIT(
                "POST /Vec/echo HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n12"));
    run_for(20);
    assert_int_equal(ingress_shared_in_progress(F.shared), 1);
    client_close(&c);
    assert_true(run_until(nothing_in_progress, NULL, 2000));
    assert_int_equal(F.n_submitted, 0);
}

/* ---- the first failing check is told ---- */

static void expect_refused(const char *method, const char *path, const char *headers, const char *body)
{
    struct response r;
    exchange(&r, method, path, headers, NULL);
    assert_string_equal(r.body, body);
    response_free(&r);
}

static void the_first_failing_check_is_told(void **state)
{
    const char *bad_id =
        "{\"code\":400,\"message\":\"bad invocation id 'x': bad format\",\"source\":\"ingress\"}";
    const char *bad_method = "{\"code\":405,\"message\":\"method not allowed\",\"source\":\"ingress\"}";
    expect_refused("PUT", "/restate/invocation/x/output", NULL, bad_id);
    expect_refused("POST", "/restate/attach/x", NULL, bad_id);
    expect_refused("POST", "/restate/attach/" SOME_ID, NULL, bad_method);
    expect_refused("PUT", "/restate/a/x/resolve", NULL, bad_method);
    /* a limit key that is no text is a bad header, not a bad key */
    expect_refused("POST", "/Vec/echo", "x-restate-limit-key: \xc3\xa9",
                   "{\"code\":400,\"message\":\"bad header x-restate-limit-key: ToStrError { _priv: () }\","
                   "\"source\":\"ingress\"}");
    assert_int_equal(F.n_submitted, 0);
}

/* ---- limits ---- */

static void both_kinds_of_too_large(void **state)
{
    struct client c;
    struct response r;
    fixture_stop();
    fixture_start(&(struct ingress_config){.request_size_limit = 10, .version = "t"});
    F.script = echo_script;
    exchange(&r, "GET", "/restate/health", "origin: http://a.b", "01234567890");
    assert_int_equal(r.status, 413);
    assert_string_equal(r.body, "length limit exceeded");
    expect_header(&r, "content-type", "text/plain; charset=utf-8");
    expect_no_header(&r, "vary");
    expect_no_header(&r, "x-restate-error-source");
    response_free(&r);
    client_open(&c);
    client_send(&c, SLICE_LIT("POST /Vec/app HTTP/1.1\r\ncontent-type: application/x\r\n"
                              "content-length: 1000000000000000000\r\n\r\n")); /* and none of it */
    client_receive(&c, &r);
    assert_int_equal(r.status, 413);
    assert_string_equal(r.body, "length limit exceeded");
    response_free(&r);
    client_close(&c);
    client_open(&c);
    client_send(
        &c, SLICE_LIT(
                "POST /Vec/app HTTP/1.1\r\ncontent-type: application/x\r\ntransfer-encoding: chunked\r\n\r\n"
                "b\r\n01234567890\r\n0\r\n\r\n"));
    client_receive(&c, &r);
    assert_int_equal(r.status, 413);
    assert_string_equal(
        r.body, "{\"code\":413,\"message\":\"cannot read body: LengthLimitError\",\"source\":\"ingress\"}");
    response_free(&r);
    client_close(&c);
    exchange(&r, "POST", "/Vec/app", "content-type: application/x", "0123456789");
    assert_int_equal(r.status, 200);
    response_free(&r);
}

static void overload_is_refused_at_once(void **state)
{
    struct client c[2];
    struct response r;
    fixture_stop();
    fixture_start(&(struct ingress_config){.concurrent_requests_limit = 2, .version = "t"});
    for (size_t i = 0; i < 2; i++) {
        client_open(&c[i]);
        client_request(&c[i], "GET", "/restate/attach/" SOME_ID, NULL, NULL);
        submission(i + 1);
    }
    exchange(&r, "GET", "/restate/health", NULL, NULL);
    assert_int_equal(r.status, 429);
    assert_string_equal(r.body, "{\"code\":429,\"message\":\"too many requests, the ingress is overloaded. "
                                "Retry later.\",\"source\":\"ingress\"}");
    response_free(&r);
    exchange(&r, "OPTIONS", "/x", NULL, NULL); /* not counted */
    assert_int_equal(r.status, 200);
    response_free(&r);
    answer(&F.submitted[0], &(struct rpc_reply){.status = RPC_NOT_FOUND});
    client_receive(&c[0], &r);
    response_free(&r);
    exchange(&r, "GET", "/restate/health", NULL, NULL);
    assert_int_equal(r.status, 200);
    response_free(&r);
    client_close(&c[0]);
    client_close(&c[1]);
}

/* ---- scopes, when the feature is on ---- */

static void scoped_requests_with_vqueues(void **state)
{
    struct response r;
    fixture_stop();
    fixture_start(
        &(struct ingress_config){.controlled_idempotent_sharding = true, .vqueues = true, .version = "t"});
    F.script = echo_script;
    exchange(&r, "POST", "/restate/scope/s1/send/Vec/echo?limit-key=a/b/", JSON, "1");
    assert_int_equal(r.status, 202);
    response_free(&r);
    const struct service_invocation *si = &F.submitted[0].si;
    assert_true(slice_eq_cstr(si->target.scope, "s1") && slice_eq_cstr(si->limit_key, "a/b"));
    assert_true(si->id.partition_key == partition_key_of_key(SLICE_LIT("s1")));
    exchange(&r, "POST", "/restate/scope/s1/call/VecObj/k/key", NULL, NULL);
    assert_int_equal(r.status, 400);
    assert_string_equal(r.body, "{\"code\":400,\"message\":\"scope is not supported for Virtual Object "
                                "targets\",\"source\":\"ingress\"}");
    response_free(&r);
}

/* ---- life cycle ---- */

static void on_drained(void *ctx)
{
    F.drained = true;
}
static bool is_drained(void *ctx)
{
    return F.drained;
}

static void draining_lets_requests_finish(void **state)
{
    struct client busy, idle;
    struct response r;
    client_open(&idle);
    client_request(&idle, "GET", "/restate/health", NULL, NULL);
    client_receive(&idle, &r);
    response_free(&r);
    client_open(&busy);
    client_request(&busy, "POST", "/Vec/echo", NULL, NULL);
    submission(1);
    ingress_drain(F.ingress, 3000, on_drained, NULL);
    assert_true(run_until(client_ended, &idle, 1000));
    assert_false(F.drained);
    answer_value(&F.submitted[0], SLICE_LIT("1"), 0);
    client_receive(&busy, &r);
    assert_int_equal(r.status, 200);
    expect_header(&r, "connection", "close");
    assert_true(run_until(is_drained, NULL, 2000));
    response_free(&r);
    client_close(&busy);
    client_close(&idle);
}

static void draining_cuts_what_does_not_finish(void **state)
{
    struct client c;
    client_open(&c);
    client_request(&c, "POST", "/Vec/echo", NULL, NULL);
    submission(1);
    ingress_drain(F.ingress, 50, on_drained, NULL);
    assert_true(run_until(is_drained, NULL, 2000));
    assert_true(run_until(client_ended, &c, 2000));
    assert_int_equal(c.in.len, 0);
    assert_int_equal(F.n_canceled, 1);
    client_close(&c);
}

static void requests_are_counted(void **state)
{
    struct response r;
    F.script = echo_script;
    exchange(&r, "POST", "/Vec/echo", NULL, NULL);
    response_free(&r);
    exchange(&r, "POST", "/Vec/nope", NULL, NULL);
    response_free(&r);
    struct writer w = WRITER_INIT;
    metrics_render(&w, NULL);
    write_u8(&w, 0);
    const char *text = (const char *)w.buf->data;
    assert_non_null(strstr(text, "restate_ingress_requests_total{status=\"admitted\"}"));
    assert_non_null(strstr(
        text, "restate_ingress_requests_total{status=\"completed\",rpc_service=\"Vec\",rpc_type=\"call\"}"));
    assert_non_null(strstr(
        text,
        "restate_ingress_requests_total{status=\"request_error\",rpc_service=\"Vec\",rpc_type=\"call\"}"));
    assert_non_null(strstr(
        text, "restate_ingress_request_duration_seconds_count{rpc_service=\"Vec\",rpc_type=\"call\"}"));
    assert_non_null(strstr(text, "restate_ingress_http_connection_created_total"));
    writer_free(&w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_submitted_and_answered),
        TEST(identities_depend_on_key_and_kind),
        TEST(without_the_cluster_feature_plain_requests_get_random_ids),
        TEST(failures_of_invocations_are_told),
        TEST(the_output_rule_of_the_handler_decides_the_content_type),
        TEST(a_result_whose_handler_is_gone_is_not_found),
        TEST(a_send_is_accepted_once_applied),
        TEST(attach_and_output),
        TEST(attach_uses_the_rule_of_the_handler_it_is_told),
        TEST(targets_in_bodies_reach_the_same_invocation),
        TEST(awakeables_become_signals),
        TEST(refusals_are_retried_with_the_same_request),
        TEST(what_may_have_been_processed_is_retried_only_if_idempotent),
        TEST(a_client_that_goes_away_is_forgotten),
        TEST(a_client_that_leaves_before_its_body_submits_nothing),
        TEST(the_first_failing_check_is_told),
        TEST(both_kinds_of_too_large),
        TEST(overload_is_refused_at_once),
        TEST(scoped_requests_with_vqueues),
        TEST(draining_lets_requests_finish),
        TEST(draining_cuts_what_does_not_finish),
        TEST(requests_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Discovery: the request, the table of errors with their sentences, retries (spec/service-protocol.md §2,
 * spec/admin-api.md §7.3). */
#include "invoker_fixture.h"

static struct {
    bool done;
    struct discovery_result r;
    struct bytes manifest;
} D;
static bool discovered(void)
{
    return D.done;
}
static void on_discovered(void *ctx, const struct discovery_result *result)
{
    assert_false(D.done);
    D.done = true;
    D.r = *result;
    D.manifest = bytes_ref(result->manifest);
}
static void discover(const char *uri, bool http_11)
{
    static const struct schema_header headers[] = {{"X-Extra", "yes"}};
    struct discovery_request request = {
        .uri = uri, .use_http_11 = http_11, .headers = headers, .n_headers = 1};
    bytes_unref(&D.manifest);
    memset(&D, 0, sizeof(D));
    invoker_discover(F.inv, &request, on_discovered, NULL);
    assert_false(D.done); /* never from inside the call */
    assert_true(run_until(discovered, 10000));
}

static int answer_status;
static const char *answer_type, *answer_body;
static char seen_accept[512];
static void play_answer(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event != PLAY_OPEN)
        return;
    copy_header(x->req, "accept", seen_accept, sizeof(seen_accept));
    struct http_header headers[2] = {HTTP_HEADER_LIT("x-restate-server", "restate-sdk-typescript/1.17.2"),
                                     {SLICE_LIT("content-type"), slice_cstr(answer_type ? answer_type : "")}};
    http_response_start(x->req, answer_status, headers, answer_type ? 2 : 1);
    if (answer_body[0])
        http_response_write(x->req, bytes_copy(slice_cstr(answer_body)));
    http_response_end(x->req, NULL, 0);
}
static void answer(int status, const char *type, const char *body)
{
    answer_status = status;
    answer_type = type;
    answer_body = body;
    F.play = play_answer;
}
#define V4 "application/vnd.restate.endpointmanifest.v4+json"
#define ALL_TYPES                                                                                            \
    "application/vnd.restate.endpointmanifest.v1+json, application/vnd.restate.endpointmanifest.v2+json, "   \
    "application/vnd.restate.endpointmanifest.v3+json, application/vnd.restate.endpointmanifest.v4+json"

static void manifest_is_returned_raw(void **state)
{
    answer(200, V4, "{\"any\":1}");
    for (int http_11 = 0; http_11 <= 1; http_11++) {
        char *uri = xasprintf("%ssome/prefix/?q=1", F.url);
        discover(uri, http_11);
        free(uri);
        assert_int_equal(D.r.rc, RC_OK);
        assert_true(slice_eq_cstr(bytes_slice(D.manifest), "{\"any\":1}"));
        assert_string_equal(D.r.sdk_version, "restate-sdk-typescript/1.17.2");
        assert_int_equal(D.r.http_1_1, http_11);
        assert_string_equal(F.exchanges[http_11].path, "/some/prefix/discover?q=1");
        assert_string_equal(F.exchanges[http_11].extra, "yes");
        assert_string_equal(seen_accept, ALL_TYPES);
    }
}

static void content_types_must_match_exactly(void **state)
{
    answer(200, "text/html", "<html>");
    discover(F.url, false);
    assert_string_equal(D.r.restate_code, "META0013");
    assert_int_equal(D.r.http_status, 500);
    assert_string_equal(D.r.message, "received a bad response from the SDK: Bad content type header: "
                                     "\"text/html\". Expected one of '\"" ALL_TYPES "\"'");
    answer(200, V4 "; charset=utf-8", "{}");
    discover(F.url, false);
    assert_string_equal(D.r.restate_code, "META0013");
    answer(200, NULL, "{}");
    discover(F.url, false);
    assert_string_equal(D.r.restate_code, "META0013");
    assert_int_equal(F.n_exchanges, 3); /* not retried */
}

static void bad_statuses(void **state)
{
    answer(404, "text/plain", "nope");
    discover(F.url, false);
    assert_string_equal(D.r.restate_code, "META0003");
    assert_ptr_equal(
        strstr(D.r.message,
               "got status code '404'. Make sure the provided URI has the correct path where the Restate SDK "
               "endpoint is mounted. Response headers: {\"x-restate-server\": "),
        D.r.message);
    assert_non_null(strstr(D.r.message, "}. Body: nope"));
    assert_int_equal(F.n_exchanges, 1);
    answer(401, "text/plain", "");
    discover(F.url, false);
    assert_ptr_equal(strstr(D.r.message, "got status code '401 Unauthorized'. Response headers: {"),
                     D.r.message);
    assert_int_equal(F.n_exchanges, 2);
}

static void play_healing(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (x->number == 3)
        answer_status = 200;
    play_answer(x, event, type, payload);
}
static void server_errors_are_retried(void **state)
{
    answer(503, V4, "{}");
    F.play = play_healing;
    uint64_t before = env_mono_ms(F.env);
    discover(F.url, false);
    assert_int_equal(D.r.rc, RC_OK);
    assert_int_equal(F.n_exchanges, 3);
    assert_in_range(env_mono_ms(F.env) - before, 300, 800); /* 100 and 200 ms, plus up to 30 % */
    answer(500, "text/plain", "boom");
    discover(F.url, false);
    assert_int_equal(F.n_exchanges, 3 + 5);
    assert_ptr_equal(strstr(D.r.message, "got status code '500 Internal Server Error'. Response headers: {"),
                     D.r.message);
}

static void refused_connections(void **state)
{
    net_listener_close(F.listener);
    F.listener = NULL;
    discover(F.url, false);
    assert_string_equal(D.r.restate_code, "META0003");
    char *expected = xasprintf(
        "error when calling '%s': h2 pool connection error: Connection refused (os error 111)", F.url);
    assert_string_equal(D.r.message, expected);
    free(expected);
}

/* A server that speaks one HTTP version only. */
static struct slice raw_answer;
static void raw_read(void *ctx, struct bytes data)
{
    net_conn_write(ctx, bytes_static(raw_answer));
}
static void raw_closed(void *ctx, const struct err *why) {}
static void raw_eof(void *ctx)
{
    net_conn_close(ctx);
}
static const struct net_conn_ops raw_ops = {.on_read = raw_read, .on_eof = raw_eof, .on_closed = raw_closed};
static void raw_accept(void *ctx, struct net_conn *conn)
{
    net_conn_start(conn, &raw_ops, conn);
}
static const struct net_listener_ops raw_listener_ops = {.on_accept = raw_accept};

static void http_versions_that_do_not_match(void **state)
{
    struct net_listener *listener;
    struct net_address any = {.family = NET_TCP, .host = "127.0.0.1", .port = 0}, bound;
    assert_int_equal(net_listen(F.loop, &any, false, &raw_listener_ops, NULL, &listener, NULL), RC_OK);
    assert_int_equal(net_listener_start(listener, NULL), RC_OK);
    net_listener_address(listener, &bound);
    char *uri = xasprintf("http://127.0.0.1:%u/", bound.port);
    raw_answer = SLICE_LIT("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    discover(uri, false);
    assert_string_equal(D.r.restate_code, "META0014");
    char *expected = xasprintf("error when calling '%s': server possibly supports only HTTP1.1, consider "
                               "discovery with --use-http1.1.",
                               uri);
    assert_string_equal(D.r.message, expected);
    free(expected);
    raw_answer = slice_make("\0\0\0\4\0\0\0\0\0", 9); /* SETTINGS */
    discover(uri, true);
    assert_string_equal(D.r.restate_code, "META0003");
    expected =
        xasprintf("error when calling '%s': server possibly supports only HTTP/2, consider discovering "
                  "without --use-http1.1. http/1.1: the server speaks HTTP/2",
                  uri);
    assert_string_equal(D.r.message, expected);
    free(expected);
    free(uri);
    net_listener_close(listener);
    run_for(5);
}

static void requests_that_cannot_be_made(void **state)
{
    struct discovery_request request = {.arn = "arn:aws:lambda:eu-central-1:1:function:f:1"};
    memset(&D, 0, sizeof(D));
    invoker_discover(F.inv, &request, on_discovered, NULL);
    assert_true(run_until(discovered, 10000));
    assert_int_equal(D.r.rc, RC_UNSUPPORTED);
    assert_string_equal(D.r.message,
                        "The request field 'arn' is invalid. Reason: this node has no access to AWS Lambda");
    discover("not a uri", false);
    assert_int_equal(D.r.rc, RC_INVALID);
    assert_int_equal(D.r.http_status, 400);
}

static void shutdown_answers_what_is_open(void **state)
{
    F.play = play_nothing;
    struct discovery_request request = {.uri = F.url};
    memset(&D, 0, sizeof(D));
    invoker_discover(F.inv, &request, on_discovered, NULL);
    run_for(20);
    assert_int_equal(F.n_exchanges, 1);
    discovery_cancel_all(F.inv);
    assert_true(D.done);
    assert_int_equal(D.r.rc, RC_CANCELED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {
        T(manifest_is_returned_raw),
        T(content_types_must_match_exactly),
        T(bad_statuses),
        T(server_errors_are_retried),
        T(refused_connections),
        T(http_versions_that_do_not_match),
        T(requests_that_cannot_be_made),
        T(shutdown_answers_what_is_open),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bytes_unref(&D.manifest);
    return failed;
}

/* The HTTP/1 side of the server over real sockets: what spec/ingress.md §2 says about transport. */
#include "harness.h"

static void get_keeps_the_connection(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET /x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n"));
    raw_expect(&r, "hello", 1);
    assert_string_equal(F.target, "/x?y=1");
    assert_string_equal(F.host, "a");
    assert_int_equal(F.version, HTTP_1_1);
    assert_int_equal(strncmp(F.peer, "127.0.0.1:", 10), 0);
    assert_int_equal(raw_count(&r, "HTTP/1.1 200 OK\r\n"), 1);
    assert_int_equal(raw_count(&r, "content-length: 5\r\n"), 1);
    assert_int_equal(raw_count(&r, "date: "), 1);
    assert_int_equal(raw_count(&r, "connection:"), 0);
    raw_send(&r, S("GET / HTTP/1.1\r\n\r\n")); /* without Host */
    raw_expect(&r, "hello", 2);
    assert_int_equal(F.opened, 1);
    assert_int_equal(F.finished_completed, 2);
    raw_close(&r);
    assert_int_equal(F.closed, 1);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(
        &r,
        S("POST /echo HTTP/1.1\r\ncontent-length: 3\r\n\r\noneGET /204 HTTP/1.1\r\n\r\n"
          "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\nx-t: 1\r\n\r\n"
          "GET / HTTP/1.1\r\nconnection: close\r\n\r\n"));
    raw_expect_eof(&r);
    const char *text = raw_text(&r);
    const char *one = strstr(text, "\r\n\r\none"), *none = strstr(text, "HTTP/1.1 204 No Content"),
               *two = strstr(text, "\r\n\r\ntwo"), *last = strstr(text, "\r\n\r\nhello");
    assert_true(one && none && two && last && one < none && none < two && two < last);
    assert_int_equal(raw_count(&r, "connection: close\r\n"), 1);
    assert_int_equal(raw_count(&r, "content-length"), 3); /* none for 204 */
    assert_int_equal(F.finished_completed, 4);
    raw_close(&r);
}

static void a_slow_answer_holds_back_the_next_request(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET /hang HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    run_for(20);
    assert_int_equal(F.requests, 1);
    assert_int_equal(http_server_requests_in_progress(F.server), 1);
    http_respond(F.parked, 200, NULL, 0, bytes_static(S("late")));
    raw_expect(&r, "hello", 1);
    assert_true(strstr(raw_text(&r), "late") < strstr(raw_text(&r), "hello"));
    raw_close(&r);
}

static void bytes_may_arrive_one_by_one(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\nX-A:  v \r\ncontent-length: 3\r\n\r\nabc";
    struct raw r;
    raw_open(&r);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        raw_send(&r, slice_make(text + i, 1));
        run_for(1);
    }
    raw_expect(&r, "\r\n\r\nabc", 1);
    raw_close(&r);
}

static void http_1_0_closes_unless_asked(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    raw_expect(&r, "hello", 1);
    assert_int_equal(raw_count(&r, "HTTP/1.0 200 OK\r\n"), 1);
    assert_int_equal(raw_count(&r, "connection: keep-alive\r\n"), 1);
    raw_send(&r, S("GET / HTTP/1.0\r\n\r\n"));
    raw_expect_eof(&r);
    assert_int_equal(raw_count(&r, "connection: close\r\n"), 1);
    raw_close(&r);
}

static void upgrade_is_ignored_and_targets_are_reduced(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r,
             S("GET http://h:1/abs?q#f HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
               "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"));
    raw_expect(&r, "hello", 1);
    assert_string_equal(F.target, "/abs?q");
    raw_send(&r, S("CONNECT h:1 HTTP/1.1\r\n\r\n"));
    raw_expect(&r, "hello", 2);
    assert_string_equal(F.target, "");
    raw_close(&r);
}

static void continue_is_sent_only_when_the_body_is_wanted(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 3\r\n\r\n"));
    raw_expect(&r, "HTTP/1.1 100 Continue\r\n\r\n", 1);
    raw_send(&r, S("abc"));
    raw_expect(&r, "\r\n\r\nabc", 1);
    raw_send(&r, S("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")); /* nothing to wait for */
    raw_send(&r, S("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 0\r\n\r\n"));
    raw_expect(&r, "content-length: 0", 2);
    raw_send(&r, S("POST /small HTTP/1.1\r\nExpect: 100-continue\r\ncontent-length: 30\r\n\r\n"));
    raw_expect(&r, "too_large", 1);
    raw_expect_eof(&r);
    assert_int_equal(raw_count(&r, "100 Continue"), 1);
    assert_int_equal(raw_count(&r, "connection: close"), 1);
    raw_close(&r);
}

static void early_answer_keeps_or_closes(void **state)
{
    struct raw r;
    raw_open(&r);
    /* the whole body is already here: discarded, connection kept */
    raw_send(&r, S("POST /early HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"));
    raw_expect(&r, "hello", 1);
    assert_int_equal(raw_count(&r, "404 Not Found"), 1);
    /* the rest is still to come: answered at once, then closed */
    raw_send(&r, S("POST /early HTTP/1.1\r\ncontent-length: 3000000\r\n\r\nabc"));
    raw_expect(&r, "not here", 2);
    raw_expect_eof(&r);
    assert_int_equal(raw_count(&r, "connection: close"), 1);
    assert_int_equal(F.finished_completed, 3);
    raw_close(&r);
}

static void collect_limit(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("POST /small HTTP/1.1\r\ncontent-length: 10\r\n\r\n0123456789"));
    raw_expect(&r, "0123456789", 1);
    raw_send(&r, S("POST /small HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n8\r\n01234567\r\n"));
    run_for(5);
    raw_send(&r, S("8\r\n01234567\r\n"));
    raw_expect(&r, "413 Payload Too Large", 1);
    raw_expect_eof(&r);
    raw_close(&r);
}

static void lengths_beyond_64_bits_are_lengths(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("POST /early HTTP/1.1\r\ncontent-length: 1000000000000000000\r\n\r\n"));
    raw_expect(&r, "not here", 1);
    assert_true(F.content_length == 1000000000000000000);
    raw_expect_eof(&r);
    raw_close(&r);
    raw_open(&r);
    raw_send(&r, S("POST /early HTTP/1.1\r\ncontent-length: 10000000000000000000\r\n\r\n"));
    raw_expect(&r, "not here", 1);
    assert_true(F.content_length == INT64_MAX);
    raw_close(&r);
}

static void chunked_wins_over_content_length_and_closes(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("POST /echo HTTP/1.1\r\ncontent-length: 99\r\ntransfer-encoding: "
                   "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    raw_expect(&r, "\r\n\r\nabc", 1);
    assert_true(F.content_length == -1);
    assert_true(F.n_headers == 1); /* the length is not passed on either */
    raw_expect_eof(&r);
    raw_close(&r);
}

static void head_and_streams(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("HEAD / HTTP/1.1\r\n\r\nGET /204 HTTP/1.1\r\n\r\n"));
    raw_expect(&r, "204 No Content", 1);
    assert_int_equal(raw_count(&r, "content-length: 5\r\n"), 1);
    assert_int_equal(raw_count(&r, "hello"), 0);
    raw_send(&r, S("POST /duplex HTTP/1.1\r\ncontent-length: 6\r\n\r\nabc"));
    raw_expect(&r, "3\r\nabc\r\n", 1);
    raw_send(&r, S("def"));
    raw_expect(&r, "3\r\ndef\r\n0\r\nx-trailer: tail\r\n\r\n", 1);
    assert_int_equal(raw_count(&r, "transfer-encoding: chunked\r\n"), 1);
    raw_send(&r, S("POST /duplex HTTP/1.0\r\ncontent-length: 3\r\n\r\nxyz"));
    raw_expect_eof(&r);
    assert_int_equal(raw_count(&r, "\r\n\r\nxyz"), 1); /* delimited by the end of the connection */
    raw_close(&r);
}

static void expect_rejected(const char *head, size_t filler, const char *tail, const char *status)
{
    struct raw r;
    struct writer w = WRITER_INIT;
    write_raw(&w, head, strlen(head));
    memset(writer_reserve(&w, filler), 'a', filler);
    w.len += filler;
    write_raw(&w, tail, strlen(tail));
    raw_open(&r);
    net_conn_write(r.conn, writer_take(&w));
    raw_expect(&r, status, 1);
    raw_expect(&r, "content-length: 0\r\nconnection: close\r\n", 1);
    raw_expect_eof(&r);
    raw_close(&r);
}

static void bad_heads_are_refused(void **state)
{
    expect_rejected("nonsense\r\n\r\n", 0, "", "HTTP/1.1 400 Bad Request\r\n");
    expect_rejected("GET / HTTP/3.0\r\n\r\n", 0, "", "HTTP/1.1 400 Bad Request\r\n");
    expect_rejected("GET /", 0, "\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
    expect_rejected("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0, "", "HTTP/1.1 400 Bad Request\r\n");
    expect_rejected("GET /", 65534, " HTTP/1.1\r\n\r\n", "HTTP/1.1 414 URI Too Long\r\n");
    expect_rejected("GET / HTTP/1.1\r\na: ", 600 * 1024, "\r\n\r\n",
                    "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    expect_rejected("GET / HTTP/1.1\r\na b: c\r\n\r\n", 0, "", "HTTP/1.1 400 Bad Request\r\n");
    expect_rejected("POST /echo HTTP/1.1\r\ncontent-length : 3\r\n\r\nabc", 0, "",
                    "HTTP/1.1 400 Bad Request\r\n");
    assert_int_equal(F.requests, 0);
    expect_rejected("POST /echo HTTP/1.1\r\ncontent-length: x\r\n\r\n", 0, "",
                    "HTTP/1.1 400 Bad Request\r\n");
}

static void framing_that_cannot_be_told_is_refused(void **state)
{
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: identity\r\ncontent-length: 3\r\n\r\n",
        "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        expect_rejected(heads[i], 0, "", "HTTP/1.1 400 Bad Request\r\n");
    assert_int_equal(F.requests, 0);
}

static void the_longest_target_and_100_fields_pass(void **state)
{
    struct raw r;
    struct writer w = WRITER_INIT;
    write_raw(&w, "GET /", 5);
    memset(writer_reserve(&w, 65533), 'a', 65533);
    w.len += 65533;
    write_raw(&w, " HTTP/1.1\r\n", 11);
    for (int i = 0; i < 100; i++)
        write_fmt(&w, "h%d: v\r\n", i);
    write_raw(&w, "\r\n", 2);
    raw_open(&r);
    net_conn_write(r.conn, writer_take(&w));
    raw_expect(&r, "hello", 1);
    write_raw(&w, "GET / HTTP/1.1\r\n", 16);
    for (int i = 0; i < 101; i++)
        write_fmt(&w, "h%d: v\r\n", i);
    write_raw(&w, "\r\n", 2);
    net_conn_write(r.conn, writer_take(&w));
    raw_expect(&r, "431 Request Header", 1);
    raw_expect_eof(&r);
    raw_close(&r);
}

static void broken_chunks(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"));
    raw_expect(&r, "HTTP/1.1 400 Bad Request", 1);
    raw_expect(&r, "invalid", 1);
    raw_expect_eof(&r);
    raw_close(&r);
    raw_open(&r);
    raw_send(&r, S("POST /duplex HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"));
    raw_expect_eof(&r);
    raw_close(&r);
    assert_int_equal(F.finished, 2);
    assert_int_equal(F.finished_completed, 1);
}

static void a_client_that_leaves_is_reported(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET /hang HTTP/1.1\r\n\r\n"));
    run_for(10);
    assert_non_null(F.parked);
    raw_close(&r);
    assert_int_equal(F.finished, 1);
    assert_int_equal(F.finished_completed, 0);
    assert_int_equal(http_server_requests_in_progress(F.server), 0);
}

static void half_closed_clients_get_what_is_ready(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    net_conn_shutdown(r.conn);
    raw_expect(&r, "hello", 2);
    raw_expect_eof(&r);
    raw_close(&r);
}

static void a_large_response_respects_back_pressure(void **state)
{
    struct raw r;
    raw_open(&r);
    run_for(5);
    net_conn_pause(r.conn);
    raw_send(&r, S("GET /big HTTP/1.1\r\n\r\n"));
    run_for(30);
    assert_int_equal(F.finished, 0); /* far more than fits socket buffers and the high-water mark */
    net_conn_resume(r.conn);
    raw_expect(&r, "\r\n0\r\n\r\n", 1);
    assert_true(r.in.len > 8u << 20);
    assert_int_equal(F.finished_completed, 1);
    raw_close(&r);
}

static void abort_cuts_the_connection(void **state)
{
    struct raw r;
    raw_open(&r);
    raw_send(&r, S("GET /abort HTTP/1.1\r\n\r\n"));
    raw_expect_eof(&r);
    assert_int_equal(r.in.len, 0);
    raw_close(&r);
    assert_int_equal(F.finished, 1);
}

static void on_drained(void *ctx)
{
    F.drained = true;
}
static bool is_drained(void *ctx)
{
    return F.drained;
}

static void drain_waits_for_requests_in_progress(void **state)
{
    struct raw busy, idle;
    raw_open(&busy);
    raw_open(&idle);
    raw_send(&busy, S("GET /hang HTTP/1.1\r\n\r\n"));
    raw_send(&idle, S("GET / HTTP/1.1\r\n\r\n"));
    raw_expect(&idle, "hello", 1);
    http_server_drain(F.server, 2000, on_drained, NULL);
    raw_expect_eof(&idle);
    run_for(20);
    assert_false(F.drained);
    http_respond(F.parked, 200, NULL, 0, bytes_static(S("done")));
    raw_expect(&busy, "done", 1);
    assert_int_equal(raw_count(&busy, "connection: close"), 1);
    assert_true(run_until(is_drained, NULL, 500));
    raw_close(&busy);
    raw_close(&idle);
}

static void drain_cuts_after_its_time(void **state)
{
    struct raw busy;
    raw_open(&busy);
    raw_send(&busy, S("GET /hang HTTP/1.1\r\n\r\n"));
    run_for(10);
    http_server_drain(F.server, 30, on_drained, NULL);
    assert_true(run_until(is_drained, NULL, 1000));
    raw_expect_eof(&busy);
    assert_int_equal(busy.in.len, 0);
    assert_int_equal(F.finished, 1);
    raw_close(&busy);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(get_keeps_the_connection),
        T(pipelined_requests_are_answered_in_order),
        T(a_slow_answer_holds_back_the_next_request),
        T(bytes_may_arrive_one_by_one),
        T(http_1_0_closes_unless_asked),
        T(upgrade_is_ignored_and_targets_are_reduced),
        T(continue_is_sent_only_when_the_body_is_wanted),
        T(early_answer_keeps_or_closes),
        T(collect_limit),
        T(chunked_wins_over_content_length_and_closes),
        T(head_and_streams),
        T(bad_heads_are_refused),
        T(framing_that_cannot_be_told_is_refused),
        T(lengths_beyond_64_bits_are_lengths),
        T(the_longest_target_and_100_fields_pass),
        T(broken_chunks),
        T(a_client_that_leaves_is_reported),
        T(half_closed_clients_get_what_is_ready),
        T(a_large_response_respects_back_pressure),
        T(abort_cuts_the_connection),
        T(drain_waits_for_requests_in_progress),
        T(drain_cuts_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

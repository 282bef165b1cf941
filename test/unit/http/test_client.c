/* Client against our server over real sockets, HTTP/2 and HTTP/1.1: exchanges in both directions, failures,
 * the pool. */
#include "harness.h"

static const enum http_client_protocol protocols[] = {HTTP_CLIENT_H2, HTTP_CLIENT_H1};
#define EACH_PROTOCOL(p) for (size_t i_ = 0, p; i_ < 2 && (p = protocols[i_], 1); i_++)

static void get_and_post(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call get, post, empty;
        call_open(&get, p, "GET", "/x?q=1");
        http_stream_end(get.stream);
        call_open(&post, p, "POST", "/echo");
        call_write(&post, "one ");
        call_write(&post, "two");
        http_stream_end(post.stream);
        call_open(&empty, p, "POST", "/echo");
        http_stream_end(empty.stream);
        call_finish(&get);
        assert_int_equal(get.err.rc, RC_OK);
        assert_int_equal(get.status, 200);
        assert_int_equal(get.version, p == HTTP_CLIENT_H2 ? HTTP_2 : HTTP_1_1);
        assert_body(&get, "hello");
        call_finish(&post);
        assert_string_equal(post.content_type, "text/plain");
        assert_body(&post, "one two");
        call_finish(&empty);
        assert_int_equal(empty.body.len, 0);
        assert_true(get.ended && post.ended && empty.ended);
        call_free(&get);
        call_free(&post);
        call_free(&empty);
    }
    assert_int_equal(F.finished_completed, 6);
    assert_string_equal(F.host, F.url + 7);
}

static void large_bodies_travel_both_ways(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        const size_t size = 20u << 20;
        struct buf *b = buf_new(size);
        for (size_t i = 0; i < size; i++)
            b->data[i] = (uint8_t)(i * 31 + (i >> 12));
        call_open(&c, p, "POST", "/echo");
        assert_int_equal(http_stream_write(c.stream, bytes_take_buf(buf_ref(b), 0, size)), size);
        http_stream_end(c.stream);
        call_finish(&c);
        assert_int_equal(c.err.rc, RC_OK);
        assert_int_equal(c.body.len, size);
        assert_memory_equal(c.body.buf->data, b->data, size);
        buf_unref(b);
        call_free(&c);
    }
}

static bool call_has_head(void *ctx)
{
    return ((struct call *)ctx)->head;
}
struct expect_len {
    struct call *c;
    size_t len;
};
static bool call_has_len(void *ctx)
{
    struct expect_len *e = ctx;
    return e->c->body.len >= e->len;
}

static void duplex_streams_both_ways_at_once(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        call_open(&c, p, "POST", "/duplex");
        assert_true(run_until(call_has_head, &c, 1000)); /* the head comes before any body byte was sent */
        for (size_t i = 1; i <= 20; i++) {
            call_write(&c, "ping");
            assert_true(run_until(call_has_len, &(struct expect_len){&c, 4 * i}, 1000));
        }
        assert_false(c.ended);
        http_stream_end(c.stream);
        call_finish(&c);
        assert_true(c.ended);
        assert_int_equal(c.err.rc, RC_OK);
        call_free(&c);
    }
}

static void one_connection_serves_many_exchanges(void **state)
{
    EACH_PROTOCOL(p)
    {
        F.opened = 0;
        for (int i = 0; i < 10; i++) {
            struct call c;
            call_open(&c, p, "POST", "/echo");
            call_write(&c, "x");
            http_stream_end(c.stream);
            call_finish(&c);
            assert_int_equal(c.err.rc, RC_OK);
            call_free(&c);
        }
        assert_int_equal(F.opened, 1);
    }
}

/* What has come in when nothing comes any more: a loaded machine may need a while to fill the windows. */
static size_t length_at_rest(const struct call *c)
{
    size_t len;
    do {
        len = c->body.len;
        run_for(60);
    } while (c->body.len > len || (c->body.len < 2u << 20 && !c->done));
    return len;
}

static void windows_hold_back_the_sender(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        call_open(&c, p, "GET", "/big");
        c.hold = true;
        http_stream_end(c.stream);
        size_t stalled = length_at_rest(&c);
        assert_false(c.done);
        assert_true(stalled >= 2u << 20 &&
                    stalled <= 3u << 20); /* the stream window, or little more on HTTP/1 */
        run_for(20);
        assert_int_equal(c.body.len, stalled);
        c.hold = false;
        http_stream_consumed(c.stream, c.held);
        call_finish(&c);
        assert_int_equal(c.err.rc, RC_OK);
        assert_int_equal(c.body.len, 8u << 20);
        call_free(&c);
    }
}

static bool call_is_writable(void *ctx)
{
    return ((struct call *)ctx)->writable;
}

static void writers_hear_when_to_go_on(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        call_open(&c, p, "POST", "/echo");
        struct buf *b = buf_new(3u << 20);
        memset(b->data, 'w', b->cap);
        assert_true(http_stream_write(c.stream, bytes_take_buf(b, 0, b->cap)) > NET_HIGH_WATER);
        assert_true(run_until(call_is_writable, &c, 2000));
        http_stream_end(c.stream);
        call_finish(&c);
        assert_int_equal(c.body.len, 3u << 20);
        call_free(&c);
    }
}

static void early_answers_reach_a_client_that_still_sends(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        struct bytes filler = bytes_take_buf(buf_new(65536), 0, 65536);
        memset(filler.owner->data, 0, filler.len);
        call_open(&c, p, "POST", "/early");
        for (int i = 0; i < 64; i++)
            http_stream_write(c.stream, bytes_ref(filler));
        bytes_unref(&filler);
        call_finish(&c);
        assert_int_equal(c.status, 404);
        assert_body(&c, "not here");
        assert_int_equal(c.err.rc, RC_OK);
        call_free(&c);
    }
}

static void the_collect_limit_holds(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        call_open(&c, p, "POST", "/small");
        call_write(&c, "0123456");
        call_write(&c, "0123456");
        http_stream_end(c.stream);
        call_finish(&c);
        assert_int_equal(c.status, 413);
        assert_body(&c, "too_large");
        call_free(&c);
    }
}

static void resets_from_the_client(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c, queued;
        F.finished = F.finished_completed = 0;
        call_open(&c, p, "GET", "/hang");
        run_for(20);
        assert_int_equal(F.n_parked, i_ + 1);
        http_stream_reset(c.stream);
        assert_false(c.done); /* never from inside a call */
        call_finish(&c);
        assert_int_equal(c.err.rc, RC_CANCELED);
        run_for(20);
        assert_int_equal(F.finished, 1);
        assert_int_equal(F.finished_completed, 0);
        call_open(&queued, p, "GET", "/");
        http_stream_reset(queued.stream); /* before it ever had a connection */
        call_finish(&queued);
        assert_int_equal(queued.err.rc, RC_CANCELED);
    }
}

static void resets_from_the_server(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        call_open(&c, p, "GET", "/abort");
        call_finish(&c);
        assert_int_equal(c.err.rc, RC_CLOSED);
        assert_non_null(strstr(c.err.msg, p == HTTP_CLIENT_H2 ? "INTERNAL_ERROR" : "closed"));
        assert_false(c.head);
    }
}

static void connect_refused(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call c;
        struct net_listener *nl;
        struct net_address a = {.host = "127.0.0.1"};
        static const struct net_listener_ops lops = {on_accept};
        char url[64];
        struct err err;
        assert_int_equal(net_listen(F.loop, &a, false, &lops, NULL, &nl, &err), RC_OK);
        net_listener_address(nl, &a);
        net_listener_close(nl);
        run_for(2);
        snprintf(url, sizeof(url), "http://127.0.0.1:%u", a.port);
        call_open_at(&c, url, p, "GET", "/");
        call_finish(&c);
        assert_int_not_equal(c.err.rc, RC_OK);
        assert_non_null(strstr(c.err.msg, "refused"));
    }
}

static void unknown_hosts_fail(void **state)
{
    struct call c;
    call_open_at(&c, "http://nowhere.invalid:1", HTTP_CLIENT_H2, "GET", "/");
    call_finish(&c);
    assert_int_not_equal(c.err.rc, RC_OK);
}

static void connection_loss_fails_the_streams(void **state)
{
    EACH_PROTOCOL(p)
    {
        struct call a, b;
        call_open(&a, p, "GET", "/hang");
        call_open(&b, p, "GET", "/hang");
        run_for(20);
        http_server_free(F.server);
        F.server = NULL;
        call_finish(&a);
        call_finish(&b);
        assert_int_equal(a.err.rc, RC_CLOSED);
        assert_int_equal(b.err.rc, RC_CLOSED);
        struct http_server_config sc;
        http_server_config_default(&sc);
        F.server =
            http_server_new(F.loop, &sc, &(struct http_server_ops){on_request, on_opened, on_closed}, NULL);
    }
}

static void on_drained(void *ctx)
{
    F.drained = true;
}

static void goaway_lets_open_streams_finish(void **state)
{
    struct call c;
    call_open(&c, HTTP_CLIENT_H2, "GET", "/hang");
    http_stream_end(c.stream);
    run_for(20);
    http_server_drain(F.server, 2000, on_drained, NULL);
    run_for(20);
    assert_false(c.done || F.drained);
    http_respond(F.parked, 200, NULL, 0, bytes_static(S("late")));
    call_finish(&c);
    assert_int_equal(c.err.rc, RC_OK);
    assert_body(&c, "late");
    run_for(50);
    assert_true(F.drained);
    struct http_client_stats stats;
    http_client_get_stats(F.client, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.streams, 0);
    call_free(&c);
}

/* A peer on a raw listener that answers any bytes with fixed text, for what our server would never say. */
struct scripted {
    struct net_listener *nl;
    struct net_conn *conn;
    struct slice reply;
    bool close_after;
    struct writer in;
    char url[64];
};
static struct scripted P;

static void peer_read(void *ctx, struct bytes data)
{
    write_slice_raw(&P.in, bytes_slice(data));
    if (P.reply.len) {
        net_conn_write(P.conn, bytes_static(P.reply));
        P.reply.len = 0;
    }
    if (P.close_after) {
        net_conn_close(P.conn);
        P.close_after = false;
    }
}
static void peer_closed(void *ctx, const struct err *why)
{
    P.conn = NULL;
}
static void peer_accept(void *ctx, struct net_conn *conn)
{
    static const struct net_conn_ops ops = {.on_read = peer_read, .on_closed = peer_closed};
    P.conn = conn;
    net_conn_start(conn, &ops, NULL);
}
static void peer_start(struct slice reply)
{
    static const struct net_listener_ops lops = {peer_accept};
    struct net_address a = {.host = "127.0.0.1"};
    struct err err;
    memset(&P, 0, sizeof(P));
    P.reply = reply;
    assert_int_equal(net_listen(F.loop, &a, false, &lops, NULL, &P.nl, &err), RC_OK);
    assert_int_equal(net_listener_start(P.nl, &err), RC_OK);
    net_listener_address(P.nl, &a);
    snprintf(P.url, sizeof(P.url), "http://127.0.0.1:%u", a.port);
}
static void peer_stop(void)
{
    if (P.conn)
        net_conn_close(P.conn);
    net_listener_close(P.nl);
    run_for(3);
    writer_free(&P.in);
}

static void http2_to_an_http1_server_is_recognised(void **state)
{
    struct call c;
    peer_start(S("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    call_open_at(&c, P.url, HTTP_CLIENT_H2, "POST", "/invoke");
    call_write(&c, "x");
    call_finish(&c);
    assert_int_equal(c.err.rc, RC_UNSUPPORTED);
    assert_non_null(strstr(c.err.msg, "h2 FRAME_SIZE_ERROR"));
    peer_stop();
}

static void http1_responses_of_all_kinds(void **state)
{
    struct {
        const char *reply, *body;
        int status;
        enum rc rc;
        bool close;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", "ab", 200, RC_OK, false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", "ab", 200, RC_OK,
         false},
        {"HTTP/1.1 200 OK\r\n\r\nuntil close", "until close", 200, RC_OK, true},
        {"HTTP/1.0 404 Not Found\r\n\r\n", "", 404, RC_OK, true},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", 204, RC_OK, false},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nt: 1\r\n\r\n", "ab", 200,
         RC_OK, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", "ab", 200, RC_CLOSED, true},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nq", "ab", 200, RC_CLOSED, false},
        {"SSH-2.0-OpenSSH_9\r\n", "", 0, RC_CLOSED, false},
        {"HTTP/1.1 200 OK\r\ncontent-le", "", 0, RC_CLOSED, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call c;
        peer_start(slice_cstr(cases[i].reply));
        P.close_after = cases[i].close;
        call_open_at(&c, P.url, HTTP_CLIENT_H1, "POST", "/");
        http_stream_end(c.stream);
        call_finish(&c);
        assert_int_equal(c.err.rc, cases[i].rc);
        assert_int_equal(c.status, cases[i].status);
        assert_body(&c, cases[i].body);
        call_free(&c);
        peer_stop();
    }
}

static void http1_request_as_in_vector_x3(void **state)
{
    struct call c;
    peer_start(S("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    call_open_at(&c, P.url, HTTP_CLIENT_H1, "POST", "/invoke/Greeter/run");
    call_write(&c, "0123456789");
    call_write(&c, "0123456789abcdefghi");
    http_stream_end(c.stream);
    call_finish(&c);
    char want[256];
    snprintf(
        want, sizeof(want),
        "POST /invoke/Greeter/run HTTP/1.1\r\nx-test: 1\r\nhost: %s\r\ntransfer-encoding: chunked\r\n\r\n"
        "A\r\n0123456789\r\n13\r\n0123456789abcdefghi\r\n0\r\n\r\n",
        P.url + 7);
    assert_int_equal(P.in.len, strlen(want));
    assert_memory_equal(P.in.buf->data, want, strlen(want));
    peer_stop();
    peer_start(S("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    call_open_at(&c, P.url, HTTP_CLIENT_H1, "GET", "/discover");
    http_stream_end(c.stream);
    call_finish(&c);
    snprintf(want, sizeof(want), "GET /discover HTTP/1.1\r\nx-test: 1\r\nhost: %s\r\n\r\n", P.url + 7);
    assert_int_equal(P.in.len, strlen(want));
    assert_memory_equal(P.in.buf->data, want, strlen(want));
    peer_stop();
}

/* Vector X.2: preface, SETTINGS, WINDOW_UPDATE, HEADERS at once, and each write its own DATA frame. */
static void http2_frames_as_in_vector_x2(void **state)
{
    static const uint8_t head[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\x0c\4\0\0\0\0\0\0\4\0\x20\0\0\0\5\0\0\x40\0"
                                  "\0\0\4\x8\0\0\0\0\0\0\x4f\0\1";
    struct call c;
    peer_start(SLICE_EMPTY);
    call_open_at(&c, P.url, HTTP_CLIENT_H2, "POST", "/invoke/Greeter/sleepy");
    call_write(&c, "Start");
    call_write(&c, "InputInput");
    run_for(20);
    assert_true(P.in.len > sizeof(head));
    assert_memory_equal(P.in.buf->data, head, sizeof(head) - 1);
    const uint8_t *p = P.in.buf->data + sizeof(head) - 1, *end = P.in.buf->data + P.in.len;
    assert_int_equal(p[3], 1); /* HEADERS */
    assert_int_equal(p[4], 4); /* END_HEADERS only */
    p += 9 + (size_t)(p[0] << 16 | p[1] << 8 | p[2]);
    assert_memory_equal(p, "\0\0\5\0\0\0\0\0\1Start\0\0\x0a\0\0\0\0\0\1InputInput", 33);
    assert_ptr_equal(p + 33, end);
    http_stream_reset(c.stream);
    call_finish(&c);
    run_for(5);
    p = P.in.buf->data + P.in.len - 13;
    assert_memory_equal(p, "\0\0\4\3\0\0\0\0\1\0\0\0\x8", 13); /* RST_STREAM CANCEL */
    peer_stop();
    peer_start(SLICE_EMPTY);
    call_open_at(&c, P.url, HTTP_CLIENT_H2, "GET", "/discover");
    http_stream_end(c.stream);
    run_for(20);
    assert_int_equal(P.in.buf->data[sizeof(head) - 1 + 4], 5); /* END_STREAM | END_HEADERS */
    http_stream_reset(c.stream);
    call_finish(&c);
    peer_stop();
}

/* Requests that the peer has seen: HEADERS frames behind the preface. */
static size_t requests_seen(void)
{
    size_t n = 0, at = 24;
    while (at + 9 <= P.in.len) {
        const uint8_t *p = P.in.buf->data + at;
        n += p[3] == 1;
        at += 9 + (size_t)(p[0] << 16 | p[1] << 8 | p[2]);
    }
    return n;
}
static bool so_many_requests(void *ctx)
{
    return requests_seen() == *(size_t *)ctx;
}

static void assert_requests_come_to(size_t sent, size_t queued)
{
    struct http_client_stats stats;
    assert_true(run_until(so_many_requests, &sent, 2000));
    run_for(20);
    assert_int_equal(requests_seen(), sent);
    http_client_get_stats(F.client, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.queued, queued);
}

/* What nobody has allowed yet is not sent: a peer would refuse it. */
static void few_streams_until_the_peer_says_how_many(void **state)
{
    enum { N = 6 };
    struct call c[N];
    struct http_client_config cc;
    http_client_config_default(&cc);
    assert_int_equal(cc.initial_max_send_streams, 50);
    cc.initial_max_send_streams = 2;
    cc.streams_per_connection = 5;
    cc.max_connections_per_endpoint = 1;
    http_client_free(F.client);
    F.client = http_client_new(F.loop, &cc);
    peer_start(SLICE_EMPTY);
    for (int i = 0; i < N; i++) {
        call_open_at(&c[i], P.url, HTTP_CLIENT_H2, "GET", "/");
        http_stream_end(c[i].stream);
    }
    assert_requests_come_to(2, 4);
    /* SETTINGS_MAX_CONCURRENT_STREAMS 3, then SETTINGS of 100, of which we take our own limit */
    net_conn_write(P.conn, bytes_static(S("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\3")));
    assert_requests_come_to(3, 3);
    net_conn_write(P.conn, bytes_static(S("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64")));
    assert_requests_come_to(5, 1);
    for (int i = 0; i < N; i++)
        http_stream_reset(c[i].stream);
    for (int i = 0; i < N; i++)
        call_finish(&c[i]);
    peer_stop();
}

static void keep_alive_notices_a_dead_peer(void **state)
{
    struct call c;
    struct http_client_config cc;
    http_client_config_default(&cc);
    cc.keep_alive_interval_ms = 20;
    cc.keep_alive_timeout_ms = 500; /* long enough for a busy machine */
    http_client_free(F.client);
    F.client = http_client_new(F.loop, &cc);
    call_open(&c, HTTP_CLIENT_H2, "GET", "/hang"); /* our server answers PING */
    run_for(120);
    assert_false(c.done);
    http_stream_reset(c.stream);
    call_finish(&c);
    peer_start(SLICE_EMPTY);
    call_open_at(&c, P.url, HTTP_CLIENT_H2, "GET", "/");
    call_finish(&c);
    assert_int_equal(c.err.rc, RC_TIMEOUT);
    assert_non_null(strstr(c.err.msg, "PING"));
    peer_stop();
}

static void idle_connections_are_closed(void **state)
{
    struct call c;
    struct http_client_config cc;
    struct http_client_stats stats;
    http_client_config_default(&cc);
    cc.idle_connection_timeout_ms = 200;
    http_client_free(F.client);
    F.client = http_client_new(F.loop, &cc);
    EACH_PROTOCOL(p)
    {
        call_open(&c, p, "GET", "/");
        http_stream_end(c.stream);
        call_finish(&c);
        call_free(&c);
        http_client_get_stats(F.client, &stats);
        assert_int_equal(stats.connections, 1);
        run_for(500);
        http_client_get_stats(F.client, &stats);
        assert_int_equal(stats.connections, 0);
    }
}

static void the_pool_grows_with_the_streams(void **state)
{
    enum { N = 150 };
    static struct call c[N];
    struct http_client_stats stats;
    for (int i = 0; i < N; i++)
        call_open(&c[i], HTTP_CLIENT_H2, "GET", "/hang");
    run_for(100);
    assert_int_equal(F.n_parked, N);
    http_client_get_stats(F.client, &stats);
    assert_int_equal(stats.streams, N);
    assert_int_equal(stats.queued, 0);
    assert_true(stats.connections >= 2 && stats.connections <= 5);
    for (int i = 0; i < N; i++)
        http_stream_reset(c[i].stream);
    for (int i = 0; i < N; i++)
        call_finish(&c[i]);
    run_for(20);
    assert_int_equal(F.finished, N);
}

static void the_queue_is_bounded(void **state)
{
    struct call c[6];
    struct http_client_config cc;
    struct http_client_stats stats;
    http_client_config_default(&cc);
    cc.max_connections_per_endpoint = 1;
    cc.streams_per_connection = 2;
    cc.max_queued_streams = 3;
    http_client_free(F.client);
    F.client = http_client_new(F.loop, &cc);
    for (int i = 0; i < 2; i++)
        call_open(&c[i], HTTP_CLIENT_H2, "GET", "/hang");
    run_for(20);
    for (int i = 2; i < 6; i++) {
        call_open(&c[i], HTTP_CLIENT_H2, "GET", "/");
        http_stream_end(c[i].stream);
    }
    call_finish(&c[5]);
    assert_int_equal(c[5].err.rc, RC_OVERLOADED);
    http_client_get_stats(F.client, &stats);
    assert_int_equal(stats.queued, 3);
    http_stream_reset(c[0].stream); /* makes room: the others run one after the other */
    for (int i = 2; i < 5; i++) {
        call_finish(&c[i]);
        assert_int_equal(c[i].err.rc, RC_OK);
        call_free(&c[i]);
    }
    http_stream_reset(c[1].stream);
    call_finish(&c[1]);
}

static void freeing_the_client_ends_its_streams(void **state)
{
    struct call open, queued, h1;
    call_open(&open, HTTP_CLIENT_H2, "GET", "/hang");
    call_open(&h1, HTTP_CLIENT_H1, "GET", "/hang");
    run_for(20);
    call_open(&queued, HTTP_CLIENT_H1, "GET", "/");
    http_client_free(F.client);
    F.client = NULL;
    assert_true(open.done && queued.done && h1.done);
    assert_int_equal(open.err.rc, RC_CANCELED);
    assert_int_equal(queued.err.rc, RC_CANCELED);
    run_for(20);
    assert_int_equal(F.finished, 2);
}

static void long_header_lists_are_refused_on_http2(void **state)
{
    struct http_uri uri;
    struct call c = {0};
    static char value[17000];
    memset(value, 'v', sizeof(value));
    struct http_header h[] = {{S("x-long"), {(uint8_t *)value, sizeof(value)}}};
    assert_int_equal(http_uri_parse(slice_cstr(F.url), &uri, NULL), RC_OK);
    c.stream = http_client_open(F.client, &uri, HTTP_CLIENT_H2, S("GET"), S("/"), h, 1, &call_ops, &c);
    http_stream_end(c.stream);
    call_finish(&c);
    assert_int_equal(c.status, 431);
    assert_int_equal(c.body.len, 0);
    assert_int_equal(F.requests, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(get_and_post),
        T(large_bodies_travel_both_ways),
        T(duplex_streams_both_ways_at_once),
        T(one_connection_serves_many_exchanges),
        T(windows_hold_back_the_sender),
        T(writers_hear_when_to_go_on),
        T(early_answers_reach_a_client_that_still_sends),
        T(the_collect_limit_holds),
        T(resets_from_the_client),
        T(resets_from_the_server),
        T(connect_refused),
        T(unknown_hosts_fail),
        T(connection_loss_fails_the_streams),
        T(goaway_lets_open_streams_finish),
        T(http2_to_an_http1_server_is_recognised),
        T(http1_responses_of_all_kinds),
        T(http1_request_as_in_vector_x3),
        T(http2_frames_as_in_vector_x2),
        T(few_streams_until_the_peer_says_how_many),
        T(keep_alive_notices_a_dead_peer),
        T(idle_connections_are_closed),
        T(the_pool_grows_with_the_streams),
        T(the_queue_is_bounded),
        T(freeing_the_client_ends_its_streams),
        T(long_header_lists_are_refused_on_http2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

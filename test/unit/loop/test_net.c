/* Sockets: echo over TCP and unix, large transfers with back-pressure, half close, order of callbacks, errors
 * of connecting, and ports that are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/net.h"

static struct loop *loop;
static struct env_timer watchdog;

/* One end of a connection, with everything that happened to it. */
struct end {
    struct net_conn *conn;
    bool echo, on_eof_shutdown, stop_when_closed, in_call;
    size_t received, to_send, chunk;
    uint64_t checksum;
    int eofs, drains, closed, connected;
    struct err why;
    char text[256];
};

static void end_send_more(struct end *e)
{
    e->in_call = true;
    while (e->to_send > 0 && net_conn_write_pending(e->conn) <= NET_HIGH_WATER) {
        size_t n = MIN(e->to_send, e->chunk);
        struct buf *b = buf_new(n);
        for (size_t i = 0; i < n; i++)
            b->data[i] = (uint8_t)((e->to_send - i) * 131 >> 3);
        net_conn_write(e->conn, bytes_take_buf(b, 0, n));
        e->to_send -= n;
        if (e->to_send == 0)
            net_conn_shutdown(e->conn);
    }
    e->in_call = false;
}

static void end_on_read(void *ctx, struct bytes data)
{
    struct end *e = ctx;
    assert_false(e->in_call || e->closed);
    for (size_t i = 0; i < data.len; i++)
        e->checksum = e->checksum * 31 + data.ptr[i];
    if (e->received + data.len < sizeof(e->text))
        memcpy(e->text + e->received, data.ptr, data.len);
    e->received += data.len;
    if (e->echo) {
        net_conn_write(e->conn, bytes_ref(data));
        if (net_conn_write_pending(e->conn) > NET_HIGH_WATER)
            net_conn_pause(e->conn);
    }
}

static void end_on_eof(void *ctx)
{
    struct end *e = ctx;
    assert_false(e->in_call);
    e->eofs++;
    if (e->echo)
        net_conn_shutdown(e->conn); /* after the echo of everything */
    else
        net_conn_close(e->conn);
}

static void end_on_drain(void *ctx)
{
    struct end *e = ctx;
    assert_false(e->in_call);
    assert_true(net_conn_write_pending(e->conn) <= NET_LOW_WATER);
    e->drains++;
    if (e->echo)
        net_conn_resume(e->conn);
    end_send_more(e);
}

static void end_on_closed(void *ctx, const struct err *why)
{
    struct end *e = ctx;
    assert_false(e->in_call);
    e->closed++;
    e->why = *why;
    if (e->stop_when_closed)
        loop_stop(loop);
}

static const struct net_conn_ops end_ops = {end_on_read, end_on_eof, end_on_drain, end_on_closed};
static const struct net_conn_ops no_eof_ops = {end_on_read, NULL, NULL, end_on_closed};
static const struct net_conn_ops *server_ops;

static struct end server, client;

static void on_watchdog(struct env_timer *t)
{
    ASSERT_MSG(false, "test timed out: client %zu server %zu pending %zu", client.received, server.received,
               net_conn_write_pending(client.conn));
}

static int setup(void **state)
{
    loop = loop_new("test");
    env_timer_init(&watchdog, on_watchdog);
    env_timer_arm(loop_env(loop), &watchdog, 20000);
    return 0;
}

static int teardown(void **state)
{
    loop_free(loop);
    assert_int_equal(buf_live_bytes(), 0);
    return 0;
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    server.conn = conn;
    char peer[64];
    net_conn_peer(conn, peer, sizeof(peer));
    assert_true(strncmp(peer, "127.0.0.1:", 10) == 0 || strcmp(peer, "unix") == 0);
    net_conn_start(conn, server_ops, &server);
}

static const struct net_listener_ops listener_ops = {on_accept};

static void on_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    struct end *e = ctx;
    assert_int_equal(err->rc, RC_OK);
    assert_false(e->in_call);
    e->connected++;
    e->conn = conn;
    net_conn_start(conn, &end_ops, e);
    end_send_more(e);
}

static struct net_listener *listen_at(struct net_address addr)
{
    struct net_listener *nl;
    struct err err = {0};
    if (net_listen(loop, &addr, false, &listener_ops, NULL, &nl, &err) || net_listener_start(nl, &err))
        fail_msg("%s", err.msg);
    return nl;
}

static void connect_client(struct net_listener *nl)
{
    struct net_address addr;
    net_listener_address(nl, &addr);
    client.in_call = true;
    client.conn = net_connect(loop, &addr, 5000, on_connected, &client);
    client.in_call = false;
}

static void prepare(size_t to_send, size_t chunk)
{
    server = (struct end){.echo = true};
    client = (struct end){.to_send = to_send, .chunk = chunk, .stop_when_closed = true};
    server_ops = &end_ops;
}

static uint64_t expected_checksum(size_t size, size_t chunk)
{
    uint64_t sum = 0;
    for (size_t left = size; left > 0;) {
        size_t n = MIN(left, chunk);
        for (size_t i = 0; i < n; i++)
            sum = sum * 31 + (uint8_t)((left - i) * 131 >> 3);
        left -= n;
    }
    return sum;
}

static void check_echo(struct net_address addr, size_t size, size_t chunk)
{
    prepare(size, chunk);
    struct net_listener *nl = listen_at(addr);
    connect_client(nl);
    loop_run(loop);
    assert_int_equal(client.received, size);
    assert_true(client.checksum == expected_checksum(size, chunk));
    assert_int_equal(client.eofs, 1);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.connected, 1);
    assert_int_equal(client.why.rc, RC_OK); /* closed by ourselves */
    net_conn_close(server.conn);
    net_listener_close(nl);
}

static const struct net_address loopback = {NET_TCP, "127.0.0.1", 0};

static void test_tcp_echo_small(void **state)
{
    check_echo(loopback, 1, 1);
}

static void test_tcp_echo_many_small_writes(void **state)
{
    check_echo(loopback, 20000, 7); /* more parts than one writev takes */
}

static void test_tcp_echo_large_with_back_pressure(void **state)
{
    check_echo(loopback, 24u << 20, 100000);
    assert_true(client.drains > 0);
    assert_true(client.drains + server.drains > 1);
}

static void test_tcp_ipv6_and_name(void **state)
{
    struct net_address v6 = {NET_TCP, "::1", 0};
    struct net_listener *nl;
    if (net_listen(loop, &v6, false, &listener_ops, NULL, &nl, NULL))
        skip(); /* a machine without IPv6 */
    net_listener_close(nl);
    prepare(10, 10);
    nl = listen_at(loopback);
    struct net_address addr;
    net_listener_address(nl, &addr);
    snprintf(addr.host, sizeof(addr.host),
             "localhost"); /* resolved on the pool; ::1 may come first and fails */
    client.conn = net_connect(loop, &addr, 5000, on_connected, &client);
    loop_run(loop);
    assert_int_equal(client.received, 10);
    net_listener_close(nl);
}

static void test_unix_echo(void **state)
{
    struct net_address addr = {.family = NET_UNIX};
    snprintf(addr.host, sizeof(addr.host), "/tmp/restate-test-%d.sock", (int)getpid());
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, addr.host, strlen(addr.host) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd); /* leaves a file that is in the way */
    check_echo(addr, 300000, 1000);
    assert_int_not_equal(access(addr.host, F_OK), 0);
}

static void write_text(struct net_conn *c, const char *text)
{
    net_conn_write(c, bytes_copy(slice_cstr(text)));
}

/* What is queued before the connection exists is sent once it does; close sends what the kernel takes. */
static void on_connected_close(void *ctx, struct net_conn *conn, const struct err *err)
{
    assert_int_equal(err->rc, RC_OK);
    net_conn_start(conn, &end_ops, &client);
    write_text(conn, "goodbye");
    client.in_call = true;
    net_conn_close(conn);
    net_conn_close(conn); /* idempotent */
    write_text(conn, "ignored");
    client.in_call = false;
}

static void test_queued_before_connected_and_flush_on_close(void **state)
{
    prepare(0, 0);
    server.echo = false;
    server.stop_when_closed = true;
    client.stop_when_closed = false;
    struct net_listener *nl = listen_at(loopback);
    struct net_address addr;
    net_listener_address(nl, &addr);
    struct net_conn *c = net_connect(loop, &addr, 5000, on_connected_close, NULL);
    write_text(c, "hello ");
    loop_run(loop);
    assert_string_equal(server.text, "hello goodbye");
    assert_int_equal(client.closed, 1);
    net_listener_close(nl);
}

/* Without on_eof the end of the peer's data closes the connection. */
static void test_eof_without_callback(void **state)
{
    prepare(0, 0);
    server_ops = &no_eof_ops;
    server.echo = false;
    server.stop_when_closed = true;
    client.to_send = 3;
    client.chunk = 3;
    struct net_listener *nl = listen_at(loopback);
    connect_client(nl);
    loop_run(loop);
    assert_int_equal(server.received, 3);
    assert_int_equal(server.closed, 1);
    assert_int_equal(server.why.rc, RC_EOF);
    net_listener_close(nl);
}

static struct err connect_error;
static int connect_calls;
static bool connect_may_fail_now;

static void on_connect_failed(void *ctx, struct net_conn *conn, const struct err *err)
{
    assert_true(connect_may_fail_now); /* never from inside net_connect */
    connect_calls++;
    connect_error = *err;
    net_conn_close(conn); /* harmless */
    loop_stop(loop);
}

static void connect_expecting_error(const char *host, uint16_t port, uint64_t timeout_ms)
{
    struct net_address addr = {.family = strchr(host, '/') ? NET_UNIX : NET_TCP, .port = port};
    snprintf(addr.host, sizeof(addr.host), "%s", host);
    connect_calls = 0;
    connect_may_fail_now = false;
    net_connect(loop, &addr, timeout_ms, on_connect_failed, NULL);
    connect_may_fail_now = true;
    loop_run(loop);
    assert_int_equal(connect_calls, 1);
}

static void test_connect_errors(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, not listening */
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    connect_expecting_error("127.0.0.1", ntohs(sa.sin_port), 5000);
    assert_int_equal(connect_error.rc, RC_CLOSED);
    assert_non_null(strstr(connect_error.msg, "connection refused"));
    assert_non_null(strstr(connect_error.msg, "127.0.0.1:"));
    connect_expecting_error("/tmp/no/such/socket", 0, 5000);
    assert_int_equal(connect_error.rc, RC_UNAVAILABLE);
    connect_expecting_error("255.255.255.255", 1, 5000); /* fails inside connect(2) */
    assert_int_equal(connect_error.rc, RC_UNAVAILABLE);
    char long_name[255];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[254] = '\0';
    connect_expecting_error(long_name, 1, 5000);
    assert_int_equal(connect_error.rc, RC_UNAVAILABLE);
    close(fd);
}

/* A listener whose backlog is full does not answer: the attempt ends by its timeout. */
static void test_connect_timeout(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    int fill[2];
    for (int i = 0; i < 2; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&sa, sizeof(sa));
    }
    connect_expecting_error("127.0.0.1", ntohs(sa.sin_port), 100);
    assert_int_equal(connect_error.rc, RC_TIMEOUT);
    close(fill[0]);
    close(fill[1]);
    close(fd);
}

/* A server that waits 30 ms for its client's first word, and is kept busy meanwhile. */
static struct {
    struct net_address address;
    int client, other; /* file descriptors */
    struct env_timer silence, go;
    char order[8];
    size_t n;
} busy;

static void busy_read(void *ctx, struct bytes data)
{
    busy.order[busy.n++] = 'r';
}

static void busy_silence(struct env_timer *t)
{
    busy.order[busy.n++] = 't';
    loop_stop(loop);
}

static int busy_dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(busy.address.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static void busy_go(struct env_timer *t)
{
    busy.other = busy_dial();
}

static void busy_accept(void *ctx, struct net_conn *conn)
{
    static const struct net_conn_ops ops = {busy_read, NULL, NULL, end_on_closed};
    if (!busy.other) {
        server.conn = conn;
        net_conn_start(conn, &ops, &server);
        env_timer_arm(loop_env(loop), &busy.silence, 30);
        env_timer_arm(loop_env(loop), &busy.go, 5);
        return;
    }
    net_conn_close(conn);
    assert_int_equal(write(busy.client, "x", 1), 1);
    usleep(150 * 1000);
}

/* A loop that was busy for longer than a time limit looks first at what has arrived meanwhile. */
static void test_busy_loop_takes_nobody_for_silent(void **state)
{
    static const struct net_listener_ops ops = {busy_accept};
    struct net_listener *nl;
    struct err err;
    memset(&busy, 0, sizeof(busy));
    memset(&server, 0, sizeof(server));
    env_timer_init(&busy.silence, busy_silence);
    env_timer_init(&busy.go, busy_go);
    busy.address = (struct net_address){.family = NET_TCP, .host = "127.0.0.1"};
    assert_int_equal(net_listen(loop, &busy.address, false, &ops, NULL, &nl, &err), RC_OK);
    assert_int_equal(net_listener_start(nl, &err), RC_OK);
    net_listener_address(nl, &busy.address);
    busy.client = busy_dial();
    loop_run(loop);
    assert_string_equal(busy.order, "rt");
    net_conn_close(server.conn);
    net_listener_close(nl);
    close(busy.client);
    close(busy.other);
}

static void stop_loop(struct env_timer *t)
{
    loop_stop(loop);
}

static void never_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    fail_msg("called after net_conn_close");
}

static void test_cancelled_connect(void **state)
{
    prepare(0, 0);
    server.echo = false;
    struct net_listener *nl = listen_at(loopback);
    struct net_address addr, name = {NET_TCP, "localhost", 1};
    net_listener_address(nl, &addr);
    net_conn_close(net_connect(loop, &addr, 1000, never_connected, NULL));
    net_conn_close(net_connect(loop, &name, 1000, never_connected, NULL)); /* while resolving */
    struct env_timer t;
    env_timer_init(&t, stop_loop);
    env_timer_arm(loop_env(loop), &t, 50);
    loop_run(loop);
}

/* Freeing the loop with open, connecting and resolving connections calls nobody and leaks nothing. */
static void test_free_with_open_connections(void **state)
{
    prepare(0, 0);
    client.stop_when_closed = false;
    struct net_listener *nl = listen_at(loopback);
    connect_client(nl);
    struct env_timer t;
    env_timer_init(&t, stop_loop);
    env_timer_arm(loop_env(loop), &t, 50);
    loop_run(loop);
    assert_int_equal(client.connected, 1);
    struct net_address name = {NET_TCP, "localhost", 1}, addr;
    net_listener_address(nl, &addr);
    net_connect(loop, &name, 1000, never_connected, NULL);
    net_connect(loop, &addr, 1000, never_connected, NULL);
    write_text(client.conn, "queued");
}

/* A node that starts takes its ports early: who connects then waits until the node accepts. */
static void waits_for_start(struct net_address addr, bool moved)
{
    struct net_listener *nl;
    struct err err = {0};
    prepare(0, 0);
    assert_int_equal(net_listen(loop, &addr, false, &listener_ops, NULL, &nl, &err), 0);
    connect_client(nl);
    struct env_timer t;
    env_timer_init(&t, stop_loop);
    env_timer_arm(loop_env(loop), &t, 50);
    loop_run(loop);
    assert_int_equal(client.connected, 1);
    assert_null(server.conn);
    if (moved)
        assert_int_equal(net_listener_move(nl, loop, &listener_ops, NULL, &nl, &err), 0);
    assert_int_equal(net_listener_start(nl, &err), 0);
    env_timer_arm(loop_env(loop), &t, 50);
    loop_run(loop);
    assert_non_null(server.conn);
    net_listener_close(nl);
}

static void test_connections_wait_for_the_start(void **state)
{
    waits_for_start(loopback, false);
    waits_for_start(loopback, true);
    struct net_address at = {.family = NET_UNIX};
    snprintf(at.host, sizeof(at.host), "/tmp/net-start-%d.sock", (int)getpid());
    waits_for_start(at, false);
    waits_for_start(at, true);
    assert_int_equal(access(at.host, F_OK), -1);
}

static void test_port_taken(void **state)
{
    struct net_listener *a, *b, *c;
    struct net_address addr = loopback;
    struct err err = {0};
    assert_int_equal(net_listen(loop, &addr, true, &listener_ops, NULL, &a, &err), 0);
    net_listener_address(a, &addr);
    assert_int_not_equal(addr.port, 0);
    assert_int_equal(net_listener_start(a, &err), 0);
    assert_int_equal(net_listen(loop, &addr, true, &listener_ops, NULL, &b, &err), 0); /* a sibling joins */
    assert_int_equal(net_listener_start(b, &err), 0);
    assert_int_equal(net_listen(loop, &addr, false, &listener_ops, NULL, &c, &err), RC_IO);
    assert_non_null(strstr(err.msg, "Address already in use"));
    net_listener_close(a);
    net_listener_close(b);

    /* Another server of this user that also shares its port: SO_REUSEPORT must not let us in. */
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    addr.port = ntohs(sa.sin_port);
    assert_int_equal(net_listen(loop, &addr, true, &listener_ops, NULL, &c, &err), RC_IO);
    close(fd);
    snprintf(addr.host, sizeof(addr.host), "not-an-ip");
    assert_int_equal(net_listen(loop, &addr, true, &listener_ops, NULL, &c, &err), RC_INVALID);
}

static void on_reset_read(void *ctx, struct bytes data)
{
    net_conn_close(server.conn); /* with unread data of the peer: a reset */
}

/* The peer dies while a lot is queued: on_closed with an error, once, and the queue is freed. */
static void test_peer_resets(void **state)
{
    static const struct net_conn_ops reset_ops = {on_reset_read, NULL, NULL, end_on_closed};
    prepare(8u << 20, 65536);
    server_ops = &reset_ops;
    struct net_listener *nl = listen_at(loopback);
    connect_client(nl);
    loop_run(loop);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.why.rc, RC_CLOSED);
    assert_int_equal(client.eofs, 0);
    net_listener_close(nl);
}

#define NET_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    setenv("CMOCKA_TEST_ABORT", "1", 0); /* a failure cannot be unwound through the loop */
    const struct CMUnitTest tests[] = {
        NET_TEST(test_tcp_echo_small),
        NET_TEST(test_tcp_echo_many_small_writes),
        NET_TEST(test_tcp_echo_large_with_back_pressure),
        NET_TEST(test_tcp_ipv6_and_name),
        NET_TEST(test_unix_echo),
        NET_TEST(test_queued_before_connected_and_flush_on_close),
        NET_TEST(test_eof_without_callback),
        NET_TEST(test_connect_errors),
        NET_TEST(test_connect_timeout),
        NET_TEST(test_busy_loop_takes_nobody_for_silent),
        NET_TEST(test_cancelled_connect),
        NET_TEST(test_free_with_open_connections),
        NET_TEST(test_connections_wait_for_the_start),
        NET_TEST(test_port_taken),
        NET_TEST(test_peer_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

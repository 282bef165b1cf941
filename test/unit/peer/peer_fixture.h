/* Nodes of a test cluster: each has a listener on 127.0.0.1, an acceptor and its `struct peers`, all on one
 * loop that runs in the test; and raw connections that speak the protocol badly. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "peer/acceptor.h"
#include "peer/hello.h"

/* For tests about silence; the others leave a busy machine its time. */
#define INTERVAL_MS 100
#define SILENCE_MS  300

static struct loop *loop;

struct tnode {
    struct peers *peers;
    struct net_listener *listener;
    struct peer_acceptor *acceptor;
    char address[64];
    struct node_ref ref;
    uint32_t config_queue_limit;

    /* what happened */
    int ups, accepted_ups, downs, accepted_downs, alives, frames, http_conns;
    struct peer_link last_up, last_down, last_frame;
    struct peer_down down;
    char why[ERR_MESSAGE_SIZE];
    struct writer text; /* all payloads */
    uint64_t answer_to; /* link of the last frame */
    bool answers;       /* every frame is sent back */
    struct loop *frame_loop;
    struct net_conn *http;
    struct writer http_text;
    int http_closed;
};

static inline void t_on_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct tnode *n = ctx;
    n->frames++;
    n->last_frame = *from;
    n->answer_to = from->id;
    __atomic_store_n(&n->frame_loop, loop_current(), __ATOMIC_SEQ_CST);
    write_raw(&n->text, payload.ptr, payload.len);
    if (n->answers && from->accepted) {
        struct bytes parts[2] = {bytes_static(SLICE_LIT("re:")), payload};
        assert_int_equal(peers_answer(n->peers, from->id, PEER_METADATA, parts, 2), RC_OK);
    }
}

static inline void t_on_up(void *ctx, const struct peer_link *l)
{
    struct tnode *n = ctx;
    *(l->accepted ? &n->accepted_ups : &n->ups) += 1;
    n->last_up = *l;
}

static inline void t_on_down(void *ctx, const struct peer_link *l, const struct peer_down *down)
{
    struct tnode *n = ctx;
    *(l->accepted ? &n->accepted_downs : &n->downs) += 1;
    n->last_down = *l;
    n->down = *down;
    snprintf(n->why, sizeof(n->why), "%s", down->why);
}

static inline void t_on_alive(void *ctx, uint32_t node)
{
    struct tnode *n = ctx;
    n->alives++;
}

static const struct peer_service_ops t_ops = {t_on_frame, t_on_up, t_on_down, t_on_alive};
static const struct peer_service_ops t_frame_ops = {.on_frame = t_on_frame};

static inline void t_http_read(void *ctx, struct bytes data)
{
    struct tnode *n = ctx;
    write_raw(&n->http_text, data.ptr, data.len);
}

static inline void t_http_closed(void *ctx, const struct err *why)
{
    struct tnode *n = ctx;
    n->http_closed++;
    n->http = NULL;
}

static const struct net_conn_ops t_http_ops = {.on_read = t_http_read, .on_closed = t_http_closed};

static inline void t_http(void *ctx, struct net_conn *conn)
{
    struct tnode *n = ctx;
    n->http_conns++;
    n->http = conn;
    net_conn_start(conn, &t_http_ops, n);
}

static inline void t_accept(void *ctx, struct net_conn *conn)
{
    struct tnode *n = ctx;
    peer_acceptor_accept(n->acceptor, conn);
}

static const struct net_listener_ops t_listener_ops = {t_accept};

static inline void t_listen(struct tnode *n)
{
    struct net_address a = {.family = NET_TCP, .host = "127.0.0.1"};
    unsigned port = 0;
    if (sscanf(n->address, "http://127.0.0.1:%u/", &port) == 1)
        a.port = (uint16_t)port;
    assert_int_equal(net_listen(loop, &a, false, &t_listener_ops, n, &n->listener, NULL), RC_OK);
    assert_int_equal(net_listener_start(n->listener, NULL), RC_OK);
    net_listener_address(n->listener, &a);
    snprintf(n->address, sizeof(n->address), "http://127.0.0.1:%u/", a.port);
}

static inline struct peers_config t_config(void)
{
    struct peers_config c;
    peers_config_default(&c);
    c.cluster_name = "test";
    c.retry_min_ms = 20;
    c.retry_max_ms = 100;
    return c;
}

static inline struct peers_config t_impatient(void)
{
    struct peers_config c = t_config();
    c.keep_alive_interval_ms = INTERVAL_MS;
    c.keep_alive_timeout_ms = SILENCE_MS;
    c.handshake_timeout_ms = 250;
    return c;
}

/* Node `id`:1 of the cluster "test" with fingerprint 77; id 0: not joined. */
static inline void t_start(struct tnode *n, uint32_t id, const struct peers_config *config)
{
    struct peers_config c = config ? *config : t_config();
    *n = (struct tnode){.ref = {id, id ? 1 : 0}};
    n->peers = peers_new(loop, &c);
    n->acceptor = peer_acceptor_new(n->peers, t_http, n);
    peers_serve(n->peers, PEER_METADATA, &t_ops, n);
    peers_serve(n->peers, PEER_GOSSIP, &t_frame_ops, n);
    peer_acceptor_add(n->acceptor, PEER_CONTROL, n->peers);
    peer_acceptor_add(n->acceptor, PEER_PARTITION, n->peers);
    if (id)
        peer_acceptor_set_identity(n->acceptor, n->ref, 77);
    t_listen(n);
}

static inline void t_stop(struct tnode *n)
{
    if (n->listener)
        net_listener_close(n->listener);
    if (n->acceptor)
        peer_acceptor_free(n->acceptor);
    if (n->peers)
        peers_free(n->peers);
    if (n->http)
        net_conn_close(n->http);
    writer_free(&n->text);
    writer_free(&n->http_text);
    n->peers = NULL;
}

static inline void t_know(struct tnode *n, const struct tnode *other)
{
    peer_acceptor_set_node(n->acceptor, other->ref, other->address);
}

static inline enum rc t_send(struct tnode *n, uint32_t to, const char *text)
{
    struct bytes part = bytes_static(slice_cstr(text));
    return peers_send(n->peers, to, PEER_CONTROL, PEER_METADATA, &part, 1, NULL);
}

/* ---- running ---- */

static struct env_timer poll_timer;
static const int *poll_value;
static int poll_least;
static uint64_t poll_deadline;
static bool poll_reached;

static inline void poll_fire(struct env_timer *t)
{
    poll_reached = poll_value && *poll_value >= poll_least;
    if (poll_reached || env_mono_ms(loop_env(loop)) >= poll_deadline)
        loop_stop(loop);
    else
        env_timer_arm(loop_env(loop), t, 1);
}

/* Run until *value >= least; false if it did not come within `ms`. */
static inline bool run_until(const int *value, int least, uint64_t ms)
{
    poll_value = value;
    poll_least = least;
    poll_deadline = UINT64_MAX;
    env_timer_init(&poll_timer, poll_fire);
    poll_reached = false;
    env_timer_arm(loop_env(loop), &poll_timer, 0);
    poll_deadline = env_mono_ms(loop_env(loop)) + ms + 5;
    loop_run(loop);
    return poll_reached;
}
static inline void run_for(uint64_t ms)
{
    run_until(NULL, 1, ms);
}
#define WAIT_FOR(value, least) assert_true(run_until(&(value), (least), 30000))

static inline int setup(void **state)
{
    loop = loop_new("test");
    return 0;
}

static inline int teardown(void **state)
{
    run_for(5); /* sockets report their end */
    loop_free(loop);
    assert_int_equal(buf_live_bytes(), 0);
    return 0;
}

/* ---- a connection without the library ---- */

struct raw {
    struct net_conn *conn;
    int connected, closed, received; /* bytes */
    struct writer in;
    bool greets; /* as acceptor: answers a hello as `me` */
    struct node_ref me;
    bool stops_reading;
};

static inline void raw_read(void *ctx, struct bytes data)
{
    struct raw *r = ctx;
    struct peer_hello h;
    size_t used;
    write_raw(&r->in, data.ptr, data.len);
    r->received += (int)data.len;
    if (!r->greets || peer_hello_decode(writer_slice(&r->in), &used, &h) != RC_OK)
        return;
    r->greets = false;
    struct peer_answer a = {.accepted = true, .version = 1, .me = r->me};
    struct writer w = WRITER_INIT;
    peer_answer_encode(&w, &a);
    net_conn_write(r->conn, writer_take(&w));
    if (r->stops_reading)
        net_conn_pause(r->conn);
}

static inline void raw_closed(void *ctx, const struct err *why)
{
    struct raw *r = ctx;
    r->closed++;
    r->conn = NULL;
}

static const struct net_conn_ops raw_ops = {.on_read = raw_read, .on_closed = raw_closed};

static inline void raw_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    struct raw *r = ctx;
    assert_int_equal(err->rc, RC_OK);
    r->connected++;
    net_conn_start(conn, &raw_ops, r);
}

static inline void raw_connect(struct raw *r, const struct tnode *to)
{
    struct net_address a;
    assert_int_equal(peer_address_parse(slice_cstr(to->address), &a, NULL), RC_OK);
    r->conn = net_connect(loop, &a, 1000, raw_connected, r);
    WAIT_FOR(r->connected, 1);
}

static inline void raw_accepted(void *ctx, struct net_conn *conn)
{
    struct raw *r = ctx;
    r->conn = conn;
    r->connected++;
    net_conn_start(conn, &raw_ops, r);
}

static const struct net_listener_ops raw_listener_ops = {raw_accepted};

static inline void raw_write(struct raw *r, const void *ptr, size_t len)
{
    net_conn_write(r->conn, bytes_copy(slice_make(ptr, len)));
}

static inline void raw_hello(struct raw *r, const struct peer_hello *h)
{
    struct writer w = WRITER_INIT;
    peer_hello_encode(&w, h);
    net_conn_write(r->conn, writer_take(&w));
}

static inline void raw_close(struct raw *r)
{
    if (r->conn) { /* `r` is on the caller's stack: nothing may come later */
        net_conn_close(r->conn);
        WAIT_FOR(r->closed, 1);
    }
    writer_free(&r->in);
}

static inline struct peer_hello good_hello(uint32_t from, uint32_t expected)
{
    return (struct peer_hello){.min_version = 1,
                               .max_version = 1,
                               .channel = PEER_CONTROL,
                               .fingerprint = 77,
                               .from = {from, from ? 1 : 0},
                               .expected_id = expected,
                               .cluster_name = SLICE_LIT("test")};
}

/* Links between nodes over real sockets: frames both ways, answers, links by address, back-pressure, ends of
 * links and what is reported about them, pauses and signs of life, handing over to another loop. */
#include "peer_fixture.h"

static void test_frames_and_answers(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    b.answers = true;
    assert_int_equal(t_send(&a, 2, "x"), RC_UNAVAILABLE); /* unknown node */
    t_know(&a, &b);
    uint64_t link = 0;
    struct bytes parts[3] = {bytes_static(SLICE_LIT("one,")), BYTES_EMPTY, bytes_static(SLICE_LIT("two."))};
    assert_int_equal(peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, parts, 3, &link), RC_OK);
    assert_false(peers_is_up(a.peers, 2, PEER_CONTROL));
    assert_int_equal(t_send(&a, 2, "three."), RC_OK); /* waits as well */
    WAIT_FOR(a.frames, 2);
    assert_true(slice_eq_cstr(writer_slice(&b.text), "one,two.three."));
    assert_true(slice_eq_cstr(writer_slice(&a.text), "re:one,two.re:three."));
    assert_true(a.ups == 1 && a.last_up.id == link && a.last_up.node.id == 2 && !a.last_up.accepted);
    assert_true(b.accepted_ups == 1 && b.last_frame.node.id == 1 && b.last_frame.node.generation == 1);
    assert_true(b.last_frame.accepted && b.last_frame.channel == PEER_CONTROL);
    assert_true(b.alives == 1);                        /* of a link from another node */
    assert_int_equal(peers_generation(b.peers, 1), 1); /* although nobody told */
    /* another channel is another link */
    assert_int_equal(peers_send(a.peers, 2, PEER_PARTITION, PEER_GOSSIP, parts, 1, &link), RC_OK);
    WAIT_FOR(b.accepted_ups, 2);
    WAIT_FOR(b.frames, 3);
    assert_int_equal(b.last_frame.channel, PEER_PARTITION);
    assert_int_equal(peers_answer(b.peers, 4711, PEER_METADATA, parts, 1), RC_CLOSED);
    t_stop(&a);
    WAIT_FOR(b.accepted_downs, 2);
    assert_int_equal(b.down.reason, PEER_DOWN_CLOSED); /* it said goodbye */
    assert_int_equal(peers_answer(b.peers, b.answer_to, PEER_METADATA, parts, 1), RC_CLOSED);
    t_stop(&b);
}

static void test_large_frames(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    size_t n = 5u << 20;
    struct buf *buf = buf_new(n);
    for (size_t i = 0; i < n; i++)
        buf->data[i] = (uint8_t)(i * 2654435761u >> 13);
    struct bytes part = bytes_take_buf(buf, 0, n), parts[2] = {part, bytes_static(SLICE_LIT("end"))};
    for (int i = 0; i < 3; i++)
        assert_int_equal(peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, parts, 2, NULL), RC_OK);
    WAIT_FOR(b.frames, 3);
    struct slice got = writer_slice(&b.text);
    assert_int_equal(got.len, 3 * (n + 3));
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(got.ptr + (size_t)i * (n + 3), part.ptr, n);
        assert_memory_equal(got.ptr + (size_t)i * (n + 3) + n, "end", 3);
    }
    struct bytes many[9];
    for (int i = 0; i < 9; i++)
        many[i] = part; /* 45 MiB */
    assert_int_equal(peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, many, 9, NULL), RC_TOO_LARGE);
    bytes_unref(&part);
    t_stop(&a);
    t_stop(&b);
}

/* Before joining there is no identity: only by address, and only the metadata service. */
static void test_by_address_before_joining(void **state)
{
    struct tnode a, b;
    t_start(&a, 0, NULL);
    t_start(&b, 2, NULL);
    b.answers = true;
    peer_acceptor_set_node(a.acceptor, b.ref, b.address);
    assert_int_equal(t_send(&a, 2, "x"), RC_UNAVAILABLE); /* no identity */
    struct bytes part = bytes_static(SLICE_LIT("hello"));
    uint64_t link;
    assert_int_equal(peers_send_address(a.peers, b.address, PEER_METADATA, &part, 1, &link), RC_OK);
    WAIT_FOR(a.frames, 1);
    assert_true(slice_eq_cstr(writer_slice(&a.text), "re:hello"));
    assert_true(a.last_frame.id == link && a.last_frame.node.id == 2);
    assert_int_equal(b.last_frame.node.id, 0);
    assert_int_equal(peers_send_address(a.peers, b.address, PEER_GOSSIP, &part, 1, &link), RC_OK);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_CLOSED);
    assert_non_null(strstr(a.why, "metadata service only"));
    assert_int_equal(b.frames, 1);
    /* identity is set later */
    peer_acceptor_set_identity(a.acceptor, (struct node_ref){1, 1}, 77);
    assert_int_equal(t_send(&a, 2, "joined"), RC_OK);
    WAIT_FOR(a.frames, 2);
    assert_int_equal(b.last_frame.node.id, 1);
    t_stop(&a);
    t_stop(&b);
}

/* A node that starts is refused nothing for long: who dials it too early tries again soon. */
static void test_dialed_before_it_joined(void **state)
{
    struct tnode a, b;
    struct peers_config c = t_config();
    c.retry_max_ms = 60000;
    t_start(&a, 1, &c);
    t_start(&b, 0, NULL);
    b.ref = (struct node_ref){2, 1};
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_REFUSED);
    assert_non_null(strstr(a.why, "has not joined yet"));
    peer_acceptor_set_identity(b.acceptor, b.ref, 77);
    WAIT_FOR(a.ups, 1);
    t_stop(&a);
    t_stop(&b);
}

/* A greeting of a process that has ended since is not a refusal: a node that joins would end because of it.
 */
static void test_outdated_greeting(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    b.ref.generation = 2; /* it answers as generation 1 */
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_CLOSED);
    assert_non_null(strstr(a.why, "an older process than N2:2"));
    peer_acceptor_set_identity(b.acceptor, b.ref, 77);
    WAIT_FOR(a.ups, 1);
    t_stop(&a);
    t_stop(&b);
}

static void test_nobody_listens(void **state)
{
    struct tnode a, b;
    struct peers_config c = t_config();
    c.retry_min_ms = c.retry_max_ms = 60000;
    t_start(&a, 1, &c);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    net_listener_close(b.listener);
    assert_int_equal(t_send(&a, 2, "lost"), RC_OK);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_GONE);
    assert_false(a.down.was_up);
    assert_int_equal(t_send(&a, 2, "not now"), RC_UNAVAILABLE); /* pauses for a minute */
    t_listen(&b);
    run_for(30);
    assert_int_equal(a.ups, 0);
    peers_wake(a.peers, 2); /* a sign of life ends the pause, nothing has to be sent */
    WAIT_FOR(a.ups, 1);
    assert_int_equal(a.alives, 1);
    assert_int_equal(t_send(&a, 2, "now"), RC_OK);
    WAIT_FOR(b.frames, 1);
    assert_true(slice_eq_cstr(writer_slice(&b.text), "now"));
    t_stop(&a);
    t_stop(&b);
}

/* TR-13: the other node dials us, so it lives. */
static void test_incoming_link_ends_pauses(void **state)
{
    struct tnode a, b;
    struct peers_config c = t_config();
    c.retry_min_ms = c.retry_max_ms = 60000;
    t_start(&a, 1, &c);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    t_know(&b, &a);
    net_listener_close(b.listener);
    assert_int_equal(t_send(&a, 2, "lost"), RC_OK);
    WAIT_FOR(a.downs, 1);
    t_listen(&b);
    assert_int_equal(t_send(&b, 1, "here I am"), RC_OK);
    WAIT_FOR(a.ups, 1);
    assert_int_equal(a.alives, 1);
    t_stop(&a);
    t_stop(&b);
}

/* Dials again by itself, as long as somebody was interested. */
static void test_redials(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "1"), RC_OK);
    WAIT_FOR(b.frames, 1);
    for (int i = 1; i <= 3; i++) {
        peers_close_link(b.peers, b.answer_to, "for a test");
        WAIT_FOR(a.downs, i);
        assert_true(a.down.was_up && strstr(a.why, "for a test"));
        WAIT_FOR(a.ups, i + 1);
        assert_int_equal(t_send(&a, 2, "again"), RC_OK);
        WAIT_FOR(b.frames, i + 1);
    }
    t_stop(&a);
    t_stop(&b);
}

static struct net_listener *raw_node(struct raw *r, struct tnode *as, uint32_t id)
{
    struct net_address addr = {.family = NET_TCP, .host = "127.0.0.1"};
    struct net_listener *nl;
    r->me = (struct node_ref){id, 1};
    r->greets = true;
    assert_int_equal(net_listen(loop, &addr, false, &raw_listener_ops, r, &nl, NULL), RC_OK);
    assert_int_equal(net_listener_start(nl, NULL), RC_OK);
    net_listener_address(nl, &addr);
    *as = (struct tnode){.ref = r->me};
    snprintf(as->address, sizeof(as->address), "http://127.0.0.1:%u/", addr.port);
    return nl;
}

/* The other process ends: nobody says goodbye. */
static void test_ends_without_goodbye(void **state)
{
    struct tnode a, b;
    struct raw r = {0};
    struct net_listener *nl = raw_node(&r, &b, 2);
    t_start(&a, 1, NULL);
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.ups, 1);
    raw_close(&r);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_GONE);
    assert_true(a.down.was_up);
    net_listener_close(nl);
    t_stop(&a);
}

/* The other process stops, or the network swallows everything. */
static void test_silence(void **state)
{
    struct tnode a, b;
    struct raw r = {0};
    struct net_listener *nl = raw_node(&r, &b, 2);
    struct peers_config c = t_impatient();
    t_start(&a, 1, &c);
    t_know(&a, &b);
    uint64_t since = env_mono_ms(loop_env(loop));
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.downs, 1);
    uint64_t took = env_mono_ms(loop_env(loop)) - since;
    assert_int_equal(a.ups, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_SILENT);
    assert_true(took >= SILENCE_MS);
    net_listener_close(nl);
    raw_close(&r);
    t_stop(&a);
}

static void test_no_answer_to_greeting(void **state)
{
    struct tnode a, b;
    struct raw r = {0};
    struct net_listener *nl = raw_node(&r, &b, 2);
    r.greets = false;
    struct peers_config c = t_impatient();
    t_start(&a, 1, &c);
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(a.down.reason, PEER_DOWN_SILENT);
    assert_false(a.down.was_up);
    net_listener_close(nl);
    raw_close(&r);
    t_stop(&a);
}

static void test_idle_links_stay(void **state)
{
    struct tnode a, b;
    struct peers_config c = t_impatient();
    t_start(&a, 1, &c);
    t_start(&b, 2, &c);
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.ups, 1);
    run_for(4 * SILENCE_MS);
    assert_int_equal(a.downs + b.accepted_downs, 0);
    t_stop(&a);
    t_stop(&b);
}

/* A receiver that takes nothing: the queue has an end, and the link survives as long as the other end pings.
 */
static void test_back_pressure(void **state)
{
    struct tnode a, b;
    struct raw r = {.stops_reading = true};
    struct net_listener *nl = raw_node(&r, &b, 2);
    struct peers_config c = t_config();
    c.queue_limit_bytes = 8u << 20;
    c.keep_alive_timeout_ms = 10000;
    t_start(&a, 1, &c);
    t_know(&a, &b);
    struct bytes part = bytes_take_buf(buf_new(1u << 20), 0, 1u << 20);
    memset((uint8_t *)part.ptr, 'x', part.len);
    int sent = 0;
    enum rc rc = RC_OK;
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.ups, 1);
    while (sent < 100 &&
           (rc = peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, &part, 1, NULL)) == RC_OK) {
        sent++;
        run_for(2);
    }
    assert_int_equal(rc, RC_OVERLOADED);
    assert_true(sent >= 8 && sent < 60);
    assert_true(peers_pending(a.peers, 2, PEER_CONTROL) <= c.queue_limit_bytes + 16);
    net_conn_resume(r.conn);
    int before = r.received;
    WAIT_FOR(r.received, before + sent * (1 << 20));
    assert_int_equal(peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, &part, 1, NULL), RC_OK);
    bytes_unref(&part);
    net_listener_close(nl);
    t_stop(&a);
    raw_close(&r);
}

/* A slow receiver of a long queue is not taken for a dead one. */
static void test_slow_is_not_silent(void **state)
{
    struct tnode a, b;
    struct raw r = {.stops_reading = true};
    struct net_listener *nl = raw_node(&r, &b, 2);
    struct peers_config c = t_impatient();
    c.queue_limit_bytes = 100u << 20;
    t_start(&a, 1, &c);
    t_know(&a, &b);
    struct bytes part = bytes_take_buf(buf_new(30u << 20), 0, 30u << 20);
    memset((uint8_t *)part.ptr, 'x', part.len);
    for (int i = 0; i < 3; i++)
        assert_int_equal(peers_send(a.peers, 2, PEER_CONTROL, PEER_METADATA, &part, 1, NULL), RC_OK);
    bytes_unref(&part);
    WAIT_FOR(a.ups, 1);
    for (int i = 0; i < 12 && a.downs == 0; i++) { /* 12 * 60 ms; takes 2 MiB each time */
        int before = r.received;
        net_conn_resume(r.conn);
        run_until(&r.received, before + (2 << 20), INTERVAL_MS);
        net_conn_pause(r.conn);
        run_for(INTERVAL_MS);
    }
    assert_int_equal(a.downs, 0);
    WAIT_FOR(a.downs, 1); /* and now it stops altogether */
    assert_int_equal(a.down.reason, PEER_DOWN_SILENT);
    net_listener_close(nl);
    raw_close(&r);
    t_stop(&a);
}

static void test_new_generation(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(b.frames, 1);
    /* N2 starts again elsewhere; the old process still runs */
    struct tnode b2;
    t_start(&b2, 2, NULL);
    b2.ref.generation = 2;
    peer_acceptor_set_identity(b2.acceptor, b2.ref, 77);
    t_know(&a, &b2);
    WAIT_FOR(a.downs, 1);
    assert_true(a.down.was_up && a.down.reason == PEER_DOWN_GONE && a.last_down.node.generation == 1);
    WAIT_FOR(a.ups, 2);
    assert_int_equal(a.last_up.node.generation, 2);
    /* the old one is not let in any more */
    t_know(&b, &a);
    assert_int_equal(t_send(&b, 1, "zombie"), RC_OK);
    WAIT_FOR(b.downs, 1);
    assert_int_equal(b.down.reason, PEER_DOWN_REFUSED);
    assert_non_null(strstr(b.why, "N2:1 was replaced by N2:2"));
    assert_int_equal(a.frames, 0);
    /* nor believed when it answers at an address */
    t_know(&a, &b);
    assert_int_equal(peers_generation(a.peers, 2), 2);
    t_stop(&a);
    t_stop(&b);
    t_stop(&b2);
}

static void test_removed_node(void **state)
{
    struct tnode a, b;
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    t_know(&a, &b);
    t_know(&b, &a);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK);
    WAIT_FOR(a.ups, 1);
    peer_acceptor_remove_node(a.acceptor, 2);
    WAIT_FOR(a.downs, 1);
    assert_int_equal(t_send(&a, 2, "x"), RC_UNAVAILABLE);
    assert_int_equal(t_send(&b, 1, "let me in"), RC_OK);
    WAIT_FOR(b.downs, 1);
    assert_non_null(strstr(b.why, "N2 was removed"));
    t_stop(&a);
    t_stop(&b);
}

/* ---- another loop ---- */

struct call {
    struct loop_msg msg;
    struct tnode *node;
    int done;
};

static void free_there(struct loop_msg *m)
{
    struct call *c = CONTAINER_OF(m, struct call, msg);
    peers_free(c->node->peers);
    __atomic_store_n(&c->done, 1, __ATOMIC_SEQ_CST);
}

/* The partition channel of `b` is served by another thread; nothing of it happens on the main loop. */
static void test_handed_to_another_loop(void **state)
{
    struct tnode a, b, there = {0};
    t_start(&a, 1, NULL);
    t_start(&b, 2, NULL);
    struct loop *other = loop_new("other");
    struct peers_config c = t_config();
    there.peers = peers_new(other, &c);
    there.answers = true;
    peers_serve(there.peers, PEER_METADATA, &t_ops, &there);
    peer_acceptor_remove(b.acceptor, b.peers);
    peer_acceptor_add(b.acceptor, PEER_PARTITION, there.peers);
    loop_start(other);
    t_know(&a, &b);
    struct bytes part = bytes_static(SLICE_LIT("work"));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(peers_send(a.peers, 2, PEER_PARTITION, PEER_METADATA, &part, 1, NULL), RC_OK);
        WAIT_FOR(a.frames, i + 1);
        assert_ptr_equal(__atomic_load_n(&there.frame_loop, __ATOMIC_SEQ_CST), other);
    }
    assert_int_equal(b.frames, 0);
    assert_int_equal(t_send(&a, 2, "x"), RC_OK); /* nobody serves this channel now */
    WAIT_FOR(a.downs, 1);
    assert_non_null(strstr(a.why, "does not serve the control channel"));
    peer_acceptor_remove(b.acceptor, there.peers);
    struct call call = {.msg = {.deliver = free_there}, .node = &there};
    loop_post(other, &call.msg);
    WAIT_FOR(a.downs, 2);
    while (!__atomic_load_n(&call.done, __ATOMIC_SEQ_CST))
        run_for(1);
    loop_stop(other);
    loop_join(other);
    loop_free(other);
    writer_free(&there.text);
    t_stop(&a);
    t_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CASE(test_frames_and_answers),
        CASE(test_large_frames),
        CASE(test_by_address_before_joining),
        CASE(test_dialed_before_it_joined),
        CASE(test_outdated_greeting),
        CASE(test_nobody_listens),
        CASE(test_incoming_link_ends_pauses),
        CASE(test_redials),
        CASE(test_ends_without_goodbye),
        CASE(test_silence),
        CASE(test_no_answer_to_greeting),
        CASE(test_idle_links_stay),
        CASE(test_back_pressure),
        CASE(test_slow_is_not_silent),
        CASE(test_new_generation),
        CASE(test_removed_node),
        CASE(test_handed_to_another_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

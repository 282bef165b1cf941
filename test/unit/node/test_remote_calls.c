/* Requests to partitions that another node leads: replies of every kind, what each failure says about the
 * request (spec/cluster.md §4.8), cancelling, limits. */
#include "remote_fixture.h"

static struct rnode a, b;
static struct rnode *const both[] = {&a, &b};

/* Node 2 leads partition 1, node 1 asks. */
static void start(void)
{
    rnode_start(&a, 1);
    rnode_start(&b, 2);
    rnode_know(&a, &b);
    rnode_know(&b, &a);
    static uint64_t epoch;
    partition_lead(&b, 1, ++epoch);
    set_leader(both, 2, 1, 2);
}

static void stop(void)
{
    rnode_stop(&a);
    rnode_stop(&b);
}

static void test_replies(void **state)
{
    struct ask q;
    start();
    struct invocation_id id = id_in(KEY_1, 1);
    ask_invoke(&q, id, "in");
    ask_wait(&q, &a);
    assert_true(q.reply.status == RPC_OK && q.reply.outcome.kind == OUTCOME_SUCCESS);
    assert_string_equal(q.value, "done");
    assert_true(invocation_id_eq(q.reply.id, id));
    ask_init(&q, RPC_GET_OUTPUT, id);
    ask_wait(&q, &a);
    assert_string_equal(q.value, "done");
    assert_string_equal(q.service, "Svc");
    assert_true(q.reply.expiry_ms > 0);
    ask_init(&q, RPC_STATUS, id);
    ask_wait(&q, &a);
    assert_true(q.reply.status == RPC_OK && q.reply.invocation_status == INV_COMPLETED);
    ask_init(&q, RPC_ATTACH, id_in(KEY_1, 99));
    ask_wait(&q, &a);
    assert_int_equal(q.reply.status, RPC_NOT_FOUND);
    ask_init(&q, RPC_TERMINATE, id);
    q.rpc.kill = true;
    ask_wait(&q, &a);
    assert_int_equal(q.reply.status, RPC_ALREADY_COMPLETED);
    ask_init(&q, RPC_RESTART_AS_NEW, id);
    q.rpc.new_id = id_in(KEY_1, 2);
    ask_wait(&q, &a);
    assert_int_equal(q.reply.status, RPC_OK);
    assert_true(invocation_id_eq(q.reply.new_id, q.rpc.new_id));
    /* the leader's own requests do not travel */
    ask_invoke(&q, id_in(KEY_1, 3), "in");
    ask_wait(&q, &b);
    assert_string_equal(q.value, "done");
    assert_int_equal(remote_calls_waiting(b.remote->calls), 0);
    stop();
}

static void test_large_values(void **state)
{
    struct ask q;
    start();
    size_t n = 3u << 20;
    char *input = xmalloc(n + 1);
    memset(input, 'x', n);
    input[n] = 0;
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 1), input);
    ask_submit(&q, &a);
    assert_true(run_until(at_least_one, &b.partitions[1].invoked, 5000));
    struct invocation *inv = store_invocation_get(processor_store(b.partitions[1].p), id_in(KEY_1, 1));
    assert_true(inv && inv->si.input.len > n);
    partition_router_cancel(a.router, &q.rpc);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    free(input);
    stop();
}

/* Not sent, or refused: certainly not processed. */
static void test_certainly_not_processed(void **state)
{
    struct ask q;
    start();
    set_leader(both, 2, 1, 77); /* nobody has heard of this node */
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_wait(&q, &a);
    assert_refused(&q, RC_UNAVAILABLE);
    set_leader(both, 2, 0, 2); /* node 2 has no partition 0 */
    ask_invoke(&q, id_in(KEY_0, 1), "in");
    ask_wait(&q, &a);
    assert_refused(&q, RC_NOT_LEADER);
    set_leader(both, 2, 0, 0); /* nobody leads: perhaps this node does, but it does not */
    ask_invoke(&q, id_in(KEY_0, 1), "in");
    ask_wait(&q, &a);
    assert_refused(&q, RC_NOT_LEADER);
    set_leader(both, 2, 1, 2);
    processor_step_down(b.partitions[1].p);
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_wait(&q, &a);
    assert_refused(&q, RC_NOT_LEADER);
    /* a request is not passed on to a third node */
    b.map->slots[1].leader_node = 1;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_wait(&q, &a);
    assert_refused(&q, RC_NOT_LEADER);
    stop();
}

static void test_node_down_before_the_link_is_up(void **state)
{
    struct ask q;
    start();
    net_listener_close(b.listener);
    b.listener = NULL;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_wait(&q, &a); /* was queued for a link that did not come up */
    assert_refused(&q, RC_UNAVAILABLE);
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_wait(&q, &a); /* pauses */
    assert_refused(&q, RC_UNAVAILABLE);
    stop();
}

/* The leader's node ends while a request is with it. */
static void test_link_lost(void **state)
{
    struct ask q[3];
    start();
    b.idle = true;
    for (int i = 0; i < 3; i++) {
        ask_invoke(&q[i], id_in(KEY_1, 1 + (uint64_t)i), "in");
        ask_submit(&q[i], &a);
    }
    assert_true(run_until(at_least_one, &b.partitions[1].invoked, 5000));
    peers_close_link(a.peers, peers_link(a.peers, 2, PEER_PARTITION), "test");
    assert_int_equal(q[0].replied, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(run_until(at_least_one, &q[i].replied, 5000));
        assert_refused(&q[i], RC_LOST_LEADERSHIP);
    }
    /* the other side forgets the requests as well */
    run_for(50);
    struct processor_status st;
    processor_get_status(b.partitions[1].p, &st);
    assert_int_equal(st.waiting_rpcs, 0);
    stop();
}

static void test_leadership_lost(void **state)
{
    struct ask q;
    start();
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_submit(&q, &a);
    assert_true(run_until(at_least_one, &b.partitions[1].invoked, 5000));
    processor_step_down(b.partitions[1].p);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    assert_refused(&q, RC_LOST_LEADERSHIP);
    stop();
}

/* The old leader is cut off from the log and does not know it yet: the caller is free to ask the new one. */
static void test_leadership_moved(void **state)
{
    struct ask q;
    start();
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_submit(&q, &a);
    assert_true(run_until(at_least_one, &b.partitions[1].invoked, 5000));
    run_for(700);
    assert_int_equal(q.replied, 0); /* as long as it leads, it may take its time */
    set_leader(both, 2, 1, 3);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    assert_refused(&q, RC_LOST_LEADERSHIP);
    stop();
}

static void test_cancel_travels(void **state)
{
    struct ask q;
    struct processor_status st;
    start();
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_submit(&q, &a);
    assert_true(run_until(at_least_one, &b.partitions[1].invoked, 5000));
    processor_get_status(b.partitions[1].p, &st);
    assert_int_equal(st.waiting_rpcs, 1);
    partition_router_cancel(a.router, &q.rpc);
    partition_router_cancel(a.router, &q.rpc); /* once is enough */
    assert_int_equal(q.replied, 0);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    assert_refused(&q, RC_CANCELED);
    run_for(30);
    processor_get_status(b.partitions[1].p, &st);
    assert_int_equal(st.waiting_rpcs, 0);
    /* before the link is up */
    struct rnode c;
    rnode_start(&c, 3);
    rnode_know(&c, &b);
    partition_map_set_leader(c.map, 1, 2);
    ask_invoke(&q, id_in(KEY_1, 2), "in");
    ask_submit(&q, &c);
    partition_router_cancel(c.router, &q.rpc);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    assert_refused(&q, RC_CANCELED);
    run_for(50);
    processor_get_status(b.partitions[1].p, &st);
    assert_int_equal(st.waiting_rpcs, 0);
    rnode_stop(&c);
    stop();
}

static void test_limit(void **state)
{
    start();
    b.idle = true;
    struct ask *q = xcalloc(REMOTE_CALLS_MAX + 1, sizeof(*q));
    for (uint32_t i = 0; i <= REMOTE_CALLS_MAX; i++) {
        ask_init(&q[i], RPC_STATUS, id_in(KEY_1, i + 1));
        ask_submit(&q[i], &a);
    }
    assert_true(run_until(at_least_one, &q[REMOTE_CALLS_MAX].replied, 10000));
    assert_refused(&q[REMOTE_CALLS_MAX], RC_OVERLOADED);
    for (uint32_t i = 0; i < REMOTE_CALLS_MAX; i++) {
        assert_true(run_until(at_least_one, &q[i].replied, 10000));
        assert_int_equal(q[i].reply.status, RPC_NOT_FOUND);
    }
    free(q);
    stop();
}

static bool one_waits(void *ctx)
{
    struct processor_status st;
    processor_get_status(b.partitions[1].p, &st);
    return st.waiting_rpcs == 1;
}

/* Stopping with requests on both sides: everybody is told, nothing is leaked. */
static void test_stop_with_requests(void **state)
{
    struct ask q;
    start();
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 1), "in");
    ask_submit(&q, &a);
    assert_true(run_until(one_waits, NULL, 5000));
    rnode_stop(&a);
    assert_refused(&q, RC_LOST_LEADERSHIP);
    rnode_stop(&b);

    start();
    b.idle = true;
    ask_invoke(&q, id_in(KEY_1, 2), "in");
    ask_submit(&q, &a);
    assert_true(run_until(one_waits, NULL, 5000));
    rnode_stop(&b);
    assert_true(run_until(at_least_one, &q.replied, 5000));
    assert_refused(&q, RC_LOST_LEADERSHIP);
    rnode_stop(&a);
}

static void test_malformed(void **state)
{
    start();
    struct ask q;
    ask_init(&q, RPC_STATUS, id_in(KEY_1, 1));
    ask_wait(&q, &a);
    uint64_t link = peers_link(a.peers, 2, PEER_PARTITION);
    struct bytes junk = bytes_static(SLICE_LIT("\x01\x01junk"));
    assert_int_equal(peers_answer(a.peers, link, PEER_RPC, &junk, 1), RC_OK);
    for (int i = 0; i < 500 && peers_link(a.peers, 2, PEER_PARTITION) == link; i++)
        run_for(2);
    assert_true(peers_link(a.peers, 2, PEER_PARTITION) != link);
    run_for(60);
    ask_init(&q, RPC_STATUS, id_in(KEY_1, 1));
    ask_wait(&q, &a);
    assert_int_equal(q.reply.status, RPC_NOT_FOUND);
    link = peers_link(a.peers, 2, PEER_PARTITION);
    assert_int_equal(peers_answer(a.peers, link, PEER_INGEST, &junk, 1), RC_OK);
    for (int i = 0; i < 500 && peers_link(a.peers, 2, PEER_PARTITION) == link; i++)
        run_for(2);
    assert_true(peers_link(a.peers, 2, PEER_PARTITION) != link);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CASE(test_replies),
        CASE(test_large_values),
        CASE(test_certainly_not_processed),
        CASE(test_node_down_before_the_link_is_up),
        CASE(test_link_lost),
        CASE(test_leadership_lost),
        CASE(test_leadership_moved),
        CASE(test_cancel_travels),
        CASE(test_limit),
        CASE(test_stop_with_requests),
        CASE(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

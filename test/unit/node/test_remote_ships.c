/* Outbox messages to a partition on another node: every one arrives exactly once, whatever happens to the
 * links and to the leadership of the destination. */
#include "remote_fixture.h"

static struct rnode a, b;
static struct rnode *const both[] = {&a, &b};
static uint64_t callees;

/* Node 1 leads partition 0, whose handlers call; node 2 leads partition 1, which is called. */
static void start(uint32_t calls)
{
    callees = 0;
    rnode_start(&a, 1);
    rnode_start(&b, 2);
    rnode_know(&a, &b);
    rnode_know(&b, &a);
    a.calls = calls;
    a.next_callee = b.next_callee = &callees;
    partition_lead(&a, 0, 1);
    set_leader(both, 2, 0, 1);
}

static void stop(void)
{
    rnode_stop(&a);
    rnode_stop(&b);
}

static void run_caller(uint64_t n)
{
    struct ask q;
    ask_invoke(&q, id_in(KEY_0, n), "in");
    ask_wait(&q, &a);
    assert_string_equal(q.value, "done");
}

static bool outbox_empty(void *ctx)
{
    struct processor_status st;
    processor_get_status(a.partitions[0].p, &st);
    return st.outbox_depth == 0;
}

/* All callees completed on the node that leads partition 1, each of them invoked once if nobody else led. */
static void expect_all(struct rnode *at, bool once)
{
    assert_true(run_until(outbox_empty, NULL, 20000));
    struct partition_store *s = processor_store(at->partitions[1].p);
    for (int round = 0;; round++) {
        uint64_t done = 0;
        for (uint64_t i = 1; i <= callees; i++) {
            struct invocation *inv =
                store_invocation_get(s, (struct invocation_id){.partition_key = KEY_1, .uuid = {9, i}});
            done += inv && inv->status == INV_COMPLETED;
        }
        if (done == callees)
            break;
        if (round > 500)
            fail_msg("%llu of %llu arrived", (unsigned long long)done, (unsigned long long)callees);
        run_for(10);
    }
    if (once)
        assert_int_equal(at->partitions[1].invoked, callees);
}

static void test_ships(void **state)
{
    start(10);
    partition_lead(&b, 1, 1);
    set_leader(both, 2, 1, 2);
    for (uint64_t i = 1; i <= 50; i++)
        run_caller(i);
    expect_all(&b, true);
    stop();
}

/* Nobody leads the destination at first, then another node does, then this one. */
static void test_waits_for_a_leader(void **state)
{
    start(5);
    run_caller(1);
    run_for(50);
    assert_false(outbox_empty(NULL));
    set_leader(both, 2, 1, 2); /* known, but not there yet */
    run_for(100);
    assert_false(outbox_empty(NULL));
    partition_lead(&b, 1, 1);
    expect_all(&b, true);
    partition_close(&b, 1);
    run_caller(2);
    partition_lead(&a, 1, 2);
    set_leader(both, 2, 1, 1);
    expect_all(&a, false);
    stop();
}

static void test_links_break(void **state)
{
    start(20);
    partition_lead(&b, 1, 1);
    set_leader(both, 2, 1, 2);
    for (uint64_t i = 1; i <= 60; i++) {
        struct ask q;
        ask_invoke(&q, id_in(KEY_0, i), "in");
        ask_submit(&q, &a);
        run_for(env_random(loop_env(loop)) % 4);
        uint64_t link = peers_link(a.peers, 2, PEER_PARTITION);
        if (link && i % 3 == 0)
            peers_close_link(a.peers, link, "test");
        peers_wake(a.peers, 2); /* dials again at once */
        assert_true(run_until(at_least_one, &q.replied, 5000));
    }
    expect_all(&b, true);
    stop();
}

/* The destination moves back and forth while messages are on their way. */
static void test_leaders_change(void **state)
{
    start(20);
    partition_lead(&b, 1, 1);
    set_leader(both, 2, 1, 2);
    uint64_t epoch = 1;
    struct rnode *at = &b;
    for (uint64_t i = 1; i <= 30; i++) {
        struct ask q;
        ask_invoke(&q, id_in(KEY_0, i), "in");
        ask_submit(&q, &a);
        run_for(env_random(loop_env(loop)) % 6);
        if (i % 3 == 0) {
            partition_close(at, 1);
            at = at == &b ? &a : &b;
            if (i % 2)
                set_leader(both, 2, 1, at->id); /* known before it leads, or after */
            partition_lead(at, 1, ++epoch);
            set_leader(both, 2, 1, at->id);
        }
        if (i % 4 == 0 && peers_link(a.peers, 2, PEER_PARTITION))
            peers_close_link(a.peers, peers_link(a.peers, 2, PEER_PARTITION), "test");
        assert_true(run_until(at_least_one, &q.replied, 5000));
    }
    expect_all(at, false);
    stop();
}

/* The node that led does not answer; another leads now. */
static void test_silent_old_leader(void **state)
{
    start(5);
    struct rnode c;
    rnode_start(&c, 3);
    rnode_know(&a, &c);
    struct rnode *const all[] = {&a, &b, &c};
    /* node 3 takes messages, but its partition's log never confirms: here, it has none and no loop answers */
    c.map->slots[1].loop = loop_new("stuck");
    set_leader(all, 3, 1, 3);
    run_caller(1);
    run_for(100);
    assert_false(outbox_empty(NULL));
    partition_lead(&b, 1, 1);
    set_leader(all, 3, 1, 2);
    expect_all(&b, true);
    /* what was stuck comes back late, and harms nobody */
    loop_start(c.map->slots[1].loop);
    run_for(50);
    loop_stop(c.map->slots[1].loop);
    loop_join(c.map->slots[1].loop);
    loop_free(c.map->slots[1].loop);
    c.map->slots[1].loop = loop;
    rnode_stop(&c);
    stop();
}

/* The source loses its leadership with messages on their way, and gets it back. */
static void test_source_changes(void **state)
{
    start(20);
    partition_lead(&b, 1, 1);
    set_leader(both, 2, 1, 2);
    for (uint64_t i = 1; i <= 10; i++) {
        struct ask q;
        ask_invoke(&q, id_in(KEY_0, i), "in");
        ask_submit(&q, &a);
        assert_true(run_until(at_least_one, &q.replied, 5000));
        partition_close(&a, 0);
        partition_lead(&a, 0, 1 + i);
    }
    expect_all(&b, true);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CASE(test_ships),          CASE(test_waits_for_a_leader), CASE(test_links_break),
        CASE(test_leaders_change), CASE(test_silent_old_leader),  CASE(test_source_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The failure detector: who is dead, suspect, alive, failing over, and when (spec/cluster.md §3, F-3; B8,
 * S-3, S-6, S-14, S-24). */
#include "base/metrics.h"
#include "unit/membership/lab.h"

/* A message as `from` would send it, with one entry about another node. */
static void inject(struct lab *l, uint32_t at, struct node_ref from, uint64_t tick, uint64_t seq,
                   struct gossip_node about)
{
    struct writer w = WRITER_INIT;
    gossip_begin(&w,
                 &(struct gossip_header){.from = from, .fingerprint = FINGERPRINT, .tick = tick, .seq = seq});
    size_t start = gossip_nodes_begin(&w);
    gossip_put_node(&w, &about);
    gossip_section_end(&w, start);
    membership_receive(lab_m(l, at), writer_slice(&w));
    writer_free(&w);
}

static void test_lone_node_is_alive_and_ready_at_once(void **state)
{
    struct lab l;
    lab_init(&l, 1);
    lab_start(&l, 1);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 1), MEMBERSHIP_ALIVE);
    assert_true(membership_ready(lab_m(&l, 1)));
    lab_run(&l, 10000);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 1), MEMBERSHIP_ALIVE);
    assert_false(membership_lonely(lab_m(&l, 1)));
    assert_int_equal(l.nodes[1].n_sent, 0);
    lab_free(&l);
}

static void test_nodes_that_start_together_are_alive_quickly(void **state)
{
    struct lab l;
    lab_init(&l, 5);
    for (uint32_t id = 1; id <= 5; id++)
        lab_start(&l, id);
    assert_false(membership_ready(lab_m(&l, 1)));
    assert_true(lab_wait(&l, 1, 5, MEMBERSHIP_ALIVE, 5000) <= 400);
    lab_run(&l, 20);
    assert_true(membership_ready(lab_m(&l, 1)));
    for (uint32_t b = 1; b <= 5; b++)
        assert_true(membership_reachable(lab_m(&l, 1), b));
    assert_int_equal(membership_link_count(lab_m(&l, 1), 3), 4);
    lab_free(&l);
}

/* A node that starts alone judges the others only after it had time to hear them. */
static void test_first_node_waits_before_it_judges(void **state)
{
    struct lab l;
    lab_init(&l, 3);
    lab_start(&l, 1);
    lab_run(&l, 900);
    assert_false(membership_ready(lab_m(&l, 1)));
    l.nodes[1].changed = 0;
    lab_run(&l, 300);
    assert_true(membership_ready(lab_m(&l, 1)));
    assert_true(l.nodes[1].changed & MEMBERSHIP_NODES); /* says so */
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_DEAD);
    lab_run(&l, 3000);
    assert_true(membership_lonely(lab_m(&l, 1)));
    lab_start(&l, 2); /* seen for the first time: no reason to suspect it */
    assert_true(lab_wait(&l, 1, 2, MEMBERSHIP_ALIVE, 5000) <= 500);
    assert_true(lab_wait(&l, 2, 1, MEMBERSHIP_ALIVE, 5000) <= 500);
    assert_false(membership_lonely(lab_m(&l, 1)));
    lab_free(&l);
}

static void test_silent_node_is_dead_after_the_threshold(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_kill(&l, 3);
    uint64_t ms = lab_wait(&l, 1, 3, MEMBERSHIP_DEAD, 5000);
    assert_in_range(ms, 900, 1400);
    assert_true(lab_wait(&l, 2, 3, MEMBERSHIP_DEAD, 5000) <= 200);
    assert_false(membership_reachable(lab_m(&l, 1), 3));
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_ALIVE);
    assert_int_equal(membership_stats(lab_m(&l, 1))->deaths, 1);
    assert_true(l.nodes[1].changed & MEMBERSHIP_NODES);
    lab_run(&l, 20000); /* and stays dead, whatever the others relay */
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    lab_free(&l);
}

static void test_refused_connection_is_death_at_once(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_kill(&l, 3);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){3, 1}, true);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    /* What is under way still and what the others relay from before does not bring it back. */
    for (int i = 0; i < 300; i++) {
        lab_step(&l);
        assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    }
    lab_free(&l);
}

/* The hint was wrong (a firewall that refuses, a link that resets): the node is heard again and comes back.
 */
static void test_wrong_hint_is_corrected(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 6000);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){3, 1}, true);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    assert_true(lab_wait(&l, 1, 3, MEMBERSHIP_SUSPECT, 1000) <= 500);
    assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000), 800, 1300);
    /* A hint about an earlier process says nothing about this one. */
    lab_kill(&l, 3);
    lab_start(&l, 3);
    lab_run(&l, 6000);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){3, 1}, true);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_ALIVE);
    lab_free(&l);
}

/* A process that ended before anything was heard of it. */
static void test_hint_about_an_unknown_process(void **state)
{
    struct lab l;
    lab_up(&l, 2);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){2, 3}, true);
    assert_int_equal(membership_generation(lab_m(&l, 1), 2), 3);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_DEAD);
    inject(&l, 1, (struct node_ref){2, 3}, 1, 1, (struct gossip_node){{1, 1}, 1, 0, 0}); /* was under way */
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_DEAD);
    lab_free(&l);
}

static void test_lost_connection_alone_is_no_death(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){3, 1}, false);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_ALIVE);
    assert_false(membership_reachable(lab_m(&l, 1), 3));
    lab_run(&l, 200);
    assert_true(membership_reachable(lab_m(&l, 1), 3));
    lab_free(&l);
}

/* A node that was alive and died is suspect for a second, and longer each time while it comes and goes. */
static void test_node_that_comes_back_is_suspect_first(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 5000);
    lab_kill(&l, 3);
    lab_wait(&l, 1, 3, MEMBERSHIP_DEAD, 5000);
    lab_start(&l, 3);
    assert_true(lab_wait(&l, 1, 3, MEMBERSHIP_SUSPECT, 1000) <= 200);
    assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000), 800, 1300);
    /* It itself sees the others at once. */
    assert_int_equal(membership_verdict(lab_m(&l, 3), 1), MEMBERSHIP_ALIVE);
    static const uint64_t waits[] = {2000, 4000, 5000, 5000};
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        lab_kill(&l, 3);
        lab_run(&l, 1500);
        assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
        lab_start(&l, 3);
        assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000), waits[i] - 200, waits[i] + 500);
    }
    /* Dying while suspect counts as well. */
    lab_kill(&l, 3);
    lab_run(&l, 1500);
    lab_start(&l, 3);
    lab_run(&l, 4500);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_SUSPECT);
    lab_run(&l, 40000); /* steady: forgotten */
    lab_kill(&l, 3);
    lab_run(&l, 1500);
    lab_start(&l, 3);
    assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000), 800, 1500);
    lab_free(&l);
}

/* S-24: a process that comes back before anybody noticed is another one, and its statuses are gone. */
static void test_quick_restart_is_a_fresh_instance(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 5000);
    membership_publish(lab_m(&l, 3),
                       &(struct partition_status){.partition = 4,
                                                  .mode = PARTITION_MODE_LEADER,
                                                  .run = PARTITION_RUN_ACTIVE,
                                                  .leader_epoch = 6,
                                                  .leader = {3, 1}},
                       1);
    lab_run(&l, 50);
    struct node_ref leader;
    uint64_t epoch;
    assert_true(membership_leader(lab_m(&l, 1), 4, &leader, &epoch));
    lab_kill(&l, 3);
    lab_start(&l, 3);
    lab_run(&l, 50);
    assert_int_equal(membership_generation(lab_m(&l, 1), 3), 2);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_SUSPECT);
    assert_false(membership_leader(lab_m(&l, 1), 4, &leader, &epoch));
    assert_null(membership_status(lab_m(&l, 1), 3, 4));
    assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000), 700, 1300);
    lab_free(&l);
}

/* F-3: a lower generation never overrides a higher one, said by itself, by others or by the configuration. */
static void test_lower_generation_never_overrides(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_kill(&l, 3);
    l.nodes[3].generation = 4;
    lab_start(&l, 3);
    lab_run(&l, 6000);
    assert_int_equal(membership_generation(lab_m(&l, 1), 3), 5);
    uint64_t foreign = membership_stats(lab_m(&l, 1))->foreign;
    inject(&l, 1, (struct node_ref){3, 4}, 100000, 100000, (struct gossip_node){{2, 1}, 1, 0, 0});
    assert_int_equal(membership_stats(lab_m(&l, 1))->foreign, foreign + 1);
    inject(&l, 1, (struct node_ref){2, 1}, 100000, 100000,
           (struct gossip_node){{3, 4}, 100000, 0, GOSSIP_NODE_FAILING_OVER});
    l.config.version = 9; /* still says generation 1 */
    membership_set_nodes(lab_m(&l, 1), &l.config);
    membership_peer_seen(lab_m(&l, 1), (struct node_ref){3, 4});
    assert_int_equal(membership_generation(lab_m(&l, 1), 3), 5);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_ALIVE);
    /* The configuration may be the first to know of a new process; the old one counts no more. */
    l.entries[2].generation = 7;
    l.config.version = 10;
    membership_set_nodes(lab_m(&l, 1), &l.config);
    assert_int_equal(membership_generation(lab_m(&l, 1), 3), 7);
    lab_run(&l, 500);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    l.config.version = 3; /* older than what is known */
    l.config.n_nodes = 1;
    membership_set_nodes(lab_m(&l, 1), &l.config);
    assert_int_equal(membership_node_count(lab_m(&l, 1)), 3);
    lab_free(&l);
}

static void test_graceful_stop_is_known_at_once(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    membership_fail_over(lab_m(&l, 3));
    assert_int_equal(membership_verdict(lab_m(&l, 3), 3), MEMBERSHIP_FAILING_OVER);
    lab_step(&l);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_FAILING_OVER);
    lab_run(&l, 3000); /* it still gossips */
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_FAILING_OVER);
    lab_kill(&l, 3);
    membership_peer_lost(lab_m(&l, 1), (struct node_ref){3, 1}, false); /* it had said goodbye */
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    lab_start(&l, 3); /* the next process does not inherit it */
    lab_run(&l, 300);
    assert_int_equal(membership_verdict(lab_m(&l, 2), 3), MEMBERSHIP_ALIVE);
    lab_free(&l);
}

/* Who did not hear it hears it from others. */
static void test_failing_over_is_relayed(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.cut[3][1] = true;
    membership_fail_over(lab_m(&l, 3));
    lab_run(&l, 200);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_FAILING_OVER);
    lab_free(&l);
}

/* B8, S-3: a process that was stopped does not bury the others when it goes on. */
static void test_own_pause_does_not_kill_the_others(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    for (uint64_t pause = 1000; pause <= 64000; pause *= 2) {
        lab_run(&l, 8000);
        assert_true(membership_ready(lab_m(&l, 1)));
        l.nodes[1].paused = true;
        lab_run(&l, pause);
        l.nodes[1].paused = false;
        /* Nothing of what waits in its sockets has been read yet. */
        for (int i = 0; i < 50; i++) {
            sim_env_advance(&l.nodes[1].env, STEP_MS);
            assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_ALIVE);
        }
        assert_false(membership_ready(lab_m(&l, 1)));
        for (int i = 0; i < 200; i++) {
            lab_step(&l);
            assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_ALIVE);
        }
        assert_int_not_equal(membership_verdict(lab_m(&l, 2), 1), MEMBERSHIP_DEAD);
    }
    /* But who died meanwhile is found dead. */
    l.nodes[1].paused = true;
    lab_run(&l, 3000);
    lab_kill(&l, 2);
    lab_run(&l, 3000);
    l.nodes[1].paused = false;
    assert_in_range(lab_wait(&l, 1, 2, MEMBERSHIP_DEAD, 5000), 500, 1600);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_ALIVE);
    lab_free(&l);
}

/* S-14: wall clocks do not matter. */
static void test_wall_clock_jumps_do_not_matter(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.nodes[1].env.wall_base_ms += 86400000;
    l.nodes[2].env.wall_base_ms -= 86400000;
    for (int i = 0; i < 300; i++) {
        lab_step(&l);
        for (uint32_t a = 1; a <= 3; a++)
            for (uint32_t b = 1; b <= 3; b++)
                assert_int_equal(membership_verdict(lab_m(&l, a), b), MEMBERSHIP_ALIVE);
    }
    lab_free(&l);
}

/* S-6: two nodes that cannot talk are alive for each other through the third, and known to be unreachable. */
static void test_partial_partition(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.cut[1][2] = l.cut[2][1] = true;
    lab_run(&l, 1500);
    for (int i = 0; i < 1000; i++) {
        lab_step(&l);
        assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_ALIVE);
        assert_int_equal(membership_verdict(lab_m(&l, 2), 1), MEMBERSHIP_ALIVE);
    }
    assert_false(membership_reachable(lab_m(&l, 1), 2));
    assert_true(membership_reachable(lab_m(&l, 1), 3));
    for (uint32_t at = 1; at <= 3; at++) {
        assert_false(membership_link(lab_m(&l, at), 1, 2));
        assert_true(membership_link(lab_m(&l, at), 2, 3));
        assert_true(membership_link(lab_m(&l, at), 1, 3));
        assert_int_equal(membership_link_count(lab_m(&l, at), 3), 2);
        assert_int_equal(membership_link_count(lab_m(&l, at), 2), 1);
    }
    l.cut[1][2] = l.cut[2][1] = false;
    lab_run(&l, 300);
    assert_true(membership_reachable(lab_m(&l, 1), 2));
    lab_free(&l);
}

/* One direction is not enough to be reachable. */
static void test_one_way_link_is_not_reachable(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.cut[1][2] = true;
    lab_run(&l, 1500);
    assert_false(membership_reachable(lab_m(&l, 1), 2));
    assert_false(membership_reachable(lab_m(&l, 2), 1));
    assert_false(membership_link(lab_m(&l, 3), 1, 2));
    assert_int_equal(membership_verdict(lab_m(&l, 2), 1), MEMBERSHIP_ALIVE); /* through 3 */
    lab_free(&l);
}

/* A node that sends but cannot receive: the others take it for dead once it says that it hears nobody. */
static void test_deaf_node_is_dead(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 5000);
    l.cut[1][3] = l.cut[2][3] = true;
    assert_in_range(lab_wait(&l, 1, 3, MEMBERSHIP_DEAD, 10000), 3500, 5500);
    lab_run(&l, 5000);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_DEAD);
    assert_int_equal(membership_verdict(lab_m(&l, 3), 1), MEMBERSHIP_DEAD);
    l.cut[1][3] = l.cut[2][3] = false;
    assert_true(lab_wait(&l, 1, 3, MEMBERSHIP_ALIVE, 10000) <= 5500);
    lab_free(&l);
}

/* A node that was cut off from all was itself the one away: when the link is back it believes the others at
 * once, but does not act on its view in the first moment. They suspect it as usual. */
static void test_isolated_node_forgives_the_others(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 6000);
    l.cut[1][2] = l.cut[2][1] = l.cut[1][3] = l.cut[3][1] = true;
    lab_run(&l, 4000);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_DEAD);
    assert_int_equal(membership_verdict(lab_m(&l, 2), 1), MEMBERSHIP_DEAD);
    assert_int_equal(membership_verdict(lab_m(&l, 2), 3), MEMBERSHIP_ALIVE);
    memset(l.cut, 0, sizeof(l.cut));
    lab_run(&l, 150);
    assert_int_equal(membership_verdict(lab_m(&l, 2), 1), MEMBERSHIP_SUSPECT);
    assert_false(membership_ready(lab_m(&l, 1)));
    lab_run(&l, 350);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_ALIVE);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 3), MEMBERSHIP_ALIVE);
    assert_true(lab_wait(&l, 2, 1, MEMBERSHIP_ALIVE, 6000) <= 5000);
    /* Not again and again: a second time within a minute the usual interval applies. */
    l.cut[1][2] = l.cut[2][1] = l.cut[1][3] = l.cut[3][1] = true;
    lab_run(&l, 4000);
    memset(l.cut, 0, sizeof(l.cut));
    lab_run(&l, 1000);
    assert_int_equal(membership_verdict(lab_m(&l, 1), 2), MEMBERSHIP_SUSPECT);
    lab_free(&l);
}

static void test_strangers_are_ignored(void **state)
{
    struct lab l;
    lab_up(&l, 2);
    struct membership *m = lab_m(&l, 1);
    uint64_t received = membership_stats(m)->received;
    inject(&l, 1, (struct node_ref){9, 1}, 5, 5, (struct gossip_node){{2, 8}, 1, 0, 0});
    assert_int_equal(membership_generation(m, 2), 1);
    struct writer w = WRITER_INIT;
    gossip_begin(&w, &(struct gossip_header){.from = {2, 8}, .fingerprint = 78, .tick = 1, .seq = 1});
    membership_receive(m, writer_slice(&w)); /* another cluster */
    assert_int_equal(membership_generation(m, 2), 1);
    assert_int_equal(membership_stats(m)->foreign, 2);
    membership_receive(m, SLICE_LIT("rubbish"));
    assert_int_equal(membership_stats(m)->malformed, 1);
    assert_int_equal(membership_stats(m)->received, received);
    assert_int_equal(membership_verdict(m, 9), MEMBERSHIP_DEAD);
    writer_free(&w);
    /* A removed node is unknown from then on. */
    l.entries[1].tombstone = true;
    l.config.version++;
    membership_set_nodes(m, &l.config);
    assert_int_equal(membership_node_count(m), 1);
    assert_int_equal(membership_verdict(m, 2), MEMBERSHIP_DEAD);
    assert_true(membership_ready(m));
    lab_run(&l, 500);
    lab_free(&l);
}

static int64_t nodes_metric(const char *state)
{
    return metric_value(metric_gauge("restate_failure_detector_nodes_total", state, NULL));
}

static void test_metrics(void **state)
{
    struct lab l;
    lab_init(&l, 3);
    lab_start(&l, 1); /* alone in this process: the series are the process's */
    lab_run(&l, 4000);
    assert_int_equal(nodes_metric("state=\"alive\""), 1);
    assert_int_equal(nodes_metric("state=\"dead\""), 2);
    assert_int_equal(metric_value(metric_gauge("restate_failure_detector_lonely", NULL, NULL)), 1);
    struct metric *sent = metric_counter("restate_failure_detector_gossip_sent_total", NULL, NULL);
    int64_t before = metric_value(sent);
    lab_run(&l, 1000);
    assert_int_equal(metric_value(sent) - before, 20);
    lab_free(&l);
}

/* More nodes than are sent to in every tick: nobody is taken for dead. */
static void test_large_cluster_sends_to_some(void **state)
{
    enum { N = 120 };
    struct sim_env env;
    sim_env_init(&env, 1);
    struct lab l = {.n = 0};
    struct lab_node *n = &l.nodes[1];
    *n = (struct lab_node){.lab = &l, .id = 1};
    struct node_entry entries[N];
    for (uint32_t i = 0; i < N; i++)
        entries[i] = (struct node_entry){.id = i + 1, .generation = 1};
    struct membership_config options;
    membership_config_default(&options);
    struct membership *m = membership_new(&env.env, &options, &lab_ops, n);
    membership_set_self(m, (struct node_ref){1, 1}, 0);
    membership_set_nodes(
        m, &(struct nodes_config){.version = 1, .cluster_fingerprint = 1, .nodes = entries, .n_nodes = N});
    sim_env_advance(&env, 999);
    assert_int_equal(n->n_sent, 10 * MEMBERSHIP_DIRECT_MAX);
    membership_free(m);
    sim_env_free(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lone_node_is_alive_and_ready_at_once),
        cmocka_unit_test(test_nodes_that_start_together_are_alive_quickly),
        cmocka_unit_test(test_first_node_waits_before_it_judges),
        cmocka_unit_test(test_silent_node_is_dead_after_the_threshold),
        cmocka_unit_test(test_refused_connection_is_death_at_once),
        cmocka_unit_test(test_wrong_hint_is_corrected),
        cmocka_unit_test(test_hint_about_an_unknown_process),
        cmocka_unit_test(test_lost_connection_alone_is_no_death),
        cmocka_unit_test(test_node_that_comes_back_is_suspect_first),
        cmocka_unit_test(test_quick_restart_is_a_fresh_instance),
        cmocka_unit_test(test_lower_generation_never_overrides),
        cmocka_unit_test(test_graceful_stop_is_known_at_once),
        cmocka_unit_test(test_failing_over_is_relayed),
        cmocka_unit_test(test_own_pause_does_not_kill_the_others),
        cmocka_unit_test(test_wall_clock_jumps_do_not_matter),
        cmocka_unit_test(test_partial_partition),
        cmocka_unit_test(test_one_way_link_is_not_reachable),
        cmocka_unit_test(test_deaf_node_is_dead),
        cmocka_unit_test(test_isolated_node_forgives_the_others),
        cmocka_unit_test(test_strangers_are_ignored),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_large_cluster_sends_to_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

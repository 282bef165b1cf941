/* The spread of small facts: versions, partition statuses, leaders (spec/cluster.md §2.6, §4.6). */
#include "unit/membership/lab.h"

static struct partition_status status(uint16_t partition, enum partition_mode mode, uint64_t epoch,
                                      uint32_t leader)
{
    return (struct partition_status){.partition = partition,
                                     .mode = mode,
                                     .run = PARTITION_RUN_ACTIVE,
                                     .leader_epoch = epoch,
                                     .leader = {leader, leader ? 1 : 0},
                                     .applied = 10};
}

static void publish(struct lab *l, uint32_t at, struct partition_status s)
{
    membership_publish(lab_m(l, at), &s, 1);
}

/* Node that leads as seen at `at`, 0: none. */
static uint32_t leader(struct lab *l, uint32_t at, uint16_t partition)
{
    struct node_ref who;
    uint64_t epoch;
    return membership_leader(lab_m(l, at), partition, &who, &epoch) ? who.id : 0;
}

static void test_new_leader_is_known_in_milliseconds(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    assert_int_equal(leader(&l, 2, 7), 0);
    l.nodes[2].changed = 0;
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    assert_int_equal(leader(&l, 1, 7), 1);
    sim_env_run(&l.nodes[1].env); /* end of the loop's iteration */
    lab_step(&l);
    assert_int_equal(leader(&l, 2, 7), 1);
    assert_int_equal(leader(&l, 3, 7), 1);
    assert_true(l.nodes[2].changed & MEMBERSHIP_LEADERS);
    const struct membership_status *s = membership_status(lab_m(&l, 2), 1, 7);
    assert_int_equal(s->status.applied, 10);
    assert_int_equal(s->status.leader_epoch, 3);
    lab_free(&l);
}

static void test_progress_follows_within_a_second(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    struct partition_status s = status(7, PARTITION_MODE_LEADER, 3, 1);
    publish(&l, 1, s);
    lab_run(&l, 500);
    l.nodes[2].changed = 0;
    uint32_t sent = l.nodes[1].n_sent;
    s.applied = 500;
    s.durable = 400;
    s.archived = 300;
    publish(&l, 1, s);
    lab_run(&l, 50);
    assert_in_range(l.nodes[1].n_sent - sent, 0, 2); /* no message for it */
    lab_run(&l, 1000);
    const struct membership_status *got = membership_status(lab_m(&l, 2), 1, 7);
    assert_int_equal(got->status.applied, 500);
    assert_int_equal(got->status.durable, 400);
    assert_int_equal(got->status.archived, 300);
    assert_int_equal(l.nodes[2].changed & MEMBERSHIP_LEADERS, 0);
    /* Its age counts from the report, not from the message. */
    uint64_t age = l.nodes[2].env.mono_ms - got->updated_ms;
    assert_in_range(age, 1000, 1100);
    lab_run(&l, 1000);
    assert_int_equal(membership_status(lab_m(&l, 2), 1, 7)->updated_ms / 100, got->updated_ms / 100);
    lab_free(&l);
}

static void test_highest_epoch_leads(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    publish(&l, 2, status(7, PARTITION_MODE_LEADER, 4, 2));
    lab_run(&l, 20);
    for (uint32_t at = 1; at <= 3; at++)
        assert_int_equal(leader(&l, at, 7), 2);
    /* It steps down: nobody leads, and least of all the one before. */
    publish(&l, 2, status(7, PARTITION_MODE_FOLLOWER, 4, 2));
    lab_run(&l, 20);
    for (uint32_t at = 1; at <= 3; at++)
        assert_int_equal(leader(&l, at, 7), 0);
    lab_free(&l);
}

static void test_dead_leader_does_not_lead(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    lab_run(&l, 20);
    lab_kill(&l, 1);
    membership_peer_lost(lab_m(&l, 2), (struct node_ref){1, 1}, true);
    assert_int_equal(leader(&l, 2, 7), 0);
    assert_non_null(membership_status(lab_m(&l, 2), 1, 7)); /* for display */
    lab_free(&l);
}

/* A follower that read the announcement tells who leads, also to those that do not hear the leader. */
static void test_followers_tell_who_leads(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.cut[1][2] = l.cut[2][1] = true;
    lab_run(&l, 1500);
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    lab_run(&l, 20);
    assert_int_equal(leader(&l, 2, 7), 0);
    publish(&l, 3, status(7, PARTITION_MODE_FOLLOWER, 3, 1));
    lab_run(&l, 20);
    assert_int_equal(leader(&l, 2, 7), 1);
    lab_free(&l);
}

/* A leader whose replica moved away, or never was, leads no more, whatever followers read in the log. */
static void test_leader_without_replica(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    lab_run(&l, 20);
    assert_int_equal(leader(&l, 2, 7), 1);
    membership_withdraw(lab_m(&l, 1), 7);
    lab_run(&l, 20);
    for (uint32_t at = 1; at <= 3; at++)
        assert_int_equal(leader(&l, at, 7), 0);
    publish(&l, 3, status(7, PARTITION_MODE_FOLLOWER, 3, 1));
    publish(&l, 3, status(8, PARTITION_MODE_FOLLOWER, 5, 1));
    lab_run(&l, 1200);
    for (uint32_t at = 1; at <= 3; at++) {
        assert_int_equal(leader(&l, at, 7), 0);
        assert_int_equal(leader(&l, at, 8), 0);
    }
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 4, 1)); /* it came back */
    lab_run(&l, 20);
    for (uint32_t at = 1; at <= 3; at++)
        assert_int_equal(leader(&l, at, 7), 1);
    lab_free(&l);
}

static void test_withdrawn_partition_is_forgotten(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    for (uint16_t p = 0; p < 30; p++)
        publish(&l, 1, status(p, PARTITION_MODE_FOLLOWER, 0, 0));
    lab_run(&l, 20);
    size_t n;
    membership_statuses(lab_m(&l, 2), 1, &n);
    assert_int_equal(n, 30);
    membership_withdraw(lab_m(&l, 1), 7);
    lab_run(&l, 20);
    assert_null(membership_status(lab_m(&l, 2), 1, 7));
    /* Also if that message is lost. */
    l.cut[1][2] = true;
    membership_withdraw(lab_m(&l, 1), 8);
    membership_withdraw(lab_m(&l, 1), 29);
    lab_run(&l, 50);
    l.cut[1][2] = false;
    assert_non_null(membership_status(lab_m(&l, 2), 1, 8));
    lab_run(&l, 1100);
    assert_null(membership_status(lab_m(&l, 2), 1, 8));
    assert_null(membership_status(lab_m(&l, 2), 1, 29));
    const struct membership_status *s = membership_statuses(lab_m(&l, 2), 1, &n);
    assert_int_equal(n, 27);
    for (size_t i = 1; i < n; i++)
        assert_true(s[i - 1].status.partition < s[i].status.partition);
    lab_free(&l);
}

/* What was lost is repeated; what comes late changes nothing. */
static void test_lost_and_late_messages(void **state)
{
    struct lab l;
    lab_up(&l, 2);
    l.cut[1][2] = true;
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 3, 1));
    lab_run(&l, 300);
    l.cut[1][2] = false;
    lab_run(&l, 1100);
    assert_int_equal(leader(&l, 2, 7), 1);
    /* Take a message of the leader, deliver it after it has stepped down and withdrawn. */
    l.nodes[2].paused = true;
    publish(&l, 1, status(7, PARTITION_MODE_LEADER, 4, 1));
    lab_run(&l, 20);
    struct bytes old = {0};
    for (size_t i = 0; i < l.wire.len; i++) {
        struct gossip_message msg;
        assert_int_equal(gossip_message_decode(bytes_slice(l.wire.items[i].data), &msg, NULL), RC_OK);
        if (msg.has_statuses && msg.cover.divisor == 0)
            old = bytes_ref(l.wire.items[i].data);
    }
    assert_true(old.len > 0);
    l.nodes[2].paused = false;
    publish(&l, 1, status(7, PARTITION_MODE_FOLLOWER, 4, 1));
    lab_run(&l, 200);
    assert_int_equal(leader(&l, 2, 7), 0);
    membership_receive(lab_m(&l, 2), bytes_slice(old));
    assert_int_equal(leader(&l, 2, 7), 0);
    membership_withdraw(lab_m(&l, 1), 7);
    lab_run(&l, 200);
    membership_receive(lab_m(&l, 2), bytes_slice(old));
    assert_null(membership_status(lab_m(&l, 2), 1, 7));
    bytes_unref(&old);
    lab_free(&l);
}

/* A thousand partitions fit, in messages of bounded size; a new node knows all of them at once. */
static void test_many_partitions(void **state)
{
    struct lab l;
    lab_init(&l, 2);
    lab_start(&l, 1);
    for (uint16_t p = 0; p < 1000; p++) {
        publish(&l, 1, status(p, PARTITION_MODE_LEADER, UINT64_MAX, 1));
        membership_set_version(lab_m(&l, 1), GOSSIP_EPOCH, p, 8);
    }
    lab_run(&l, 300);
    lab_start(&l, 2);
    for (int i = 0; i < 4; i++) {
        lab_step(&l);
        for (size_t k = 0; k < l.wire.len; k++)
            assert_true(l.wire.items[k].data.len <= 32768);
    }
    size_t n;
    membership_statuses(lab_m(&l, 2), 1, &n);
    assert_int_equal(n, 1000);
    assert_int_equal(leader(&l, 2, 999), 1);
    assert_int_equal(l.nodes[2].n_newer, 1000);
    assert_int_equal(membership_epoch_version(lab_m(&l, 2), 999), 8);
    lab_run(&l, 2000);
    membership_statuses(lab_m(&l, 2), 1, &n);
    assert_int_equal(n, 1000);
    lab_free(&l);
}

static void test_newer_versions_are_told(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    membership_set_version(lab_m(&l, 1), GOSSIP_SCHEMA, 0, 5);
    sim_env_run(&l.nodes[1].env);
    lab_step(&l);
    struct lab_node *n = &l.nodes[2];
    assert_int_equal(n->n_newer, 1);
    assert_int_equal(n->newer.kind, GOSSIP_SCHEMA);
    assert_int_equal(n->newer.version, 5);
    assert_int_equal(n->newer.from, 1);
    /* Again until it is set, but not with every message. */
    lab_run(&l, 1000);
    assert_in_range(n->n_newer, 2, 3);
    membership_set_version(lab_m(&l, 2), GOSSIP_SCHEMA, 0, 5);
    uint32_t before = n->n_newer;
    lab_run(&l, 2000);
    assert_int_equal(n->n_newer, before);
    /* Versions do not go back. */
    membership_set_version(lab_m(&l, 1), GOSSIP_SCHEMA, 0, 4);
    lab_run(&l, 2000);
    assert_int_equal(n->n_newer, before);
    /* Each kind, and each partition by itself. */
    membership_set_version(lab_m(&l, 1), GOSSIP_NODES, 0, 2);
    lab_run(&l, 20);
    assert_int_equal(n->newer.kind, GOSSIP_NODES);
    membership_set_version(lab_m(&l, 2), GOSSIP_NODES, 0, 2);
    membership_set_version(lab_m(&l, 1), GOSSIP_EPOCH, 23, 3);
    lab_run(&l, 20);
    assert_int_equal(n->newer.kind, GOSSIP_EPOCH);
    assert_int_equal(n->newer.partition, 23);
    assert_int_equal(n->newer.version, 3);
    lab_free(&l);
}

/* A node behind a partial partition learns through the one in the middle, once that knows itself. */
static void test_versions_travel_through_others(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    l.cut[1][3] = l.cut[3][1] = true;
    membership_set_version(lab_m(&l, 1), GOSSIP_LOGS, 0, 9);
    lab_run(&l, 100);
    assert_int_equal(l.nodes[3].n_newer, 0);
    assert_int_equal(l.nodes[2].newer.version, 9);
    membership_set_version(lab_m(&l, 2), GOSSIP_LOGS, 0, 9);
    lab_run(&l, 50);
    assert_int_equal(l.nodes[3].newer.version, 9);
    assert_int_equal(l.nodes[3].newer.from, 2);
    lab_free(&l);
}

/* The one that knew the highest version is gone: a lower one that is new still is worth having. */
static void test_version_of_a_dead_node(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    membership_set_version(lab_m(&l, 1), GOSSIP_NODES, 0, 5);
    lab_run(&l, 20);
    assert_int_equal(l.nodes[2].newer.version, 5);
    lab_kill(&l, 1);
    membership_set_version(lab_m(&l, 3), GOSSIP_NODES, 0, 4);
    lab_run(&l, 900);
    assert_int_equal(l.nodes[2].newer.version, 5);
    lab_run(&l, 900);
    assert_int_equal(l.nodes[2].newer.version, 4);
    assert_int_equal(l.nodes[2].newer.from, 3);
    lab_free(&l);
}

/* Many changes in a row become few messages. */
static void test_urgent_messages_are_coalesced(void **state)
{
    struct lab l;
    lab_up(&l, 2);
    uint32_t before = l.nodes[1].n_sent;
    for (uint64_t epoch = 1; epoch <= 1000; epoch++) {
        publish(&l, 1, status((uint16_t)(epoch % 24), PARTITION_MODE_LEADER, epoch, 1));
        sim_env_run(&l.nodes[1].env);
    }
    lab_run(&l, 20);
    assert_in_range(l.nodes[1].n_sent - before, 1, 5);
    assert_int_equal(leader(&l, 2, 1000 % 24), 1);
    lab_free(&l);
}

static void test_nodes_are_described(void **state)
{
    struct lab l;
    lab_up(&l, 3);
    lab_run(&l, 9000);
    struct membership_node n;
    assert_int_equal(membership_node_count(lab_m(&l, 1)), 3);
    membership_node_at(lab_m(&l, 1), 1, &n);
    assert_int_equal(n.node.id, 2);
    assert_int_equal(n.node.generation, 1);
    assert_int_equal(n.verdict, MEMBERSHIP_ALIVE);
    assert_true(n.ever_heard && n.reachable && !n.self);
    assert_in_range(n.uptime_ms, 9800, 10100);
    assert_true(l.nodes[1].env.mono_ms - n.last_news_ms <= 110);
    assert_true(membership_node(lab_m(&l, 1), 1, &n));
    assert_true(n.self);
    assert_in_range(n.uptime_ms, 9800, 10100);
    assert_false(membership_node(lab_m(&l, 1), 9, &n));
    lab_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_leader_is_known_in_milliseconds),
        cmocka_unit_test(test_progress_follows_within_a_second),
        cmocka_unit_test(test_highest_epoch_leads),
        cmocka_unit_test(test_dead_leader_does_not_lead),
        cmocka_unit_test(test_followers_tell_who_leads),
        cmocka_unit_test(test_leader_without_replica),
        cmocka_unit_test(test_withdrawn_partition_is_forgotten),
        cmocka_unit_test(test_lost_and_late_messages),
        cmocka_unit_test(test_many_partitions),
        cmocka_unit_test(test_newer_versions_are_told),
        cmocka_unit_test(test_versions_travel_through_others),
        cmocka_unit_test(test_version_of_a_dead_node),
        cmocka_unit_test(test_urgent_messages_are_coalesced),
        cmocka_unit_test(test_nodes_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

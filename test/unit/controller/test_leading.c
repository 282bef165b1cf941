/* Who is told to lead (src/controller/controller.h, spec/cluster.md §4.5). */
#include "unit/controller/controller_fixture.h"

/* One partition on nodes 1, 2, 3; nobody led it yet. */
static struct fixture *three(void)
{
    struct fixture *f = fixture_new(3, 1, 3);
    struct epoch_metadata m = {.version = 1, .epoch = 1};
    uint32_t set[] = {1, 2, 3};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 3, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    return f;
}

static void edit(struct fixture *f, struct epoch_metadata m)
{
    m.version++;
    fake_kv_set_epoch(&f->kv, 0, &m);
    controller_epoch_changed(f->controller, 0, m.version);
    sim_env_run(&f->env);
}

static void the_best_candidate(void **state)
{
    static const struct {
        const char *what;
        bool slow[4], failing_over[4];
        uint64_t lsn[4];
        uint32_t affinity, leader;
        const char *location;
    } cases[] = {
        {"the caught-up one", .slow = {0, 1, 1, 0}, .leader = 3},
        {"caught up before affinity", .slow = {0, 1, 1, 0}, .affinity = 1, .leader = 3},
        {"affinity before others", .affinity = 2, .leader = 2},
        {"affinity if nobody caught up", .slow = {0, 1, 1, 1}, .affinity = 2, .lsn = {0, 9, 5, 7},
         .leader = 2},
        {"the most applied if nobody caught up", .slow = {0, 1, 1, 1}, .lsn = {0, 5, 9, 7}, .leader = 2},
        {"the location", .location = "east", .leader = 2},
        {"the zone", .location = "west.b", .leader = 3},
        {"a location is not a prefix", .location = "eas", .slow = {0, 0, 1, 1}, .leader = 1},
        {"not one who leaves", .failing_over = {0, 1, 0, 1}, .leader = 2},
        {"nobody else", .failing_over = {0, 1, 1, 1}, .leader = 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture *f = three();
        struct epoch_metadata m = fixture_get(f, 0);
        m.affinity_node = cases[i].affinity;
        m.affinity_location = cases[i].location;
        fake_kv_set_epoch(&f->kv, 0, &m);
        f->entries[1].location = "east.a";
        f->entries[2].location = "west.b";
        for (uint32_t n = 1; n <= 3; n++) {
            f->slow[n] = cases[i].slow[n];
            f->replica[n][0].applied_lsn = cases[i].lsn[n];
            if (cases[i].failing_over[n])
                f->view[n].liveness = CONTROLLER_FAILING_OVER;
        }
        fixture_start(f);
        fixture_run(f, 1000);
        if (fixture_leader(f, 0) != cases[i].leader)
            fail_msg("%s: %u", cases[i].what, fixture_leader(f, 0));
        assert_int_equal(f->hints, cases[i].leader ? 1 : 0);
        fixture_free(f);
    }
}

static void a_leader_that_some_cannot_reach_is_deposed(void **state)
{
    struct fixture *f = three();
    struct epoch_metadata m = fixture_get(f, 0);
    m.affinity_node = 1;
    fake_kv_set_epoch(&f->kv, 0, &m);
    fixture_start(f);
    fixture_run(f, 5000);
    f->view[1].reachable_by_all = f->view[3].reachable_by_all = false;
    fixture_run(f, 10000);
    assert_int_equal(fixture_leader(f, 0), 1); /* the operator's wish comes first */
    f->view[1].reachable_by_all = f->view[3].reachable_by_all = true;
    fixture_run(f, 1000);
    m = fixture_get(f, 0);
    m.affinity_node = 0;
    edit(f, m);
    for (int i = 0; i < 5; i++) { /* links come and go: no reason */
        f->view[1].reachable_by_all = f->view[3].reachable_by_all = false;
        fixture_run(f, 1500);
        f->view[1].reachable_by_all = f->view[3].reachable_by_all = true;
        fixture_run(f, 500);
    }
    assert_int_equal(f->hints, 1);
    f->view[1].reachable_by_all = f->view[3].reachable_by_all = false;
    fixture_run(f, 2500);
    assert_int_equal(fixture_leader(f, 0), 2);
    f->view[1].reachable_by_all = f->view[3].reachable_by_all = true;
    fixture_run(f, 10000);
    assert_int_equal(f->hints, 2);
    fixture_free(f);
}

static void a_leader_stays(void **state)
{
    struct fixture *f = three();
    fixture_start(f);
    fixture_run(f, 1000);
    uint32_t leader = fixture_leader(f, 0);
    f->slow[leader] = true;
    f->replica[leader][0].caught_up = false; /* it leads: what it reads is its own */
    fixture_run(f, 5000);
    assert_int_equal(fixture_leader(f, 0), leader);
    assert_int_equal(f->hints, 1);
    fixture_free(f);
}

static void a_new_controller_deposes_nobody(void **state)
{
    struct fixture *f = three();
    struct epoch_metadata m = fixture_get(f, 0);
    epoch_metadata_claim(&m, 2, 1);
    fake_kv_set_epoch(&f->kv, 0, &m);
    fixture_start(f);
    memset(f->replica[1], 0, sizeof(f->replica[1])); /* nobody has reported yet */
    memset(f->replica[2], 0, sizeof(f->replica[2]));
    memset(f->replica[3], 0, sizeof(f->replica[3]));
    fixture_run(f, 1000);
    assert_int_equal(f->hints, 0);
    f->replica[2][0] = (struct controller_replica){true, true, true, m.epoch, 7};
    fixture_run(f, 5000);
    assert_int_equal(f->hints, 0);
    fixture_free(f);
}

static void the_claim_of_an_earlier_life_counts_nothing(void **state)
{
    struct fixture *f = three();
    struct epoch_metadata m = fixture_get(f, 0);
    epoch_metadata_claim(&m, 2, 1);
    fake_kv_set_epoch(&f->kv, 0, &m);
    f->entries[1].generation = 2;
    f->slow[2] = true;
    fixture_start(f);
    fixture_run(f, 50);
    assert_int_equal(f->hints, 1);
    assert_int_not_equal(fixture_leader(f, 0), 2);
    fixture_free(f);
}

static void fail_over_is_one_hop(void **state)
{
    struct fixture *f = fixture_new(4, 12, 3);
    fixture_start(f);
    fixture_run(f, 5000);
    uint64_t before[12], moved = 0;
    for (uint32_t p = 0; p < 12; p++)
        before[p] = fixture_get(f, p).epoch;
    fixture_liveness(f, 2, CONTROLLER_DEAD);
    fixture_run(f, 50); /* at once */
    for (uint32_t p = 0; p < 12; p++)
        assert_true(fixture_leader(f, p) != 0 && fixture_leader(f, p) != 2);
    fixture_run(f, 30000); /* replica sets were replaced meanwhile */
    for (uint32_t p = 0; p < 12; p++) {
        assert_false(fixture_holds(f, p, 2));
        moved += fixture_get(f, p).epoch - before[p];
    }
    assert_int_equal(moved, 3); /* those that node 2 led, once each */
    for (uint32_t n = 1; n <= 4; n++)
        assert_int_equal(fixture_leaders(f, n), n == 2 ? 0 : 4);
    fixture_free(f);
}

static void a_graceful_stop_gives_leaders_away_at_once(void **state)
{
    struct fixture *f = fixture_new(3, 6, 3);
    fixture_start(f);
    fixture_run(f, 5000);
    fixture_liveness(f, 1, CONTROLLER_FAILING_OVER);
    fixture_run(f, 10);
    assert_int_equal(fixture_leaders(f, 1), 0);
    assert_int_equal(fixture_leaders(f, 2), 3);
    fixture_liveness(f, 1, CONTROLLER_DEAD);
    fixture_run(f, 1000);
    f->entries[0].generation++;
    fixture_config(f);
    fixture_liveness(f, 1, CONTROLLER_ALIVE);
    fixture_run(f, 1500);
    assert_int_equal(fixture_leaders(f, 1), 0); /* not before it is quiet */
    fixture_run(f, 8000);
    for (uint32_t n = 1; n <= 3; n++)
        assert_int_equal(fixture_leaders(f, n), 2);
    fixture_free(f);
}

static void pinned_leaders_move_and_stay(void **state)
{
    struct fixture *f = fixture_new(3, 6, 3);
    fixture_start(f);
    fixture_run(f, 5000);
    for (uint32_t p = 0; p < 6; p++) {
        struct epoch_metadata m = fixture_get(f, p);
        m.affinity_node = 2;
        m.version++;
        fake_kv_set_epoch(&f->kv, p, &m);
        controller_epoch_changed(f->controller, p, m.version);
    }
    fixture_run(f, 100);
    assert_int_equal(fixture_leaders(f, 2), 6);
    unsigned hints = f->hints;
    fixture_run(f, 30000); /* uneven, and so be it */
    assert_int_equal(fixture_leaders(f, 2), 6);
    assert_int_equal(f->hints, hints);
    fixture_free(f);
}

static void a_frozen_leader_is_kept(void **state)
{
    struct fixture *f = three();
    fixture_start(f);
    fixture_run(f, 1000);
    struct epoch_metadata m = fixture_get(f, 0);
    uint32_t leader = fixture_leader(f, 0), other = leader % 3 + 1;
    m.leadership_freeze = "hold";
    m.affinity_node = other;
    edit(f, m);
    fixture_run(f, 5000);
    assert_int_equal(f->hints, 1);
    fixture_liveness(f, leader, CONTROLLER_DEAD);
    fixture_run(f, 60000);
    assert_int_equal(f->hints, 1); /* no election */
    f->entries[leader - 1].generation++;
    fixture_config(f);
    fixture_liveness(f, leader, CONTROLLER_ALIVE);
    fixture_run(f, 100);
    assert_int_equal(fixture_leader(f, 0), leader);
    m = fixture_get(f, 0);
    m.leadership_freeze = NULL;
    edit(f, m);
    fixture_run(f, 100);
    assert_int_equal(fixture_leader(f, 0), other);
    fixture_free(f);
}

static void one_who_does_not_lead_is_passed_over(void **state)
{
    struct fixture *f = three();
    struct epoch_metadata m = fixture_get(f, 0);
    m.affinity_node = 1;
    fake_kv_set_epoch(&f->kv, 0, &m);
    f->deaf[1] = true;
    fixture_start(f);
    fixture_run(f, 2900);
    assert_int_equal(fixture_leader(f, 0), 0);
    assert_true(f->hints_to[1] >= 5 && f->hints_to[1] <= 7); /* repeated, not each time */
    fixture_run(f, 400);
    uint32_t leader = fixture_leader(f, 0);
    assert_true(leader == 2 || leader == 3);
    unsigned hints = f->hints;
    fixture_run(f, 20000);
    assert_int_equal(f->hints, hints);
    f->deaf[1] = false;
    fixture_run(f, 15000); /* it gets another chance */
    assert_int_equal(fixture_leader(f, 0), 1);
    fixture_free(f);
}

static void everybody_is_tried(void **state)
{
    struct fixture *f = three();
    f->deaf[1] = f->deaf[2] = f->deaf[3] = true;
    fixture_start(f);
    fixture_run(f, 12000);
    for (uint32_t n = 1; n <= 3; n++)
        assert_true(f->hints_to[n] > 0);
    fixture_free(f);
}

static void inactive_controllers_do_nothing(void **state)
{
    struct fixture *f = three();
    fixture_config(f);
    fixture_run(f, 40000);
    assert_int_equal(f->hints + f->kv.puts, 0);
    controller_set_active(f->controller, true, (struct node_ref){1, 1});
    fixture_run(f, 100);
    assert_int_equal(f->hints, 1);
    controller_set_active(f->controller, false, (struct node_ref){2, 1});
    fixture_liveness(f, fixture_leader(f, 0), CONTROLLER_DEAD);
    fixture_run(f, 40000);
    assert_int_equal(f->hints, 1);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_candidate),
        cmocka_unit_test(a_leader_that_some_cannot_reach_is_deposed),
        cmocka_unit_test(a_leader_stays),
        cmocka_unit_test(a_new_controller_deposes_nobody),
        cmocka_unit_test(the_claim_of_an_earlier_life_counts_nothing),
        cmocka_unit_test(fail_over_is_one_hop),
        cmocka_unit_test(a_graceful_stop_gives_leaders_away_at_once),
        cmocka_unit_test(pinned_leaders_move_and_stay),
        cmocka_unit_test(a_frozen_leader_is_kept),
        cmocka_unit_test(one_who_does_not_lead_is_passed_over),
        cmocka_unit_test(everybody_is_tried),
        cmocka_unit_test(inactive_controllers_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

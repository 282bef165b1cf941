/* Every row of the placement table (src/controller/controller.h, spec/cluster.md §4.3 and §4.4). */
#include "unit/controller/controller_fixture.h"

static void first_configurations_are_even_and_led(void **state)
{
    struct fixture *f = fixture_new(3, 6, 2);
    fixture_start(f);
    struct epoch_metadata m = fixture_get(f, 0);
    fixture_run(f, 100);
    for (uint32_t n = 1; n <= 3; n++) {
        assert_int_equal(fixture_replicas(f, n), 4);
        assert_int_equal(fixture_leaders(f, n), 2);
    }
    assert_int_equal(m.current.version, 1);
    m = fixture_get(f, 0);
    assert_int_equal(m.version, 2); /* one configuration, one claim */
    assert_int_equal(m.epoch, 2);
    assert_int_equal(m.current.version, 1);
    assert_int_equal(f->hints, 6);
    fixture_run(f, 20000);
    assert_int_equal(f->kv.puts, 6); /* and then it is quiet */
    assert_int_equal(f->hints, 6);
    fixture_free(f);
}

static void a_fresh_node_starts_in_a_few_rounds(void **state)
{
    struct fixture *f = fixture_new(1, 24, 1);
    fixture_start(f);
    fixture_run(f, 0);
    assert_int_equal(fixture_leaders(f, 1), 24);
    assert_int_equal(f->kv.lists, 1);
    assert_int_equal(f->kv.puts, 24);
    /* The list, all configurations together, and what the claims (made by the fixture) brought back. */
    assert_true(f->kv.rounds <= 3);
    fixture_free(f);
}

static void the_first_configuration_has_the_version_of_the_value(void **state)
{
    struct fixture *f = fixture_new(1, 1, 1);
    struct epoch_metadata m = {.version = 7, .epoch = 3, .leadership_freeze = "because"};
    m.current.replication = replication_nodes(1);
    fake_kv_set_epoch(&f->kv, 0, &m);
    f->deaf[1] = true;
    fixture_start(f);
    m = fixture_get(f, 0);
    assert_int_equal(m.version, 8);
    assert_int_equal(m.current.version, 8);
    assert_int_equal(m.epoch, 3);
    assert_string_equal(m.leadership_freeze, "because");
    fixture_free(f);
}

static void the_dead_are_replaced_after_a_while(void **state)
{
    struct fixture *f = fixture_new(3, 3, 2);
    fixture_start(f);
    fixture_run(f, 5000);
    uint32_t p = 0;
    while (!fixture_holds(f, p, 3))
        p++;
    const char *before = fixture_set(f, p);
    fixture_liveness(f, 3, CONTROLLER_DEAD);
    fixture_run(f, 2900);
    assert_string_equal(fixture_set(f, p), before);
    fixture_liveness(f, 3, CONTROLLER_ALIVE); /* came back in time */
    fixture_run(f, 2900);
    fixture_liveness(f, 3, CONTROLLER_DEAD);
    fixture_run(f, 2900);
    assert_string_equal(fixture_set(f, p), before);
    fixture_run(f, 400);
    for (p = 0; p < 3; p++) {
        struct epoch_metadata m = fixture_get(f, p);
        assert_true(configuration_has(&m.current, 1) && configuration_has(&m.current, 2));
        assert_false(m.has_next);
    }
    fixture_liveness(f, 3, CONTROLLER_ALIVE); /* the load is evened out again */
    fixture_run(f, 8000);
    for (uint32_t n = 1; n <= 3; n++) {
        assert_int_equal(fixture_replicas(f, n), 2);
        assert_int_equal(fixture_leaders(f, n), 1);
    }
    unsigned puts = f->kv.puts, hints = f->hints;
    fixture_run(f, 60000);
    assert_int_equal(f->kv.puts, puts);
    assert_int_equal(f->hints, hints);
    fixture_free(f);
}

static void those_down_when_it_begins_get_their_time(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 4, .epoch = 2};
    uint32_t set[] = {2, 3};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 2, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    f->view[3].liveness = CONTROLLER_DEAD;
    f->deaf[2] = true;
    fixture_start(f);
    fixture_run(f, 9000);
    assert_string_equal(fixture_set(f, 0), "2,3 v5");
    fixture_run(f, 1500);
    assert_string_equal(fixture_set(f, 0), "1,2 v6");
    fixture_free(f);
}

static void a_controller_knows_from_before_who_is_down(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 4, .epoch = 2};
    uint32_t set[] = {2, 3};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 2, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    fixture_config(f);
    fixture_run(f, 1000);
    fixture_liveness(f, 3, CONTROLLER_DEAD);
    fixture_run(f, 2500);
    controller_set_active(f->controller, true, (struct node_ref){1, 1});
    fixture_run(f, 300);
    assert_string_equal(fixture_set(f, 0), "2,3 v5");
    fixture_run(f, 500);
    assert_string_equal(fixture_set(f, 0), "1,2 v6");
    fixture_free(f);
}

static void too_few_candidates(void **state)
{
    struct fixture *f = fixture_new(3, 1, 3);
    f->nodes.n_nodes = 1;
    fixture_start(f);
    assert_string_equal(fixture_set(f, 0), "1 v1"); /* what is available */
    f->nodes.n_nodes = 2;
    fixture_config(f);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "1,2 v2");
    f->nodes.n_nodes = 3;
    fixture_config(f);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "1,2,3 v3");
    fixture_liveness(f, 2, CONTROLLER_DEAD);
    f->entries[2].worker = WORKER_DRAINING;
    fixture_config(f);
    fixture_run(f, 10000);
    assert_string_equal(fixture_set(f, 0), "1,2,3 v3"); /* kept as it is */
    assert_int_equal(fixture_leader(f, 0), 1);
    f->entries[2].tombstone = true; /* does not come back */
    fixture_config(f);
    fixture_run(f, 10000);
    assert_string_equal(fixture_set(f, 0), "1,2 v4");
    fixture_free(f);
}

static void no_worker_at_all(void **state)
{
    struct fixture *f = fixture_new(2, 1, 1);
    f->entries[0].roles = ROLE_ADMIN;
    f->entries[1].worker = WORKER_PROVISIONING;
    fixture_start(f);
    fixture_run(f, 1000);
    assert_int_equal(f->kv.puts, 0);
    f->entries[1].worker = WORKER_ACTIVE;
    fixture_config(f);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "2 v1");
    fixture_free(f);
}

static void draining_moves_replicas_away(void **state)
{
    struct fixture *f = fixture_new(3, 6, 2);
    fixture_start(f);
    fixture_run(f, 100);
    f->entries[1].worker = WORKER_DRAINING;
    fixture_config(f);
    fixture_run(f, 100);
    assert_int_equal(fixture_replicas(f, 2), 0);
    assert_int_equal(fixture_leaders(f, 2), 0);
    for (uint32_t p = 0; p < 6; p++)
        assert_false(fixture_get(f, p).has_next);
    fixture_free(f);
}

static void replication_changes(void **state)
{
    struct fixture *f = fixture_new(3, 6, 2);
    fixture_start(f);
    fixture_run(f, 100);
    f->table.replication = replication_nodes(3);
    fixture_config(f);
    fixture_run(f, 100);
    for (uint32_t p = 0; p < 6; p++)
        assert_string_equal(fixture_set(f, p), "1,2,3 v2");
    f->table.replication = replication_nodes(1);
    fixture_config(f);
    fixture_run(f, 100);
    for (uint32_t n = 1; n <= 3; n++)
        assert_int_equal(fixture_replicas(f, n), 2);
    for (uint32_t p = 0; p < 6; p++) { /* the leaders stayed */
        assert_int_equal(fixture_get(f, p).epoch, 2);
        assert_true(fixture_holds(f, p, fixture_leader(f, p)));
    }
    /* The property itself counts, also where the set can stay. */
    f->table.replication = (struct replication){{1, 1, 0}};
    fixture_config(f);
    fixture_run(f, 100);
    assert_int_equal(fixture_get(f, 0).next.replication.copies[SCOPE_ZONE] +
                         fixture_get(f, 0).current.replication.copies[SCOPE_ZONE],
                     1);
    fixture_free(f);
}

static void next_waits_until_it_can_serve(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 1, .epoch = 1};
    uint32_t set[] = {1, 2};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 2, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    fixture_start(f);
    fixture_run(f, 4000);
    f->slow[3] = true;
    fixture_liveness(f, 2, CONTROLLER_DEAD);
    fixture_run(f, 3500);
    assert_string_equal(fixture_set(f, 0), "1,2 v2 > 1,3 v3");
    f->replica[3][0].caught_up = true; /* all of it have caught up */
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "1,3 v3");
    fixture_free(f);
}

static void next_does_not_wait_for_ever(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 1, .epoch = 1};
    uint32_t set[] = {1, 2}, other[] = {2, 3};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 2, 0);
    epoch_metadata_set_next(&m, &f->table.replication, other, 2, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    for (uint32_t n = 1; n <= 3; n++)
        f->slow[n] = f->deaf[n] = true;
    fixture_start(f);
    fixture_run(f, 20000);
    assert_string_equal(fixture_set(f, 0), "1,2 v2 > 2,3 v3"); /* nobody has caught up */
    f->replica[2][0].caught_up = true;
    fixture_run(f, 100); /* it has waited for the slow one long enough */
    assert_string_equal(fixture_set(f, 0), "2,3 v3");
    fixture_free(f);
}

static void nobody_of_current_comes_back(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 1, .epoch = 1};
    uint32_t set[] = {2};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 1, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    f->entries[1].worker = WORKER_DISABLED;
    f->slow[1] = f->slow[3] = true;
    fixture_start(f);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "1,3 v3");
    fixture_free(f);
}

static void a_newer_next_has_a_newer_version(void **state)
{
    struct fixture *f = fixture_new(4, 1, 2);
    struct epoch_metadata m = {.version = 1, .epoch = 1};
    uint32_t set[] = {1, 2}, other[] = {2, 3};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 2, 0);
    epoch_metadata_set_next(&m, &f->table.replication, other, 2, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    for (uint32_t n = 1; n <= 4; n++)
        f->slow[n] = true;
    f->entries[2].worker = WORKER_DISABLED;
    fixture_start(f);
    fixture_run(f, 100);
    m = fixture_get(f, 0);
    assert_true(m.has_next);
    assert_int_equal(m.next.version, 4);
    assert_true(configuration_has(&m.next, 2));
    assert_false(configuration_has(&m.next, 3));
    fixture_free(f);
}

static void frozen_placements_are_the_operator_s(void **state)
{
    struct fixture *f = fixture_new(3, 1, 2);
    struct epoch_metadata m = {.version = 1, .epoch = 1, .placement_freeze = "mine"};
    uint32_t set[] = {1}, other[] = {2};
    epoch_metadata_set_initial(&m, &f->table.replication, set, 1, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    fixture_start(f);
    fixture_liveness(f, 1, CONTROLLER_DEAD);
    fixture_run(f, 10000);
    assert_string_equal(fixture_set(f, 0), "1 v2");
    m = fixture_get(f, 0);
    epoch_metadata_set_next(&m, &f->table.replication, other, 1, 0);
    fake_kv_set_epoch(&f->kv, 0, &m);
    controller_epoch_changed(f->controller, 0, m.version);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "2 v3");
    m = fixture_get(f, 0);
    m.placement_freeze = NULL;
    m.version++;
    fake_kv_set_epoch(&f->kv, 0, &m);
    controller_epoch_changed(f->controller, 0, m.version);
    fixture_run(f, 100);
    assert_string_equal(fixture_set(f, 0), "2,3 v4");
    fixture_free(f);
}

static void a_new_node_gets_its_share(void **state)
{
    struct fixture *f = fixture_new(4, 24, 2);
    f->nodes.n_nodes = 3;
    fixture_start(f);
    fixture_run(f, 5000);
    unsigned puts = f->kv.puts;
    f->nodes.n_nodes = 4;
    fixture_config(f);
    fixture_run(f, 9000);
    for (uint32_t n = 1; n <= 4; n++) {
        assert_int_equal(fixture_replicas(f, n), 12);
        assert_int_equal(fixture_leaders(f, n), 6);
    }
    assert_int_equal(f->kv.puts - puts, 24); /* twelve replicas, two writes each */
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_configurations_are_even_and_led),
        cmocka_unit_test(a_fresh_node_starts_in_a_few_rounds),
        cmocka_unit_test(the_first_configuration_has_the_version_of_the_value),
        cmocka_unit_test(the_dead_are_replaced_after_a_while),
        cmocka_unit_test(those_down_when_it_begins_get_their_time),
        cmocka_unit_test(a_controller_knows_from_before_who_is_down),
        cmocka_unit_test(too_few_candidates),
        cmocka_unit_test(no_worker_at_all),
        cmocka_unit_test(draining_moves_replicas_away),
        cmocka_unit_test(replication_changes),
        cmocka_unit_test(next_waits_until_it_can_serve),
        cmocka_unit_test(next_does_not_wait_for_ever),
        cmocka_unit_test(nobody_of_current_comes_back),
        cmocka_unit_test(a_newer_next_has_a_newer_version),
        cmocka_unit_test(frozen_placements_are_the_operator_s),
        cmocka_unit_test(a_new_node_gets_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

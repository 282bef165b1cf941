/* The controller and its store: lost comparisons, undecided writes, refusals; waiting callers; size. */
#include <time.h>

#include "base/metrics.h"
#include "unit/controller/controller_fixture.h"

struct sync {
    unsigned done;
    enum rc rc;
};

static void synced(void *ctx, const struct err *err)
{
    struct sync *s = ctx;
    s->done++;
    s->rc = err ? err->rc : RC_OK;
}

static void undecided_writes_are_read_back(void **state)
{
    for (int applies = 0; applies < 2; applies++) {
        struct fixture *f = fixture_new(3, 8, 2);
        f->kv.faults = 12;
        f->kv.put_fault = RC_TIMEOUT;
        f->kv.fault_applies = applies;
        fixture_start(f);
        fixture_run(f, 2000);
        for (uint32_t p = 0; p < 8; p++) {
            assert_int_equal(fixture_get(f, p).current.version, 1);
            assert_true(fixture_leader(f, p) != 0);
        }
        struct controller_stats s;
        controller_stats(f->controller, &s);
        assert_int_equal(s.undecided, applies ? 8 : 12);
        assert_int_equal(s.leaderless + s.unsettled, 0);
        fixture_free(f);
    }
}

static void a_store_that_refuses_is_not_flooded(void **state)
{
    struct fixture *f = fixture_new(1, 4, 1);
    f->kv.faults = 1000;
    f->kv.put_fault = RC_UNAVAILABLE;
    fixture_start(f);
    fixture_run(f, 10000);
    assert_true(f->kv.puts > 10 && f->kv.puts < 80);
    f->kv.faults = 0;
    fixture_run(f, 1100);
    assert_int_equal(fixture_leaders(f, 1), 4);
    fixture_free(f);
}

static void the_other_controller_was_faster(void **state)
{
    struct fixture *f = fixture_new(3, 4, 2);
    fixture_start(f);
    fixture_run(f, 3000);
    for (uint32_t p = 0; p < 4; p++) { /* somebody writes, and nobody says so */
        struct epoch_metadata m = fixture_get(f, p);
        m.version++;
        fake_kv_set_epoch(&f->kv, p, &m);
    }
    fixture_liveness(f, 1, CONTROLLER_DEAD);
    fixture_run(f, 4000);
    struct controller_stats s;
    controller_stats(f->controller, &s);
    assert_true(s.conflicts > 0);
    for (uint32_t p = 0; p < 4; p++)
        assert_false(fixture_holds(f, p, 1));
    fixture_free(f);
}

static void sync_reads_and_acts(void **state)
{
    struct fixture *f = fixture_new(3, 4, 2);
    struct sync s = {0};
    controller_sync(f->controller, 0, synced, &s);
    assert_int_equal(s.done, 0);
    sim_env_run(&f->env);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.rc, RC_NOT_LEADER);
    fixture_start(f);
    fixture_run(f, 1000);
    /* An operator's placement, of which nobody told the controller. */
    struct epoch_metadata m = fixture_get(f, 1);
    uint32_t set[2] = {2, 3};
    if (fixture_holds(f, 1, 2) && fixture_holds(f, 1, 3))
        set[1] = 1;
    epoch_metadata_set_next(&m, &f->table.replication, set, 2, 0);
    fake_kv_set_epoch(&f->kv, 1, &m);
    controller_sync(f->controller, 1, synced, &s);
    sim_env_advance(&f->env, 20); /* the new processor starts and catches up when it hears of it */
    assert_int_equal(s.done, 2);
    assert_int_equal(s.rc, RC_OK);
    m = fixture_get(f, 1);
    assert_false(m.has_next);
    assert_int_equal(m.current.version, 2);
    assert_true(configuration_has(&m.current, set[0]) && configuration_has(&m.current, set[1]));
    controller_sync(f->controller, CONTROLLER_ALL_PARTITIONS, synced, &s);
    sim_env_advance(&f->env, 20);
    assert_int_equal(s.done, 3);
    assert_int_equal(s.rc, RC_OK);
    controller_sync(f->controller, 4, synced, &s);
    sim_env_run(&f->env);
    assert_int_equal(s.rc, RC_NOT_FOUND);
    fixture_free(f);
}

static void sync_does_not_wait_for_ever(void **state)
{
    struct fixture *f = fixture_new(1, 1, 1);
    struct sync s = {0};
    fixture_start(f);
    fixture_run(f, 1000);
    f->kv.held = true;
    controller_sync(f->controller, 0, synced, &s);
    fixture_run(f, 6000);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.rc, RC_TIMEOUT);
    controller_sync(f->controller, 0, synced, &s);
    controller_set_active(f->controller, false, (struct node_ref){0, 0});
    assert_int_equal(s.done, 2);
    assert_int_equal(s.rc, RC_NOT_LEADER);
    f->kv.held = false;
    env_defer(sim_env_get(&f->env), &f->kv.task);
    sim_env_run(&f->env);
    assert_int_equal(s.done, 2);
    fixture_free(f);
}

static void it_can_be_freed_at_any_time(void **state)
{
    for (uint64_t ms = 0; ms < 3; ms++) {
        struct fixture *f = fixture_new(3, 100, 2);
        struct sync s = {0};
        f->kv.held = ms == 0;
        fixture_config(f);
        controller_set_active(f->controller, true, (struct node_ref){1, 1});
        sim_env_run(&f->env);
        f->kv.held = ms == 1;
        fixture_liveness(f, 1, CONTROLLER_DEAD);
        fixture_run(f, 3300);
        controller_sync(f->controller, 5, synced, &s);
        sim_env_run(&f->env);
        controller_sync(f->controller, 6, synced, &s);
        controller_free(f->controller);
        epochs_free(f->epochs);
        f->kv.held = false; /* the answers come afterwards */
        env_defer(sim_env_get(&f->env), &f->kv.task);
        sim_env_advance(&f->env, 1000);
        assert_int_equal(s.done, 2);
        kv_table_free(&f->kv.table);
        arena_free(&f->arena);
        sim_env_free(&f->env);
        free(f);
    }
}

static void reads_and_writes_are_bounded(void **state)
{
    struct fixture *f = fixture_new(3, 200, 2);
    f->kv.held = true;
    fixture_config(f);
    controller_set_active(f->controller, true, (struct node_ref){1, 1});
    for (int i = 0; i < 60; i++) {
        unsigned n = 0;
        sim_env_advance(&f->env, 10);
        LIST_FOREACH(op, &f->kv.waiting)
        n++;
        assert_true(n <= 65); /* 32 writes, 32 reads, one list */
        f->kv.held = false;
        fake_kv_run(&f->kv.task);
        f->kv.held = true;
    }
    for (uint32_t n = 1; n <= 3; n++)
        assert_true(fixture_replicas(f, n) >= 133 && fixture_replicas(f, n) <= 134);
    f->kv.held = false;
    env_defer(sim_env_get(&f->env), &f->kv.task);
    fixture_free(f);
}

static void metrics_tell_what_is_wrong(void **state)
{
    struct fixture *f = fixture_new(2, 5, 1);
    struct metric *leaderless = metric_gauge("restate_controller_leaderless_partitions", NULL, "");
    struct metric *hints = metric_counter("restate_controller_hints_total", NULL, "");
    f->deaf[1] = f->deaf[2] = true;
    fixture_start(f);
    int64_t before = metric_value(hints);
    fixture_run(f, 600);
    assert_int_equal(metric_value(leaderless), 5);
    assert_int_equal(metric_value(hints) - before, 5); /* repeated once */
    controller_set_active(f->controller, false, (struct node_ref){0, 0});
    assert_int_equal(metric_value(leaderless), 0);
    fixture_free(f);
}

static uint64_t microseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void a_thousand_partitions(void **state)
{
    struct fixture *f = fixture_new(5, 1000, 3);
    fixture_start(f);
    fixture_run(f, 1000);
    for (uint32_t n = 1; n <= 5; n++) {
        assert_int_equal(fixture_replicas(f, n), 600);
        assert_int_equal(fixture_leaders(f, n), 200);
    }
    struct controller_stats before, after;
    controller_stats(f->controller, &before);
    uint64_t begun = microseconds();
    fixture_run(f, 10000);
    uint64_t took = microseconds() - begun;
    controller_stats(f->controller, &after);
    uint64_t per_pass = took / (after.passes - before.passes);
    printf("a look at 1000 partitions on 5 nodes: %llu us (this build)\n", (unsigned long long)per_pass);
    assert_true(per_pass < 20000); /* with sanitizers; about 1 ms without */
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undecided_writes_are_read_back),
        cmocka_unit_test(a_store_that_refuses_is_not_flooded),
        cmocka_unit_test(the_other_controller_was_faster),
        cmocka_unit_test(sync_reads_and_acts),
        cmocka_unit_test(sync_does_not_wait_for_ever),
        cmocka_unit_test(it_can_be_freed_at_any_time),
        cmocka_unit_test(reads_and_writes_are_bounded),
        cmocka_unit_test(metrics_tell_what_is_wrong),
        cmocka_unit_test(a_thousand_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

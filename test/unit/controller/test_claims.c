/* Claims of leadership, undecided writes above all (src/controller/claims.h), and the cache of epoch metadata
 * (src/controller/epochs.h). */
#include "controller/claims.h"

#include "unit/controller/controller_fixture.h"

struct claimer {
    struct sim_env env;
    struct fake_kv kv;
    struct epochs *epochs;
    struct claim claim;
    unsigned done;
    enum rc rc;
    uint64_t epoch;
    struct arena arena;
};

static void claimed(struct claim *c, enum rc rc, uint64_t epoch, const char *message)
{
    struct claimer *t = CONTAINER_OF(c, struct claimer, claim);
    t->done++;
    t->rc = rc;
    t->epoch = epoch;
    assert_true(rc == RC_OK || message[0]);
}

static struct claimer *claimer_new(void)
{
    static uint32_t set[] = {1, 2};
    struct claimer *t = xcalloc(1, sizeof(*t));
    struct replication two = replication_nodes(2);
    struct epoch_metadata m = {0};
    log_set_sink(fixture_quiet, NULL);
    sim_env_init(&t->env, 1);
    fake_kv_init(&t->kv, &t->env);
    epoch_metadata_set_initial(&m, &two, set, 2, 0);
    fake_kv_set_epoch(&t->kv, 0, &m);
    t->epochs = epochs_new(sim_env_get(&t->env), &t->kv.kv, &(struct epochs_config){0});
    epochs_set_partitions(t->epochs, 3);
    sim_env_run(&t->env);
    t->claim.done = claimed;
    return t;
}

static void claimer_free(struct claimer *t)
{
    epochs_free(t->epochs);
    sim_env_run(&t->env);
    kv_table_free(&t->kv.table);
    arena_free(&t->arena);
    sim_env_free(&t->env);
    free(t);
}

static void start(struct claimer *t, uint32_t node, uint32_t partition)
{
    t->done = 0;
    claim_start(&t->claim, sim_env_get(&t->env), &t->kv.kv, t->epochs, (struct node_ref){node, 7}, partition);
    assert_int_equal(t->done, 0);
    sim_env_run(&t->env);
}

/* Somebody else changes the value: claims it, or only touches it. */
static void other(struct claimer *t, uint32_t claimer)
{
    struct epoch_metadata m = fake_kv_epoch(&t->kv, &t->arena, 0);
    if (claimer)
        epoch_metadata_claim(&m, claimer, 1);
    else
        m.version++;
    fake_kv_set_epoch(&t->kv, 0, &m);
}

static void a_claim_is_one_write(void **state)
{
    struct claimer *t = claimer_new();
    start(t, 1, 0);
    assert_int_equal(t->done, 1);
    assert_int_equal(t->rc, RC_OK);
    assert_int_equal(t->epoch, 2);
    assert_int_equal(t->kv.gets, 0);
    assert_int_equal(t->kv.puts, 1);
    const struct epoch_metadata *m = epochs_get(t->epochs, 0);
    assert_int_equal(m->version, 2);
    assert_int_equal(m->node_id, 1);
    assert_int_equal(m->node_generation, 7);
    assert_int_equal(m->current.version, 1);
    claimer_free(t);
}

static void an_old_cache_is_no_obstacle(void **state)
{
    struct claimer *t = claimer_new();
    other(t, 2);
    other(t, 0);
    start(t, 1, 0);
    assert_int_equal(t->rc, RC_OK);
    assert_int_equal(t->epoch, 3);
    assert_int_equal(t->kv.gets, 1);
    claimer_free(t);
}

static void only_members_claim(void **state)
{
    struct claimer *t = claimer_new();
    start(t, 3, 0);
    assert_int_equal(t->rc, RC_NOT_LEADER);
    start(t, 1, 1);
    assert_int_equal(t->rc, RC_NOT_FOUND);
    /* In `next` is not enough. */
    struct epoch_metadata m = fake_kv_epoch(&t->kv, &t->arena, 0);
    uint32_t next[] = {3};
    epoch_metadata_set_next(&m, &m.current.replication, next, 1, 0);
    fake_kv_set_epoch(&t->kv, 0, &m);
    start(t, 3, 0);
    assert_int_equal(t->rc, RC_NOT_LEADER);
    assert_int_equal(t->kv.puts, 0);
    /* The cache does not know yet that the node is a member now. */
    epoch_metadata_complete_next(&m);
    fake_kv_set_epoch(&t->kv, 0, &m);
    start(t, 3, 0);
    assert_int_equal(t->rc, RC_OK);
    claimer_free(t);
}

/* Each answer waits until the test lets it go. */
static void step(struct claimer *t)
{
    t->kv.held = false;
    env_defer(sim_env_get(&t->env), &t->kv.task);
    struct list *n = list_pop_front(&t->env.tasks);
    CONTAINER_OF(n, struct env_task, link)->run(CONTAINER_OF(n, struct env_task, link));
    t->kv.held = true;
    sim_env_run(&t->env);
}

static void who_is_faster_wins(void **state)
{
    struct claimer *t = claimer_new();
    t->kv.held = true;
    start(t, 1, 0);
    other(t, 0);
    step(t); /* conflict */
    step(t); /* fresh value */
    other(t, 0);
    step(t); /* conflict, but nobody claimed */
    step(t);
    other(t, 2);
    step(t);
    step(t);
    assert_int_equal(t->done, 1);
    assert_int_equal(t->rc, RC_CONFLICT);
    assert_int_equal(fake_kv_epoch(&t->kv, &t->arena, 0).epoch, 2);
    /* Against changes without end it gives up. */
    start(t, 1, 0);
    for (int i = 0; i < 20 && !t->done; i++) {
        other(t, 0);
        step(t);
    }
    assert_int_equal(t->rc, RC_CONFLICT);
    claimer_free(t);
}

static void undecided_and_done(void **state)
{
    struct claimer *t = claimer_new();
    t->kv.faults = 1;
    t->kv.put_fault = RC_TIMEOUT;
    t->kv.fault_applies = true;
    start(t, 1, 0);
    assert_int_equal(t->rc, RC_OK);
    assert_int_equal(t->epoch, 2);
    assert_int_equal(fake_kv_epoch(&t->kv, &t->arena, 0).version, 2);
    claimer_free(t);
}

static void undecided_and_not_done(void **state)
{
    struct claimer *t = claimer_new();
    t->kv.faults = 2;
    t->kv.put_fault = RC_TIMEOUT;
    start(t, 1, 0);
    assert_int_equal(t->rc, RC_OK); /* it is tried again */
    assert_int_equal(t->epoch, 2);
    assert_int_equal(t->kv.puts, 3);
    claimer_free(t);
}

static void undecided_and_overtaken(void **state)
{
    struct claimer *t = claimer_new();
    t->kv.held = true;
    t->kv.faults = 1;
    t->kv.put_fault = RC_TIMEOUT;
    start(t, 1, 0);
    step(t);
    other(t, 2); /* takes the same epoch */
    step(t);     /* read back */
    step(t);     /* the hint still stands: claim the next one */
    assert_int_equal(t->rc, RC_OK);
    assert_int_equal(t->epoch, 3);
    claimer_free(t);
}

static void the_same_epoch_of_an_earlier_life_is_not_ours(void **state)
{
    struct claimer *t = claimer_new();
    t->kv.held = true;
    start(t, 1, 0);
    other(t, 1); /* generation 1, epoch 2 */
    step(t);
    step(t);
    step(t);
    assert_int_equal(t->rc, RC_OK);
    assert_int_equal(t->epoch, 3);
    claimer_free(t);
}

static void a_store_that_refuses(void **state)
{
    static const enum rc codes[] = {RC_UNAVAILABLE, RC_CLOSED, RC_NO_SPACE};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct claimer *t = claimer_new();
        t->kv.faults = 1;
        t->kv.put_fault = codes[i];
        start(t, 1, 0);
        assert_int_equal(t->rc, codes[i]);
        assert_int_equal(t->epoch, 0);
        claimer_free(t);
    }
}

/* ---- the cache ---- */

struct listener {
    struct epochs_listener l;
    unsigned calls;
    uint32_t versions[3];
};

static void heard(struct epochs_listener *l, uint32_t partition, const struct epoch_metadata *m)
{
    struct listener *me = CONTAINER_OF(l, struct listener, l);
    me->calls++;
    assert_true(m->version > me->versions[partition]);
    me->versions[partition] = m->version;
}

static void values_move_forward(void **state)
{
    struct claimer *t = claimer_new();
    struct listener l = {.l.changed = heard};
    epochs_listen(t->epochs, &l.l);
    assert_int_equal(epochs_state(t->epochs, 0), EPOCHS_PRESENT);
    assert_int_equal(epochs_state(t->epochs, 1), EPOCHS_ABSENT);
    assert_int_equal(epochs_state(t->epochs, 9), EPOCHS_UNKNOWN);
    other(t, 2);
    epochs_heard(t->epochs, 0, 1); /* known */
    sim_env_run(&t->env);
    assert_int_equal(t->kv.gets + l.calls, 0);
    epochs_heard(t->epochs, 0, 2);
    assert_false(epochs_settled(t->epochs, 0));
    sim_env_run(&t->env);
    assert_true(epochs_settled(t->epochs, 0));
    assert_int_equal(epochs_get(t->epochs, 0)->epoch, 2);
    /* An older value that arrives late. */
    struct epoch_metadata old = *epochs_get(t->epochs, 0);
    struct writer w = WRITER_INIT;
    old.version = 1;
    epoch_metadata_encode(&w, 0, &old);
    struct kv_entry e = {SLICE_LIT("pp_epoch_0"), writer_take(&w), 1};
    epochs_seen(t->epochs, &e);
    assert_int_equal(epochs_get(t->epochs, 0)->version, 2);
    bytes_unref(&e.value);
    /* Everything is read again now and then. */
    other(t, 0);
    sim_env_advance(&t->env, 30000);
    assert_int_equal(epochs_get(t->epochs, 0)->version, 3);
    assert_int_equal(l.calls, 2);
    claimer_free(t);
}

static void what_is_not_readable_is_left_alone(void **state)
{
    struct fixture *f = fixture_new(1, 2, 1);
    kv_table_put(&f->kv.table, SLICE_LIT("pp_epoch_0"), bytes_static(SLICE_LIT("nonsense")), 4);
    kv_table_put(&f->kv.table, SLICE_LIT("pp_epoch_x"), bytes_static(SLICE_LIT("nonsense")), 4);
    kv_table_put(&f->kv.table, SLICE_LIT("pp_epoch_77"), bytes_static(SLICE_LIT("nonsense")), 4);
    fixture_start(f);
    fixture_run(f, 40000);
    assert_int_equal(epochs_state(f->epochs, 0), EPOCHS_UNKNOWN);
    assert_null(epochs_get(f->epochs, 0));
    assert_int_equal(f->kv.puts, 1); /* the other partition's */
    assert_int_equal(fixture_leader(f, 1), 1);
    fixture_free(f);
}

static void a_deleted_value_is_written_again(void **state)
{
    struct fixture *f = fixture_new(1, 1, 1);
    fixture_start(f);
    fixture_run(f, 1000);
    assert_int_equal(fixture_get(f, 0).version, 2);
    kv_table_delete(&f->kv.table, SLICE_LIT("pp_epoch_0"));
    epochs_refresh(f->epochs, 0, NULL);
    fixture_run(f, 100);
    struct epoch_metadata m = fixture_get(f, 0);
    assert_int_equal(m.version, 3);
    assert_int_equal(m.epoch, 2); /* it never goes back */
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_is_one_write),
        cmocka_unit_test(an_old_cache_is_no_obstacle),
        cmocka_unit_test(only_members_claim),
        cmocka_unit_test(who_is_faster_wins),
        cmocka_unit_test(undecided_and_done),
        cmocka_unit_test(undecided_and_not_done),
        cmocka_unit_test(undecided_and_overtaken),
        cmocka_unit_test(the_same_epoch_of_an_earlier_life_is_not_ours),
        cmocka_unit_test(a_store_that_refuses),
        cmocka_unit_test(values_move_forward),
        cmocka_unit_test(what_is_not_readable_is_left_alone),
        cmocka_unit_test(a_deleted_value_is_written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

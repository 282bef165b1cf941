/* When snapshots are made and what is known about them (spec/cluster.md §6.3); opening a store that ends
 * before its log begins (§4.6, §6.5, S-20). */
#include "partition/snapshot_agent.h"
#include "partition/store_opening.h"
#include "unit/partition/snapshot_fixture.h"

#define MINUTE 60000u

struct agent_node {
    struct snap_node n;
    struct snapshot_slots slots;
    struct snapshot_agent *agent;
    struct snapshot_partition *p;
    unsigned changes;
    bool removed;
};

static void changed(void *ctx, const struct snapshot_status *s)
{
    struct agent_node *a = ctx;
    a->changes++;
}

static void removed(void *ctx)
{
    ((struct agent_node *)ctx)->removed = true;
}

static void add_partition(struct agent_node *a)
{
    struct snapshot_partition_config c = {.partition_id = PARTITION,
                                          .log_id = PARTITION,
                                          .key_end = UINT64_MAX,
                                          .store = a->n.s,
                                          .changed = changed,
                                          .ctx = a};
    a->p = snapshot_agent_add(a->agent, &c);
    a->removed = false;
}

static void open_agent(struct agent_node *a, struct snap_world *w, uint64_t interval_ms, uint64_t num_records)
{
    memset(a, 0, sizeof(*a));
    sn_node_init(&a->n, w);
    atomic_store(&a->slots.free, 1);
    struct snapshot_agent_config config = {interval_ms, num_records};
    a->agent = snapshot_agent_new(&w->sim.env, a->n.r, &a->slots, &config);
    add_partition(a);
}

static void remove_partition(struct agent_node *a)
{
    snapshot_partition_remove(a->p, removed, a);
    assert_false(a->removed);
    sn_wait(a->n.w, &a->removed);
}

static void close_agent(struct agent_node *a)
{
    remove_partition(a);
    snapshot_agent_free(a->agent);
    assert_int_equal(a->slots.free, 1);
    sn_node_free(&a->n);
}

static lsn_t latest(const struct agent_node *a)
{
    const struct snapshot_status *s = snapshot_partition_status(a->p);
    return s->exists ? s->latest.lsn : 0;
}

/* ---- by itself ---- */

static void a_leader_makes_them_by_interval(void **state)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct snap_world w;
        struct agent_node a;
        sn_world_init(&w, seed, 20);
        open_agent(&a, &w, 10 * MINUTE, 0);
        sn_apply_to(&a.n, 10);
        sim_env_advance(&w.sim, 5 * MINUTE);
        assert_int_equal(latest(&a), 0); /* a follower makes none */
        assert_int_equal(a.changes, 1);  /* it knows that there are none */
        snapshot_partition_lead(a.p, true);
        sim_env_advance(&w.sim, 15000);
        assert_int_equal(latest(&a), 10);
        assert_int_equal(a.changes, 2);
        uint64_t made = w.sim.env.ops->mono_ms(&w.sim.env);
        sim_env_advance(&w.sim, 30 * MINUTE);
        assert_int_equal(latest(&a), 10); /* nothing was applied */
        sn_apply_to(&a.n, 20);
        sim_env_advance(&w.sim, 15000);
        assert_int_equal(latest(&a), 20);
        sn_apply_to(&a.n, 30);
        sim_env_advance(&w.sim, 9 * MINUTE - 30000);
        assert_int_equal(latest(&a), 20); /* 10 min less 10 % */
        sim_env_advance(&w.sim, 2 * MINUTE + 60000);
        assert_int_equal(latest(&a), 30);
        assert_true(made > 0);
        close_agent(&a);
        sn_world_free(&w);
    }
}

static void not_in_the_first_half_minute(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 4, 20);
    open_agent(&a, &w, 1000, 1);
    sn_apply_to(&a.n, 10);
    snapshot_partition_lead(a.p, true);
    sim_env_advance(&w.sim, 29000);
    assert_int_equal(latest(&a), 0);
    sim_env_advance(&w.sim, 45000);
    assert_int_equal(latest(&a), 10);
    close_agent(&a);
    sn_world_free(&w);
}

static void both_conditions_must_hold(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 5, 20);
    open_agent(&a, &w, 10 * MINUTE, 100);
    snapshot_partition_lead(a.p, true);
    sn_apply_to(&a.n, 99);
    sim_env_advance(&w.sim, 30 * MINUTE);
    assert_int_equal(latest(&a), 0);
    sn_apply_to(&a.n, 100);
    sim_env_advance(&w.sim, 15000);
    assert_int_equal(latest(&a), 100);
    sn_apply_to(&a.n, 250);
    sim_env_advance(&w.sim, 8 * MINUTE);
    assert_int_equal(latest(&a), 100); /* enough records, too early */
    sim_env_advance(&w.sim, 4 * MINUTE);
    assert_int_equal(latest(&a), 250);
    struct snapshot_agent_config none = {0};
    snapshot_agent_configure(a.agent, &none);
    sn_apply_to(&a.n, 900);
    sim_env_advance(&w.sim, 60 * MINUTE);
    assert_int_equal(latest(&a), 250);
    struct snapshot_agent_config records = {.num_records = 600};
    snapshot_agent_configure(a.agent, &records);
    sim_env_advance(&w.sim, 15000);
    assert_int_equal(latest(&a), 900);
    close_agent(&a);
    sn_world_free(&w);
}

/* S-19: the repository is away and comes back. */
static void an_outage_heals(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 6, 20);
    open_agent(&a, &w, MINUTE, 0);
    snapshot_partition_lead(a.p, true);
    sn_apply_to(&a.n, 10);
    sim_env_advance(&w.sim, 75000);
    assert_int_equal(latest(&a), 10);
    w.fault_percent = 100;
    sn_apply_to(&a.n, 20);
    sim_env_advance(&w.sim, 10 * MINUTE);
    assert_int_equal(snapshot_partition_status(a.p)->archived, 10); /* what was known stays */
    w.fault_percent = 0;
    sim_env_advance(&w.sim, 2 * MINUTE);
    assert_int_equal(latest(&a), 20);
    close_agent(&a);
    sn_world_free(&w);
}

/* ---- knowledge ---- */

static void snapshots_of_others_become_known(void **state)
{
    struct snap_world w;
    struct agent_node a;
    struct snap_node other;
    sn_world_init(&w, 7, 20);
    open_agent(&a, &w, 0, 0);
    sn_node_init(&other, &w);
    sim_env_advance(&w.sim, 1000);
    sn_apply_to(&other, 50);
    assert_int_equal(sn_create(&other), RC_OK);
    sim_env_advance(&w.sim, 6 * MINUTE);
    assert_int_equal(snapshot_partition_status(a.p)->archived, 50);
    /* a new leader looks at once */
    sn_apply_to(&other, 60);
    assert_int_equal(sn_create(&other), RC_OK);
    snapshot_partition_lead(a.p, true);
    sim_env_advance(&w.sim, 1000);
    assert_int_equal(snapshot_partition_status(a.p)->archived, 60);
    /* TR-12: another cluster's repository has nothing for us */
    sn_close_repository(&other);
    sn_node_free(&other);
    remove_partition(&a);
    snapshot_agent_free(a.agent);
    a.n.config.fingerprint = 99;
    sn_close_repository(&a.n);
    sn_open_repository(&a.n);
    a.agent = snapshot_agent_new(&w.sim.env, a.n.r, &a.slots, &(struct snapshot_agent_config){0});
    add_partition(&a);
    sim_env_advance(&w.sim, 1000);
    assert_int_equal(snapshot_partition_status(a.p)->archived, 0);
    close_agent(&a);
    sn_world_free(&w);
}

/* ---- on request ---- */

static void create(struct agent_node *a, lsn_t min_lsn)
{
    a->n.created = false;
    snapshot_partition_create(a->p, min_lsn, sn_on_created, &a->n);
    assert_false(a->n.created);
    sn_wait(a->n.w, &a->n.created);
}

static void requests(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 8, 20);
    open_agent(&a, &w, 0, 0);
    sn_apply_to(&a.n, 100);
    create(&a, 101);
    assert_int_equal(a.n.err.rc, RC_CONFLICT);
    assert_string_equal(a.n.err.msg, "Applied LSN below the target LSN: 100 < 101 for partition 3");
    create(&a, 100);
    assert_int_equal(a.n.err.rc, RC_OK);
    assert_false(a.n.create.existed);
    assert_int_equal(a.n.create.ref.lsn, 100);
    sn_apply_to(&a.n, 150);
    create(&a, 90);
    assert_true(a.n.create.existed);
    assert_int_equal(a.n.create.ref.lsn, 100);
    create(&a, 0);
    assert_false(a.n.create.existed);
    assert_int_equal(latest(&a), 150);
    /* one after the other; the second finds that the first is as good */
    struct snap_node second = {.w = &w};
    sn_apply_to(&a.n, 160);
    a.n.created = false;
    snapshot_partition_create(a.p, 0, sn_on_created, &a.n);
    snapshot_partition_create(a.p, 155, sn_on_created, &second);
    sn_wait(&w, &second.created);
    assert_true(a.n.created);
    assert_false(a.n.create.existed);
    assert_true(second.create.existed);
    assert_string_equal(second.create.ref.id, a.n.create.ref.id);
    close_agent(&a);
    sn_world_free(&w);
}

static void requests_wait_for_a_slot(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 9, 20);
    open_agent(&a, &w, 0, 0);
    sn_apply_to(&a.n, 100);
    atomic_store(&a.slots.free, 0);
    snapshot_partition_create(a.p, 0, sn_on_created, &a.n);
    sim_env_advance(&w.sim, MINUTE);
    assert_false(a.n.created);
    atomic_store(&a.slots.free, 1);
    sn_wait(&w, &a.n.created);
    assert_int_equal(a.n.err.rc, RC_OK);
    close_agent(&a);
    sn_world_free(&w);
}

static void no_repository(void **state)
{
    struct snap_world w;
    struct agent_node a;
    sn_world_init(&w, 10, 20);
    open_agent(&a, &w, 0, 0);
    remove_partition(&a);
    snapshot_agent_free(a.agent);
    a.agent = snapshot_agent_new(&w.sim.env, NULL, &a.slots, &(struct snapshot_agent_config){MINUTE, 0});
    add_partition(&a);
    snapshot_partition_lead(a.p, true);
    sn_apply_to(&a.n, 100);
    create(&a, 0);
    assert_int_equal(a.n.err.rc, RC_UNSUPPORTED);
    assert_non_null(strstr(a.n.err.msg, "no snapshot repository is configured"));
    sim_env_advance(&w.sim, 10 * MINUTE);
    close_agent(&a);
    sn_world_free(&w);
}

/* Removed at every step of a creation that others wait behind. */
static void removal_answers_everything(void **state)
{
    for (unsigned step = 0; step < 60; step++) {
        struct snap_world w;
        struct agent_node a;
        struct snap_node second = {.w = &w};
        sn_world_init(&w, step + 1, 20);
        open_agent(&a, &w, 0, 0);
        sn_apply_to(&a.n, 100);
        snapshot_partition_create(a.p, 0, sn_on_created, &a.n);
        snapshot_partition_create(a.p, 0, sn_on_created, &second);
        sim_env_advance(&w.sim, step * 7);
        close_agent(&a);
        assert_true(a.n.created && second.created);
        assert_true(second.err.rc == RC_OK || second.err.rc == RC_CANCELED);
        sn_world_free(&w);
    }
}

/* ---- opening ---- */

struct opened {
    struct snap_world *w;
    struct store_opening *o;
    struct partition_store *s;
    struct err err;
    bool done;
};

static void on_opened(void *ctx, struct partition_store *s, const struct err *err)
{
    struct opened *o = ctx;
    o->done = true;
    o->s = s;
    o->err = err ? *err : (struct err){0};
}

/* The errors that were logged. */
static char last_line[600];
static unsigned n_errors;
static void keep_line(void *ctx, enum log_level level, struct slice line)
{
    if (level != LOG_ERROR)
        return;
    n_errors++;
    snprintf(last_line, sizeof(last_line), "%.*s", SLICE_FMT(line));
}

static void start_opening(struct opened *o, struct snap_node *n, lsn_t min_lsn)
{
    memset(o, 0, sizeof(*o));
    n_errors = 0;
    log_set_sink(keep_line, NULL);
    struct store_opening_request q = {
        .kv = n->kv,
        .store = {.partition_id = PARTITION,
                  .key_end = UINT64_MAX,
                  .cache_bytes = 1 << 20,
                  .flush_dirty_bytes = 1 << 20,
                  .flush_interval_ms = 1000},
        .min_lsn = min_lsn,
        .repository = n->r,
    };
    o->w = n->w;
    o->o = store_opening_start(&n->w->sim.env, &q, on_opened, o);
    assert_false(o->done);
}

static void a_store_that_the_log_continues_is_opened(void **state)
{
    struct snap_world w;
    struct snap_node n;
    struct opened o;
    sn_world_init(&w, 1, 20);
    sn_node_init(&n, &w);
    sn_apply_to(&n, 30);
    sn_close_store(&n, false);
    start_opening(&o, &n, 30);
    sn_wait(&w, &o.done);
    assert_non_null(o.s);
    n.s = o.s;
    sn_check_content(&n, 30);
    sn_node_free(&n);
    sn_world_free(&w);
}

/* S-20: trimmed beyond snapshots; the follower waits and heals at the next one. */
static void it_waits_until_there_is_a_snapshot(void **state)
{
    struct snap_world w;
    struct snap_node n, leader;
    struct opened o;
    sn_world_init(&w, 2, 20);
    sn_node_init(&n, &w);
    sn_node_init(&leader, &w);
    sn_apply_to(&n, 30);
    sn_close_store(&n, false);
    start_opening(&o, &n, 50);
    sim_env_advance(&w.sim, 25000);
    assert_false(o.done);
    assert_int_equal(n_errors, 1);
    assert_non_null(strstr(last_line, "A log trim gap was encountered, but no snapshot is available for this "
                                      "partition!"));
    assert_int_equal(store_opening_problem(o.o)->rc, RC_NOT_FOUND);
    sn_apply_to(&leader, 40);
    assert_int_equal(sn_create(&leader), RC_OK);
    sim_env_advance(&w.sim, 30000);
    assert_int_equal(n_errors, 2);
    assert_non_null(strstr(last_line, "The latest available snapshot is from an LSN before the target LSN!"));
    sn_apply_to(&leader, 60);
    assert_int_equal(sn_create(&leader), RC_OK);
    sim_env_advance(&w.sim, 35000);
    assert_true(o.done);
    n.s = o.s;
    assert_non_null(n.s);
    sn_check_content(&n, 60);
    sn_node_free(&n);
    sn_node_free(&leader);
    sn_world_free(&w);
}

static void without_a_repository_it_says_so(void **state)
{
    struct snap_world w;
    struct snap_node n;
    struct opened o;
    sn_world_init(&w, 3, 20);
    sn_node_init(&n, &w);
    sn_close_store(&n, false);
    sn_close_repository(&n);
    start_opening(&o, &n, 5);
    sim_env_advance(&w.sim, 100000);
    assert_false(o.done);
    assert_int_equal(n_errors, 4); /* every 30 s */
    assert_non_null(
        strstr(last_line, "A log trim gap was encountered, but no snapshot repository is configured!"));
    store_opening_cancel(o.o);
    sn_wait(&w, &o.done);
    assert_int_equal(o.err.rc, RC_CANCELED);
    sn_node_free(&n);
    sn_world_free(&w);
}

/* Canceled, or the process dies, at every moment of a restoration: the next one completes it (T-d). */
static void it_can_be_broken_off_at_any_moment(void **state)
{
    for (unsigned step = 0; step < 80; step++) {
        struct snap_world w;
        struct snap_node n, leader;
        struct opened o;
        sn_world_init(&w, step + 1, 20);
        sn_node_init(&n, &w);
        sn_node_init(&leader, &w);
        sn_apply_to(&leader, 60);
        assert_int_equal(sn_create(&leader), RC_OK);
        sn_apply_to(&n, 30);
        sn_close_store(&n, false);
        start_opening(&o, &n, 50);
        sim_env_advance(&w.sim, step * 3);
        bool early = o.done;
        if (!early && step % 2)
            store_opening_cancel(o.o);
        if (early)
            n.s = o.s;
        else
            sn_close_repository(&n);
        sn_wait(&w, &o.done);
        assert_true(early || o.s == NULL || step % 2 == 0);
        n.s = o.s;
        if (!n.r)
            sn_open_repository(&n);
        sn_crash(&n);
        start_opening(&o, &n, 50);
        sn_wait(&w, &o.done);
        assert_non_null(o.s);
        n.s = o.s;
        sn_check_content(&n, 60);
        sn_node_free(&n);
        sn_node_free(&leader);
        sn_world_free(&w);
    }
}

static void imported(void *ctx, const struct err *err)
{
    assert_null(err);
    *(bool *)ctx = true;
}

/* An import was interrupted and the log has everything: start from the beginning. */
static void an_unfinished_import_is_dropped(void **state)
{
    struct snap_world w;
    struct snap_node n;
    struct opened o;
    sn_world_init(&w, 5, 20);
    sn_node_init(&n, &w);
    sn_apply_to(&n, 30);
    sn_close_store(&n, false);
    bool begun = false;
    struct store_import *i = store_import_new(n.kv, &n.jobs.base, PARTITION, 60);
    store_import_begin(i, imported, &begun);
    sn_wait(&w, &begun);
    store_import_free(i);
    start_opening(&o, &n, 0);
    sn_wait(&w, &o.done);
    assert_non_null(o.s);
    n.s = o.s;
    assert_int_equal(store_vars(n.s)->applied_lsn, 0);
    sn_node_free(&n);
    sn_world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_makes_them_by_interval),
        cmocka_unit_test(not_in_the_first_half_minute),
        cmocka_unit_test(both_conditions_must_hold),
        cmocka_unit_test(an_outage_heals),
        cmocka_unit_test(snapshots_of_others_become_known),
        cmocka_unit_test(requests),
        cmocka_unit_test(requests_wait_for_a_slot),
        cmocka_unit_test(no_repository),
        cmocka_unit_test(removal_answers_everything),
        cmocka_unit_test(a_store_that_the_log_continues_is_opened),
        cmocka_unit_test(it_waits_until_there_is_a_snapshot),
        cmocka_unit_test(without_a_repository_it_says_so),
        cmocka_unit_test(it_can_be_broken_off_at_any_moment),
        cmocka_unit_test(an_unfinished_import_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

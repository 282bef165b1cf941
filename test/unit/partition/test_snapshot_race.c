/* Several nodes publish to one repository at the same time, over a bucket that delays, refuses, loses and
 * answers late; nodes crash, change their mind, load. The bucket is watched: at every moment latest.json
 * names a complete snapshot and its LSN never decreases (T-b), whatever is loaded is the state at its LSN
 * (T-c). After healing everybody gets through and only what is retained is left. SNAPSHOT_SEEDS=n
 * SNAPSHOT_SEED=first. */
#include "unit/partition/snapshot_fixture.h"

struct run {
    struct snap_world w;
    struct snap_node nodes[NODES_MAX];
    size_t published, existed, failed, loads, crashes, cancels;
};

static uint64_t below(struct run *r, uint64_t n)
{
    return sim_env_random(&r->w.sim) % n;
}

static void settle(struct run *r, struct snap_node *n)
{
    if (!n->creating && n->created) {
        n->created = false;
        if (n->err.rc != RC_OK)
            r->failed++;
        else if (n->create.existed)
            r->existed++;
        else
            r->published++;
        if (n->err.rc == RC_OK)
            assert_true(n->create.status.archived <= n->create.ref.lsn);
    }
}

/* The log goes on somewhere else: a node that lags, or lost its database, catches up by a snapshot or the
 * log. */
static void load_into(struct run *r, struct snap_node *n)
{
    if (n->creating)
        return;
    lsn_t before = store_vars(n->s)->applied_lsn;
    sn_close_store(n, false);
    sn_load_start(n, below(r, before + 20));
    sn_wait(&r->w, &n->loaded);
    lsn_t applied;
    bool unfinished;
    struct err err = {0};
    assert_int_equal(store_peek_applied(n->kv, PARTITION, &applied, &unfinished, &err), RC_OK);
    if (n->err.rc == RC_OK) {
        assert_true(applied == n->load.lsn && !unfinished && applied >= before);
        r->loads++;
    } else {
        assert_true(!unfinished && applied == before); /* nothing was touched */
    }
    sn_open_store(n);
    assert_true(store_vars(n->s)->state_hash == r->w.hash_at[applied]);
}

static void crash(struct run *r, struct snap_node *n)
{
    r->crashes++;
    sn_crash(n);
    n->creating = NULL;
    n->created = false;
    sn_open_store(n);
}

static void act(struct run *r, struct snap_node *n)
{
    switch (below(r, 40)) {
    case 0 ... 9:
        if (n->s)
            sn_apply_to(n, MIN(store_vars(n->s)->applied_lsn + 1 + below(r, 5), LSN_MAX - 2));
        return;
    case 10 ... 15:
        if (!n->creating && store_vars(n->s)->applied_lsn)
            sn_create_start(n, below(r, 4) ? 0 : below(r, store_vars(n->s)->applied_lsn));
        return;
    case 16:
        crash(r, n);
        return;
    case 17:
        if (n->creating) {
            r->cancels++;
            snapshot_create_cancel(n->creating);
            sn_wait(&r->w, &n->created);
            if (below(r, 2)) { /* the store is not used any more */
                sn_close_store(n, false);
                sn_open_store(n);
            }
        }
        return;
    case 18:
        load_into(r, n);
        return;
    case 19:
        r->w.fault_percent = (unsigned)(below(r, 3) * below(r, 30));
        return;
    default:
        sim_env_advance(&r->w.sim, below(r, 200));
    }
}

/* Every node can publish and load again; only what is retained is left after the grace time. */
static void heal(struct run *r, unsigned retained)
{
    r->w.fault_percent = 0;
    for (size_t i = 0; i < NODES_MAX; i++) {
        if (r->nodes[i].creating)
            sn_wait(&r->w, &r->nodes[i].created);
        settle(r, &r->nodes[i]);
    }
    sim_env_advance(&r->w.sim, 2 * 60000);
    for (size_t round = 0; round < 2; round++) { /* the second sweeps what came late in the first */
        lsn_t to = r->w.latest_lsn + 10;
        for (size_t i = 0; i < NODES_MAX; i++, to++) {
            if (store_vars(r->nodes[i].s)->applied_lsn > to)
                to = store_vars(r->nodes[i].s)->applied_lsn;
            sn_apply_to(&r->nodes[i], to);
            if (sn_create(&r->nodes[i]) != RC_OK)
                fail_msg("%s", r->nodes[i].err.msg);
            assert_true(r->nodes[i].create.ref.lsn >= to);
        }
        sim_env_advance(&r->w.sim, 3000000);
    }
    assert_int_equal(sn_load_and_check(&r->w, 0), r->w.latest_lsn);
    assert_true(sn_directories(&r->w) <= retained);
}

static void run(uint64_t seed, bool verbose)
{
    static struct run r;
    memset(&r, 0, sizeof(r));
    sn_world_init(&r.w, seed, seed % 5 * 20);
    unsigned retained = 1 + (unsigned)(seed % 3);
    for (size_t i = 0; i < NODES_MAX; i++) {
        struct snap_node *n = &r.nodes[i];
        sn_node_init(n, &r.w);
        n->config.num_retained = retained;
        n->config.grace_ms = seed % 2 ? 0 : 5000;
        sn_close_repository(n);
        sn_open_repository(n);
    }
    r.w.fault_percent = (unsigned)below(&r, 40);
    for (int i = 0; i < 500; i++) {
        struct snap_node *n = &r.nodes[below(&r, NODES_MAX)];
        act(&r, n);
        settle(&r, n);
    }
    heal(&r, retained);
    if (verbose)
        print_message(
            "seed %llu: %zu published, %zu existed, %zu failed, %zu loads, %zu crashes, %zu cancels\n",
            (unsigned long long)seed, r.published, r.existed, r.failed, r.loads, r.crashes, r.cancels);
    for (size_t i = 0; i < NODES_MAX; i++)
        sn_node_free(&r.nodes[i]);
    sn_world_free(&r.w);
}

static void races(void **state)
{
    const char *from = getenv("SNAPSHOT_SEED"), *count = getenv("SNAPSHOT_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (count ? strtoull(count, NULL, 10) : 30); seed++)
        run(seed, from != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(races)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The snapshot repository: the life of snapshots as spec/cluster.md §6.3 tells it; a process that dies at
 * every step of creating, publishing and loading; damage at every byte of what is stored; snapshots of
 * others. */
#define _GNU_SOURCE /* memmem */
#include "unit/partition/snapshot_fixture.h"

static void create_load_prune(void **state)
{
    struct snap_world w;
    struct snap_node n;
    sn_world_init(&w, 1, 20);
    sn_node_init(&n, &w);
    n.config.num_retained = 2;
    sn_close_repository(&n);
    sn_open_repository(&n);
    assert_int_equal(sn_status(&n), RC_OK);
    assert_false(n.status.exists);
    assert_int_equal(sn_create(&n), RC_NOT_FOUND); /* nothing was applied yet */

    sn_apply_to(&n, 100);
    assert_int_equal(sn_create(&n), RC_OK);
    assert_false(n.create.existed);
    assert_int_equal(n.create.ref.lsn, 100);
    assert_int_equal(n.create.status.archived, 100);
    assert_int_equal(n.create.files, 1);
    /* nothing new: the same again, without an export */
    char id[RESOURCE_ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", n.create.ref.id);
    assert_int_equal(sn_create(&n), RC_OK);
    assert_true(n.create.existed);
    assert_string_equal(n.create.ref.id, id);
    /* at or above the target: as good as a new one */
    sn_apply_to(&n, 150);
    sn_create_start(&n, 90);
    sn_wait(&w, &n.created);
    assert_true(n.create.existed);
    assert_int_equal(sn_load_and_check(&w, 0), 100);

    /* the archived LSN is that of the oldest that is retained */
    assert_int_equal(sn_create(&n), RC_OK);
    assert_int_equal(n.create.ref.lsn, 150);
    assert_int_equal(n.create.status.archived, 100);
    sn_apply_to(&n, 200);
    assert_int_equal(sn_create(&n), RC_OK);
    assert_int_equal(n.create.status.archived, 150);
    assert_int_equal(sn_status(&n), RC_OK);
    assert_true(n.status.exists);
    assert_int_equal(n.status.latest.lsn, 200);
    assert_int_equal(n.status.archived, 150);
    assert_int_equal(sn_load_and_check(&w, 150), 200);

    /* what is no longer retained stays for the grace time, then it goes (TR-11) */
    assert_int_equal(sn_directories(&w), 3);
    sim_env_advance(&w.sim, 250000);
    assert_int_equal(sn_directories(&w), 3);
    sim_env_advance(&w.sim, 100000);
    assert_int_equal(sn_directories(&w), 2);
    assert_int_equal(sn_load_and_check(&w, 0), 200);
    sn_node_free(&n);
    sn_world_free(&w);
}

static void what_a_loader_is_told(void **state)
{
    struct snap_world w;
    struct snap_node n, other;
    sn_world_init(&w, 2, 5);
    sn_node_init(&n, &w);
    sn_node_init(&other, &w);
    sn_close_store(&other, true);
    assert_int_equal(sn_load(&other, 0), RC_NOT_FOUND);
    sn_apply_to(&n, 50);
    assert_int_equal(sn_create(&n), RC_OK);
    assert_int_equal(sn_load(&other, 51), RC_TRIMMED);
    assert_non_null(
        strstr(other.err.msg, "The latest available snapshot is from an LSN before the target LSN!"));
    assert_int_equal(sn_load(&other, 50), RC_OK);
    sn_open_store(&other);
    sn_apply_to(&other, 60);
    sn_close_store(&other, false);
    assert_int_equal(sn_load(&other, 50), RC_CONFLICT); /* T-d: never back */
    sn_open_store(&other);
    sn_check_content(&other, 60);
    /* an unreachable repository */
    w.fault_percent = 100;
    sn_close_store(&other, false);
    sn_load(&other, 50);
    assert_true(other.err.rc == RC_UNAVAILABLE || other.err.rc == RC_TIMEOUT);
    sn_create(&n);
    assert_true(n.err.rc == RC_UNAVAILABLE || n.err.rc == RC_TIMEOUT);
    w.fault_percent = 0;
    sn_node_free(&n);
    sn_node_free(&other);
    sn_world_free(&w);
}

static void snapshots_of_others_are_refused(void **state)
{
    struct snap_world w;
    struct snap_node n, other;
    sn_world_init(&w, 3, 5);
    sn_node_init(&n, &w);
    sn_apply_to(&n, 50);
    assert_int_equal(sn_create(&n), RC_OK);
    static const struct {
        const char *name;
        uint64_t fingerprint;
        const char *message;
    } cases[] = {
        {"other", FINGERPRINT, "belongs to cluster 'test', this is cluster 'other'"},
        {"test", 5, "its fingerprint is 13578661352296356999, ours is 5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        sn_node_init(&other, &w);
        other.config.cluster_name = cases[i].name;
        other.config.fingerprint = cases[i].fingerprint;
        sn_close_repository(&other);
        sn_open_repository(&other);
        assert_int_equal(sn_status(&other), RC_CONFLICT);
        sn_apply_to(&other, 60);
        assert_int_equal(sn_create(&other), RC_CONFLICT);
        assert_non_null(strstr(other.err.msg, cases[i].message));
        sn_close_store(&other, true);
        assert_int_equal(sn_load(&other, 0), RC_CONFLICT);
        assert_non_null(strstr(other.err.msg, cases[i].message));
        sn_node_free(&other);
    }
    /* The reference's data files: the same documents, another comparator (spec/cluster.md §13.3). */
    w.tampered = true;
    char key[300];
    snprintf(key, sizeof(key), KEY_PREFIX "%s/metadata.json", n.create.ref.path);
    struct bytes text = memory_objects_peek(w.bucket, key);
    struct writer doc = WRITER_INIT;
    write_slice_raw(&doc, bytes_slice(text));
    uint8_t *at = memmem(doc.buf->data, doc.len, SNAPSHOT_COMPARATOR, strlen(SNAPSHOT_COMPARATOR));
    memcpy(at, "leveldb.BytewiseCompa", strlen(SNAPSHOT_COMPARATOR));
    memory_objects_poke(w.bucket, key, writer_take(&doc));
    sn_node_init(&other, &w);
    sn_close_store(&other, true);
    assert_int_equal(sn_load(&other, 0), RC_UNSUPPORTED);
    assert_non_null(strstr(other.err.msg, "another implementation"));
    sn_node_free(&other);
    sn_node_free(&n);
    sn_world_free(&w);
}

/* ---- death at every step ---- */

/* Run until the operation number `stop_at` was submitted; true: it was. */
static bool run_to_stop(struct snap_world *w, const bool *end)
{
    for (int i = 0; i < 100000 && !*end; i++) {
        if (w->stop_at && w->ops >= w->stop_at)
            return true;
        sim_env_run(&w->sim);
        if (w->stop_at && w->ops >= w->stop_at)
            return true;
        sim_env_next(&w->sim, 1000);
    }
    return false;
}

/* A node dies when it has submitted its k-th operation of a creation, which happens, is lost, or happens
 * late. Whatever was left behind: there is a snapshot to load, the next creation works, and nothing is left
 * over. */
static void death_during_create(void **state)
{
    static const enum object_fault faults[] = {OBJECT_FAULT_NONE, OBJECT_FAULT_LOST, OBJECT_FAULT_LATE,
                                               OBJECT_FAULT_LOST_ANSWER};
    size_t deaths = 0;
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        bool stopped = true;
        for (size_t k = 1; stopped; k++) {
            struct snap_world w;
            struct snap_node n, next;
            sn_world_init(&w, 100 + k, 3);
            sn_node_init(&n, &w);
            sn_apply_to(&n, 40);
            assert_int_equal(sn_create(&n), RC_OK);
            sn_apply_to(&n, 80);
            w.stop_at = w.ops + k;
            w.stop_fault = faults[f];
            sn_create_start(&n, 0);
            stopped = run_to_stop(&w, &n.created);
            w.stop_at = 0;
            if (stopped) {
                sim_env_advance(&w.sim, k % 3); /* perhaps it has happened already */
                sn_crash(&n);
                deaths++;
            }
            lsn_t lsn = sn_load_and_check(&w, 0);
            assert_true(lsn == 40 || lsn == 80);
            /* somebody else leads now */
            sn_node_init(&next, &w);
            sn_apply_to(&next, 60);
            assert_int_equal(sn_create(&next), RC_OK);
            sn_apply_to(&next, 90);
            assert_int_equal(sn_create(&next), RC_OK);
            sim_env_advance(&w.sim, 1000000); /* late ones, grace */
            assert_int_equal(sn_load_and_check(&w, 0), 90);
            sn_apply_to(&next, 91); /* another round, for what came late */
            assert_int_equal(sn_create(&next), RC_OK);
            sim_env_advance(&w.sim, 1000000);
            assert_int_equal(sn_directories(&w), 1);
            sn_node_free(&next);
            sn_node_free(&n);
            sn_world_free(&w);
        }
    }
    assert_true(deaths >= 4 * 5);
}

/* The machine dies after m events of a load; then the load is done again, into whatever is there. */
static void death_during_load(void **state)
{
    struct snap_world w;
    struct snap_node n;
    sn_world_init(&w, 5, 3);
    sn_node_init(&n, &w);
    sn_apply_to(&n, 80);
    assert_int_equal(sn_create(&n), RC_OK);
    bool finished = false;
    size_t unfinished_seen = 0;
    for (size_t m = 0; !finished; m++) {
        struct snap_node x;
        sn_node_init(&x, &w);
        sn_apply_to(&x, 10);
        sn_close_store(&x, false);
        sn_load_start(&x, 50);
        for (size_t i = 0; i < m && !x.loaded; i++) {
            if (list_empty(&w.sim.tasks))
                sim_env_next(&w.sim, 1000);
            else { /* one task at a time, in order */
                struct list *t = list_pop_front(&w.sim.tasks);
                struct env_task *task = CONTAINER_OF(t, struct env_task, link);
                task->run(task);
            }
        }
        finished = x.loaded;
        sn_crash(&x);
        lsn_t applied;
        bool unfinished;
        struct err err = {0};
        assert_int_equal(store_peek_applied(x.kv, PARTITION, &applied, &unfinished, &err), RC_OK);
        unfinished_seen += unfinished;
        assert_true(unfinished || applied == 10 || applied == 80);
        if (applied != 80) {
            /* what a dead process left in the scratch space is removed at the start of the next one */
            const char *key;
            while ((key = memory_objects_next(x.scratch_bucket, NULL)))
                memory_objects_remove(x.scratch_bucket, key);
            if (sn_load(&x, 50) != RC_OK)
                fail_msg("%s", x.err.msg);
        }
        sn_open_store(&x);
        sn_check_content(&x, 80);
        sn_apply_to(&x, 85);
        sn_node_free(&x);
    }
    sn_node_free(&n);
    sn_world_free(&w);
}

/* ---- damage ---- */

static void poke(struct snap_world *w, const char *key, struct slice content)
{
    memory_objects_poke(w->bucket, key, bytes_copy(content));
}

/* Every cut and a flip of every byte of every object of the newer of two snapshots: the older one is used
 * where the damage matters; never is a damaged state imported. */
static void every_damage_is_survived(void **state)
{
    struct snap_world w;
    struct snap_node n;
    sn_world_init(&w, 6, 0);
    sn_node_init(&n, &w);
    n.config.num_retained = 2;
    sn_close_repository(&n);
    sn_open_repository(&n);
    sn_apply_to(&n, 3);
    assert_int_equal(sn_create(&n), RC_OK);
    sn_apply_to(&n, 5);
    assert_int_equal(sn_create(&n), RC_OK);
    w.tampered = true;
    static const char *const names[] = {"/metadata.json", "/000000.data", NULL};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char key[300];
        snprintf(key, sizeof(key), KEY_PREFIX "%s%s", n.create.ref.path, names[i] ? names[i] : "");
        if (!names[i])
            snprintf(key, sizeof(key), LATEST);
        struct bytes good = bytes_ref(memory_objects_peek(w.bucket, key));
        size_t old = 0, new = 0;
        for (size_t at = 0; at < good.len; at++) {
            poke(&w, key, slice_sub(bytes_slice(good), 0, at));
            lsn_t lsn = sn_load_and_check(&w, 0);
            /* without latest.json the newest complete one is found by looking */
            assert_int_equal(lsn, names[i] ? 3 : 5);
            struct bytes bad = bytes_copy(bytes_slice(good));
            ((uint8_t *)bad.ptr)[at] ^= (uint8_t)(1 << at % 8);
            memory_objects_poke(w.bucket, key, bad);
            struct snap_node x;
            sn_node_init(&x, &w);
            sn_close_store(&x, true);
            enum rc rc = sn_load(&x, 0);
            if (rc == RC_OK) {
                sn_open_store(&x);
                sn_check_content(&x, x.load.lsn);
                old += x.load.lsn == 3;
                new += x.load.lsn == 5;
            } else { /* cluster name or fingerprint of latest.json */
                assert_null(names[i]);
                assert_true(rc == RC_CONFLICT || rc == RC_UNSUPPORTED);
            }
            sn_node_free(&x);
        }
        if (i == 1)
            assert_int_equal(new, 0); /* no byte of a data file is without its checksum */
        assert_true(i == 2 || old > good.len / 2);
        memory_objects_remove(w.bucket, key);
        if (names[i]) {
            assert_int_equal(sn_load_and_check(&w, 0), 3);
        } else {
            struct snap_node x;
            sn_node_init(&x, &w);
            sn_close_store(&x, true);
            assert_int_equal(sn_load(&x, 0), RC_NOT_FOUND);
            sn_node_free(&x);
        }
        memory_objects_poke(w.bucket, key, good);
        assert_int_equal(sn_load_and_check(&w, 0), 5);
    }
    /* the next snapshot replaces a damaged latest.json */
    poke(&w, LATEST, SLICE_LIT("{\"version\": \"V2\", \"part"));
    sn_apply_to(&n, 6);
    assert_int_equal(sn_create(&n), RC_OK);
    assert_int_equal(sn_load_and_check(&w, 6), 6);
    sn_node_free(&n);
    sn_world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_load_prune),
        cmocka_unit_test(what_a_loader_is_told),
        cmocka_unit_test(snapshots_of_others_are_refused),
        cmocka_unit_test(death_during_create),
        cmocka_unit_test(death_during_load),
        cmocka_unit_test(every_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

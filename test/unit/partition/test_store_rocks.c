/* What only RocksDB can show: space of expired values returns by compaction, a killed process finds a
 * consistent prefix, partitions share one database without seeing each other, opening is quick, an empty
 * database is small, large state is written once. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/time.h"
#include "partition/rocks_internal.h"
#include "unit/partition/store_fixture.h"

static const struct slice svc = {(const uint8_t *)"svc", 3}, key = {(const uint8_t *)"k", 1};

static struct sf_spec spec_of(enum target_kind kind, uint64_t completion_ms, uint64_t journal_ms)
{
    return (struct sf_spec){
        .target = {kind, svc, SLICE_LIT("run"), kind == TARGET_SERVICE ? SLICE_EMPTY : key, {0}},
        .completion_retention_ms = completion_ms,
        .journal_retention_ms = journal_ms,
        .input = SLICE_LIT("\x72\x02\x0a\x00")};
}

static void put_completed(struct store_fixture *f, uint64_t n, struct sf_spec spec, size_t journal_bytes)
{
    sf_begin(f);
    struct invocation *inv = sf_create(f->s, sf_id(n), &spec, f->now_ms);
    struct journal_entry run = {.type = MSG_RUN, .payload = sf_fill(journal_bytes, n)};
    store_journal_append(f->s, inv, &run);
    sf_complete(f->s, inv, bytes_copy(SLICE_LIT("result")), f->now_ms);
    sf_end(f);
}

/* Bytes of all stored invocations. */
static size_t stored_bytes(struct store_fixture *f, size_t *rows)
{
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    key_begin(&from, f->config.partition_id, TABLE_INVOCATION);
    key_begin(&to, f->config.partition_id, TABLE_INVOCATION + 1);
    struct kv_iter *it = f->kv->ops->iter_new(f->kv, writer_slice(&from), writer_slice(&to));
    struct slice k, v;
    size_t bytes = 0;
    *rows = 0;
    while (f->kv->ops->iter_next(it, &k, &v)) {
        ++*rows;
        bytes += v.len;
    }
    f->kv->ops->iter_free(it);
    writer_free(&from);
    writer_free(&to);
    return bytes;
}

static void pass_time(struct store_fixture *f, uint64_t ms)
{
    f->now_ms += ms;
    sf_begin(f);
    sf_end(f);
    sf_flush(f);
}

/* Expired by durable record time: the value goes, or its journal; before that nothing goes; workflow runs
 * stay. */
static void expired_values_are_compacted_away(void **state)
{
    struct store_fixture f;
    sf_init(&f, true);
    for (uint64_t i = 0; i < 100; i++)
        put_completed(&f, i, spec_of(TARGET_SERVICE, 60000, 10000), 1000);
    for (uint64_t i = 100; i < 120; i++)
        put_completed(&f, i, spec_of(TARGET_WORKFLOW_RUN, 60000, 10000), 1000);
    sf_evict(&f);
    size_t rows;
    rocksdb_compact_range(f.db->db, NULL, 0, NULL, 0);
    assert_true(stored_bytes(&f, &rows) > 120 * 1000);
    assert_int_equal(rows, 120);
    pass_time(&f, 10000);
    rocksdb_compact_range(f.db->db, NULL, 0, NULL, 0);
    assert_true(stored_bytes(&f, &rows) < 120 * 200);
    assert_int_equal(rows, 120);
    struct invocation *inv = store_invocation_get(f.s, sf_id(7));
    assert_non_null(inv);
    assert_true(inv->journal_purged);
    assert_true(slice_eq_cstr(inv->result.value, "result"));
    pass_time(&f, 49999);
    rocksdb_compact_range(f.db->db, NULL, 0, NULL, 0);
    stored_bytes(&f, &rows);
    assert_int_equal(rows, 120);
    /* Applied but not durable time does not count. */
    f.now_ms += 1;
    sf_begin(&f);
    sf_end(&f);
    rocksdb_compact_range(f.db->db, NULL, 0, NULL, 0);
    stored_bytes(&f, &rows);
    assert_int_equal(rows, 120);
    sf_flush(&f);
    rocksdb_compact_range(f.db->db, NULL, 0, NULL, 0);
    stored_bytes(&f, &rows);
    assert_int_equal(rows, 20);
    assert_null(store_invocation_get(f.s, sf_id(7)));
    assert_non_null(store_invocation_get(f.s, sf_id(107)));
    sf_free(&f);
}

struct asked {
    struct rocks_compaction c;
    struct store_fixture *f;
    enum rc rc;
    int *left;
};

static void compacted(struct rocks_compaction *c, const struct err *err)
{
    struct asked *a = CONTAINER_OF(c, struct asked, c);
    a->rc = err ? err->rc : RC_OK;
    if (--*a->left == 0)
        sf_stop_loop(a->f);
}

/* Two at once are done one after the other; after the stop there are no others. */
static void compaction_on_request(void **state)
{
    struct store_fixture f;
    int left = 2;
    size_t rows;
    sf_init(&f, true);
    for (uint64_t i = 0; i < 50; i++)
        put_completed(&f, i, spec_of(TARGET_SERVICE, 10000, 10000), 1000);
    sf_evict(&f);
    pass_time(&f, 20000);
    struct asked a[2];
    for (int i = 0; i < 2; i++) {
        a[i] = (struct asked){.f = &f, .rc = RC_INTERNAL, .left = &left};
        a[i].c.loop = f.loop;
        a[i].c.done = compacted;
        a[i].c.bottommost = i == 0 ? ROCKS_IF_HAVE_FILTER : ROCKS_FORCE;
        a[i].c.change_level = i == 1;
        rocks_db_compact(f.db, &a[i].c);
    }
    sf_wait(&f);
    assert_true(a[0].rc == RC_OK && a[1].rc == RC_OK);
    stored_bytes(&f, &rows);
    assert_int_equal(rows, 0);
    rocks_db_compact_stop(f.db);
    left = 1;
    a[0].rc = RC_OK;
    rocks_db_compact(f.db, &a[0].c);
    sf_wait(&f);
    assert_int_equal(a[0].rc, RC_CANCELED);
    sf_free(&f);
}

static void put_state(struct store_fixture *f, const char *value)
{
    sf_begin(f);
    store_state_put(f->s, svc, key, SLICE_LIT("s"), bytes_copy(slice_cstr(value)));
    sf_end(f);
}

/* A process that is killed after a sync and a later write without one: the store comes back at the sync, data
 * and LSN agree. */
static void killed_between_write_and_sync(void **state)
{
    char dir[] = "/tmp/store-crash-XXXXXX";
    assert_non_null(mkdtemp(dir));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store_fixture f;
        memset(&f, 0, sizeof(f));
        f.rocks = true;
        f.now_ms = 5;
        f.config =
            (struct store_config){.partition_id = 1, .key_end = UINT64_MAX, .flush_interval_ms = 10000};
        snprintf(f.dir, sizeof(f.dir), "%s", dir);
        f.loop = loop_new("child");
        f.env = loop_env(f.loop);
        sf_open_backend(&f);
        sf_open_store(&f);
        put_state(&f, "durable");
        sf_flush(&f);
        if (store_durable_lsn(f.s) != 1)
            _exit(3);
        put_state(&f, "lost");
        f.s->flush_wanted = true;
        store_maintain(f.s); /* written to the memtable, not synced */
        for (int i = 0; i < 200 && f.s->written.lsn != 2; i++) {
            struct env_timer t;
            env_timer_init(&t, NULL);
            loop_stop(f.loop);
            loop_run(f.loop);
            usleep(5000);
        }
        _exit(f.s->written.lsn == 2 && store_durable_lsn(f.s) == 1 ? 0 : 4);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    struct store_fixture f;
    memset(&f, 0, sizeof(f));
    f.rocks = true;
    f.config = (struct store_config){.partition_id = 1, .key_end = UINT64_MAX, .flush_interval_ms = 10000};
    snprintf(f.dir, sizeof(f.dir), "%s", dir);
    f.loop = loop_new("parent");
    f.env = loop_env(f.loop);
    sf_open_backend(&f);
    sf_open_store(&f);
    assert_int_equal(store_vars(f.s)->applied_lsn, 1);
    struct bytes v;
    assert_true(store_state_get(f.s, svc, key, SLICE_LIT("s"), &v));
    assert_true(slice_eq_cstr(bytes_slice(v), "durable"));
    bytes_unref(&v);
    sf_free(&f);
}

/* ---- many partitions ---- */

enum { PARTITIONS = 24 };
static size_t flushed;
static void one_flushed(void *ctx, lsn_t durable)
{
    assert_int_equal(durable, 1);
    if (++flushed == PARTITIONS)
        loop_stop(ctx);
}
static void one_closed(void *ctx)
{
    if (++flushed == PARTITIONS)
        loop_stop(ctx);
}

static void partitions_share_a_database(void **state)
{
    struct store_fixture f;
    sf_init(&f, true);
    struct partition_store *stores[PARTITIONS];
    for (int round = 0; round < 2; round++) {
        struct err err = {0};
        for (uint16_t i = 0; i < PARTITIONS; i++) {
            struct store_config config = f.config;
            config.partition_id = (uint16_t)(i * 255 + 1);
            assert_int_equal(store_open(f.kv, f.env, &config, &stores[i], &err), RC_OK);
        }
        flushed = 0;
        for (uint16_t i = 0; i < PARTITIONS && round == 0; i++) {
            store_apply_begin(stores[i], 1, 1);
            store_state_put(stores[i], svc, key, SLICE_LIT("i"), bytes_copy(slice_make(&i, sizeof(i))));
            store_lock_set(stores[i], svc, key, sf_id(i));
            store_apply_end(stores[i]);
            store_flush(stores[i], one_flushed, f.loop);
        }
        if (round == 0)
            loop_run(f.loop);
        for (uint16_t i = 0; i < PARTITIONS; i++) {
            struct bytes v;
            assert_true(store_state_get(stores[i], svc, key, SLICE_LIT("i"), &v));
            assert_memory_equal(v.ptr, &i, sizeof(i));
            bytes_unref(&v);
        }
        flushed = 0;
        for (uint16_t i = 0; i < PARTITIONS; i++)
            store_close(stores[i], false, one_closed, f.loop);
        loop_run(f.loop);
    }
    sf_free(&f);
}

/* ---- footprint ---- */

static uint64_t disk_bytes(const char *dir)
{
    char command[128], line[64] = "";
    snprintf(command, sizeof(command), "du -sB1 %s", dir);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof(line), p));
    pclose(p);
    return strtoull(line, NULL, 10);
}

static void empty_is_small_and_opens_fast(void **state)
{
    struct store_fixture f;
    sf_init(&f, true);
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        sf_close_store(&f, false);
        sf_close_backend(&f);
        uint64_t start = os_mono_ns();
        sf_open_backend(&f);
        best_ns = MIN(best_ns, os_mono_ns() - start);
        sf_open_store(&f);
    }
    print_message("empty: %llu KiB on disk, opens in %.1f ms\n", (unsigned long long)disk_bytes(f.dir) >> 10,
                  (double)best_ns / 1e6);
    assert_true(disk_bytes(f.dir) < 256 << 10);
    assert_true(best_ns < 200000000);
    sf_free(&f);
}

/* One object with 1 MiB of state, read by many invocations whose journals contain the value. */
static void large_state_is_written_once(void **state)
{
    enum { OPS = 200, SIZE = 1 << 20 };
    struct store_fixture f;
    sf_init(&f, true);
    f.s->config.cache_bytes = 8 << 20;
    sf_begin(&f);
    store_state_put(f.s, svc, key, SLICE_LIT("big"), sf_fill(SIZE, 3));
    sf_end(&f);
    sf_flush(&f);
    uint64_t before = f.s->flushed_bytes;
    for (uint64_t i = 0; i < OPS; i++) {
        struct sf_spec spec = spec_of(TARGET_OBJECT_SHARED, 1000000, 1000000);
        sf_begin(&f);
        struct invocation *inv = sf_create(f.s, sf_id(i), &spec, f.now_ms);
        struct bytes v;
        assert_true(store_state_get(f.s, svc, key, SLICE_LIT("big"), &v));
        struct writer w = WRITER_INIT;
        pb_write_bytes(&w, 1, SLICE_LIT("big"));
        pb_write_len_header(&w, 14, pb_len_field_size(1, v.len));
        pb_write_bytes(&w, 1, bytes_slice(v));
        struct journal_entry e = {
            .type = MSG_GET_EAGER_STATE, .result = OUTCOME_SUCCESS, .payload = writer_take(&w)};
        bytes_unref(&v);
        store_journal_append(f.s, inv, &e);
        sf_complete(f.s, inv, bytes_copy(SLICE_LIT("ok")), f.now_ms);
        sf_end(&f);
        store_maintain(f.s);
        if (i % 20 == 19)
            sf_evict(&f);
    }
    sf_flush(&f);
    uint64_t per_op = (f.s->flushed_bytes - before) / OPS;
    print_message("1 MiB of state read %d times: %llu bytes written per operation\n", OPS,
                  (unsigned long long)per_op);
    assert_true(per_op < 10000);
    /* The value changes and goes; journals still have it, until they expire. */
    sf_begin(&f);
    store_state_put(f.s, svc, key, SLICE_LIT("big"), bytes_copy(SLICE_LIT("small")));
    sf_end(&f);
    sf_reopen(&f);
    struct invocation *inv = store_invocation_get(f.s, sf_id(5));
    assert_non_null(inv);
    assert_int_equal(inv->journal.len, 2);
    struct bytes want = sf_fill(SIZE, 3);
    struct slice payload = bytes_slice(inv->journal.items[1].payload);
    assert_true(slice_ends_with(payload, bytes_slice(want)));
    bytes_unref(&want);
    for (int i = 0; i < 3; i++)
        pass_time(&f, 500000);
    uint64_t id = inv->journal.items[1].blob_id;
    struct bytes content;
    assert_false(blob_content(f.s, id, &content));
    sf_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_between_write_and_sync), cmocka_unit_test(expired_values_are_compacted_away),
        cmocka_unit_test(partitions_share_a_database),   cmocka_unit_test(empty_is_small_and_opens_fast),
        cmocka_unit_test(large_state_is_written_once),   cmocka_unit_test(compaction_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

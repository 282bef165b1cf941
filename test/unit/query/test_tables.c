/* Tables over partitions (spec/sql.md §3, §7): rows, and how much is visited for them. */
#include "base/hash.h"
#include "unit/query/query_fixture.h"

static struct query_fixture f;

static struct invocation_id id_of(unsigned partition, uint64_t n)
{
    return (struct invocation_id){.partition_key = partition * (UINT64_MAX / QF_PARTITIONS + 1) + n,
                                  .uuid = {partition, n}};
}

static const char *text_of(struct invocation_id id)
{
    static char text[4][INVOCATION_ID_TEXT + 1];
    static unsigned next;
    char *t = text[next++ % 4];
    invocation_id_format(id, t);
    return t;
}

static struct invocation *create(unsigned partition, uint64_t n)
{
    struct bytes input = sf_input(bytes_copy(SLICE_LIT("\"hello\"")));
    struct sf_spec spec = {
        .target = {.kind = TARGET_SERVICE, .service = SLICE_LIT("Greeter"), .handler = SLICE_LIT("greet")},
        .completion_retention_ms = 86400000,
        .journal_retention_ms = 86400000,
        .input = bytes_slice(input)};
    struct invocation *inv = sf_create(f.stores[partition].s, id_of(partition, n), &spec, 999000);
    bytes_unref(&input);
    return inv;
}

/* Three invocations per partition: one completed, two invoked, of which partition 0 has one attempt. Half of
 * the partitions have written everything to the backend. */
static int setup(void **state)
{
    qf_init(&f);
    for (unsigned p = 0; p < QF_PARTITIONS; p++) {
        struct store_fixture *s = &f.stores[p];
        sf_begin(s);
        for (uint64_t n = 0; n < 3; n++) {
            struct invocation *inv = create(p, n);
            if (n == 0)
                sf_complete(s->s, inv, bytes_copy(SLICE_LIT("ok")), 999500);
        }
        store_state_put(s->s, SLICE_LIT("Counter"), SLICE_LIT("a"), SLICE_LIT("count"),
                        bytes_copy(SLICE_LIT("7")));
        sf_end(s);
        if (p % 2)
            sf_evict(s);
    }
    struct invocation_attempt_status status = {
        .in_flight = true, .retry_count = 1, .last_start_at_ms = 999100};
    query_attempts_add(&f.attempts, id_of(0, 1), &status);
    return 0;
}

static int teardown(void **state)
{
    qf_free(&f);
    return 0;
}

static void expectf(unsigned visits, const char *expected, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void expectf(unsigned visits, const char *expected, const char *fmt, ...)
{
    char sql[2000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof(sql), fmt, ap);
    va_end(ap);
    qf_expect(&f, sql, expected);
    if (f.visits != visits)
        fail_msg("%s\n  visited %u times instead of %u", sql, f.visits, visits);
}

static void all_partitions(void **state)
{
    expectf(4, "{\"status\":\"completed\",\"n\":4},{\"status\":\"invoked\",\"n\":8}",
            "select status, count(*) as n from sys_invocation_status group by status order by status");
    expectf(
        4,
        "{\"status\":\"completed\",\"n\":4},{\"status\":\"ready\",\"n\":7},{\"status\":\"running\",\"n\":1}",
        "select status, count(*) as n from sys_invocation group by status order by status");
    expectf(4, "{\"n\":12}", "select count(*) as n from sys_journal where entry_type = 'Command: Input'");
    expectf(4, "{\"n\":1,\"m\":1}", "select count(*) as n, max(retry_count) as m from sys_invocation_state");
    expectf(4, "{\"service_name\":\"Counter\",\"n\":4,\"v\":\"37\"}",
            "select service_name, count(*) as n, max(value) as v from state group by service_name");
}

static void point_lookups(void **state)
{
    expectf(1, "{\"status\":\"running\",\"created_at\":\"1970-01-01T00:16:39Z\"}",
            "select status, created_at from sys_invocation where id = '%s'", text_of(id_of(0, 1)));
    expectf(2, "{\"status\":\"completed\"},{\"status\":\"ready\"}",
            "select status from sys_invocation where id in ('%s', '%s') order by status",
            text_of(id_of(1, 0)), text_of(id_of(3, 2)));
    expectf(1, "", "select status from sys_invocation where id = '%s'", text_of(id_of(2, 77)));
    expectf(1, "{\"index\":0,\"raw_length\":11}", "select index, raw_length from sys_journal where id = '%s'",
            text_of(id_of(1, 2)));
    expectf(1, "", "select key from state where service_name = 'Counter' and service_key = 'zzz'");
    expectf(1, "{\"n\":1}", "select count(*) as n from sys_invocation_status where partition_key = %llu",
            (unsigned long long)id_of(2, 1).partition_key);
}

/* A join asks for single attempts first, then for all of a partition at once. */
static void joins(void **state)
{
    qf_expect(&f,
              "select count(*) as n, sum(case when s.in_flight then 1 else 0 end) as r from "
              "sys_invocation_status i "
              "left join sys_invocation_state s on s.id = i.id",
              "{\"n\":12,\"r\":1}");
    assert_in_range(f.visits, 4, 4 + 12 * (f.remote_from < QF_PARTITIONS ? 2 : 1));
    qf_expect(&f,
              "select i.status, j.index from sys_invocation i join sys_journal j on i.id = j.id where "
              "i.status = 'running'",
              "{\"status\":\"running\",\"index\":0}");
}

static struct invocation *create_scoped(const char *scope, const char *service, uint64_t n)
{
    struct bytes input = sf_input(bytes_copy(SLICE_LIT("1")));
    uint64_t key = partition_key_of_key(slice_cstr(scope));
    struct sf_spec spec = {.target = {.kind = TARGET_SERVICE,
                                      .service = slice_cstr(service),
                                      .handler = SLICE_LIT("run"),
                                      .scope = slice_cstr(scope)},
                           .completion_retention_ms = 86400000,
                           .journal_retention_ms = 86400000,
                           .input = bytes_slice(input)};
    struct invocation *inv =
        sf_create(f.stores[qf_of(&f, key)].s, (struct invocation_id){key, {1000, n}}, &spec, 1000 * n);
    inv->queue = (struct queue_history){.attempts = 1,
                                        .first_attempt_at = 1000 * n + 1,
                                        .latest_attempt_at = 1000 * n + 2,
                                        .moved_at = 1000 * n + 3};
    bytes_unref(&input);
    return inv;
}

/* Entries of two queues of one scope, and a pause of a queue that nobody knows. */
static void queues(void **state)
{
    uint64_t key = partition_key_of_key(SLICE_LIT("acme"));
    struct store_fixture *s = &f.stores[qf_of(&f, key)];
    struct limit_address a = {.scope = SLICE_LIT("acme"), .service = SLICE_LIT("A")};
    char id[QUEUE_ID_TEXT + 1], entry[INVOCATION_ID_TEXT + 1], expected[200];
    static const enum invocation_status statuses[] = {INV_SCHEDULED, INV_INVOKED, INV_SUSPENDED,
                                                      INV_PAUSED,    INV_INVOKED, INV_INVOKED};
    struct invocation *inv = NULL;
    sf_begin(s);
    for (uint64_t n = 1; n <= ARRAY_LEN(statuses); n++) {
        inv = create_scoped("acme", n == 5 ? "B" : "A", n);
        inv->status = statuses[n - 1];
        store_invocation_changed(s->s, inv);
    }
    sf_complete(s->s, inv, bytes_copy(SLICE_LIT("ok")), 9000);
    queue_id_format(limits_queue_id(&a), id);
    invocation_id_format(inv->id, entry);
    assert_true(store_queue_pause(s->s, limits_queue_id(&a)));
    assert_true(store_queue_pause(s->s, (struct invocation_id){key, {7, 7}}));
    sf_end(s);
    for (int remote = 0; remote <= 1; remote++) {
        f.remote_from = remote ? 0 : QF_PARTITIONS;
        qf_expect(
            &f,
            "select service_name, is_active, queue_is_paused, created_at, last_start_at, num_inbox as i, "
            "num_running as r, num_suspended as s, num_paused as p, num_finished as f from "
            "sys_vqueue_meta order by service_name",
            "{\"service_name\":\"A\",\"is_active\":true,\"queue_is_paused\":true,\"created_at\":\"1970-01-"
            "01T00:00:01Z\","
            "\"last_start_at\":\"1970-01-01T00:00:06.001Z\",\"i\":1,\"r\":1,\"s\":1,\"p\":1,\"f\":1},"
            "{\"service_name\":\"B\",\"is_active\":true,\"queue_is_paused\":false,\"created_at\":\"1970-01-"
            "01T00:00:05Z\","
            "\"last_start_at\":\"1970-01-01T00:00:05.001Z\",\"i\":0,\"r\":1,\"s\":0,\"p\":0,\"f\":0},"
            "{\"is_active\":false,\"queue_is_paused\":true,\"i\":0,\"r\":0,\"s\":0,\"p\":0,\"f\":0}");
        expectf(1, "{\"n\":2}", "select count(*) as n from sys_vqueue_meta where scope = 'acme'");
        snprintf(expected, sizeof(expected),
                 "{\"id\":\"%s\",\"stage\":\"finished\",\"status\":\"succeeded\"}", id);
        expectf(1, expected, "select id, stage, status from sys_vqueues where entry_id = '%s'", entry);
        qf_expect(&f, "select count(*) as n from sys_vqueues where stage != 'finished'", "{\"n\":5}");
        qf_expect(&f, "select count(*) as n from sys_vqueue_entry_status where stage = 'finished'",
                  "{\"n\":1}");
        snprintf(expected, sizeof(expected), "{\"vqueue_id\":\"%s\"}", id);
        expectf(1, expected, "select vqueue_id from sys_invocation where id = '%s'", entry);
    }
    f.remote_from = QF_PARTITIONS;
}

/* The same answers when another node leads half of the partitions, or all of them. */
static void partitions_of_another_node(void **state)
{
    for (unsigned from = 0; from <= 2; from += 2) {
        f.remote_from = from;
        all_partitions(state);
        point_lookups(state);
        joins(state);
        assert_true(f.remote_scans > 10);
    }
    f.break_after = 1;
    qf_expect(&f, "select count(*) as n from sys_journal", "the connection to the leader was lost");
    f.break_after = 0;
    qf_expect(&f, "select 1 as x from sys_invocation_status limit 1", "{\"x\":1}");
    qf_expect(&f,
              "select status, count(*) as n from sys_invocation where status != 'completed' group by status "
              "order by 1",
              "{\"status\":\"ready\",\"n\":7},{\"status\":\"running\",\"n\":1}");
    f.remote_from = QF_PARTITIONS;
}

static void scan_requests(void **state)
{
    struct scan_request r = {.partition = 3,
                             .table = TABLE_STATE_ENTRIES,
                             .used = 0x85,
                             .now_ms = 77,
                             .by_object = true,
                             .service = SLICE_LIT("it's"),
                             .key = SLICE_LIT("k")},
                        out;
    struct writer w = WRITER_INIT;
    struct sql_plan plan;
    scan_request_encode(&w, &r);
    assert_true(scan_request_decode(writer_slice(&w), &out));
    assert_true(out.partition == 3 && out.used == 0x85 && out.now_ms == 77 &&
                slice_eq(out.service, r.service));
    scan_request_plan(&plan, &out);
    assert_string_equal(
        plan.text,
        "SELECT c0, NULL, c2, NULL, NULL, NULL, NULL, c7, NULL FROM v8 WHERE c2 = 'it''s' AND c3 = 'k'");
    sql_plan_free(&plan);
    for (size_t n = 0; n < w.len; n++)
        assert_false(scan_request_decode(slice_sub(writer_slice(&w), 0, n), &out));
    w.buf->data[1] = TABLE_NODES;
    assert_false(scan_request_decode(writer_slice(&w), &out));
    writer_free(&w);
}

static void limits_end_the_scan(void **state)
{
    qf_expect(&f, "select 1 as x from sys_invocation_status limit 1", "{\"x\":1}");
    assert_int_equal(f.visits, 1);
}

static void a_partition_without_leader(void **state)
{
    f.down = 2;
    qf_expect(&f, "select count(*) as n from sys_invocation", "partition 2 has no leader");
    expectf(1, "{\"status\":\"running\"}", "select status from sys_invocation where id = '%s'",
            text_of(id_of(0, 1)));
    qf_expect(&f, "select name from sys_service", "");
    f.down = QF_PARTITIONS;
}

static bool at_once(void *ctx)
{
    return true;
}

static void canceled(void **state)
{
    f.canceled = at_once;
    qf_expect(&f, "select count(*) as n from sys_invocation", "Execution error: the query was canceled");
    f.canceled = NULL;
}

static void rows_of_the_cluster(void **state)
{
    struct sql_error err;
    struct writer w =
        qf_run(&f, SQL_CONTEXT_CLUSTER, "select key, value, gen_node_id from config order by key desc",
               RESULT_JSON, &err);
    assert_true(
        slice_eq_cstr(writer_slice(&w),
                      "{\"rows\":[{\"key\":\"key-1\",\"value\":\"\"},{\"key\":\"key-0\",\"value\":\"\"}]}"));
    writer_free(&w);
    w = qf_run(&f, SQL_CONTEXT_CLUSTER, "select * from logs", RESULT_JSON, &err);
    assert_int_equal(err.kind, SQL_ERROR_EXECUTION);
    writer_free(&w);
    w = qf_run(&f, SQL_CONTEXT_CLUSTER, "select * from state", RESULT_JSON, &err);
    assert_int_equal(err.kind, SQL_ERROR_PLAN_POSITION);
    writer_free(&w);
}

/* The vector of spec/sql.md §9.3, but the column is not nullable (one byte). */
static void arrow_bytes(void **state)
{
    static const char expected[] =
        "ffffffff780000001000000000000a000c0008000b0004000a000000100000000400000108000800000004000800"
        "0000040000000100000014000000100014000c0013001200080000000400100000002c0000001c00000008000000"
        "00000200010000006100000008000c0004000b0008000000400000000000000100000000ffffffff880000001400"
        "0000000000000c001600120015000c0004000c0000000800000000000000140000000000040000030a0018000400"
        "140010000a0000000100000000000000000000002000000004000000010000000100000000000000000000000000"
        "00000000000002000000000000000000000000000000000000000000000000000000080000000000000001000000"
        "00000000ffffffff00000000";
    struct sql_error err;
    struct writer w = qf_run(&f, SQL_CONTEXT_ADMIN, "select 1 as a", RESULT_ARROW, &err), hex = WRITER_INIT;
    write_hex(&hex, writer_slice(&w));
    if (!slice_eq_cstr(writer_slice(&hex), expected))
        fail_msg("%.*s", SLICE_FMT(writer_slice(&hex)));
    writer_free(&w);
    writer_free(&hex);
}

static void rows_as_bytes(void **state)
{
    struct row_set s = {0};
    struct sql_value in[] = {{.kind = VALUE_NULL},
                             {.kind = VALUE_INT, .integer = INT64_MIN},
                             {.kind = VALUE_REAL, .real = -0.5},
                             {.kind = VALUE_TEXT, .bytes = SLICE_LIT("text")},
                             {.kind = VALUE_BLOB, .bytes = SLICE_LIT("\0\1")}};
    for (size_t i = 0; i < ARRAY_LEN(in); i++)
        row_value(&s, &in[i]);
    row_end(&s);
    struct sql_value out[ARRAY_LEN(in)];
    struct reader r = reader_make(writer_slice(&s.bytes));
    assert_true(row_read(&r, out, ARRAY_LEN(in)));
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        assert_int_equal(out[i].kind, in[i].kind);
        assert_int_equal(out[i].integer, in[i].integer);
        assert_true(out[i].real == in[i].real && slice_eq(out[i].bytes, in[i].bytes));
    }
    assert_false(row_read(&r, out, ARRAY_LEN(in)));
    assert_true(reader_done(&r));
    struct slice all = writer_slice(&s.bytes);
    for (size_t cut = 1; cut < all.len; cut++) {
        r = reader_make(slice_sub(all, 0, cut));
        assert_false(row_read(&r, out, ARRAY_LEN(in)));
    }
    row_set_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_partitions, setup, teardown),
        cmocka_unit_test_setup_teardown(point_lookups, setup, teardown),
        cmocka_unit_test_setup_teardown(joins, setup, teardown),
        cmocka_unit_test_setup_teardown(partitions_of_another_node, setup, teardown),
        cmocka_unit_test_setup_teardown(queues, setup, teardown),
        cmocka_unit_test(scan_requests),
        cmocka_unit_test_setup_teardown(limits_end_the_scan, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_without_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(canceled, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_the_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(arrow_bytes, setup, teardown),
        cmocka_unit_test(rows_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The rules of a key-value store (spec/cluster.md §2.2): preconditions, versions, order. They are those of
 * kv_table, which the members of the metadata servers apply. */
#include "unit/metadata/kv_call.h"
#include "unit/metadata/memory_kv.h"

static int setup(void **state)
{
    fake_env_init(&fenv);
    kv = memory_kv_new(&fenv.env);
    return 0;
}

static int teardown(void **state)
{
    kv_close(kv);
    fake_env_free(&fenv);
    return 0;
}

static const char *value_of(const char *key)
{
    static struct call c;
    c = get(key);
    return c.rc ? "-" : c.value;
}

static const char *list(const char *prefix)
{
    static struct call c;
    start(&c, KV_LIST, prefix, NULL, 0, KV_NONE, 0);
    run(&c);
    return c.keys;
}

static void preconditions(void **state)
{
    assert_int_equal(put("a", "1", 1, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put("a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(put("a", "2", 2, KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_string_equal(value_of("a"), "1");
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK);
    assert_int_equal(put("a", "3", 3, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put("a", "0", 1, KV_NONE, 0), RC_CONFLICT);
    assert_int_equal(put("a", "3", 7, KV_NONE, 0), RC_OK);
    assert_string_equal(value_of("a"), "3");
    assert_string_equal(value_of("b"), "-");
    assert_int_equal(put("", "3", 7, KV_NONE, 0), RC_INVALID);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 6), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 7), RC_OK);
    assert_string_equal(value_of("a"), "-");
}

/* Of several writers with the same precondition that wait together exactly one wins; the others see its
 * value. */
static void waiting_together(void **state)
{
    struct call c[5];
    start(&c[0], KV_PUT, "k", "x", 1, KV_DOES_NOT_EXIST, 0);
    start(&c[1], KV_PUT, "k", "y", 1, KV_DOES_NOT_EXIST, 0);
    start(&c[2], KV_PUT, "other", "z", 1, KV_DOES_NOT_EXIST, 0);
    start(&c[3], KV_GET, "k", NULL, 0, KV_NONE, 0);
    start(&c[4], KV_PUT, "k", "w", 2, KV_MATCHES_VERSION, 1);
    fake_env_run(&fenv);
    assert_int_equal(c[0].rc, RC_OK);
    assert_int_equal(c[1].rc, RC_CONFLICT);
    assert_int_equal(c[2].rc, RC_OK);
    assert_string_equal(c[3].value, "x");
    assert_int_equal(c[4].rc, RC_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(c[i].answered, 1);
}

static void lists_are_in_order_of_keys(void **state)
{
    put("p/2", "b", 1, KV_NONE, 0);
    put("p/1", "a", 4, KV_NONE, 0);
    put("q", "c", 1, KV_NONE, 0);
    assert_string_equal(list("p/"), "p/1@4=a p/2@1=b ");
    assert_string_equal(list(""), "p/1@4=a p/2@1=b q@1=c ");
}

/* What a snapshot holds is the whole table, and a broken one leaves it empty. */
static void a_table_is_written_and_read(void **state)
{
    struct kv_table a, b;
    struct kv_entry e;
    struct err err;
    struct writer w = WRITER_INIT;
    kv_table_init(&a);
    kv_table_init(&b);
    kv_table_put(&a, SLICE_LIT("x"), bytes_copy(SLICE_LIT("1")), 7);
    kv_table_put(&a, SLICE_LIT("y"), bytes_copy(SLICE_LIT("2")), 1);
    kv_table_write(&a, &w);
    assert_int_equal(kv_table_read(&b, writer_slice(&w), &err), RC_OK);
    assert_true(kv_table_get(&b, SLICE_LIT("x"), &e) && e.version == 7 && a.bytes == b.bytes);
    for (size_t cut = 1; cut < w.len; cut++) {
        enum rc rc = kv_table_read(&b, slice_make(writer_slice(&w).ptr, cut), &err);
        bool whole_entries = rc == RC_OK; /* only where an entry ends */
        assert_true(whole_entries ? kv_table_get(&b, SLICE_LIT("x"), &e) : rc == RC_CORRUPT && b.bytes == 0);
    }
    writer_free(&w);
    kv_table_free(&a);
    kv_table_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(preconditions, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_together, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_are_in_order_of_keys, setup, teardown),
        cmocka_unit_test(a_table_is_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The rules of a key-value store (spec/cluster.md §2.2): preconditions, versions, order. They are those of
 * kv_table, which the members of the metadata servers apply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/metadata/fake_env.h"
#include "unit/metadata/memory_kv.h"

static struct fake_env fenv;

static int setup(void **state)
{
    fake_env_init(&fenv);
    return 0;
}

static int teardown(void **state)
{
    fake_env_free(&fenv);
    return 0;
}

struct call {
    struct kv_op op;
    int answered;
    enum rc rc;
    uint32_t version;
    char value[64];
    char keys[256];
};

static void on_done(struct kv_op *op, const struct kv_result *r)
{
    struct call *c = CONTAINER_OF(op, struct call, op);
    c->answered++;
    c->rc = r->rc;
    c->version = r->entry.version;
    snprintf(c->value, sizeof(c->value), "%.*s", (int)r->entry.value.len, (const char *)r->entry.value.ptr);
    for (size_t i = 0; i < r->n_entries; i++)
        snprintf(c->keys + strlen(c->keys), sizeof(c->keys) - strlen(c->keys), "%.*s@%u ",
                 SLICE_FMT(r->entries[i].key), r->entries[i].version);
}

static struct kv *open_kv(void)
{
    return memory_kv_new(&fenv.env);
}

static void start(struct kv *kv, struct call *c, enum kv_op_kind kind, const char *key, const char *value,
                  uint32_t version, enum kv_precondition pre, uint32_t expected)
{
    memset(c, 0, sizeof(*c));
    c->op = (struct kv_op){.kind = kind,
                           .key = slice_cstr(key),
                           .version = version,
                           .precondition = pre,
                           .expected_version = expected,
                           .done = on_done};
    if (value)
        c->op.value = bytes_copy(slice_cstr(value));
    kv_submit(kv, &c->op);
    assert_int_equal(c->answered, 0);
}

static enum rc put(struct kv *kv, const char *key, const char *value, uint32_t version,
                   enum kv_precondition pre, uint32_t expected)
{
    struct call c;
    start(kv, &c, KV_PUT, key, value, version, pre, expected);
    fake_env_run(&fenv);
    assert_int_equal(c.answered, 1);
    return c.rc;
}

static const char *get(struct kv *kv, const char *key)
{
    static struct call c;
    start(kv, &c, KV_GET, key, NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    assert_int_equal(c.answered, 1);
    return c.rc ? "-" : c.value;
}

static const char *list(struct kv *kv, const char *prefix)
{
    static struct call c;
    start(kv, &c, KV_LIST, prefix, NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    return c.keys;
}

static void preconditions(void **state)
{
    struct kv *kv = open_kv();
    assert_int_equal(put(kv, "a", "1", 1, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(put(kv, "a", "2", 2, KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_string_equal(get(kv, "a"), "1");
    assert_int_equal(put(kv, "a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK);
    assert_int_equal(put(kv, "a", "3", 3, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "0", 1, KV_NONE, 0), RC_CONFLICT);
    assert_int_equal(put(kv, "a", "3", 7, KV_NONE, 0), RC_OK);
    assert_string_equal(get(kv, "a"), "3");
    assert_string_equal(get(kv, "b"), "-");
    assert_int_equal(put(kv, "", "3", 7, KV_NONE, 0), RC_INVALID);
    struct call c;
    start(kv, &c, KV_DELETE, "a", NULL, 0, KV_MATCHES_VERSION, 6);
    fake_env_run(&fenv);
    assert_int_equal(c.rc, RC_CONFLICT);
    start(kv, &c, KV_DELETE, "a", NULL, 0, KV_MATCHES_VERSION, 7);
    fake_env_run(&fenv);
    assert_int_equal(c.rc, RC_OK);
    assert_string_equal(get(kv, "a"), "-");
    kv_close(kv);
}

/* Of several writers with the same precondition that wait together exactly one wins; the others see its
 * value. */
static void waiting_together(void **state)
{
    struct kv *kv = open_kv();
    struct call c[5];
    start(kv, &c[0], KV_PUT, "k", "x", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[1], KV_PUT, "k", "y", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[2], KV_PUT, "other", "z", 1, KV_DOES_NOT_EXIST, 0);
    start(kv, &c[3], KV_GET, "k", NULL, 0, KV_NONE, 0);
    start(kv, &c[4], KV_PUT, "k", "w", 2, KV_MATCHES_VERSION, 1);
    fake_env_run(&fenv);
    assert_int_equal(c[0].rc, RC_OK);
    assert_int_equal(c[1].rc, RC_CONFLICT);
    assert_int_equal(c[2].rc, RC_OK);
    assert_string_equal(c[3].value, "x");
    assert_int_equal(c[4].rc, RC_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(c[i].answered, 1);
    kv_close(kv);
}

static void lists_are_in_order_of_keys(void **state)
{
    struct kv *kv = open_kv();
    put(kv, "p/2", "b", 1, KV_NONE, 0);
    put(kv, "p/1", "a", 4, KV_NONE, 0);
    put(kv, "q", "c", 1, KV_NONE, 0);
    assert_string_equal(list(kv, "p/"), "p/1@4 p/2@1 ");
    assert_string_equal(list(kv, ""), "p/1@4 p/2@1 q@1 ");
    kv_close(kv);
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

/* The etcd provider (metadata/etcd_client.h) against an etcd in memory: preconditions and versions, layout,
 * endpoints, undecided writes, lists, and what is not ours. */
#include "unit/metadata/fake_etcd.h"
#include "unit/metadata/kv_call.h"

static struct fake_etcd etcd;

static int setup(void **state)
{
    fake_env_init(&fenv);
    kv = fake_etcd_init(&etcd, &fenv.env, 3, 5);
    return 0;
}

static int teardown(void **state)
{
    kv_close(kv);
    fake_etcd_free(&etcd);
    fake_env_free(&fenv);
    return 0;
}

static void fail_next(enum fake_etcd_fault fault, unsigned n)
{
    etcd.fault = fault;
    etcd.n_faults = n;
}

static void fail_with(unsigned code, const char *text, unsigned n)
{
    fail_next(FAKE_ETCD_STATUS, n);
    etcd.status = code;
    etcd.status_text = text;
}

/* ---- preconditions ---- */

static void test_preconditions(void **state)
{
    check_preconditions();
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 2), RC_OK);
    assert_int_equal(get("a").rc, RC_NOT_FOUND);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 2), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_NONE, 0), RC_OK);
    assert_int_equal(etcd.n_keys, 0);
    assert_int_equal(put("a", "again", 3, KV_DOES_NOT_EXIST, 0), RC_OK);
}

static void somebody_writes(struct fake_etcd *f)
{
    fake_etcd_put(f, SLICE_LIT("b"), SLICE_LIT("theirs"));
    fake_etcd_put(f, SLICE_LIT("b::version"), slice_make("\x05\0\0\0", 4));
}

/* Without a precondition the version still does not go back, also when somebody is faster. */
static void test_blind_put(void **state)
{
    assert_int_equal(put("b", "one", 1, KV_NONE, 0), RC_OK);
    assert_int_equal(put("b", "three", 3, KV_NONE, 0), RC_OK);
    assert_int_equal(put("b", "same", 3, KV_NONE, 0), RC_OK);
    assert_int_equal(put("b", "x", 2, KV_NONE, 0), RC_CONFLICT);
    etcd.meanwhile = somebody_writes;
    assert_int_equal(put("b", "x", 4, KV_NONE, 0), RC_CONFLICT);
    assert_string_equal(get("b").value, "theirs");
    assert_int_equal(put("b", "six", 6, KV_NONE, 0), RC_OK);
}

static void test_layout(void **state)
{
    assert_int_equal(put("nodes_config", "v", 0x01020304, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(etcd.n_keys, 2);
    assert_true(slice_eq_cstr(bytes_slice(etcd.keys[0].key), "nodes_config"));
    assert_true(slice_eq_cstr(bytes_slice(etcd.keys[0].value), "v"));
    assert_true(slice_eq_cstr(bytes_slice(etcd.keys[1].key), "nodes_config::version"));
    assert_true(slice_eq(bytes_slice(etcd.keys[1].value), slice_make("\x04\x03\x02\x01", 4)));
}

static void test_limits(void **state)
{
    char key[KV_KEY_MAX + 2];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = 0;
    assert_int_equal(put(key, "v", 1, KV_NONE, 0), RC_INVALID);
    assert_int_equal(put("", "v", 1, KV_NONE, 0), RC_INVALID);
    assert_int_equal(put("x::version", "v", 1, KV_NONE, 0), RC_INVALID);
    assert_int_equal(get("x::version").rc, RC_INVALID);
    struct call c;
    start(&c, KV_PUT, "big", NULL, 1, KV_NONE, 0);
    c.op.value = bytes_take_buf(buf_new(KV_VALUE_MAX + 1), 0, KV_VALUE_MAX + 1);
    memset((void *)c.op.value.ptr, 0, c.op.value.len);
    assert_int_equal(run(&c), RC_TOO_LARGE);
    assert_int_equal(etcd.n_requests, 0);
}

/* Keys of others in the same etcd. */
static void test_not_ours(void **state)
{
    fake_etcd_put(&etcd, SLICE_LIT("p/alien"), SLICE_LIT("x"));
    fake_etcd_put(&etcd, SLICE_LIT("p/lost::version"), slice_make("\x05\0\0\0", 4));
    fake_etcd_put(&etcd, SLICE_LIT("p/odd"), SLICE_LIT("x"));
    fake_etcd_put(&etcd, SLICE_LIT("p/odd::version"),
                  SLICE_LIT("five"
                            "5"));
    assert_int_equal(put("p/a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(get("p/alien").rc, RC_CORRUPT);
    assert_int_equal(get("p/lost").rc, RC_CORRUPT);
    assert_int_equal(get("p/odd").rc, RC_CORRUPT);
    struct call c;
    start(&c, KV_LIST, "p/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "p/a@1=1 ");
}

/* ---- lists ---- */

static void test_list_pages(void **state)
{
    char key[16], expected[400] = "";
    for (unsigned i = 0; i < 11; i++) {
        snprintf(key, sizeof(key), "s/%02u%s", i, i % 3 ? "" : "!"); /* '!' sorts before ':' */
        assert_int_equal(put(key, "v", i + 1, KV_DOES_NOT_EXIST, 0), RC_OK);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s@%u=v ", key, i + 1);
    }
    put("r", "no", 1, KV_DOES_NOT_EXIST, 0);
    put("s0", "no", 1, KV_DOES_NOT_EXIST, 0);
    unsigned before = etcd.n_requests;
    struct call c;
    start(&c, KV_LIST, "s/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, expected);
    assert_int_equal(etcd.n_requests - before, 5); /* 22 keys, 5 a page */
    start(&c, KV_LIST, "", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_non_null(strstr(c.keys, "r@1=no "));
    start(&c, KV_LIST, "none/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "");
}

static void second_page_fails(struct fake_etcd *f)
{
    fail_with(GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", 1);
}

static void first_page_read(struct fake_etcd *f)
{
    f->meanwhile = second_page_fails; /* before the next one */
}

/* A page that fails: the list begins anew. */
static void test_list_again(void **state)
{
    for (unsigned i = 0; i < 6; i++) {
        char key[8];
        snprintf(key, sizeof(key), "s/%u", i);
        put(key, "v", 1, KV_DOES_NOT_EXIST, 0);
    }
    struct call c;
    unsigned before = etcd.n_requests;
    start(&c, KV_LIST, "s/", NULL, 0, KV_NONE, 0);
    etcd.meanwhile = first_page_read;
    assert_int_equal(run(&c), RC_OK);
    assert_int_equal(etcd.n_requests - before, 2 + 3);
    assert_string_equal(c.keys, "s/0@1=v s/1@1=v s/2@1=v s/3@1=v s/4@1=v s/5@1=v ");
}

/* ---- failures ---- */

static void test_next_endpoint(void **state)
{
    put("a", "1", 1, KV_DOES_NOT_EXIST, 0);
    assert_int_equal(etcd.last_endpoint, 0);
    etcd.fault_endpoint = 0;
    fail_next(FAKE_ETCD_LOST_BEFORE, 100);
    assert_string_equal(get("a").value, "1"); /* reads go on elsewhere, */
    assert_int_equal(etcd.last_endpoint, 1);
    etcd.fault_endpoint = 1;
    fail_next(FAKE_ETCD_UNSENT, 100);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK); /* and writes that were not sent */
    assert_int_equal(etcd.last_endpoint, 2);
    assert_int_equal(get("a").version, 2);
    assert_int_equal(etcd.last_endpoint, 2); /* and stay there */
}

static void test_undecided(void **state)
{
    assert_int_equal(put("a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    fail_next(FAKE_ETCD_LOST_BEFORE, 1);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_TIMEOUT);
    assert_int_equal(get("a").version, 1);
    fail_next(FAKE_ETCD_LOST_AFTER, 1);
    unsigned before = etcd.n_requests;
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_TIMEOUT);
    assert_int_equal(etcd.n_requests - before, 1); /* never twice */
    assert_int_equal(get("a").version, 2);
    fail_with(GRPC_UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure", 1);
    assert_int_equal(put("a", "3", 3, KV_MATCHES_VERSION, 2), RC_TIMEOUT);
    fail_with(GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", 1);
    assert_int_equal(put("a", "3", 3, KV_MATCHES_VERSION, 2), RC_TIMEOUT);
    fail_next(FAKE_ETCD_GARBAGE, 1);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 2), RC_TIMEOUT);
    assert_int_equal(get("a").rc, RC_NOT_FOUND);
}

/* Nothing was begun: it is tried again, not reported. */
static void test_not_begun(void **state)
{
    fail_with(GRPC_UNAVAILABLE, "etcdserver: no leader", 4);
    assert_int_equal(put("a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    fail_with(GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests", 4);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK);
    fail_with(GRPC_UNAVAILABLE, "etcdserver: request timed out", 2);
    assert_int_equal(get("a").version, 2);
}

static void test_refused(void **state)
{
    fail_with(GRPC_INVALID_ARGUMENT, "etcdserver: request is too large", 1);
    assert_int_equal(put("a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_TOO_LARGE);
    fail_with(GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty", 1);
    struct call c = get("a");
    assert_int_equal(c.rc, RC_INVALID);
    assert_string_equal(c.message, "etcd refuses: etcdserver: user name is empty");
    fail_next(FAKE_ETCD_GARBAGE, 1);
    assert_int_equal(get("a").rc, RC_CORRUPT);
}

static void test_gives_up(void **state)
{
    struct call c;
    fail_next(FAKE_ETCD_UNSENT, UINT32_MAX);
    uint64_t began = fenv.mono;
    start(&c, KV_PUT, "a", "1", 1, KV_DOES_NOT_EXIST, 0);
    assert_int_equal(run(&c), RC_UNAVAILABLE);
    assert_string_equal(c.message, "retries for operation on key 'a' exhausted; last error: connection lost");
    assert_in_range(fenv.mono - began, 10000, 10500);
}

static void test_bounded(void **state)
{
    static struct call calls[5000];
    unsigned refused = 0;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        start(&calls[i], KV_GET, "a", NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        assert_int_equal(calls[i].answered, 1);
        refused += calls[i].rc == RC_OVERLOADED;
    }
    assert_int_equal(refused, ARRAY_LEN(calls) - 4096);
}

static void test_stop(void **state)
{
    struct call pausing, late;
    fail_next(FAKE_ETCD_UNSENT, UINT32_MAX);
    start(&pausing, KV_GET, "a", NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    assert_int_equal(pausing.answered, 0);
    etcd_client_stop(etcd.client);
    assert_int_equal(pausing.rc, RC_CLOSED);
    start(&late, KV_GET, "a", NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    assert_int_equal(late.rc, RC_CLOSED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_preconditions), TEST(test_blind_put),  TEST(test_layout),     TEST(test_limits),
        TEST(test_not_ours),      TEST(test_list_pages), TEST(test_list_again), TEST(test_next_endpoint),
        TEST(test_undecided),     TEST(test_not_begun),  TEST(test_refused),    TEST(test_gives_up),
        TEST(test_bounded),       TEST(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The object-store provider of metadata (node/object_kv.h) on a bucket in memory: preconditions and versions,
 * tombstones, undecided and late writes, lists of one moment, names and contents, and the end. */
#include "node/object_kv.h"
#include "objects/memory_objects.h"
#include "unit/metadata/kv_call.h"

static struct memory_objects *bucket;
static struct object_store *store;
static struct object_kv *client;
static enum object_fault faults[64]; /* of the next operations */
static size_t n_faults, asked;
/* Before the operation with this number: what somebody else does. */
static size_t meanwhile_at;
static void (*meanwhile)(void);

static enum object_fault next_fault(void *ctx, const struct object_op *op)
{
    size_t i = asked++;
    if (meanwhile && i == meanwhile_at) {
        void (*run)(void) = meanwhile;
        meanwhile = NULL;
        run();
    }
    return i < n_faults ? faults[i] : OBJECT_FAULT_NONE;
}

static void no_faults(void)
{
    memset(faults, 0, sizeof(faults));
    n_faults = asked = 0;
    meanwhile = NULL;
}

/* The n-th operation of the store from now on. */
static void fault_at(size_t n, enum object_fault fault)
{
    no_faults();
    faults[n] = fault;
    n_faults = n + 1;
}

static void meanwhile_do(size_t n, void (*what)(void))
{
    no_faults();
    meanwhile_at = n;
    meanwhile = what;
}

static int setup(void **state)
{
    static const struct memory_objects_hooks hooks = {.fault = next_fault, .late_ms = 1000};
    static const struct object_retry_policy policy = {10, 100, 2.0, 4};
    fake_env_init(&fenv);
    no_faults();
    bucket = memory_objects_new(&fenv.env, &hooks);
    store = object_retry_new(&fenv.env, memory_objects_open(bucket), &policy);
    client = object_kv_new(&fenv.env, store, "meta/data");
    kv = object_kv_provider(client);
    return 0;
}

static void store_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int teardown(void **state)
{
    bool closed = false;
    if (store) {
        object_kv_stop(client);
        object_store_close(store, store_closed, &closed);
        for (int i = 0; i < 100 && !closed; i++)
            fake_env_advance(&fenv, 100);
        assert_true(closed);
        kv_close(kv);
    }
    memory_objects_free(bucket);
    fake_env_free(&fenv);
    return 0;
}

static void poke(const char *name, const char *value, uint32_t version)
{
    struct writer w = WRITER_INIT;
    struct object_value v = {.version = version, .value = slice_cstr(value)};
    object_value_write(&w, &v, 99);
    memory_objects_poke(bucket, name, writer_take(&w));
}

/* ---- preconditions ---- */

static void test_preconditions(void **state)
{
    check_preconditions();
    assert_int_equal(put("a", "x", 1, KV_NONE, 0), RC_CONFLICT);
    assert_int_equal(put("a", "four", 4, KV_NONE, 0), RC_OK);
    struct call c = get("a");
    assert_int_equal(c.rc, RC_OK);
    assert_int_equal(c.version, 4);
    assert_string_equal(c.value, "four");
}

static void test_tombstones(void **state)
{
    assert_int_equal(delete ("a", KV_NONE, 0), RC_OK); /* nothing there */
    assert_null(memory_objects_next(bucket, NULL));
    assert_int_equal(put("a", "one", 7, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 6), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 7), RC_OK);
    struct bytes content = memory_objects_peek(bucket, "meta/data/a");
    assert_int_equal(content.len, 14);
    assert_int_equal(content.ptr[0], 'd');
    assert_int_equal(content.ptr[10], 7);
    assert_int_equal(get("a").rc, RC_NOT_FOUND);
    assert_int_equal(put("a", "x", 8, KV_MATCHES_VERSION, 7), RC_CONFLICT);
    assert_int_equal(delete ("a", KV_DOES_NOT_EXIST, 0), RC_OK);
    struct call c;
    start(&c, KV_LIST, "", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "");
    assert_int_equal(put("a", "eight", 8, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_string_equal(get("a").value, "eight");
}

static void somebody_writes_b(void)
{
    poke("meta/data/b", "theirs", 5);
}

/* Between reading and writing somebody else writes: the precondition is judged again. */
static void test_outrun(void **state)
{
    assert_int_equal(put("b", "one", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    meanwhile_do(1, somebody_writes_b);
    assert_int_equal(put("b", "x", 2, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_string_equal(get("b").value, "theirs");
    meanwhile_do(1, somebody_writes_b); /* the same content, as far as that goes: written twice */
    assert_int_equal(put("b", "six", 6, KV_NONE, 0), RC_OK);
    assert_string_equal(get("b").value, "six");
}

/* ---- failures ---- */

static void test_refused_is_repeated(void **state)
{
    fault_at(0, OBJECT_FAULT_REFUSED);
    assert_int_equal(put("a", "1", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    fault_at(0, OBJECT_FAULT_LOST);
    assert_string_equal(get("a").value, "1"); /* a read, too */
}

static void test_undecided(void **state)
{
    put("a", "1", 1, KV_DOES_NOT_EXIST, 0);
    fault_at(1, OBJECT_FAULT_LOST);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_TIMEOUT);
    assert_int_equal(asked, 2); /* not repeated */
    assert_int_equal(get("a").version, 1);
    fault_at(1, OBJECT_FAULT_LOST_ANSWER);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_TIMEOUT);
    assert_int_equal(get("a").version, 2);
    fault_at(1, OBJECT_FAULT_LOST_ANSWER);
    assert_int_equal(delete ("a", KV_MATCHES_VERSION, 2), RC_TIMEOUT);
    assert_int_equal(get("a").rc, RC_NOT_FOUND);
}

/* A write that takes effect late finds the object that it replaces, or nothing happens. */
static void test_late(void **state)
{
    put("a", "1", 1, KV_DOES_NOT_EXIST, 0);
    fault_at(1, OBJECT_FAULT_LATE);
    assert_int_equal(put("a", "late", 2, KV_MATCHES_VERSION, 1), RC_TIMEOUT);
    no_faults();
    assert_int_equal(get("a").version, 1);
    assert_int_equal(put("a", "2", 2, KV_MATCHES_VERSION, 1), RC_OK);
    fake_env_advance(&fenv, 2000);
    assert_string_equal(get("a").value, "2");
}

static void test_gives_up(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        faults[i] = OBJECT_FAULT_LOST;
    n_faults = ARRAY_LEN(faults);
    assert_int_equal(get("a").rc, RC_UNAVAILABLE);
    assert_int_equal(put("a", "1", 1, KV_NONE, 0), RC_UNAVAILABLE); /* it was only read so far */
}

/* ---- lists ---- */

static void test_list(void **state)
{
    put("s/b", "2", 2, KV_NONE, 0);
    put("s/a", "1", 1, KV_NONE, 0);
    put("s/gone", "1", 1, KV_NONE, 0);
    delete ("s/gone", KV_NONE, 0);
    put("s0", "no", 1, KV_NONE, 0);
    put("s~\xc3\xa4", "odd", 3, KV_NONE, 0);
    memory_objects_poke(bucket, "meta/data/not ours", bytes_copy(SLICE_LIT("x")));
    memory_objects_poke(bucket, "meta/data/s!2f", bytes_copy(SLICE_LIT("x")));
    memory_objects_poke(bucket, "meta/dat", bytes_copy(SLICE_LIT("x")));
    struct call c;
    start(&c, KV_LIST, "s/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "s/a@1=1 s/b@2=2 ");
    start(&c, KV_LIST, "s", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "s/a@1=1 s/b@2=2 s0@1=no s~\xc3\xa4@3=odd ");
    fault_at(2, OBJECT_FAULT_LOST);
    start(&c, KV_LIST, "s/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_OK);
    assert_string_equal(c.keys, "s/a@1=1 s/b@2=2 ");
    memory_objects_poke(bucket, "meta/data/s!2Fbad", bytes_copy(SLICE_LIT("x")));
    start(&c, KV_LIST, "s/", NULL, 0, KV_NONE, 0);
    assert_int_equal(run(&c), RC_CORRUPT);
}

/* Both keys change together at this moment: the list has the old or the new values, never one of each. */
static void both_change(void)
{
    poke("meta/data/l!2Fa", "new", 2);
    poke("meta/data/l!2Fb", "new", 2);
}
static void one_comes(void)
{
    poke("meta/data/l!2Fc", "new", 2);
    poke("meta/data/l!2Fa", "new", 2);
}

static void test_list_of_one_moment(void **state)
{
    struct call c;
    for (size_t at = 0; at < 8; at++) {
        poke("meta/data/l!2Fa", "old", 1);
        poke("meta/data/l!2Fb", "old", 1);
        meanwhile_do(at, both_change);
        start(&c, KV_LIST, "l/", NULL, 0, KV_NONE, 0);
        assert_int_equal(run(&c), RC_OK);
        if (strcmp(c.keys, "l/a@1=old l/b@1=old ") != 0)
            assert_string_equal(c.keys, "l/a@2=new l/b@2=new ");
    }
    for (size_t at = 0; at < 8; at++) {
        poke("meta/data/l!2Fa", "old", 1);
        poke("meta/data/l!2Fb", "old", 1);
        memory_objects_remove(bucket, "meta/data/l!2Fc");
        meanwhile_do(at, one_comes);
        start(&c, KV_LIST, "l/", NULL, 0, KV_NONE, 0);
        assert_int_equal(run(&c), RC_OK);
        if (strcmp(c.keys, "l/a@1=old l/b@1=old ") != 0)
            assert_string_equal(c.keys, "l/a@2=new l/b@1=old l/c@2=new ");
    }
}

/* ---- names and contents ---- */

static void test_names(void **state)
{
    static const char *const pairs[][2] = {{"nodes_config", "p/nodes_config"},
                                           {"schema/head", "p/schema!2Fhead"},
                                           {"..", "p/!2E!2E"},
                                           {"a b!\x7f\xff", "p/a!20b!21!7F!FF"}};
    char name[OBJECT_KEY_MAX + 1], key[KV_KEY_MAX], big[KV_KEY_MAX];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        assert_true(object_kv_name(SLICE_LIT("p"), slice_cstr(pairs[i][0]), name));
        assert_string_equal(name, pairs[i][1]);
        assert_true(object_key_is_valid(name));
        assert_true(object_kv_key(slice_cstr(name + 2), key, &len));
        assert_true(slice_eq_cstr(slice_make(key, len), pairs[i][0]));
    }
    assert_true(object_kv_name(SLICE_EMPTY, SLICE_LIT("k"), name));
    assert_string_equal(name, "k");
    static const char *const bad[] = {"", "!", "!2", "!2f", "!41", "a!", "a/b", "a.b", "!G0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(object_kv_key(slice_cstr(bad[i]), key, &len));
    memset(big, '/', sizeof(big));
    assert_false(object_kv_name(SLICE_EMPTY, slice_make(big, sizeof(big)), name));
    assert_int_equal(put("", "v", 1, KV_NONE, 0), RC_INVALID);
}

static void test_contents(void **state)
{
    struct object_value v;
    struct err err;
    static const char good[] = "e\1ssssssss\4\3\2\1value";
    assert_int_equal(object_value_read(slice_make(good, sizeof(good) - 1), &v, &err), RC_OK);
    assert_int_equal(v.version, 0x01020304);
    assert_true(slice_eq_cstr(v.value, "value"));
    for (size_t n = 0; n < 14; n++)
        assert_int_equal(object_value_read(slice_make(good, n), &v, &err), RC_CORRUPT);
    assert_int_equal(object_value_read(SLICE_LIT("x\1ssssssss\4\3\2\1v"), &v, &err), RC_CORRUPT);
    assert_int_equal(object_value_read(SLICE_LIT("e\2ssssssss\4\3\2\1v"), &v, &err), RC_CORRUPT);
    assert_int_equal(object_value_read(SLICE_LIT("d\1ssssssss\4\3\2\1v"), &v, &err), RC_CORRUPT);
    memory_objects_poke(bucket, "meta/data/bad", bytes_copy(SLICE_LIT("e")));
    assert_int_equal(get("bad").rc, RC_CORRUPT);
    assert_int_equal(put("bad", "v", 1, KV_NONE, 0), RC_CORRUPT);
}

/* ---- the end ---- */

static void test_stop(void **state)
{
    struct call reading, late;
    start(&reading, KV_GET, "a", NULL, 0, KV_NONE, 0);
    object_kv_stop(client);
    start(&late, KV_LIST, "a", NULL, 0, KV_NONE, 0);
    fake_env_run(&fenv);
    assert_int_equal(reading.rc, RC_CLOSED);
    assert_int_equal(late.rc, RC_CLOSED);
}

/* The process failed: everything is answered although the store has not ended. */
static void test_abandoned(void **state)
{
    struct call c[3];
    bool closed = false;
    put("l/a", "1", 1, KV_NONE, 0);
    fault_at(0, OBJECT_FAULT_REFUSED);
    start(&c[0], KV_GET, "a", NULL, 0, KV_NONE, 0);
    start(&c[1], KV_PUT, "a", "v", 1, KV_NONE, 0);
    start(&c[2], KV_LIST, "l/", NULL, 0, KV_NONE, 0);
    struct env_task *begin = CONTAINER_OF(list_pop_front(&fenv.deferred), struct env_task, link);
    begin->run(begin); /* their first requests are on the way */
    kv_close(kv);
    for (int i = 0; i < 3; i++)
        assert_int_equal(c[i].rc, RC_CLOSED);
    object_store_close(store, store_closed, &closed);
    for (int i = 0; i < 100 && !closed; i++)
        fake_env_advance(&fenv, 100);
    assert_true(closed);
    store = NULL;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_preconditions),
        TEST(test_tombstones),
        TEST(test_outrun),
        TEST(test_refused_is_repeated),
        TEST(test_undecided),
        TEST(test_late),
        TEST(test_gives_up),
        TEST(test_list),
        TEST(test_list_of_one_moment),
        TEST(test_names),
        TEST(test_contents),
        TEST(test_stop),
        TEST(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

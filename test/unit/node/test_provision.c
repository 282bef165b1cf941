/* Provisioning an external store (node/provision.h): who wins, what the loser completes, undecided writes;
 * and joining what is not complete yet. */
#include "unit/node/join_fixture.h"

#include "unit/metadata/fake_etcd.h"

static struct fake_etcd etcd;
static struct kv *store;

static int begin(void **state)
{
    setup(state);
    config.metadata.client.type = METADATA_ETCD;
    config.roles &= ~(unsigned)ROLE_METADATA_SERVER;
    store = fake_etcd_init(&etcd, &fenv.env, 1, 100);
    return 0;
}

static int end(void **state)
{
    kv_close(store);
    fake_etcd_free(&etcd);
    return teardown(state);
}

static struct err provision_err;
static int provisioned;

static void on_provisioned(void *ctx, const struct err *err)
{
    provisioned++;
    provision_err = err ? *err : (struct err){0};
}

static enum rc provision_as(const char *cluster_name)
{
    struct provision_settings settings;
    struct kv_table values;
    struct provision_identity identity;
    snprintf(config.cluster_name, sizeof(config.cluster_name), "%s", cluster_name);
    provision_settings_from(&config, &settings);
    provision_values(&fenv.env, &config, "http://127.0.0.1:5122/", &settings, &values, &identity);
    provisioned = 0;
    provision_store(store, config.cluster_name, &values, on_provisioned, NULL);
    assert_int_equal(provisioned, 0);
    for (int i = 0; i < 200 && !provisioned; i++)
        fake_env_advance(&fenv, 100);
    assert_int_equal(provisioned, 1);
    return provision_err.rc;
}

static bool holds(const char *key)
{
    return fake_etcd_find(&etcd, slice_cstr(key)) != NULL;
}

static void fail_next(enum fake_etcd_fault fault, unsigned n)
{
    etcd.fault = fault;
    etcd.n_faults = n;
}

static void test_once(void **state)
{
    assert_int_equal(provision_as("vec"), RC_OK);
    assert_int_equal(etcd.n_keys, 6);
    uint64_t before = etcd.keys[0].writes;
    assert_int_equal(provision_as("vec"), RC_EXISTS);
    assert_int_equal(etcd.keys[0].writes, before);
    assert_int_equal(provision_as("other"), RC_CONFLICT);
    assert_non_null(
        strstr(provision_err.msg, "configured for cluster 'other', the metadata belongs to 'vec'"));
}

/* The winner died after its first write. */
static void test_completed(void **state)
{
    assert_int_equal(provision_as("vec"), RC_OK);
    static const char *const later[] = {LOGS_CONFIG_KEY, PARTITION_TABLE_KEY};
    for (size_t i = 0; i < 2; i++) {
        fake_etcd_delete(&etcd, slice_cstr(later[i]));
        char *version = xasprintf("%s::version", later[i]);
        fake_etcd_delete(&etcd, slice_cstr(version));
        free(version);
    }
    assert_int_equal(provision_as("other"), RC_CONFLICT); /* not by somebody of another cluster */
    assert_int_equal(etcd.n_keys, 2);
    answers = 0;
    snprintf(config.cluster_name, sizeof(config.cluster_name), "vec");
    join_start(&fenv.env, store, &config, "http://127.0.0.1:5122/", 0, on_joined, NULL);
    fake_env_run(&fenv);
    assert_int_equal(answers, 1);
    assert_int_equal(join_err.rc, RC_AGAIN); /* not yet */
    assert_int_equal(provision_as("vec"), RC_EXISTS);
    assert_true(holds(LOGS_CONFIG_KEY) && holds(PARTITION_TABLE_KEY));
    join_start(&fenv.env, store, &config, "http://127.0.0.1:5122/", 0, on_joined, NULL);
    fake_env_run(&fenv);
    assert_int_equal(join_err.rc, RC_OK);
    assert_int_equal(joined.node_id, 1);
}

/* A write whose answer was lost is this node's all the same. */
static void test_undecided(void **state)
{
    fail_next(FAKE_ETCD_LOST_AFTER, 1);
    assert_int_equal(provision_as("vec"), RC_OK);
    assert_int_equal(etcd.n_keys, 6);
    fail_next(FAKE_ETCD_LOST_BEFORE, 1);
    assert_int_equal(provision_as("vec"), RC_EXISTS);
}

static void test_unreachable(void **state)
{
    fail_next(FAKE_ETCD_UNSENT, UINT32_MAX);
    assert_int_equal(provision_as("vec"), RC_UNAVAILABLE);
    fail_next(FAKE_ETCD_LOST_BEFORE, UINT32_MAX);
    assert_int_equal(provision_as("vec"), RC_TIMEOUT);
    assert_int_equal(etcd.n_keys, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_once),
        TEST(test_completed),
        TEST(test_undecided),
        TEST(test_unreachable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Provisioning and joining (spec/cluster.md §1.8, §1.9, §4.3): what the first start writes, what every
 * further start changes, who is refused, and that an interrupted provisioning is completed. */
#include "join_fixture.h"

static void the_first_join_takes_the_entry_of_provisioning(void **state)
{
    provision();
    assert_int_equal(join(0), RC_OK);
    assert_true(joined.idempotent_sharding);
    assert_int_equal(joined.node_id, 1);
    assert_int_equal(joined.generation, 2); /* provisioning wrote generation 1 */
    assert_int_equal(joined.n_partitions, 2);
    assert_int_equal(view.nodes_value.version, 2);
    assert_int_equal(view.logs_value.version, 1);
    assert_int_equal(view.table_value.version, 1);
    const struct node_entry *me = nodes_config_by_name(&view.nodes, "n1");
    assert_string_equal(me->binary_version, "1.7.12");
    assert_int_equal(me->storage, STORAGE_PROVISIONING);
    assert_true(view.nodes.cluster_fingerprint == joined.fingerprint && joined.fingerprint != 0);
    assert_int_equal(view.logs.n_chains, 0); /* the writers create them */
}

static void every_start_is_a_new_generation(void **state)
{
    provision();
    assert_int_equal(join(0), RC_OK);
    uint64_t fingerprint = joined.fingerprint;
    assert_int_equal(join(fingerprint), RC_OK);
    assert_true(joined.generation == 3 && joined.fingerprint == fingerprint);
}

static void strangers_are_refused(void **state)
{
    provision();
    assert_int_equal(join(0), RC_OK);
    uint64_t fingerprint = joined.fingerprint;
    assert_int_equal(join(fingerprint + 1), RC_CONFLICT);
    assert_non_null(strstr(join_err.msg, "fingerprint mismatch"));
    strcpy(config.cluster_name, "other");
    assert_int_equal(join(0), RC_CONFLICT);
    assert_non_null(strstr(join_err.msg, "cluster name mismatch"));
    strcpy(config.cluster_name, "vec");
    config.force_node_id = 7;
    assert_int_equal(join(0), RC_CONFLICT);
    assert_non_null(strstr(join_err.msg, "registered as N1"));
    strcpy(config.node_name, "n2");
    config.force_node_id = 1;
    assert_int_equal(join(0), RC_CONFLICT);
    assert_string_equal(join_err.msg, "duplicate plain node id 'N1'");
}

static void without_a_cluster_it_waits(void **state)
{
    assert_int_equal(join(0), RC_AGAIN);
    assert_int_equal(run(KV_GET, NODES_CONFIG_KEY, BYTES_EMPTY, 0).rc, RC_NOT_FOUND);
}

static void on_outrun(void *ctx, const struct err *err)
{
    assert_int_equal(err ? err->rc : RC_OK, RC_AGAIN);
    ++*(int *)ctx;
}

/* Many nodes register at once. The version of the key is ahead of the one in its value here, so that every
 * comparison is lost, as if somebody else had been faster each time. */
static void outrun_by_other_nodes_it_comes_back(void **state)
{
    int told = 0;
    provision();
    assert_int_equal(join(0), RC_OK);
    struct access before = run(KV_GET, NODES_CONFIG_KEY, BYTES_EMPTY, 0);
    assert_int_equal(run(KV_PUT, NODES_CONFIG_KEY, before.value, before.version + 100).rc, RC_OK);
    assert_int_equal(join(0), RC_AGAIN);
    assert_non_null(strstr(join_err.msg, "cannot write nodes_config"));
    join_set_storage(&fenv.env, kv, 1, STORAGE_READ_WRITE, on_outrun, &told);
    fake_env_run(&fenv);
    join_activate(&fenv.env, kv, 1, on_outrun, &told);
    fake_env_run(&fenv);
    assert_int_equal(told, 2);
    config.force_node_id = 7; /* a refusal stays one */
    assert_int_equal(join(0), RC_CONFLICT);
}

static void the_settings_of_provisioning_hold(void **state)
{
    struct provision_settings s;
    provision_settings_from(&config, &s);
    s.n_partitions = 5;
    s.idempotent_sharding = false;
    provision_with(&s);
    assert_int_equal(join(0), RC_OK);
    assert_int_equal(joined.n_partitions, 5);
    assert_false(joined.idempotent_sharding);
}

static void settings_outside_of_the_limits_are_refused(void **state)
{
    struct provision_settings good, s;
    struct err err = {0};
    provision_settings_from(&config, &good);
    assert_int_equal(provision_settings_check(&good, &err), RC_OK);
    s = good;
    s.n_partitions = 70000;
    assert_int_equal(provision_settings_check(&s, &err), RC_INVALID);
    assert_string_equal(err.msg, "Restate only supports running up to 65535 partitions.");
    s.n_partitions = 0;
    assert_int_equal(provision_settings_check(&s, &err), RC_INVALID);
    s = good;
    s.target_nodeset_size = 200;
    assert_int_equal(provision_settings_check(&s, &err), RC_INVALID);
    assert_string_equal(err.msg, "node set size is too big, please keep it under 128");
    s = good;
    s.log_replication = s.partition_replication = replication_nodes(2);
    assert_int_equal(provision_settings_check(&s, &err), RC_OK);
    s.provider = LOG_PROVIDER_LOCAL;
    assert_int_equal(provision_settings_check(&s, &err), RC_INVALID);
    s.log_replication = replication_nodes(1);
    assert_int_equal(provision_settings_check(&s, &err), RC_OK);
}

static void on_activated(void *ctx, const struct err *err)
{
    assert_null(err);
    ++*(int *)ctx;
}

static void roles_that_started_leave_provisioning(void **state)
{
    int activated = 0;
    provision();
    assert_int_equal(join(0), RC_OK);
    join_activate(&fenv.env, kv, 1, on_activated, &activated);
    fake_env_run(&fenv);
    const struct node_entry *me = nodes_config_by_id(&view.nodes, 1);
    assert_int_equal(me->storage, STORAGE_PROVISIONING); /* that is the log-server's to say */
    assert_int_equal(me->worker, WORKER_ACTIVE);
    assert_int_equal(me->metadata_server, METADATA_SERVER_MEMBER);
    assert_int_equal(view.nodes_value.version, 3);
    join_activate(&fenv.env, kv, 1, on_activated, &activated); /* nothing left to change */
    fake_env_run(&fenv);
    assert_int_equal(view.nodes_value.version, 3);
    assert_int_equal(activated, 2);
}

static void a_location_is_given_and_changed_but_not_taken_away(void **state)
{
    static const char *const steps[][2] = {{"", ""}, {"eu.a1", "eu.a1"}, {"eu.a2", "eu.a2"}, {"", "eu.a2"}};
    provision();
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        snprintf(config.location, sizeof(config.location), "%s", steps[i][0]);
        assert_int_equal(join(0), RC_OK);
        assert_string_equal(nodes_config_by_id(&view.nodes, 1)->location, steps[i][1]);
    }
}

static void the_state_of_the_store_is_registered(void **state)
{
    static const enum storage_state states[] = {STORAGE_READ_WRITE, STORAGE_READ_WRITE, STORAGE_DATA_LOSS};
    int done = 0;
    provision();
    assert_int_equal(join(0), RC_OK);
    enum worker_state worker = nodes_config_by_id(&view.nodes, 1)->worker;
    for (int i = 0; i < 3; i++) {
        uint32_t version = view.nodes_value.version;
        join_set_storage(&fenv.env, kv, 1, states[i], on_activated, &done);
        fake_env_run(&fenv);
        assert_int_equal(nodes_config_by_id(&view.nodes, 1)->storage, states[i]);
        assert_int_equal(view.nodes_value.version, version + (i != 1)); /* the same again is no change */
        assert_int_equal(done, i + 1);
    }
    assert_int_equal(nodes_config_by_id(&view.nodes, 1)->worker, worker);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_join_takes_the_entry_of_provisioning),
        TEST(every_start_is_a_new_generation),
        TEST(strangers_are_refused),
        TEST(without_a_cluster_it_waits),
        TEST(outrun_by_other_nodes_it_comes_back),
        TEST(the_settings_of_provisioning_hold),
        TEST(settings_outside_of_the_limits_are_refused),
        TEST(roles_that_started_leave_provisioning),
        TEST(a_location_is_given_and_changed_but_not_taken_away),
        TEST(the_state_of_the_store_is_registered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

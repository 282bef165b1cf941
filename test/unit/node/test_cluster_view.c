/* The node's view of metadata follows every writer and only moves forward; values from operators are checked
 * before they are stored (spec/cluster.md §0.3, §2.6). */
#include "join_fixture.h"

static enum rc check(const char *key, struct writer *w, uint32_t version, const char *sentence)
{
    struct err err = {0};
    struct bytes value = writer_take(w);
    struct kv_entry entry = {slice_cstr(key), value, version};
    enum rc rc = cluster_view_check(&view, &entry, &err);
    if (sentence && !strstr(err.msg, sentence))
        fail_msg("'%s' does not say '%s'", err.msg, sentence);
    bytes_unref(&value);
    return rc;
}

static void join_and_learn(void)
{
    provision();
    assert_int_equal(join(0), RC_OK);
}

static void the_view_only_moves_forward(void **state)
{
    join_and_learn();
    struct bytes old = bytes_ref(view.nodes_value.stored);
    struct nodes_config changed = view.nodes;
    struct writer w = WRITER_INIT;
    changed.version = 9;
    nodes_config_encode(&w, &changed);
    assert_int_equal(run(KV_PUT, NODES_CONFIG_KEY, writer_take(&w), 9).rc, RC_OK);
    assert_int_equal(view.nodes_value.version, 9);
    struct kv_entry stale = {SLICE_LIT(NODES_CONFIG_KEY), old, 2};
    assert_false(cluster_view_seen(&view, &stale));
    assert_int_equal(view.nodes.version, 9);
    struct kv_entry broken = {SLICE_LIT(NODES_CONFIG_KEY), bytes_static(SLICE_LIT("\x02junk")), 10};
    assert_false(cluster_view_seen(&view, &broken));
    assert_int_equal(view.nodes_value.version, 9);
    struct kv_entry other = {SLICE_LIT("demo"), old, 99};
    assert_false(cluster_view_seen(&view, &other));
    bytes_unref(&old);
}

static void edits_of_the_nodes_are_checked(void **state)
{
    struct writer w = WRITER_INIT;
    join_and_learn();
    struct nodes_config c = view.nodes;
    c.version = 3;
    nodes_config_encode(&w, &c);
    assert_int_equal(check(NODES_CONFIG_KEY, &w, 3, NULL), RC_OK);
    nodes_config_encode(&w, &c);
    assert_int_equal(check(NODES_CONFIG_KEY, &w, 4, "the version inside the value (v3)"), RC_INVALID);
    c.cluster_fingerprint++;
    nodes_config_encode(&w, &c);
    assert_int_equal(check(NODES_CONFIG_KEY, &w, 3, "fingerprint"), RC_INVALID);
    write_fmt(&w, "nonsense");
    assert_int_equal(check(NODES_CONFIG_KEY, &w, 3, "cannot be decoded"), RC_INVALID);
}

static void logs_and_partitions_stay_what_they_are(void **state)
{
    struct writer w = WRITER_INIT;
    join_and_learn();
    struct logs_config l = view.logs;
    l.version = 3;
    l.target_nodeset_size = 3;
    logs_config_encode(&w, &l);
    assert_int_equal(check(LOGS_CONFIG_KEY, &w, 3, NULL), RC_OK);
    struct log_segment segment = {.base_lsn = 1, .kind = SEGMENT_REPLICATED, .params = "{}"};
    struct log_chain chain = {.log_id = 0, .segments = &segment, .n_segments = 1};
    l.chains = &chain; /* a log that nobody here has created */
    l.n_chains = 1;
    logs_config_encode(&w, &l);
    assert_int_equal(check(LOGS_CONFIG_KEY, &w, 3, "segments"), RC_INVALID);
    struct partition_table t = view.table;
    t.version = 2;
    partition_table_encode(&w, &t);
    assert_int_equal(check(PARTITION_TABLE_KEY, &w, 2, NULL), RC_OK);
    t.n_partitions = 4;
    partition_table_encode(&w, &t);
    assert_int_equal(check(PARTITION_TABLE_KEY, &w, 2, "number of partitions"), RC_INVALID);
}

static void policies_may_change_but_not_the_leader(void **state)
{
    struct writer w = WRITER_INIT;
    uint32_t replicas[] = {1};
    struct epoch_metadata e = {
        .version = 2,
        .epoch = 1,
        .node_id = 1,
        .node_generation = 2,
        .current = {
            .version = 1, .replication = replication_nodes(1), .replicas = replicas, .n_replicas = 1}};
    join_and_learn();
    epoch_metadata_encode(&w, 1, &e);
    run(KV_PUT, "pp_epoch_1", writer_take(&w), 2);
    struct epochs_config config_of_epochs = {0};
    struct epochs *epochs = epochs_new(&fenv.env, kv, &config_of_epochs);
    epochs_set_partitions(epochs, 2);
    fake_env_run(&fenv);
    view.epochs = epochs;
    e.version = 3;
    e.leadership_freeze = "maint";
    epoch_metadata_encode(&w, 1, &e);
    assert_int_equal(check("pp_epoch_1", &w, 3, NULL), RC_OK);
    epoch_metadata_encode(&w, 1, &e);
    assert_int_equal(check("pp_epoch_0", &w, 3, NULL), RC_INVALID); /* of another partition */
    e.epoch = 0;
    epoch_metadata_encode(&w, 1, &e);
    assert_int_equal(check("pp_epoch_1", &w, 3, "leader of a partition"), RC_INVALID);
    e.epoch = 1;
    e.node_id = 2;
    epoch_metadata_encode(&w, 1, &e);
    assert_int_equal(check("pp_epoch_1", &w, 3, "leader of a partition"), RC_INVALID);
    e.version = 9; /* this node has not seen what came between: comparing versions decides */
    e.epoch = 4;
    epoch_metadata_encode(&w, 1, &e);
    assert_int_equal(check("pp_epoch_1", &w, 9, NULL), RC_OK);
    epochs_free(epochs);
}

static void other_values_are_the_operators_own(void **state)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "anything");
    assert_int_equal(check("demo", &w, 77, NULL), RC_OK);
    assert_true(cluster_view_is_system_key(SLICE_LIT("nodes_config")));
    assert_true(cluster_view_is_system_key(SLICE_LIT("pp_epoch_7")));
    assert_false(cluster_view_is_system_key(SLICE_LIT("demo")));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_view_only_moves_forward),
        TEST(edits_of_the_nodes_are_checked),
        TEST(logs_and_partitions_stay_what_they_are),
        TEST(policies_may_change_but_not_the_leader),
        TEST(other_values_are_the_operators_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

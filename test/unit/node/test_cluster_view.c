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
    view.node_id = joined.node_id;
    view.node_generation = joined.generation;
    view.epochs = joined.epochs;
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
    forget_joined();
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
    forget_joined();
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
    forget_joined();
}

static void policies_may_change_but_not_the_leader(void **state)
{
    struct arena a = {0};
    struct writer w = WRITER_INIT;
    join_and_learn();
    struct epoch_metadata e = read_epoch(&a, 1);
    e.version = 3; /* two changes at once */
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
    arena_free(&a);
    forget_joined();
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

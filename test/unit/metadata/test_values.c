/* Typed metadata values: key ranges against the vectors of spec/invocation-lifecycle.md §2.3, encode and
 * decode, node ids and generations (spec/cluster.md §1.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/values.h"

static void key_ranges(void **state)
{
    assert_true(partition_key_range(3, 0).end == 0x5555555555555555u);
    assert_true(partition_key_range(3, 1).start == 0x5555555555555556u);
    assert_true(partition_key_range(3, 1).end == 0xaaaaaaaaaaaaaaaau);
    assert_true(partition_key_range(3, 2).end == UINT64_MAX);
    assert_true(partition_key_range(4, 3).start == 13835058055282163712u);
    assert_true(partition_key_range(24, 1).start == 0x0aaaaaaaaaaaaaabu);
    assert_true(partition_key_range(24, 23).start == 0xf555555555555556u);
    static const uint32_t sizes[] = {1, 2, 3, 7, 24, 1000, 65535};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        uint32_t n = sizes[s];
        assert_true(partition_key_range(n, 0).start == 0);
        assert_true(partition_key_range(n, n - 1).end == UINT64_MAX);
        for (uint32_t i = 0; i < n; i++) {
            struct key_range r = partition_key_range(n, i);
            if (i)
                assert_true(partition_key_range(n, i - 1).end + 1 == r.start);
            assert_int_equal(partition_of_key(n, r.start), i);
            assert_int_equal(partition_of_key(n, r.end), i);
        }
    }
}

static void tables_and_epochs(void **state)
{
    struct writer w = WRITER_INIT;
    struct partition_table t = {3, 24, 1}, u;
    partition_table_encode(&w, &t);
    assert_int_equal(partition_table_decode(writer_slice(&w), &u, NULL), RC_OK);
    assert_memory_equal(&t, &u, sizeof(t));
    writer_reset(&w);
    struct leader_epoch e = {9, UINT64_MAX, 4, 5}, f = {0};
    leader_epoch_encode(&w, &e);
    assert_int_equal(leader_epoch_decode(writer_slice(&w), &f, NULL), RC_OK);
    assert_true(f.epoch == UINT64_MAX && f.version == 9 && f.node_id == 4 && f.node_generation == 5);
    writer_free(&w);
    static const char *const bad[] = {
        "",
        "x",
        "{}",
        "[]",
        "{\"v\":2}",
        "{\"v\":1,\"version\":1}",
        "{\"v\":1,\"version\":1,\"num_partitions\":0,\"replication\":1}",
        "{\"v\":1,\"version\":1,\"num_partitions\":65536,\"replication\":1}",
        "{\"v\":1,\"version\":1,\"epoch\":\"18446744073709551616\",\"node_id\":1,\"node_generation\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        assert_int_equal(partition_table_decode(slice_cstr(bad[i]), &u, &err), RC_CORRUPT);
        assert_int_equal(leader_epoch_decode(slice_cstr(bad[i]), &f, &err), RC_CORRUPT);
        assert_true(err.msg[0] != '\0');
    }
    char key[EPOCH_KEY_SIZE];
    epoch_key(65535, key);
    assert_string_equal(key, "pp_epoch_65535");
}

static void nodes(void **state)
{
    struct arena a = {0}, b = {0};
    struct nodes_config c = {.cluster_name = "localcluster", .cluster_fingerprint = 0xfedcba9876543210u}, d;
    struct node_entry *n =
        nodes_config_join(&a, &c, "one", "http://127.0.0.1:5122/", ROLE_WORKER | ROLE_ADMIN);
    assert_int_equal(n->id, 1);
    assert_int_equal(n->generation, 1);
    n = nodes_config_join(&a, &c, "two", "http://127.0.0.1:5123/", ROLE_LOG_SERVER);
    assert_int_equal(n->id, 2);
    n = nodes_config_join(&a, &c, "one", "http://127.0.0.1:5124/", ROLE_WORKER);
    assert_int_equal(n->id, 1);
    assert_int_equal(n->generation, 2);
    assert_int_equal(c.version, 3);
    c.nodes[1].tombstone = true;
    n = nodes_config_join(&a, &c, "two", "x", ROLE_WORKER);
    assert_int_equal(n->id, 3);
    struct writer w = WRITER_INIT;
    nodes_config_encode(&w, &c);
    assert_int_equal(nodes_config_decode(&b, writer_slice(&w), &d, NULL), RC_OK);
    writer_free(&w);
    assert_int_equal(d.version, 4);
    assert_string_equal(d.cluster_name, "localcluster");
    assert_true(d.cluster_fingerprint == 0xfedcba9876543210u);
    assert_int_equal(d.n_nodes, 3);
    assert_true(d.nodes[1].tombstone);
    assert_string_equal(nodes_config_by_name(&d, "one")->address, "http://127.0.0.1:5124/");
    assert_int_equal(nodes_config_by_name(&d, "two")->id, 3);
    assert_int_equal(nodes_config_by_name(&d, "two")->roles, ROLE_WORKER);
    assert_null(nodes_config_by_name(&d, "three"));
    static const char *const bad[] = {
        "{\"v\":1,\"version\":1,\"cluster_name\":\"c\",\"cluster_fingerprint\":\"0\",\"nodes\":[]}",
        "{\"v\":1,\"version\":1,\"cluster_name\":\"c\",\"cluster_fingerprint\":\"1\",\"nodes\":[{\"id\":0}]}",
        "{\"v\":1,\"version\":1,\"cluster_name\":\"c\",\"cluster_fingerprint\":\"1\",\"nodes\":[{\"id\":1,"
        "\"tombstone\":true},{\"id\":1,\"tombstone\":true}]}",
        "{\"v\":1,\"version\":1,\"cluster_name\":\"c\",\"cluster_fingerprint\":\"1\",\"nodes\":[{\"id\":1,"
        "\"name\":\"a\",\"address\":\"b\",\"generation\":1,\"roles\":[\"x\"]}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(nodes_config_decode(&b, slice_cstr(bad[i]), &d, NULL), RC_CORRUPT);
    arena_free(&a);
    arena_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_ranges),
        cmocka_unit_test(tables_and_epochs),
        cmocka_unit_test(nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

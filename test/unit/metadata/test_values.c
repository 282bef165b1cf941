/* Typed metadata values: key ranges against the vectors of spec/invocation-lifecycle.md §2.3; the stored
 * bytes of the reference decode, and encode to the same bytes again (spec/restatectl-vectors.md §3,
 * spec/cluster.md §13.2); node ids and generations (spec/cluster.md §1.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "metadata/values.h"
#include "unit/wire/stored_vectors.h"

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

static struct bytes from_hex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    struct buf *b = buf_new(n);
    assert_true(hex_decode(slice_cstr(hex), b->data));
    return bytes_take_buf(b, 0, n);
}

static void assert_same(struct writer *w, struct bytes *stored)
{
    assert_int_equal(w->len, stored->len);
    assert_memory_equal(writer_slice(w).ptr, stored->ptr, stored->len);
    writer_free(w);
    bytes_unref(stored);
}

static void nodes_are_the_reference_s_bytes(void **state)
{
    static const char *const all[] = {STORED_NODES_HEX, STORED_NODES_EDITED_HEX,
                                      STORED_NODES_PROVISIONED_HEX};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct bytes stored = from_hex(all[i]);
        struct arena a = {0};
        struct nodes_config c;
        assert_int_equal(nodes_config_decode(&a, bytes_slice(stored), &c, NULL), RC_OK);
        assert_true(c.cluster_fingerprint == 17710150411320627469u);
        assert_int_equal(c.n_nodes, 1);
        const struct node_entry *n = nodes_config_by_name(&c, "n1");
        assert_int_equal(n->roles, 31);
        assert_int_equal(n->storage, i < 2 ? STORAGE_READ_WRITE : STORAGE_PROVISIONING);
        assert_int_equal(n->metadata_server, i < 2 ? METADATA_SERVER_MEMBER : METADATA_SERVER_PROVISIONING);
        assert_int_equal(n->worker, i == 0 ? WORKER_ACTIVE : i == 1 ? WORKER_DRAINING : WORKER_PROVISIONING);
        assert_string_equal(n->binary_version, "1.7.12");
        assert_string_equal(c.features[0], FEATURE_CONTROLLED_IDEMPOTENT_SHARDING);
        struct writer w = WRITER_INIT;
        nodes_config_encode(&w, &c);
        assert_same(&w, &stored);
        arena_free(&a);
    }
}

static void logs_are_the_reference_s_bytes(void **state)
{
    struct bytes stored = from_hex(STORED_LOGS_HEX);
    struct arena a = {0};
    struct logs_config c;
    struct writer w = WRITER_INIT;
    assert_int_equal(logs_config_decode(&a, bytes_slice(stored), &c, NULL), RC_OK);
    assert_int_equal(c.n_chains, 2);
    assert_null(logs_config_chain(&c, 2));
    uint32_t nodeset[] = {1};
    struct replication one = replication_nodes(1);
    assert_string_equal(logs_config_chain(&c, 1)->segments[0].params,
                        replicated_params(&a, loglet_id_make(1, 0), 1, 2, &one, nodeset, 1));
    /* The order of logs is free: the reference wrote these two the other way round. */
    struct log_chain first = c.chains[0];
    c.chains[0] = c.chains[1];
    c.chains[1] = first;
    logs_config_encode(&w, &c);
    assert_same(&w, &stored);

    stored = from_hex(STORED_CHAIN_HEX);
    log_chain_encode(&w, &first);
    assert_same(&w, &stored);

    stored = from_hex(STORED_LOGS_PROVISIONED_HEX);
    assert_int_equal(logs_config_decode(&a, bytes_slice(stored), &c, NULL), RC_OK);
    assert_int_equal(c.n_chains, 0);
    assert_int_equal(c.provider, LOG_PROVIDER_REPLICATED);
    logs_config_encode(&w, &c);
    assert_same(&w, &stored);
    arena_free(&a);
}

static void partition_tables_are_the_reference_s_bytes(void **state)
{
    struct bytes stored = from_hex(STORED_PARTITIONS_HEX);
    struct partition_table t;
    struct writer w = WRITER_INIT;
    assert_int_equal(partition_table_decode(bytes_slice(stored), &t, NULL), RC_OK);
    assert_int_equal(t.version, 1);
    assert_int_equal(t.n_partitions, 2);
    assert_int_equal(t.replication.copies[SCOPE_NODE], 1);
    partition_table_encode(&w, &t);
    assert_same(&w, &stored);
    t = (struct partition_table){7, PARTITIONS_MAX, {{3, 2, 0}}};
    partition_table_encode(&w, &t);
    assert_int_equal(partition_table_decode(writer_slice(&w), &t, NULL), RC_OK);
    assert_true(t.n_partitions == PARTITIONS_MAX && t.replication.copies[SCOPE_ZONE] == 2);
    writer_free(&w);
}

static void epochs_are_the_reference_s_bytes(void **state)
{
    static const struct {
        const char *hex;
        uint32_t partition;
    } all[] = {{STORED_EPOCH_HEX, 0}, {STORED_EPOCH_TWO_HEX, 0}, {STORED_EPOCH_EDITED_HEX, 1}};
    struct arena a = {0};
    struct epoch_metadata e;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct bytes stored = from_hex(all[i].hex);
        struct writer w = WRITER_INIT;
        assert_int_equal(epoch_metadata_decode(&a, bytes_slice(stored), all[i].partition, &e, NULL), RC_OK);
        assert_int_equal(epoch_metadata_decode(&a, bytes_slice(stored), 7, &e, NULL), RC_CORRUPT);
        epoch_metadata_decode(&a, bytes_slice(stored), all[i].partition, &e, NULL);
        epoch_metadata_encode(&w, all[i].partition, &e);
        assert_same(&w, &stored);
    }
    /* the last one is an operator's edit */
    assert_string_equal(e.leadership_freeze, "maint");
    assert_string_equal(e.placement_freeze, "hold");
    assert_int_equal(e.affinity_node, 1);
    assert_true(e.has_next && e.next.version == 2 && e.version == 6);
    epoch_metadata_complete_next(&e);
    assert_true(!e.has_next && e.current.version == 2 && e.version == 7 && e.epoch == 2);
    epoch_metadata_claim(&e, 4, 5);
    assert_true(e.version == 8 && e.epoch == 3 && e.node_id == 4 && e.node_generation == 5);
    assert_int_equal(e.current.version, 2);
    arena_free(&a);
}

static void versions_of_placements(void **state)
{
    struct replication two = replication_nodes(2);
    uint32_t first[] = {1, 2}, second[] = {2, 3};
    struct epoch_metadata e = {0};
    epoch_metadata_set_initial(&e, &two, first, 2, 99);
    assert_true(e.version == 1 && e.epoch == 1 && e.node_id == 0 && !e.has_next);
    assert_true(e.current.version == 1 && e.current.modified_at_ms == 99);
    epoch_metadata_claim(&e, 2, 1);
    epoch_metadata_set_next(&e, &two, second, 2, 100);
    assert_true(e.version == 3 && e.current.version == 1 && e.next.version == 2);
    assert_true(epoch_metadata_has(&e, 1) && epoch_metadata_has(&e, 3) && !epoch_metadata_has(&e, 4));
    epoch_metadata_set_next(&e, &two, first, 2, 101); /* prepared anew: a version is never used twice */
    assert_true(e.version == 4 && e.next.version == 3);
    epoch_metadata_complete_next(&e);
    assert_true(e.version == 5 && e.current.version == 3 && !e.has_next && e.epoch == 2);
    /* A value that somebody wrote without any configuration. */
    e = (struct epoch_metadata){.version = 6, .epoch = 3};
    epoch_metadata_set_initial(&e, &two, first, 2, 99);
    assert_true(e.version == 7 && e.epoch == 3 && e.current.version == 7);
}

/* Everything decodes or is refused with a sentence: values of other kinds, other codecs, damaged bytes. */
static void what_does_not_fit_is_refused(void **state)
{
    struct arena a = {0};
    for (size_t i = 0; i < ARRAY_LEN(stored_vectors); i++) {
        struct bytes stored = from_hex(stored_vectors[i].hex);
        struct nodes_config n;
        struct logs_config l;
        struct partition_table t;
        struct epoch_metadata e;
        struct err err = {0};
        const char *name = stored_vectors[i].name;
        struct slice s = bytes_slice(stored);
        assert_int_equal(nodes_config_decode(&a, s, &n, &err) == RC_OK, strncmp(name, "nodes", 5) == 0);
        assert_int_equal(logs_config_decode(&a, s, &l, &err) == RC_OK, strncmp(name, "logs", 4) == 0);
        assert_int_equal(partition_table_decode(s, &t, &err) == RC_OK, strcmp(name, "partitions") == 0);
        assert_true(err.msg[0] != '\0');
        for (size_t at = 0; at < stored.len; at++) {
            struct bytes changed = bytes_copy(s);
            ((uint8_t *)(uintptr_t)changed.ptr)[at] ^= 0x11;
            nodes_config_decode(&a, bytes_slice(changed), &n, NULL);
            logs_config_decode(&a, bytes_slice(changed), &l, NULL);
            partition_table_decode(bytes_slice(changed), &t, NULL);
            epoch_metadata_decode(&a, bytes_slice(changed), 0, &e, NULL);
            bytes_unref(&changed);
        }
        arena_free(&a);
        bytes_unref(&stored);
    }
    struct partition_table t;
    assert_int_equal(partition_table_decode(SLICE_LIT("{}"), &t, NULL), RC_CORRUPT);
    assert_int_equal(partition_table_decode(SLICE_EMPTY, &t, NULL), RC_CORRUPT);
}

static void epoch_keys(void **state)
{
    char key[EPOCH_KEY_SIZE];
    uint32_t p;
    epoch_key(65534, key);
    assert_string_equal(key, "pp_epoch_65534");
    assert_true(epoch_key_parse(slice_cstr(key), &p) && p == 65534);
    assert_true(epoch_key_parse(SLICE_LIT("pp_epoch_0"), &p) && p == 0);
    static const char *const bad[] = {"pp_epoch_",      "pp_epoch_x",      "pp_epoch_01",
                                      "pp_epoch_65535", "pp_epoch_999999", "nodes_config"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(epoch_key_parse(slice_cstr(bad[i]), &p));
}

static void nodes_join_and_leave(void **state)
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
    assert_int_equal(d.n_nodes, 3);
    assert_true(d.nodes[1].tombstone);
    assert_string_equal(nodes_config_by_name(&d, "one")->address, "http://127.0.0.1:5124/");
    assert_int_equal(nodes_config_by_name(&d, "two")->id, 3);
    assert_int_equal(nodes_config_by_name(&d, "two")->roles, ROLE_WORKER);
    assert_null(nodes_config_by_name(&d, "three"));
    assert_true(nodes_config_by_id(&d, 2)->tombstone);
    assert_null(nodes_config_by_id(&d, 9));
    arena_free(&a);
    arena_free(&b);
    char text[12];
    cluster_fingerprint_format(18151188892343686012u, text);
    assert_string_equal(text, "aFMfMZEg6cr");
    cluster_fingerprint_format(5, text);
    assert_string_equal(text, "0qC7BL0mtTa");
}

static void replication_properties(void **state)
{
    static const struct {
        const char *text, *result;
        uint32_t copies;
    } cases[] = {
        {"2", "{node: 2}", 2},
        {" 255 ", "{node: 255}", 255},
        {"{node: 2}", "{node: 2}", 2},
        {"{ZONE:2,Node : 3}", "{node: 3, zone: 2}", 3},
        {"{region: 2, node: 5, zone: 3}", "{node: 5, zone: 3, region: 2}", 5},
        {"{zone: 2}", "{zone: 2}", 2},
        {"", "Invalid replication property syntax", 0},
        {"0", "Invalid replication property syntax", 0},
        {"256", "Invalid replication property syntax", 0},
        {"{}", "Invalid replication property syntax", 0},
        {"{node: 2", "Invalid replication property syntax", 0},
        {"{node: 2} x", "Invalid replication property syntax", 0},
        {"{rack: 2}", "Invalid replication property syntax", 0},
        {"{node: 2, node: 2}", "Invalid replication property syntax", 0},
        {"{zone: 0}", "Replication factor for scope Zone cannot be zero", 0},
        {"{node: 2, zone: 3}", "Cannot set {\"Zone\": 3} as it conflicts with {\"Node\": 2}", 0},
        {"{zone: 3, node: 2}", "Cannot set {\"Node\": 2} as it conflicts with {\"Zone\": 3}", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct replication r;
        struct err err = {0};
        enum rc rc = replication_parse(slice_cstr(cases[i].text), &r, &err);
        char text[REPLICATION_TEXT_SIZE];
        if (rc == RC_OK) {
            replication_format(&r, text);
            assert_int_equal(replication_copies(&r), cases[i].copies);
        }
        assert_string_equal(rc == RC_OK ? text : err.msg, cases[i].result);
    }
    assert_true(hybrid_timestamp(1795367634862u) == 647484921031426049u);
    assert_true(hybrid_wall_ms(647484921031426049u) == 1795367634862u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_ranges),
        cmocka_unit_test(nodes_are_the_reference_s_bytes),
        cmocka_unit_test(logs_are_the_reference_s_bytes),
        cmocka_unit_test(partition_tables_are_the_reference_s_bytes),
        cmocka_unit_test(epochs_are_the_reference_s_bytes),
        cmocka_unit_test(versions_of_placements),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(epoch_keys),
        cmocka_unit_test(nodes_join_and_leave),
        cmocka_unit_test(replication_properties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

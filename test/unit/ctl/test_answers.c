/* Answers of servers: the Arrow streams of vectors B13 and B14, cluster state B2; ids of all kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "ctl/ctl.h"
#include "metadata/json.h"
#include "tool/arrow.h"

static json_t *exchanges;

/* The i-th recorded answer of an exchange. */
static struct bytes reply(const char *id, size_t i)
{
    size_t at;
    json_t *e;
    json_array_foreach(exchanges, at, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "id")), id) != 0)
            continue;
        const char *hex = json_string_value(json_array_get(json_object_get(e, "replies"), i));
        struct writer w = WRITER_INIT;
        size_t n = strlen(hex) / 2;
        assert_true(hex_decode(slice_cstr(hex), writer_reserve(&w, n + 1)));
        w.len = n;
        return writer_take(&w);
    }
    fail();
    return BYTES_EMPTY;
}

static void arrow_rows(void **state)
{
    struct arena a = {0};
    struct arrow_reader r = {.arena = &a};
    struct arrow_batch batch;
    struct bytes first = reply("B13", 0), end = reply("B13", 1);
    struct slice in = msg_bytes(bytes_slice(first), 1);
    struct writer w = WRITER_INIT;
    assert_int_equal(arrow_next(&r, &in, &batch, NULL), RC_AGAIN);
    assert_int_equal(r.schema.n, 1);
    assert_string_equal(r.schema.fields[0].name, "a");
    assert_int_equal(arrow_next(&r, &in, &batch, NULL), RC_OK);
    assert_int_equal(batch.rows, 1);
    assert_false(arrow_is_null(&batch.columns[0], 0));
    arrow_print(&w, &batch.columns[0], 0, false);
    assert_true(slice_eq(writer_slice(&w), SLICE_LIT("1")));
    in = msg_bytes(bytes_slice(end), 1);
    assert_int_equal(arrow_next(&r, &in, &batch, NULL), RC_EOF);
    writer_free(&w);
    bytes_unref(&first);
    bytes_unref(&end);
    arena_free(&a);
}

/* Cut anywhere, a stream is an error or wants more; never more than that. */
static void arrow_cut(void **state)
{
    struct bytes whole = reply("B13", 0);
    struct slice stream = msg_bytes(bytes_slice(whole), 1);
    for (size_t n = 1; n < stream.len; n++) {
        struct arena a = {0};
        struct arrow_reader r = {.arena = &a};
        struct arrow_batch batch;
        struct bytes part = bytes_copy(slice_sub(stream, 0, n)); /* ASan sees reads behind it */
        struct slice in = bytes_slice(part);
        enum rc rc = arrow_next(&r, &in, &batch, NULL);
        if (rc == RC_AGAIN)
            rc = arrow_next(&r, &in, &batch, NULL);
        assert_true(rc == RC_CORRUPT || rc == RC_AGAIN);
        bytes_unref(&part);
        arena_free(&a);
    }
    bytes_unref(&whole);
}

static void arrow_no_rows(void **state)
{
    struct arena a = {0};
    struct arrow_reader r = {.arena = &a};
    struct arrow_batch batch;
    struct bytes only = reply("B14", 0);
    struct slice in = msg_bytes(bytes_slice(only), 1);
    assert_int_equal(arrow_next(&r, &in, &batch, NULL), RC_AGAIN);
    assert_int_equal(arrow_next(&r, &in, &batch, NULL), RC_EOF);
    bytes_unref(&only);
    arena_free(&a);
}

static void cluster_state(void **state)
{
    static const struct command root = {.name = "tool", .help = "A tool"};
    struct tool t;
    struct cluster_state s;
    struct bytes message = reply("B2", 0);
    tool_init(&t, &root, "1", NULL);
    assert_true(cluster_state_decode(&t, bytes_slice(message), &s));
    assert_int_equal(s.nodes_version, 16);
    assert_int_equal(s.n_nodes, 3);
    assert_true(s.nodes[0].alive && s.nodes[0].n_processors == 3 && s.nodes[0].generation == 2);
    assert_int_equal(s.nodes[0].processors[1].partition, 1);
    assert_int_equal(s.nodes[0].processors[1].epoch, 3);
    assert_int_equal(s.nodes[0].processors[1].effective, MODE_FOLLOWER);
    assert_string_equal(s.nodes[0].processors[1].features, "journal_v2");
    assert_false(s.nodes[2].alive);
    assert_int_equal(s.nodes[2].last_seen_ms, 1795368637330);
    assert_false(cluster_state_decode(&t, SLICE_LIT("\x0a\xff"), &s));
    bytes_unref(&message);
    tool_free(&t);
}

static void ids(void **state)
{
    uint32_t id, generation;
    uint64_t loglet;
    assert_true(parse_node_id("N3:2", &id, &generation) && id == 3 && generation == 2);
    assert_true(parse_node_id("7", &id, &generation) && id == 7 && generation == 0);
    assert_false(parse_node_id("N", &id, &generation));
    assert_false(parse_node_id("N1:", &id, &generation));
    assert_false(parse_node_id("4294967296", &id, &generation));
    assert_true(parse_loglet("3_1", &loglet) && loglet == 12884901889);
    assert_true(parse_loglet("12884901889", &loglet) && loglet == 12884901889);
    assert_false(parse_loglet("3_", &loglet));
    assert_false(parse_loglet("_1", &loglet));
    struct err err = {0};
    assert_int_equal(check_range("1-4", &err), RC_OK);
    assert_int_equal(check_range("5-2", &err), RC_INVALID);
    assert_string_equal(err.msg, "Invalid id range: 5..2 start must be <= end range");
    assert_int_equal(check_range("1-", &err), RC_INVALID);
    assert_int_equal(check_range("0-4294967295", &err), RC_INVALID);
    assert_int_equal(check_address("localhost:5122", &err), RC_OK);
    assert_int_equal(check_address("unix:/x", &err), RC_OK);
    assert_int_equal(check_address("ftp://x", &err), RC_INVALID);
}

int main(void)
{
    exchanges = json_load_file("test/vectors/restatectl-exchanges.json", 0, NULL);
    if (!exchanges)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrow_rows),    cmocka_unit_test(arrow_cut), cmocka_unit_test(arrow_no_rows),
        cmocka_unit_test(cluster_state), cmocka_unit_test(ids),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(exchanges);
    return failed;
}

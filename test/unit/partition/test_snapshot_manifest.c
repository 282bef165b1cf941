/* latest.json and metadata.json: exactly the documents of spec/cluster.md §13.3, and what is accepted and
 * refused when reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "partition/snapshot.h"
#include "partition/snapshot_manifest.h"

/* spec/cluster.md §13.3 */
static const char latest_vector[] =
    "{\n  \"version\": \"V2\",\n  \"partition_id\": 3,\n  \"log_id\": 3,\n  \"cluster_name\": "
    "\"spec-cluster\",\n"
    "  \"cluster_fingerprint\": 25578661352296356,\n  \"node_name\": \"node-4\",\n"
    "  \"created_at\": \"2026-11-22T17:53:03.111Z\",\n  \"snapshot_id\": \"snap_15QFPmL9Tg2yiSC15Zn9i1P\",\n"
    "  \"min_applied_lsn\": 29721,\n"
    "  \"path\": \"lsn_00000000000000029721-snap_15QFPmL9Tg2yiSC15Zn9i1P\",\n  \"retained_snapshots\": [\n   "
    " {\n"
    "      \"snapshot_id\": \"snap_15QFPmL9Tg2yiSC15Zn9i1P\",\n      \"min_applied_lsn\": 29721,\n"
    "      \"created_at\": \"2026-11-22T17:53:03.111Z\",\n"
    "      \"path\": \"lsn_00000000000000029721-snap_15QFPmL9Tg2yiSC15Zn9i1P\"\n    }\n  ]\n}";

static const char foreign_metadata[] =
    "{\"version\":\"V1\",\"cluster_name\":\"spec-cluster\",\"cluster_fingerprint\":25578661352296356,"
    "\"partition_id\":3,\"node_name\":\"node-4\",\"created_at\":\"2026-11-22T17:53:03.111Z\","
    "\"snapshot_id\":\"snap_15QFPmL9Tg2yiSC15Zn9i1P\","
    "\"key_range\":{\"start\":13835058055282163712,\"end\":18446744073709551615},\"log_id\":3,"
    "\"min_applied_lsn\":29721,\"db_comparator_name\":\"leveldb.BytewiseComparator\",\"files\":[{"
    "\"column_family_name\":\"\",\"name\":\"/000058.sst\",\"directory\":\"x\",\"size\":2242,\"level\":0,"
    "\"start_key\":\"64\",\"end_key\":\"73\",\"smallest_seqno\":380796,\"largest_seqno\":380876,"
    "\"num_entries\":0,\"num_deletions\":0}]}";

static struct snapshot_latest decode(const char *text)
{
    struct snapshot_latest l;
    struct err err = {0};
    if (snapshot_latest_decode(slice_cstr(text), &l, &err) != RC_OK)
        fail_msg("%s", err.msg);
    return l;
}

static void latest_is_the_vector(void **state)
{
    struct snapshot_latest l = decode(latest_vector);
    assert_int_equal(l.owner.partition_id, 3);
    assert_int_equal(l.owner.log_id, 3);
    assert_string_equal(l.owner.cluster_name, "spec-cluster");
    assert_true(l.owner.fingerprint == 25578661352296356u);
    assert_string_equal(l.owner.node_name, "node-4");
    assert_int_equal(l.retained.len, 1);
    assert_string_equal(l.retained.items[0].id, "snap_15QFPmL9Tg2yiSC15Zn9i1P");
    assert_int_equal(l.retained.items[0].lsn, 29721);
    struct writer w = WRITER_INIT;
    snapshot_latest_encode(&w, &l);
    write_u8(&w, 0);
    assert_string_equal((const char *)w.buf->data, latest_vector);
    writer_free(&w);
    /* the same names are made */
    struct u128 id;
    struct snapshot_ref r;
    assert_int_equal(resource_id_parse(RESOURCE_SNAPSHOT, slice_cstr(l.retained.items[0].id), &id), ID_OK);
    snapshot_ref_make(&r, id, 29721, 1795369983111);
    assert_string_equal(r.path, l.retained.items[0].path);
    assert_string_equal(r.created_at, l.retained.items[0].created_at);
    assert_string_equal(r.id, l.retained.items[0].id);
    snapshot_latest_free(&l);
}

static void two_retained(void **state)
{
    struct snapshot_latest l = decode(latest_vector);
    struct snapshot_ref newer = l.retained.items[0];
    newer.lsn = 30000;
    snprintf(newer.path, sizeof(newer.path), "lsn_00000000000000030000-x");
    VEC_PUSH(&l.retained, l.retained.items[0]);
    l.retained.items[0] = newer;
    struct writer w = WRITER_INIT;
    snapshot_latest_encode(&w, &l);
    write_u8(&w, 0);
    struct snapshot_latest again = decode((const char *)w.buf->data);
    assert_int_equal(again.retained.len, 2);
    assert_int_equal(again.retained.items[0].lsn, 30000);
    assert_int_equal(again.retained.items[1].lsn, 29721);
    snapshot_latest_free(&again);
    snapshot_latest_free(&l);
    writer_free(&w);
}

#define V1_TEXT                                                                                              \
    "{\"version\":\"V1\",\"partition_id\":3,\"log_id\":3,\"cluster_name\":\"c\\u0041\\n\\ud83d\\ude00\","    \
    "\"cluster_fingerprint\":null,\"node_name\":\"n\",\"created_at\":\"x\",\"snapshot_id\":\"snap_1\","      \
    "\"unknown_key_of_a_name_that_is_longer_than_any_that_we_know_of\":{\"a\":[1,-2.5e3,true,{}]},"          \
    "\"min_applied_lsn\":18446744073709551615,\"path\":\"lsn_1\"}"

static void other_versions(void **state)
{
    struct snapshot_latest l = decode(V1_TEXT);
    assert_int_equal(l.retained.len, 1);
    assert_true(l.retained.items[0].lsn == UINT64_MAX);
    assert_string_equal(l.owner.cluster_name, "cA\n\xf0\x9f\x98\x80");
    assert_int_equal(l.owner.fingerprint, 0);
    snapshot_latest_free(&l);
    static const struct {
        const char *text;
        enum rc rc;
    } cases[] = {
        {"", RC_CORRUPT},
        {"{", RC_CORRUPT},
        {"{}", RC_CORRUPT},
        {"[]", RC_CORRUPT},
        {"{\"version\":\"V3\"}", RC_UNSUPPORTED},
        {"{\"version\":\"V2\"}", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a/b\",\"snapshot_id\":\"s\"}", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"..\",\"snapshot_id\":\"s\"}", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a\",\"snapshot_id\":\"s\",\"partition_id\":65536}", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a\",\"snapshot_id\":\"s\",\"min_applied_lsn\":18446744073709551616}",
         RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a\",\"snapshot_id\":\"s\"} x", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a\",\"snapshot_id\":\"s\\q\"}", RC_CORRUPT},
        {"{\"version\":\"V2\",\"path\":\"a\",\"snapshot_id\":\"s\"}", RC_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        enum rc rc = snapshot_latest_decode(slice_cstr(cases[i].text), &l, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %s", cases[i].text, rc_name(rc));
        if (rc == RC_OK)
            snapshot_latest_free(&l);
    }
    /* nesting without end is refused, not followed */
    char deep[400];
    snprintf(deep, sizeof(deep), "{\"x\":%.*s", 300,
             "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
    struct err err = {0};
    assert_int_equal(snapshot_latest_decode(slice_cstr(deep), &l, &err), RC_CORRUPT);
}

static void metadata_round_trip(void **state)
{
    struct snapshot_metadata m = {.owner = {.partition_id = 7, .log_id = 8, .fingerprint = UINT64_MAX},
                                  .key_start = 13835058055282163712u,
                                  .key_end = UINT64_MAX};
    snprintf(m.owner.cluster_name, sizeof(m.owner.cluster_name), "a\"b");
    snprintf(m.comparator, sizeof(m.comparator), SNAPSHOT_COMPARATOR);
    snapshot_ref_make(&m.ref, (struct u128){1, 2}, 99, 1795369983111);
    struct snapshot_file_entry f = {
        .name = "/000000.data", .size = 1234, .rows = 5, .checksum = 0xfedcba9876543210};
    f.start_key = xstrdup("01");
    f.end_key = xstrdup("0eff");
    VEC_PUSH(&m.files, f);
    struct writer w = WRITER_INIT;
    snapshot_metadata_encode(&w, &m);
    struct snapshot_metadata again;
    struct err err = {0};
    assert_int_equal(snapshot_metadata_decode(writer_slice(&w), &again, &err), RC_OK);
    assert_string_equal(again.owner.cluster_name, "a\"b");
    assert_true(again.owner.fingerprint == UINT64_MAX && again.key_end == UINT64_MAX);
    assert_true(again.key_start == 13835058055282163712u);
    assert_int_equal(again.ref.lsn, 99);
    assert_string_equal(again.ref.id, m.ref.id);
    assert_int_equal(again.files.len, 1);
    assert_string_equal(again.files.items[0].name, "/000000.data");
    assert_true(again.files.items[0].checksum == 0xfedcba9876543210);
    snapshot_metadata_free(&again);
    snapshot_metadata_free(&m);
    writer_free(&w);
}

static void data_of_others_is_refused(void **state)
{
    struct snapshot_metadata m;
    struct err err = {0};
    assert_int_equal(snapshot_metadata_decode(slice_cstr(foreign_metadata), &m, &err), RC_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "leveldb.BytewiseComparator"));
}

static void names_and_times(void **state)
{
    lsn_t lsn;
    assert_true(snapshot_path_lsn(SLICE_LIT("lsn_00000000000000029721-snap_x"), &lsn));
    assert_int_equal(lsn, 29721);
    assert_false(snapshot_path_lsn(SLICE_LIT("lsn_00000000000000029721"), &lsn));
    assert_false(snapshot_path_lsn(SLICE_LIT("lsn_99999999999999999999-snap_x"), &lsn));
    assert_false(snapshot_path_lsn(SLICE_LIT("latest.json"), &lsn));
    assert_true(snapshot_time_parse("2026-11-22T17:53:03.111Z") == 1795369983111);
    assert_true(snapshot_time_parse("2026-11-22T17:53:03Z") == 1795369983000);
    assert_true(snapshot_time_parse("2024-02-29T00:00:00.000000Z") == 1709164800000);
    assert_true(snapshot_time_parse("1970-01-01T00:00:01+00:00") == 1000);
    assert_int_equal(snapshot_time_parse("yesterday"), 0);
    assert_int_equal(snapshot_time_parse(""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latest_is_the_vector),
        cmocka_unit_test(two_retained),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(metadata_round_trip),
        cmocka_unit_test(data_of_others_is_refused),
        cmocka_unit_test(names_and_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Gossip messages: what is written is read back; a cut or bent one is refused; a newer sender is understood.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/gossip_message.h"

static const struct gossip_header header = {
    .from = {3, 200},
    .fingerprint = UINT64_C(0xfedcba9876543210),
    .tick = 1000,
    .seq = UINT64_MAX,
    .uptime_ms = 99,
    .flags = GOSSIP_FAILING_OVER | GOSSIP_LONELY,
    .versions = {1, 2, 300, UINT32_MAX},
};
static const struct gossip_node nodes[] = {{{1, 1}, 0, 0, GOSSIP_NODE_HEARD},
                                           {{2, UINT32_MAX}, UINT64_MAX, UINT64_MAX, GOSSIP_NODE_DEAD},
                                           {{700, 3}, 5, 150, 0}};
static const struct gossip_status statuses[] = {
    {{.partition = 1, .mode = PARTITION_MODE_FOLLOWER, .run = PARTITION_RUN_STARTING}, 0},
    {{.partition = 11,
      .mode = PARTITION_MODE_LEADER,
      .run = PARTITION_RUN_BROKEN,
      .planned_leader = true,
      .leader_epoch = UINT64_MAX,
      .leader = {UINT32_MAX, UINT32_MAX},
      .epoch_metadata_version = UINT32_MAX,
      .schema_version = UINT32_MAX,
      .rule_book_version = UINT32_MAX,
      .applied = UINT64_MAX,
      .tail = UINT64_MAX,
      .target_tail = UINT64_MAX,
      .durable = UINT64_MAX,
      .archived = UINT64_MAX,
      .record_applied_ms = UINT64_MAX,
      .features = UINT32_MAX},
     UINT64_MAX}};

static struct bytes sample(void)
{
    struct writer w = WRITER_INIT;
    gossip_begin(&w, &header);
    size_t start = gossip_nodes_begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        gossip_put_node(&w, &nodes[i]);
    gossip_section_end(&w, start);
    start = gossip_statuses_begin(&w, (struct gossip_cover){10, 1, 0, 40});
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        size_t before = w.len;
        gossip_put_status(&w, &statuses[i]);
        assert_true(w.len - before <= GOSSIP_STATUS_MAX);
    }
    gossip_section_end(&w, start);
    start = gossip_epochs_begin(&w);
    gossip_put_epoch(&w, 0, 1);
    gossip_put_epoch(&w, UINT16_MAX, UINT32_MAX);
    gossip_section_end(&w, start);
    return writer_take(&w);
}

static void check_sample(const struct gossip_message *m)
{
    assert_int_equal(m->header.from.id, 3);
    assert_int_equal(m->header.from.generation, 200);
    assert_true(m->header.fingerprint == header.fingerprint && m->header.seq == header.seq);
    assert_int_equal(m->header.tick, 1000);
    assert_int_equal(m->header.uptime_ms, 99);
    assert_int_equal(m->header.flags, header.flags);
    assert_memory_equal(m->header.versions, header.versions, sizeof(header.versions));
    assert_true(m->has_nodes && m->has_statuses && m->has_epochs);
    struct slice section = m->nodes;
    struct gossip_node n;
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        assert_true(gossip_next_node(&section, &n));
        assert_true(node_ref_eq(n.node, nodes[i].node) && n.tick == nodes[i].tick &&
                    n.age_ms == nodes[i].age_ms && n.flags == nodes[i].flags);
    }
    assert_false(gossip_next_node(&section, &n));
    section = m->statuses;
    struct gossip_status s = {0};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        assert_true(gossip_next_status(&section, &s));
        assert_true(s.age_ms == statuses[i].age_ms);
        struct writer a = WRITER_INIT, b = WRITER_INIT;
        gossip_put_status(&a, &s);
        gossip_put_status(&b, &statuses[i]);
        assert_true(slice_eq(writer_slice(&a), writer_slice(&b)));
        writer_free(&a);
        writer_free(&b);
    }
    assert_false(gossip_next_status(&section, &s));
    section = m->epochs;
    uint16_t partition;
    uint32_t version;
    assert_true(gossip_next_epoch(&section, &partition, &version) && partition == 0 && version == 1);
    assert_true(gossip_next_epoch(&section, &partition, &version) && partition == UINT16_MAX &&
                version == UINT32_MAX);
    assert_false(gossip_next_epoch(&section, &partition, &version));
}

static void test_round_trip(void **state)
{
    struct bytes b = sample();
    struct gossip_message m;
    assert_int_equal(gossip_message_decode(bytes_slice(b), &m, NULL), RC_OK);
    check_sample(&m);
    assert_int_equal(m.cover.divisor, 10);
    assert_int_equal(m.cover.to, 40);
    bytes_unref(&b);
}

/* Cut anywhere but between sections it is malformed. */
static void test_cut_message_is_refused(void **state)
{
    struct bytes b = sample();
    struct gossip_message m;
    size_t accepted = 0;
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = malloc(n + 1); /* of exact size for the sanitizer */
        memcpy(copy, b.ptr, n);
        accepted += gossip_message_decode(slice_make(copy, n), &m, NULL) == RC_OK;
        free(copy);
    }
    assert_int_equal(accepted, 3);
    bytes_unref(&b);
}

static enum rc decode_with(size_t at, uint8_t value)
{
    struct bytes b = sample();
    uint8_t *copy = malloc(b.len);
    memcpy(copy, b.ptr, b.len);
    copy[at] = value;
    struct gossip_message m;
    enum rc rc = gossip_message_decode(slice_make(copy, b.len), &m, NULL);
    free(copy);
    bytes_unref(&b);
    return rc;
}

static void test_refusals(void **state)
{
    struct err err = {0};
    struct gossip_message m;
    assert_int_equal(decode_with(0, 0), RC_UNSUPPORTED);
    assert_int_equal(decode_with(1, 2), RC_UNSUPPORTED); /* written for readers of version 2 */
    assert_int_equal(decode_with(2, 0), RC_INVALID);     /* node 0 */
    uint8_t *large = calloc(1, GOSSIP_MESSAGE_MAX + 1);
    assert_int_equal(gossip_message_decode(slice_make(large, GOSSIP_MESSAGE_MAX + 1), &m, &err),
                     RC_TOO_LARGE);
    free(large);
    /* A status that the cover excludes; statuses out of order; a section twice. */
    struct gossip_cover covers[] = {{10, 2, 0, 40}, {10, 1, 0, 10}, {10, 1, 2, 40}, {1, 1, 0, 40}};
    for (size_t i = 0; i < ARRAY_LEN(covers); i++) {
        struct writer w = WRITER_INIT;
        gossip_begin(&w, &header);
        size_t start = gossip_statuses_begin(&w, covers[i]);
        gossip_put_status(&w, &statuses[0]);
        gossip_put_status(&w, &statuses[1]);
        gossip_section_end(&w, start);
        assert_int_equal(gossip_message_decode(writer_slice(&w), &m, NULL), RC_INVALID);
        writer_free(&w);
    }
    struct writer w = WRITER_INIT;
    gossip_begin(&w, &header);
    size_t start = gossip_statuses_begin(&w, (struct gossip_cover){0});
    gossip_put_status(&w, &statuses[1]);
    gossip_put_status(&w, &statuses[0]);
    gossip_section_end(&w, start);
    assert_int_equal(gossip_message_decode(writer_slice(&w), &m, NULL), RC_INVALID);
    writer_reset(&w);
    gossip_begin(&w, &header);
    for (int i = 0; i < 2; i++)
        gossip_section_end(&w, gossip_epochs_begin(&w));
    assert_int_equal(gossip_message_decode(writer_slice(&w), &m, NULL), RC_INVALID);
    writer_free(&w);
}

/* A sender of the next version: more fields in entries, another mode, a section that we do not know. */
static void test_newer_sender(void **state)
{
    static const uint8_t extra[] = {9, 9, 9};
    for (uint8_t version = 1; version <= 2; version++) {
        struct writer w = WRITER_INIT;
        gossip_begin(&w, &header);
        w.buf->data[0] = version;
        size_t start = gossip_statuses_begin(&w, (struct gossip_cover){0});
        gossip_put_status(&w, &statuses[0]);
        size_t entry = w.len;
        gossip_put_status(&w, &statuses[1]);
        w.buf->data[entry + 2 + 2] = 77; /* mode */
        write_raw(&w, extra, sizeof(extra));
        size_t len = w.len - entry - 2;
        w.buf->data[entry] = (uint8_t)(len | 0x80);
        w.buf->data[entry + 1] = (uint8_t)(len >> 7);
        gossip_section_end(&w, start);
        write_u8(&w, 200); /* tag */
        write_u32le(&w, sizeof(extra));
        write_raw(&w, extra, sizeof(extra));
        struct gossip_message m;
        enum rc rc = gossip_message_decode(writer_slice(&w), &m, NULL);
        assert_int_equal(rc, version == 1 ? RC_INVALID : RC_OK);
        if (rc == RC_OK) {
            struct gossip_status s;
            assert_int_equal(m.header.version, 2);
            assert_true(gossip_next_status(&m.statuses, &s) && gossip_next_status(&m.statuses, &s));
            assert_int_equal(s.status.mode, PARTITION_MODE_FOLLOWER); /* promises least */
            assert_true(s.age_ms == UINT64_MAX);
            assert_false(gossip_next_status(&m.statuses, &s));
        }
        writer_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_message_is_refused),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_newer_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

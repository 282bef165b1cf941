/* The replicated log's messages: what is written is read back, each kind; a cut or bent frame is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/loglet_message.h"

static const struct bytes bodies[] = {
    {(const uint8_t *)"one", 3, NULL}, {(const uint8_t *)"", 0, NULL}, {(const uint8_t *)"three", 5, NULL}};
static const struct loglet_range ranges[] = {{1, 4, LOGLET_RANGE_TRIMMED}, {7, 7, LOGLET_RANGE_EXISTS}};

/* A message of the kind with every field that belongs to it. */
static struct loglet_message sample(enum loglet_message_kind kind)
{
    struct loglet_message m = {.kind = kind,
                               .request_id = 300,
                               .loglet_id = UINT64_C(3) << 32 | 7,
                               .committed_tail = 9,
                               .repaired_tail = 1};
    if (loglet_message_is_reply(kind)) {
        m.status = LOGLET_OUT_OF_BOUNDS;
        m.sealed = true;
        m.local_tail = 12;
        m.trim_point = 4;
    }
    if (kind == LOGLET_STORE || kind == LOGLET_SEAL)
        m.sequencer = (struct node_ref){4, 200};
    if (kind == LOGLET_STORE || kind == LOGLET_RECORDS) {
        m.first_offset = 9;
        m.records = bodies;
        m.n_records = 3;
    }
    if (kind == LOGLET_STORE)
        m.flags = LOGLET_IGNORE_SEAL;
    if (kind == LOGLET_STORE || kind == LOGLET_WAIT_FOR_TAIL)
        m.timeout_ms = 2000;
    if (kind == LOGLET_GET_RECORDS || kind == LOGLET_GET_DIGEST || kind == LOGLET_WAIT_FOR_TAIL)
        m.from = 5;
    if (kind == LOGLET_GET_RECORDS || kind == LOGLET_GET_DIGEST || kind == LOGLET_TRIM)
        m.to = 8;
    if (kind == LOGLET_GET_RECORDS)
        m.max_bytes = 32768;
    if (kind == LOGLET_RECORDS || kind == LOGLET_DIGEST)
        m.next_offset = 12;
    if (kind == LOGLET_DIGEST) {
        m.ranges = ranges;
        m.n_ranges = 2;
    }
    return m;
}

static void assert_same(const struct loglet_message *a, const struct loglet_message *b)
{
    struct loglet_message x = *a, y = *b;
    assert_int_equal(x.n_records, y.n_records);
    for (uint32_t i = 0; i < x.n_records; i++)
        assert_true(slice_eq(bytes_slice(x.records[i]), bytes_slice(y.records[i])));
    assert_int_equal(x.n_ranges, y.n_ranges);
    for (uint32_t i = 0; i < x.n_ranges; i++)
        assert_true(x.ranges[i].from == y.ranges[i].from && x.ranges[i].to == y.ranges[i].to &&
                    x.ranges[i].kind == y.ranges[i].kind);
    x.records = y.records = NULL;
    x.ranges = y.ranges = NULL;
    struct writer wx = WRITER_INIT, wy = WRITER_INIT;
    x.n_records = y.n_records = x.n_ranges = y.n_ranges = 0;
    loglet_message_encode(&wx, &x);
    loglet_message_encode(&wy, &y);
    assert_true(slice_eq(writer_slice(&wx), writer_slice(&wy)));
    assert_int_equal(x.timeout_ms, y.timeout_ms);
    writer_free(&wx);
    writer_free(&wy);
}

static void every_kind_is_read_back(void **state)
{
    struct loglet_message_room *room = malloc(sizeof(*room));
    for (int kind = LOGLET_STORE; kind < LOGLET_MESSAGE_KINDS; kind++) {
        struct loglet_message m = sample((enum loglet_message_kind)kind), got;
        struct writer w = WRITER_INIT;
        loglet_message_encode(&w, &m);
        struct bytes frame = writer_take(&w);
        assert_true(loglet_message_decode(frame, room, &got));
        assert_same(&m, &got);
        /* The head alone is a prefix, and the bodies follow it. */
        struct writer head = WRITER_INIT;
        loglet_message_encode_head(&head, &m);
        assert_int_equal(head.len + loglet_message_body_bytes(&m), frame.len);
        assert_memory_equal(writer_slice(&head).ptr, frame.ptr, head.len);
        writer_free(&head);
        /* No proper prefix is a message, nor one with something behind it. */
        for (size_t len = 0; len < frame.len; len++)
            assert_false(loglet_message_decode(bytes_static(slice_make(frame.ptr, len)), room, &got));
        struct writer longer = WRITER_INIT;
        write_slice_raw(&longer, bytes_slice(frame));
        write_u8(&longer, 0);
        assert_false(loglet_message_decode(bytes_static(writer_slice(&longer)), room, &got));
        writer_free(&longer);
        bytes_unref(&frame);
    }
    free(room);
}

static bool decodes(const struct loglet_message *m)
{
    struct loglet_message_room *room = malloc(sizeof(*room));
    struct loglet_message got;
    struct writer w = WRITER_INIT;
    loglet_message_encode(&w, m);
    bool good = loglet_message_decode(bytes_static(writer_slice(&w)), room, &got);
    writer_free(&w);
    free(room);
    return good;
}

static void impossible_values_are_refused(void **state)
{
    struct loglet_message m = sample(LOGLET_GET_RECORDS);
    m.to = 4; /* before from */
    assert_false(decodes(&m));
    m = sample(LOGLET_STORE);
    m.first_offset = 0;
    assert_false(decodes(&m));
    m.first_offset = LOGLET_OFFSET_MAX - 1; /* three records do not fit */
    assert_false(decodes(&m));
    m = sample(LOGLET_RELEASE);
    m.committed_tail = 0;
    assert_false(decodes(&m));
    static const struct loglet_range overlapping[] = {{1, 4, LOGLET_RANGE_EXISTS},
                                                      {4, 5, LOGLET_RANGE_EXISTS}};
    m = sample(LOGLET_DIGEST);
    m.ranges = overlapping;
    assert_false(decodes(&m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read_back),
        cmocka_unit_test(impossible_values_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The protobuf cursor accepts well-formed messages of any field and refuses the rest; the writer makes what
 * the cursor reads. */
#include "wire/pb.h"

#include "wire_test.h"

static void every_wire_type_is_read(void **state)
{
    struct slice m = unhex("089601"
                           "11efcdab9078563412"
                           "1a03616263"
                           "2578563412");
    struct reader r = reader_make(m);
    struct pb_field f;
    assert_true(pb_next(&r, &f));
    assert_true(f.number == 1 && f.wire == PB_VARINT && f.value == 150);
    assert_true(pb_next(&r, &f));
    assert_true(f.number == 2 && f.wire == PB_FIXED64 && f.value == 0x1234567890abcdefu);
    assert_true(pb_next(&r, &f));
    assert_true(f.number == 3 && f.wire == PB_LEN);
    assert_slice(f.bytes, SLICE_LIT("abc"));
    assert_true(pb_next(&r, &f));
    assert_true(f.number == 4 && f.wire == PB_FIXED32 && f.value == 0x12345678u);
    assert_false(pb_next(&r, &f));
    assert_true(reader_done(&r));
    free_slice(m);
}

static void malformed_messages_are_refused(void **state)
{
    static const char *const bad[] = {
        "00",         /* field number 0 */
        "0b",         /* group */
        "0c",         /* end of group */
        "0e",         /* wire type 6 */
        "08",         /* value missing */
        "0880",       /* varint cut off */
        "0a05616263", /* length beyond the end */
        "0affffffffffffffffff01",
        "08ffffffffffffffffff7f", /* more than 64 bits */
        "110102",
        "2501",
        "8080808010"
        "00", /* field number above 2^29 - 1 */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice m = unhex(bad[i]);
        if (pb_valid(m))
            fail_msg("%s was accepted", bad[i]);
        free_slice(m);
    }
    assert_true(pb_valid(SLICE_EMPTY));
}

static void packed_numbers(void **state)
{
    struct slice m = unhex("01960100");
    struct reader r = reader_make(m);
    uint64_t v, sum = 0;
    while (pb_packed_next(&r, &v))
        sum += v;
    assert_true(reader_done(&r) && sum == 151);
    free_slice(m);
}

static void sizes_agree_with_what_is_written(void **state)
{
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct writer w = WRITER_INIT;
        write_varint(&w, values[i]);
        assert_int_equal(w.len, pb_varint_size(values[i]));
        writer_free(&w);
    }
    static const uint32_t numbers[] = {1, 15, 16, 2047, 2048};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct writer w = WRITER_INIT;
        uint8_t payload[200] = {0};
        pb_write_bytes(&w, numbers[i], slice_make(payload, sizeof(payload)));
        assert_int_equal(w.len, pb_len_field_size(numbers[i], sizeof(payload)));
        writer_free(&w);
    }
}

static void defaults_are_omitted_unless_asked_for(void **state)
{
    struct writer w = WRITER_INIT;
    pb_write_u64(&w, 1, 0);
    pb_write_bool(&w, 2, false);
    pb_write_bytes(&w, 3, SLICE_EMPTY);
    assert_int_equal(w.len, 0);
    pb_write_u64_always(&w, 1, 0);
    pb_write_bytes_always(&w, 14, SLICE_EMPTY);
    pb_write_bool(&w, 16, true);
    assert_hex(writer_slice(&w), "08007200800101");
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wire_type_is_read),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(packed_numbers),
        cmocka_unit_test(sizes_agree_with_what_is_written),
        cmocka_unit_test(defaults_are_omitted_unless_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Writer and reader: what is written is read back, reads past the end fail for good, JSON escaping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/codec.h"

static void test_round_trip(void **state)
{
    static const uint64_t varints[] = {0, 1, 127, 128, 300, UINT32_MAX, 1ull << 63, UINT64_MAX};
    struct writer w = WRITER_INIT;
    write_u8(&w, 0xab);
    write_u16le(&w, 0x1234);
    write_u32le(&w, 0x12345678);
    write_u64le(&w, 0x1122334455667788);
    write_u16be(&w, 0x1234);
    write_u32be(&w, 0x12345678);
    write_u64be(&w, 0x1122334455667788);
    for (size_t i = 0; i < ARRAY_LEN(varints); i++)
        write_varint(&w, varints[i]);
    write_lp(&w, SLICE_LIT("payload"));
    write_fmt(&w, "%s-%d", "n", 42);
    assert_memory_equal(writer_slice(&w).ptr + 15, "\x12\x34\x12\x34\x56\x78\x11\x22",
                        8); /* big-endian part */

    struct bytes out = writer_take(&w);
    struct reader r = reader_make(bytes_slice(out));
    assert_int_equal(read_u8(&r), 0xab);
    assert_int_equal(read_u16le(&r), 0x1234);
    assert_int_equal(read_u32le(&r), 0x12345678);
    assert_int_equal(read_u64le(&r), 0x1122334455667788);
    assert_int_equal(read_u16be(&r), 0x1234);
    assert_int_equal(read_u32be(&r), 0x12345678);
    assert_int_equal(read_u64be(&r), 0x1122334455667788);
    for (size_t i = 0; i < ARRAY_LEN(varints); i++)
        assert_true(read_varint(&r) == varints[i]);
    assert_true(slice_eq(read_lp(&r), SLICE_LIT("payload")));
    assert_true(slice_eq(read_raw(&r, 4), SLICE_LIT("n-42")));
    assert_true(reader_done(&r));
    bytes_unref(&out);
}

static void test_reader_fails_for_good(void **state)
{
    struct reader r = reader_make(SLICE_LIT("\x01\x02"));
    assert_int_equal(read_u32le(&r), 0);
    assert_true(r.failed);
    assert_int_equal(read_u8(&r), 0); /* although a byte would have been there */
    assert_false(reader_done(&r));

    r = reader_make(SLICE_LIT("\x05"
                              "abc")); /* length prefix beyond the end */
    assert_int_equal(read_lp(&r).len, 0);
    assert_true(r.failed);

    r = reader_make(SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")); /* 65 bits */
    read_varint(&r);
    assert_true(r.failed);
    r = reader_make(SLICE_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
    read_varint(&r);
    assert_true(r.failed);
    r = reader_make(SLICE_LIT("\x80"));
    read_varint(&r);
    assert_true(r.failed);
    r = reader_make(SLICE_EMPTY);
    assert_true(reader_done(&r));
    read_u8(&r);
    assert_true(r.failed);
}

static void test_writer_grows_and_resets(void **state)
{
    struct writer w;
    writer_init(&w, 4);
    for (unsigned i = 0; i < 10000; i++)
        write_u32le(&w, i);
    assert_int_equal(w.len, 40000);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(get_u32le(writer_slice(&w).ptr + 4 * i), i);
    writer_reset(&w);
    assert_int_equal(writer_slice(&w).len, 0);
    char big[1000];
    memset(big, 'q', sizeof(big));
    big[999] = 0;
    write_fmt(&w, "%s|%s", big, big);
    assert_int_equal(w.len, 1999);
    writer_free(&w);
    struct bytes none = writer_take(&w);
    assert_int_equal(none.len, 0);
    writer_init(&w, 10);
    none = writer_take(&w); /* nothing written: no buffer stays behind */
    assert_null(none.owner);
}

static void test_json_string(void **state)
{
    struct writer w = WRITER_INIT;
    write_json_string(&w, SLICE_LIT("a\"b\\\n\t\x01\xc3\xa9\xff z"));
    assert_true(slice_eq(writer_slice(&w), SLICE_LIT("\"a\\\"b\\\\\\n\\t\\u0001\xc3\xa9\xef\xbf\xbd z\"")));
    writer_reset(&w);
    write_json_string(&w, SLICE_EMPTY);
    assert_true(slice_eq(writer_slice(&w), SLICE_LIT("\"\"")));
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_reader_fails_for_good),
        cmocka_unit_test(test_writer_grows_and_resets),
        cmocka_unit_test(test_json_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

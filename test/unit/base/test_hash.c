/* Hashes and text codecs against published vectors and those of spec/service-protocol.md §11,
 * spec/invocation-lifecycle.md §2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/hash.h"

static void test_hash64(void **state)
{
    assert_true(hash64(SLICE_EMPTY) == 0x2d06800538d394c2);
    assert_true(hash64(SLICE_LIT("a")) == 0xe6c632b61e964e1f);
    assert_true(hash64(SLICE_LIT("\xff")) == 0xd6bcec3c6b29d72e);
    assert_true(hash64(SLICE_LIT("a\xff")) == 0x13acce3537d6b799);
    assert_true(hash64(SLICE_LIT("mykey\xff")) == 0x7965cb547adea41a);
    assert_true(hash64(SLICE_LIT("Greeter\xffunscoped/service\xff\0\0\0\0\0\0\0\0")) == 0xb8482bbd25b7de4a);
    assert_true(hash64_combine(hash64_combine(0, 1), 2) != hash64_combine(hash64_combine(0, 2), 1));
}

static void test_crc32c(void **state)
{
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
    uint8_t zeros[32] = {0}, data[1000];
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + (i >> 3));
    for (size_t len = 0; len < sizeof(data); len += 7) {
        uint32_t whole = crc32c(0, data, len);
        assert_int_equal(whole, crc32c_portable(0, data, len));
        assert_int_equal(whole,
                         crc32c(crc32c(0, data, len / 3), data + len / 3, len - len / 3)); /* running */
    }
}

static uint64_t seed_of(const char *id_hex)
{
    uint8_t in[32] = {0x18};
    assert_true(hex_decode(slice_cstr(id_hex), in + 8));
    return siphash13(slice_make(in, sizeof(in)));
}

static void test_siphash13_random_seeds(void **state)
{
    assert_true(seed_of("4bb38163eb3d439b1142dfc9935cf983ce54d1cc9730795a") == 6901092853594379197ull);
    assert_true(seed_of("548ae3cba54055b32f4bbb5855fdbedd54ffeb8d459728ba") == 6162218336069523142ull);
    assert_true(seed_of("548ae3cba54055b3d781d0d3687e0b766e72aec78a5adcbe") == 14721899506219678995ull);
    assert_true(seed_of("0102030405060708090a0b0c0d0e0f101112131415161718") == 15533405192183074856ull);
}

static void check_base62_u64(uint64_t v, const char *text)
{
    char out[BASE62_U64_WIDTH];
    uint64_t back = ~v;
    base62_encode_u64(v, out);
    assert_memory_equal(out, text, BASE62_U64_WIDTH);
    assert_true(base62_decode_u64(slice_cstr(text), &back));
    assert_true(back == v);
}

static void check_base62_u128(struct u128 v, const char *text)
{
    char out[BASE62_U128_WIDTH];
    struct u128 back = {~v.hi, ~v.lo};
    base62_encode_u128(v, out);
    assert_memory_equal(out, text, BASE62_U128_WIDTH);
    assert_true(base62_decode_u128(slice_cstr(text), &back));
    assert_true(u128_eq(back, v));
}

static void test_base62(void **state)
{
    check_base62_u64(0, "00000000000");
    check_base62_u64(1, "00000000001");
    check_base62_u64(61, "0000000000Z");
    check_base62_u64(1ull << 56, "05k1wlNFHb2"); /* the swapped 1 of service-protocol.md §11.1 */
    check_base62_u64(UINT64_MAX, "lYGhA16ahyf");
    check_base62_u64(__builtin_bswap64(0x7965cb547adea41a), "2hPbbPvjccF");
    check_base62_u128((struct u128){0, 0}, "0000000000000000000000");
    check_base62_u128((struct u128){1ull << 56, 0}, "01SZwviYzes2mjOamuMJWw");
    check_base62_u128((struct u128){UINT64_MAX, UINT64_MAX}, "7N42dgm5tFLK9N8MT7fHC7");
    uint64_t v;
    struct u128 w;
    assert_false(base62_decode_u64(SLICE_LIT("lYGhA16ahyg"), &v)); /* 2^64 */
    assert_false(base62_decode_u64(SLICE_LIT("ZZZZZZZZZZZ"), &v));
    assert_false(base62_decode_u64(SLICE_LIT("0000000000-"), &v));
    assert_false(base62_decode_u64(SLICE_LIT("0"), &v));
    assert_false(base62_decode_u128(SLICE_LIT("7N42dgm5tFLK9N8MT7fHC8"), &w));
    assert_false(base62_decode_u128(SLICE_LIT("ZZZZZZZZZZZZZZZZZZZZZZ"), &w));
    assert_false(base62_decode_u128(SLICE_EMPTY, &w));
}

static void check_base64(const char *plain, const char *padded, const char *url)
{
    char text[64];
    uint8_t back[64];
    size_t n = base64_encode(slice_cstr(plain), text), len = 99;
    assert_true(slice_eq_cstr(slice_make(text, n), padded));
    n = base64url_encode(slice_cstr(plain), text);
    assert_true(slice_eq_cstr(slice_make(text, n), url));
    assert_true(base64_decode(slice_cstr(padded), back, &len));
    assert_true(slice_eq_cstr(slice_make(back, len), plain));
    assert_true(base64_decode(slice_cstr(url), back, &len));
    assert_true(slice_eq_cstr(slice_make(back, len), plain));
}

static void test_base64(void **state)
{
    check_base64("", "", "");
    check_base64("f", "Zg==", "Zg");
    check_base64("fo", "Zm8=", "Zm8");
    check_base64("foo", "Zm9v", "Zm9v");
    check_base64("foobar", "Zm9vYmFy", "Zm9vYmFy");
    check_base64("\xfb\xef\xff", "++//", "--__");
    static const char *const bad[] = {"A",    "Zg=",   "Zg===", "Z===",   "====", "=",
                                      "Zg=a", "Zm9v=", "Z m9v", "Zm9v\n", "Zh=="};
    uint8_t out[16];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(base64_decode(slice_cstr(bad[i]), out, &len));
    /* An awakeable id of service-protocol.md §11.4: the text after the version digit. */
    uint8_t id[33];
    char hex[56];
    assert_true(base64_decode(SLICE_LIT("-LC7YetatLY_M0cBWuK1lWfTugg_IpxWAAAAEQ"), id, &len));
    assert_int_equal(len, 28);
    hex_encode(slice_make(id, len), hex);
    assert_memory_equal(hex, "f8b0bb61eb5ab4b63f3347015ae2b59567d3ba083f229c5600000011", 56);
}

static void check_utf8(uint32_t code_point, const char *expected)
{
    struct writer w = WRITER_INIT;
    write_utf8(&w, code_point);
    assert_true(slice_eq(writer_slice(&w), slice_make(expected, MAX(strlen(expected), 1))));
    writer_free(&w);
}

static void test_utf8(void **state)
{
    check_utf8(0, "");
    check_utf8(0x7f, "\x7f");
    check_utf8(0x80, "\xc2\x80");
    check_utf8(0x7ff, "\xdf\xbf");
    check_utf8(0x800, "\xe0\xa0\x80");
    check_utf8(0xffff, "\xef\xbf\xbf");
    check_utf8(0x10000, "\xf0\x90\x80\x80");
    check_utf8(0x10ffff, "\xf4\x8f\xbf\xbf");
}

static void test_writing(void **state)
{
    struct writer w = WRITER_INIT;
    write_hex(&w, SLICE_LIT("\xff\x01"));
    write_base64url(&w, SLICE_LIT("\xfb\xef\xff\xfb"));
    write_hex(&w, SLICE_EMPTY);
    assert_true(slice_eq_cstr(writer_slice(&w), "ff01--__-w"));
    writer_free(&w);
}

static void test_hex_and_percent(void **state)
{
    uint8_t out[4];
    assert_true(hex_decode(SLICE_LIT("00fFaB"), out));
    assert_memory_equal(out, "\x00\xff\xab", 3);
    assert_false(hex_decode(SLICE_LIT("0"), out));
    assert_false(hex_decode(SLICE_LIT("0g"), out));
    struct writer w = WRITER_INIT;
    percent_encode(&w, SLICE_LIT("a b/\xc3\xa9~-_.+"));
    assert_true(slice_eq_cstr(writer_slice(&w), "a%20b%2F%C3%A9~-_.%2B"));
    struct bytes encoded = writer_take(&w);
    percent_decode(&w, bytes_slice(encoded));
    assert_true(slice_eq_cstr(writer_slice(&w), "a b/\xc3\xa9~-_.+"));
    bytes_unref(&encoded);
    writer_reset(&w);
    percent_decode(&w, SLICE_LIT("%4%zz%41+%"));
    assert_true(slice_eq_cstr(writer_slice(&w), "%4%zzA+%"));
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash64),
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_siphash13_random_seeds),
        cmocka_unit_test(test_base62),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_writing),
        cmocka_unit_test(test_hex_and_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

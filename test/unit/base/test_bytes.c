/* Slices and reference-counted bytes: comparison, UTF-8 validity, reference counting, error texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void test_slice_compare(void **state)
{
    assert_int_equal(slice_cmp(SLICE_LIT("a"), SLICE_LIT("b")), -1);
    assert_int_equal(slice_cmp(SLICE_LIT("b"), SLICE_LIT("a")), 1);
    assert_int_equal(slice_cmp(SLICE_LIT("a"), SLICE_LIT("ab")), -1);
    assert_int_equal(slice_cmp(SLICE_EMPTY, SLICE_EMPTY), 0);
    assert_int_equal(slice_cmp(SLICE_LIT("\xff"), SLICE_LIT("\x01")), 1); /* unsigned */
    assert_true(slice_eq_nocase(SLICE_LIT("Content-Type"), SLICE_LIT("cONTENT-tYPE")));
    assert_false(slice_eq_nocase(SLICE_LIT("@"), SLICE_LIT("`"))); /* differ by 0x20 but are no letters */
    assert_true(slice_starts_with(SLICE_LIT("abc"), SLICE_LIT("ab")));
    assert_false(slice_starts_with(SLICE_LIT("a"), SLICE_LIT("ab")));
    assert_true(slice_starts_with(SLICE_EMPTY, SLICE_EMPTY));
    assert_true(slice_ends_with(SLICE_LIT("abc"), SLICE_LIT("bc")));
    assert_true(slice_eq_cstr(slice_trim(SLICE_LIT(" \t a\tb \t")), "a\tb"));
    assert_true(slice_eq_cstr(slice_trim(SLICE_LIT("\r\n")), "\r\n")); /* no other white space */
    assert_int_equal(slice_trim(SLICE_LIT(" \t ")).len, 0);
    assert_int_equal(slice_trim(SLICE_EMPTY).len, 0);
    assert_int_equal(slice_find(SLICE_LIT("a/b/c"), '/', 0), 1);
    assert_int_equal(slice_find(SLICE_LIT("a/b/c"), '/', 2), 3);
    assert_int_equal(slice_find(SLICE_LIT("a/b/c"), '/', 4), -1);
    assert_int_equal(slice_find(SLICE_EMPTY, '/', 0), -1);
    assert_int_equal(slice_sub(SLICE_EMPTY, 0, 0).len, 0);
}

static void test_utf8(void **state)
{
    static const char *const good[] = {"",
                                       "plain ascii text of some length",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "12345678\xf4\x8f\xbf\xbf",
                                       "\xed\x9f\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc3",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "12345678\xe2\x82"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(slice_is_utf8(slice_cstr(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(slice_is_utf8(slice_cstr(bad[i])));
    assert_true(slice_is_utf8(SLICE_EMPTY));
}

static void test_reference_counting(void **state)
{
    size_t before = buf_live_bytes();
    struct bytes a = bytes_copy(SLICE_LIT("hello world"));
    assert_int_equal(buf_live_bytes(), before + 11);
    struct bytes b = bytes_part(a, slice_make(a.ptr + 6, 5));
    bytes_unref(&a);
    assert_null(a.ptr);
    assert_int_equal(buf_live_bytes(), before + 11); /* still held by the part */
    assert_true(slice_eq(bytes_slice(b), SLICE_LIT("world")));
    bytes_unref(&b);
    assert_int_equal(buf_live_bytes(), before);
    struct bytes fixed = bytes_static(SLICE_LIT("static")), again = bytes_ref(fixed);
    bytes_unref(&fixed);
    assert_true(slice_eq(bytes_slice(again), SLICE_LIT("static")));
}

static void test_compact_frees_large_owner(void **state)
{
    size_t before = buf_live_bytes();
    struct buf *big = buf_new(1000);
    memset(big->data, 'x', 1000);
    struct bytes small = bytes_take_buf(big, 10, 100);
    bytes_compact(&small);
    assert_int_equal(small.len, 100);
    assert_int_equal(small.ptr[99], 'x');
    assert_int_equal(buf_live_bytes(), before + 100);
    const uint8_t *ptr = small.ptr;
    bytes_compact(&small); /* nothing to gain: stays */
    assert_ptr_equal(small.ptr, ptr);
    bytes_unref(&small);
}

static void test_err(void **state)
{
    struct err err = {0};
    assert_int_equal(err_set(&err, RC_INVALID, "bad %s", "thing"), RC_INVALID);
    err_prefix(&err, "reading %d: ", 7);
    assert_string_equal(err.msg, "reading 7: bad thing");
    err_set(&err, RC_INVALID, "%s!", err.msg); /* its own message as an argument */
    assert_string_equal(err.msg, "reading 7: bad thing!");
    assert_int_equal(err_set_errno(&err, RC_IO, ENOSPC, "writing"), RC_NO_SPACE);
    assert_string_equal(err.msg, "writing: No space left on device");
    assert_int_equal(err_set_errno(NULL, RC_IO, EACCES, "writing"), RC_IO);
    char text[2000];
    memset(text, 'y', sizeof(text));
    text[1999] = 0;
    err_set(&err, RC_IO, "%s", text);
    err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.msg), ERR_MESSAGE_SIZE - 1);
    assert_string_equal(rc_name(RC_LOST_LEADERSHIP), "lost_leadership");
    assert_string_equal(rc_name((enum rc)999), "unknown");
    char *s = xasprintf("%d-%s", 5, "x");
    assert_string_equal(s, "5-x");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_compare),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_reference_counting),
        cmocka_unit_test(test_compact_frees_large_owner),
        cmocka_unit_test(test_err),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Documents of the metadata store: JSON with whole 64-bit integers, the stored form (vector C3), JSON Patch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "tool/document.h"

static struct doc *parse(struct arena *a, const char *json)
{
    struct doc *d;
    struct err err = {0};
    assert_int_equal(doc_parse(a, slice_cstr(json), &d, &err), RC_OK);
    return d;
}

static char *printed(const struct doc *d)
{
    struct writer w = WRITER_INIT;
    doc_print(&w, d);
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

static void numbers_and_texts(void **state)
{
    struct arena a = {0};
    char *text = printed(
        parse(&a, " {\"b\":18446744073709551615,\"a\":[-9223372036854775808, 1.5, 1e3, -0, true,null,{} ,[]],"
                  "\"version\":3,\"t\":\"\\u00e9\\ud83d\\ude00\\n\"} "));
    assert_string_equal(
        text, "{\n  \"version\": 3,\n  \"a\": [\n    -9223372036854775808,\n    1.5,\n    1000.0,\n    0,\n  "
              "  true,\n"
              "    null,\n    {},\n    []\n  ],\n  \"b\": 18446744073709551615,\n  \"t\": \"é😀\\n\"\n}\n");
    free(text);
    arena_free(&a);
}

static void broken(void **state)
{
    static const char *const lines[] = {
        "",        "{",           "[1,",      "{\"a\":}",    "{\"a\" 1}",
        "nul",     "01",          "1x",       "\"\\ud800\"", "\"\x01\"",
        "[1 2]",   "{\"a\":1} x", "\"\xff\"", "-",           "{\"a\\u0000\":1}",
        "\"\\x\"", "1e999",       "[\"a",     "{1:2}",
    };
    struct arena a = {0};
    char deep[200];
    struct doc *d;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct err err = {0};
        assert_int_equal(doc_parse(&a, slice_cstr(lines[i]), &d, &err), RC_INVALID);
        assert_true(err.msg[0]);
    }
    memset(deep, '[', sizeof(deep));
    assert_int_equal(doc_parse(&a, slice_make(deep, sizeof(deep)), &d, NULL), RC_INVALID);
    arena_free(&a);
}

static void stored_form(void **state)
{
    /* the value inside vector C3 */
    static const char expected[] =
        "023000000076657273696f6e006100620001020363007800017900010601010107140416151121040104011a0c"
        "01085024080824";
    struct arena a = {0};
    struct writer w = WRITER_INIT;
    char hex[200] = {0};
    struct doc *back;
    doc_encode(&w, parse(&a, "{\"c\":{\"x\":\"y\"},\"a\":1,\"version\":77,\"b\":[1,2,3]}"), 1);
    assert_true(w.len * 2 < sizeof(hex));
    hex_encode(writer_slice(&w), hex);
    assert_memory_equal(hex, expected + 0, 10); /* codec and the length's place */
    assert_non_null(strstr(
        hex, "76657273696f6e006100620001020363007800017900010601010107140416151121040104011a0c010850240808"));
    assert_int_equal(doc_decode(&a, writer_slice(&w), &back, NULL), RC_OK);
    assert_true(doc_eq(back, parse(&a, "{\"a\":1,\"b\":[1,2,3],\"c\":{\"x\":\"y\"},\"version\":1}")));
    writer_reset(&w);
    /* everything comes back, floats and big numbers too */
    struct doc *all =
        parse(&a, "{\"version\":5,\"f\":[1.5,2,-3,true,null,\"x\"],\"g\":-2.25,\"u\":18446744073709551615}");
    doc_encode(&w, all, 5);
    assert_int_equal(doc_decode(&a, writer_slice(&w), &back, NULL), RC_OK);
    assert_true(doc_eq(back, all));
    struct err err = {0};
    assert_int_equal(doc_decode(&a, SLICE_LIT("\x06xx"), &back, &err), RC_UNSUPPORTED);
    assert_string_equal(err.msg, "unsupported codec kind: bilrost");
    assert_int_equal(doc_decode(&a, SLICE_LIT("\x05{\"version\":1}"), &back, &err), RC_OK);
    writer_free(&w);
    arena_free(&a);
}

static void patches(void **state)
{
    static const struct {
        const char *before, *patch, *after; /* NULL: refused */
    } cases[] = {
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1]}]", "{\"a\":1,\"b\":[1]}"},
        {"{\"l\":[1,3]}",
         "[{\"op\":\"add\",\"path\":\"/l/1\",\"value\":2},{\"op\":\"add\",\"path\":\"/l/-\",\"value\":4}]",
         "{\"l\":[1,2,3,4]}"},
        {"{\"l\":[1]}", "[{\"op\":\"add\",\"path\":\"/l/2\",\"value\":2}]", NULL},
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":2}"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", NULL},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":{\"c\":null}}]",
         "{\"a\":{\"b\":{\"c\":null}}}"},
        {"{\"l\":[1,2,3]}", "[{\"op\":\"replace\",\"path\":\"/l/1\",\"value\":9}]", "{\"l\":[1,9,3]}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/z\",\"value\":1}]", NULL},
        {"{\"a\":{\"x\":1},\"b\":{}}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/b/y\"}]",
         "{\"a\":{},\"b\":{\"y\":1}}"},
        {"{\"a\":{\"x\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/y\"}]", NULL},
        {"{\"a\":[1]}",
         "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/a/0\",\"value\":0}]",
         "{\"a\":[0,1],\"b\":[1]}"},
        {"{\"a/b\":1,\"m~n\":2}",
         "[{\"op\":\"test\",\"path\":\"/a~1b\",\"value\":1},{\"op\":\"remove\",\"path\":\"/m~0n\"}]",
         "{\"a/b\":1}"},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"n\":1}}]", "{\"n\":1}"},
        {"null", "[{\"op\":\"add\",\"path\":\"\",\"value\":{}}]", "{}"},
        {"{}", "[{\"op\":\"frob\",\"path\":\"/a\"}]", NULL},
        {"{}", "[{\"path\":\"/a\"}]", NULL},
        {"{}", "{}", NULL},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", NULL},
        {"{\"l\":[1]}", "[{\"op\":\"remove\",\"path\":\"/l/00\"}]", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a = {0};
        struct doc *d = parse(&a, cases[i].before);
        struct err err = {0};
        enum rc rc = doc_patch(&a, &d, parse(&a, cases[i].patch), &err);
        if (cases[i].after) {
            assert_int_equal(rc, RC_OK);
            assert_true(doc_eq(d, parse(&a, cases[i].after)));
        } else {
            assert_int_not_equal(rc, RC_OK);
            assert_true(err.msg[0]);
        }
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_texts),
        cmocka_unit_test(broken),
        cmocka_unit_test(stored_form),
        cmocka_unit_test(patches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

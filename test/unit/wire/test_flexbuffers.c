/* FlexBuffers: captured values are read as an independent decoder reads them, the writer makes the
 * reference's bytes, and nothing malformed is accepted or read beyond its end. */
#include "wire/flexbuffers.h"

#include "stored_vectors.h"
#include "wire_test.h"

static void captured_values_are_read(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(stored_vectors); i++) {
        struct slice stored = unhex(stored_vectors[i].hex);
        struct flex root;
        struct err err = {0};
        if (flex_parse_stored(stored, &root, &err) != RC_OK)
            fail_msg("%s: %s", stored_vectors[i].name, err.msg);
        struct writer w = WRITER_INIT;
        flex_write_json(&w, root, 0);
        assert_slice(writer_slice(&w), slice_cstr(stored_vectors[i].json));
        writer_free(&w);
        free_slice(stored);
    }
}

/* The document of spec/restatectl.md §7.3, in the order the tool writes it. */
static void the_annotated_example_is_written(void **state)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    flex_key(&f, "version");
    flex_put_u64(&f, 1);
    flex_key(&f, "a");
    flex_put_u64(&f, 1);
    flex_key(&f, "b");
    flex_open_sequence(&f);
    for (uint64_t i = 1; i <= 3; i++)
        flex_put_u64(&f, i);
    flex_close_sequence(&f);
    flex_key(&f, "c");
    flex_open_map(&f);
    flex_key(&f, "x");
    flex_put_text(&f, SLICE_LIT("y"));
    flex_close_map(&f);
    flex_close_map(&f);
    struct writer w = WRITER_INIT;
    flex_finish_stored(&f, &w);
    assert_hex(writer_slice(&w), STORED_DOCUMENT_HEX);
    writer_free(&w);
}

static void an_empty_list_is_a_mixed_vector(void **state)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    static const char *const lists[] = {"deployments_v2", "version", "subscriptions"};
    for (size_t i = 0; i < 3; i++) {
        flex_key(&f, lists[i]);
        if (i == 1) {
            flex_put_u64(&f, 0);
            continue;
        }
        flex_open_sequence(&f);
        flex_close_sequence(&f);
    }
    flex_close_map(&f);
    struct writer w = WRITER_INIT;
    flex_finish_stored(&f, &w);
    assert_hex(writer_slice(&w), STORED_SCHEMA_HEX);
    writer_free(&w);
}

/* A text form of a value: {..} and [..] nest, numbers, t f n, and "..." in what follows. */
static void put_text_form(struct flex_writer *f, const char *text)
{
    for (const char *p = text; *p; p++) {
        char *end;
        if (*p == '[')
            flex_open_sequence(f);
        else if (*p == ']')
            flex_close_sequence(f);
        else if (*p == 't' || *p == 'f')
            flex_put_bool(f, *p == 't');
        else if (*p == 'n')
            flex_put_null(f);
        else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            if (*p == '-')
                flex_put_i64(f, strtoll(p, &end, 10));
            else
                flex_put_u64(f, strtoull(p, &end, 10));
            p = end - 1;
        }
    }
}

static void values_of_every_width_come_back(void **state)
{
    static const char *const values[] = {
        "[0,255,256]",
        "[65535,65536,4294967295,4294967296,18446744073709551615]",
        "[-1,-128]",
        "[-129,-32768,-32769]",
        "[-2147483648,-2147483649,-9223372036854775808]",
        "[1,-1]",
        "[true,false]",
        "[true,null,1]",
        "[[1,2],[],[[3]],null,[70000]]",
        "[7]",
        "[]",
        "[1,2,3,4,5]",
        "5",
        "null",
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct flex_writer f = FLEX_WRITER_INIT;
        char *plain = strdup(values[i]);
        for (char *p = plain; *p; p++) { /* true, false, null are their first letters */
            if (*p >= 'a' && *p <= 'z' && p > plain && p[-1] != ',' && p[-1] != '[' && p[-1] != ' ')
                *p = ' ';
        }
        put_text_form(&f, plain);
        free(plain);
        struct bytes doc = flex_finish(&f);
        struct slice exact = exact_copy(bytes_slice(doc));
        struct flex root;
        assert_int_equal(flex_parse(exact, &root, NULL), RC_OK);
        struct writer w = WRITER_INIT;
        flex_write_json(&w, root, 0);
        assert_slice(writer_slice(&w), slice_cstr(values[i]));
        writer_free(&w);
        free_slice(exact);
        bytes_unref(&doc);
    }
}

static void large_maps_widen_and_share_keys(void **state)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_sequence(&f);
    for (uint64_t i = 0; i < 3000; i++) {
        flex_open_map(&f);
        char key[32];
        snprintf(key, sizeof(key), "only-%llu", (unsigned long long)i);
        flex_key(&f, "shared");
        flex_put_u64(&f, i * 1000003);
        flex_key(&f, key);
        flex_put_text(&f, slice_cstr(key));
        flex_close_map(&f);
    }
    flex_close_sequence(&f);
    struct bytes doc = flex_finish(&f);
    struct flex root, text;
    assert_int_equal(flex_parse(bytes_slice(doc), &root, NULL), RC_OK);
    assert_int_equal(flex_count(root), 3000);
    for (uint64_t i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "only-%llu", (unsigned long long)i);
        uint64_t v;
        struct slice s;
        assert_true(flex_get_u64(flex_at(root, i), "shared", &v) && v == i * 1000003);
        assert_true(flex_get_text(flex_at(root, i), key, &s) && slice_eq_cstr(s, key));
        assert_false(flex_get(flex_at(root, i), "absent", &text));
    }
    bytes_unref(&doc);
}

static void json_is_printed_as_the_tool_does(void **state)
{
    struct slice stored = unhex(STORED_DOCUMENT_HEX);
    struct flex root;
    assert_int_equal(flex_parse_stored(stored, &root, NULL), RC_OK);
    struct writer w = WRITER_INIT;
    flex_write_json(&w, root, 2);
    assert_slice(writer_slice(&w),
                 SLICE_LIT("{\n  \"version\": 1,\n  \"a\": 1,\n  \"b\": [\n    1,\n    2,\n    3\n  ],\n  "
                           "\"c\": {\n    \"x\": \"y\"\n  }\n}"));
    writer_free(&w);
    free_slice(stored);
}

/* Every prefix, and every single changed byte, is refused or read without touching anything outside. */
static void damaged_values_never_read_outside(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(stored_vectors); i++) {
        struct slice stored = unhex(stored_vectors[i].hex);
        struct flex root;
        for (size_t n = 5; n < stored.len; n++) {
            struct slice cut = exact_copy(slice_sub(stored, 5, n - 5));
            if (flex_parse(cut, &root, NULL) == RC_OK) {
                struct writer w = WRITER_INIT;
                flex_write_json(&w, root, 0);
                writer_free(&w);
            }
            free_slice(cut);
            assert_int_not_equal(flex_parse_stored(slice_sub(stored, 0, n), &root, NULL), RC_OK);
        }
        for (size_t at = 0; at < stored.len - 5; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                struct slice changed = exact_copy(slice_sub(stored, 5, stored.len - 5));
                ((uint8_t *)(uintptr_t)changed.ptr)[at] ^= (uint8_t)(1u << bit);
                struct writer w = WRITER_INIT;
                if (flex_parse(changed, &root, NULL) == RC_OK)
                    flex_write_json(&w, root, 0);
                writer_free(&w);
                free_slice(changed);
            }
        }
        free_slice(stored);
    }
}

static void vicious_documents_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "000004",           /* no root width */
        "002803",           /* width 3 */
        "01002801",         /* a vector that contains itself */
        "0100281c2801",     /* offset before the beginning */
        "00803c01",         /* vector of strings */
        "00ff01",           /* unknown type */
        "0101010124002401", /* a map that is its own keys */
        "4100ff141401",     /* string outside */
        "ff4100021401",     /* string longer than the document */
        "01ff00021401",     /* not UTF-8 */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice doc = unhex(bad[i]);
        struct flex root;
        struct err err = {0};
        if (flex_parse(doc, &root, &err) != RC_INVALID)
            fail_msg("%s was accepted", bad[i]);
        free_slice(doc);
    }
    /* Each level refers twice to the next: 2^60 values in 300 bytes. */
    struct writer w = WRITER_INIT;
    write_u8(&w, 0);
    write_u8(&w, 0);
    for (int i = 0; i < 60; i++) {
        size_t previous = w.len - (i == 0 ? 1 : 4);
        write_u8(&w, 2);
        write_u8(&w, (uint8_t)(w.len - previous));
        write_u8(&w, (uint8_t)(w.len - previous));
        write_u8(&w, 40);
        write_u8(&w, 40);
    }
    write_u8(&w, 4);
    write_u8(&w, 40);
    write_u8(&w, 1);
    struct flex root;
    struct err err = {0};
    assert_int_equal(flex_parse(writer_slice(&w), &root, &err), RC_INVALID);
    writer_free(&w);
    assert_int_equal(flex_parse_stored(SLICE_LIT("\x06xyz"), &root, &err), RC_UNSUPPORTED);
    assert_int_equal(flex_parse_stored(SLICE_EMPTY, &root, &err), RC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured_values_are_read),
        cmocka_unit_test(the_annotated_example_is_written),
        cmocka_unit_test(an_empty_list_is_a_mixed_vector),
        cmocka_unit_test(values_of_every_width_come_back),
        cmocka_unit_test(large_maps_widen_and_share_keys),
        cmocka_unit_test(json_is_printed_as_the_tool_does),
        cmocka_unit_test(damaged_values_never_read_outside),
        cmocka_unit_test(vicious_documents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

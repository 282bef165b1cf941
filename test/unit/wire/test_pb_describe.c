/* Descriptors made from texts are those of protoc (3.21), byte for byte; symbols and files are found. */
#include "wire/pb_describe.h"

#include "wire_test.h"

static const char every[] = "syntax = \"proto3\";\n"
                            "package a.b;\n"
                            "\n"
                            "import \"other.proto\";\n"
                            "\n"
                            "service Svc {\n"
                            "  rpc One(M) returns (stream c.Other);\n"
                            "  rpc Two(stream M) returns (M);\n"
                            "}\n"
                            "enum Kind {\n"
                            "  Kind_NONE = 0;\n"
                            "  SOME = 1;\n"
                            "}\n"
                            "message M {\n"
                            "  reserved 1;\n"
                            "  oneof which {\n"
                            "    string some_text = 2;\n"
                            "    c.Other other = 3;\n"
                            "  }\n"
                            "  optional uint64 maybe_it = 4;\n"
                            "  repeated Kind kinds = 5;\n"
                            "  map<uint32, c.Other> by_id = 6;\n"
                            "  bytes raw = 7;\n"
                            "  c.Color color = 8;\n"
                            "}\n";
static const char other[] = "syntax = \"proto3\";\n"
                            "package c;\n"
                            "\n"
                            "message Other {}\n"
                            "enum Color { RED = 0; }\n";
static const char described[] =
    "0a0b65766572792e70726f746f1203612e621a0b6f746865722e70726f746f22bd020a014d121d0a09736f6d655f7465"
    "787418022001280948005208736f6d655465787412200a056f7468657218032001280b32082e632e4f74686572480052"
    "056f74686572121e0a086d617962655f6974180420012804480152076d617962654974880101121f0a056b696e647318"
    "052003280e32092e612e622e4b696e6452056b696e647312250a0562795f696418062003280b32102e612e622e4d2e42"
    "794964456e74727952046279496412100a0372617718072001280c5203726177121e0a05636f6c6f7218082001280e32"
    "082e632e436f6c6f725205636f6c6f721a410a0942794964456e74727912100a036b657918012001280d52036b657912"
    "1e0a0576616c756518022001280b32082e632e4f74686572520576616c75653a02380142070a057768696368420b0a09"
    "5f6d617962655f69744a04080110022a1f0a044b696e64120d0a094b696e645f4e4f4e45100012080a04534f4d451001"
    "32390a0353766312190a034f6e6512062e612e622e4d1a082e632e4f74686572300112170a0354776f12062e612e622e"
    "4d1a062e612e622e4d2801620670726f746f33";

static const struct pb_file files[] = {
    {"every.proto", {(const uint8_t *)every, sizeof(every) - 1}},
    {"other.proto", {(const uint8_t *)other, sizeof(other) - 1}},
};

static void a_file_is_described_as_by_protoc(void **state)
{
    struct writer w = WRITER_INIT;
    struct slice expected = unhex(described);
    pb_describe(files, 2, 0, &w);
    assert_slice(writer_slice(&w), expected);
    writer_free(&w);
    free_slice(expected);
}

static void symbols_are_found(void **state)
{
    static const struct {
        const char *symbol;
        size_t file;
    } cases[] = {{"a.b.M", 0},
                 {"a.b.Kind", 0},
                 {"a.b.Svc", 0},
                 {"a.b.Svc.Two", 0},
                 {"c.Other", 1},
                 {"c.Color", 1},
                 {"a.b.M.some_text", 0},
                 {"a.b.Other", 2},
                 {"a.b.Svc.X", 2},
                 {"M", 2},
                 {"", 2},
                 {".", 2},
                 {"a.b", 2},
                 {"a.b.", 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(pb_find_symbol(files, 2, slice_cstr(cases[i].symbol)), cases[i].file);
    assert_int_equal(pb_find_file(files, 2, SLICE_LIT("other.proto")), 1);
    assert_int_equal(pb_find_file(files, 2, SLICE_LIT("other")), 2);
}

static void count(void *ctx, size_t imported)
{
    assert_int_equal(imported, 1);
    ++*(int *)ctx;
}

static void imports_are_named(void **state)
{
    int n = 0;
    pb_imports(files, 2, 0, count, &n);
    pb_imports(files, 2, 1, count, &n);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_described_as_by_protoc),
        cmocka_unit_test(symbols_are_found),
        cmocka_unit_test(imports_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Trace context (trace/context.h), encodings of spans (trace/span.h), tracing endpoints and resource
 * attributes (trace/exporter.h). That the encodings are those of OTLP is shown by test/sdk/tracing.test.mjs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "trace/exporter.h"
#include "wire/pb.h"

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define LINK   "00-0000000000000000a3ce929d0e0e4736-1122334455667788-01"

static void headers_are_taken_or_refused(void **state)
{
    static const struct {
        const char *traceparent;
        bool ok;
    } cases[] = {
        {PARENT, true},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true},
        {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true},
        {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.", false},
        {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
        {PARENT "-x", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
        {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace_context c;
        bool ok = trace_context_from_headers(slice_cstr(cases[i].traceparent), SLICE_LIT("a=1"), &c);
        assert_int_equal(ok, cases[i].ok);
        assert_int_equal(trace_is_set(&c), cases[i].ok);
    }
    struct trace_context c;
    assert_true(trace_context_from_headers(slice_cstr(PARENT), SLICE_LIT("a=1\r\nb: c"), &c));
    assert_true(c.sampled && c.state.len == 0);
    assert_true(c.trace.hi == 0x4bf92f3577b34da6 && c.parent == 0x00f067aa0ba902b7);
}

static void stored_texts_come_back(void **state)
{
    static const char *const texts[] = {PARENT, PARENT " a=1,b=2", PARENT ">" LINK, PARENT ">" LINK " a=1",
                                        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00"};
    static const char *const bad[] = {
        "", "x", PARENT "x", PARENT ">", PARENT "> a=1", PARENT ">" LINK "x", PARENT " \x01"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct trace_context c;
        struct writer w = WRITER_INIT;
        assert_true(trace_context_read(slice_cstr(texts[i]), &c));
        trace_context_write(&w, &c);
        assert_true(slice_eq_cstr(writer_slice(&w), texts[i]));
        writer_free(&w);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct trace_context c;
        assert_false(trace_context_read(slice_cstr(bad[i]), &c));
        assert_false(trace_is_set(&c));
    }
}

/* Every node must find the same parent. */
static void ids_are_derived(void **state)
{
    struct invocation_id a = {1, {2, 3}}, b = {1, {2, 4}};
    struct trace_context c, again, other;
    trace_context_of(SLICE_EMPTY, a, &c);
    trace_context_of(SLICE_LIT("junk"), a, &again);
    trace_context_of(SLICE_EMPTY, b, &other);
    assert_true(trace_is_set(&c) && c.sampled && c.parent == 0);
    assert_true(u128_eq(c.trace, again.trace) && !u128_eq(c.trace, other.trace));
    assert_true(trace_start_span(&c, a) == trace_start_span(&again, a));
    assert_true(trace_start_span(&c, a) != trace_start_span(&c, b));
    trace_context_of(slice_cstr(PARENT), a, &c);
    assert_true(c.parent == 0x00f067aa0ba902b7);
}

/* ---- encodings ---- */

static void encode(enum otlp_format format, struct slice text, struct writer *w)
{
    struct target target = {
        .kind = TARGET_OBJECT_EXCLUSIVE, .service = SLICE_LIT("Obj"), .handler = SLICE_LIT("h"), .key = text};
    struct trace_context c;
    assert_true(trace_context_read(slice_cstr(PARENT ">" LINK), &c));
    struct span_event event = {.at_ns = 5, .what = "new_command", .key = "k", .value = text, .name = text};
    struct span s = {.kind = "invocation-start",
                     .context = &c,
                     .id = 7,
                     .parent = c.parent,
                     .linked = true,
                     .target = &target,
                     .events = &event,
                     .n_events = 1,
                     .status = SPAN_ERROR,
                     .message = text};
    span_int(&s, "n", -1);
    span_encode(w, format, &s);
    span_encode(w, format, &s);
}

static void texts_are_cut_and_made_valid(void **state)
{
    static char big[3 * SPAN_TEXT_MAX];
    memset(big, 'x', sizeof(big));
    static const char *const texts[] = {"k\"ey", "\xff\xfe", "\xc3\xa4", ""};
    for (size_t i = 0; i <= ARRAY_LEN(texts); i++) {
        struct slice text = i < ARRAY_LEN(texts) ? slice_cstr(texts[i]) : slice_make(big, sizeof(big));
        struct writer proto = WRITER_INIT, json = WRITER_INIT;
        encode(OTLP_PROTOBUF, text, &proto);
        encode(OTLP_JSON, text, &json);
        assert_true(pb_valid(writer_slice(&proto)));
        assert_true(slice_is_utf8(writer_slice(&json)));
        assert_true(proto.len < 2 * 6 * SPAN_TEXT_MAX && json.len < 2 * 6 * SPAN_TEXT_MAX);
        writer_free(&proto);
        writer_free(&json);
    }
    memset(big, 0, sizeof(big));
    for (size_t i = 0; i + 1 < sizeof(big); i += 2)
        memcpy(big + i, "\xc3\xa4", 2);
    struct slice cut = span_text_cut(slice_make(big + 1, sizeof(big) - 1));
    assert_true(cut.len <= SPAN_TEXT_MAX && (cut.ptr[cut.len] & 0xc0) != 0x80);
}

/* ---- settings ---- */

static void endpoints_select_the_transport(void **state)
{
    static const struct {
        const char *text, *uri;
        enum otlp_transport transport;
        enum otlp_format format;
    } good[] = {
        {"http://h:4317", "http://h:4317", OTLP_OVER_GRPC, OTLP_PROTOBUF},
        {"https://h:4317", "https://h:4317", OTLP_OVER_GRPC, OTLP_PROTOBUF},
        {"grpc://h:4317", "http://h:4317", OTLP_OVER_GRPC, OTLP_PROTOBUF},
        {"otlp+grpc://h:4317", "http://h:4317", OTLP_OVER_GRPC, OTLP_PROTOBUF},
        {"otlp+http://h/v1/traces", "http://h/v1/traces", OTLP_OVER_HTTP, OTLP_PROTOBUF},
        {"otlp+https+proto://h/v1/traces", "https://h/v1/traces", OTLP_OVER_HTTP, OTLP_PROTOBUF},
        {"json+otlp+https://h/x?y", "https://h/x?y", OTLP_OVER_HTTP, OTLP_JSON},
    };
    static const char *const bad[] = {"",
                                      "h:4317",
                                      "://h",
                                      "ftp://h",
                                      "otlp://h",
                                      "json://h",
                                      "otlp+json+grpc://h",
                                      "http+grpc://h",
                                      "http://",
                                      "+http://h"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct trace_endpoint e;
        struct err err = {0};
        assert_int_equal(trace_endpoint_parse(good[i].text, &e, &err), RC_OK);
        assert_string_equal(e.uri, good[i].uri);
        assert_int_equal(e.transport, good[i].transport);
        assert_int_equal(e.format, good[i].format);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct trace_endpoint e;
        struct err err = {0};
        assert_int_equal(trace_endpoint_parse(bad[i], &e, &err), RC_INVALID);
        assert_true(strlen(err.msg) > 20);
    }
}

static void add_pair(void *ctx, struct slice key, struct slice value)
{
    write_fmt(ctx, "[%.*s|%.*s]", SLICE_FMT(key), SLICE_FMT(value));
}

static void resource_attributes_are_split(void **state)
{
    struct writer w = WRITER_INIT;
    trace_resource_parse(SLICE_LIT("a=b, c=d%20e,nothing,=x,f=,,g=h=i"), add_pair, &w);
    assert_true(slice_eq_cstr(writer_slice(&w), "[a|b][c|d e][f|][g|h=i]"));
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_taken_or_refused),
        cmocka_unit_test(stored_texts_come_back),
        cmocka_unit_test(ids_are_derived),
        cmocka_unit_test(texts_are_cut_and_made_valid),
        cmocka_unit_test(endpoints_select_the_transport),
        cmocka_unit_test(resource_attributes_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The parts of a request: delays, labels, query parameters, input rules, output content types, JSON targets,
 * identities (spec/ingress.md §5.3, §5.4, §5.7, §7, §8). */
#include "schema_fixture.h"

#include "ingress/body_target.h"
#include "ingress/checks.h"
#include "ingress/identity.h"

static struct slice str(const char *s)
{
    return s ? slice_cstr(s) : SLICE_EMPTY;
}

static const char *text_of(struct writer *w)
{
    write_u8(w, 0);
    w->len--;
    return (const char *)w->buf->data;
}

#define SECOND 1000u
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static void delays(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},
        {"10s", 10 * SECOND},
        {"60 sec", MINUTE},
        {"1m", MINUTE},
        {"1h30m", HOUR + 30 * MINUTE},
        {"2h 30m", 2 * HOUR + 30 * MINUTE},
        {"1d, 2h", DAY + 2 * HOUR},
        {"1day2hours", DAY + 2 * HOUR},
        {"1 day 2 hours", DAY + 2 * HOUR},
        {"1.5s", 1500},
        {"1,5s", 1500},
        {"1.5h", 90 * MINUTE},
        {"500ms", 500},
        {"100us", 0},
        {"5ns", 0},
        {"1wk", 7 * DAY},
        {"00:00:02", 2 * SECOND},
        {"1d 02:00:00", DAY + 2 * HOUR},
        {"P1D", DAY},
        {"P1W2D", 9 * DAY},
        {"PT2S", 2 * SECOND},
        {"pt2s", 2 * SECOND},
        {"P1DT2H", DAY + 2 * HOUR},
        {"PT1.5H", 90 * MINUTE},
        {"+1s", SECOND},
        {"-0s", 0},
    };
    static const char *const bad[] = {
        "",  "1",  "0.5",   "abc", "1H",     "1h30", "1.5d", "1e3s", "02:00", "1s,1ms", "1s 1s",
        "P", "PT", "PT-1S", "-1s", "1s ago", "1mo",  "P1M",  "1y",   "P1Y",   " 1s",    "9999999d",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct writer m = WRITER_INIT;
        uint64_t at = 0;
        if (!delay_parse(str(good[i].text), 1000000, &at, &m))
            fail_msg("%s: %s", good[i].text, text_of(&m));
        if (at != 1000000 + good[i].ms)
            fail_msg("%s: %lu", good[i].text, (unsigned long)(at - 1000000));
        writer_free(&m);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        static const char prefix[] = "bad delay query parameter, must be a ISO8601 duration: ";
        struct writer m = WRITER_INIT;
        uint64_t at;
        if (delay_parse(str(bad[i]), 1000000, &at, &m))
            fail_msg("'%s' was accepted", bad[i]);
        assert_memory_equal(text_of(&m), prefix, sizeof(prefix) - 1);
        assert_true(m.len > sizeof(prefix) - 1);
        writer_free(&m);
    }
}

static void query_parameters(void **state)
{
    static const struct {
        const char *query, *value; /* NULL: absent */
    } cases[] = {
        {"", NULL},
        {"?", NULL},
        {"?delay=1s", "1s"},
        {"?Delay=1+day", "1 day"},
        {"?x=1&DELAY=1%20s&delay=2s", "1 s"},
        {"?delay", ""},
        {"?delay=", ""},
        {"?delayed=1s", NULL},
        {"?d%65lay=a=b", "a=b"},
        {"?&&delay=%zz", "%zz"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer v = WRITER_INIT;
        bool found = query_find(str(cases[i].query), "delay", &v);
        if (found != (cases[i].value != NULL) || (found && strcmp(text_of(&v), cases[i].value) != 0))
            fail_msg("%s", cases[i].query);
        writer_free(&v);
    }
}

static void limit_keys(void **state)
{
    static const struct {
        const char *value, *problem; /* NULL: fine */
    } cases[] = {
        {"a", NULL},
        {"a/b", NULL},
        {"a/b/", NULL},
        {"A.b-c_9/x", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        {"/", "invalid limit-key: invalid limit-key component: value cannot be empty"},
        {"a//", "invalid limit-key: invalid limit-key component: value cannot be empty"},
        {"a//b", "invalid limit-key: invalid limit-key component: value cannot be empty"},
        {"a/b/c!", "invalid limit-key: too many path components in the given limit-key (max 2)"},
        {"a b", "invalid limit-key: invalid limit-key component: value contains characters outside the "
                "allowed set [a-zA-Z0-9_.-]"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "invalid limit-key: invalid limit-key component: value too long: 37 bytes (max 36)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer m = WRITER_INIT;
        bool ok = limit_key_check(str(cases[i].value), &m);
        if (ok != !cases[i].problem || (!ok && strcmp(text_of(&m), cases[i].problem) != 0))
            fail_msg("%s", cases[i].value);
        writer_free(&m);
    }
}

static void input_rules(void **state)
{
#define NOT_EMPTY "Expected body and content-type to be empty, but wasn't with content-type "
    static const struct {
        const char *handler, *content_type;
        size_t body;
        const char *problem; /* NULL: fine */
    } cases[] = {
        {"echo", NULL, 0, NULL},
        {"echo", "application/json", 0, NULL}, /* an empty body is refused by JSON rules only */
        {"echo", "application/json;charset=utf-8", 2, NULL},
        {"echo", " application/json ; x", 2, NULL},
        {"echo", NULL, 2, "Empty content-type"},
        {"echo", "APPLICATION/JSON", 1, "Content-type 'APPLICATION/JSON' does not match 'application/json'"},
        {"echo", "json", 1, "Content-type 'json' does not match 'application/json'"},
        {"echo", "application/json2", 1,
         "Content-type 'application/json2' does not match 'application/json'"},
        {"raw", "x", 1, NULL},
        {"raw", NULL, 1, "Empty content-type"},
        {"app", "application/zip; q", 1, NULL},
        {"app", "text/plain", 1, "Content-type 'text/plain' does not match 'application/*'"},
        {"schema", NULL, 0, NULL},
        {"schema", "application/json", 0, "Empty body not allowed"},
        {"schema", "application/json", 1, NULL},
        {"needs", NULL, 0, "Empty content-type"},
        {"needs", "application/json", 0, NULL},
        {"empty", NULL, 0, NULL},
        {"empty", "x", 0, NOT_EMPTY "'Some(\"x\")'"},
        {"empty", NULL, 1, NOT_EMPTY "'None'"},
        {"nothingAnnounced", NULL, 0, NULL},
        {"nothingAnnounced", "anything", 5, NULL},
        {"broken", "application/json", 5, "Bad configuration of the input validation rules"},
    };
    struct schema *schema = fixture_schema();
    const struct schema_service *vec = schema_service(schema, str("Vec"));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct schema_handler *h = schema_handler(vec, str(cases[i].handler));
        struct writer m = WRITER_INIT, want = WRITER_INIT;
        bool ok = input_check(h, str(cases[i].content_type), cases[i].body, &m);
        write_fmt(&want, "input validation error: %s", cases[i].problem ? cases[i].problem : "");
        if (ok != !cases[i].problem || (!ok && !slice_eq(writer_slice(&m), writer_slice(&want))))
            fail_msg("%s %s %zu: %s", cases[i].handler, cases[i].content_type, cases[i].body, text_of(&m));
        writer_free(&m);
        writer_free(&want);
    }
    schema_unref(schema);
}

static void output_content_types(void **state)
{
    static const struct {
        const char *handler;
        size_t body;
        const char *type;
    } cases[] = {
        {"echo", 1, "application/json"},  {"echo", 0, NULL},
        {"plain", 1, "text/plain"},       {"plain", 0, NULL},
        {"plainAlways", 0, "text/plain"}, {"nothingAnnounced", 1, "application/json"},
        {"nothingAnnounced", 0, NULL},    {"needs", 1, NULL},
    };
    struct schema *schema = fixture_schema();
    const struct schema_service *vec = schema_service(schema, str("Vec"));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *type = output_content_type(schema_handler(vec, str(cases[i].handler)), cases[i].body);
        if (!type != !cases[i].type || (type && strcmp(type, cases[i].type) != 0))
            fail_msg("%s %zu: %s", cases[i].handler, cases[i].body, type ? type : "none");
    }
    schema_unref(schema);
}

static void json_targets(void **state)
{
    static const struct {
        const char *body;
        int status; /* 0: fine, then the id */
        const char *text;
    } cases[] = {
        {"{\"target\":\"invocation\",\"invocationId\":\"inv_1bIt27e8ImUs3mWWmESRaRAy04YQhikUFu\"}", 0,
         "inv_1bIt27e8ImUs3mWWmESRaRAy04YQhikUFu"},
        {"{\"handler\":\"count\",\"idempotencyKey\":\"a1\",\"target\":\"idempotentInvocation\",\"service\":"
         "\"Vec\",\"x\":1}",
         0, "inv_1bIt27e8ImUs3mWWmESRaRAy04YQhikUFu"},
        {"{\"target\":\"workflow\",\"workflowName\":\"VecWf\",\"workflowKey\":\"w\"}", 0,
         "inv_1cQNZJ2myUr17LujqWQdb1jA6NEy02g7gR"},
        {"{\"target\":\"workflow\",\"workflowName\":\"VecWf\",\"workflowKey\":\"k\",\"scope\":\"s1\"}", 0,
         "inv_1a1mlWikgvPI1uVaSXH4IM8kD93KsXxcgg"},
        {"", 500, "cannot read body: invalid request body: EOF while parsing a value at line 1 column 0"},
        {"{\"target\":\"foo\"}", 500,
         "cannot read body: invalid request body: unknown variant `foo`, expected one of `workflow`, "
         "`idempotentInvocation`, `invocation`"},
        {"{}", 500, "cannot read body: invalid request body: missing field `target`"},
        {"{\"target\":\"invocation\"}", 500,
         "cannot read body: invalid request body: missing field `invocationId`"},
        {"{\"target\":\"workflow\",\"workflowKey\":\"w\"}", 500,
         "cannot read body: invalid request body: missing field `workflowName`"},
        {"{\"target\":\"workflow\",\"workflowName\":1,\"workflowKey\":\"w\"}", 500,
         "cannot read body: invalid request body: invalid type of field `workflowName`, expected a string"},
        {"[]", 500, "cannot read body: invalid request body: invalid type, expected an object"},
        {"{\"target\":\"invocation\",\"invocationId\":\"foo\"}", 400, "bad invocation id 'foo': bad format"},
        {"{\"target\":\"workflow\",\"workflowName\":\"VecWf\",\"workflowKey\":\"w\",\"scope\":\"a b\"}", 400,
         "bad scope value: value contains characters outside the allowed set [a-zA-Z0-9_.-]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer m = WRITER_INIT;
        struct invocation_id id;
        int status = 0;
        char text[INVOCATION_ID_TEXT + 1];
        if (body_target_parse(str(cases[i].body), "request", true, &id, &status, &m)) {
            invocation_id_format(id, text);
            if (strcmp(text, cases[i].text) != 0)
                fail_msg("%s: %s", cases[i].body, text);
        } else if (status != cases[i].status || strcmp(text_of(&m), cases[i].text) != 0) {
            fail_msg("%s: %d %s", cases[i].body, status, text_of(&m));
        }
        writer_free(&m);
    }
}

static void identities(void **state)
{
    struct derived_target t = {.service = str("Vec"), .handler = str("count"), .idempotency_key = str("a1")};
    struct invocation_id id = identity_derived(&t, true);
    assert_true(id.partition_key == 2644575904936983176u);
    struct u128 uuid = id.uuid;
    id = identity_derived(&t, false); /* only the partition key depends on the cluster feature */
    assert_true(id.partition_key == partition_key_of_key(str("a1")) && u128_eq(id.uuid, uuid));
    t.key = str("k");
    assert_true(identity_derived(&t, true).partition_key == partition_key_of_key(str("k")));
    t.scope = str("s");
    assert_true(identity_derived(&t, true).partition_key == partition_key_of_key(str("s")));

    const uint64_t random[3] = {5 * 512 + 3, 7, 9};
    struct derived_target plain = {.service = str("Vec"), .handler = str("count")};
    id = identity_random(&plain, 1234, random);
    assert_true(id.partition_key == partition_key_of_service_bucket(str("Vec"), 3));
    assert_true(id.uuid.hi >> 16 == 1234);
}

static void header_values(void **state)
{
    assert_true(header_value_ok(str("abc ~\t!")));
    assert_true(header_value_ok(str("")));
    assert_false(header_value_ok(str("h\xc3\xa9")));
    assert_false(header_value_ok(str("\x7f")));
    assert_false(header_value_ok(str("\x01")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays),      cmocka_unit_test(query_parameters),     cmocka_unit_test(limit_keys),
        cmocka_unit_test(input_rules), cmocka_unit_test(output_content_types), cmocka_unit_test(json_targets),
        cmocka_unit_test(identities),  cmocka_unit_test(header_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

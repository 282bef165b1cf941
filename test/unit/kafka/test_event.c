/* What a record becomes, field by field, and that it is the same each time (spec/ingress.md §12.3, §12.4);
 * the properties of a subscription's client (§12.2). */
#include "kafka/event.h"
#include "kafka/settings.h"
#include "unit/ingress/schema_fixture.h"
#include "wire/service_protocol.h"

#define SUB ((struct u128){0x019cULL, 77})

static struct schema_defaults defaults = {
    .journal_retention_ms = 86400000,
    .idempotency_retention_ms = 86400000,
    .workflow_completion_retention_ms = 86400000,
    .max_journal_retention_ms = OPTION_UNSET,
    .max_idempotency_retention_ms = OPTION_UNSET,
    .max_workflow_completion_retention_ms = OPTION_UNSET,
};
static struct schema *schema;
static struct event_scopes scopes;

struct made {
    struct bytes record;
    struct record_header h;
    struct service_invocation si;
    uint64_t partition_key;
};

static const struct kafka_event plain = {
    .topic = {(const uint8_t *)"orders", 6},
    .partition = 3,
    .offset = 41,
    .timestamp_ms = 1795369871633,
    .key = {(const uint8_t *)"a\xc3\xa4?", 4},
    .value = {(const uint8_t *)"{\"x\":1}", 7},
};

static struct schema_subscription sub_to(const char *service, const char *handler, enum target_kind kind)
{
    return (struct schema_subscription){.id = SUB, .service = service, .handler = handler, .kind = kind};
}

static enum rc convert(const struct schema_subscription *s, const struct kafka_event *e, struct made *m,
                       struct err *err)
{
    struct event_target t = {.schema = schema,
                             .defaults = &defaults,
                             .subscription = s,
                             .producer = event_producer(SUB, SLICE_LIT("g"), e->topic, e->partition),
                             .version = "1.7.12",
                             .scopes = scopes};
    memset(m, 0, sizeof(*m));
    enum rc rc = event_to_record(&t, e, &m->record, &m->partition_key, err);
    if (rc != RC_OK)
        return rc;
    assert_true(record_header_get(bytes_slice(m->record), &m->h));
    struct reader r = reader_make(record_body(bytes_slice(m->record)));
    assert_true(service_invocation_read(&r, &m->si) && reader_done(&r));
    return RC_OK;
}

static struct made must(const struct schema_subscription *s, const struct kafka_event *e)
{
    struct made m;
    struct err err = {0};
    if (convert(s, e, &m, &err) != RC_OK)
        fail_msg("%s", err.msg);
    return m;
}

static void object_handler(void **state)
{
    struct schema_subscription s = sub_to("VecObj", "add", TARGET_OBJECT_EXCLUSIVE);
    struct made m = must(&s, &plain);
    assert_int_equal(m.h.kind, CMD_INVOKE);
    assert_int_equal(m.h.dedup, DEDUP_PRODUCER);
    assert_int_equal(m.h.seq_lo, 41);
    assert_true(u128_eq(m.h.producer, event_producer(SUB, SLICE_LIT("g"), SLICE_LIT("orders"), 3)));
    assert_int_equal(m.h.key_start, partition_key_of_key(plain.key));
    assert_int_equal(m.h.key_end, m.h.key_start);
    assert_int_equal(m.partition_key, m.h.key_start);
    assert_int_equal(m.si.id.partition_key, m.h.key_start);
    assert_int_equal(m.si.target.kind, TARGET_OBJECT_EXCLUSIVE);
    assert_true(slice_eq_cstr(m.si.target.service, "VecObj") && slice_eq_cstr(m.si.target.handler, "add"));
    assert_true(slice_eq(m.si.target.key, plain.key));
    assert_int_equal(m.si.source, SOURCE_SUBSCRIPTION);
    assert_true(u128_eq(m.si.source_request_id, SUB));
    assert_null(m.si.idempotency_key.ptr);
    assert_int_equal(m.si.completion_retention_ms, 86400000); /* as the journal */
    assert_int_equal(m.si.journal_retention_ms, 86400000);
    assert_int_equal(m.si.response_sink.kind, SINK_NONE);
    assert_false(m.si.notify_submission);
    bytes_unref(&m.record);
}

static void input_is_headers_in_order_and_the_value(void **state)
{
    struct schema_subscription s = sub_to("Vec", "echo", TARGET_SERVICE);
    struct made m = must(&s, &plain);
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_SUBSCRIPTION, SUB, id);
    struct writer w = WRITER_INIT;
    input_write_header(&w, SLICE_LIT("kafka.offset"), SLICE_LIT("41"));
    input_write_header(&w, SLICE_LIT("kafka.topic"), SLICE_LIT("orders"));
    input_write_header(&w, SLICE_LIT("kafka.partition"), SLICE_LIT("3"));
    input_write_header(&w, SLICE_LIT("kafka.timestamp"), SLICE_LIT("1795369871633"));
    input_write_header(&w, SLICE_LIT("restate.subscription.id"), slice_cstr(id));
    input_write_header(&w, SLICE_LIT("kafka.key"), SLICE_LIT("YcOkPw=="));
    input_write_value(&w, plain.value);
    assert_true(slice_eq(m.si.input, writer_slice(&w)));
    writer_reset(&w);
    bytes_unref(&m.record);
    /* neither key, nor timestamp, nor value */
    struct kafka_event bare = {.topic = SLICE_LIT("t"), .timestamp_ms = -1};
    m = must(&s, &bare);
    input_write_header(&w, SLICE_LIT("kafka.offset"), SLICE_LIT("0"));
    input_write_header(&w, SLICE_LIT("kafka.topic"), SLICE_LIT("t"));
    input_write_header(&w, SLICE_LIT("kafka.partition"), SLICE_LIT("0"));
    input_write_header(&w, SLICE_LIT("restate.subscription.id"), slice_cstr(id));
    input_write_value(&w, SLICE_EMPTY);
    assert_true(slice_eq(m.si.input, writer_slice(&w)));
    assert_null(m.si.target.key.ptr);
    writer_free(&w);
    bytes_unref(&m.record);
}

static void the_same_record_is_the_same_invocation(void **state)
{
    static const struct {
        const char *service, *handler;
        enum target_kind kind;
    } targets[] = {{"Vec", "echo", TARGET_SERVICE},
                   {"VecObj", "add", TARGET_OBJECT_EXCLUSIVE},
                   {"VecObj", "send", TARGET_OBJECT_SHARED},
                   {"VecWf", "run", TARGET_WORKFLOW_RUN},
                   {"VecWf", "key", TARGET_WORKFLOW_SHARED}};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct schema_subscription s = sub_to(targets[i].service, targets[i].handler, targets[i].kind);
        struct kafka_event next = plain;
        next.offset++;
        struct made a = must(&s, &plain), b = must(&s, &plain), c = must(&s, &next);
        assert_true(slice_eq(bytes_slice(a.record), bytes_slice(b.record)));
        bool run = targets[i].kind == TARGET_WORKFLOW_RUN; /* named by its key */
        assert_int_equal(u128_eq(a.si.id.uuid, c.si.id.uuid), run);
        assert_int_equal(a.partition_key == c.partition_key, target_is_keyed(targets[i].kind));
        if (run)
            assert_true(u128_eq(a.si.id.uuid, workflow_run_uuid(SLICE_EMPTY, SLICE_LIT("VecWf"), plain.key)));
        bytes_unref(&a.record);
        bytes_unref(&b.record);
        bytes_unref(&c.record);
    }
}

static void producers_differ(void **state)
{
    struct u128 base = event_producer(SUB, SLICE_LIT("g"), SLICE_LIT("t"), 0);
    struct u128 others[] = {
        event_producer((struct u128){1, 77}, SLICE_LIT("g"), SLICE_LIT("t"), 0),
        event_producer(SUB, SLICE_LIT("gt"), SLICE_LIT(""), 0),
        event_producer(SUB, SLICE_LIT("h"), SLICE_LIT("t"), 0),
        event_producer(SUB, SLICE_LIT("g"), SLICE_LIT("u"), 0),
        event_producer(SUB, SLICE_LIT("g"), SLICE_LIT("t"), 1),
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(u128_eq(base, others[i]));
}

static void expect_refused(const struct schema_subscription *s, const struct kafka_event *e, enum rc want,
                           const char *text)
{
    struct made m;
    struct err err = {0};
    assert_int_equal(convert(s, e, &m, &err), want);
    if (!strstr(err.msg, text))
        fail_msg("%s", err.msg);
}

static void bad_records(void **state)
{
    struct schema_subscription object = sub_to("VecObj", "add", TARGET_OBJECT_EXCLUSIVE);
    struct schema_subscription service = sub_to("Vec", "echo", TARGET_SERVICE);
    struct schema_subscription lost = sub_to("Vec", "gone", TARGET_SERVICE);
    struct schema_subscription none = sub_to("Nope", "echo", TARGET_SERVICE);
    struct kafka_event e = plain;
    e.key = SLICE_LIT("\xff\xfe");
    expect_refused(&object, &e, RC_INVALID, "key is not UTF-8");
    struct made m = must(&service, &e); /* only a header for it */
    bytes_unref(&m.record);
    e.key = SLICE_EMPTY; /* no key: the empty one */
    m = must(&object, &e);
    assert_true(m.si.target.key.ptr && m.si.target.key.len == 0);
    bytes_unref(&m.record);
    expect_refused(&lost, &plain, RC_NOT_FOUND, "Vec/gone is not registered");
    expect_refused(&none, &plain, RC_NOT_FOUND, "Nope/echo is not registered");
    e.value.len = EVENT_MAX_BYTES;
    expect_refused(&service, &e, RC_TOO_LARGE, "are possible");
}

static void scopes_of_headers(void **state)
{
    struct schema_subscription service = sub_to("Vec", "echo", TARGET_SERVICE);
    struct schema_subscription object = sub_to("VecObj", "add", TARGET_OBJECT_EXCLUSIVE);
    struct schema_subscription run = sub_to("VecWf", "run", TARGET_WORKFLOW_RUN);
    struct kafka_event e = plain;
    e.scope = SLICE_LIT("ten-a");
    e.limit_key = SLICE_LIT("u1/x/");
    expect_refused(&service, &e, RC_UNSUPPORTED, "require vqueues"); /* never skipped */
    scopes.allowed = true;
    expect_refused(&object, &e, RC_UNSUPPORTED, "not supported for Virtual Object");
    scopes.of_objects = true;
    struct schema_subscription all[] = {service, object, run};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct made m = must(&all[i], &e);
        assert_int_equal(m.partition_key, partition_key_of_key(e.scope));
        assert_int_equal(m.h.key_start, m.partition_key);
        assert_true(slice_eq(m.si.target.scope, e.scope));
        assert_true(slice_eq_cstr(m.si.limit_key, "u1/x"));
        if (i == 2)
            assert_true(u128_eq(m.si.id.uuid, workflow_run_uuid(e.scope, SLICE_LIT("VecWf"), e.key)));
        bytes_unref(&m.record);
    }
    e.limit_key = SLICE_LIT("a/b/c");
    expect_refused(&service, &e, RC_INVALID, "limit key is not valid");
    e.limit_key = SLICE_LIT(""); /* means none */
    struct made m = must(&service, &e);
    assert_null(m.si.limit_key.ptr);
    bytes_unref(&m.record);
    e.scope = SLICE_LIT("");
    expect_refused(&service, &e, RC_INVALID, "bad scope value: value cannot be empty");
    e.scope = SLICE_EMPTY;
    e.limit_key = SLICE_LIT("a");
    expect_refused(&service, &e, RC_INVALID, "limit key requires a scope");
    scopes = (struct event_scopes){0};
}

/* ---- settings ---- */

static void settings_are_laid_over_each_other(void **state)
{
    static const struct schema_header cluster[] = {{"metadata.broker.list", "a:1"},
                                                   {"client.id", "mine"},
                                                   {"enable.auto.commit", "false"},
                                                   {"plugin.library.paths", "/x"}};
    static const struct schema_header options[] = {
        {"auto.offset.reset", "earliest"}, {"enable.auto.offset.store", "true"}, {"group.id", "g"}};
    struct schema_kafka_cluster k = {.properties = cluster, .n_properties = ARRAY_LEN(cluster)};
    struct schema_subscription s = {
        .source = "kafka://c/t", .options = options, .n_options = ARRAY_LEN(options)};
    struct kafka_settings a, b;
    kafka_settings_init(&a, &k, &s);
    assert_string_equal(kafka_settings_get(&a, "bootstrap.servers"), "a:1");
    assert_string_equal(kafka_settings_get(&a, "client.id"), "mine");
    assert_string_equal(kafka_settings_get(&a, "group.id"), "g");
    assert_string_equal(kafka_settings_get(&a, "enable.auto.commit"), "true");
    assert_string_equal(kafka_settings_get(&a, "enable.auto.offset.store"), "false");
    assert_string_equal(kafka_settings_get(&a, "session.timeout.ms"), "10000");
    assert_string_equal(kafka_settings_get(&a, "queued.max.messages.kbytes"), "16384");
    assert_null(kafka_settings_get(&a, "plugin.library.paths"));
    assert_int_equal(a.reset, RESET_EARLIEST);
    kafka_settings_init(&b, &k, &s);
    assert_true(a.hash == b.hash);
    kafka_settings_free(&b);
    s.n_options = 1;
    kafka_settings_init(&b, &k, &s);
    assert_true(a.hash != b.hash);
    kafka_settings_free(&a);
    kafka_settings_free(&b);
    k.n_properties = 1;
    s.n_options = 0;
    kafka_settings_init(&a, &k, &s);
    assert_int_equal(a.reset, RESET_LATEST);
    assert_string_equal(kafka_settings_get(&a, "client.id"), "restate");
    kafka_settings_free(&a);
}

int main(void)
{
    schema = fixture_schema();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_handler),
        cmocka_unit_test(input_is_headers_in_order_and_the_value),
        cmocka_unit_test(the_same_record_is_the_same_invocation),
        cmocka_unit_test(producers_differ),
        cmocka_unit_test(bad_records),
        cmocka_unit_test(scopes_of_headers),
        cmocka_unit_test(settings_are_laid_over_each_other),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    schema_unref(schema);
    return failed;
}

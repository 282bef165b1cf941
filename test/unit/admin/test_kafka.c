/* Kafka clusters and subscriptions over the REST API: exact answers and errors (spec/admin-api.md §12, §13,
 * spec/errors.md §8.4), what survives a restart, clusters of the configuration. */
#include "unit/admin/admin_fixture.h"

#include "metadata/schema_kafka.h"

static void prepare(struct fixture *f)
{
    announces(f, MANIFEST(COUNTER "," GREETER));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://127.0.0.1:9080\"}", 201, NULL);
    expect(f, "POST", "/v4/kafka-clusters",
           "{\"name\":\"kc\",\"properties\":{\"sasl.password\":\"s\",\"bootstrap.servers\":\"b:1\"}}", 201,
           "{\"name\":\"kc\",\"properties\":{\"bootstrap.servers\":\"b:1\",\"sasl.password\":\"***\"},"
           "\"created_at\":\"2026-11-22T17:33:58.130000000Z\"}");
    assert_string_equal(f->location, "kafka-clusters/kc");
}

static const char *subscribe(struct fixture *f, const char *body)
{
    expect(f, "POST", "/subscriptions", body, 201, NULL);
    return f->location + strlen("subscriptions/");
}

static void clusters(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET", "/kafka-clusters", NULL, 200, "{\"clusters\":[]}");
    prepare(f);
    expect_error(f, "POST", "/kafka-clusters",
                 "{\"name\":\"kc\",\"properties\":{\"bootstrap.servers\":\"x\"}}", 409,
                 "kafka cluster 'kc' already exists in schema registry");
    expect_error(f, "POST", "/kafka-clusters", "{\"name\":\"kc\",\"properties\":{\"a\":\"x\"}}", 400,
                 "kafka cluster 'kc' properties must contain either 'bootstrap.servers' or "
                 "'metadata.broker.list'");
    static const char *const bad[] = {"{\"name\":\"a/b\",\"properties\":{\"bootstrap.servers\":\"x\"}}",
                                      "{\"name\":\"\",\"properties\":{\"bootstrap.servers\":\"x\"}}",
                                      "{\"properties\":{\"bootstrap.servers\":\"x\"}}",
                                      "{\"name\":\"a\"}",
                                      "{\"name\":\"a\",\"properties\":{\"bootstrap.servers\":1}}",
                                      "{\"name\":1,\"properties\":{}}",
                                      "[]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(f, "POST", "/kafka-clusters", bad[i], 422, NULL);
    expect(f, "GET", "/kafka-clusters/kc", NULL, 200,
           "{\"name\":\"kc\",\"properties\":{\"bootstrap.servers\":\"b:1\",\"sasl.password\":\"***\"},"
           "\"created_at\":\"2026-11-22T17:33:58.130000000Z\",\"subscriptions\":[]}");
    expect_error(f, "GET", "/kafka-clusters/no", NULL, 404,
                 "The requested Kafka cluster 'no' does not exist");
    expect_error(f, "PATCH", "/kafka-clusters/no", "{\"properties\":{\"bootstrap.servers\":\"x\"}}", 404,
                 "not found in the schema registry: kafka cluster 'no'");
    expect_error(f, "DELETE", "/kafka-clusters/no", NULL, 404,
                 "not found in the schema registry: kafka cluster named 'no'");
    expect(f, "DELETE", "/kafka-clusters/kc", NULL, 202, "");
    expect(f, "GET", "/kafka-clusters", NULL, 200, "{\"clusters\":[]}");
}

static const char *stored_property(struct fixture *f, const char *cluster, const char *name)
{
    const struct schema_kafka_cluster *c =
        schema_kafka_cluster(schema_store_current(f->store), slice_cstr(cluster));
    for (size_t i = 0; i < c->n_properties; i++)
        if (strcmp(c->properties[i].name, name) == 0)
            return c->properties[i].value;
    return NULL;
}

static void a_hidden_secret_is_kept(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    expect(
        f, "PATCH", "/kafka-clusters/kc",
        "{\"properties\":{\"sasl.password\":\"***\",\"bootstrap.servers\":\"c:2\",\"note\":\"***\"}}", 200,
        "{\"name\":\"kc\",\"properties\":{\"bootstrap.servers\":\"c:2\",\"note\":\"***\",\"sasl.password\":"
        "\"***\"},\"created_at\":\"2026-11-22T17:33:58.130000000Z\"}");
    assert_string_equal(stored_property(f, "kc", "sasl.password"), "s");
    assert_string_equal(stored_property(f, "kc", "note"), "***");
    expect(f, "PATCH", "/kafka-clusters/kc", "{\"properties\":{\"bootstrap.servers\":\"c:2\"}}", 200, NULL);
    assert_null(stored_property(f, "kc", "sasl.password"));
}

static void subscriptions(void **state)
{
    struct fixture *f = *state;
    char id[64], path[128], want[1024];
    prepare(f);
    expect(f, "GET", "/v4/subscriptions", NULL, 200, "{\"subscriptions\":[]}");
    strcpy(id,
           subscribe(f, "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Counter/add\",\"options\":null}"));
    assert_int_equal(strncmp(id, "sub_1", 5), 0);
    snprintf(want, sizeof(want),
             "{\"id\":\"%s\",\"source\":\"kafka://kc/t\",\"sink\":\"service://Counter/add\",\"options\":{"
             "\"client.id\":\"restate\",\"group.id\":\"%s\"}}",
             id, id);
    assert_string_equal(f->body, want);
    snprintf(path, sizeof(path), "subscriptions/%s", id);
    assert_string_equal(f->location, path);
    snprintf(path, sizeof(path), "/subscriptions/%s", id);
    expect(f, "GET", path, NULL, 200, want);
    expect(f, "GET", "/subscriptions?sink=service%3A%2F%2FCounter%2Fadd&source=kafka%3A%2F%2Fkc%2Fother",
           NULL, 200, "{\"subscriptions\":[]}");
    char list[1100];
    snprintf(list, sizeof(list), "{\"subscriptions\":[%s]}", want);
    expect(f, "GET", "/subscriptions?sink=service://Counter/add", NULL, 200, list);
    snprintf(
        list, sizeof(list),
        "Removing the kafka cluster 'kc' leads to subscription '%s' being orphan. Remove the subscription "
        "first, or use the 'force' flag.",
        id);
    expect_error(f, "DELETE", "/kafka-clusters/kc", NULL, 409, list);
    fixture_close(f); /* the registry survives */
    fixture_open(f, 0);
    expect(f, "GET", path, NULL, 200, want);
    expect(f, "GET", "/kafka-clusters/kc?include_subscriptions=true", NULL, 200, NULL);
    assert_non_null(strstr(f->body, want));
    expect(f, "DELETE", path, NULL, 202, "");
    snprintf(list, sizeof(list), "not found in the schema registry: subscription with id '%s'", id);
    expect_error(f, "DELETE", path, NULL, 404, list);
    snprintf(list, sizeof(list), "The requested subscription '%s' does not exist", id);
    expect_error(f, "GET", path, NULL, 404, list);
    expect(f, "GET", "/subscriptions/x", NULL, 400, NULL);
    assert_int_equal(strncmp(f->body, "Invalid URL: Cannot parse `subscription` with value `x`: ", 57), 0);
}

static void orphans_by_force(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    subscribe(f, "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Greeter/greet\"}");
    expect(f, "DELETE", "/kafka-clusters/kc?force=true", NULL, 202, "");
    expect(f, "GET", "/subscriptions", NULL, 200, NULL);
    assert_non_null(strstr(f->body, "kafka://kc/t"));
}

static void options_settle_group_and_client(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    expect(
        f, "POST", "/kafka-clusters",
        "{\"name\":\"own\",\"properties\":{\"metadata.broker.list\":\"b\",\"group.id\":\"cg\",\"client.id\":"
        "\"cc\"}}",
        201, NULL);
    subscribe(
        f, "{\"source\":\"kafka://own/t\",\"sink\":\"service://Greeter/greet\",\"options\":{\"a.password\":"
           "\"x\"}}");
    assert_non_null(strstr(f->body, "\"options\":{\"a.password\":\"***\",\"group.id\":\"cg\"}"));
    subscribe(f,
              "{\"source\":\"kafka://own/t\",\"sink\":\"service://Greeter/greet\",\"options\":{\"group.id\":"
              "\"g\",\"client.id\":\"c\"}}");
    assert_non_null(strstr(f->body, "\"options\":{\"client.id\":\"c\",\"group.id\":\"g\"}"));
}

/* The query of a URI is not part of it, an empty path is. */
static void uris_are_kept_in_one_form(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    subscribe(f, "{\"source\":\"kafka://kc/a/b?x=1#y\",\"sink\":\"service://Greeter/greet?x\"}");
    assert_non_null(strstr(f->body, "\"source\":\"kafka://kc/a/b\",\"sink\":\"service://Greeter/greet\""));
    expect(f, "GET", "/subscriptions?source=kafka://kc/a/b", NULL, 200, NULL);
    assert_non_null(strstr(f->body, "kafka://kc/a/b"));
    subscribe(f, "{\"source\":\"kafka://kc\",\"sink\":\"service://Greeter/greet\"}");
    assert_non_null(strstr(f->body, "\"source\":\"kafka://kc/\""));
}

static void refused_subscriptions(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    static const struct {
        const char *source, *sink, *message;
    } bad[] = {
        {"foo://kc/t", "service://Greeter/greet",
         "[META0009] invalid source URI 'foo://kc/t': must have a scheme segment, with supported schemes: "
         "[kafka]."},
        {"kc", "service://Greeter/greet",
         "[META0009] invalid source URI 'kc': must have a scheme segment, with supported schemes: [kafka]."},
        {"kafka:///t", "service://Greeter/greet",
         "[META0009] invalid source URI 'kafka:///t': source URI of Kafka type must have a authority segment "
         "containing the cluster name."},
        {"kafka://kc/t", "http://Greeter/greet",
         "[META0009] invalid sink URI 'http://Greeter/greet': must have a scheme segment, with supported "
         "schemes: [service]."},
        {"kafka://kc/t", "service:///greet",
         "[META0009] invalid sink URI 'service:///greet': sink URI of service type must have a authority "
         "segment containing the service name."},
        {"kafka://kc/t", "service://Greeter/no",
         "[META0009] invalid sink URI 'service://Greeter/no': cannot find service/handler specified in the "
         "sink URI."},
        {"kafka://no/t", "service://No/no",
         "[META0009] invalid sink URI 'service://No/no': cannot find service/handler specified in the sink "
         "URI."},
    };
    char body[512];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(body, sizeof(body), "{\"source\":\"%s\",\"sink\":\"%s\"}", bad[i].source, bad[i].sink);
        expect(f, "POST", "/subscriptions", body, 400, NULL);
        assert_non_null(strstr(f->body, bad[i].message));
        assert_non_null(strstr(f->body, "\"restate_code\":\"META0009\""));
    }
    expect_error(f, "POST", "/subscriptions",
                 "{\"source\":\"kafka://no/t\",\"sink\":\"service://Greeter/greet\"}", 400,
                 "Kafka cluster 'no' not found. Available clusters: [\\\"kc\\\"]");
    static const char *const malformed[] = {
        "{\"source\":\"kafka://kc/a b\",\"sink\":\"service://Greeter/greet\"}",
        "{\"source\":\"kc/t\",\"sink\":\"service://Greeter/greet\"}",
        "{\"source\":\"kafka://kc/t\"}",
        "{\"sink\":\"service://Greeter/greet\"}",
        "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Greeter/greet\",\"options\":{\"a\":1}}",
        "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Greeter/greet\",\"on_bad_record\":\"x\"}",
        "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Greeter/greet\",\"paused\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        expect(f, "POST", "/subscriptions", malformed[i], 422, NULL);
}

static void paused_and_resumed(void **state)
{
    struct fixture *f = *state;
    char path[128];
    prepare(f);
    snprintf(path, sizeof(path), "/subscriptions/%s",
             subscribe(f, "{\"source\":\"kafka://kc/t\",\"sink\":\"service://Greeter/greet\"}"));
    expect(f, "PATCH", path, "{\"paused\":true}", 200, NULL);
    assert_non_null(strstr(f->body, ",\"paused\":true}"));
    expect(f, "PATCH", path, "{\"on_bad_record\":\"skip\"}", 200, NULL);
    assert_non_null(strstr(f->body, ",\"paused\":true,\"on_bad_record\":\"skip\"}"));
    expect(f, "PATCH", path, "{}", 200, NULL);
    assert_non_null(strstr(f->body, ",\"paused\":true,\"on_bad_record\":\"skip\"}"));
    expect(f, "PATCH", path, "{\"paused\":false,\"on_bad_record\":\"block\"}", 200, NULL);
    assert_null(strstr(f->body, "paused"));
    assert_null(strstr(f->body, "on_bad"));
    expect(f, "PATCH", "/subscriptions/sub_10CZG2wxJNTbhOkGqU2hVmp", "{\"paused\":true}", 404, NULL);
}

static void clusters_of_the_configuration(void **state)
{
    struct fixture *f = *state;
    static const struct schema_header properties[] = {{"metadata.broker.list", "b:9"}};
    static const struct schema_kafka_cluster items[] = {{"fixed", properties, 1, 0}};
    static const struct schema_fixed_clusters fixed = {items, 1};
    f->fixed_clusters = &fixed;
    fixture_close(f);
    fixture_open(f, 0);
    prepare(f);
    const char *object =
        "{\"name\":\"fixed\",\"properties\":{\"metadata.broker.list\":\"b:9\"},\"created_at\":\"1970-01-"
        "01T00:"
        "00:00.000000000Z\",\"info\":[{\"message\":\"This Kafka cluster was configured in the static cluster "
        "configuration, this is deprecated. Please register it using the new Kafka Admin "
        "functionalities.\"}]";
    expect(f, "GET", "/kafka-clusters", NULL, 200, NULL);
    assert_non_null(strstr(f->body, object));
    expect(f, "GET", "/kafka-clusters/fixed", NULL, 200, NULL);
    assert_non_null(strstr(f->body, object));
    const char *body = "{\"name\":\"fixed\",\"properties\":{\"bootstrap.servers\":\"x\"}}";
    expect(f, "POST", "/kafka-clusters", body, 409, NULL);
    assert_non_null(strstr(f->body, "conflicts with static configuration"));
    expect(f, "PATCH", "/kafka-clusters/fixed", body, 409, NULL);
    assert_non_null(
        strstr(f->body, "cannot be updated, because it was defined in the restate configuration"));
    expect(f, "DELETE", "/kafka-clusters/fixed", NULL, 409, NULL);
    subscribe(f, "{\"source\":\"kafka://fixed/t\",\"sink\":\"service://Greeter/greet\"}");
    expect_error(f, "POST", "/subscriptions",
                 "{\"source\":\"kafka://no/t\",\"sink\":\"service://Greeter/greet\"}", 400,
                 "Kafka cluster 'no' not found. Available clusters: [\\\"kc\\\", \\\"fixed\\\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clusters),           TEST(a_hidden_secret_is_kept),         TEST(subscriptions),
        TEST(orphans_by_force),   TEST(options_settle_group_and_client), TEST(refused_subscriptions),
        TEST(paused_and_resumed), TEST(clusters_of_the_configuration),   TEST(uris_are_kept_in_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

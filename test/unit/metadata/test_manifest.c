/* The discovery manifest: closed schema, refusals with their codes and texts, and the schema form that comes
 * out (spec/service-protocol.md §2.5, §2.6, spec/admin-api.md §7.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/manifest.h"

#define HEAD "\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"protocolMode\":\"BIDI_STREAM\","

static bool parse(const char *json, struct manifest *m, struct problem *p)
{
    return manifest_parse(slice_cstr(json), NULL, false, m, p);
}

static void refused(const char *json, int status, const char *code, const char *contains)
{
    struct manifest m;
    struct problem p = {0};
    bool good = parse(json, &m, &p);
    struct arena a = {0};
    if (good) {
        for (size_t i = 0; i < m.n_services && good; i++) {
            struct schema_service s;
            good = manifest_service_name_allowed(m.services[i].name, &p) &&
                   manifest_service_build(&a, &m.services[i], &s, &p);
        }
        manifest_free(&m);
    }
    arena_free(&a);
    if (good)
        fail_msg("accepted: %s", json);
    if (p.http_status != status || strcmp(p.code, code) != 0 || !strstr(p.message, contains))
        fail_msg("%s\n  gave %d [%s] %s", json, p.http_status, p.code, p.message);
}

static void refusals_of_the_endpoint(void **state)
{
    refused("{", 500, "", "received a bad response from the SDK that cannot be decoded: ");
    refused("{", 500, "", ". Discovery response: {");
    refused("[]", 500, "", "cannot be decoded");
    refused("{" HEAD "\"services\":[],\"extra\":1}", 500, "", "unknown field `extra`");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"maxProtocolVersion\":7,\"services\":[]}", 500, "",
            "minProtocolVersion");
    refused("{\"protocolMode\":\"X\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":[]}", 500,
            "", "unknown variant");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":0,\"maxProtocolVersion\":7,"
            "\"services\":[]}",
            500, "", "at least 1");
    refused("{\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":[]}", 500, "META0013",
            "[META0013] received a bad response from the SDK: missing protocol mode");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":7,\"maxProtocolVersion\":5,"
            "\"services\":[]}",
            500, "META0013", "");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":2147483648,"
            "\"services\":[]}",
            500, "META0013", "");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":1,\"maxProtocolVersion\":2,"
            "\"services\":[]}",
            500, "META0012",
            "unsupported service protocol versions: [1, 2]. Supported versions by this runtime are [5, 7]. "
            "Please upgrade "
            "the SDK and try registering again.");
    refused("{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":8,\"maxProtocolVersion\":9,"
            "\"services\":[]}",
            500, "META0012", "");
}

static void service(const char *body, int status, const char *code, const char *contains)
{
    char json[4096];
    snprintf(json, sizeof(json), "{" HEAD "\"services\":[%s]}", body);
    refused(json, status, code, contains);
}

static void refusals_of_services(void **state)
{
    service("{\"name\":\"9\",\"ty\":\"SERVICE\",\"handlers\":[]}", 500, "", "does not match the pattern");
    service("{\"name\":\"_\",\"ty\":\"SERVICE\",\"handlers\":[]}", 500, "", "does not match the pattern");
    service("{\"name\":\"A\",\"ty\":\"OTHER\",\"handlers\":[]}", 500, "", "unknown variant");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\"}", 500, "", "missing field `handlers`");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[],\"journalRetention\":-1}", 500, "",
            "journalRetention");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[],\"metadata\":{\"a\":1}}", 500, "",
            "metadata");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"a-b\"}]}", 500, "", "handler name");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"a\",\"input\":{\"x\":1}}]}", 500,
            "", "unknown field `x` in input");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"a\",\"output\":[]}]}", 500, "",
            "output");
    service("{\"name\":\"restateFoo\",\"ty\":\"SERVICE\",\"handlers\":[]}", 400, "META0005",
            "[META0005] cannot insert/modify service 'restateFoo' as it contains a reserved name");
    service("{\"name\":\"OpenAPI\",\"ty\":\"SERVICE\",\"handlers\":[]}", 400, "META0005", "'OpenAPI'");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"a\",\"ty\":\"EXCLUSIVE\"}]}", 400,
            "", "invalid combination of service type and handler type '(Service, Some(Exclusive))'");
    service("{\"name\":\"A\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"a\",\"ty\":\"WORKFLOW\"}]}",
            400, "", "'(VirtualObject, Some(Workflow))'");
    service("{\"name\":\"A\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"a\",\"ty\":\"EXCLUSIVE\"}]}", 400,
            "", "'(Workflow, Some(Exclusive))'");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"ingressPrivate\":true,\"handlers\":[{\"name\":\"h\","
            "\"ingressPrivate\":false}]}",
            400, "",
            "The service A is private, but the h is explicitly set as public. This is not supported. Please "
            "make the "
            "service public, and hide the individual handlers");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\","
            "\"workflowCompletionRetention\":1}]}",
            400, "", "h sets the workflow_completion_retention, but it's not a WORKFLOW handler");
    service("{\"name\":\"A\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"h\",\"ty\":\"WORKFLOW\","
            "\"idempotencyRetention\":1}]}",
            400, "", "h sets the idempotency_retention, but it's a WORKFLOW handler");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\",\"input\":{\"contentType\":"
            "\"json\"}}]}",
            400, "",
            "the handler 'h' input content-type is not valid: can't parse the content-type 'json': must "
            "contain one /");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\",\"input\":{\"contentType\":\"*/"
            "json\"}}]}",
            400, "", "the wildcard format */subType is not supported");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\",\"output\":{\"contentType\":"
            "\"a\\nb\"}}]}",
            400, "", "output content-type is not valid: failed to parse header value");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\",\"input\":{\"contentType\":\"a/"
            "b\",\"jsonSchema\":{\"type\":\"x\"}}}]}",
            400, "", "the json schema for A/h input is invalid: ");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\",\"output\":{\"jsonSchema\":{"
            "\"properties\":{\"a\":{\"$ref\":\"http://x/y\"}}}}}]}",
            400, "", "the json schema for A/h output is invalid: external references");
    service("{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"},{\"name\":\"h\"}]}", 400, "",
            "more than once");
}

static void old_typescript_sdk_is_not_believed(void **state)
{
    struct manifest m;
    struct problem p = {0};
    assert_false(manifest_parse(SLICE_LIT("{" HEAD "\"services\":[]}"), "restate-sdk-typescript/1.2.3", false,
                                &m, &p));
    assert_string_equal(p.code, "META0012");
    assert_non_null(strstr(p.message, "[5, 1]"));
}

static void lambda_cannot_stream(void **state)
{
    struct manifest m;
    struct problem p = {0};
    assert_false(manifest_parse(SLICE_LIT("{" HEAD "\"services\":[]}"), NULL, true, &m, &p));
    assert_string_equal(p.code, "META0015");
}

static void nonsense_is_quoted_and_cut(void **state)
{
    size_t n = 8000;
    char *body = malloc(n + 1);
    for (size_t i = 0; i + 1 < n; i += 2)
        memcpy(body + i, "\xc3\xa4", 2);
    body[n] = '\0';
    struct manifest m;
    struct problem p = {0};
    assert_false(parse(body, &m, &p));
    assert_true(slice_is_utf8(slice_cstr(p.message)));
    free(body);
}

static const char full[] =
    "{\"minProtocolVersion\":1,\"maxProtocolVersion\":20,\"protocolMode\":\"REQUEST_RESPONSE\","
    "\"lambdaCompression\":\"zstd\","
    "\"services\":[{\"name\":\"Opts.x-y\",\"ty\":\"VIRTUAL_OBJECT\",\"documentation\":\"svc "
    "doc\",\"metadata\":{\"a\":\"b\"},"
    "\"inactivityTimeout\":1,\"abortTimeout\":2,\"journalRetention\":3,\"idempotencyRetention\":4,"
    "\"enableLazyState\":true,"
    "\"ingressPrivate\":false,\"retryPolicyInitialInterval\":5,\"retryPolicyMaxInterval\":6,"
    "\"retryPolicyMaxAttempts\":0,"
    "\"retryPolicyExponentiationFactor\":1.5,\"retryPolicyOnMaxAttempts\":\"KILL\",\"handlers\":["
    "{\"name\":\"ex\"},{\"name\":\"sh\",\"ty\":\"SHARED\",\"input\":{},\"output\":{}},"
    "{\"name\":\"js\",\"input\":{\"required\":true,\"contentType\":\"application/"
    "json\",\"jsonSchema\":{\"type\":\"object\"}},"
    "\"output\":{\"contentType\":\"text/plain\",\"setContentTypeIfEmpty\":true,\"jsonSchema\":true}},"
    "{\"name\":\"none\",\"input\":{\"required\":true},\"ingressPrivate\":true,\"documentation\":null}]}]}";

static void everything_set(void **state)
{
    struct manifest m;
    struct problem p = {0};
    if (!parse(full, &m, &p))
        fail_msg("%s", p.message);
    assert_true(m.request_response);
    assert_true(m.lambda_zstd);
    assert_int_equal(m.min_protocol_version, 1);
    assert_int_equal(m.max_protocol_version, 20);
    struct arena a = {0};
    struct schema_service s;
    if (!manifest_service_build(&a, &m.services[0], &s, &p))
        fail_msg("%s", p.message);
    manifest_free(&m);
    assert_string_equal(s.name, "Opts.x-y");
    assert_int_equal(s.type, SERVICE_OBJECT);
    assert_true(s.is_public);
    assert_string_equal(s.metadata_json, "{\"a\":\"b\"}");
    assert_int_equal(s.options.inactivity_timeout_ms, 1);
    assert_int_equal(s.options.abort_timeout_ms, 2);
    assert_int_equal(s.options.journal_retention_ms, 3);
    assert_int_equal(s.options.idempotency_retention_ms, 4);
    assert_int_equal(s.options.enable_lazy_state, 1);
    assert_int_equal(s.options.retry_initial_interval_ms, 5);
    assert_int_equal(s.options.retry_max_interval_ms, 6);
    assert_int_equal(s.options.retry_max_attempts, 1);
    assert_true(s.options.retry_factor == 1.5);
    assert_int_equal(s.options.retry_on_max_attempts, ON_MAX_ATTEMPTS_KILL);
    const struct schema_handler *ex = schema_handler(&s, SLICE_LIT("ex")),
                                *sh = schema_handler(&s, SLICE_LIT("sh")),
                                *js = schema_handler(&s, SLICE_LIT("js")),
                                *none = schema_handler(&s, SLICE_LIT("none"));
    assert_null(schema_handler(&s, SLICE_LIT("exx")));
    assert_int_equal(ex->kind, TARGET_OBJECT_EXCLUSIVE);
    assert_int_equal(ex->n_input_rules, 2);
    assert_int_equal(ex->input_rules[0].kind, INPUT_NOTHING);
    assert_string_equal(ex->input_rules[1].content_type, "*/*");
    assert_true(ex->output_absent);
    assert_int_equal(ex->options.retry_max_attempts, OPTION_UNSET);
    assert_int_equal(sh->kind, TARGET_OBJECT_SHARED);
    assert_int_equal(sh->n_input_rules, 1);
    assert_int_equal(sh->input_rules[0].kind, INPUT_NOTHING);
    assert_false(sh->output_absent);
    assert_null(sh->output_content_type);
    assert_int_equal(js->n_input_rules, 1);
    assert_int_equal(js->input_rules[0].kind, INPUT_JSON);
    assert_string_equal(js->input_json_schema, "{\"type\":\"object\"}");
    assert_string_equal(js->output_json_schema, "true");
    assert_true(js->output_set_if_empty);
    assert_int_equal(none->n_input_rules, 0);
    assert_int_equal(none->options.ingress_private, 1);
    assert_null(none->documentation);
    arena_free(&a);
}

/* Rust's SDK announces the bounds of its integers; u64's does not fit the JSON library's integers. */
static void integers_of_a_schema_may_exceed_64_bits(void **state)
{
    struct manifest m;
    struct problem p = {0};
    if (!parse(
            "{" HEAD
            "\"services\":[{\"name\":\"A\",\"ty\":\"SERVICE\",\"documentation\":\"\\\"18446744073709551615\","
            "\"handlers\":[{\"name\":\"h\",\"input\":{\"required\":true,\"contentType\":\"application/json\","
            "\"jsonSchema\":{\"maximum\":18446744073709551615,\"minimum\":-9223372036854775808,\"x\":1e2}}}]}"
            "]}",
            &m, &p))
        fail_msg("%s", p.message);
    struct arena a = {0};
    struct schema_service s;
    if (!manifest_service_build(&a, &m.services[0], &s, &p))
        fail_msg("%s", p.message);
    manifest_free(&m);
    assert_string_equal(s.documentation, "\"18446744073709551615");
    const char *schema = schema_handler(&s, SLICE_LIT("h"))->input_json_schema;
    json_t *o = json_loads(schema, 0, NULL);
    assert_non_null(o);
    assert_true(json_number_value(json_object_get(o, "maximum")) == 18446744073709551615.0);
    assert_true(json_number_value(json_object_get(o, "minimum")) == -9223372036854775808.0);
    assert_true(json_number_value(json_object_get(o, "x")) == 100);
    json_decref(o);
    arena_free(&a);

    /* it is not a way around the bounds of the manifest's own numbers, nor around other mistakes */
    refused("{\"minProtocolVersion\":5,\"maxProtocolVersion\":18446744073709551615,\"protocolMode\":\"BIDI_"
            "STREAM\","
            "\"services\":[]}",
            500, "", "cannot be decoded");
    refused("{\"x\":18446744073709551615,\"y", 500, "", "cannot be decoded");
    refused("{\"x\":18446744073709551615,\"y\\", 500, "", "cannot be decoded");
    refused("{\"x\":1e999}", 500, "", "cannot be decoded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_of_the_endpoint),
        cmocka_unit_test(refusals_of_services),
        cmocka_unit_test(old_typescript_sdk_is_not_believed),
        cmocka_unit_test(lambda_cannot_stream),
        cmocka_unit_test(nonsense_is_quoted_and_cut),
        cmocka_unit_test(everything_set),
        cmocka_unit_test(integers_of_a_schema_may_exceed_64_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

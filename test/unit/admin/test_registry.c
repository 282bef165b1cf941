/* Deployments and services over the REST API: exact answers and errors (spec/admin-api.md §7, §8, vectors of
 * spec/admin-vectors.json). */
#include "unit/admin/admin_fixture.h"

static const char *register_demo(struct fixture *f, const char *manifest)
{
    announces(f, manifest);
    expect(f, "POST", "/v4/deployments",
           "{\"uri\":\"http://"
           "127.0.0.1:9080\",\"additional_headers\":{\"X-Api-Key\":\"abc\"},\"metadata\":{\"env\":\"prod\"}}",
           201, NULL);
    return answered_id(f);
}

static void registered_answer_is_exact(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST("{\"name\":\"S561742\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"}]}"));
    f->discovered.sdk_version = "";
    request(f, "POST", "/deployments", "{\"uri\":\"http://127.0.0.1:9080\"}");
    assert_int_equal(f->status, 201);
    char id[64], want[2048];
    strcpy(id, answered_id(f));
    snprintf(want, sizeof(want),
             "{\"id\":\"%s\",\"services\":[{\"name\":\"S561742\",\"ty\":\"Service\",\"handlers\":[{\"name\":"
             "\"h\",\"public\":true,"
             "\"input_description\":\"*/*\",\"output_description\":\"application/"
             "json\",\"retry_policy\":{\"max_attempts\":null}}],"
             "\"deployment_id\":\"%s\",\"revision\":1,\"public\":true,\"idempotency_retention\":\"1d\","
             "\"journal_retention\":\"1d\","
             "\"inactivity_timeout\":\"1m\",\"abort_timeout\":\"10m\",\"enable_lazy_state\":false,\"retry_"
             "policy\":{"
             "\"initial_interval\":\"500ms\",\"exponentiation_factor\":2.0,\"max_attempts\":70,\"max_"
             "interval\":\"1m\","
             "\"on_max_attempts\":\"Pause\"}}],\"min_protocol_version\":5,\"max_protocol_version\":7}",
             id, id);
    assert_string_equal(f->body, want);
    snprintf(want, sizeof(want), "deployments/%s", id);
    assert_string_equal(f->location, want);
    assert_string_equal(f->content_type, "application/json");
    assert_string_equal(f->last_uri, "http://127.0.0.1:9080/");
}

#define WITH_SCHEMAS                                                                                         \
    "{\"name\":\"Docs\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"put\",\"input\":{\"required\":"  \
    "true,"                                                                                                  \
    "\"contentType\":\"application/"                                                                         \
    "json\",\"jsonSchema\":{\"$defs\":{\"N\":{\"type\":\"string\"}},\"items\":[{\"$ref\":"                   \
    "\"#/$defs/N\"}]}}},{\"name\":\"secret\",\"ingressPrivate\":true}]}"

static void openapi_of_a_service(void **state)
{
    struct fixture *f = *state;
    register_demo(f, MANIFEST(WF "," WITH_SCHEMAS));
    expect_error(f, "GET", "/services/None/openapi", NULL, 404,
                 "The requested service 'None' does not exist");
    expect(f, "GET", "/services/Docs/openapi", NULL, 200, NULL);
    json_t *doc = json_loads(f->body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(doc);
    json_t *paths = json_object_get(doc, "paths");
    assert_int_equal(json_object_size(paths), 4); /* hidden handlers are left out */
    assert_non_null(json_object_get(paths, "/restate/call/Docs/{key}/put"));
    assert_non_null(json_object_get(paths, "/restate/invocation/Docs/{key}/put/{idempotencyKey}/output"));
    assert_non_null(strstr(f->body, "{\"$ref\":\"#/components/schemas/putRequest/$defs/N\"}"));
    assert_non_null(strstr(f->body, "\"required\":true,\"content\":{\"application/json\":{\"schema\""));
    json_decref(doc);
    expect(f, "GET", "/services/Wf/openapi", NULL, 200, NULL);
    assert_non_null(strstr(f->body, "\"/restate/workflow/Wf/{key}/attach\""));
    assert_null(strstr(f->body, "idempotencyKey}"));
}

static void list_and_detail(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET", "/v4/deployments", NULL, 200, "{\"deployments\":[]}");
    expect(f, "GET", "/v4/services", NULL, 200, "{\"services\":[]}");
    char id[64], want[2048];
    strcpy(id, register_demo(f, MANIFEST(WF "," GREETER)));
    assert_int_equal(f->last_discovery.n_headers, 1);
    snprintf(want, sizeof(want),
             "{\"deployments\":[{\"id\":\"%s\",\"uri\":\"http://127.0.0.1:9080/"
             "\",\"protocol_type\":\"BidiStream\","
             "\"http_version\":\"HTTP/"
             "2.0\",\"additional_headers\":{\"x-api-key\":\"abc\"},\"metadata\":{\"env\":\"prod\"},"
             "\"created_at\":\"2026-11-22T17:33:58.130000000Z\",\"min_protocol_version\":5,\"max_protocol_"
             "version\":7,"
             "\"sdk_version\":\"sdk/"
             "1.0\",\"services\":[{\"name\":\"Wf\",\"revision\":1},{\"name\":\"Greeter\",\"revision\":1}]}]}",
             id);
    expect(f, "GET", "/deployments", NULL, 200, want);
    snprintf(want, sizeof(want), "/v3/deployments/%s", id);
    expect(f, "GET", want, NULL, 200, NULL);
    assert_non_null(strstr(f->body, "\"workflow_completion_retention\":\"1d\""));
    expect_error(f, "GET", "/v4/deployments/dp_13lvCWWoY8ZmF5Rv9mtTDhM", NULL, 404,
                 "The requested deployment 'dp_13lvCWWoY8ZmF5Rv9mtTDhM' does not exist");
    expect(f, "GET", "/v4/deployments/zzz", NULL, 400,
           "Invalid URL: Cannot parse `deployment` with value `zzz`: bad format");
}

static void again_unchanged_and_forced(void **state)
{
    struct fixture *f = *state;
    char id[64], message[256];
    strcpy(id, register_demo(f, MANIFEST(COUNTER)));
    size_t before = f->discoveries;
    expect(f, "POST", "/v4/deployments", "{\"uri\":\"http://127.0.0.1:9080/\"}", 200, NULL);
    assert_string_equal(answered_id(f), id);
    assert_non_null(strstr(f->location, id));
    snprintf(message, sizeof(message), "Conflict: deployment %s already exists", id);
    expect_error(f, "POST", "/v2/deployments", "{\"uri\":\"http://127.0.0.1:9080/\",\"force\":false}", 409,
                 message);
    assert_int_equal(f->discoveries, before);
    expect(f, "POST", "/v4/deployments",
           "{\"uri\":\"http://127.0.0.1:9080/\",\"force\":true,\"dry_run\":true}", 200, NULL);
    expect(f, "POST", "/v4/deployments", "{\"uri\":\"http://127.0.0.1:9080/\",\"force\":true}", 200, NULL);
    assert_string_equal(answered_id(f), id);
    assert_non_null(strstr(f->body, "\"revision\":2"));
    expect(f, "POST", "/v2/deployments", "{\"uri\":\"http://127.0.0.1:9080/\"}", 201, NULL);
    assert_non_null(strstr(f->body, "\"revision\":3"));
}

static void dry_run_stores_nothing(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST(GREETER));
    expect(f, "POST", "/deployments",
           "{\"uri\":\"http://h:1/\",\"additional_headers\":null,\"dry_run\":true}", 201, NULL);
    expect(f, "GET", "/deployments", NULL, 200, "{\"deployments\":[]}");
}

static void breaking_changes(void **state)
{
    struct fixture *f = *state;
    register_demo(f, MANIFEST(GREETER));
    announces(f, MANIFEST("{\"name\":\"Greeter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[]}"));
    expect(f, "POST", "/v4/deployments",
           "{\"uri\":\"http://other/\",\"force\":false,\"breaking\":false,\"dry_run\":true}", 409,
           "{\"message\":\"[META0006] detected a new service revision for 'Greeter' changing the service "
           "type from previous "
           "revision. Service type cannot be changed across revisions.\",\"restate_code\":\"META0006\"}");
    expect(f, "POST", "/v4/deployments", "{\"uri\":\"http://other/\",\"breaking\":true}", 201, NULL);
}

static void refused_bodies(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST(GREETER));
    expect_error(f, "POST", "/deployments", "{\"uri\":\"/a\"}", 400,
                 "The request field 'uri' is invalid. Reason: The provided uri /a is not absolute, only "
                 "absolute URIs can be used.");
    static const char shape[] = "Failed to deserialize the JSON body into the target type: ";
    static const char *const bad[] = {
        "{}",
        "[]",
        "1",
        "{\"uri\":1}",
        "{\"uri\":\"http://a b/\"}",
        "{\"uri\":\"http://h/\",\"force\":1}",
        "{\"uri\":\"http://h/\",\"dry_run\":\"x\"}",
        "{\"uri\":\"http://h/\",\"additional_headers\":[]}",
        "{\"uri\":\"http://h/\",\"additional_headers\":{\"a b\":\"c\"}}",
        "{\"uri\":\"http://h/\",\"additional_headers\":{\"a\":1}}",
        "{\"uri\":\"http://h/\",\"additional_headers\":{\"a\":\"x\\ny\"}}",
        "{\"uri\":\"http://h/\",\"metadata\":{\"a\":1}}",
        "{\"uri\":\"http://h/\\u0000\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_text(f, "POST", "/deployments", bad[i], 422, shape);
    expect_text(f, "POST", "/deployments", "{", 400, "Failed to parse the request body as JSON: ");
    expect_text(f, "POST", "/deployments", "", 400, "Failed to parse the request body as JSON: ");
    expect_text(f, "POST", "/deployments", NULL, 415,
                "Expected request with `Content-Type: application/json`");
    expect(f, "POST", "/deployments", "{\"arn\":\"arn:aws:lambda:x\"}", 400, NULL);
    expect(f, "POST", "/deployments", "{\"uri\":\"https://h/\",\"auth\":{\"GoogleIdToken\":{}}}", 501, NULL);
    assert_int_equal(f->discoveries, 0);
    send_with(f, "POST", "/deployments", "text/plain", SLICE_LIT("{\"uri\":\"x\"}"));
    assert_int_equal(f->status, 415);
    send_with(f, "POST", "/deployments", "application/cloudevents+json; charset=utf-8", SLICE_LIT("{"));
    assert_int_equal(f->status, 400);
    send_with(f, "POST", "/deployments", "application/json", slice_make(f, ADMIN_BODY_LIMIT_BYTES + 1));
    assert_int_equal(f->status, 413);
    assert_string_equal(f->body, "Failed to buffer the request body: length limit exceeded");
}

static void failed_discovery(void **state)
{
    struct fixture *f = *state;
    f->discovered = (struct admin_discovery_result){.rc = RC_UNAVAILABLE,
                                                    .restate_code = "META0003",
                                                    .http_status = 500,
                                                    .message = "error when calling 'http://h/': refused",
                                                    .sdk_version = ""};
    expect(
        f, "POST", "/deployments", "{\"uri\":\"http://h/\"}", 500,
        "{\"message\":\"[META0003] error when calling 'http://h/': refused\",\"restate_code\":\"META0003\"}");
    announces(f, "nonsense");
    expect(f, "POST", "/deployments", "{\"uri\":\"http://h/\"}", 500, NULL);
    assert_non_null(strstr(f->body, "Discovery response: nonsense\",\"restate_code\":null}"));
    announces(f, MANIFEST("{\"name\":\"OpenAPI\",\"ty\":\"SERVICE\",\"handlers\":[]}"));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://h/\"}", 400,
           "{\"message\":\"[META0005] cannot insert/modify service 'OpenAPI' as it contains a reserved "
           "name\",\"restate_code\":\"META0005\"}");
    expect(f, "GET", "/services", NULL, 200, "{\"services\":[]}");
}

static void deletion(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "/v4/deployments/%s", register_demo(f, MANIFEST(GREETER)));
    expect(f, "DELETE", path, NULL, 501, "");
    expect_error(f, "DELETE", "/v4/deployments/dp_13lvCWWoY8ZmF5Rv9mtTDhM?force=true", NULL, 404,
                 "not found in the schema registry: deployment with id 'dp_13lvCWWoY8ZmF5Rv9mtTDhM'");
    expect_text(f, "DELETE", "/v4/deployments/dp_13lvCWWoY8ZmF5Rv9mtTDhM?force=1", NULL, 400,
                "Failed to deserialize query string: force: ");
    strcat(path, "?force=true");
    expect(f, "DELETE", path, NULL, 202, "");
    expect(f, "GET", "/services", NULL, 200, "{\"services\":[]}");
}

static void update_in_place(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "/v4/deployments/%s", register_demo(f, MANIFEST(GREETER)));
    size_t before = f->discoveries;
    expect(f, "PATCH", path, "{}", 200, NULL);
    expect(f, "PATCH", path, "{\"uri\":null}", 200, NULL);
    assert_int_equal(f->discoveries, before);
    expect(f, "PATCH", path, "{\"additional_headers\":{\"A\":\"b\"}}", 200, NULL);
    assert_non_null(strstr(f->body, "\"additional_headers\":{\"a\":\"b\"}"));
    assert_false(f->last_discovery.use_http_11);
    f->discovered.http_1_1 = true;
    expect(f, "PATCH", path, "{\"uri\":\"http://h:2\",\"use_http_11\":true,\"dry_run\":true}", 200, NULL);
    assert_true(f->last_discovery.use_http_11);
    assert_non_null(strstr(
        f->body, "\"uri\":\"http://h:2/\",\"protocol_type\":\"BidiStream\",\"http_version\":\"HTTP/1.1\""));
    expect(f, "GET", path, NULL, 200, NULL);
    assert_non_null(strstr(f->body, "\"uri\":\"http://127.0.0.1:9080/\""));
    announces(f, "{\"minProtocolVersion\":5,\"maxProtocolVersion\":6,\"protocolMode\":\"BIDI_STREAM\","
                 "\"services\":[]}");
    expect(f, "PATCH", path, "{\"overwrite\":true}", 400, NULL);
    assert_non_null(strstr(f->body, "\"restate_code\":\"META0016\""));
    expect_error(f, "PATCH", path, "{\"assume_role_arn\":\"x\"}", 400,
                 "cannot update the deployment, as the deployment type is http while the update options are "
                 "for type lambda");
    expect_error(f, "PUT", path, "{\"uri\":\"http://h/\"}", 405,
                 "PUT deployment is deprecated, use PATCH instead");
    memcpy(path, "/v2", 3);
    announces(f, MANIFEST(WF));
    expect(f, "PUT", path, "{\"uri\":\"http://h/\",\"overwrite\":true}", 200, NULL);
    assert_non_null(strstr(f->body, "\"name\":\"Wf\""));
    expect_error(f, "PATCH", "/deployments/dp_13lvCWWoY8ZmF5Rv9mtTDhM", "{}", 404,
                 "The requested deployment 'dp_13lvCWWoY8ZmF5Rv9mtTDhM' does not exist");
}

static void services_and_handlers(void **state)
{
    struct fixture *f = *state;
    register_demo(f, MANIFEST(COUNTER));
    expect(f, "GET", "/v4/services/Counter/handlers/get", NULL, 200,
           "{\"name\":\"get\",\"ty\":\"Shared\",\"public\":true,\"input_description\":\"*/"
           "*\",\"output_description\":\"application/json\","
           "\"retry_policy\":{\"max_attempts\":null}}");
    expect(f, "GET", "/v4/services/%43ounter/handlers", NULL, 200, NULL);
    assert_memory_equal(f->body, "{\"handlers\":[{\"name\":\"add\"", 26);
    expect_error(f, "GET", "/v4/services/Counter/handlers/nope", NULL, 404,
                 "The requested handler 'nope' on service 'Counter' does not exist");
    expect_error(f, "GET", "/v4/services/Nope/handlers/nope", NULL, 404,
                 "The requested handler 'nope' on service 'Nope' does not exist");
    expect_error(f, "GET", "/v4/services/Nope", NULL, 404, "The requested service 'Nope' does not exist");
    expect_error(f, "GET", "/v4/services/Nope/handlers", NULL, 404,
                 "The requested service 'Nope' does not exist");
}

static void patched_service(void **state)
{
    struct fixture *f = *state;
    register_demo(f, MANIFEST(COUNTER "," WF));
    expect(f, "PATCH", "/v4/services/Counter",
           "{\"public\":true,\"idempotency_retention\":\"PT1H\",\"workflow_completion_retention\":null,"
           "\"journal_retention\":\"1 day 2h\","
           "\"inactivity_timeout\":\"30s\",\"abort_timeout\":\"90s\"}",
           200, NULL);
    assert_non_null(strstr(f->body,
                           "\"public\":true,\"idempotency_retention\":\"1h\",\"journal_retention\":\"1d 2h\","
                           "\"inactivity_timeout\":\"30s\",\"abort_timeout\":\"1m 30s\""));
    expect(f, "PATCH", "/v4/services/Counter", "{\"public\":false}", 200, NULL);
    assert_non_null(strstr(f->body, "\"public\":false,\"idempotency_retention\":\"1h\""));
    assert_non_null(strstr(f->body, "\"name\":\"add\",\"ty\":\"Exclusive\",\"public\":false"));
    expect(f, "PATCH", "/v4/services/Counter", "{}", 200, NULL);
    expect(f, "PATCH", "/v4/services/Wf", "{\"workflow_completion_retention\":\"0\"}", 200, NULL);
    assert_non_null(strstr(f->body, "\"workflow_completion_retention\":\"0s\""));
    /* Milliseconds are kept; what is less does not become zero, which for a retention means "off". */
    expect(f, "PATCH", "/services/Counter", "{\"abort_timeout\":\"999us\"}", 200, NULL);
    assert_non_null(strstr(f->body, "\"abort_timeout\":\"1ms\""));
    expect(f, "PATCH", "/services/Counter", "{\"abort_timeout\":\"90s\"}", 200, NULL);
    /* Names that are no UTF-8 are never looked up, nor written into the log. */
    expect_text(f, "GET", "/services/%FF", NULL, 400, "Invalid URL: Invalid UTF-8 in ");
    expect_text(f, "GET", "/services/Counter/handlers/%C3", NULL, 400, "Invalid URL: Invalid UTF-8 in ");
    size_t asked = f->n_kinds;
    expect_text(f, "POST", "/services/%FF/state", "{\"object_key\":\"k\",\"new_state\":{}}", 400,
                "Invalid URL: Invalid UTF-8 in ");
    assert_int_equal(f->n_kinds, asked);
    expect_error(f, "GET", "/services/%C3%BC", NULL, 404, "The requested service '\xc3\xbc' does not exist");
    expect_text(f, "PATCH", "/v4/services/Counter", "{\"abort_timeout\":\"abc\"}", 422,
                "Failed to deserialize the JSON body into the target type: abort_timeout: ");
    static const char *const bad[] = {"{\"abort_timeout\":5}", "{\"abort_timeout\":\"5\"}",
                                      "{\"abort_timeout\":\"-5s\"}", "{\"abort_timeout\":\"1 month\"}",
                                      "{\"public\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(f, "PATCH", "/v4/services/Counter", bad[i], 422, NULL);
    expect_error(f, "PATCH", "/v4/services/Counter", "{\"workflow_completion_retention\":\"1d\"}", 400,
                 "modifying retention time for service type VirtualObject is unsupported");
    expect_error(f, "PATCH", "/v4/services/Nope", "{\"public\":true}", 404,
                 "not found in the schema registry: service with name 'Nope'");
    expect_error(f, "PATCH", "/v4/services/Nope", "{}", 404, "The requested service 'Nope' does not exist");
}

/* The captured payload of spec/admin-api.md §26. */
static void every_option(void **state)
{
    struct fixture *f = *state;
    announces(
        f, "{\"minProtocolVersion\":5,\"maxProtocolVersion\":6,\"protocolMode\":\"REQUEST_RESPONSE\","
           "\"services\":[{\"name\":\"Full\","
           "\"ty\":\"VIRTUAL_OBJECT\",\"documentation\":\"svc "
           "doc\",\"metadata\":{\"a\":\"b\"},\"inactivityTimeout\":60000,"
           "\"abortTimeout\":120000,\"journalRetention\":3600000,\"idempotencyRetention\":7200000,"
           "\"enableLazyState\":true,"
           "\"retryPolicyInitialInterval\":100,\"retryPolicyMaxInterval\":5000,\"retryPolicyMaxAttempts\":7,"
           "\"retryPolicyExponentiationFactor\":1.5,\"retryPolicyOnMaxAttempts\":\"KILL\",\"handlers\":[{"
           "\"name\":\"ex\","
           "\"ty\":\"EXCLUSIVE\",\"documentation\":\"hdoc\",\"metadata\":{\"k\":\"v\"},\"inactivityTimeout\":"
           "1000,\"abortTimeout\":2000,"
           "\"journalRetention\":3000,\"idempotencyRetention\":4000,\"enableLazyState\":false,"
           "\"ingressPrivate\":true,"
           "\"retryPolicyInitialInterval\":1,\"retryPolicyMaxInterval\":2,\"retryPolicyMaxAttempts\":4,"
           "\"retryPolicyExponentiationFactor\":3,\"retryPolicyOnMaxAttempts\":\"PAUSE\",\"input\":{"
           "\"required\":true,"
           "\"contentType\":\"application/"
           "json\",\"jsonSchema\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}}},"
           "\"output\":{\"contentType\":\"application/json\",\"jsonSchema\":{\"type\":\"string\"}}}]}]}");
    expect(f, "POST", "/deployments", "{\"uri\":\"http://127.0.0.1:9081/full\",\"use_http_11\":true}", 201,
           NULL);
    expect(f, "GET", "/services/Full/handlers/ex", NULL, 200,
           "{\"name\":\"ex\",\"ty\":\"Exclusive\",\"documentation\":\"hdoc\",\"metadata\":{\"k\":\"v\"},"
           "\"idempotency_retention\":\"4s\","
           "\"journal_retention\":\"3s\",\"abort_timeout\":\"2s\",\"enable_lazy_state\":false,\"public\":"
           "false,\"input_description\":"
           "\"JSON object\",\"output_description\":\"JSON "
           "string\",\"input_json_schema\":{\"properties\":{\"n\":{\"type\":\"integer\"}},"
           "\"type\":\"object\"},\"output_json_schema\":{\"type\":\"string\"},\"retry_policy\":{\"initial_"
           "interval\":\"1ms\","
           "\"exponentiation_factor\":3.0,\"max_attempts\":4,\"max_interval\":\"2ms\",\"on_max_attempts\":"
           "\"Pause\"},\"info\":[{\"code\":"
           "\"RT0021\",\"message\":\"The configured inactivity_timeout 1s will not be applied because the "
           "handler is exposed in "
           "Request/Response mode.\"}]}");
    expect(f, "GET", "/services/Full", NULL, 200, NULL);
    const char *tail = strstr(f->body, "\"documentation\":\"svc doc\"");
    assert_non_null(tail);
    assert_string_equal(strstr(tail, "\"revision\""),
                        "\"revision\":1,\"public\":true,\"idempotency_retention\":\"2h\",\"journal_"
                        "retention\":\"1h\",\"inactivity_timeout\":"
                        "\"0s\",\"abort_timeout\":\"2m\",\"enable_lazy_state\":true,\"retry_policy\":{"
                        "\"initial_interval\":\"100ms\","
                        "\"exponentiation_factor\":1.5,\"max_attempts\":7,\"max_interval\":\"5s\",\"on_max_"
                        "attempts\":\"Kill\"},\"info\":[{"
                        "\"code\":\"RT0021\",\"message\":\"The configured inactivity_timeout 1m will not be "
                        "applied because the service is "
                        "exposed in Request/Response mode.\"}]}");
    f->defaults.max_journal_retention_ms = 1000;
    expect(f, "GET", "/services/Full", NULL, 200, NULL);
    assert_non_null(strstr(f->body, "\"journal_retention\":\"1s\""));
    assert_non_null(strstr(f->body, "{\"code\":\"RT0022\",\"message\":\"The configured journal_retention is "
                                    "clamped to the maximum server limit.\"}"));
}

static void descriptions(void **state)
{
    struct fixture *f = *state;
    announces(
        f, MANIFEST(
               "{\"name\":\"D\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"a\",\"input\":{\"contentType\":"
               "\"*/*\"},\"output\":{"
               "\"contentType\":\"application/"
               "octet-stream\",\"setContentTypeIfEmpty\":true}},{\"name\":\"b\",\"input\":{},\"output\":{}},"
               "{\"name\":\"c\",\"input\":{\"contentType\":\"a/"
               "b\",\"jsonSchema\":{\"title\":\"Person\",\"type\":\"object\"}}}]}"));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://h/\"}", 201, NULL);
    assert_non_null(strstr(f->body, "\"name\":\"a\",\"public\":true,\"input_description\":\"*/"
                                    "*\",\"output_description\":\"optional application/octet-stream\""));
    assert_non_null(strstr(
        f->body,
        "\"name\":\"b\",\"public\":true,\"input_description\":\"none\",\"output_description\":\"none\""));
    assert_non_null(strstr(
        f->body, "\"input_description\":\"JSON 'Person'\",\"output_description\":\"application/json\""));
}

static void the_registry_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    register_demo(f, MANIFEST(COUNTER "," WF));
    expect(f, "PATCH", "/services/Counter", "{\"public\":false,\"journal_retention\":\"5s\"}", 200, NULL);
    request(f, "GET", "/services", NULL);
    char *before = xstrdup(f->body);
    uint32_t version = schema_version(schema_store_current(f->store));
    assert_int_equal(version, 2);
    fixture_close(f);
    fixture_open(f, 0);
    expect(f, "GET", "/services", NULL, 200, before);
    assert_int_equal(schema_version(schema_store_current(f->store)), version);
    free(before);
}

/* Two registrations of the same address that discover at the same time: one creates, the other finds it
 * there. */
static void registrations_at_once(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST(GREETER));
    f->answers = 0;
    for (int i = 0; i < 2; i++) {
        send_with(f, "POST", "/deployments", "application/json", SLICE_LIT("{\"uri\":\"http://h/\"}"));
        env_undefer(&f->discovery_task);
        fixture_discovered(&f->discovery_task);
    }
    fake_env_run(&f->fenv);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->discoveries, 2);
    assert_int_equal(f->status, 200);
    assert_non_null(strstr(f->body, "\"revision\":1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registered_answer_is_exact),
        TEST(openapi_of_a_service),
        TEST(list_and_detail),
        TEST(again_unchanged_and_forced),
        TEST(dry_run_stores_nothing),
        TEST(breaking_changes),
        TEST(refused_bodies),
        TEST(failed_discovery),
        TEST(deletion),
        TEST(update_in_place),
        TEST(services_and_handlers),
        TEST(patched_service),
        TEST(every_option),
        TEST(descriptions),
        TEST(the_registry_survives_a_restart),
        TEST(registrations_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

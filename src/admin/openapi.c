/* GET /openapi: the OpenAPI document of this API, from the route table (spec/admin-api.md §6). `make
 * fuzz-api` validates it and runs a generic API fuzzer over it. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"

/* ---- what the route table does not say ---- */

#define PARAM(name, schema) "{\"name\":\"" name "\",\"in\":\"query\",\"schema\":" schema "}"
#define TEXT                "{\"type\":\"string\"}"
#define FLAG                "{\"type\":\"boolean\"}"
#define TEXTS               "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}"
#define DURATION            "{\"type\":[\"string\",\"null\"],\"examples\":[\"1h 30m\",\"PT5S\"]}"
#define OBJECT(required, properties)                                                                         \
    "{\"type\":\"object\",\"required\":[" required "],\"properties\":{" properties "}}"

#define DEPLOYMENT_CHOICE PARAM("deployment", "{\"type\":\"string\",\"examples\":[\"keep\",\"latest\"]}")
#define FORCE             PARAM("force", FLAG)
#define REGISTER_COMMON                                                                                      \
    "\"additional_headers\":" TEXTS ",\"force\":" FLAG ",\"breaking\":" FLAG ",\"dry_run\":" FLAG            \
    ",\"metadata\":" TEXTS
#define REGISTER                                                                                             \
    "{\"oneOf\":[" OBJECT(                                                                                   \
        "\"uri\"", "\"uri\":{\"type\":\"string\",\"format\":\"uri\"},\"use_http_11\":" FLAG                  \
                   "," REGISTER_COMMON) "," OBJECT("\"arn\"", "\"arn\":" TEXT ",\"assume_role_arn\":" TEXT   \
                                                              "," REGISTER_COMMON) "]}"
#define SERVICE_OPTIONS                                                                                      \
    OBJECT("", "\"public\":{\"type\":[\"boolean\",\"null\"]},\"idempotency_retention\":" DURATION            \
               ",\"workflow_completion_retention\":" DURATION ",\"journal_retention\":" DURATION             \
               ",\"inactivity_timeout\":" DURATION ",\"abort_timeout\":" DURATION)
#define NEW_STATE                                                                                            \
    OBJECT("\"object_key\",\"new_state\"",                                                                   \
           "\"object_key\":" TEXT ",\"version\":{\"type\":[\"string\",\"null\"]},\"new_state\":{\"type\":"   \
           "\"object\",\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":\"integer\","        \
           "\"minimum\":0,\"maximum\":255}}}")
#define BATCH                                                                                                \
    OBJECT("\"invocation_ids\"", "\"invocation_ids\":{\"type\":\"array\",\"items\":" TEXT                    \
                                 ",\"maxItems\":1000},\"deployment\":{\"type\":[\"string\",\"null\"]}")
#define RULES                                                                                                \
    "{\"type\":\"array\",\"items\":" OBJECT(                                                                 \
        "\"pattern\",\"limits\"",                                                                            \
        "\"pattern\":" TEXT ",\"limits\":" OBJECT(                                                           \
            "", "\"concurrency\":{\"type\":\"integer\",\"minimum\":1}") ",\"description\":" TEXT             \
                                                                        ",\"disabled\":" FLAG                \
                                                                        ",\"precondition\":{\"type\":"       \
                                                                        "\"object\"}") "}"
#define RULES_GONE                                                                                           \
    "{\"type\":\"array\",\"items\":" OBJECT(                                                                 \
        "\"pattern\"", "\"pattern\":" TEXT ",\"expected_version\":{\"type\":\"integer\"}") "}"
#define SUBSCRIPTION                                                                                         \
    OBJECT("\"source\",\"sink\"",                                                                            \
           "\"source\":{\"type\":\"string\",\"examples\":[\"kafka://cluster/topic\"]},\"sink\":{\"type\":"   \
           "\"string\",\"examples\":[\"service://Service/handler\"]},\"options\":{\"type\":[\"object\","     \
           "\"null\"],\"additionalProperties\":{\"type\":\"string\"}}")

/* ---- answers; what REF names stands in `answer_schemas` ---- */

#define REF(name)          "{\"$ref\":\"#/components/schemas/" name "\"}"
#define IS(name, schema)   "\"" name "\":" schema
#define ARRAY_OF(schema)   "{\"type\":\"array\",\"items\":" schema "}"
#define LIST(name, schema) OBJECT("\"" name "\"", IS(name, ARRAY_OF(schema)))
#define INTEGER            "{\"type\":\"integer\"}"
#define NEW_INVOCATION     OBJECT("\"new_invocation_id\"", IS("new_invocation_id", TEXT))
#define REGISTERED         OBJECT("\"id\",\"services\"", IS("id", TEXT) "," IS("services", ARRAY_OF(REF("Service"))))
#define BATCH_FAILURE      OBJECT("\"invocation_id\",\"error\"", IS("invocation_id", TEXT) "," IS("error", TEXT))
#define BATCH_DONE                                                                                           \
    OBJECT("\"succeeded\",\"failed\"",                                                                       \
           IS("succeeded", "{\"type\":\"array\"}") "," IS("failed", ARRAY_OF(BATCH_FAILURE)))

#define VERSION_REQUIRED "\"version\",\"min_admin_api_version\",\"max_admin_api_version\",\"features\""
#define VERSION                                                                                              \
    IS("version", TEXT)                                                                                      \
    "," IS("min_admin_api_version", INTEGER) "," IS("max_admin_api_version", INTEGER) "," IS(                \
        "features", "{\"type\":\"object\",\"additionalProperties\":" FLAG "}")
#define HANDLER_REQUIRED "\"name\",\"public\",\"input_description\",\"output_description\""
#define HANDLER                                                                                              \
    IS("name", TEXT)                                                                                         \
    "," IS("public", FLAG) "," IS("input_description", TEXT) "," IS("output_description", TEXT)
#define SERVICE_REQUIRED "\"name\",\"ty\",\"handlers\",\"deployment_id\",\"revision\",\"public\""
#define SERVICE                                                                                              \
    IS("name", TEXT)                                                                                         \
    "," IS("ty", "{\"enum\":[\"Service\",\"VirtualObject\",\"Workflow\"]}") "," IS(                          \
        "handlers", ARRAY_OF(REF("Handler"))) "," IS("deployment_id", TEXT) "," IS("revision",               \
                                                                                   INTEGER) "," IS("public", \
                                                                                                   FLAG)
#define DEPLOYMENT_REQUIRED                                                                                  \
    "\"id\",\"created_at\",\"min_protocol_version\",\"max_protocol_version\",\"services\""
#define DEPLOYMENT                                                                                           \
    IS("id", TEXT)                                                                                           \
    "," IS("uri", TEXT) "," IS("arn", TEXT) "," IS("created_at", TEXT) "," IS(                               \
        "min_protocol_version", INTEGER) "," IS("max_protocol_version", INTEGER) "," IS("services",          \
                                                                                        "{\"type\":"         \
                                                                                        "\"array\"}")
#define CLUSTER                                                                                              \
    OBJECT("\"name\",\"properties\",\"created_at\"",                                                         \
           IS("name", TEXT) "," IS("properties", TEXTS) "," IS("created_at", TEXT))
#define BAD_RECORDS "{\"enum\":[\"block\",\"skip\"]}"
#define SUBSCRIBED                                                                                           \
    OBJECT("\"id\",\"source\",\"sink\",\"options\"",                                                         \
           IS("id", TEXT) "," IS("source", TEXT) "," IS("sink", TEXT) "," IS("options", TEXTS) "," IS(       \
               "paused", FLAG) "," IS("on_bad_record", BAD_RECORDS))

#define NOT_OFFERED  "\"501\":{\"description\":\"Not offered by this server\"}"
#define NO_OPERATION "\"404\":{\"description\":\"There is no such operation\"}"

static const struct {
    const char *name, *schema;
} answer_schemas[] = {
    {"Version", OBJECT(VERSION_REQUIRED, VERSION)},
    {"Handler", OBJECT(HANDLER_REQUIRED, HANDLER)},
    {"Service", OBJECT(SERVICE_REQUIRED, SERVICE)},
    {"Deployment", OBJECT(DEPLOYMENT_REQUIRED, DEPLOYMENT)},
    {"KafkaCluster", CLUSTER},
    {"Subscription", SUBSCRIBED},
};

static const struct extra {
    const char *method, *pattern;
    const char *query;  /* elements of `parameters`, NULL: none */
    const char *body;   /* schema, NULL: any JSON where the route takes some */
    const char *answer; /* schema of a success, NULL: none, or not JSON */
    const char *errors; /* members of `responses`: those that have not the form of others; NULL: none */
} extras[] = {
    {"GET", "/version", .answer = REF("Version")},
    {"GET", "/deployments", .answer = LIST("deployments", REF("Deployment"))},
    {"GET", "/deployments/{}", .answer = REF("Deployment")},
    {"GET", "/services", .answer = LIST("services", REF("Service"))},
    {"GET", "/services/{}", .answer = REF("Service")},
    {"GET", "/services/{}/handlers", .answer = LIST("handlers", REF("Handler"))},
    {"GET", "/services/{}/handlers/{}", .answer = REF("Handler")},
    {"GET", "/kafka-clusters", .answer = LIST("clusters", REF("KafkaCluster"))},
    {"GET", "/subscriptions/{}", .answer = REF("Subscription")},
    {"PATCH", "/subscriptions/{}",
     .body = OBJECT("", IS("paused", FLAG) "," IS("on_bad_record", BAD_RECORDS)),
     .answer = REF("Subscription")},
    {"POST", "/deployments", .body = REGISTER, .answer = REGISTERED},
    {"PATCH", "/deployments/{}",
     .body = OBJECT("", "\"uri\":" TEXT ",\"arn\":" TEXT ",\"assume_role_arn\":" TEXT
                        ",\"additional_headers\":" TEXTS ",\"overwrite\":" FLAG ",\"dry_run\":" FLAG)},
    {"PUT", "/deployments/{}", .body = REGISTER},
    {"DELETE", "/deployments/{}", .query = FORCE, .errors = NOT_OFFERED},
    {"PATCH", "/services/{}", .body = SERVICE_OPTIONS, .answer = REF("Service")},
    {"POST", "/services/{}/state", .body = NEW_STATE},
    {"PATCH", "/invocations/{}/resume", .query = DEPLOYMENT_CHOICE},
    {"PATCH", "/invocations/{}/restart-as-new",
     .query = DEPLOYMENT_CHOICE "," PARAM("from", "{\"type\":\"integer\",\"minimum\":0}"),
     .answer = NEW_INVOCATION},
    {"DELETE", "/invocations/{}",
     .query = PARAM("mode", "{\"type\":\"string\",\"enum\":[\"cancel\",\"kill\",\"purge\"]}")},
    {"POST", "/internal/invocations_batch_operations/{}", .body = BATCH, .answer = BATCH_DONE,
     .errors = NO_OPERATION},
    {"POST", "/kafka-clusters",
     .body = OBJECT("\"name\",\"properties\"", "\"name\":" TEXT ",\"properties\":" TEXTS),
     .answer = REF("KafkaCluster")},
    {"GET", "/kafka-clusters/{}", .query = PARAM("include_subscriptions", FLAG),
     .answer = REF("KafkaCluster")},
    {"PATCH", "/kafka-clusters/{}", .body = OBJECT("\"properties\"", "\"properties\":" TEXTS),
     .answer = REF("KafkaCluster")},
    {"DELETE", "/kafka-clusters/{}", .query = FORCE},
    {"GET", "/subscriptions", .query = PARAM("sink", TEXT) "," PARAM("source", TEXT),
     .answer = LIST("subscriptions", REF("Subscription"))},
    {"POST", "/subscriptions", .body = SUBSCRIPTION, .answer = REF("Subscription")},
    {"PUT", "/limits/rules", .body = RULES},
    {"POST", "/limits/rules/bulk-delete", .body = RULES_GONE},
    {"POST", "/query", .body = OBJECT("\"query\"", "\"query\":" TEXT)},
    {"POST", "/internal/services/{}/serdes/decode/{*}", .query = PARAM("deployment", TEXT)},
    {"POST", "/internal/services/{}/serdes/encode/{*}", .query = PARAM("deployment", TEXT)},
};

/* Names of path parameters by what stands before them. */
static const char *param_name(const char *pattern, const char *at)
{
    static const struct {
        const char *before, *name;
    } names[] = {{"/deployments/", "deployment"},
                 {"/services/", "service"},
                 {"/handlers/", "handler"},
                 {"/invocations/", "invocation_id"},
                 {"/invocations_batch_operations/", "operation"},
                 {"/kafka-clusters/", "cluster"},
                 {"/subscriptions/", "subscription"},
                 {"/vqueues/", "vqueue"},
                 {"/decode/", "serde"},
                 {"/encode/", "serde"}};
    size_t before = (size_t)(at - pattern);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i].before);
        if (before >= len && memcmp(at - len, names[i].before, len) == 0)
            return names[i].name;
    }
    return "name";
}

static const struct extra *extra_of(const struct admin_route *r)
{
    static const struct extra none;
    for (size_t i = 0; i < ARRAY_LEN(extras); i++)
        if (strcmp(extras[i].method, r->method) == 0 && strcmp(extras[i].pattern, r->pattern) == 0)
            return &extras[i];
    return &none;
}

/* ---- writing ---- */

/* "/services/{}/state" -> "/services/{service}/state". */
static void write_path(struct writer *w, const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p != '{') {
            write_u8(w, (uint8_t)*p);
            continue;
        }
        write_fmt(w, "{%s}", param_name(pattern, p));
        p = strchr(p, '}');
    }
}

static void write_parameters(struct json_out *o, const struct admin_route *r, const char *query)
{
    if (!query && !strchr(r->pattern, '{'))
        return;
    json_open_at(o, "parameters", '[');
    for (const char *p = r->pattern; (p = strchr(p, '{')); p++) {
        json_open(o, '{');
        json_text(o, "name", param_name(r->pattern, p));
        json_raw(o, "in", "\"path\",\"required\":true,\"schema\":" TEXT);
        json_close(o, '}');
    }
    json_raw_opt(o, NULL, query);
    json_close(o, ']');
}

/* "get" + the path's words: get_services_service_handlers. */
static void write_operation_id(struct json_out *o, const char *method, const char *pattern)
{
    struct writer path = WRITER_INIT, id = WRITER_INIT;
    write_path(&path, pattern);
    write_fmt(&id, "%s", method);
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = writer_slice(&path).ptr[i];
        if (c == '/' || c == '-')
            write_u8(&id, '_');
        else if (c != '{' && c != '}')
            write_u8(&id, c);
    }
    json_text_slice(o, "operationId", writer_slice(&id));
    writer_free(&path);
    writer_free(&id);
}

static void write_responses(struct json_out *o, const struct extra *extra)
{
    json_open_at(o, "responses", '{');
    json_raw(o, "2XX", "{\"description\":\"Success\"");
    if (extra->answer)
        write_fmt(o->w, ",\"content\":{\"application/json\":{\"schema\":%s}}", extra->answer);
    write_u8(o->w, '}');
    json_raw_opt(o, NULL, extra->errors);
    json_raw(o, "default", "{\"$ref\":\"#/components/responses/Error\"}");
    json_close(o, '}');
}

static void openapi_operation(struct json_out *o, const struct admin_route *r)
{
    static const struct {
        const char *method, *key;
    } methods[] = {
        {"GET", "get"}, {"POST", "post"}, {"PUT", "put"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    const struct extra *extra = extra_of(r);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].method, r->method) != 0)
            continue;
        json_open_at(o, methods[i].key, '{');
        write_operation_id(o, methods[i].key, r->pattern);
    }
    json_text(o, "summary", r->summary);
    write_parameters(o, r, extra->query);
    if (r->body == BODY_JSON) {
        json_raw(o, "requestBody", "{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
        write_fmt(o->w, "%s}}}", extra->body ? extra->body : "{}");
    } else if (r->body == BODY_RAW) {
        json_raw(o, "requestBody", "{\"content\":{\"application/json\":{},\"application/octet-stream\":{}}}");
    }
    write_responses(o, extra);
    json_close(o, '}');
}

void handle_openapi(struct admin_call *c)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "openapi", "3.1.0");
    json_open_at(&o, "info", '{');
    json_text(&o, "title", "Admin API");
    json_text(&o, "version", c->admin->deps.info.version);
    json_close(&o, '}');
    json_open_at(&o, "paths", '{');
    for (size_t i = 0; i < admin_n_routes; i++) {
        const struct admin_route *r = &admin_routes[i];
        if (!r->summary)
            continue;
        /* The routes of one path stand together in the table. */
        if (i == 0 || strcmp(r->pattern, admin_routes[i - 1].pattern) != 0) {
            struct writer path = WRITER_INIT;
            write_path(&path, r->pattern);
            write_u8(&path, 0);
            json_open_at(&o, (const char *)writer_slice(&path).ptr, '{');
            writer_free(&path);
        }
        openapi_operation(&o, r);
        if (i + 1 == admin_n_routes || strcmp(r->pattern, admin_routes[i + 1].pattern) != 0)
            json_close(&o, '}');
    }
    json_close(&o, '}');
    json_raw(&o, "components",
             "{\"responses\":{\"Error\":{\"description\":\"Error; malformed requests are answered in plain "
             "text\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
             "Error\"}},\"text/plain\":{\"schema\":{\"type\":\"string\"}}}}},\"schemas\":{\"Error\":{"
             "\"type\":\"object\",\"required\":[\"message\"],\"properties\":{\"message\":{\"type\":"
             "\"string\"},\"restate_code\":{\"type\":[\"string\",\"null\"]}}}");
    for (size_t i = 0; i < ARRAY_LEN(answer_schemas); i++)
        write_fmt(&w, ",\"%s\":%s", answer_schemas[i].name, answer_schemas[i].schema);
    write_fmt(&w, "}}");
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

/* The OpenAPI 3.1 document of a service: how its handlers are called through the ingress (spec/admin-api.md
 * §8). The web UI's playground and client generators read it. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"

struct document {
    struct json_out o;
    const struct schema_service *service;
    char *base; /* "<service>" or "<service>/{key}" */
};

static void reference(struct json_out *o, const char *key, const char *kind, const char *name,
                      const char *suffix)
{
    char *target = xasprintf("#/components/%s/%s%s", kind, name, suffix);
    if (key)
        json_open_at(o, key, '{');
    else
        json_open(o, '{');
    json_text(o, "$ref", target);
    json_close(o, '}');
    free(target);
}

/* ---- components that are the same for every service ---- */

static const char PARAMETERS[] =
    "{\"delay\":{\"name\":\"delay\",\"in\":\"query\",\"required\":false,\"description\":\"How long to wait "
    "before the "
    "handler is executed: an ISO 8601 duration or a form such as "
    "10s\",\"example\":\"10s\",\"schema\":{\"type\":"
    "\"string\"}},"
    "\"key\":{\"name\":\"key\",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}},"
    "\"idempotencyKeyHeader\":{\"name\":\"idempotency-key\",\"in\":\"header\",\"required\":false,"
    "\"description\":"
    "\"Requests with the same key are executed once\",\"schema\":{\"type\":\"string\"}},"
    "\"idempotencyKeyPath\":{\"name\":\"idempotencyKey\",\"in\":\"path\",\"required\":true,\"description\":"
    "\"The "
    "idempotency key of the original request\",\"schema\":{\"type\":\"string\"}}}";

static const char RESPONSES[] =
    "{\"GenericError\":{\"description\":\"Error "
    "response\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
    "\"#/components/schemas/RestateError\"},\"example\":{\"code\":500,\"message\":\"Internal server error\","
    "\"source\":\"invocation\"}}}},"
    "\"InvocationNotFoundError\":{\"description\":\"Invocation not "
    "found\",\"content\":{\"application/json\":{"
    "\"schema\":{\"$ref\":\"#/components/schemas/RestateError\"},\"example\":{\"message\":\"invocation not "
    "found\","
    "\"source\":\"ingress\"}}}},"
    "\"InvocationNotReadyError\":{\"description\":\"The invocation has not completed yet\",\"content\":{"
    "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
    "RestateError\"},\"example\":{\"message\":"
    "\"the invocation exists but has not completed yet\",\"source\":\"ingress\"}}}},"
    "\"Send\":{\"description\":\"The request was "
    "accepted\",\"content\":{\"application/json\":{\"schema\":{\"title\":"
    "\"RestateSendResponse\",\"type\":\"object\",\"properties\":{\"invocationId\":{\"type\":\"string\"},"
    "\"status\":{"
    "\"type\":\"string\",\"enum\":[\"Accepted\",\"PreviouslyAccepted\"]},\"executionTime\":{\"type\":"
    "\"string\","
    "\"format\":\"date-time\",\"description\":\"When a delayed request will be executed\"}},\"required\":["
    "\"invocationId\",\"status\"],\"additionalProperties\":false},\"example\":{\"invocationId\":"
    "\"inv_1gdJBtdVEcM942bjcDmb1c1khoaJe11Hbz\",\"status\":\"Accepted\"}}}}}";

static const char ERROR_SCHEMA[] =
    "{\"title\":\"RestateError\",\"type\":\"object\",\"description\":\"How failures are "
    "answered\",\"properties\":{"
    "\"code\":{\"title\":\"Error code\",\"type\":\"number\"},\"message\":{\"title\":\"Error "
    "message\",\"type\":"
    "\"string\"},\"source\":{\"title\":\"Error "
    "source\",\"type\":\"string\",\"enum\":[\"ingress\",\"invocation\"],"
    "\"description\":\"invocation: the final result of the invocation; ingress: the request was not carried "
    "out\"},"
    "\"stacktrace\":{\"title\":\"Stack trace of the "
    "error\",\"type\":\"string\"},\"metadata\":{\"title\":\"Metadata of "
    "the "
    "error\",\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}},\"required\":[\"message\","
    "\"source\"],\"additionalProperties\":false}";

/* ---- schemas of users ---- */

/* Local references of a schema that now stands below `base`. */
static void move_references(json_t *node, const char *base)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_object(node)) {
        const char *ref = json_string_value(json_object_get(node, "$ref"));
        if (ref && ref[0] == '#') {
            char *moved = xasprintf("%s%s", base, ref + 1);
            json_object_set_new(node, "$ref", json_string(moved));
            free(moved);
        }
        json_object_foreach(node, key, value) move_references(value, base);
    } else if (json_is_array(node)) {
        json_array_foreach(node, i, value) move_references(value, base);
    }
}

static void user_schema(struct json_out *o, const char *handler, const char *suffix, const char *text)
{
    json_t *schema = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!schema)
        return;
    char *name = xasprintf("%s%s", handler, suffix);
    char *base = xasprintf("#/components/schemas/%s", name);
    move_references(schema, base);
    char *moved = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
    json_raw(o, name, moved);
    free(moved);
    free(base);
    free(name);
    json_decref(schema);
}

static bool hidden(const struct schema_handler *h)
{
    return h->options.ingress_private == 1;
}

static void components(struct document *d)
{
    json_open_at(&d->o, "components", '{');
    json_raw(&d->o, "parameters", PARAMETERS);
    json_raw(&d->o, "responses", RESPONSES);
    json_open_at(&d->o, "schemas", '{');
    json_raw(&d->o, "RestateError", ERROR_SCHEMA);
    for (size_t i = 0; i < d->service->n_handlers; i++) {
        const struct schema_handler *h = &d->service->handlers[i];
        if (hidden(h))
            continue;
        user_schema(&d->o, h->name, "Request", h->input_json_schema);
        user_schema(&d->o, h->name, "Response", h->output_json_schema);
    }
    json_close(&d->o, '}');
    json_close(&d->o, '}');
}

/* ---- operations ---- */

static void content(struct json_out *o, const char *type, const struct schema_handler *h,
                    const char *json_schema, const char *suffix)
{
    json_open_at(o, "content", '{');
    json_open_at(o, type, '{');
    if (json_schema)
        reference(o, "schema", "schemas", h->name, suffix);
    json_close(o, '}');
    json_close(o, '}');
}

static void request_body(struct json_out *o, const struct schema_handler *h)
{
    bool required = true;
    const char *type = NULL;
    for (size_t i = 0; i < h->n_input_rules; i++) {
        if (h->input_rules[i].kind == INPUT_NOTHING)
            required = false;
        else
            type = h->input_rules[i].content_type;
    }
    if (!type)
        return;
    json_open_at(o, "requestBody", '{');
    json_flag(o, "required", required);
    content(o, type, h, h->input_json_schema, "Request");
    json_close(o, '}');
}

static void result_response(struct json_out *o, const struct schema_handler *h)
{
    const char *type = h->output_absent ? "application/json" : h->output_content_type;
    json_open_at(o, "200", '{');
    json_text(o, "description", type ? "The result" : "Empty");
    if (type)
        content(o, type, h, h->output_json_schema, "Response");
    json_close(o, '}');
}

enum operation_kind { OPERATION_CALL, OPERATION_SEND, OPERATION_ATTACH, OPERATION_OUTPUT };

static void parameters(struct document *d, const struct schema_handler *h, enum operation_kind kind)
{
    struct json_out *o = &d->o;
    bool workflow = d->service->type == SERVICE_WORKFLOW;
    bool later = kind == OPERATION_ATTACH || kind == OPERATION_OUTPUT;
    json_open_at(o, "parameters", '[');
    if (d->service->type != SERVICE_PLAIN)
        reference(o, NULL, "parameters", "key", "");
    if (later && h->kind != TARGET_WORKFLOW_RUN)
        reference(o, NULL, "parameters", "idempotencyKeyPath", "");
    if (!later && !workflow)
        reference(o, NULL, "parameters", "idempotencyKeyHeader", "");
    if (kind == OPERATION_SEND)
        reference(o, NULL, "parameters", "delay", "");
    json_close(o, ']');
}

static void responses(struct document *d, const struct schema_handler *h, enum operation_kind kind)
{
    struct json_out *o = &d->o;
    json_open_at(o, "responses", '{');
    if (kind == OPERATION_SEND) {
        reference(o, "200", "responses", "Send", "");
        reference(o, "202", "responses", "Send", "");
    } else {
        result_response(o, h);
    }
    if (kind == OPERATION_ATTACH || kind == OPERATION_OUTPUT)
        reference(o, "404", "responses", "InvocationNotFoundError", "");
    if (kind == OPERATION_OUTPUT)
        reference(o, "470", "responses", "InvocationNotReadyError", "");
    reference(o, "default", "responses", "GenericError", "");
    json_close(o, '}');
}

static void operation(struct document *d, const struct schema_handler *h, enum operation_kind kind)
{
    static const struct {
        const char *method, *suffix, *tag, *description;
        bool deprecated;
    } kinds[] = {
        [OPERATION_CALL] = {"post", "", NULL, "Call %s/%s and wait for its result", false},
        [OPERATION_SEND] = {"post", "Send", "Send", "Send a request to %s/%s without waiting", false},
        [OPERATION_ATTACH] = {"get", "Attach", "Attach", "Wait for the result of an invocation of %s/%s",
                              true},
        [OPERATION_OUTPUT] = {"get", "Output", "Get Output", "Result of an invocation of %s/%s if it has one",
                              true},
    };
    struct json_out *o = &d->o;
    char *path, *id = xasprintf("%s%s", h->name, kinds[kind].suffix), description[256];
    const char *verb = kind == OPERATION_ATTACH ? "attach" : "output";
    if (kind == OPERATION_CALL || kind == OPERATION_SEND)
        path = xasprintf("/restate/%s/%s/%s", kind == OPERATION_CALL ? "call" : "send", d->base, h->name);
    else if (h->kind == TARGET_WORKFLOW_RUN)
        path = xasprintf("/restate/workflow/%s/%s", d->base, verb);
    else
        path = xasprintf("/restate/invocation/%s/%s/{idempotencyKey}/%s", d->base, h->name, verb);
    snprintf(description, sizeof(description), kinds[kind].description, d->service->name, h->name);
    json_open_at(o, path, '{');
    json_open_at(o, kinds[kind].method, '{');
    json_text(o, "operationId", id);
    json_text(o, "summary", h->name);
    json_text(o, "description", h->documentation ? h->documentation : description);
    if (kinds[kind].tag) {
        json_open_at(o, "tags", '[');
        json_text(o, NULL, kinds[kind].tag);
        json_close(o, ']');
    }
    if (kinds[kind].deprecated)
        json_flag(o, "deprecated", true);
    parameters(d, h, kind);
    if (kind == OPERATION_CALL || kind == OPERATION_SEND)
        request_body(o, h);
    responses(d, h, kind);
    json_raw_opt(o, "x-restate-extensions", h->metadata_json);
    json_close(o, '}');
    json_close(o, '}');
    free(path);
    free(id);
}

static void operations(struct document *d, const struct schema_handler *h)
{
    if (hidden(h))
        return;
    operation(d, h, OPERATION_CALL);
    operation(d, h, OPERATION_SEND);
    if (h->kind == TARGET_WORKFLOW_SHARED)
        return; /* gets no idempotency key from the ingress */
    operation(d, h, OPERATION_ATTACH);
    operation(d, h, OPERATION_OUTPUT);
}

/* ---- the document ---- */

static void info(struct document *d)
{
    char version[16];
    snprintf(version, sizeof(version), "%u", d->service->revision);
    json_open_at(&d->o, "info", '{');
    json_text(&d->o, "title", d->service->name);
    json_text(&d->o, "version", version);
    json_text_opt(&d->o, "description", d->service->documentation);
    json_raw_opt(&d->o, "x-restate-extensions", d->service->metadata_json);
    json_close(&d->o, '}');
}

static void servers(struct document *d, const char *ingress)
{
    if (!ingress || strncmp(ingress, "http", 4) != 0)
        return;
    json_open_at(&d->o, "servers", '[');
    json_open(&d->o, '{');
    json_text(&d->o, "url", ingress);
    json_text(&d->o, "description", "Restate Ingress URL");
    json_close(&d->o, '}');
    json_close(&d->o, ']');
}

static void tags(struct document *d)
{
    static const char *const list[][2] = {{"Request Response", "Call a handler and wait for its result"},
                                          {"Send", "Send to a handler"},
                                          {"Attach", "Wait for the result of an invocation"},
                                          {"Get Output", "Result of an invocation"}};
    json_open_at(&d->o, "tags", '[');
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        json_open(&d->o, '{');
        json_text(&d->o, "name", list[i][0]);
        json_text(&d->o, "description", list[i][1]);
        json_open_at(&d->o, "externalDocs", '{');
        json_text(&d->o, "url", "https://docs.restate.dev/invoke/http");
        json_close(&d->o, '}');
        json_close(&d->o, '}');
    }
    json_close(&d->o, ']');
}

void handle_service_openapi(struct admin_call *c)
{
    const struct schema_service *s = schema_service(call_schema(c), slice_cstr(c->params[0]));
    if (!s) {
        answer_error(c, 404, "The requested service '%s' does not exist", c->params[0]);
        return;
    }
    struct writer w = WRITER_INIT;
    struct document d = {.o = json_out_make(&w), .service = s};
    d.base = xasprintf("%s%s", s->name, s->type == SERVICE_PLAIN ? "" : "/{key}");
    json_open(&d.o, '{');
    json_text(&d.o, "openapi", "3.1.0");
    info(&d);
    servers(&d, c->admin->deps.info.ingress_endpoint);
    json_open_at(&d.o, "paths", '{');
    for (size_t i = 0; i < s->n_handlers; i++)
        operations(&d, &s->handlers[i]);
    json_close(&d.o, '}');
    tags(&d);
    components(&d);
    json_close(&d.o, '}');
    free(d.base);
    answer_json(c, 200, &w, NULL);
}

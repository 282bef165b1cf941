/* Calls and sends: the checks of spec/ingress.md §3 in their order, and the Invoke record, which is encoded
 * once: the request body is copied into it and nowhere else. */
#include "ingress/checks.h"
#include "ingress/identity.h"
#include "ingress/internal.h"
#include "wire/service_protocol.h"

static const char limit_key_header[] = "x-restate-limit-key";

/* ---- before the body ---- */

static bool handler_in_schema(struct ingress_request *q)
{
    struct request_head *head = q->head;
    head->handler = schema_handler(head->route.service, head->route.handler);
    if (head->handler)
        return true;
    struct writer m = WRITER_INIT;
    write_fmt(&m, "the service '%s' exists, but the handler '", head->route.service->name);
    write_slice_raw(&m, head->route.handler);
    write_fmt(&m, "' was not found, check that the handler exists in the latest registered service version.");
    request_fail_writer(q, 404, &m);
    return false;
}

static bool handler_is_public(const struct schema_handler *h)
{
    return h->options.ingress_private >= 0 ? !h->options.ingress_private : h->service->is_public;
}

/* New invocations need a protocol version that is still offered to them (spec/service-protocol.md §14). */
#define MIN_PROTOCOL_VERSION 5

static bool deployment_is_current(struct ingress_request *q)
{
    const struct schema_service *service = q->head->route.service;
    if (service->deployment->max_protocol_version >= MIN_PROTOCOL_VERSION)
        return true;
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, service->deployment->id, id);
    struct writer m = WRITER_INIT;
    write_fmt(&m, "the service %s is exposed by the deprecated deployment %s. Upgrade the SDK used by %s.",
              service->name, id, service->name);
    request_fail_writer(q, 400, &m);
    return false;
}

static bool bad_header(struct ingress_request *q, struct slice name)
{
    struct writer m = WRITER_INIT;
    write_fmt(&m, "bad header ");
    write_slice_raw(&m, name);
    write_fmt(&m, ": ToStrError { _priv: () }");
    request_fail_writer(q, 400, &m);
    return false;
}

/* The client's key, or an automatic one (§1.3), or none. */
static bool take_idempotency_key(struct ingress_request *q)
{
    struct request_head *head = q->head;
    enum target_kind kind = head->handler->kind;
    struct slice key = http_request_header(q->http, "idempotency-key");
    if (key.ptr && !header_value_ok(key))
        return bad_header(q, SLICE_LIT("idempotency-key"));
    if (key.ptr && kind == TARGET_WORKFLOW_RUN) {
        request_fail_text(
            q, 400,
            "cannot use the idempotency key with workflow handlers. The handler invocation will already be "
            "idempotent by the workflow key itself.");
        return false;
    }
    if (!key.ptr && q->in->shared->config.controlled_idempotent_sharding && !target_is_workflow(kind)) {
        struct env *env = q->in->env;
        ulid_format(ulid_make(env_wall_ms(env), env_random(env), env_random(env)), head->auto_key);
        key = slice_make(head->auto_key, ULID_TEXT);
    }
    head->idempotency_key = key;
    q->idempotent = key.ptr || target_is_workflow(kind);
    return true;
}

static bool check_scope(struct ingress_request *q)
{
    const struct ingress_config *config = &q->in->shared->config;
    struct slice scope = q->head->route.scope;
    char room[64];
    if (!scope.ptr)
        return true;
    const char *problem = label_problem(scope, room);
    if (problem) {
        struct writer m = WRITER_INIT;
        write_fmt(&m, "bad scope value: %s", problem);
        request_fail_writer(q, 400, &m);
        return false;
    }
    if (!config->vqueues) {
        request_fail_text(q, 400, "scoped invocations require vqueues to be enabled");
        return false;
    }
    if (q->head->route.service->type == SERVICE_OBJECT && !config->scoped_virtual_objects) {
        request_fail_text(q, 400, "scope is not supported for Virtual Object targets");
        return false;
    }
    return true;
}

bool invoke_check_head(struct ingress_request *q)
{
    q->metrics = service_metrics_get(q->in, q->head->route.service->name);
    if (!handler_in_schema(q))
        return false;
    if (!handler_is_public(q->head->handler)) {
        request_fail_text(q, 400, "the invoked service is not public");
        return false;
    }
    if (!deployment_is_current(q) || !take_idempotency_key(q) || !check_scope(q))
        return false;
    struct slice method = http_request_method(q->http);
    if (slice_eq_cstr(method, "POST") || slice_eq_cstr(method, "GET"))
        return true;
    request_fail_text(q, 405, "method not allowed");
    return false;
}

/* ---- with the body ---- */

/* What the request says besides its target. */
struct invoke_parts {
    struct writer limit_key_room;
    struct slice limit_key; /* ptr NULL if none */
    bool has_delay;
    uint64_t execution_time_ms;
};

static bool take_delay(struct ingress_request *q, struct invoke_parts *parts)
{
    struct writer value = WRITER_INIT, message = WRITER_INIT;
    bool ok = true;
    parts->has_delay = query_find(q->head->query, "delay", &value);
    if (parts->has_delay)
        ok = delay_parse(writer_slice(&value), env_wall_ms(q->in->env), &parts->execution_time_ms, &message);
    writer_free(&value);
    if (!ok)
        request_fail_writer(q, 400, &message);
    return ok;
}

static bool take_limit_key(struct ingress_request *q, struct invoke_parts *parts)
{
    struct slice value = http_request_header(q->http, limit_key_header);
    struct writer message = WRITER_INIT;
    if (value.ptr && !header_value_ok(value))
        return bad_header(q, slice_cstr(limit_key_header));
    if (!value.ptr && query_find(q->head->query, "limit-key", &parts->limit_key_room))
        value = writer_slice(&parts->limit_key_room);
    if (value.len == 0)
        return true; /* an empty value means none */
    if (!limit_key_check(value, &message)) {
        request_fail_writer(q, 400, &message);
        return false;
    }
    if (!q->head->route.scope.ptr) {
        request_fail_text(q, 400, "limit-key requires a scope to be set");
        return false;
    }
    if (value.ptr[value.len - 1] == '/')
        value.len--;
    parts->limit_key = value;
    return true;
}

static bool header_is_dropped(struct slice name)
{
    return slice_eq_cstr(name, "connection") || slice_eq_cstr(name, "host") ||
           slice_eq_cstr(name, "idempotency-key") || slice_eq_cstr(name, "idempotency-expires");
}

/* Only the first header of a name is passed on. */
static bool header_is_repeated(const struct http_header *headers, size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (slice_eq(headers[before].name, headers[i].name))
            return true;
    return false;
}

struct input_headers {
    const struct http_header *headers;
    size_t n;
    uint64_t *passed;  /* bit set */
    struct slice path; /* x-restate-ingress-path */
    size_t input_size; /* of the encoded Input message */
};
#define INPUT_HEADERS_MAX 1024 /* more than either version of HTTP lets through (http/server.h) */

/* Decide which headers go into the invocation and how large the Input becomes. */
static bool take_headers(struct ingress_request *q, struct input_headers *in, size_t body_len)
{
    in->headers = http_request_headers(q->http, &in->n);
    in->n = MIN(in->n, (size_t)INPUT_HEADERS_MAX);
    in->input_size = input_header_size(SLICE_LIT("x-restate-ingress-path"), in->path);
    for (size_t i = 0; i < in->n; i++) {
        const struct http_header *h = &in->headers[i];
        if (header_is_dropped(h->name) || header_is_repeated(in->headers, i))
            continue;
        if (!header_value_ok(h->value) || !slice_is_utf8(h->name))
            return bad_header(q, h->name);
        in->passed[i / 64] |= 1ull << (i % 64);
        in->input_size += input_header_size(h->name, h->value);
    }
    in->input_size += input_value_size(body_len);
    return true;
}

static void write_input(struct writer *w, const struct input_headers *in, struct slice body)
{
    size_t from = w->len;
    input_write_header(w, SLICE_LIT("x-restate-ingress-path"), in->path);
    for (size_t i = 0; i < in->n; i++)
        if (in->passed[i / 64] >> (i % 64) & 1)
            input_write_header(w, in->headers[i].name, in->headers[i].value);
    input_write_value(w, body);
    ASSERT(w->len - from == in->input_size);
}

static struct invocation_id identify(struct ingress_request *q)
{
    const struct request_head *head = q->head;
    struct env *env = q->in->env;
    struct derived_target t = {
        .workflow_run = head->handler->kind == TARGET_WORKFLOW_RUN,
        .service = slice_cstr(head->route.service->name),
        .key = head->route.key,
        .handler = slice_cstr(head->handler->name),
        .idempotency_key = head->idempotency_key,
        .scope = head->route.scope,
    };
    if (t.workflow_run || t.idempotency_key.ptr)
        return identity_derived(&t, q->in->shared->config.controlled_idempotent_sharding);
    const uint64_t random[3] = {env_random(env), env_random(env), env_random(env)};
    return identity_random(&t, env_wall_ms(env), random);
}

static void build_record(struct ingress_request *q, const struct invoke_parts *parts,
                         const struct input_headers *in, struct slice body)
{
    const struct request_head *head = q->head;
    struct service_invocation si = {
        .id = q->rpc.id,
        .target =
            {
                .kind = head->handler->kind,
                .service = slice_cstr(head->route.service->name),
                .handler = slice_cstr(head->handler->name),
                .key = head->route.key,
                .scope = head->route.scope,
            },
        .source = SOURCE_INGRESS,
        .source_request_id = q->rpc.request_id,
        .execution_time_ms = parts->execution_time_ms,
        .idempotency_key = head->idempotency_key,
        .limit_key = parts->limit_key,
        .created_using = slice_cstr(q->in->shared->version),
        .notify_submission = q->op == OP_SEND,
    };
    struct writer context = WRITER_INIT;
    ingress_trace(q, &si.target, &context);
    si.traceparent = writer_slice(&context);
    if (q->op == OP_CALL)
        si.response_sink = (struct sink){.kind = SINK_INGRESS, .request_id = q->rpc.request_id};
    schema_resolve_retention(&q->in->schema->defaults, head->handler, head->idempotency_key.ptr != NULL,
                             &si.completion_retention_ms, &si.journal_retention_ms);
    struct writer w = WRITER_INIT;
    /* The rest of the body has no more than these strings and some 150 bytes of fixed fields. */
    size_t hint = 256 + si.target.service.len + si.target.handler.len + si.target.key.len +
                  si.target.scope.len + si.idempotency_key.len + si.limit_key.len + context.len +
                  si.created_using.len;
    record_begin(&w, hint + in->input_size);
    service_invocation_write_head(&w, &si, in->input_size);
    write_input(&w, in, body);
    writer_free(&context);
    q->record = writer_take(&w);
}

/* The names by which the output's content type is found when the result arrives. */
static char *handler_path_of(const struct request_head *head)
{
    size_t service = strlen(head->route.service->name) + 1, handler = strlen(head->handler->name) + 1;
    char *path = xmalloc(service + handler);
    memcpy(path, head->route.service->name, service);
    memcpy(path + service, head->handler->name, handler);
    return path;
}

static void invoke_with_path(struct ingress_request *q, struct slice path, struct slice body)
{
    struct request_head *head = q->head;
    struct invoke_parts parts = {0};
    uint64_t passed[INPUT_HEADERS_MAX / 64] = {0};
    struct input_headers in = {.passed = passed, .path = path};
    struct writer message = WRITER_INIT;
    if (!input_check(head->handler, http_request_header(q->http, "content-type"), body.len, &message)) {
        request_fail_writer(q, 400, &message);
        return;
    }
    if (!take_delay(q, &parts))
        return;
    if (!take_limit_key(q, &parts) || !take_headers(q, &in, body.len)) {
        writer_free(&parts.limit_key_room);
        return;
    }
    if (q->op == OP_CALL && parts.has_delay) {
        request_fail_text(
            q, 400,
            "cannot use the delay query parameter with calls. The delay is supported only with sends");
        writer_free(&parts.limit_key_room);
        return;
    }
    q->rpc.kind = RPC_INVOKE;
    q->rpc.wait_result = q->op == OP_CALL;
    q->rpc.request_id = (struct u128){env_random(q->in->env), env_random(q->in->env)};
    q->rpc.id = identify(q);
    q->rpc.partition_key = q->rpc.id.partition_key;
    build_record(q, &parts, &in, body);
    writer_free(&parts.limit_key_room);
    if (q->op == OP_CALL)
        q->handler_path = handler_path_of(head);
    dispatch(q);
}

void invoke_on_body(struct ingress_request *q, struct slice body)
{
    struct slice path = q->head->path, query = q->head->query;
    if (query.len == 0) {
        invoke_with_path(q, path, body);
    } else if (path.ptr + path.len == query.ptr) {
        invoke_with_path(q, slice_make(path.ptr, path.len + query.len), body);
    } else { /* trailing slashes were cut out between the two */
        struct writer joined = WRITER_INIT;
        write_slice_raw(&joined, path);
        write_slice_raw(&joined, query);
        invoke_with_path(q, writer_slice(&joined), body);
        writer_free(&joined);
    }
}

/* Responses made from what the partition answered (spec/ingress.md §5.1, §5.2, §8, §10.2). */
#include "base/time.h"
#include "ingress/checks.h"
#include "ingress/internal.h"

#define RESULT_HEADERS_MAX 4
#define US_PER_MS          1000u

/* Headers of a result; the texts they point to are in here. */
struct result_headers {
    struct http_header items[RESULT_HEADERS_MAX];
    size_t n;
    char id[INVOCATION_ID_TEXT + 1];
    struct writer expires;
};

static void add_header(struct result_headers *h, const char *name, struct slice value)
{
    ASSERT(h->n < RESULT_HEADERS_MAX);
    h->items[h->n++] = (struct http_header){slice_cstr(name), value};
}

static void start_headers(struct result_headers *h, const struct ingress_request *q,
                          const struct rpc_reply *reply)
{
    *h = (struct result_headers){0};
    invocation_id_format(q->rpc.id, h->id);
    add_header(h, "x-restate-id", slice_make(h->id, INVOCATION_ID_TEXT));
    if (!reply->expiry_ms)
        return;
    time_format_rfc3339(&h->expires, reply->expiry_ms * US_PER_MS, reply->expiry_ms % 1000 ? 3 : 0, "+00:00");
    add_header(h, "idempotency-expires", writer_slice(&h->expires));
}

static int failure_status(uint32_t code)
{
    /* A 1xx status is no final response: better a 500 with the body than none. */
    return code >= 200 && code <= 999 ? (int)code : 500;
}

static void write_metadata(struct writer *w, struct slice encoded)
{
    struct slice key, value;
    size_t pos = 0;
    bool first = true;
    while (failure_metadata_next(encoded, &pos, &key, &value)) {
        write_fmt(w, first ? ",\"metadata\":{" : ",");
        first = false;
        write_json_string(w, key);
        write_u8(w, ':');
        write_json_string(w, value);
    }
    if (!first)
        write_u8(w, '}');
}

static void respond_failure(struct ingress_request *q, const struct rpc_reply *reply)
{
    struct failure_view failure;
    if (!failure_parse(reply->outcome.value, &failure))
        failure = (struct failure_view){.code = 500, .message = SLICE_LIT("undecodable failure")};
    struct writer body = WRITER_INIT;
    write_fmt(&body, "{\"code\":%u,\"message\":", failure.code);
    write_json_string(&body, failure.message);
    if (reply->outcome.stacktrace.len) {
        write_fmt(&body, ",\"stacktrace\":");
        write_json_string(&body, reply->outcome.stacktrace);
    }
    write_metadata(&body, failure.metadata);
    write_fmt(&body, ",\"source\":\"invocation\"}");
    struct result_headers h;
    start_headers(&h, q, reply);
    add_header(&h, "x-restate-error-source", SLICE_LIT("invocation"));
    add_header(&h, "content-type", SLICE_LIT("application/json"));
    request_count(q, RESULT_INVOCATION_ERROR);
    respond(q->http, failure_status(failure.code), h.items, h.n, writer_take(&body));
    writer_free(&h.expires);
    request_release(q);
}

/* The handler whose rule decides about the content type: of the latest revision, at this moment (§7.3).
 * *known is false if nobody told which handler it is. */
static const struct schema_handler *handler_of_result(const struct ingress_request *q,
                                                      const struct rpc_reply *reply, bool *known)
{
    struct slice service = reply->target.service, handler = reply->target.handler;
    if (q->handler_path) {
        service = slice_cstr(q->handler_path);
        handler = slice_cstr(q->handler_path + service.len + 1);
    }
    *known = service.ptr != NULL;
    if (!*known)
        return NULL;
    const struct schema_service *s = schema_service(q->in->schema->schema, service);
    return s ? schema_handler(s, handler) : NULL;
}

static void respond_success(struct ingress_request *q, const struct rpc_reply *reply)
{
    bool known;
    const struct schema_handler *handler = handler_of_result(q, reply, &known);
    if (known && !handler) {
        request_fail_text(q, 404, "not found");
        return;
    }
    struct slice value = reply->outcome.value;
    const char *type = value.len ? "application/json" : NULL;
    if (handler)
        type = output_content_type(handler, value.len);
    struct result_headers h;
    start_headers(&h, q, reply);
    if (type)
        add_header(&h, "content-type", slice_cstr(type));
    request_count(q, RESULT_COMPLETED);
    respond(q->http, 200, h.items, h.n, value.len ? bytes_part(reply->outcome_bytes, value) : BYTES_EMPTY);
    writer_free(&h.expires);
    request_release(q);
}

/* Attaching to an invocation that does not exist is answered like a failed one (§8). */
static void respond_attach_not_found(struct ingress_request *q)
{
    struct writer failure = WRITER_INIT;
    failure_write(&failure, 404, SLICE_LIT("not found"));
    struct rpc_reply reply = {
        .outcome = {.kind = OUTCOME_FAILURE, .value = writer_slice(&failure)},
    };
    respond_failure(q, &reply);
    writer_free(&failure);
}

void respond_invocation_result(struct ingress_request *q, const struct rpc_reply *reply)
{
    if (reply->status == RPC_NOT_FOUND && q->op == OP_OUTPUT)
        request_fail_text(q, 404, "invocation not found");
    else if (reply->status == RPC_NOT_FOUND)
        respond_attach_not_found(q);
    else if (reply->status == RPC_NOT_READY)
        request_fail_text(q, 470, "the invocation exists but has not completed yet");
    else if (reply->outcome.kind == OUTCOME_FAILURE)
        respond_failure(q, reply);
    else
        respond_success(q, reply);
}

void respond_submitted(struct ingress_request *q, const struct rpc_reply *reply)
{
    struct result_headers h;
    start_headers(&h, q, &(struct rpc_reply){0});
    add_header(&h, "content-type", SLICE_LIT("application/json"));
    struct writer body = WRITER_INIT;
    write_fmt(&body, "{\"invocationId\":\"%s\"", h.id);
    if (reply->execution_time_ms) {
        write_fmt(&body, ",\"executionTime\":\"");
        time_format_rfc3339(&body, reply->execution_time_ms * US_PER_MS,
                            reply->execution_time_ms % 1000 ? 9 : 0, "Z");
        write_u8(&body, '"');
    }
    write_fmt(&body, ",\"status\":\"%s\"}", reply->is_new ? "Accepted" : "PreviouslyAccepted");
    request_count(q, RESULT_COMPLETED);
    respond(q->http, 202, h.items, h.n, writer_take(&body));
    request_release(q);
}

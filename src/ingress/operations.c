/* Attach, output, lookup and awakeables (spec/ingress.md §8, §9). */
#include "ingress/body_target.h"
#include "ingress/identity.h"
#include "ingress/internal.h"

static void dispatch_attach(struct ingress_request *q, struct invocation_id id)
{
    q->rpc.kind = q->op == OP_OUTPUT ? RPC_GET_OUTPUT : RPC_ATTACH;
    q->rpc.request_id = (struct u128){env_random(q->in->env), env_random(q->in->env)};
    q->rpc.id = id;
    q->rpc.partition_key = id.partition_key;
    q->idempotent = true;
    dispatch(q);
}

void operation_by_path(struct ingress_request *q, bool is_get)
{
    const struct route *r = &q->head->route;
    struct invocation_id id;
    if (r->by == BY_ID) {
        enum id_error e = invocation_id_parse(r->id, &id);
        if (e != ID_OK) {
            struct writer m = WRITER_INIT;
            bad_id_message(&m, "invocation", r->id, e);
            request_fail_writer(q, 400, &m);
            return;
        }
    } else {
        struct derived_target t = {
            .workflow_run = r->by == BY_WORKFLOW,
            .service = r->by == BY_WORKFLOW ? r->service_name : slice_cstr(r->service->name),
            .key = r->key,
            .handler = r->handler,
            .idempotency_key = r->idempotency_key,
        };
        id = identity_derived(&t, q->in->shared->config.controlled_idempotent_sharding);
    }
    if (is_get)
        dispatch_attach(q, id);
    else
        request_fail_text(q, 405, "method not allowed");
}

static void respond_lookup(struct ingress_request *q, struct invocation_id id)
{
    const struct http_header header = HTTP_HEADER_LIT("content-type", "application/json");
    char text[INVOCATION_ID_TEXT + 1];
    struct writer body = WRITER_INIT;
    invocation_id_format(id, text);
    write_fmt(&body, "{\"invocationId\":\"%s\"}", text);
    respond(q->http, 200, &header, 1, writer_take(&body));
    request_release(q);
}

void operation_on_target_body(struct ingress_request *q, struct slice body)
{
    struct invocation_id id;
    struct writer message = WRITER_INIT;
    int status;
    const char *what = q->op == OP_LOOKUP ? "lookup" : "request";
    if (!body_target_parse(body, what, q->in->shared->config.controlled_idempotent_sharding, &id, &status,
                           &message)) {
        request_fail_writer(q, status, &message);
        return;
    }
    writer_free(&message);
    if (q->op == OP_LOOKUP)
        respond_lookup(q, id);
    else
        dispatch_attach(q, id);
}

static void build_signal(struct ingress_request *q, const struct awakeable_id *id, struct slice body)
{
    struct cmd_signal signal = {.id = id->invocation, .named = false, .index = id->index};
    struct writer w = WRITER_INIT, failure = WRITER_INIT;
    if (q->head->route.reject) {
        failure_write(&failure, 500, body);
        signal.outcome = (struct outcome){.kind = OUTCOME_FAILURE, .value = writer_slice(&failure)};
    } else {
        signal.outcome = (struct outcome){.kind = OUTCOME_SUCCESS, .value = body};
    }
    record_begin(&w, 64 + signal.outcome.value.len);
    cmd_signal_write(&w, &signal);
    writer_free(&failure);
    q->record = writer_take(&w);
}

void awakeable_on_body(struct ingress_request *q, struct slice body)
{
    struct slice text = q->head->route.id;
    struct awakeable_id id;
    enum id_error e = awakeable_id_parse(text, &id);
    if (e != ID_OK) {
        struct writer m = WRITER_INIT;
        bad_id_message(&m, "awakeable", text, e);
        request_fail_writer(q, 400, &m);
        return;
    }
    if (id.is_promise) {
        /* Entries of protocol 3 and older. No such invocation can exist here, and completing an awakeable of
         * an invocation that does not exist is accepted (§9). */
        respond(q->http, 202, NULL, 0, BYTES_EMPTY);
        request_release(q);
        return;
    }
    q->rpc.kind = RPC_SIGNAL;
    q->rpc.request_id = (struct u128){env_random(q->in->env), env_random(q->in->env)};
    q->rpc.id = id.invocation;
    q->rpc.partition_key = id.invocation.partition_key;
    q->idempotent = true;
    build_signal(q, &id, body);
    dispatch(q);
}

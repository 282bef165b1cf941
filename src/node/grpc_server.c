/* Finding the method of a call, and the life of a call: see grpc_server.h. */
#include "node/grpc_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/grpc_reflection.h"
#include "node/node_internal.h"

#define MESSAGE_ALLOWANCE (1u << 20) /* above networking.message-size-limit (spec/restatectl.md §3.4) */

struct rpc {
    struct node *node;
    const struct rpc_service *service;
    const struct rpc_method *method;
    struct grpc_call *call; /* NULL once the exchange is over */
    bool running;           /* the method was called and has not answered */
    struct rpc_stream stream;
    struct env_timer deadline; /* `grpc-timeout` */
};

static const struct rpc_service *const services[] = {
    &node_ctl_service,     &metadata_proxy_service, &metadata_server_service,
    &cluster_ctrl_service, &log_server_service,
};

static void on_message(struct grpc_call *c, struct bytes message)
{
    struct rpc *rpc = grpc_call_user(c);
    if (rpc->service->ready && !rpc->service->ready(rpc->node)) {
        grpc_call_finish(c, GRPC_UNAVAILABLE, "svc is not ready yet");
        return;
    }
    if (rpc->node->stopping) {
        grpc_call_finish(c, GRPC_UNAVAILABLE, "the node is shutting down");
        return;
    }
    rpc->running = true;
    rpc->method->run(rpc, rpc->node, message);
}

static void on_finished(struct grpc_call *c, bool completed)
{
    struct rpc *rpc = grpc_call_user(c);
    rpc->call = NULL;
    env_timer_cancel(rpc->node->env, &rpc->deadline);
    if (rpc->running && rpc->stream.gone) {
        rpc->running = false;
        rpc->stream.gone(rpc->stream.ctx);
    }
    if (!rpc->running)
        free(rpc);
}

/* Nobody waits any more; the method goes on, and what it answers is dropped. */
static void on_deadline(struct env_timer *t)
{
    struct rpc *rpc = CONTAINER_OF(t, struct rpc, deadline);
    grpc_call_finish(rpc->call, GRPC_DEADLINE_EXCEEDED, "the deadline of the caller has passed");
}

static void on_writable(struct grpc_call *c)
{
    struct rpc *rpc = grpc_call_user(c);
    if (rpc->running && rpc->stream.writable)
        rpc->stream.writable(rpc->stream.ctx);
}

/* The method answers: returns the call if somebody still waits for it. */
static struct grpc_call *end(struct rpc *rpc)
{
    ASSERT(rpc->running);
    struct grpc_call *c = rpc->call;
    rpc->running = false;
    if (!c)
        free(rpc);
    return c;
}

void rpc_reply(struct rpc *rpc, struct writer *message_take)
{
    struct bytes message = writer_take(message_take);
    struct grpc_call *c = end(rpc);
    if (c)
        grpc_call_reply(c, message);
    else
        bytes_unref(&message);
}

void rpc_reply_empty(struct rpc *rpc)
{
    struct writer w = WRITER_INIT;
    rpc_reply(rpc, &w);
}

void rpc_fail(struct rpc *rpc, enum grpc_code code, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    struct grpc_call *c = end(rpc);
    if (c)
        grpc_call_finish(c, code, message);
}

void rpc_begin_stream(struct rpc *rpc, const struct rpc_stream *stream)
{
    rpc->stream = *stream;
}

size_t rpc_send(struct rpc *rpc, struct writer *message_take)
{
    ASSERT(rpc->running && rpc->stream.gone);
    struct bytes message = writer_take(message_take);
    return grpc_call_send(rpc->call, message);
}

void rpc_end(struct rpc *rpc)
{
    struct grpc_call *c = end(rpc);
    if (c)
        grpc_call_finish(c, GRPC_OK, NULL);
}

enum grpc_code grpc_code_of(enum rc rc)
{
    switch (rc) {
    case RC_INVALID:
    case RC_TOO_LARGE:
        return GRPC_INVALID_ARGUMENT;
    case RC_CONFLICT:
        return GRPC_FAILED_PRECONDITION;
    case RC_EXISTS:
        return GRPC_ALREADY_EXISTS;
    case RC_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case RC_NO_SPACE:
    case RC_CLOSED:
    case RC_TIMEOUT:
    case RC_UNAVAILABLE:
    case RC_NOT_LEADER:
    case RC_LOST_LEADERSHIP:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_INTERNAL;
    }
}

static const struct rpc_service *find_service(const struct node *n, struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        if (slice_eq_cstr(name, services[i]->name) &&
            (services[i]->role == 0 || (n->config->roles & services[i]->role)))
            return services[i];
    }
    return NULL;
}

static void serve(struct node *n, struct http_request *r, const struct rpc_service *s,
                  const struct rpc_method *m)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message, .on_writable = on_writable, .on_finished = on_finished};
    struct rpc *rpc = xcalloc(1, sizeof(*rpc));
    rpc->node = n;
    rpc->service = s;
    rpc->method = m;
    env_timer_init(&rpc->deadline, on_deadline);
    rpc->call = grpc_call_accept(r, true, n->config->message_size_limit + MESSAGE_ALLOWANCE, &ops, rpc);
    if (grpc_call_ended(rpc->call))
        return;
    if (!n->config->disable_compression)
        grpc_call_compress(rpc->call);
    uint64_t timeout_ms = grpc_call_timeout_ms(rpc->call);
    if (timeout_ms != GRPC_NO_TIMEOUT)
        env_timer_arm(n->env, &rpc->deadline, timeout_ms);
}

bool grpc_server_serve(struct node *n, struct http_request *r, struct slice service, struct slice method)
{
    if (slice_eq_cstr(service, GRPC_REFLECTION_SERVICE)) {
        grpc_reflection_serve(r, method, n->config->roles);
        return true;
    }
    const struct rpc_service *s = find_service(n, service);
    if (!s)
        return false;
    for (size_t i = 0; i < s->n_methods; i++) {
        if (slice_eq_cstr(method, s->methods[i].name)) {
            serve(n, r, s, &s->methods[i]);
            return true;
        }
    }
    grpc_refuse(r, GRPC_UNIMPLEMENTED, NULL);
    return true;
}

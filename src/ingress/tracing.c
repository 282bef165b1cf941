/* Trace context of new invocations and the `ingress` span (spec/config.md §5.6). */
#include <stdlib.h>

#include "ingress/internal.h"

void ingress_set_tracer(struct ingress *in, struct tracer *tracer)
{
    in->tracer = tracer;
}

/* "address:port", "[address]:port", or the path of a unix socket. */
static void add_peer(struct span *s, char *peer)
{
    char *colon = strrchr(peer, ':');
    if (peer[0] == '/' || !colon)
        return;
    size_t v6 = peer[0] == '[' && colon > peer + 2;
    span_text(s, "client.socket.address", slice_make(peer + v6, (size_t)(colon - peer) - 2 * v6));
    span_int(s, "client.socket.port", atoi(colon + 1));
}

static void send_span(struct ingress_request *q, const struct target *target, const struct trace_context *c,
                      uint64_t id, bool remote)
{
    char peer[128];
    struct span s = {.kind = "ingress",
                     .context = c,
                     .id = id,
                     .parent = c->parent,
                     .parent_is_remote = remote,
                     .start_ns = trace_now_ns(),
                     .invocation = q->rpc.id,
                     .target = target};
    s.end_ns = s.start_ns;
    http_request_peer(q->http, peer, sizeof(peer));
    add_peer(&s, peer);
    tracer_span(q->in->tracer, &s);
}

void ingress_trace(struct ingress_request *q, const struct target *target, struct writer *w)
{
    struct tracer *tracer = q->in->tracer;
    struct slice traceparent = http_request_header(q->http, "traceparent");
    struct trace_context c;
    if (!traceparent.ptr && !tracer)
        return;
    bool remote = trace_context_from_headers(traceparent, http_request_header(q->http, "tracestate"), &c);
    if (!tracer) {
        if (remote)
            trace_context_write(w, &c);
        return;
    }
    if (!remote)
        c = (struct trace_context){.trace = {tracer_span_id(tracer), tracer_span_id(tracer)},
                                   .sampled = true};
    uint64_t id = tracer_span_id(tracer);
    if (c.sampled)
        send_span(q, target, &c, id, remote);
    c.parent = id;
    trace_context_write(w, &c);
}

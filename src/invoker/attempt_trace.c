/* Implementation of invoker/attempt_trace.h. */
#include "invoker/attempt_trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "invoker/invoker_internal.h"

#define EVENTS_MAX     128
#define EVENT_NAME_MAX 256

struct attempt_trace {
    struct tracer *tracer;
    struct trace_context context; /* its tracestate points into `origin` */
    struct bytes origin;          /* of the invocation: also its target */
    struct invocation_id id;
    struct target target;
    uint64_t span, parent, start_ns;
    bool ended;
    struct {
        struct span_event *items;
        size_t len, cap;
    } events;
    size_t dropped;
};

/* Nothing was done yet: its first start, or once more after a change of leadership. */
static bool is_first(const struct entry *e, const struct invocation *inv)
{
    return e->attempts == 1 && !inv->pinned && inv->commands <= 1;
}

void attempt_trace_begin(struct attempt *a, const struct invocation *inv)
{
    struct tracer *tracer = a->inv->config.tracer;
    if (!tracer)
        return;
    struct attempt_trace *t = xcalloc(1, sizeof(*t));
    t->tracer = tracer;
    t->origin = bytes_ref(inv->origin);
    t->id = inv->id;
    t->target = inv->si.target;
    trace_context_of(inv->si.traceparent, inv->id, &t->context);
    t->parent = trace_start_span(&t->context, inv->id);
    t->span = tracer_span_id(tracer);
    t->start_ns = trace_now_ns();
    a->trace = t;
    if (t->context.sampled && is_first(a->entry, inv))
        invocation_start_span(tracer, &t->context, t->id, &t->target,
                              MIN(inv->at.created_at * 1000000, t->start_ns), t->start_ns);
}

bool attempt_trace_headers(const struct attempt *a, char room[TRACEPARENT_TEXT], struct slice *state)
{
    const struct attempt_trace *t = a->trace;
    if (!t)
        return false;
    traceparent_format(t->context.trace, t->span, t->context.sampled, room);
    *state = t->context.state.len ? t->context.state : SLICE_LIT("");
    return true;
}

void attempt_trace_callee(struct attempt *a, bool one_way, struct writer *w)
{
    const struct attempt_trace *t = a->trace;
    if (!t)
        return;
    struct trace_context c = {.trace = t->context.trace,
                              .parent = t->span,
                              .sampled = t->context.sampled,
                              .state = t->context.state};
    if (one_way)
        c = (struct trace_context){.trace = {tracer_span_id(t->tracer), tracer_span_id(t->tracer)},
                                   .sampled = t->context.sampled,
                                   .link_trace = t->context.trace,
                                   .link_span = t->span};
    trace_context_write(w, &c);
}

static struct span_event *new_event(struct attempt_trace *t, const char *what)
{
    if (t->events.len == EVENTS_MAX) {
        t->dropped++;
        return NULL;
    }
    VEC_PUSH(&t->events, ((struct span_event){.at_ns = trace_now_ns(), .what = what}));
    return &t->events.items[t->events.len - 1];
}

static struct slice dup_text(struct slice s)
{
    return slice_cstr(slice_dup_cstr(slice_sub(s, 0, MIN(s.len, (size_t)EVENT_NAME_MAX))));
}

void attempt_trace_command(struct attempt *a, uint16_t type, struct slice name)
{
    struct attempt_trace *t = a->trace;
    if (!t || t->ended || !t->context.sampled)
        return;
    struct span_event *e = new_event(t, "new_command");
    if (!e)
        return;
    char text[64];
    int n = snprintf(text, sizeof(text), "Command/%s", message_type_name(type));
    e->key = "restate.journal.command.type";
    e->value = dup_text(slice_make(text, (size_t)n));
    if (name.len)
        e->name = dup_text(name);
}

void attempt_trace_event(struct attempt *a, const char *what)
{
    if (a->trace && !a->trace->ended && a->trace->context.sampled)
        new_event(a->trace, what);
}

static void end_span(const struct attempt *a, enum span_status status, struct slice message,
                     const char *doc_code)
{
    const struct attempt_trace *t = a->trace;
    struct span s = {.kind = "invocation-attempt",
                     .context = &t->context,
                     .id = t->span,
                     .parent = t->parent,
                     .start_ns = t->start_ns,
                     .end_ns = MAX(trace_now_ns(), t->start_ns),
                     .invocation = t->id,
                     .target = &t->target,
                     .events = t->events.items,
                     .n_events = t->events.len,
                     .n_dropped_events = t->dropped,
                     .status = status,
                     .message = message};
    char deployment[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, a->ep->id, deployment);
    span_text(&s, "rpc.system", SLICE_LIT("restate"));
    span_text(&s, "restate.deployment.id", slice_cstr(deployment));
    span_text(&s, "restate.deployment.address", slice_cstr(a->ep->uri_text));
    span_int(&s, "restate.deployment.service_protocol_version", a->version);
    if (doc_code[0])
        span_text(&s, "restate.error.code", slice_cstr(doc_code));
    tracer_span(t->tracer, &s);
}

void attempt_trace_end(struct attempt *a, enum span_status status, struct slice message, const char *doc_code)
{
    struct attempt_trace *t = a->trace;
    if (!t || t->ended)
        return;
    t->ended = true;
    if (t->context.sampled)
        end_span(a, status, message, doc_code ? doc_code : "");
}

void attempt_trace_free(struct attempt *a)
{
    struct attempt_trace *t = a->trace;
    if (!t)
        return;
    if (a->inv) /* else the tracer is gone too */
        attempt_trace_end(a, SPAN_UNSET, SLICE_EMPTY, "");
    for (size_t i = 0; i < t->events.len; i++) {
        free((char *)t->events.items[i].value.ptr);
        free((char *)t->events.items[i].name.ptr);
    }
    VEC_FREE(&t->events);
    bytes_unref(&t->origin);
    free(t);
    a->trace = NULL;
}

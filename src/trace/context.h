/* W3C trace context (traceparent, tracestate) as it travels with invocations (spec/config.md §5.6). Pure. */
#pragma once
#include "base/codec.h"
#include "wire/id.h"

/* Where a span hangs: its trace, the span that is its parent, and what is passed on. */
struct trace_context {
    struct u128 trace; /* zero: none */
    uint64_t parent;   /* zero: the span is the root of its trace */
    bool sampled;
    struct u128 link_trace; /* zero: no link. A one-way call is linked to the attempt that made it */
    uint64_t link_span;
    struct slice state; /* tracestate, "" if none; borrowed from the text */
};
static inline bool trace_is_set(const struct trace_context *c)
{
    return c->trace.hi != 0 || c->trace.lo != 0;
}

#define TRACEPARENT_TEXT 55 /* 00-<32>-<16>-<2> */
#define TRACE_STATE_MAX  512
/* A request's headers. False if traceparent is not one (then a new trace begins); a tracestate that is too
 * long or not printable is left out. */
bool trace_context_from_headers(struct slice traceparent, struct slice tracestate, struct trace_context *out);
/* `00-<trace>-<span>-<flags>`, no NUL. */
void traceparent_format(struct u128 trace, uint64_t span, bool sampled, char out[TRACEPARENT_TEXT]);

/* The text stored with an invocation: traceparent (its span id zero for a root), then optionally '>' and the
 * traceparent of the link, then optionally a space and the tracestate. A plain traceparent is such a text. */
void trace_context_write(struct writer *w, const struct trace_context *c);
bool trace_context_read(struct slice text, struct trace_context *out);

/* The context of an invocation: what was stored, or else a trace of its own, the same at every look. */
void trace_context_of(struct slice stored, struct invocation_id id, struct trace_context *out);
/* Id of the invocation's `invocation-start` span: parent of its attempts and of its end. */
uint64_t trace_start_span(const struct trace_context *c, struct invocation_id id);

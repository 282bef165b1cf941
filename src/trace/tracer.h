/* Spans of one loop on their way to the exporter (trace/exporter.h). NULL stands for "tracing is off":
 * callers test the pointer before they gather anything. */
#pragma once
#include "loop/loop.h"
#include "trace/exporter.h"

struct tracer;

/* For the given loop; everything else is called on its thread. The exporter outlives it. */
struct tracer *tracer_new(struct trace_exporter *exporter, struct loop *loop);
/* Encodes the span now (nothing of it is kept) and hands it over within TRACE_GATHER_MS. */
void tracer_span(struct tracer *t, const struct span *s);
/* Random and not zero. */
uint64_t tracer_span_id(struct tracer *t);
/* What was gathered is handed over. */
void tracer_free(struct tracer *t);
/* Nanoseconds of the wall clock, for spans. */
uint64_t trace_now_ns(void);

/* The `invocation-start` span. */
void invocation_start_span(struct tracer *t, const struct trace_context *context, struct invocation_id id,
                           const struct target *target, uint64_t start_ns, uint64_t end_ns);

/* The `invocation-end` span, now. */
void invocation_end_span(struct tracer *t, const struct trace_context *context, struct invocation_id id,
                         const struct target *target, const struct outcome *result);

#define TRACE_GATHER_MS    200u
#define TRACE_GATHER_BYTES (256u << 10)

/* Tracing of one attempt (spec/config.md §5.6). Everything here does nothing while `attempt.trace` is NULL,
 * and it is NULL unless a tracing endpoint is configured. */
#pragma once
#include "trace/tracer.h"

struct attempt;
struct attempt_trace;
struct invocation;

/* At the start of an attempt: also the `invocation-start` span if it is the invocation's first. */
void attempt_trace_begin(struct attempt *a, const struct invocation *inv);
/* traceparent and tracestate of the request. False: none are sent. `room` is scratch. */
bool attempt_trace_headers(const struct attempt *a, char room[TRACEPARENT_TEXT], struct slice *state);
/* The context for what this command calls; appended to `w`. */
void attempt_trace_callee(struct attempt *a, bool one_way, struct writer *w);
/* Events. `name` "" if the command has none; further ones than 128 are counted only. */
void attempt_trace_command(struct attempt *a, uint16_t type, struct slice name);
void attempt_trace_event(struct attempt *a, const char *what);
/* The attempt is decided; only the first call counts. `doc_code` "" if none. */
void attempt_trace_end(struct attempt *a, enum span_status status, struct slice message,
                       const char *doc_code);
/* Ends it without a status if it was not ended. */
void attempt_trace_free(struct attempt *a);

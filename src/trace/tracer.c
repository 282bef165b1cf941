/* Implementation of trace/tracer.h. */
#include "trace/tracer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

struct tracer {
    struct trace_exporter *exporter;
    struct env *env;
    enum otlp_format format;
    struct writer spans;
    size_t n;
    struct env_timer timer;
};

static void hand_over(struct tracer *t)
{
    env_timer_cancel(t->env, &t->timer);
    if (t->n == 0)
        return;
    trace_exporter_put(t->exporter, writer_take(&t->spans), t->n);
    t->n = 0;
}

static void on_timer(struct env_timer *timer)
{
    hand_over(CONTAINER_OF(timer, struct tracer, timer));
}

struct tracer *tracer_new(struct trace_exporter *exporter, struct loop *loop)
{
    struct tracer *t = xcalloc(1, sizeof(*t));
    t->exporter = exporter;
    t->env = loop_env(loop);
    t->format = trace_exporter_format(exporter);
    env_timer_init(&t->timer, on_timer);
    return t;
}

void tracer_span(struct tracer *t, const struct span *s)
{
    span_encode(&t->spans, t->format, s);
    if (t->n++ == 0)
        env_timer_arm(t->env, &t->timer, TRACE_GATHER_MS);
    if (t->spans.len >= TRACE_GATHER_BYTES)
        hand_over(t);
}

uint64_t tracer_span_id(struct tracer *t)
{
    uint64_t id = env_random(t->env);
    return id ? id : 1;
}

void tracer_free(struct tracer *t)
{
    hand_over(t);
    free(t);
}

uint64_t trace_now_ns(void)
{
    return os_wall_us() * 1000;
}

void invocation_start_span(struct tracer *t, const struct trace_context *context, struct invocation_id id,
                           const struct target *target, uint64_t start_ns, uint64_t end_ns)
{
    struct span s = {.kind = "invocation-start",
                     .context = context,
                     .id = trace_start_span(context, id),
                     .parent = context->parent,
                     .linked = true,
                     .start_ns = start_ns,
                     .end_ns = end_ns,
                     .invocation = id,
                     .target = target};
    tracer_span(t, &s);
}

void invocation_end_span(struct tracer *t, const struct trace_context *context, struct invocation_id id,
                         const struct target *target, const struct outcome *result)
{
    struct failure_view failure = {0};
    char code[64];
    struct span s = {.kind = "invocation-end",
                     .context = context,
                     .id = tracer_span_id(t),
                     .parent = trace_start_span(context, id),
                     .start_ns = trace_now_ns(),
                     .invocation = id,
                     .target = target,
                     .status = SPAN_OK};
    s.end_ns = s.start_ns;
    bool failed = result->kind == OUTCOME_FAILURE && failure_parse(result->value, &failure);
    span_text(&s, "restate.invocation.result", failed ? SLICE_LIT("failure") : SLICE_LIT("success"));
    if (failed) {
        const char *name = failure_code_name(failure.code);
        snprintf(code, sizeof(code), "%u%s%s", failure.code, name ? " " : "", name ? name : "");
        span_text(&s, "error.message", failure.message);
        span_text(&s, "restate.invocation.error.code", slice_cstr(code));
        s.status = SPAN_ERROR;
        s.message = failure.message;
    }
    tracer_span(t, &s);
}

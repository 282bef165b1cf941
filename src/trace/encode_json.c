/* OTLP in JSON: names in camel case, ids as hexadecimal, 64-bit numbers as strings. */
#include <inttypes.h>

#include "trace/span.h"

#define FLAGS_LOCAL  0x101
#define FLAGS_REMOTE 0x301

static void write_text(struct writer *w, struct slice text)
{
    write_json_string(w, span_text_cut(text));
}

static void write_attribute(struct writer *w, const struct span_attribute *a)
{
    write_fmt(w, "{\"key\":");
    write_json_string(w, slice_cstr(a->key));
    if (a->is_int) {
        write_fmt(w, ",\"value\":{\"intValue\":\"%" PRId64 "\"}}", a->number);
        return;
    }
    write_fmt(w, ",\"value\":{\"stringValue\":");
    write_text(w, a->text);
    write_fmt(w, "}}");
}

struct list_of {
    struct writer *w;
    bool more;
};

static void span_attribute(void *ctx, const struct span_attribute *a)
{
    struct list_of *l = ctx;
    if (l->more)
        write_u8(l->w, ',');
    l->more = true;
    write_attribute(l->w, a);
}

static void write_event(struct writer *w, const struct span_event *e)
{
    struct list_of l = {w, false};
    write_fmt(
        w, "{\"timeUnixNano\":\"%" PRIu64 "\",\"name\":\"restate.invocation.lifecycle.%s\",\"attributes\":[",
        e->at_ns, e->what);
    if (e->key)
        span_attribute(&l, &(struct span_attribute){.key = e->key, .text = e->value});
    if (e->name.len)
        span_attribute(&l, &(struct span_attribute){.key = "restate.journal.command.name", .text = e->name});
    write_fmt(w, "]}");
}

static void write_ids(struct writer *w, struct u128 trace, uint64_t span)
{
    write_fmt(w, "\"traceId\":\"%016" PRIx64 "%016" PRIx64 "\",\"spanId\":\"%016" PRIx64 "\"", trace.hi,
              trace.lo, span);
}

static void write_links(struct writer *w, const struct span *s)
{
    write_fmt(w, ",\"links\":[");
    if (s->linked && s->context->link_span) {
        write_u8(w, '{');
        write_ids(w, s->context->link_trace, s->context->link_span);
        write_fmt(
            w, ",\"attributes\":[{\"key\":\"restate.runtime\",\"value\":{\"boolValue\":true}}],\"flags\":%d}",
            FLAGS_LOCAL);
    }
    write_u8(w, ']');
}

void span_encode_json(struct writer *w, const struct span *s)
{
    struct writer name = WRITER_INIT;
    write_fmt(w, w->len ? ",{" : "{");
    write_ids(w, s->context->trace, s->id);
    write_fmt(w, ",\"traceState\":");
    write_text(w, s->context->state);
    if (s->parent)
        write_fmt(w, ",\"parentSpanId\":\"%016" PRIx64 "\"", s->parent);
    write_fmt(w, ",\"flags\":%d,\"name\":", s->parent_is_remote ? FLAGS_REMOTE : FLAGS_LOCAL);
    write_fmt(&name, "%s ", s->kind);
    span_target_write(&name, s->target);
    write_text(w, writer_slice(&name));
    writer_free(&name);
    write_fmt(w, ",\"kind\":1,\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64 "\"",
              s->start_ns, s->end_ns);
    struct list_of attributes = {w, false};
    write_fmt(w, ",\"attributes\":[");
    span_each_attribute(s, span_attribute, &attributes);
    write_fmt(w, "],\"events\":[");
    for (size_t i = 0; i < s->n_events; i++) {
        if (i)
            write_u8(w, ',');
        write_event(w, &s->events[i]);
    }
    write_fmt(w, "],\"droppedEventsCount\":%zu", s->n_dropped_events);
    write_links(w, s);
    write_fmt(w, ",\"status\":{\"message\":");
    write_text(w, s->message);
    write_fmt(w, ",\"code\":%d}}", (int)s->status);
}

struct bytes otlp_request_json(const struct otlp_resource *resource, struct slice spans)
{
    struct writer w = WRITER_INIT;
    struct list_of attributes = {&w, false};
    writer_init(&w, spans.len + 1024);
    write_fmt(&w, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    for (size_t i = 0; i < resource->n; i++)
        span_attribute(&attributes, &resource->attributes[i]);
    write_fmt(&w, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"services\"},\"spans\":[");
    write_slice_raw(&w, spans);
    write_fmt(&w, "]}]}]}");
    return writer_take(&w);
}

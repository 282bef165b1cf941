/* OTLP in protobuf (opentelemetry/proto/trace/v1/trace.proto; field numbers are named where they are
 * written). Nested messages are written to a writer of their own first: their sizes precede them. */
#include "trace/span.h"
#include "wire/pb.h"

#define SPAN_KIND_INTERNAL 1
/* Span.flags: W3C flags in the low byte; bit 8: it is known whether the parent is remote, bit 9: it is. */
#define FLAGS_SAMPLED      0x001u
#define FLAGS_KNOWN_REMOTE 0x100u
#define FLAGS_REMOTE       0x200u

static void write_fixed64(struct writer *w, uint32_t number, uint64_t v)
{
    pb_write_tag(w, number, PB_FIXED64);
    write_u64le(w, v);
}

static void write_fixed32(struct writer *w, uint32_t number, uint32_t v)
{
    pb_write_tag(w, number, PB_FIXED32);
    write_u32le(w, v);
}

static void write_trace_id(struct writer *w, uint32_t number, struct u128 id)
{
    pb_write_len_header(w, number, 16);
    write_u64be(w, id.hi);
    write_u64be(w, id.lo);
}

static void write_span_id(struct writer *w, uint32_t number, uint64_t id)
{
    pb_write_len_header(w, number, 8);
    write_u64be(w, id);
}

static void nest(struct writer *w, uint32_t number, struct writer *inner)
{
    pb_write_bytes_always(w, number, writer_slice(inner));
    writer_free(inner);
}

/* Texts that are no UTF-8 would make the whole request malformed. */
static void write_text(struct writer *w, uint32_t number, struct slice text)
{
    text = span_text_cut(text);
    if (slice_is_utf8(text)) {
        pb_write_bytes_always(w, number, text);
        return;
    }
    pb_write_len_header(w, number, text.len);
    for (size_t i = 0; i < text.len; i++)
        write_u8(w, text.ptr[i] < 0x80 ? text.ptr[i] : '?');
}

/* KeyValue {1 key, 2 AnyValue {1 string, 2 bool, 3 int}} */
static void write_attribute(struct writer *w, uint32_t number, const struct span_attribute *a)
{
    struct writer value = WRITER_INIT, pair = WRITER_INIT;
    if (a->is_int)
        pb_write_u64_always(&value, 3, (uint64_t)a->number);
    else
        write_text(&value, 1, a->text);
    pb_write_bytes(&pair, 1, slice_cstr(a->key));
    nest(&pair, 2, &value);
    nest(w, number, &pair);
}

static void span_attribute(void *ctx, const struct span_attribute *a)
{
    write_attribute(ctx, 9, a);
}

/* Event {1 time, 2 name, 3 attributes} */
static void write_event(struct writer *w, const struct span_event *e)
{
    struct writer event = WRITER_INIT, name = WRITER_INIT;
    write_fixed64(&event, 1, e->at_ns);
    write_fmt(&name, "restate.invocation.lifecycle.%s", e->what);
    nest(&event, 2, &name);
    if (e->key)
        write_attribute(&event, 3, &(struct span_attribute){.key = e->key, .text = e->value});
    if (e->name.len)
        write_attribute(&event, 3,
                        &(struct span_attribute){.key = "restate.journal.command.name", .text = e->name});
    nest(w, 11, &event);
}

/* Link {1 trace id, 2 span id, 4 attributes, 6 flags} */
static void write_link(struct writer *w, const struct trace_context *c)
{
    struct writer link = WRITER_INIT, yes = WRITER_INIT, pair = WRITER_INIT;
    write_trace_id(&link, 1, c->link_trace);
    write_span_id(&link, 2, c->link_span);
    pb_write_u64_always(&yes, 2, 1);
    pb_write_bytes(&pair, 1, SLICE_LIT("restate.runtime"));
    nest(&pair, 2, &yes);
    nest(&link, 4, &pair);
    write_fixed32(&link, 6, FLAGS_KNOWN_REMOTE | FLAGS_SAMPLED);
    nest(w, 13, &link);
}

void span_encode_proto(struct writer *w, const struct span *s)
{
    struct writer span = WRITER_INIT, name = WRITER_INIT;
    writer_init(&span, 640);
    write_trace_id(&span, 1, s->context->trace);
    write_span_id(&span, 2, s->id);
    pb_write_bytes(&span, 3, s->context->state);
    if (s->parent)
        write_span_id(&span, 4, s->parent);
    write_fmt(&name, "%s ", s->kind);
    span_target_write(&name, s->target);
    nest(&span, 5, &name);
    pb_write_u64(&span, 6, SPAN_KIND_INTERNAL);
    write_fixed64(&span, 7, s->start_ns);
    write_fixed64(&span, 8, s->end_ns);
    span_each_attribute(s, span_attribute, &span);
    for (size_t i = 0; i < s->n_events; i++)
        write_event(&span, &s->events[i]);
    pb_write_u64(&span, 12, s->n_dropped_events);
    if (s->linked && s->context->link_span)
        write_link(&span, s->context);
    struct writer status = WRITER_INIT;
    if (s->message.len)
        write_text(&status, 2, s->message);
    pb_write_u64(&status, 3, s->status);
    nest(&span, 15, &status);
    write_fixed32(&span, 16, FLAGS_KNOWN_REMOTE | FLAGS_SAMPLED | (s->parent_is_remote ? FLAGS_REMOTE : 0));
    nest(w, 2, &span);
}

/* {1 ResourceSpans {1 Resource {1 attributes}, 2 ScopeSpans {1 scope {1 name}, 2 spans}}} */
struct bytes otlp_request_proto(const struct otlp_resource *resource, struct slice spans)
{
    struct writer attributes = WRITER_INIT, scope = WRITER_INIT, all = WRITER_INIT, w = WRITER_INIT;
    for (size_t i = 0; i < resource->n; i++)
        write_attribute(&attributes, 1, &resource->attributes[i]);
    pb_write_bytes(&scope, 1, SLICE_LIT("services"));
    size_t scope_spans = pb_len_field_size(1, scope.len) + spans.len;
    nest(&all, 1, &attributes);
    pb_write_len_header(&all, 2, scope_spans);
    nest(&all, 1, &scope);
    writer_init(&w, all.len + spans.len + 16);
    pb_write_len_header(&w, 1, all.len + spans.len);
    write_slice_raw(&w, writer_slice(&all));
    write_slice_raw(&w, spans);
    writer_free(&all);
    return writer_take(&w);
}

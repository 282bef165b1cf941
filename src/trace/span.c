/* Implementation of trace/span.h: what both encodings share. */
#include "trace/span.h"

void span_text(struct span *s, const char *key, struct slice value)
{
    ASSERT(s->n_attributes < SPAN_ATTRIBUTES_MAX);
    s->attributes[s->n_attributes++] = (struct span_attribute){.key = key, .text = value};
}

void span_int(struct span *s, const char *key, int64_t value)
{
    ASSERT(s->n_attributes < SPAN_ATTRIBUTES_MAX);
    s->attributes[s->n_attributes++] = (struct span_attribute){.key = key, .is_int = true, .number = value};
}

void span_target_write(struct writer *w, const struct target *t)
{
    write_slice_raw(w, t->service);
    if (target_is_keyed(t->kind))
        write_raw(w, "/{key}", 6);
    write_u8(w, '/');
    write_slice_raw(w, t->handler);
}

struct slice span_text_cut(struct slice s)
{
    if (s.len <= SPAN_TEXT_MAX)
        return s;
    size_t len = SPAN_TEXT_MAX;
    while (len > SPAN_TEXT_MAX - 4 && (s.ptr[len] & 0xc0) == 0x80)
        len--;
    return slice_sub(s, 0, len);
}

void span_each_attribute(const struct span *s, void (*visit)(void *ctx, const struct span_attribute *a),
                         void *ctx)
{
    char id[INVOCATION_ID_TEXT + 1];
    struct writer target = WRITER_INIT;
    invocation_id_format(s->invocation, id);
    target_format(&target, s->target);
    const struct span_attribute common[] = {
        {.key = "rpc.service", .text = s->target->service},
        {.key = "rpc.method", .text = s->target->handler},
        {.key = "restate.invocation.id", .text = slice_make(id, INVOCATION_ID_TEXT)},
        {.key = "restate.invocation.target", .text = writer_slice(&target)},
    };
    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        visit(ctx, &common[i]);
    for (size_t i = 0; i < s->n_attributes; i++)
        visit(ctx, &s->attributes[i]);
    writer_free(&target);
}

void span_encode(struct writer *w, enum otlp_format format, const struct span *s)
{
    if (format == OTLP_JSON)
        span_encode_json(w, s);
    else
        span_encode_proto(w, s);
}

struct bytes otlp_request(enum otlp_format format, const struct otlp_resource *resource, struct slice spans)
{
    return format == OTLP_JSON ? otlp_request_json(resource, spans) : otlp_request_proto(resource, spans);
}

/* Trace context from headers and as stored, tracing endpoints, resource attributes: no crash; what was read
 * is written back as it was. The first byte selects. */
#include <stdlib.h>

#include "trace/exporter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *ctx, struct slice key, struct slice value) {}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_make(data + 1, size - 1);
    struct trace_context c, again;
    struct writer w = WRITER_INIT;
    struct trace_endpoint endpoint;
    struct err err = {0};
    size_t half = text.len / 2;
    bool set = false;
    switch (data[0] % 4) {
    case 0:
        set =
            trace_context_from_headers(slice_sub(text, 0, half), slice_sub(text, half, text.len - half), &c);
        break;
    case 1:
        set = trace_context_read(text, &c);
        break;
    case 2: {
        char *z = slice_dup_cstr(text);
        if (trace_endpoint_parse(z, &endpoint, &err) != RC_OK)
            ASSERT(err.msg[0]);
        free(z);
        break;
    }
    default:
        trace_resource_parse(text, ignore, NULL);
    }
    if (set) {
        trace_context_write(&w, &c);
        ASSERT(trace_context_read(writer_slice(&w), &again));
        ASSERT(u128_eq(c.trace, again.trace) && c.parent == again.parent && c.sampled == again.sampled &&
               c.link_span == again.link_span && slice_eq(c.state, again.state));
    }
    writer_free(&w);
    return 0;
}

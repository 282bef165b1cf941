/* Implementation of trace/context.h. */
#include "trace/context.h"

#include "base/hash.h"

/* Lower-case hexadecimal digits only, as the standard demands. */
static bool hex_u64(const uint8_t *p, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t c = p[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

static bool hex_byte(const uint8_t *p, unsigned *out)
{
    uint8_t padded[16] = "0000000000000000";
    padded[14] = p[0];
    padded[15] = p[1];
    uint64_t v;
    if (!hex_u64(padded, &v))
        return false;
    *out = (unsigned)v;
    return true;
}

/* The first 55 bytes of `s`. */
static bool traceparent_read(struct slice s, struct u128 *trace, uint64_t *span, bool *sampled)
{
    unsigned version, flags;
    if (s.len < TRACEPARENT_TEXT || s.ptr[2] != '-' || s.ptr[35] != '-' || s.ptr[52] != '-' ||
        !hex_byte(s.ptr, &version) || version == 0xff || !hex_u64(s.ptr + 3, &trace->hi) ||
        !hex_u64(s.ptr + 19, &trace->lo) || !hex_u64(s.ptr + 36, span) || !hex_byte(s.ptr + 53, &flags))
        return false;
    *sampled = flags & 1;
    return trace->hi != 0 || trace->lo != 0;
}

static bool state_ok(struct slice state)
{
    if (state.len > TRACE_STATE_MAX)
        return false;
    for (size_t i = 0; i < state.len; i++)
        if (state.ptr[i] < 0x20 || state.ptr[i] > 0x7e)
            return false;
    return true;
}

bool trace_context_from_headers(struct slice traceparent, struct slice tracestate, struct trace_context *out)
{
    *out = (struct trace_context){0};
    bool version_0 = traceparent.len >= 2 && traceparent.ptr[0] == '0' && traceparent.ptr[1] == '0';
    if (!traceparent_read(traceparent, &out->trace, &out->parent, &out->sampled) || out->parent == 0 ||
        (traceparent.len > TRACEPARENT_TEXT && (version_0 || traceparent.ptr[TRACEPARENT_TEXT] != '-'))) {
        *out = (struct trace_context){0};
        return false;
    }
    if (state_ok(tracestate))
        out->state = tracestate;
    return true;
}

static void hex_put(char *out, uint64_t v)
{
    uint8_t bytes[8];
    put_u64be(bytes, v);
    hex_encode(slice_make(bytes, sizeof(bytes)), out);
}

void traceparent_format(struct u128 trace, uint64_t span, bool sampled, char out[TRACEPARENT_TEXT])
{
    memcpy(out, "00-", 3);
    hex_put(out + 3, trace.hi);
    hex_put(out + 19, trace.lo);
    out[35] = '-';
    hex_put(out + 36, span);
    memcpy(out + 52, sampled ? "-01" : "-00", 3);
}

void trace_context_write(struct writer *w, const struct trace_context *c)
{
    char text[TRACEPARENT_TEXT];
    traceparent_format(c->trace, c->parent, c->sampled, text);
    write_raw(w, text, sizeof(text));
    if (c->link_span) {
        traceparent_format(c->link_trace, c->link_span, c->sampled, text);
        write_u8(w, '>');
        write_raw(w, text, sizeof(text));
    }
    if (c->state.len) {
        write_u8(w, ' ');
        write_slice_raw(w, c->state);
    }
}

bool trace_context_read(struct slice text, struct trace_context *out)
{
    bool ignored;
    *out = (struct trace_context){0};
    bool ok = traceparent_read(text, &out->trace, &out->parent, &out->sampled);
    size_t at = TRACEPARENT_TEXT;
    if (ok && text.len > at && text.ptr[at] == '>') {
        ok = traceparent_read(slice_sub(text, at + 1, text.len - at - 1), &out->link_trace, &out->link_span,
                              &ignored) &&
             out->link_span != 0;
        at += 1 + TRACEPARENT_TEXT;
    }
    if (ok && text.len > at) {
        ok = text.ptr[at] == ' ' && state_ok(slice_sub(text, at + 1, text.len - at - 1));
        if (ok)
            out->state = slice_sub(text, at + 1, text.len - at - 1);
    }
    if (!ok)
        *out = (struct trace_context){0};
    return ok;
}

void trace_context_of(struct slice stored, struct invocation_id id, struct trace_context *out)
{
    uint8_t bytes[INVOCATION_ID_BYTES];
    if (trace_context_read(stored, out))
        return;
    invocation_id_to_bytes(id, bytes);
    uint64_t h = hash64(slice_make(bytes, sizeof(bytes)));
    out->trace = (struct u128){hash64_combine(h, 1), hash64_combine(h, 2) | 1};
    out->sampled = true;
}

uint64_t trace_start_span(const struct trace_context *c, struct invocation_id id)
{
    uint64_t h = hash64_combine(hash64_combine(c->trace.hi, c->trace.lo), c->parent);
    h = hash64_combine(hash64_combine(h, invocation_id_hash(id)), 3);
    return h ? h : 1;
}

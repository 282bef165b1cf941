/* gRPC calls on a server (http/grpc.h). */
#include "http/grpc.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"

#define GRPC_COPY_BELOW 4096u

struct grpc_call {
    struct http_request *request;
    struct grpc_call_ops ops;
    void *user;
    bool unary, got_message;
    bool started; /* response head is out */
    bool ended;   /* status is out */
    struct grpc_reader reader;
    enum grpc_encoding replies;
};

/* Everything that is not visible ASCII, and what the reference escapes as well. */
static void write_status_message(struct writer *w, const char *message)
{
    for (const uint8_t *p = (const uint8_t *)message; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f || strchr("\"#%<>`?{}", *p))
            write_fmt(w, "%%%02X", *p);
        else
            write_u8(w, *p);
    }
}

/* Status fields; the values live in `code_text` and `w`. Returns their number. */
static size_t status_fields(struct http_header out[2], char code_text[8], struct writer *w,
                            enum grpc_code code, const char *message)
{
    snprintf(code_text, 8, "%d", (int)code);
    out[0] = (struct http_header){SLICE_LIT("grpc-status"), slice_cstr(code_text)};
    if (!message || !message[0])
        return 1;
    write_status_message(w, message);
    out[1] = (struct http_header){SLICE_LIT("grpc-message"), writer_slice(w)};
    return 2;
}

#define CONTENT_TYPE HTTP_HEADER_LIT("content-type", "application/grpc")

static void refuse(struct http_request *r, enum grpc_code code, const char *message,
                   const struct http_header *extra)
{
    struct http_header h[4];
    struct writer w = WRITER_INIT;
    char code_text[8];
    h[0] = CONTENT_TYPE;
    size_t n = 1 + status_fields(h + 1, code_text, &w, code, message);
    if (extra)
        h[n++] = *extra;
    http_respond(r, 200, h, n, BYTES_EMPTY);
    writer_free(&w);
}

void grpc_refuse(struct http_request *r, enum grpc_code code, const char *message)
{
    refuse(r, code, message, NULL);
}

void grpc_call_finish(struct grpc_call *c, enum grpc_code code, const char *message)
{
    if (c->ended)
        return;
    c->ended = true;
    if (!c->started) {
        refuse(c->request, code, message, NULL);
        return;
    }
    struct http_header h[2];
    struct writer w = WRITER_INIT;
    char code_text[8];
    size_t n = status_fields(h, code_text, &w, code, message);
    http_response_end(c->request, h, n);
    writer_free(&w);
}

static void start_response(struct grpc_call *c)
{
    struct http_header h[2] = {CONTENT_TYPE};
    size_t n = 1;
    if (c->replies != GRPC_IDENTITY)
        h[n++] = (struct http_header){SLICE_LIT("grpc-encoding"), slice_cstr(grpc_encoding_name(c->replies))};
    c->started = true;
    http_response_start(c->request, 200, h, n);
}

size_t grpc_call_send(struct grpc_call *c, struct bytes take)
{
    if (c->ended) {
        bytes_unref(&take);
        return 0;
    }
    if (!c->started)
        start_response(c);
    struct writer w = WRITER_INIT;
    bool smaller = grpc_deflate(c->replies, bytes_slice(take), &w) == RC_OK;
    if (smaller) {
        bytes_unref(&take);
        take = writer_take(&w);
    }
    writer_free(&w);
    ASSERT(take.len <= UINT32_MAX);
    writer_init(&w, 5 + (take.len < GRPC_COPY_BELOW ? take.len : 0));
    write_u8(&w, smaller);
    write_u32be(&w, (uint32_t)take.len);
    if (take.len >= GRPC_COPY_BELOW) {
        http_response_write(c->request, writer_take(&w));
        return http_response_write(c->request, take);
    }
    write_slice_raw(&w, bytes_slice(take));
    bytes_unref(&take);
    return http_response_write(c->request, writer_take(&w));
}

void grpc_call_reply(struct grpc_call *c, struct bytes take)
{
    grpc_call_send(c, take);
    grpc_call_finish(c, GRPC_OK, NULL);
}

/* ---- request side ---- */

static void call_message(struct grpc_call *c, struct bytes message)
{
    if (c->unary && c->got_message) {
        grpc_call_finish(c, GRPC_INTERNAL, "more than one request message for a unary call");
        return;
    }
    c->got_message = true;
    c->ops.on_message(c, message);
}

static void call_on_chunk(struct http_request *r, struct bytes chunk)
{
    struct grpc_call *c = http_request_user(r);
    struct slice in = bytes_slice(chunk);
    struct err err = {0};
    while (!c->ended) {
        struct bytes message = BYTES_EMPTY;
        enum rc rc = grpc_reader_next(&c->reader, chunk, &in, &message, &err);
        if (rc == RC_AGAIN)
            break;
        if (rc == RC_OK)
            call_message(c, message);
        else
            grpc_call_finish(c, rc == RC_TOO_LARGE ? GRPC_OUT_OF_RANGE : GRPC_INTERNAL, err.msg);
        bytes_unref(&message);
    }
    http_request_consumed(r, chunk.len);
}

static void call_on_end(struct http_request *r)
{
    struct grpc_call *c = http_request_user(r);
    if (c->ended)
        return;
    if (grpc_reader_partial(&c->reader))
        grpc_call_finish(c, GRPC_INTERNAL, "protocol error: the request ends in the middle of a message");
    else if (c->unary && !c->got_message)
        grpc_call_finish(c, GRPC_INTERNAL, "Missing request message.");
    else if (!c->unary && c->ops.on_end)
        c->ops.on_end(c);
}

static void call_on_writable(struct http_request *r)
{
    struct grpc_call *c = http_request_user(r);
    if (c->ops.on_writable && !c->ended)
        c->ops.on_writable(c);
}

static void call_on_finished(struct http_request *r, bool completed)
{
    struct grpc_call *c = http_request_user(r);
    c->ended = true;
    if (c->ops.on_finished)
        c->ops.on_finished(c, completed);
    grpc_reader_free(&c->reader);
    free(c);
}

static void refuse_encoding(struct grpc_call *c, struct slice encoding)
{
    const struct http_header accept = HTTP_HEADER_LIT("grpc-accept-encoding", "gzip,zstd,identity");
    char message[200];
    snprintf(message, sizeof(message), "Content is compressed with `%.*s` which isn't supported",
             (int)MIN(encoding.len, 100), (const char *)encoding.ptr);
    c->ended = true;
    refuse(c->request, GRPC_UNIMPLEMENTED, message, &accept);
}

struct grpc_call *grpc_call_accept(struct http_request *r, bool unary, size_t max_message_bytes,
                                   const struct grpc_call_ops *ops, void *user)
{
    static const struct http_request_ops request_ops = {.on_chunk = call_on_chunk,
                                                        .on_end = call_on_end,
                                                        .on_writable = call_on_writable,
                                                        .on_finished = call_on_finished};
    struct grpc_call *c = xcalloc(1, sizeof(*c));
    struct slice encoding = http_request_header(r, "grpc-encoding");
    c->request = r;
    c->ops = *ops;
    c->user = user;
    c->unary = unary;
    c->reader.limit = max_message_bytes;
    http_request_set_user(r, c);
    http_request_set_ops(r, &request_ops);
    if (encoding.ptr && !grpc_encoding_parse(encoding, &c->reader.encoding))
        refuse_encoding(c, encoding);
    http_request_stream(r);
    return c;
}

void grpc_call_compress(struct grpc_call *c)
{
    struct slice list = http_request_header(c->request, "grpc-accept-encoding");
    ASSERT(!c->started);
    for (size_t from = 0; from < list.len;) {
        ptrdiff_t comma = slice_find(list, ',', from);
        size_t end = comma < 0 ? list.len : (size_t)comma;
        while (from < end && list.ptr[from] == ' ')
            from++;
        if (grpc_encoding_parse(slice_sub(list, from, end - from), &c->replies))
            return;
        from = end + 1;
    }
    c->replies = GRPC_IDENTITY;
}

void *grpc_call_user(const struct grpc_call *c)
{
    return c->user;
}

struct http_request *grpc_call_request(const struct grpc_call *c)
{
    return c->request;
}

bool grpc_call_ended(const struct grpc_call *c)
{
    return c->ended;
}

uint64_t grpc_call_timeout_ms(const struct grpc_call *c)
{
    struct slice v = http_request_header(c->request, "grpc-timeout");
    uint64_t n = 0;
    if (v.len < 2 || v.len > 9) /* at most 8 digits and a unit */
        return GRPC_NO_TIMEOUT;
    for (size_t i = 0; i + 1 < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return GRPC_NO_TIMEOUT;
        n = n * 10 + (v.ptr[i] - '0');
    }
    switch (v.ptr[v.len - 1]) {
    case 'H':
        return n * 3600000;
    case 'M':
        return n * 60000;
    case 'S':
        return n * 1000;
    case 'm':
        return n;
    case 'u':
        return (n + 999) / 1000;
    case 'n':
        return (n + 999999) / 1000000;
    default:
        return GRPC_NO_TIMEOUT;
    }
}

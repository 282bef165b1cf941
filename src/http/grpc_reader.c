/* gRPC message framing and decompression (http/grpc.h, spec/restatectl.md §3.2, §3.3). */
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/codec.h"
#include "http/grpc.h"

#define FIRST_BYTES (64u << 10) /* a buffer grows with what arrives, not with what a header announces */

bool grpc_reader_partial(const struct grpc_reader *g)
{
    return g->header_len > 0;
}

void grpc_reader_free(struct grpc_reader *g)
{
    if (g->partial)
        buf_unref(g->partial);
    g->partial = NULL;
    g->header_len = g->partial_len = 0;
}

static enum rc too_large(size_t found, size_t limit, struct err *err)
{
    return err_set(err, RC_TOO_LARGE,
                   "Error, decoded message length too large: found %zu bytes, the limit is: %zu bytes", found,
                   limit);
}

/* Decoders write into `w` and stop above the limit: a small frame must not become a large allocation. */
static enum rc inflate_zstd(struct slice in, size_t limit, struct writer *w, struct err *err)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer src = {in.ptr, in.len, 0};
    size_t left = 1;
    enum rc rc = RC_OK;
    ASSERT(d != NULL);
    while (rc == RC_OK && left != 0) {
        size_t room = ZSTD_DStreamOutSize(), before = src.pos;
        ZSTD_outBuffer dst = {writer_reserve(w, room), room, 0};
        left = ZSTD_decompressStream(d, &dst, &src);
        w->len += dst.pos;
        if (ZSTD_isError(left))
            rc = err_set(err, RC_INVALID, "Error decompressing: %s", ZSTD_getErrorName(left));
        else if (w->len > limit)
            rc = too_large(w->len, limit, err);
        else if (left != 0 && src.pos == before && dst.pos == 0)
            rc = err_set(err, RC_INVALID, "Error decompressing: incomplete zstd frame");
    }
    ZSTD_freeDCtx(d);
    return rc;
}

static enum rc inflate_gzip(struct slice in, size_t limit, struct writer *w, struct err *err)
{
    z_stream z = {.next_in = (Bytef *)in.ptr, .avail_in = (uInt)in.len};
    int status = Z_OK;
    enum rc rc = RC_OK;
    ASSERT(inflateInit2(&z, 16 + MAX_WBITS) == Z_OK);
    while (rc == RC_OK && status != Z_STREAM_END) {
        uInt room = 32768;
        z.next_out = writer_reserve(w, room);
        z.avail_out = room;
        status = inflate(&z, Z_NO_FLUSH);
        w->len += room - z.avail_out;
        if (status != Z_OK && status != Z_STREAM_END)
            rc =
                err_set(err, RC_INVALID, "Error decompressing: %s", z.msg ? z.msg : "incomplete gzip stream");
        else if (w->len > limit)
            rc = too_large(w->len, limit, err);
    }
    inflateEnd(&z);
    return rc;
}

/* ---- the other way ---- */

#define DEFLATE_FROM 256u /* smaller messages do not get smaller */

bool grpc_encoding_parse(struct slice name, enum grpc_encoding *out)
{
    for (int e = GRPC_IDENTITY; e <= GRPC_ZSTD; e++) {
        if (!slice_eq_cstr(name, grpc_encoding_name((enum grpc_encoding)e)))
            continue;
        *out = (enum grpc_encoding)e;
        return true;
    }
    return false;
}

const char *grpc_encoding_name(enum grpc_encoding e)
{
    return e == GRPC_ZSTD ? "zstd" : e == GRPC_GZIP ? "gzip" : "identity";
}

static void deflate_zstd(struct slice in, struct writer *w)
{
    size_t room = ZSTD_compressBound(in.len);
    size_t n = ZSTD_compress(writer_reserve(w, room), room, in.ptr, in.len, 1);
    ASSERT(!ZSTD_isError(n));
    w->len += n;
}

static void deflate_gzip(struct slice in, struct writer *w)
{
    z_stream z = {.next_in = (Bytef *)in.ptr, .avail_in = (uInt)in.len};
    ASSERT(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&z, in.len);
    z.next_out = writer_reserve(w, room);
    z.avail_out = (uInt)room;
    ASSERT(deflate(&z, Z_FINISH) == Z_STREAM_END);
    w->len += room - z.avail_out;
    deflateEnd(&z);
}

enum rc grpc_deflate(enum grpc_encoding e, struct slice message, struct writer *w)
{
    if (e == GRPC_IDENTITY || message.len < DEFLATE_FROM || message.len > UINT32_MAX / 2)
        return RC_EOF;
    size_t before = w->len;
    if (e == GRPC_ZSTD)
        deflate_zstd(message, w);
    else
        deflate_gzip(message, w);
    return w->len - before < message.len ? RC_OK : RC_EOF;
}

static enum rc decode(struct grpc_reader *g, struct bytes *message, struct err *err)
{
    struct writer w = WRITER_INIT;
    enum rc rc;
    if (g->header[0] == 0)
        return RC_OK;
    if (g->encoding == GRPC_ZSTD)
        rc = inflate_zstd(bytes_slice(*message), g->limit, &w, err);
    else
        rc = inflate_gzip(bytes_slice(*message), g->limit, &w, err);
    bytes_unref(message);
    if (rc == RC_OK)
        *message = w.len ? writer_take(&w) : BYTES_EMPTY;
    writer_free(&w);
    return rc;
}

static enum rc read_header(struct grpc_reader *g, struct slice *in, struct err *err)
{
    size_t n = MIN(sizeof(g->header) - g->header_len, in->len);
    if (n)
        memcpy(g->header + g->header_len, in->ptr, n);
    g->header_len += n;
    *in = slice_sub(*in, n, in->len - n);
    if (g->header_len < sizeof(g->header))
        return RC_AGAIN;
    g->need = get_u32be(g->header + 1);
    if (g->header[0] > 1)
        return err_set(
            err, RC_INVALID,
            "protocol error: received message with invalid compression flag: %u (valid flags are 0 and 1)",
            g->header[0]);
    if (g->header[0] == 1 && g->encoding == GRPC_IDENTITY)
        return err_set(
            err, RC_INVALID,
            "protocol error: received message with compressed-flag but no grpc-encoding was specified");
    return g->need > g->limit ? too_large(g->need, g->limit, err) : RC_OK;
}

static void append_partial(struct grpc_reader *g, struct slice part)
{
    size_t want = g->partial_len + part.len;
    if (!g->partial || g->partial->cap < want) {
        size_t cap = MAX(want, g->partial ? g->partial->cap * 2 : FIRST_BYTES);
        struct buf *b = buf_new(MIN(cap, g->need));
        if (g->partial) {
            memcpy(b->data, g->partial->data, g->partial_len);
            buf_unref(g->partial);
        }
        g->partial = b;
    }
    if (part.len)
        memcpy(g->partial->data + g->partial_len, part.ptr, part.len);
    g->partial_len = want;
}

enum rc grpc_reader_next(struct grpc_reader *g, struct bytes owner, struct slice *in, struct bytes *message,
                         struct err *err)
{
    if (g->header_len < sizeof(g->header)) {
        enum rc rc = read_header(g, in, err);
        if (rc != RC_OK)
            return rc;
    }
    if (g->partial_len == 0 && in->len >= g->need) { /* all here: no copy */
        *message = g->need ? bytes_part(owner, slice_sub(*in, 0, g->need)) : BYTES_EMPTY;
        *in = slice_sub(*in, g->need, in->len - g->need);
    } else {
        size_t n = MIN(g->need - g->partial_len, in->len);
        append_partial(g, slice_sub(*in, 0, n));
        *in = slice_sub(*in, n, in->len - n);
        if (g->partial_len < g->need)
            return RC_AGAIN;
        *message = bytes_take_buf(g->partial, 0, g->partial_len);
        g->partial = NULL;
        g->partial_len = 0;
    }
    g->header_len = 0;
    return decode(g, message, err);
}

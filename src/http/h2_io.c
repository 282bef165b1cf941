/* The outgoing side of HTTP/2 sessions, shared by server and client (http/h2_io.h). */
#include "http/h2_io.h"

#include "base/containers.h"
#include "loop/net.h"

void h2_out_init(struct h2_out *out, void (*on_low)(struct h2_out *out))
{
    memset(out, 0, sizeof(*out));
    out_queue_init(&out->queue);
    out->on_low = on_low;
}

void h2_out_free(struct h2_out *out)
{
    out_queue_clear(&out->queue);
    http_head_free(&out->trailers);
}

static void h2_out_submit_trailers(nghttp2_session *session, int32_t stream_id, struct h2_out *out)
{
    struct h2_nv_list nv = {0};
    http_head_resolve(&out->trailers);
    for (size_t i = 0; i < out->trailers.fields.len; i++)
        h2_nv_add(&nv, out->trailers.headers[i].name, out->trailers.headers[i].value);
    nghttp2_submit_trailer(session, stream_id, nv.items, nv.len);
    VEC_FREE(&nv);
}

static ssize_t h2_out_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct h2_out *out = source->ptr;
    size_t total = out->queue.total, n = 0;
    if (out->aborted || (total == 0 && !out->ended)) {
        out->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (total) {
        n = MIN(length, out_queue_front(&out->queue)->len);
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (out->ended && n == total) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (out->has_trailers) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            h2_out_submit_trailers(session, stream_id, out);
        }
    }
    return (ssize_t)n;
}

nghttp2_data_provider h2_out_provider(struct h2_out *out)
{
    return (nghttp2_data_provider){.source.ptr = out, .read_callback = h2_out_read};
}

static void h2_io_emit(struct h2_io *io)
{
    if (io->batch.len)
        io->send(io, writer_take(&io->batch));
}

/* nghttp2 has decided to send `length` bytes of this stream now; `framehd` is the 9-byte frame header. No
 * padding is ever chosen, so header and payload are all there is. */
static int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd, size_t length,
                        nghttp2_data_source *source, void *user_data)
{
    struct h2_io *io = user_data;
    struct h2_out *out = source->ptr;
    ASSERT(frame->data.padlen == 0);
    write_raw(&io->batch, framehd, 9);
    struct bytes payload = out_queue_take(&out->queue, length);
    ASSERT(payload.len == length);
    if (length < H2_COPY_BELOW) {
        write_raw(&io->batch, payload.ptr, payload.len);
        bytes_unref(&payload);
    } else {
        h2_io_emit(io);
        io->send(io, payload);
    }
    if (out->above_water && out->queue.total < NET_LOW_WATER) {
        out->above_water = false;
        if (out->on_low)
            out->on_low(out);
    }
    return 0;
}

void h2_io_set_callbacks(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_send_data_callback(cbs, h2_send_data);
}

bool h2_io_flush(struct h2_io *io)
{
    ssize_t n = 0;
    while (io->pending(io) <= NET_HIGH_WATER) {
        const uint8_t *p;
        n = nghttp2_session_mem_send(io->session, &p);
        if (n <= 0)
            break;
        write_raw(&io->batch, p, (size_t)n);
        if (io->batch.len >= H2_BATCH_BYTES)
            h2_io_emit(io);
    }
    h2_io_emit(io);
    return n >= 0;
}

void h2_io_free(struct h2_io *io)
{
    nghttp2_session_del(io->session);
    io->session = NULL;
    writer_free(&io->batch);
}

void h2_nv_add(struct h2_nv_list *l, struct slice name, struct slice value)
{
    nghttp2_nv nv = {.name = (uint8_t *)name.ptr,
                     .value = (uint8_t *)value.ptr,
                     .namelen = name.len,
                     .valuelen = value.len,
                     .flags = NGHTTP2_NV_FLAG_NONE};
    VEC_PUSH(l, nv);
}

bool http_header_is_hop_by_hop(struct slice name)
{
    switch (name.len) {
    case 7:
        return slice_eq_cstr(name, "upgrade");
    case 10:
        return slice_eq_cstr(name, "connection") || slice_eq_cstr(name, "keep-alive");
    case 16:
        return slice_eq_cstr(name, "proxy-connection");
    case 17:
        return slice_eq_cstr(name, "transfer-encoding");
    default:
        return false;
    }
}

bool http_header_is_sane(const struct http_header *h)
{
    if (h->name.len == 0 || h->name.ptr[0] == ':' || !nghttp2_check_header_name(h->name.ptr, h->name.len))
        return false;
    for (size_t i = 0; i < h->value.len; i++) {
        uint8_t c = h->value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

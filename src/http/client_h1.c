/* HTTP/1.1, client side: chunked, full duplex, one stream per connection at a time (spec/service-protocol.md
 * §3.4). */
#include "http/client_internal.h"

#define H1_COPY_BELOW     4096u
#define H1_MAX_HEAD_BYTES (256u << 10)

/* ---- response ---- */

static int h1_on_message_begin(h1_parser *p)
{
    struct client_conn *c = p->data;
    struct client_h1 *h = &c->h1;
    if (!h->current)
        return -1; /* bytes that nobody asked for */
    http_head_reset(&h->current->response);
    h->pieces.begun = h->pieces.in_value = h->in_trailers = false;
    h->head_bytes = 0;
    return 0;
}

static int h1_on_header_field(h1_parser *p, const char *at, size_t len)
{
    struct client_conn *c = p->data;
    struct client_h1 *h = &c->h1;
    if ((h->head_bytes += len + 1) > H1_MAX_HEAD_BYTES)
        return -1;
    if (h->in_trailers)
        return 0;
    if (h->pieces.in_value)
        http_head_end_pieces(&h->current->response, &h->pieces);
    http_head_name_piece(&h->current->response, &h->pieces, at, len);
    return 0;
}

static int h1_on_header_value(h1_parser *p, const char *at, size_t len)
{
    struct client_conn *c = p->data;
    struct client_h1 *h = &c->h1;
    if ((h->head_bytes += len) > H1_MAX_HEAD_BYTES)
        return -1;
    if (!h->in_trailers)
        http_head_value_piece(&h->current->response, &h->pieces, at, len);
    return 0;
}

static int h1_on_headers_complete(h1_parser *p)
{
    struct client_conn *c = p->data;
    struct http_stream *s = c->h1.current;
    http_head_end_pieces(&s->response, &c->h1.pieces);
    h1_parser_ignore_upgrade(p);
    s->status = (int)p->status_code;
    if (s->status < 200)
        return 0; /* 100 Continue and its like are passed over */
    c->h1.in_trailers = true;
    c->h1.keep_alive = h1_parser_keep_alive(p);
    s->head_done = true;
    http_head_resolve(&s->response);
    if (!s->done)
        s->ops.on_head(s->ctx, s, s->status, p->http_minor == 0 ? HTTP_1_0 : HTTP_1_1, s->response.headers,
                       s->response.fields.len);
    /* 1: the body that the fields announce will not come */
    return slice_eq_cstr(http_head_text(&s->head, s->method_off, s->method_len), "HEAD");
}

static int h1_on_body(h1_parser *p, const char *at, size_t len)
{
    struct client_conn *c = p->data;
    struct http_stream *s = c->h1.current;
    if (s->done)
        return 0;
    struct bytes chunk = bytes_part(c->input, slice_make(at, len));
    s->unconsumed += len;
    s->ops.on_data(s->ctx, s, chunk);
    bytes_unref(&chunk);
    if (s->unconsumed > c->client->config.initial_stream_window && !c->h1.paused) {
        c->h1.paused = true;
        net_conn_pause(c->net);
    }
    return 0;
}

static int h1_on_message_complete(h1_parser *p)
{
    struct client_conn *c = p->data;
    struct http_stream *s = c->h1.current;
    if (s->status < 200)
        return 0;
    c->h1.response_done = true;
    s->response_ended = true;
    if (!s->done)
        s->ops.on_end(s->ctx, s);
    return h1_parser_pause_here(p);
}

static const h1_parser_settings h1_settings = {
    .on_message_begin = h1_on_message_begin,
    .on_header_field = h1_on_header_field,
    .on_header_value = h1_on_header_value,
    .on_headers_complete = h1_on_headers_complete,
    .on_body = h1_on_body,
    .on_message_complete = h1_on_message_complete,
};

void client_h1_start(struct client_conn *c)
{
    c->max_streams = 1;
}

/* A server of HTTP/2 opens with SETTINGS, or says GOAWAY at once: a frame of the connection, of less than 16
 * KiB. */
static bool begins_http2(struct slice s)
{
    static const uint8_t connection[4] = {0};
    return s.len >= 9 && s.ptr[0] == 0 && s.ptr[1] < 0x40 && (s.ptr[3] == 4 || s.ptr[3] == 7) &&
           memcmp(s.ptr + 5, connection, 4) == 0;
}

void client_h1_input(struct client_conn *c, struct bytes data)
{
    struct client_h1 *h = &c->h1;
    size_t used = 0;
    if (!h->current) {
        client_conn_fail(c, RC_CLOSED, "http/1.1: the server sent bytes that belong to no request");
        return;
    }
    if (h->broken)
        return;
    enum h1_parse_result result =
        h->response_done ? H1_PAUSED : h1_parser_run(&h->parser, &h1_settings, bytes_slice(data), &used);
    if (result == H1_BROKEN) {
        h->broken = true;
        if (used == 0 && begins_http2(bytes_slice(data)))
            client_stream_done(h->current, RC_UNSUPPORTED, "%s", "http/1.1: the server speaks HTTP/2");
        else
            client_stream_done(h->current, RC_CLOSED, "http/1.1: malformed response: %s",
                               h1_parser_error(&h->parser));
    }
    if (used < data.len)
        h->keep_alive = false; /* more than one response: do not trust the connection any further */
    client_conn_defer(c);
}

void client_h1_eof(struct client_conn *c)
{
    struct client_h1 *h = &c->h1;
    if (h->current && h->current->head_done && !h->response_done)
        h1_parser_eof(&h->parser, &h1_settings);
    client_conn_fail(c, RC_CLOSED, "%s",
                     "http/1.1: connection closed by the server before the response was complete");
}

void client_h1_consumed(struct client_conn *c, struct http_stream *s)
{
    if (c->h1.paused && s->unconsumed <= c->client->config.initial_stream_window / 2) {
        c->h1.paused = false;
        net_conn_resume(c->net);
    }
}

/* ---- request ---- */

void client_h1_assign(struct client_conn *c, struct http_stream *s)
{
    memset(&c->h1, 0, sizeof(c->h1));
    c->h1.current = s;
    h1_parser_start(&c->h1.parser, false, &h1_settings, c);
}

static void h1_emit(struct client_conn *c, struct writer *batch)
{
    if (batch->len)
        client_conn_send(c, writer_take(batch));
}

static void h1_write_head(struct client_conn *c, struct http_stream *s, struct writer *w)
{
    bool has_host = false, has_length = false;
    struct slice method = http_head_text(&s->head, s->method_off, s->method_len);
    writer_init(w, 1024);
    write_slice_raw(w, method);
    write_u8(w, ' ');
    write_slice_raw(w, http_head_text(&s->head, s->path_off, s->path_len));
    write_slice_raw(w, SLICE_LIT(" HTTP/1.1\r\n"));
    for (size_t i = 0; i < s->head.fields.len; i++) {
        const struct http_header *f = &s->head.headers[i];
        has_host = has_host || slice_eq_cstr(f->name, "host");
        has_length = has_length || slice_eq_cstr(f->name, "content-length");
        write_slice_raw(w, f->name);
        write_raw(w, ": ", 2);
        write_slice_raw(w, f->value);
        write_raw(w, "\r\n", 2);
    }
    if (!has_host) {
        write_slice_raw(w, SLICE_LIT("host: "));
        write_slice_raw(w, client_stream_authority(s));
        write_raw(w, "\r\n", 2);
    }
    bool no_body = s->out.ended && s->out.queue.total == 0 && slice_eq_cstr(method, "GET");
    c->h1.chunked = !no_body && !has_length;
    if (c->h1.chunked)
        write_slice_raw(w, SLICE_LIT("transfer-encoding: chunked\r\n"));
    write_raw(w, "\r\n", 2);
    c->h1.head_sent = true;
}

static void h1_write_item(struct client_conn *c, struct writer *batch, struct bytes item)
{
    if (c->h1.chunked)
        write_fmt(batch, "%zX\r\n", item.len);
    if (item.len < H1_COPY_BELOW) {
        write_raw(batch, item.ptr, item.len);
        bytes_unref(&item);
    } else {
        h1_emit(c, batch);
        client_conn_send(c, item);
    }
    if (c->h1.chunked)
        write_raw(batch, "\r\n", 2);
}

static void h1_write(struct client_conn *c, struct http_stream *s)
{
    struct client_h1 *h = &c->h1;
    struct writer batch = WRITER_INIT;
    if (!h->head_sent)
        h1_write_head(c, s, &batch);
    while (s->out.queue.count && net_conn_write_pending(c->net) <= NET_HIGH_WATER)
        h1_write_item(c, &batch, out_queue_take(&s->out.queue, SIZE_MAX));
    if (s->out.ended && s->out.queue.count == 0 && !h->end_sent) {
        h->end_sent = true;
        if (h->chunked)
            write_slice_raw(&batch, SLICE_LIT("0\r\n\r\n"));
    }
    h1_emit(c, &batch);
    if (s->out.above_water && s->out.queue.total < NET_LOW_WATER) {
        s->out.above_water = false;
        s->out.on_low(&s->out);
    }
}

void client_h1_run(struct client_conn *c)
{
    struct client_h1 *h = &c->h1;
    struct http_stream *s = h->current;
    if (!s)
        return;
    if (h->broken || s->aborted) {
        client_conn_fail(c, RC_CLOSED, "http/1.1: closed");
        return;
    }
    h1_write(c, s);
    if (!h->response_done || (h->keep_alive && !h->end_sent))
        return;
    client_stream_done(s, RC_OK, "%s", "");
    if (!h->keep_alive) {
        client_conn_fail(c, RC_CLOSED, "http/1.1: closed");
        return;
    }
    if (h->paused)
        net_conn_resume(c->net);
    h->paused = false;
    h->current = NULL;
    client_stream_release(s);
}

/* HTTP/2 with prior knowledge, server side, over nghttp2 (spec/ingress.md §2, spec/restatectl.md §3). */
#include <stdio.h>

#include "http/server_internal.h"

#define H2_CONNECTION_WINDOW  (1 << 20)
#define H2_STREAM_WINDOW      65535
#define H2_STREAM_WINDOW_MORE (1 << 20) /* for streams whose collected body turns out to be long */
#define H2_FIELD_OVERHEAD     32
#define H2_EARLY_MS           100

static struct server_conn *h2_conn(void *user_data)
{
    return CONTAINER_OF((struct h2_io *)user_data, struct server_conn, h2.io);
}

static struct http_request *h2_request(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- receiving ---- */

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct http_request *r = server_request_new(h2_conn(user_data));
    r->stream_id = frame->hd.stream_id;
    r->version = HTTP_2;
    nghttp2_session_set_stream_user_data(session, r->stream_id, r);
    return 0;
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *user_data)
{
    struct server_conn *c = h2_conn(user_data);
    struct http_request *r = h2_request(session, frame->hd.stream_id);
    if (!r || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers are dropped */
    struct slice n = slice_make(name, name_len), v = slice_make(value, value_len);
    r->body_received += name_len + value_len + H2_FIELD_OVERHEAD;
    if (r->body_received > c->server->config.max_header_list_bytes) {
        r->too_large = true;
        return 0;
    }
    if (name_len == 0 || name[0] != ':') {
        if (!(r->has_authority && slice_eq_cstr(n, "host")))
            http_head_add(&r->head, n, v);
    } else if (slice_eq_cstr(n, ":method")) {
        r->method_off = http_head_append(&r->head, value, value_len);
        r->method_len = (uint32_t)value_len;
    } else if (slice_eq_cstr(n, ":path")) {
        r->target_off = http_head_append(&r->head, value, value_len);
        r->target_len = (uint32_t)value_len;
    } else if (slice_eq_cstr(n, ":authority")) {
        r->has_authority = true;
        http_head_add(&r->head, SLICE_LIT("host"), v);
    }
    return 0;
}

static void h2_head_complete(struct server_conn *c, struct http_request *r, bool end_stream)
{
    r->body_received = 0; /* counted the head until now */
    if (r->too_large) {
        nghttp2_nv nv = {
            .name = (uint8_t *)":status", .namelen = 7, .value = (uint8_t *)"431", .valuelen = 3};
        r->body_complete = end_stream;
        nghttp2_submit_response(c->h2.io.session, r->stream_id, &nv, 1, NULL);
        server_conn_defer(c);
        return;
    }
    server_request_deliver(r);
    if (end_stream)
        server_request_body_end(r);
}

static int h2_on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct server_conn *c = h2_conn(user_data);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct http_request *r = h2_request(session, frame->hd.stream_id);
    bool end_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!r)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        h2_head_complete(c, r, end_stream);
    else if (end_stream && r->delivered)
        server_request_body_end(r);
    return 0;
}

static int h2_on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                            size_t len, void *user_data)
{
    struct server_conn *c = h2_conn(user_data);
    struct http_request *r = h2_request(session, stream_id);
    size_t done = len;
    if (r && r->delivered && len) {
        done = server_request_body(r, slice_make(data, len));
        if (r->mode == BODY_COLLECT && r->body_received >= H2_STREAM_WINDOW / 2 && r->body_rc == RC_OK)
            nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, stream_id,
                                                  H2_STREAM_WINDOW_MORE);
    }
    if (done)
        nghttp2_session_consume(session, stream_id, done);
    server_conn_defer(c);
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                              void *user_data)
{
    struct server_conn *c = h2_conn(user_data);
    struct http_request *r = h2_request(session, stream_id);
    if (!r)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (r->unconsumed)
        nghttp2_session_consume_connection(session, r->unconsumed);
    r->stream_closed = true;
    server_request_finish(r, r->end_sent);
    server_conn_defer(c);
    return 0;
}

static int h2_on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct http_request *r = h2_request(session, frame->hd.stream_id);
    if (!r)
        return 0;
    struct server_conn *c = h2_conn(user_data);
    r->end_sent = true;
    if (!r->body_complete && !env_timer_armed(&c->linger))
        env_timer_arm(c->env, &c->linger, H2_EARLY_MS);
    return 0;
}

/* Streams that were answered before their body was read: the client need not send the rest (RFC 9113 §8.1).
 * It is told only after a while, because some (curl 7.88) forget the response when the reset comes together
 * with it. */
void server_h2_reset_early(struct server_conn *c)
{
    LIST_FOREACH(node, &c->requests)
    {
        struct http_request *r = CONTAINER_OF(node, struct http_request, link);
        if (r->end_sent && !r->body_complete)
            nghttp2_submit_rst_stream(c->h2.io.session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
    }
    server_conn_defer(c);
}

nghttp2_session_callbacks *server_h2_callbacks(void)
{
    nghttp2_session_callbacks *cbs;
    ASSERT(nghttp2_session_callbacks_new(&cbs) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, h2_on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, h2_on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, h2_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, h2_on_frame_send);
    h2_io_set_callbacks(cbs);
    return cbs;
}

/* ---- connection ---- */

static void h2_net_send(struct h2_io *io, struct bytes take)
{
    net_conn_write(h2_conn(io)->net, take);
}

static size_t h2_net_pending(struct h2_io *io)
{
    return net_conn_write_pending(h2_conn(io)->net);
}

void server_h2_start(struct server_conn *c)
{
    struct http_server *s = c->server;
    c->h2.io.send = h2_net_send;
    c->h2.io.pending = h2_net_pending;
    ASSERT(nghttp2_session_server_new2(&c->h2.io.session, s->h2_callbacks, &c->h2.io, s->h2_option) == 0);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->config.max_concurrent_streams},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->config.max_header_list_bytes},
    };
    nghttp2_submit_settings(c->h2.io.session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(c->h2.io.session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
    server_conn_defer(c);
}

void server_h2_stop(struct server_conn *c)
{
    h2_io_free(&c->h2.io);
}

void server_h2_input(struct server_conn *c, struct bytes data)
{
    c->h2.receiving = true;
    ssize_t n = nghttp2_session_mem_recv(c->h2.io.session, data.ptr, data.len);
    c->h2.receiving = false;
    if (n < 0)
        c->failed = true;
    server_conn_defer(c); /* acknowledgements, window updates, a GOAWAY that says what was wrong */
}

static void h2_deliver_due(struct server_conn *c)
{
    LIST_FOREACH_SAFE(node, tmp, &c->requests)
    {
        struct http_request *r = CONTAINER_OF(node, struct http_request, link);
        if (r->delivered)
            server_request_deliver_due(r);
    }
}

void server_h2_run(struct server_conn *c)
{
    nghttp2_session *session = c->h2.io.session;
    h2_deliver_due(c);
    if (!h2_io_flush(&c->h2.io)) {
        c->failed = true;
        server_conn_close(c);
        return;
    }
    if (c->eof) {
        server_conn_close(c);
        return;
    }
    bool over = !nghttp2_session_want_read(session) && !nghttp2_session_want_write(session);
    if (over || c->failed || (c->h2.goaway_sent && list_empty(&c->requests)))
        server_conn_linger(c);
}

void server_h2_drain(struct server_conn *c)
{
    nghttp2_session *session = c->h2.io.session;
    if (c->closing || c->h2.goaway_sent)
        return;
    c->h2.goaway_sent = true;
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    server_conn_defer(c);
}

void server_h2_want_body(struct http_request *r)
{
    if (!r->expect_continue || r->body_complete || r->started || r->stream_closed)
        return;
    nghttp2_nv nv = {.name = (uint8_t *)":status", .namelen = 7, .value = (uint8_t *)"100", .valuelen = 3};
    nghttp2_submit_headers(r->conn->h2.io.session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1, NULL);
    server_conn_defer(r->conn);
}

void server_h2_consumed(struct http_request *r, size_t n)
{
    if (r->stream_closed)
        return; /* given back when the stream closed */
    nghttp2_session_consume(r->conn->h2.io.session, r->stream_id, n);
    server_conn_defer(r->conn);
}

/* ---- responses ---- */

void server_h2_response_head(struct http_request *r, int status, const struct http_header *headers, size_t n,
                             int64_t content_length, bool end)
{
    struct http_server *s = r->conn->server;
    struct h2_nv_list *nv = &s->nv;
    char status_text[8], length_text[24];
    bool has_date = false;
    if (r->stream_closed)
        return;
    snprintf(status_text, sizeof(status_text), "%d", status);
    nv->len = 0;
    h2_nv_add(nv, SLICE_LIT(":status"), slice_cstr(status_text));
    for (size_t i = 0; i < n; i++) {
        const struct http_header *h = &headers[i];
        if (!http_header_is_sane(h) || http_header_is_hop_by_hop(h->name))
            continue;
        if (slice_eq_cstr(h->name, "content-length") && (r->ended || status == 204))
            continue;
        has_date = has_date || slice_eq_cstr(h->name, "date");
        h2_nv_add(nv, h->name, h->value);
    }
    if (content_length >= 0) {
        snprintf(length_text, sizeof(length_text), "%lld", (long long)content_length);
        h2_nv_add(nv, SLICE_LIT("content-length"), slice_cstr(length_text));
    }
    if (!has_date)
        h2_nv_add(nv, SLICE_LIT("date"), slice_cstr(server_date(s)));
    nghttp2_data_provider body = h2_out_provider(&r->out);
    nghttp2_submit_response(r->conn->h2.io.session, r->stream_id, nv->items, nv->len, end ? NULL : &body);
}

void server_h2_response_more(struct http_request *r)
{
    if (r->stream_closed || !r->out.deferred)
        return;
    r->out.deferred = false;
    nghttp2_session_resume_data(r->conn->h2.io.session, r->stream_id);
}

void server_h2_abort(struct http_request *r)
{
    if (r->stream_closed)
        return;
    nghttp2_submit_rst_stream(r->conn->h2.io.session, NGHTTP2_FLAG_NONE, r->stream_id,
                              NGHTTP2_INTERNAL_ERROR);
}

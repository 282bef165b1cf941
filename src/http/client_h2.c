/* HTTP/2, client side, over nghttp2 with manual flow control (spec/service-protocol.md §3.3). */
#include "http/client_internal.h"

static struct client_conn *h2_conn(void *user_data)
{
    return CONTAINER_OF((struct h2_io *)user_data, struct client_conn, h2.io);
}

static struct http_stream *h2_stream(nghttp2_session *session, int32_t stream_id)
{
    return stream_id ? nghttp2_session_get_stream_user_data(session, stream_id) : NULL;
}

/* ---- receiving ---- */

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct http_stream *s = h2_stream(session, frame->hd.stream_id);
    if (s && (!s->head_done || s->ops.on_trailers)) {
        http_head_reset(&s->response); /* after the head: trailers, if somebody wants them */
        s->status = s->head_done ? s->status : 0;
    }
    return 0;
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *user_data)
{
    struct http_stream *s = h2_stream(session, frame->hd.stream_id);
    struct slice n = slice_make(name, name_len);
    if (!s || s->done || (s->head_done && !s->ops.on_trailers) || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (slice_eq_cstr(n, ":status")) {
        for (size_t i = 0; i < value_len; i++)
            s->status = s->status * 10 + (value[i] - '0'); /* nghttp2 has checked that it is three digits */
    } else {
        http_head_add(&s->response, n, slice_make(value, value_len));
    }
    return 0;
}

static void h2_response_head(struct http_stream *s)
{
    if (s->head_done && !s->done && s->ops.on_trailers) {
        http_head_resolve(&s->response);
        s->ops.on_trailers(s->ctx, s, s->response.headers, s->response.fields.len);
    }
    if (s->head_done || s->done || s->status < 200)
        return;
    s->head_done = true;
    http_head_resolve(&s->response);
    s->ops.on_head(s->ctx, s, s->status, HTTP_2, s->response.headers, s->response.fields.len);
}

static void h2_on_goaway(struct client_conn *c, const nghttp2_frame *frame)
{
    c->h2.goaway_received = true;
    c->h2.goaway_error = frame->goaway.error_code;
    c->retiring = true; /* streams above last_stream_id are closed by nghttp2 as REFUSED_STREAM */
    client_endpoint_touch(c->endpoint);
}

static void h2_on_settings(struct client_conn *c, nghttp2_session *session)
{
    uint32_t limit = nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    c->max_streams = MIN(c->client->config.streams_per_connection, limit);
    client_endpoint_touch(c->endpoint);
}

static int h2_on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct client_conn *c = h2_conn(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        h2_on_goaway(c, frame);
    } else if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        h2_on_settings(c, session);
    } else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        c->h2.ping_outstanding = false;
        env_timer_cancel(c->env, &c->keep_alive_timer); /* the task arms the next interval */
    } else if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        struct http_stream *s = h2_stream(session, frame->hd.stream_id);
        if (s && frame->hd.type == NGHTTP2_HEADERS)
            h2_response_head(s);
        if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !s->response_ended) {
            s->response_ended = true;
            if (!s->done)
                s->ops.on_end(s->ctx, s);
        }
    }
    return 0;
}

static int h2_on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                            size_t len, void *user_data)
{
    struct client_conn *c = h2_conn(user_data);
    struct http_stream *s = h2_stream(session, stream_id);
    if (!s || s->done) {
        nghttp2_session_consume(session, stream_id, len);
        return 0;
    }
    struct bytes chunk = bytes_part(c->input, slice_make(data, len));
    s->unconsumed += len;
    s->ops.on_data(s->ctx, s, chunk);
    bytes_unref(&chunk);
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                              void *user_data)
{
    struct client_conn *c = h2_conn(user_data);
    struct http_stream *s = h2_stream(session, stream_id);
    if (!s)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (s->unconsumed)
        nghttp2_session_consume_connection(session, s->unconsumed);
    if (s->response_ended)
        client_stream_done(s, RC_OK, "%s", "");
    else if (c->h2.goaway_received && error_code == NGHTTP2_REFUSED_STREAM)
        client_stream_done(s, RC_UNAVAILABLE, "h2 GOAWAY %s: the stream was not processed",
                           nghttp2_http2_strerror(c->h2.goaway_error));
    else if (error_code == NGHTTP2_REFUSED_STREAM)
        client_stream_done(s, RC_UNAVAILABLE, "h2 REFUSED_STREAM");
    else
        client_stream_done(s, RC_CLOSED, "h2 stream reset: %s", nghttp2_http2_strerror(error_code));
    client_stream_release(s);
    return 0;
}

static int h2_on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h2_conn(user_data)->h2.error_sent = frame->goaway.error_code;
    return 0;
}

nghttp2_session_callbacks *client_h2_callbacks(void)
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

nghttp2_option *client_h2_option(const struct http_client_config *config)
{
    nghttp2_option *option;
    ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, config->initial_max_send_streams);
    nghttp2_option_set_max_reserved_remote_streams(option, 0); /* server push is refused */
    return option;
}

/* ---- connection ---- */

static void h2_net_send(struct h2_io *io, struct bytes take)
{
    client_conn_send(h2_conn(io), take);
}

static size_t h2_net_pending(struct h2_io *io)
{
    return net_conn_write_pending(h2_conn(io)->net);
}

void client_h2_start(struct client_conn *c)
{
    const struct http_client_config *config = &c->client->config;
    c->h2.io.send = h2_net_send;
    c->h2.io.pending = h2_net_pending;
    ASSERT(nghttp2_session_client_new2(&c->h2.io.session, c->client->h2_callbacks, &c->h2.io,
                                       c->client->h2_option) == 0);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, config->initial_stream_window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, config->max_frame_size},
    };
    nghttp2_submit_settings(c->h2.io.session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(c->h2.io.session, NGHTTP2_FLAG_NONE, 0,
                                          (int32_t)config->initial_connection_window);
    c->max_streams = MIN(config->streams_per_connection, config->initial_max_send_streams);
}

void client_h2_stop(struct client_conn *c, bool goodbye)
{
    if (goodbye) {
        nghttp2_session_terminate_session(c->h2.io.session, NGHTTP2_NO_ERROR);
        h2_io_flush(&c->h2.io);
    }
    h2_io_free(&c->h2.io);
}

void client_h2_assign(struct client_conn *c, struct http_stream *s)
{
    struct h2_nv_list *nv = &c->client->nv;
    nv->len = 0;
    h2_nv_add(nv, SLICE_LIT(":method"), http_head_text(&s->head, s->method_off, s->method_len));
    h2_nv_add(nv, SLICE_LIT(":scheme"), c->tls ? SLICE_LIT("https") : SLICE_LIT("http"));
    h2_nv_add(nv, SLICE_LIT(":authority"), client_stream_authority(s));
    h2_nv_add(nv, SLICE_LIT(":path"), http_head_text(&s->head, s->path_off, s->path_len));
    for (size_t i = 0; i < s->head.fields.len; i++) {
        if (!slice_eq_cstr(s->head.headers[i].name, "host"))
            h2_nv_add(nv, s->head.headers[i].name, s->head.headers[i].value);
    }
    nghttp2_data_provider body = h2_out_provider(&s->out);
    bool no_body = s->out.ended && s->out.queue.total == 0;
    s->stream_id =
        nghttp2_submit_request(c->h2.io.session, NULL, nv->items, nv->len, no_body ? NULL : &body, s);
    if (s->stream_id > 0)
        return;
    if (s->stream_id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
        c->retiring = true; /* after a billion streams */
    client_stream_done(s, RC_UNAVAILABLE, "h2: %s", nghttp2_strerror(s->stream_id));
    client_stream_release(s);
}

void client_h2_input(struct client_conn *c, struct bytes data)
{
    if (!c->h2.seen_input) {
        c->h2.seen_input = true;
        /* The first frame is SETTINGS, so the first byte (length >> 16) is 0. An HTTP/1 server answers
         * "HTTP/1.1 400"; read as a frame header that is one of 4.7 MB. */
        if (data.ptr[0] != 0) {
            client_conn_fail(c, RC_UNSUPPORTED, "h2 FRAME_SIZE_ERROR: the server does not speak HTTP/2");
            return;
        }
    }
    ssize_t n = nghttp2_session_mem_recv(c->h2.io.session, data.ptr, data.len);
    if (n < 0) {
        client_conn_fail(c, RC_CLOSED, "h2: %s", nghttp2_strerror((int)n));
        return;
    }
    client_conn_defer(c);
}

void client_h2_eof(struct client_conn *c)
{
    if (c->h2.goaway_received)
        client_conn_fail(c, RC_CLOSED, "h2 GOAWAY %s, connection closed by the server",
                         nghttp2_http2_strerror(c->h2.goaway_error));
    else
        client_conn_fail(c, RC_CLOSED, "h2: connection closed by the server");
}

void client_h2_run(struct client_conn *c)
{
    nghttp2_session *session = c->h2.io.session;
    if (!h2_io_flush(&c->h2.io)) {
        client_conn_fail(c, RC_CLOSED, "h2: the session is broken");
        return;
    }
    if (nghttp2_session_want_read(session) || nghttp2_session_want_write(session))
        return;
    c->retiring = true;
    if (c->n_streams > 0)
        client_conn_fail(c, RC_CLOSED, "h2 %s: the server broke the protocol",
                         nghttp2_http2_strerror(c->h2.error_sent));
}

void client_h2_more(struct http_stream *s)
{
    if (!s->out.deferred)
        return;
    s->out.deferred = false;
    nghttp2_session_resume_data(s->conn->h2.io.session, s->stream_id);
}

void client_h2_consumed(struct http_stream *s, size_t n)
{
    nghttp2_session_consume(s->conn->h2.io.session, s->stream_id, n);
    client_conn_defer(s->conn);
}

void client_h2_reset(struct http_stream *s)
{
    nghttp2_submit_rst_stream(s->conn->h2.io.session, NGHTTP2_FLAG_NONE, s->stream_id, NGHTTP2_CANCEL);
}

/* HTTP/1.0 and HTTP/1.1, server side: parsing, pipelining, response framing (spec/ingress.md §2).
 *
 * One request at a time: once it is complete the parser pauses and later input is stashed until the response
 * was written. Responses are written by the connection's task, when all input of the iteration has been
 * parsed; that is when it is known whether an early answer must close the connection. */
#include "http/server_internal.h"

#define H1_COPY_BELOW 4096u

static int h1_refuse(struct server_conn *c, int status)
{
    c->h1.reject_status = status;
    return -1;
}

static int h1_on_message_begin(h1_parser *p)
{
    struct server_conn *c = p->data;
    struct server_h1 *h = &c->h1;
    ASSERT(h->current == NULL);
    h->current = server_request_new(c);
    h->pieces.begun = h->pieces.in_value = h->in_trailers = h->continue_sent = false;
    h->head_bytes = 0;
    h->reject_status = 0;
    return 0;
}

static int h1_on_url(h1_parser *p, const char *at, size_t len)
{
    struct server_conn *c = p->data;
    struct http_request *r = c->h1.current;
    if (r->target_len + len > c->server->config.max_target_bytes)
        return h1_refuse(c, 414);
    uint32_t off = http_head_append(&r->head, at, len);
    if (r->target_len == 0)
        r->target_off = off;
    r->target_len += (uint32_t)len;
    return 0;
}

/* The parser lets blanks within names pass; who does not (RFC 9112 §5.1) would see another message. */
static bool h1_is_field_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return name.len > 0;
}

/* The field that was being received is complete. */
static int h1_end_field(struct server_conn *c)
{
    struct server_h1 *h = &c->h1;
    struct http_head *head = &h->current->head;
    if (!h->pieces.begun)
        return 0;
    if (!h1_is_field_name(http_head_text(head, h->pieces.field.name, h->pieces.field.name_len)))
        return h1_refuse(c, 400);
    if (head->fields.len >= c->server->config.max_header_fields)
        return h1_refuse(c, 431);
    http_head_end_pieces(head, &h->pieces);
    return 0;
}

static int h1_count_head(struct server_conn *c, size_t len)
{
    c->h1.head_bytes += len;
    return c->h1.head_bytes > c->server->config.max_header_bytes ? h1_refuse(c, 431) : 0;
}

static int h1_on_header_field(h1_parser *p, const char *at, size_t len)
{
    struct server_conn *c = p->data;
    struct server_h1 *h = &c->h1;
    if (h->in_trailers)
        return h1_count_head(c, len);
    if (h->pieces.in_value && h1_end_field(c) != 0)
        return -1;
    if (h1_count_head(c, len + (h->pieces.begun ? 0 : 4)) != 0)
        return -1;
    http_head_name_piece(&h->current->head, &h->pieces, at, len);
    return 0;
}

static int h1_on_header_value(h1_parser *p, const char *at, size_t len)
{
    struct server_conn *c = p->data;
    struct server_h1 *h = &c->h1;
    if (h1_count_head(c, len) != 0)
        return -1;
    if (!h->in_trailers)
        http_head_value_piece(&h->current->head, &h->pieces, at, len);
    return 0;
}

/* Chunked wins over content-length, which must not be seen any more then (RFC 9112 §6.3). */
static void h1_drop_content_length(struct http_head *head)
{
    size_t kept = 0;
    for (size_t i = 0; i < head->fields.len; i++) {
        struct http_head_field f = head->fields.items[i];
        if (!slice_eq_cstr(http_head_text(head, f.name, f.name_len), "content-length"))
            head->fields.items[kept++] = f;
    }
    head->fields.len = kept;
    http_head_resolve(head);
}

/* How the body is framed. False if that cannot be told. */
static bool h1_frame_body(struct http_request *r, h1_parser *p)
{
    if (!http_request_header(r, "transfer-encoding").ptr)
        return true;
    if (r->version == HTTP_1_0 || !h1_parser_is_chunked(p))
        return false;
    if (http_request_header(r, "content-length").ptr) {
        h1_drop_content_length(&r->head);
        r->conn->h1.keep_alive = false; /* such a connection is not trusted any further */
    }
    return true;
}

static int h1_on_headers_complete(h1_parser *p)
{
    struct server_conn *c = p->data;
    struct server_h1 *h = &c->h1;
    struct http_request *r = h->current;
    if (h1_end_field(c) != 0)
        return -1;
    if (p->http_major != 1 || p->http_minor > 1)
        return h1_refuse(c, 400);
    h1_parser_ignore_upgrade(p);
    const char *method = h1_parser_method(p);
    r->method_len = (uint32_t)strlen(method);
    r->method_off = http_head_append(&r->head, method, r->method_len);
    r->version = p->http_minor == 1 ? HTTP_1_1 : HTTP_1_0;
    h->in_trailers = true;
    h->keep_alive = h1_parser_keep_alive(p);
    http_head_resolve(&r->head);
    if (!h1_frame_body(r, p))
        return h1_refuse(c, 400);
    server_request_deliver(r);
    return 0;
}

static int h1_on_body(h1_parser *p, const char *at, size_t len)
{
    struct server_conn *c = p->data;
    struct http_request *r = c->h1.current;
    server_request_body(r, slice_make(at, len));
    if (r->mode == BODY_STREAM && r->unconsumed > SERVER_STREAM_WINDOW && !c->h1.paused) {
        c->h1.paused = true;
        net_conn_pause(c->net);
    }
    return 0;
}

static int h1_on_message_complete(h1_parser *p)
{
    struct server_conn *c = p->data;
    c->h1.blocked = true;
    server_request_body_end(c->h1.current);
    return h1_parser_pause_here(p);
}

static const h1_parser_settings h1_settings = {
    .on_message_begin = h1_on_message_begin,
    .on_url = h1_on_url,
    .on_header_field = h1_on_header_field,
    .on_header_value = h1_on_header_value,
    .on_headers_complete = h1_on_headers_complete,
    .on_body = h1_on_body,
    .on_message_complete = h1_on_message_complete,
};

void server_h1_start(struct server_conn *c)
{
    out_queue_init(&c->h1.stash);
    h1_parser_start(&c->h1.parser, true, &h1_settings, c);
}

void server_h1_stop(struct server_conn *c)
{
    out_queue_clear(&c->h1.stash);
    c->h1.current = NULL;
}

bool server_h1_idle(const struct server_conn *c)
{
    return c->kind == CONN_H1 && (!c->h1.current || !c->h1.current->delivered);
}

/* Answer without a handler: the head cannot be used. Empty body, then close. */
static void h1_reject(struct server_conn *c, int status)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "HTTP/1.1 %d %s\r\ncontent-length: 0\r\nconnection: close\r\ndate: %s\r\n\r\n", status,
              http_reason(status), server_date(c->server));
    net_conn_write(c->net, writer_take(&w));
    if (c->h1.current) {
        server_request_free(c->h1.current);
        c->h1.current = NULL;
    }
    c->failed = true;
    server_conn_linger(c);
}

static void h1_on_broken(struct server_conn *c)
{
    struct server_h1 *h = &c->h1;
    h->broken = true;
    if (!h->current || !h->current->delivered) {
        h1_reject(c, h->reject_status ? h->reject_status : 400);
        return;
    }
    c->failed = true;
    h->close_after = true;
    if (!server_request_body_broken(h->current))
        server_conn_close(c); /* stream mode has no way to tell: on_finished(false) follows */
    else
        server_conn_defer(c);
}

/* Returns how much was consumed: all, or up to the end of the message. */
static size_t h1_feed(struct server_conn *c, struct slice in)
{
    size_t consumed = 0;
    if (h1_parser_run(&c->h1.parser, &h1_settings, in, &consumed) == H1_BROKEN) {
        h1_on_broken(c);
        return in.len;
    }
    return consumed;
}

void server_h1_input(struct server_conn *c, struct bytes data)
{
    struct server_h1 *h = &c->h1;
    if (h->broken)
        return;
    size_t used = h->blocked ? 0 : h1_feed(c, bytes_slice(data));
    if (used < data.len)
        out_queue_push(&h->stash, bytes_part(data, slice_sub(bytes_slice(data), used, data.len - used)));
    if (h->stash.total > SERVER_STASH_LIMIT && !h->paused) {
        h->paused = true;
        net_conn_pause(c->net);
    }
}

/* Feed what was held back while a request was being answered. */
static void h1_unstash(struct server_conn *c)
{
    struct server_h1 *h = &c->h1;
    while (h->stash.count && !h->blocked && !h->broken && !c->lingering && !c->closing) {
        struct bytes data = bytes_ref(*out_queue_front(&h->stash));
        c->input = data;
        size_t used = h1_feed(c, bytes_slice(data));
        c->input = BYTES_EMPTY;
        bytes_unref(&data);
        ASSERT(used > 0);
        data = out_queue_take(&h->stash, used);
        bytes_unref(&data);
    }
    if (h->paused && h->stash.total <= SERVER_STASH_LIMIT &&
        !(h->current && h->current->unconsumed > SERVER_STREAM_WINDOW)) {
        h->paused = false;
        net_conn_resume(c->net);
    }
}

void server_h1_want_body(struct http_request *r)
{
    struct server_conn *c = r->conn;
    if (!r->expect_continue || r->version != HTTP_1_1 || r->body_complete || r->started ||
        c->h1.continue_sent)
        return;
    c->h1.continue_sent = true;
    net_conn_write(c->net, bytes_static(SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n")));
}

void server_h1_consumed(struct http_request *r)
{
    struct server_h1 *h = &r->conn->h1;
    if (h->paused && r->unconsumed <= SERVER_STREAM_WINDOW / 2 && h->stash.total <= SERVER_STASH_LIMIT) {
        h->paused = false;
        net_conn_resume(r->conn->net);
    }
}

/* ---- responses ---- */

void server_h1_response_head(struct http_request *r, int status, const struct http_header *headers, size_t n,
                             int64_t content_length)
{
    struct writer *w = &r->head_out;
    bool has_date = false, whole = r->ended;
    writer_init(w, 512);
    write_fmt(w, "HTTP/1.%d %d %s\r\n", r->version == HTTP_1_0 ? 0 : 1, status, http_reason(status));
    for (size_t i = 0; i < n; i++) {
        const struct http_header *h = &headers[i];
        if (!http_header_is_sane(h) || http_header_is_hop_by_hop(h->name))
            continue;
        if (slice_eq_cstr(h->name, "content-length")) {
            uint64_t length = 0;
            if (whole || status == 204)
                continue;
            for (size_t k = 0; k < h->value.len && k < 18; k++)
                length = length * 10 + (h->value.ptr[k] - (uint64_t)'0');
            r->has_length = true;
            r->length_left = length;
        }
        has_date = has_date || slice_eq_cstr(h->name, "date");
        write_slice_raw(w, h->name);
        write_raw(w, ": ", 2);
        write_slice_raw(w, h->value);
        write_raw(w, "\r\n", 2);
    }
    if (content_length >= 0) {
        write_fmt(w, "content-length: %lld\r\n", (long long)content_length);
    } else if (!whole && !r->bodyless && !r->has_length) {
        r->chunked = r->version == HTTP_1_1;
        r->until_close = !r->chunked;
        if (r->chunked)
            write_slice_raw(w, SLICE_LIT("transfer-encoding: chunked\r\n"));
    }
    if (!has_date)
        write_fmt(w, "date: %s\r\n", server_date(r->conn->server));
}

static void h1_emit(struct server_conn *c, struct writer *batch)
{
    if (batch->len)
        net_conn_write(c->net, writer_take(batch));
}

static void h1_write_head(struct http_request *r, struct writer *batch)
{
    struct server_h1 *h = &r->conn->h1;
    if (!h->keep_alive || h->broken || r->until_close || r->conn->server->draining ||
        (r->ended && !r->body_complete))
        h->close_after = true;
    *batch = r->head_out;
    r->head_out = WRITER_INIT;
    r->head_sent = true;
    if (h->close_after)
        write_slice_raw(batch, SLICE_LIT("connection: close\r\n"));
    else if (r->version == HTTP_1_0)
        write_slice_raw(batch, SLICE_LIT("connection: keep-alive\r\n"));
    write_raw(batch, "\r\n", 2);
}

static void h1_write_item(struct http_request *r, struct writer *batch, struct bytes item)
{
    size_t len = item.len;
    if (r->chunked)
        write_fmt(batch, "%zx\r\n", len);
    if (r->has_length)
        r->length_left -= len; /* an overrun wraps and is found at the end */
    if (len < H1_COPY_BELOW) {
        write_raw(batch, item.ptr, len);
        bytes_unref(&item);
    } else {
        h1_emit(r->conn, batch);
        net_conn_write(r->conn->net, item);
    }
    if (r->chunked)
        write_raw(batch, "\r\n", 2);
}

static void h1_write_end(struct http_request *r, struct writer *batch)
{
    if (!r->chunked)
        return;
    write_raw(batch, "0\r\n", 3);
    http_head_resolve(&r->out.trailers);
    for (size_t i = 0; i < r->out.trailers.fields.len; i++) {
        write_slice_raw(batch, r->out.trailers.headers[i].name);
        write_raw(batch, ": ", 2);
        write_slice_raw(batch, r->out.trailers.headers[i].value);
        write_raw(batch, "\r\n", 2);
    }
    write_raw(batch, "\r\n", 2);
}

/* Write what the socket's queue has room for. True once the response is complete. */
static bool h1_write(struct http_request *r)
{
    struct server_conn *c = r->conn;
    struct writer batch = WRITER_INIT;
    if (!r->head_sent)
        h1_write_head(r, &batch);
    while (r->out.queue.count && net_conn_write_pending(c->net) <= NET_HIGH_WATER)
        h1_write_item(r, &batch, out_queue_take(&r->out.queue, SIZE_MAX));
    bool complete = r->ended && r->out.queue.count == 0;
    if (complete)
        h1_write_end(r, &batch);
    h1_emit(c, &batch);
    if (r->out.above_water && r->out.queue.total < NET_LOW_WATER) {
        r->out.above_water = false;
        r->out.on_low(&r->out);
    }
    return complete;
}

/* The current response is out. Go on with the next request, or close. */
static void h1_next(struct server_conn *c)
{
    struct server_h1 *h = &c->h1;
    struct http_request *r = h->current;
    bool keep = !h->close_after && !h->broken && r->body_complete && !c->server->draining;
    bool truncated = r->has_length && !r->bodyless && r->length_left != 0;
    h->current = NULL;
    server_request_finish(r, !truncated);
    if (truncated) {
        server_conn_close(c);
    } else if (!keep) {
        server_conn_linger(c);
    } else {
        h->blocked = false;
        h1_parser_unpause(&h->parser);
        h1_unstash(c);
    }
}

void server_h1_run(struct server_conn *c)
{
    struct server_h1 *h = &c->h1;
    while (h->current && h->current->delivered && !c->closing) {
        struct http_request *r = h->current;
        server_request_deliver_due(r);
        if (r->out.aborted) {
            server_conn_close(c);
            return;
        }
        if (!r->started || !h1_write(r))
            break;
        h1_next(c);
    }
    if (!c->eof || c->lingering || c->closing)
        return;
    /* The peer has finished sending and is taken for gone, except that what was already answered is still
     * written. */
    if (!h->current || !h->current->ended)
        server_conn_close(c);
}

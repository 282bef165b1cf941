/* HTTP server engine: connections, protocol sniffing, the parts of a request that do not depend on the HTTP
 * version, draining (http/server.h, spec/ingress.md §1.4, §2). */
#include "http/server_internal.h"

#include "base/log.h"
#include "base/time.h"

#define H2_PREFACE          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define LINGER_MS           1000
#define LINGER_TIMES        30
#define DRAIN_POLL_MS       10
#define SPARE_REQUESTS      128
#define COLLECT_FIRST_BYTES (64u << 10)
#define COLLECT_TRUST_BYTES (1u << 20) /* a content-length up to this is reserved at once */

void http_server_config_default(struct http_server_config *c)
{
    *c = (struct http_server_config){.max_concurrent_streams = 200,
                                     .max_header_list_bytes = 16384,
                                     .max_header_fields = 100,
                                     .max_header_bytes = 512u << 10,
                                     .max_target_bytes = 65534};
}

/* ---- requests ---- */

static void request_on_low(struct h2_out *out)
{
    struct http_request *r = CONTAINER_OF(out, struct http_request, out);
    r->writable_due = true;
    server_conn_defer(r->conn);
}

struct http_request *server_request_new(struct server_conn *c)
{
    struct list *node = list_pop_front(&c->server->spare_requests);
    struct http_request *r;
    struct http_head head = {0};
    if (node) {
        c->server->spare_count--;
        r = CONTAINER_OF(node, struct http_request, link);
        head = r->head;
        http_head_reset(&head);
    } else {
        r = xmalloc(sizeof(*r));
    }
    memset(r, 0, sizeof(*r));
    r->magic = SERVER_REQUEST_MAGIC;
    r->head = head;
    r->conn = c;
    r->content_length = -1;
    h2_out_init(&r->out, request_on_low);
    list_push_back(&c->requests, &r->link);
    return r;
}

static void request_drop_body(struct http_request *r)
{
    writer_free(&r->body);
    bytes_unref(&r->body_one);
}

void server_request_free(struct http_request *r)
{
    struct http_server *s = r->conn->server;
    ASSERT(r->magic == SERVER_REQUEST_MAGIC);
    list_remove(&r->link);
    request_drop_body(r);
    writer_free(&r->head_out);
    h2_out_free(&r->out);
    r->magic = 0;
    if (s && s->spare_count < SPARE_REQUESTS) {
        s->spare_count++;
        list_push_back(&s->spare_requests, &r->link);
    } else {
        http_head_free(&r->head);
        free(r);
    }
}

/* INT64_MAX stands for all that is longer. */
static int64_t parse_content_length(struct slice v)
{
    int64_t n = 0;
    if (v.len == 0)
        return -1;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return -1;
        n = n > (INT64_MAX - 9) / 10 ? INT64_MAX : n * 10 + (v.ptr[i] - '0');
    }
    return n;
}

static bool announces_body(const struct http_request *r)
{
    if (r->content_length >= 0)
        return r->content_length > 0;
    return r->version == HTTP_2 || http_request_header(r, "transfer-encoding").ptr;
}

struct slice server_reduce_target(struct slice t)
{
    ptrdiff_t hash = slice_find(t, '#', 0);
    if (hash >= 0)
        t.len = (size_t)hash;
    if (t.len == 0 || t.ptr[0] == '/')
        return t;
    for (size_t i = 0; i + 3 <= t.len && t.ptr[i] != '/' && t.ptr[i] != '?'; i++) {
        if (memcmp(t.ptr + i, "://", 3) != 0)
            continue;
        struct slice rest = slice_sub(t, i + 3, t.len - i - 3);
        ptrdiff_t slash = slice_find(rest, '/', 0);
        return slash < 0 ? SLICE_LIT("/") : slice_sub(rest, (size_t)slash, rest.len - (size_t)slash);
    }
    return t;
}

void server_request_deliver(struct http_request *r)
{
    struct http_server *s = r->conn->server;
    http_head_resolve(&r->head);
    r->method = http_head_text(&r->head, r->method_off, r->method_len);
    r->target = http_head_text(&r->head, r->target_off, r->target_len);
    bool is_connect = slice_eq_cstr(r->method, "CONNECT");
    r->target = is_connect ? slice_make("", 0) : server_reduce_target(r->target);
    r->is_head = slice_eq_cstr(r->method, "HEAD");
    r->content_length = parse_content_length(http_request_header(r, "content-length"));
    struct slice expect = http_request_header(r, "expect");
    r->expect_continue =
        expect.ptr && slice_eq_nocase(expect, SLICE_LIT("100-continue")) && announces_body(r);
    r->delivered = true;
    s->in_progress++;
    s->callback_depth++;
    s->ops.on_request(s->ctx, r);
    s->callback_depth--;
    if (r->mode == BODY_UNDECIDED)
        r->mode = BODY_DISCARD;
}

static void deliver_body(struct http_request *r, enum rc rc)
{
    struct bytes body = rc == RC_OK ? r->body_one : BYTES_EMPTY;
    if (r->body_delivered)
        return;
    r->body_delivered = true;
    if (rc == RC_OK && r->body.len) {
        body = writer_take(&r->body);
        r->body_one = body;
    }
    if (r->ops.on_body)
        r->ops.on_body(r, rc, body);
    request_drop_body(r);
}

/* Collect: keep a reference while there is one piece, copy from the second piece on. */
static void collect_append(struct http_request *r, struct slice data)
{
    if (data.len > r->limit - MIN(r->limit, r->body_received)) {
        r->body_rc = RC_TOO_LARGE;
        request_drop_body(r);
        deliver_body(r, RC_TOO_LARGE);
        return;
    }
    r->body_received += data.len;
    if (r->body_one.len == 0 && r->body.len == 0) {
        r->body_one = bytes_part(r->conn->input, data);
        return;
    }
    if (r->body_one.len) {
        size_t expected = r->content_length > 0 ? (size_t)MIN(r->content_length, (int64_t)r->limit) : 0;
        writer_init(&r->body, MAX(MIN(expected, COLLECT_TRUST_BYTES), COLLECT_FIRST_BYTES));
        write_slice_raw(&r->body, bytes_slice(r->body_one));
        bytes_unref(&r->body_one);
    }
    write_slice_raw(&r->body, data);
}

size_t server_request_body(struct http_request *r, struct slice data)
{
    if (r->mode == BODY_STREAM) {
        struct bytes chunk = bytes_part(r->conn->input, data);
        r->unconsumed += data.len;
        if (r->ops.on_chunk)
            r->ops.on_chunk(r, chunk);
        bytes_unref(&chunk);
        return 0;
    }
    if (r->mode == BODY_COLLECT && r->body_rc == RC_OK)
        collect_append(r, data);
    return data.len;
}

void server_request_body_end(struct http_request *r)
{
    if (r->body_complete)
        return;
    r->body_complete = true;
    if (r->mode == BODY_COLLECT) {
        deliver_body(r, r->body_rc);
    } else if (r->mode == BODY_STREAM && !r->body_delivered) {
        r->body_delivered = true;
        if (r->ops.on_end)
            r->ops.on_end(r);
    }
    server_conn_defer(r->conn);
}

bool server_request_body_broken(struct http_request *r)
{
    r->body_complete = true;
    if (r->mode == BODY_COLLECT) {
        deliver_body(r, RC_INVALID);
        return true;
    }
    return r->mode == BODY_DISCARD;
}

void server_request_deliver_due(struct http_request *r)
{
    if (r->mode == BODY_COLLECT && r->body_rc != RC_OK && !r->body_delivered)
        deliver_body(r, r->body_rc);
    if (r->writable_due) {
        r->writable_due = false;
        if (r->ops.on_writable && !r->ended)
            r->ops.on_writable(r);
    }
}

void server_request_finish(struct http_request *r, bool completed)
{
    r->completed = completed;
    list_remove(&r->link);
    list_push_back(&r->conn->finished, &r->link);
    server_conn_defer(r->conn);
}

/* ---- connections ---- */

void server_conn_defer(struct server_conn *c)
{
    env_defer(c->env, &c->task);
}

void server_conn_close(struct server_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    env_timer_cancel(c->env, &c->linger);
    net_conn_close(c->net);
}

static void conn_linger_fire(struct env_timer *t)
{
    struct server_conn *c = CONTAINER_OF(t, struct server_conn, linger);
    size_t pending = net_conn_write_pending(c->net);
    if (!c->lingering)
        server_h2_reset_early(c);
    else if (pending == 0 || c->linger_rounds++ >= LINGER_TIMES)
        server_conn_close(c);
    else
        env_timer_arm(c->env, &c->linger, LINGER_MS);
}

void server_conn_linger(struct server_conn *c)
{
    if (c->closing || c->lingering)
        return;
    c->lingering = true;
    if (c->eof && net_conn_write_pending(c->net) == 0) {
        server_conn_close(c);
        return;
    }
    net_conn_shutdown(c->net);
    net_conn_resume(c->net);
    env_timer_arm(c->env, &c->linger, LINGER_MS);
}

static void conn_run_finished(struct server_conn *c)
{
    struct list *node;
    while ((node = list_pop_front(&c->finished))) {
        struct http_request *r = CONTAINER_OF(node, struct http_request, link);
        if (r->delivered) {
            if (c->server)
                c->server->in_progress--;
            if (r->ops.on_finished)
                r->ops.on_finished(r, r->completed);
        }
        server_request_free(r);
    }
}

static void conn_task(struct env_task *t)
{
    struct server_conn *c = CONTAINER_OF(t, struct server_conn, task);
    ASSERT(c->magic == SERVER_CONN_MAGIC);
    c->server->callback_depth++;
    bool live = !c->closing && !c->lingering;
    if (c->kind == CONN_H1 && live)
        server_h1_run(c);
    else if (c->kind == CONN_H2 && live)
        server_h2_run(c);
    conn_run_finished(c);
    c->server->callback_depth--;
}

static void conn_kill_requests(struct server_conn *c)
{
    LIST_FOREACH_SAFE(node, tmp, &c->requests)
    {
        struct http_request *r = CONTAINER_OF(node, struct http_request, link);
        r->stream_closed = true;
        server_request_finish(r, false);
    }
    conn_run_finished(c);
}

/* Give back everything but the struct itself, which lives until net reports the end. */
static void conn_release(struct server_conn *c)
{
    c->h1.current = NULL;
    if (c->server)
        c->server->callback_depth++;
    conn_kill_requests(c);
    if (c->server)
        c->server->callback_depth--;
    if (c->kind == CONN_H1)
        server_h1_stop(c);
    else if (c->kind == CONN_H2)
        server_h2_stop(c);
    c->kind = CONN_SNIFF;
    env_undefer(&c->task);
    env_timer_cancel(c->env, &c->linger);
}

static void conn_on_closed(void *ctx, const struct err *why)
{
    struct server_conn *c = ctx;
    if (c->server) {
        struct http_server *s = c->server;
        bool clean = !c->failed && (why->rc == RC_OK || why->rc == RC_EOF);
        conn_release(c);
        list_remove(&c->link);
        if (s->ops.on_connection_closed)
            s->ops.on_connection_closed(s->ctx, clean);
    }
    c->magic = 0;
    free(c);
}

static void conn_input(struct server_conn *c, struct bytes data)
{
    c->input = data;
    if (c->kind == CONN_H1)
        server_h1_input(c, data);
    else
        server_h2_input(c, data);
    c->input = BYTES_EMPTY;
}

/* Decide between HTTP/1 and HTTP/2 by the first bytes; an HTTP/2 preface may arrive in pieces. */
static void conn_sniff(struct server_conn *c, struct bytes data)
{
    size_t n = MIN(sizeof(c->preface) - c->preface_len, data.len), seen = c->preface_len;
    memcpy(c->preface + seen, data.ptr, n);
    c->preface_len += n;
    bool matches = memcmp(c->preface, H2_PREFACE, c->preface_len) == 0;
    if (matches && c->preface_len < sizeof(c->preface))
        return;
    c->kind = matches ? CONN_H2 : CONN_H1;
    if (matches)
        server_h2_start(c);
    else
        server_h1_start(c);
    if (seen) {
        struct bytes early = bytes_copy(slice_make(c->preface, seen));
        conn_input(c, early);
        bytes_unref(&early);
    }
    conn_input(c, data);
}

static void conn_on_read(void *ctx, struct bytes data)
{
    struct server_conn *c = ctx;
    if (c->closing || c->lingering || data.len == 0 || !c->server)
        return;
    c->server->callback_depth++;
    if (c->kind == CONN_SNIFF)
        conn_sniff(c, data);
    else
        conn_input(c, data);
    c->server->callback_depth--;
}

static void conn_on_eof(void *ctx)
{
    struct server_conn *c = ctx;
    c->eof = true;
    if (c->lingering ? net_conn_write_pending(c->net) == 0 : c->kind == CONN_SNIFF)
        server_conn_close(c);
    else if (!c->lingering)
        server_conn_defer(c); /* after the answers of this iteration were written */
}

static void conn_on_drain(void *ctx)
{
    struct server_conn *c = ctx;
    if (c->server && !c->closing)
        server_conn_defer(c);
}

void http_server_accept(struct http_server *s, struct net_conn *net)
{
    static const struct net_conn_ops ops = {.on_read = conn_on_read,
                                            .on_eof = conn_on_eof,
                                            .on_drain = conn_on_drain,
                                            .on_closed = conn_on_closed};
    struct server_conn *c = xcalloc(1, sizeof(*c));
    c->magic = SERVER_CONN_MAGIC;
    c->server = s;
    c->net = net;
    c->env = s->env;
    env_task_init(&c->task, conn_task);
    env_timer_init(&c->linger, conn_linger_fire);
    list_init(&c->requests);
    list_init(&c->finished);
    list_push_back(&s->conns, &c->link);
    if (s->ops.on_connection_opened)
        s->ops.on_connection_opened(s->ctx);
    net_conn_start(net, &ops, c);
    if (s->draining)
        server_conn_close(c);
}

/* ---- server ---- */

static void drain_fire(struct env_timer *t);

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config,
                                    const struct http_server_ops *ops, void *ctx)
{
    struct http_server *s = xcalloc(1, sizeof(*s));
    h1_parser_global_init();
    s->loop = loop;
    s->env = loop_env(loop);
    s->config = *config;
    s->ops = *ops;
    s->ctx = ctx;
    list_init(&s->conns);
    list_init(&s->spare_requests);
    env_timer_init(&s->drain_timer, drain_fire);
    s->h2_callbacks = server_h2_callbacks();
    ASSERT(nghttp2_option_new(&s->h2_option) == 0);
    nghttp2_option_set_no_auto_window_update(s->h2_option, 1);
    return s;
}

void http_server_free(struct http_server *s)
{
    ASSERT_MSG(s->callback_depth == 0, "http_server_free from inside a callback of the server");
    struct list *node;
    while ((node = list_pop_front(&s->conns))) {
        struct server_conn *c = CONTAINER_OF(node, struct server_conn, link);
        conn_release(c);
        c->server = NULL;
        server_conn_close(c);
    }
    env_timer_cancel(s->env, &s->drain_timer);
    while ((node = list_pop_front(&s->spare_requests))) {
        struct http_request *r = CONTAINER_OF(node, struct http_request, link);
        http_head_free(&r->head);
        free(r);
    }
    nghttp2_session_callbacks_del(s->h2_callbacks);
    nghttp2_option_del(s->h2_option);
    VEC_FREE(&s->nv);
    free(s);
}

size_t http_server_requests_in_progress(const struct http_server *s)
{
    return s->in_progress;
}

const char *server_date(struct http_server *s)
{
    uint64_t now = env_wall_ms(s->env) / 1000;
    if (now != s->date_s) {
        time_format_http(s->date, now);
        s->date_s = now;
    }
    return s->date;
}

/* Responses were handed to the sockets in the iteration that finished them; wait until the kernel has them.
 */
static bool drain_written(const struct http_server *s)
{
    LIST_FOREACH(node, &s->conns)
    {
        if (net_conn_write_pending(CONTAINER_OF(node, struct server_conn, link)->net) > 0)
            return false;
    }
    return true;
}

static void drain_fire(struct env_timer *t)
{
    struct http_server *s = CONTAINER_OF(t, struct http_server, drain_timer);
    bool late = env_mono_ms(s->env) >= s->drain_deadline_ms;
    if (!late && (s->in_progress > 0 || !drain_written(s))) {
        env_timer_arm(s->env, &s->drain_timer, DRAIN_POLL_MS);
        return;
    }
    LIST_FOREACH(node, &s->conns) server_conn_close(CONTAINER_OF(node, struct server_conn, link));
    s->drained(s->drained_ctx);
}

void http_server_drain(struct http_server *s, uint64_t timeout_ms, void (*drained)(void *ctx), void *ctx)
{
    ASSERT(!s->draining);
    s->draining = true;
    s->drained = drained;
    s->drained_ctx = ctx;
    s->drain_deadline_ms = env_mono_ms(s->env) + timeout_ms;
    LIST_FOREACH(node, &s->conns)
    {
        struct server_conn *c = CONTAINER_OF(node, struct server_conn, link);
        if (c->kind == CONN_H2)
            server_h2_drain(c);
        else if (c->kind == CONN_SNIFF || server_h1_idle(c))
            server_conn_close(c);
    }
    env_timer_arm(s->env, &s->drain_timer, 0);
}

/* ---- request accessors ---- */

struct slice http_request_method(const struct http_request *r)
{
    return r->method;
}

struct slice http_request_target(const struct http_request *r)
{
    return r->target;
}

enum http_version http_request_version(const struct http_request *r)
{
    return r->version;
}

const struct http_header *http_request_headers(const struct http_request *r, size_t *n)
{
    *n = r->head.fields.len;
    return r->head.headers;
}

struct slice http_request_header(const struct http_request *r, const char *name)
{
    return http_header_find(r->head.headers, r->head.fields.len, name);
}

int64_t http_request_content_length(const struct http_request *r)
{
    return r->content_length;
}

void http_request_peer(const struct http_request *r, char *out, size_t cap)
{
    net_conn_peer(r->conn->net, out, cap);
}

void http_request_set_user(struct http_request *r, void *user)
{
    r->user = user;
}

void *http_request_user(const struct http_request *r)
{
    return r->user;
}

void http_request_set_ops(struct http_request *r, const struct http_request_ops *ops)
{
    r->ops = *ops;
}

/* ---- request body ---- */

static void request_want_body(struct http_request *r)
{
    if (r->conn->kind == CONN_H1)
        server_h1_want_body(r);
    else
        server_h2_want_body(r);
}

void http_request_collect(struct http_request *r, size_t limit)
{
    ASSERT_MSG(r->mode == BODY_UNDECIDED, "the body mode is chosen once, in on_request");
    r->mode = BODY_COLLECT;
    r->limit = limit;
    if (r->content_length > 0 && (uint64_t)r->content_length > limit) {
        r->body_rc = RC_TOO_LARGE; /* known before a byte was read; reported from the task */
        server_conn_defer(r->conn);
        return;
    }
    request_want_body(r);
}

void http_request_stream(struct http_request *r)
{
    ASSERT_MSG(r->mode == BODY_UNDECIDED, "the body mode is chosen once, in on_request");
    r->mode = BODY_STREAM;
    request_want_body(r);
}

void http_request_consumed(struct http_request *r, size_t n)
{
    ASSERT(r->magic == SERVER_REQUEST_MAGIC && n <= r->unconsumed);
    r->unconsumed -= n;
    if (r->conn->kind == CONN_H1)
        server_h1_consumed(r);
    else
        server_h2_consumed(r, n);
}

/* ---- response ---- */

static void response_begin(struct http_request *r, int status)
{
    ASSERT(r->magic == SERVER_REQUEST_MAGIC);
    ASSERT_MSG(!r->started, "a request is answered once");
    ASSERT(status >= 200 && status <= 999);
    r->started = true;
    r->bodyless = r->is_head || status == 204 || status == 304;
}

void http_respond(struct http_request *r, int status, const struct http_header *headers, size_t n,
                  struct bytes body_take)
{
    response_begin(r, status);
    r->ended = r->out.ended = true;
    int64_t length = status == 204 || status == 304 ? -1 : (int64_t)body_take.len;
    if (r->bodyless)
        bytes_unref(&body_take);
    else
        out_queue_push(&r->out.queue, body_take);
    if (r->conn->kind == CONN_H1)
        server_h1_response_head(r, status, headers, n, length);
    else
        server_h2_response_head(r, status, headers, n, length, r->out.queue.total == 0);
    server_conn_defer(r->conn);
}

void http_response_start(struct http_request *r, int status, const struct http_header *headers, size_t n)
{
    response_begin(r, status);
    if (r->conn->kind == CONN_H1)
        server_h1_response_head(r, status, headers, n, -1);
    else
        server_h2_response_head(r, status, headers, n, -1, r->bodyless);
    server_conn_defer(r->conn);
}

size_t http_response_write(struct http_request *r, struct bytes take)
{
    ASSERT(r->magic == SERVER_REQUEST_MAGIC && r->started && !r->ended);
    if (r->bodyless || r->stream_closed || r->out.aborted) {
        bytes_unref(&take);
        return 0;
    }
    out_queue_push(&r->out.queue, take);
    size_t queued = r->out.queue.total;
    if (queued > NET_HIGH_WATER)
        r->out.above_water = true;
    if (r->conn->kind == CONN_H2)
        server_h2_response_more(r);
    server_conn_defer(r->conn);
    return queued;
}

void http_response_end(struct http_request *r, const struct http_header *trailers, size_t n)
{
    ASSERT(r->magic == SERVER_REQUEST_MAGIC && r->started && !r->ended);
    r->ended = r->out.ended = true;
    for (size_t i = 0; i < n && !r->bodyless; i++) {
        if (!http_header_is_sane(&trailers[i]) || http_header_is_hop_by_hop(trailers[i].name))
            continue;
        http_head_add(&r->out.trailers, trailers[i].name, trailers[i].value);
        r->out.has_trailers = true;
    }
    if (r->conn->kind == CONN_H2)
        server_h2_response_more(r);
    server_conn_defer(r->conn);
}

void http_response_abort(struct http_request *r)
{
    ASSERT(r->magic == SERVER_REQUEST_MAGIC);
    r->started = r->ended = true;
    r->out.aborted = true;
    if (r->conn->kind == CONN_H2)
        server_h2_abort(r);
    server_conn_defer(r->conn);
}

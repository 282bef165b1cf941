/* The admin API bound to the HTTP server: see admin_http.h. The exchange outlives the HTTP request when the
 * client goes away before the answer is known; the answer is then dropped. */
#include "admin/admin_http.h"

#include <stdio.h>
#include <stdlib.h>

struct bound_request {
    struct admin_exchange exchange;
    struct admin *admin;
    struct http_request *http; /* NULL: over */
    bool waiting;              /* for the answer */
};

static void release(struct bound_request *b)
{
    if (!b->http && !b->waiting)
        free(b);
}

#define HEADERS_MAX 6
struct headers {
    struct http_header items[HEADERS_MAX];
    size_t n;
    char retry_after[16];
};

static void fill_headers(struct headers *h, const struct admin_answer *answer)
{
    h->n = 0;
    if (answer->content_type) {
        h->items[h->n++] = (struct http_header){SLICE_LIT("content-type"), slice_cstr(answer->content_type)};
        h->items[h->n++] = HTTP_HEADER_LIT("vary", "accept-encoding");
    }
    if (answer->location)
        h->items[h->n++] = (struct http_header){SLICE_LIT("location"), slice_cstr(answer->location)};
    if (answer->allow)
        h->items[h->n++] = (struct http_header){SLICE_LIT("allow"), slice_cstr(answer->allow)};
    if (answer->is_ui_file)
        h->items[h->n++] = HTTP_HEADER_LIT("service-worker-allowed", "/");
    if (answer->retry_after_s) {
        snprintf(h->retry_after, sizeof(h->retry_after), "%u", answer->retry_after_s);
        h->items[h->n++] = (struct http_header){SLICE_LIT("retry-after"), slice_cstr(h->retry_after)};
    }
}

/* The exchange is over; only now: responding may end the HTTP request, which must not free this yet. */
static void answered(struct bound_request *b)
{
    b->waiting = false;
    release(b);
}

static void on_answer(struct admin_exchange *x, const struct admin_answer *answer)
{
    struct bound_request *b = CONTAINER_OF(x, struct bound_request, exchange);
    if (b->http) {
        struct headers h;
        fill_headers(&h, answer);
        http_respond(b->http, answer->status, h.items, h.n, bytes_ref(answer->body));
    }
    answered(b);
}

static void on_start(struct admin_exchange *x, const struct admin_answer *answer)
{
    struct bound_request *b = CONTAINER_OF(x, struct bound_request, exchange);
    struct headers h;
    fill_headers(&h, answer);
    if (b->http)
        http_response_start(b->http, answer->status, h.items, h.n);
}

static size_t on_write(struct admin_exchange *x, struct bytes take)
{
    struct bound_request *b = CONTAINER_OF(x, struct bound_request, exchange);
    if (b->http)
        return http_response_write(b->http, take);
    bytes_unref(&take);
    return 0;
}

static void on_end(struct admin_exchange *x, bool complete)
{
    struct bound_request *b = CONTAINER_OF(x, struct bound_request, exchange);
    if (b->http && complete)
        http_response_end(b->http, NULL, 0);
    else if (b->http)
        http_response_abort(b->http);
    answered(b);
}

static void run(struct bound_request *b, struct slice body, bool too_large)
{
    struct admin_exchange *x = &b->exchange;
    x->method = http_request_method(b->http);
    x->target = http_request_target(b->http);
    x->content_type = http_request_header(b->http, "content-type");
    x->accept = http_request_header(b->http, "accept");
    x->body = body;
    x->body_too_large = too_large;
    x->respond = on_answer;
    x->start = on_start;
    x->write = on_write;
    x->end = on_end;
    b->waiting = true;
    admin_handle(b->admin, x);
}

static void on_body(struct http_request *r, enum rc rc, struct bytes body)
{
    struct bound_request *b = http_request_user(r);
    if (rc == RC_OK || rc == RC_TOO_LARGE)
        run(b, bytes_slice(body), rc == RC_TOO_LARGE);
    else
        http_response_abort(r);
}

static void on_finished(struct http_request *r, bool completed)
{
    struct bound_request *b = http_request_user(r);
    b->http = NULL;
    if (b->waiting && b->exchange.gone)
        b->exchange.gone(&b->exchange); /* ends the exchange, which frees this */
    else
        release(b);
}

static void on_writable(struct http_request *r)
{
    struct bound_request *b = http_request_user(r);
    if (b->waiting && b->exchange.writable)
        b->exchange.writable(&b->exchange);
}

static void on_request(void *ctx, struct http_request *r)
{
    static const struct http_request_ops ops = {
        .on_body = on_body, .on_finished = on_finished, .on_writable = on_writable};
    struct bound_request *b = xcalloc(1, sizeof(*b));
    b->admin = ctx;
    b->http = r;
    http_request_set_user(r, b);
    http_request_set_ops(r, &ops);
    size_t limit = admin_body_limit(http_request_method(r), http_request_target(r));
    if (limit > 0)
        http_request_collect(r, limit);
    else
        run(b, SLICE_EMPTY, false);
}

const struct http_server_ops admin_http_server_ops = {.on_request = on_request};

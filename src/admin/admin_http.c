/* The admin API bound to the HTTP server: see admin_http.h. The exchange outlives the HTTP request when the
 * client goes away before the answer is known; the answer is then dropped. */
#include "admin/admin_http.h"

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

static void on_answer(struct admin_exchange *x, const struct admin_answer *answer)
{
    struct bound_request *b = CONTAINER_OF(x, struct bound_request, exchange);
    if (b->http) {
        struct http_header headers[4];
        size_t n = 0;
        if (answer->content_type) {
            headers[n++] = (struct http_header){SLICE_LIT("content-type"), slice_cstr(answer->content_type)};
            headers[n++] = HTTP_HEADER_LIT("vary", "accept-encoding");
        }
        if (answer->location)
            headers[n++] = (struct http_header){SLICE_LIT("location"), slice_cstr(answer->location)};
        if (answer->allow)
            headers[n++] = (struct http_header){SLICE_LIT("allow"), slice_cstr(answer->allow)};
        http_respond(b->http, answer->status, headers, n, bytes_ref(answer->body));
    }
    b->waiting = false; /* only now: responding may end the HTTP request, which must not free this yet */
    release(b);
}

static void run(struct bound_request *b, struct slice body, bool too_large)
{
    struct admin_exchange *x = &b->exchange;
    x->method = http_request_method(b->http);
    x->target = http_request_target(b->http);
    x->content_type = http_request_header(b->http, "content-type");
    x->body = body;
    x->body_too_large = too_large;
    x->respond = on_answer;
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
    release(b);
}

static void on_request(void *ctx, struct http_request *r)
{
    static const struct http_request_ops ops = {.on_body = on_body, .on_finished = on_finished};
    struct bound_request *b = xcalloc(1, sizeof(*b));
    b->admin = ctx;
    b->http = r;
    http_request_set_user(r, b);
    http_request_set_ops(r, &ops);
    if (admin_wants_body(http_request_method(r), http_request_target(r)))
        http_request_collect(r, ADMIN_BODY_LIMIT_BYTES);
    else
        run(b, SLICE_EMPTY, false);
}

const struct http_server_ops admin_http_server_ops = {.on_request = on_request};

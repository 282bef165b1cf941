/* HTTP server engine for one loop: HTTP/1.0, HTTP/1.1 and cleartext HTTP/2 with prior knowledge on the same
 * port (spec/ingress.md §2). The engine knows nothing about routes. All calls on the loop's thread. */
#pragma once
#include "http/http.h"
#include "loop/net.h"

struct http_server;
struct http_request; /* one exchange; valid until its handler's on_finished returns */

struct http_server_config {
    uint32_t max_concurrent_streams; /* HTTP/2 SETTINGS; 200 */
    uint32_t max_header_list_bytes;  /* HTTP/2: 16384; above it 431 */
    uint32_t max_header_fields;      /* HTTP/1: 100; above it 431 */
    uint32_t max_header_bytes;       /* HTTP/1 header block: 512 KiB; above it 431 */
    uint32_t max_target_bytes;       /* 65534; above it 414 */
};
void http_server_config_default(struct http_server_config *c);

struct http_server_ops {
    /* The head is complete. The handler must, now or later, respond exactly once. It chooses here how to
     * receive the body: http_request_collect, http_request_stream, or neither (the body is discarded). */
    void (*on_request)(void *ctx, struct http_request *req);
    void (*on_connection_opened)(void *ctx);             /* may be NULL */
    void (*on_connection_closed)(void *ctx, bool clean); /* may be NULL */
};

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config,
                                    const struct http_server_ops *ops, void *ctx);
/* Serve this accepted connection (takes it over). */
void http_server_accept(struct http_server *s, struct net_conn *conn);
/* Graceful: HTTP/1.1 responses get `connection: close`, HTTP/2 peers a GOAWAY, idle connections are closed;
 * `drained` runs once no request is in progress, or after `timeout_ms`, when the rest is cut. */
void http_server_drain(struct http_server *s, uint64_t timeout_ms, void (*drained)(void *ctx), void *ctx);
/* Cuts every connection (on_finished(false) runs before this returns). Not from inside a callback of this
 * server; the loop must run at least one more iteration afterwards, when the sockets report their end. */
void http_server_free(struct http_server *s);
size_t http_server_requests_in_progress(const struct http_server *s);

/* ---- the request ---- */
struct slice http_request_method(const struct http_request *r);
struct slice
http_request_target(const struct http_request *r); /* path?query; absolute-form and #fragment reduced */
enum http_version http_request_version(const struct http_request *r);
/* In order of arrival; HTTP/2 pseudo-headers are not among them, except that :authority appears as `host`. */
const struct http_header *http_request_headers(const struct http_request *r, size_t *n);
struct slice http_request_header(const struct http_request *r, const char *name);
/* Value of a valid content-length header, or -1. */
int64_t http_request_content_length(const struct http_request *r);
void http_request_peer(const struct http_request *r, char *out, size_t cap);
/* A pointer for the handler. */
void http_request_set_user(struct http_request *r, void *user);
void *http_request_user(const struct http_request *r);

struct http_request_ops {
    /* Body complete (collect mode): all of it. RC_TOO_LARGE: over the limit. RC_INVALID: broken framing.
     * RC_OK otherwise. `body` is lent. */
    void (*on_body)(struct http_request *r, enum rc rc, struct bytes body);
    /* Stream mode: a chunk (lent). Call http_request_consumed once it was dealt with, to open the window
     * again. */
    void (*on_chunk)(struct http_request *r, struct bytes chunk);
    void (*on_end)(struct http_request *r);
    /* Last callback, exactly once: the exchange is over. `completed` is false if the peer went away, or reset
     * the stream, before the response was handed to the kernel. Free the user data here. */
    void (*on_finished)(struct http_request *r, bool completed);
    /* Response stream mode: the peer takes more data (see http_response_write). May be NULL. */
    void (*on_writable)(struct http_request *r);
};
/* Callbacks of this request; on_finished is honoured in every mode. Set in on_request. */
void http_request_set_ops(struct http_request *r, const struct http_request_ops *ops);
/* Collect the whole body, at most `limit` bytes. Sends `100 Continue` when the client expects it. */
void http_request_collect(struct http_request *r, size_t limit);
void http_request_stream(struct http_request *r);
void http_request_consumed(struct http_request *r, size_t n);

/* ---- the response: either one call, or start / write / end ----
 * `status` is 200 to 999. The engine adds `date` and, for whole responses, `content-length`; fields with
 * control bytes and hop-by-hop fields are left out. Header slices are copied before the call returns. A body
 * with status 204, 304 or for HEAD is not sent. Responding before the body was read is allowed
 * (spec/ingress.md §2 early answer). */
void http_respond(struct http_request *r, int status, const struct http_header *headers, size_t n,
                  struct bytes body_take);
void http_response_start(struct http_request *r, int status, const struct http_header *headers, size_t n);
/* Returns the bytes now queued; above NET_HIGH_WATER stop until on_writable. */
size_t http_response_write(struct http_request *r, struct bytes take);
/* Optional trailers (HTTP/2 trailers, used by gRPC; HTTP/1.1 chunked trailers). */
void http_response_end(struct http_request *r, const struct http_header *trailers, size_t n);
/* Abort: HTTP/2 RST_STREAM INTERNAL_ERROR, HTTP/1 close. */
void http_response_abort(struct http_request *r);

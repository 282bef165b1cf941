/* HTTP client for one loop with a connection pool per endpoint: HTTP/2 prior knowledge, HTTP/2 or 1.1 over
 * TLS (ALPN), HTTP/1.1, full duplex in both (spec/service-protocol.md §3.3, §3.4, §3.5). All calls and
 * callbacks on the loop's thread. */
#pragma once
#include "http/http.h"
#include "loop/net.h"

struct http_client;
struct http_stream; /* one request; valid until on_done */

struct http_client_config {
    uint64_t connect_timeout_ms;         /* 10 s */
    uint64_t keep_alive_interval_ms;     /* 40 s (plus up to keep_alive_jitter), PING */
    uint64_t keep_alive_timeout_ms;      /* 20 s */
    double keep_alive_jitter;            /* 0.2 */
    uint32_t streams_per_connection;     /* 128 */
    uint32_t initial_max_send_streams;   /* 50, until SETTINGS arrive */
    uint64_t idle_connection_timeout_ms; /* 5 min; 0 never */
    uint32_t initial_stream_window;      /* 2 MiB */
    uint32_t initial_connection_window;  /* 5 MiB */
    uint32_t max_frame_size;             /* 16 KiB */
    uint32_t
        max_connections_per_endpoint; /* 64; further streams wait in a queue of at most max_queued_streams */
    uint32_t max_queued_streams;      /* 10,000; beyond that open fails with RC_OVERLOADED */
    const char *proxy, *no_proxy;     /* for plain http, as http_proxy_new wants them; NULL: none */
    const char *ca_file;              /* extra trust roots (PEM), NULL: system roots and SSL_CERT_FILE */
    const char *cert_file, *key_file; /* certificate chain and key of this client (PEM), both or neither */
    bool tls_skip_verify;             /* any certificate is good: no protection against a man in the middle */
};
void http_client_config_default(struct http_client_config *c);

enum http_client_protocol {
    HTTP_CLIENT_H2,       /* http: prior knowledge; https: ALPN h2 only */
    HTTP_CLIENT_H1,       /* http: HTTP/1.1; https: no ALPN */
    HTTP_CLIENT_NEGOTIATE /* https: ALPN h2 and http/1.1; http: as H2 */
};

struct http_stream_ops {
    /* Response head. Slices valid during the call. */
    void (*on_head)(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n);
    /* Response bytes, lent. They count against the window until http_stream_consumed. */
    void (*on_data)(void *ctx, struct http_stream *s, struct bytes data);
    /* Fields after the body (HTTP/2 only), before on_end. Slices valid during the call. May be NULL. */
    void (*on_trailers)(void *ctx, struct http_stream *s, const struct http_header *headers, size_t n);
    /* The response is complete (END_STREAM, last chunk). The request side may still be open. */
    void (*on_end)(void *ctx, struct http_stream *s);
    /* Below the low-water mark again after http_stream_write returned more than NET_HIGH_WATER. May be NULL.
     */
    void (*on_writable)(void *ctx, struct http_stream *s);
    /* Last callback, exactly once, when both sides are done, or on failure (`err->rc` != RC_OK), or after
     * http_stream_reset (RC_CANCELED). Messages name the cause: refused, reset, GOAWAY, TLS, timeout, and for
     * HTTP/2 spoken to an HTTP/1.1 server `h2 FRAME_SIZE_ERROR` (RC_UNSUPPORTED, as for the reverse). Never
     * called from inside an http_stream_* or http_client_open call. */
    void (*on_done)(void *ctx, struct http_stream *s, const struct err *err);
};

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config);
/* Resets all streams (their on_done runs before this returns) and closes all connections. Not from inside a
 * callback of this client; the loop must run at least one more iteration afterwards. */
void http_client_free(struct http_client *c);

/* Start a request. `uri` supplies scheme, host, port; `path` is the full :path. Everything is copied. The
 * request head is sent as soon as a connection has room. The body is open: write, then end. HTTP/1.1 sends
 * chunked, or no body framing at all when the request is ended in the same call sequence before anything was
 * written and the method is GET. */
struct http_stream *http_client_open(struct http_client *c, const struct http_uri *uri,
                                     enum http_client_protocol protocol, struct slice method,
                                     struct slice path, const struct http_header *headers, size_t n,
                                     const struct http_stream_ops *ops, void *ctx);
/* Queue body bytes (consumes the reference); returns the bytes now queued on this stream. */
size_t http_stream_write(struct http_stream *s, struct bytes take);
/* END_STREAM after what is queued. */
void http_stream_end(struct http_stream *s);
/* Give back window for received bytes. */
void http_stream_consumed(struct http_stream *s, size_t n);
/* RST_STREAM CANCEL (HTTP/1.1: close the connection). on_done follows in a later iteration. */
void http_stream_reset(struct http_stream *s);

/* For on_done: something of the request may have reached the server. */
bool http_stream_was_sent(const struct http_stream *s);

struct http_client_stats {
    size_t connections, streams, queued;
};
void http_client_get_stats(const struct http_client *c, struct http_client_stats *out);

/* What client.c (streams, pool), client_conn.c (connections), client_h1.c and client_h2.c share. Private to
 * http/.
 *
 * As on the server, user callbacks run inside the parsers and may call anything: the functions change state
 * and ask for a task of the same iteration. The client's task assigns streams to connections and reports
 * finished ones (on_done); a connection's task writes. */
#pragma once
#include "http/client.h"
#include "http/h1_parser.h"
#include "http/h2_io.h"
#include "http/tls.h"

#define CLIENT_STREAM_MAGIC 0x48535452u

struct client_endpoint;
struct client_conn;

struct http_stream {
    uint32_t magic;
    struct list link; /* endpoint->queue or conn->streams */
    struct list done_link;
    struct list writable_link; /* conn->writable */
    struct http_client *client;
    struct client_endpoint *endpoint;
    struct client_conn *conn; /* NULL while queued and after release */
    struct http_stream_ops ops;
    void *ctx;

    /* request */
    struct http_head head; /* fields; the texts below lie in the same block */
    uint32_t method_off, method_len, path_off, path_len, authority_off, authority_len;
    struct h2_out out;

    /* response */
    struct http_head response;
    int status;
    bool head_done, response_ended;
    size_t unconsumed;

    bool done;      /* the outcome is decided; only on_done will follow */
    bool user_gone; /* on_done has run; the struct waits for the session to let go */
    bool aborted;   /* by http_stream_reset */
    bool assigned;  /* a connection had it */
    int32_t stream_id;
    struct err err;
};

struct client_h1 {
    h1_parser parser;
    struct http_stream *current;
    struct http_head_pieces pieces; /* of the field that is being received */
    bool in_trailers;
    bool head_sent, chunked, end_sent;
    bool response_done, keep_alive, broken, paused;
    size_t head_bytes;
};

struct client_h2 {
    struct h2_io io;
    bool seen_input;
    bool ping_outstanding;
    uint32_t goaway_error; /* received */
    uint32_t error_sent;   /* in our GOAWAY */
    bool goaway_received;
};

enum client_conn_state { CLIENT_CONNECTING, CLIENT_HANDSHAKE, CLIENT_OPEN, CLIENT_CLOSED };

struct client_conn {
    struct list link; /* endpoint->conns until closed */
    struct http_client *client;
    struct client_endpoint *endpoint;
    struct net_conn *net;
    struct tls_conn *tls;
    struct env *env;
    struct env_task task;
    struct env_timer handshake_timer, keep_alive_timer, idle_timer;
    enum client_conn_state state;
    enum http_version version; /* HTTP_1_1 or HTTP_2 once open */
    bool retiring;             /* takes no new streams; closed when the last one ends */
    struct list streams, writable;
    size_t n_streams, max_streams;
    struct bytes input; /* being parsed */
    struct client_h1 h1;
    struct client_h2 h2;
};

struct client_endpoint {
    struct hmap_node node;
    struct http_client *client;
    bool tls, is_unix;
    enum http_client_protocol protocol;
    char *host;
    uint16_t port;
    bool speaks_h1; /* negotiated earlier */
    bool dirty;
    struct list dirty_link;
    struct list conns, queue;
    size_t n_conns, n_connecting, n_queued, n_streams; /* n_streams: all structs that point here */
};

struct http_client {
    struct loop *loop;
    struct env *env;
    struct http_client_config config;
    char *ca_file, *cert_file, *key_file;
    struct http_proxy *proxy; /* NULL: none */
    struct tls_context *tls;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_option;
    struct h2_nv_list nv; /* scratch */
    struct hmap endpoints;
    struct list dirty, done;
    struct env_task task;
    size_t n_streams, n_conns, n_queued;
    size_t callback_depth;
    bool freeing;
};

/* ---- client.c ---- */
/* Decide the outcome; on_done follows from the client's task. Ignored if it is decided already. */
void client_stream_done(struct http_stream *s, enum rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The connection no longer refers to the stream. */
void client_stream_release(struct http_stream *s);
void client_endpoint_touch(struct client_endpoint *ep); /* pump it in this iteration */
/* No connection could be made: fail what waits, unless others are still there to serve it. */
void client_endpoint_failed(struct client_endpoint *ep, const struct err *err);
struct slice client_stream_authority(const struct http_stream *s);

/* ---- client_conn.c ---- */
void client_conn_open(struct client_endpoint *ep);
void client_conn_assign(struct client_conn *c, struct http_stream *s);
void client_conn_defer(struct client_conn *c);
/* Fail all streams, give everything back and close. Not from inside a parser or session callback. */
void client_conn_fail(struct client_conn *c, enum rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void client_conn_send(struct client_conn *c, struct bytes take);

/* ---- client_h1.c ---- */
void client_h1_start(struct client_conn *c);
void client_h1_assign(struct client_conn *c, struct http_stream *s);
void client_h1_input(struct client_conn *c, struct bytes data);
void client_h1_eof(struct client_conn *c);
void client_h1_run(struct client_conn *c);
void client_h1_consumed(struct client_conn *c, struct http_stream *s);

/* ---- client_h2.c ---- */
nghttp2_session_callbacks *client_h2_callbacks(void);
nghttp2_option *client_h2_option(const struct http_client_config *config);
void client_h2_start(struct client_conn *c);
/* `goodbye`: send GOAWAY if the socket takes it; only while no stream is left. */
void client_h2_stop(struct client_conn *c, bool goodbye);
void client_h2_assign(struct client_conn *c, struct http_stream *s);
void client_h2_input(struct client_conn *c, struct bytes data);
void client_h2_eof(struct client_conn *c);
void client_h2_run(struct client_conn *c);
void client_h2_more(struct http_stream *s);
void client_h2_consumed(struct http_stream *s, size_t n);
void client_h2_reset(struct http_stream *s);

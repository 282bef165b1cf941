/* What server.c, server_h1.c and server_h2.c share. Private to http/.
 *
 * Handlers are called from inside the parsers, and may call any function on any request from there. So
 * nothing is freed or written at that point: the functions only change state and ask for the connection's
 * task, which runs at the end of the iteration (env_defer), writes all that is ready, and finishes and frees
 * what is over. */
#pragma once
#include "http/h1_parser.h"
#include "http/h2_io.h"
#include "http/server.h"

#define SERVER_CONN_MAGIC    0x48434f4eu
#define SERVER_REQUEST_MAGIC 0x48524551u

#define SERVER_STREAM_WINDOW                                                                                 \
    (256u << 10)                       /* HTTP/1 stream mode: unconsumed bytes above which reading stops     \
                                        */
#define SERVER_STASH_LIMIT (64u << 10) /* HTTP/1: bytes of pipelined requests held before reading stops */

enum server_body_mode { BODY_UNDECIDED, BODY_DISCARD, BODY_COLLECT, BODY_STREAM };

struct server_conn;

struct http_request {
    uint32_t magic;
    struct list link; /* conn->requests, or conn->finished once it is over, or server->spare_requests */
    struct server_conn *conn;

    /* request head */
    struct http_head head;
    struct slice method, target; /* point into head */
    uint32_t method_off, method_len, target_off, target_len;
    enum http_version version;
    int64_t content_length;
    bool expect_continue;
    bool delivered; /* on_request was called */
    bool is_head;

    /* request body */
    enum server_body_mode mode;
    size_t limit; /* collect */
    size_t body_received;
    struct writer body;    /* collect, several chunks */
    struct bytes body_one; /* collect, the whole body so far in one piece */
    enum rc body_rc;       /* RC_OK until the collected body is found bad */
    bool body_complete;    /* the engine has all of it, or will get no more */
    bool body_delivered;   /* on_body or on_end was called */
    size_t unconsumed;     /* stream mode */

    /* response */
    bool started, ended;
    bool bodyless; /* HEAD, 204, 304 */
    struct h2_out out;
    bool writable_due;

    /* HTTP/1 */
    struct writer head_out; /* status line and fields, without `connection` and the final empty line */
    bool head_sent, chunked, until_close;
    uint64_t length_left; /* announced content-length of a started response, not yet written */
    bool has_length;

    /* HTTP/2 */
    int32_t stream_id;
    bool stream_closed; /* nghttp2 has forgotten the stream */
    bool end_sent;      /* END_STREAM of the response is out */
    bool too_large;     /* header list above the limit: answered 431 by the engine */
    bool has_authority;
    bool completed; /* for on_finished */

    struct http_request_ops ops;
    void *user;
};

struct server_h1 {
    h1_parser parser;
    struct http_request *current;   /* being received or answered */
    struct http_head_pieces pieces; /* of the field that is being received */
    bool in_trailers;
    size_t head_bytes;
    int reject_status; /* set by a callback that refuses the head */
    bool blocked;      /* the request is complete; later input waits in `stash` */
    bool broken;       /* unparsable: read no more */
    bool close_after;  /* close once the current response is out */
    bool keep_alive;   /* of the current request */
    bool continue_sent;
    struct out_queue stash;
    bool paused;
};

struct server_h2 {
    struct h2_io io;
    bool goaway_sent;
    bool receiving; /* inside nghttp2_session_mem_recv */
};

enum server_conn_kind { CONN_SNIFF, CONN_H1, CONN_H2 };

struct server_conn {
    uint32_t magic;
    struct list link;           /* server->conns */
    struct http_server *server; /* NULL once the server was freed */
    struct net_conn *net;
    struct env *env;
    struct env_task task;
    enum server_conn_kind kind;
    bool eof;                /* the peer sends no more */
    bool closing;            /* net_conn_close was called */
    bool lingering;          /* FIN sent; input is discarded until the peer closes or `linger` fires */
    bool failed;             /* closed for a fault of the peer */
    struct env_timer linger; /* lingering; before that on HTTP/2: early answers, see server_h2_reset_early */
    size_t linger_rounds;
    struct bytes input; /* the buffer being parsed */
    uint8_t preface[24];
    size_t preface_len;
    struct list requests;
    struct list finished; /* over; on_finished runs in the task */
    struct server_h1 h1;
    struct server_h2 h2;
};

struct http_server {
    struct loop *loop;
    struct env *env;
    struct http_server_config config;
    struct http_server_ops ops;
    void *ctx;
    struct list conns;
    struct list spare_requests;
    size_t spare_count;
    size_t in_progress; /* delivered, not finished */
    size_t callback_depth;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_option;
    struct h2_nv_list nv; /* scratch */
    uint64_t date_s;
    char date[30];
    bool draining;
    uint64_t drain_deadline_ms;
    struct env_timer drain_timer;
    void (*drained)(void *ctx);
    void *drained_ctx;
};

/* ---- server.c ---- */
struct http_request *server_request_new(struct server_conn *c);
/* A request that was never delivered, or whose on_finished has run. */
void server_request_free(struct http_request *r);
/* The head is complete: method/target offsets and fields are final. Calls on_request. */
void server_request_deliver(struct http_request *r);
/* Bytes of the body, lying inside conn->input. Returns how many the engine has dealt with (the rest waits for
 * http_request_consumed). */
size_t server_request_body(struct http_request *r, struct slice data);
void server_request_body_end(struct http_request *r);
/* The body's framing is broken. True if the handler was told by on_body and will answer. */
bool server_request_body_broken(struct http_request *r);
/* Move to conn->finished; on_finished runs in the connection's task. */
void server_request_finish(struct http_request *r, bool completed);
/* A collected body that went bad early is reported from the task. */
void server_request_deliver_due(struct http_request *r);
void server_conn_defer(struct server_conn *c);
/* Send what is queued and FIN, discard input until the peer closes, then close. */
void server_conn_linger(struct server_conn *c);
void server_conn_close(struct server_conn *c);
const char *server_date(struct http_server *s);
/* `target` of a request line or :path: absolute form reduced to path and query, fragment removed. */
struct slice server_reduce_target(struct slice target);

/* ---- server_h1.c ---- */
void server_h1_start(struct server_conn *c);
void server_h1_input(struct server_conn *c, struct bytes data); /* lent */
void server_h1_run(struct server_conn *c);                      /* from the task */
void server_h1_stop(struct server_conn *c);                     /* free; no requests are left */
void server_h1_response_head(struct http_request *r, int status, const struct http_header *headers, size_t n,
                             int64_t content_length);
void server_h1_want_body(struct http_request *r);
void server_h1_consumed(struct http_request *r);
bool server_h1_idle(const struct server_conn *c);

/* ---- server_h2.c ---- */
void server_h2_start(struct server_conn *c);
void server_h2_input(struct server_conn *c, struct bytes data);
void server_h2_run(struct server_conn *c);
void server_h2_stop(struct server_conn *c);
void server_h2_response_head(struct http_request *r, int status, const struct http_header *headers, size_t n,
                             int64_t content_length, bool end);
void server_h2_response_more(struct http_request *r);
void server_h2_abort(struct http_request *r);
void server_h2_consumed(struct http_request *r, size_t n);
void server_h2_want_body(struct http_request *r);
void server_h2_reset_early(struct server_conn *c);
void server_h2_drain(struct server_conn *c);
nghttp2_session_callbacks *server_h2_callbacks(void);

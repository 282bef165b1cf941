/* Fields of connections, shared by net.c (bytes), net_connect.c and net_listen.c. */
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include "loop/internal.h"
#include "loop/net.h"

#define NET_MAX_ADDRESSES 8

enum conn_state {
    CONN_CONNECTING, /* resolving or connecting (net_connect.c) */
    CONN_OPEN,
    CONN_CLOSING, /* callbacks other than on_closed are over */
};

/* An outgoing connection until it is open. */
struct net_attempt {
    void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err);
    void *ctx;
    struct net_conn *conn;
    uv_getaddrinfo_t dns;
    uv_connect_t connect;
    bool dns_pending;
    struct env_timer timer; /* for the whole, or for one of several addresses */
    uint64_t deadline_ms;   /* UINT64_MAX: none */
    struct sockaddr_storage addrs[NET_MAX_ADDRESSES];
    size_t n_addrs, next_addr;
    char target[300]; /* for messages */
    struct err err;   /* of the last address */
};

/* Of a connection or a listener. */
union net_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct net_conn {
    struct loop_resource resource;
    struct loop *loop;
    union net_handle uv;
    enum net_family family;
    enum conn_state state;
    bool handle_live; /* initialised and its close callback has not run */
    bool paused, eof, over_high, shutdown_asked, shutdown_done, write_in_flight;

    const struct net_conn_ops *ops; /* NULL until net_conn_start */
    void *ctx;
    struct err *why;             /* NULL: orderly local close */
    struct net_attempt *attempt; /* NULL once open */
    struct bytes unread;         /* comes before what the socket has */
    struct env_task unread_task;

    /* Output: items[head..len) wait to be written; the first one from head_off on. */
    struct bytes *items;
    size_t head, len, cap, head_off;
    size_t pending_bytes;
    size_t in_flight_bytes; /* handed to uv_write */
    uv_write_t write_req;
    struct loop_flush flush;
};

/* A connection without handle, registered with the loop. */
struct net_conn *conn_new(struct loop *l, enum net_family family, enum conn_state state);
/* Enter CONN_CLOSING; `why` (copied) is what on_closed will show, NULL for an orderly local close. */
void conn_begin_close(struct net_conn *c, const struct err *why);
/* Report on_closed and free, once nothing of uv refers to the connection. */
void conn_finish_close(struct net_conn *c);
/* The connection became usable: write what was queued meanwhile. */
void conn_opened(struct net_conn *c);
/* The handle's close callback while connecting: try the next address or report the failure. */
void attempt_handle_closed(struct net_conn *c);
/* Stop an attempt that is given up. Returns false while the resolver still refers to it. */
bool attempt_abandon(struct net_attempt *a);
/* For every close of the handle, from whichever file. */
void conn_handle_closed(uv_handle_t *handle);

/* IP literal (also in brackets) to socket address; false if it is none. */
bool net_parse_ip(const char *host, uint16_t port, struct sockaddr_storage *out);
/* "1.2.3.4:80", "[::1]:80". */
void net_format_ip(const struct sockaddr *sa, char *out, size_t cap);

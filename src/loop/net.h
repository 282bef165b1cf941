/* Stream sockets on a loop: TCP and unix. All calls and callbacks on the owning loop's thread. */
#pragma once
#include "base/bytes.h"
#include "loop/loop.h"

struct net_conn;
struct net_listener;

struct net_conn_ops {
    /* Bytes arrived. `data` is lent: take a reference (bytes_ref) to keep it. Not called while reading is
     * paused. */
    void (*on_read)(void *ctx, struct bytes data);
    /* The peer finished sending (EOF). The connection can still be written. May be NULL: then on_closed
     * follows. */
    void (*on_eof)(void *ctx);
    /* Everything queued before has been handed to the kernel and the queue is below the low-water mark again
     * (only called after net_conn_write_pending exceeded NET_HIGH_WATER). May be NULL. */
    void (*on_drain)(void *ctx);
    /* The connection is gone: after an error or after net_conn_close. Exactly once, the last callback; `why`
     * is RC_OK after an orderly local close, RC_CLOSED if the peer reset the connection, RC_TIMEOUT if the
     * network lost it. Never called from inside a net_conn_* call. */
    void (*on_closed)(void *ctx, const struct err *why);
};

#define NET_HIGH_WATER (1u << 20)
#define NET_LOW_WATER  (256u << 10)

struct net_listener_ops {
    /* A connection was accepted. Call net_conn_start on it (now or later), or net_conn_close. */
    void (*on_accept)(void *ctx, struct net_conn *conn);
};

enum net_family { NET_TCP, NET_UNIX };
struct net_address {
    enum net_family family;
    char host[256]; /* IP literal or host name; socket path for NET_UNIX */
    uint16_t port;
};

/* Bind and listen: from now on the kernel takes connections, which wait for net_listener_start. TCP:
 * SO_REUSEADDR, dual stack for `::`, SO_REUSEPORT if `reuse_port` so that several loops can listen on one
 * port. NET_UNIX: an existing socket file is removed first. RC_IO with a sentence if the address is taken. */
enum rc net_listen(struct loop *l, const struct net_address *addr, bool reuse_port,
                   const struct net_listener_ops *ops, void *ctx, struct net_listener **out, struct err *err);
/* Hand a listener that was not started over to a loop whose thread does not run yet: the same socket, with
 * what waits there. `from` is gone unless this fails. */
enum rc net_listener_move(struct net_listener *from, struct loop *to, const struct net_listener_ops *ops,
                          void *ctx, struct net_listener **out, struct err *err);
/* The bound address with the real port. */
void net_listener_address(const struct net_listener *nl, struct net_address *out);
/* Begin accepting. Until then whoever connects is kept waiting, not turned away: a node that starts takes its
 * ports early (spec/ingress.md §1.4). */
enum rc net_listener_start(struct net_listener *nl, struct err *err);
/* Stop accepting and free; removes a unix socket file. */
void net_listener_close(struct net_listener *nl);

/* Resolve (DNS on the pool) and connect with TCP_NODELAY; on_connected exactly once with RC_OK or the error:
 * RC_CLOSED if the host answered that nobody listens there, else RC_UNAVAILABLE or RC_TIMEOUT.
 * On error the connection is freed after the callback. net_conn_close before that cancels (on_connected is
 * then not called). */
struct net_conn *net_connect(struct loop *l, const struct net_address *addr, uint64_t timeout_ms,
                             void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err),
                             void *ctx);

/* Set callbacks and begin reading. */
void net_conn_start(struct net_conn *c, const struct net_conn_ops *ops, void *ctx);
/* Queue bytes (consumes the reference). Written with one writev at the end of the iteration; order is kept.
 */
void net_conn_write(struct net_conn *c, struct bytes take);
size_t net_conn_write_pending(const struct net_conn *c);
void net_conn_pause(struct net_conn *c);
void net_conn_resume(struct net_conn *c);
/* Send FIN after everything queued. */
void net_conn_shutdown(struct net_conn *c);
/* Flush what the kernel takes at once, then close. on_closed follows in a later iteration. Idempotent. */
void net_conn_close(struct net_conn *c);
/* ---- another owner ----
 * The first bytes of a connection may decide who serves it, and on which loop. All on the connection's loop.
 */

/* Forget the callbacks and stop reading. net_conn_start, net_conn_detach or net_conn_close must follow before
 * the loop goes on: meanwhile nobody would hear that the connection broke. Nothing may be queued for writing.
 */
void net_conn_stop(struct net_conn *c);
/* After net_conn_stop: bytes that the next owner reads before all others. Consumes the reference. */
void net_conn_unread(struct net_conn *c, struct bytes take);
/* After net_conn_stop: a file descriptor of the socket for net_conn_adopt on another loop; the connection is
 * closed here. What was read stays the caller's business. -1 with a sentence if there is no descriptor left.
 */
int net_conn_detach(struct net_conn *c, struct err *err);
/* A connection out of a descriptor from net_conn_detach, consumed in any case; NULL with a sentence if the
 * loop cannot watch it. net_conn_unread is allowed until net_conn_start. */
struct net_conn *net_conn_adopt(struct loop *l, enum net_family family, int fd, struct err *err);
enum net_family net_conn_family(const struct net_conn *c);

/* Peer address as text, e.g. "127.0.0.1:4711" or "unix". */
void net_conn_peer(const struct net_conn *c, char *out, size_t cap);
struct loop *net_conn_loop(const struct net_conn *c);

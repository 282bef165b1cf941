/* Outgoing connections: resolve, try the addresses one after the other, give up in time (loop/net.h). */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/net_internal.h"

bool net_parse_ip(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    char bare[INET6_ADDRSTRLEN + 1];
    size_t len = strlen(host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(bare))
        return false;
    memcpy(bare, host, len);
    bare[len] = '\0';
    memset(out, 0, sizeof(*out));
    return uv_ip4_addr(bare, port, (struct sockaddr_in *)out) == 0 ||
           uv_ip6_addr(bare, port, (struct sockaddr_in6 *)out) == 0;
}

void net_format_ip(const struct sockaddr *sa, char *out, size_t cap)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        uv_ip6_name(in6, ip, sizeof(ip));
        snprintf(out, cap, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        uv_ip4_name(in, ip, sizeof(ip));
        snprintf(out, cap, "%s:%u", ip, ntohs(in->sin_port));
    }
}

bool attempt_abandon(struct net_attempt *a)
{
    a->on_connected = NULL;
    env_timer_cancel(&a->conn->loop->env, &a->timer);
    if (a->dns_pending) {
        uv_cancel((uv_req_t *)&a->dns); /* may be too late: the callback comes in either case */
        return false;
    }
    free(a);
    return true;
}

/* Every address failed, or time is up: tell, then free. Only called with the handle closed. */
static void attempt_failed(struct net_conn *c)
{
    struct net_attempt *a = c->attempt;
    ASSERT(!c->handle_live && c->state == CONN_CONNECTING && a->err.rc != RC_OK);
    void (*on_connected)(void *, struct net_conn *, const struct err *) = a->on_connected;
    struct err err = a->err;
    c->state = CONN_CLOSING; /* a net_conn_close from the callback finds nothing to do */
    env_timer_cancel(&c->loop->env, &a->timer);
    if (on_connected)
        on_connected(a->ctx, c, &err);
    conn_finish_close(c);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct net_conn *c = req->data;
    struct net_attempt *a = c->attempt;
    loop_mark_awake(c->loop);
    if (c->state != CONN_CONNECTING || uv_is_closing(&c->uv.handle))
        return; /* closed or timed out meanwhile */
    if (status < 0) {
        err_set_uv(&a->err, status == UV_ECONNREFUSED ? RC_CLOSED : RC_UNAVAILABLE, status,
                   "cannot connect to %s", a->target);
        uv_close(&c->uv.handle, conn_handle_closed);
        return;
    }
    void (*on_connected)(void *, struct net_conn *, const struct err *) = a->on_connected;
    void *ctx = a->ctx;
    c->attempt = NULL;
    attempt_abandon(a);
    conn_opened(c);
    struct err ok = {0};
    on_connected(ctx, c, &ok);
}

/* Time for the next attempt: an equal share of what is left for each remaining address. */
static void arm_attempt_timer(struct net_attempt *a)
{
    if (a->deadline_ms == UINT64_MAX)
        return;
    struct env *env = &a->conn->loop->env;
    uint64_t now = env_mono_ms(env), left = a->deadline_ms > now ? a->deadline_ms - now : 0;
    uint64_t shares = a->n_addrs > a->next_addr ? a->n_addrs - a->next_addr : 1;
    env_timer_arm(env, &a->timer, left / shares);
}

static void connect_next(struct net_conn *c)
{
    struct net_attempt *a = c->attempt;
    ASSERT(a->next_addr < a->n_addrs);
    arm_attempt_timer(a);
    const struct sockaddr *sa = (const struct sockaddr *)&a->addrs[a->next_addr++];
    int rc = uv_tcp_init_ex(&c->loop->uv, &c->uv.tcp, sa->sa_family);
    if (rc) { /* no socket to be had: uv has not registered the handle */
        err_set_uv(&a->err, RC_UNAVAILABLE, rc, "cannot create a socket for %s", a->target);
        rc = uv_tcp_init(&c->loop->uv, &c->uv.tcp); /* a handle to close, so that the report comes later */
        ASSERT(rc == 0);
        c->uv.handle.data = c;
        c->handle_live = true;
        uv_close(&c->uv.handle, conn_handle_closed);
        return;
    }
    c->uv.handle.data = c;
    c->handle_live = true;
    uv_tcp_nodelay(&c->uv.tcp, 1);
    uv_tcp_keepalive(&c->uv.tcp, 1, 60);
    a->connect.data = c;
    rc = uv_tcp_connect(&a->connect, &c->uv.tcp, sa, on_connect);
    if (rc) {
        err_set_uv(&a->err, RC_UNAVAILABLE, rc, "cannot connect to %s", a->target);
        uv_close(&c->uv.handle, conn_handle_closed);
    }
}

void attempt_handle_closed(struct net_conn *c)
{
    struct net_attempt *a = c->attempt;
    if (a->next_addr < a->n_addrs)
        connect_next(c);
    else
        attempt_failed(c);
}

static void on_attempt_timeout(struct env_timer *t)
{
    struct net_attempt *a = CONTAINER_OF(t, struct net_attempt, timer);
    struct net_conn *c = a->conn;
    if (c->handle_live && uv_is_closing(&c->uv.handle))
        return; /* failed already; its close callback goes on */
    err_set(&a->err, RC_TIMEOUT, "connecting to %s timed out", a->target);
    if (c->handle_live)
        uv_close(&c->uv.handle, conn_handle_closed);
    else
        attempt_failed(c);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *result)
{
    struct net_attempt *a = req->data;
    struct net_conn *c = a->conn;
    loop_mark_awake(c->loop);
    a->dns_pending = false;
    if (c->state == CONN_CONNECTING && status == 0) {
        for (struct addrinfo *ai = result; ai && a->n_addrs < NET_MAX_ADDRESSES; ai = ai->ai_next) {
            if (ai->ai_family == AF_INET || ai->ai_family == AF_INET6)
                memcpy(&a->addrs[a->n_addrs++], ai->ai_addr, ai->ai_addrlen);
        }
    }
    uv_freeaddrinfo(result);
    if (c->state == CONN_CLOSING) {
        conn_finish_close(c);
    } else if (a->n_addrs > 0) {
        connect_next(c);
    } else {
        err_set_uv(&a->err, RC_UNAVAILABLE, status ? status : UV_EAI_NONAME, "cannot resolve %s", a->target);
        attempt_failed(c);
    }
}

static void connect_unix(struct net_conn *c, const char *path)
{
    struct net_attempt *a = c->attempt;
    int rc = uv_pipe_init(&c->loop->uv, &c->uv.pipe, 0);
    ASSERT(rc == 0);
    c->uv.handle.data = c;
    c->handle_live = true;
    a->connect.data = c;
    arm_attempt_timer(a);
    uv_pipe_connect(&a->connect, &c->uv.pipe, path, on_connect);
}

static void resolve(struct net_conn *c, const char *host, uint16_t port)
{
    struct net_attempt *a = c->attempt;
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    a->dns.data = a;
    arm_attempt_timer(a);
    int rc = uv_getaddrinfo(&c->loop->uv, &a->dns, on_resolved, host, service, &hints);
    if (rc == 0) {
        a->dns_pending = true;
        return;
    }
    /* For instance a name that is too long: report it like a failed connection, later. */
    err_set_uv(&a->err, RC_UNAVAILABLE, rc, "cannot resolve %s", a->target);
    rc = uv_tcp_init(&c->loop->uv, &c->uv.tcp);
    ASSERT(rc == 0);
    c->uv.handle.data = c;
    c->handle_live = true;
    uv_close(&c->uv.handle, conn_handle_closed);
}

struct net_conn *net_connect(struct loop *l, const struct net_address *addr, uint64_t timeout_ms,
                             void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err),
                             void *ctx)
{
    ASSERT(on_connected);
    struct net_conn *c = conn_new(l, addr->family, CONN_CONNECTING);
    struct net_attempt *a = xcalloc(1, sizeof(*a));
    c->attempt = a;
    a->conn = c;
    a->on_connected = on_connected;
    a->ctx = ctx;
    a->deadline_ms = timeout_ms ? env_mono_ms(&l->env) + timeout_ms : UINT64_MAX;
    env_timer_init(&a->timer, on_attempt_timeout);
    if (addr->family == NET_UNIX) {
        snprintf(a->target, sizeof(a->target), "unix:%s", addr->host);
        connect_unix(c, addr->host);
        return c;
    }
    snprintf(a->target, sizeof(a->target),
             strchr(addr->host, ':') && addr->host[0] != '[' ? "[%s]:%u" : "%s:%u", addr->host, addr->port);
    if (net_parse_ip(addr->host, addr->port, &a->addrs[0])) {
        a->n_addrs = 1;
        connect_next(c);
    } else {
        resolve(c, addr->host, addr->port);
    }
    return c;
}

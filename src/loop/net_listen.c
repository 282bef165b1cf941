/* Listeners: bind, accept (loop/net.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/net_internal.h"

#define LISTEN_BACKLOG 1024

struct net_listener {
    struct loop_resource resource;
    struct loop *loop;
    union net_handle uv;
    struct net_address address;
    bool shared; /* counted in shared_ports */
    const struct net_listener_ops *ops;
    void *ctx;
};

/* ---- ports shared by several loops ----
 * SO_REUSEPORT would also let a second server of the same user take the port and steal half of the
 * connections. So the first listener of this process binds without it, which fails if anybody else has the
 * port, and turns it on afterwards; its siblings join with the option set. Only touched while listeners are
 * opened and closed. */

struct shared_port {
    struct list link;
    struct sockaddr_storage addr;
    size_t listeners;
};
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list shared_ports = {&shared_ports, &shared_ports};

static bool sockaddr_eq(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
    return x->sin6_port == y->sin6_port && memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

static struct shared_port *shared_find(const struct sockaddr_storage *addr)
{
    LIST_FOREACH(link, &shared_ports)
    {
        struct shared_port *p = CONTAINER_OF(link, struct shared_port, link);
        if (sockaddr_eq(&p->addr, addr))
            return p;
    }
    return NULL;
}

static void shared_release(const struct sockaddr_storage *addr)
{
    pthread_mutex_lock(&shared_lock);
    struct shared_port *p = shared_find(addr);
    ASSERT(p);
    if (--p->listeners == 0) {
        list_remove(&p->link);
        free(p);
    }
    pthread_mutex_unlock(&shared_lock);
}

/* bind(2) with the rule above. Returns 0 or the errno. */
static int bind_shared(int fd, struct sockaddr_storage *addr, socklen_t len)
{
    int on = 1, error = 0;
    pthread_mutex_lock(&shared_lock);
    struct shared_port *p = shared_find(addr);
    if (p)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)addr, len))
        error = errno;
    if (!error && !p) {
        /* Port 0 became a real one: siblings will ask for that. */
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
            getsockname(fd, (struct sockaddr *)addr, &len)) {
            error = errno;
        } else {
            p = xcalloc(1, sizeof(*p));
            p->addr = *addr;
            list_push_back(&shared_ports, &p->link);
        }
    }
    if (!error)
        p->listeners++;
    pthread_mutex_unlock(&shared_lock);
    return error;
}

/* ---- opening ---- */

/* Make the socket one of the listener's loop. */
static void adopt(struct net_listener *nl, int fd)
{
    bool is_unix = nl->address.family == NET_UNIX;
    int rc = is_unix ? uv_pipe_init(&nl->loop->uv, &nl->uv.pipe, 0) : uv_tcp_init(&nl->loop->uv, &nl->uv.tcp);
    ASSERT(rc == 0);
    rc = is_unix ? uv_pipe_open(&nl->uv.pipe, fd) : uv_tcp_open(&nl->uv.tcp, fd);
    ASSERT_MSG(rc == 0, "opening a listener's socket: %s", uv_strerror(rc));
    nl->uv.handle.data = nl;
}

static enum rc bind_failed(int fd, int error, const char *address, struct err *err)
{
    close(fd);
    return err_set_errno(err, RC_IO, error, "failed binding to address '%s'", address);
}

static enum rc open_tcp(struct net_listener *nl, bool reuse_port, struct err *err)
{
    const struct net_address *a = &nl->address;
    struct sockaddr_storage sa;
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    if (!net_parse_ip(host, a->port, &sa))
        return err_set(err, RC_INVALID, "cannot listen on '%s': not an IP address", a->host);
    char text[80];
    net_format_ip((struct sockaddr *)&sa, text, sizeof(text));
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create a socket for '%s'", text);
    int on = 1, off = 0, idle_s = 60;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* Accepted sockets inherit these: no system calls per connection. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    socklen_t len = sa.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int error = 0;
    if (reuse_port)
        error = bind_shared(fd, &sa, len);
    else if (bind(fd, (struct sockaddr *)&sa, len))
        error = errno;
    if (error)
        return bind_failed(fd, error, text, err);
    int rc = getsockname(fd, (struct sockaddr *)&sa, &len);
    ASSERT(rc == 0);
    if (listen(fd, LISTEN_BACKLOG)) {
        error = errno;
        if (reuse_port)
            shared_release(&sa);
        return bind_failed(fd, error, text, err);
    }
    nl->shared = reuse_port;
    nl->address.port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                                      : ((struct sockaddr_in *)&sa)->sin_port);
    adopt(nl, fd);
    return RC_OK;
}

static enum rc open_unix(struct net_listener *nl, struct err *err)
{
    const char *path = nl->address.host;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path))
        return err_set(err, RC_INVALID, "socket path '%s' is longer than %zu bytes", path,
                       sizeof(sa.sun_path) - 1);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create a socket for '%s'", path);
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, LISTEN_BACKLOG))
        return bind_failed(fd, errno, path, err);
    adopt(nl, fd);
    return RC_OK;
}

static void listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void listener_destroy(struct loop_resource *r)
{
    struct net_listener *nl = CONTAINER_OF(r, struct net_listener, resource);
    struct sockaddr_storage sa;
    int len = sizeof(sa);
    if (nl->shared && uv_tcp_getsockname(&nl->uv.tcp, (struct sockaddr *)&sa, &len) == 0)
        shared_release(&sa);
    if (nl->address.family == NET_UNIX)
        unlink(nl->address.host);
    uv_close(&nl->uv.handle, listener_closed);
}

enum rc net_listen(struct loop *l, const struct net_address *addr, bool reuse_port,
                   const struct net_listener_ops *ops, void *ctx, struct net_listener **out, struct err *err)
{
    struct net_listener *nl = xcalloc(1, sizeof(*nl));
    nl->loop = l;
    nl->address = *addr;
    nl->ops = ops;
    nl->ctx = ctx;
    enum rc rc = addr->family == NET_UNIX ? open_unix(nl, err) : open_tcp(nl, reuse_port, err);
    if (rc) {
        free(nl);
        return rc;
    }
    loop_resource_add(l, &nl->resource, listener_destroy);
    *out = nl;
    return RC_OK;
}

enum rc net_listener_move(struct net_listener *from, struct loop *to, const struct net_listener_ops *ops,
                          void *ctx, struct net_listener **out, struct err *err)
{
    uv_os_fd_t old;
    int rc = uv_fileno(&from->uv.handle, &old);
    ASSERT_MSG(rc == 0, "uv_fileno: %s", uv_strerror(rc));
    int fd = fcntl(old, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot hand over the socket of '%s'", from->address.host);
    struct net_listener *nl = xcalloc(1, sizeof(*nl));
    nl->loop = to;
    nl->address = from->address;
    nl->shared = from->shared;
    nl->ops = ops;
    nl->ctx = ctx;
    adopt(nl, fd);
    loop_resource_add(to, &nl->resource, listener_destroy);
    loop_resource_remove(&from->resource);
    uv_close(&from->uv.handle, listener_closed);
    *out = nl;
    return RC_OK;
}

void net_listener_address(const struct net_listener *nl, struct net_address *out)
{
    *out = nl->address;
}

/* ---- accepting ---- */

static void on_connection(uv_stream_t *server, int status)
{
    struct net_listener *nl = server->data;
    loop_mark_awake(nl->loop);
    if (status < 0) {
        LOG0(LOG_WARN, "restate_core::network::net_util", "Accepting a connection failed: %s",
             uv_strerror(status));
        return;
    }
    struct net_conn *c = conn_new(nl->loop, nl->address.family, CONN_OPEN);
    int rc = c->family == NET_UNIX ? uv_pipe_init(&nl->loop->uv, &c->uv.pipe, 0)
                                   : uv_tcp_init(&nl->loop->uv, &c->uv.tcp);
    ASSERT(rc == 0);
    c->uv.handle.data = c;
    c->handle_live = true;
    rc = uv_accept(server, &c->uv.stream);
    if (rc) {
        LOG0(LOG_WARN, "restate_core::network::net_util", "Accepting a connection failed: %s",
             uv_strerror(rc));
        conn_begin_close(c, NULL);
        return;
    }
    nl->ops->on_accept(nl->ctx, c);
}

enum rc net_listener_start(struct net_listener *nl, struct err *err)
{
    int rc = uv_listen(&nl->uv.stream, LISTEN_BACKLOG, on_connection);
    if (rc)
        return err_set_uv(err, RC_IO, rc, "failed binding to address '%s'", nl->address.host);
    return RC_OK;
}

void net_listener_close(struct net_listener *nl)
{
    loop_resource_remove(&nl->resource);
    listener_destroy(&nl->resource);
}

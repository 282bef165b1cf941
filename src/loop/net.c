/* Bytes over open connections: reading into shared buffers, the output queue, closing (loop/net.h). */
#include "loop/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/net_internal.h"

#define READ_BUF_SIZE   (64u << 10)
/* Reads below this are copied into a buffer of their own, so that a holder never pins more than four times
 * what it holds; the loop's read buffer is used again. */
#define READ_COPY_BELOW (READ_BUF_SIZE / 4)
#define WRITE_PARTS     64

static void conn_flush(struct loop_flush *f);
static void deliver_unread(struct env_task *t);

/* The loop is being freed: owners hear nothing any more. */
static void conn_destroy(struct loop_resource *r)
{
    struct net_conn *c = CONTAINER_OF(r, struct net_conn, resource);
    c->ops = NULL;
    if (c->attempt)
        c->attempt->on_connected = NULL;
    conn_begin_close(c, NULL);
}

struct net_conn *conn_new(struct loop *l, enum net_family family, enum conn_state state)
{
    struct net_conn *c = xcalloc(1, sizeof(*c));
    c->loop = l;
    c->family = family;
    c->state = state;
    loop_flush_init(&c->flush, conn_flush);
    env_task_init(&c->unread_task, deliver_unread);
    loop_resource_add(l, &c->resource, conn_destroy);
    return c;
}

/* ---- closing ---- */

void conn_finish_close(struct net_conn *c)
{
    ASSERT(c->state == CONN_CLOSING && !c->handle_live);
    if (c->attempt && !attempt_abandon(c->attempt))
        return; /* the resolver's callback comes back here */
    c->attempt = NULL;
    loop_resource_remove(&c->resource);
    const struct net_conn_ops *ops = c->ops;
    if (ops && ops->on_closed) {
        struct err orderly = {0};
        ops->on_closed(c->ctx, c->why ? c->why : &orderly);
    }
    for (size_t i = c->head; i < c->len; i++)
        bytes_unref(&c->items[i]);
    bytes_unref(&c->unread);
    free(c->items);
    free(c->why);
    free(c);
}

void conn_handle_closed(uv_handle_t *handle)
{
    struct net_conn *c = handle->data;
    c->handle_live = false;
    if (c->state == CONN_CLOSING)
        conn_finish_close(c);
    else
        attempt_handle_closed(c);
}

void conn_begin_close(struct net_conn *c, const struct err *why)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    list_remove(&c->flush.link);
    env_undefer(&c->unread_task);
    if (why) {
        c->why = xmalloc(sizeof(*c->why));
        *c->why = *why;
    }
    if (c->attempt)
        env_timer_cancel(&c->loop->env, &c->attempt->timer);
    if (!c->handle_live)
        conn_finish_close(c); /* still resolving: there is nothing to report to */
    else if (!uv_is_closing(&c->uv.handle))
        uv_close(&c->uv.handle, conn_handle_closed);
}

static void conn_fail_uv(struct net_conn *c, int uv_error, const char *what)
{
    struct err err;
    err_set_uv(&err, uv_error == UV_ETIMEDOUT ? RC_TIMEOUT : RC_CLOSED, uv_error, "%s", what);
    conn_begin_close(c, &err);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct net_conn *c = handle->data;
    struct loop *l = c->loop;
    if (!l->read_buf)
        l->read_buf = buf_new(READ_BUF_SIZE);
    *out = uv_buf_init((char *)l->read_buf->data, READ_BUF_SIZE);
}

static void deliver_read(struct net_conn *c, size_t n)
{
    struct loop *l = c->loop;
    if (n < READ_COPY_BELOW) {
        struct bytes copy = bytes_copy(slice_make(l->read_buf->data, n));
        c->ops->on_read(c->ctx, copy);
        bytes_unref(&copy);
        return;
    }
    struct buf *owner = l->read_buf;
    l->read_buf = NULL;
    c->ops->on_read(c->ctx, bytes_take_buf(owner, 0, n));
    if (!l->read_buf && atomic_load_explicit(&owner->refs, memory_order_acquire) == 1)
        l->read_buf = owner; /* nobody kept it */
    else
        buf_unref(owner);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct net_conn *c = stream->data;
    loop_mark_awake(c->loop);
    if (n == 0 || c->state != CONN_OPEN)
        return;
    if (n > 0) {
        deliver_read(c, (size_t)n);
        return;
    }
    uv_read_stop(stream);
    c->eof = true;
    if (n != UV_EOF) {
        conn_fail_uv(c, (int)n, "reading from the connection failed");
    } else if (c->ops->on_eof) {
        c->ops->on_eof(c->ctx);
    } else {
        struct err err;
        err_set(&err, RC_EOF, "the peer closed the connection");
        conn_begin_close(c, &err);
    }
}

static void conn_read_start(struct net_conn *c)
{
    if (c->state != CONN_OPEN || c->eof || c->paused || !c->ops)
        return;
    if (c->unread.len > 0) {
        env_defer(&c->loop->env, &c->unread_task);
        return;
    }
    int rc = uv_read_start(&c->uv.stream, on_alloc, on_read);
    ASSERT_MSG(rc == 0 || rc == UV_EALREADY, "uv_read_start: %s", uv_strerror(rc));
}

static void deliver_unread(struct env_task *t)
{
    struct net_conn *c = CONTAINER_OF(t, struct net_conn, unread_task);
    if (c->state != CONN_OPEN || c->paused || !c->ops)
        return;
    struct bytes data = c->unread;
    c->unread = BYTES_EMPTY;
    c->ops->on_read(c->ctx, data);
    bytes_unref(&data);
    conn_read_start(c);
}

void net_conn_start(struct net_conn *c, const struct net_conn_ops *ops, void *ctx)
{
    ASSERT(ops && ops->on_read && ops->on_closed && !c->ops);
    c->ops = ops;
    c->ctx = ctx;
    conn_read_start(c);
}

void net_conn_pause(struct net_conn *c)
{
    if (c->paused)
        return;
    c->paused = true;
    if (c->state == CONN_OPEN && !c->eof && c->ops)
        uv_read_stop(&c->uv.stream);
}

void net_conn_resume(struct net_conn *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    conn_read_start(c);
}

/* ---- another owner ---- */

void net_conn_stop(struct net_conn *c)
{
    ASSERT_MSG(c->state == CONN_CLOSING || (c->state == CONN_OPEN && c->pending_bytes == 0),
               "only an idle connection changes hands");
    if (c->state == CONN_OPEN && c->ops && !c->eof)
        uv_read_stop(&c->uv.stream);
    env_undefer(&c->unread_task);
    c->ops = NULL;
    c->ctx = NULL;
    c->paused = false;
}

void net_conn_unread(struct net_conn *c, struct bytes take)
{
    ASSERT(!c->ops);
    if (c->unread.len > 0) { /* behind nothing, before what is there */
        struct buf *both = buf_new(take.len + c->unread.len);
        memcpy(both->data, take.ptr, take.len);
        memcpy(both->data + take.len, c->unread.ptr, c->unread.len);
        size_t len = take.len + c->unread.len;
        bytes_unref(&take);
        bytes_unref(&c->unread);
        take = bytes_take_buf(both, 0, len);
    }
    c->unread = take;
}

int net_conn_detach(struct net_conn *c, struct err *err)
{
    ASSERT(!c->ops && c->unread.len == 0 && c->pending_bytes == 0);
    uv_os_fd_t fd;
    int copy = -1;
    if (c->state != CONN_OPEN || uv_fileno(&c->uv.handle, &fd) != 0)
        err_set(err, RC_CLOSED, "the connection is closed");
    else if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        err_set_errno(err, RC_IO, errno, "cannot duplicate a descriptor");
    conn_begin_close(c, NULL);
    return copy;
}

struct net_conn *net_conn_adopt(struct loop *l, enum net_family family, int fd, struct err *err)
{
    struct net_conn *c = conn_new(l, family, CONN_OPEN);
    int rc = family == NET_UNIX ? uv_pipe_init(&l->uv, &c->uv.pipe, 0) : uv_tcp_init(&l->uv, &c->uv.tcp);
    ASSERT(rc == 0);
    c->uv.handle.data = c;
    c->handle_live = true;
    rc = family == NET_UNIX ? uv_pipe_open(&c->uv.pipe, fd) : uv_tcp_open(&c->uv.tcp, fd);
    if (rc == 0)
        return c;
    err_set_uv(err, RC_IO, rc, "cannot take over a connection");
    close(fd);
    conn_begin_close(c, NULL);
    return NULL;
}

enum net_family net_conn_family(const struct net_conn *c)
{
    return c->family;
}

/* ---- writing ---- */

static void queue_push(struct net_conn *c, struct bytes item)
{
    if (c->head == c->len) {
        c->head = c->len = 0;
    } else if (c->len == c->cap && c->head >= c->cap / 2) { /* room at the front before growing */
        memmove(c->items, c->items + c->head, (c->len - c->head) * sizeof(*c->items));
        c->len -= c->head;
        c->head = 0;
    }
    if (c->len == c->cap)
        c->items = vec_grow(c->items, &c->cap, c->len + 1, sizeof(*c->items));
    c->items[c->len++] = item;
    c->pending_bytes += item.len;
}

/* The kernel took the first `n` bytes of the queue. */
static void queue_consume(struct net_conn *c, size_t n)
{
    ASSERT(n <= c->pending_bytes);
    c->pending_bytes -= n;
    while (n > 0) {
        struct bytes *first = &c->items[c->head];
        size_t left = first->len - c->head_off;
        if (n < left) {
            c->head_off += n;
            return;
        }
        n -= left;
        c->head_off = 0;
        c->head++;
        bytes_unref(first);
    }
}

/* The first parts of the queue as an array for writev; returns how many, `*total` their bytes. */
static unsigned queue_parts(const struct net_conn *c, uv_buf_t parts[WRITE_PARTS], size_t *total)
{
    unsigned n = 0;
    *total = 0;
    for (size_t i = c->head; i < c->len && n < WRITE_PARTS; i++, n++) {
        size_t skip = i == c->head ? c->head_off : 0;
        size_t len = MIN(c->items[i].len - skip, (size_t)1 << 30); /* uv counts in unsigned int */
        parts[n] = uv_buf_init((char *)c->items[i].ptr + skip, (unsigned)len);
        *total += len;
        if (len < c->items[i].len - skip) {
            n++;
            break;
        }
    }
    return n;
}

/* Hand bytes to the kernel until it has enough. Returns 0, UV_EAGAIN, or the error. */
static int write_now(struct net_conn *c)
{
    uv_buf_t parts[WRITE_PARTS];
    while (c->head < c->len) {
        size_t total;
        unsigned n_parts = queue_parts(c, parts, &total);
        int n = uv_try_write(&c->uv.stream, parts, n_parts);
        if (n < 0)
            return n;
        queue_consume(c, (size_t)n);
        if ((size_t)n < total)
            return UV_EAGAIN;
    }
    return 0;
}

static void after_write(struct net_conn *c)
{
    uv_os_fd_t fd;
    if (c->shutdown_asked && !c->shutdown_done && c->head == c->len) {
        c->shutdown_done = true;
        if (uv_fileno(&c->uv.handle, &fd) == 0)
            shutdown(fd, SHUT_WR);
    }
    if (c->over_high && c->pending_bytes <= NET_LOW_WATER) {
        c->over_high = false;
        if (c->ops && c->ops->on_drain)
            c->ops->on_drain(c->ctx);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct net_conn *c = req->data;
    loop_mark_awake(c->loop);
    c->write_in_flight = false;
    if (c->state != CONN_OPEN)
        return;
    if (status < 0) {
        conn_fail_uv(c, status, "writing to the connection failed");
        return;
    }
    queue_consume(c, c->in_flight_bytes);
    if (c->head < c->len)
        loop_flush_request(c->loop, &c->flush);
    after_write(c);
}

static void conn_flush(struct loop_flush *f)
{
    struct net_conn *c = CONTAINER_OF(f, struct net_conn, flush);
    if (c->state != CONN_OPEN || c->write_in_flight)
        return;
    int rc = write_now(c);
    if (rc == UV_EAGAIN) {
        uv_buf_t parts[WRITE_PARTS];
        unsigned n_parts = queue_parts(c, parts, &c->in_flight_bytes);
        c->write_req.data = c;
        c->write_in_flight = true;
        rc = uv_write(&c->write_req, &c->uv.stream, parts, n_parts, on_written);
        if (rc)
            c->write_in_flight = false;
    }
    if (rc)
        conn_fail_uv(c, rc, "writing to the connection failed");
    else
        after_write(c);
}

void net_conn_write(struct net_conn *c, struct bytes take)
{
    ASSERT_MSG(!c->shutdown_asked || c->state == CONN_CLOSING, "write after net_conn_shutdown");
    if (c->state == CONN_CLOSING || take.len == 0) {
        bytes_unref(&take);
        return;
    }
    queue_push(c, take);
    if (c->pending_bytes > NET_HIGH_WATER)
        c->over_high = true;
    if (c->state == CONN_OPEN && !c->write_in_flight)
        loop_flush_request(c->loop, &c->flush);
}

size_t net_conn_write_pending(const struct net_conn *c)
{
    if (!c->write_in_flight || c->state != CONN_OPEN)
        return c->pending_bytes;
    /* A long write is under way: what the kernel has taken of it no longer waits. */
    return c->pending_bytes - c->in_flight_bytes + uv_stream_get_write_queue_size(&c->uv.stream);
}

void net_conn_shutdown(struct net_conn *c)
{
    if (c->state == CONN_CLOSING || c->shutdown_asked)
        return;
    c->shutdown_asked = true;
    if (c->state == CONN_OPEN && !c->write_in_flight)
        loop_flush_request(c->loop, &c->flush);
}

void net_conn_close(struct net_conn *c)
{
    if (c->state == CONN_OPEN && !c->write_in_flight)
        write_now(c); /* what fails now, fails: the caller is no longer interested */
    conn_begin_close(c, NULL);
}

void conn_opened(struct net_conn *c)
{
    c->state = CONN_OPEN;
    if (c->head < c->len || c->shutdown_asked)
        loop_flush_request(c->loop, &c->flush);
    conn_read_start(c);
}

/* ---- queries ---- */

void net_conn_peer(const struct net_conn *c, char *out, size_t cap)
{
    if (c->family == NET_UNIX) {
        snprintf(out, cap, "unix");
        return;
    }
    struct sockaddr_storage sa;
    int len = sizeof(sa);
    if (c->handle_live && uv_tcp_getpeername(&c->uv.tcp, (struct sockaddr *)&sa, &len) == 0)
        net_format_ip((struct sockaddr *)&sa, out, cap);
    else
        snprintf(out, cap, "unknown");
}

struct loop *net_conn_loop(const struct net_conn *c)
{
    return c->loop;
}

/* Connection and response parser of the load generator. It trusts the server under test as far as a benchmark
 * may: content-length or chunked framing, no pipelining. */
#include "load_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rc.h"

bool load_conn_open(struct load_conn *c, const struct sockaddr_in *addr)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    if (connect(c->fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0) {
        int error = errno;
        close(c->fd);
        c->fd = -1;
        errno = error;
        return false;
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    c->busy = c->want_write = false;
    load_conn_reset(c);
    return true;
}

void load_conn_close(struct load_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->out);
    free(c->in);
    c->out = c->in = NULL;
    c->out_cap = c->in_cap = 0;
}

void load_conn_reset(struct load_conn *c)
{
    c->in_len = 0;
    c->head_done = c->chunked = false;
    c->status = 0;
    c->body_off = c->body_len = 0;
}

bool load_conn_write(struct load_conn *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        c->out_off += (size_t)n;
    }
    return true;
}

/* in[] is NUL-terminated. False: not complete yet. */
static bool parse_head(struct load_conn *c)
{
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end)
        return false;
    c->head_done = true;
    c->body_off = (size_t)(end + 4 - c->in);
    char *space = strchr(c->in, ' ');
    c->status = space ? atoi(space + 1) : 0;
    for (char *line = strstr(c->in, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0)
            c->body_len = strtoul(line + 17, NULL, 10);
        else if (strncasecmp(line + 2, "transfer-encoding: chunked", 26) == 0)
            c->chunked = true;
    }
    return true;
}

static bool chunked_complete(const struct load_conn *c)
{
    size_t at = c->body_off;
    for (;;) {
        char *line_end = at < c->in_len ? strstr(c->in + at, "\r\n") : NULL;
        if (!line_end)
            return false;
        size_t size = strtoul(c->in + at, NULL, 16);
        at = (size_t)(line_end + 2 - c->in) + size + 2;
        if (at > c->in_len)
            return false;
        if (size == 0)
            return true;
    }
}

enum load_read load_conn_read(struct load_conn *c)
{
    for (;;) {
        if (c->in_cap - c->in_len < 4096) {
            c->in_cap = c->in_cap ? c->in_cap * 2 : 8192;
            c->in = xrealloc(c->in, c->in_cap);
        }
        size_t room = c->in_cap - c->in_len - 1;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return LOAD_READ_MORE;
        if (n <= 0)
            return LOAD_READ_BROKEN;
        c->in_len += (size_t)n;
        c->in[c->in_len] = 0;
        if (!c->head_done && !parse_head(c))
            continue;
        if (c->chunked ? chunked_complete(c) : c->in_len - c->body_off >= c->body_len)
            return LOAD_READ_DONE;
        if ((size_t)n < room)
            return LOAD_READ_MORE;
    }
}

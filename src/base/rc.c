/* Result codes, error detail, assertions and the allocation wrappers of base/rc.h. */
#define _GNU_SOURCE /* strerror_r returning text, vasprintf */
#include "base/rc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const rc_names[] = {
    [RC_OK] = "ok",
    [RC_AGAIN] = "again",
    [RC_EOF] = "eof",
    [RC_NOT_FOUND] = "not_found",
    [RC_EXISTS] = "exists",
    [RC_INVALID] = "invalid",
    [RC_TOO_LARGE] = "too_large",
    [RC_UNSUPPORTED] = "unsupported",
    [RC_CONFLICT] = "conflict",
    [RC_CORRUPT] = "corrupt",
    [RC_IO] = "io",
    [RC_NO_SPACE] = "no_space",
    [RC_CLOSED] = "closed",
    [RC_TIMEOUT] = "timeout",
    [RC_UNAVAILABLE] = "unavailable",
    [RC_NOT_LEADER] = "not_leader",
    [RC_LOST_LEADERSHIP] = "lost_leadership",
    [RC_SEALED] = "sealed",
    [RC_TRIMMED] = "trimmed",
    [RC_OVERLOADED] = "overloaded",
    [RC_CANCELED] = "canceled",
    [RC_INTERNAL] = "internal",
};

const char *rc_name(enum rc rc)
{
    if ((size_t)rc < ARRAY_LEN(rc_names) && rc_names[rc])
        return rc_names[rc];
    return "unknown";
}

enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...)
{
    if (err) {
        /* Formatted aside first, so that a caller may pass err->msg as an argument. */
        char msg[ERR_MESSAGE_SIZE];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(msg, sizeof(msg), fmt, ap);
        va_end(ap);
        memcpy(err->msg, msg, strlen(msg) + 1);
        err->rc = rc;
    }
    return rc;
}

enum rc err_set_errno(struct err *err, enum rc rc, int errnum, const char *fmt, ...)
{
    if (errnum == ENOSPC || errnum == EDQUOT)
        rc = RC_NO_SPACE;
    if (err) {
        char msg[ERR_MESSAGE_SIZE];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(msg, sizeof(msg), fmt, ap);
        va_end(ap);
        char text[128];
        const char *why = strerror_r(errnum, text, sizeof(text)); /* the GNU variant */
        size_t len = strlen(msg);
        snprintf(msg + len, sizeof(msg) - len, ": %s", why);
        memcpy(err->msg, msg, strlen(msg) + 1);
        err->rc = rc;
    }
    return rc;
}

void err_prefix(struct err *err, const char *fmt, ...)
{
    if (!err)
        return;
    char msg[ERR_MESSAGE_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    size_t len = strlen(msg);
    snprintf(msg + len, sizeof(msg) - len, "%s", err->msg);
    memcpy(err->msg, msg, strlen(msg) + 1);
}

void assert_failed(const char *file, int line, const char *expr, const char *fmt, ...)
{
    /* Straight to the descriptor: the process may be in any state, the log must not be relied on. */
    char msg[1024];
    int n = snprintf(msg, sizeof(msg), "assertion failed at %s:%d: %s", file, line, expr);
    size_t len = MIN((size_t)n, sizeof(msg) - 1);
    if (fmt[0] && strcmp(fmt, "%s") != 0 && len + 2 < sizeof(msg)) {
        memcpy(msg + len, ": ", 3);
        len += 2;
        va_list ap;
        va_start(ap, fmt);
        n = vsnprintf(msg + len, sizeof(msg) - len, fmt, ap);
        va_end(ap);
        len = MIN(len + (size_t)n, sizeof(msg) - 1);
    }
    len = MIN(len, sizeof(msg) - 2);
    msg[len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, msg, len);
    (void)ignored;
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    ASSERT_MSG(p, "out of memory allocating %zu bytes", size);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    ASSERT_MSG(p, "out of memory allocating %zu x %zu bytes", n, size);
    return p;
}

void *xrealloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    ASSERT_MSG(p, "out of memory allocating %zu bytes", size);
    return p;
}

char *xstrdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(xmalloc(size), s, size);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *out = NULL;
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    ASSERT_MSG(n >= 0, "formatting \"%s\" failed", fmt);
    return out;
}

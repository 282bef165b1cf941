/* Result codes and error detail. Every fallible function returns an `enum rc`; the sentence for a
 * person goes into a caller-provided `struct err`. Nothing in the project communicates through errno
 * across a function boundary. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum rc {
    RC_OK = 0,
    RC_AGAIN, /* nothing to do now, try when told (not an error) */
    RC_EOF,   /* orderly end of input */
    RC_NOT_FOUND,
    RC_EXISTS,
    RC_INVALID,   /* malformed input: bytes, text, configuration */
    RC_TOO_LARGE, /* a documented limit was exceeded */
    RC_UNSUPPORTED,
    RC_CONFLICT, /* a precondition (version, state) does not hold */
    RC_CORRUPT,  /* stored bytes fail their checksum or contradict themselves */
    RC_IO,       /* the operating system refused an I/O operation */
    RC_NO_SPACE, /* disk full; retriable once space returns */
    RC_CLOSED,   /* the other side, or this object, is gone */
    RC_TIMEOUT,
    RC_UNAVAILABLE,     /* certainly not processed; may be retried safely */
    RC_NOT_LEADER,      /* certainly not processed: this node does not lead the partition */
    RC_LOST_LEADERSHIP, /* outcome unknown */
    RC_SEALED,          /* the log segment takes no more appends */
    RC_TRIMMED,         /* the requested log position has been trimmed */
    RC_OVERLOADED,      /* a bounded queue or budget is full; certainly not processed */
    RC_CANCELED,
    RC_INTERNAL, /* a bug that was contained; details in the err */
};

/* Stable lower-case name, e.g. "not_found". Never NULL. */
const char *rc_name(enum rc rc);

#define ERR_MESSAGE_SIZE 480

/* Detail of an error. Zero-initialise; `msg` is always NUL-terminated. */
struct err {
    enum rc rc;
    char msg[ERR_MESSAGE_SIZE];
};

/* Fill `err` (may be NULL) and return `rc`, so that `return err_set(err, RC_INVALID, "...")` reads well. */
enum rc err_set(struct err *err, enum rc rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Like err_set, appending ": " and strerror(errnum). Maps ENOSPC/EDQUOT to RC_NO_SPACE, else uses `rc`. */
enum rc err_set_errno(struct err *err, enum rc rc, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Put a prefix in front of the message that is already there. */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Assertions stay on in release builds (principle 6): print location, expression and a sentence, then abort.
 */
_Noreturn void assert_failed(const char *file, int line, const char *expr, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#define ASSERT(expr)          ((expr) ? (void)0 : assert_failed(__FILE__, __LINE__, #expr, "%s", ""))
#define ASSERT_MSG(expr, ...) ((expr) ? (void)0 : assert_failed(__FILE__, __LINE__, #expr, __VA_ARGS__))
#define UNREACHABLE(...)      assert_failed(__FILE__, __LINE__, "unreachable", __VA_ARGS__)

/* Allocation never returns NULL: running out of address space is a programmer or operator error that
 * no caller can mend; memory is bounded by budgets long before. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#ifndef MIN /* <sys/param.h>, which some libraries' headers pull in, has the same two */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

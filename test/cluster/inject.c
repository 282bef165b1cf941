/* Preloaded into a server under test (inject.mjs builds it): shifts its wall clock, and ends the process
 * between two storage operations. Works for any dynamically linked server, so the official one can be shown
 * the same.
 *
 *   INJECT_CLOCK=<file>  8 bytes, little-endian: milliseconds added to CLOCK_REALTIME; may change while the
 * process runs INJECT_CRASH=<n>     the process ends, as by SIGKILL, in place of its n-th storage operation:
 * a write to or a change of the size, name or durability of a regular file. What was written before stays in
 * the page cache: a crash of the process, not of the machine (torn and lost writes are the simulator's,
 * sim/cluster_disk.c). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_ms;
static _Atomic long left;

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("INJECT_CLOCK"), *crash = getenv("INJECT_CRASH");
    if (file) {
        int fd = open(file, O_RDONLY);
        void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            abort();
        close(fd);
        shift_ms = p;
    }
    left = crash ? atol(crash) : 0;
}

/* Raw system calls: the C library's functions may call one another through the names that are taken over
 * here. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && shift_ms && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = t->tv_nsec + (*shift_ms % 1000) * 1000000;
        t->tv_sec += *shift_ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
        t->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *tv = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

static void operation(void)
{
    if (left > 0 && atomic_fetch_sub(&left, 1) == 1) {
        static const char text[] = "inject: the process ends in place of a storage operation\n";
        (void)!write(2, text, sizeof(text) - 1);
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
}

static int is_file(int fd)
{
    struct stat s;
    return left > 0 && fd > 2 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FILE(type, name, parameters, arguments)                                                           \
    type name parameters                                                                                     \
    {                                                                                                        \
        if (is_file(fd))                                                                                     \
            operation();                                                                                     \
        return NEXT(name) arguments;                                                                         \
    }
#define ON_NAME(type, name, parameters, arguments)                                                           \
    type name parameters                                                                                     \
    {                                                                                                        \
        operation();                                                                                         \
        return NEXT(name) arguments;                                                                         \
    }

ON_FILE(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))
ON_FILE(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
ON_FILE(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, n, at))
ON_FILE(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
ON_FILE(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
ON_FILE(int, fdatasync, (int fd), (fd))
ON_FILE(int, fsync, (int fd), (fd))
ON_FILE(int, ftruncate, (int fd, off_t n), (fd, n))
ON_FILE(int, ftruncate64, (int fd, off64_t n), (fd, n))
ON_FILE(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
ON_FILE(int, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
ON_NAME(int, rename, (const char *a, const char *b), (a, b))
ON_NAME(int, unlink, (const char *a), (a))
ON_NAME(int, mkdir, (const char *a, mode_t m), (a, m))

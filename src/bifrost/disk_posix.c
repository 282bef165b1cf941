/* The disk over system calls: one directory, O_DIRECT|O_DSYNC where the file system takes it. */
#define _GNU_SOURCE /* O_DIRECT, fallocate, scandirat */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "bifrost/disk.h"

#define LOG_TARGET "restate_bifrost::disk"
#define ZERO_CHUNK ((size_t)1 << 20)

struct disk_posix {
    struct disk disk;
    int dir_fd;
    int open_flags; /* O_DIRECT | O_DSYNC, or 0 when buffered */
    char *path;
};

struct disk_file {
    int fd;
    char name[64];
};

static struct disk_posix *posix_of(struct disk *d)
{
    return CONTAINER_OF(d, struct disk_posix, disk);
}

void *disk_alloc(size_t len)
{
    void *ptr = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);
    ASSERT_MSG(ptr, "out of memory allocating %zu bytes", len);
    return ptr;
}

/* A write or sync that failed for another reason than space: the state of the disk is unknown, and asking
 * again may answer "fine" for data that was dropped. Stop (principle 6). */
static _Noreturn void disk_fatal(struct disk_posix *p, const char *what, const char *name, int errnum)
{
    LOG0(LOG_ERROR, LOG_TARGET,
         "%s of %s/%s failed: %s. The log on this disk can no longer be trusted to be durable; stopping the "
         "process",
         what, p->path, name, strerror(errnum));
    abort();
}

static enum rc posix_open_file(struct disk *d, const char *name, bool create, struct disk_file **out,
                               struct err *err)
{
    struct disk_posix *p = posix_of(d);
    int flags = O_RDWR | O_CLOEXEC | p->open_flags | (create ? O_CREAT | O_EXCL : 0);
    int fd = openat(p->dir_fd, name, flags, 0600);
    if (fd < 0) {
        enum rc rc = errno == EEXIST ? RC_EXISTS : errno == ENOENT ? RC_NOT_FOUND : RC_IO;
        return err_set_errno(err, rc, errno, "cannot open %s/%s", p->path, name);
    }
    struct disk_file *f = xcalloc(1, sizeof(*f));
    f->fd = fd;
    snprintf(f->name, sizeof(f->name), "%s", name);
    *out = f;
    return RC_OK;
}

static void posix_close_file(struct disk *d, struct disk_file *f)
{
    close(f->fd);
    free(f);
}

static enum rc posix_size(struct disk *d, struct disk_file *f, uint64_t *out, struct err *err)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return err_set_errno(err, RC_IO, errno, "cannot stat %s/%s", posix_of(d)->path, f->name);
    *out = (uint64_t)st.st_size;
    return RC_OK;
}

/* Write everything; returns 0 or the error number. */
static int write_fully(int fd, uint64_t offset, const uint8_t *ptr, size_t len)
{
    while (len) {
        ssize_t n = pwrite(fd, ptr, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO;
        ptr += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static enum rc posix_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *ptr, size_t len,
                           struct err *err)
{
    struct disk_posix *p = posix_of(d);
    ASSERT(offset % d->block_size == 0 && len % d->block_size == 0 && (uintptr_t)ptr % d->block_size == 0);
    d->writes++;
    d->bytes_written += len;
    d->syncs++;
    int errnum = write_fully(f->fd, offset, ptr, len);
    if (errnum == ENOSPC || errnum == EDQUOT)
        return err_set_errno(err, RC_NO_SPACE, errnum, "cannot write %s/%s", p->path, f->name);
    if (errnum)
        disk_fatal(p, "write", f->name, errnum);
    if (!(p->open_flags & O_DSYNC) && fdatasync(f->fd) != 0)
        disk_fatal(p, "fdatasync", f->name, errno);
    return RC_OK;
}

static enum rc posix_read(struct disk *d, struct disk_file *f, uint64_t offset, void *ptr, size_t len,
                          size_t *got, struct err *err)
{
    ASSERT(offset % d->block_size == 0 && len % d->block_size == 0 && (uintptr_t)ptr % d->block_size == 0);
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(f->fd, (uint8_t *)ptr + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, RC_IO, errno, "cannot read %s/%s at offset %llu", posix_of(d)->path,
                                 f->name, (unsigned long long)(offset + done));
        if (n == 0)
            break;
        done += (size_t)n;
        if (done % d->block_size) /* the end of a file that was cut off inside a block */
            break;
    }
    *got = done;
    return RC_OK;
}

static enum rc posix_sync(struct disk *d, struct disk_file *f, struct err *err)
{
    d->syncs++;
    if (fsync(f->fd) != 0)
        disk_fatal(posix_of(d), "fsync", f->name, errno);
    return RC_OK;
}

static enum rc posix_zero_fill(struct disk *d, struct disk_file *f, uint64_t size, struct err *err)
{
    struct disk_posix *p = posix_of(d);
    ASSERT(size % d->block_size == 0);
    /* A descriptor without O_DSYNC: one sync at the end instead of one per chunk. */
    int fd = openat(p->dir_fd, f->name, O_RDWR | O_CLOEXEC | (p->open_flags & O_DIRECT));
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot open %s/%s", p->path, f->name);
    int errnum = 0;
    if (fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP)
        errnum = errno;
    uint8_t *zeros = disk_alloc(ZERO_CHUNK);
    memset(zeros, 0, ZERO_CHUNK);
    for (uint64_t at = 0; at < size && !errnum; at += ZERO_CHUNK)
        errnum = write_fully(fd, at, zeros, MIN(ZERO_CHUNK, size - at));
    free(zeros);
    d->syncs++;
    if (!errnum && fsync(fd) != 0)
        disk_fatal(p, "fsync", f->name, errno);
    close(fd);
    if (errnum)
        return err_set_errno(err, RC_IO, errnum, "cannot allocate %llu bytes for %s/%s",
                             (unsigned long long)size, p->path, f->name);
    return RC_OK;
}

static void sync_directory(struct disk_posix *p)
{
    p->disk.syncs++;
    if (fsync(p->dir_fd) != 0)
        disk_fatal(p, "fsync", ".", errno);
}

static enum rc posix_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    struct disk_posix *p = posix_of(d);
    if (renameat(p->dir_fd, from, p->dir_fd, to) != 0)
        return err_set_errno(err, errno == ENOENT ? RC_NOT_FOUND : RC_IO, errno, "cannot rename %s/%s to %s",
                             p->path, from, to);
    sync_directory(p);
    return RC_OK;
}

static enum rc posix_remove(struct disk *d, const char *name, struct err *err)
{
    struct disk_posix *p = posix_of(d);
    if (unlinkat(p->dir_fd, name, 0) != 0)
        return err_set_errno(err, errno == ENOENT ? RC_NOT_FOUND : RC_IO, errno, "cannot remove %s/%s",
                             p->path, name);
    sync_directory(p);
    return RC_OK;
}

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum rc posix_list(struct disk *d, void (*visit)(void *ctx, const char *name), void *ctx,
                          struct err *err)
{
    struct disk_posix *p = posix_of(d);
    struct dirent **entries;
    int n = scandirat(p->dir_fd, ".", &entries, not_hidden, by_bytes);
    if (n < 0)
        return err_set_errno(err, RC_IO, errno, "cannot list %s", p->path);
    for (int i = 0; i < n; i++) {
        visit(ctx, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return RC_OK;
}

static void posix_free(struct disk *d)
{
    struct disk_posix *p = posix_of(d);
    close(p->dir_fd); /* releases the lock */
    free(p->path);
    free(p);
}

static const struct disk_ops posix_ops = {
    .open = posix_open_file,
    .close = posix_close_file,
    .size = posix_size,
    .write = posix_write,
    .read = posix_read,
    .sync = posix_sync,
    .zero_fill = posix_zero_fill,
    .rename = posix_rename,
    .remove = posix_remove,
    .list = posix_list,
    .free = posix_free,
};

/* The device's own unit of writing as the kernel reports it, 512 if it does not say. A device that presents
 * 512-byte sectors over 4096-byte ones rewrites the neighbours of a small write: a power failure then could
 * tear a block that had been acknowledged, so such a device gets 4096. */
static size_t physical_block_size(int dir_fd)
{
    struct stat st;
    if (fstat(dir_fd, &st) != 0)
        return 512;
    static const char *const forms[] = {"/sys/dev/block/%u:%u/queue/physical_block_size",
                                        "/sys/dev/block/%u:%u/../queue/physical_block_size"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char path[96];
        snprintf(path, sizeof(path), forms[i], major(st.st_dev), minor(st.st_dev));
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        unsigned value = 0;
        int n = fscanf(f, "%u", &value);
        fclose(f);
        if (n == 1 && value >= 512)
            return value > 512 ? 4096 : 512;
    }
    return 512;
}

/* Does the file system take direct, synchronous writes of `block` bytes? Tried on a scratch file. */
static bool accepts_direct(struct disk_posix *p, size_t block)
{
    int fd = openat(p->dir_fd, "probe", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT | O_DSYNC, 0600);
    if (fd < 0)
        return false;
    uint8_t *ptr = disk_alloc(block);
    memset(ptr, 0, block);
    bool ok = pwrite(fd, ptr, block, (off_t)block) == (ssize_t)block;
    free(ptr);
    close(fd);
    return ok;
}

static void choose_block_size(struct disk_posix *p)
{
    size_t physical = physical_block_size(p->dir_fd);
    p->open_flags = O_DIRECT | O_DSYNC;
    if (physical == 512 && accepts_direct(p, 512)) {
        p->disk.block_size = 512;
    } else {
        p->disk.block_size = 4096;
        if (!accepts_direct(p, 4096))
            p->open_flags = 0;
    }
    unlinkat(p->dir_fd, "probe", 0);
}

enum rc disk_posix_open(const char *path, struct disk **out, struct err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, RC_IO, errno, "cannot create directory %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot open directory %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;
        close(fd);
        if (errnum == EWOULDBLOCK)
            return err_set(err, RC_CONFLICT, "the log directory %s is in use by another process", path);
        return err_set_errno(err, RC_IO, errnum, "cannot lock directory %s", path);
    }
    struct disk_posix *p = xcalloc(1, sizeof(*p));
    p->disk.ops = &posix_ops;
    p->dir_fd = fd;
    p->path = xstrdup(path);
    choose_block_size(p);
    *out = &p->disk;
    return RC_OK;
}

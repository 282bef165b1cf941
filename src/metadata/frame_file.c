/* Files of frames: see frame_file.h. */
#include "metadata/frame_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"

#define FRAME_MAGIC 0x314d5246u

struct frame_file {
    const struct frame_format *format;
    char *path, *temp_path;
    int dir_fd, lock_fd, fd;
    size_t size;
    uint64_t sequence;
};

static uint32_t frame_crc(const uint8_t *frame, size_t body_len)
{
    uint32_t crc = crc32c(0, frame + 4, 4);
    return crc32c(crc, frame + 12, 8 + body_len);
}

/* Is there a whole frame at `at`? */
static bool frame_at(struct slice content, size_t at, struct slice *body, uint64_t *sequence)
{
    if (content.len - at < FRAME_HEAD || get_u32le(content.ptr + at) != FRAME_MAGIC)
        return false;
    size_t len = get_u32le(content.ptr + at + 4);
    if (len > FRAME_BODY_MAX || len > content.len - at - FRAME_HEAD)
        return false;
    if (get_u32le(content.ptr + at + 8) != frame_crc(content.ptr + at, len))
        return false;
    *sequence = get_u64le(content.ptr + at + 12);
    *body = slice_sub(content, at + FRAME_HEAD, len);
    return true;
}

/* A frame was synced before the next one was written: a good frame behind a broken one is no torn tail. */
static bool good_frame_behind(struct slice content, size_t at, uint64_t sequence)
{
    for (size_t i = at; i + FRAME_HEAD <= content.len; i++) {
        struct slice body;
        uint64_t found;
        if (frame_at(content, i, &body, &found) && found > sequence)
            return true;
    }
    return false;
}

enum rc frame_scan(const struct frame_format *format, struct slice content, frame_visit visit, void *ctx,
                   size_t *good, uint64_t *sequence, struct err *err)
{
    *good = 0;
    *sequence = 0;
    size_t head = MIN(content.len, (size_t)FRAME_FILE_HEADER);
    if (head && memcmp(content.ptr, format->header, head) != 0)
        return err_set(err, RC_CORRUPT, "not a metadata file of this server, or of another version of it");
    if (head < FRAME_FILE_HEADER)
        return RC_OK;
    size_t at = FRAME_FILE_HEADER;
    struct slice body;
    uint64_t number;
    while (frame_at(content, at, &body, &number)) {
        if (number != *sequence + 1 && at != FRAME_FILE_HEADER)
            return err_set(err, RC_CORRUPT, "frame %llu is followed by frame %llu at offset %zu",
                           (unsigned long long)*sequence, (unsigned long long)number, at);
        if (!format->readable(body))
            return err_set(err, RC_CORRUPT, "the frame at offset %zu has a good checksum but cannot be read",
                           at);
        visit(ctx, body);
        *sequence = number;
        at += FRAME_HEAD + body.len;
    }
    *good = at;
    if (good_frame_behind(content, at, *sequence))
        return err_set(err, RC_CORRUPT, "the frame at offset %zu is broken although later ones are not", at);
    return RC_OK;
}

static enum rc read_all(int fd, size_t size, struct bytes *out, struct err *err)
{
    struct buf *b = buf_new(size ? size : 1);
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, b->data + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            buf_unref(b);
            return err_set_errno(err, RC_IO, n < 0 ? errno : EIO, "read");
        }
        done += (size_t)n;
    }
    *out = bytes_take_buf(b, 0, size);
    return RC_OK;
}

enum rc frame_file_read(const char *path, struct bytes *out, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, RC_NOT_FOUND, "there is no %s", path);
    enum rc rc = RC_OK;
    if (fd < 0 || fstat(fd, &st))
        rc = err_set_errno(err, RC_IO, errno, "cannot open");
    else
        rc = read_all(fd, (size_t)st.st_size, out, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

static enum rc write_all(int fd, struct slice s, size_t offset, struct err *err)
{
    size_t done = 0;
    while (done < s.len) {
        ssize_t n = pwrite(fd, s.ptr + done, s.len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, RC_IO, n < 0 ? errno : EIO, "write");
        done += (size_t)n;
    }
    return RC_OK;
}

/* What may or may not have reached the disk cannot be known after a failed sync: stop (DESIGN principle 6).
 */
static void sync_or_abort(int fd, const char *path)
{
    if (fsync(fd) == 0)
        return;
    LOG0(LOG_ERROR, "restate_metadata_store",
         "fsync of %s failed: %s. The process stops, restart it once the disk is well.", path,
         strerror(errno));
    abort();
}

static struct slice header_of(const struct frame_file *f)
{
    return slice_make(f->format->header, FRAME_FILE_HEADER);
}

static enum rc recover(struct frame_file *f, frame_visit visit, void *ctx, struct err *err)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return err_set_errno(err, RC_IO, errno, "cannot stat %s", f->path);
    struct bytes content = BYTES_EMPTY;
    enum rc rc = read_all(f->fd, (size_t)st.st_size, &content, err);
    if (!rc)
        rc = frame_scan(f->format, bytes_slice(content), visit, ctx, &f->size, &f->sequence, err);
    bytes_unref(&content);
    if (rc) {
        err_prefix(err, "%s: ", f->path);
        return rc;
    }
    if (f->size == (size_t)st.st_size && f->size)
        return RC_OK;
    if (ftruncate(f->fd, (off_t)f->size))
        return err_set_errno(err, RC_IO, errno, "cannot cut the torn tail of %s", f->path);
    if (f->size == 0) {
        rc = write_all(f->fd, header_of(f), 0, err);
        if (rc)
            return rc;
        f->size = FRAME_FILE_HEADER;
    }
    sync_or_abort(f->fd, f->path);
    sync_or_abort(f->dir_fd, f->path);
    return RC_OK;
}

static enum rc take_lock(struct frame_file *f, const char *dir, const char *lock_name, struct err *err)
{
    f->lock_fd = openat(f->dir_fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->lock_fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create the lock file in %s", dir);
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return RC_OK;
    return err_set(err, RC_EXISTS, "the metadata store in %s is in use by another process", dir);
}

enum rc frame_file_open(const struct frame_format *format, const char *dir, const char *name,
                        const char *lock_name, frame_visit visit, void *ctx, struct frame_file **out,
                        struct err *err)
{
    struct frame_file *f = xcalloc(1, sizeof(*f));
    f->format = format;
    f->lock_fd = f->fd = -1;
    f->path = xasprintf("%s/%s", dir, name);
    f->temp_path = xasprintf("%s/%s.new", dir, name);
    enum rc rc = RC_OK;
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0)
        rc = err_set_errno(err, RC_IO, errno, "cannot open %s", dir);
    if (!rc)
        rc = take_lock(f, dir, lock_name, err);
    if (!rc) {
        unlink(f->temp_path); /* left by a crash while rewriting */
        f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (f->fd < 0)
            rc = err_set_errno(err, RC_IO, errno, "cannot open %s", f->path);
    }
    if (!rc)
        rc = recover(f, visit, ctx, err);
    if (rc) {
        frame_file_close(f);
        return rc;
    }
    *out = f;
    return RC_OK;
}

struct bytes frame_make(struct slice body, uint64_t sequence)
{
    ASSERT(body.len <= FRAME_BODY_MAX);
    struct buf *b = buf_new(FRAME_HEAD + body.len);
    put_u32le(b->data, FRAME_MAGIC);
    put_u32le(b->data + 4, (uint32_t)body.len);
    put_u64le(b->data + 12, sequence);
    if (body.len)
        memcpy(b->data + FRAME_HEAD, body.ptr, body.len);
    put_u32le(b->data + 8, frame_crc(b->data, body.len));
    return bytes_take_buf(b, 0, FRAME_HEAD + body.len);
}

enum rc frame_file_append(struct frame_file *f, struct slice body, struct err *err)
{
    struct bytes frame = frame_make(body, f->sequence + 1);
    enum rc rc = write_all(f->fd, bytes_slice(frame), f->size, err);
    size_t len = frame.len;
    bytes_unref(&frame);
    if (rc) {
        /* Half a frame must not stay in front of the next one. */
        if (ftruncate(f->fd, (off_t)f->size)) {
            LOG0(LOG_ERROR, "restate_metadata_store",
                 "cannot take back a failed write to %s: %s. The process stops.", f->path, strerror(errno));
            abort();
        }
        err_prefix(err, "%s: ", f->path);
        return rc;
    }
    sync_or_abort(f->fd, f->path);
    f->size += len;
    f->sequence++;
    return RC_OK;
}

enum rc frame_file_rewrite(struct frame_file *f, struct slice body, struct err *err)
{
    int fd = open(f->temp_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create %s", f->temp_path);
    struct bytes frame = frame_make(body, f->sequence + 1);
    enum rc rc = write_all(fd, header_of(f), 0, err);
    if (!rc)
        rc = write_all(fd, bytes_slice(frame), FRAME_FILE_HEADER, err);
    size_t size = FRAME_FILE_HEADER + frame.len;
    bytes_unref(&frame);
    if (!rc) {
        sync_or_abort(fd, f->temp_path);
        if (rename(f->temp_path, f->path))
            rc = err_set_errno(err, RC_IO, errno, "cannot replace %s", f->path);
    }
    if (rc) {
        close(fd);
        unlink(f->temp_path);
        return rc;
    }
    sync_or_abort(f->dir_fd, f->path);
    close(f->fd);
    f->fd = fd;
    f->size = size;
    f->sequence++;
    return RC_OK;
}

size_t frame_file_size(const struct frame_file *f)
{
    return f->size;
}

void frame_file_close(struct frame_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    if (f->lock_fd >= 0)
        close(f->lock_fd);
    if (f->dir_fd >= 0)
        close(f->dir_fd);
    free(f->path);
    free(f->temp_path);
    free(f);
}

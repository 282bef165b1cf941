/* The file of the local key-value provider: see kv_file.h. */
#include "metadata/kv_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"

#define FILE_HEADER   "RSTKV001"
#define FILE_HEADER_N 8u
#define FRAME_MAGIC   0x314d5246u
#define FRAME_HEAD    20u
#define BODY_MAX      (1u << 30)

struct kv_file {
    char *path, *temp_path;
    int dir_fd, lock_fd, fd;
    size_t size;
    uint64_t sequence;
};

void kv_file_op_write(struct writer *w, const struct kv_file_op *op)
{
    write_u8(w, (uint8_t)op->kind);
    write_u32le(w, op->version);
    write_lp(w, op->key);
    write_lp(w, op->value);
}

static bool op_read(struct reader *r, struct kv_file_op *op)
{
    op->kind = read_u8(r);
    op->version = read_u32le(r);
    op->key = read_lp(r);
    op->value = read_lp(r);
    return !r->failed && (op->kind == KV_FILE_PUT || op->kind == KV_FILE_DELETE);
}

static bool body_valid(struct slice body)
{
    struct reader r = reader_make(body);
    struct kv_file_op op;
    while (reader_left(&r))
        if (!op_read(&r, &op))
            return false;
    return true;
}

static void body_visit(struct slice body, kv_file_visit visit, void *ctx)
{
    struct reader r = reader_make(body);
    struct kv_file_op op;
    while (reader_left(&r) && op_read(&r, &op))
        visit(ctx, &op);
}

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
    if (len > BODY_MAX || len > content.len - at - FRAME_HEAD)
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

enum rc kv_file_scan(struct slice content, kv_file_visit visit, void *ctx, size_t *good, uint64_t *sequence,
                     struct err *err)
{
    *good = 0;
    *sequence = 0;
    size_t head = MIN(content.len, (size_t)FILE_HEADER_N);
    if (head && memcmp(content.ptr, FILE_HEADER, head) != 0)
        return err_set(err, RC_CORRUPT, "not a metadata file of this server, or of another version of it");
    if (head < FILE_HEADER_N)
        return RC_OK;
    size_t at = FILE_HEADER_N;
    struct slice body;
    uint64_t number;
    while (frame_at(content, at, &body, &number)) {
        if (number != *sequence + 1 && at != FILE_HEADER_N)
            return err_set(err, RC_CORRUPT, "frame %llu is followed by frame %llu at offset %zu",
                           (unsigned long long)*sequence, (unsigned long long)number, at);
        if (!body_valid(body))
            return err_set(err, RC_CORRUPT, "the frame at offset %zu has a good checksum but cannot be read",
                           at);
        body_visit(body, visit, ctx);
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

static enum rc recover(struct kv_file *f, kv_file_visit visit, void *ctx, struct err *err)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return err_set_errno(err, RC_IO, errno, "cannot stat %s", f->path);
    struct bytes content = BYTES_EMPTY;
    enum rc rc = read_all(f->fd, (size_t)st.st_size, &content, err);
    if (!rc)
        rc = kv_file_scan(bytes_slice(content), visit, ctx, &f->size, &f->sequence, err);
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
        rc = write_all(f->fd, SLICE_LIT(FILE_HEADER), 0, err);
        if (rc)
            return rc;
        f->size = FILE_HEADER_N;
    }
    sync_or_abort(f->fd, f->path);
    sync_or_abort(f->dir_fd, f->path);
    return RC_OK;
}

static enum rc take_lock(struct kv_file *f, const char *dir, struct err *err)
{
    f->lock_fd = openat(f->dir_fd, "metadata.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->lock_fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create the lock file in %s", dir);
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return RC_OK;
    return err_set(err, RC_EXISTS, "the metadata store in %s is in use by another process", dir);
}

enum rc kv_file_open(const char *dir, kv_file_visit visit, void *ctx, struct kv_file **out, struct err *err)
{
    struct kv_file *f = xcalloc(1, sizeof(*f));
    f->lock_fd = f->fd = -1;
    f->path = xasprintf("%s/metadata.kv", dir);
    f->temp_path = xasprintf("%s/metadata.kv.new", dir);
    enum rc rc = RC_OK;
    f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0)
        rc = err_set_errno(err, RC_IO, errno, "cannot open %s", dir);
    if (!rc)
        rc = take_lock(f, dir, err);
    if (!rc) {
        unlink(f->temp_path); /* left by a crash while rewriting */
        f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (f->fd < 0)
            rc = err_set_errno(err, RC_IO, errno, "cannot open %s", f->path);
    }
    if (!rc)
        rc = recover(f, visit, ctx, err);
    if (rc) {
        kv_file_close(f);
        return rc;
    }
    *out = f;
    return RC_OK;
}

static struct bytes make_frame(struct slice body, uint64_t sequence)
{
    ASSERT(body.len <= BODY_MAX);
    struct buf *b = buf_new(FRAME_HEAD + body.len);
    put_u32le(b->data, FRAME_MAGIC);
    put_u32le(b->data + 4, (uint32_t)body.len);
    put_u64le(b->data + 12, sequence);
    if (body.len)
        memcpy(b->data + FRAME_HEAD, body.ptr, body.len);
    put_u32le(b->data + 8, frame_crc(b->data, body.len));
    return bytes_take_buf(b, 0, FRAME_HEAD + body.len);
}

enum rc kv_file_append(struct kv_file *f, struct slice body, struct err *err)
{
    struct bytes frame = make_frame(body, f->sequence + 1);
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

enum rc kv_file_rewrite(struct kv_file *f, struct slice body, struct err *err)
{
    int fd = open(f->temp_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create %s", f->temp_path);
    struct bytes frame = make_frame(body, f->sequence + 1);
    enum rc rc = write_all(fd, SLICE_LIT(FILE_HEADER), 0, err);
    if (!rc)
        rc = write_all(fd, bytes_slice(frame), FILE_HEADER_N, err);
    size_t size = FILE_HEADER_N + frame.len;
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

size_t kv_file_size(const struct kv_file *f)
{
    return f->size;
}

void kv_file_close(struct kv_file *f)
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

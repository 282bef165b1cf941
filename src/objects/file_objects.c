/* Implementation of objects/file_objects.h. Every operation is one job. The ETag is a hash of the content:
 * equal content is the same object as far as conditions are concerned. */
#include "objects/file_objects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "objects/job_store.h"

#define TEMP_PREFIX ".tmp-" /* then the process id, so that what a dead process left can be told */
#define LOCK_NAME   ".lock"
#define CONTENT_MAX ((size_t)1 << 31)

struct file_objects {
    struct job_store jobs;
    char *directory;
    bool durable;
};

/* ---- pieces ---- */

static char *path_of(const struct file_objects *f, const char *key)
{
    return xasprintf("%s/%s", f->directory, key);
}

static enum rc fail(struct object_op *op, const char *what, const char *path)
{
    int e = errno;
    enum rc rc = e == EACCES || e == EPERM || e == EROFS || e == ENOTDIR || e == EISDIR ? RC_INVALID : RC_IO;
    return err_set_errno(&op->err, rc, e, "cannot %s %s", what, path);
}

static enum rc make_parents(struct object_op *op, const char *path)
{
    char *copy = xstrdup(path);
    enum rc rc = RC_OK;
    for (char *p = strchr(copy + 1, '/'); p && rc == RC_OK; p = strchr(p + 1, '/')) {
        *p = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            rc = fail(op, "create", copy);
        *p = '/';
    }
    free(copy);
    return rc;
}

/* RC_NOT_FOUND without a message if there is none. */
static enum rc read_file(struct object_op *op, const char *path, size_t max, struct bytes *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? RC_NOT_FOUND : fail(op, "open", path);
    struct stat st;
    enum rc rc = RC_OK;
    if (fstat(fd, &st) != 0)
        rc = fail(op, "examine", path);
    else if (!S_ISREG(st.st_mode))
        rc = RC_NOT_FOUND;
    else if ((uint64_t)st.st_size > max)
        rc = err_set(&op->err, RC_TOO_LARGE, "%s has %llu bytes, expected at most %zu", path,
                     (unsigned long long)st.st_size, max);
    struct buf *buf = rc == RC_OK ? buf_new((size_t)st.st_size + 1) : NULL;
    size_t len = 0;
    while (rc == RC_OK && len < (size_t)st.st_size) {
        ssize_t n = read(fd, buf->data + len, (size_t)st.st_size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = fail(op, "read", path);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    if (rc == RC_OK)
        *out = bytes_take_buf(buf, 0, len);
    else if (buf)
        buf_unref(buf);
    return rc;
}

static void etag_of(struct bytes content, char out[OBJECT_ETAG_MAX])
{
    snprintf(out, OBJECT_ETAG_MAX, "\"%016llx-%zx\"", (unsigned long long)hash64(bytes_slice(content)),
             content.len);
}

static enum rc write_all(struct object_op *op, int fd, struct slice s, const char *path)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.ptr, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(op, "write", path);
        s = slice_sub(s, (size_t)n, s.len - (size_t)n);
    }
    return RC_OK;
}

static enum rc sync_directory(struct object_op *op, const char *path)
{
    char *dir = xstrdup(path);
    *strrchr(dir, '/') = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum rc rc = fd < 0 || fsync(fd) != 0 ? fail(op, "sync", dir) : RC_OK;
    if (fd >= 0)
        close(fd);
    free(dir);
    return rc;
}

/* Replace `path` as a whole: after a crash it has the old or the new content. */
static enum rc write_file(struct file_objects *f, struct object_op *op, const char *path)
{
    static _Atomic unsigned counter;
    char *dir = xstrdup(path);
    *strrchr(dir, '/') = 0;
    char *temp = xasprintf("%s/" TEMP_PREFIX "%ld-%u", dir, (long)getpid(), atomic_fetch_add(&counter, 1));
    free(dir);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    enum rc rc = fd < 0 ? fail(op, "create", temp) : write_all(op, fd, bytes_slice(op->body), temp);
    if (rc == RC_OK && f->durable && fsync(fd) != 0)
        rc = fail(op, "sync", temp);
    if (fd >= 0)
        close(fd);
    if (rc == RC_OK && rename(temp, path) != 0)
        rc = fail(op, "rename", temp);
    if (rc != RC_OK && fd >= 0)
        unlink(temp);
    if (rc == RC_OK && f->durable && sync_directory(op, path) != RC_OK)
        rc = RC_TIMEOUT; /* it is there, but may be gone after a crash */
    free(temp);
    return rc;
}

static int lock_directory(struct file_objects *f, struct object_op *op)
{
    char *path = path_of(f, LOCK_NAME);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno == EINTR)
            continue;
        fail(op, "lock", path);
        close(fd);
        fd = -1;
    }
    if (fd < 0 && op->err.rc == RC_OK)
        fail(op, "open", path);
    free(path);
    return fd;
}

/* ---- operations ---- */

static enum rc do_get(struct file_objects *f, struct object_op *op)
{
    char *path = path_of(f, op->key);
    enum rc rc = read_file(op, path, op->max_bytes, &op->content);
    if (rc == RC_OK)
        etag_of(op->content, op->etag);
    if (rc == RC_NOT_FOUND)
        err_set(&op->err, rc, "there is no %s", path);
    free(path);
    return rc;
}

static enum rc check_condition(struct object_op *op, const char *path)
{
    struct bytes present = BYTES_EMPTY;
    enum rc rc = read_file(op, path, CONTENT_MAX, &present);
    char etag[OBJECT_ETAG_MAX] = "";
    if (rc == RC_OK)
        etag_of(present, etag);
    bytes_unref(&present);
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    bool holds =
        op->condition == OBJECT_ABSENT ? rc == RC_NOT_FOUND : rc == RC_OK && strcmp(etag, op->etag) == 0;
    return holds ? RC_OK : err_set(&op->err, RC_CONFLICT, "%s was changed by somebody else", path);
}

static enum rc do_put(struct file_objects *f, struct object_op *op)
{
    char *path = path_of(f, op->key);
    enum rc rc = make_parents(op, path);
    int lock = -1;
    if (rc == RC_OK && op->condition != OBJECT_ANY) {
        lock = lock_directory(f, op);
        rc = lock < 0 ? op->err.rc : check_condition(op, path);
    }
    if (rc == RC_OK)
        rc = write_file(f, op, path);
    if (lock >= 0)
        close(lock);
    if (rc == RC_OK)
        etag_of(op->body, op->etag);
    free(path);
    return rc;
}

/* Directories that become empty go with the last object. */
static enum rc do_delete(struct file_objects *f, struct object_op *op)
{
    char *path = path_of(f, op->key);
    enum rc rc = RC_OK;
    if (unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR)
        rc = fail(op, "delete", path);
    for (char *end = strrchr(path, '/'); rc == RC_OK && end > path + strlen(f->directory);
         end = strrchr(path, '/')) {
        *end = 0;
        if (rmdir(path) != 0)
            break;
    }
    free(path);
    return rc;
}

/* A temporary file of a process that is no more. */
static bool is_leftover(const char *name)
{
    if (strncmp(name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0)
        return false;
    long pid = strtol(name + strlen(TEMP_PREFIX), NULL, 10);
    return pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static enum rc list_directory(struct object_op *op, const char *path, size_t root_len)
{
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? RC_OK : fail(op, "list", path);
    enum rc rc = RC_OK;
    struct dirent *e;
    while (rc == RC_OK && (e = readdir(d))) {
        char *child = xasprintf("%s/%s", path, e->d_name);
        struct stat st;
        if (is_leftover(e->d_name))
            unlink(child);
        else if (e->d_name[0] == '.' || stat(child, &st) != 0)
            ; /* not an object, or just gone */
        else if (S_ISDIR(st.st_mode))
            rc = list_directory(op, child, root_len);
        else if (S_ISREG(st.st_mode) && strncmp(child + root_len, op->key, strlen(op->key)) == 0)
            object_list_add(op, slice_cstr(child + root_len), (uint64_t)st.st_size);
        if (op->listed.len > OBJECT_LIST_MAX)
            rc = err_set(&op->err, RC_TOO_LARGE, "more than %u objects below %s", OBJECT_LIST_MAX, path);
        free(child);
    }
    closedir(d);
    return rc;
}

/* Only the directory in which the prefix ends has to be walked. */
static enum rc do_list(struct file_objects *f, struct object_op *op)
{
    const char *slash = strrchr(op->key, '/');
    char *start =
        slash ? xasprintf("%s/%.*s", f->directory, (int)(slash - op->key), op->key) : xstrdup(f->directory);
    enum rc rc = list_directory(op, start, strlen(f->directory) + 1);
    free(start);
    object_list_sort(op);
    return rc;
}

static void file_work(struct job_store *jobs, struct object_op *op)
{
    struct file_objects *f = CONTAINER_OF(jobs, struct file_objects, jobs);
    switch (op->kind) {
    case OBJECT_GET:
        op->rc = do_get(f, op);
        return;
    case OBJECT_PUT:
        op->rc = do_put(f, op);
        return;
    case OBJECT_DELETE:
        op->rc = do_delete(f, op);
        return;
    case OBJECT_LIST:
        op->rc = do_list(f, op);
        return;
    }
}

/* ---- life ---- */

static void file_destroy(struct job_store *jobs)
{
    struct file_objects *f = CONTAINER_OF(jobs, struct file_objects, jobs);
    job_store_release(jobs);
    free(f->directory);
    free(f);
}

struct object_store *file_objects_new(struct env *env, struct job_runner *runner,
                                      const struct file_objects_config *config)
{
    struct file_objects *f = xcalloc(1, sizeof(*f));
    job_store_init(&f->jobs, env, runner, file_work, file_destroy);
    f->directory = xstrdup(config->directory);
    for (size_t n = strlen(f->directory); n > 1 && f->directory[n - 1] == '/'; n--)
        f->directory[n - 1] = 0;
    f->durable = config->durable;
    return &f->jobs.base;
}

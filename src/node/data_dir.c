/* Implementation of node/data_dir.h. */
#include "node/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/version.h"

#define MARKER "/.cluster-marker"
#define WRITTEN_BY                                                                                           \
    "restate-c" /* tells our directories from those of the reference, whose formats we do not read */

static enum rc make_directories(const char *path, struct err *err)
{
    char *copy = xstrdup(path);
    enum rc rc = RC_OK;
    for (char *p = copy + 1; rc == RC_OK; p++) {
        if (*p != '/' && *p != 0)
            continue;
        bool last = *p == 0;
        *p = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST)
            rc = err_set_errno(err, RC_IO, errno, "failed to create data directory at %s", path);
        if (last)
            break;
        *p = '/';
    }
    free(copy);
    return rc;
}

static enum rc write_durably(const char *dir, const char *name, const char *temp_name, const char *text,
                             struct err *err)
{
    char *path = xasprintf("%s%s", dir, name);
    char *temp = xasprintf("%s%s", dir, temp_name);
    enum rc rc = RC_OK;
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
        rc = err_set_errno(err, RC_IO, errno, "cannot write %s", temp);
    if (fd >= 0)
        close(fd);
    if (rc == RC_OK && rename(temp, path) != 0)
        rc = err_set_errno(err, RC_IO, errno, "cannot rename %s", temp);
    int dirfd = rc == RC_OK ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (rc == RC_OK && (dirfd < 0 || fsync(dirfd) != 0))
        rc = err_set_errno(err, RC_IO, errno, "cannot sync %s", dir);
    if (dirfd >= 0)
        close(dirfd);
    free(path);
    free(temp);
    return rc;
}

static enum rc write_marker(const struct data_dir *d, struct err *err)
{
    json_t *m = json_pack("{s:s, s:o, s:s, s:s, s:s, s:b, s:b, s:s}", "cluster_name", d->cluster_name,
                          "cluster_fingerprint",
                          d->fingerprint ? json_integer((json_int_t)d->fingerprint) : json_null(),
                          "max_version", RESTATE_VERSION, "current_version", RESTATE_VERSION,
                          "min_forward_compatible_version", RESTATE_VERSION, "is_provisioned", d->provisioned,
                          "use_multi_db_layout", false, "written_by", WRITTEN_BY);
    char *text = json_dumps(m, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(m);
    enum rc rc = write_durably(d->path, MARKER, "/.tmp-cluster-marker", text, err);
    free(text);
    return rc;
}

static enum rc read_marker(struct data_dir *d, const char *cluster_name, struct err *err)
{
    char *path = xasprintf("%s" MARKER, d->path);
    json_error_t je;
    bool exists = access(path, F_OK) == 0;
    json_t *m = exists ? json_load_file(path, 0, &je) : NULL;
    enum rc rc = RC_OK;
    if (!exists) {
        snprintf(d->cluster_name, sizeof(d->cluster_name), "%s", cluster_name);
        rc = write_marker(d, err);
    } else if (!m) {
        rc = err_set(err, RC_CORRUPT, "failed validating and updating cluster marker: %s: %s", path, je.text);
    } else {
        const char *by = json_string_value(json_object_get(m, "written_by"));
        const char *name = json_string_value(json_object_get(m, "cluster_name"));
        if (!by || strcmp(by, WRITTEN_BY) != 0)
            rc = err_set(err, RC_CONFLICT,
                         "failed validating and updating cluster marker: the data directory %s was written "
                         "by another server whose data "
                         "formats this server does not read. Choose another base-dir.",
                         d->path);
        else if (!name || strcmp(name, cluster_name) != 0)
            rc = err_set(err, RC_CONFLICT,
                         "failed validating and updating cluster marker: trying to open data directory "
                         "belonging to cluster '%s' as "
                         "cluster '%s'. Make sure that the right cluster accesses the data directory.",
                         name ? name : "", cluster_name);
        snprintf(d->cluster_name, sizeof(d->cluster_name), "%s", cluster_name);
        d->fingerprint = (uint64_t)json_integer_value(json_object_get(m, "cluster_fingerprint"));
        d->provisioned = json_is_true(json_object_get(m, "is_provisioned"));
    }
    json_decref(m);
    free(path);
    return rc;
}

bool data_dir_exists(const char *base_dir, const char *node_name)
{
    char *marker = xasprintf("%s/%s" MARKER, base_dir, node_name);
    bool exists = access(marker, F_OK) == 0;
    free(marker);
    return exists;
}

enum rc data_dir_open(const char *base_dir, const char *node_name, const char *cluster_name,
                      struct data_dir *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    out->lock_fd = -1;
    snprintf(out->path, sizeof(out->path), "%s/%s", base_dir, node_name);
    enum rc rc = make_directories(out->path, err);
    if (rc != RC_OK)
        return rc;
    char *lock = xasprintf("%s/.lock", out->path);
    out->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    free(lock);
    if (out->lock_fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot open the lock file of %s", out->path);
    if (flock(out->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? err_set(err, RC_CONFLICT,
                                            "the data directory %s is in use by another restate-server "
                                            "process. Stop it, or choose another "
                                            "base-dir or node-name.",
                                            out->path)
                                  : err_set_errno(err, RC_IO, errno, "cannot lock %s", out->path);
        close(out->lock_fd);
        out->lock_fd = -1;
        return rc;
    }
    rc = read_marker(out, cluster_name, err);
    if (rc != RC_OK)
        data_dir_close(out);
    return rc;
}

enum rc data_dir_set_provisioned(struct data_dir *d, uint64_t fingerprint, struct err *err)
{
    if (d->provisioned && d->fingerprint == fingerprint)
        return RC_OK;
    d->provisioned = true;
    d->fingerprint = fingerprint;
    return write_marker(d, err);
}

void data_dir_close(struct data_dir *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    d->lock_fd = -1;
}

/* Implementation of metadata/raft_recover.h. */
#include "metadata/raft_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct looking {
    struct raft_durable durable;
    enum rc rc;
    struct err *err;
};

static void fold(void *ctx, struct slice body)
{
    struct looking *l = ctx;
    if (!l->rc)
        l->rc = raft_durable_fold(&l->durable, body, l->err);
}

/* Everything that stands in the storage. */
static enum rc look(const char *dir, struct bytes *content, struct raft_durable *durable, struct err *err)
{
    char *path = xasprintf("%s/%s", dir, RAFT_FILE_NAME);
    struct looking l = {.err = err};
    size_t good;
    uint64_t sequence;
    *content = BYTES_EMPTY;
    enum rc rc = frame_file_read(path, content, err);
    if (rc == RC_NOT_FOUND)
        err_set(err, rc, "there is no %s: this node keeps no metadata", path);
    if (!rc)
        rc = frame_scan(&raft_frame_format, bytes_slice(*content), fold, &l, &good, &sequence, err);
    if (!rc)
        rc = l.rc;
    if (rc && rc != RC_NOT_FOUND)
        err_prefix(err, "%s: ", path);
    free(path);
    *durable = l.durable;
    return rc;
}

static enum rc judge(const struct raft_durable *d, struct raft_members *members, struct err *err)
{
    if (d->self.node == 0 || !raft_durable_members(d, members))
        return err_set(err, RC_INVALID, "the storage holds no metadata: this node was never a member");
    if (members->n == 1 && raft_member_eq(members->items[0], d->self))
        return err_set(err, RC_INVALID,
                       "this node is the only member of the metadata servers: nothing is lost");
    return RC_OK;
}

enum rc raft_recover_look(const char *dir, uint64_t storage, struct raft_recovery *out, struct err *err)
{
    struct bytes content;
    struct raft_durable d;
    enum rc rc = look(dir, &content, &d, err);
    *out = (struct raft_recovery){0};
    if (!rc)
        rc = judge(&d, &out->members, err);
    if (!rc) {
        out->before = d.self;
        out->after = (struct raft_member){d.self.node, storage};
        out->fingerprint = d.fingerprint;
        out->term = d.term;
        out->commit = d.commit;
        out->last_index = d.base_index + d.entries.len;
        out->last_term = d.entries.len ? d.entries.items[d.entries.len - 1].term : d.base_term;
        out->removed = d.removed_in != 0;
        out->cluster_name = xstrdup(d.cluster_name);
    }
    raft_durable_free(&d);
    bytes_unref(&content);
    return rc;
}

static enum rc write_backup(const char *dir, const char *path, struct slice content, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(err, RC_IO, errno, "cannot create the backup %s", path);
    size_t done = 0;
    ssize_t n = 0;
    while (done < content.len && (n = write(fd, content.ptr + done, content.len - done)) >= 0)
        done += (size_t)n;
    enum rc rc = RC_OK;
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n < 0 || fsync(fd) != 0 || dir_fd < 0 || fsync(dir_fd) != 0) {
        rc = err_set_errno(err, RC_IO, errno, "cannot write the backup %s", path);
        unlink(path);
    }
    close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    return rc;
}

/* The lock is held by `frames`. */
static enum rc change(const char *dir, struct frame_file *frames, struct raft_recovery *r, struct err *err)
{
    struct bytes content;
    struct raft_durable d;
    struct raft_members members;
    struct writer body = WRITER_INIT;
    enum rc rc = look(dir, &content, &d, err);
    if (!rc)
        rc = judge(&d, &members, err);
    char *backup =
        xasprintf("%s/%s.before-recovery-%llu", dir, RAFT_FILE_NAME, (unsigned long long)r->after.storage);
    if (!rc)
        rc = write_backup(dir, backup, bytes_slice(content), err);
    if (!rc) {
        raft_recover_write(&body, &d, r->after);
        rc = frame_file_append(frames, writer_slice(&body), err);
    }
    writer_free(&body);
    raft_durable_free(&d);
    bytes_unref(&content);
    if (rc)
        free(backup);
    else
        r->backup = backup;
    return rc;
}

static void ignore(void *ctx, struct slice body) {}

enum rc raft_recover(const char *dir, struct raft_recovery *r, struct err *err)
{
    struct frame_file *frames;
    enum rc rc =
        frame_file_open(&raft_frame_format, dir, RAFT_FILE_NAME, "raft.lock", ignore, NULL, &frames, err);
    if (rc)
        return rc;
    rc = change(dir, frames, r, err);
    frame_file_close(frames);
    return rc;
}

void raft_recovery_free(struct raft_recovery *r)
{
    free(r->cluster_name);
    free(r->backup);
    *r = (struct raft_recovery){0};
}

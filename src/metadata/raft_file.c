/* The durable store of a member over a file of frames: see raft_file.h. */
#include "metadata/raft_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

const struct frame_format raft_frame_format = {"RSTRFT01", raft_durable_readable};

struct raft_file {
    struct raft_store base;
    struct env *env;
    struct loop *loop;
    struct frame_file *frames;
    struct loop_work work;
    struct env_task done_task;
    struct bytes body;
    bool rewrite, busy, closed;
    enum rc rc;
    struct err err;
};

static void free_all(struct raft_file *f)
{
    if (f->frames)
        frame_file_close(f->frames);
    env_undefer(&f->done_task);
    bytes_unref(&f->body);
    free(f);
}

static void work_run(struct loop_work *w)
{
    struct raft_file *f = CONTAINER_OF(w, struct raft_file, work);
    f->err = (struct err){0};
    f->rc = f->rewrite ? frame_file_rewrite(f->frames, bytes_slice(f->body), &f->err)
                       : frame_file_append(f->frames, bytes_slice(f->body), &f->err);
}

static void finish(struct raft_file *f)
{
    bytes_unref(&f->body);
    f->busy = false;
    if (f->closed)
        free_all(f);
    else
        f->base.done(f->base.ctx, f->rc, &f->err);
}

static void work_done(struct loop_work *w)
{
    finish(CONTAINER_OF(w, struct raft_file, work));
}

static void deferred_done(struct env_task *t)
{
    finish(CONTAINER_OF(t, struct raft_file, done_task));
}

static void file_write(struct raft_store *s, struct bytes body_take, bool rewrite)
{
    struct raft_file *f = CONTAINER_OF(s, struct raft_file, base);
    ASSERT(!f->busy && !f->closed);
    f->busy = true;
    f->body = body_take;
    f->rewrite = rewrite;
    if (f->loop) {
        loop_work_submit(f->loop, &f->work);
        return;
    }
    work_run(&f->work);
    env_defer(f->env, &f->done_task);
}

static void file_close(struct raft_store *s)
{
    struct raft_file *f = CONTAINER_OF(s, struct raft_file, base);
    f->closed = true;
    if (!f->busy || !f->loop)
        free_all(f);
}

struct folding {
    struct raft_durable *durable;
    enum rc rc;
    struct err *err;
};

static void fold(void *ctx, struct slice body)
{
    struct folding *f = ctx;
    if (!f->rc)
        f->rc = raft_durable_fold(f->durable, body, f->err);
}

enum rc raft_file_open(struct env *env, struct loop *loop, const char *dir, struct raft_durable *durable,
                       struct raft_store **out, struct err *err)
{
    static const struct raft_store_ops ops = {file_write, file_close};
    *durable = (struct raft_durable){0};
    if (mkdir(dir, 0755) && errno != EEXIST)
        return err_set_errno(err, RC_IO, errno, "cannot create %s", dir);
    struct raft_file *f = xcalloc(1, sizeof(*f));
    f->base.ops = &ops;
    f->env = env;
    f->loop = loop;
    f->work.work = work_run;
    f->work.done = work_done;
    env_task_init(&f->done_task, deferred_done);
    struct folding folding = {durable, RC_OK, err};
    enum rc rc = frame_file_open(&raft_frame_format, dir, RAFT_FILE_NAME, "raft.lock", fold, &folding,
                                 &f->frames, err);
    if (!rc && folding.rc) {
        rc = folding.rc;
        err_prefix(err, "%s/%s: ", dir, RAFT_FILE_NAME);
    }
    if (rc) {
        free_all(f);
        raft_durable_free(durable);
        return rc;
    }
    *out = &f->base;
    return RC_OK;
}

/* Blocking work on pool threads, signals, and watching of files (loop/loop.h). */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "loop/internal.h"

/* ---- work ---- */

static void work_run(uv_work_t *req)
{
    struct loop_work *w = req->data;
    w->work(w);
}

static void work_done(uv_work_t *req, int status)
{
    struct loop_work *w = req->data;
    struct loop *l = w->loop;
    free(req);
    w->uv = NULL;
    if (l->freeing)
        return; /* nobody is there to take the result; the owner of `w` frees it */
    loop_mark_awake(l);
    w->done(w);
}

void loop_work_submit(struct loop *l, struct loop_work *w)
{
    uv_work_t *req = xmalloc(sizeof(*req));
    req->data = w;
    w->loop = l;
    w->uv = req;
    int rc = uv_queue_work(&l->uv, req, work_run, work_done);
    ASSERT_MSG(rc == 0, "uv_queue_work: %s", uv_strerror(rc));
}

/* ---- signals ---- */

struct signal_watch {
    struct loop_resource resource;
    uv_signal_t handle;
    struct loop *loop;
    void (*fire)(void *ctx, int signum);
    void *ctx;
};

static void signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void signal_destroy(struct loop_resource *r)
{
    struct signal_watch *s = CONTAINER_OF(r, struct signal_watch, resource);
    uv_close((uv_handle_t *)&s->handle, signal_closed);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct signal_watch *s = handle->data;
    loop_mark_awake(s->loop);
    s->fire(s->ctx, signum);
}

void loop_on_signal(struct loop *l, int signum, void (*fire)(void *ctx, int signum), void *ctx)
{
    struct signal_watch *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->fire = fire;
    s->ctx = ctx;
    s->handle.data = s;
    int rc = uv_signal_init(&l->uv, &s->handle);
    ASSERT(rc == 0);
    loop_resource_add(l, &s->resource, signal_destroy);
    rc = uv_signal_start(&s->handle, on_signal, signum);
    ASSERT_MSG(rc == 0, "cannot watch signal %d: %s", signum, uv_strerror(rc));
}

/* ---- files ---- */

#define WATCH_QUIET_MS 500

/* What tells that a path now means other content: identity, size and time of what it points to. */
struct file_state {
    bool exists;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

struct file_watch {
    struct loop_resource resource;
    uv_fs_event_t handle;
    struct env_timer quiet;
    struct loop *loop;
    char *path;
    struct file_state seen;
    void (*changed)(void *ctx);
    void *ctx;
};

static struct file_state file_state_of(const char *path)
{
    struct file_state state = {0};
    struct stat st;
    if (stat(path, &st) == 0) {
        state.exists = true;
        state.dev = st.st_dev;
        state.ino = st.st_ino;
        state.size = st.st_size;
        state.mtime = st.st_mtim;
    }
    return state;
}

static bool file_state_eq(const struct file_state *a, const struct file_state *b)
{
    return a->exists == b->exists && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static void watch_closed(uv_handle_t *handle)
{
    struct file_watch *w = handle->data;
    free(w->path);
    free(w);
}

static void watch_destroy(struct loop_resource *r)
{
    struct file_watch *w = CONTAINER_OF(r, struct file_watch, resource);
    env_timer_cancel(&w->loop->env, &w->quiet);
    uv_close((uv_handle_t *)&w->handle, watch_closed);
}

static void watch_quiet(struct env_timer *t)
{
    struct file_watch *w = CONTAINER_OF(t, struct file_watch, quiet);
    struct file_state now = file_state_of(w->path);
    if (file_state_eq(&now, &w->seen))
        return; /* a neighbour in the directory changed */
    w->seen = now;
    w->changed(w->ctx);
}

static void on_fs_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct file_watch *w = handle->data;
    loop_mark_awake(w->loop);
    env_timer_arm(&w->loop->env, &w->quiet, WATCH_QUIET_MS);
}

/* The directory is watched, not the file: that sees replacement by rename and the symbolic link swaps with
 * which container platforms update mounted files. */
void loop_watch_file(struct loop *l, const char *path, void (*changed)(void *ctx), void *ctx)
{
    struct file_watch *w = xcalloc(1, sizeof(*w));
    w->loop = l;
    w->path = xstrdup(path);
    w->changed = changed;
    w->ctx = ctx;
    w->seen = file_state_of(path);
    w->handle.data = w;
    env_timer_init(&w->quiet, watch_quiet);
    const char *slash = strrchr(path, '/');
    char *dir = !slash          ? xstrdup(".")
                : slash == path ? xstrdup("/")
                                : slice_dup_cstr(slice_make(path, (size_t)(slash - path)));
    int rc = uv_fs_event_init(&l->uv, &w->handle);
    ASSERT(rc == 0);
    loop_resource_add(l, &w->resource, watch_destroy);
    rc = uv_fs_event_start(&w->handle, on_fs_event, dir, 0);
    if (rc)
        LOG0(LOG_WARN, "restate_server", "Cannot watch %s for changes of %s: %s", dir, path, uv_strerror(rc));
    free(dir);
}

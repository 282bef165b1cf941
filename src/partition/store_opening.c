/* Implementation of partition/store_opening.h. */
#include "partition/store_opening.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "partition/snapshot.h"
#include "partition/snapshot_internal.h"

struct store_opening {
    struct env *env;
    struct store_opening_request request;
    store_opening_done done;
    void *ctx;
    struct snapshot_load *load;
    bool dropping, canceled;
    lsn_t target; /* of the load */
    uint64_t begun_ms;
    struct err problem; /* RC_OK: none */
    struct env_task task;
    struct env_timer timer;
};

static uint16_t id_of(const struct store_opening *o)
{
    return o->request.store.partition_id;
}

static void finish(struct store_opening *o, struct partition_store *store, const struct err *err)
{
    env_timer_cancel(o->env, &o->timer);
    env_undefer(&o->task);
    o->done(o->ctx, store, err);
    free(o);
}

static bool stopped(struct store_opening *o)
{
    struct err err = {0};
    if (!o->canceled)
        return false;
    err_set(&err, RC_CANCELED, "opening partition %u was canceled", (unsigned)id_of(o));
    finish(o, NULL, &err);
    return true;
}

static void open_store(struct store_opening *o)
{
    struct err err = {0};
    struct partition_store *store = NULL;
    enum rc rc = store_open(o->request.kv, o->env, &o->request.store, &store, &err);
    finish(o, rc == RC_OK ? store : NULL, rc == RC_OK ? NULL : &err);
}

/* The sentences are those that operators are told to look for. */
static void wait_for_snapshot(struct store_opening *o, const struct err *err)
{
    o->problem = *err;
    if (err->rc == RC_NOT_FOUND)
        err_set(&o->problem, err->rc,
                "A log trim gap was encountered, but no snapshot is available for this partition!");
    char id[8];
    snprintf(id, sizeof(id), "%u", (unsigned)id_of(o));
    LOG(LOG_ERROR, "restate_worker::partition", LOG_FIELDS({"partition_id", id}),
        "%s The log is trimmed to LSN %llu; looking again in %u s", o->problem.msg,
        (unsigned long long)o->target, STORE_OPENING_RETRY_MS / 1000);
    env_timer_arm(o->env, &o->timer, STORE_OPENING_RETRY_MS);
}

static void loaded(void *ctx, const struct snapshot_ref *ref, const struct err *err)
{
    struct store_opening *o = ctx;
    uint64_t took_ms = env_mono_ms(o->env) - o->begun_ms;
    o->load = NULL;
    if (stopped(o))
        return;
    if (err && err->rc == RC_CANCELED) { /* the repository was closed */
        finish(o, NULL, err);
        return;
    }
    if (err) {
        metric_inc(metric_counter("restate_partition_store_snapshots_download_failed_total", NULL,
                                  "Number of partition snapshots that could not be restored"));
        wait_for_snapshot(o, err);
        return;
    }
    metric_observe_us(metric_summary("restate_partition_store_snapshots_download_duration_seconds", NULL,
                                     "Time it took to restore a partition from a snapshot"),
                      took_ms * 1000);
    LOG0(LOG_INFO, SNAPSHOT_LOG, "partition %u was restored from snapshot %s at LSN %llu in %llu ms",
         (unsigned)id_of(o), ref->id, (unsigned long long)ref->lsn, (unsigned long long)took_ms);
    open_store(o);
}

static void restore(struct store_opening *o)
{
    struct err err = {0};
    if (!o->request.repository) {
        err_set(&err, RC_UNSUPPORTED,
                "A log trim gap was encountered, but no snapshot repository is configured!");
        wait_for_snapshot(o, &err);
        return;
    }
    struct snapshot_load_request q = {.kv = o->request.kv, .partition_id = id_of(o), .min_lsn = o->target};
    o->begun_ms = env_mono_ms(o->env);
    o->load = snapshot_load_start(o->request.repository, &q, loaded, o);
}

static void dropped(void *ctx, const struct err *err)
{
    struct store_opening *o = ctx;
    o->dropping = false;
    if (stopped(o))
        return;
    if (err)
        finish(o, NULL, err);
    else
        open_store(o);
}

static void look(struct store_opening *o)
{
    lsn_t applied;
    bool unfinished;
    struct err err = {0};
    o->problem = (struct err){0};
    o->target = MAX(o->request.log ? o->request.log->trim_point : 0, o->request.min_lsn);
    if (store_peek_applied(o->request.kv, id_of(o), &applied, &unfinished, &err) != RC_OK) {
        finish(o, NULL, &err);
    } else if (applied < o->target) {
        restore(o);
    } else if (unfinished) {
        o->dropping = true;
        store_drop(o->request.kv, id_of(o), dropped, o);
    } else {
        open_store(o);
    }
}

static void run_task(struct env_task *t)
{
    struct store_opening *o = CONTAINER_OF(t, struct store_opening, task);
    if (!stopped(o))
        look(o);
}

static void look_again(struct env_timer *t)
{
    look(CONTAINER_OF(t, struct store_opening, timer));
}

struct store_opening *store_opening_start(struct env *env, const struct store_opening_request *request,
                                          store_opening_done done, void *ctx)
{
    struct store_opening *o = xcalloc(1, sizeof(*o));
    o->env = env;
    o->request = *request;
    o->done = done;
    o->ctx = ctx;
    env_task_init(&o->task, run_task);
    env_timer_init(&o->timer, look_again);
    env_defer(env, &o->task);
    return o;
}

void store_opening_cancel(struct store_opening *o)
{
    if (o->canceled)
        return;
    o->canceled = true;
    env_timer_cancel(o->env, &o->timer);
    if (o->load)
        snapshot_load_cancel(o->load);
    else if (!o->dropping)
        env_defer(o->env, &o->task);
}

const struct err *store_opening_problem(const struct store_opening *o)
{
    return o->problem.rc != RC_OK ? &o->problem : NULL;
}

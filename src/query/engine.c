/* Threads, windows, limits (query/engine.h). */
#define _GNU_SOURCE /* pthread_cond_clockwait */
#include "query/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"
#include "loop/workers.h"
#include "query/pace.h"
#include "query/remote.h"

#define CHECK_INTERVAL_MS 100u

struct query_engine {
    struct loop *loop;
    const struct query_source *source;
    struct query_engine_config config;
    struct workers *workers;
    struct job_runner *runner;
    struct list jobs;
    size_t n_jobs;
    struct {
        double tokens;
        uint64_t at_ms;
    } buckets[2]; /* by context */
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

struct query_job {
    struct job job;
    struct list link;
    struct query_engine *engine;
    struct query query;
    struct query_request request;
    char *sql;
    uint64_t rows;
    unsigned retry_after_s;
    bool refused; /* before it could run */

    /* loop only; NULL once canceled */
    const struct query_events *events;
    void *ctx;

    /* query thread only */
    uint64_t deadline_ns;
    struct pace pace;
    struct sql_plan plan;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    size_t on_the_way;
    bool stop;
};

/* A query may cost the invocations beside it at most a tenth, also when all processors are busy: see pace.h
 * too. */
#define QUERY_NICE 10

/* ---- on the query's thread ---- */

struct delivery {
    struct loop_msg msg;
    struct query_job *job;
    struct bytes data;
    enum delivery_kind { DELIVER_DATA, DELIVER_COLUMNS, DELIVER_WARNINGS } kind;
};

static bool job_canceled(void *ctx)
{
    struct query_job *j = ctx;
    pthread_mutex_lock(&j->lock);
    bool stop = j->stop;
    pthread_mutex_unlock(&j->lock);
    if (stop)
        return true;
    uint64_t now = os_mono_ns();
    pace_check(&j->pace, now); /* this is what a running query asks often */
    if (!j->deadline_ns || now < j->deadline_ns)
        return false;
    sql_fail(&j->query.err, SQL_ERROR_RESOURCES, "the query ran for more than %llu s",
             (unsigned long long)(j->engine->config.time_limit_ms / 1000));
    return true;
}

static void deliver(struct loop_msg *m)
{
    struct delivery *d = CONTAINER_OF(m, struct delivery, msg);
    struct query_job *j = d->job;
    if (j->events && d->kind == DELIVER_DATA) {
        j->events->on_data(j->ctx, d->data); /* takes it */
        d->data = BYTES_EMPTY;
    } else if (j->events && d->kind == DELIVER_COLUMNS && j->events->on_columns) {
        j->events->on_columns(j->ctx, &j->plan);
    } else if (j->events && d->kind == DELIVER_WARNINGS && j->events->on_warnings) {
        j->events->on_warnings(j->ctx, bytes_slice(d->data));
    }
    bytes_unref(&d->data);
    free(d);
}

static void post(struct query_job *j, struct bytes take, enum delivery_kind kind)
{
    struct delivery *d = xcalloc(1, sizeof(*d));
    d->msg.deliver = deliver;
    d->job = j;
    d->data = take;
    d->kind = kind;
    loop_post(j->engine->loop, &d->msg);
}

/* Waits while the window is full. False: canceled, or nobody takes anything. */
static bool reserve(struct query_job *j, size_t n)
{
    const struct query_engine_config *c = &j->engine->config;
    uint64_t stalled_at = os_mono_ns() + c->stall_limit_ms * 1000000u;
    size_t seen = SIZE_MAX;
    bool ok = true;
    pthread_mutex_lock(&j->lock);
    while (ok && !j->stop && j->on_the_way && j->on_the_way + n > c->window_bytes) {
        uint64_t now = os_mono_ns();
        if (j->on_the_way != seen) {
            seen = j->on_the_way;
            stalled_at = now + c->stall_limit_ms * 1000000u;
        }
        if (now >= stalled_at)
            ok = false;
        uint64_t until = now + CHECK_INTERVAL_MS * 1000000u;
        struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
        pthread_cond_clockwait(&j->changed, &j->lock, CLOCK_MONOTONIC, &t);
    }
    ok = ok && !j->stop;
    if (ok)
        j->on_the_way += n;
    pthread_mutex_unlock(&j->lock);
    return ok;
}

static bool write_output(void *ctx, struct bytes take)
{
    struct query_job *j = ctx;
    if (take.len == 0 || !reserve(j, take.len)) {
        bool ok = take.len == 0;
        bytes_unref(&take);
        return ok;
    }
    post(j, take, DELIVER_DATA);
    return true;
}

static void post_warnings(void *ctx, struct bytes take)
{
    post(ctx, take, DELIVER_WARNINGS);
}

static bool plan_scan(struct query_job *j)
{
    struct scan_request r;
    if (!scan_request_decode(j->request.scan, &r))
        return sql_fail(&j->query.err, SQL_ERROR_EXECUTION, "the request of another node does not decode");
    if (r.partition >= j->query.n_partitions)
        return sql_fail(&j->query.err, SQL_ERROR_EXECUTION, "there is no partition %u", r.partition);
    j->query.restricted = true;
    j->query.only_partition = r.partition;
    j->query.now_ms = r.now_ms;
    scan_request_plan(&j->plan, &r);
    return true;
}

static void job_work(struct job *base)
{
    struct query_job *j = CONTAINER_OF(base, struct query_job, job);
    struct query *q = &j->query;
    if (j->refused)
        return;
    if (j->engine->config.time_limit_ms)
        j->deadline_ns = os_mono_ns() + j->engine->config.time_limit_ms * 1000000u;
    if (job_canceled(j)) {
        sql_fail(&q->err, SQL_ERROR_CANCELED, "the query was canceled");
        return;
    }
    int64_t now = (int64_t)q->now_ms * 1000000;
    if (j->request.scan.len
            ? !plan_scan(j)
            : !sql_plan_make(&j->plan, slice_make(j->sql, j->request.sql.len), q->context, now, &q->err))
        return;
    post(j, BYTES_EMPTY, DELIVER_COLUMNS);
    struct result r;
    result_init(&r, j->request.format, j->plan.columns, j->plan.n_columns, j->request.encoder,
                j->request.encoder_ctx);
    struct query_output out = {write_output, j};
    query_run(q, &j->plan, &r, &out);
    j->rows = r.total;
    result_free(&r);
}

/* ---- on the loop ---- */

static void stopped_if_idle(struct query_engine *e)
{
    if (!e->stopping || e->n_jobs)
        return;
    void (*done)(void *ctx) = e->stopped;
    e->stopped = NULL;
    if (done)
        done(e->stopped_ctx);
}

static void job_done(struct job *base)
{
    struct query_job *j = CONTAINER_OF(base, struct query_job, job);
    struct query_engine *e = j->engine;
    list_remove(&j->link);
    e->n_jobs--;
    if (j->events)
        j->events->on_end(j->ctx, &j->query.err, j->rows, j->retry_after_s);
    sql_plan_free(&j->plan);
    query_free(&j->query);
    if (j->request.encoder_free)
        j->request.encoder_free(j->request.encoder_ctx);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->changed);
    free(j->sql);
    free(j);
    stopped_if_idle(e);
}

struct query_engine *query_engine_new(struct loop *loop, const struct query_source *source,
                                      const struct query_engine_config *config)
{
    struct query_engine *e = xcalloc(1, sizeof(*e));
    e->loop = loop;
    e->source = source;
    e->config = *config;
    for (size_t i = 0; i < ARRAY_LEN(e->buckets); i++) {
        e->buckets[i].tokens = config->rate_burst;
        e->buckets[i].at_ms = env_mono_ms(loop_env(loop));
    }
    list_init(&e->jobs);
    e->workers = workers_new("query", config->threads);
    workers_set_nice(e->workers, QUERY_NICE);
    e->runner = workers_runner_new(e->workers, loop);
    return e;
}

static void stop_job(struct query_job *j)
{
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

void query_engine_stop(struct query_engine *e, void (*done)(void *ctx), void *ctx)
{
    e->stopping = true;
    e->stopped = done;
    e->stopped_ctx = ctx;
    LIST_FOREACH(n, &e->jobs)
    stop_job(CONTAINER_OF(n, struct query_job, link));
    stopped_if_idle(e);
}

void query_engine_free(struct query_engine *e)
{
    ASSERT(e->n_jobs == 0);
    workers_free(e->workers);
    free(e->runner);
    free(e);
}

size_t query_engine_running(const struct query_engine *e)
{
    return e->n_jobs;
}

/* Seconds until the next token; 0: one was taken. */
static unsigned take_token(struct query_engine *e, enum sql_context context)
{
    double rate = e->config.rate_per_second, *tokens = &e->buckets[context].tokens;
    if (rate <= 0)
        return 0;
    uint64_t now = env_mono_ms(loop_env(e->loop));
    *tokens += (double)(now - e->buckets[context].at_ms) / 1000 * rate;
    *tokens = MIN(*tokens, e->config.rate_burst);
    e->buckets[context].at_ms = now;
    if (*tokens >= 1) {
        *tokens -= 1;
        return 0;
    }
    return (unsigned)MIN((1 - *tokens) / rate, 86400.0) + 1;
}

static void refuse(struct query_job *j, const char *message)
{
    j->refused = true;
    sql_fail(&j->query.err, SQL_ERROR_UNAVAILABLE, "%s", message);
}

struct query_job *query_start(struct query_engine *e, const struct query_request *request,
                              const struct query_events *events, void *ctx)
{
    struct query_job *j = xcalloc(1, sizeof(*j));
    j->job.work = job_work;
    j->job.done = job_done;
    j->engine = e;
    j->request = *request;
    j->sql = slice_dup_cstr(request->scan.len ? request->scan : request->sql);
    if (request->scan.len) {
        j->request.scan = slice_make(j->sql, request->scan.len);
        j->request.format = RESULT_CUSTOM;
        j->request.encoder = &row_set_encoder;
    }
    j->events = events;
    j->ctx = ctx;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->changed, NULL);
    query_init(&j->query, e->source, request->context);
    j->query.canceled = job_canceled;
    j->query.canceled_ctx = j;
    j->query.warn = post_warnings;
    j->query.warn_ctx = j;
    if (e->stopping)
        refuse(j, "Query service not available");
    else if (e->n_jobs >= (size_t)e->config.threads + e->config.waiting)
        refuse(j, "Too many queries at a time");
    else if (!request->scan.len && (j->retry_after_s = take_token(e, request->context)))
        refuse(j, "Rate limited");
    list_push_back(&e->jobs, &j->link);
    e->n_jobs++;
    job_submit(e->runner, &j->job);
    return j;
}

void query_taken(struct query_job *j, size_t n)
{
    pthread_mutex_lock(&j->lock);
    ASSERT(n <= j->on_the_way);
    j->on_the_way -= n;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

void query_cancel(struct query_job *j)
{
    j->events = NULL;
    stop_job(j);
}

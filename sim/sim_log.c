/* A `struct log` over virtual time, see sim_log.h. */
#include "sim/sim_log.h"

#include <stdlib.h>

struct sim_log_store {
    struct {
        struct bytes *items;
        size_t len, cap;
    } records;
    lsn_t trim_point;
    struct list handles;
};

struct pending_append {
    struct bytes record;
    struct log_append_wait *wait;
};

struct sim_log_handle {
    struct log log;
    struct sim_logs *logs;
    struct sim_log_store *store;
    struct list link;
    struct {
        struct pending_append *items;
        size_t len, cap;
    } pending;
    struct env_timer commit_timer;
    struct env_task deliver;
    const struct log_reader_ops *reader;
    void *reader_ctx;
    lsn_t next;
    bool closing, crashed;
    struct env_task close_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct sim_logs {
    struct sim_env *env;
    uint64_t latency_ms;
    enum rc refuse;
    uint32_t n;
    struct sim_log_store stores[];
};

struct sim_logs *sim_logs_new(struct sim_env *env, uint32_t n_logs)
{
    struct sim_logs *l = xcalloc(1, sizeof(*l) + n_logs * sizeof(l->stores[0]));
    l->env = env;
    l->latency_ms = 2;
    l->n = n_logs;
    for (uint32_t i = 0; i < n_logs; i++)
        list_init(&l->stores[i].handles);
    return l;
}

void sim_logs_free(struct sim_logs *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct sim_log_store *s = &l->stores[i];
        ASSERT(list_empty(&s->handles));
        for (size_t k = 0; k < s->records.len; k++)
            bytes_unref(&s->records.items[k]);
        VEC_FREE(&s->records);
    }
    free(l);
}

void sim_logs_set_latency(struct sim_logs *l, uint64_t max_ms)
{
    l->latency_ms = max_ms;
}

void sim_logs_refuse(struct sim_logs *l, enum rc rc)
{
    l->refuse = rc;
}

const struct bytes *sim_log_records(struct sim_logs *l, uint32_t log_id, size_t *n)
{
    *n = l->stores[log_id].records.len;
    return l->stores[log_id].records.items;
}

static struct sim_log_handle *handle_of(struct log *log)
{
    return CONTAINER_OF(log, struct sim_log_handle, log);
}

/* ---- committing ---- */

static void wake_readers(struct sim_log_store *s)
{
    LIST_FOREACH(pos, &s->handles)
    {
        struct sim_log_handle *h = CONTAINER_OF(pos, struct sim_log_handle, link);
        h->log.committed = s->records.len;
        env_defer(&h->logs->env->env, &h->deliver);
    }
}

static void commit(struct env_timer *t)
{
    struct sim_log_handle *h = CONTAINER_OF(t, struct sim_log_handle, commit_timer);
    struct pending_append *done = h->pending.items;
    size_t n = h->pending.len;
    h->pending.items = NULL;
    h->pending.len = h->pending.cap = 0;
    h->log.inflight_bytes = 0;
    lsn_t first = h->store->records.len + 1;
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&h->store->records, done[i].record);
    wake_readers(h->store);
    for (size_t i = 0; i < n; i++)
        if (done[i].wait)
            done[i].wait->done(done[i].wait, RC_OK, first + i);
    free(done);
}

static void lose_pending(struct sim_log_handle *h)
{
    struct pending_append *lost = h->pending.items;
    size_t n = h->pending.len;
    h->pending.items = NULL;
    h->pending.len = h->pending.cap = 0;
    h->log.inflight_bytes = 0;
    env_timer_cancel(&h->logs->env->env, &h->commit_timer);
    for (size_t i = 0; i < n; i++) {
        bytes_unref(&lost[i].record);
        if (lost[i].wait)
            lost[i].wait->done(lost[i].wait, RC_NOT_LEADER, 0);
    }
    free(lost);
}

void sim_log_take_over(struct sim_logs *l, uint32_t log_id)
{
    LIST_FOREACH(pos, &l->stores[log_id].handles)
    {
        struct sim_log_handle *h = CONTAINER_OF(pos, struct sim_log_handle, link);
        lose_pending(h);
        if (h->reader && h->reader->on_taken_over)
            h->reader->on_taken_over(h->reader_ctx);
    }
}

static enum rc log_append_op(struct log *log, struct bytes record, struct log_append_wait *wait)
{
    struct sim_log_handle *h = handle_of(log);
    if (h->closing || h->logs->refuse != RC_OK) {
        bytes_unref(&record);
        return h->closing ? RC_CLOSED : h->logs->refuse;
    }
    VEC_PUSH(&h->pending, ((struct pending_append){record, wait}));
    log->inflight_bytes += record.len;
    if (!env_timer_armed(&h->commit_timer))
        env_timer_arm(&h->logs->env->env, &h->commit_timer,
                      sim_env_below(h->logs->env, h->logs->latency_ms + 1));
    return RC_OK;
}

/* ---- reading ---- */

static void deliver(struct env_task *t)
{
    struct sim_log_handle *h = CONTAINER_OF(t, struct sim_log_handle, deliver);
    struct log_record batch[LOG_READ_BATCH];
    while (h->reader && h->next <= h->store->records.len) {
        if (h->next <= h->store->trim_point) {
            lsn_t from = h->next;
            h->next = h->store->trim_point + 1;
            h->reader->on_trim_gap(h->reader_ctx, from, h->next - 1);
            continue;
        }
        size_t n = 0;
        for (; n < LOG_READ_BATCH && h->next <= h->store->records.len; n++, h->next++)
            batch[n] = (struct log_record){h->next, bytes_ref(h->store->records.items[h->next - 1])};
        h->reader->on_records(h->reader_ctx, batch, n);
        while (n)
            bytes_unref(&batch[--n].body);
    }
}

static void read_from_op(struct log *log, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    struct sim_log_handle *h = handle_of(log);
    h->reader = ops;
    h->reader_ctx = ctx;
    h->next = from;
    env_defer(&h->logs->env->env, &h->deliver);
}

static void read_stop_op(struct log *log)
{
    handle_of(log)->reader = NULL;
}

static void find_tail_op(struct log *log, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    done(ctx, RC_OK, handle_of(log)->store->records.len + 1);
}

static void trim_op(struct log *log, lsn_t upto)
{
    struct sim_log_handle *h = handle_of(log);
    ASSERT(upto <= h->store->records.len);
    h->store->trim_point = MAX(h->store->trim_point, upto);
    log->trim_point = h->store->trim_point;
}

static void seal_op(struct log *log, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    done(ctx, RC_UNSUPPORTED, 0);
}

/* ---- closing ---- */

static void detach(struct sim_log_handle *h)
{
    env_timer_cancel(&h->logs->env->env, &h->commit_timer);
    env_undefer(&h->deliver);
    env_undefer(&h->close_task);
    list_remove(&h->link);
    VEC_FREE(&h->pending);
    free(h);
}

/* Of the appends on their way, some may have reached the log's servers. */
static void keep_prefix(struct sim_log_handle *h)
{
    size_t keep = h->crashed ? sim_env_below(h->logs->env, h->pending.len + 1) : 0;
    for (size_t i = 0; i < h->pending.len; i++) {
        if (i < keep)
            VEC_PUSH(&h->store->records, h->pending.items[i].record);
        else
            bytes_unref(&h->pending.items[i].record);
    }
}

static void close_task(struct env_task *t)
{
    struct sim_log_handle *h = CONTAINER_OF(t, struct sim_log_handle, close_task);
    keep_prefix(h);
    for (size_t i = 0; i < h->pending.len; i++)
        if (h->pending.items[i].wait)
            h->pending.items[i].wait->done(h->pending.items[i].wait, RC_CLOSED, 0);
    void (*closed)(void *) = h->closed;
    void *ctx = h->closed_ctx;
    struct sim_log_store *store = h->store;
    detach(h);
    wake_readers(store);
    closed(ctx);
}

static void close_op(struct log *log, void (*done)(void *ctx), void *ctx)
{
    struct sim_log_handle *h = handle_of(log);
    h->reader = NULL;
    h->closing = true;
    h->closed = done;
    h->closed_ctx = ctx;
    env_timer_cancel(&h->logs->env->env, &h->commit_timer);
    env_defer(&h->logs->env->env, &h->close_task);
}

void sim_log_crash(struct log *log)
{
    handle_of(log)->crashed = true;
}

static const struct log_ops ops = {
    .append = log_append_op,
    .read_from = read_from_op,
    .read_stop = read_stop_op,
    .find_tail = find_tail_op,
    .trim = trim_op,
    .seal = seal_op,
    .close = close_op,
};

struct log *sim_log_open(struct sim_logs *l, uint32_t log_id)
{
    ASSERT(log_id < l->n);
    struct sim_log_handle *h = xcalloc(1, sizeof(*h));
    h->log.ops = &ops;
    h->log.log_id = log_id;
    h->logs = l;
    h->store = &l->stores[log_id];
    h->log.committed = h->store->records.len;
    h->log.trim_point = h->store->trim_point;
    list_push_back(&h->store->handles, &h->link);
    env_timer_init(&h->commit_timer, commit);
    env_task_init(&h->deliver, deliver);
    env_task_init(&h->close_task, close_task);
    return &h->log;
}

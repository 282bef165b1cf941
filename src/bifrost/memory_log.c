/* The `memory` provider: logs that live in the process, for tests and the simulator. Uses nothing but struct
 * env, so it is deterministic. Appends commit in the next deferred pass. */
#include <stdlib.h>

#include "bifrost/log.h"

/* What survives log_close. */
struct memory_store {
    struct hmap_node node;
    uint32_t log_id;
    bool open, sealed;
    lsn_t trim_point;
    struct {
        struct bytes *items; /* items[0] is LSN 1; trimmed ones are empty */
        size_t len, cap;
    } records;
};

struct memory_logs {
    struct hmap stores;
};

struct memory_tail_call {
    void (*done)(void *ctx, enum rc rc, lsn_t tail);
    void *ctx;
};

struct memory_log {
    struct log log;
    struct env *env;
    struct env_task work;
    struct memory_store *store;
    struct list waits; /* log_append_wait.link of appends not committed yet */
    bool seal_wanted, closing, working;
    void (*close_done)(void *ctx);
    void *close_ctx;
    struct {
        struct memory_tail_call *items;
        size_t len, cap;
    } tail_calls;
    struct {
        const struct log_reader_ops *ops;
        void *ctx;
        lsn_t next;
    } reader;
};

static const struct log_ops memory_ops;

static struct memory_log *memory_of(struct log *l)
{
    ASSERT(l->ops == &memory_ops);
    return CONTAINER_OF(l, struct memory_log, log);
}

struct memory_logs *memory_logs_new(void)
{
    struct memory_logs *m = xcalloc(1, sizeof(*m));
    hmap_init(&m->stores);
    return m;
}

void memory_logs_free(struct memory_logs *m)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&m->stores, &it); n; n = hmap_step(&m->stores, &it)) {
        struct memory_store *s = CONTAINER_OF(n, struct memory_store, node);
        ASSERT_MSG(!s->open, "log %u is still open", s->log_id);
        for (size_t i = 0; i < s->records.len; i++)
            bytes_unref(&s->records.items[i]);
        VEC_FREE(&s->records);
        free(s);
    }
    hmap_free(&m->stores);
    free(m);
}

static enum rc memory_append(struct log *l, struct bytes record, struct log_append_wait *wait)
{
    struct memory_log *log = memory_of(l);
    if (log->closing || log->store->sealed || log->seal_wanted) {
        bytes_unref(&record);
        return log->closing ? RC_CLOSED : RC_SEALED;
    }
    VEC_PUSH(&log->store->records, record);
    l->inflight_bytes += record.len;
    if (wait) {
        wait->lsn = log->store->records.len;
        list_init(&wait->link);
        list_push_back(&log->waits, &wait->link);
    }
    env_defer(log->env, &log->work);
    return RC_OK;
}

static void commit(struct memory_log *log)
{
    lsn_t upto = log->store->records.len;
    log->log.committed = upto;
    log->log.inflight_bytes = 0;
    struct list *n;
    while ((n = log->waits.next) != &log->waits) {
        struct log_append_wait *w = CONTAINER_OF(n, struct log_append_wait, link);
        if (w->lsn > upto)
            return;
        list_remove(n);
        w->done(w, RC_OK, w->lsn);
    }
}

static void feed_reader(struct memory_log *log)
{
    while (log->reader.ops && !log->closing) {
        lsn_t from = log->reader.next, trimmed = log->log.trim_point;
        if (from <= trimmed) {
            log->reader.next = trimmed + 1;
            log->reader.ops->on_trim_gap(log->reader.ctx, from, trimmed);
            continue;
        }
        struct log_record batch[LOG_READ_BATCH];
        size_t n = 0;
        for (lsn_t lsn = from; lsn <= log->log.committed && n < LOG_READ_BATCH; lsn++)
            batch[n++] = (struct log_record){lsn, bytes_ref(log->store->records.items[lsn - 1])};
        if (n == 0)
            return;
        log->reader.next += n;
        log->reader.ops->on_records(log->reader.ctx, batch, n);
        for (size_t i = 0; i < n; i++) /* our own references: the callback may trim */
            bytes_unref(&batch[i].body);
    }
}

static void finish_close(struct memory_log *log)
{
    void (*done)(void *ctx) = log->close_done;
    void *ctx = log->close_ctx;
    log->store->open = false;
    env_undefer(&log->work);
    VEC_FREE(&log->tail_calls);
    free(log);
    done(ctx);
}

static void memory_work(struct env_task *t)
{
    struct memory_log *log = CONTAINER_OF(t, struct memory_log, work);
    commit(log);
    if (log->seal_wanted && log->log.committed == log->store->records.len)
        log->store->sealed = true;
    for (size_t i = 0; i < log->tail_calls.len; i++) { /* grows if a callback asks again */
        struct memory_tail_call call = log->tail_calls.items[i];
        call.done(call.ctx, RC_OK, log->log.committed + 1);
    }
    log->tail_calls.len = 0;
    feed_reader(log);
    if (log->closing)
        finish_close(log);
}

static void memory_read_from(struct log *l, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    struct memory_log *log = memory_of(l);
    log->reader.ops = ops;
    log->reader.ctx = ctx;
    log->reader.next = MAX(from, 1);
    env_defer(log->env, &log->work);
}

static void memory_read_stop(struct log *l)
{
    memory_of(l)->reader.ops = NULL;
}

static void memory_find_tail(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct memory_log *log = memory_of(l);
    VEC_PUSH(&log->tail_calls, ((struct memory_tail_call){done, ctx}));
    env_defer(log->env, &log->work);
}

static void memory_seal(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    memory_of(l)->seal_wanted = true;
    memory_find_tail(l, done, ctx); /* what was appended before commits in the same pass */
}

static void memory_trim(struct log *l, lsn_t upto)
{
    struct memory_store *s = memory_of(l)->store;
    upto = MIN(upto, l->committed);
    for (lsn_t lsn = s->trim_point + 1; lsn <= upto; lsn++)
        bytes_unref(&s->records.items[lsn - 1]);
    s->trim_point = MAX(s->trim_point, upto);
    l->trim_point = s->trim_point;
}

static void memory_close(struct log *l, void (*done)(void *ctx), void *ctx)
{
    struct memory_log *log = memory_of(l);
    ASSERT_MSG(!log->closing, "a log is closed twice");
    log->closing = true;
    log->close_done = done;
    log->close_ctx = ctx;
    log->reader.ops = NULL;
    struct list *n;
    struct list waits;
    list_init(&waits);
    list_splice(&waits, &log->waits);
    while ((n = list_pop_front(&waits))) {
        struct log_append_wait *w = CONTAINER_OF(n, struct log_append_wait, link);
        w->done(w, RC_CLOSED, w->lsn);
    }
    env_defer(log->env, &log->work);
}

static const struct log_ops memory_ops = {
    .append = memory_append,
    .read_from = memory_read_from,
    .read_stop = memory_read_stop,
    .find_tail = memory_find_tail,
    .trim = memory_trim,
    .seal = memory_seal,
    .close = memory_close,
};

static struct memory_store *find_store(struct memory_logs *m, uint32_t log_id)
{
    uint64_t hash = (uint64_t)log_id * 0x9e3779b97f4a7c15u;
    for (struct hmap_node *n = hmap_first(&m->stores, hash); n; n = hmap_next_same(n)) {
        struct memory_store *s = CONTAINER_OF(n, struct memory_store, node);
        if (s->log_id == log_id)
            return s;
    }
    struct memory_store *s = xcalloc(1, sizeof(*s));
    s->log_id = log_id;
    hmap_insert(&m->stores, &s->node, hash);
    return s;
}

struct log *memory_log_open(struct memory_logs *m, struct env *env, uint32_t log_id)
{
    struct memory_log *log = xcalloc(1, sizeof(*log));
    log->store = find_store(m, log_id);
    ASSERT_MSG(!log->store->open, "log %u is open already", log_id);
    log->store->open = true;
    log->log.ops = &memory_ops;
    log->log.log_id = log_id;
    log->log.committed = log->store->records.len;
    log->log.trim_point = log->store->trim_point;
    log->env = env;
    env_task_init(&log->work, memory_work);
    list_init(&log->waits);
    return &log->log;
}

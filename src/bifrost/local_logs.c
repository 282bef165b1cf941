/* Local provider, log loop: the segment store of the node and its group commit. Whatever has arrived while
 * the last write was in progress goes into the next one: no timer, no tuning, one durable write for all
 * shards and all logs.
 *
 * A full disk parks the appends that were accepted before it was noticed; they are written when space
 * returns. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "bifrost/local_internal.h"

#define LOG_TARGET         "restate_bifrost::local"
#define BATCH_BYTES        ((uint64_t)4 << 20) /* of one write; a single larger record goes alone */
#define BATCH_RECORDS      ((size_t)16384)
#define HOUSEKEEP_PAUSE_MS 5
#define KEEP_READS_MS      1000 /* read buffers are freed when nobody has read for this long */
#define FULL_RETRY_MS      500

struct local_logs {
    struct loop *loop;
    struct disk *disk;
    struct segment_store *store;
    uint64_t inflight_limit;
    struct env_task work;
    struct env_timer housekeeping, full_retry, forget_reads;
    bool has_read;       /* since forget_reads was armed */
    struct list pending; /* local_message.link: appends not durable yet */
    struct list ops;     /* local_op.link: to be answered after the next commit */
    struct {
        uint64_t *items;
        size_t len, cap;
    } open; /* loglets that have a handle */
    struct {
        struct loop_work work;
        struct segment_prepare job;
        bool running;
    } prepare;
    struct {
        struct metric *records, *bytes, *commit;
    } metrics;
    struct loop_msg stop;
    bool stopping;
    _Atomic bool full;
    struct {
        _Atomic uint64_t commits, records, bytes_appended, segments, live_bytes, file_bytes;
    } stats;
};

bool local_logs_full(const struct local_logs *l)
{
    return atomic_load_explicit(&l->full, memory_order_relaxed);
}

uint64_t local_logs_inflight_limit(const struct local_logs *l)
{
    return l->inflight_limit;
}

struct loop *local_logs_loop(const struct local_logs *l)
{
    return l->loop;
}

/* ---- answers ---- */

static void answer_op(struct local_op *op, enum rc rc)
{
    if (rc != RC_OK && op->err.rc == RC_OK)
        err_set(&op->err, rc, "%s", rc_name(rc));
    op->rc = rc;
    op->msg.deliver = local_port_on_op;
    loop_post(op->port->loop, &op->msg);
}

static void answer_message(struct local_message *m, enum rc rc)
{
    list_remove(&m->link);
    m->rc = rc;
    m->msg.deliver = local_port_on_message;
    loop_post(m->port->loop, &m->msg);
}

static void publish_stats(struct local_logs *l)
{
    struct segment_store_stats s;
    segment_store_get_stats(l->store, &s);
    atomic_store_explicit(&l->stats.commits, s.commits, memory_order_relaxed);
    atomic_store_explicit(&l->stats.records, s.records, memory_order_relaxed);
    atomic_store_explicit(&l->stats.bytes_appended, s.bytes_appended, memory_order_relaxed);
    atomic_store_explicit(&l->stats.segments, s.segments, memory_order_relaxed);
    atomic_store_explicit(&l->stats.live_bytes, s.live_bytes, memory_order_relaxed);
    atomic_store_explicit(&l->stats.file_bytes, s.file_bytes, memory_order_relaxed);
    atomic_store_explicit(&l->full, s.full, memory_order_relaxed);
}

/* ---- one batch ---- */

struct batch_plan {
    size_t records, controls;
    uint64_t bytes;
};

static bool writes(const struct local_op *op)
{
    return op->kind == OP_TRIM || op->kind == OP_SEAL;
}

/* What goes into the next batch: all control operations, and appends up to the limits. */
static struct batch_plan plan_batch(struct local_logs *l)
{
    struct batch_plan plan = {0};
    LIST_FOREACH(n, &l->ops)
    plan.controls += writes(CONTAINER_OF(n, struct local_op, link));
    LIST_FOREACH(n, &l->pending)
    {
        struct local_message *m = CONTAINER_OF(n, struct local_message, link);
        for (size_t i = m->next; i < m->appends.len; i++) {
            const struct local_append *a = &m->appends.items[i];
            if (plan.records && (plan.bytes + a->body.len > BATCH_BYTES || plan.records == BATCH_RECORDS))
                return plan;
            plan.records++;
            plan.bytes += a->body.len;
        }
    }
    return plan;
}

static void put_controls(struct local_logs *l)
{
    LIST_FOREACH(n, &l->ops)
    {
        struct local_op *op = CONTAINER_OF(n, struct local_op, link);
        if (op->kind == OP_TRIM)
            segment_store_put_trim(l->store, op->loglet, op->offset);
        else if (op->kind == OP_SEAL)
            segment_store_put_seal(l->store, op->loglet);
    }
}

static void put_appends(struct local_logs *l, size_t records)
{
    LIST_FOREACH(n, &l->pending)
    {
        struct local_message *m = CONTAINER_OF(n, struct local_message, link);
        for (size_t i = m->next; i < m->appends.len && records > 0; i++, records--) {
            const struct local_append *a = &m->appends.items[i];
            if (a->log)
                segment_store_put(l->store, a->loglet, a->offset, a->body);
        }
    }
}

/* `records` appends are durable, or have failed for good. */
static void finish_appends(struct local_logs *l, size_t records, enum rc rc)
{
    LIST_FOREACH_SAFE(n, next, &l->pending)
    {
        struct local_message *m = CONTAINER_OF(n, struct local_message, link);
        size_t part = MIN(records, m->appends.len - m->next);
        m->next += part;
        records -= part;
        if (m->next == m->appends.len || rc != RC_OK)
            answer_message(m, rc);
        if (records == 0 && rc == RC_OK)
            return;
    }
}

static void finish_controls(struct local_logs *l, enum rc rc)
{
    LIST_FOREACH_SAFE(n, next, &l->ops)
    {
        struct local_op *op = CONTAINER_OF(n, struct local_op, link);
        if (!writes(op))
            continue;
        list_remove(&op->link);
        if (op->kind == OP_TRIM) {
            free(op);
            continue;
        }
        struct loglet_info info;
        segment_store_info(l->store, op->loglet, &info);
        op->tail = info.tail;
        answer_op(op, rc);
    }
}

/* One durable write for what is waiting. RC_AGAIN: nothing was. */
static enum rc commit_batch(struct local_logs *l, bool appends, struct err *err)
{
    struct batch_plan plan = plan_batch(l);
    if (!appends)
        plan.records = plan.bytes = 0;
    if (plan.records + plan.controls == 0)
        return RC_AGAIN;
    enum segment_room room = plan.records ? SEGMENT_ROOM_DATA : SEGMENT_ROOM_CONTROL;
    enum rc rc = segment_store_begin(l->store, room, plan.records + plan.controls, plan.bytes, err);
    if (rc != RC_OK)
        return rc;
    put_controls(l);
    put_appends(l, plan.records);
    uint64_t start_ns = os_mono_ns();
    rc = segment_store_commit(l->store, err);
    if (rc != RC_OK)
        return rc;
    metric_observe_us(l->metrics.commit, (os_mono_ns() - start_ns) / 1000);
    metric_add(l->metrics.records, (int64_t)plan.records);
    metric_add(l->metrics.bytes, (int64_t)plan.bytes);
    finish_appends(l, plan.records, RC_OK);
    finish_controls(l, RC_OK);
    return RC_OK;
}

/* ---- other operations ---- */

static bool is_open(struct local_logs *l, uint64_t loglet, size_t *at)
{
    for (*at = 0; *at < l->open.len; ++*at) {
        if (l->open.items[*at] == loglet)
            return true;
    }
    return false;
}

static void do_open(struct local_logs *l, struct local_op *op)
{
    size_t at;
    if (is_open(l, op->loglet, &at)) {
        err_set(&op->err, RC_CONFLICT, "log %u is open already", (unsigned)(op->loglet >> 32));
        answer_op(op, RC_CONFLICT);
        return;
    }
    VEC_PUSH(&l->open, op->loglet);
    struct loglet_info info;
    segment_store_info(l->store, op->loglet, &info);
    op->tail = info.tail;
    op->trim_point = info.trim_point;
    op->sealed = info.sealed;
    answer_op(op, RC_OK);
}

/* Cancel the appends of `log` in a message. True if that leaves nothing in it. */
static bool cancel_appends(struct local_message *m, const struct local_log *log)
{
    bool empty = true;
    for (size_t i = 0; i < m->appends.len; i++) {
        struct local_append *a = &m->appends.items[i];
        if (a->log == log) {
            a->log = NULL;
            a->body = SLICE_EMPTY;
        }
    }
    for (size_t i = 0; i < m->progress.len; i++) {
        if (m->progress.items[i].log == log)
            m->progress.items[i].log = NULL;
        empty = empty && !m->progress.items[i].log;
    }
    return empty;
}

/* Nothing of this log may be on its way when the answer arrives: cancel what is parked because the disk is
 * full. */
static void do_close(struct local_logs *l, struct local_op *op)
{
    size_t at;
    if (is_open(l, op->loglet, &at))
        l->open.items[at] = l->open.items[--l->open.len];
    LIST_FOREACH_SAFE(n, next, &l->pending)
    {
        struct local_message *m = CONTAINER_OF(n, struct local_message, link);
        if (cancel_appends(m, op->log))
            answer_message(m, RC_OK);
    }
    LIST_FOREACH_SAFE(n, next, &l->ops)
    {
        struct local_op *other = CONTAINER_OF(n, struct local_op, link);
        if (other->log == op->log && other->kind != OP_TRIM) {
            list_remove(&other->link);
            answer_op(other, RC_CLOSED);
        }
    }
    answer_op(op, RC_OK);
}

static void on_forget_reads(struct env_timer *t)
{
    struct local_logs *l = CONTAINER_OF(t, struct local_logs, forget_reads);
    if (l->has_read)
        env_timer_arm(loop_env(l->loop), t, KEEP_READS_MS);
    else
        segment_store_forget_reads(l->store);
    l->has_read = false;
}

static void note_read(struct local_logs *l)
{
    l->has_read = true;
    if (!env_timer_armed(&l->forget_reads))
        env_timer_arm(loop_env(l->loop), &l->forget_reads, KEEP_READS_MS);
}

static void do_read(struct local_logs *l, struct local_op *op)
{
    note_read(l);
    enum rc rc =
        segment_store_read(l->store, op->loglet, op->offset, LOCAL_READ_BYTES, &op->records, &op->err);
    struct loglet_info info;
    segment_store_info(l->store, op->loglet, &info);
    op->tail = info.tail;
    op->trim_point = info.trim_point;
    answer_op(op, rc);
}

static void do_tail(struct local_logs *l, struct local_op *op)
{
    struct loglet_info info;
    segment_store_info(l->store, op->loglet, &info);
    op->tail = info.tail;
    answer_op(op, RC_OK);
}

/* All but those that wait for a commit. */
static void do_ops(struct local_logs *l)
{
    struct list now;
    list_init(&now);
    LIST_FOREACH_SAFE(n, next, &l->ops)
    {
        if (!writes(CONTAINER_OF(n, struct local_op, link))) {
            list_remove(n);
            list_push_back(&now, n);
        }
    }
    struct list *n;
    while ((n = list_pop_front(&now))) {
        struct local_op *op = CONTAINER_OF(n, struct local_op, link);
        switch (op->kind) {
        case OP_OPEN:
            do_open(l, op);
            break;
        case OP_READ:
            do_read(l, op);
            break;
        case OP_TAIL:
            do_tail(l, op);
            break;
        case OP_CLOSE:
            do_close(l, op);
            break;
        case OP_TRIM:
        case OP_SEAL:
            UNREACHABLE("op %d", op->kind);
        }
    }
}

/* ---- housekeeping ---- */

static void prepare_work(struct loop_work *w)
{
    segment_prepare_run(&CONTAINER_OF(w, struct local_logs, prepare.work)->prepare.job);
}

static void maybe_stop(struct local_logs *l)
{
    if (l->stopping && !l->prepare.running)
        loop_stop(l->loop);
}

static void prepare_done(struct loop_work *w)
{
    struct local_logs *l = CONTAINER_OF(w, struct local_logs, prepare.work);
    struct err err = {0};
    l->prepare.running = false;
    enum rc rc = segment_store_prepare_end(l->store, &l->prepare.job, &err);
    if (rc != RC_OK && rc != RC_NO_SPACE)
        LOG0(LOG_WARN, LOG_TARGET, "Cannot prepare a log file: %s", err.msg);
    publish_stats(l);
    if (rc != RC_OK)
        env_timer_arm(loop_env(l->loop), &l->full_retry, FULL_RETRY_MS);
    else
        env_defer(loop_env(l->loop), &l->work); /* parked appends, or the next file */
    maybe_stop(l);
}

static void start_preparing(struct local_logs *l)
{
    if (l->prepare.running || l->stopping || env_timer_armed(&l->full_retry) ||
        !segment_store_prepare_begin(l->store, &l->prepare.job))
        return;
    l->prepare.running = true;
    l->prepare.work.work = prepare_work;
    l->prepare.work.done = prepare_done;
    loop_work_submit(l->loop, &l->prepare.work);
}

static void on_full_retry(struct env_timer *t)
{
    struct local_logs *l = CONTAINER_OF(t, struct local_logs, full_retry);
    start_preparing(l);
}

static void on_housekeeping(struct env_timer *t)
{
    struct local_logs *l = CONTAINER_OF(t, struct local_logs, housekeeping);
    struct err err = {0};
    bool was_full = segment_store_full(l->store);
    enum rc rc = segment_store_housekeep(l->store, &err);
    if (rc == RC_OK)
        note_read(l); /* it reads what it moves */
    if (rc == RC_CORRUPT || rc == RC_IO)
        LOG0(LOG_ERROR, LOG_TARGET, "Cannot reclaim log space: %s", err.msg);
    if (rc == RC_OK)
        env_timer_arm(loop_env(l->loop), &l->housekeeping, HOUSEKEEP_PAUSE_MS);
    publish_stats(l);
    if (was_full && !segment_store_full(l->store))
        env_defer(loop_env(l->loop), &l->work);
    start_preparing(l);
}

/* ---- the loop's work ---- */

static void run_work(struct env_task *t)
{
    struct local_logs *l = CONTAINER_OF(t, struct local_logs, work);
    struct err err = {0};
    enum rc rc;
    while ((rc = commit_batch(l, true, &err)) == RC_OK)
        ;
    if (rc == RC_NO_SPACE) /* the appends stay parked; trims are what helps now */
        rc = commit_batch(l, false, &err);
    if (rc != RC_AGAIN && rc != RC_OK && rc != RC_NO_SPACE) {
        LOG0(LOG_ERROR, LOG_TARGET, "Cannot append to the log: %s", err.msg);
        finish_appends(l, SIZE_MAX, rc);
        finish_controls(l, rc);
    }
    publish_stats(l);
    do_ops(l);
    if (!env_timer_armed(&l->housekeeping))
        env_timer_arm(loop_env(l->loop), &l->housekeeping, HOUSEKEEP_PAUSE_MS);
    start_preparing(l);
}

void local_logs_on_message(struct loop_msg *msg)
{
    struct local_message *m = CONTAINER_OF(msg, struct local_message, msg);
    struct local_logs *l = m->port->logs;
    list_push_back(&l->pending, &m->link);
    env_defer(loop_env(l->loop), &l->work);
}

/* On a full disk trims may have to wait: keep one per log. */
static bool merge_trim(struct local_logs *l, struct local_op *op)
{
    if (op->kind != OP_TRIM)
        return false;
    LIST_FOREACH(n, &l->ops)
    {
        struct local_op *other = CONTAINER_OF(n, struct local_op, link);
        if (other->kind == OP_TRIM && other->loglet == op->loglet) {
            other->offset = MAX(other->offset, op->offset);
            free(op);
            return true;
        }
    }
    return false;
}

void local_logs_on_op(struct loop_msg *msg)
{
    struct local_op *op = CONTAINER_OF(msg, struct local_op, msg);
    struct local_logs *l = op->logs;
    env_defer(loop_env(l->loop), &l->work);
    if (!merge_trim(l, op))
        list_push_back(&l->ops, &op->link);
}

static void on_stop(struct loop_msg *msg)
{
    struct local_logs *l = CONTAINER_OF(msg, struct local_logs, stop);
    ASSERT_MSG(list_empty(&l->pending) && l->open.len == 0,
               "the local provider is closed while logs are open");
    l->stopping = true;
    maybe_stop(l);
}

/* ---- life cycle ---- */

static void register_metrics(struct local_logs *l)
{
    l->metrics.records = metric_counter("restate_bifrost_sequencer_committed_records_total", NULL,
                                        "Records committed to the log");
    l->metrics.bytes = metric_counter("restate_bifrost_sequencer_committed_records_bytes_total", NULL,
                                      "Bytes of records committed to the log");
    l->metrics.commit = metric_summary("restate_log_store_commit_duration_seconds", NULL,
                                       "Duration of one durable write of the log store");
}

static uint64_t random_salt(void)
{
    uint64_t salt;
    ssize_t n;
    do {
        n = getrandom(&salt, sizeof(salt), 0);
    } while (n < 0 && errno == EINTR);
    ASSERT(n == sizeof(salt));
    return salt;
}

enum rc local_logs_open_disk(const struct local_logs_config *config,
                             const struct segment_store_options *options, struct disk *disk,
                             struct local_logs **out, struct err *err)
{
    struct local_logs *l = xcalloc(1, sizeof(*l));
    l->inflight_limit = config->inflight_limit_bytes ? config->inflight_limit_bytes : (uint64_t)64 << 20;
    l->disk = disk;
    enum rc rc = segment_store_open(disk, options, &l->store, err);
    if (rc != RC_OK) {
        disk->ops->free(disk);
        free(l);
        return rc;
    }
    list_init(&l->pending);
    list_init(&l->ops);
    env_task_init(&l->work, run_work);
    env_timer_init(&l->housekeeping, on_housekeeping);
    env_timer_init(&l->full_retry, on_full_retry);
    env_timer_init(&l->forget_reads, on_forget_reads);
    register_metrics(l);
    publish_stats(l);
    l->loop = loop_new("log");
    env_defer(loop_env(l->loop), &l->work); /* prepares files; the thread does not run yet */
    loop_start(l->loop);
    *out = l;
    return RC_OK;
}

enum rc local_logs_open(const struct local_logs_config *config, struct local_logs **out, struct err *err)
{
    struct disk *disk;
    enum rc rc = disk_posix_open(config->directory, &disk, err);
    if (rc != RC_OK)
        return rc;
    struct segment_store_options options = {.random = random_salt()};
    return local_logs_open_disk(config, &options, disk, out, err);
}

void local_logs_close(struct local_logs *l)
{
    l->stop.deliver = on_stop;
    loop_post(l->loop, &l->stop);
    loop_join(l->loop);
    loop_free(l->loop);
    struct list *n;
    while ((n = list_pop_front(&l->ops))) /* trims that found no room on a full disk */
        free(CONTAINER_OF(n, struct local_op, link));
    segment_store_close(l->store);
    l->disk->ops->free(l->disk);
    VEC_FREE(&l->open);
    free(l);
}

void local_logs_get_stats(struct local_logs *l, struct local_logs_stats *out)
{
    *out = (struct local_logs_stats){
        .commits = atomic_load_explicit(&l->stats.commits, memory_order_relaxed),
        .records = atomic_load_explicit(&l->stats.records, memory_order_relaxed),
        .bytes_appended = atomic_load_explicit(&l->stats.bytes_appended, memory_order_relaxed),
        .bytes_written = l->disk->bytes_written,
        .syncs = l->disk->syncs,
        .segments = atomic_load_explicit(&l->stats.segments, memory_order_relaxed),
        .live_bytes = atomic_load_explicit(&l->stats.live_bytes, memory_order_relaxed),
        .file_bytes = atomic_load_explicit(&l->stats.file_bytes, memory_order_relaxed),
        .full = local_logs_full(l),
    };
}

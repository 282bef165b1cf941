/* Local provider: one open log on its shard loop. It assigns LSNs (this is the sequencer of a log with one
 * copy), keeps the records in flight, and feeds the reader: from memory what was appended here, from the
 * store what is older.
 *
 * Everything that calls out happens in local_log_step, which runs as deferred work; the calls from outside
 * only note what is wanted. So a callback may call any function of the log, and a log is never freed under a
 * callback. */
#include <stdlib.h>

#include "bifrost/local_internal.h"

static const struct log_ops local_ops;

static struct local_log *local_of(struct log *l)
{
    ASSERT(l->ops == &local_ops);
    return CONTAINER_OF(l, struct local_log, log);
}

struct local_log *local_log_new(struct local_logs_port *p, uint32_t log_id, const struct local_op *opened)
{
    struct local_log *log = xcalloc(1, sizeof(*log));
    log->log.ops = &local_ops;
    log->log.log_id = log_id;
    log->log.committed = opened->tail - 1;
    log->log.trim_point = opened->trim_point;
    log->port = p;
    log->loglet = opened->loglet;
    list_init(&log->dirty);
    log->first = log->next = opened->tail;
    log->acked = opened->tail - 1;
    log->sealed = opened->sealed;
    p->n_logs++;
    return log;
}

static void local_log_free(struct local_log *log)
{
    ASSERT(log->first == log->next && log->n_ops == 0);
    if (list_linked(&log->dirty))
        list_remove(&log->dirty);
    log->port->n_logs--;
    free(log->ring);
    free(log);
}

/* ---- the ring ---- */

static struct local_entry *ring_at(struct local_log *log, lsn_t lsn)
{
    ASSERT(lsn >= log->first && lsn < log->next);
    return &log->ring[lsn & (log->ring_cap - 1)];
}

static void ring_grow(struct local_log *log)
{
    size_t cap = log->ring_cap ? log->ring_cap * 2 : 64;
    struct local_entry *ring = xmalloc(cap * sizeof(*ring));
    for (lsn_t i = log->first; i < log->next; i++)
        ring[i & (cap - 1)] = *ring_at(log, i);
    free(log->ring);
    log->ring = ring;
    log->ring_cap = cap;
}

/* Let go of committed records that the reader has or will have to fetch from the store. */
static void ring_release(struct local_log *log)
{
    while (log->first <= log->log.committed && log->first < log->next) {
        bool wanted = log->reader.ops && log->reader.next <= log->first;
        if (wanted && log->retained_bytes <= LOCAL_RETAIN_BYTES)
            return;
        struct local_entry *e = ring_at(log, log->first);
        log->retained_bytes -= e->body.len;
        bytes_unref(&e->body);
        log->first++;
    }
}

/* ---- append ---- */

static enum rc refuse(struct bytes record, enum rc rc)
{
    bytes_unref(&record);
    return rc;
}

static enum rc local_append(struct log *l, struct bytes record, struct log_append_wait *wait)
{
    struct local_log *log = local_of(l);
    if (log->closing)
        return refuse(record, RC_CLOSED);
    if (log->sealed || log->seal)
        return refuse(record, RC_SEALED);
    if (log->failed != RC_OK)
        return refuse(record, log->failed);
    if (record.len > SEGMENT_RECORD_MAX)
        return refuse(record, RC_TOO_LARGE);
    if (local_logs_full(log->port->logs))
        return refuse(record, RC_NO_SPACE);
    if (l->inflight_bytes > 0 && l->inflight_bytes + record.len > local_logs_inflight_limit(log->port->logs))
        return refuse(record, RC_OVERLOADED);
    if (log->next - log->first == log->ring_cap)
        ring_grow(log);
    lsn_t lsn = log->next++;
    *ring_at(log, lsn) = (struct local_entry){record, wait};
    l->inflight_bytes += record.len;
    if (wait) {
        list_init(&wait->link);
        wait->lsn = lsn;
    }
    local_port_append(log->port, log, lsn, bytes_slice(record));
    return RC_OK;
}

/* Tell the waiters of everything that has become durable. */
static void step_commit(struct local_log *log)
{
    while (log->log.committed < log->acked) {
        lsn_t lsn = ++log->log.committed;
        struct local_entry *e = ring_at(log, lsn);
        log->log.inflight_bytes -= e->body.len;
        log->retained_bytes += e->body.len;
        struct log_append_wait *wait = e->wait;
        e->wait = NULL;
        if (wait)
            wait->done(wait, RC_OK, lsn); /* may append: `e` is no longer valid */
    }
}

/* Fail the waiters of everything that is not committed. The records stay until their message is back. */
static void fail_waiters(struct local_log *log, enum rc rc)
{
    for (lsn_t lsn = log->log.committed + 1; lsn < log->next; lsn++) {
        struct log_append_wait *wait = ring_at(log, lsn)->wait;
        ring_at(log, lsn)->wait = NULL;
        if (wait)
            wait->done(wait, rc, lsn);
    }
}

/* Forget everything that is not committed; nothing of it may be away any more. */
static void drop_uncommitted(struct local_log *log)
{
    while (log->next > log->first && log->next - 1 > log->log.committed) {
        struct local_entry *e = ring_at(log, log->next - 1);
        log->log.inflight_bytes -= e->body.len;
        bytes_unref(&e->body);
        log->next--;
    }
}

/* ---- the reader ---- */

static void reader_fail(struct local_log *log, const struct err *err)
{
    const struct log_reader_ops *ops = log->reader.ops;
    void *ctx = log->reader.ctx;
    log->reader.ops = NULL;
    ops->on_error(ctx, err);
}

static void deliver_from_ring(struct local_log *log)
{
    size_t n = 0;
    for (lsn_t lsn = log->reader.next; lsn <= log->log.committed && n < LOG_READ_BATCH; lsn++)
        log->port->scratch[n++] = (struct log_record){lsn, ring_at(log, lsn)->body};
    log->reader.next += n;
    log->reader.ops->on_records(log->reader.ctx, log->port->scratch, n);
}

static void request_read(struct local_log *log)
{
    struct local_op *op = xcalloc(1, sizeof(*op));
    op->kind = OP_READ;
    op->log = log;
    op->loglet = log->loglet;
    op->offset = log->reader.next;
    op->generation = log->reader.generation;
    log->reader.waiting = true;
    log->n_ops++;
    local_port_send(log->port, op);
}

static void step_reader(struct local_log *log)
{
    while (log->reader.ops && !log->closing && !log->reader.waiting) {
        if (log->reader.next <= log->log.trim_point) {
            lsn_t from = log->reader.next;
            log->reader.next = log->log.trim_point + 1;
            log->reader.ops->on_trim_gap(log->reader.ctx, from, log->log.trim_point);
        } else if (log->reader.next > log->log.committed) {
            return;
        } else if (log->reader.next >= log->first) {
            deliver_from_ring(log);
        } else {
            request_read(log);
        }
    }
}

/* What the store had for the reader. */
static void deliver_stored(struct local_log *log, struct local_op *op)
{
    size_t at = 0;
    while (at < op->records.len && log->reader.ops && log->reader.generation == op->generation &&
           !log->closing) {
        size_t n = 0;
        while (at < op->records.len && n < LOG_READ_BATCH) {
            const struct stored_record *r = &op->records.items[at];
            if (r->offset > log->log.committed || r->offset != log->reader.next + n)
                break;
            log->port->scratch[n++] = (struct log_record){r->offset, r->body};
            at++;
        }
        if (n == 0) {
            if (op->records.items[at].offset > log->log.committed)
                return; /* durable, but not announced here yet */
            struct err err = {0};
            err_set(&err, RC_CORRUPT, "log %u lacks the record at LSN %llu", log->log.log_id,
                    (unsigned long long)log->reader.next);
            reader_fail(log, &err);
            return;
        }
        log->reader.next += n;
        log->reader.ops->on_records(log->reader.ctx, log->port->scratch, n);
    }
}

static void on_read(struct local_log *log, struct local_op *op)
{
    log->log.trim_point = MAX(log->log.trim_point, op->trim_point);
    if (log->reader.ops && log->reader.generation == op->generation) {
        log->reader.waiting = false;
        if (op->rc == RC_AGAIN)
            err_set(&op->err, RC_CORRUPT, "log %u ends before LSN %llu, which was committed", log->log.log_id,
                    (unsigned long long)op->offset);
        if (op->rc == RC_OK)
            deliver_stored(log, op);
        else if (op->rc != RC_TRIMMED && !log->closing) /* trimmed: the next step reports the gap */
            reader_fail(log, &op->err);
    }
    stored_records_free(&op->records);
}

static void local_read_from(struct log *l, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    struct local_log *log = local_of(l);
    ASSERT(!log->closing);
    log->reader.ops = ops;
    log->reader.ctx = ctx;
    log->reader.next = MAX(from, 1);
    log->reader.generation++;
    log->reader.waiting = false;
    local_port_mark(log->port, log);
}

static void local_read_stop(struct log *l)
{
    struct local_log *log = local_of(l);
    log->reader.ops = NULL;
    log->reader.generation++;
    log->reader.waiting = false;
}

/* ---- tail, trim, seal, close ---- */

static struct local_op *new_tail_op(struct local_log *log, enum local_op_kind kind,
                                    void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct local_op *op = xcalloc(1, sizeof(*op));
    op->kind = kind;
    op->log = log;
    op->loglet = log->loglet;
    op->tail_done = done;
    op->ctx = ctx;
    log->n_ops++;
    return op;
}

static void local_find_tail(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct local_log *log = local_of(l);
    ASSERT(!log->closing);
    local_port_send(log->port, new_tail_op(log, OP_TAIL, done, ctx));
}

static void local_trim(struct log *l, lsn_t upto)
{
    struct local_log *log = local_of(l);
    upto = MIN(upto, l->committed);
    if (upto <= l->trim_point || log->closing)
        return;
    l->trim_point = upto;
    struct local_op *op = xcalloc(1, sizeof(*op));
    op->kind = OP_TRIM;
    op->loglet = log->loglet;
    op->offset = upto;
    local_port_send(log->port, op);
}

static void local_seal(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct local_log *log = local_of(l);
    ASSERT(!log->closing);
    struct local_op *op = new_tail_op(log, OP_SEAL, done, ctx);
    if (log->seal) { /* a second one need not wait for the first: sealing is idempotent */
        local_port_send(log->port, op);
        return;
    }
    log->seal = op;
    local_port_mark(log->port, log);
}

/* Everything that was accepted is part of the log or certainly not before the seal is written. */
static void step_seal(struct local_log *log)
{
    if (!log->seal || (log->next > log->log.committed + 1 && log->failed == RC_OK))
        return;
    struct local_op *op = log->seal;
    log->seal = NULL;
    log->sealed = true;
    local_port_send(log->port, op);
}

static void local_close(struct log *l, void (*done)(void *ctx), void *ctx)
{
    struct local_log *log = local_of(l);
    ASSERT_MSG(!log->closing, "a log is closed twice");
    log->closing = true;
    log->close_done = done;
    log->close_ctx = ctx;
    local_read_stop(l);
    local_port_mark(log->port, log);
}

static void step_close(struct local_log *log)
{
    fail_waiters(log, RC_CLOSED);
    if (log->close_sent)
        return;
    log->close_sent = true;
    if (log->seal) {
        struct local_op *op = log->seal;
        log->seal = NULL;
        log->n_ops--;
        op->tail_done(op->ctx, RC_CLOSED, 0);
        free(op);
    }
    local_port_send(log->port, new_tail_op(log, OP_CLOSE, NULL, NULL));
}

void local_log_step(struct local_log *log)
{
    step_commit(log);
    if (log->failed != RC_OK)
        fail_waiters(log, log->failed);
    step_reader(log);
    ring_release(log);
    if (log->closing)
        step_close(log);
    else
        step_seal(log);
}

void local_log_on_op(struct local_log *log, struct local_op *op)
{
    log->n_ops--;
    if (op->kind == OP_CLOSE) {
        /* The log loop has handled or canceled whatever was on its way. */
        void (*done)(void *ctx) = log->close_done;
        void *ctx = log->close_ctx;
        step_commit(log);
        drop_uncommitted(log);
        ring_release(log);
        free(op);
        local_log_free(log);
        done(ctx);
        return;
    }
    if (op->kind == OP_READ)
        on_read(log, op);
    else
        op->tail_done(op->ctx, op->rc, op->tail);
    free(op);
    local_port_mark(log->port, log);
}

static const struct log_ops local_ops = {
    .append = local_append,
    .read_from = local_read_from,
    .read_stop = local_read_stop,
    .find_tail = local_find_tail,
    .trim = local_trim,
    .seal = local_seal,
    .close = local_close,
};

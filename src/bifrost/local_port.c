/* Local provider, shard side: the appends of all logs of one loop iteration leave as one message (see
 * local_internal.h). */
#include <stdlib.h>

#include "bifrost/local_internal.h"

static void port_flush(struct loop_flush *f)
{
    struct local_logs_port *p = CONTAINER_OF(f, struct local_logs_port, flush);
    struct loop *log_loop = local_logs_loop(p->logs);
    if (p->current) {
        struct local_message *m = p->current;
        p->current = NULL;
        p->n_outside++;
        m->msg.deliver = local_logs_on_message;
        loop_post(log_loop, &m->msg);
    }
    struct list *n;
    while ((n = list_pop_front(&p->ops))) {
        struct local_op *op = CONTAINER_OF(n, struct local_op, link);
        if (op->kind != OP_TRIM) /* the only one without answer */
            p->n_outside++;
        op->msg.deliver = local_logs_on_op;
        loop_post(log_loop, &op->msg);
    }
}

static void port_work(struct env_task *t)
{
    struct local_logs_port *p = CONTAINER_OF(t, struct local_logs_port, work);
    struct list now;
    list_init(&now);
    list_splice(&now, &p->dirty); /* who is marked again meanwhile has its turn in a task of its own */
    struct list *n;
    while ((n = list_pop_front(&now)))
        local_log_step(CONTAINER_OF(n, struct local_log, dirty));
}

void local_port_mark(struct local_logs_port *p, struct local_log *log)
{
    if (!list_linked(&log->dirty))
        list_push_back(&p->dirty, &log->dirty);
    env_defer(loop_env(p->loop), &p->work);
}

static struct local_message *take_message(struct local_logs_port *p)
{
    struct list *n = list_pop_front(&p->free_messages);
    if (n)
        return CONTAINER_OF(n, struct local_message, link);
    struct local_message *m = xcalloc(1, sizeof(*m));
    list_init(&m->link);
    m->port = p;
    return m;
}

void local_port_append(struct local_logs_port *p, struct local_log *log, lsn_t lsn, struct slice body)
{
    if (!p->current) {
        p->current = take_message(p);
        p->serial++;
        loop_flush_request(p->loop, &p->flush);
    }
    struct local_message *m = p->current;
    VEC_PUSH(&m->appends, ((struct local_append){log, log->loglet, lsn, body}));
    if (log->progress_serial != p->serial) {
        log->progress_serial = p->serial;
        log->progress_index = m->progress.len;
        VEC_PUSH(&m->progress, ((struct local_progress){log, lsn}));
    }
    m->progress.items[log->progress_index].upto = lsn;
}

void local_port_send(struct local_logs_port *p, struct local_op *op)
{
    op->logs = p->logs;
    op->port = p;
    list_init(&op->link);
    list_push_back(&p->ops, &op->link);
    loop_flush_request(p->loop, &p->flush);
}

void local_port_on_message(struct loop_msg *msg)
{
    struct local_message *m = CONTAINER_OF(msg, struct local_message, msg);
    struct local_logs_port *p = m->port;
    for (size_t i = 0; i < m->progress.len; i++) {
        struct local_log *log = m->progress.items[i].log;
        if (!log)
            continue; /* closed meanwhile */
        if (m->rc == RC_OK) {
            ASSERT(m->progress.items[i].upto > log->acked);
            log->acked = m->progress.items[i].upto;
        } else {
            log->failed = m->rc;
        }
        local_port_mark(p, log);
    }
    m->appends.len = m->progress.len = m->next = 0;
    m->rc = RC_OK;
    list_push_back(&p->free_messages, &m->link);
    p->n_outside--;
}

static void on_opened(struct local_logs_port *p, struct local_op *op)
{
    struct local_log *log = op->rc == RC_OK ? local_log_new(p, (uint32_t)(op->loglet >> 32), op) : NULL;
    op->opened(op->ctx, log ? &log->log : NULL, log ? NULL : &op->err);
    free(op);
}

void local_port_on_op(struct loop_msg *msg)
{
    struct local_op *op = CONTAINER_OF(msg, struct local_op, msg);
    struct local_logs_port *p = op->port;
    p->n_outside--;
    if (op->kind == OP_OPEN)
        on_opened(p, op);
    else
        local_log_on_op(op->log, op);
}

struct local_logs_port *local_logs_port_new(struct local_logs *l, struct loop *shard_loop)
{
    struct local_logs_port *p = xcalloc(1, sizeof(*p));
    p->logs = l;
    p->loop = shard_loop;
    list_init(&p->free_messages);
    list_init(&p->ops);
    list_init(&p->dirty);
    loop_flush_init(&p->flush, port_flush);
    env_task_init(&p->work, port_work);
    return p;
}

void local_logs_port_free(struct local_logs_port *p)
{
    ASSERT_MSG(p->n_logs == 0 && p->n_outside == 0 && !p->current && list_empty(&p->ops),
               "a port is freed while it is in use");
    struct list *n;
    while ((n = list_pop_front(&p->free_messages))) {
        struct local_message *m = CONTAINER_OF(n, struct local_message, link);
        VEC_FREE(&m->appends);
        VEC_FREE(&m->progress);
        free(m);
    }
    if (list_linked(&p->flush.link))
        list_remove(&p->flush.link);
    env_undefer(&p->work);
    free(p);
}

void local_log_open(struct local_logs_port *p, uint32_t log_id,
                    void (*opened)(void *ctx, struct log *log, const struct err *err), void *ctx)
{
    struct local_op *op = xcalloc(1, sizeof(*op));
    op->kind = OP_OPEN;
    op->loglet = (uint64_t)log_id << 32; /* segment 0 of the chain */
    op->opened = opened;
    op->ctx = ctx;
    local_port_send(p, op);
}

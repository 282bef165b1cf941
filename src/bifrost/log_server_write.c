/* Log-server: what changes the disk. Requests are checked against what is stored and what is on its way to
 * the disk (staged), queued, written in batches, and answered when they are durable. */
#include <stdlib.h>

#include "bifrost/log_server_internal.h"

#define BATCH_BYTES    ((size_t)4 << 20) /* of one batch; a larger request goes alone */
#define BATCH_ENTRIES  ((size_t)16384)
#define FULL_RETRY_MS  500
#define NO_STORE_AFTER UINT64_MAX /* batch_last of a loglet that is being trimmed in this batch */

/* ---- operations ---- */

static struct ls_op *op_new(struct ls_loglet *l, enum ls_op_kind kind, const struct log_server_peer *peer,
                            uint64_t request_id, uint32_t n_records)
{
    struct ls_op *op = xcalloc(1, sizeof(*op) + n_records * sizeof(op->records[0]));
    op->kind = kind;
    op->loglet = l;
    if (peer)
        op->peer = *peer;
    op->request_id = request_id;
    list_init(&op->link);
    list_push_back(&l->ops, &op->sibling);
    return op;
}

void ls_op_free(struct ls_op *op)
{
    for (uint32_t i = 0; i < op->n_records; i++)
        bytes_unref(&op->records[i].body);
    op->loglet->server->pending_bytes -= op->bytes;
    list_remove(&op->sibling);
    list_remove(&op->link);
    free(op);
}

static void enqueue(struct ls_op *op)
{
    struct log_server *s = op->loglet->server;
    s->pending_bytes += op->bytes;
    list_push_back(&s->queue, &op->link);
    if (!s->busy)
        env_defer(s->config.env, &s->work);
}

static enum loglet_message_kind reply_kind(const struct ls_op *op)
{
    return op->kind == LS_STORE ? LOGLET_STORED : op->kind == LS_SEAL ? LOGLET_SEALED : LOGLET_TRIMMED;
}

static void answer(struct ls_op *op, enum loglet_status status)
{
    if (op->kind != LS_META)
        ls_reply(op->loglet, &op->peer, reply_kind(op), op->request_id, status);
}

/* ---- store ---- */

static bool is_staged(const struct ls_loglet *l, uint64_t offset)
{
    LIST_FOREACH(n, &l->ops)
    {
        const struct ls_op *op = CONTAINER_OF(n, struct ls_op, sibling);
        for (uint32_t i = 0; i < op->n_records; i++) {
            if (op->records[i].offset == offset)
                return true;
        }
    }
    return false;
}

static bool is_stored(const struct ls_loglet *l, uint64_t offset)
{
    struct log_server_store *store = l->server->config.store;
    return offset <= l->trim_point || (offset < l->local_tail && store->ops->has(store, l->id, offset));
}

/* The checks of spec/cluster.md §5.5 that come before looking at single records, in its order. */
static enum loglet_status check_store(const struct ls_loglet *l, const struct log_server_peer *from,
                                      const struct loglet_message *m)
{
    struct log_server *s = l->server;
    bool repair = m->flags & LOGLET_IGNORE_SEAL;
    if (m->n_records == 0 || m->sequencer.id == 0 || m->first_offset == 0 ||
        m->first_offset + m->n_records > LOGLET_OFFSET_MAX)
        return LOGLET_MALFORMED;
    if (l->sealed && !repair)
        return LOGLET_IS_SEALED;
    if (s->unwritable || s->failsafe || s->config.store->ops->full(s->config.store))
        return LOGLET_REFUSES;
    if (l->sequencer.id && !node_ref_eq(l->sequencer, m->sequencer))
        return LOGLET_SEQUENCER_MISMATCH;
    /* No holes above what is known to be on a write quorum (L-4). */
    if (m->first_offset > MAX(l->staged_tail, ls_known_tail(l)))
        return LOGLET_OUT_OF_BOUNDS;
    /* Only the process named in the parameters assigns offsets (L-10). */
    if (!repair && !node_ref_eq(from->node, m->sequencer))
        return LOGLET_SEQUENCER_MISMATCH;
    return LOGLET_OK;
}

/* Copy into the operation what is neither stored nor staged. True if nothing has to be waited for. */
static bool take_missing(struct ls_op *op, const struct loglet_message *m)
{
    struct ls_loglet *l = op->loglet;
    bool all_stored = true;
    for (uint32_t i = 0; i < m->n_records; i++) {
        uint64_t offset = m->first_offset + i;
        if (offset < l->staged_tail) {
            if (is_stored(l, offset))
                continue;
            all_stored = false;
            if (is_staged(l, offset))
                continue; /* batches are written in order: answered no earlier than that one */
        }
        all_stored = false;
        op->records[op->n_records++] = (struct ls_record){offset, bytes_ref(m->records[i])};
        op->bytes += m->records[i].len;
    }
    return all_stored;
}

void ls_store(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    struct log_server *s = l->server;
    s->stats.stores++;
    enum loglet_status status = check_store(l, from, m);
    if (status != LOGLET_OK) {
        s->stats.refused++;
        ls_reply(l, from, LOGLET_STORED, m->request_id, status);
        return;
    }
    struct ls_op *op = op_new(l, LS_STORE, from, m->request_id, m->n_records);
    bool all_stored = take_missing(op, m);
    if (all_stored)
        status = LOGLET_OK; /* a retransmission */
    else if (l->sealing && !(m->flags & LOGLET_IGNORE_SEAL))
        status = LOGLET_SEALING;
    else if (s->pending_bytes > 0 && s->pending_bytes + op->bytes > s->config.pending_limit_bytes)
        status = LOGLET_DROPPED;
    else
        all_stored = false;
    if (all_stored || status != LOGLET_OK) {
        op->bytes = 0; /* not counted yet */
        ls_op_free(op);
        s->stats.shed += status == LOGLET_DROPPED;
        ls_reply(l, from, LOGLET_STORED, m->request_id, status);
        return;
    }
    /* The sequencer's identity becomes durable with the first record, and what justifies a hole with the
     * record that makes it: otherwise a crash would leave a hole that nothing explains. */
    uint64_t saved = MAX(l->saved_committed, l->saved_repaired);
    uint64_t first = op->n_records ? op->records[0].offset : 0;
    op->with_meta = !l->meta_saved || (first > l->staged_tail && first > saved);
    l->sequencer = m->sequencer;
    if (op->n_records)
        l->staged_tail = MAX(l->staged_tail, op->records[op->n_records - 1].offset + 1);
    enqueue(op);
}

/* ---- seal, trim, metadata ---- */

void ls_seal(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    if (l->sealed || l->server->failsafe) {
        ls_reply(l, from, LOGLET_SEALED, m->request_id, l->sealed ? LOGLET_OK : LOGLET_REFUSES);
        return;
    }
    if (l->sequencer.id && m->sequencer.id && !node_ref_eq(l->sequencer, m->sequencer)) {
        ls_reply(l, from, LOGLET_SEALED, m->request_id, LOGLET_SEQUENCER_MISMATCH);
        return;
    }
    /* From here on new records are refused; those staged before are written first, in the same batch at the
     * latest. So every record that was acknowledged Ok lies below the tail that the answer names (§5.14, 4).
     */
    l->sealing = true;
    if (!l->sequencer.id)
        l->sequencer = m->sequencer;
    struct ls_op *op = op_new(l, LS_SEAL, from, m->request_id, 0);
    op->with_meta = !l->meta_saved;
    enqueue(op);
}

void ls_trim(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    uint64_t upto = MIN(m->to, l->local_tail - 1);
    if (upto <= l->trim_point || l->server->failsafe) {
        bool done = upto <= l->trim_point;
        ls_reply(l, from, LOGLET_TRIMMED, m->request_id, done ? LOGLET_OK : LOGLET_REFUSES);
        return;
    }
    struct ls_op *op = op_new(l, LS_TRIM, from, m->request_id, 0);
    op->upto = upto;
    enqueue(op);
}

void ls_save_meta(struct ls_loglet *l)
{
    struct ls_op *op = op_new(l, LS_META, NULL, 0, 0);
    op->with_meta = true;
    enqueue(op);
}

/* ---- batches ---- */

static void add_entry(struct log_server *s, struct store_entry e)
{
    VEC_PUSH(&s->batch, e);
}

static void add_meta(struct log_server *s, struct ls_loglet *l)
{
    size_t len;
    struct buf *meta = ls_meta_encode(l, &len);
    VEC_PUSH(&s->metas, meta);
    add_entry(s, (struct store_entry){STORE_META, l->id, 0, slice_make(meta->data, len)});
    l->saved_committed = l->committed_tail;
    l->saved_repaired = l->repaired_tail;
    l->meta_saved = true;
}

/* Can the operation join the batch? Offsets of a loglet ascend within one, and trims stand alone. */
static bool fits(const struct log_server *s, const struct ls_op *op)
{
    const struct ls_loglet *l = op->loglet;
    if (l->batch != s->batch_number)
        return true;
    if (op->kind == LS_TRIM)
        return l->batch_last == 0;
    return op->n_records == 0 || op->records[0].offset > l->batch_last;
}

static void add_op(struct log_server *s, struct ls_op *op)
{
    struct ls_loglet *l = op->loglet;
    if (l->batch != s->batch_number) {
        l->batch = s->batch_number;
        l->batch_last = 0;
    }
    if (op->with_meta)
        add_meta(s, l);
    for (uint32_t i = 0; i < op->n_records; i++) {
        const struct ls_record *r = &op->records[i];
        l->batch_last = r->offset;
        if (r->offset > l->trim_point) /* it may have been trimmed while it waited */
            add_entry(s, (struct store_entry){STORE_RECORD, l->id, r->offset, bytes_slice(r->body)});
    }
    if (op->kind == LS_SEAL)
        add_entry(s, (struct store_entry){STORE_SEAL, l->id, 0, SLICE_EMPTY});
    if (op->kind == LS_TRIM) {
        add_entry(s, (struct store_entry){STORE_TRIM, l->id, op->upto, SLICE_EMPTY});
        l->batch_last = NO_STORE_AFTER;
    }
    s->batch.control_only &= op->n_records == 0;
    list_remove(&op->link);
    list_push_back(&s->writing, &op->link);
}

static void batch_reset(struct log_server *s)
{
    for (size_t i = 0; i < s->metas.len; i++)
        buf_unref(s->metas.items[i]);
    s->metas.len = 0;
    s->batch.len = 0;
    s->batch.control_only = true;
}

/* Everything is durable that the operations of the batch asked for. */
static void apply_batch(struct log_server *s)
{
    LIST_FOREACH(n, &s->writing)
    {
        struct ls_op *op = CONTAINER_OF(n, struct ls_op, link);
        struct ls_loglet *l = op->loglet;
        if (op->n_records)
            l->local_tail = MAX(l->local_tail, op->records[op->n_records - 1].offset + 1);
        if (op->kind == LS_SEAL) {
            l->sealed = true;
            l->sealing = false;
        }
        if (op->kind == LS_TRIM)
            l->trim_point = MAX(l->trim_point, op->upto);
        s->stats.stored_records += op->n_records;
        ASSERT(l->local_tail <= l->staged_tail && l->trim_point < l->local_tail);
    }
}

static void answer_batch(struct log_server *s)
{
    struct list *n;
    while ((n = list_pop_front(&s->writing))) {
        struct ls_op *op = CONTAINER_OF(n, struct ls_op, link);
        struct ls_loglet *l = op->loglet;
        bool sealed = op->kind == LS_SEAL;
        answer(op, LOGLET_OK);
        ls_op_free(op);
        if (sealed)
            ls_wake_waiters(l);
    }
}

void ls_write_work(struct env_task *t)
{
    struct log_server *s = CONTAINER_OF(t, struct log_server, work);
    while (!s->busy && !s->failsafe && !list_empty(&s->queue)) {
        size_t bytes = 0;
        s->batch_number++;
        batch_reset(s);
        LIST_FOREACH_SAFE(n, next, &s->queue)
        {
            struct ls_op *op = CONTAINER_OF(n, struct ls_op, link);
            if (!fits(s, op) || (s->batch.len > 0 && (bytes + op->bytes > BATCH_BYTES ||
                                                      s->batch.len + op->n_records > BATCH_ENTRIES)))
                break;
            bytes += op->bytes;
            add_op(s, op);
        }
        if (s->batch.len == 0) { /* repetitions of what has become durable meanwhile */
            answer_batch(s);
            continue;
        }
        s->busy = true;
        s->stats.batches++;
        s->config.store->ops->submit(s->config.store, &s->batch);
    }
}

/* ---- when the disk says no ---- */

/* Give up stores that are not durable, wherever they are. Their senders hear that nothing was done. */
static void drop_ops(struct log_server *s, struct list *from, bool stores_only)
{
    LIST_FOREACH_SAFE(n, next, from)
    {
        struct ls_op *op = CONTAINER_OF(n, struct ls_op, link);
        if (stores_only && op->kind != LS_STORE)
            continue;
        struct ls_loglet *l = op->loglet;
        l->staged_tail = l->local_tail;
        answer(op, LOGLET_REFUSES);
        ls_op_free(op);
    }
}

/* What the failed batch would have saved is not saved. */
static void forget_saved(struct log_server *s)
{
    LIST_FOREACH(n, &s->writing)
    {
        struct ls_op *op = CONTAINER_OF(n, struct ls_op, link);
        if (op->with_meta) {
            op->loglet->saved_committed = op->loglet->saved_repaired = 0;
            op->loglet->meta_saved = false;
        }
    }
}

void ls_batch_done(struct store_batch *b, enum rc rc)
{
    struct log_server *s = CONTAINER_OF(b, struct log_server, batch);
    bool control_only = b->control_only;
    s->busy = false;
    if (rc == RC_OK) {
        apply_batch(s);
        answer_batch(s);
    } else if (rc == RC_NO_SPACE) {
        forget_saved(s);
        drop_ops(s, &s->writing, true);
        drop_ops(s, &s->queue, true);
        list_splice(&s->writing, &s->queue); /* seals and trims go on, in their order */
        list_splice(&s->queue, &s->writing);
        if (control_only) {
            env_timer_arm(s->config.env, &s->full_retry, FULL_RETRY_MS);
            return;
        }
    } else {
        /* What is on disk is unknown now: take nothing more, seals included, until a restart has looked. */
        s->failsafe = true;
        drop_ops(s, &s->writing, false);
        drop_ops(s, &s->queue, false);
        return;
    }
    env_defer(s->config.env, &s->work);
}

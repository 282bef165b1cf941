/* Repair of the end of a sealed segment (spec/cluster.md §5.8): what may be on too few nodes is copied until
 * it is on a write quorum.
 *
 * Digests first, from a write quorum at least and from so many nodes that every offset has a holder. The
 * highest offset that a write quorum holds proves everything below it (a node that stored it had, or knew of
 * a write quorum that had, all before it). What is above is copied in ascending order, so that the no-holes
 * rule of the log-servers admits it. An offset has one content wherever it is stored (L-3): repair never
 * chooses between versions.
 *
 * Trap TR-1: the watermark that goes with the copies is the repaired one. The sequencer's is passed on as
 * heard. */
#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

#define COPY_BYTES  (1u << 20)
#define PATIENCE_MS 4000 /* without progress; then it fails and the tail is searched again */

struct repair_op;
struct repair_node {
    struct repair_op *repair;
    unsigned position;
    struct loglet_range *ranges; /* of its digest */
    uint32_t n_ranges;
    struct loglet_call store;
};

struct repair_op {
    struct loglet_op op;
    struct loglet_calls *calls;
    struct loglet_params params;
    struct fanout fanout;
    uint64_t from, to; /* [from, to) */
    uint64_t committed;
    uint64_t at;      /* everything below is on a write quorum */
    uint64_t run_end; /* offsets at..run_end (inclusive) have the same holders */
    struct marks holders, tried, stored, waiting;
    struct bytes *records; /* of the copy in progress */
    uint32_t n_records;
    struct loglet_call read;
    struct env_timer patience;
    struct env_task start;
    struct repair_node *nodes;
    void (*done)(void *ctx, enum rc rc);
    void *ctx;
};

static void next_run(struct repair_op *r);
static void read_next(struct repair_op *r);

static void drop_records(struct repair_op *r)
{
    for (uint32_t i = 0; i < r->n_records; i++)
        bytes_unref(&r->records[i]);
    r->n_records = 0;
}

static void cancel_stores(struct repair_op *r)
{
    for (unsigned i = 0; i < r->params.nodeset.len; i++)
        loglet_call_cancel(&r->nodes[i].store);
}

static void repair_free(struct loglet_op *op)
{
    struct repair_op *r = CONTAINER_OF(op, struct repair_op, op);
    cancel_stores(r);
    loglet_call_cancel(&r->read);
    env_timer_cancel(r->calls->env, &r->patience);
    env_undefer(&r->start);
    fanout_free(&r->fanout);
    drop_records(r);
    for (unsigned i = 0; i < r->params.nodeset.len; i++)
        free(r->nodes[i].ranges);
    free(r->nodes);
    free(r->records);
    free(r);
}

static void finish(struct repair_op *r, enum rc rc)
{
    void (*done)(void *ctx, enum rc rc) = r->done;
    void *ctx = r->ctx;
    repair_free(&r->op);
    done(ctx, rc);
}

static void out_of_patience(struct env_timer *t)
{
    finish(CONTAINER_OF(t, struct repair_op, patience), RC_UNAVAILABLE);
}

/* ---- what the digests say ---- */

/* Does the node have the offset? *start and *end are set to the stretch around it with the same answer. */
static bool node_has(const struct repair_node *n, uint64_t offset, uint64_t *start, uint64_t *end)
{
    *start = 1;
    *end = UINT64_MAX;
    for (uint32_t i = 0; i < n->n_ranges; i++) {
        const struct loglet_range *range = &n->ranges[i];
        if (range->from > offset) {
            *end = range->from - 1;
            return false;
        }
        if (range->to >= offset) {
            *start = range->from;
            *end = range->to;
            return true;
        }
        *start = range->to + 1;
    }
    return false;
}

/* Holders of the offset, and the stretch around it within [from, to) that has the same. */
static struct marks holders_of(const struct repair_op *r, uint64_t offset, uint64_t *start, uint64_t *end)
{
    struct marks m = {{0}};
    *start = r->from;
    *end = r->to - 1;
    for (unsigned i = 0; i < r->params.nodeset.len; i++) {
        if (!marks_has(r->fanout.answered, i))
            continue;
        uint64_t s, e;
        if (node_has(&r->nodes[i], offset, &s, &e))
            marks_add(&m, i);
        *start = MAX(*start, s);
        *end = MIN(*end, e);
    }
    return m;
}

/* Move `at` up to behind the highest offset that a write quorum holds. False if some offset above it has no
 * holder among those who answered. */
static bool plan(struct repair_op *r)
{
    uint64_t offset = r->to - 1, start, end;
    bool covered = true;
    while (offset >= r->from) {
        struct marks m = holders_of(r, offset, &start, &end);
        if (quorum_is_best_write(&r->fanout.quorum, m)) {
            r->at = offset + 1;
            return covered;
        }
        covered &= !marks_empty(m);
        offset = start - 1;
    }
    r->at = r->from;
    return covered;
}

static void keep_digest(struct repair_node *n, const struct loglet_message *m)
{
    free(n->ranges);
    n->ranges = xcalloc(m->n_ranges + 1, sizeof(*n->ranges));
    if (m->n_ranges)
        memcpy(n->ranges, m->ranges, m->n_ranges * sizeof(*n->ranges));
    n->n_ranges = m->n_ranges;
}

static void look(struct repair_op *r)
{
    struct fanout *f = &r->fanout;
    if (!quorum_is_best_write(&f->quorum, f->answered) || !plan(r))
        return;
    fanout_stop(f); /* what was answered stays */
    next_run(r);
}

static void on_digest(struct fanout *f, unsigned position, const struct loglet_message *m)
{
    struct repair_op *r = CONTAINER_OF(f, struct repair_op, fanout);
    keep_digest(&r->nodes[position], m);
    look(r);
}

static void on_change(struct fanout *f)
{
    look(CONTAINER_OF(f, struct repair_op, fanout));
}

/* ---- copying ---- */

static void next_run(struct repair_op *r)
{
    if (r->at == r->to) {
        finish(r, RC_OK);
        return;
    }
    uint64_t start;
    r->holders = holders_of(r, r->at, &start, &r->run_end);
    r->tried = (struct marks){{0}};
    env_timer_arm(r->calls->env, &r->patience, PATIENCE_MS);
    read_next(r);
}

/* Ask the next holder for the records. */
static void read_next(struct repair_op *r)
{
    struct marks left = marks_minus(r->holders, r->tried);
    int own = nodeset_position(&r->params.nodeset, r->calls->me.id);
    unsigned i = 0;
    if (marks_empty(left)) {
        finish(r, RC_UNAVAILABLE);
        return;
    }
    if (own >= 0 && marks_has(left, (unsigned)own))
        i = (unsigned)own;
    else
        while (!marks_has(left, i))
            i++;
    marks_add(&r->tried, i);
    struct loglet_message m = loglet_request(&r->params, LOGLET_GET_RECORDS, r->committed, r->at);
    m.from = r->at;
    m.to = r->run_end;
    m.max_bytes = COPY_BYTES;
    loglet_call_start(r->calls, &r->read, r->params.nodeset.ids[i], &m, loglet_timeout_ms(1));
}

static void copied(struct repair_op *r)
{
    cancel_stores(r);
    r->at += r->n_records;
    drop_records(r);
    next_run(r);
}

static void on_stored(struct loglet_call *call, const struct loglet_message *m)
{
    struct repair_node *n = CONTAINER_OF(call, struct repair_node, store);
    struct repair_op *r = n->repair;
    marks_remove(&r->waiting, n->position);
    if (m && m->status == LOGLET_OK)
        marks_add(&r->stored, n->position);
    if (quorum_is_best_write(&r->fanout.quorum, r->stored))
        copied(r);
    else if (marks_empty(r->waiting))
        finish(r, RC_UNAVAILABLE);
}

/* Send the records to everybody who lacks them. */
static void store(struct repair_op *r)
{
    r->stored = r->holders;
    r->waiting = marks_minus(r->fanout.quorum.writable, r->holders);
    if (marks_empty(r->waiting)) {
        finish(r, RC_UNAVAILABLE);
        return;
    }
    struct marks targets = r->waiting;
    for (unsigned i = 0; i < r->params.nodeset.len; i++) {
        if (!marks_has(targets, i))
            continue;
        struct loglet_message m = loglet_request(&r->params, LOGLET_STORE, r->committed, r->at);
        m.flags = LOGLET_IGNORE_SEAL;
        m.first_offset = r->at;
        m.records = r->records;
        m.n_records = r->n_records;
        m.timeout_ms = (uint32_t)loglet_timeout_ms(1);
        loglet_call_start(r->calls, &r->nodes[i].store, r->params.nodeset.ids[i], &m, loglet_timeout_ms(1));
    }
}

static void on_read(struct loglet_call *call, const struct loglet_message *m)
{
    struct repair_op *r = CONTAINER_OF(call, struct repair_op, read);
    if (!m || m->first_offset != r->at || m->n_records == 0) {
        read_next(r);
        return;
    }
    for (uint32_t i = 0; i < m->n_records && r->at + i <= r->run_end; i++) {
        r->records[i] = bytes_ref(m->records[i]);
        r->n_records++;
    }
    store(r);
}

/* ---- start ---- */

static void start(struct env_task *t)
{
    struct repair_op *r = CONTAINER_OF(t, struct repair_op, start);
    struct loglet_message m = loglet_request(&r->params, LOGLET_GET_DIGEST, r->committed, r->from);
    m.from = r->from;
    m.to = r->to - 1;
    env_timer_arm(r->calls->env, &r->patience, PATIENCE_MS);
    fanout_start(&r->fanout, &m);
}

struct loglet_op *loglet_repair(struct loglet_calls *c, const struct loglet_params *p, uint64_t from,
                                uint64_t to, uint64_t committed_tail, void (*done)(void *ctx, enum rc rc),
                                void *ctx)
{
    ASSERT(from >= 1 && from < to && committed_tail <= from);
    struct repair_op *r = xcalloc(1, sizeof(*r));
    r->op.free = repair_free;
    r->calls = c;
    r->params = *p;
    r->from = r->at = from;
    r->to = to;
    r->committed = committed_tail;
    r->done = done;
    r->ctx = ctx;
    r->records = xcalloc(LOGLET_RECORDS_MAX, sizeof(*r->records));
    r->nodes = xcalloc(p->nodeset.len, sizeof(*r->nodes));
    for (unsigned i = 0; i < p->nodeset.len; i++) {
        r->nodes[i].repair = r;
        r->nodes[i].position = i;
        loglet_call_init(&r->nodes[i].store, on_stored);
    }
    loglet_call_init(&r->read, on_read);
    env_timer_init(&r->patience, out_of_patience);
    env_task_init(&r->start, start);
    fanout_init(&r->fanout, c, &r->params);
    r->fanout.on_reply = on_digest;
    r->fanout.on_change = on_change;
    env_defer(c->env, &r->start);
    return &r->op;
}

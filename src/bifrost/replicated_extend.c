/* Reconfiguration of a log (spec/cluster.md §5.9): seal the last segment, find its tail, append a segment (or
 * a seal marker) to the chain by compare-and-swap.
 *
 * Trap TR-1: several may do this at once and find different tails. The first successful swap decides which
 * one is true; everybody else finds the index changed and takes the chain as it is. Trap TR-6: a swap without
 * an answer has perhaps happened. Before anything else the chain is read again; a repeated swap expects the
 * same old chain, so at most one of them takes effect. */
#include "bifrost/replicated_chain.h"

#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

bool chain_eq(const struct chain *a, const struct chain *b)
{
    if (a->log_id != b->log_id || a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++) {
        const struct chain_segment *x = &a->segments[i], *y = &b->segments[i];
        if (x->base_lsn != y->base_lsn || x->index != y->index || x->kind != y->kind ||
            !slice_eq(bytes_slice(x->params), bytes_slice(y->params)))
            return false;
    }
    return true;
}

struct extend_op {
    struct loglet_op op;
    struct extend_request request;
    struct replication replication;
    struct nodeset preferred;
    bool has_preferred;
    char *marker_params;
    struct chain chain;        /* as last read; len 0: there is none */
    struct loglet_params last; /* of its last replicated segment; empty node set: none */
    uint64_t tail;             /* decided by sealing; 0: not yet */
    struct chain_request call;
    bool calling, swapping;
    struct loglet_op *helper;
    struct env_timer pause;
    unsigned failures;
    void (*done)(void *ctx, enum rc rc, const struct chain *chain, uint64_t version);
    void *ctx;
};

static void read_chain(struct extend_op *e);

static void extend_free(struct loglet_op *op)
{
    struct extend_op *e = CONTAINER_OF(op, struct extend_op, op);
    if (e->calling)
        e->request.store->ops->cancel(e->request.store, &e->call);
    loglet_op_cancel(e->helper);
    env_timer_cancel(e->request.calls->env, &e->pause);
    chain_free(&e->chain);
    free(e->marker_params);
    free(e);
}

static void finish(struct extend_op *e, enum rc rc, const struct chain *chain, uint64_t version)
{
    void (*done)(void *ctx, enum rc rc, const struct chain *chain, uint64_t version) = e->done;
    void *ctx = e->ctx;
    struct chain copy = chain ? chain_copy(chain) : (struct chain){0};
    extend_free(&e->op);
    done(ctx, rc, chain ? &copy : NULL, version);
    chain_free(&copy);
}

static void again_later(struct extend_op *e)
{
    e->failures++;
    env_timer_arm(e->request.calls->env, &e->pause, loglet_pause_ms(e->failures + 1));
}

static void pause_over(struct env_timer *t)
{
    read_chain(CONTAINER_OF(t, struct extend_op, pause));
}

/* ---- the swap ---- */

static void on_swap(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct extend_op *e = CONTAINER_OF(r, struct extend_op, call);
    e->calling = false;
    if (rc == RC_OK)
        finish(e, RC_OK, chain, version);
    else if (rc == RC_CONFLICT)
        read_chain(e);
    else
        again_later(e); /* undecided: look before trying again */
}

static struct bytes new_params(struct extend_op *e, uint32_t index, struct err *err)
{
    const struct extend_request *q = &e->request;
    struct node_ref writer = q->sequencer.id ? q->sequencer : q->calls->me;
    struct nodeset_wish wish = {.replication = e->replication,
                                .target_size = q->target_nodeset_size,
                                .sequencer = writer.id,
                                .preferred = e->has_preferred ? &e->preferred : &e->last.nodeset,
                                .salt = q->log_id};
    struct loglet_params p = {
        .loglet_id = chain_loglet_id(q->log_id, index), .sequencer = writer, .replication = e->replication};
    if (nodeset_select(q->calls->nodes, &wish, &p.nodeset, err) != RC_OK)
        return BYTES_EMPTY;
    return loglet_params_encode(&p);
}

static struct bytes marker_params(struct extend_op *e)
{
    return bytes_copy(slice_cstr(e->marker_params ? e->marker_params : "{}"));
}

/* The chain with its new end; false if there are not enough nodes now. */
static bool build(struct extend_op *e, struct chain *out)
{
    struct err err = {0};
    const struct extend_request *q = &e->request;
    bool create = e->chain.len == 0;
    uint32_t index = create ? 0 : chain_last_index(&e->chain) + 1;
    struct bytes params = q->seal_marker ? marker_params(e) : new_params(e, index, &err);
    if (params.len == 0)
        return false;
    if (create) {
        *out = chain_create(q->log_id, SEGMENT_REPLICATED, params);
        return true;
    }
    const struct chain_segment *last = &e->chain.segments[e->chain.len - 1];
    lsn_t base = last->kind == SEGMENT_SEALED ? last->base_lsn : chain_lsn(last, e->tail);
    *out = chain_copy(&e->chain);
    enum rc rc = q->seal_marker
                     ? chain_append_seal_marker(out, index - 1, base, params, &err)
                     : chain_append_segment(out, index - 1, base, SEGMENT_REPLICATED, params, &err);
    ASSERT_MSG(rc == RC_OK, "%s", err.msg);
    return true;
}

static void swap(struct extend_op *e)
{
    struct chain next;
    if (!build(e, &next)) {
        again_later(e);
        return;
    }
    e->calling = e->swapping = true;
    e->request.store->ops->swap(e->request.store, e->request.log_id, e->chain.len ? &e->chain : NULL, &next,
                                &e->call);
    chain_free(&next);
}

/* ---- the end of the last segment ---- */

static void on_tail(void *ctx, const struct loglet_tail *t)
{
    struct extend_op *e = ctx;
    e->helper = NULL;
    if (t->kind != LOGLET_TAIL_SEALED) { /* nobody is there yet */
        again_later(e);
        return;
    }
    e->tail = t->tail;
    swap(e);
}

static void on_sealed(void *ctx, const struct loglet_seal_result *r)
{
    struct extend_op *e = ctx;
    e->helper = NULL;
    if (r->rc != RC_OK) {
        again_later(e);
        return;
    }
    ASSERT_MSG(r->max_tail <= e->request.known_tail,
               "a drained segment has more records than its sequencer knows");
    e->tail = e->request.known_tail;
    swap(e);
}

static void end_segment(struct extend_op *e, const struct chain_segment *last)
{
    if (e->tail)
        swap(e);
    else if (last->kind != SEGMENT_REPLICATED || e->last.nodeset.len == 0)
        finish(e, RC_UNSUPPORTED, NULL, 0);
    else if (e->request.known_tail)
        e->helper = loglet_seal(e->request.calls, &e->last, on_sealed, e);
    else
        e->helper = loglet_find_tail(e->request.calls, &e->last, LOGLET_TAIL_SEAL, on_tail, e);
}

/* ---- the chain ---- */

/* Parameters of the last replicated segment: what is to be sealed, and the node set to start from. */
static void find_last_params(struct extend_op *e)
{
    e->last = (struct loglet_params){0};
    for (size_t i = e->chain.len; i-- > 0;) {
        const struct chain_segment *s = &e->chain.segments[i];
        if (s->kind == SEGMENT_REPLICATED) {
            if (loglet_params_decode(bytes_slice(s->params), &e->last, NULL) != RC_OK)
                e->last = (struct loglet_params){0};
            return;
        }
    }
}

static void on_read(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct extend_op *e = CONTAINER_OF(r, struct extend_op, call);
    const struct extend_request *q = &e->request;
    e->calling = false;
    if (rc == RC_NOT_FOUND) {
        if (q->expect_absent && !q->seal_marker)
            swap(e);
        else
            finish(e, RC_NOT_FOUND, NULL, version);
        return;
    }
    if (rc != RC_OK) {
        again_later(e);
        return;
    }
    const struct chain_segment *last = &chain->segments[chain->len - 1];
    bool marked = last->kind == SEGMENT_SEALED;
    if (q->expect_absent || last->index != q->expected_index) {
        finish(e, RC_CONFLICT, chain, version);
        return;
    }
    if (marked && q->seal_marker) {
        finish(e, RC_OK, chain, version);
        return;
    }
    chain_free(&e->chain);
    e->chain = chain_copy(chain);
    find_last_params(e);
    if (marked)
        swap(e);
    else
        end_segment(e, &e->chain.segments[e->chain.len - 1]);
}

static void on_chain(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct extend_op *e = CONTAINER_OF(r, struct extend_op, call);
    if (e->swapping)
        on_swap(r, rc, chain, version);
    else
        on_read(r, rc, chain, version);
}

static void read_chain(struct extend_op *e)
{
    e->calling = true;
    e->swapping = false;
    e->request.store->ops->read(e->request.store, e->request.log_id, &e->call);
}

void replicated_extend_look(struct loglet_op *op, const struct replication *replication,
                            unsigned target_nodeset_size)
{
    struct extend_op *e = CONTAINER_OF(op, struct extend_op, op);
    e->replication = *replication;
    e->request.target_nodeset_size = target_nodeset_size;
    if (!e->helper)
        return; /* reads the chain, or will */
    loglet_op_cancel(e->helper);
    e->helper = NULL;
    read_chain(e);
}

struct loglet_op *
replicated_extend(const struct extend_request *r,
                  void (*done)(void *ctx, enum rc rc, const struct chain *chain, uint64_t version), void *ctx)
{
    struct extend_op *e = xcalloc(1, sizeof(*e));
    e->op.free = extend_free;
    e->request = *r;
    e->replication = *r->replication;
    e->has_preferred = r->preferred != NULL;
    if (r->preferred)
        e->preferred = *r->preferred;
    e->marker_params = r->marker_params ? xstrdup(r->marker_params) : NULL;
    e->done = done;
    e->ctx = ctx;
    e->call.done = on_chain;
    env_timer_init(&e->pause, pause_over);
    read_chain(e);
    return &e->op;
}

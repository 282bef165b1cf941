/* Simulated metadata store: one linearizable chain per log, replaced by compare-and-swap. Requests and
 * answers are delayed and lost; a swap without an answer has happened, or not, or happens later (TR-6). */
#include <stdlib.h>

#include "sim/loglet_sim.h"

struct sim_chains {
    struct chain_store store;
    struct sim_node *node;
    struct list pending; /* chain_request.link of requests that are not answered */
};

struct chain_op {
    struct sim_event event;
    struct chain_request *request; /* NULL: nobody waits any more */
    bool swap, answer;             /* answer: this is the way back */
    bool lose_answer;
    unsigned from, log_id;
    struct chain expected, next;
    bool absent;
    enum rc rc;
    struct chain chain;
    uint64_t version;
};

static struct sim_chains *self(struct chain_store *s)
{
    return CONTAINER_OF(s, struct sim_chains, store);
}

static void op_free(struct chain_op *op)
{
    chain_free(&op->expected);
    chain_free(&op->next);
    chain_free(&op->chain);
    free(op);
}

static void op_drop(struct sim_event *e)
{
    op_free(CONTAINER_OF(e, struct chain_op, event));
}

static void answer(struct sim_world *w, struct sim_event *e)
{
    struct chain_op *op = CONTAINER_OF(e, struct chain_op, event);
    struct chain_request *r = op->request;
    if (r) {
        list_remove(&r->link);
        r->private_ = NULL;
        r->done(r, op->rc, op->chain.len ? &op->chain : NULL, op->version);
    }
    op_free(op);
}

/* ---- push of new versions ---- */

struct push {
    struct sim_event event;
    unsigned log_id;
    struct chain chain;
    uint64_t version;
};

static void push_drop(struct sim_event *e)
{
    struct push *p = CONTAINER_OF(e, struct push, event);
    chain_free(&p->chain);
    free(p);
}

static void push_run(struct sim_world *w, struct sim_event *e)
{
    struct push *p = CONTAINER_OF(e, struct push, event);
    replicated_logs_on_chain(w->nodes[e->node].logs, p->log_id, &p->chain, p->version);
    push_drop(e);
}

static void push_all(struct sim_world *w, unsigned log_id)
{
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        if (!w->nodes[i].up || w->meta_cut[i] || sim_chance(w, 40))
            continue;
        struct push *p = xcalloc(1, sizeof(*p));
        p->event.node = i;
        p->event.incarnation = w->nodes[i].incarnation;
        p->event.run = push_run;
        p->event.drop = push_drop;
        p->log_id = log_id;
        p->chain = chain_copy(&w->chains[log_id]);
        p->version = w->version;
        sim_at(w, &p->event, sim_random(w, 100));
    }
}

/* ---- the store itself ---- */

static void execute_swap(struct sim_world *w, struct chain_op *op)
{
    struct chain *now = &w->chains[op->log_id];
    bool matches = op->absent ? now->len == 0 : now->len > 0 && chain_eq(now, &op->expected);
    if (w->options.mutation == MUTATE_SWAP_BLIND && now->len > 0 && !op->absent)
        matches = true;
    if (!matches) {
        w->stats.conflicts++;
        op->rc = RC_CONFLICT;
        return;
    }
    sim_check_swap(w, op->log_id, now, &op->next);
    chain_free(now);
    *now = chain_copy(&op->next);
    w->version++;
    w->stats.swaps++;
    op->rc = RC_OK;
    push_all(w, op->log_id);
}

static void send_back(struct sim_world *w, struct chain_op *op, uint64_t after_ms)
{
    op->event.run = answer;
    op->event.node = op->from;
    op->event.incarnation = w->nodes[op->from].incarnation;
    sim_at(w, &op->event, after_ms);
}

/* The request arrives at the store; the asker may be gone, its swap takes place nevertheless. */
static void execute(struct sim_world *w, struct sim_event *e)
{
    struct chain_op *op = CONTAINER_OF(e, struct chain_op, event);
    if (op->swap)
        execute_swap(w, op);
    else
        op->rc = w->chains[op->log_id].len ? RC_OK : RC_NOT_FOUND;
    if (w->chains[op->log_id].len)
        op->chain = chain_copy(&w->chains[op->log_id]);
    op->version = w->version;
    if (!op->request || op->lose_answer)
        op_free(op);
    else
        send_back(w, op, sim_random(w, 20));
}

/* ---- faults ---- */

static struct chain_op *op_new(struct sim_node *n, uint32_t log_id, struct chain_request *r)
{
    struct chain_op *op = xcalloc(1, sizeof(*op));
    op->from = n->id;
    op->log_id = log_id;
    op->request = r;
    op->event.drop = op_drop;
    op->event.run = execute;
    r->private_ = op;
    list_init(&r->link);
    list_push_back(&n->chains->pending, &r->link);
    return op;
}

/* The asker gives up; whatever goes on goes on without it. */
static void time_out(struct sim_world *w, struct chain_op *op, uint64_t after_ms)
{
    struct chain_op *t = xcalloc(1, sizeof(*t));
    t->from = op->from;
    t->log_id = op->log_id;
    t->request = op->request;
    t->rc = RC_TIMEOUT;
    t->event.drop = op_drop;
    op->request->private_ = t;
    op->request = NULL;
    send_back(w, t, after_ms);
}

static void start(struct sim_world *w, struct chain_op *op)
{
    unsigned fault = (unsigned)sim_random(w, 100);
    bool cut = w->meta_cut[op->from];
    w->stats.undecided += (cut || fault < w->meta_fault_percent) && op->swap;
    if (cut) { /* requests do not come through */
        time_out(w, op, 200 + sim_random(w, 500));
        op_free(op);
    } else if (fault < w->meta_fault_percent / 3) { /* lost on the way */
        time_out(w, op, 200 + sim_random(w, 300));
        op_free(op);
    } else if (fault < w->meta_fault_percent * 2 / 3) { /* done, the answer is lost */
        time_out(w, op, 200 + sim_random(w, 300));
        op->lose_answer = true;
        sim_at(w, &op->event, sim_random(w, 20));
    } else if (fault < w->meta_fault_percent) { /* done long after the asker gave up */
        time_out(w, op, 50 + sim_random(w, 100));
        op->lose_answer = true;
        sim_at(w, &op->event, 200 + sim_random(w, 3000));
    } else {
        sim_at(w, &op->event, sim_random(w, 20));
    }
}

static void chains_read(struct chain_store *s, uint32_t log_id, struct chain_request *r)
{
    struct sim_node *n = self(s)->node;
    start(n->world, op_new(n, log_id, r));
}

static void chains_swap(struct chain_store *s, uint32_t log_id, const struct chain *expected,
                        const struct chain *next, struct chain_request *r)
{
    struct sim_node *n = self(s)->node;
    struct chain_op *op = op_new(n, log_id, r);
    op->swap = true;
    op->absent = expected == NULL;
    if (expected)
        op->expected = chain_copy(expected);
    op->next = chain_copy(next);
    start(n->world, op);
}

static void chains_cancel(struct chain_store *s, struct chain_request *r)
{
    struct chain_op *op = r->private_;
    ASSERT(op && op->request == r);
    op->request = NULL;
    r->private_ = NULL;
    list_remove(&r->link);
}

static const struct chain_store_ops ops = {.read = chains_read, .swap = chains_swap, .cancel = chains_cancel};

struct sim_chains *sim_chains_new(struct sim_node *n)
{
    struct sim_chains *c = xcalloc(1, sizeof(*c));
    c->store.ops = &ops;
    c->node = n;
    list_init(&c->pending);
    return c;
}

void sim_chains_free(struct sim_chains *c)
{
    ASSERT(list_empty(&c->pending));
    free(c);
}

struct chain_store *sim_chains_store(struct sim_chains *c)
{
    return &c->store;
}

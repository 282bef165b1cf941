/* Reading from a replicated segment and watching its tail (spec/cluster.md §5.10). */
#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

/* Which member to ask: the own node first, then the others in a random order, those believed dead last. */
struct member_choice {
    struct marks tried;
    unsigned rotation;
};

static void choice_reset(struct member_choice *c, struct loglet_calls *calls, const struct loglet_params *p)
{
    c->tried = (struct marks){{0}};
    c->rotation = (unsigned)(env_random(calls->env) % p->nodeset.len);
}

/* Position of the next member, or -1 when all were tried. */
static int choice_next(struct member_choice *c, struct loglet_calls *calls, const struct loglet_params *p)
{
    int best = -1, best_score = -1;
    for (unsigned k = 0; k < p->nodeset.len; k++) {
        unsigned i = (k + c->rotation) % p->nodeset.len;
        uint32_t id = p->nodeset.ids[i];
        if (marks_has(c->tried, i) || !storage_can_read(node_directory_storage(calls->nodes, id)))
            continue;
        int score = id == calls->me.id ? 2 : node_directory_liveness(calls->nodes, id) != LIVENESS_DEAD;
        if (score > best_score) {
            best = (int)i;
            best_score = score;
        }
    }
    if (best >= 0)
        marks_add(&c->tried, (unsigned)best);
    return best;
}

/* ---- read ---- */

#define READ_TIMEOUT_MS 250u
#define READ_PAUSE_MS   100u

struct read_op {
    struct loglet_op op;
    struct loglet_calls *calls;
    struct loglet_params params;
    uint64_t from, to, committed;
    uint32_t max_bytes;
    struct member_choice choice;
    unsigned rounds;
    struct loglet_call call;
    struct env_timer pause;
    struct env_task start;
    struct loglet_listener listener;
    void (*done)(void *ctx, const struct loglet_read_result *r);
    void *ctx;
};

static void read_free(struct loglet_op *op)
{
    struct read_op *r = CONTAINER_OF(op, struct read_op, op);
    loglet_call_cancel(&r->call);
    env_timer_cancel(r->calls->env, &r->pause);
    env_undefer(&r->start);
    loglet_calls_unlisten(&r->listener);
    free(r);
}

static void read_ask(struct read_op *r)
{
    int i = choice_next(&r->choice, r->calls, &r->params);
    if (i < 0) {
        choice_reset(&r->choice, r->calls, &r->params);
        r->rounds++;
        env_timer_arm(r->calls->env, &r->pause,
                      MIN((uint64_t)READ_PAUSE_MS << MIN(r->rounds, 5u), UINT64_C(2000)));
        return;
    }
    struct loglet_message m = loglet_request(&r->params, LOGLET_GET_RECORDS, r->committed, 1);
    m.from = r->from;
    m.to = r->to;
    m.max_bytes = r->max_bytes;
    loglet_call_start(r->calls, &r->call, r->params.nodeset.ids[i], &m,
                      (uint64_t)READ_TIMEOUT_MS << MIN(r->rounds, 5u));
}

static void read_reply(struct loglet_call *call, const struct loglet_message *m)
{
    struct read_op *r = CONTAINER_OF(call, struct read_op, call);
    struct loglet_read_result result = {0};
    if (m && m->status == LOGLET_OK && m->trim_point >= r->from) {
        result.trim_point = m->trim_point;
    } else if (m && m->status == LOGLET_OK && m->first_offset == r->from && m->n_records > 0) {
        result.records = m->records;
        result.n = (uint32_t)MIN(m->n_records, r->to - r->from + 1);
    } else {
        read_ask(r); /* no answer, or a hole: another member has it */
        return;
    }
    void (*done)(void *ctx, const struct loglet_read_result *r) = r->done;
    void *ctx = r->ctx;
    read_free(&r->op);
    done(ctx, &result);
}

static void read_pause_over(struct env_timer *t)
{
    read_ask(CONTAINER_OF(t, struct read_op, pause));
}

static void read_start(struct env_task *t)
{
    read_ask(CONTAINER_OF(t, struct read_op, start));
}

static void read_node_alive(struct loglet_listener *l, uint32_t node)
{
    struct read_op *r = CONTAINER_OF(l, struct read_op, listener);
    if (env_timer_armed(&r->pause) && nodeset_position(&r->params.nodeset, node) >= 0) {
        env_timer_cancel(r->calls->env, &r->pause);
        read_ask(r);
    }
}

static void read_nodes_changed(struct loglet_listener *l)
{
    /* Looked up anew with each question. */
}

struct loglet_op *loglet_read(struct loglet_calls *c, const struct loglet_params *p, uint64_t from,
                              uint64_t to, uint32_t max_bytes, uint64_t committed_tail,
                              void (*done)(void *ctx, const struct loglet_read_result *r), void *ctx)
{
    ASSERT(from >= 1 && from <= to);
    struct read_op *r = xcalloc(1, sizeof(*r));
    r->op.free = read_free;
    r->calls = c;
    r->params = *p;
    r->from = from;
    r->to = to;
    r->max_bytes = max_bytes;
    r->committed = committed_tail;
    r->done = done;
    r->ctx = ctx;
    choice_reset(&r->choice, c, p);
    loglet_call_init(&r->call, read_reply);
    env_timer_init(&r->pause, read_pause_over);
    env_task_init(&r->start, read_start);
    r->listener =
        (struct loglet_listener){.node_alive = read_node_alive, .nodes_changed = read_nodes_changed};
    loglet_calls_listen(c, &r->listener);
    env_defer(c->env, &r->start);
    return &r->op;
}

/* ---- watch ---- */

#define WATCH_MS       2000u /* the server answers after this long at the latest */
#define WATCH_GRACE_MS 500u
#define WATCH_PAUSE_MS 250u
#define SEALED_POLL_MS 500u /* a sealed member answers at once: do not ask it in a loop */

struct watch_op {
    struct loglet_op op;
    struct loglet_calls *calls;
    struct loglet_params params;
    struct loglet_watch_news known;
    struct member_choice choice;
    int position; /* of the member that is asked; -1: choose one */
    struct loglet_call call;
    struct env_timer pause;
    struct env_task start;
    void (*news)(void *ctx, const struct loglet_watch_news *n);
    void *ctx;
};

static void watch_free(struct loglet_op *op)
{
    struct watch_op *w = CONTAINER_OF(op, struct watch_op, op);
    loglet_call_cancel(&w->call);
    env_timer_cancel(w->calls->env, &w->pause);
    env_undefer(&w->start);
    free(w);
}

static void watch_ask(struct watch_op *w)
{
    if (w->position < 0)
        w->position = choice_next(&w->choice, w->calls, &w->params);
    if (w->position < 0) {
        choice_reset(&w->choice, w->calls, &w->params);
        env_timer_arm(w->calls->env, &w->pause, WATCH_PAUSE_MS);
        return;
    }
    struct loglet_message m = loglet_request(&w->params, LOGLET_WAIT_FOR_TAIL, w->known.committed_tail, 1);
    m.from = w->known.committed_tail + 1;
    m.timeout_ms = WATCH_MS;
    loglet_call_start(w->calls, &w->call, w->params.nodeset.ids[w->position], &m, WATCH_MS + WATCH_GRACE_MS);
}

static void watch_reply(struct loglet_call *call, const struct loglet_message *m)
{
    struct watch_op *w = CONTAINER_OF(call, struct watch_op, call);
    /* Only the sequencer's watermark counts: m->repaired_tail may lie above what the chain will decide
     * (TR-1). */
    bool moved = m && m->committed_tail > w->known.committed_tail;
    bool sealed = m && m->sealed;
    bool news = moved || (sealed && !w->known.sealed);
    if (moved)
        w->known.committed_tail = m->committed_tail;
    w->known.sealed |= sealed;
    if (!moved)
        w->position = -1; /* it may not hear from the sequencer: somebody else next time */
    if (sealed)
        env_timer_arm(w->calls->env, &w->pause, SEALED_POLL_MS);
    else
        env_defer(w->calls->env, &w->start);
    if (news)
        w->news(w->ctx, &w->known); /* may cancel */
}

static void watch_pause_over(struct env_timer *t)
{
    watch_ask(CONTAINER_OF(t, struct watch_op, pause));
}

static void watch_start(struct env_task *t)
{
    watch_ask(CONTAINER_OF(t, struct watch_op, start));
}

struct loglet_op *loglet_watch(struct loglet_calls *c, const struct loglet_params *p, uint64_t committed_tail,
                               void (*news)(void *ctx, const struct loglet_watch_news *n), void *ctx)
{
    struct watch_op *w = xcalloc(1, sizeof(*w));
    w->op.free = watch_free;
    w->calls = c;
    w->params = *p;
    w->known.committed_tail = MAX(committed_tail, UINT64_C(1));
    w->position = -1;
    w->news = news;
    w->ctx = ctx;
    choice_reset(&w->choice, c, p);
    loglet_call_init(&w->call, watch_reply);
    env_timer_init(&w->pause, watch_pause_over);
    env_task_init(&w->start, watch_start);
    env_defer(c->env, &w->start);
    return &w->op;
}

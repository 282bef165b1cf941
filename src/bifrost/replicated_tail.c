/* Finding the tail of a replicated segment (spec/cluster.md §5.7): rounds of questions to all members, each
 * evaluated after every answer, until the answers prove something. Helps with sealing and repairs where that
 * is needed.
 *
 * Trap TR-2: the local tail of one node is never the tail of the segment. Only maxima over f-majorities
 * (nothing that was acknowledged lies above) and minima over write quorums (nothing below is missing) count.
 */
#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

#define ROUND_MS         40 /* how long a round may go on before everybody is asked again; doubles ... */
#define ROUND_MAX_MS     1000
#define RESTART_MS       10
#define REPAIR_FAILED_MS 300
#define LIMBO_MS         5000 /* sequencer dead and no progress for so long: seal */

struct tail_op {
    struct loglet_op op;
    struct loglet_calls *calls;
    struct loglet_params params;
    struct fanout fanout;
    struct loglet_op *helper; /* seal or repair */
    struct env_timer timer;   /* next round */
    unsigned flags, rounds;
    uint64_t committed, repaired; /* heard of so far */
    uint64_t open_tail;           /* highest local tail of the first f-majority of which nobody was sealed */
    uint64_t limbo_tail, limbo_since_ms;
    struct loglet_tail repair_result;
    void (*done)(void *ctx, const struct loglet_tail *t);
    void *ctx;
};

/* What the answers of a round say. */
struct tail_view {
    struct marks sealed, unsealed;
    uint64_t max_sealed, max_unsealed; /* local tails */
    uint64_t known;                    /* everything below is on a write quorum */
};

static void start_round(struct tail_op *t);

static void tail_free(struct loglet_op *op)
{
    struct tail_op *t = CONTAINER_OF(op, struct tail_op, op);
    loglet_op_cancel(t->helper);
    env_timer_cancel(t->calls->env, &t->timer);
    fanout_free(&t->fanout);
    free(t);
}

static void finish(struct tail_op *t, enum loglet_tail_kind kind, uint64_t tail, bool with_risk)
{
    void (*done)(void *ctx, const struct loglet_tail *r) = t->done;
    void *ctx = t->ctx;
    struct loglet_tail r = {kind, tail, MIN(t->committed, tail), with_risk};
    tail_free(&t->op);
    done(ctx, &r);
}

static void restart_after(struct tail_op *t, uint64_t ms)
{
    fanout_stop(&t->fanout);
    env_timer_arm(t->calls->env, &t->timer, ms);
}

static void timer_fire(struct env_timer *timer)
{
    start_round(CONTAINER_OF(timer, struct tail_op, timer));
}

/* ---- helpers ---- */

static void on_sealed(void *ctx, const struct loglet_seal_result *r)
{
    struct tail_op *t = ctx;
    t->helper = NULL;
    if (r->rc != RC_OK) {
        finish(t, LOGLET_TAIL_OPEN, 1, false); /* nobody has ever stored anything */
        return;
    }
    fanout_tell(&t->fanout, "ended, because its last records are on too few nodes");
    start_round(t);
}

static void run_seal(struct tail_op *t)
{
    fanout_stop(&t->fanout);
    env_timer_cancel(t->calls->env, &t->timer);
    fanout_tell(&t->fanout, NULL); /* the seal tells */
    t->helper = loglet_seal(t->calls, &t->params, on_sealed, t);
}

static void on_repaired(void *ctx, enum rc rc)
{
    struct tail_op *t = ctx;
    t->helper = NULL;
    if (rc == RC_OK)
        finish(t, LOGLET_TAIL_SEALED, t->repair_result.tail, t->repair_result.with_risk);
    else
        restart_after(t, REPAIR_FAILED_MS);
}

static void run_repair(struct tail_op *t, uint64_t from, uint64_t to, bool with_risk)
{
    fanout_stop(&t->fanout);
    env_timer_cancel(t->calls->env, &t->timer);
    t->repair_result = (struct loglet_tail){LOGLET_TAIL_SEALED, to, 0, with_risk};
    t->helper = loglet_repair(t->calls, &t->params, from, to, t->committed, on_repaired, t);
}

/* ---- evaluation ---- */

static struct tail_view look(struct tail_op *t)
{
    struct fanout *f = &t->fanout;
    struct tail_view v = {.max_sealed = 1, .max_unsealed = 1};
    for (unsigned i = 0; i < f->quorum.len; i++) {
        if (!marks_has(f->answered, i) || !marks_has(f->quorum.effective, i))
            continue;
        const struct fanout_answer *a = &f->nodes[i].answer;
        marks_add(a->sealed ? &v.sealed : &v.unsealed, i);
        if (a->sealed)
            v.max_sealed = MAX(v.max_sealed, a->local_tail);
        else
            v.max_unsealed = MAX(v.max_unsealed, a->local_tail);
        t->committed = MAX(t->committed, a->committed_tail);
        t->repaired = MAX(t->repaired, a->repaired_tail);
    }
    v.known = MAX(t->committed, t->repaired);
    return v;
}

/* Those that hold everything below `tail`, given that everything below the known tail is on a write quorum.
 */
static struct marks reaching(struct tail_op *t, struct marks among, uint64_t tail)
{
    struct marks m = {{0}};
    for (unsigned i = 0; i < t->fanout.quorum.len; i++) {
        if (marks_has(among, i) && t->fanout.nodes[i].answer.local_tail >= tail)
            marks_add(&m, i);
    }
    return m;
}

static void evaluate_sealed(struct tail_op *t, const struct tail_view *v)
{
    const struct quorum *q = &t->fanout.quorum;
    bool risk = quorum_authority(q, v->sealed) == AUTHORITY_WITH_RISK || !quorum_is_write(q, q->writable);
    struct marks all = marks_or(v->sealed, v->unsealed);
    uint64_t m = v->max_sealed;
    if (m < v->known) /* answers from before a repair: everything acknowledged lies below m, yet more was
                         repaired */
        restart_after(t, RESTART_MS);
    else if (m == v->known || quorum_is_best_write(q, reaching(t, all, m)))
        finish(t, LOGLET_TAIL_SEALED, m, risk);
    else if (quorum_is_best_write(q, all))
        run_repair(t, v->known, m, risk);
}

static bool sequencer_is_gone(struct tail_op *t)
{
    const struct node_directory *d = t->calls->nodes;
    if (node_directory_superseded(d, t->params.sequencer))
        return true;
    return node_directory_liveness(d, t->params.sequencer.id) == LIVENESS_DEAD &&
           env_mono_ms(t->calls->env) - t->limbo_since_ms >= LIMBO_MS;
}

static void evaluate_open(struct tail_op *t, const struct tail_view *v)
{
    const struct quorum *q = &t->fanout.quorum;
    uint64_t m = v->max_unsealed;
    if (quorum_is_write(q, reaching(t, v->unsealed, m))) {
        /* A write quorum that is not sealed meets every f-majority: it was not sealed when this round began.
         * And since it holds everything below m, every later tail is at least m. */
        finish(t, LOGLET_TAIL_OPEN, m, false);
        return;
    }
    if (t->committed >= m) { /* the sequencer's word only: a repaired tail proves that a seal is under way */
        finish(t, LOGLET_TAIL_PROBABLY_OPEN, t->committed, false);
        return;
    }
    if (v->max_unsealed + t->committed != t->limbo_tail) {
        t->limbo_tail = v->max_unsealed + t->committed;
        t->limbo_since_ms = env_mono_ms(t->calls->env);
    }
    if ((t->flags & LOGLET_TAIL_MAY_SEAL) && sequencer_is_gone(t))
        run_seal(t);
}

static void evaluate(struct tail_op *t)
{
    const struct quorum *q = &t->fanout.quorum;
    struct tail_view v = look(t);
    if (!quorum_passes(q, marks_or(v.sealed, v.unsealed)))
        return;
    if (quorum_passes(q, v.sealed))
        evaluate_sealed(t, &v);
    else if (!marks_empty(v.sealed))
        run_seal(t); /* somebody began to seal and may not be there to finish it */
    else
        evaluate_open(t, &v);
}

static void on_reply(struct fanout *f, unsigned position, const struct loglet_message *m)
{
    evaluate(CONTAINER_OF(f, struct tail_op, fanout));
}

static void on_change(struct fanout *f)
{
    evaluate(CONTAINER_OF(f, struct tail_op, fanout));
}

static void start_round(struct tail_op *t)
{
    struct loglet_message m = loglet_request(&t->params, LOGLET_GET_INFO, t->committed, t->repaired);
    uint64_t ms = (uint64_t)ROUND_MS << MIN(t->rounds, 10u);
    t->rounds++;
    env_timer_arm(t->calls->env, &t->timer, MIN(ms, (uint64_t)ROUND_MAX_MS));
    fanout_start(&t->fanout, &m);
}

struct loglet_op *loglet_find_tail(struct loglet_calls *c, const struct loglet_params *p, unsigned flags,
                                   void (*done)(void *ctx, const struct loglet_tail *t), void *ctx)
{
    struct tail_op *t = xcalloc(1, sizeof(*t));
    t->op.free = tail_free;
    t->calls = c;
    t->params = *p;
    t->flags = flags;
    t->committed = t->repaired = 1;
    t->limbo_since_ms = env_mono_ms(c->env);
    t->done = done;
    t->ctx = ctx;
    env_timer_init(&t->timer, timer_fire);
    fanout_init(&t->fanout, c, &t->params);
    t->fanout.on_reply = on_reply;
    t->fanout.on_change = on_change;
    if (flags & LOGLET_TAIL_SEAL)
        run_seal(t);
    else
        start_round(t);
    return &t->op;
}

/* Seal and trim of a replicated segment (spec/cluster.md §5.6, §5.11): the same request to all members until
 * enough of them answered. */
#include <stdlib.h>

#include "bifrost/replicated_fanout.h"

/* ---- seal ---- */

struct seal_op {
    struct loglet_op op;
    struct loglet_params params;
    struct fanout fanout;
    struct env_task refuse;
    void (*done)(void *ctx, const struct loglet_seal_result *r);
    void *ctx;
};

static void seal_free(struct loglet_op *op)
{
    struct seal_op *s = CONTAINER_OF(op, struct seal_op, op);
    env_undefer(&s->refuse);
    fanout_free(&s->fanout);
    free(s);
}

static void seal_finish(struct seal_op *s, const struct loglet_seal_result *r)
{
    void (*done)(void *ctx, const struct loglet_seal_result *r) = s->done;
    void *ctx = s->ctx;
    seal_free(&s->op);
    done(ctx, r);
}

static void seal_evaluate(struct seal_op *s)
{
    struct fanout *f = &s->fanout;
    struct loglet_seal_result r = {.rc = RC_OK, .max_tail = 1};
    struct marks sealed = {{0}};
    for (unsigned i = 0; i < f->quorum.len; i++) {
        if (!marks_has(f->answered, i) || !f->nodes[i].answer.sealed)
            continue;
        marks_add(&sealed, i);
        r.max_tail = MAX(r.max_tail, f->nodes[i].answer.local_tail);
    }
    if (!quorum_passes(&f->quorum, sealed))
        return;
    r.with_risk = quorum_authority(&f->quorum, sealed) == AUTHORITY_WITH_RISK;
    seal_finish(s, &r);
}

static void seal_on_reply(struct fanout *f, unsigned position, const struct loglet_message *m)
{
    struct seal_op *s = CONTAINER_OF(f, struct seal_op, fanout);
    if (!m->sealed)
        fanout_again(f, position); /* its disk has failed; it may come back */
    else
        seal_evaluate(s);
}

static void seal_on_change(struct fanout *f)
{
    seal_evaluate(CONTAINER_OF(f, struct seal_op, fanout));
}

static void seal_refuse(struct env_task *t)
{
    struct loglet_seal_result r = {.rc = RC_UNAVAILABLE, .max_tail = 1};
    seal_finish(CONTAINER_OF(t, struct seal_op, refuse), &r);
}

struct loglet_op *loglet_seal(struct loglet_calls *c, const struct loglet_params *p,
                              void (*done)(void *ctx, const struct loglet_seal_result *r), void *ctx)
{
    struct seal_op *s = xcalloc(1, sizeof(*s));
    s->op.free = seal_free;
    s->params = *p;
    s->done = done;
    s->ctx = ctx;
    env_task_init(&s->refuse, seal_refuse);
    fanout_init(&s->fanout, c, &s->params);
    s->fanout.on_reply = seal_on_reply;
    s->fanout.on_change = seal_on_change;
    fanout_tell(&s->fanout, "sealed");
    struct loglet_message m = loglet_request(&s->params, LOGLET_SEAL, 1, 1);
    if (s->fanout.quorum.all_provisioning)
        env_defer(c->env, &s->refuse);
    else
        fanout_start(&s->fanout, &m);
    return &s->op;
}

/* ---- trim ---- */

struct trim_op {
    struct loglet_op op;
    struct loglet_params params;
    struct fanout fanout;
    struct env_task nothing; /* to do: no member can answer */
    uint64_t upto;
    void (*done)(void *ctx);
    void *ctx;
};

static void trim_free(struct loglet_op *op)
{
    struct trim_op *t = CONTAINER_OF(op, struct trim_op, op);
    env_undefer(&t->nothing);
    fanout_free(&t->fanout);
    free(t);
}

static void trim_evaluate(struct trim_op *t)
{
    struct fanout *f = &t->fanout;
    /* Where all members are lost there is nothing to drop. */
    if (!marks_empty(f->quorum.writable) && !quorum_is_best_write(&f->quorum, f->answered))
        return;
    void (*done)(void *ctx) = t->done;
    void *ctx = t->ctx;
    trim_free(&t->op);
    done(ctx);
}

static void trim_on_reply(struct fanout *f, unsigned position, const struct loglet_message *m)
{
    /* A server clips to what it has; one that lacks some of it has nothing to drop there. */
    if (m->status != LOGLET_OK)
        fanout_again(f, position);
    else
        trim_evaluate(CONTAINER_OF(f, struct trim_op, fanout));
}

static void trim_nothing(struct env_task *task)
{
    trim_evaluate(CONTAINER_OF(task, struct trim_op, nothing));
}

static void trim_on_change(struct fanout *f)
{
    trim_evaluate(CONTAINER_OF(f, struct trim_op, fanout));
}

struct loglet_op *loglet_trim(struct loglet_calls *c, const struct loglet_params *p, uint64_t upto,
                              uint64_t committed_tail, void (*done)(void *ctx), void *ctx)
{
    ASSERT_MSG(upto < committed_tail, "only what is committed may be trimmed");
    struct trim_op *t = xcalloc(1, sizeof(*t));
    t->op.free = trim_free;
    t->params = *p;
    t->upto = upto;
    t->done = done;
    t->ctx = ctx;
    fanout_init(&t->fanout, c, &t->params);
    t->fanout.on_reply = trim_on_reply;
    t->fanout.on_change = trim_on_change;
    struct loglet_message m = loglet_request(&t->params, LOGLET_TRIM, committed_tail, 1);
    m.to = upto;
    env_task_init(&t->nothing, trim_nothing);
    if (marks_empty(t->fanout.quorum.writable))
        env_defer(c->env, &t->nothing);
    fanout_start(&t->fanout, &m);
    return &t->op;
}

/* The same request to all members of a node set: see replicated_fanout.h. */
#include "bifrost/replicated_fanout.h"

#include <stdlib.h>

#include "base/log.h"

#define TELL_MS        5000u
#define TELL_AGAIN_MS  30000u
#define PAUSE_MS       25u
#define PAUSE_MAX_MS   2000u
#define TIMEOUT_MS     500u
#define TIMEOUT_MAX_MS 2000u

static uint64_t doubling(uint64_t base, uint64_t max, unsigned failures)
{
    uint64_t ms = base << MIN(failures, 16u);
    return MIN(ms, max);
}

uint64_t loglet_pause_ms(unsigned failures)
{
    return doubling(PAUSE_MS, PAUSE_MAX_MS, failures > 0 ? failures - 1 : 0);
}

uint64_t loglet_timeout_ms(unsigned failures)
{
    return doubling(TIMEOUT_MS, TIMEOUT_MAX_MS, failures);
}

void loglet_op_cancel(struct loglet_op *op)
{
    if (op)
        op->free(op);
}

struct loglet_message loglet_request(const struct loglet_params *p, enum loglet_message_kind kind,
                                     uint64_t committed_tail, uint64_t repaired_tail)
{
    return (struct loglet_message){.kind = kind,
                                   .loglet_id = p->loglet_id,
                                   .sequencer = p->sequencer,
                                   .committed_tail = MAX(committed_tail, UINT64_C(1)),
                                   .repaired_tail = MAX(repaired_tail, UINT64_C(1))};
}

static void ask(struct fanout_node *n)
{
    struct fanout *f = n->fanout;
    struct loglet_message m = f->request;
    env_timer_cancel(f->calls->env, &n->retry);
    loglet_call_start(f->calls, &n->call, f->params->nodeset.ids[n->position], &m,
                      loglet_timeout_ms(n->failures));
}

static void node_retry(struct env_timer *t)
{
    ask(CONTAINER_OF(t, struct fanout_node, retry));
}

void fanout_again(struct fanout *f, unsigned position)
{
    struct fanout_node *n = &f->nodes[position];
    marks_remove(&f->answered, position);
    n->failures++;
    env_timer_arm(f->calls->env, &n->retry, loglet_pause_ms(n->failures));
}

static void count_anew(struct fanout *f)
{
    quorum_init(&f->quorum, &f->params->replication, &f->params->nodeset, f->calls->nodes);
    quorum_lose(&f->quorum, f->lost);
}

static void node_done(struct loglet_call *call, const struct loglet_message *m)
{
    struct fanout_node *n = CONTAINER_OF(call, struct fanout_node, call);
    struct fanout *f = n->fanout;
    if (!m) {
        fanout_again(f, n->position);
        return;
    }
    if (m->status == LOGLET_LOST) { /* it does not have to be asked again */
        marks_add(&f->lost, n->position);
        count_anew(f);
        if (f->on_change)
            f->on_change(f);
        return;
    }
    n->failures = 0;
    marks_add(&f->heard, n->position);
    n->answer = (struct fanout_answer){.status = m->status,
                                       .sealed = m->sealed,
                                       .local_tail = m->local_tail,
                                       .committed_tail = m->committed_tail,
                                       .repaired_tail = m->repaired_tail,
                                       .trim_point = m->trim_point};
    marks_add(&f->answered, n->position);
    f->on_reply(f, n->position, m);
}

static void node_alive(struct loglet_listener *l, uint32_t node)
{
    struct fanout *f = CONTAINER_OF(l, struct fanout, listener);
    int position = nodeset_position(&f->params->nodeset, node);
    if (!f->running || position < 0)
        return;
    struct fanout_node *n = &f->nodes[position];
    if (env_timer_armed(&n->retry)) {
        n->failures = 0;
        ask(n);
    }
}

static void nodes_changed(struct loglet_listener *l)
{
    struct fanout *f = CONTAINER_OF(l, struct fanout, listener);
    count_anew(f);
    if (f->running && f->on_change)
        f->on_change(f);
}

/* "no answer from N2, N3"; nothing if there are no such members. */
static void name_members(const struct fanout *f, struct marks which, const char *what, struct writer *w)
{
    const char *before = what;
    for (unsigned i = 0; i < f->params->nodeset.len; i++) {
        if (!marks_has(which, i))
            continue;
        write_fmt(w, "%s%sN%u", w->len && before == what ? "; " : "", before, f->params->nodeset.ids[i]);
        before = ", ";
    }
}

static void tell(struct env_timer *t)
{
    struct fanout *f = CONTAINER_OF(t, struct fanout, told);
    struct writer why = WRITER_INIT;
    struct marks known = marks_or(marks_or(f->answered, f->heard), f->lost);
    name_members(f, marks_minus(f->quorum.effective, known), "no answer from ", &why);
    name_members(f, f->lost, "its copies are lost with the disks of ", &why);
    unsigned log_id = (unsigned)(f->params->loglet_id >> 32);
    if (why.len)
        LOG0(LOG_WARN, "restate_bifrost",
             "log %u, segment %u_%u cannot be %s: %.*s. This is repeated until enough are there; if their "
             "disks "
             "are gone for good, see `restatectl logs recover`",
             log_id, log_id, (unsigned)f->params->loglet_id, f->wanted, SLICE_FMT(writer_slice(&why)));
    writer_free(&why);
    f->heard = (struct marks){{0}};
    env_timer_arm(f->calls->env, t, TELL_AGAIN_MS);
}

void fanout_tell(struct fanout *f, const char *wanted)
{
    f->wanted = wanted;
    if (!wanted)
        env_timer_cancel(f->calls->env, &f->told);
    if (!wanted || env_timer_armed(&f->told))
        return;
    f->heard = (struct marks){{0}};
    env_timer_arm(f->calls->env, &f->told, TELL_MS);
}

void fanout_init(struct fanout *f, struct loglet_calls *c, const struct loglet_params *p)
{
    *f = (struct fanout){.calls = c, .params = p};
    quorum_init(&f->quorum, &p->replication, &p->nodeset, c->nodes);
    f->nodes = xcalloc(p->nodeset.len, sizeof(*f->nodes));
    for (unsigned i = 0; i < p->nodeset.len; i++) {
        f->nodes[i].fanout = f;
        f->nodes[i].position = i;
        loglet_call_init(&f->nodes[i].call, node_done);
        env_timer_init(&f->nodes[i].retry, node_retry);
    }
    env_timer_init(&f->told, tell);
    f->listener = (struct loglet_listener){.node_alive = node_alive, .nodes_changed = nodes_changed};
    loglet_calls_listen(c, &f->listener);
}

void fanout_stop(struct fanout *f)
{
    for (unsigned i = 0; i < f->params->nodeset.len; i++) {
        loglet_call_cancel(&f->nodes[i].call);
        env_timer_cancel(f->calls->env, &f->nodes[i].retry);
    }
    f->running = false;
}

void fanout_free(struct fanout *f)
{
    fanout_stop(f);
    env_timer_cancel(f->calls->env, &f->told);
    loglet_calls_unlisten(&f->listener);
    free(f->nodes);
}

void fanout_start(struct fanout *f, const struct loglet_message *request)
{
    fanout_stop(f);
    f->request = *request;
    f->answered = (struct marks){{0}};
    f->running = true;
    for (unsigned i = 0; i < f->params->nodeset.len; i++) {
        if (marks_has(f->quorum.effective, i) && !marks_has(f->lost, i))
            ask(&f->nodes[i]);
    }
}

/* Implementation of node/leader_call.h. */
#include "node/leader_call.h"

#include <stdlib.h>

#include "node/cluster.h"
#include "node/node_internal.h"

#define AGAIN_MS          200u
/* A snapshot may take its time; it is made also when nobody waits for it any more. */
#define REMOTE_TIMEOUT_MS 120000u

static void run(struct node *n, enum node_method method, uint16_t partition, struct slice request,
                struct leader_reply *reply)
{
    struct reader r = reader_make(request);
    if (partition >= n->joined.n_partitions || n->n_shards == 0 || n->stopping)
        reply->send(reply, RC_NOT_LEADER, "this node has no partitions", SLICE_EMPTY);
    else if (method == NODE_METHOD_CREATE_SNAPSHOT)
        snapshot_run(n, partition, &r, reply);
    else
        trim_run(n, partition, &r, reply);
}

/* ---- asking ---- */

static void finish(struct leader_call *c, enum rc rc, const char *message, struct slice payload)
{
    list_remove(&c->link);
    env_timer_cancel(c->node->env, &c->again);
    bytes_unref(&c->request);
    c->done(c, rc, message, payload);
}

static void answered(struct leader_call *c, enum rc rc, const char *message, struct slice payload)
{
    bool moved = rc == RC_NOT_LEADER || rc == RC_CANCELED || rc == RC_UNAVAILABLE || rc == RC_CLOSED;
    if (moved && !c->node->stopping && env_mono_ms(c->node->env) < c->until_ms)
        env_timer_arm(c->node->env, &c->again, AGAIN_MS);
    else
        finish(c, rc, message, payload);
}

static void answered_here(struct leader_reply *r, enum rc rc, const char *message, struct slice payload)
{
    answered(CONTAINER_OF(r, struct leader_call, reply), rc, message, payload);
}

static void answered_there(struct node_call *call, enum rc rc, const char *message, struct slice payload)
{
    answered(CONTAINER_OF(call, struct leader_call, call), rc, message, payload);
}

static void ask(struct leader_call *c)
{
    struct node *n = c->node;
    struct node_ref leader = {0, 0};
    uint64_t epoch;
    if (!membership_leader(cluster_membership(n->cluster), c->partition, &leader, &epoch)) {
        answered(c, RC_NOT_LEADER, "the partition has no leader", SLICE_EMPTY);
    } else if (leader.id == n->joined.node_id) {
        run(n, c->method, c->partition, bytes_slice(c->request), &c->reply);
    } else {
        struct writer w = WRITER_INIT;
        write_varint(&w, c->partition);
        write_slice_raw(&w, bytes_slice(c->request));
        c->call.done = answered_there;
        control_link_call(n->control, &c->call, leader.id, c->method, writer_slice(&w), REMOTE_TIMEOUT_MS);
        writer_free(&w);
    }
}

static void ask_again(struct env_timer *t)
{
    ask(CONTAINER_OF(t, struct leader_call, again));
}

void leader_call_start(struct leader_call *c, struct node *n, enum node_method method, uint16_t partition,
                       struct slice request, uint64_t patience_ms)
{
    c->node = n;
    c->method = method;
    c->partition = partition;
    c->reply.send = answered_here;
    c->request = bytes_copy(request);
    c->until_ms = env_mono_ms(n->env) + patience_ms;
    env_timer_init(&c->again, ask_again);
    list_push_back(&n->leader_calls, &c->link);
    ask(c);
}

void leader_calls_stop(struct node *n)
{
    LIST_FOREACH_SAFE(l, next, &n->leader_calls)
    {
        struct leader_call *c = CONTAINER_OF(l, struct leader_call, link);
        if (env_timer_armed(&c->again))
            finish(c, RC_NOT_LEADER, "the node is shutting down", SLICE_EMPTY);
    }
}

/* ---- being asked ---- */

struct question {
    struct leader_reply reply;
    struct node_answer *answer;
};

static void answer_question(struct leader_reply *r, enum rc rc, const char *message, struct slice payload)
{
    struct question *q = CONTAINER_OF(r, struct question, reply);
    node_answer_send(q->answer, rc, message, payload);
    free(q);
}

void leader_call_asked(struct node *n, enum node_method method, struct slice payload,
                       struct node_answer *answer)
{
    struct question *q = xcalloc(1, sizeof(*q));
    struct reader r = reader_make(payload);
    uint64_t partition = read_varint(&r);
    *q = (struct question){{answer_question}, answer};
    if (r.failed || partition > UINT16_MAX)
        answer_question(&q->reply, RC_INVALID, "a malformed question", SLICE_EMPTY);
    else
        run(n, method, (uint16_t)partition, slice_make(r.p, reader_left(&r)), &q->reply);
}

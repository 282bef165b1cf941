/* How clients get into the simulated cluster: through the ingress of any node, over a connection that breaks
 * when its process dies. What the router of a loop answers goes to the client; retries are the client's. */
#include <stdlib.h>

#include "sim/cluster_sim.h"

#define BROKEN_AFTER_US 50000u
#define TIMEOUT_US      4000000u /* of an attempt of a client */

/* A request inside a node. */
struct call {
    struct list link; /* csim_calls */
    struct csim_process *process;
    struct csim_door *door;
    struct partition_rpc inner;
    struct partition_rpc *outer; /* NULL: the client has its answer */
    struct loop_msg msg, cancel_msg;
    bool replied, canceled;
    uint64_t asked_us;
    struct csim_event broken;
};

static struct list calls = {&calls, &calls};

static void answer(struct call *c, const struct rpc_reply *reply)
{
    struct partition_rpc *outer = c->outer;
    if (!outer)
        return;
    c->outer = NULL;
    outer->private_.a = NULL;
    list_remove(&c->link);
    csim_cancel(&c->broken);
    outer->reply(outer, reply);
}

static void inner_replied(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct call *c = CONTAINER_OF(rpc, struct call, inner);
    SIM_CHECK(&csim->base, !c->replied, "a request was answered twice");
    c->replied = true;
    bytes_unref(&c->inner.record);
    answer(c, reply);
}

static void deliver_call(struct loop_msg *m)
{
    struct call *c = CONTAINER_OF(m, struct call, msg);
    partition_router_submit(c->door->router, &c->inner);
}

static void deliver_cancel(struct loop_msg *m)
{
    struct call *c = CONTAINER_OF(m, struct call, cancel_msg);
    if (!c->replied)
        partition_router_cancel(c->door->router, &c->inner);
}

/* The process has died, and its clients notice; or there was no answer for long. */
static void broken(struct csim_event *e)
{
    struct call *c = CONTAINER_OF(e, struct call, broken);
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = RC_LOST_LEADERSHIP, .id = c->inner.id};
    if (c->process->alive && csim->now_us < c->asked_us + TIMEOUT_US)
        csim_at(e, broken, csim->now_us + BROKEN_AFTER_US);
    else
        answer(c, &reply);
}

static struct csim_door *any_door(struct csim_process **process)
{
    uint32_t first = (uint32_t)csim_below(csim->options.nodes);
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[(first + i) % csim->options.nodes].process;
        if (!p || p->host->gone || p->node.state != NODE_ALIVE || !p->doors.len)
            continue;
        *process = p;
        return p->doors.items[csim_below(p->doors.len)];
    }
    return NULL;
}

static bool cluster_submit(struct sim_world *w, struct sim_request *q)
{
    struct partition_rpc *rpc = &q->rpc;
    struct csim_process *p;
    struct csim_door *d = any_door(&p);
    if (!d)
        return false;
    struct call *c = xcalloc(1, sizeof(*c));
    c->process = p;
    c->asked_us = csim->now_us;
    c->door = d;
    c->inner = *rpc;
    memset(&c->inner.private_, 0, sizeof(c->inner.private_));
    c->inner.reply = inner_replied;
    c->outer = rpc;
    rpc->record = BYTES_EMPTY;
    rpc->private_.a = c;
    list_init(&c->link);
    list_push_back(&calls, &c->link);
    heap_node_init(&c->broken.heap);
    csim_at(&c->broken, broken, csim->now_us + BROKEN_AFTER_US);
    c->msg.deliver = deliver_call;
    loop_post(d->loop, &c->msg);
    return true;
}

static bool cluster_cancel(struct sim_world *w, struct sim_request *q)
{
    struct call *c = q->rpc.private_.a;
    if (!c || c->canceled || !c->process->alive)
        return false;
    c->canceled = true;
    c->cancel_msg.deliver = deliver_cancel;
    loop_post(c->door->loop, &c->cancel_msg);
    return true;
}

static const struct sim_access cluster_access = {cluster_submit, cluster_cancel};

void csim_clients_start(void)
{
    csim->base.access = &cluster_access;
    sim_outside_start(&csim->base);
    sim_clients_start(&csim->base);
}

/* Implementation of node/remote_calls.h. */
#include "node/remote_calls.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "partition/rpc_message.h"

#define SWEEP_MS    500u
#define MOVED_AFTER 2u /* sweeps that see another leader before a request to the old one is given up */

struct remote_call {
    struct hmap_node by_id;
    struct list link_; /* waiting, or ready */
    struct partition_rpc *rpc;
    struct partition_slot *slot;
    uint64_t id, link;
    uint32_t node;
    uint8_t moved;
    bool ready; /* `rc` is the reply */
    enum rc rc;
    const char *detail;
};

struct remote_calls {
    struct env *env;
    struct peers *peers;
    struct partition_map *map;
    struct hmap by_id;
    struct list waiting, ready;
    struct {
        struct {
            uint32_t node;
            size_t waiting;
        } * items;
        size_t len, cap;
    } nodes;
    uint64_t next_id;
    struct env_task task;
    struct env_timer sweep;
};

static size_t *waiting_of(struct remote_calls *c, uint32_t node)
{
    for (size_t i = 0; i < c->nodes.len; i++) {
        if (c->nodes.items[i].node == node)
            return &c->nodes.items[i].waiting;
    }
    if (c->nodes.len == c->nodes.cap)
        c->nodes.items = vec_grow(c->nodes.items, &c->nodes.cap, c->nodes.len + 1, sizeof(*c->nodes.items));
    c->nodes.items[c->nodes.len].node = node;
    c->nodes.items[c->nodes.len].waiting = 0;
    return &c->nodes.items[c->nodes.len++].waiting;
}

static struct remote_call *find(struct remote_calls *c, uint64_t id)
{
    struct hmap_node *n = hmap_first(&c->by_id, id);
    return n ? CONTAINER_OF(n, struct remote_call, by_id) : NULL;
}

/* Takes the call apart and replies. */
static void finish(struct remote_calls *c, struct remote_call *call, const struct rpc_reply *reply)
{
    struct partition_rpc *rpc = call->rpc;
    list_remove(&call->link_);
    if (!call->ready) {
        hmap_remove(&c->by_id, &call->by_id);
        --*waiting_of(c, call->node);
    }
    free(call);
    rpc->private_.a = NULL;
    rpc->reply(rpc, reply); /* may free the request */
}

static void finish_failed(struct remote_calls *c, struct remote_call *call, enum rc rc, const char *detail)
{
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = rc, .id = call->rpc->id};
    snprintf(reply.detail, sizeof(reply.detail), "%s", detail);
    finish(c, call, &reply);
}

/* Reply from the next deferred pass. */
static void fail_later(struct remote_calls *c, struct remote_call *call, enum rc rc, const char *detail)
{
    if (!call->ready) {
        hmap_remove(&c->by_id, &call->by_id);
        --*waiting_of(c, call->node);
        list_remove(&call->link_);
    }
    call->ready = true;
    call->rc = rc;
    call->detail = detail;
    list_push_back(&c->ready, &call->link_);
    env_defer(c->env, &c->task);
}

static void run_ready(struct env_task *t)
{
    struct remote_calls *c = CONTAINER_OF(t, struct remote_calls, task);
    while (!list_empty(&c->ready)) {
        struct remote_call *call = CONTAINER_OF(c->ready.next, struct remote_call, link_);
        finish_failed(c, call, call->rc, call->detail);
    }
}

/* ---- asking ---- */

static enum rc send_request(struct remote_calls *c, struct remote_call *call)
{
    struct partition_rpc *rpc = call->rpc;
    struct writer w = WRITER_INIT;
    writer_init(&w, 128);
    rpc_request_encode(&w, call->id, rpc);
    struct bytes parts[2] = {writer_take(&w), rpc->record};
    enum rc rc = peers_send(c->peers, call->node, PEER_PARTITION, PEER_RPC, parts, 2, &call->link);
    bytes_unref(&parts[0]);
    return rc;
}

static const char *not_sent_text(enum rc rc)
{
    switch (rc) {
    case RC_TOO_LARGE:
        return "the request is too large to be sent to another node";
    case RC_OVERLOADED:
        return "too many requests wait for the node that leads the partition";
    default:
        return "the node that leads the partition cannot be reached";
    }
}

void remote_calls_submit(struct remote_calls *c, uint32_t node, struct partition_slot *slot,
                         struct partition_rpc *rpc)
{
    struct remote_call *call = xcalloc(1, sizeof(*call));
    size_t *waiting = waiting_of(c, node);
    call->rpc = rpc;
    call->slot = slot;
    call->node = node;
    call->id = ++c->next_id;
    rpc->private_.a = call;
    list_init(&call->link_);
    enum rc rc = *waiting >= REMOTE_CALLS_MAX ? RC_OVERLOADED : send_request(c, call);
    bytes_unref(&rpc->record);
    ++*waiting;
    hmap_insert(&c->by_id, &call->by_id, call->id);
    list_push_back(&c->waiting, &call->link_);
    if (rc != RC_OK)
        fail_later(c, call, rc, not_sent_text(rc));
    else if (!env_timer_armed(&c->sweep))
        env_timer_arm(c->env, &c->sweep, SWEEP_MS);
}

static void send_cancel(struct remote_calls *c, const struct remote_call *call)
{
    struct writer w = WRITER_INIT;
    rpc_cancel_encode(&w, call->id);
    struct bytes part = writer_take(&w);
    peers_answer(c->peers, call->link, PEER_RPC, &part, 1); /* if it gets lost, so will the link */
    bytes_unref(&part);
}

void remote_calls_cancel(struct remote_calls *c, struct partition_rpc *rpc)
{
    struct remote_call *call = rpc->private_.a;
    if (!call || call->ready)
        return;
    send_cancel(c, call);
    fail_later(c, call, RC_CANCELED, "");
}

size_t remote_calls_waiting(const struct remote_calls *c)
{
    return c->by_id.count;
}

/* ---- being answered ---- */

static void on_reply(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct remote_calls *c = ctx;
    struct rpc_reply reply;
    uint64_t id;
    if (!rpc_reply_decode(payload, &id, &reply)) {
        peers_close_link(c->peers, from->id, "a malformed reply of a partition");
        return;
    }
    struct remote_call *call = find(c, id);
    if (call && call->link == from->id)
        finish(c, call, &reply);
}

static void on_down(void *ctx, const struct peer_link *l, const struct peer_down *down)
{
    struct remote_calls *c = ctx;
    if (l->accepted || l->channel != PEER_PARTITION)
        return;
    LIST_FOREACH_SAFE(n, next, &c->waiting)
    {
        struct remote_call *call = CONTAINER_OF(n, struct remote_call, link_);
        if (call->link != l->id)
            continue;
        if (down->was_up)
            fail_later(
                c, call, RC_LOST_LEADERSHIP,
                "the connection to the node that leads the partition was lost; the outcome is unknown");
        else
            fail_later(c, call, RC_UNAVAILABLE, not_sent_text(RC_UNAVAILABLE));
    }
}

/* The asked node may be cut off from the logs and not know yet that it leads no more: then it would not
 * answer for long, although the new leader could. */
static void sweep(struct env_timer *t)
{
    struct remote_calls *c = CONTAINER_OF(t, struct remote_calls, sweep);
    LIST_FOREACH_SAFE(n, next, &c->waiting)
    {
        struct remote_call *call = CONTAINER_OF(n, struct remote_call, link_);
        uint32_t leader = atomic_load_explicit(&call->slot->leader_node, memory_order_relaxed);
        if (leader == 0 || leader == call->node) {
            call->moved = 0;
        } else if (++call->moved > MOVED_AFTER) {
            send_cancel(c, call);
            fail_later(c, call, RC_LOST_LEADERSHIP,
                       "leadership of the partition moved; the outcome is unknown");
        }
    }
    if (!list_empty(&c->waiting))
        env_timer_arm(c->env, &c->sweep, SWEEP_MS);
}

/* ---- life ---- */

struct remote_calls *remote_calls_new(struct loop *loop, struct peers *peers, struct partition_map *map)
{
    static const struct peer_service_ops ops = {.on_frame = on_reply, .on_down = on_down};
    struct remote_calls *c = xcalloc(1, sizeof(*c));
    c->env = loop_env(loop);
    c->peers = peers;
    c->map = map;
    hmap_init(&c->by_id);
    list_init(&c->waiting);
    list_init(&c->ready);
    env_task_init(&c->task, run_ready);
    env_timer_init(&c->sweep, sweep);
    peers_serve(peers, PEER_RPC_REPLY, &ops, c);
    return c;
}

void remote_calls_free(struct remote_calls *c)
{
    peers_serve(c->peers, PEER_RPC_REPLY, NULL, NULL);
    LIST_FOREACH_SAFE(n, next, &c->waiting)
    fail_later(c, CONTAINER_OF(n, struct remote_call, link_), RC_LOST_LEADERSHIP, "this node stops");
    run_ready(&c->task);
    env_undefer(&c->task);
    env_timer_cancel(c->env, &c->sweep);
    hmap_free(&c->by_id);
    VEC_FREE(&c->nodes);
    free(c);
}

/* Implementation of node/router.h: direct calls on the same loop, one message each way between loops. */
#include "node/router.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "node/remote_calls.h"

struct partition_map *partition_map_new(uint32_t count)
{
    ASSERT(count > 0 && count <= 65535);
    struct partition_map *m = xcalloc(1, sizeof(*m));
    m->slots = xcalloc(count, sizeof(*m->slots));
    m->count = count;
    for (uint32_t i = 0; i < count; i++) {
        /* start(i) = ceil(i * 2^64 / N), spec/invocation-lifecycle.md §2.3 */
        unsigned __int128 numerator = (unsigned __int128)i << 64;
        m->slots[i].key_start = (uint64_t)((numerator + count - 1) / count);
        if (i > 0)
            m->slots[i - 1].key_end = m->slots[i].key_start - 1;
    }
    m->slots[count - 1].key_end = UINT64_MAX;
    return m;
}

void partition_map_free(struct partition_map *m)
{
    free(m->slots);
    free(m);
}

void partition_map_set_leader(struct partition_map *m, uint32_t partition, uint32_t node)
{
    atomic_store_explicit(&m->slots[partition].leader_node, node, memory_order_relaxed);
}

uint32_t partition_map_find(const struct partition_map *m, uint64_t partition_key)
{
    /* floor(key * N / 2^64) is the right range or, because range starts are rounded up, the one after it. */
    uint32_t i = (uint32_t)(((unsigned __int128)partition_key * m->count) >> 64);
    if (partition_key < m->slots[i].key_start)
        i--;
    ASSERT(partition_key >= m->slots[i].key_start && partition_key <= m->slots[i].key_end);
    return i;
}

struct router {
    struct partition_router base;
    struct loop *loop;
    struct partition_map *map;
    struct remote_calls *remote; /* NULL: no other nodes */
};

/* A request on another loop: `inner` is what the leader there sees. Freed when nobody refers to it: the
 * request itself holds one reference until its reply was delivered at the origin, a cancel on its way holds
 * another. */
struct moved_rpc {
    struct loop_msg msg;
    struct partition_rpc inner;
    struct partition_rpc *outer;
    struct loop *origin;
    struct partition_slot *slot;
    struct rpc_reply reply;
    _Atomic int refs;
    bool replied; /* target loop only */
};
struct cancel_msg {
    struct loop_msg msg;
    struct moved_rpc *rpc;
};
/* A refusal that must not run inside submit. */
struct refusal {
    struct loop_msg msg;
    struct partition_rpc *rpc;
    enum rc rc;
};

static void moved_unref(struct moved_rpc *w)
{
    if (atomic_fetch_sub(&w->refs, 1) == 1)
        free(w);
}

static void deliver_reply(struct loop_msg *m)
{
    struct moved_rpc *w = CONTAINER_OF(m, struct moved_rpc, msg);
    struct partition_rpc *outer = w->outer;
    outer->private_.a = NULL;
    outer->reply(outer, &w->reply);
    bytes_unref(&w->reply.outcome_bytes);
    bytes_unref(&w->reply.target_bytes);
    moved_unref(w);
}

static void inner_replied(struct partition_rpc *inner, const struct rpc_reply *reply)
{
    struct moved_rpc *w = CONTAINER_OF(inner, struct moved_rpc, inner);
    w->reply = *reply;
    w->reply.outcome_bytes = bytes_ref(reply->outcome_bytes);
    w->reply.target_bytes = bytes_ref(reply->target_bytes);
    w->replied = true;
    bytes_unref(&inner->record);
    w->msg.deliver = deliver_reply;
    loop_post(w->origin, &w->msg);
}

static void refuse_inner(struct moved_rpc *w, enum rc rc)
{
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = rc, .id = w->inner.id};
    inner_replied(&w->inner, &reply);
}

static void deliver_request(struct loop_msg *m)
{
    struct moved_rpc *w = CONTAINER_OF(m, struct moved_rpc, msg);
    if (w->slot->processor)
        processor_rpc(w->slot->processor, &w->inner);
    else
        refuse_inner(w, RC_NOT_LEADER);
}

static void deliver_cancel(struct loop_msg *m)
{
    struct cancel_msg *c = CONTAINER_OF(m, struct cancel_msg, msg);
    /* Another processor by now: the old one has answered, or will. */
    if (!c->rpc->replied && c->rpc->slot->processor && c->rpc->slot->processor == c->rpc->inner.private_.b)
        processor_rpc_cancel(c->rpc->slot->processor, &c->rpc->inner);
    moved_unref(c->rpc);
    free(c);
}

static void deliver_refusal(struct loop_msg *m)
{
    struct refusal *f = CONTAINER_OF(m, struct refusal, msg);
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = f->rc, .id = f->rpc->id};
    f->rpc->reply(f->rpc, &reply);
    free(f);
}

/* `private_.loop` says which way a request took, for its cancel. */
static char way_here, way_remote;

static struct partition_slot *slot_of(const struct router *r, const struct partition_rpc *rpc)
{
    return &r->map->slots[partition_map_find(r->map, rpc->partition_key)];
}

static void refuse_later(struct router *r, struct partition_rpc *rpc, enum rc rc)
{
    struct refusal *f = xcalloc(1, sizeof(*f));
    f->rpc = rpc;
    f->rc = rc;
    f->msg.deliver = deliver_refusal;
    bytes_unref(&rpc->record);
    loop_post(r->loop, &f->msg);
}

void router_submit_here(struct partition_router *base, struct partition_rpc *rpc)
{
    struct router *r = CONTAINER_OF(base, struct router, base);
    struct partition_slot *slot = slot_of(r, rpc);
    rpc->private_.a = rpc->private_.b = NULL;
    rpc->private_.loop = &way_here;
    if (!slot->loop || slot->loop == r->loop) {
        if (slot->loop && slot->processor)
            processor_rpc(slot->processor, rpc);
        else
            refuse_later(r, rpc, RC_NOT_LEADER);
        return;
    }
    struct moved_rpc *w = xcalloc(1, sizeof(*w));
    w->inner = *rpc;
    rpc->record = BYTES_EMPTY; /* moved */
    w->inner.reply = inner_replied;
    memset(&w->inner.private_, 0, sizeof(w->inner.private_));
    w->outer = rpc;
    w->origin = r->loop;
    w->slot = slot;
    atomic_init(&w->refs, 1);
    rpc->private_.a = w;
    w->msg.deliver = deliver_request;
    loop_post(slot->loop, &w->msg);
}

void router_cancel_here(struct partition_router *base, struct partition_rpc *rpc)
{
    struct router *r = CONTAINER_OF(base, struct router, base);
    struct partition_slot *slot = slot_of(r, rpc);
    if (!slot->loop || slot->loop == r->loop) {
        if (slot->loop && slot->processor && slot->processor == rpc->private_.b)
            processor_rpc_cancel(slot->processor, rpc);
        return;
    }
    struct moved_rpc *w = rpc->private_.a;
    if (!w)
        return; /* the reply is being delivered */
    struct cancel_msg *c = xcalloc(1, sizeof(*c));
    atomic_fetch_add(&w->refs, 1);
    c->rpc = w;
    c->msg.deliver = deliver_cancel;
    loop_post(slot->loop, &c->msg);
}

static void router_submit(struct partition_router *base, struct partition_rpc *rpc)
{
    struct router *r = CONTAINER_OF(base, struct router, base);
    struct partition_slot *slot = slot_of(r, rpc);
    uint32_t elsewhere = partition_slot_elsewhere(r->map, slot);
    if (!elsewhere) {
        router_submit_here(base, rpc);
        return;
    }
    rpc->private_.a = NULL;
    rpc->private_.loop = &way_remote;
    if (r->remote)
        remote_calls_submit(r->remote, elsewhere, slot, rpc);
    else
        refuse_later(r, rpc, RC_UNAVAILABLE);
}

static void router_cancel(struct partition_router *base, struct partition_rpc *rpc)
{
    struct router *r = CONTAINER_OF(base, struct router, base);
    if (rpc->private_.loop == &way_here)
        router_cancel_here(base, rpc);
    else if (r->remote)
        remote_calls_cancel(r->remote, rpc);
}

static const struct partition_router_ops router_ops = {.submit = router_submit, .cancel = router_cancel};

struct partition_router *router_new(struct loop *loop, struct partition_map *map)
{
    struct router *r = xcalloc(1, sizeof(*r));
    r->base.ops = &router_ops;
    r->loop = loop;
    r->map = map;
    return &r->base;
}

void router_set_remote(struct partition_router *base, struct remote_calls *remote)
{
    CONTAINER_OF(base, struct router, base)->remote = remote;
}

void router_free(struct partition_router *base)
{
    free(CONTAINER_OF(base, struct router, base));
}

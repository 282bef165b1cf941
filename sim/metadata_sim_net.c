/* The simulated network: delay, loss, repetition, reordering, one-way cuts. Requests of clients are delivered
 * at most once, as the real carrier promises. See metadata_sim.h. */
#include <stdlib.h>

#include "sim/metadata_sim.h"

static void packet_free(struct packet *p)
{
    env_timer_cancel(sim_env_get(&p->world->env), &p->timer);
    list_remove(&p->link);
    bytes_unref(&p->data);
    free(p);
}

static uint64_t random_delay(struct world *w)
{
    if (sim_chance(w, w->late_permille))
        return sim_below(w, 5000);
    return sim_below(w, w->delay_ms + 1);
}

static void deliver(struct env_timer *t);

static struct packet *post(struct world *w, uint32_t from, uint32_t to, uint64_t to_life, struct slice data)
{
    struct packet *p = xcalloc(1, sizeof(*p));
    p->world = w;
    p->from = from;
    p->to = to;
    p->to_life = to_life;
    p->data = bytes_copy(data);
    list_init(&p->link);
    list_push_back(&w->packets, &p->link);
    env_timer_init(&p->timer, deliver);
    env_timer_arm(sim_env_get(&w->env), &p->timer, random_delay(w));
    return p;
}

static bool cut(const struct world *w, uint32_t from, uint32_t to)
{
    return w->blocked[from][to];
}

void sim_net_peer(struct sim_node *from, uint32_t node, struct slice message)
{
    struct world *w = from->world;
    if (node == 0 || node > w->n_nodes || cut(w, from->index, node - 1) || sim_chance(w, w->drop_permille))
        return;
    post(w, from->index, node - 1, 0, message)->kind = PACKET_PEER;
    if (sim_chance(w, w->repeat_permille))
        post(w, from->index, node - 1, 0, message)->kind = PACKET_PEER;
}

/* The life of a client at a node is the node's; the others live for ever. */
static uint64_t life_of(const struct world *w, uint32_t end)
{
    return end < NODES_MAX ? w->nodes[end].life : 0;
}

static void fail_request(struct world *w, uint32_t from, uint64_t attempt, bool sent)
{
    struct packet *p = post(w, from, from, life_of(w, from), SLICE_EMPTY);
    p->kind = PACKET_FAILURE;
    p->attempt = attempt;
    p->sent = sent;
}

void sim_net_request(struct world *w, uint32_t from, const char *address, uint64_t attempt,
                     struct slice message)
{
    uint32_t node = (uint32_t)(address[1] - '1');
    ASSERT(node < w->n_nodes);
    if (cut(w, from, node) || sim_chance(w, w->drop_permille)) {
        if (sim_chance(w, 300))
            fail_request(w, from, attempt, sim_chance(w, 500));
        return;
    }
    struct packet *p = post(w, from, node, 0, message);
    p->kind = PACKET_REQUEST;
    p->attempt = attempt;
}

/* ---- delivery ---- */

struct sim_reply {
    struct raft_reply base;
    struct world *world;
    uint32_t from, node; /* who asked whom */
    uint64_t from_life, node_life;
    uint64_t attempt;
};

static void reply_send(struct raft_reply *reply, struct slice message)
{
    struct sim_reply *r = CONTAINER_OF(reply, struct sim_reply, base);
    struct world *w = r->world;
    struct sim_node *n = &w->nodes[r->node];
    bool gone = !n->alive || n->life != r->node_life;
    if (gone) {
        if (sim_chance(w, 500))
            fail_request(w, r->from, r->attempt, true);
    } else if (!cut(w, r->node, r->from) && !sim_chance(w, w->drop_permille)) {
        struct packet *p = post(w, r->node, r->from, r->from_life, message);
        p->kind = PACKET_RESPONSE;
        p->attempt = r->attempt;
    }
    free(r);
}

static void deliver_request(struct packet *p, struct sim_node *n)
{
    struct world *w = p->world;
    if (!n->alive) {
        if (sim_chance(w, 700))
            fail_request(w, p->from, p->attempt, false);
        return;
    }
    struct sim_reply *r = xcalloc(1, sizeof(*r));
    *r = (struct sim_reply){{reply_send}, w, p->from, n->index, life_of(w, p->from), n->life, p->attempt};
    sim_enter(w, &n->env);
    raft_server_receive(n->server, bytes_slice(p->data), &r->base);
    sim_leave(w, n, &n->env);
}

static void deliver_answer(struct packet *p)
{
    struct world *w = p->world;
    struct raft_client *client;
    struct sim_env *env;
    struct sim_node *n = NULL;
    if (p->to < NODES_MAX) {
        n = &w->nodes[p->to];
        client = n->client;
        env = &n->env;
        if (!n->alive || n->life != p->to_life)
            return;
    } else {
        client = w->clients[p->to - NODES_MAX].client;
        env = &w->clients[p->to - NODES_MAX].env;
    }
    sim_enter(w, env);
    if (p->kind == PACKET_RESPONSE)
        raft_client_response(client, p->attempt, bytes_slice(p->data));
    else
        raft_client_failed(client, p->attempt, p->sent);
    sim_leave(w, n, env);
}

static void deliver(struct env_timer *t)
{
    struct packet *p = CONTAINER_OF(t, struct packet, timer);
    struct world *w = p->world;
    struct sim_node *n = p->to < NODES_MAX ? &w->nodes[p->to] : NULL;
    if (n && n->alive && n->paused) { /* it waits in the socket */
        env_timer_arm(sim_env_get(&w->env), t, 10 + sim_below(w, 10));
        return;
    }
    if (p->kind == PACKET_PEER && n->alive) {
        sim_enter(w, &n->env);
        raft_server_receive(n->server, bytes_slice(p->data), NULL);
        sim_leave(w, n, &n->env);
    } else if (p->kind == PACKET_REQUEST) {
        deliver_request(p, n);
    } else if (p->kind == PACKET_RESPONSE || p->kind == PACKET_FAILURE) {
        deliver_answer(p);
    }
    packet_free(p);
}

static void client_send(void *ctx, const char *address, uint64_t attempt, struct slice message)
{
    struct sim_client *c = ctx;
    sim_net_request(c->world, NODES_MAX + c->index, address, attempt, message);
}

static void node_client_send(void *ctx, const char *address, uint64_t attempt, struct slice message)
{
    struct sim_node *n = ctx;
    sim_net_request(n->world, n->index, address, attempt, message);
}

const struct raft_client_ops sim_client_ops = {client_send};
const struct raft_client_ops sim_node_client_ops = {node_client_send};

void sim_net_init(struct world *w)
{
    list_init(&w->packets);
}

void sim_net_free(struct world *w)
{
    LIST_FOREACH_SAFE(n, next, &w->packets)
    packet_free(CONTAINER_OF(n, struct packet, link));
}

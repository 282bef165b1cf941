/* Simulated network: every message is encoded, may be lost, delayed, doubled and overtaken, and is decoded at
 * its destination. Links can be cut in one direction. */
#include <stdlib.h>

#include "sim/loglet_sim.h"

struct packet {
    struct sim_event event; /* node, incarnation: of the destination; incarnation 0: whichever lives */
    unsigned from, from_incarnation, from_generation;
    bool reply;
    struct bytes frame;
};

static void packet_free(struct packet *p)
{
    bytes_unref(&p->frame);
    free(p);
}

static void packet_drop(struct sim_event *e)
{
    packet_free(CONTAINER_OF(e, struct packet, event));
}

static void arrive(struct sim_world *w, struct sim_event *e)
{
    static struct loglet_message_room room;
    struct packet *p = CONTAINER_OF(e, struct packet, event);
    struct sim_node *n = &w->nodes[e->node];
    struct loglet_message m;
    if (!loglet_message_decode(p->frame, &room, &m))
        sim_fail(w, "a message cannot be decoded");
    sim_check_message(w, p->from, &m);
    if (p->reply) {
        loglet_calls_on_message(&n->calls, p->from, &m);
    } else if (n->server) {
        struct log_server_peer peer = {{p->from, p->from_generation}, p->from_incarnation};
        log_server_on_message(n->server, &peer, &m);
    }
    packet_free(p);
}

static uint64_t delay(struct sim_world *w)
{
    uint64_t ms = sim_random(w, w->delay_ms + 1);
    if (!w->healing && sim_chance(w, 1))
        ms += sim_random(w, 3000); /* a message from long ago */
    return ms;
}

static void transmit(struct sim_world *w, unsigned from, unsigned to, unsigned to_incarnation, bool reply,
                     struct bytes frame)
{
    w->stats.messages++;
    if (w->cut[from][to] || sim_chance(w, w->loss_percent)) {
        w->stats.lost++;
        return;
    }
    unsigned copies = sim_chance(w, w->dup_percent) ? 2 : 1;
    for (unsigned i = 0; i < copies; i++) {
        struct packet *p = xcalloc(1, sizeof(*p));
        p->event.node = to;
        p->event.incarnation = to_incarnation;
        p->event.run = arrive;
        p->event.drop = packet_drop;
        p->from = from;
        p->from_incarnation = w->nodes[from].incarnation;
        p->from_generation = w->nodes[from].generation;
        p->reply = reply;
        p->frame = bytes_ref(frame);
        sim_at(w, &p->event, from == to ? 0 : delay(w));
    }
}

/* What the mutations do to a message on its way. */
static void tamper(struct sim_node *n, struct loglet_message *m, struct bytes *body)
{
    enum sim_mutation mutation = n->world->options.mutation;
    if (m->kind != LOGLET_STORE)
        return;
    bool trust = mutation == MUTATE_REPAIR_RAISES_TRUST || mutation == MUTATE_REPAIR_IS_DELIVERED;
    if (trust && (m->flags & LOGLET_IGNORE_SEAL))
        m->committed_tail = MAX(m->committed_tail, m->repaired_tail);
    if (mutation == MUTATE_HOLES && !(m->flags & LOGLET_IGNORE_SEAL) && n->sends++ % 4 == 0)
        m->committed_tail = MAX(m->committed_tail, m->first_offset);
    if (mutation == MUTATE_OTHER_BYTES && n->sends++ % 16 == 0) {
        *body = bytes_copy(bytes_slice(m->records[0]));
        body->owner->data[body->len - 1] ^= 1;
        m->records = body;
        m->n_records = 1;
    }
}

static void net_send(struct loglet_net *net, uint32_t to, const struct loglet_message *message)
{
    struct sim_node *n = CONTAINER_OF(net, struct sim_node, net);
    struct loglet_message m = *message;
    struct bytes other = BYTES_EMPTY;
    struct writer w = WRITER_INIT;
    sim_check_message(n->world, n->id, &m);
    tamper(n, &m, &other);
    if (m.kind == LOGLET_SEAL)
        n->world->stats.seals++;
    if (m.kind == LOGLET_STORE && (m.flags & LOGLET_IGNORE_SEAL))
        n->world->stats.repairs++;
    loglet_message_encode(&w, &m);
    struct bytes frame = writer_take(&w);
    ASSERT(to >= 1 && to <= n->world->options.nodes);
    transmit(n->world, n->id, to, 0, false, frame);
    bytes_unref(&frame);
    bytes_unref(&other);
}

void sim_net_reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct sim_node *n = ctx;
    struct writer w = WRITER_INIT;
    sim_check_message(n->world, n->id, m);
    sim_check_reply(n->world, n->id, m);
    loglet_message_encode(&w, m);
    struct bytes frame = writer_take(&w);
    transmit(n->world, n->id, to->node.id, (unsigned)to->token, true, frame);
    bytes_unref(&frame);
}

void sim_net_init(struct sim_node *n)
{
    n->net.send = net_send;
}

/* ---- broken connections ---- */

struct broken {
    struct sim_event event;
    unsigned peer;
};

static void broken_free(struct sim_event *e)
{
    free(CONTAINER_OF(e, struct broken, event));
}

static void broken_run(struct sim_world *w, struct sim_event *e)
{
    unsigned peer = CONTAINER_OF(e, struct broken, event)->peer;
    unsigned node = e->node;
    broken_free(e);
    loglet_calls_node_lost(&w->nodes[node].calls, peer);
}

static void notice(struct sim_world *w, unsigned node, unsigned peer)
{
    if (!w->nodes[node].up || sim_chance(w, 30))
        return; /* silence: only time-outs tell */
    struct broken *b = xcalloc(1, sizeof(*b));
    b->event.node = node;
    b->event.incarnation = w->nodes[node].incarnation;
    b->event.run = broken_run;
    b->event.drop = broken_free;
    b->peer = peer;
    sim_at(w, &b->event, sim_random(w, 200));
}

void sim_net_broken(struct sim_world *w, unsigned a, unsigned b)
{
    notice(w, a, b);
    notice(w, b, a);
}

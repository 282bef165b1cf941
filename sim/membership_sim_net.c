/* The simulated network: delay, loss, repetition, lateness, one-way cuts; packets for a process that does not
 * run wait; and what a transport would notice. See membership_sim.h. */
#include <stdlib.h>

#include "sim/membership_sim.h"

/* Connections end with the process they were made to; what waits in the sockets of a paused process is read
 * when it goes on. */
bool sim_net_hold(struct world *w, struct sim_event *e)
{
    if (e->to >= w->n)
        return false;
    struct sim_node *to = &w->nodes[e->to];
    if (!to->m || to->life != e->to_life) {
        sim_event_free(e);
        return true;
    }
    if (!to->paused)
        return false;
    list_remove(&e->link);
    list_push_back(&to->inbox, &e->link);
    return true;
}

static struct sim_event *to_node(struct world *w, uint32_t from, uint32_t to, uint64_t ms,
                                 void (*run)(struct world *w, struct sim_event *e))
{
    struct sim_event *e = sim_later(w, ms, run);
    e->from = from;
    e->to = to;
    e->to_life = w->nodes[to].life;
    return e;
}

/* ---- packets ---- */

static void heard(struct sim_node *n)
{
    uint64_t now = sim_now(n->world);
    if (now - n->heard_ms > 900) { /* the detector says 1000, on its own clock */
        n->isolated_ms = now;
        n->isolated_gaps_ms = n->gaps_ms;
    }
    n->heard_ms = now;
}

static void arrive(struct world *w, struct sim_event *e)
{
    struct sim_node *to = &w->nodes[e->to];
    w->n_packets++;
    sim_enter(to);
    uint64_t received = membership_stats(to->m)->received;
    membership_receive(to->m, bytes_slice(e->data));
    if (membership_stats(to->m)->received > received)
        heard(to);
    enum membership_verdict v = membership_verdict(to->m, e->from + 1);
    if (e->flag && membership_generation(to->m, e->from + 1) == e->ref.generation &&
        (v == MEMBERSHIP_ALIVE || v == MEMBERSHIP_SUSPECT))
        sim_fail(w, "N%u heard from N%u that it stops and takes it for %s", e->to + 1, e->from + 1,
                 membership_verdict_name(v));
    sim_leave(to);
}

static uint64_t random_delay(struct world *w)
{
    return sim_chance(w, w->late_permille) ? sim_below(w, LATE_MS) : sim_below(w, w->delay_ms + 1);
}

void sim_net_send(struct sim_node *from, uint32_t to, struct slice message)
{
    struct world *w = from->world;
    ASSERT(to < w->n && to != from->index);
    if (w->blocked[from->index][to] || !w->nodes[to].m || sim_chance(w, w->drop_permille))
        return;
    for (int copies = sim_chance(w, w->repeat_permille) ? 2 : 1; copies; copies--) {
        struct sim_event *e = to_node(w, from->index, to, random_delay(w), arrive);
        e->data = bytes_copy(message);
        e->flag = from->stopping;
        e->ref.generation = from->generation;
    }
}

void sim_net_cut(struct world *w, uint32_t from, uint32_t to, bool cut)
{
    w->n_cuts += cut && !w->blocked[from][to];
    if (w->blocked[from][to])
        w->open_ms[from][to] = sim_now(w);
    w->blocked[from][to] = cut;
}

/* ---- hints ---- */

static void lost(struct world *w, struct sim_event *e)
{
    struct sim_node *to = &w->nodes[e->to];
    w->n_hints++;
    sim_trace(w, "N%u: connection to N%u:%u %s", to->index + 1, e->ref.id, e->ref.generation,
              e->flag ? "reset" : "lost");
    const struct sim_node *who = &w->nodes[e->from];
    if (e->flag && who->m && who->generation == e->ref.generation)
        to->wrong_ms[e->from] = sim_now(w);
    else if (e->flag && who->generation == e->ref.generation &&
             membership_verdict(to->m, e->ref.id) != MEMBERSHIP_DEAD)
        to->hint_ms[e->from] = sim_now(w);
    sim_enter(to);
    membership_peer_lost(to->m, e->ref, e->flag);
    sim_leave(to);
}

static void seen(struct world *w, struct sim_event *e)
{
    struct sim_node *to = &w->nodes[e->to];
    const struct sim_node *who = &w->nodes[e->from];
    if (!who->m || who->generation != e->ref.generation)
        return; /* a transport does not report the making of a connection after its end */
    sim_enter(to);
    membership_peer_seen(to->m, e->ref);
    sim_leave(to);
}

static bool open_both(const struct world *w, uint32_t a, uint32_t b)
{
    return !w->blocked[a][b] && !w->blocked[b][a];
}

void sim_net_ended(struct sim_node *n, bool abruptly)
{
    struct world *w = n->world;
    for (uint32_t i = 0; i < w->n; i++) {
        if (i == n->index || !w->nodes[i].m || !open_both(w, i, n->index) || !sim_chance(w, w->hint_permille))
            continue;
        struct sim_event *e = to_node(w, n->index, i, 1 + sim_below(w, 20), lost);
        e->ref = (struct node_ref){n->index + 1, n->generation};
        e->flag = abruptly;
    }
}

void sim_net_began(struct sim_node *n)
{
    struct world *w = n->world;
    for (uint32_t i = 0; i < w->n; i++) {
        if (i == n->index || !w->nodes[i].m || !open_both(w, i, n->index) || !sim_chance(w, w->hint_permille))
            continue;
        struct sim_event *e = to_node(w, n->index, i, 1 + sim_below(w, 30), seen);
        e->ref = (struct node_ref){n->index + 1, n->generation};
    }
}

/* A firewall that resets connections, a link that was lost for a moment. */
void sim_net_wrong_hint(struct world *w)
{
    uint32_t a = (uint32_t)sim_below(w, w->n), b = (uint32_t)sim_below(w, w->n);
    if (a == b || !w->nodes[a].m || !w->nodes[b].m)
        return;
    struct sim_event *e = to_node(w, b, a, 1, lost);
    e->ref = (struct node_ref){b + 1, w->nodes[b].generation};
    e->flag = sim_chance(w, 500);
}

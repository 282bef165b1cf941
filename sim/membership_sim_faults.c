/* What goes wrong in the simulated world, and its end. See membership_sim.h. */
#include "sim/membership_sim.h"

static struct sim_node *some_node(struct world *w)
{
    return &w->nodes[sim_below(w, w->n)];
}

/* ---- cuts ---- */

static void cut_node(struct world *w, uint32_t node, bool out, bool in, bool cut)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (i == node)
            continue;
        if (out)
            sim_net_cut(w, node, i, cut);
        if (in)
            sim_net_cut(w, i, node, cut);
    }
}

static void open_all(struct world *w)
{
    sim_trace(w, "all links are open");
    for (uint32_t i = 0; i < w->n; i++)
        cut_node(w, i, true, true, false);
}

static void cut_something(struct world *w)
{
    uint32_t a = (uint32_t)sim_below(w, w->n), b = (uint32_t)sim_below(w, w->n);
    switch (sim_below(w, 5)) {
    case 0:
        sim_trace(w, "N%u is isolated", a + 1);
        cut_node(w, a, true, true, true);
        return;
    case 1:
        sim_trace(w, "N%u is deaf", a + 1);
        cut_node(w, a, false, true, true);
        return;
    case 2:
        sim_trace(w, "N%u is mute", a + 1);
        cut_node(w, a, true, false, true);
        return;
    case 3:
        if (a == b)
            return;
        sim_trace(w, "N%u and N%u are separated", a + 1, b + 1);
        sim_net_cut(w, b, a, true);
        sim_net_cut(w, a, b, true);
        return;
    default:
        if (a == b)
            return;
        sim_trace(w, "N%u does not reach N%u", a + 1, b + 1);
        sim_net_cut(w, a, b, true);
    }
}

/* ---- restarts ---- */

static void restart(struct world *w, struct sim_event *e)
{
    struct sim_node *n = &w->nodes[e->from];
    if (!n->m && !w->healed)
        sim_node_boot(n);
}

static void restart_later(struct world *w, const struct sim_node *n)
{
    uint64_t ms = sim_chance(w, 300) ? sim_below(w, 400) : 400 + sim_below(w, 8000);
    sim_later(w, ms, restart)->from = n->index;
}

static void end_something(struct world *w)
{
    struct sim_node *n = some_node(w);
    if (sim_chance(w, 300))
        sim_node_stop(n);
    else
        sim_node_kill(n);
    restart_later(w, n);
}

/* ---- the faults ---- */

static void one_fault(struct world *w)
{
    uint64_t dice = sim_below(w, 100);
    if (dice < 15)
        end_something(w);
    else if (dice < 25)
        sim_node_pause(some_node(w), 600 + sim_below(w, 9000));
    else if (dice < 35)
        sim_node_pause(some_node(w), 50 + sim_below(w, 800));
    else if (dice < 47)
        cut_something(w);
    else if (dice < 57)
        open_all(w);
    else if (dice < 60 && w->hint_permille)
        sim_net_wrong_hint(w);
    else if (dice < 65)
        some_node(w)->env.wall_base_ms += sim_below(w, 200000) - 100000;
    else if (dice < 75)
        sim_move(some_node(w), (uint16_t)sim_below(w, SIM_PARTITIONS));
    else
        sim_claim(some_node(w), (uint16_t)sim_below(w, SIM_PARTITIONS));
}

static void on_fault(struct env_timer *t)
{
    struct world *w = CONTAINER_OF(t, struct world, fault);
    one_fault(w);
    env_timer_arm(sim_env_get(&w->env), t, 20 + sim_below(w, 1200));
}

void sim_faults_start(struct world *w)
{
    env_timer_init(&w->fault, on_fault);
    env_timer_arm(sim_env_get(&w->env), &w->fault, 0);
}

/* Somebody leads each partition in the end. */
static void claim_all(struct world *w, struct sim_event *e)
{
    for (uint16_t p = 0; p < SIM_PARTITIONS; p++) {
        uint32_t start = (uint32_t)sim_below(w, w->n);
        for (uint32_t i = 0; i < w->n; i++) {
            struct sim_node *n = &w->nodes[(start + i) % w->n];
            if (!n->m || n->stopping || !n->replicas[p].runs)
                continue;
            sim_claim(n, p);
            break;
        }
    }
}

void sim_heal(struct world *w)
{
    w->healed = true;
    env_timer_cancel(sim_env_get(&w->env), &w->fault);
    open_all(w);
    w->drop_permille = w->late_permille = w->repeat_permille = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].paused)
            sim_node_resume(&w->nodes[i]);
        if (!w->nodes[i].m && sim_chance(w, 600))
            sim_node_boot(&w->nodes[i]);
    }
    sim_later(w, 1000 + sim_below(w, 3000), claim_all);
}

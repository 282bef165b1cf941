/* What must hold in the simulated world. Looked at every 20 ms; agreement at the end (F-2). A check that
 * speaks about time asks only processes that ran without a gap for long enough to know. */
#include "sim/membership_sim.h"

#define SAMPLE_MS  20u
#define QUIET_LINK 2000u /* a link that was open so long brings evidence */
#define OLD_NEWS_MS                                                                                          \
    1500u               /* so long after a process went on, news that waited in its sockets may go round     \
                         */
#define WINDOW_MS 1500u /* own isolation excuses the others for so long */

static void complain(struct sim_node *o, uint32_t k, const char *what)
{
    sim_fail(o->world, "N%u about N%u: %s", o->index + 1, k + 1, what);
}

static bool runs(const struct sim_node *n)
{
    return n->m && !n->paused;
}

/* Since when does `k` not run, or cannot hear anybody? UINT64_MAX: it is well. */
static uint64_t silent_since(const struct world *w, const struct sim_node *k)
{
    if (!k->m)
        return k->end_ms;
    if (k->paused)
        return k->paused_ms;
    uint64_t last = MAX(k->heard_ms, k->calm_ms);
    uint64_t lonely = last + w->options.loneliness_threshold * w->options.tick_ms + 200;
    return lonely <= sim_now(w) ? lonely : UINT64_MAX;
}

/* Who does not run, or hears nobody, is dead in time and stays so. */
static void check_death(struct sim_node *o, struct sim_node *k, enum membership_verdict v)
{
    struct world *w = o->world;
    uint64_t now = sim_now(w), since = silent_since(w, k), bound = DEAD_WITHIN_MS;
    if (since == UINT64_MAX || v == MEMBERSHIP_DEAD || (w->was_late && w->healed))
        return;
    bound += w->was_late ? LATE_MS : 0;
    if (now - MAX(o->calm_ms, MIN(since, now)) <= bound || now - MIN(since, now) <= bound)
        return;
    /* What others find in their sockets when they go on is old, but they cannot know. */
    if (now - w->resumed_ms <= OLD_NEWS_MS || (w->was_late && v != MEMBERSHIP_ALIVE))
        return;
    complain(o, k->index,
             v == MEMBERSHIP_ALIVE ? "alive, but it does not run or hears nobody" : "not dead in time");
}

/* Told of the end by the transport: dead at once, and nothing from before brings it back. */
static void check_hint(struct sim_node *o, struct sim_node *k, enum membership_verdict v)
{
    struct world *w = o->world;
    if (!o->hint_ms[k->index] || k->m || w->was_late || v == MEMBERSHIP_DEAD ||
        sim_now(w) - w->resumed_ms <= OLD_NEWS_MS)
        return;
    complain(o, k->index, "not dead although its connection was reset");
}

static bool open_long(const struct world *w, uint32_t a, uint32_t b)
{
    return !w->blocked[a][b] && sim_now(w) - w->open_ms[a][b] > QUIET_LINK;
}

/* Who runs and can be heard is not dead. */
static void check_life(struct sim_node *o, struct sim_node *k, enum membership_verdict v)
{
    struct world *w = o->world;
    uint64_t now = sim_now(w);
    if (v != MEMBERSHIP_DEAD || !runs(k) || k->stopping || now - k->calm_ms <= QUIET_LINK ||
        now - o->calm_ms <= QUIET_LINK || w->was_late || !open_long(w, o->index, k->index) ||
        !open_long(w, k->index, o->index) ||
        (o->wrong_ms[k->index] && now - o->wrong_ms[k->index] <= QUIET_LINK))
        return;
    complain(o, k->index, "dead, but it runs and can be heard");
}

/* B8: who was away does not bury the others when it is back. */
static void check_resumed(struct sim_node *o)
{
    struct world *w = o->world;
    if (!o->resume_ms || o->resume_ms - o->paused_ms < 700 || sim_now(w) - o->resume_ms > 900)
        return;
    if (membership_stats(o->m)->deaths != o->deaths_at_resume)
        sim_fail(w, "N%u declares others dead for silence after its own pause", o->index + 1);
}

/* How long it has to wait after a death: 1 s, and twice that after each further one within half a minute. */
static uint64_t suspect_ms(const struct world *w, const struct sim_view *view)
{
    return MIN(w->options.suspect_ms, UINT64_C(1000) << MIN(view->flaps, 16u));
}

/* A node that was alive and died is not alive again before the suspect interval, but for the exceptions: the
 * process that looks is young, or it was itself cut off. */
static void check_damping(struct sim_node *o, struct sim_node *k, enum membership_verdict v)
{
    struct sim_view *view = &o->views[k->index];
    uint64_t now = sim_now(o->world), suspect = suspect_ms(o->world, view);
    bool alive = v == MEMBERSHIP_ALIVE, returned = alive && view->verdict != MEMBERSHIP_ALIVE;
    bool young = view->dead_ms < o->boot_ms + o->gaps_ms + o->world->options.suspect_ms + 200;
    uint64_t until = o->isolated_ms + WINDOW_MS + (o->gaps_ms - o->isolated_gaps_ms);
    bool excused = o->isolated_ms && (now < until || view->dead_ms < until) && now < until + WINDOW_MS;
    if (returned && view->was_alive && view->dead_ms && now - view->dead_ms + 50 < suspect && !young &&
        !excused)
        complain(o, k->index, "alive again before the suspect interval has passed");
    if (v == MEMBERSHIP_DEAD && view->verdict != MEMBERSHIP_DEAD && view->was_alive) {
        bool steady = view->verdict == MEMBERSHIP_ALIVE && now - view->alive_ms >= 29000;
        view->flaps = view->was_dead && !steady ? view->flaps + 1 : 0;
        view->was_dead = true;
    }
    if (v != view->verdict && v != MEMBERSHIP_FAILING_OVER)
        sim_trace(o->world, "N%u takes N%u for %s", o->index + 1, k->index + 1, membership_verdict_name(v));
    if (returned)
        view->alive_ms = now;
    if (v == MEMBERSHIP_DEAD)
        view->dead_ms = now;
    if (v != MEMBERSHIP_FAILING_OVER)
        view->verdict = v;
    view->was_alive |= alive;
}

/* F-3, and nobody invents generations. */
static void check_generation(struct sim_node *o, struct sim_node *k)
{
    struct sim_view *view = &o->views[k->index];
    uint32_t g = membership_generation(o->m, k->index + 1);
    if (g < view->generation)
        complain(o, k->index, "its generation went down");
    if (g > MAX(k->generation, 1u))
        complain(o, k->index, "there is no such generation");
    if (g != view->generation && view->generation)
        view->dead_ms = view->looked_ms; /* between two looks */
    view->looked_ms = sim_now(o->world);
    view->generation = g;
}

/* Routers are never sent back to an older epoch, nor to somebody who did not claim it. */
static void check_leaders(struct sim_node *o)
{
    struct world *w = o->world;
    for (uint16_t p = 0; p < SIM_PARTITIONS; p++) {
        struct node_ref leader;
        uint64_t epoch;
        if (!membership_leader(o->m, p, &leader, &epoch))
            continue;
        if (epoch == 0 || epoch > w->owners[p].len || !node_ref_eq(w->owners[p].items[epoch - 1], leader))
            sim_fail(w, "N%u takes N%u:%u for the leader of %u at e%llu", o->index + 1, leader.id,
                     leader.generation, p, (unsigned long long)epoch);
        if (epoch < o->led_epoch[p])
            sim_fail(w, "N%u goes back to e%llu of partition %u", o->index + 1, (unsigned long long)epoch, p);
        o->led_epoch[p] = epoch;
    }
}

static void check_node(struct sim_node *o)
{
    struct world *w = o->world;
    sim_enter(o);
    check_resumed(o);
    for (uint32_t i = 0; i < w->n; i++) {
        struct sim_node *k = &w->nodes[i];
        enum membership_verdict v = membership_verdict(o->m, i + 1);
        if (k == o)
            continue;
        check_generation(o, k);
        check_damping(o, k, v);
        check_death(o, k, v);
        check_hint(o, k, v);
        check_life(o, k, v);
    }
    check_leaders(o);
}

static void on_check(struct env_timer *t)
{
    struct world *w = CONTAINER_OF(t, struct world, check);
    w->n_samples++;
    for (uint32_t i = 0; i < w->n; i++)
        if (runs(&w->nodes[i]))
            check_node(&w->nodes[i]);
    env_timer_arm(sim_env_get(&w->env), t, SAMPLE_MS);
}

void sim_checks_start(struct world *w)
{
    env_timer_init(&w->check, on_check);
    env_timer_arm(sim_env_get(&w->env), &w->check, SAMPLE_MS);
}

/* ---- the end: everybody agrees, with the others and with the truth ---- */

static void check_end_nodes(struct sim_node *o, struct sim_node *k)
{
    bool alive = k->m;
    if ((membership_verdict(o->m, k->index + 1) == MEMBERSHIP_ALIVE) != alive)
        complain(o, k->index, alive ? "not alive in the end" : "not dead in the end");
    if (alive && membership_generation(o->m, k->index + 1) != k->generation)
        complain(o, k->index, "unknown generation in the end");
    if (membership_reachable(o->m, k->index + 1) != alive)
        complain(o, k->index, "wrong about reaching it in the end");
    for (uint32_t i = 0; alive && i < o->world->n; i++)
        if (membership_link(o->m, k->index + 1, i + 1) != (o->world->nodes[i].m != NULL))
            complain(o, k->index, "wrong about its links in the end");
}

static void check_end_statuses(struct sim_node *o, struct sim_node *k)
{
    for (uint16_t p = 0; k->m && p < SIM_PARTITIONS; p++) {
        const struct membership_status *s = membership_status(o->m, k->index + 1, p);
        const struct sim_replica *r = &k->replicas[p];
        if ((s != NULL) != r->runs)
            complain(o, k->index, s ? "a partition that moved away is remembered" : "a partition is missing");
        if (s && (s->status.mode != r->mode || s->status.leader_epoch != r->epoch ||
                  s->status.applied + 10 < r->applied))
            complain(o, k->index, "an old status in the end");
    }
}

/* The leader of the highest epoch, if its process runs and the replica is still there. */
static uint32_t true_leader(const struct world *w, uint16_t p)
{
    uint64_t epoch = w->owners[p].len;
    struct node_ref who = epoch ? w->owners[p].items[epoch - 1] : (struct node_ref){0, 0};
    const struct sim_node *n = who.id ? &w->nodes[who.id - 1] : NULL;
    return n && n->m && n->generation == who.generation && n->replicas[p].runs ? who.id : 0;
}

void sim_check_end(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct sim_node *o = &w->nodes[i];
        if (!o->m)
            continue;
        sim_enter(o);
        for (uint32_t k = 0; k < w->n; k++) {
            if (k == i)
                continue;
            check_end_nodes(o, &w->nodes[k]);
            check_end_statuses(o, &w->nodes[k]);
        }
        if (!membership_ready(o->m))
            sim_fail(w, "N%u is not ready in the end", i + 1);
        for (uint32_t k = 0; k < w->n; k++) /* what the dead knew alone comes from the store, later */
            if (w->nodes[k].m && o->known_version < w->nodes[k].known_version)
                sim_fail(w, "N%u knows nodes v%u, N%u v%u", i + 1, o->known_version, k + 1,
                         w->nodes[k].known_version);
        for (uint16_t p = 0; p < SIM_PARTITIONS; p++) {
            struct node_ref leader = {0, 0};
            uint64_t epoch;
            membership_leader(o->m, p, &leader, &epoch);
            if (true_leader(w, p) && leader.id != true_leader(w, p))
                sim_fail(w, "N%u takes N%u for the leader of %u in the end", i + 1, leader.id, p);
            for (uint32_t k = 0; k < w->n; k++)
                if (w->nodes[k].m && o->epoch_version[p] < w->nodes[k].epoch_version[p])
                    sim_fail(w, "N%u does not know the epoch metadata of %u", i + 1, p);
        }
    }
}

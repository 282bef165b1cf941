/* The failure detector: its clock, evidence of life, verdicts (spec/cluster.md §3.2, B8, F-3). */
#include <stdlib.h>

#include "membership/membership_internal.h"

#define SUSPECT_FIRST_MS 1000u
#define STEADY_MS        30000u /* alive for so long, a node has not been flapping */

#ifdef MEMBERSHIP_MUTATIONS
enum membership_mutation membership_mutation;
#endif

/* ---- the detector's clock: monotonic time without the stretches in which this loop did not run ---- */

/* How far it moves between two ticks at most. */
static uint64_t stride_max(const struct membership *m)
{
    return MUTATED(MEMBERSHIP_MUT_OWN_GAPS) ? UINT64_MAX : 2 * m->config.tick_ms;
}

uint64_t membership_clock(const struct membership *m)
{
    uint64_t passed = env_mono_ms(m->env) - m->clock_ms;
    return m->clock + MIN(passed, stride_max(m));
}

uint64_t membership_threshold_ms(const struct membership *m)
{
    return m->config.failure_threshold * m->config.tick_ms;
}

/* After a time in which this process could not listen, the others get a whole threshold to be heard. */
static void own_gap(struct membership *m)
{
    m->stats.gaps++;
    m->no_deaths_until = m->clock + membership_threshold_ms(m);
    m->ready_at = MAX(m->ready_at, m->no_deaths_until);
}

static void advance_clock(struct membership *m)
{
    uint64_t now = env_mono_ms(m->env), passed = now - m->clock_ms;
    m->clock += MIN(passed, stride_max(m));
    m->clock_ms = now;
    if (passed >= m->config.tick_ms + membership_threshold_ms(m) / 2 && !MUTATED(MEMBERSHIP_MUT_OWN_GAPS))
        own_gap(m);
}

/* ---- direct links ---- */

/* Where not everybody is sent to in every tick, links are silent for longer. */
static uint64_t link_threshold_ms(const struct membership *m)
{
    return membership_threshold_ms(m) * (1 + m->n_others / (MEMBERSHIP_DIRECT_MAX + 1));
}

bool membership_hears(const struct membership *m, const struct peer *p)
{
    return p->heard && membership_clock(m) - p->heard_at <= link_threshold_ms(m);
}

void membership_update_reachable(struct membership *m, struct peer *p)
{
    bool reachable = p->hears_me && membership_hears(m, p);
    if (reachable != p->reachable)
        membership_note(m, MEMBERSHIP_NODES);
    p->reachable = reachable;
}

/* ---- verdicts ---- */

void membership_die(struct membership *m, struct peer *p)
{
    if (p->verdict == MEMBERSHIP_DEAD)
        return;
    bool steady = p->verdict == MEMBERSHIP_ALIVE && membership_clock(m) - p->alive_since >= STEADY_MS;
    p->flaps = p->was_dead && !steady ? p->flaps + 1 : 0;
    p->was_dead = p->was_alive;
    p->verdict = MEMBERSHIP_DEAD;
    p->beats = 0;
    membership_note(m, MEMBERSHIP_NODES);
}

static void promote(struct membership *m, struct peer *p)
{
    if (p->verdict != MEMBERSHIP_SUSPECT || membership_clock(m) < p->alive_at ||
        p->beats < m->config.stability_threshold)
        return;
    p->verdict = MEMBERSHIP_ALIVE;
    p->was_alive = true;
    p->alive_since = membership_clock(m);
    membership_note(m, MEMBERSHIP_NODES);
}

/* The suspect interval damps flapping, so it is for nodes that were alive and died in front of us. It is not
 * for those seen for the first time, nor for anybody while this process is young (nodes that start together
 * come and go), nor for those that seemed dead because we were cut off from everybody. */
static bool damped(const struct membership *m, const struct peer *p, uint64_t now)
{
    bool forgiven = p->died_silent && now < m->forgive_until;
    return p->was_alive && now >= m->damping_from && !forgiven && !MUTATED(MEMBERSHIP_MUT_NO_SUSPECT);
}

/* Who comes back once is needed soon, perhaps for a quorum; who comes and goes waits longer each time. */
static uint64_t suspect_ms(const struct membership *m, const struct peer *p)
{
    uint64_t wait = (uint64_t)SUSPECT_FIRST_MS << MIN(p->flaps, 16u);
    return MIN(wait, m->config.suspect_ms);
}

/* Its tick went up `age` ms ago. Known, and relayed, of dead ones too. */
static void heard_of(struct membership *m, struct peer *p, uint64_t age)
{
    uint64_t now = membership_clock(m);
    p->news_at = MAX(p->news_at, now - MIN(age, now));
}

/* It lived `age` ms ago, less than the threshold. */
static void lives(struct membership *m, struct peer *p, uint64_t age)
{
    uint64_t now = membership_clock(m), mono = env_mono_ms(m->env);
    p->news_ms = MAX(p->news_ms, mono - MIN(age, mono));
    p->ever_heard = true;
    p->beats += p->beats < UINT32_MAX;
    if (p->verdict == MEMBERSHIP_DEAD) {
        p->beats = 1;
        p->verdict = MEMBERSHIP_SUSPECT;
        p->alive_at = damped(m, p, now) ? now + suspect_ms(m, p) : now;
        p->died_silent = false;
        membership_note(m, MEMBERSHIP_NODES);
    }
    promote(m, p);
}

void membership_news(struct membership *m, struct peer *p, uint64_t tick, uint64_t age, bool direct)
{
    if (tick < p->tick || (tick == p->tick && !MUTATED(MEMBERSHIP_MUT_ANY_MENTION)))
        return;
    if (MUTATED(MEMBERSHIP_MUT_RELAYED_AGE) || MUTATED(MEMBERSHIP_MUT_ANY_MENTION))
        age = 0;
    bool from_before = p->gone && tick <= p->gone_tick && !MUTATED(MEMBERSHIP_MUT_LATE_NEWS);
    /* The first thing relayed about a process is where it stood, not that it still runs. */
    bool baseline = p->tick == 0 && !direct;
    p->tick = tick;
    heard_of(m, p, age);
    if (baseline || from_before || age > membership_threshold_ms(m))
        return;
    p->gone = false;
    lives(m, p, age);
}

void membership_fresh_instance(struct membership *m, struct peer *p, uint32_t generation)
{
    ASSERT(generation > p->generation || MUTATED(MEMBERSHIP_MUT_OLD_GENERATION)); /* F-3 */
    membership_die(m, p);
    p->generation = generation;
    p->known_at = membership_clock(m);
    p->failing_over = p->gone = p->died_silent = false;
    p->tick = p->seq = p->uptime_ms = p->news_at = 0;
    p->heard = p->hears_me = p->greeted = p->has_hears = false;
    membership_update_reachable(m, p);
    membership_clear_statuses(m, p);
    membership_note(m, MEMBERSHIP_NODES);
}

/* ---- ticks ---- */

static void judge(struct membership *m, struct peer *p)
{
    membership_update_reachable(m, p);
    p->greeted = p->greeted && membership_hears(m, p);
    if (p->verdict == MEMBERSHIP_DEAD)
        return;
    bool silent = m->clock - p->news_at > membership_threshold_ms(m);
    if (silent && m->clock >= m->no_deaths_until) {
        m->stats.deaths++;
        p->died_silent = true;
        membership_die(m, p);
    } else if (!silent) {
        promote(m, p);
    }
}

static void on_tick(struct env_timer *t)
{
    struct membership *m = CONTAINER_OF(t, struct membership, timer);
    advance_clock(m);
    m->tick++;
    for (size_t i = 0; i < m->n_peers; i++)
        if (!membership_is_self(m, &m->peers[i]))
            judge(m, &m->peers[i]);
    membership_heartbeat(m);
    if (membership_behind(m))
        membership_notify_later(m);
    if (m->was_ready != membership_ready(m))
        membership_note(m, MEMBERSHIP_NODES);
    m->was_ready = membership_ready(m);
    membership_metrics_update(m);
    m->due_ms += m->config.tick_ms;
    if (m->due_ms <= env_mono_ms(m->env))
        m->due_ms = env_mono_ms(m->env) + m->config.tick_ms; /* late: do not catch up */
    env_timer_arm_at(m->env, &m->timer, m->due_ms);
}

void membership_start(struct membership *m)
{
    if (m->running || !m->self.id || !m->fingerprint)
        return;
    m->running = true;
    m->clock = CLOCK_START;
    m->clock_ms = m->due_ms = env_mono_ms(m->env);
    m->received_at = m->clock;
    for (size_t i = 0; i < m->n_peers; i++)
        m->peers[i].known_at = m->clock;
    m->settled_at = m->clock + membership_threshold_ms(m);
    m->damping_from = m->clock + m->config.suspect_ms;
    m->timer.fire = on_tick;
    env_timer_arm_at(m->env, &m->timer, m->due_ms);
}

/* A message came in. If it is the first after a long silence of all, then it was us who were away. */
void membership_note_received(struct membership *m)
{
    uint64_t now = membership_clock(m), threshold = membership_threshold_ms(m);
    if (now - m->received_at > threshold) {
        m->ready_at = MAX(m->ready_at, now + threshold);
        if (!m->forgiven || now - m->forgiven_at >= FORGIVE_EVERY_MS) {
            m->forgiven = true;
            m->forgiven_at = now;
            m->forgive_until = now + threshold;
        }
    }
    m->received_at = now;
}

/* ---- hints ---- */

void membership_peer_lost(struct membership *m, struct node_ref node, bool gone)
{
    struct peer *p = membership_peer(m, node.id);
    if (!p || membership_is_self(m, p) || (node.generation && node.generation < p->generation))
        return;
    if (node.generation > p->generation)
        membership_fresh_instance(m, p, node.generation);
    p->heard = p->greeted = false;
    membership_update_reachable(m, p);
    if (!gone && !p->failing_over)
        return;
    p->gone = true;
    /* Others may have heard it more recently; what they tell that is older than the threshold has no effect.
     */
    uint64_t unheard = membership_clock(m) - MAX(p->news_at, p->known_at);
    p->gone_tick = p->tick + GONE_TICKS + MIN(unheard, membership_threshold_ms(m)) / m->config.tick_ms;
    if (p->verdict == MEMBERSHIP_DEAD)
        return;
    m->stats.hints++;
    p->died_silent = false;
    membership_die(m, p);
}

void membership_peer_seen(struct membership *m, struct node_ref node)
{
    struct peer *p = membership_peer(m, node.id);
    if (!m->running || !p || membership_is_self(m, p) || node.generation < p->generation)
        return;
    if (node.generation > p->generation)
        membership_fresh_instance(m, p, node.generation);
    p->gone = false;
    p->heard = true;
    p->heard_at = membership_clock(m);
    heard_of(m, p, 0);
    lives(m, p, 0);
}

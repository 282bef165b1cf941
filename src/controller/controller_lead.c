/* Leadership: who leads, who shall, hints, and evening out. */
#include <stdlib.h>

#include "controller/controller_internal.h"

#define FAILED_FOR_MS 30000u /* one who did not lead in time is the last choice for so long */

struct look {
    struct controller *c;
    uint64_t now;
    uint32_t changing; /* partitions whose leader is not who it shall be, or with a `next` */
};

/* ---- what is good about a candidate ---- */

static bool in_location(const char *location, const char *wanted)
{
    size_t n = strlen(wanted);
    return strncmp(location, wanted, n) == 0 && (location[n] == 0 || location[n] == '.');
}

static bool matches(const struct controller_member *member, uint32_t id, const struct epoch_metadata *m)
{
    if (m->affinity_node)
        return m->affinity_node == id;
    return m->affinity_location && in_location(member->location, m->affinity_location);
}

/* For its sake a leader is deposed: caught up, then affinity, then reachable by all. A leader counts as
 * caught up. Only for alive members. */
static unsigned merit(struct look *l, uint32_t p, const struct epoch_metadata *m, uint32_t id,
                      const struct controller_replica *r)
{
    const struct controller_member *member = controller_member(l->c, id);
    bool caught_up = r->caught_up || r->leads || l->c->slots[p].leader == id;
    return caught_up * 4u + matches(member, id, m) * 2u + member->reachable * 1u;
}

struct candidate { /* better is higher, member by member */
    uint32_t id;
    uint64_t failed_ms; /* 0: has not; lower is better */
    unsigned merit;
    bool remains; /* in `next` too, and no drain under way */
    uint64_t applied_lsn;
    uint32_t leaders;
    bool claimer;
    uint64_t hash;
};

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->failed_ms != b->failed_ms)
        return a->failed_ms < b->failed_ms;
    if (a->merit != b->merit)
        return a->merit > b->merit;
    if (a->remains != b->remains)
        return a->remains;
    if (a->applied_lsn != b->applied_lsn)
        return a->applied_lsn > b->applied_lsn;
    if (a->leaders != b->leaders)
        return a->leaders < b->leaders;
    if (a->claimer != b->claimer)
        return a->claimer;
    return a->hash > b->hash;
}

/* When; 0: it has not, or that is long ago. */
static uint64_t failed_at(struct look *l, uint32_t p, uint32_t id)
{
    const struct controller_slot *s = &l->c->slots[p];
    for (size_t i = 0; i < CONTROLLER_FAILED_MAX; i++)
        if (s->failed[i].id == id && l->now - s->failed[i].at_ms < FAILED_FOR_MS)
            return s->failed[i].at_ms;
    return 0;
}

static void set_failed(struct look *l, uint32_t p, uint32_t id)
{
    struct controller_slot *s = &l->c->slots[p];
    size_t i = 0;
    while (i < CONTROLLER_FAILED_MAX && s->failed[i].id != id)
        i++;
    if (i == CONTROLLER_FAILED_MAX)
        i = s->n_failed++ % CONTROLLER_FAILED_MAX;
    s->failed[i].id = id;
    s->failed[i].at_ms = l->now;
}

static struct candidate candidate_of(struct look *l, uint32_t p, const struct epoch_metadata *m, uint32_t id)
{
    const struct controller_member *member = controller_member(l->c, id);
    struct controller_replica r;
    controller_replica(l->c, id, p, &r);
    unsigned merit_now = merit(l, p, m, id, &r);
    return (struct candidate){
        .id = id,
        .failed_ms = failed_at(l, p, id),
        .merit = merit_now,
        .remains = member->worker && (!m->has_next || configuration_has(&m->next, id)),
        .applied_lsn = merit_now >= 4 ? 0 : r.applied_lsn, /* only if nobody has caught up */
        .leaders = member->leaders + (CONTROLLER_MUTATED(CONTROLLER_MUT_FICKLE_LEADER)
                                          ? (uint32_t)(placement_hash((uint32_t)(l->now / 700), id) % 100)
                                          : 0),
        .claimer = m->node_id == id,
        .hash = placement_hash(p, id),
    };
}

static bool is_alive(struct look *l, uint32_t id)
{
    const struct controller_member *member = controller_member(l->c, id);
    return member && member->alive;
}

static uint32_t elect(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    struct candidate best = {0};
    for (size_t i = 0; i < m->current.n_replicas; i++) {
        if (!is_alive(l, m->current.replicas[i]))
            continue;
        struct candidate one = candidate_of(l, p, m, m->current.replicas[i]);
        if (!best.id || better(&one, &best))
            best = one;
    }
    return best.id;
}

/* ---- who leads ---- */

/* It claimed and will soon say that it leads. */
static bool is_becoming_leader(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    struct controller_slot *s = &l->c->slots[p];
    const struct controller_member *member = controller_member(l->c, m->node_id);
    struct controller_replica r;
    if (s->claim_epoch != m->epoch) {
        s->claim_epoch = m->epoch;
        s->claim_since_ms = l->now;
    }
    if (!member || !member->alive || member->generation != m->node_generation ||
        !configuration_has(&m->current, m->node_id) ||
        l->now - s->claim_since_ms >= l->c->config.lead_patience_ms)
        return false;
    controller_replica(l->c, m->node_id, p, &r);
    return !r.known || r.leads || r.epoch < m->epoch;
}

static uint32_t leader_of(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    uint32_t leader = 0;
    uint64_t epoch = 0;
    for (size_t i = 0; i < m->current.n_replicas; i++) {
        uint32_t id = m->current.replicas[i];
        const struct controller_member *member = controller_member(l->c, id);
        struct controller_replica r;
        if (!member || !(member->alive || member->failing_over))
            continue;
        controller_replica(l->c, id, p, &r);
        if (r.known && r.leads && r.epoch > epoch) {
            leader = id;
            epoch = r.epoch;
        }
    }
    return epoch < m->epoch && is_becoming_leader(l, p, m) ? m->node_id : leader;
}

/* ---- who shall lead ---- */

static unsigned best_merit(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    unsigned best = 0;
    for (size_t i = 0; i < m->current.n_replicas; i++) {
        uint32_t id = m->current.replicas[i];
        struct controller_replica r;
        if (!is_alive(l, id))
            continue;
        controller_replica(l->c, id, p, &r);
        best = MAX(best, merit(l, p, m, id, &r));
    }
    return best;
}

static bool is_good(struct look *l, uint32_t p, const struct epoch_metadata *m, uint32_t id, unsigned best)
{
    struct controller_replica r;
    if (!id || !configuration_has(&m->current, id) || !is_alive(l, id))
        return false;
    controller_replica(l->c, id, p, &r);
    return merit(l, p, m, id, &r) >= best && !CONTROLLER_MUTATED(CONTROLLER_MUT_FICKLE_LEADER);
}

static bool is_frozen(struct look *l, const struct epoch_metadata *m)
{
    const struct placement_node *n = placement_find(&l->c->nodes, m->node_id);
    return m->leadership_freeze && n && !n->gone && configuration_has(&m->current, m->node_id);
}

static void set_target(struct look *l, uint32_t p, uint32_t id)
{
    struct controller_slot *s = &l->c->slots[p];
    struct controller_member *member = controller_member(l->c, id);
    if (s->target != id) {
        s->target = id;
        s->target_since_ms = l->now;
        s->hinted = false;
    }
    if (member)
        member->leaders++;
}

/* True if it is clear who shall lead; others are elected when all leaders that stay are counted. */
static bool keep(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    struct controller_slot *s = &l->c->slots[p];
    unsigned best = best_merit(l, p, m);
    if (s->target == s->leader || !is_alive(l, s->target))
        s->target_since_ms = l->now; /* patience is for one who can and does not */
    bool in_time = l->now - s->target_since_ms < l->c->config.lead_patience_ms;
    if (is_frozen(l, m)) {
        set_target(l, p, m->node_id);
        return true;
    }
    if (!in_time) {
        set_failed(l, p, s->target);
        s->target = 0;
        s->moving = false;
    }
    if (s->moving && s->target != s->leader && is_good(l, p, m, s->target, best)) {
        set_target(l, p, s->target);
        return true;
    }
    s->moving = false;
    uint32_t stays = is_good(l, p, m, s->leader, best)   ? s->leader
                     : is_good(l, p, m, s->target, best) ? s->target
                                                         : 0;
    if (stays)
        set_target(l, p, stays);
    return stays != 0;
}

static bool leadable(const struct controller *c, uint32_t p, const struct epoch_metadata **m)
{
    *m = epochs_state(c->epochs, p) == EPOCHS_PRESENT ? epochs_get(c->epochs, p) : NULL;
    return *m && (*m)->current.version != 0;
}

static void choose(struct look *l)
{
    struct controller *c = l->c;
    const struct epoch_metadata *m;
    bool *open = xcalloc(c->n_partitions + 1, sizeof(*open));
    for (size_t i = 0; i < c->nodes.len; i++)
        c->members[i].leaders = 0;
    c->stats.leaderless = 0;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        if (!leadable(c, p, &m))
            continue;
        c->slots[p].leader = leader_of(l, p, m);
        c->stats.leaderless += c->slots[p].leader == 0;
        open[p] = !keep(l, p, m);
        l->changing += m->has_next;
    }
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        if (!open[p] || !leadable(c, p, &m))
            continue;
        uint32_t elected = elect(l, p, m);
        set_target(l, p, elected ? elected : c->slots[p].leader);
    }
    free(open);
}

/* ---- evening out ---- */

struct movable {
    struct leaders_partition *items;
    size_t len, cap;
};

/* Those who could take over without loss of merit, as indices of nodes, in `others`. */
static size_t takers(struct look *l, uint32_t p, const struct epoch_metadata *m, uint32_t *others)
{
    struct controller *c = l->c;
    struct controller_slot *s = &c->slots[p];
    struct controller_replica r;
    size_t n = 0;
    controller_replica(c, s->leader, p, &r);
    unsigned now = merit(l, p, m, s->leader, &r);
    for (size_t i = 0; i < m->current.n_replicas; i++) {
        uint32_t id = m->current.replicas[i];
        const struct controller_member *member = controller_member(c, id);
        if (id == s->leader || !member || !member->alive || !member->worker || failed_at(l, p, id))
            continue;
        controller_replica(c, id, p, &r);
        if (r.caught_up && merit(l, p, m, id, &r) >= now)
            others[n++] = (uint32_t)(placement_find(&c->nodes, id) - c->nodes.items);
    }
    return n;
}

static void move(struct look *l, const struct leaders_move *moves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct controller_slot *s = &l->c->slots[moves[i].partition];
        s->moving = true;
        s->target = l->c->nodes.items[moves[i].to].id;
        s->target_since_ms = l->now;
        s->hinted = false;
    }
}

static void balance(struct look *l)
{
    struct controller *c = l->c;
    const struct epoch_metadata *m;
    size_t room = 0,
           max = c->nodes.len + c->n_partitions / 16; /* a chain of moves has at most one per node */
    for (uint32_t p = 0; p < c->n_partitions; p++)
        room += leadable(c, p, &m) ? m->current.n_replicas : 0;
    uint32_t *others = xcalloc(room + 1, sizeof(*others)), *at = others;
    uint32_t *count = xcalloc(c->nodes.len + 1, sizeof(*count));
    struct movable list = {0};
    for (size_t i = 0; i < c->nodes.len; i++)
        count[i] = c->members[i].leaders;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        if (!leadable(c, p, &m) || m->leadership_freeze)
            continue;
        size_t n = takers(l, p, m, at);
        uint32_t leader = (uint32_t)(placement_find(&c->nodes, c->slots[p].leader) - c->nodes.items);
        VEC_PUSH(&list, ((struct leaders_partition){p, leader, at, n}));
        at += n;
    }
    struct leaders_move *moves = xcalloc(max, sizeof(*moves));
    move(l, moves, leaders_balance(list.items, list.len, count, c->nodes.len, moves, max));
    free(moves);
    VEC_FREE(&list);
    free(count);
    free(others);
}

static bool uneven(const struct controller *c)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = 0; i < c->nodes.len; i++) {
        if (!c->nodes.items[i].candidate)
            continue;
        low = MIN(low, c->members[i].leaders);
        high = MAX(high, c->members[i].leaders);
    }
    return low != UINT32_MAX && high >= low + 2;
}

/* ---- hints ---- */

static void hint(struct look *l)
{
    struct controller *c = l->c;
    const struct epoch_metadata *m;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        struct controller_slot *s = &c->slots[p];
        if (!leadable(c, p, &m) || s->target == s->leader || !is_alive(l, s->target) ||
            (s->hinted && l->now - s->hinted_ms < c->config.lead_repeat_ms))
            continue;
        s->hinted = true;
        s->hinted_ms = l->now;
        c->stats.hints++;
        metric_inc(c->metrics.hints);
        c->ops->lead(c->ctx, s->target, p);
    }
}

void controller_lead(struct controller *c)
{
    struct look l = {.c = c, .now = env_mono_ms(c->env)};
    choose(&l);
    for (uint32_t p = 0; p < c->n_partitions; p++)
        l.changing += c->slots[p].leader == 0 || c->slots[p].target != c->slots[p].leader;
    if (!l.changing && !c->stats.unsettled && l.now - c->changed_ms >= c->config.quiet_ms && uneven(c))
        balance(&l);
    hint(&l);
}

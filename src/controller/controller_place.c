/* Placement: the reaction table of controller.h for all partitions, then evening out. */
#include "controller/controller_internal.h"

/* One look at all partitions. */
struct look {
    struct controller *c;
    uint64_t now;
    uint32_t unsettled; /* partitions that change, or should */
};

/* The configuration that the next decision starts from. */
static const struct partition_configuration *base(const struct epoch_metadata *m)
{
    return m->has_next ? &m->next : &m->current;
}

static void count(struct controller *c, const uint32_t *ids, size_t n, int by)
{
    for (size_t i = 0; i < n; i++) {
        struct placement_node *node = placement_find(&c->nodes, ids[i]);
        if (node)
            node->replicas += (uint32_t)by;
    }
}

static void count_all(struct controller *c)
{
    for (size_t i = 0; i < c->nodes.len; i++)
        c->nodes.items[i].replicas = 0;
    for (uint32_t p = 0; p < c->n_partitions; p++) {
        const struct controller_slot *s = &c->slots[p];
        const struct epoch_metadata *m = epochs_get(c->epochs, p);
        if (s->writing)
            count(c, s->written.ids, s->written.len, 1);
        else if (m)
            count(c, base(m)->replicas, base(m)->n_replicas, 1);
    }
}

/* ---- can `next` serve? ---- */

static bool nobody_comes_back(const struct controller *c, const struct partition_configuration *set)
{
    for (size_t i = 0; i < set->n_replicas; i++) {
        const struct placement_node *n = placement_find(&c->nodes, set->replicas[i]);
        if (n && !n->gone)
            return false;
    }
    return true;
}

static bool anybody_alive(const struct controller *c, const struct partition_configuration *set)
{
    for (size_t i = 0; i < set->n_replicas; i++) {
        const struct controller_member *m = controller_member(c, set->replicas[i]);
        if (m && m->alive)
            return true;
    }
    return false;
}

static bool can_complete(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    struct controller *c = l->c;
    struct controller_slot *s = &c->slots[p];
    unsigned alive = 0, caught_up = 0;
    if (s->next_version != m->next.version) {
        s->next_version = m->next.version;
        s->next_since_ms = l->now;
    }
    if (nobody_comes_back(c, &m->current))
        return true;
    for (size_t i = 0; i < m->next.n_replicas; i++) {
        const struct controller_member *member = controller_member(c, m->next.replicas[i]);
        struct controller_replica r;
        if (!member || !member->alive)
            continue;
        controller_replica(c, m->next.replicas[i], p, &r);
        alive++;
        caught_up += r.known && (r.caught_up || r.leads);
    }
    return caught_up > 0 && (caught_up == alive || !anybody_alive(c, &m->current) ||
                             l->now - s->next_since_ms >= c->config.complete_after_ms);
}

/* ---- decisions ---- */

static uint32_t last_leader(const struct controller *c, uint32_t p, const struct epoch_metadata *m)
{
    return c->slots[p].leader ? c->slots[p].leader : m->node_id;
}

static struct placement_wish wish_for(struct look *l, uint32_t p, const struct epoch_metadata *m)
{
    struct placement_wish w = {.partition = p, .replication = l->c->replication};
    if (m) {
        w.members = base(m)->replicas;
        w.n_members = base(m)->n_replicas;
        w.leader = last_leader(l->c, p, m);
    }
    if (CONTROLLER_MUTATED(CONTROLLER_MUT_FICKLE_SET)) {
        w.partition += (uint32_t)(l->now / 1000);
        w.n_members = 0;
    }
    return w;
}

/* The change is wanted; it may have to wait for the next look. */
static void write(struct look *l, uint32_t p, uint32_t expected, const struct epoch_metadata *m)
{
    l->c->slots[p].settled = false;
    l->unsettled++;
    if (controller_may_write(l->c))
        controller_write(l->c, p, expected, m);
}

static void write_initial(struct look *l, uint32_t p, const struct epoch_metadata *old)
{
    struct controller *c = l->c;
    struct epoch_metadata m = old ? *old : (struct epoch_metadata){0};
    struct placement_wish w = wish_for(l, p, NULL);
    struct placement_set set;
    placement_choose(&c->nodes, &w, &set);
    if (set.len == 0) {
        l->unsettled++; /* no worker yet */
        return;
    }
    count(c, set.ids, set.len, 1);
    epoch_metadata_set_initial(&m, &c->replication, set.ids, set.len, env_wall_ms(c->env));
    write(l, p, old ? old->version : 0, &m);
}

static void write_next(struct look *l, uint32_t p, const struct epoch_metadata *old,
                       struct placement_set *set)
{
    struct epoch_metadata m = *old;
    epoch_metadata_set_next(&m, &l->c->replication, set->ids, set->len, env_wall_ms(l->c->env));
    if (CONTROLLER_MUTATED(CONTROLLER_MUT_NEXT_VERSION) && old->has_next)
        m.next.version = old->next.version;
    if (CONTROLLER_MUTATED(CONTROLLER_MUT_CANCEL_NEXT) && old->has_next)
        m.has_next = false;
    count(l->c, base(old)->replicas, base(old)->n_replicas, -1);
    count(l->c, set->ids, set->len, 1);
    write(l, p, old->version, &m);
}

static void write_complete(struct look *l, uint32_t p, const struct epoch_metadata *old,
                           struct placement_set *wanted)
{
    struct epoch_metadata m = *old;
    epoch_metadata_complete_next(&m);
    if (CONTROLLER_MUTATED(CONTROLLER_MUT_COMPLETE_BLIND)) {
        m.current.replicas = wanted->ids;
        m.current.n_replicas = wanted->len > 1 ? wanted->len - 1 : 1;
    }
    write(l, p, old->version, &m);
}

static void write_again(struct look *l, uint32_t p, const struct epoch_metadata *old)
{
    struct epoch_metadata m = *old;
    m.version++;
    write(l, p, 0, &m);
}

static bool differs(const struct controller *c, const struct epoch_metadata *m,
                    const struct placement_set *set)
{
    const struct partition_configuration *b = base(m);
    return set->len > 0 && !(placement_set_is(set, b->replicas, b->n_replicas) &&
                             replication_eq(&b->replication, &c->replication));
}

static void decide(struct look *l, uint32_t p)
{
    struct controller *c = l->c;
    struct controller_slot *s = &c->slots[p];
    const struct epoch_metadata *m = epochs_get(c->epochs, p);
    s->settled = true;
    if (s->writing || !epochs_settled(c->epochs, p) || epochs_state(c->epochs, p) == EPOCHS_UNKNOWN) {
        l->unsettled++;
        return;
    }
    if (!m || m->current.version == 0) {
        write_initial(l, p, m);
        return;
    }
    if (epochs_state(c->epochs, p) == EPOCHS_DELETED) {
        write_again(l, p, m);
        return;
    }
    struct placement_wish w = wish_for(l, p, m);
    struct placement_set set = {.len = 0};
    placement_choose(&c->nodes, &w, &set);
    bool frozen = m->placement_freeze && !CONTROLLER_MUTATED(CONTROLLER_MUT_THAW);
    if (!frozen && differs(c, m, &set))
        write_next(l, p, m, &set);
    else if (m->has_next && can_complete(l, p, m))
        write_complete(l, p, m, &set);
    else
        l->unsettled += m->has_next;
}

/* ---- evening out ---- */

static uint32_t slack(const struct controller *c)
{
    uint32_t total = 0, nodes = 0;
    for (size_t i = 0; i < c->nodes.len; i++)
        if (c->nodes.items[i].candidate) {
            total += c->nodes.items[i].replicas;
            nodes++;
        }
    return nodes ? MAX(1u, total / nodes / 8) : 1;
}

static bool uneven(const struct controller *c, uint32_t by)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = 0; i < c->nodes.len; i++) {
        if (!c->nodes.items[i].candidate)
            continue;
        low = MIN(low, c->nodes.items[i].replicas);
        high = MAX(high, c->nodes.items[i].replicas);
    }
    return low != UINT32_MAX && high - low > by;
}

static unsigned even_out_some(struct look *l, bool move_leaders, unsigned max)
{
    struct controller *c = l->c;
    uint32_t by = slack(c);
    unsigned moved = 0;
    for (uint32_t p = 0; p < c->n_partitions && moved < max && uneven(c, by); p++) {
        const struct epoch_metadata *m = epochs_get(c->epochs, p);
        struct placement_set set;
        uint32_t from, to;
        if (!m || m->has_next || m->placement_freeze || c->slots[p].writing || !controller_may_write(c))
            continue;
        struct placement_wish w = wish_for(l, p, m);
        if (placement_swap(&c->nodes, &w, by, move_leaders, &set, &from, &to)) {
            write_next(l, p, m, &set);
            moved++;
        }
    }
    return moved;
}

static void even_out(struct look *l)
{
    struct controller *c = l->c;
    unsigned max = 4 + c->n_partitions / 16;
    if (l->unsettled || c->writing || c->stats.leaderless || l->now - c->changed_ms < c->config.quiet_ms ||
        !uneven(c, slack(c)))
        return;
    unsigned moved = even_out_some(l, false, max);
    even_out_some(l, true, max - moved);
}

void controller_place(struct controller *c)
{
    struct look l = {.c = c, .now = env_mono_ms(c->env)};
    count_all(c);
    for (uint32_t p = 0; p < c->n_partitions; p++)
        decide(&l, p);
    even_out(&l);
    c->stats.unsettled = l.unsettled;
}

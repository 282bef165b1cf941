/* The invariants of the simulator, see controller_sim.h. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/controller_sim.h"

/* ---- every write ---- */

static bool same_set(const struct partition_configuration *a, const struct partition_configuration *b)
{
    if (a->version != b->version || a->n_replicas != b->n_replicas ||
        !replication_eq(&a->replication, &b->replication))
        return false;
    for (size_t i = 0; i < a->n_replicas; i++)
        if (a->replicas[i] != b->replicas[i])
            return false;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool same_placement(const struct epoch_metadata *a, const struct epoch_metadata *b)
{
    return same_set(&a->current, &b->current) && a->has_next == b->has_next &&
           (!a->has_next || same_set(&a->next, &b->next));
}

static bool same_policies(const struct epoch_metadata *a, const struct epoch_metadata *b)
{
    return same_text(a->leadership_freeze, b->leadership_freeze) &&
           same_text(a->placement_freeze, b->placement_freeze) && a->affinity_node == b->affinity_node &&
           same_text(a->affinity_location, b->affinity_location);
}

static bool same_leader(const struct epoch_metadata *a, const struct epoch_metadata *b)
{
    return a->epoch == b->epoch && a->node_id == b->node_id && a->node_generation == b->node_generation;
}

static void check_members(struct world *w, uint32_t partition, const struct partition_configuration *c)
{
    if (c->n_replicas == 0)
        sim_fail(w, "P-5: partition %u: configuration v%u has no members", partition, c->version);
    for (size_t i = 0; i < c->n_replicas; i++) {
        if (c->replicas[i] < 1 || c->replicas[i] > w->n_nodes)
            sim_fail(w, "P-5: partition %u: N%u does not exist", partition, c->replicas[i]);
        for (size_t k = 0; k < i; k++)
            if (c->replicas[i] == c->replicas[k])
                sim_fail(w, "P-5: partition %u: N%u twice", partition, c->replicas[i]);
    }
}

static void check_placement(struct world *w, uint32_t partition, const struct epoch_metadata *before,
                            const struct epoch_metadata *after)
{
    struct partition_history *h = &w->history[partition];
    bool first = before->current.version == 0;
    bool completed = before->has_next && !after->has_next && same_set(&before->next, &after->current);
    if (!same_set(&before->current, &after->current) && !first && !completed)
        sim_fail(w, "P-5: partition %u: current v%u became v%u, which was not next", partition,
                 before->current.version, after->current.version);
    if (before->has_next && !after->has_next && !completed)
        sim_fail(w, "P-5: partition %u: next v%u was dropped", partition, before->next.version);
    if (first && after->current.version <= h->configuration)
        sim_fail(w, "P-5: partition %u: first configuration is v%u", partition, after->current.version);
    if (after->has_next && !(before->has_next && same_set(&before->next, &after->next)) &&
        after->next.version <= h->configuration)
        sim_fail(w, "P-5: partition %u: next is v%u after v%u", partition, after->next.version,
                 h->configuration);
    check_members(w, partition, after->has_next ? &after->next : &after->current);
    h->configuration = MAX(h->configuration, after->current.version);
    h->configuration = MAX(h->configuration, after->has_next ? after->next.version : 0);
}

static void check_controller(struct world *w, uint32_t partition, const struct epoch_metadata *before,
                             const struct epoch_metadata *after)
{
    if (before->version && !(same_leader(before, after) && same_policies(before, after)))
        sim_fail(w, "partition %u: the controller changed more than the placement", partition);
    if (before->placement_freeze && before->current.version && !(before->has_next && !after->has_next) &&
        !same_placement(before, after))
        sim_fail(w, "partition %u: the controller changed a frozen placement", partition);
}

static void check_claim(struct world *w, uint32_t partition, const struct epoch_metadata *before,
                        const struct epoch_metadata *after)
{
    if (after->epoch != before->epoch + 1)
        sim_fail(w, "P-1: partition %u: epoch %llu after %llu", partition, (unsigned long long)after->epoch,
                 (unsigned long long)before->epoch);
    if (!configuration_has(&before->current, after->node_id))
        sim_fail(w, "partition %u: N%u claims and is not in current", partition, after->node_id);
    if (!same_placement(before, after) || !same_policies(before, after))
        sim_fail(w, "partition %u: a claim changed more than the leader", partition);
}

void sim_check_write(struct world *w, uint32_t partition, enum sim_writer by,
                     const struct epoch_metadata *before, const struct epoch_metadata *after)
{
    struct partition_history *h = &w->history[partition];
    if (after->version <= h->version)
        sim_fail(w, "N-3: partition %u: version %u after %u", partition, after->version, h->version);
    if (after->epoch < h->epoch)
        sim_fail(w, "P-1: partition %u: the epoch went back to %llu", partition,
                 (unsigned long long)after->epoch);
    check_placement(w, partition, before, after);
    if (by == BY_CONTROLLER)
        check_controller(w, partition, before, after);
    if (by == BY_CLAIM)
        check_claim(w, partition, before, after);
    h->version = after->version;
    h->epoch = after->epoch;
    w->writes++;
    w->last_write_ms = now_ms(w);
    sim_trace(w, "%u: v%u e%llu N%u current v%u next v%u by %d", partition, after->version,
              (unsigned long long)after->epoch, after->node_id, after->current.version,
              after->has_next ? after->next.version : 0, (int)by);
}

void sim_check_won(struct world *w, uint32_t partition, uint64_t epoch, struct node_ref who)
{
    struct partition_history *h = &w->history[partition];
    if (epoch > h->epoch)
        sim_fail(w, "P-1: partition %u: N%u:%u believes in epoch %llu, the store is at %llu", partition,
                 who.id, who.generation, (unsigned long long)epoch, (unsigned long long)h->epoch);
    while (h->won.len <= epoch)
        VEC_PUSH(&h->won, ((struct node_ref){0, 0}));
    if (h->won.items[epoch].id)
        sim_fail(w, "P-1: partition %u: epoch %llu won by N%u:%u and by N%u:%u", partition,
                 (unsigned long long)epoch, h->won.items[epoch].id, h->won.items[epoch].generation, who.id,
                 who.generation);
    h->won.items[epoch] = who;
}

/* ---- after healing ---- */

/* By the log: somebody may have claimed and left without announcing it. */
static bool is_led(struct world *w, uint32_t partition, const struct epoch_metadata *m)
{
    const struct partition_history *h = &w->history[partition];
    struct announcement last = {0};
    for (size_t i = 0; i < h->log.len; i++)
        if (h->log.items[i].epoch > last.epoch)
            last = h->log.items[i];
    const struct node *n = last.node ? &w->nodes[last.node] : NULL;
    return n && n->up && n->generation == last.generation && configuration_has(&m->current, n->id) &&
           n->processors[partition].leads && n->processors[partition].epoch == last.epoch;
}

static bool is_candidate(const struct world *w, uint32_t id)
{
    return w->nodes[id].up && w->entries[id - 1].worker == WORKER_ACTIVE;
}

static bool is_placed(struct world *w, const struct epoch_metadata *m)
{
    unsigned candidates = 0, good = 0, zones = 0, zones_possible = 0;
    bool has[2] = {false, false}, could[2] = {false, false};
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        if (!is_candidate(w, id))
            continue;
        candidates++;
        could[id % 2] = true;
        if (configuration_has(&m->current, id)) {
            good++;
            has[id % 2] = true;
        }
    }
    zones = has[0] + has[1];
    zones_possible = could[0] + could[1];
    unsigned copies = replication_copies(&w->partitions.replication);
    unsigned wanted = replication_at(&w->partitions.replication, SCOPE_ZONE);
    if (wanted > zones_possible) /* too few: a dead member of the other zone keeps its place */
        return !m->has_next && good > 0;
    return !m->has_next && good >= MIN(copies, candidates) && m->current.n_replicas <= MAX(copies, good) &&
           zones >= wanted;
}

/* The first partition that is not led or not placed, for the message. */
static const char *describe(struct world *w)
{
    static char text[200];
    struct arena a = {0};
    struct epoch_metadata m;
    int at = snprintf(text, sizeof(text), "nothing is amiss");
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        if (!sim_kv_get(w, p, &a, &m)) {
            snprintf(text, sizeof(text), "partition %u does not exist", p);
            break;
        }
        if (is_led(w, p, &m) && is_placed(w, &m))
            continue;
        at = snprintf(text, sizeof(text), "partition %u %s, %s: e%llu N%u:%u %s current", p,
                      is_led(w, p, &m) ? "led" : "not led", is_placed(w, &m) ? "placed" : "not placed",
                      (unsigned long long)m.epoch, m.node_id, m.node_generation,
                      m.has_next ? "with next" : "");
        for (size_t i = 0; i < m.current.n_replicas && at < (int)sizeof(text); i++)
            at += snprintf(text + at, sizeof(text) - (size_t)at, " N%u", m.current.replicas[i]);
        break;
    }
    arena_free(&a);
    return text;
}

void sim_check_tick(struct world *w)
{
    bool led = true, placed = true;
    uint64_t since = now_ms(w) - w->healed_ms;
    struct arena a = {0};
    struct epoch_metadata m;
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        bool there = sim_kv_get(w, p, &a, &m);
        led = led && there && is_led(w, p, &m);
        placed = placed && there && is_placed(w, &m);
    }
    arena_free(&a);
    if (led && !w->led) {
        w->led = true;
        w->max_led_ms = since;
    }
    if (placed && !w->placed) {
        w->placed = true;
        w->max_placed_ms = since;
    }
    uint64_t led_ms = w->one_dead ? PLACED_MS : LED_MS;
    if (!w->led && since > led_ms)
        sim_fail(w, "V-1: not all partitions are led %llu ms after healing: %s", (unsigned long long)led_ms,
                 describe(w));
    if (!w->placed && since > PLACED_MS)
        sim_fail(w, "not all partitions are placed %u ms after healing: %s", PLACED_MS, describe(w));
    if (since > QUIET_AFTER_MS && (!led || !placed))
        sim_fail(w, "not all partitions are %s in the end: %s", led ? "placed" : "led", describe(w));
    if (since > QUIET_AFTER_MS && MAX(w->last_write_ms, w->last_hint_ms) > w->healed_ms + QUIET_AFTER_MS)
        sim_fail(w, "it does not come to rest");
}

void sim_check_end(struct world *w)
{
    uint32_t low = UINT32_MAX, high = 0, total = 0, candidates = 0;
    struct arena a = {0};
    struct epoch_metadata m;
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        uint32_t replicas = 0;
        for (uint32_t p = 0; p < w->n_partitions; p++) {
            ASSERT(sim_kv_get(w, p, &a, &m));
            replicas += configuration_has(&m.current, id);
            if (w->nodes[id].up && w->nodes[id].seen[p] != m.version)
                sim_fail(w, "N%u knows version %u of partition %u, the store has %u", id,
                         w->nodes[id].seen[p], p, m.version);
        }
        if (!is_candidate(w, id))
            continue;
        low = MIN(low, replicas);
        high = MAX(high, replicas);
        total += replicas;
        candidates++;
    }
    arena_free(&a);
    if (!w->zones && candidates && high - low > MAX(1u, total / candidates / 8))
        sim_fail(w, "replicas are uneven: %u and %u", low, high);
}

/* ---- a fail-over in quiet times ---- */

void sim_check_led(struct world *w, const char *when)
{
    struct arena a = {0};
    struct epoch_metadata m;
    for (uint32_t p = 0; p < w->n_partitions; p++)
        if (!sim_kv_get(w, p, &a, &m) || !is_led(w, p, &m))
            sim_fail(w, "B9: not all partitions are led %s: %s", when, describe(w));
    arena_free(&a);
}

/* The smallest number that the node with the most leaders can have; `limit`: one that can be had. */
static uint32_t best_maximum(struct world *w, uint32_t p, uint32_t *leads, uint32_t high, uint32_t limit)
{
    struct arena a = {0};
    struct epoch_metadata m;
    if (high >= limit)
        return limit;
    if (p == w->n_partitions)
        return high;
    ASSERT(sim_kv_get(w, p, &a, &m));
    for (size_t i = 0; i < m.current.n_replicas; i++) {
        uint32_t id = m.current.replicas[i];
        if (!is_candidate(w, id))
            continue;
        leads[id]++;
        limit = best_maximum(w, p + 1, leads, MAX(high, leads[id]), limit);
        leads[id]--;
    }
    arena_free(&a);
    return limit;
}

void sim_check_spread(struct world *w)
{
    uint32_t high = 0, none[NODES_MAX + 1] = {0};
    struct arena a = {0};
    struct epoch_metadata m;
    for (uint32_t p = 0; p < w->n_partitions; p++)
        if (sim_kv_get(w, p, &a, &m) && m.affinity_node)
            high = UINT32_MAX; /* pinned */
    arena_free(&a);
    if (high)
        return;
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        uint32_t leads = 0;
        for (uint32_t p = 0; p < w->n_partitions; p++)
            leads += w->nodes[id].up && w->nodes[id].processors[p].leads;
        high = MAX(high, leads);
    }
    uint32_t best = best_maximum(w, 0, none, 0, high);
    if (high > best)
        sim_fail(w, "leaders are uneven: a node leads %u partitions, %u would do", high, best);
}

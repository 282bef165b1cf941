/* The nodes as the controller sees them: configuration, and what the failure detector says now. */
#include <stdlib.h>

#include "bifrost/nodeset.h"
#include "controller/controller_internal.h"

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct placement_node *)a)->id, y = ((const struct placement_node *)b)->id;
    return x < y ? -1 : x > y;
}

/* Domains get the number of the first node that is in them. */
static void set_domains(struct placement_node *nodes, const struct location *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        nodes[i].domain[SCOPE_NODE] = (uint32_t)i;
        nodes[i].domain[SCOPE_REGION] = at[i].region[0] ? (uint32_t)i : NO_DOMAIN;
        nodes[i].domain[SCOPE_ZONE] = at[i].zone[0] ? (uint32_t)i : NO_DOMAIN;
        for (size_t k = i; k-- > 0;) {
            if (!at[i].region[0] || strcmp(at[i].region, at[k].region) != 0)
                continue;
            nodes[i].domain[SCOPE_REGION] = (uint32_t)k;
            if (at[i].zone[0] && strcmp(at[i].zone, at[k].zone) == 0)
                nodes[i].domain[SCOPE_ZONE] = (uint32_t)k;
        }
    }
}

static void set_roles(struct placement_node *n, struct controller_member *m, const struct node_entry *e)
{
    bool worker = !e->tombstone && (e->roles & ROLE_WORKER);
    m->worker = worker && e->worker == WORKER_ACTIVE;
    m->generation = e->generation;
    n->gone = !worker || e->worker == WORKER_DISABLED;
}

static void keep_what_was_seen(const struct controller *c, const struct placement_node *n,
                               struct controller_member *m)
{
    const struct controller_member *old = controller_member(c, n->id);
    if (!old)
        return;
    m->seen = old->seen;
    m->been_alive = old->been_alive;
    m->alive = old->alive;
    m->failing_over = old->failing_over;
    m->reachable = old->reachable;
    m->down_since_ms = old->down_since_ms;
    m->reached_ms = old->reached_ms;
}

void controller_set_nodes(struct controller *c, const struct nodes_config *config)
{
    size_t n = config->n_nodes;
    struct placement_node *nodes = xcalloc(n + 1, sizeof(*nodes));
    struct controller_member *members = xcalloc(n + 1, sizeof(*members));
    struct location *at = xcalloc(n + 1, sizeof(*at));
    struct arena arena = {0};
    for (size_t i = 0; i < n; i++)
        nodes[i].id = config->nodes[i].id;
    qsort(nodes, n, sizeof(*nodes), by_id);
    for (size_t i = 0; i < n; i++) {
        const struct node_entry *e = nodes_config_by_id(config, nodes[i].id);
        set_roles(&nodes[i], &members[i], e);
        keep_what_was_seen(c, &nodes[i], &members[i]);
        members[i].location = arena_copy_text(&arena, e->location ? e->location : "");
        if (!location_parse(slice_cstr(members[i].location), &at[i]))
            at[i] = (struct location){0};
    }
    set_domains(nodes, at, n);
    free(at);
    free(c->nodes.items);
    free(c->members);
    arena_free(&c->arena);
    c->arena = arena;
    c->nodes = (struct placement_nodes){nodes, n};
    c->members = members;
    c->have_nodes = true;
    c->changed_ms = env_mono_ms(c->env);
    controller_poke(c);
}

static void look_at(struct controller *c, struct placement_node *n, struct controller_member *m, uint64_t now)
{
    struct controller_node v = {0};
    c->ops->node(c->ctx, n->id, &v);
    bool alive = v.liveness == CONTROLLER_ALIVE, failing_over = v.liveness == CONTROLLER_FAILING_OVER;
    if (v.reachable_by_all || !m->alive)
        m->reached_ms = now; /* links of a node that comes up, or to it, come one after the other */
    if (!m->seen || m->alive != alive || m->failing_over != failing_over)
        c->changed_ms = now;
    if (!alive && (m->alive || !m->seen))
        m->down_since_ms = now;
    m->seen = true;
    m->been_alive |= alive;
    m->alive = alive;
    m->failing_over = failing_over;
    m->reachable = now - m->reached_ms < c->config.unreachable_after_ms;
    uint32_t patience = m->been_alive ? c->config.replace_after_ms : c->config.replace_unseen_ms;
    bool up = alive || now - m->down_since_ms < patience;
    n->candidate = m->worker && alive;
    n->keeps = m->worker && (up || CONTROLLER_MUTATED(CONTROLLER_MUT_NO_REPLACE));
}

void controller_look_at_nodes(struct controller *c)
{
    uint64_t now = env_mono_ms(c->env);
    for (size_t i = 0; i < c->nodes.len; i++)
        look_at(c, &c->nodes.items[i], &c->members[i], now);
}

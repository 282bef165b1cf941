/* Augmenting paths over the graph "a leads a partition that b could lead": see leaders.h. */
#include "controller/leaders.h"

#include <stdlib.h>

#include "base/rc.h"

#define NONE SIZE_MAX

struct graph {
    const struct leaders_partition *p;
    size_t n, n_nodes;
    size_t *edge; /* [from * n_nodes + to]: an index into `p`, or NONE */
    bool *moved;  /* by partition: has been in a move */
    uint32_t *queue, *parent;
};

static void connect(struct graph *g)
{
    for (size_t i = 0; i < g->n_nodes * g->n_nodes; i++)
        g->edge[i] = NONE;
    for (size_t i = 0; i < g->n; i++) {
        if (g->moved[i])
            continue;
        for (size_t k = 0; k < g->p[i].n_others; k++) {
            size_t *e = &g->edge[g->p[i].leader * g->n_nodes + g->p[i].others[k]];
            if (*e == NONE)
                *e = i;
        }
    }
}

/* Breadth first from `from`: the nearest node with at least two leaders fewer. */
static uint32_t search(struct graph *g, uint32_t from, const uint32_t *count)
{
    size_t head = 0, tail = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        g->parent[i] = LEADERS_NOBODY;
    g->parent[from] = from;
    g->queue[tail++] = from;
    while (head < tail) {
        uint32_t a = g->queue[head++];
        if (count[a] + 2 <= count[from])
            return a;
        for (uint32_t b = 0; b < g->n_nodes; b++) {
            if (g->parent[b] != LEADERS_NOBODY || g->edge[a * g->n_nodes + b] == NONE)
                continue;
            g->parent[b] = a;
            g->queue[tail++] = b;
        }
    }
    return LEADERS_NOBODY;
}

/* Moves one leader along each edge of the path that ends at `to`. Returns how many. */
static size_t shift(struct graph *g, uint32_t to, struct leaders_move *out, size_t room)
{
    size_t n = 0;
    for (uint32_t b = to; g->parent[b] != b; b = g->parent[b])
        n++;
    if (n > room)
        return 0;
    size_t k = 0;
    for (uint32_t b = to; g->parent[b] != b; b = g->parent[b]) {
        size_t i = g->edge[g->parent[b] * g->n_nodes + b];
        g->moved[i] = true;
        out[k++] = (struct leaders_move){g->p[i].partition, b};
    }
    return n;
}

/* One path, starting at the node with the most leaders that has one. */
static size_t step(struct graph *g, uint32_t *count, bool *stuck, struct leaders_move *out, size_t room)
{
    for (;;) {
        uint32_t from = LEADERS_NOBODY;
        for (uint32_t i = 0; i < g->n_nodes; i++)
            if (!stuck[i] && (from == LEADERS_NOBODY || count[i] > count[from]))
                from = i;
        if (from == LEADERS_NOBODY)
            return 0;
        uint32_t to = search(g, from, count);
        size_t n = to == LEADERS_NOBODY ? 0 : shift(g, to, out, room);
        if (n) {
            count[from]--;
            count[to]++;
            return n;
        }
        stuck[from] = true;
    }
}

size_t leaders_balance(const struct leaders_partition *p, size_t n, uint32_t *count, size_t n_nodes,
                       struct leaders_move *out, size_t max)
{
    struct graph g = {.p = p,
                      .n = n,
                      .n_nodes = n_nodes,
                      .edge = xcalloc(n_nodes * n_nodes + 1, sizeof(*g.edge)),
                      .moved = xcalloc(n + 1, sizeof(*g.moved)),
                      .queue = xcalloc(n_nodes + 1, sizeof(*g.queue)),
                      .parent = xcalloc(n_nodes + 1, sizeof(*g.parent))};
    bool *stuck = xcalloc(n_nodes + 1, sizeof(*stuck));
    size_t done = 0, more = 1;
    while (more && done < max) {
        connect(&g);
        more = step(&g, count, stuck, out + done, max - done);
        done += more;
    }
    free(stuck);
    free(g.edge);
    free(g.moved);
    free(g.queue);
    free(g.parent);
    return done;
}

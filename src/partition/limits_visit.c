/* Counters and lines of scoped invocations for SQL: see limits.h. */
#include "partition/limits_internal.h"

/* Held entries below `n` that no counter below `n` holds back. */
static uint64_t reaching(const struct limit_node *n)
{
    uint64_t sum = 0;
    for (struct omap_node *f = omap_first(&n->flows); f; f = omap_next(f))
        sum += limit_flow_of(f)->paused ? 0 : limit_flow_of(f)->entries.count;
    for (struct omap_node *c = omap_first(&n->children); c; c = omap_next(c))
        if (!limits_full(limit_node_of(c)))
            sum += reaching(limit_node_of(c));
    return sum;
}

struct counter_visit {
    void (*visit)(void *ctx, const struct limit_counter *c);
    void *ctx;
};

static void visit_counters(const struct limit_node *n, const struct counter_visit *v)
{
    struct limit_counter c = {.level = n->depth,
                              .usage = n->usage,
                              .limit = n->limit,
                              .pattern = n->pattern,
                              .waiting = limits_full(n) ? reaching(n) : 0};
    limits_node_address(n, &c.address);
    v->visit(v->ctx, &c);
    for (struct omap_node *m = omap_first(&n->children); m; m = omap_next(m))
        visit_counters(limit_node_of(m), v);
}

void limits_visit_counters(const struct limits *l, void (*visit)(void *ctx, const struct limit_counter *c),
                           void *ctx)
{
    struct counter_visit v = {visit, ctx};
    for (struct omap_node *n = omap_first(&l->scopes); n; n = omap_next(n))
        visit_counters(limit_node_of(n), &v);
}

static void visit_line(const struct limit_flow *f, void (*visit)(void *ctx, const struct limit_line *line),
                       void *ctx)
{
    struct limit_line line = {.waiting = f->entries.count,
                              .head = CONTAINER_OF(limits_first(&f->entries), struct limit_entry, fair)->id};
    limits_node_address(f->node, &line.address);
    line.address.service = f->service;
    for (const struct limit_node *n = f->node; n && !line.blocked; n = n->parent) {
        line.blocked = limits_full(n);
        line.level = n->depth;
        line.pattern = n->pattern;
    }
    visit(ctx, &line);
}

static void visit_lines(const struct limit_node *n, void (*visit)(void *ctx, const struct limit_line *line),
                        void *ctx)
{
    for (struct omap_node *f = omap_first(&n->flows); f; f = omap_next(f))
        if (!limit_flow_of(f)->paused)
            visit_line(limit_flow_of(f), visit, ctx);
    for (struct omap_node *c = omap_first(&n->children); c; c = omap_next(c))
        visit_lines(limit_node_of(c), visit, ctx);
}

void limits_visit_lines(const struct limits *l, void (*visit)(void *ctx, const struct limit_line *line),
                        void *ctx)
{
    for (struct omap_node *n = omap_first(&l->scopes); n; n = omap_next(n))
        visit_lines(limit_node_of(n), visit, ctx);
}

/* Paused queues of scopes: see limits.h. */
#include <stdlib.h>

#include "base/hash.h"
#include "partition/limits_internal.h"
#include "partition/limits_mutations.h"

struct paused_queue {
    struct omap_node by_id;
    struct invocation_id id;
};

struct invocation_id limits_queue_id(const struct limit_address *a)
{
    struct writer w = WRITER_INIT;
    write_lp(&w, a->scope);
    write_lp(&w, a->service);
    write_lp(&w, a->l1);
    write_lp(&w, a->l2);
    struct invocation_id queue = {.partition_key = partition_key_of_key(a->scope)};
    queue.uuid.hi = hash64(writer_slice(&w));
    write_u8(&w, 1);
    queue.uuid.lo = hash64(writer_slice(&w));
    writer_free(&w);
    return queue;
}

static struct paused_queue *paused_of(const struct omap_node *n)
{
    return CONTAINER_OF(n, struct paused_queue, by_id);
}

static int paused_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return invocation_id_cmp(paused_of(a)->id, paused_of(b)->id);
}

static int paused_key_cmp(const void *key, const struct omap_node *n)
{
    return invocation_id_cmp(*(const struct invocation_id *)key, paused_of(n)->id);
}

/* The flows of a queue that changed below `n`: one, or none. */
static void renew_flows(struct limits *l, struct limit_node *n, struct invocation_id queue, bool paused)
{
    struct limit_address a;
    limits_node_address(n, &a);
    for (struct omap_node *f = omap_first(&n->flows); f; f = omap_next(f)) {
        struct limit_flow *flow = limit_flow_of(f);
        a.service = flow->service;
        if (!invocation_id_eq(limits_queue_id(&a), queue))
            continue;
        flow->paused = paused;
        limits_place_flow(l, flow);
    }
    for (struct omap_node *c = omap_first(&n->children); c; c = omap_next(c))
        renew_flows(l, limit_node_of(c), queue, paused);
}

static void renew_queue(struct limits *l, struct invocation_id queue, bool paused)
{
    for (struct omap_node *n = omap_first(&l->scopes); n; n = omap_next(n))
        if (partition_key_of_key(limit_node_of(n)->name) == queue.partition_key)
            renew_flows(l, limit_node_of(n), queue, paused);
}

bool limits_pause(struct limits *l, struct invocation_id queue)
{
    if (limits_paused(l, queue))
        return true;
    if (l->paused.count >= QUEUES_PAUSED_MAX)
        return false;
    struct paused_queue *p = xcalloc(1, sizeof(*p));
    p->id = queue;
    omap_insert(&l->paused, &p->by_id);
    renew_queue(l, queue, true);
    return true;
}

void limits_resume(struct limits *l, struct invocation_id queue)
{
    struct omap_node *n = omap_find(&l->paused, &queue, paused_key_cmp);
    if (!n)
        return;
    omap_remove(&l->paused, n);
    free(paused_of(n));
    if (!LIMITS_BROKEN(STAYS_PAUSED))
        renew_queue(l, queue, false);
}

bool limits_paused(const struct limits *l, struct invocation_id queue)
{
    return omap_find(&l->paused, &queue, paused_key_cmp) != NULL;
}

size_t limits_paused_count(const struct limits *l)
{
    return l->paused.count;
}

void limits_visit_paused(const struct limits *l, void (*visit)(void *ctx, struct invocation_id queue),
                         void *ctx)
{
    for (struct omap_node *n = omap_first(&l->paused); n; n = omap_next(n))
        visit(ctx, paused_of(n)->id);
}

void limits_pauses_init(struct limits *l)
{
    omap_init(&l->paused, paused_cmp);
}

void limits_pauses_free(struct limits *l)
{
    while (l->paused.root) {
        struct paused_queue *p = paused_of(l->paused.root);
        omap_remove(&l->paused, &p->by_id);
        free(p);
    }
}

/* Collecting reports of partitions: see partition_reports.h. */
#include "node/partition_reports.h"

#include <stdlib.h>

#include "node/node_internal.h"

struct collection {
    struct node *node;
    struct partition_report *items;
    bool *present;
    size_t n;
    uint32_t waiting;
    struct env_task task; /* answers later when there is nobody to ask */
    void (*done)(void *ctx, struct node *n, const struct partition_reports *r);
    void *ctx;
};

static void finish(struct collection *c)
{
    struct partition_reports r = {c->items, c->present, c->n};
    c->done(c->ctx, c->node, &r);
    free(c->items);
    free(c->present);
    free(c);
}

static void arrived(void *ctx, const struct partition_report *reports, size_t n)
{
    struct collection *c = ctx;
    for (size_t i = 0; i < n; i++) {
        ASSERT(reports[i].id < c->n);
        c->items[reports[i].id] = reports[i];
        c->present[reports[i].id] = true;
    }
    if (--c->waiting == 0)
        finish(c);
}

static void nobody(struct env_task *t)
{
    finish(CONTAINER_OF(t, struct collection, task));
}

void partition_reports_collect(struct node *n,
                               void (*done)(void *ctx, struct node *n, const struct partition_reports *r),
                               void *ctx)
{
    struct collection *c = xcalloc(1, sizeof(*c));
    c->node = n;
    c->done = done;
    c->ctx = ctx;
    c->n = n->joined.n_partitions;
    c->items = xcalloc(c->n + 1, sizeof(*c->items));
    c->present = xcalloc(c->n + 1, sizeof(*c->present));
    c->waiting = n->shards_ready == n->n_shards ? n->n_shards : 0;
    uint32_t asked = c->waiting;
    env_task_init(&c->task, nobody);
    if (c->waiting == 0)
        env_defer(n->env, &c->task);
    for (uint32_t i = 0; i < asked; i++)
        shard_report(n->shards[i], n->loop, arrived, c);
}

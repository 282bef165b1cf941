/* Structures and helpers that the files of limits.h share: limits.c (entries, counters, rules),
 * limits_pause.c (paused queues), limits_visit.c (for SQL). */
#pragma once
#include "partition/limits.h"
#include "wire/scope.h"

#define DEPTHS 3

struct rule {
    struct slice pattern;
    uint32_t limit;
};

/* The counter of a scope, or of a level of its limit keys. A scope's is the root of a tree. */
struct limit_node {
    struct limit_node *parent;
    struct omap_node by_name; /* among the parent's children, or the scopes */
    struct omap children;     /* limit_node */
    struct omap flows;        /* limit_flow: entries with exactly this limit key */
    struct omap ready; /* fair: children and flows from which an entry could run but for this counter and
                          those above */
    struct fair fair;  /* in the parent's `ready`, or in `runnable` */
    uint64_t waiting;  /* held entries at or below */
    uint32_t usage, limit;
    struct slice pattern; /* of the rule, into `rules` */
    unsigned depth;
    struct slice name;
    uint8_t text[LABEL_MAX];
};

/* Entries of one service that wait with one limit key. */
struct limit_flow {
    struct limit_node *node;
    struct omap_node by_service;
    struct omap entries; /* fair */
    struct fair fair;    /* in node->ready */
    bool paused;
    struct slice service;
    uint8_t text[];
};

struct limits {
    struct omap paused;   /* paused_queue */
    struct omap scopes;   /* limit_node */
    struct omap runnable; /* fair: scopes in which somebody may run now */
    size_t held;
    struct bytes encoded;
    struct rule *rules; /* by pattern */
    size_t n_rules;
};

static inline struct limit_node *limit_node_of(const struct omap_node *n)
{
    return CONTAINER_OF(n, struct limit_node, by_name);
}
static inline struct limit_flow *limit_flow_of(const struct omap_node *n)
{
    return CONTAINER_OF(n, struct limit_flow, by_service);
}
/* The first in a line; NULL: nobody stands there. */
static inline const struct fair *limits_first(const struct omap *line)
{
    const struct omap_node *n = omap_first(line);
    return n ? CONTAINER_OF(n, struct fair, node) : NULL;
}
bool limits_full(const struct limit_node *n);
void limits_node_address(const struct limit_node *n, struct limit_address *out); /* without service */
/* After flow->paused changed. */
void limits_place_flow(struct limits *l, struct limit_flow *f);
/* ---- limits_pause.c ---- */
void limits_pauses_init(struct limits *l);
void limits_pauses_free(struct limits *l);
/* Costs nothing while no queue is paused. */
static inline bool limits_address_paused(const struct limits *l, const struct limit_address *a)
{
    return l->paused.count > 0 && limits_paused(l, limits_queue_id(a));
}

/* A node in one of its lives (spec/cluster.md §1.2): the plain id names the node for ever, the generation
 * goes up by one with each start of its process. Printed `N3:2`. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct node_ref {
    uint32_t id;         /* 0: none */
    uint32_t generation; /* 0: unknown */
};

static inline bool node_ref_eq(struct node_ref a, struct node_ref b)
{
    return a.id == b.id && a.generation == b.generation;
}

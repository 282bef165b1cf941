/* The small models of spec/cluster.md §11.3, each in files of its own; run by models.c. */
#pragma once
#include "sim/explore.h"

struct model_part { /* a model within one bound */
    const char *model, *bound;
    void (*run)(struct explore *x, void *ctx);
    const void *ctx;
    bool quick; /* in CI; the others by `make models` */
};
struct model_mutation { /* a wrong that must be found */
    const char *model;
    unsigned wrong;
    void (*run)(struct explore *x, void *ctx);
    const void *ctx;
};
struct model {
    const struct model_part *parts;
    size_t n_parts;
    const struct model_mutation *mutations;
    size_t n_mutations;
    const char *(*wrong_name)(unsigned wrong);
};
extern const struct model model_segment, model_chain, model_leadership, model_raft, model_snapshot;

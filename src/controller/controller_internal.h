/* Shared by the files of the controller. */
#pragma once
#include "base/metrics.h"
#include "controller/controller.h"
#include "controller/leaders.h"
#include "controller/placement.h"

#define CONTROLLER_LOG "restate_controller"

/* Rules that can be switched off, built only into the simulator's copy, to show that its checkers notice. */
enum controller_mutation {
    CONTROLLER_MUT_NONE,
    CONTROLLER_MUT_BLIND_WRITE,    /* writes do not compare versions */
    CONTROLLER_MUT_NEXT_VERSION,   /* a new `next` has the version of the one it replaces */
    CONTROLLER_MUT_CANCEL_NEXT,    /* a `next` that is not wanted any more is dropped */
    CONTROLLER_MUT_COMPLETE_BLIND, /* `current` becomes what is wanted, not what `next` was */
    CONTROLLER_MUT_NO_REPLACE,     /* dead members are not replaced */
    CONTROLLER_MUT_FICKLE_LEADER,  /* leaders are chosen anew each time */
    CONTROLLER_MUT_FICKLE_SET,     /* replica sets are chosen anew each time, by time */
    CONTROLLER_MUT_THAW,           /* frozen placements are changed */
    CLAIM_MUT_TIMEOUT_IS_YES,      /* an undecided claim is taken for ours */
    CLAIM_MUT_NODE_IS_ENOUGH,      /* reading back does not look at the generation and the epoch */
    CLAIM_MUT_ANYBODY,             /* nodes claim that are not members */
    EPOCHS_MUT_BACKWARDS,          /* the cache takes older values */
};
#ifdef CONTROLLER_MUTATIONS
extern enum controller_mutation controller_mutation;
#define CONTROLLER_MUTATED(m) (controller_mutation == (m))
#else
#define CONTROLLER_MUTATED(m) false
#endif

/* What is known of a node, beside placement_node of the same index. */
struct controller_member {
    uint32_t generation;
    bool worker; /* an active one */
    bool failing_over, alive, reachable;
    bool seen;              /* looked at before */
    bool been_alive;        /* in the time of this process */
    uint64_t down_since_ms; /* if not alive */
    uint64_t reached_ms;    /* when it was reachable by all last */
    uint32_t leaders;       /* leads, or is chosen to */
    const char *location;   /* in the arena of the nodes */
};

#define CONTROLLER_FAILED_MAX 4u
struct controller_slot {
    bool writing;
    struct placement_set written; /* the set in the write under way: counts for the load */
    bool settled;                 /* the last look found nothing to write */

    uint32_t next_version; /* of the `next` that waits */
    uint64_t next_since_ms;
    uint64_t claim_epoch;    /* the last claim seen in the metadata, */
    uint64_t claim_since_ms; /* and since when */

    /* Node ids; 0: none. */
    uint32_t leader; /* by the last look */
    uint32_t target; /* who shall lead */
    bool moving;     /* to even out the spread, although the leader is good */
    bool hinted;
    uint64_t target_since_ms, hinted_ms;
    struct { /* those who were target and did not lead in time, the last ones */
        uint32_t id;
        uint64_t at_ms;
    } failed[CONTROLLER_FAILED_MAX];
    unsigned n_failed;
};

struct controller_sync;
struct controller {
    struct env *env;
    struct kv *kv;
    struct epochs *epochs;
    struct controller_config config;
    const struct controller_ops *ops;
    void *ctx;
    struct epochs_listener listener;

    bool active, loaded, closed, have_nodes, have_table;
    uint64_t active_since_ms, changed_ms; /* when something about the nodes last changed */
    struct node_ref leader;
    struct epochs_wait load;
    bool loading;

    struct arena arena; /* of the locations */
    struct placement_nodes nodes;
    struct controller_member *members; /* of the same length */
    struct replication replication;
    struct controller_slot *slots;
    uint32_t n_partitions;

    uint32_t writing;
    uint64_t paused_until_ms; /* the store refused */
    uint32_t pause_ms;
    struct list syncs;
    uint32_t n_syncs;

    struct env_task pass, refuse;
    struct env_timer tick;
    uint64_t passed_ms;
    struct controller_stats stats;
    struct {
        struct metric *writes, *conflicts, *hints, *leaderless, *unsettled;
    } metrics;
};

static inline struct controller_member *controller_member(const struct controller *c, uint32_t id)
{
    const struct placement_node *n = placement_find(&c->nodes, id);
    return n ? &c->members[n - c->nodes.items] : NULL;
}
static inline void controller_replica(const struct controller *c, uint32_t node, uint32_t partition,
                                      struct controller_replica *out)
{
    *out = (struct controller_replica){0};
    c->ops->replica(c->ctx, node, partition, out);
    if (!out->known)
        *out = (struct controller_replica){0};
}

/* controller_nodes.c: what the view says of the nodes now. */
void controller_look_at_nodes(struct controller *c);

/* controller_place.c: decide about all partitions, and write. */
void controller_place(struct controller *c);

/* controller_lead.c: choose leaders and send hints. */
void controller_lead(struct controller *c);

/* controller_write.c: compare-and-swap. `expected`: the version to be replaced; 0: there is none. */
void controller_write(struct controller *c, uint32_t partition, uint32_t expected,
                      const struct epoch_metadata *m);
/* False: enough are under way, or the store refused a moment ago. */
bool controller_may_write(const struct controller *c);

/* controller.c */
void controller_free_if_idle(struct controller *c);

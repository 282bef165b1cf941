/* The cluster controller (spec/cluster.md §4.3 to §4.5, §8): decides which nodes hold each partition and
 * which of them leads it. Runs on every admin node; the active one is the alive admin node with the smallest
 * id, by that node's own failure detector. There is no lease, two may be active at the same time: every write
 * is a compare-and-swap of pp_epoch_<p>, every command to a node a hint that it may ignore or fail. So what
 * the detector says can cost time, never an invariant (F-1).
 *
 * Placement, per partition (reaction table of §4.4):
 *
 *   no configuration                            write `current`, with what is available
 *   wanted set or replication is another        write `next` (a newer one if there is a `next` already)
 *   `next` can serve                            current := next
 *   too few candidates                          members that will come back stay, what is available is added
 *   placement frozen                            nothing but the completion of what the operator prepared
 *   the value was deleted                       written again as it was last seen
 *
 * A member keeps its place while it is an active worker and has not been down for longer than
 * `replace_after_ms` (when a cluster starts, nodes that are late get more time); what is missing goes where
 * the load is lowest (controller/placement.h). When nothing else is going on, replicas move from the fullest
 * to the emptiest nodes, a few at a time, if the difference is more than an eighth of the average. `next` can
 * serve when all its alive members have caught up; or some have, and the others took longer than
 * `complete_after_ms` or nobody of `current` is alive; or nobody of `current` will come back.
 *
 * Leaders, per partition, among the alive members of `current`: best is caught up, then the operator's
 * affinity, then reachable by all (until lately, or again). A leader stays unless another is better in this
 * sense. Whoever has to be chosen anew is chosen so that leaders are even, preferring those who are in `next`
 * too and stay workers. A node that fails over counts as not alive. Frozen: the last claimer stays. When all
 * is quiet, leaders move to caught-up replicas until the spread is even, a few at a time
 * (controller/leaders.h).
 *
 * Everything on the loop of `env`, the one of the key-value store. */
#pragma once
#include "controller/epochs.h"
#include "wire/node_ref.h"

struct controller_config {      /* 0: the default */
    uint32_t replace_after_ms;  /* 3 s: down for so long, a member is replaced */
    uint32_t replace_unseen_ms; /* 10 s: the same for those not seen alive since this process started */
    uint32_t complete_after_ms; /* 5 s: patience with the slowest member of `next` */
    uint32_t lead_patience_ms;  /* 3 s: chosen for so long and not leading, another is tried */
    uint32_t
        unreachable_after_ms; /* 2 s: not reachable by all for so long, others are preferred as leaders */
    uint32_t lead_repeat_ms;  /* 500 ms: pause between two hints to the same node */
    uint32_t quiet_ms;        /* 2 s: without changes of nodes, before anything is evened out */
    uint32_t tick_ms;         /* 250 ms: between two looks when nothing is reported */
    uint32_t parallel;        /* 32: writes at the same time */
};

enum controller_liveness { CONTROLLER_DEAD, CONTROLLER_FAILING_OVER, CONTROLLER_ALIVE };
struct controller_node {
    enum controller_liveness liveness;
    bool
        reachable_by_all; /* false: some alive node has not reached it for a while (§3.2 partial partition) */
};
struct controller_replica {
    bool known;     /* the present process of the node has reported about the partition */
    bool caught_up; /* status Active: it has reached the tail */
    bool leads;     /* it is leader: has read its own announcement back */
    uint64_t epoch; /* the highest leader epoch it has read in the log; if it leads, its own */
    uint64_t applied_lsn;
};
struct controller_ops {
    /* The view of this node; called often, answers from memory. */
    void (*node)(void *ctx, uint32_t node, struct controller_node *out);
    void (*replica)(void *ctx, uint32_t node, uint32_t partition, struct controller_replica *out);
    /* Ask the node to claim the leadership of the partition. A node that leads it or is about to ignores
     * that. */
    void (*lead)(void *ctx, uint32_t node, uint32_t partition);
    /* A newer value of the epoch metadata was read or written by this node. May be NULL. */
    void (*placement_changed)(void *ctx, uint32_t partition, const struct epoch_metadata *m);
};
struct controller;
struct controller *controller_new(struct env *env, struct kv *kv, struct epochs *epochs,
                                  const struct controller_config *config, const struct controller_ops *ops,
                                  void *ctx);
/* Before epochs_free. Callers waiting in controller_sync are answered RC_CLOSED. Writes in flight may end
 * later; the key-value store is closed after this. */
void controller_free(struct controller *c);

/* Copied. Until both are given, nothing happens. */
void controller_set_nodes(struct controller *c, const struct nodes_config *nodes);
void controller_set_table(struct controller *c, const struct partition_table *table);
/* `leader`: who is, for the log line; id 0: nobody. */
void controller_set_active(struct controller *c, bool active, struct node_ref leader);
/* Liveness or statuses changed. Cheap, call it each time, also while not active: all controllers keep track
 * of who is down since when. */
void controller_poke(struct controller *c);
/* A hint that the metadata store has this version. */
void controller_epoch_changed(struct controller *c, uint32_t partition, uint32_t version);

/* SyncEpochMetadata: read the epoch metadata again and do at once what there is to do. `done` runs later,
 * once: NULL on success, RC_NOT_LEADER if this controller is not active, or what the store said. */
#define CONTROLLER_ALL_PARTITIONS UINT32_MAX
#define CONTROLLER_SYNCS_MAX      1024u /* waiting; above RC_OVERLOADED */
void controller_sync(struct controller *c, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                     void *ctx);

/* For reports and metrics. */
struct controller_stats {
    uint64_t passes, writes, conflicts, undecided, hints;
    uint32_t leaderless; /* partitions without a leader, at the last look of an active controller */
    uint32_t unsettled;  /* with a `next`, or without a configuration */
    bool active;
};
void controller_stats(const struct controller *c, struct controller_stats *out);

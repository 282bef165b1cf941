/* Where the replicas of partitions belong (spec/cluster.md §4.2, §4.4): pure functions over a list of nodes
 * and a set of members.
 *
 * Who holds a partition keeps it as long as it may; what is missing goes to the node with the fewest
 * replicas, ties to the highest hash of (partition, node). So the placement of a fresh cluster is even and
 * the same whoever computes it, and later changes move only what must move. */
#pragma once
#include "metadata/replication.h"

#define PLACEMENT_MAX 255u /* replicas of a partition: the largest replication property */
#define NO_DOMAIN     UINT32_MAX

struct placement_node {
    uint32_t id;
    /* By scope: the number of its domain, the same for nodes of one domain; NO_DOMAIN: no label there. The
     * node scope's is not used. */
    uint32_t domain[SCOPES];
    bool candidate;    /* may get new replicas: alive, an active worker */
    bool keeps;        /* may keep those it has: an active worker, alive or not down for long */
    bool gone;         /* will not come back as a worker: removed, disabled */
    uint32_t replicas; /* that it has or will have: the load */
};
struct placement_nodes {
    struct placement_node *items; /* by id, ascending */
    size_t len;
};
struct placement_node *placement_find(const struct placement_nodes *n,
                                      uint32_t id); /* NULL: unknown = gone */

struct placement_set {
    uint32_t ids[PLACEMENT_MAX];
    unsigned len;
};
bool placement_set_has(const struct placement_set *s, uint32_t id);
/* The same nodes, in whatever order. */
bool placement_set_is(const struct placement_set *s, const uint32_t *ids, size_t n);

/* At every scope that the property names, the nodes span at least so many domains. */
bool placement_satisfies(const struct placement_nodes *n, const struct replication *r,
                         const struct placement_set *s);

struct placement_wish {
    uint32_t partition;
    struct replication replication;
    const uint32_t *members; /* in the order of the replica set */
    size_t n_members;
    uint32_t leader; /* kept if anybody can be; 0: none */
};
/* The set that the partition should have: the members that may stay, in their order, then new ones.
 *
 * Too few candidates for the property: members that will come back stay too, and what is available is added,
 * up to the number of copies. Empty only if there is neither. */
void placement_choose(const struct placement_nodes *n, const struct placement_wish *w,
                      struct placement_set *out);

/* A swap that makes the load more even: from the member with the most replicas to the candidate with the
 * fewest, if they differ by more than `slack` (>= 1) and the property still holds. The leader is taken from
 * only with `move_leader`. False: there is none. */
bool placement_swap(const struct placement_nodes *n, const struct placement_wish *w, uint32_t slack,
                    bool move_leader, struct placement_set *out, uint32_t *from, uint32_t *to);

/* The order of nodes for a partition, among equals. */
uint64_t placement_hash(uint32_t partition, uint32_t node);

/* Spreading leaders evenly: a pure function over who leads what and who else could (spec/cluster.md §4.5). */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define LEADERS_NOBODY UINT32_MAX

/* One partition whose leader may be moved. Nodes are numbers below `n_nodes`. */
struct leaders_partition {
    uint32_t partition;
    uint32_t leader;
    const uint32_t *others; /* that could lead it as well as the leader */
    size_t n_others;
};
struct leaders_move {
    uint32_t partition, to;
};
/* Up to `max` moves (at least as many as nodes, or chains are not found), each of another partition, that
 * make the numbers of leaders more even, `count[node]` being those of now (partitions that may not be moved
 * included). A node gives a leader away only to a chain of moves that ends at a node with at least two fewer,
 * so that it comes to rest: when no moves are returned, no node leads two more than another that could take
 * over from it, directly or through others. Updates `count`. Returns the number of moves. */
size_t leaders_balance(const struct leaders_partition *p, size_t n, uint32_t *count, size_t n_nodes,
                       struct leaders_move *out, size_t max);

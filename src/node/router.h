/* Which node, and which loop of this node, leads which partition, and the router that carries requests there
 * and answers back (partition/rpc.h; spec/cluster.md §4.8). One router per loop. */
#pragma once
#include "loop/loop.h"
#include "partition/processor.h"

/* Where a partition lives. `processor` is read and written on `loop` only. */
struct partition_slot {
    struct loop *loop;
    struct processor *processor; /* NULL until opened */
    uint64_t key_start, key_end;
    /* Who leads it as far as this node knows, 0: nobody. Written by the main loop. */
    _Atomic uint32_t leader_node;
};
struct partition_map {
    struct partition_slot *slots;
    uint32_t count;
    uint32_t node_id; /* of this node; 0: there are no others */
};
struct partition_map *partition_map_new(uint32_t count);
void partition_map_free(struct partition_map *m);
void partition_map_set_leader(struct partition_map *m, uint32_t partition, uint32_t node);
/* The node other than this one that leads the partition; 0: this one, or nobody is known. */
static inline uint32_t partition_slot_elsewhere(const struct partition_map *m, const struct partition_slot *s)
{
    uint32_t leader = atomic_load_explicit(&s->leader_node, memory_order_relaxed);
    return m->node_id && leader != m->node_id ? leader : 0;
}
uint32_t partition_map_find(const struct partition_map *m, uint64_t partition_key);

/* A router for requests submitted on `loop`. Without knowledge of a leader the partition on this node is
 * asked, if there is one. */
struct partition_router *router_new(struct loop *loop, struct partition_map *map);
struct remote_calls;
/* Requests to partitions that other nodes lead take this way; NULL (at first): they are RC_UNAVAILABLE. */
void router_set_remote(struct partition_router *r, struct remote_calls *remote);
/* As partition_router_submit and _cancel, but never to another node: RC_NOT_LEADER instead. */
void router_submit_here(struct partition_router *r, struct partition_rpc *rpc);
void router_cancel_here(struct partition_router *r, struct partition_rpc *rpc);
void router_free(struct partition_router *r);

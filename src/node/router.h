/* Which loop leads which partition, and the router that carries requests there and answers back
 * (partition/rpc.h). One router per loop. */
#pragma once
#include "loop/loop.h"
#include "partition/processor.h"

/* Where a partition lives. `processor` is read and written on `loop` only. */
struct partition_slot {
    struct loop *loop;
    struct processor *processor; /* NULL until opened */
    uint64_t key_start, key_end;
    _Atomic uint32_t
        leader_node; /* who leads it as far as this node knows, 0: nobody. Written by the main loop */
};
struct partition_map {
    struct partition_slot *slots;
    uint32_t count;
};
struct partition_map *partition_map_new(uint32_t count);
void partition_map_free(struct partition_map *m);
void partition_map_set_leader(struct partition_map *m, uint32_t partition, uint32_t node);
uint32_t partition_map_find(const struct partition_map *m, uint64_t partition_key);

/* A router for requests submitted on `loop`. */
struct partition_router *router_new(struct loop *loop, struct partition_map *map);
void router_free(struct partition_router *r);

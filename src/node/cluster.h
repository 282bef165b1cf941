/* This node as one of a cluster: follows who is alive (membership/), tells the others about its partitions
 * and versions, runs the replicas that the epoch metadata assigns to it, claims leaderships it is asked to
 * take (spec/cluster.md §4.4 to §4.7), and hosts the cluster controller on admin nodes (controller/). Glue
 * between cores; on the main loop, from joining to the end of the process. */
#pragma once
#include "controller/controller.h"
#include "membership/membership.h"

struct node;
struct cluster;

struct cluster *cluster_new(struct node *n);
/* Nothing is decided or sent any more. After the shards are gone. */
void cluster_close(struct cluster *c);
/* After the key-value store was closed, which ends the operations in progress. */
void cluster_free(struct cluster *c);
/* NULL after cluster_close. */
struct membership *cluster_membership(struct cluster *c);
const struct epochs *cluster_epochs(const struct cluster *c);

/* The shards can run replicas from now on. */
void cluster_start(struct cluster *c);
/* The view of nodes, logs or partition table is newer. */
void cluster_metadata_changed(struct cluster *c);
void cluster_schema_changed(struct cluster *c, uint32_t version);
/* A value of the metadata was read, written or applied here. */
void cluster_seen(struct cluster *c, const struct kv_entry *entry);
/* Replicas of this node began or ceased to run or to lead. */
void cluster_replicas_changed(struct cluster *c);

/* From the links. */
void cluster_gossip(struct cluster *c, struct slice message);
void cluster_lead(struct cluster *c, uint16_t partition);
void cluster_peer_seen(struct cluster *c, struct node_ref node);
void cluster_peer_lost(struct cluster *c, struct node_ref node, bool gone);

/* Every partition has a leader, as far as this node knows. */
bool cluster_all_led(const struct cluster *c);
/* SyncEpochMetadata: as controller_sync; RC_NOT_LEADER without a controller. */
void cluster_sync(struct cluster *c, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                  void *ctx);

/* Graceful stop (§1.11): tell everybody, so that others take the leaderships over; `done` once, when this
 * node leads nothing any more, or nobody could, or at the latest after `timeout_ms`. Replicas go on
 * meanwhile. */
void cluster_leave(struct cluster *c, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx);

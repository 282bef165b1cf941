/* Snapshots on a node (spec/cluster.md §6): the repository that is configured, opened once per shard loop,
 * the threads and the export slots that the loops share, and the durability mode in force. */
#pragma once
#include "loop/workers.h"
#include "node/config.h"
#include "partition/snapshot_agent.h"

struct node_snapshots;
/* Is `worker.snapshots` something this server can use? Before anything is started. RC_INVALID,
 * RC_UNSUPPORTED. */
enum rc node_snapshots_check(const struct node_config *config, struct err *err);
/* Main loop, when the cluster is known. Empties the scratch directory `data_dir`/pp-snapshots, warns of what
 * is unusual. `config` must outlive it. */
enum rc node_snapshots_new(const struct node_config *config, const char *data_dir, uint64_t fingerprint,
                           struct node_snapshots **out, struct err *err);
/* All shard_snapshots are closed. Joins the threads. */
void node_snapshots_free(struct node_snapshots *s);

/* Any thread. Does the cluster have more than one worker or more than one copy of its logs? It decides the
 * mode when none is configured. Until told it has not. */
void node_snapshots_set_cluster(struct node_snapshots *s, bool cluster);
bool node_snapshots_is_cluster(const struct node_snapshots *s);
/* Any thread. */
enum durability_mode node_snapshots_mode(const struct node_snapshots *s);
/* To be called about every second on the main loop: in a cluster without a repository, a warning every 60 s.
 */
void node_snapshots_warn(struct node_snapshots *s, uint64_t now_mono_ms);

/* What one loop has of it. */
struct shard_snapshots {
    struct snapshot_repository *repository; /* NULL: none is configured */
    struct snapshot_agent *agent;
    struct job_runner *jobs; /* private */
    void (*closed)(void *ctx);
    void *closed_ctx;
};
/* On the loop. */
enum rc shard_snapshots_open(struct node_snapshots *s, struct loop *loop, struct shard_snapshots *out,
                             struct err *err);
void shard_snapshots_configure(struct shard_snapshots *s, const struct snapshot_config *config);
/* All partitions were removed from the agent. What is under way is broken off; `done`, possibly from inside,
 * when nothing is. */
void shard_snapshots_close(struct shard_snapshots *s, void (*done)(void *ctx), void *ctx);

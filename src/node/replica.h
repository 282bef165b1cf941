/* One partition replica on the shard that owns it: opens its log and store, runs the processor, is the
 * processor's host, and starts again after a failure (spec/cluster.md §4.6). It exists as long as the shard;
 * whether it runs is decided by the node and may change at any time. Everything on the shard's loop. */
#pragma once
#include "bifrost/replicated_log.h"
#include "invoker/invoker.h"
#include "node/router.h"
#include "node/snapshots.h"
#include "partition/processor.h"
#include "wire/node_ref.h"

struct shard_shared;
struct remote_ships;
struct replica;

/* What the replicas of a shard share; owned by the shard. */
struct replica_host {
    const struct shard_shared *shared;
    struct loop *loop;
    struct env *env;
    struct replicated_logs *logs;
    struct kv_backend *backend;
    struct shard_snapshots *snapshots;
    struct invoker *invoker;
    const struct schema_cell *schema;
    struct tracer *tracer;      /* NULL: no tracing */
    struct remote_ships *ships; /* to partitions that other nodes lead */
    struct bytes rules;         /* the newest rule book, with its version; 0: none */
    uint32_t rules_version;
    /* Leadership, or whether it runs, has changed. */
    void (*changed)(struct replica_host *h);
};

struct replica *replica_new(struct replica_host *host, uint16_t partition);
/* It must be at rest (replica_close was told and has called back). */
void replica_free(struct replica *r);

/* Open it, or keep it open. */
void replica_run(struct replica *r);
/* Step down, flush, close; `done` (may be NULL) when it is at rest, possibly from inside. The content stays.
 */
void replica_close(struct replica *r, void (*done)(void *ctx), void *ctx);
/* Become leader with this epoch, which was claimed for this process. Remembered while it is being opened. */
void replica_lead(struct replica *r, uint64_t epoch);
void replica_step_down(struct replica *r);

enum replica_state {
    REPLICA_STOPPED,     /* does not run here */
    REPLICA_STARTING,    /* opening, or waiting to be started again */
    REPLICA_CATCHING_UP, /* has not applied yet what was in the log when it was opened */
    REPLICA_ACTIVE,
};
/* What one partition replica is doing. */
struct partition_report {
    uint16_t id;
    enum replica_state state;
    enum processor_role role;
    uint64_t epoch;
    lsn_t applied, committed, durable, trimmed; /* trimmed: last trimmed LSN of its log */
    lsn_t target;                               /* of catching up; 0: not known yet */
    lsn_t archived; /* of the oldest snapshot that is retained; 0: none, or not known */
    uint64_t oldest_waiting_ms;
    size_t held;              /* scoped invocations that wait for their turn */
    uint64_t announced_epoch; /* of the last announcement that was applied, and who made it; 0: none */
    struct node_ref announced_leader;
    uint32_t schema_version; /* that its invocations see */
};
/* False if it does not run here. */
bool replica_report(const struct replica *r, struct partition_report *out);
/* Trim its log up to and including `upto`, but never what a replica may still need: what this store does not
 * hold durably, or neither all replicas nor a retained snapshot. Flushes the store first; upto 0 trims
 * nothing. `done`, possibly from inside, with the LSN up to which the log is trimmed from now on, or
 * RC_NOT_LEADER: it is not open here. */
typedef void (*replica_trim_done)(void *ctx, lsn_t trim_point, const struct err *err);
void replica_trim_log(struct replica *r, lsn_t upto, replica_trim_done done, void *ctx);
/* What the other members of the current and the next replica set have flushed, 0 for those of whom it is not
 * known; copied. In a cluster in which nobody said so, what needs the replicas' word for trimming waits. */
void replica_set_peers(struct replica *r, const lsn_t *durable, size_t n);
/* host->rules are newer. */
void replica_rules_changed(struct replica *r);
/* host->schema is newer. */
void replica_schema_changed(struct replica *r);
/* About every second: how far the log may be trimmed (spec/cluster.md §6.4). */
void replica_tick(struct replica *r);
/* A snapshot on request of an operator; only of an active leader (RC_NOT_LEADER). As
 * snapshot_partition_create. */
void replica_create_snapshot(struct replica *r, lsn_t min_lsn, snapshot_create_done done, void *ctx);
/* NULL while it is not open. */
struct processor *replica_processor(struct replica *r);
/* While it leads, else NULL. */
struct invoker_partition *replica_invoker(struct replica *r);

/* Snapshots in the simulated cluster: every node has a repository over one shared bucket whose operations are
 * delayed, refused, lost and late; leaders make snapshots at random and trim their logs by the policy
 * `balanced`. What must hold: no log is trimmed beyond the oldest snapshot that is retained (T-a). */
#include <stdio.h>

#include "partition/durability.h"
#include "sim/sim_world.h"

static enum object_fault random_fault(void *ctx, const struct object_op *op)
{
    struct sim_world *w = ctx;
    return sim_chance(w, 30) ? (enum object_fault)(1 + sim_env_below(&w->env, 4)) : OBJECT_FAULT_NONE;
}

void sim_snapshots_init(struct sim_world *w)
{
    struct memory_objects_hooks hooks = {
        .fault = random_fault, .ctx = w, .max_delay_ms = 10, .late_ms = 2000};
    w->bucket = memory_objects_new(&w->env.env, &hooks);
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct sim_snapshots *s = &w->snapshots[n];
        s->scratch = memory_objects_new(&w->env.env, NULL);
        job_runner_deferred_init(&s->jobs, &w->env.env);
    }
}

void sim_snapshots_free(struct sim_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        memory_objects_free(w->snapshots[n].scratch);
        job_runner_deferred_free(&w->snapshots[n].jobs);
    }
    memory_objects_free(w->bucket);
}

void sim_snapshots_open(struct sim_world *w, uint32_t node)
{
    struct sim_snapshots *s = &w->snapshots[node];
    struct object_retry_policy retry = {.initial_ms = 20, .max_ms = 200, .factor = 2, .max_attempts = 6};
    struct snapshot_repository_config config = {
        .prefix = "p",
        .place = "the bucket",
        .cluster_name = "sim",
        .node_name = "node",
        .fingerprint = 7,
        .num_retained = 1 + (unsigned)(w->options.seed % 3),
        .grace_ms = 500,
    };
    struct env *env = &w->env.env;
    s->repository =
        snapshot_repository_new(env, object_retry_new(env, memory_objects_open(w->bucket), &retry),
                                memory_objects_open(s->scratch), &s->jobs.base, &config);
    atomic_store(&s->slots.free, 2);
    s->agent = snapshot_agent_new(env, s->repository, &s->slots, &(struct snapshot_agent_config){0});
    s->closed = false;
}

static void closed(void *ctx)
{
    ((struct sim_snapshots *)ctx)->closed = true;
}

/* Replicas are closed. */
void sim_snapshots_close(struct sim_world *w, uint32_t node)
{
    struct sim_snapshots *s = &w->snapshots[node];
    snapshot_agent_free(s->agent);
    snapshot_repository_close(s->repository, closed, s);
    for (int tries = 0; tries < 1000 && !s->closed; tries++) {
        sim_env_run(&w->env);
        if (!s->closed)
            sim_env_next(&w->env, 1000);
    }
    SIM_CHECK(w, s->closed, "the repository of node %u does not close", node);
}

static void created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct sim_world *w = ctx;
    w->snapshots_made += c && !c->existed;
}

/* The oldest that latest.json names. */
static lsn_t archived(struct sim_world *w, uint32_t partition)
{
    char key[32];
    snprintf(key, sizeof(key), "p/%u/latest.json", partition);
    struct bytes text = memory_objects_peek(w->bucket, key);
    struct snapshot_latest l;
    struct err err = {0};
    if (!text.ptr)
        return 0;
    if (snapshot_latest_decode(bytes_slice(text), &l, &err) != RC_OK)
        sim_fail(w, "latest.json", "partition %u: %s", partition, err.msg);
    lsn_t lsn = l.retained.items[l.retained.len - 1].lsn;
    snapshot_latest_free(&l);
    return lsn;
}

static void set_durability(struct sim_world *w, struct sim_replica *r)
{
    lsn_t durable[SIM_MAX_NODES];
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        struct processor_status st = {0};
        if (w->replicas[n][r->partition].p && !w->replicas[n][r->partition].closing)
            processor_get_status(w->replicas[n][r->partition].p, &st);
        durable[n] = st.durable;
    }
    processor_set_durability(r->p, durability_point(DURABILITY_BALANCED, durable, w->options.nodes,
                                                    snapshot_partition_status(r->snapshots)->archived));
}

void sim_snapshots_tick(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct processor *p = sim_leader(w, i);
        if (!p)
            continue;
        struct sim_replica *r = &w->replicas[w->partitions[i].leader][i];
        set_durability(w, r);
        if (sim_chance(w, 15))
            snapshot_partition_create(r->snapshots, 0, created, w);
        if (sim_chance(w, 50))
            SIM_CHECK(w, r->log->trim_point <= archived(w, i),
                      "the log of partition %u is trimmed to %lu, the oldest snapshot is at %lu", i,
                      (unsigned long)r->log->trim_point, (unsigned long)archived(w, i));
    }
}

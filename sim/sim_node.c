/* Nodes of the simulated cluster: replicas, crashes, restarts, and the controller that hands out leadership
 * with growing epochs. */
#include "sim/sim_world.h"

static void host_invoke(void *host, struct processor *p, struct invocation *inv)
{
    sim_attempt_start(host, inv);
}

static void host_abort(void *host, struct processor *p, struct invocation_id id)
{
    sim_attempt_abort(host, id);
}

static void host_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index)
{
    sim_attempt_notify(host, inv->id);
}

static void host_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index) {}

static void host_retry_now(void *host, struct processor *p, struct invocation_id id) {}

static void host_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                         uint64_t batch, bool dropped)
{
    struct sim_replica *r = host;
    sim_attempt_applied(r, id, token, dropped);
}

static bool host_pause(void *host, struct processor *p, struct invocation_id id)
{
    return sim_attempt_pause(host, id);
}

static void host_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                      struct bytes record_take)
{
    sim_ship(host, index, partition_key, record_take);
}

static void host_leading(void *host, struct processor *p, uint64_t epoch)
{
    struct sim_replica *r = host;
    r->world->leader_changes++;
    SIM_CHECK(r->world, list_empty(&r->attempt_order), "attempts before leadership");
}

static void host_following(void *host, struct processor *p)
{
    struct sim_replica *r = host;
    sim_attempt_abort_all(r);
    sim_ship_reset(r);
    struct sim_partition *part = &r->world->partitions[r->partition];
    if (part->leader == (int)r->node)
        part->leader = -1;
}

static void host_failed(void *host, struct processor *p, const struct err *err)
{
    struct sim_replica *r = host;
    struct processor_status st;
    processor_get_status(p, &st);
    if (st.trim_gap && r->world->options.nodes > 1) { /* it fell behind: a snapshot helps */
        r->min_lsn = st.trim_gap;
        r->gap = true;
        return;
    }
    sim_fail(r->world, "replica failed", "partition %u on node %u: %s", r->partition, r->node, err->msg);
}

const struct processor_host_ops sim_host_ops = {
    .invoke = host_invoke,
    .abort = host_abort,
    .forward_notification = host_forward,
    .ack_command = host_ack,
    .retry_now = host_retry_now,
    .effects_applied = host_applied,
    .pause = host_pause,
    .ship = host_ship,
    .leading = host_leading,
    .following = host_following,
    .failed = host_failed,
};

/* ---- replicas ---- */

static void replica_closed(void *ctx)
{
    struct sim_replica *r = ctx;
    r->p = NULL;
    r->closing = false;
}

static void close_processor(void *ctx)
{
    struct sim_replica *r = ctx;
    processor_close(r->p, r->crash, replica_closed, r);
}

static void stop_replica(struct sim_replica *r, bool crash)
{
    if (r->closing || (!r->p && !r->opening))
        return; /* it is about to be opened again with a snapshot; its log may be closed already */
    if (crash)
        sim_log_crash(r->log);
    sim_attempt_abort_all(r);
    sim_ship_reset(r);
    r->closing = true;
    r->crash = crash;
    struct snapshot_partition *snapshots = r->snapshots;
    r->snapshots = NULL;
    if (r->opening)
        store_opening_cancel(r->opening);
    else if (snapshots)
        snapshot_partition_remove(snapshots, close_processor, r);
    else
        close_processor(r);
}

static void store_opened(void *ctx, struct partition_store *store, const struct err *err);

static void start_replica(struct sim_world *w, uint32_t node, uint32_t partition)
{
    struct sim_replica *r = &w->replicas[node][partition];
    struct sim_partition *part = &w->partitions[partition];
    struct store_config store_config = {
        .partition_id = (uint16_t)partition,
        .key_start = part->key_start,
        .key_end = part->key_end,
        .cache_bytes = sim_env_below(&w->env, 2) ? 64 << 10 : 16 << 20,
        .flush_dirty_bytes = 16 << 10,
        .flush_interval_ms = 1 + sim_env_below(&w->env, 500),
    };
    r->log = sim_log_open(w->logs, partition);
    r->gap = false;
    struct store_opening_request q = {
        .kv = r->kv,
        .store = store_config,
        .log = sim_env_below(&w->env, 2) ? r->log : NULL, /* not every log knows its trim point at once */
        .min_lsn = r->min_lsn,
        .repository = w->options.nodes > 1 ? w->snapshots[node].repository : NULL,
    };
    r->opening = store_opening_start(&w->env.env, &q, store_opened, r);
}

static void unused_log_closed(void *ctx)
{
    ((struct sim_replica *)ctx)->closing = false;
}

static void store_opened(void *ctx, struct partition_store *store, const struct err *err)
{
    struct sim_replica *r = ctx;
    struct sim_world *w = r->world;
    uint32_t node = r->node, partition = r->partition;
    struct sim_partition *part = &w->partitions[partition];
    r->opening = NULL;
    if (!store) {
        SIM_CHECK(w, err->rc == RC_CANCELED && r->closing, "partition %u on node %u: %s", partition, node,
                  err->msg);
        log_close(r->log, unused_log_closed, r);
        return;
    }
    w->restored += r->min_lsn > 0 && store_vars(store)->applied_lsn >= r->min_lsn;
    struct processor_config config = {
        .partition_id = (uint16_t)partition,
        .node_id = node + 1,
        .node_generation = ++r->incarnation,
        .key_start = part->key_start,
        .key_end = part->key_end,
        .max_inflight_ship = 1 + sim_env_below(&w->env, 64),
        .self_proposal_limit_bytes = sim_env_below(&w->env, 4) ? 1 << 20 : 4 << 10,
        .max_timers_in_memory = 1 + sim_env_below(&w->env, 32),
        .trim_delay_ms = 50,
        .trim_log = w->options.nodes == 1, /* a follower that falls behind would need a snapshot */
        .version = "1.7.0",
    };
    if (r->closing) { /* it was canceled too late */
        config.node_generation = --r->incarnation;
        r->p = processor_new(&w->env.env, &config, store, r->log, &sim_host_ops, r);
        close_processor(r);
        return;
    }
    r->p = processor_new(&w->env.env, &config, store, r->log, &sim_host_ops, r);
    sim_kafka_tell(w, node, r->p);
    if (w->options.nodes > 1) {
        struct snapshot_partition_config sc = {.partition_id = (uint16_t)partition,
                                               .log_id = partition,
                                               .key_start = part->key_start,
                                               .key_end = part->key_end,
                                               .store = store};
        r->snapshots = snapshot_agent_add(w->snapshots[node].agent, &sc);
    }
}

static void start_node(struct sim_world *w, uint32_t node)
{
    if (w->options.nodes > 1)
        sim_snapshots_open(w, node);
    sim_kafka_node_starts(w, node);
    for (uint32_t i = 0; i < w->options.partitions; i++)
        start_replica(w, node, i);
    w->node_up[node] = true;
}

static void stop_node(struct sim_world *w, uint32_t node, bool crash)
{
    w->node_up[node] = false;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        if (w->partitions[i].leader == (int)node)
            w->partitions[i].leader = -1;
        stop_replica(&w->replicas[node][i], crash);
    }
    for (int tries = 0; tries < 1000; tries++) {
        sim_env_run(&w->env);
        bool closing = false;
        for (uint32_t i = 0; i < w->options.partitions; i++)
            closing |= w->replicas[node][i].closing;
        if (!closing)
            break;
        sim_env_next(&w->env, 1000);
    }
    for (uint32_t i = 0; i < w->options.partitions; i++)
        SIM_CHECK(w, !w->replicas[node][i].closing, "node %u does not stop", node);
    if (w->options.nodes > 1)
        sim_snapshots_close(w, node);
    for (uint32_t i = 0; crash && i < w->options.partitions; i++)
        memory_backend_crash(w->replicas[node][i].kv);
}

void sim_node_crash(struct sim_world *w, uint32_t node)
{
    w->crashes++;
    stop_node(w, node, sim_env_below(&w->env, 4) != 0);
    w->node_restart_at[node] = w->env.mono_ms + 1 + sim_env_below(&w->env, 300);
}

void sim_nodes_start(struct sim_world *w)
{
    if (w->options.nodes > 1)
        sim_snapshots_init(w);
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        for (uint32_t i = 0; i < w->options.partitions; i++) {
            struct sim_replica *r = &w->replicas[n][i];
            r->world = w;
            r->env = &w->env.env;
            r->node = n;
            r->partition = i;
            r->kv = memory_backend_new(&w->env.env);
            hmap_init(&r->attempts);
            list_init(&r->attempt_order);
        }
        start_node(w, n);
    }
}

void sim_nodes_stop(struct sim_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        if (w->node_up[n])
            stop_node(w, n, true);
        for (uint32_t i = 0; i < w->options.partitions; i++) {
            memory_backend_free(w->replicas[n][i].kv);
            hmap_free(&w->replicas[n][i].attempts);
        }
    }
    if (w->options.nodes > 1)
        sim_snapshots_free(w);
}

/* Replicas that fell below the trim point are opened again. */
static void reopen(struct sim_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++) {
        for (uint32_t i = 0; w->node_up[n] && i < w->options.partitions; i++) {
            struct sim_replica *r = &w->replicas[n][i];
            if (!r->gap || r->closing)
                continue;
            if (w->partitions[i].leader == (int)n)
                w->partitions[i].leader = -1;
            if (r->p)
                stop_replica(r, true);
            else
                start_replica(w, n, i);
        }
    }
}

/* ---- the controller ---- */

struct processor *sim_leader(struct sim_world *w, uint32_t partition)
{
    int node = w->partitions[partition].leader;
    struct sim_replica *r = node >= 0 && w->node_up[node] ? &w->replicas[node][partition] : NULL;
    return r && !r->closing ? r->p : NULL;
}

static void place_leaders(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct sim_partition *part = &w->partitions[i];
        if (part->leader >= 0 && !sim_chance(w, 3))
            continue;
        uint32_t node = (uint32_t)sim_env_below(&w->env, w->options.nodes);
        if (!w->node_up[node] || !w->replicas[node][i].p || w->replicas[node][i].gap)
            continue;
        part->leader = (int)node;
        if (w->take_over)
            sim_log_take_over(w->logs, i);
        processor_become_leader(w->replicas[node][i].p, ++part->next_epoch);
    }
}

void sim_nodes_tick(struct sim_world *w)
{
    for (uint32_t n = 0; n < w->options.nodes; n++)
        if (!w->node_up[n] && (w->env.mono_ms >= w->node_restart_at[n] || !w->faulty))
            start_node(w, n);
    for (uint32_t n = 0; n < w->options.nodes; n++)
        if (w->node_up[n] && sim_chance(w, 2))
            sim_node_crash(w, n);
    reopen(w);
    place_leaders(w);
    if (w->options.nodes > 1)
        sim_snapshots_tick(w);
}

/* Processes of the simulated cluster: start, crash, stop, pause. */
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "sim/cluster_sim.h"

#define NAME_SIZE 700u

static struct node_config *configuration(const struct csim_host *h)
{
    const struct csim_options *o = &csim->options;
    struct writer w = WRITER_INIT;
    for (uint32_t i = 0; i < o->nodes; i++)
        write_fmt(&w, "%s\"http://n%u:5122/\"", i ? "," : "", i + 1);
    char *settings[] = {
        xasprintf("RESTATE_NODE_NAME=n%u", h->index + 1),
        xasprintf("RESTATE_CLUSTER_NAME=sim"),
        xasprintf("RESTATE_BASE_DIR=/sim"),
        xasprintf("RESTATE_AUTO_PROVISION=%s", h->index == 0 && !h->no_provision ? "true" : "false"),
        xasprintf("RESTATE_METADATA_CLIENT__ADDRESSES=[%.*s]", SLICE_FMT(writer_slice(&w))),
        xasprintf("RESTATE_ADVERTISED_ADDRESS=http://n%u:5122/", h->index + 1),
        xasprintf("RESTATE_BIND_ADDRESS=0.0.0.0:5122"),
        xasprintf("RESTATE_LISTEN_MODE=tcp"),
        xasprintf("RESTATE_DEFAULT_NUM_PARTITIONS=%u", o->partitions),
        xasprintf("RESTATE_DEFAULT_REPLICATION=%u", o->replication),
        xasprintf("RESTATE_DEFAULT_THREAD_POOL_SIZE=%u", o->shards),
        xasprintf("DO_NOT_TRACK=1"),
        o->snapshots ? xasprintf("RESTATE_WORKER__SNAPSHOTS__DESTINATION=file:///sim/bucket") : NULL,
        xasprintf("RESTATE_WORKER__SNAPSHOTS__SNAPSHOT_INTERVAL_NUM_RECORDS=50"),
        NULL,
    };
    char *argv[] = {"restate-server", NULL};
    struct node_config *config;
    enum config_action action;
    int code;
    enum rc rc = config_load(1, argv, settings, &config, &action, &code);
    ASSERT_MSG(rc == RC_OK && action == CONFIG_RUN, "the configuration of the simulated nodes is refused");
    writer_free(&w);
    config->shards = o->shards;
    config->trim_delay_ms = 100;
    if (csim->options.seed % 2) { /* else as it is by default in a cluster */
        config->durability_mode_set = true;
        config->durability_mode = DURABILITY_SNAPSHOT_ONLY;
    }
    return config;
}

static void start_node(void *ctx)
{
    node_start(ctx);
}

void csim_process_start(struct csim_host *h)
{
    struct csim_process *p = xcalloc(1, sizeof(*p));
    ASSERT(!h->process && !h->gone);
    p->world = csim;
    p->host = h;
    p->alive = true;
    p->started_us = csim->now_us;
    list_init(&p->loops);
    list_init(&p->conns);
    h->process = p;
    h->powered = true;
    h->restart_us = CSIM_NEVER;
    h->starts++;
    csim->restarts += h->starts > 1;
    csim_trace("n%u starts", h->index + 1);
    csim->current_process = p;
    struct node *n = &p->node;
    n->config = configuration(h);
    n->started_mono_ns = os_mono_ns();
    n->dir.lock_fd = -1;
    n->loop = loop_new("main");
    n->env = loop_env(n->loop);
    list_init(&n->leader_calls);
    list_init(&n->compactions);
    csim->current_process = NULL;
    loop_start(n->loop);
    csim_enter(n->loop, start_node, n);
}

static void process_ended(struct csim_host *h, bool power, uint64_t restart_in_us)
{
    struct csim_process *p = h->process;
    p->alive = false;
    csim_loops_forget(p);
    csim_net_died(p, power);
    csim_disk_crash(h);
    h->process = NULL;
    h->powered = !power;
    h->restart_us = restart_in_us == CSIM_NEVER || h->gone ? CSIM_NEVER : csim->now_us + restart_in_us;
}

void csim_process_crash(struct csim_host *h, bool power, uint64_t restart_in_us)
{
    if (!h->process)
        return;
    csim->crashes++;
    csim_trace("n%u %s, back in %ld ms", h->index + 1, power ? "loses power" : "is killed",
               restart_in_us == CSIM_NEVER ? -1 : (long)(restart_in_us / 1000));
    process_ended(h, power, restart_in_us);
}

static void stop_node(void *ctx)
{
    struct csim_process *p = ctx;
    node_stop(&p->node);
}

void csim_process_stop(struct csim_host *h)
{
    if (!h->process || h->process->leaving)
        return;
    csim->stops++;
    csim_trace("n%u is asked to stop", h->index + 1);
    h->process->leaving = true;
    csim_enter(h->process->node.loop, stop_node, h->process);
}

void csim_processes_look(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        struct csim_process *p = h->process;
        if (p)
            csim_check_identity(p);
        if (p && h->lost_log && p->node.storage.usable) {
            csim_trace("n%u is back as a new storage generation", i + 1);
            h->lost_log = false;
            csim_log_back(h);
        }
        if (p && csim_loop_ended(p->node.loop)) {
            csim_trace("n%u has ended with code %d", i + 1, p->node.exit_code);
            bool legal = p->leaving || h->removed || h->disk.full;
            SIM_CHECK(&csim->base, p->node.exit_code == 0 ? p->leaving : legal,
                      "the process of n%u has ended with code %d", i + 1, p->node.exit_code);
            h->gone |= h->removed && p->node.exit_code;
            process_ended(h, false, h->gone ? CSIM_NEVER : csim_below(1500000));
        } else if (p && p->paused && csim->now_us >= p->resume_us) {
            csim_trace("n%u goes on", i + 1);
            p->paused = false;
            csim_loops_resume(p);
        } else if (!p && csim->now_us >= h->restart_us) {
            csim_process_start(h);
        }
    }
}

uint32_t csim_nodes_left(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < csim->options.nodes; i++)
        n += !csim->hosts[i].gone && !csim->hosts[i].removed;
    return n;
}

struct processor *csim_processor(const struct csim_host *h, uint32_t partition)
{
    const struct partition_map *map = h->process ? h->process->node.map : NULL;
    return map ? map->slots[partition].processor : NULL;
}

void csim_nodes_init(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        h->world = csim;
        h->index = i;
        h->powered = true;
        h->disk_us = 200 + csim_below(3000);
        h->restart_us = csim_below(300000);
        if (i >= 3 && !csim->options.scenario && csim_below(2)) /* the cluster grows */
            h->restart_us = csim_below(csim->options.ticks * 1000);
    }
}

/* ---- an operator ---- */

struct wish {
    struct csim_process *process;
    uint16_t partition;
};

static void snapshot_ended(void *ctx, const struct snapshot_created *created, const struct err *err)
{
    csim->snapshots += created && !created->existed;
}

static void ask_for_snapshot(void *ctx)
{
    struct wish *w = ctx;
    struct node *n = &w->process->node;
    shard_create_snapshot(n->shards[w->partition % n->n_shards], w->partition, 0, n->loop, snapshot_ended,
                          NULL);
}

void csim_create_snapshot(uint32_t partition)
{
    struct processor *leader = sim_leader(&csim->base, partition);
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[i].process;
        struct wish w = {p, (uint16_t)partition};
        if (leader && p && !p->leaving && csim_processor(&csim->hosts[i], partition) == leader)
            csim_enter(p->node.loop, ask_for_snapshot, &w);
    }
}

/* ---- what ends a process at once ---- */

_Noreturn void __wrap__exit(int code);
_Noreturn void __wrap__exit(int code)
{
    sim_fail(&csim->base, "_exit", "a process of the cluster left with code %d", code);
}

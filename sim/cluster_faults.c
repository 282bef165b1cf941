/* What goes wrong in the simulated cluster. One fault after the other, with pauses in which the cluster may
 * recover or may not; some last, so that several overlap. */
#include "sim/cluster_sim.h"

#define MS          1000u
#define COMPLETE_MS 12000u /* all nodes are there, all logs as wide as they should be: at the latest */

static struct csim_event next_fault, end_of_cut, end_of_slow;

static struct csim_host *any_host(void)
{
    return &csim->hosts[csim_below(csim->options.nodes)];
}

static uint64_t between(uint64_t from_ms, uint64_t to_ms)
{
    return (from_ms + csim_below(to_ms - from_ms + 1)) * MS;
}

/* Short, so that nobody has noticed; or long. */
static uint64_t down_time(void)
{
    return csim_below(3) ? between(1, 800) : between(800, 6000);
}

static void pause_host(struct csim_host *h, uint64_t for_us)
{
    if (!h->process || h->process->paused)
        return;
    csim->pauses++;
    csim_trace("n%u stands still for %lu ms", h->index + 1, (unsigned long)(for_us / MS));
    h->process->paused = true;
    h->process->resume_us = csim->now_us + for_us;
}

static void uncut(struct csim_event *e)
{
    memset(csim->cut, 0, sizeof(csim->cut));
    csim_trace("all ways are open");
    csim_net_changed();
}

static void cut_way(uint32_t from, uint32_t to, bool both)
{
    csim->cut[from][to] = from != to;
    csim->cut[to][from] |= both && from != to;
}

static void cut_some(void)
{
    uint32_t n = csim->options.nodes, victim = (uint32_t)csim_below(n), kind = (uint32_t)csim_below(4);
    csim->cuts++;
    for (uint32_t i = 0; i < n; i++) {
        if (kind == 0) /* one node alone */
            cut_way(victim, i, true);
        else if (kind == 1) /* it hears, but is not heard; or the other way round */
            csim_below(2) ? cut_way(victim, i, false) : cut_way(i, victim, false);
        else if (kind == 2 && i != victim && i % 2 == 0) /* some ways only */
            cut_way(victim, i, csim_below(2));
    }
    if (kind == 3) { /* two halves */
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t k = 0; k < n; k++)
                cut_way(i, k, (i <= n / 2) != (k <= n / 2) ? true : false);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t k = 0; k < n; k++)
                csim->cut[i][k] = (i <= n / 2) != (k <= n / 2);
    }
    uint64_t for_us = between(200, 7000);
    csim_trace("ways are cut (kind %u, n%u) for %lu ms", kind, victim + 1, (unsigned long)(for_us / MS));
    csim_at(&end_of_cut, uncut, csim->now_us + for_us);
}

static void fast_again(struct csim_event *e)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        h->cpu_us = 0;
        h->disk_us = 200 + csim_below(3000);
        h->disk.full = false;
    }
    csim->delay_us = 100;
    csim_trace("all is fast");
}

static void slow_down(void)
{
    struct csim_host *h = any_host();
    switch (csim_below(5)) {
    case 0:
        h->disk_us = 20000 + csim_below(200000);
        csim_trace("the disk of n%u takes %lu ms", h->index + 1, (unsigned long)(h->disk_us / MS));
        break;
    case 1:
        h->cpu_us = 500 + csim_below(8000);
        csim_trace("n%u is busy: %lu us", h->index + 1, (unsigned long)h->cpu_us);
        break;
    case 2:
        for (uint32_t i = 0; i < csim->options.nodes; i++)
            csim->hosts[i].cpu_us = 200 + csim_below(2000);
        csim_trace("all nodes are busy");
        break;
    case 3:
        csim->delay_us = 1000 + csim_below(60000);
        csim_trace("the network takes %lu us", (unsigned long)csim->delay_us);
        break;
    default:
        h->disk.full = true;
        csim_trace("the disk of n%u is full", h->index + 1);
        break;
    }
    csim_at(&end_of_slow, fast_again, csim->now_us + between(300, 5000));
}

/* All that a node has, or what its log-server has. */
static void lose_disk(struct csim_host *h, bool whole)
{
    struct raft_server_status s = {0};
    if (whole)
        raft_server_status(metadata_host_server(h->process->node.metadata), &s);
    csim_process_crash(h, csim_below(2), down_time());
    csim_trace("n%u has lost %s", h->index + 1, whole ? "its disk" : "the disk of its log-server");
    csim->lost_logs++;
    csim->lost_disks += whole;
    csim_disk_lose_log(h);
    if (!whole)
        return;
    csim_disk_lose_raft(h);
    csim_meta_lost(s.self);
    csim_disk_lose_partitions(h);
    csim_disk_lose_directory(h);
}

/* Until a node is back it is not known what it will have lost: also segments that begin meanwhile, with it or
 * with another that is away and not yet taken for dead. */
static bool log_disk_away(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        if (csim->hosts[i].lost_log)
            return true;
    }
    return false;
}

static void one_fault(void)
{
    struct csim_host *h = any_host(), *other = any_host();
    switch (csim_below(14)) {
    case 0:
    case 1:
    case 2:
        csim_process_crash(h, csim_below(3) == 0, down_time());
        break;
    case 3:
        csim_process_crash(h, false, down_time());
        csim_process_crash(other, csim_below(2), down_time());
        break;
    case 4: /* in the middle of a write */
        if (h->disk.log && h->process)
            disk_memory_crash_at(h->disk.log, csim_below(3), sim_env_random(&csim->base.env));
        break;
    case 5:
    case 6:
        csim_process_stop(h);
        break;
    case 7:
        pause_host(h, csim_below(2) ? between(10, 1500) : between(1500, 9000));
        break;
    case 8:
    case 9:
        cut_some();
        break;
    case 10:
        slow_down();
        break;
    case 11: /* it comes back without some of what it had */
        csim_process_crash(h, csim_below(2), down_time());
        if (!h->process && h->starts) {
            csim_trace("n%u has lost its partition stores", h->index + 1);
            csim_disk_lose_partitions(h);
        }
        break;
    case 12: /* one that the others can do without */
        if (h->process && h->process->node.state == NODE_ALIVE && !log_disk_away() && csim_log_may_lose(h) &&
            !csim_operator_busy())
            lose_disk(h, csim_nodes_left() >= 3 && csim_metadata_complete() && csim_below(2));
        break;
    default:
        h->wall_offset_ms = (int64_t)csim_below(20000) - 10000;
        csim_trace("the clock of n%u is off by %ld ms", h->index + 1, (long)h->wall_offset_ms);
        break;
    }
}

/* ---- scenarios of spec/cluster.md §9.4 and §10.1: one event, and the rest goes on without it ---- */

static struct csim_host *metadata_leader(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[i].process;
        struct raft_server_status s = {0};
        if (p && !p->paused && p->node.metadata)
            raft_server_status(metadata_host_server(p->node.metadata), &s);
        if (s.leads)
            return &csim->hosts[i];
    }
    return any_host();
}

static struct csim_host *busiest(const struct csim_host *except)
{
    struct csim_host *best = NULL;
    int most = -1;
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        int leads = 0;
        for (uint32_t p = 0; p < csim->options.partitions; p++) {
            struct processor *leader = sim_leader(&csim->base, p);
            leads += leader && leader == csim_processor(h, p);
        }
        if (h != except && h->process && leads > most) {
            best = h;
            most = leads;
        }
    }
    return best;
}

static void load_all(void)
{
    uint64_t busy = csim_below(3) ? csim_below(3000) : 0;
    for (uint32_t i = 0; i < csim->options.nodes; i++)
        csim->hosts[i].cpu_us = busy;
    csim_trace("all nodes are busy: %lu us", (unsigned long)busy);
}

/* All nodes are members of the metadata servers, and all logs are on as many as they should be. */
static bool complete(void)
{
    char why[200];
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[i].process;
        struct raft_server_status s = {0};
        if (!p || p->node.state != NODE_ALIVE)
            return false;
        raft_server_status(metadata_host_server(p->node.metadata), &s);
        if (s.members.n < csim->options.nodes)
            return false;
    }
    for (uint32_t i = 0; i < csim->options.partitions; i++) {
        if (!sim_leader(&csim->base, i))
            return false;
    }
    return csim_logs_are_wide(why, sizeof(why));
}

static void scenario(struct csim_event *e)
{
    if (!complete()) {
        SIM_CHECK(&csim->base, csim->now_us < COMPLETE_MS * MS,
                  "the cluster is not complete %u ms after its start", COMPLETE_MS);
        csim_at(e, scenario, csim->now_us + 20 * MS);
        return;
    }
    csim->scenario_us = csim->now_us;
    csim_trace("the cluster is complete");
    const char *name = csim->options.scenario;
    struct csim_host *chief = metadata_leader(), *second = busiest(chief);
    if (strcmp(name, "g7") == 0) { /* two of five die together (V-2) */
        chief->gone = second->gone = true;
        csim_process_crash(chief, csim_below(4) == 0, CSIM_NEVER);
        csim_process_crash(second, csim_below(4) == 0, CSIM_NEVER);
    } else if (strcmp(name, "kill") == 0) {
        chief->gone = true;
        csim_process_crash(chief, csim_below(4) == 0, CSIM_NEVER);
    } else if (strcmp(name, "stop") == 0) { /* SIGSTOP */
        chief->gone = true;
        pause_host(chief, UINT32_MAX * (uint64_t)MS);
    } else if (strcmp(name, "cut") == 0) {
        chief->gone = true;
        for (uint32_t i = 0; i < csim->options.nodes; i++)
            cut_way(chief->index, i, true);
        csim_trace("n%u is cut off", chief->index + 1);
    }
}

void csim_scenario_start(void)
{
    heap_node_init(&next_fault.heap);
    heap_node_init(&end_of_cut.heap);
    heap_node_init(&end_of_slow.heap);
    load_all();
    csim_at(&next_fault, scenario, between(200, csim->options.ticks / 2 + 200));
}

bool csim_scenario_known(const char *name)
{
    static const char *const names[] = {"g7", "kill", "stop", "cut"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void fault(struct csim_event *e)
{
    if (!csim->base.faulty)
        return;
    one_fault();
    if (csim->options.snapshots && csim_below(2))
        csim_create_snapshot((uint32_t)csim_below(csim->options.partitions));
    csim_at(e, fault, csim->now_us + (csim_below(3) ? between(300, 4000) : between(1, 200)));
}

void csim_faults_start(void)
{
    heap_node_init(&next_fault.heap);
    heap_node_init(&end_of_cut.heap);
    heap_node_init(&end_of_slow.heap);
    csim_at(&next_fault, fault, csim_below(2) ? between(1, 3000) : between(1500, 5000));
}

void csim_heal(void)
{
    csim->base.faulty = false;
    csim_trace("the faults end");
    csim_cancel(&next_fault);
    csim_cancel(&end_of_cut);
    csim_cancel(&end_of_slow);
    if (!csim->options.scenario) {
        uncut(NULL);
        fast_again(NULL);
    }
    csim_detectors_heal();
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_host *h = &csim->hosts[i];
        if (h->disk.log && h->process)
            disk_memory_restart(h->disk.log); /* a crash that has not come */
        if (h->process && h->process->paused && !h->gone)
            h->process->resume_us = csim->now_us;
        if (!h->process && !h->gone)
            h->restart_us = MIN(h->restart_us, csim->now_us + between(0, 200));
        h->wall_offset_ms = 0;
    }
}

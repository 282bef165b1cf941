/* What must hold in the simulated cluster (spec/cluster.md §11.2). Every record that any replica applies is
 * seen here: one LSN is one record for everybody (L-1), after it everybody has the same state (P-3), and a
 * replay of all of them from nothing ends there too (P-7). Epochs of a log do not go back (P-2). At the end,
 * after the faults: every process is there and alive, every partition is led, whoever holds a replica has
 * caught up, every request is answered (V-1), every effect happened once and in order (P-6). */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "bifrost/replicated_params.h"
#include "partition/machine.h"
#include "sim/cluster_sim.h"

struct applied {
    uint64_t record_hash, state_hash;
    struct bytes record;
};
static struct {
    struct applied *items; /* of LSN i + 1 */
    size_t len, cap;
    uint64_t epoch;
} logs[CSIM_PARTITIONS_MAX];

enum rc __real_machine_apply(struct partition_store *s, lsn_t lsn, struct bytes record,
                             struct actions *actions, struct apply_result *result, struct err *err);
enum rc __wrap_machine_apply(struct partition_store *s, lsn_t lsn, struct bytes record,
                             struct actions *actions, struct apply_result *result, struct err *err);

static void see(struct partition_store *s, uint16_t partition, lsn_t lsn, struct bytes record)
{
    struct sim_world *w = &csim->base;
    const struct partition_vars *v = store_vars(s);
    uint64_t hash = hash64(bytes_slice(record));
    while (logs[partition].len < lsn)
        VEC_PUSH(&logs[partition], (struct applied){0});
    struct applied *a = &logs[partition].items[lsn - 1];
    if (!a->record.ptr) {
        *a = (struct applied){hash, v->state_hash, bytes_copy(bytes_slice(record))};
    } else {
        SIM_CHECK(w, a->record_hash == hash, "L-1: two records at LSN %lu of log %u", (unsigned long)lsn,
                  partition);
        SIM_CHECK(w, a->state_hash == v->state_hash, "P-3: replicas of partition %u differ after LSN %lu",
                  partition, (unsigned long)lsn);
    }
    if (lsn == logs[partition].len) {
        SIM_CHECK(w, v->leader_epoch >= logs[partition].epoch, "P-2: partition %u goes back to epoch %lu",
                  partition, (unsigned long)v->leader_epoch);
        logs[partition].epoch = v->leader_epoch;
    }
}

/* The record as a state machine without some rule would understand it. */
static struct bytes mutate(struct bytes record)
{
    struct record_header h;
    if (!csim->options.mutation || !record_header_get(bytes_slice(record), &h))
        return bytes_ref(record);
    bool own = h.dedup == DEDUP_SELF && h.kind != CMD_ANNOUNCE_LEADER;
    bool skip =
        csim_mutated(CSIM_APPLY_SKIPS) && own && csim->current_process->host->index == 1 && csim_chance(5);
    if (csim_mutated(CSIM_NO_DEDUP) && h.dedup == DEDUP_FOREIGN)
        h.dedup = DEDUP_NONE;
    else if (skip)
        h.seq_hi = 0; /* an epoch that has passed */
    else
        return bytes_ref(record);
    struct bytes copy = bytes_copy(bytes_slice(record));
    record_header_put((uint8_t *)copy.ptr, &h);
    return copy;
}

enum rc __wrap_machine_apply(struct partition_store *s, lsn_t lsn, struct bytes record,
                             struct actions *actions, struct apply_result *result, struct err *err)
{
    uint16_t partition = store_get_config(s)->partition_id;
    struct bytes kept = bytes_ref(record);
    SIM_CHECK(&csim->base, lsn == store_vars(s)->applied_lsn + 1,
              "P-4: partition %u applies LSN %lu after %lu", partition, (unsigned long)lsn,
              (unsigned long)store_vars(s)->applied_lsn);
    struct bytes mutated = mutate(record);
    enum rc rc = __real_machine_apply(s, lsn, mutated, actions, result, err);
    bytes_unref(&mutated);
    if (rc == RC_OK) {
        lsn_t *last = &csim->current_process->host->applied[partition];
        csim->imports += lsn > *last + 1;
        *last = lsn;
        csim_log_delivered(partition, lsn, bytes_slice(kept));
        see(s, partition, lsn, kept);
    }
    bytes_unref(&kept);
    return rc;
}

/* ---- the end ---- */

struct processor *sim_leader(struct sim_world *w, uint32_t partition)
{
    struct processor *best = NULL;
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct processor *p = csim->hosts[i].gone ? NULL : csim_processor(&csim->hosts[i], partition);
        struct processor_status st;
        if (!p)
            continue;
        processor_get_status(p, &st);
        if (st.role == PROCESSOR_LEADER && st.epoch > epoch) {
            best = p;
            epoch = st.epoch;
        }
    }
    return best;
}

static bool say(char *why, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool say(char *why, size_t cap, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, cap, fmt, args);
    va_end(args);
    return false;
}

static bool partition_quiet(uint32_t partition, char *why, size_t cap)
{
    struct processor *leader = sim_leader(&csim->base, partition);
    struct processor_status st, f;
    if (!leader)
        return say(why, cap, "partition %u has no leader", partition);
    processor_get_status(leader, &st);
    if (st.applied != st.committed || st.self_inflight || st.outbox_depth || st.waiting_rpcs)
        return say(why, cap, "partition %u is busy: applied %lu of %lu, outbox %zu, waiting %zu", partition,
                   (unsigned long)st.applied, (unsigned long)st.committed, st.outbox_depth, st.waiting_rpcs);
    if (sim_open_invocations(leader))
        return say(why, cap, "partition %u has open invocations", partition);
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct processor *p = csim->hosts[i].gone ? NULL : csim_processor(&csim->hosts[i], partition);
        if (!p)
            continue;
        processor_get_status(p, &f);
        if (f.applied != st.applied)
            return say(why, cap, "partition %u on n%u has applied %lu, its leader %lu", partition, i + 1,
                       (unsigned long)f.applied, (unsigned long)st.applied);
        if (p != leader && f.role == PROCESSOR_LEADER)
            return say(why, cap, "partition %u is led twice", partition);
    }
    return true;
}

bool csim_quiescent(char *why, size_t cap)
{
    const struct sim_world *w = &csim->base;
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        const struct csim_host *h = &csim->hosts[i];
        if (!h->gone && (!h->process || h->process->node.state != NODE_ALIVE))
            return say(why, cap, "n%u is not alive", i + 1);
    }
    for (uint32_t i = 0; i < csim->options.partitions; i++) {
        if (!partition_quiet(i, why, cap))
            return false;
    }
    if (csim_operator_busy())
        return say(why, cap, "an operator is busy");
    if (!csim_detectors_agree())
        return say(why, cap, "the nodes do not agree on who is alive");
    if (w->clients_done < w->n_clients)
        return say(why, cap, "%zu of %zu requests are answered", w->clients_done, w->n_clients);
    if (!list_empty(&w->outside))
        return say(why, cap, "a signal from outside is on its way");
    return true;
}

bool csim_logs_are_wide(char *why, size_t cap)
{
    const struct csim_options *o = &csim->options;
    const struct logs_config *logs = NULL;
    uint32_t version = 0, nodes = 0;
    for (uint32_t i = 0; i < o->nodes; i++) {
        const struct csim_host *h = &csim->hosts[i];
        nodes += !h->gone;
        if (!h->process || h->gone || h->process->node.view.logs_value.version <= version)
            continue;
        version = h->process->node.view.logs_value.version;
        logs = &h->process->node.view.logs;
    }
    uint32_t want = MIN(MAX(2 * csim->copies - 1, csim->copies + 1), nodes);
    if (!logs || logs->n_chains < o->partitions)
        return say(why, cap, "not all logs are there");
    for (size_t i = 0; i < logs->n_chains; i++) {
        const struct log_chain *c = &logs->chains[i];
        struct loglet_params p;
        enum rc rc = loglet_params_decode(slice_cstr(c->segments[c->n_segments - 1].params), &p, NULL);
        if (rc != RC_OK || p.nodeset.len < want)
            return say(why, cap, "log %u is written to %u nodes, not %u", c->log_id,
                       rc == RC_OK ? (unsigned)p.nodeset.len : 0, want);
    }
    return true;
}

static void print_loglet(void *ctx, const struct log_server_loglet_view *v)
{
    fprintf(stderr, "    loglet %lx: tail %lu%s%s, trimmed %lu, committed %lu, repaired %lu%s\n",
            (unsigned long)v->id, (unsigned long)v->local_tail, v->sealed ? ", sealed" : "",
            v->sealing ? ", sealing" : "", (unsigned long)v->trim_point, (unsigned long)v->committed_tail,
            (unsigned long)v->repaired_tail, v->accepting_writes ? "" : ", takes no writes");
}

static void print_chains(const struct logs_config *logs)
{
    for (size_t i = 0; i < logs->n_chains; i++) {
        const struct log_chain *c = &logs->chains[i];
        for (size_t k = 0; k < c->n_segments; k++)
            fprintf(stderr, "    log %u from %lu: segment %u %s\n", c->log_id,
                    (unsigned long)c->segments[k].base_lsn, c->segments[k].index, c->segments[k].params);
    }
}

void csim_print_state(void)
{
    static const char *const roles[] = {"follower", "candidate", "leader"};
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        const struct csim_host *h = &csim->hosts[i];
        if (!h->process) {
            fprintf(stderr, "  n%u: %s\n", i + 1, h->gone ? "gone" : "down");
            continue;
        }
        struct node *n = &h->process->node;
        struct raft_server_status raft = {0};
        if (n->metadata && metadata_host_server(n->metadata))
            raft_server_status(metadata_host_server(n->metadata), &raft);
        fprintf(stderr,
                "  n%u: N%u:%u, state %d, metadata leader %u%s of %u in term %lu, nodes v%u, logs v%u\n",
                i + 1, n->joined.node_id, n->joined.generation, (int)n->state, raft.leader.node,
                raft.leads ? " (self)" : "", raft.members.n, (unsigned long)raft.raft.term,
                n->view.nodes_value.version, n->view.logs_value.version);
        for (uint32_t p = 0; p < csim->options.partitions && n->cluster; p++) {
            const struct epoch_metadata *m = epochs_get(cluster_epochs(n->cluster), p);
            struct processor *proc = csim_processor(h, p);
            struct processor_status st = {0};
            if (proc)
                processor_get_status(proc, &st);
            fprintf(stderr, "    partition %u: map says N%u; epoch %lu of N%u, current", p,
                    (unsigned)n->map->slots[p].leader_node, m ? (unsigned long)m->epoch : 0,
                    m ? m->node_id : 0);
            for (size_t k = 0; m && k < m->current.n_replicas; k++)
                fprintf(stderr, " N%u", m->current.replicas[k]);
            if (proc)
                fprintf(stderr,
                        "; %s of epoch %lu, applied %lu, committed %lu, self %zu, outbox %zu, waiting %zu",
                        roles[st.role], (unsigned long)st.epoch, (unsigned long)st.applied,
                        (unsigned long)st.committed, st.self_inflight, st.outbox_depth, st.waiting_rpcs);
            fprintf(stderr, "\n");
        }
        for (size_t k = 0; k < n->view.nodes.n_nodes; k++) {
            const struct node_entry *e = &n->view.nodes.nodes[k];
            fprintf(stderr, "    N%u:%u %s, storage %s, worker %s\n", e->id, e->generation,
                    e->tombstone ? "removed" : e->name, storage_state_name(e->storage),
                    worker_state_name(e->worker));
        }
        if (n->log_host)
            log_host_each_loglet(n->log_host, print_loglet, NULL);
        print_chains(&n->view.logs);
    }
}

static void closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void check_replay(uint32_t partition)
{
    struct sim_world *w = &csim->base;
    struct kv_backend *kv = memory_backend_new(&w->env.env);
    struct store_config config = {.partition_id = (uint16_t)partition,
                                  .key_start = w->partitions[partition].key_start,
                                  .key_end = w->partitions[partition].key_end,
                                  .cache_bytes = 256 << 20,
                                  .flush_dirty_bytes = 1 << 30,
                                  .flush_interval_ms = 1 << 30};
    struct partition_store *s;
    struct err err = {0};
    SIM_CHECK(w, store_open(kv, &w->env.env, &config, &s, &err) == RC_OK, "%s", err.msg);
    for (size_t i = 0; i < logs[partition].len; i++) {
        struct applied *a = &logs[partition].items[i];
        struct apply_result result;
        if (!a->record.ptr)
            continue;
        /* As it is in the log: applying stamps nothing into it. */
        enum rc rc = __real_machine_apply(s, i + 1, a->record, NULL, &result, &err);
        SIM_CHECK(w, rc == RC_OK, "%s", err.msg);
        SIM_CHECK(w, store_vars(s)->state_hash == a->state_hash,
                  "P-7: a replay of partition %u differs after LSN %zu", partition, i + 1);
        csim_snapshot_replayed(s, &w->env);
        store_maintain(s);
    }
    bool done = false;
    store_close(s, true, closed, &done);
    for (int i = 0; i < 100 && !done; i++)
        sim_env_advance(&w->env, 10);
}

void csim_check_final(void)
{
    sim_check_appends(&csim->base);
    for (uint32_t i = 0; i < csim->options.partitions; i++)
        check_replay(i);
}

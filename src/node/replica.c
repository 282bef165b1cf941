/* Implementation of node/replica.h. */
#include "node/replica.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "node/shard.h"
#include "node/shipper.h"
#include "partition/store_opening.h"

#define TARGET       "restate_worker::partition"
/* After so long without a failure the pauses begin anew. */
#define HEALTHY_MS   60000u
/* Leading waits for the first news from the log: it may begin behind what the store has. */
#define LOOK_MS      10u
#define LOOK_LONG_MS 200u

static const uint32_t pauses_ms[] = {1000, 2000, 5000, 12000, 24000, 30000};

enum phase {
    PHASE_CLOSED,
    PHASE_OPENING, /* the store, which may wait for a snapshot */
    PHASE_OPEN,
    PHASE_CLOSING,
    PHASE_PAUSING, /* failed; started again by the timer */
};

struct replica {
    struct replica_host *host;
    uint16_t id;
    enum phase phase;
    bool wanted;
    uint64_t lead_epoch; /* to lead with when it is open; 0: follow */
    struct processor *processor;
    struct log *log;                   /* the processor's; for its tail and trim point */
    struct invoker_partition *invoker; /* while leading */
    struct shipper *shipper;
    struct store_opening *opening;
    struct snapshot_partition *snapshots; /* while it is open */
    lsn_t min_lsn; /* the store needs this much: the log was found to be trimmed to here */
    bool gap;      /* it failed because of that */
    bool abandon;  /* closing without a flush */
    struct {
        lsn_t *items;
        size_t len, cap;
    } peers;
    bool peers_known;
    lsn_t target; /* tail of the log found after opening; 0: not known yet */
    bool failed;  /* closing because of a failure */
    unsigned failures;
    uint64_t opened_ms;
    lsn_t opened_at; /* applied then */
    lsn_t looked_at; /* applied at the last tick */
    bool stalled;    /* catching up, and nothing more comes */
    struct env_timer retry, lead_timer;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static struct partition_slot *slot_of(const struct replica *r)
{
    return &r->host->shared->map->slots[r->id];
}

static void changed(struct replica *r)
{
    r->host->changed(r->host);
}

static void count(const struct replica *r, const char *name, const char *more, const char *help)
{
    char labels[64];
    snprintf(labels, sizeof(labels), "partition=\"%u\"%s", r->id, more);
    metric_inc(metric_counter(name, labels, help));
}

/* ---- the processor's host ---- */

static void host_invoke(void *host, struct processor *p, struct invocation *inv)
{
    struct replica *r = host;
    invoker_invoke(r->invoker, inv);
}

static void host_abort(void *host, struct processor *p, struct invocation_id id)
{
    struct replica *r = host;
    invoker_abort(r->invoker, id);
}

static void host_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index)
{
    struct replica *r = host;
    invoker_notify(r->invoker, inv, entry_index);
}

static void host_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index)
{
    struct replica *r = host;
    invoker_ack_command(r->invoker, id, command_index);
}

static void host_retry_now(void *host, struct processor *p, struct invocation_id id)
{
    struct replica *r = host;
    invoker_retry_now(r->invoker, id);
}

static void host_effects_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                                 uint64_t batch, bool dropped)
{
    struct replica *r = host;
    invoker_effects_applied(r->invoker, id, token, batch, dropped);
}

static bool host_pause(void *host, struct processor *p, struct invocation_id id)
{
    struct replica *r = host;
    return invoker_pause(r->invoker, id);
}

static void host_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                      struct bytes record_take)
{
    struct replica *r = host;
    shipper_ship(r->shipper, index, partition_key, record_take);
}

static void host_ended(void *host, struct processor *p, struct invocation_id id, struct bytes origin,
                       const struct outcome *result)
{
    struct replica *r = host;
    struct service_invocation si;
    struct trace_context context;
    struct reader reader = reader_make(bytes_slice(origin));
    if (!r->host->tracer || !service_invocation_read(&reader, &si))
        return;
    trace_context_of(si.traceparent, id, &context);
    if (context.sampled)
        invocation_end_span(r->host->tracer, &context, id, &si.target, result);
}

static enum rc invoker_propose(void *ctx, struct bytes record_take)
{
    struct replica *r = ctx;
    return processor_propose_effects(r->processor, record_take);
}

static struct invocation *invoker_invocation(void *ctx, struct invocation_id id)
{
    struct replica *r = ctx;
    return store_invocation_get(processor_store(r->processor), id);
}

static struct partition_store *invoker_store(void *ctx)
{
    struct replica *r = ctx;
    return processor_store(r->processor);
}

static const struct invoker_ops invoker_callbacks = {
    .propose = invoker_propose,
    .invocation = invoker_invocation,
    .store = invoker_store,
};

static void host_leading(void *host, struct processor *p, uint64_t epoch)
{
    struct replica *r = host;
    r->invoker = invoker_partition_new(r->host->invoker, r->id, &invoker_callbacks, r);
    char id[8];
    snprintf(id, sizeof(id), "%u", r->id);
    LOG(LOG_DEBUG, TARGET, LOG_FIELDS({"partition_id", id}), "Processor became Leader of epoch e%llu",
        (unsigned long long)epoch);
    if (r->snapshots)
        snapshot_partition_lead(r->snapshots, true);
    changed(r);
}

static void stop_leading(struct replica *r)
{
    shipper_reset(r->shipper);
    if (!r->invoker)
        return;
    if (r->snapshots)
        snapshot_partition_lead(r->snapshots, false);
    invoker_partition_free(r->invoker);
    r->invoker = NULL;
    changed(r);
}

static void host_following(void *host, struct processor *p)
{
    stop_leading(host);
}

static void close_processor(struct replica *r, bool abandon);

/* The replica cannot go on from here: it is opened again from what is durable, after a pause that grows. */
static void host_failed(void *host, struct processor *p, const struct err *err)
{
    struct replica *r = host;
    char id[8];
    snprintf(id, sizeof(id), "%u", r->id);
    struct processor_status st;
    processor_get_status(p, &st);
    if (!st.trim_gap) /* else opening says more */
        LOG(LOG_ERROR, TARGET, LOG_FIELDS({"partition_id", id}, {"error", err->msg}),
            "Partition processor stopped: it cannot continue from its log");
    if (r->phase != PHASE_OPEN)
        return;
    r->failed = true;
    r->gap = st.trim_gap != 0;
    r->min_lsn = MAX(r->min_lsn, st.trim_gap);
    close_processor(r, true);
}

static const struct processor_host_ops host_ops = {
    .invoke = host_invoke,
    .abort = host_abort,
    .forward_notification = host_forward,
    .ack_command = host_ack,
    .retry_now = host_retry_now,
    .effects_applied = host_effects_applied,
    .pause = host_pause,
    .ship = host_ship,
    .ended = host_ended,
    .leading = host_leading,
    .following = host_following,
    .failed = host_failed,
};

/* ---- opening ---- */

static struct processor_config processor_configuration(const struct replica *r)
{
    const struct shard_shared *shared = r->host->shared;
    const struct partition_slot *slot = slot_of(r);
    return (struct processor_config){
        .partition_id = r->id,
        .node_id = shared->node_id,
        .node_generation = shared->node_generation,
        .key_start = slot->key_start,
        .key_end = slot->key_end,
        .max_inflight_ship = 1024,
        .self_proposal_limit_bytes = 64u << 20,
        .trim_delay_ms = shared->config->trim_delay_ms,
        .traces = r->host->tracer != NULL,
        .version = shared->version,
    };
}

static struct store_config store_configuration(const struct replica *r)
{
    const struct shard_shared *shared = r->host->shared;
    const struct partition_slot *slot = slot_of(r);
    size_t per_partition = shared->config->storage_memory_bytes / 32 / shared->map->count;
    return (struct store_config){
        .partition_id = r->id,
        .key_start = slot->key_start,
        .key_end = slot->key_end,
        .cache_bytes = MAX(per_partition, (size_t)1 << 20),
        .flush_dirty_bytes = 1u << 20, /* small pauses, little memory; a flush of 24 partitions is one sync */
        .flush_interval_ms = 10 * 1000,
    };
}

static void open_replica(struct replica *r);

static void at_rest(struct replica *r)
{
    void (*closed)(void *ctx) = r->closed;
    r->closed = NULL;
    r->phase = PHASE_CLOSED;
    changed(r);
    if (closed)
        closed(r->closed_ctx);
    else if (r->wanted)
        open_replica(r);
}

static void start_again_later(struct replica *r, const char *why)
{
    if (!r->wanted) {
        at_rest(r);
        return;
    }
    uint32_t pause = pauses_ms[MIN(r->failures, ARRAY_LEN(pauses_ms) - 1)];
    r->failures++;
    r->phase = PHASE_PAUSING;
    char id[8];
    snprintf(id, sizeof(id), "%u", r->id);
    LOG(LOG_WARN, TARGET, LOG_FIELDS({"partition_id", id}),
        "Partition processor is started again in %u ms%s%s", pause, why ? ": " : "", why ? why : "");
    env_timer_arm(r->host->env, &r->retry, pause);
    changed(r);
}

static void lead_if_told(struct replica *r);

/* Where the log ended when this replica was opened: until that is applied it is catching up. */
static void tail_found(void *ctx, enum rc rc, lsn_t tail)
{
    struct replica *r = ctx;
    if (r->phase != PHASE_OPEN)
        return;
    if (rc == RC_OK)
        r->target = tail;
    lead_if_told(r);
    changed(r);
}

/* Does the log continue the store? Something was read from it, or there is nothing to read. Who announces
 * itself and then finds that it needs a snapshot has used up its epoch, and taken the log from whoever could
 * write. */
static bool log_continues(const struct replica *r)
{
    struct processor_status st;
    processor_get_status(r->processor, &st);
    return st.applied > r->opened_at || (r->target && st.applied + 1 >= r->target) ||
           env_mono_ms(r->host->env) >= r->opened_ms + LOOK_LONG_MS;
}

static void look_again(struct env_timer *t)
{
    lead_if_told(CONTAINER_OF(t, struct replica, lead_timer));
}

static void lead_if_told(struct replica *r)
{
    if (r->phase != PHASE_OPEN || !r->lead_epoch)
        return;
    if (!log_continues(r)) {
        env_timer_arm(r->host->env, &r->lead_timer, LOOK_MS);
        return;
    }
    uint64_t epoch = r->lead_epoch;
    r->lead_epoch = 0;
    replicated_log_claim(r->log);
    processor_become_leader(r->processor, epoch);
}

static void snapshots_changed(void *ctx, const struct snapshot_status *status)
{
    replica_tick(ctx);
    changed(ctx);
}

static void add_snapshots(struct replica *r, struct partition_store *store)
{
    struct snapshot_partition_config config = {
        .partition_id = r->id,
        .log_id = r->id,
        .key_start = slot_of(r)->key_start,
        .key_end = slot_of(r)->key_end,
        .store = store,
        .changed = snapshots_changed,
        .ctx = r,
    };
    r->snapshots = snapshot_agent_add(r->host->snapshots->agent, &config);
}

static void tell_subscriptions(struct replica *r)
{
    const struct schema *schema = r->host->schema->schema;
    const struct schema_subscription *const *list;
    size_t n = schema_subscriptions(schema, &list);
    struct u128 *ids = xcalloc(MAX(n, 1), sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        ids[i] = list[i]->id;
    processor_set_subscriptions(r->processor, schema_version(schema), ids, n);
    free(ids);
}

static void store_opened(void *ctx, struct partition_store *store, const struct err *err)
{
    struct replica *r = ctx;
    r->opening = NULL;
    if (!store) {
        start_again_later(r, err->msg);
        return;
    }
    struct processor_config pc = processor_configuration(r);
    r->phase = PHASE_OPEN;
    count(r, "restate_partition_start_total", "", "Partition replicas that began to run");
    r->opened_ms = env_mono_ms(r->host->env);
    r->opened_at = r->looked_at = store_vars(store)->applied_lsn;
    r->stalled = false;
    r->log = replicated_log_open(r->host->logs, r->id);
    r->target = 0;
    r->failed = r->gap = false;
    r->processor = processor_new(r->host->env, &pc, store, r->log, &host_ops, r);
    processor_set_rules(r->processor, r->host->rules_version, r->host->rules);
    tell_subscriptions(r);
    add_snapshots(r, store);
    r->shipper = shipper_new(r->host->loop, r->host->shared->map, r->processor, r->id);
    shipper_set_remote(r->shipper, r->host->ships);
    slot_of(r)->processor = r->processor;
    log_find_tail(r->log, tail_found, r);
    lead_if_told(r);
    changed(r);
}

static void open_replica(struct replica *r)
{
    struct store_opening_request q = {
        .kv = r->host->backend,
        .store = store_configuration(r),
        .min_lsn = r->min_lsn,
        .repository = r->host->snapshots->repository,
    };
    r->phase = PHASE_OPENING;
    r->opening = store_opening_start(r->host->env, &q, store_opened, r);
}

static void retry(struct env_timer *t)
{
    open_replica(CONTAINER_OF(t, struct replica, retry));
}

void replica_run(struct replica *r)
{
    r->wanted = true;
    if (r->phase == PHASE_CLOSED)
        open_replica(r);
}

/* ---- closing ---- */

static void processor_closed(void *ctx)
{
    struct replica *r = ctx;
    r->processor = NULL;
    r->log = NULL;
    if (r->failed && r->gap && r->wanted)
        open_replica(r); /* from a snapshot */
    else if (r->failed)
        start_again_later(r, NULL);
    else
        at_rest(r);
}

/* No snapshot is being made of the store any more: it may be closed. */
static void export_ended(void *ctx)
{
    struct replica *r = ctx;
    shipper_free(r->shipper);
    r->shipper = NULL;
    processor_close(r->processor, r->abandon, processor_closed, r);
}

static void close_processor(struct replica *r, bool abandon)
{
    uint64_t ran = env_mono_ms(r->host->env) - r->opened_ms;
    if (ran >= HEALTHY_MS)
        r->failures = 0;
    r->phase = PHASE_CLOSING;
    count(r, "restate_partition_stop_total",
          !r->failed ? ",reason=\"normal\""
          : r->gap   ? ",reason=\"log-gap-detected\""
                     : ",reason=\"error\"",
          "Partition replicas that ceased to run");
    env_timer_cancel(r->host->env, &r->lead_timer);
    if (!r->failed || !r->gap) /* else it has not announced itself, and leads from a snapshot */
        r->lead_epoch = 0;
    r->abandon = abandon;
    processor_step_down(r->processor);
    stop_leading(r);
    slot_of(r)->processor = NULL;
    struct snapshot_partition *snapshots = r->snapshots;
    r->snapshots = NULL;
    snapshot_partition_remove(snapshots, export_ended, r);
}

void replica_close(struct replica *r, void (*done)(void *ctx), void *ctx)
{
    r->wanted = false;
    r->lead_epoch = 0;
    r->closed = done;
    r->closed_ctx = ctx;
    if (r->phase == PHASE_OPEN) {
        close_processor(r, false);
    } else if (r->phase == PHASE_PAUSING) {
        env_timer_cancel(r->host->env, &r->retry);
        at_rest(r);
    } else if (r->phase == PHASE_CLOSED) {
        at_rest(r);
    } else if (r->opening) {
        store_opening_cancel(r->opening);
    }
    /* else: at rest when what is under way has ended */
}

/* ---- leading, reporting ---- */

void replica_lead(struct replica *r, uint64_t epoch)
{
    r->lead_epoch = epoch;
    lead_if_told(r);
}

void replica_step_down(struct replica *r)
{
    r->lead_epoch = 0;
    if (r->phase == PHASE_OPEN)
        processor_step_down(r->processor);
}

static enum replica_state state_of(const struct replica *r, lsn_t applied)
{
    if (r->phase != PHASE_OPEN)
        return r->wanted ? REPLICA_STARTING : REPLICA_STOPPED;
    if (!r->target)
        return REPLICA_STARTING;
    return r->stalled || applied + 1 >= r->target ? REPLICA_ACTIVE : REPLICA_CATCHING_UP;
}

bool replica_report(const struct replica *r, struct partition_report *out)
{
    struct processor_status st = {0};
    if (r->phase == PHASE_CLOSED && !r->wanted)
        return false;
    if (r->phase == PHASE_OPEN)
        processor_get_status(r->processor, &st);
    *out = (struct partition_report){
        .id = r->id,
        .state = state_of(r, st.applied),
        .role = st.role,
        .epoch = st.epoch,
        .applied = st.applied,
        .committed = st.committed,
        .durable = st.durable,
        .trimmed = r->phase == PHASE_OPEN ? r->log->trim_point : 0,
        .target = r->target,
        .archived = r->snapshots ? snapshot_partition_status(r->snapshots)->archived : 0,
        .oldest_waiting_ms = st.oldest_waiting_ms,
        .held = st.held,
        .schema_version = schema_version(r->host->schema->schema),
    };
    if (r->phase == PHASE_OPEN) {
        const struct partition_vars *v = store_vars(processor_store(r->processor));
        out->announced_epoch = v->leader_epoch;
        out->announced_leader = (struct node_ref){v->leader_node_id, v->leader_node_generation};
    }
    return true;
}

struct trim_request {
    struct replica *replica;
    lsn_t upto;
    replica_trim_done done;
    void *ctx;
};

static void not_open(const struct replica *r, struct err *err)
{
    err_set(err, RC_NOT_LEADER, "partition %u has no active leader here", (unsigned)r->id);
}

/* What no replica needs from the log: all have it, or a snapshot that is retained has it. */
static lsn_t needed_by_nobody(const struct replica *r, lsn_t durable)
{
    lsn_t all = durable;
    if (!r->peers_known && node_snapshots_is_cluster(r->host->shared->snapshots))
        all = 0;
    for (size_t i = 0; i < r->peers.len; i++)
        all = MIN(all, r->peers.items[i]);
    return MIN(durable, MAX(all, snapshot_partition_status(r->snapshots)->archived));
}

static void flushed_for_trim(void *ctx, lsn_t durable)
{
    struct trim_request *t = ctx;
    struct replica *r = t->replica;
    struct err err = {0};
    if (r->phase != PHASE_OPEN) {
        not_open(r, &err);
        t->done(t->ctx, 0, &err);
        free(t);
        return;
    }
    lsn_t upto = MIN(t->upto, needed_by_nobody(r, durable));
    if (upto < t->upto)
        LOG0(
            LOG_WARN, "restate_server",
            "log %u is trimmed to LSN %llu only, not to %llu as was asked: replicas of partition %u have not "
            "more of it on their disks, nor has a snapshot",
            (unsigned)r->id, (unsigned long long)upto, (unsigned long long)t->upto, (unsigned)r->id);
    log_trim(r->log, upto);
    t->done(t->ctx, MAX(upto, r->log->trim_point), NULL);
    free(t);
}

void replica_trim_log(struct replica *r, lsn_t upto, replica_trim_done done, void *ctx)
{
    struct err err = {0};
    if (r->phase != PHASE_OPEN) {
        not_open(r, &err);
        done(ctx, 0, &err);
        return;
    }
    if (upto <= r->log->trim_point) {
        done(ctx, r->log->trim_point, NULL);
        return;
    }
    struct trim_request *t = xcalloc(1, sizeof(*t));
    *t = (struct trim_request){r, upto, done, ctx};
    store_flush(processor_store(r->processor), flushed_for_trim, t);
}

/* ---- snapshots and trimming ---- */

void replica_set_peers(struct replica *r, const lsn_t *durable, size_t n)
{
    r->peers.len = 0;
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&r->peers, durable[i]);
    r->peers_known = true;
    replica_tick(r);
}

/* The last records of a sequencer that died are stored, but readers may not have them before somebody has
 * taken over the log. Whoever has everything that can be read is as good as one that has caught up: it may be
 * asked to lead. */
static void look_at_progress(struct replica *r, lsn_t applied)
{
    bool stalled = r->target && applied + 1 < r->target && applied == r->looked_at;
    r->looked_at = applied;
    if (stalled == r->stalled)
        return;
    r->stalled = stalled;
    changed(r);
}

void replica_rules_changed(struct replica *r)
{
    if (r->phase == PHASE_OPEN)
        processor_set_rules(r->processor, r->host->rules_version, r->host->rules);
}

void replica_schema_changed(struct replica *r)
{
    if (r->phase == PHASE_OPEN)
        tell_subscriptions(r);
}

void replica_tick(struct replica *r)
{
    if (r->phase != PHASE_OPEN)
        return;
    const struct node_snapshots *snapshots = r->host->shared->snapshots;
    struct processor_status st;
    processor_get_status(r->processor, &st);
    look_at_progress(r, st.applied);
    size_t peers = r->peers.len;
    VEC_PUSH(&r->peers, st.durable);
    if (!r->peers_known && node_snapshots_is_cluster(snapshots))
        VEC_PUSH(&r->peers, 0); /* somebody who has not spoken */
    processor_set_durability(r->processor,
                             durability_point(node_snapshots_mode(snapshots), r->peers.items, r->peers.len,
                                              snapshot_partition_status(r->snapshots)->archived));
    r->peers.len = peers;
}

void replica_create_snapshot(struct replica *r, lsn_t min_lsn, snapshot_create_done done, void *ctx)
{
    struct processor_status st = {0};
    if (r->phase == PHASE_OPEN)
        processor_get_status(r->processor, &st);
    if (st.role == PROCESSOR_LEADER && state_of(r, st.applied) == REPLICA_ACTIVE) {
        snapshot_partition_create(r->snapshots, min_lsn, done, ctx);
        return;
    }
    struct err err = {0};
    not_open(r, &err);
    done(ctx, NULL, &err);
}

struct processor *replica_processor(struct replica *r)
{
    return r->phase == PHASE_OPEN ? r->processor : NULL;
}

struct invoker_partition *replica_invoker(struct replica *r)
{
    return r->phase == PHASE_OPEN ? r->invoker : NULL;
}

struct replica *replica_new(struct replica_host *host, uint16_t partition)
{
    struct replica *r = xcalloc(1, sizeof(*r));
    r->host = host;
    r->id = partition;
    env_timer_init(&r->retry, retry);
    env_timer_init(&r->lead_timer, look_again);
    return r;
}

void replica_free(struct replica *r)
{
    ASSERT(r->phase == PHASE_CLOSED);
    VEC_FREE(&r->peers);
    free(r);
}

/* A partition replica: applies its log and, as leader, acts (spec/invocation-lifecycle.md §3.4, §3.5, §11).
 */
#include "partition/processor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "partition/limits.h"
#include "partition/processor_internal.h"

#define HOUSEKEEPING_MS      1000
/* Effects of running attempts are progress: they get more room than new requests. */
#define EFFECTS_LIMIT_FACTOR 2

uint64_t processor_clock(struct processor *p)
{
    uint64_t wall = env_wall_ms(p->env);
    p->clock_ms = MAX(p->clock_ms, wall);
    return p->clock_ms;
}

/* ---- proposing ---- */

static void note_proposed(struct processor *p, uint64_t seq, size_t size)
{
    p->self_bytes += size;
    p->self_count++;
    p->last_seq = seq;
    p->last_seq_at_ms = env_mono_ms(p->env);
    if (!p->marked) {
        p->marked = true;
        p->mark_seq = seq;
        p->mark_at_ms = p->last_seq_at_ms;
    }
}

static void note_read_back(struct processor *p, uint64_t seq, size_t size)
{
    p->self_bytes -= MIN(size, p->self_bytes);
    p->self_count -= p->self_count > 0;
    if (!p->marked || seq < p->mark_seq)
        return;
    p->marked = seq < p->last_seq;
    p->mark_seq = p->last_seq;
    p->mark_at_ms = p->last_seq_at_ms;
}

static void become_follower(struct processor *p);

/* Another node has taken the log over: this replica led until now, whether or not it has read that yet. */
static enum rc refused_as_writer(struct processor *p, enum rc rc)
{
    if (rc != RC_SEALED && rc != RC_NOT_LEADER)
        return rc;
    become_follower(p);
    return RC_NOT_LEADER;
}

static enum rc append_self(struct processor *p, enum command_kind kind, uint64_t key_start, uint64_t key_end,
                           uint64_t seq, struct bytes record_take)
{
    struct record_header h = {
        .version = RECORD_VERSION,
        .kind = (uint8_t)kind,
        .dedup = DEDUP_SELF,
        .created_at_ms = processor_clock(p),
        .key_start = key_start,
        .key_end = key_end,
        .seq_hi = p->epoch,
        .seq_lo = seq,
    };
    size_t size = record_take.len;
    record_header_put((uint8_t *)record_take.ptr, &h);
    enum rc rc = log_append(p->log, record_take, NULL);
    if (rc == RC_OK)
        note_proposed(p, seq, size);
    return rc;
}

enum rc processor_propose(struct processor *p, enum command_kind kind, uint64_t key_start, uint64_t key_end,
                          struct bytes record_take)
{
    if (p->role != PROCESSOR_LEADER || p->failed || p->closing) {
        bytes_unref(&record_take);
        return RC_NOT_LEADER;
    }
    enum rc rc = append_self(p, kind, key_start, key_end, p->next_seq, record_take);
    if (rc == RC_OK)
        p->next_seq++; /* a number that was in the log is never used again (§17 trap 15) */
    return refused_as_writer(p, rc);
}

enum rc processor_propose_writer(struct processor *p, enum command_kind kind, struct writer *w)
{
    return processor_propose(p, kind, 0, UINT64_MAX, writer_take(w));
}

enum rc processor_propose_effects(struct processor *p, struct bytes record_take)
{
    struct reader r = reader_make(record_body(bytes_slice(record_take)));
    struct effects_head head;
    bool ok = effects_begin_read(&r, &head);
    ASSERT_MSG(ok, "the invoker proposed effects without a head");
    if (p->self_bytes > EFFECTS_LIMIT_FACTOR * p->config.self_proposal_limit_bytes) {
        bytes_unref(&record_take);
        return RC_OVERLOADED;
    }
    uint64_t key = head.id.partition_key;
    return processor_propose(p, CMD_INVOKER_EFFECTS, key, key, record_take);
}

enum rc processor_ingest(struct processor *p, struct bytes record_take, struct log_append_wait *wait)
{
    if (p->role != PROCESSOR_LEADER || p->failed || p->closing) {
        bytes_unref(&record_take);
        return RC_NOT_LEADER;
    }
    return processor_append(p, record_take, wait);
}

enum rc processor_append(struct processor *p, struct bytes record_take, struct log_append_wait *wait)
{
    return refused_as_writer(p, log_append(p->log, record_take, wait));
}

/* ---- leadership ---- */

static void announce(struct processor *p)
{
    struct cmd_announce_leader c = {
        .node_id = p->config.node_id,
        .node_generation = p->config.node_generation,
        .epoch = p->epoch,
        .key_start = p->config.key_start,
        .key_end = p->config.key_end,
    };
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    cmd_announce_leader_write(&w, &c);
    enum rc rc = append_self(p, CMD_ANNOUNCE_LEADER, 0, UINT64_MAX, 0, writer_take(&w));
    if (rc == RC_OK)
        return;
    if (rc == RC_OVERLOADED || rc == RC_NO_SPACE) {
        env_timer_arm(p->env, &p->announce_retry, RETRY_MS);
        return;
    }
    p->role = PROCESSOR_FOLLOWER;
    p->candidacy_failed = true;
    processor_schedule(p);
}

static void announce_retry(struct env_timer *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, announce_retry);
    if (p->role == PROCESSOR_CANDIDATE)
        announce(p);
}

/* Back to follower from whatever it was; the host is told in the pass. */
static void become_follower(struct processor *p)
{
    if (p->role == PROCESSOR_FOLLOWER)
        return;
    if (p->role == PROCESSOR_CANDIDATE)
        p->candidacy_failed = true;
    p->role = PROCESSOR_FOLLOWER;
    actions_clear(&p->actions);
    env_timer_cancel(p->env, &p->announce_retry);
    leader_timers_stop(p);
    shuffle_stop(p);
    rpcs_lost_leadership(p);
    p->self_bytes = p->self_count = 0;
    p->marked = false;
    p->rules_proposed = 0;
    p->admitting = false;
    p->subscriptions.forgetting = false;
    p->trim_to = 0; /* the next leader trims */
    processor_schedule(p);
}

void processor_become_leader(struct processor *p, uint64_t epoch)
{
    ASSERT(epoch > 0);
    if (p->closing || p->failed)
        return;
    become_follower(p);
    p->candidacy_failed = false;
    p->role = PROCESSOR_CANDIDATE;
    p->epoch = epoch;
    p->next_seq = 1;
    announce(p);
}

void processor_step_down(struct processor *p)
{
    become_follower(p);
}

static void collect_invoked(void *ctx, struct invocation *inv)
{
    struct actions *a = ctx;
    VEC_PUSH(a, ((struct action){.kind = ACTION_INVOKE, .id = inv->id}));
}

/* Leader tasks (§11.2), from the state at the announcement; records behind it in the same batch add their
 * actions after these. */
static void start_leading(struct processor *p)
{
    p->role = PROCESSOR_LEADER;
    actions_clear(&p->actions);
    store_scan_invoked(p->store, collect_invoked, &p->actions);
    leader_timers_start(p);
    shuffle_start(p);
    subscriptions_start(p);
    LOG0(LOG_DEBUG, PROCESSOR_LOG, "partition %u: leading with epoch %lu from LSN %lu",
         p->config.partition_id, (unsigned long)p->epoch, (unsigned long)store_vars(p->store)->applied_lsn);
}

static void on_announcement(struct processor *p, const struct apply_result *r)
{
    bool mine = r->epoch == p->epoch && r->node_id == p->config.node_id &&
                r->node_generation == p->config.node_generation;
    if (mine && p->role == PROCESSOR_CANDIDATE)
        start_leading(p);
    else if (r->epoch > p->epoch || p->role == PROCESSOR_LEADER)
        become_follower(p);
    /* else: an older candidate whose announcement stands before mine */
}

/* ---- reading ---- */

static void fail(struct processor *p, const struct err *err)
{
    if (p->failed)
        return;
    p->failed = true;
    p->failure = *err;
    become_follower(p);
    processor_schedule(p);
}

static void on_own(struct processor *p, const struct apply_result *r, size_t size)
{
    note_read_back(p, r->seq_lo, size);
    if (r->kind == CMD_TRUNCATE_OUTBOX)
        shuffle_truncated(p);
    if (r->kind == CMD_ADMIT)
        p->admitting = false;
    if (r->kind == CMD_FORGET_PRODUCERS)
        p->subscriptions.forgetting = false;
    if (r->kind == CMD_ANNOUNCE_LEADER && r->skipped)
        become_follower(p); /* a higher epoch was announced before */
}

static void apply_one(struct processor *p, const struct log_record *rec)
{
    struct err err = {0};
    lsn_t applied = store_vars(p->store)->applied_lsn;
    if (rec->lsn <= applied)
        return;
    if (rec->lsn != applied + 1) {
        err_set(&err, RC_CORRUPT, "the log jumps from LSN %lu to %lu", (unsigned long)applied,
                (unsigned long)rec->lsn);
        fail(p, &err);
        return;
    }
    struct apply_result r;
    struct actions *actions = p->role == PROCESSOR_LEADER ? &p->actions : NULL;
    enum rc rc = machine_apply(p->store, rec->lsn, rec->body, actions, &r, &err);
    if (rc != RC_OK) {
        fail(p, &err);
        return;
    }
    /* What was read while applying may have been damaged: nothing may follow from it. */
    if (store_failure(p->store)) {
        fail(p, store_failure(p->store));
        return;
    }
    if (r.dedup == DEDUP_SELF && r.seq_hi == p->epoch && p->role != PROCESSOR_FOLLOWER)
        on_own(p, &r, rec->body.len);
    if (r.dedup == DEDUP_PRODUCER)
        subscriptions_on_record(p, &r);
    if (r.leader_announced)
        on_announcement(p, &r);
}

static void on_records(void *ctx, const struct log_record *records, size_t n)
{
    struct processor *p = ctx;
    if (p->closing)
        return;
    for (size_t i = 0; i < n && !p->failed; i++)
        apply_one(p, &records[i]);
    p->clock_ms = MAX(p->clock_ms, store_vars(p->store)->applied_time_ms);
    if (p->log->committed <= store_vars(p->store)->applied_lsn)
        p->behind_since_ms = 0;
    processor_schedule(p);
}

static void on_trim_gap(void *ctx, lsn_t from, lsn_t to)
{
    struct processor *p = ctx;
    if (to <= store_vars(p->store)->applied_lsn)
        return;
    struct err err = {0};
    err_set(&err, RC_TRIMMED, "records %lu to %lu were trimmed from the log: the partition needs a snapshot",
            (unsigned long)from, (unsigned long)to);
    p->trim_gap = to;
    fail(p, &err);
}

static void on_read_error(void *ctx, const struct err *err)
{
    fail(ctx, err);
}

/* What was proposed is lost, and nobody else may say so: the new writer may have died before anybody could
 * read its announcement, and who has nothing more to propose would not be refused either. */
static void on_taken_over(void *ctx)
{
    become_follower(ctx);
}

static const struct log_reader_ops reader_ops = {
    .on_records = on_records,
    .on_trim_gap = on_trim_gap,
    .on_error = on_read_error,
    .on_taken_over = on_taken_over,
};

/* ---- the pass ---- */

static void tell_host(struct processor *p)
{
    bool over = p->host_epoch && (p->role != PROCESSOR_LEADER || p->host_epoch != p->epoch);
    if (over || (p->candidacy_failed && p->role == PROCESSOR_FOLLOWER)) {
        p->host_epoch = 0;
        p->ops->following(p->host, p);
    }
    p->candidacy_failed = false;
    if (p->role == PROCESSOR_LEADER && !p->host_epoch && !p->closing) {
        p->host_epoch = p->epoch;
        p->ops->leading(p->host, p, p->epoch);
    }
    if (p->failed && !p->failure_told && !p->closing) {
        p->failure_told = true;
        log_read_stop(p->log);
        LOG0(p->trim_gap ? LOG_INFO : LOG_ERROR, PROCESSOR_LOG, "partition %u stopped: %s",
             p->config.partition_id, p->failure.msg);
        p->ops->failed(p->host, p, &p->failure);
    }
}

static void run_invoke(struct processor *p, const struct action *a)
{
    struct invocation *inv = store_invocation_get(p->store, a->id);
    if (inv && inv->status == INV_INVOKED) /* a later record of the batch may have ended it */
        p->ops->invoke(p->host, p, inv);
}

static void run_forward(struct processor *p, const struct action *a)
{
    struct invocation *inv = store_invocation_get(p->store, a->id);
    if (inv && inv->status == INV_INVOKED && a->index < inv->journal.len)
        p->ops->forward_notification(p->host, p, inv, a->index);
}

static void count_action(struct processor *p, enum action_kind kind)
{
    static const char *const names[ACTION_KINDS] = {
        [ACTION_INVOKE] = "Invoke",
        [ACTION_ABORT] = "AbortInvocation",
        [ACTION_FORWARD_NOTIFICATION] = "ForwardNotification",
        [ACTION_ACK_COMMAND] = "AckStoredCommand",
        [ACTION_RETRY_NOW] = "RetryNow",
        [ACTION_TIMER_REGISTERED] = "RegisterTimer",
        [ACTION_TIMER_DELETED] = "DeleteTimer",
        [ACTION_OUTBOX] = "NewOutboxMessage",
        [ACTION_RESPONSE] = "IngressResponse",
        [ACTION_SUBMITTED] = "IngressSubmitNotification",
        [ACTION_OPERATION_REPLY] = "OperationReply",
    };
    if (!names[kind])
        return;
    if (!p->action_counts[kind]) {
        char labels[96];
        snprintf(labels, sizeof(labels), "action=\"%s\",partition=\"%u\"", names[kind],
                 p->config.partition_id);
        p->action_counts[kind] =
            metric_counter("restate_usage_leader_action_count_total", labels, "Actions of partition leaders");
    }
    metric_inc(p->action_counts[kind]);
}

static void run_action(struct processor *p, const struct action *a)
{
    count_action(p, a->kind);
    switch (a->kind) {
    case ACTION_INVOKE:
        run_invoke(p, a);
        return;
    case ACTION_ABORT:
        p->ops->abort(p->host, p, a->id);
        return;
    case ACTION_FORWARD_NOTIFICATION:
        run_forward(p, a);
        return;
    case ACTION_ACK_COMMAND:
        p->ops->ack_command(p->host, p, a->id, a->index);
        return;
    case ACTION_RETRY_NOW:
        p->ops->retry_now(p->host, p, a->id);
        return;
    case ACTION_TIMER_REGISTERED:
        leader_timers_on_registered(p, &a->timer);
        return;
    case ACTION_TIMER_DELETED:
        leader_timers_on_deleted(p, &a->timer);
        return;
    case ACTION_OUTBOX:
        return; /* the shuffle looks at the store by itself */
    case ACTION_RESPONSE:
    case ACTION_SUBMITTED:
    case ACTION_OPERATION_REPLY:
        rpcs_on_action(p, a);
        return;
    case ACTION_EFFECTS_APPLIED:
        p->ops->effects_applied(p->host, p, a->id, a->token, a->batch, a->dropped);
        return;
    case ACTION_ENDED:
        p->ops->ended(p->host, p, a->id, a->origin, &a->outcome);
        return;
    }
}

static void run_actions(struct processor *p)
{
    struct actions batch = p->actions;
    p->actions = p->running;
    p->running = batch;
    uint64_t epoch = p->epoch;
    /* A callback may make this replica step down: the rest of the batch is then dropped. */
    for (size_t i = 0; i < p->running.len && p->role == PROCESSOR_LEADER && p->epoch == epoch && !p->closing;
         i++)
        run_action(p, &p->running.items[i]);
    actions_clear(&p->running);
}

static void trim_log(struct processor *p)
{
    if (p->role != PROCESSOR_LEADER)
        return;
    lsn_t durable = p->config.trim_log ? store_durable_lsn(p->store) : p->durability;
    durable = MIN(durable, store_vars(p->store)->applied_lsn); /* others may be ahead */
    uint64_t now = env_mono_ms(p->env);
    if (durable < p->trim_to)
        p->trim_to = 0;
    if (p->trim_to && now >= p->trim_at_ms) {
        log_trim(p->log, p->trim_to);
        p->trimmed = p->trim_to;
        p->trim_to = 0;
    }
    if (!p->trim_to && durable > p->trimmed) {
        p->trim_to = durable;
        p->trim_at_ms = now + p->config.trim_delay_ms;
    }
}

void processor_set_durability(struct processor *p, lsn_t lsn)
{
    if (lsn == p->durability || p->closing)
        return;
    p->durability = lsn;
    processor_schedule(p);
}

/* Runs while something is not durable or waits to be trimmed; an idle partition has no timer. */
static void keep_house(struct processor *p)
{
    store_maintain(p->store);
    trim_log(p);
    bool busy = store_durable_lsn(p->store) < store_vars(p->store)->applied_lsn;
    if (busy || p->trim_to) {
        uint64_t now = env_mono_ms(p->env);
        uint64_t wait = busy ? HOUSEKEEPING_MS : MAX(p->trim_at_ms, now) - now;
        if (!env_timer_armed(&p->housekeeping))
            env_timer_arm(p->env, &p->housekeeping, wait);
    }
}

/* Rules that the log does not know yet, and one more record while held invocations are left that may start.
 */
static void govern(struct processor *p)
{
    if (p->role != PROCESSOR_LEADER)
        return;
    if (p->rules_version > MAX(store_rules_version(p->store), p->rules_proposed)) {
        struct writer w = WRITER_INIT;
        record_begin(&w, p->rules.len);
        write_slice_raw(&w, bytes_slice(p->rules));
        if (processor_propose_writer(p, CMD_RULE_BOOK, &w) == RC_OK)
            p->rules_proposed = p->rules_version;
        else
            env_timer_arm(p->env, &p->housekeeping, RETRY_MS);
    }
    if (store_slot_any_next(p->store) && !p->admitting) {
        struct writer w = WRITER_INIT;
        record_begin(&w, 0);
        p->admitting = processor_propose_writer(p, CMD_ADMIT, &w) == RC_OK;
        if (!p->admitting)
            env_timer_arm(p->env, &p->housekeeping, RETRY_MS);
    }
}

void processor_set_rules(struct processor *p, uint32_t version, struct bytes encoded)
{
    if (version <= p->rules_version || p->closing)
        return;
    bytes_unref(&p->rules);
    p->rules = bytes_ref(encoded);
    p->rules_version = version;
    govern(p); /* at once: whoever was told of the rules must not overtake them with a request */
}

static void housekeeping(struct env_timer *t)
{
    processor_schedule(CONTAINER_OF(t, struct processor, housekeeping));
}

static void run_pass(struct env_task *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, pass);
    tell_host(p);
    run_actions(p);
    if (!p->closing) {
        leader_timers_run(p);
        shuffle_run(p);
        govern(p);
        subscriptions_run(p);
    }
    rpcs_run(p);
    if (!p->closing)
        keep_house(p);
}

/* ---- life ---- */

static void close_begin(struct env_task *t);

struct processor *processor_new(struct env *env, const struct processor_config *config,
                                struct partition_store *store, struct log *log,
                                const struct processor_host_ops *ops, void *host)
{
    struct processor *p = xcalloc(1, sizeof(*p));
    p->env = env;
    p->config = *config;
    p->store = store;
    p->log = log;
    p->ops = ops;
    p->host = host;
    p->actions.traces = p->running.traces = config->traces;
    p->clock_ms = store_vars(store)->applied_time_ms;
    env_task_init(&p->pass, run_pass);
    env_task_init(&p->close_task, close_begin);
    env_timer_init(&p->announce_retry, announce_retry);
    env_timer_init(&p->housekeeping, housekeeping);
    rpcs_init(p);
    leader_timers_init(p);
    shuffle_init(p);
    log_read_from(log, store_vars(store)->applied_lsn + 1, &reader_ops, p);
    return p;
}

static void store_closed(void *ctx)
{
    struct processor *p = ctx;
    actions_free(&p->actions);
    actions_free(&p->running);
    rpcs_free(p);
    shuffle_free(p);
    bytes_unref(&p->rules);
    subscriptions_free(p);
    void (*closed)(void *) = p->closed;
    void *closed_ctx = p->closed_ctx;
    free(p);
    closed(closed_ctx);
}

static void log_closed(void *ctx)
{
    struct processor *p = ctx;
    rpcs_run(p); /* appends that the log has just failed */
    env_undefer(&p->pass);
    store_close(p->store, p->abandon, store_closed, p);
}

static void close_begin(struct env_task *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, close_task);
    env_undefer(&p->pass);
    rpcs_run(p);
    log_close(p->log, log_closed, p);
}

void processor_close(struct processor *p, bool abandon, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!p->closing);
    become_follower(p);
    p->closing = true;
    p->abandon = abandon;
    p->closed = done;
    p->closed_ctx = ctx;
    p->host_epoch = 0; /* the host is the one who closes: it needs no telling */
    p->candidacy_failed = false;
    env_timer_cancel(p->env, &p->housekeeping);
    log_read_stop(p->log);
    env_defer(p->env, &p->close_task);
}

struct partition_store *processor_store(struct processor *p)
{
    return p->store;
}

const struct processor_config *processor_get_config(const struct processor *p)
{
    return &p->config;
}

static uint64_t oldest_waiting_ms(struct processor *p)
{
    uint64_t now = env_mono_ms(p->env), since = now;
    if (p->marked)
        since = p->mark_at_ms;
    if (p->log->committed > store_vars(p->store)->applied_lsn) {
        if (!p->behind_since_ms)
            p->behind_since_ms = now;
        since = MIN(since, p->behind_since_ms);
    }
    return now - since;
}

void processor_get_status(struct processor *p, struct processor_status *out)
{
    *out = (struct processor_status){
        .role = p->role,
        .epoch = p->role == PROCESSOR_FOLLOWER ? store_vars(p->store)->leader_epoch : p->epoch,
        .applied = store_vars(p->store)->applied_lsn,
        .committed = p->log->committed,
        .durable = store_durable_lsn(p->store),
        .trim_gap = p->trim_gap,
        .oldest_waiting_ms = oldest_waiting_ms(p),
        .waiting_rpcs = p->waiting.count,
        .timers = p->timers.map.count,
        .outbox_depth = store_vars(p->store)->outbox_seq - store_vars(p->store)->outbox_head,
        .held = limits_held(store_limits(p->store)),
        .self_inflight = p->self_bytes,
    };
}

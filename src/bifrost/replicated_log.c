/* Provider `replicated`: handles, their step, and the chain. See replicated_log.h; writing, reading and tails
 * are in replicated_log_write.c, _read.c and _tail.c. */
#include "bifrost/replicated_log.h"

#include <stdlib.h>

#include "bifrost/replicated_fanout.h"
#include "bifrost/replicated_log_internal.h"

#define TICK_MS       250
#define READ_PAUSE_MS 250

static const struct log_ops replicated_ops;

static struct replicated_log *self(struct log *l)
{
    ASSERT(l->ops == &replicated_ops);
    return CONTAINER_OF(l, struct replicated_log, log);
}

void rl_wake(struct replicated_log *log)
{
    env_defer(rl_env(log), &log->step);
}

/* ---- which segments this process has written ---- */

struct used {
    struct omap_node node;
    uint32_t log_id;
    uint64_t next_index; /* segments below are used up for this process */
};

static int used_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint32_t x = CONTAINER_OF(a, struct used, node)->log_id, y = CONTAINER_OF(b, struct used, node)->log_id;
    return x < y ? -1 : x > y;
}

static int used_key_cmp(const void *key, const struct omap_node *n)
{
    uint32_t x = *(const uint32_t *)key, y = CONTAINER_OF(n, struct used, node)->log_id;
    return x < y ? -1 : x > y;
}

static struct used *find_used(struct replicated_logs *l, uint32_t log_id)
{
    struct omap_node *n = omap_find(&l->used, &log_id, used_key_cmp);
    return n ? CONTAINER_OF(n, struct used, node) : NULL;
}

bool rl_segment_used(struct replicated_logs *l, uint32_t log_id, uint32_t index)
{
    struct used *u = find_used(l, log_id);
    return u && index < u->next_index;
}

/* Trap TR-4: kept for the life of the process, also when the handle is closed and opened again, so that no
 * segment ever gets a second sequencer that would start again from offset 1. */
void rl_segment_use(struct replicated_logs *l, uint32_t log_id, uint32_t index)
{
    struct used *u = find_used(l, log_id);
    if (!u) {
        u = xcalloc(1, sizeof(*u));
        u->log_id = log_id;
        omap_insert(&l->used, &u->node);
    }
    ASSERT_MSG(index >= u->next_index, "segment %u of log %u gets a second sequencer", index, log_id);
    u->next_index = (uint64_t)index + 1;
}

/* ---- the chain ---- */

const struct chain_segment *rl_last_segment(const struct replicated_log *log)
{
    return log->chain.len ? &log->chain.segments[log->chain.len - 1] : NULL;
}

bool rl_params(struct replicated_log *log, const struct chain_segment *s, struct loglet_params *out)
{
    struct err err = {0};
    enum rc rc = RC_OK;
    if (s->kind != SEGMENT_REPLICATED)
        rc = err_set(&err, RC_UNSUPPORTED, "segment %u of log %u is %s, not replicated", s->index,
                     log->log.log_id, segment_kind_name(s->kind));
    else
        rc = loglet_params_decode(bytes_slice(s->params), out, &err);
    if (rc == RC_OK)
        return true;
    log->broken = true;
    log->broken_err = err;
    rl_wake(log);
    return false;
}

static void extend_look(struct replicated_log *log)
{
    const struct replicated_logs_config *c = &log->logs->config;
    if (log->extend)
        replicated_extend_look(log->extend, &c->replication, c->target_nodeset_size);
}

void rl_set_chain(struct replicated_log *log, const struct chain *chain, uint64_t version)
{
    log->chain_read = true;
    if (version <= log->version)
        return;
    ASSERT(chain->len > 0);
    log->version = version;
    uint32_t before = log->chain.len ? chain_last_index(&log->chain) : 0;
    bool marked = log->chain.len && !chain_tail(&log->chain);
    bool was_empty = log->chain.len == 0;
    chain_free(&log->chain);
    log->chain = chain_copy(chain);
    /* Everything below the last base is decided (§5.14, 6). */
    log->log.committed = MAX(log->log.committed, rl_last_segment(log)->base_lsn - 1);
    log->log.trim_point = MAX(log->log.trim_point, chain_first_lsn(chain) - 1);
    if (was_empty || before != chain_last_index(chain) || marked != !chain_tail(chain)) {
        rl_read_chain_changed(log);
        /* What waits for log-servers that are gone for good: an operator may have ended their segment. */
        extend_look(log);
    }
    rl_wake(log);
}

static void on_chain_read(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct replicated_log *log = CONTAINER_OF(r, struct replicated_log, read_request);
    log->reading = false;
    if (rc == RC_OK) {
        rl_set_chain(log, chain, version);
    } else if (rc == RC_NOT_FOUND) {
        log->chain_read = true;
        if (log->reader.ops) { /* a follower waits for the log to be created */
            log->read_wanted = true;
            env_timer_arm(rl_env(log), &log->read_pause, READ_PAUSE_MS);
        }
    } else {
        log->read_wanted = true;
        env_timer_arm(rl_env(log), &log->read_pause, READ_PAUSE_MS);
    }
    rl_wake(log);
}

void rl_read_chain(struct replicated_log *log)
{
    if (log->reading || log->closing || env_timer_armed(&log->read_pause))
        return;
    log->read_wanted = false;
    log->reading = true;
    log->logs->config.chains->ops->read(log->logs->config.chains, log->log.log_id, &log->read_request);
}

static void read_pause_over(struct env_timer *t)
{
    struct replicated_log *log = CONTAINER_OF(t, struct replicated_log, read_pause);
    if (log->read_wanted)
        rl_read_chain(log);
}

/* ---- the step ---- */

static void release_handle(struct replicated_log *log)
{
    struct replicated_logs_config *c = &log->logs->config;
    if (log->reading)
        c->chains->ops->cancel(c->chains, &log->read_request);
    rl_write_free(log);
    rl_read_free(log);
    rl_tail_free(log);
    env_undefer(&log->step);
    env_timer_cancel(c->calls->env, &log->read_pause);
    chain_free(&log->chain);
    list_remove(&log->link);
    free(log);
}

static void finish_close(struct replicated_log *log)
{
    void (*done)(void *ctx) = log->close_done;
    void *ctx = log->close_ctx;
    rl_fail_appends(log, RC_CLOSED);
    rl_answer(&log->tail_running, RC_CLOSED, 0);
    rl_answer(&log->tail_waiting, RC_CLOSED, 0);
    rl_answer(&log->seal_calls, RC_CLOSED, 0);
    release_handle(log);
    done(ctx);
}

static void report_broken(struct replicated_log *log)
{
    rl_fail_appends(log, log->broken_err.rc);
    rl_answer(&log->tail_running, log->broken_err.rc, 0);
    rl_answer(&log->tail_waiting, log->broken_err.rc, 0);
    rl_answer(&log->seal_calls, log->broken_err.rc, 0);
    const struct log_reader_ops *ops = log->reader.ops;
    log->reader.ops = NULL;
    if (ops)
        ops->on_error(log->reader.ctx, &log->broken_err);
}

static void step(struct env_task *t)
{
    struct replicated_log *log = CONTAINER_OF(t, struct replicated_log, step);
    if (!log->closing && !log->broken) {
        if (!log->chain_read)
            rl_read_chain(log);
        rl_step_write(log);
        rl_step_read(log);
        rl_step_tail(log);
        rl_release(log);
    }
    if (log->closing)
        finish_close(log);
    else if (log->broken)
        report_broken(log);
}

static void tick(struct env_timer *t)
{
    struct replicated_logs *l = CONTAINER_OF(t, struct replicated_logs, tick);
    LIST_FOREACH(n, &l->open)
    {
        struct replicated_log *log = CONTAINER_OF(n, struct replicated_log, link);
        if (log->closing || log->broken)
            continue;
        rl_tick_write(log);
        rl_tick_read(log);
    }
    rl_improve(l);
    if (!list_empty(&l->open))
        env_timer_arm(l->config.calls->env, &l->tick, TICK_MS);
}

static void replicated_close(struct log *l, void (*done)(void *ctx), void *ctx)
{
    struct replicated_log *log = self(l);
    ASSERT_MSG(!log->closing, "a log is closed twice");
    log->closing = true;
    log->close_done = done;
    log->close_ctx = ctx;
    log->reader.ops = NULL;
    rl_wake(log);
}

static const struct log_ops replicated_ops = {
    .append = rl_append,
    .read_from = rl_read_from,
    .read_stop = rl_read_stop,
    .find_tail = rl_find_tail,
    .trim = rl_trim,
    .seal = rl_seal,
    .close = replicated_close,
};

/* ---- open, free ---- */

struct log *replicated_log_open(struct replicated_logs *l, uint32_t log_id)
{
    LIST_FOREACH(n, &l->open)
    {
        ASSERT_MSG(CONTAINER_OF(n, struct replicated_log, link)->log.log_id != log_id,
                   "log %u is open already", log_id);
    }
    struct replicated_log *log = xcalloc(1, sizeof(*log));
    log->log.ops = &replicated_ops;
    log->log.log_id = log_id;
    log->logs = l;
    list_push_back(&l->open, &log->link);
    env_task_init(&log->step, step);
    env_timer_init(&log->read_pause, read_pause_over);
    log->read_request.done = on_chain_read;
    rl_tail_init(log);
    if (!env_timer_armed(&l->tick))
        env_timer_arm(l->config.calls->env, &l->tick, TICK_MS);
    rl_wake(log);
    return &log->log;
}

struct replicated_logs *replicated_logs_new(const struct replicated_logs_config *config)
{
    struct replicated_logs *l = xcalloc(1, sizeof(*l));
    struct replicated_logs_config *c = &l->config;
    *c = *config;
    if (c->replication.copies[0] + c->replication.copies[1] + c->replication.copies[2] == 0)
        c->replication = replication_nodes(1);
    c->inflight_limit_bytes = c->inflight_limit_bytes ? c->inflight_limit_bytes : (size_t)64 << 20;
    c->retain_bytes = c->retain_bytes ? c->retain_bytes : (size_t)16 << 20;
    c->stall_ms = c->stall_ms ? c->stall_ms : 2000;
    c->recovery_ms = c->recovery_ms ? c->recovery_ms : 5000;
    list_init(&l->open);
    env_timer_init(&l->tick, tick);
    omap_init(&l->used, used_cmp);
    return l;
}

void replicated_logs_free(struct replicated_logs *l)
{
    while (!list_empty(&l->open))
        release_handle(CONTAINER_OF(l->open.next, struct replicated_log, link));
    env_timer_cancel(l->config.calls->env, &l->tick);
    struct omap_node *n;
    while ((n = omap_first(&l->used))) {
        omap_remove(&l->used, n);
        free(CONTAINER_OF(n, struct used, node));
    }
    free(l);
}

void replicated_logs_set_replication(struct replicated_logs *l, const struct replication *r,
                                     unsigned target_size)
{
    bool same = replication_eq(&l->config.replication, r) && l->config.target_nodeset_size == target_size;
    l->config.replication = *r;
    l->config.target_nodeset_size = target_size;
    if (same)
        return;
    LIST_FOREACH(n, &l->open)
    extend_look(CONTAINER_OF(n, struct replicated_log, link));
}

void replicated_logs_set_improvement(struct replicated_logs *l, uint64_t improve_ms)
{
    l->config.improve_ms = improve_ms;
}

void replicated_logs_get_stats(const struct replicated_logs *l, struct replicated_logs_stats *out)
{
    *out = l->stats;
}

void replicated_logs_on_chain(struct replicated_logs *l, uint32_t log_id, const struct chain *chain,
                              uint64_t version)
{
    LIST_FOREACH(n, &l->open)
    {
        struct replicated_log *log = CONTAINER_OF(n, struct replicated_log, link);
        if (log->log.log_id == log_id && !log->closing)
            rl_set_chain(log, chain, version);
    }
}

/* ---- control ---- */

void replicated_log_claim(struct log *l)
{
    struct replicated_log *log = self(l);
    log->claimed = true;
    log->lost = log->sealed = false;
    rl_wake(log);
}

void replicated_log_get_status(struct log *l, struct replicated_log_status *out)
{
    struct replicated_log *log = self(l);
    const struct chain_segment *last = rl_last_segment(log);
    uint64_t stalled = log->seq ? sequencer_stalled_since_ms(log->seq) : 0;
    *out = (struct replicated_log_status){
        .role = log->broken                ? REPLICATED_LOG_BROKEN
                : log->sealed              ? REPLICATED_LOG_SEALED
                : log->lost                ? REPLICATED_LOG_LOST
                : !log->claimed            ? REPLICATED_LOG_READER
                : log->seq && !log->extend ? REPLICATED_LOG_WRITER
                                           : REPLICATED_LOG_CLAIMING,
        .segment_index = last ? last->index : 0,
        .base_lsn = last ? last->base_lsn : 0,
        .next_lsn = log->seq ? log->base + sequencer_next_offset(log->seq) - 1 : 0,
        .stalled_ms = stalled ? env_mono_ms(rl_env(log)) - stalled : 0,
        .waiting = (size_t)(log->next - log->acked),
    };
}

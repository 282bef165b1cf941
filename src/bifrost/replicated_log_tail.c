/* Provider `replicated`: find the tail, seal, trim (spec/cluster.md §5.7, §5.11). */
#include <stdlib.h>

#include "bifrost/replicated_log_internal.h"

#define TAIL_PAUSE_MS 100
#define TRIM_PAUSE_MS 500

void rl_answer(struct rl_calls *calls, enum rc rc, lsn_t tail)
{
    struct rl_calls taken = *calls; /* callbacks may ask again */
    *calls = (struct rl_calls){0};
    for (size_t i = 0; i < taken.len; i++)
        taken.items[i].done(taken.items[i].ctx, rc, tail);
    VEC_FREE(&taken);
}

/* ---- find tail ----
 * The newest chain first, then the last segment. Calls that came before the search began share its answer. A
 * sealed segment has no tail that could be told: several sealers may know different ones, the chain decides
 * (TR-1). */

void rl_find_tail(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    ASSERT(!log->closing);
    VEC_PUSH(&log->tail_waiting, ((struct rl_tail_call){done, ctx}));
    rl_wake(log);
}

static void tail_found(struct replicated_log *log, lsn_t tail)
{
    log->log.committed = MAX(log->log.committed, tail - 1);
    rl_answer(&log->tail_running, RC_OK, tail);
    rl_wake(log);
}

static void tail_later(struct replicated_log *log)
{
    env_timer_arm(rl_env(log), &log->tail_pause, TAIL_PAUSE_MS);
}

static void on_tail(void *ctx, const struct loglet_tail *t)
{
    struct replicated_log *log = ctx;
    log->tail_op = NULL;
    if (t->kind != LOGLET_TAIL_SEALED) {
        tail_found(log, log->tail_base + t->tail - 1);
        return;
    }
    if (!log->sealed_since_ms)
        log->sealed_since_ms = env_mono_ms(rl_env(log));
    tail_later(log);
}

static void on_tail_chain(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct replicated_log *log = CONTAINER_OF(r, struct replicated_log, tail_request);
    struct loglet_params p;
    log->tail_reading = false;
    if (rc == RC_NOT_FOUND) {
        log->chain_read = true;
        tail_found(log, 1);
        return;
    }
    if (rc != RC_OK) {
        tail_later(log);
        return;
    }
    rl_set_chain(log, chain, version);
    const struct chain_segment *last = &chain->segments[chain->len - 1];
    if (last->kind == SEGMENT_SEALED) {
        tail_found(log, last->base_lsn);
    } else if (rl_params(log, last, &p)) {
        log->tail_base = last->base_lsn;
        log->tail_op = loglet_find_tail(log->logs->config.calls, &p, LOGLET_TAIL_MAY_SEAL, on_tail, log);
    }
}

static void run_tail(struct replicated_log *log)
{
    log->tail_reading = true;
    log->logs->config.chains->ops->read(log->logs->config.chains, log->log.log_id, &log->tail_request);
}

static void tail_pause_over(struct env_timer *t)
{
    run_tail(CONTAINER_OF(t, struct replicated_log, tail_pause));
}

/* What a search for the tail of a sealed segment waits for; and one whose log-servers do not answer looks at
 * the new end instead. */
void rl_tail_chain_changed(struct replicated_log *log)
{
    if (log->tail_op) {
        loglet_op_cancel(log->tail_op);
        log->tail_op = NULL;
        run_tail(log);
    }
    if (env_timer_armed(&log->tail_pause))
        env_timer_arm(rl_env(log), &log->tail_pause, 0);
}

/* ---- seal ---- */

void rl_seal(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    ASSERT(!log->closing);
    VEC_PUSH(&log->seal_calls, ((struct rl_tail_call){done, ctx}));
    rl_wake(log);
}

/* ---- trim ----
 * Segment by segment, then the chain's prefix. Trimming through a handle that does not know the tail yet
 * finds it first instead of doing nothing. */

void rl_trim(struct log *l, lsn_t upto)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    log->trim_wanted = MAX(log->trim_wanted, upto);
    rl_wake(log);
}

static void trim_later(struct replicated_log *log)
{
    log->trim_running = 0;
    env_timer_arm(rl_env(log), &log->trim_pause, TRIM_PAUSE_MS);
}

static void trim_next(struct replicated_log *log);

static void on_prefix_trimmed(struct chain_request *r, enum rc rc, const struct chain *chain,
                              uint64_t version)
{
    struct replicated_log *log = CONTAINER_OF(r, struct replicated_log, trim_request);
    log->trim_swapping = false;
    if (rc == RC_OK) {
        rl_set_chain(log, chain, version);
        log->trim_running = 0;
        rl_wake(log);
    } else { /* somebody changed it, or the answer was lost */
        rl_read_chain(log);
        trim_later(log);
    }
}

static void trim_prefix(struct replicated_log *log)
{
    struct chain_store *store = log->logs->config.chains;
    struct chain next = chain_copy(&log->chain);
    if (chain_trim_prefix(&next, log->trim_running + 1) == 0) {
        log->trim_running = 0;
        rl_wake(log);
    } else {
        log->trim_swapping = true;
        store->ops->swap(store, log->log.log_id, &log->chain, &next, &log->trim_request);
    }
    chain_free(&next);
}

static void on_trimmed(void *ctx)
{
    struct replicated_log *log = ctx;
    log->trim_op = NULL;
    trim_next(log);
}

/* The next segment after `trim_index` that holds something to trim. */
static void trim_next(struct replicated_log *log)
{
    for (size_t i = 0; i < log->chain.len; i++) {
        const struct chain_segment *s = &log->chain.segments[i];
        struct loglet_params p;
        lsn_t end = i + 1 < log->chain.len ? log->chain.segments[i + 1].base_lsn : log->log.committed + 1;
        lsn_t upto = MIN(log->trim_running, end - 1);
        if (s->kind == SEGMENT_SEALED || (uint64_t)s->index + 1 <= log->trim_index || upto < s->base_lsn)
            continue;
        if (!rl_params(log, s, &p))
            return;
        log->trim_index = s->index + 1;
        log->trim_op = loglet_trim(log->logs->config.calls, &p, chain_offset(s, upto), chain_offset(s, end),
                                   on_trimmed, log);
        return;
    }
    log->log.trim_point = MAX(log->log.trim_point, log->trim_running);
    trim_prefix(log);
}

static void trim_pause_over(struct env_timer *t)
{
    rl_wake(CONTAINER_OF(t, struct replicated_log, trim_pause));
}

static void on_trim_tail(void *ctx, enum rc rc, lsn_t tail)
{
    struct replicated_log *log = ctx;
    if (rc != RC_OK)
        return; /* closing, or broken */
    log->trim_wanted = MIN(log->trim_wanted, tail - 1);
    log->trim_running = 0;
    rl_wake(log);
}

/* What was the last segment when everything in it was trimmed leaves the chain when it has a successor,
 * though nothing more is trimmed: a node cannot be removed while segments are on it (§1.10, §7.4). */
static bool prefix_is_trimmed(const struct replicated_log *log)
{
    return log->claimed && log->chain.len > 1 && log->chain.segments[1].base_lsn <= log->log.trim_point + 1;
}

static void step_trim(struct replicated_log *log)
{
    if (log->trim_running || log->trim_swapping || env_timer_armed(&log->trim_pause))
        return;
    if (log->trim_wanted <= log->log.trim_point) {
        if (prefix_is_trimmed(log)) {
            log->trim_running = log->log.trim_point;
            trim_prefix(log);
        }
        return;
    }
    log->trim_running = log->trim_wanted;
    if (log->trim_wanted > log->log.committed) {
        rl_find_tail(&log->log, on_trim_tail, log);
    } else if (!log->chain.len) {
        rl_read_chain(log);
        trim_later(log);
    } else {
        log->trim_index = 0;
        trim_next(log);
    }
}

/* ---- all ---- */

void rl_step_tail(struct replicated_log *log)
{
    step_trim(log);
    if (log->tail_waiting.len && !log->tail_running.len) {
        log->tail_running = log->tail_waiting;
        log->tail_waiting = (struct rl_calls){0};
        run_tail(log);
    }
}

void rl_tail_init(struct replicated_log *log)
{
    log->tail_request.done = on_tail_chain;
    log->trim_request.done = on_prefix_trimmed;
    env_timer_init(&log->tail_pause, tail_pause_over);
    env_timer_init(&log->trim_pause, trim_pause_over);
}

void rl_tail_free(struct replicated_log *log)
{
    struct chain_store *store = log->logs->config.chains;
    if (log->tail_reading)
        store->ops->cancel(store, &log->tail_request);
    if (log->trim_swapping)
        store->ops->cancel(store, &log->trim_request);
    loglet_op_cancel(log->tail_op);
    loglet_op_cancel(log->trim_op);
    env_timer_cancel(rl_env(log), &log->tail_pause);
    env_timer_cancel(rl_env(log), &log->trim_pause);
    VEC_FREE(&log->tail_waiting);
    VEC_FREE(&log->tail_running);
    VEC_FREE(&log->seal_calls);
}

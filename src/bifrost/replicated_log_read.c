/* Provider `replicated`, reading (spec/cluster.md §5.10): deliver in LSN order without holes, from memory
 * what this handle committed, the rest from log-servers, and never more than may be trusted:
 *
 *   a segment that is not last   up to the base of its successor, wherever its own tail is
 *   the last segment             below what its sequencer committed; repaired records wait for the chain
 * (TR-1) behind a seal marker         nothing
 */
#include <stdlib.h>

#include "bifrost/replicated_log_internal.h"

#define MARKER_POLL_MS 1000
#define FETCH_BYTES    (1u << 20) /* one request; the next is sent when these are delivered */

void rl_read_from(struct log *l, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    ASSERT(!log->closing);
    rl_read_stop(l);
    log->reader.ops = ops;
    log->reader.ctx = ctx;
    log->reader.next = MAX(from, (lsn_t)1);
    rl_wake(log);
}

static void drop_fetched(struct replicated_log *log)
{
    for (size_t i = log->fetched.at; i < log->fetched.len; i++)
        bytes_unref(&log->fetched.items[i].body);
    log->fetched.len = log->fetched.at = 0;
}

static void stop_fetch(struct replicated_log *log)
{
    loglet_op_cancel(log->fetch);
    log->fetch = NULL;
    drop_fetched(log);
}

void rl_read_stop(struct log *l)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    log->reader.ops = NULL;
    stop_fetch(log);
}

/* ---- the tail of the last segment ---- */

static void stop_watch(struct replicated_log *log)
{
    loglet_op_cancel(log->watch);
    log->watch = NULL;
}

void rl_read_chain_changed(struct replicated_log *log)
{
    stop_watch(log);
    /* The segment that is read may end earlier now: what was asked for need not exist any more. */
    stop_fetch(log);
    log->watch_tail = 1;
    log->sealed_since_ms = 0;
    rl_tail_chain_changed(log);
}

static void on_watch(void *ctx, const struct loglet_watch_news *n)
{
    struct replicated_log *log = ctx;
    log->watch_tail = MAX(log->watch_tail, n->committed_tail);
    log->log.committed = MAX(log->log.committed, log->watch_base + log->watch_tail - 2);
    if (n->sealed && !log->sealed_since_ms)
        log->sealed_since_ms = env_mono_ms(rl_env(log));
    rl_wake(log);
}

static void ensure_watch(struct replicated_log *log)
{
    const struct chain_segment *last = rl_last_segment(log);
    struct loglet_params p;
    if (log->watch || last->kind == SEGMENT_SEALED || (log->seq && log->index == last->index) ||
        !rl_params(log, last, &p))
        return;
    log->watch_index = last->index;
    log->watch_base = last->base_lsn;
    log->watch = loglet_watch(log->logs->config.calls, &p, log->watch_tail, on_watch, log);
}

/* A sealed last segment: look for its successor; if nobody extends the chain for long, end it with a marker,
 * which decides how much of the segment is part of the log. Behind a marker there is nobody to ask but the
 * chain. */
void rl_tick_read(struct replicated_log *log)
{
    uint64_t now = env_mono_ms(rl_env(log));
    bool marked = log->chain.len && !chain_tail(&log->chain);
    if (marked && log->reader.ops && now - log->marker_poll_ms >= MARKER_POLL_MS) {
        log->marker_poll_ms = now;
        rl_read_chain(log);
    }
    if (!log->sealed_since_ms || log->claimed)
        return;
    rl_read_chain(log);
    if (now - log->sealed_since_ms >= log->logs->config.recovery_ms)
        rl_recover(log);
}

/* ---- delivering ---- */

static void deliver_gap(struct replicated_log *log, lsn_t upto)
{
    lsn_t from = log->reader.next;
    log->reader.next = upto + 1;
    log->reader.ops->on_trim_gap(log->reader.ctx, from, upto);
}

/* Slot of the committed record with the LSN, if it is in memory. Their LSNs ascend. */
static bool find_slot(const struct replicated_log *log, lsn_t lsn, uint64_t *out)
{
    uint64_t low = log->head, high = log->acked;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (rl_entry_at(log, mid)->lsn < lsn)
            low = mid + 1;
        else
            high = mid;
    }
    *out = low;
    return low < log->acked && rl_entry_at(log, low)->lsn == lsn;
}

static bool deliver_from_memory(struct replicated_log *log)
{
    uint64_t slot;
    struct log_record *batch = log->logs->scratch;
    size_t n = 0;
    if (!find_slot(log, log->reader.next, &slot))
        return false;
    for (; slot < log->acked && n < LOG_READ_BATCH; slot++) {
        const struct rl_entry *e = rl_entry_at(log, slot);
        if (e->lsn != log->reader.next + n)
            break;
        batch[n++] = (struct log_record){e->lsn, e->body};
    }
    log->reader.next += n;
    log->reader.ops->on_records(log->reader.ctx, batch, n);
    return true;
}

static bool deliver_fetched(struct replicated_log *log)
{
    struct log_record batch[LOG_READ_BATCH];
    size_t n = 0;
    while (log->fetched.at < log->fetched.len && log->fetched.items[log->fetched.at].lsn < log->reader.next)
        bytes_unref(&log->fetched.items[log->fetched.at++].body);
    if (log->fetched.at == log->fetched.len || log->fetched.items[log->fetched.at].lsn != log->reader.next)
        return false;
    while (log->fetched.at < log->fetched.len && n < LOG_READ_BATCH)
        batch[n++] = log->fetched.items[log->fetched.at++];
    log->reader.next += n;
    log->reader.ops->on_records(log->reader.ctx, batch, n); /* may stop the reader, which drops the rest */
    for (size_t i = 0; i < n; i++)
        bytes_unref(&batch[i].body);
    return true;
}

/* ---- fetching ---- */

static void on_fetched(void *ctx, const struct loglet_read_result *r)
{
    struct replicated_log *log = ctx;
    log->fetch = NULL;
    if (r->trim_point) {
        /* Never beyond what is committed: the next segment is not concerned. */
        lsn_t upto = MIN(log->fetch_base + r->trim_point - 1, log->log.committed);
        log->log.trim_point = MAX(log->log.trim_point, upto);
    }
    for (uint32_t i = 0; i < r->n; i++) {
        struct log_record record = {log->fetch_from + i, bytes_ref(r->records[i])};
        VEC_PUSH(&log->fetched, record);
    }
    rl_wake(log);
}

/* First LSN of the segment that may not be delivered yet. */
static lsn_t readable_end(const struct replicated_log *log, const struct chain_segment *s, lsn_t end)
{
    if (end)
        return end;
    if (log->seq && log->index == s->index)
        return s->base_lsn + sequencer_committed_tail(log->seq) - 1;
    return s->base_lsn + log->watch_tail - 1;
}

/* Ask for what comes next; false if it is not there yet. */
static bool start_fetch(struct replicated_log *log)
{
    lsn_t end;
    struct loglet_params p;
    const struct chain_segment *s = chain_find(&log->chain, log->reader.next, &end);
    if (!s || log->fetch)
        return log->fetch != NULL;
    bool last = end == 0;
    end = readable_end(log, s, end);
    if (log->reader.next >= end || !rl_params(log, s, &p))
        return false;
    drop_fetched(log);
    log->fetch_from = log->reader.next;
    log->fetch_base = s->base_lsn;
    /* What the chain decided is as good as the sequencer's word: both say that it is part of the log for
     * ever. */
    uint64_t committed = chain_offset(s, end);
    ASSERT(!last || committed <= MAX(log->watch_tail, log->seq ? sequencer_committed_tail(log->seq) : 1));
    log->fetch = loglet_read(log->logs->config.calls, &p, chain_offset(s, log->reader.next), committed - 1,
                             FETCH_BYTES, committed, on_fetched, log);
    return true;
}

void rl_step_read(struct replicated_log *log)
{
    while (log->reader.ops && !log->closing && !log->broken) {
        if (!log->chain.len) {
            rl_read_chain(log);
            return;
        }
        if (log->reader.next <= log->log.trim_point) {
            deliver_gap(log, log->log.trim_point);
            continue;
        }
        if (deliver_from_memory(log) || deliver_fetched(log))
            continue;
        if (!start_fetch(log))
            ensure_watch(log);
        return;
    }
}

void rl_read_free(struct replicated_log *log)
{
    stop_fetch(log);
    stop_watch(log);
    VEC_FREE(&log->fetched);
}

/* Provider `replicated`, writing: the appends in flight, the sequencer of the own segment, and moving on to
 * the next one. */
#include <stdlib.h>

#include "bifrost/replicated_log_internal.h"
#include "bifrost/segment_store.h"

#define DRAIN_MS 1000 /* then the tail is found the hard way */

/* ---- the ring ---- */

struct rl_entry *rl_entry_at(const struct replicated_log *log, uint64_t slot)
{
    ASSERT(slot >= log->head && slot < log->next);
    return &log->ring[slot & (log->ring_cap - 1)];
}

static void ring_grow(struct replicated_log *log)
{
    size_t cap = log->ring_cap ? log->ring_cap * 2 : 64;
    struct rl_entry *ring = xmalloc(cap * sizeof(*ring));
    for (uint64_t i = log->head; i < log->next; i++)
        ring[i & (cap - 1)] = *rl_entry_at(log, i);
    free(log->ring);
    log->ring = ring;
    log->ring_cap = cap;
}

/* Let go of committed records that the reader has, or will have to fetch. */
void rl_release(struct replicated_log *log)
{
    while (log->head < log->acked) {
        struct rl_entry *e = rl_entry_at(log, log->head);
        bool wanted = log->reader.ops && log->reader.next <= e->lsn;
        if (wanted && log->retained_bytes <= log->logs->config.retain_bytes)
            return;
        log->retained_bytes -= e->body.len;
        bytes_unref(&e->body);
        log->head++;
    }
}

static enum rc refuse(struct bytes record, enum rc rc)
{
    bytes_unref(&record);
    return rc;
}

enum rc rl_append(struct log *l, struct bytes record, struct log_append_wait *wait)
{
    struct replicated_log *log = CONTAINER_OF(l, struct replicated_log, log);
    if (log->closing)
        return refuse(record, RC_CLOSED);
    if (log->broken)
        return refuse(record, log->broken_err.rc);
    if (log->lost || log->sealed || log->seal_calls.len)
        return refuse(record, RC_SEALED);
    if (record.len > SEGMENT_RECORD_MAX)
        return refuse(record, RC_TOO_LARGE);
    if (l->inflight_bytes > 0 && l->inflight_bytes + record.len > log->logs->config.inflight_limit_bytes)
        return refuse(record, RC_OVERLOADED);
    if (log->next - log->head == log->ring_cap)
        ring_grow(log);
    uint64_t slot = log->next++;
    *rl_entry_at(log, slot) = (struct rl_entry){record, wait, 0};
    l->inflight_bytes += record.len;
    if (wait)
        list_init(&wait->link);
    log->claimed = true;
    rl_wake(log);
    return RC_OK;
}

/* Give up everything that is not committed. */
void rl_fail_appends(struct replicated_log *log, enum rc rc)
{
    struct list waits, *n;
    list_init(&waits);
    for (uint64_t slot = log->acked; slot < log->next; slot++) {
        struct rl_entry *e = rl_entry_at(log, slot);
        if (e->wait) {
            e->wait->lsn = 0;
            list_push_back(&waits, &e->wait->link);
        }
        log->log.inflight_bytes -= e->body.len;
        bytes_unref(&e->body);
    }
    log->next = log->sent = log->acked;
    while ((n = list_pop_front(&waits))) {
        struct log_append_wait *w = CONTAINER_OF(n, struct log_append_wait, link);
        w->done(w, rc, 0);
    }
}

/* Everything of the own segment below the LSN `end` is part of the log. */
static void commit_below(struct replicated_log *log, lsn_t end)
{
    while (log->acked < log->sent) {
        lsn_t lsn = log->base + (log->acked - log->first_slot);
        if (lsn >= end)
            return;
        struct rl_entry *e = rl_entry_at(log, log->acked++);
        struct log_append_wait *wait = e->wait;
        e->lsn = lsn;
        e->wait = NULL;
        log->log.inflight_bytes -= e->body.len;
        log->retained_bytes += e->body.len;
        log->logs->stats.committed_records++;
        log->logs->stats.committed_bytes += e->body.len;
        log->log.committed = MAX(log->log.committed, lsn);
        if (wait)
            wait->done(wait, RC_OK, lsn); /* may append: `e` is no longer valid */
    }
}

/* ---- the sequencer ---- */

static void on_committed(void *ctx, uint64_t tail)
{
    rl_wake(ctx);
}

static void on_sealed(void *ctx)
{
    struct replicated_log *log = ctx;
    log->seq_ended = true;
    rl_wake(log);
}

static void end_sequencer(struct replicated_log *log)
{
    sequencer_free(log->seq);
    log->seq = NULL;
    log->seq_ended = log->draining = log->drained = log->reconfigure = false;
    log->sent = log->acked;
}

/* Become the sequencer of the last segment, if it names this process and never had one. */
static bool adopt(struct replicated_log *log)
{
    const struct chain_segment *last = rl_last_segment(log);
    struct loglet_params p;
    if (!last || last->kind != SEGMENT_REPLICATED || !rl_params(log, last, &p))
        return false;
    if (!node_ref_eq(p.sequencer, log->logs->config.calls->me) ||
        rl_segment_used(log->logs, log->log.log_id, last->index))
        return false;
    rl_segment_use(log->logs, log->log.log_id, last->index);
    log->params = p;
    log->index = last->index;
    log->base = last->base_lsn;
    log->first_slot = log->acked;
    log->seq = sequencer_new(&(struct sequencer_config){.calls = log->logs->config.calls,
                                                        .params = &log->params,
                                                        .window_records = log->logs->config.window_records,
                                                        .committed = on_committed,
                                                        .sealed = on_sealed,
                                                        .ctx = log});
    return true;
}

static void feed(struct replicated_log *log)
{
    struct bytes batch[LOG_READ_BATCH];
    while (log->sent < log->next) {
        size_t n = 0;
        for (uint64_t slot = log->sent; slot < log->next && n < LOG_READ_BATCH; slot++)
            batch[n++] = rl_entry_at(log, slot)->body;
        n = sequencer_room(log->seq, batch, n);
        if (n == 0)
            return;
        sequencer_append(log->seq, batch, n);
        log->sent += n;
    }
}

/* ---- the end of the own segment ---- */

enum segment_end { END_OPEN, END_DECIDED, END_UNKNOWN };

/* Where the chain ends the own segment. */
static enum segment_end own_segment_end(const struct replicated_log *log, lsn_t *end)
{
    const struct chain *c = &log->chain;
    for (size_t i = 0; i < c->len; i++) {
        const struct chain_segment *s = &c->segments[i];
        bool marker = s->kind == SEGMENT_SEALED;
        if (s->index < log->index || (s->index == log->index && !marker))
            continue;
        *end = s->base_lsn;
        /* The marker that seals it; the next index, which begins where ours ends (at our base if that was
         * empty and was replaced); or whatever stands behind ours. Otherwise ours and its successor are gone,
         * trimmed. */
        bool successor = marker ? s->index == log->index : s->index == log->index + 1;
        bool behind_ours = i > 0 && c->segments[i - 1].index == log->index;
        return successor || behind_ours ? END_DECIDED : END_UNKNOWN;
    }
    return END_OPEN;
}

/* The chain has gone on behind the own segment: now it is known what of it is part of the log. What is above
 * the decided end certainly is not, whoever stores it (TR-1), and may be appended again. */
static void leave_segment(struct replicated_log *log, enum segment_end kind, lsn_t end)
{
    if (kind == END_DECIDED)
        commit_below(log, end);
    end_sequencer(log);
    const struct chain_segment *last = rl_last_segment(log);
    if (last->kind == SEGMENT_SEALED || adopt(log))
        return;
    log->claimed = false;
    log->lost = true;
    rl_fail_appends(log, kind == END_DECIDED ? RC_NOT_LEADER : RC_SEALED);
    if (log->reader.ops && log->reader.ops->on_taken_over)
        log->reader.ops->on_taken_over(log->reader.ctx);
}

/* ---- reconfiguration ---- */

static void on_extended(void *ctx, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct replicated_log *log = ctx;
    bool for_seal = log->extend_for_seal;
    log->extend = NULL;
    log->extend_for_seal = false;
    if (chain)
        rl_set_chain(log, chain, version);
    if (for_seal && rc == RC_NOT_FOUND) {
        rl_answer(&log->seal_calls, RC_NOT_FOUND, 0);
    } else if (rc == RC_UNSUPPORTED || rc == RC_NOT_FOUND) {
        log->broken = true;
        err_set(&log->broken_err, RC_UNSUPPORTED,
                "log %u cannot be extended: its last segment is not replicated", log->log.log_id);
    }
    log->seal_confirmed = for_seal && rc == RC_OK;
    rl_wake(log);
}

static void start_extend(struct replicated_log *log, bool marker)
{
    const struct replicated_logs_config *c = &log->logs->config;
    const struct chain_segment *last = rl_last_segment(log);
    struct extend_request r = {.calls = c->calls,
                               .store = c->chains,
                               .log_id = log->log.log_id,
                               .expect_absent = last == NULL,
                               .expected_index = last ? last->index : 0,
                               .seal_marker = marker,
                               .replication = &c->replication,
                               .target_nodeset_size = c->target_nodeset_size};
    /* The sequencer's word ends only its own segment. */
    if (log->seq && log->drained && last && last->index == log->index)
        r.known_tail = sequencer_committed_tail(log->seq);
    log->extend = replicated_extend(&r, on_extended, log);
}

void rl_recover(struct replicated_log *log)
{
    if (!log->extend && !log->claimed && rl_last_segment(log) && chain_tail(&log->chain))
        start_extend(log, true);
}

static void on_drained(void *ctx)
{
    struct replicated_log *log = ctx;
    log->drained = true;
    rl_wake(log);
}

/* Drain before sealing, so that no repair is needed and nobody notices. True when it is over, one way or the
 * other. */
static bool drain(struct replicated_log *log)
{
    uint64_t now = env_mono_ms(rl_env(log));
    if (!log->draining) {
        log->draining = true;
        log->drain_since_ms = now;
        sequencer_drain(log->seq, on_drained, log);
    }
    return log->drained || log->seq_ended || now - log->drain_since_ms >= DRAIN_MS;
}

static void step_claimed(struct replicated_log *log)
{
    if (!log->chain_read) {
        rl_read_chain(log);
        return;
    }
    if (!log->seq && !adopt(log)) {
        start_extend(log, false);
        return;
    }
    if (log->seq_ended || (log->reconfigure && drain(log)))
        start_extend(log, false);
}

/* log_seal: drain, then end the chain with a marker. What this handle remembers of the chain proves nothing,
 * somebody may have gone on: only the answer of an extension that began after the call does. */
static void step_seal(struct replicated_log *log)
{
    const struct chain_segment *last = rl_last_segment(log);
    if (!log->chain_read) {
        rl_read_chain(log);
    } else if (log->seal_confirmed && last && last->kind == SEGMENT_SEALED) {
        log->claimed = log->seal_confirmed = false;
        log->sealed = true;
        rl_fail_appends(log, RC_SEALED);
        rl_answer(&log->seal_calls, RC_OK, last->base_lsn);
    } else if (log->lost) {
        rl_answer(&log->seal_calls, RC_CONFLICT, 0); /* not ours to seal any more */
    } else if (!log->seq || (log->sent == log->next && drain(log)) || log->seq_ended) {
        start_extend(log, true);
        log->extend_for_seal = true;
    }
}

void rl_step_write(struct replicated_log *log)
{
    lsn_t end;
    if (log->seq) {
        commit_below(log, log->base + sequencer_committed_tail(log->seq) - 1);
        enum segment_end kind = own_segment_end(log, &end);
        if (kind != END_OPEN)
            leave_segment(log, kind, end);
    }
    if (log->seq && !log->draining)
        feed(log);
    if (log->extend || log->closing || log->broken)
        return;
    if (log->seal_calls.len)
        step_seal(log);
    else if (log->claimed)
        step_claimed(log);
    if (log->seq && !log->draining)
        feed(log);
}

/* ---- stalls ---- */

static struct marks alive_members(const struct replicated_log *log, const struct nodeset *set)
{
    struct marks m = {{0}};
    for (unsigned i = 0; i < set->len; i++) {
        if (node_directory_liveness(log->logs->config.calls->nodes, set->ids[i]) != LIVENESS_DEAD)
            marks_add(&m, i);
    }
    return m;
}

/* Can the own segment be sealed, and written on with other nodes, as far as the failure detector knows? */
static bool better_elsewhere(struct replicated_log *log)
{
    const struct replicated_logs_config *c = &log->logs->config;
    struct nodeset set;
    struct quorum now, then;
    struct nodeset_wish wish = {.replication = c->replication,
                                .target_size = c->target_nodeset_size,
                                .sequencer = c->calls->me.id,
                                .preferred = &log->params.nodeset,
                                .salt = log->log.log_id};
    quorum_init(&now, &log->params.replication, &log->params.nodeset, c->calls->nodes);
    if (!quorum_is_f_majority(&now, alive_members(log, &log->params.nodeset)) ||
        nodeset_select(c->calls->nodes, &wish, &set, NULL) != RC_OK)
        return false;
    quorum_init(&then, &c->replication, &set, c->calls->nodes);
    if (!quorum_is_write(&then, marks_and(then.writable, alive_members(log, &set))))
        return false;
    /* The same nodes again only if some of them are sealed, or have lost what they had of the segment. */
    return !nodeset_eq(&set, &log->params.nodeset) || sequencer_sealed_members(log->seq) > 0 ||
           sequencer_lost_members(log->seq) > 0;
}

void rl_tick_write(struct replicated_log *log)
{
    if (log->draining)
        rl_wake(log); /* its time may be up */
    if (!log->seq || !log->claimed || log->extend || log->draining)
        return;
    if (sequencer_sealed_members(log->seq) > 0)
        rl_read_chain(log); /* somebody may have taken the log away already */
    uint64_t since = sequencer_stalled_since_ms(log->seq);
    bool stalled = since && env_mono_ms(rl_env(log)) - since >= log->logs->config.stall_ms;
    if ((stalled || !sequencer_writable(log->seq)) && better_elsewhere(log))
        start_extend(log, false);
}

void rl_write_free(struct replicated_log *log)
{
    loglet_op_cancel(log->extend);
    if (log->seq)
        sequencer_free(log->seq);
    for (uint64_t slot = log->head; slot < log->next; slot++)
        bytes_unref(&rl_entry_at(log, slot)->body);
    free(log->ring);
}

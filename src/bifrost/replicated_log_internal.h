/* Inside of the replicated provider: one handle, and what its parts (write, read, tail) share. Everything
 * that calls out happens in the step, which runs as deferred work; calls from outside only note what is
 * wanted. */
#pragma once
#include "bifrost/replicated_client.h"
#include "bifrost/replicated_log.h"
#include "bifrost/replicated_sequencer.h"

/* An append. Slots number them for the life of the handle. */
struct rl_entry {
    struct bytes body;
    struct log_append_wait *wait;
    lsn_t lsn; /* once committed */
};

struct rl_tail_call {
    void (*done)(void *ctx, enum rc rc, lsn_t tail);
    void *ctx;
};

struct rl_calls {
    struct rl_tail_call *items;
    size_t len, cap;
};

struct replicated_log {
    struct log log;
    struct replicated_logs *logs;
    struct list link;
    struct env_task step;
    bool closing, broken;
    struct err broken_err;
    void (*close_done)(void *ctx);
    void *close_ctx;

    /* The chain as last heard of. */
    struct chain chain; /* len 0: none, or not read yet */
    uint64_t version;
    bool chain_read; /* at least once */
    bool read_wanted, reading;
    struct chain_request read_request;
    struct env_timer read_pause;

    /* Writing. head <= acked <= sent <= next are slots. */
    bool claimed, lost, sealed;
    struct sequencer *seq; /* of segment `index`, which this handle writes */
    struct loglet_params params;
    uint32_t index;
    lsn_t base;
    uint64_t first_slot; /* that has offset 1 */
    uint64_t head;       /* oldest one kept */
    uint64_t acked;      /* first that is not committed */
    uint64_t sent;       /* first that the sequencer does not have */
    uint64_t next;
    struct rl_entry *ring;
    size_t ring_cap, retained_bytes;
    bool seq_ended; /* an f-majority is sealed */
    bool reconfigure, draining, drained;
    uint64_t fragile_since; /* noticed that its node set is too small; 0: it is not */
    uint64_t improve_at;    /* a better segment is possible: when to move on; 0: it is not */
    uint64_t drain_since_ms;
    struct loglet_op *extend;
    bool extend_for_seal, seal_confirmed;

    /* Reading. */
    struct {
        const struct log_reader_ops *ops;
        void *ctx;
        lsn_t next;
    } reader;
    struct {
        struct log_record *items;
        size_t len, cap, at;
    } fetched;
    struct loglet_op *fetch;
    lsn_t fetch_from, fetch_base;
    struct loglet_op *watch;
    uint32_t watch_index;
    lsn_t watch_base;
    uint64_t watch_tail; /* committed by the sequencer of the last segment, as heard */
    uint64_t marker_poll_ms;
    uint64_t sealed_since_ms; /* the last segment turned out sealed; 0: not */

    /* Tail, seal, trim. */
    struct rl_calls tail_waiting, tail_running, seal_calls;
    struct chain_request tail_request;
    bool tail_reading;
    struct loglet_op *tail_op;
    struct env_timer tail_pause;
    lsn_t tail_base;
    lsn_t trim_wanted, trim_running;
    uint32_t trim_index; /* segment whose trim is running */
    struct loglet_op *trim_op;
    struct chain_request trim_request;
    bool trim_swapping;
    struct env_timer trim_pause;
};

struct replicated_logs {
    struct replicated_logs_config config;
    struct list open;
    struct env_timer tick; /* of all open logs together */
    struct replicated_logs_stats stats;
    uint64_t improved_ms; /* last round */
    struct omap used;     /* by log id: which segments this process has written (TR-4) */
    struct log_record scratch[LOG_READ_BATCH];
};

/* replicated_log.c */
static inline struct env *rl_env(const struct replicated_log *log)
{
    return log->logs->config.calls->env;
}
void rl_wake(struct replicated_log *log);
/* Newer versions only. */
void rl_set_chain(struct replicated_log *log, const struct chain *chain, uint64_t version);
void rl_read_chain(struct replicated_log *log);
const struct chain_segment *rl_last_segment(const struct replicated_log *log); /* NULL: no chain */
/* The segment's parameters; marks the handle broken if they cannot be read. */
bool rl_params(struct replicated_log *log, const struct chain_segment *s, struct loglet_params *out);
/* Has this process ever had a sequencer for the segment? And: it has now. */
bool rl_segment_used(struct replicated_logs *l, uint32_t log_id, uint32_t index);
void rl_segment_use(struct replicated_logs *l, uint32_t log_id, uint32_t index);

/* replicated_log_write.c */
enum rc rl_append(struct log *l, struct bytes record_take, struct log_append_wait *wait);
void rl_step_write(struct replicated_log *log);
void rl_tick_write(struct replicated_log *log);
void rl_fail_appends(struct replicated_log *log, enum rc rc);
void rl_release(struct replicated_log *log);
struct rl_entry *rl_entry_at(const struct replicated_log *log, uint64_t slot);
void rl_write_free(struct replicated_log *log);
/* End the chain with a marker because nobody goes on. */
void rl_recover(struct replicated_log *log);

/* replicated_improve.c: with each tick. */
void rl_improve(struct replicated_logs *l);

/* replicated_log_read.c */
void rl_read_from(struct log *l, lsn_t from, const struct log_reader_ops *ops, void *ctx);
void rl_read_stop(struct log *l);
void rl_step_read(struct replicated_log *log);
void rl_tick_read(struct replicated_log *log);
void rl_read_chain_changed(struct replicated_log *log);
void rl_read_free(struct replicated_log *log);

/* replicated_log_tail.c */
void rl_find_tail(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx);
void rl_seal(struct log *l, void (*done)(void *ctx, enum rc rc, lsn_t tail), void *ctx);
void rl_trim(struct log *l, lsn_t upto);
void rl_step_tail(struct replicated_log *log);
void rl_answer(struct rl_calls *calls, enum rc rc, lsn_t tail);
void rl_tail_chain_changed(struct replicated_log *log);
void rl_tail_init(struct replicated_log *log);
void rl_tail_free(struct replicated_log *log);

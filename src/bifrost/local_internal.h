/* The inside of the local provider. Three owners:
 *
 *   local_logs   the log loop: segment store, group commit (local_logs.c)
 *   port         one per shard loop: collects the appends of one iteration, receives commits (local_port.c)
 *   local_log    one per open log, on the shard loop of its port: order, waiters, reader (local_log.c)
 *
 * Two kinds of messages travel from shard to log loop and back, never shared by two threads at a time:
 * `local_message` carries the appends of one iteration and comes back when all are durable; `local_op` is
 * everything else. */
#pragma once
#include "base/containers.h"
#include "bifrost/log.h"
#include "bifrost/segment_store.h"
#include "loop/loop.h"

struct local_log;

struct local_append {
    struct local_log *log; /* only a name on the log loop; NULL: canceled, its log is closed */
    uint64_t loglet, offset;
    struct slice body; /* kept alive by the log until the message comes back */
};
/* Once per log in a message: up to where this message brings it. */
struct local_progress {
    struct local_log *log;
    lsn_t upto;
};

struct local_message {
    struct loop_msg msg;
    struct list link; /* free list of the port, or pending list of the log loop */
    struct local_logs_port *port;
    struct {
        struct local_append *items;
        size_t len, cap;
    } appends;
    struct {
        struct local_progress *items;
        size_t len, cap;
    } progress;
    size_t next; /* log loop: first append that is not durable yet */
    enum rc rc;  /* answer */
};

enum local_op_kind { OP_OPEN, OP_READ, OP_TAIL, OP_TRIM, OP_SEAL, OP_CLOSE };

struct local_op {
    struct loop_msg msg;
    struct list link;
    enum local_op_kind kind;
    struct local_logs *logs;
    struct local_logs_port *port; /* not for OP_TRIM: it is not answered, the port may be gone */
    struct local_log *log;        /* NULL for OP_OPEN and OP_TRIM */
    uint64_t loglet;
    uint64_t offset;     /* OP_READ: from; OP_TRIM: upto */
    uint64_t generation; /* OP_READ: of the reader that asked */
    /* answer */
    enum rc rc;
    struct err err;
    uint64_t tail, trim_point;
    bool sealed;
    struct stored_records records; /* OP_READ */
    /* whom to tell; by kind */
    void (*opened)(void *ctx, struct log *log, const struct err *err);
    void (*tail_done)(void *ctx, enum rc rc, lsn_t tail);
    void *ctx;
};

struct local_logs_port {
    struct local_logs *logs;
    struct loop *loop;
    struct local_message *current; /* being filled in this iteration, or NULL */
    struct list free_messages;     /* local_message.link */
    struct list ops;               /* local_op.link, to be sent with the next flush */
    struct loop_flush flush;
    struct list dirty; /* local_log.dirty: something to do before the loop sleeps */
    struct env_task work;
    size_t n_logs, n_outside; /* open logs; messages and ops that are away */
    uint64_t serial;          /* number of the current message */
    struct log_record scratch[LOG_READ_BATCH];
};

/* A record between its append and the moment nobody here needs it any more. */
struct local_entry {
    struct bytes body;
    struct log_append_wait *wait;
};

struct local_log {
    struct log log;
    struct local_logs_port *port;
    uint64_t loglet;
    struct list dirty;

    /* Ring of the records first..next - 1; those up to log.committed are kept only for the reader. */
    struct local_entry *ring;
    size_t ring_cap; /* power of two */
    lsn_t first, next;
    lsn_t acked;              /* durable as the log loop says; log.committed follows in the next step */
    size_t retained_bytes;    /* of the committed ones in the ring */
    uint64_t progress_serial; /* the current message has a progress entry for this log at ... */
    size_t progress_index;

    enum rc failed; /* the store has failed, for good */
    bool sealed, closing, close_sent;
    struct local_op *seal; /* waiting until nothing is in flight */
    size_t n_ops;          /* ops of this log that are away */
    void (*close_done)(void *ctx);
    void *close_ctx;

    struct {
        const struct log_reader_ops *ops; /* NULL: no reader */
        void *ctx;
        lsn_t next;
        uint64_t generation;
        bool waiting; /* for an OP_READ of this generation */
    } reader;
};

#define LOCAL_READ_BYTES                                                                                     \
    ((size_t)128 << 10) /* small: partitions replay side by side, over shared windows                        \
                         */
#define LOCAL_RETAIN_BYTES ((size_t)4 << 20)

/* Like local_logs_open, on a disk that the caller has opened (tests: one in memory). Takes the disk, also on
 * error. */
enum rc local_logs_open_disk(const struct local_logs_config *config,
                             const struct segment_store_options *options, struct disk *disk_take,
                             struct local_logs **out, struct err *err);

/* local_logs.c; any thread */
bool local_logs_full(const struct local_logs *l);
uint64_t local_logs_inflight_limit(const struct local_logs *l);
struct loop *local_logs_loop(const struct local_logs *l);
/* `deliver` functions of what arrives at the log loop. */
void local_logs_on_message(struct loop_msg *m);
void local_logs_on_op(struct loop_msg *m);

/* local_port.c; shard loop */
void local_port_append(struct local_logs_port *p, struct local_log *log, lsn_t lsn, struct slice body);
void local_port_send(struct local_logs_port *p, struct local_op *op_take);
/* Run local_log_step before the loop sleeps. */
void local_port_mark(struct local_logs_port *p, struct local_log *log);
/* `deliver` functions of what comes back from the log loop. */
void local_port_on_message(struct loop_msg *m);
void local_port_on_op(struct loop_msg *m);

/* local_log.c; shard loop */
struct local_log *local_log_new(struct local_logs_port *p, uint32_t log_id, const struct local_op *opened);
/* Do what has become possible: tell waiters, feed the reader, seal, close. May free the log. */
void local_log_step(struct local_log *log);
void local_log_on_op(struct local_log *log, struct local_op *op);

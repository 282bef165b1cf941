/* Inside of the log-server: loglets and the operations that wait for the disk. */
#pragma once
#include "bifrost/log_server.h"

enum ls_op_kind { LS_STORE, LS_SEAL, LS_TRIM, LS_META };

struct ls_record {
    uint64_t offset;
    struct bytes body;
};

/* Something that becomes durable with a batch and is answered then. */
struct ls_op {
    struct list link;    /* log_server.queue or .writing */
    struct list sibling; /* ls_loglet.ops */
    enum ls_op_kind kind;
    struct ls_loglet *loglet;
    struct log_server_peer peer;
    uint64_t request_id;
    bool with_meta;     /* the loglet's metadata goes with it */
    uint64_t upto;      /* TRIM */
    size_t bytes;       /* of the records */
    uint32_t n_records; /* those that are not stored yet */
    struct ls_record records[];
};

struct ls_waiter {
    struct list link;
    struct ls_loglet *loglet;
    struct log_server_peer peer;
    uint64_t request_id, committed_tail;
    struct env_timer timer;
};

struct ls_loglet {
    struct omap_node node;
    struct log_server *server;
    uint64_t id;
    struct node_ref sequencer;                /* {0,0} until it is known */
    bool sealed, sealing;                     /* durable; asked for */
    uint64_t local_tail, staged_tail;         /* durable; with what is on its way to the disk */
    uint64_t trim_point;                      /* durable */
    uint64_t committed_tail, repaired_tail;   /* as known */
    uint64_t saved_committed, saved_repaired; /* as durable, or on its way */
    bool meta_saved;                          /* the sequencer is durable, or on its way */
    struct list ops, waiters;
    unsigned n_waiters;
    uint64_t batch,
        batch_last; /* number of the batch that is being built, its highest offset of this loglet */
    uint64_t used_ms;
};

struct log_server {
    struct log_server_config config;
    struct omap loglets;
    struct list queue;   /* ls_op.link, in order of arrival */
    struct list writing; /* those in `batch` */
    struct store_batch batch;
    struct {
        struct buf **items;
        size_t len, cap;
    } metas; /* encoded metadata of the batch */
    uint64_t batch_number;
    bool busy; /* the batch is with the store */
    bool failsafe, unwritable;
    struct storage_generation lost; /* heap array */
    size_t pending_bytes;
    struct env_task work;
    struct env_timer housekeeping, full_retry;
    struct log_server_stats stats;
};

/* log_server_loglet.c */
struct ls_loglet *ls_loglet_get(struct log_server *s, uint64_t id);
void ls_loglet_free(struct ls_loglet *l);
void ls_loglet_merge_tails(struct ls_loglet *l, uint64_t committed, uint64_t repaired);
/* Everything below is on a write quorum, for one reason or the other: what justifies holes. */
static inline uint64_t ls_known_tail(const struct ls_loglet *l)
{
    return l->committed_tail > l->repaired_tail ? l->committed_tail : l->repaired_tail;
}
struct buf *ls_meta_encode(const struct ls_loglet *l, size_t *len);
void ls_reply_head(const struct ls_loglet *l, enum loglet_message_kind kind, uint64_t request_id,
                   enum loglet_status status, struct loglet_message *out);
void ls_reply(struct ls_loglet *l, const struct log_server_peer *to, enum loglet_message_kind kind,
              uint64_t request_id, enum loglet_status status);
void ls_wake_waiters(struct ls_loglet *l);
void ls_waiter_add(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);

/* log_server_read.c */
void ls_get_records(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);
void ls_get_digest(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);

/* log_server_write.c */
void ls_store(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);
void ls_seal(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);
void ls_trim(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m);
void ls_save_meta(struct ls_loglet *l);
void ls_write_work(struct env_task *t);
void ls_batch_done(struct store_batch *b, enum rc rc);
void ls_op_free(struct ls_op *op);

/* The chains of all logs as a replicated log needs them (spec/cluster.md §5.1, §5.9): read the newest,
 * replace by compare-and-swap. The metadata client implements it over the `bifrost_config` value (all chains
 * in one document; it may batch changes of several logs into one write); the simulator has one of its own. */
#pragma once
#include "bifrost/chain.h"
#include "wire/node_ref.h"

struct chain_store;

/* Embedded in the asker, who keeps it alive until `done` ran or it was canceled. */
struct chain_request {
    /* read: RC_OK with the newest chain (lent) and the version of the document, or RC_NOT_FOUND: the log does
     * not exist. swap: RC_OK with the new chain; RC_CONFLICT: the chain is not the expected one. Anything
     * else: unknown, the swap may have happened or may still happen. Trap TR-6: read again and look. */
    void (*done)(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version);
    struct list link; /* private to the store */
    void *private_;
};

struct chain_store_ops {
    /* Linearizable. `done` never runs from inside. */
    void (*read)(struct chain_store *s, uint32_t log_id, struct chain_request *r);
    /* Replace `expected` (NULL: no chain yet) by `next`; both are copied. */
    void (*swap)(struct chain_store *s, uint32_t log_id, const struct chain *expected,
                 const struct chain *next, struct chain_request *r);
    void (*cancel)(struct chain_store *s, struct chain_request *r);
};
struct chain_store {
    const struct chain_store_ops *ops;
};

/* Byte-equal. */
bool chain_eq(const struct chain *a, const struct chain *b);

/* ---- seal and extend ---- */

struct loglet_calls;
struct loglet_op;
struct nodeset;
struct replication;

struct extend_request {
    struct loglet_calls *calls;
    struct chain_store *store;
    uint32_t log_id;
    /* What the writer believes: the log does not exist, or its last segment has this index. */
    bool expect_absent;
    uint32_t expected_index;
    bool seal_marker; /* end the log with a marker instead of a segment */
    /* The decided end of the last segment as a number of records, when it is known without asking (drained
     * sequencer); its members are sealed nevertheless. 0: unknown. */
    uint64_t known_tail;
    /* The new segment. Sequencer is this process, or another running one (id not 0), which begins to write it
     * when it sees the chain: for operators, who change the segment of a log whose writer stays. */
    struct node_ref sequencer;
    const struct replication *replication;
    unsigned target_nodeset_size;
    const struct nodeset *preferred; /* NULL: that of the last segment */
    const char *marker_params;       /* JSON; NULL: {} */
};
/* RC_OK: the chain has the new end. RC_CONFLICT: the chain is not what the writer believed: somebody else was
 * quicker, or a swap of this process took effect although its answer was lost. Whose the last segment is has
 * to be read from `chain` (lent), the newest, in both cases. RC_NOT_FOUND: there is no such log.
 * RC_UNSUPPORTED: the last segment is of a kind that this cannot seal. Everything that may pass is retried
 * until canceled (loglet_op_cancel). */
struct loglet_op *replicated_extend(const struct extend_request *r,
                                    void (*done)(void *ctx, enum rc rc, const struct chain *chain,
                                                 uint64_t version),
                                    void *ctx);
/* The chain or the settings have changed. An operation that waits for log-servers, perhaps for ones that are
 * gone for good, looks at the chain again (docs/operations.md, `logs recover`), and what it will write
 * follows these settings. */
void replicated_extend_look(struct loglet_op *op, const struct replication *replication,
                            unsigned target_nodeset_size);

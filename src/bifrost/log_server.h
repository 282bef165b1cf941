/* The log-server (spec/cluster.md §5.5): keeps one copy of segments and guards who may write what. A
 * deterministic core over `struct env` and a store; requests come in as messages, replies go out through a
 * callback.
 *
 * What it promises:
 *   - a reply says only what is durable: Stored Ok, Sealed, Trimmed, local_tail, sealed, trim_point;
 *   - no holes at or above the known global tail (L-4): a record is taken only if it continues what is there,
 * or if everything below it is known to be on a write quorum, and that knowledge becomes durable with it;
 *   - once sealed, only repairs are taken, and none of them raises what readers trust (TR-1);
 *   - of a loglet that it had on a disk that is lost it never says anything but that (N-5);
 *   - group commit: whatever arrives while a batch is being written goes into the next one.
 *
 * Belongs to one loop. Replies are never sent from inside log_server_on_message when they need the disk, and
 * may be when they do not. */
#pragma once
#include "bifrost/log_server_store.h"
#include "metadata/storage_generations.h"
#include "wire/loglet_message.h"

struct log_server;

/* Who asked: the identity that the transport has verified, and a token of its own for the way back. */
struct log_server_peer {
    struct node_ref node;
    uint64_t token;
};

struct log_server_config {
    struct env *env;
    struct log_server_store *store;
    /* `m` is lent. The peer may be gone. */
    void (*reply)(void *ctx, const struct log_server_peer *to, const struct loglet_message *m);
    void *ctx;
    size_t pending_limit_bytes; /* 0: 64 MiB; beyond, stores are shed (Dropped) */
};
struct log_server *log_server_new(const struct log_server_config *config);
/* Forgets everything that is not durable and answers nobody, as when the process dies. */
void log_server_free(struct log_server *s);

/* A request; anything that is not one is ignored. */
void log_server_on_message(struct log_server *s, const struct log_server_peer *from,
                           const struct loglet_message *m);

/* What this node had on a disk that is lost; copied. Every request about it is answered LOGLET_LOST: what was
 * acknowledged, sealed or trimmed there is unknown, so nothing may be taken, sealed or denied. Before the
 * first message. */
void log_server_set_lost(struct log_server *s, const struct storage_generation *generation);
/* Own storage state (§1.4) takes writes or not; true at first. */
void log_server_set_writable(struct log_server *s, bool writable);
/* A write failed: reads, info and digest go on, everything else is refused until restart (health `Failsafe`).
 */
bool log_server_failsafe(const struct log_server *s);
/* Write what is known of global tails, as a graceful stop does; they are persisted lazily otherwise. */
void log_server_flush(struct log_server *s);
/* Something is on its way to the disk, and will get there without waiting for space. */
bool log_server_busy(const struct log_server *s);

struct log_server_stats {
    uint64_t stores, stored_records, batches, refused, shed;
    size_t loglets, pending_bytes;
};
void log_server_get_stats(const struct log_server *s, struct log_server_stats *out);

/* For checkers and operators: calls `visit` for each loglet in memory, in order of id. */
struct log_server_loglet_view {
    uint64_t id, local_tail, staged_tail, trim_point, committed_tail, repaired_tail;
    uint64_t used_ms; /* of the server's monotonic clock: the last request */
    unsigned waiters, pending_seals;
    bool sealed, sealing, accepting_writes;
    struct node_ref sequencer;
};
void log_server_each(struct log_server *s, void (*visit)(void *ctx, const struct log_server_loglet_view *v),
                     void *ctx);

/* A node's metadata server: a member of the group that keeps the metadata (spec/cluster.md §2.3, §2.4), or a
 * node that waits to become one. Raft core, table of entries and durable store put together; a deterministic
 * core, the shell around it carries messages and does the disk's work.
 *
 * One owner, the loop of `env`. Functions of the surroundings (struct raft_server_ops) and replies run from
 * inside calls and must not call back into the server, except the accessors and raft_server_submit. */
#pragma once
#include "metadata/kv_table.h"
#include "metadata/raft_file.h"

struct raft_server;

struct raft_server_options {
    struct raft_options raft;
    const char *cluster_name;  /* copied */
    size_t state_bytes_max;    /* of keys and values; larger writes answer RC_TOO_LARGE (BETTER B15) */
    uint32_t requests_max;     /* waiting at this member; more answer METADATA_BUSY */
    bool replace_lost_storage; /* a node with a new disk replaces itself; else its join is refused (spec S-9)
                                */
};
void raft_server_options_default(struct raft_server_options *o);

/* The surroundings. All but `send` may be NULL. */
struct raft_server_ops {
    /* To the metadata server of a node; may fail silently. `message` is valid during the call. */
    void (*send)(void *ctx, uint32_t node, struct slice message);
    /* The address of a node for hints, or "". */
    const char *(*address_of)(void *ctx, uint32_t node);
    /* NULL if the node may become a member: known to the cluster, with the role. Otherwise a sentence. */
    const char *(*may_join)(void *ctx, uint32_t node);
    /* Something that raft_server_status shows has changed. On the leader after a membership change: write the
     * members' states to the nodes configuration (spec §2.4). */
    void (*changed)(void *ctx);
    /* A key was written or deleted (version 0) in the local copy. For propagation (spec §2.6). */
    void (*applied)(void *ctx, struct slice key, uint32_t version);
    /* Every committed entry, in order, and what a snapshot replaced (`e` NULL). For audits. */
    void (*committed)(void *ctx, uint64_t index, const struct raft_log_entry *e);
};

/* `durable` is consumed, `store` is owned from here on; `applied` may run before this returns. RC_CORRUPT:
 * what is stored cannot be read; RC_CONFLICT: it belongs to a cluster of another name. On failure both are
 * closed. */
enum rc raft_server_new(struct env *env, struct raft_store *store, struct raft_durable *durable,
                        const struct raft_server_options *o, const struct raft_server_ops *ops, void *ctx,
                        struct raft_server **out, struct err *err);
/* Everything that waits is answered as after a crash. */
void raft_server_free(struct raft_server *s);
/* Orderly end: no more requests, the leadership is handed over if somebody can take it; then `stopped`, at
 * the latest after two election timeouts. raft_server_free follows. */
void raft_server_stop(struct raft_server *s, void (*stopped)(void *ctx));

/* Uninitialized storage only; each writes once and takes effect when that is on disk.
 * Provision: the first member of a new cluster, with what `initial` holds (spec §1.9). Identify: part of the
 * cluster with this fingerprint, waiting to be taken in; repeated while the disk refuses it. RC_EXISTS: it
 * has an identity already. */
enum rc raft_server_provision(struct raft_server *s, uint32_t node, uint64_t fingerprint,
                              const struct kv_table *initial);
enum rc raft_server_identify(struct raft_server *s, uint32_t node, uint64_t fingerprint);

/* A message from another node. Requests (wire/metadata_message.h) are answered through `reply`, once, now or
 * later, with bytes valid during the call; for members' messages it is not used. What belongs to another
 * cluster has no effect (N-4). */
struct raft_reply {
    void (*send)(struct raft_reply *reply, struct slice message);
};
void raft_server_receive(struct raft_server *s, struct slice message, struct raft_reply *reply);

/* A request from within the process. `done` runs exactly once, possibly from inside; `p`'s slices are valid
 * during it. The request's key and value are copied. */
struct raft_call {
    void (*done)(struct raft_call *c, const struct metadata_response *p);
};
void raft_server_submit(struct raft_server *s, const struct metadata_request *q, struct raft_call *c);

/* `metadata-server remove-node`: leader only, with the texts of spec §2.4. RC_OK: begun. */
enum rc raft_server_remove(struct raft_server *s, uint32_t node, struct err *err);
void raft_server_peer_lost(struct raft_server *s, uint32_t node);

enum raft_server_state { RAFT_UNINITIALIZED, RAFT_STANDBY, RAFT_MEMBER };
struct raft_server_status {
    enum raft_server_state state;
    struct raft_member self; /* node 0: no identity */
    uint64_t fingerprint;
    bool removed; /* standby because it was removed: does not join again by itself */
    bool leads, disk_full;
    struct raft_member leader; /* node 0: unknown */
    struct raft_members members;
    struct raft_numbers raft;
    uint64_t state_bytes;
};
void raft_server_status(const struct raft_server *s, struct raft_server_status *out);
/* The local copy, possibly behind; for start-up, status and hints, never for decisions. */
const struct kv_table *raft_server_local(const struct raft_server *s);
/* "N2:dcd4" (spec §1.2). */
#define RAFT_MEMBER_TEXT 24
void raft_member_format(struct raft_member m, char out[RAFT_MEMBER_TEXT]);

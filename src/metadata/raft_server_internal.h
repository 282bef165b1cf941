/* The inside of raft_server.h: for raft_server.c, and for the small model of Raft, which compares states. */
#pragma once
#include "metadata/raft_server.h"

enum waiting_for { WAIT_COMMIT, WAIT_ROUND };

/* A request that waits for its entry, or for a round that confirms the leadership. */
struct waiting {
    struct list link;
    enum waiting_for what;
    uint64_t index, term, ticket;
    uint64_t id;
    enum metadata_request_kind kind;
    struct bytes command; /* a write that looked refused: judged again when confirmed */
    struct bytes key;     /* reads */
    struct raft_call *call;
};

struct raft_server {
    struct raft_host host;
    struct env *env;
    struct raft_store *store;
    struct raft_server_options opt;
    char *cluster_name;
    const struct raft_server_ops *ops;
    void *ctx;
    struct raft *raft; /* NULL while uninitialized */
    struct kv_table table;
    struct list waiting;
    uint32_t n_waiting;
    struct bytes identity_body; /* being written */
    bool identity_again;        /* if that fails: nobody waits who would try again */
    struct env_timer identity_timer;
    bool stopping, hands_over;
    void (*stopped)(void *ctx);
    struct env_timer stop_timer;
    unsigned size_level; /* of the warning that was given */
};

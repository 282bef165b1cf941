/* The `replicated` provider of the key-value interface (metadata/kv.h): a client of the metadata servers of
 * the cluster (spec/cluster.md §2.5). A deterministic core; the shell around it carries the messages.
 *
 * The member of the own process is asked first, since it knows the leader; then the leader that answered
 * last; then one address after the other. A read that is not answered soon goes to another member as well. A
 * write is sent to one leader only, one that has just answered (if none has, a read looks for it first), and
 * never twice: when its answer does not come it is reported as RC_TIMEOUT, undecided (TR-6). Pauses between
 * tries do not grow (TR-13).
 *
 * One owner, the loop of `env`. */
#pragma once
#include "base/env.h"
#include "metadata/kv.h"
#include "metadata/raft_server.h"

#define RAFT_CLIENT_ADDRESSES_MAX 32u

struct raft_client_options {
    uint32_t attempt_ms;      /* 500: wait for the answer of one member */
    uint32_t hedge_ms;        /* 100: then ask another one as well (reads) */
    uint32_t pause_ms;        /* 100: when all were asked in vain, about so long */
    uint32_t operation_ms;    /* 10000: then give up */
    uint32_t operations_max;  /* 4096: more are refused as RC_OVERLOADED */
    const char *cluster_name; /* copied */
    uint64_t fingerprint;     /* 0: not known yet */
};
void raft_client_options_default(struct raft_client_options *o);

struct raft_client;
struct raft_client_ops {
    /* Send a request to the metadata server at this address. Its answer is given to raft_client_response, or,
     * if there will be none, raft_client_failed is called; neither from inside. */
    void (*send)(void *ctx, const char *address, uint64_t attempt, struct slice message);
};

/* `local`: the metadata server of this process, or NULL. It must outlive the client. */
struct raft_client *raft_client_new(struct env *env, const struct raft_client_options *o,
                                    struct raft_server *local, const struct raft_client_ops *ops, void *ctx);
/* The provider; kv_close frees the client, and answers everything with RC_CLOSED. */
struct kv *raft_client_kv(struct raft_client *c);
/* Where the metadata servers are, first from the configuration, later from the nodes configuration. Copied;
 * what is above RAFT_CLIENT_ADDRESSES_MAX is ignored. */
void raft_client_set_addresses(struct raft_client *c, const char *const *addresses, size_t n);
void raft_client_set_fingerprint(struct raft_client *c, uint64_t fingerprint);

/* Something changed for the better - the own server knows a leader, a peer is back: what pauses is tried now
 * (TR-13). */
void raft_client_wake(struct raft_client *c);

/* Late answers, and answers to what is not waited for, are ignored. */
void raft_client_response(struct raft_client *c, uint64_t attempt, struct slice message);
/* `sent` false: the request certainly did not reach the member. */
void raft_client_failed(struct raft_client *c, uint64_t attempt, bool sent);

/* Ask the leader to take `member` in (spec §2.4). RC_OK: it is a member; RC_AGAIN: begun, or must wait, ask
 * again; RC_CONFLICT, RC_INVALID, RC_TOO_LARGE: refused with a sentence; RC_UNAVAILABLE: nobody to ask. */
struct raft_join {
    struct raft_member member;
    bool replace; /* the storage of this node was lost: take the old one out */
    void (*done)(struct raft_join *j, enum rc rc, const char *message);
};
void raft_client_join(struct raft_client *c, struct raft_join *j);

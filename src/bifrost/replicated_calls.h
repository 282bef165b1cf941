/* Requests of the replicated log's clients to log-servers, and who is reachable: the part of a transport that
 * is deterministic. One `struct loglet_calls` per loop; sequencers, readers and the one-shot operations of
 * that loop share it.
 *
 * The transport below is `struct loglet_net`: it sends a message to a node and may lose, delay, double and
 * reorder it. What it learns it reports here: loglet_calls_on_message      a reply loglet_calls_node_alive a
 * connection was accepted, gossip or anything else arrived from the node loglet_calls_node_lost       the
 * connection broke: its calls fail now instead of after their time-out loglet_calls_nodes_changed   the
 * directory has another content */
#pragma once
#include "base/env.h"
#include "bifrost/nodeset.h"
#include "wire/loglet_message.h"

struct loglet_net {
    /* To the log-server of node `to` (this node included). `m` is lent: take references to the bodies if it
     * has to wait. Never calls back from inside. */
    void (*send)(struct loglet_net *net, uint32_t to, const struct loglet_message *m);
};

/* Told about nodes. Embedded in its owner; callbacks may remove listeners and add calls. */
struct loglet_listener {
    struct list link;
    /* Trap TR-13 and spec/cluster.md §5.13 "do better": the first sign of life of a node that was silent ends
     * every pause that its silence caused. */
    void (*node_alive)(struct loglet_listener *l, uint32_t node);
    void (*nodes_changed)(struct loglet_listener *l);
};

struct loglet_calls {
    struct env *env;
    struct loglet_net *net;
    const struct node_directory *nodes; /* owned by the loop */
    struct node_ref me;
    uint64_t next_request_id;
    struct omap calls; /* by request id */
    struct list listeners;
    struct {
        uint32_t *items;
        size_t len, cap;
    } silent; /* nodes that left a call without an answer since they were last heard of */
};
void loglet_calls_init(struct loglet_calls *c, struct env *env, struct loglet_net *net,
                       const struct node_directory *nodes, struct node_ref me);
/* No call may be pending. */
void loglet_calls_free(struct loglet_calls *c);

/* One request that waits for its reply. Embedded in the owner. */
struct loglet_call {
    struct omap_node node;
    struct loglet_calls *calls; /* NULL: not pending */
    uint64_t request_id;
    uint32_t to;
    struct env_timer timer;
    /* `reply` NULL: none came, whether the request was processed is unknown. The call is no longer pending
     * and may be used again. */
    void (*done)(struct loglet_call *call, const struct loglet_message *reply);
};
void loglet_call_init(struct loglet_call *call,
                      void (*done)(struct loglet_call *call, const struct loglet_message *reply));
/* Sends `m` (its request_id is set here) and waits at most `timeout_ms`. */
void loglet_call_start(struct loglet_calls *c, struct loglet_call *call, uint32_t to,
                       struct loglet_message *m, uint64_t timeout_ms);
/* `done` will not run. No-op if not pending. */
void loglet_call_cancel(struct loglet_call *call);
static inline bool loglet_call_pending(const struct loglet_call *call)
{
    return call->calls != NULL;
}

void loglet_calls_listen(struct loglet_calls *c, struct loglet_listener *l);
void loglet_calls_unlisten(struct loglet_listener *l);

/* A reply from a log-server; one that nobody waits for is still a sign of life. */
void loglet_calls_on_message(struct loglet_calls *c, uint32_t from, const struct loglet_message *m);
void loglet_calls_node_alive(struct loglet_calls *c, uint32_t node);
/* The node takes requests again that it refused: end the pauses that this caused. */
void loglet_calls_wake(struct loglet_calls *c, uint32_t node);
void loglet_calls_node_lost(struct loglet_calls *c, uint32_t node);
void loglet_calls_nodes_changed(struct loglet_calls *c);

/* What the main loops of the nodes say to each other over CONTROL links (peer/): metadata, gossip, and the
 * orders of the controller. */
#pragma once
#include "base/env.h"
#include "metadata/nodes_config.h"
#include "node/config.h"
#include "peer/peer.h"

struct metadata_host;
struct control_link;

/* Orders of the controller to other nodes (PEER_COMMAND). Only hints: they may be lost. */
enum link_command { LINK_COMMAND_LEAD = 1 /* become leader of the partition */ };

/* Questions to another node that have an answer (PEER_COMMAND too). Numbers are for ever. */
enum node_method {
    NODE_METHOD_CREATE_SNAPSHOT = 1, /* of a partition that the node leads */
    NODE_METHOD_SCAN,                /* rows of SQL tables */
    NODE_METHOD_TRIM_LOG,            /* of a partition that the node leads */
    NODE_METHOD_ROWS,                /* of a SQL table that each node has for itself */
    NODE_METHOD_END
};
struct node_call {
    /* Exactly once, never from inside control_link_call. `rc` and `message` are what the other node answered,
     * or RC_UNAVAILABLE: certainly not sent; RC_CLOSED, RC_TIMEOUT: whether it was processed is unknown. */
    void (*done)(struct node_call *c, enum rc rc, const char *message, struct slice payload);

    /* private */
    struct list link;
    struct control_link *owner;
    uint64_t id, peer_link;
    struct env_timer timer;
};
#define NODE_CALLS_MAX 1024u

/* How to answer a question, now or later, exactly once. */
struct node_answer;
void node_answer_send(struct node_answer *a, enum rc rc, const char *message, struct slice payload);

struct control_link_ops {
    void (*gossip)(void *ctx, struct slice message);
    void (*command)(void *ctx, const struct node_ref *from, enum link_command command, uint16_t partition);
    void (*question)(void *ctx, const struct node_ref *from, enum node_method method, struct slice payload,
                     struct node_answer *answer);
    void (*seen)(void *ctx, struct node_ref node); /* a link with this process of the node came up */
    void (*lost)(void *ctx, struct node_ref node, bool gone);
    /* Before this node has joined: whoever listens at a configured address is of another cluster, or of a
     * version that does not understand this one. Joining is hopeless (spec/cluster.md §1.8). */
    void (*refused)(void *ctx, const char *why);
};

struct control_link *control_link_new(struct env *env, struct peers *peers,
                                      const struct control_link_ops *ops, void *ctx);
/* Requests that wait for an answer are forgotten, calls end with RC_CLOSED. Before the peers are freed. */
void control_link_free(struct control_link *l);
/* Whom metadata messages are for; NULL: nobody any more. */
void control_link_set_metadata(struct control_link *l, struct metadata_host *metadata);

/* This node has joined as `me`. */
void control_link_set_identity(struct control_link *l, uint32_t me);
/* Kept by reference until the next call. */
void control_link_set_nodes(struct control_link *l, const struct nodes_config *nodes);

/* All of them may be lost. */
void control_link_send_metadata(struct control_link *l, uint32_t node, struct slice message);
void control_link_send_gossip(struct control_link *l, uint32_t node, struct slice message);
void control_link_send_command(struct control_link *l, uint32_t node, enum link_command command,
                               uint16_t partition);
/* Ask another node, and wait at most `timeout_ms`. `c` is kept by the caller until `done`; only `done` is
 * set. */
void control_link_call(struct control_link *l, struct node_call *c, uint32_t node, enum node_method method,
                       struct slice payload, uint64_t timeout_ms);
/* `done` will not run. */
void control_link_call_cancel(struct node_call *c);
/* A request to the metadata server at an address; its answer, or that there will be none, is given to the
 * metadata host, never from inside. */
void control_link_request_metadata(struct control_link *l, const char *address, uint64_t attempt,
                                   struct slice message);

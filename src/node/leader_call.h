/* Requests of operators that the leader of a partition carries out, whichever node was asked: the leader is
 * found, here or on another node, and asked again while leadership moves - after a start, or when a node goes
 * - as long as the caller has patience. What is asked twice must do no harm. Main loop. */
#pragma once
#include "node/control_link.h"

#define LEADER_CALL_PATIENCE_MS 8000u /* operators' tools give up after 13 s */

struct node;

/* How the leader answers, exactly once, now or later; not set by methods. */
struct leader_reply {
    void (*send)(struct leader_reply *r, enum rc rc, const char *message, struct slice payload);
};
/* The methods: what the leader's node does. RC_NOT_LEADER, RC_CANCELED: ask again. */
void snapshot_run(struct node *n, uint16_t partition, struct reader *request, struct leader_reply *reply);
void trim_run(struct node *n, uint16_t partition, struct reader *request, struct leader_reply *reply);

struct leader_call {
    /* Once. RC_NOT_LEADER: there is no leader, or none that stays. */
    void (*done)(struct leader_call *c, enum rc rc, const char *message, struct slice payload);

    /* private */
    struct list link;
    struct node *node;
    struct leader_reply reply; /* of this node */
    struct node_call call;     /* of another one */
    struct bytes request;
    struct env_timer again;
    uint64_t until_ms;
    enum node_method method;
    uint16_t partition;
};
/* The call is kept by the caller until `done`, which may run from inside. `request` is what the method reads
 * behind the partition. */
void leader_call_start(struct leader_call *c, struct node *n, enum node_method method, uint16_t partition,
                       struct slice request, uint64_t patience_ms);
/* A node that believes the leader to be here asks. */
void leader_call_asked(struct node *n, enum node_method method, struct slice payload,
                       struct node_answer *answer);
/* The node stops: calls that wait for a leader end. */
void leader_calls_stop(struct node *n);

/* The same request to all members of a node set: what seal, find tail, digest and trim have in common. */
#pragma once
#include "bifrost/replicated_client.h"

/* Common head of the operations. */
struct loglet_op {
    void (*free)(struct loglet_op *op); /* stops and frees */
};

struct fanout;
struct fanout_answer {
    enum loglet_status status;
    bool sealed;
    uint64_t local_tail, committed_tail, repaired_tail, trim_point;
};
struct fanout_node {
    struct fanout *fanout;
    unsigned position;
    struct loglet_call call;
    struct env_timer retry;
    unsigned failures;
    struct fanout_answer answer; /* valid if marked in fanout.answered */
};
struct fanout {
    struct loglet_calls *calls;
    const struct loglet_params *params;
    struct quorum quorum;
    struct loglet_message request;
    struct fanout_node *nodes; /* params->nodeset.len of them */
    struct marks answered;
    struct marks lost; /* say that they lost what they had of the segment: never `answered` */
    struct loglet_listener listener;
    bool running;
    const char *wanted; /* what waits: told to the operator when it takes long; NULL: nothing is */
    struct env_timer told;
    struct marks heard; /* since then */
    /* A node answered (it is marked and its answer kept); may stop or free the fan-out. To ask the node again
     * after a pause: fanout_again. */
    void (*on_reply)(struct fanout *f, unsigned position, const struct loglet_message *m);
    /* The quorum was computed anew, because of what is known of the nodes or because one of them is lost. May
     * stop or free the fan-out. */
    void (*on_change)(struct fanout *f);
};
void fanout_init(struct fanout *f, struct loglet_calls *c, const struct loglet_params *p);
void fanout_free(struct fanout *f);
/* Forget all answers and ask all effective members. `request` needs kind and fields; loglet and sequencer are
 * set here. */
void fanout_start(struct fanout *f, const struct loglet_message *request);
void fanout_stop(struct fanout *f);
void fanout_again(struct fanout *f, unsigned position);
/* When it has not come to an end after a few seconds, a warning says which members are missing, and again now
 * and then. `wanted` completes "log 3, segment 3_1 cannot be ..." and is not copied. */
void fanout_tell(struct fanout *f, const char *wanted);

/* Template of a request about the segment. */
struct loglet_message loglet_request(const struct loglet_params *p, enum loglet_message_kind kind,
                                     uint64_t committed_tail, uint64_t repaired_tail);

/* Pauses after failures: 25 ms doubling to 2 s. */
uint64_t loglet_pause_ms(unsigned failures);
/* Time-outs of calls: 500 ms doubling to 2 s. A repetition costs little, a lost message that is waited for
 * costs availability. */
uint64_t loglet_timeout_ms(unsigned failures);

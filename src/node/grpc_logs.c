/* Operators' questions and requests about logs: see grpc_logs.h. They are asked of the logs themselves: the
 * chain is read from metadata, tails from log-servers, whoever writes the log. */
#include "node/grpc_logs.h"

#include <stdlib.h>

#include "bifrost/replicated_client.h"
#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/node_internal.h"

#define PATIENCE_MS      10000u
#define TRIM_PATIENCE_MS 1500u

static const struct log_chain *requested_log(const struct node *n, struct bytes message, uint64_t *log_id)
{
    return numbers_request_decode(bytes_slice(message), log_id, 1, NULL) == RC_OK && *log_id <= UINT32_MAX
               ? logs_config_chain(&n->view.logs, (uint32_t)*log_id)
               : NULL;
}

/* ---- ListLogs, DescribeLog ---- */

void grpc_list_logs(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct writer w = WRITER_INIT;
    pb_write_bytes_always(&w, 1, bytes_slice(n->view.logs_value.stored));
    rpc_reply(rpc, &w);
}

/* How far a log is trimmed, its log-servers know: segments that are trimmed as a whole are dropped from the
 * chain, so those of the first segment are asked. */
struct log_question {
    struct rpc *rpc;
    struct node *node;
    struct loop_logs *logs;
    struct loop_logs_user user;
    uint32_t log_id;
    size_t waiting;
    uint64_t trimmed; /* offset in the first segment */
    struct loglet_params params;
    struct trim_call {
        struct loglet_call call;
        struct log_question *question;
    } calls[NODESET_MAX];
};

static void describe(struct log_question *q)
{
    struct node *n = q->node;
    struct writer w = WRITER_INIT, chain = WRITER_INIT;
    const struct log_chain *c = logs_config_chain(&n->view.logs, q->log_id);
    log_chain_encode(&chain, c);
    pb_put_message(&w, 1, &chain);
    pb_write_u64(&w, 4, c->segments[0].base_lsn - 1 + q->trimmed);
    pb_write_u64(&w, 5, q->log_id);
    pb_write_u64(&w, 6, n->view.logs_value.version);
    pb_write_bytes_always(&w, 7, bytes_slice(n->view.nodes_value.stored));
    rpc_reply(q->rpc, &w);
    for (size_t i = 0; i < q->params.nodeset.len; i++)
        loglet_call_cancel(&q->calls[i].call);
    loop_logs_leave(&q->user);
    free(q);
}

static void describe_closing(struct loop_logs_user *u)
{
    describe(CONTAINER_OF(u, struct log_question, user));
}

static void describe_release(struct log_question *q)
{
    if (--q->waiting == 0)
        describe(q);
}

static void trim_known(struct loglet_call *call, const struct loglet_message *reply)
{
    struct log_question *q = CONTAINER_OF(call, struct trim_call, call)->question;
    if (reply)
        q->trimmed = MAX(q->trimmed, reply->trim_point);
    describe_release(q);
}

static void ask_for_trim_point(struct log_question *q)
{
    struct loglet_calls *calls = loop_logs_calls(q->logs);
    q->waiting = 1; /* this function */
    for (size_t i = 0; i < q->params.nodeset.len; i++) {
        struct loglet_message m = {.kind = LOGLET_GET_INFO,
                                   .loglet_id = q->params.loglet_id,
                                   .committed_tail = 1,
                                   .repaired_tail = 1};
        uint32_t node = q->params.nodeset.ids[i];
        q->calls[i].question = q;
        loglet_call_init(&q->calls[i].call, trim_known);
        if (node_directory_liveness(calls->nodes, node) == LIVENESS_DEAD)
            continue;
        q->waiting++;
        loglet_call_start(calls, &q->calls[i].call, node, &m, TRIM_PATIENCE_MS);
    }
    describe_release(q);
}

void grpc_describe_log(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t log_id;
    const struct log_chain *chain = requested_log(n, message, &log_id);
    if (!chain) {
        rpc_fail(rpc, GRPC_NOT_FOUND, "Log id %llu not found", (unsigned long long)log_id);
        return;
    }
    struct log_question *q = xcalloc(1, sizeof(*q));
    *q = (struct log_question){
        .rpc = rpc, .node = n, .logs = node_logs_main(n->logs), .log_id = (uint32_t)log_id};
    q->user.closing = describe_closing;
    loop_logs_join(q->logs, &q->user);
    const struct log_segment *first = &chain->segments[0];
    if (first->kind == SEGMENT_REPLICATED && first->params &&
        loglet_params_decode(slice_cstr(first->params), &q->params, NULL) == RC_OK && q->params.nodeset.len)
        ask_for_trim_point(q);
    else
        describe(q);
}

/* ---- FindTail ---- */

enum { TAIL_OPEN = 1, TAIL_SEALED };

struct tail_question {
    struct rpc *rpc;
    struct loop_logs *logs;
    struct loop_logs_user user;
    uint32_t log_id, index;
    lsn_t base;
    struct chain_request read;
    bool reading;
    struct loglet_params params;
    struct loglet_op *find;
    struct env_timer patience;
};

static void tail_forget(struct tail_question *q)
{
    if (q->reading)
        loop_logs_chain_store(q->logs)->ops->cancel(loop_logs_chain_store(q->logs), &q->read);
    loglet_op_cancel(q->find);
    loop_logs_leave(&q->user);
    env_timer_cancel(loop_logs_calls(q->logs)->env, &q->patience);
    free(q);
}

static void tail_answer(struct tail_question *q, int state, lsn_t tail)
{
    struct writer w = WRITER_INIT;
    pb_write_u64(&w, 1, q->log_id);
    pb_write_u64(&w, 2, q->index);
    pb_write_u64(&w, 3, (uint64_t)state);
    pb_write_u64(&w, 4, tail);
    rpc_reply(q->rpc, &w);
    tail_forget(q);
}

static void tail_fail(struct tail_question *q, const char *why)
{
    rpc_fail(q->rpc, GRPC_UNAVAILABLE, "cannot find the tail of log %u: %s", q->log_id, why);
    tail_forget(q);
}

static void tail_found(void *ctx, const struct loglet_tail *t)
{
    struct tail_question *q = ctx;
    q->find = NULL;
    tail_answer(q, t->kind == LOGLET_TAIL_SEALED ? TAIL_SEALED : TAIL_OPEN, q->base + t->tail - 1);
}

static void tail_chain_read(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct tail_question *q = CONTAINER_OF(r, struct tail_question, read);
    struct err err = {0};
    q->reading = false;
    if (rc != RC_OK) {
        tail_fail(q, rc_name(rc));
        return;
    }
    const struct chain_segment *last = &chain->segments[chain->len - 1];
    q->index = last->index;
    q->base = last->base_lsn;
    if (last->kind == SEGMENT_SEALED)
        tail_answer(q, TAIL_SEALED, last->base_lsn);
    else if (loglet_params_decode(bytes_slice(last->params), &q->params, &err) != RC_OK)
        tail_fail(q, err.msg);
    else
        q->find = loglet_find_tail(loop_logs_calls(q->logs), &q->params, 0, tail_found, q);
}

static void tail_out_of_patience(struct env_timer *t)
{
    struct tail_question *q = CONTAINER_OF(t, struct tail_question, patience);
    tail_fail(q, q->reading ? "the metadata store does not answer"
                            : "not enough of its log-servers answer to know it");
}

static void tail_closing(struct loop_logs_user *u)
{
    tail_fail(CONTAINER_OF(u, struct tail_question, user), "the node is shutting down");
}

void grpc_find_tail(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t log_id;
    if (!requested_log(n, message, &log_id)) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "Unknown log-id");
        return;
    }
    struct tail_question *q = xcalloc(1, sizeof(*q));
    q->rpc = rpc;
    q->logs = node_logs_main(n->logs);
    q->log_id = (uint32_t)log_id;
    q->user.closing = tail_closing;
    loop_logs_join(q->logs, &q->user);
    q->read.done = tail_chain_read;
    q->reading = true;
    env_timer_init(&q->patience, tail_out_of_patience);
    env_timer_arm(n->env, &q->patience, PATIENCE_MS);
    struct chain_store *store = loop_logs_chain_store(q->logs);
    store->ops->read(store, q->log_id, &q->read);
}

/* TrimLog (node/grpc_logs.h): done by the leader of the log's partition, which knows what of the log is
 * durable elsewhere. */
#include <stdlib.h>

#include "node/grpc_logs.h"
#include "node/grpc_requests.h"
#include "node/leader_call.h"
#include "node/node_internal.h"

/* ---- the leader's side ---- */

static void trimmed(void *ctx, lsn_t trim_point, const struct err *err)
{
    struct leader_reply *reply = ctx;
    struct writer w = WRITER_INIT;
    write_varint(&w, trim_point);
    reply->send(reply, err ? err->rc : RC_OK, err ? err->msg : "", writer_slice(&w));
    writer_free(&w);
}

void trim_run(struct node *n, uint16_t partition, struct reader *request, struct leader_reply *reply)
{
    lsn_t upto = read_varint(request);
    if (request->failed)
        reply->send(reply, RC_INVALID, "bad request to trim a log", SLICE_EMPTY);
    else
        shard_trim_log(n->shards[partition % n->n_shards], partition, upto, n->loop, trimmed, reply);
}

/* ---- the operator's side ---- */

struct trim_rpc {
    struct rpc *rpc;
    struct leader_call call;
};

static void answered(struct leader_call *c, enum rc rc, const char *message, struct slice payload)
{
    struct trim_rpc *q = CONTAINER_OF(c, struct trim_rpc, call);
    if (rc == RC_OK)
        rpc_reply_empty(q->rpc);
    else if (rc == RC_NOT_LEADER)
        rpc_fail(q->rpc, GRPC_UNAVAILABLE, "log %u cannot be trimmed: partition %u has no leader",
                 c->partition, c->partition);
    else
        rpc_fail(q->rpc, GRPC_INTERNAL, "log %u cannot be trimmed: %s", c->partition, message);
    free(q);
}

void grpc_trim_log(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t fields[2]; /* log, trim point */
    enum rc rc = numbers_request_decode(bytes_slice(message), fields, 2, NULL);
    uint64_t log_id = fields[0];
    if (rc != RC_OK || log_id >= n->joined.n_partitions ||
        !logs_config_chain(&n->view.logs, (uint32_t)log_id)) {
        rpc_fail(rpc, GRPC_INTERNAL, "unknown log '%llu'", (unsigned long long)log_id);
        return;
    }
    struct trim_rpc *q = xcalloc(1, sizeof(*q));
    struct writer w = WRITER_INIT;
    q->rpc = rpc;
    q->call.done = answered;
    write_varint(&w, fields[1]);
    leader_call_start(&q->call, n, NODE_METHOD_TRIM_LOG, (uint16_t)log_id, writer_slice(&w),
                      LEADER_CALL_PATIENCE_MS);
    writer_free(&w);
}

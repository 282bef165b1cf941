/* Implementation of node/snapshot_rpc.h. */
#include "node/snapshot_rpc.h"

#include <stdlib.h>

#include "node/grpc_requests.h"
#include "node/leader_call.h"
#include "node/node_internal.h"

/* ---- the leader's side ---- */

struct making {
    struct node *node;
    struct leader_reply *reply;
    uint16_t partition;
    bool trim_log;
};

static void created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct making *m = ctx;
    struct node *n = m->node;
    struct writer w = WRITER_INIT;
    if (!err && m->trim_log)
        shard_trim_log(n->shards[m->partition % n->n_shards], m->partition, c->ref.lsn, NULL, NULL, NULL);
    if (!err) {
        write_lp(&w, slice_cstr(c->ref.id));
        write_varint(&w, c->ref.lsn);
    }
    m->reply->send(m->reply, err ? err->rc : RC_OK, err ? err->msg : "", writer_slice(&w));
    writer_free(&w);
    free(m);
}

void snapshot_run(struct node *n, uint16_t partition, struct reader *request, struct leader_reply *reply)
{
    lsn_t min_lsn = read_varint(request);
    bool trim_log = read_u8(request) != 0;
    if (request->failed) {
        reply->send(reply, RC_INVALID, "bad request for a snapshot", SLICE_EMPTY);
        return;
    }
    struct making *m = xcalloc(1, sizeof(*m));
    *m = (struct making){n, reply, partition, trim_log};
    shard_create_snapshot(n->shards[partition % n->n_shards], partition, min_lsn, n->loop, created, m);
}

/* ---- the operator's side ---- */

struct snapshot_rpc {
    struct rpc *rpc;
    struct leader_call call;
};

static void fail(struct snapshot_rpc *q, enum rc rc, const char *message)
{
    if (rc == RC_NOT_LEADER)
        rpc_fail(q->rpc, GRPC_INTERNAL, "Can not find a suitable node to take snapshot of partition %u",
                 (unsigned)q->call.partition);
    else
        rpc_fail(q->rpc, GRPC_INTERNAL,
                 "Failed to create snapshot: SnapshotCreationFailed(\"export error: %s%s\")",
                 strncmp(message, "Applied LSN", 11) == 0 ? "precondition failed: " : "", message);
    free(q);
}

static void answered(struct leader_call *c, enum rc rc, const char *message, struct slice payload)
{
    struct snapshot_rpc *q = CONTAINER_OF(c, struct snapshot_rpc, call);
    struct reader r = reader_make(payload);
    struct slice id = read_lp(&r);
    lsn_t lsn = read_varint(&r);
    struct writer w = WRITER_INIT;
    if (rc != RC_OK) {
        fail(q, rc, message);
        return;
    }
    if (r.failed) {
        fail(q, RC_CORRUPT, "the leader's answer was not understood");
        return;
    }
    pb_write_bytes(&w, 1, id);
    pb_write_u64(&w, 2, c->partition);
    pb_write_u64(&w, 3, lsn);
    rpc_reply(q->rpc, &w);
    free(q);
}

void grpc_create_snapshot(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t fields[3]; /* partition, least LSN, trim the log */
    struct err err = {0};
    if (numbers_request_decode(bytes_slice(message), fields, 3, &err) != RC_OK) {
        rpc_fail(rpc, GRPC_INTERNAL, "%s", err.msg);
        return;
    }
    uint64_t partition = fields[0];
    if (partition > UINT16_MAX) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT,
                 "Invalid partition id: out of range integral type conversion attempted");
        return;
    }
    struct snapshot_rpc *q = xcalloc(1, sizeof(*q));
    q->rpc = rpc;
    q->call.done = answered;
    q->call.partition = (uint16_t)partition;
    if (partition >= n->joined.n_partitions) { /* no use in waiting for its leader */
        fail(q, RC_NOT_LEADER, "");
        return;
    }
    struct writer w = WRITER_INIT;
    write_varint(&w, fields[1]);
    write_u8(&w, fields[2] != 0);
    leader_call_start(&q->call, n, NODE_METHOD_CREATE_SNAPSHOT, (uint16_t)partition, writer_slice(&w),
                      LEADER_CALL_PATIENCE_MS);
    writer_free(&w);
}

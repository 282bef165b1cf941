/* Implementation of node/snapshot_rpc.h. */
#include "node/snapshot_rpc.h"

#include <stdlib.h>

#include "node/cluster.h"
#include "node/grpc_messages.h"
#include "node/node_internal.h"

/* Operators' tools give up earlier; the snapshot is made nevertheless. */
#define REMOTE_TIMEOUT_MS 120000u

/* One request, whoever made it: exactly one of rpc and answer is set. */
struct snapshot_rpc {
    struct node *node;
    struct rpc *rpc;
    struct node_answer *answer;
    struct node_call call; /* to the leader's node */
    uint16_t partition;
    lsn_t min_lsn;
    bool trim_log;
};

static void fail(struct snapshot_rpc *q, enum rc rc, const char *message)
{
    if (q->answer)
        node_answer_send(q->answer, rc, message, SLICE_EMPTY);
    else if (rc == RC_NOT_LEADER)
        rpc_fail(q->rpc, GRPC_INTERNAL, "Can not find a suitable node to take snapshot of partition %u",
                 (unsigned)q->partition);
    else
        rpc_fail(q->rpc, GRPC_INTERNAL,
                 "Failed to create snapshot: SnapshotCreationFailed(\"export error: %s%s\")",
                 strncmp(message, "Applied LSN", 11) == 0 ? "precondition failed: " : "", message);
    free(q);
}

static void succeed(struct snapshot_rpc *q, struct slice id, lsn_t lsn)
{
    struct writer w = WRITER_INIT;
    if (q->answer) {
        write_lp(&w, id);
        write_varint(&w, lsn);
        node_answer_send(q->answer, RC_OK, "", writer_slice(&w));
        writer_free(&w);
    } else {
        pb_write_bytes(&w, 1, id);
        pb_write_u64(&w, 2, q->partition);
        pb_write_u64(&w, 3, lsn);
        rpc_reply(q->rpc, &w);
    }
    free(q);
}

/* ---- the leader is here ---- */

static void created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct snapshot_rpc *q = ctx;
    struct node *n = q->node;
    if (err) {
        fail(q, err->rc, err->msg);
        return;
    }
    if (q->trim_log)
        shard_trim_log(n->shards[q->partition % n->n_shards], q->partition, c->ref.lsn);
    succeed(q, slice_cstr(c->ref.id), c->ref.lsn);
}

static void create_here(struct snapshot_rpc *q)
{
    struct node *n = q->node;
    shard_create_snapshot(n->shards[q->partition % n->n_shards], q->partition, q->min_lsn, n->loop, created,
                          q);
}

/* ---- the leader is elsewhere ---- */

static void answered(struct node_call *call, enum rc rc, const char *message, struct slice payload)
{
    struct snapshot_rpc *q = CONTAINER_OF(call, struct snapshot_rpc, call);
    struct reader r = reader_make(payload);
    struct slice id = read_lp(&r);
    lsn_t lsn = read_varint(&r);
    if (rc != RC_OK)
        fail(q, rc, message);
    else if (r.failed)
        fail(q, RC_CORRUPT, "the leader's answer was not understood");
    else
        succeed(q, id, lsn);
}

static void ask_leader(struct snapshot_rpc *q, uint32_t leader)
{
    struct writer w = WRITER_INIT;
    write_varint(&w, q->partition);
    write_varint(&w, q->min_lsn);
    write_u8(&w, q->trim_log);
    q->call.done = answered;
    control_link_call(q->node->control, &q->call, leader, NODE_METHOD_CREATE_SNAPSHOT, writer_slice(&w),
                      REMOTE_TIMEOUT_MS);
    writer_free(&w);
}

void snapshot_rpc_asked(struct node *n, struct slice payload, struct node_answer *answer)
{
    struct reader r = reader_make(payload);
    uint64_t partition = read_varint(&r);
    struct snapshot_rpc *q = xcalloc(1, sizeof(*q));
    *q = (struct snapshot_rpc){.node = n, .answer = answer, .partition = (uint16_t)partition};
    q->min_lsn = read_varint(&r);
    q->trim_log = read_u8(&r) != 0;
    if (r.failed || partition >= n->joined.n_partitions || n->n_shards == 0)
        fail(q, RC_INVALID, "bad request for a snapshot");
    else
        create_here(q);
}

void grpc_create_snapshot(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t partition = 0, min_lsn = 0, trim = 0, epoch;
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    struct node_ref leader = {0, 0};
    while (pb_next(&r, &f)) {
        if (f.wire == PB_VARINT && f.number == 1)
            partition = f.value;
        else if (f.wire == PB_VARINT && f.number == 2)
            min_lsn = f.value;
        else if (f.wire == PB_VARINT && f.number == 3)
            trim = f.value;
    }
    if (partition > UINT16_MAX) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT,
                 "Invalid partition id: out of range integral type conversion attempted");
        return;
    }
    struct snapshot_rpc *q = xcalloc(1, sizeof(*q));
    *q = (struct snapshot_rpc){
        .node = n, .rpc = rpc, .partition = (uint16_t)partition, .min_lsn = min_lsn, .trim_log = trim != 0};
    bool led = partition < n->joined.n_partitions &&
               membership_leader(cluster_membership(n->cluster), q->partition, &leader, &epoch);
    if (!led)
        fail(q, RC_NOT_LEADER, "");
    else if (leader.id == n->joined.node_id)
        create_here(q);
    else
        ask_leader(q, leader.id);
}

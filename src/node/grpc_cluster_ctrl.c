/* restate.cluster_ctrl.ClusterCtrlSvc (spec/restatectl.md §5.2, §6.4, §8.2) on a single node: state of
 * partitions and logs, configuration, and clear refusals of what needs a cluster. */
#include <jansson.h>
#include <stdlib.h>

#include "node/grpc_cluster_config.h"
#include "node/grpc_cluster_state.h"
#include "node/grpc_logs.h"
#include "node/grpc_messages.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"
#include "node/partition_reports.h"

/* ---- snapshots ---- */

struct snapshot_rpc {
    struct rpc *rpc;
    struct node *node;
    uint16_t partition;
    bool trim_log;
};

static void snapshot_done(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct snapshot_rpc *q = ctx;
    if (err && err->rc == RC_NOT_LEADER)
        rpc_fail(q->rpc, GRPC_INTERNAL, "Can not find a suitable node to take snapshot of partition %u",
                 (unsigned)q->partition);
    else if (err)
        rpc_fail(q->rpc, GRPC_INTERNAL,
                 "Failed to create snapshot: SnapshotCreationFailed(\"export error: %s%s\")",
                 strncmp(err->msg, "Applied LSN", 11) == 0 ? "precondition failed: " : "", err->msg);
    if (!err) {
        if (q->trim_log)
            shard_trim_log(q->node->shards[q->partition % q->node->n_shards], q->partition, c->ref.lsn);
        struct writer w = WRITER_INIT;
        pb_put_text(&w, 1, c->ref.id);
        pb_write_u64(&w, 2, q->partition);
        pb_write_u64(&w, 3, c->ref.lsn);
        rpc_reply(q->rpc, &w);
    }
    free(q);
}

static void create_snapshot(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint64_t partition = 0, min_lsn = 0, trim = 0;
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
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
    if (partition >= n->joined.n_partitions) {
        rpc_fail(rpc, GRPC_INTERNAL, "Can not find a suitable node to take snapshot of partition %llu",
                 (unsigned long long)partition);
        return;
    }
    struct snapshot_rpc *q = xcalloc(1, sizeof(*q));
    *q = (struct snapshot_rpc){rpc, n, (uint16_t)partition, trim != 0};
    shard_create_snapshot(n->shards[partition % n->n_shards], q->partition, min_lsn, n->loop, snapshot_done,
                          q);
}

/* ---- what a single node refuses ---- */

static void migrate_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    struct slice target = SLICE_EMPTY;
    json_error_t parse;
    while (pb_next(&r, &f)) {
        if (f.number == 2 && f.wire == PB_LEN)
            target = f.bytes;
    }
    json_t *config = json_loadb((const char *)target.ptr, target.len, JSON_REJECT_DUPLICATES, &parse);
    const char *type = config ? json_string_value(json_object_get(config, "type")) : NULL;
    if (!config)
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", parse.text);
    else if (type && strcmp(type, "replicated") == 0)
        rpc_fail(rpc, GRPC_UNIMPLEMENTED,
                 "Metadata migration to replicated metadata store is not supported yet");
    else
        rpc_fail(rpc, GRPC_FAILED_PRECONDITION,
                 "Node N%u:%u is not running with --metadata-migration-mode; start all nodes with this flag "
                 "before migrating metadata",
                 n->joined.node_id, n->joined.generation);
    json_decref(config);
}

static void query(struct rpc *rpc, struct node *n, struct bytes message)
{
    rpc_fail(rpc, GRPC_UNIMPLEMENTED, "SQL over the node port is not supported by this server yet");
}

static bool ready(const struct node *n)
{
    return n->state == NODE_ALIVE;
}

static const struct rpc_method methods[] = {
    {"GetClusterState", cluster_get_state},
    {"ListLogs", grpc_list_logs},
    {"DescribeLog", grpc_describe_log},
    {"TrimLog", grpc_trim_log},
    {"CreatePartitionSnapshot", create_snapshot},
    {"SealAndExtendChain", grpc_reconfigure_log},
    {"SealChain", grpc_seal_log},
    {"FindTail", grpc_find_tail},
    {"GetClusterConfiguration", cluster_get_configuration},
    {"SetClusterConfiguration", cluster_set_configuration},
    {"Query", query},
    {"MigrateMetadata", migrate_metadata},
    {"SyncEpochMetadata", cluster_sync_epoch_metadata},
};
const struct rpc_service cluster_ctrl_service = {
    .name = "restate.cluster_ctrl.ClusterCtrlSvc",
    .role = ROLE_ADMIN,
    .ready = ready,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

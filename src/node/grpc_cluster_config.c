/* The cluster configuration: see grpc_cluster_config.h. */
#include "node/grpc_cluster_config.h"

#include <stdlib.h>

#include "metadata/kv_edit.h"
#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/node_internal.h"

void cluster_get_configuration(struct rpc *rpc, struct node *n, struct bytes message)
{
    const struct logs_config *logs = &n->view.logs;
    struct provision_settings s = {
        .n_partitions = n->view.table.n_partitions,
        .partition_replication = n->view.table.replication,
        .provider = logs->provider,
        .log_replication = logs->replication,
        .target_nodeset_size = logs->target_nodeset_size,
    };
    struct writer w = WRITER_INIT;
    pb_put_cluster_configuration(&w, 1, &s);
    rpc_reply(rpc, &w);
}

/* ---- SetClusterConfiguration: first the logs, then the partition table, each only if it changes ---- */

struct reconfiguration {
    struct rpc *rpc;
    struct node *node;
    struct kv_edit edit;
    struct config_request request;
};

static void finish(struct reconfiguration *q, const struct err *err)
{
    if (!err)
        rpc_reply_empty(q->rpc);
    else if (err->rc == RC_INVALID)
        rpc_fail(q->rpc, GRPC_INTERNAL, "failed read-modify-write operation: %s", err->msg);
    else
        rpc_fail(q->rpc, grpc_code_of(err->rc), "%s", err->msg);
    free(q);
}

static enum rc change_table(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                            uint32_t *version, struct err *err)
{
    struct reconfiguration *q = CONTAINER_OF(e, struct reconfiguration, edit);
    struct partition_table t;
    if (!current)
        return err_set(err, RC_UNAVAILABLE, "the cluster has no partition table yet");
    enum rc rc = partition_table_decode(bytes_slice(current->value), &t, err);
    if (rc != RC_OK)
        return rc;
    if (q->request.wanted.n_partitions != t.n_partitions)
        return err_set(err, RC_INVALID, "changing the number of partitions is not yet supported by Restate");
    if (!q->request.has_partition_replication ||
        replication_eq(&q->request.wanted.partition_replication, &t.replication))
        return RC_EOF;
    t.replication = q->request.wanted.partition_replication;
    *version = ++t.version;
    partition_table_encode(w, &t);
    return RC_OK;
}

static void table_changed(struct kv_edit *e, const struct err *err)
{
    finish(CONTAINER_OF(e, struct reconfiguration, edit), err);
}

static enum rc change_logs(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                           uint32_t *version, struct err *err)
{
    struct reconfiguration *q = CONTAINER_OF(e, struct reconfiguration, edit);
    struct arena arena = {0};
    struct logs_config c;
    if (!current)
        return err_set(err, RC_UNAVAILABLE, "the cluster has no configuration of its logs yet");
    enum rc rc = logs_config_decode(&arena, bytes_slice(current->value), &c, err);
    if (rc == RC_OK && q->request.wanted.provider != c.provider &&
        q->request.wanted.provider != LOG_PROVIDER_REPLICATED)
        rc = err_set(err, RC_INVALID,
                     "changing default provider kind to %s is not supported. Choose 'replicated' instead",
                     log_provider_name(q->request.wanted.provider));
    if (rc == RC_OK && !q->request.has_log_replication)
        q->request.wanted.log_replication = c.replication;
    bool replicated = q->request.wanted.provider == LOG_PROVIDER_REPLICATED;
    if (rc == RC_OK && q->request.wanted.provider == c.provider &&
        (!replicated || (replication_eq(&q->request.wanted.log_replication, &c.replication) &&
                         q->request.wanted.target_nodeset_size == c.target_nodeset_size)))
        rc = RC_EOF;
    if (rc == RC_OK) {
        c.provider = q->request.wanted.provider;
        c.replication = q->request.wanted.log_replication;
        c.target_nodeset_size = q->request.wanted.target_nodeset_size;
        c.modified_at = hybrid_timestamp(env_wall_ms(q->node->env));
        *version = ++c.version;
        logs_config_encode(w, &c);
    }
    arena_free(&arena);
    return rc;
}

static void logs_changed(struct kv_edit *e, const struct err *err)
{
    struct reconfiguration *q = CONTAINER_OF(e, struct reconfiguration, edit);
    if (err) {
        finish(q, err);
        return;
    }
    q->edit = (struct kv_edit){
        .kv = q->node->kv, .key = PARTITION_TABLE_KEY, .change = change_table, .done = table_changed};
    kv_edit_start(&q->edit);
}

void cluster_set_configuration(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct reconfiguration *q = xcalloc(1, sizeof(*q));
    struct err err = {0};
    q->rpc = rpc;
    q->node = n;
    q->request.wanted.partition_replication = n->view.table.replication;
    q->request.wanted.log_replication = n->view.logs.replication;
    enum rc rc = config_request_decode(bytes_slice(message), &q->request, &err);
    bool other_number = rc == RC_OK && q->request.wanted.n_partitions != n->view.table.n_partitions;
    if (rc == RC_OK && !other_number && q->request.wanted.provider != LOG_PROVIDER_IN_MEMORY)
        rc = provision_settings_check(&q->request.wanted, &err);
    if (rc != RC_OK) {
        rpc_fail(rpc, grpc_code_of(rc), "%s", err.msg);
        free(q);
        return;
    }
    if (other_number) {
        err_set(&err, RC_INVALID, "changing the number of partitions is not yet supported by Restate");
        finish(q, &err);
        return;
    }
    q->edit =
        (struct kv_edit){.kv = n->kv, .key = LOGS_CONFIG_KEY, .change = change_logs, .done = logs_changed};
    kv_edit_start(&q->edit);
}

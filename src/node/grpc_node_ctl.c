/* restate.node_ctl_svc.NodeCtlSvc (spec/restatectl.md §5.1, §6.2, §8.1): who this node is, its cached
 * metadata, provisioning. */
#include <stdio.h>
#include <stdlib.h>

#include "node/grpc_compaction.h"
#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/grpc_schema.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"

/* ---- GetIdent ---- */

enum { NODE_STATUS_ALIVE = 1, NODE_STATUS_STARTING_UP, NODE_STATUS_SHUTTING_DOWN };
enum { ROLE_STATUS_READY = 1, ROLE_STATUS_STARTING_UP, LOG_SERVER_FAILSAFE };
enum { ADDRESS_TCP = 1, ADDRESS_HTTP, ADDRESS_UNIX };

static unsigned role_status(const struct node *n, unsigned role, bool ready)
{
    return !(n->config->roles & role) ? 0 : ready ? ROLE_STATUS_READY : ROLE_STATUS_STARTING_UP;
}

static void put_address(struct writer *w, uint32_t field, const char *name, const char *address,
                        unsigned kind)
{
    struct writer inner = WRITER_INIT;
    pb_put_text(&inner, 1, name);
    pb_put_text(&inner, 2, address);
    pb_write_u64(&inner, 3, kind);
    pb_put_message(w, field, &inner);
}

static void put_addresses(struct writer *w, const struct health_report *h)
{
    char text[128];
    for (size_t i = 0; i < ARRAY_LEN(h->services); i++) {
        const struct service *s = h->services[i];
        for (size_t l = 0; s && l < s->n_listeners; l++) {
            const struct net_address *a = &s->bound[l];
            snprintf(text, sizeof(text), strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
            bool unix_socket = a->family == NET_UNIX;
            put_address(w, 14, s->name, unix_socket ? a->host : text,
                        unix_socket ? ADDRESS_UNIX : ADDRESS_TCP);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(h->services); i++) {
        const struct service *s = h->services[i];
        if (s)
            put_address(w, 15, s->name, s->advertised,
                        strncmp(s->advertised, "unix:", 5) == 0 ? ADDRESS_UNIX : ADDRESS_HTTP);
    }
}

static void put_roles(struct writer *w, unsigned roles)
{
    enum node_role role;
    for (size_t i = 0; (role = node_role_at(i)); i++) {
        if (roles & role)
            pb_put_text(w, 4, node_role_name(role));
    }
}

static void get_ident(struct rpc *rpc, struct node *n, struct bytes message)
{
    static const unsigned states[] = {NODE_STATUS_STARTING_UP, NODE_STATUS_ALIVE, NODE_STATUS_SHUTTING_DOWN};
    struct health_report h = {0};
    struct writer w = WRITER_INIT;
    node_health(n, &h);
    pb_write_u64(&w, 1, states[h.state]);
    if (h.node_id)
        pb_put_node_id(&w, 2, h.node_id, h.node_generation);
    pb_put_text(&w, 3, h.cluster_name);
    put_roles(&w, h.roles);
    pb_write_u64(&w, 5, h.age_ns / 1000000000);
    pb_write_u64(&w, 6, role_status(n, ROLE_ADMIN, h.admin_ready));
    pb_write_u64(&w, 7, role_status(n, ROLE_WORKER, h.worker_ready));
    pb_write_u64(&w, 8,
                 h.log_server_failsafe ? LOG_SERVER_FAILSAFE
                                       : role_status(n, ROLE_LOG_SERVER, h.log_server_ready));
    pb_write_u64(&w, 9, h.metadata_status);
    pb_write_u64(&w, 10, h.nodes_config_version);
    pb_write_u64(&w, 11, h.logs_version);
    pb_write_u64(&w, 12, h.schema_version);
    pb_write_u64(&w, 13, h.partition_table_version);
    put_addresses(&w, &h);
    rpc_reply(rpc, &w);
}

/* ---- GetMetadata ---- */

enum { KIND_NODES = 1, KIND_SCHEMA, KIND_PARTITION_TABLE, KIND_LOGS };

/* What a node answers for a value that it does not know yet: the empty one of version 0. */
static void put_empty(uint64_t kind, struct writer *stored)
{
    if (kind == KIND_NODES) {
        struct nodes_config c = {.cluster_name = ""};
        nodes_config_encode(stored, &c);
    } else if (kind == KIND_LOGS) {
        struct logs_config c = {.provider = LOG_PROVIDER_REPLICATED, .replication = replication_nodes(1)};
        logs_config_encode(stored, &c);
    } else {
        struct partition_table t = {.replication = replication_nodes(1)};
        partition_table_encode(stored, &t);
    }
}

static void get_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    uint64_t kind = 0;
    while (pb_next(&r, &f)) {
        if (f.number == 2 && f.wire == PB_VARINT)
            kind = f.value;
    }
    if (kind < KIND_NODES || kind > KIND_LOGS) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "unknown metadata kind");
        return;
    }
    const struct cluster_view_value *values[] = {
        [KIND_NODES] = &n->view.nodes_value,
        [KIND_PARTITION_TABLE] = &n->view.table_value,
        [KIND_LOGS] = &n->view.logs_value,
    };
    struct writer w = WRITER_INIT, stored = WRITER_INIT;
    if (kind == KIND_SCHEMA)
        grpc_schema_document(n->schemas ? schema_store_current(n->schemas) : NULL, &stored);
    else if (values[kind]->version == 0)
        put_empty(kind, &stored);
    pb_write_bytes_always(&w, 1, stored.len ? writer_slice(&stored) : bytes_slice(values[kind]->stored));
    writer_free(&stored);
    rpc_reply(rpc, &w);
}

/* ---- ProvisionCluster ---- */

enum { FEATURE_ID_IDEMPOTENT_SHARDING = 1 };

struct provisioning {
    struct rpc *rpc;
    struct node *node;
    struct provision_request request;
};

static void answer_provision(struct provisioning *q)
{
    struct writer w = WRITER_INIT;
    pb_write_bool(&w, 1, q->request.dry_run);
    pb_put_cluster_configuration(&w, 2, &q->request.settings);
    if (q->request.settings.idempotent_sharding)
        pb_write_bytes(&w, 3, slice_make(&(uint8_t){FEATURE_ID_IDEMPOTENT_SHARDING}, 1));
    rpc_reply(q->rpc, &w);
    free(q);
}

static void provisioned(void *ctx, const struct err *err)
{
    struct provisioning *q = ctx;
    if (!err) {
        answer_provision(q);
        return;
    }
    rpc_fail(q->rpc, grpc_code_of(err->rc), "%s", err->msg);
    free(q);
}

static void provision_cluster(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct provisioning *q = xcalloc(1, sizeof(*q));
    struct err err = {0};
    q->rpc = rpc;
    q->node = n;
    provision_settings_from(n->config, &q->request.settings);
    enum rc rc = provision_request_decode(bytes_slice(message), &q->request, &err);
    if (rc != RC_OK) {
        rpc_fail(rpc, grpc_code_of(rc), "%s", err.msg);
        free(q);
    } else if (q->request.dry_run) {
        answer_provision(q);
    } else {
        node_provision(n, &q->request.settings, provisioned, q);
    }
}

/* ---- the rest ---- */

static void cluster_health(struct rpc *rpc, struct node *n, struct bytes message)
{
    uint32_t members[RAFT_MEMBERS_MAX];
    if (!n->joined.node_id) {
        rpc_fail(rpc, GRPC_UNAVAILABLE, "The cluster does not seem to be provisioned yet. Try again later.");
        return;
    }
    struct writer w = WRITER_INIT, health = WRITER_INIT;
    pb_put_text(&w, 1, n->config->cluster_name);
    size_t n_members = node_metadata_members(n, members, RAFT_MEMBERS_MAX);
    for (size_t i = 0; i < n_members; i++)
        pb_put_node_id(&health, 1, members[i], 0);
    pb_put_message(&w, 2, &health);
    rpc_reply(rpc, &w);
}

static const struct rpc_method methods[] = {
    {"GetIdent", get_ident},
    {"GetMetadata", get_metadata},
    {"ProvisionCluster", provision_cluster},
    {"ClusterHealth", cluster_health},
    {"TriggerCompaction", grpc_trigger_compaction},
};
const struct rpc_service node_ctl_service = {
    .name = "restate.node_ctl_svc.NodeCtlSvc",
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};

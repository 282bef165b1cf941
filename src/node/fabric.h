/* The node port (5122): `/health`, `/metrics` (spec/config.md §5.2, §5.5; spec/cluster.md §1.7), and the gRPC
 * services of the operator tools (node/grpc_server.h), which the node serves; and links between nodes
 * (peer/acceptor.h), told apart by their first bytes. */
#pragma once
#include "http/server.h"
#include "node/service.h"
#include "peer/acceptor.h"

enum node_state { NODE_STARTING_UP, NODE_ALIVE, NODE_SHUTTING_DOWN };

/* What /health reports. Filled by the node on the main loop for each request. */
/* With the numbers of the operator protocol (spec/restatectl.md §6.2). */
enum metadata_status {
    METADATA_STATUS_UNKNOWN,
    METADATA_STATUS_STARTING_UP,
    METADATA_STATUS_AWAITING_PROVISIONING,
    METADATA_STATUS_MEMBER,
    METADATA_STATUS_STANDBY,
};
struct health_report {
    enum node_state state;
    uint32_t node_id, node_generation; /* 0: not joined */
    const char *cluster_name;
    unsigned roles;
    uint64_t age_ns;
    bool admin_ready, worker_ready, log_server_ready;
    bool log_server_failsafe; /* ready, but it takes no records: the disk is full, or a write has failed */
    enum metadata_status metadata_status;
    uint32_t nodes_config_version, logs_version, schema_version, partition_table_version;
    const struct service *services[3]; /* ingress, admin, fabric; NULL without the role */
};
struct fabric;
struct fabric_ops {
    void (*health)(void *ctx, struct health_report *out);
    const char *(*metric_labels)(void *ctx); /* cluster_name="..",node_name=".." */
    /* A POST to `/<service>/<method>`: false if there is no such service here. */
    bool (*grpc)(void *ctx, struct http_request *r, struct slice service, struct slice method);
};
struct fabric *fabric_new(struct loop *loop, bool prometheus, const struct fabric_ops *ops, void *ctx);
const struct net_listener_ops *fabric_listener_ops(void); /* ctx: the fabric */
/* Links of other nodes to `p`'s loop (and others, see peer/acceptor.h) are accepted from now on. The acceptor
 * belongs to the fabric; `p` must outlive fabric_close_links. */
struct peer_acceptor *fabric_accept_links(struct fabric *f, struct peers *p);
/* Accept links no more. */
void fabric_close_links(struct fabric *f);
void fabric_drain(struct fabric *f, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx);
void fabric_free(struct fabric *f);

/* The node's state, shared by the files of start-up, serving and shutdown. Owned by the main loop. */
#pragma once
#include "admin/admin_http.h"
#include "admin/ui.h"
#include "ingress/ingress.h"
#include "metadata/kv_edit.h"
#include "metadata/rule_store.h"
#include "metadata/schema_store.h"
#include "metadata/storage_generations.h"
#include "node/cluster.h"
#include "node/cluster_view.h"
#include "node/control_link.h"
#include "node/data_dir.h"
#include "node/fabric.h"
#include "node/join.h"
#include "node/links.h"
#include "node/log_links.h"
#include "node/logs.h"
#include "node/metadata_host.h"
#include "node/node.h"
#include "node/provision.h"
#include "node/remote.h"
#include "node/router.h"
#include "node/service.h"
#include "node/shard.h"
#include "pgwire/server.h"
#include "query/engine.h"

struct node {
    struct node_config *config;      /* as started */
    struct node_config *reloaded[2]; /* newest first; the older one may still be on its way to a shard */
    struct loop *loop;
    struct env *env;
    uint64_t started_mono_ns;
    enum node_state state;
    int exit_code;
    bool stopping, joining;

    struct data_dir dir;
    struct service fabric_service, admin_service, ingress_service;
    struct service *ingress_listeners; /* one per shard; the first also has the unix socket */
    struct fabric *fabric;
    char metric_labels[700];

    struct links *links;
    struct control_link *control; /* on the main loop's links */
    struct metadata_host *metadata;
    struct kv *kv;            /* of `metadata`; everything that passes is seen by: */
    struct cluster_view view; /* cluster metadata as this node knows it */
    uint64_t join_began_ms, join_told_ms, states_told_ms;
    struct err join_why; /* it has not worked yet */
    struct {             /* until the own metadata server is provisioned */
        void (*done)(void *ctx, const struct err *err);
        void *ctx;
    } provisioning;
    struct metadata_migration *migration; /* NULL: none in progress */
    struct joined joined;
    struct cluster *cluster; /* from joining on */
    struct schema_store *schemas;
    struct rule_store *rules; /* concurrency rules of scopes */
    bool schemas_loaded;
    struct partition_map *map;
    struct partition_router *router;
    struct remote *remote; /* for `router`; on the main loop's links */
    struct log_server_links *log_links;
    struct log_host *log_host; /* NULL without the role */
    struct node_logs *logs;
    struct { /* log_storage.c: may the log-server's store be used? */
        bool usable;
        struct arena arena;
        struct storage_generations generations; /* as last read, in `arena` */
        uint64_t created_at;                    /* of the generation that is being written */
        struct err told;                        /* why it waits */
        uint64_t told_ms;
        struct kv_op read;
        struct kv_edit edit;
        struct env_timer timer;
    } storage;
    struct rocks_db *db;
    struct node_snapshots *snapshots;
    struct env_timer snapshots_timer; /* snapshots_watch.c */
    struct shard_shared shared;
    struct invoker_throttles throttles;
    struct shard **shards;
    uint32_t n_shards, shards_ready, shards_stopped;
    struct ingress_shared *ingress;

    struct query_source query_source;
    struct query_engine *queries; /* with the admin role */
    /* With the worker role: scans for the queries of other nodes. Apart from `queries`, so that nodes whose
     * queries wait for each other's scans never wait for ever. */
    struct query_engine *scan_engine;
    struct query_scans *scans;
    void (*queries_stopped)(struct node *n);
    struct pg_server *pgwire; /* NULL: no address is configured */
    struct admin *admin;
    struct admin_ui *ui; /* NULL: disabled */
    struct http_server *admin_server;
    struct http_client *client; /* discovery */
    struct invoker *invoker;    /* discovery only: runs no attempts */
    struct schema_cell schema_cell;

    struct list leader_calls; /* of operators: leader_call.c */
    struct list compactions;  /* of operators: grpc_compaction.c */
    void (*compactions_stopped)(void *ctx);
    struct env_timer retry_timer, deadline_timer, leaders_timer, states_timer;
    bool leaders_waited; /* long enough for leaders of all partitions */
    uint32_t draining;
    /* So few nodes are alive, as far as this one knows, that nothing can be committed: whether it still leads
     * what it led cannot be told. Written on the main loop, read by queries. */
    _Atomic bool cut_off;
};

#define NODE_RETRY_MS 250u   /* what needs the metadata is tried again about so soon */
#define NODE_TELL_MS  30000u /* ... and said again so often */
#define NODE_PROBE_MS 1000u  /* how long metadata servers have to say whether there is a cluster */

/* node_start.c: from configuration to Alive; errors end in node_fail. */
void node_start(struct node *n);
/* Log the error as the reference does and stop the loop with exit code 1. */
void node_fail(struct node *n, const struct err *err);

/* node_listeners.c */
enum rc node_bind_admin(struct node *n, struct err *err);
enum rc node_bind_fabric(struct node *n, struct err *err); /* serves at once */
enum rc node_bind_ingress(struct node *n, struct err *err);
enum rc node_spread_ingress(struct node *n, struct err *err); /* over the shards, before they start */
void node_log_listening(const struct service *s, const char *target, const char *message);

/* node_health.c */
void node_health(struct node *n, struct health_report *out);
/* Plain ids of the metadata servers' members: as the own server knows them, else as registered. */
size_t node_metadata_members(struct node *n, uint32_t *out, size_t cap);

/* node_provision.c
 * Make this node the first of a new cluster; `done` once, with NULL when that is durable, possibly from
 * inside. Joining follows by itself. */
void node_provision(struct node *n, const struct provision_settings *settings,
                    void (*done)(void *ctx, const struct err *err), void *ctx);
/* The own metadata server has changed its state: was it provisioned? */
void node_provisioned(struct node *n);
/* In an external store: is it this node's to provision the cluster? Then it is on the way. */
bool node_provision_external(struct node *n);
/* spec/cluster.md §1.9: only with a blank metadata server, and only once in the life of a data directory. */
enum rc node_provision_automatically(struct node *n, struct err *err);

/* node_join.c: until the node is a member; then node_open_partitions. */
void node_join_init(struct node *n); /* first of all: timers */
void node_join(struct node *n);
/* Try to join without waiting: the cluster has just been provisioned. */
void node_join_now(struct node *n);
/* Does the nodes configuration still want this process? (spec/cluster.md §1.2, §1.10) */
void node_check_membership(struct node *n);

/* node_partitions.c: a member opens its stores and starts its partitions; Alive follows by itself. */
void node_partitions_init(struct node *n); /* first of all: timers */
enum rc node_open_partitions(struct node *n, struct err *err);
/* All stores may be used. */
void node_start_partitions(struct node *n);
/* log_storage.c: opens the log-server's store and looks whether it may be used; node_start_partitions or
 * node_fail follows, or the node waits. */
enum rc node_open_log_store(struct node *n, struct err *err);
/* Other partitions have leaders now, or other nodes are alive, as far as this node knows. */
void node_leaders_changed(struct node *n);
void node_liveness_changed(struct node *n);

/* node_admin.c: SQL queries and scans; `done` when no thread reads from this node any more. */
void node_queries_start(struct node *n);
void node_queries_stop(struct node *n, void (*done)(struct node *n));
/* The admin API of this node; after node_queries_start. */
enum rc node_admin_new(struct node *n, struct err *err);
void node_admin_free(struct node *n);
/* snapshots_watch.c: tell the durability mode when the cluster grows or shrinks, and warn. */
void node_watch_snapshots(struct node *n);
/* node_stop.c: graceful shutdown, then the loop stops. */
void node_stop(struct node *n);

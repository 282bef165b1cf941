/* The node's way to the metadata of the cluster (spec/cluster.md §2): its metadata server if it has the role,
 * the client that everything else uses, and the duties of the member that leads. Owned by the main loop. */
#pragma once
#include "metadata/raft_join.h"
#include "node/config.h"

struct metadata_host;

struct metadata_host_ops {
    /* A value of the cluster that was read, written, or applied by the own server; older ones may follow
     * newer ones. */
    void (*seen)(void *ctx, const struct kv_entry *entry);
    /* State, leader or members of the own server changed. */
    void (*changed)(void *ctx);
    /* Messages to other nodes' metadata servers; may be lost. */
    void (*send)(void *ctx, uint32_t node, struct slice message);
    /* A request to the metadata server at an address: metadata_host_response, or metadata_host_failed
     * follows, never from inside. */
    void (*send_request)(void *ctx, const char *address, uint64_t attempt, struct slice message);
};

/* Of a metadata server, in the node's data directory. */
#define METADATA_SERVER_DIRECTORY "replicated-metadata-server"

/* Opens the external store that is configured, or METADATA_SERVER_DIRECTORY in `directory` if the node has
 * the role. Blocks for reading. RC_CONFLICT: it belongs to another cluster; RC_CORRUPT. `own_address`:
 * advertised address of the node port. */
enum rc metadata_host_open(struct env *env, struct loop *loop, const struct node_config *config,
                           const char *directory, const char *own_address,
                           const struct metadata_host_ops *ops, void *ctx, struct metadata_host **out,
                           struct err *err);
/* The key-value interface; closed with the host. */
struct kv *metadata_host_kv(struct metadata_host *h);
/* The metadata is not in the cluster's nodes: there are no metadata servers, and nothing comes from them. */
bool metadata_host_is_external(const struct metadata_host *h);
/* NULL without the role. */
struct raft_server *metadata_host_server(struct metadata_host *h);
/* The own storage has no identity and is free to be provisioned. */
bool metadata_host_is_blank(const struct metadata_host *h);

/* Is there a cluster already? Asks the configured metadata servers, for at most `timeout_ms`. `address` NULL:
 * none of those that answered is part of one. `done` once, later. */
void metadata_host_probe(struct metadata_host *h, uint64_t timeout_ms,
                         void (*done)(void *ctx, const char *address), void *ctx);

bool metadata_host_probing(const struct metadata_host *h);

/* First member of a new cluster, holding `initial`; takes effect when it is on disk,
 * metadata_host_ops.changed tells. RC_EXISTS: it has an identity already; RC_UNSUPPORTED: no metadata-server
 * role. */
enum rc metadata_host_provision(struct metadata_host *h, uint32_t node, uint64_t fingerprint,
                                const struct kv_table *initial, struct err *err);
/* This node is `node` of the cluster: its server becomes one of the members if `auto_join`. */
void metadata_host_joined(struct metadata_host *h, uint32_t node, uint64_t fingerprint);
/* Newer nodes configuration: where the servers are, who may join, and, on the leader, whose state there has
 * to be corrected. Kept by reference: valid until the next call. */
void metadata_host_set_nodes(struct metadata_host *h, const struct nodes_config *nodes);

/* Somebody knows a newer version: read the key (what is read is reported to `seen`). At most one read of a
 * key at a time. */
void metadata_host_refresh(struct metadata_host *h, const char *key);

/* From other nodes. */
void metadata_host_receive(struct metadata_host *h, struct slice message, struct raft_reply *reply);
void metadata_host_response(struct metadata_host *h, uint64_t attempt, struct slice message);
void metadata_host_failed(struct metadata_host *h, uint64_t attempt, bool sent);
/* A node is there (again): what pauses is tried now. */
void metadata_host_peer_seen(struct metadata_host *h);
void metadata_host_peer_lost(struct metadata_host *h, uint32_t node);

/* Operators (spec §2.4). RC_EXISTS: is a member. RC_UNAVAILABLE: not part of a cluster yet. */
enum rc metadata_host_add(struct metadata_host *h, struct err *err);

/* Hand over the leadership if this server has it; `done` runs later, once. */
void metadata_host_stop(struct metadata_host *h, void (*done)(void *ctx), void *ctx);
void metadata_host_close(struct metadata_host *h);

/* The nodes configuration: identity of the cluster and its nodes (spec/cluster.md §1.2 to §1.4,
 * spec/restatectl.md §7.5). */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"

#define NODES_CONFIG_KEY "nodes_config"

enum node_role { /* bit set */
                 ROLE_ADMIN = 1,
                 ROLE_HTTP_INGRESS = 2,
                 ROLE_LOG_SERVER = 4,
                 ROLE_METADATA_SERVER = 8,
                 ROLE_WORKER = 16,
};
/* "admin", "http-ingress", ...; 0 if unknown. */
uint32_t node_role_parse(struct slice name);
const char *node_role_name(enum node_role role);
/* The roles in the order in which they are listed: 0, 1, ...; 0 after the last. */
enum node_role node_role_at(size_t i);

/* Of a log server (spec/cluster.md §1.4). */
enum storage_state {
    STORAGE_PROVISIONING,
    STORAGE_READ_WRITE,
    STORAGE_READ_ONLY,
    STORAGE_GONE,
    STORAGE_DATA_LOSS,
    STORAGE_DISABLED,
};
const char *storage_state_name(enum storage_state s); /* `read-write`, ... */
bool storage_state_parse(struct slice text, enum storage_state *out);

enum metadata_server_state { METADATA_SERVER_PROVISIONING, METADATA_SERVER_STANDBY, METADATA_SERVER_MEMBER };
const char *metadata_server_state_name(enum metadata_server_state s); /* `standby`, ... */
enum worker_state { WORKER_PROVISIONING, WORKER_ACTIVE, WORKER_DRAINING, WORKER_DISABLED };
const char *worker_state_name(enum worker_state s); /* `draining`, ... */
bool worker_state_parse(struct slice text, enum worker_state *out);

struct node_entry {
    uint32_t id, generation;
    const char *name, *address;
    const char *ctrl_address, *binary_version; /* NULL: not given */
    const char *location;                      /* "" none */
    uint32_t roles;                            /* enum node_role bits */
    enum storage_state storage;
    enum metadata_server_state metadata_server;
    enum worker_state worker;
    bool tombstone; /* removed; the id is never used again */
};
#define FEATURE_CONTROLLED_IDEMPOTENT_SHARDING "controlled-idempotent-sharding"
struct nodes_config {
    uint32_t version;
    const char *cluster_name;
    uint64_t cluster_fingerprint; /* not 0 */
    uint64_t modified_at;         /* hybrid timestamp; 0: not given */
    const char **features;
    size_t n_features;
    struct node_entry *nodes; /* by id */
    size_t n_nodes;
};
/* 11 base62 characters (spec/restatectl.md §7.8). */
void cluster_fingerprint_format(uint64_t fingerprint, char out[12]);
void nodes_config_encode(struct writer *w, const struct nodes_config *c);
/* Strings and nodes live in `a`. */
enum rc nodes_config_decode(struct arena *a, struct slice stored, struct nodes_config *out, struct err *err);
const struct node_entry *nodes_config_by_name(const struct nodes_config *c, const char *name);
struct node_entry *nodes_config_by_id(const struct nodes_config *c, uint32_t id); /* tombstones too */
/* Register or restart the node of this name: its generation goes up by one, a new one gets the next id that
 * was never used. The version goes up by one. Strings are not copied. Returns the node's entry inside `c`,
 * whose array is moved to `a`. */
struct node_entry *nodes_config_join(struct arena *a, struct nodes_config *c, const char *name,
                                     const char *address, uint32_t roles);

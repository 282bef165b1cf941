/* State of one run of restatectl and what its commands share: calls to nodes, cluster metadata, texts. The
 * tool is a client only: it finds nodes from seed addresses, reads their metadata, calls their services
 * (spec/restatectl.md §4). Everything on one thread; memory from the tool's arena unless said otherwise. */
#pragma once
#include "bifrost/replicated_params.h"
#include "http/grpc_client.h"
#include "loop/loop.h"
#include "metadata/kv.h"
#include "metadata/values.h"
#include "tool/table.h"
#include "tool/times.h"
#include "tool/tool.h"
#include "wire/pb.h"

/* An address that was dialed or could be. Heap, until the run ends. */
struct peer {
    char *address; /* as printed: `http://host:port/`, `unix:path` */
    bool connected, dead;
};

struct ctl {
    struct tool *tool;
    struct loop *loop;
    struct http_client *http;
    uint64_t request_timeout_ms;
    size_t message_limit;
    enum time_format time_format;
    struct {
        struct peer **items;
        size_t len, cap;
    } peers;
    const char **seeds;
    size_t n_seeds;
    bool single; /* -S: that address only */
    /* fetched once per run; NULL: not yet */
    const struct nodes_config *nodes;
    const struct logs_config *logs;
    const struct partition_table *partitions;
};

static inline struct ctl *ctl_of(struct tool *t)
{
    return t->app;
}

/* ---- session.c ---- */
int ctl_open(struct tool *t); /* after parsing; an exit code */
void ctl_close(struct ctl *c);
/* Forget what was fetched (for --watch). */
void ctl_forget(struct ctl *c);
/* The printed form of an address text; NULL and a sentence if it is none. */
const char *address_normal(struct tool *t, const char *text, struct err *err);
struct peer *ctl_peer(struct ctl *c, const char *address);

/* One call to one node. */
struct rpc {
    const char *address, *path;
    struct bytes request; /* consumed by rpc_run */
    uint64_t timeout_ms;  /* 0: that of the command line; UINT64_MAX: none */
    void (*on_message)(struct rpc *r, struct bytes message); /* NULL: keep one message in `reply` */
    void *user;
    struct grpc_status status;
    struct bytes reply; /* valid until the run ends */
    bool dead;          /* not tried: the address was found dead before */
    uint64_t began_ns;  /* private, as the next */
    struct ctl *ctl;
    size_t *left;
    bool has_reply;
};
/* All at once; returns when the last one has ended. */
void rpc_run(struct ctl *c, struct rpc *calls, size_t n);
static inline bool rpc_good(const struct rpc *r)
{
    return r->status.code == GRPC_OK;
}
/* `The service is currently unavailable`, ... */
const char *grpc_description(enum grpc_code code);
/* `<description>: <message>` */
const char *status_text(struct tool *t, const struct grpc_status *s);
/* `code: '<description>', message: "<message>"` */
const char *status_raw(struct tool *t, const struct grpc_status *s);

/* ---- call.c: to any node that has a role (spec §4.3, §4.4) ---- */
struct failures { /* of several nodes */
    struct {
        struct {
            const char *address;
            struct grpc_status status;
        } * items;
        size_t len, cap;
    } list;
};
void failures_add(struct tool *t, struct failures *f, const char *address, const struct grpc_status *s);
/* As the tool prints it behind `Error: `; with the newline that it ends with. */
const char *failures_text(struct tool *t, const struct failures *f);

struct answer {
    bool good;
    struct slice reply;
    const char *address;       /* of the node that answered */
    struct grpc_status status; /* of the last attempt */
    const char *error;         /* !good: the whole text */
};
/* `role` 0: any node. The first success wins; FAILED_PRECONDITION and OUT_OF_RANGE end the search. */
struct answer ctl_call(struct ctl *c, enum node_role role, const char *path, struct writer *request_take);
struct answer ctl_call_for(struct ctl *c, enum node_role role, const char *path, struct writer *request_take,
                           uint64_t timeout_ms);

/* ---- fetch.c: versioned metadata from the nodes that know the newest (spec §4.2) ---- */
struct ident {
    unsigned status;         /* 1: alive */
    uint32_t id, generation; /* 0: not joined */
    const char *cluster_name;
    const char **roles;
    size_t n_roles;
    uint64_t age_s;
    unsigned admin, worker, log_server, metadata_server;
    uint32_t nodes_version, logs_version, schema_version, partition_table_version;
};
bool ident_decode(struct tool *t, struct slice message, struct ident *out);
struct seen_node { /* answered GetIdent directly */
    const char *address;
    struct ident ident;
};
struct contacts {
    struct {
        struct seen_node *items;
        size_t len, cap;
    } seen;
    struct failures failures;
    bool not_available; /* somebody answered, but nobody had the value */
};
/* NULL: not found; `contacts` (may be NULL) says who answered. */
const struct nodes_config *fetch_nodes(struct ctl *c, struct contacts *contacts, struct err *err);
/* These print the error and return NULL. */
const struct nodes_config *need_nodes(struct tool *t);
const struct logs_config *need_logs(struct tool *t);
const struct partition_table *need_partitions(struct tool *t);
/* Prelude of commands that need nothing but the nodes: prints the error; false: stop with exit code 1. */
static inline bool need_cluster(struct tool *t)
{
    return need_nodes(t) != NULL;
}
#define NOT_PROVISIONED_TEXT                                                                                 \
    "The cluster appears to not be provisioned. You can do so with `restatectl provision`"
#define NO_METADATA_TEXT "Could not retrieve cluster metadata. Has the cluster been provisioned yet?"

/* ---- messages.c: answers of the services ---- */
struct processor {
    uint32_t partition;
    uint64_t updated_at_ms; /* 0: absent */
    unsigned planned, effective, detailed, replay, broken;
    bool has_epoch, has_applied, has_durable, has_archived, has_target, has_rule_book, has_schema;
    uint64_t epoch, applied, durable, archived, target, rule_book, schema;
    const char *features; /* joined with `,` */
};
enum run_mode { MODE_UNKNOWN, MODE_LEADER, MODE_FOLLOWER };
struct node_state {
    uint32_t id, generation;
    bool alive;
    uint64_t uptime_s, last_seen_ms;
    struct processor *processors;
    size_t n_processors;
};
struct cluster_state {
    uint64_t nodes_version, partition_table_version, logs_version;
    struct node_state *nodes; /* by id */
    size_t n_nodes;
};
bool cluster_state_decode(struct tool *t, struct slice message, struct cluster_state *out);
/* GetClusterState; prints the error and returns false. */
bool need_cluster_state(struct tool *t, struct cluster_state *out);
const struct node_state *cluster_state_node(const struct cluster_state *s, uint32_t id);

/* Reading protobuf by field number: the last occurrence. */
bool msg_get(struct slice message, uint32_t number, struct pb_field *out);
uint64_t msg_u64(struct slice message, uint32_t number); /* 0 if absent */
struct slice msg_bytes(struct slice message, uint32_t number);
const char *msg_text(struct tool *t, struct slice message, uint32_t number); /* "" if absent */
bool msg_has(struct slice message, uint32_t number);
/* A `{1 value}` message in field `number`. */
bool msg_wrapped(struct slice message, uint32_t number, uint64_t *out);
uint64_t msg_time_ms(struct slice message, uint32_t number);                   /* 0 if absent */
void msg_put_replication(struct writer *w, uint32_t number, const char *text); /* omitted when NULL */

/* ---- args.c: values of options ---- */
enum rc check_node_id(const char *value, struct err *err);
enum rc check_generational_id(const char *value, struct err *err);
enum rc check_range(const char *value, struct err *err);
enum rc check_loglet(const char *value, struct err *err);
enum rc check_replication(const char *value, struct err *err);
enum rc check_address(const char *value, struct err *err);
enum rc check_key(const char *value, struct err *err);
struct ids {
    uint32_t *items;
    size_t len, cap;
};
/* Node ids of a list option, in the order given, without repetition. */
struct ids arg_nodes(struct tool *t, const char *name);
/* Ids of all ranges; none given: empty. */
struct ids arg_ranges(struct tool *t, const char *name);
/* Partitions as ranges; `more` goes on with the help text. */
#define PARTITIONS_ARGUMENT(extra_flags, more)                                                               \
    {                                                                                                        \
        "PARTITION_ID", .value = "PARTITION_ID", .flags = OPTION_POSITIONAL | OPTION_LIST | (extra_flags),   \
                        .help = "Partitions: `0`, `1-4`" more, .check = check_range                          \
    }
/* What `provision` and `config set` say about a cluster, but for the number of partitions. */
#define CLUSTER_OPTIONS                                                                                      \
    {"replication",                                                                                          \
     'r',                                                                                                    \
     "REPLICATION",                                                                                          \
     .help = "Copies of records and of partitions: `2`, `{node: 3, zone: 2}`",                               \
     .check = check_replication,                                                                             \
     .excludes = "log-replication|partition-replication"},                                                   \
        {"log-replication", 0, "LOG_REPLICATION", .help = "Copies of records", .check = check_replication},  \
        {"partition-replication", 0, "PARTITION_REPLICATION", .help = "Copies of partitions",                \
         .check = check_replication},                                                                        \
        {"log-provider", 0, "LOG_PROVIDER", .help = "How logs are stored",                                   \
         .choices = "local|replicated|~in-memory"},                                                          \
    {                                                                                                        \
        "log-default-nodeset-size", 0, "LOG_DEFAULT_NODESET_SIZE",                                           \
            .help = "Nodes that store a log; 0: the server chooses", .check = check_u16                      \
    }
/* Replication of logs or partitions as CLUSTER_OPTIONS say, in normal form; NULL: not given. */
const char *arg_replication(struct tool *t, const char *name);
bool parse_node_id(const char *text, uint32_t *id, uint32_t *generation); /* generation 0: not given */
bool parse_loglet(const char *text, uint64_t *out);

/* ---- texts.c ---- */
const char *roles_text(struct tool *t, uint32_t roles); /* sorted, joined with ` | ` */
const char *role_names_text(struct tool *t, const struct ident *ident);
const char *nodeset_text(struct tool *t, const uint32_t *ids, size_t n); /* `[N1, N2]`, sorted */
const char *nodes_text(struct tool *t, const uint32_t *ids, size_t n, const char *separator); /* in order */
const char *replication_text(struct tool *t, const struct replication *r);
const char *normal_replication(struct tool *t, const char *text); /* of a checked option value */
const char *loglet_text(struct tool *t, uint64_t loglet_id);
void metadata_server_status_cell(struct table *tb, uint64_t status);
/* `1 second and 5 ms ago`, or the instant. */
const char *ago_text(struct tool *t, uint64_t wall_ms);
/* The tree of `config get`. */
struct cluster_config {
    uint64_t partitions;
    const char *partition_replication; /* NULL: not given */
    const char *provider;
    const char *log_replication; /* NULL: not given */
    uint64_t nodeset_size;
};
void cluster_config_decode(struct tool *t, struct slice message, struct cluster_config *out);
void cluster_config_encode(struct writer *w, const struct cluster_config *c);
const char *cluster_config_text(struct tool *t, const struct cluster_config *c);
/* `└ Logs Provider: ...` with children, `depth` blanks before. */
void provider_text(struct writer *w, const char *provider, const char *replication, uint64_t nodeset_size,
                   unsigned depth);

/* Tail segment that takes writes: seal markers are not segments. */
const struct log_segment *chain_tail(const struct log_chain *chain);
/* false if it is not replicated or the parameters are broken. */
bool segment_params(const struct log_segment *s, struct loglet_params *out);

/* ---- parts of `status --extra` ---- */
int nodes_list_print(struct tool *t, bool extra, bool status_command);
/* Instead, after fetch_nodes failed. */
int nodes_unavailable_print(struct tool *t, struct contacts *contacts, const struct err *err, bool extra,
                            bool status_command);
int logs_list_print(struct tool *t);
int partitions_list_print(struct tool *t);
int metadata_servers_print(struct tool *t);

/* ---- edit.c: read-modify-write of a metadata key (spec §4.6) ---- */
struct metadata_edit {
    /* `stored` is NULL when the key is absent. Write the new value and its version. RC_EOF: nothing to do.
     * May run several times. */
    enum rc (*change)(struct metadata_edit *e, const struct slice *stored, struct writer *w,
                      uint32_t *version, struct err *err);
    struct tool *t;
};
/* RC_OK, RC_EOF, or an error with its sentence in `*error`. */
enum rc metadata_edit_run(struct tool *t, const char *key, struct metadata_edit *e, const char **error);
/* One Get; good: `*stored` and `*version`, or `*present` false. */
bool metadata_get(struct tool *t, const char *key, struct slice *stored, uint32_t *version, bool *present,
                  struct answer *answer);
/* One Put; precondition_version 0: the key must not exist. */
struct answer metadata_put(struct tool *t, const char *key, struct slice value, uint32_t version,
                           uint32_t precondition_version, bool precondition_absent);

/* ---- commands, one table per group ---- */
extern const struct command restatectl_root;
extern const struct option global_options[];
extern const struct command nodes_commands[], logs_commands[], partitions_commands[], snapshots_commands[],
    config_commands[], metadata_commands[], loglet_commands[], metadata_server_commands[], storage_commands[];
extern const struct option status_options[], provision_options[], sql_options[];
int status_run(struct tool *t);
int provision_run(struct tool *t);
int sql_run(struct tool *t);
/* parts of a group that stand in files of their own */
extern const struct command placement_commands[], leadership_commands[];
extern const struct option metadata_migrate_options[];
int metadata_migrate_run(struct tool *t);
int logs_describe_run(struct tool *t);
int logs_trim_run(struct tool *t);
int logs_reconfigure_run(struct tool *t);
int logs_seal_run(struct tool *t);
int logs_forced_seal_run(struct tool *t);
int logs_recover_run(struct tool *t);
/* SealChain; `segment` NULL: the last one; `forced_tail` 0: where its log-servers say that it ends. Says what
 * came out if it is good. */
struct answer logs_seal(struct tool *t, uint32_t log, const uint32_t *segment, const char *reason,
                        uint64_t forced_tail);
int logs_generate_run(struct tool *t);
int nodes_remove_run(struct tool *t);
int nodes_set_storage_run(struct tool *t);
int nodes_set_worker_run(struct tool *t);
int partitions_generate_run(struct tool *t);

#define RESTATECTL_VERSION "1.7.12"

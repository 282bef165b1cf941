/* Implementation of node/metadata_migration.h. Everything is copied, the nodes configuration last: before it
 * is there the target is not provisioned. Then it is looked whether the source has changed meanwhile. */
#include "node/metadata_migration.h"

#include <jansson.h>
#include <stdlib.h>

#include "node/grpc_requests.h"
#include "node/metadata_store.h"
#include "node/node_internal.h"

#define TARGET "restate_node"

struct metadata_migration {
    struct node *node;
    struct rpc *rpc;
    bool force;
    struct metadata_client_target *target;
    struct metadata_store *store;
    struct kv *kv;               /* of the target */
    struct kv_table source, old; /* what is copied; what the target holds and loses (--force) */
    struct kv_cursor at;
    struct kv_entry entry;
    bool nodes_turn, copied;
    struct kv_op op;
    bool at_target; /* the operation in progress is the target's */
    bool closing;
    struct err err;
    struct env_task close_task; /* not from inside an answer of the store that is closed */
    void (*stopped)(void *ctx); /* the node stops and waits */
};

/* ---- the end ---- */

static void target_closed(void *ctx)
{
    struct metadata_migration *m = ctx;
    struct node *n = m->node;
    void (*stopped)(void *ctx) = m->stopped;
    env_undefer(&m->close_task);
    kv_close(m->kv);
    metadata_store_free(m->store);
    metadata_client_target_free(m->target);
    kv_table_free(&m->source);
    kv_table_free(&m->old);
    free(m);
    n->migration = NULL;
    if (stopped)
        stopped(n);
}

static void end(struct metadata_migration *m, enum grpc_code code, const char *sentence)
{
    if (code == GRPC_OK) {
        LOG0(LOG_INFO, TARGET, "The metadata was copied: %zu keys", m->source.entries.count);
        rpc_reply_empty(m->rpc);
    } else {
        LOG0(LOG_WARN, TARGET, "The metadata was not migrated: %s", sentence);
        rpc_fail(m->rpc, code, "%s", sentence);
    }
    m->rpc = NULL;
    env_defer(m->node->env, &m->close_task);
}

static void close_target(struct env_task *t)
{
    struct metadata_migration *m = CONTAINER_OF(t, struct metadata_migration, close_task);
    if (!m->closing)
        metadata_store_stop(m->store, target_closed, m);
    m->closing = true;
}

/* At the beginning of every answer of the cluster's own store. */
static bool is_over(struct metadata_migration *m)
{
    if (m->stopped)
        end(m, GRPC_UNAVAILABLE, "this node stops");
    return m->stopped != NULL;
}

static void end_failed(struct metadata_migration *m, const char *what, const struct kv_result *r)
{
    err_set(&m->err, r->rc, "%s: %s", what, r->message);
    end(m, r->rc == RC_CONFLICT ? GRPC_ABORTED : grpc_code_of(r->rc), m->err.msg);
}

static void submit(struct metadata_migration *m, struct kv *kv, enum kv_op_kind kind, struct slice key,
                   void (*done)(struct kv_op *op, const struct kv_result *r))
{
    m->op = (struct kv_op){.kind = kind, .key = key, .precondition = KV_NONE, .done = done};
    m->at_target = kv == m->kv;
    kv_submit(kv, &m->op);
}

static void take(struct kv_table *t, const struct kv_result *r)
{
    for (size_t i = 0; i < r->n_entries; i++)
        kv_table_put(t, r->entries[i].key, bytes_copy(bytes_slice(r->entries[i].value)),
                     r->entries[i].version);
}

/* ---- 4. has the source changed meanwhile? ---- */

static void source_read_again(struct kv_op *op, const struct kv_result *r)
{
    struct metadata_migration *m = CONTAINER_OF(op, struct metadata_migration, op);
    struct kv_entry e;
    if (is_over(m))
        return;
    if (r->rc != RC_OK) {
        end_failed(m, "cannot read the metadata again", r);
        return;
    }
    bool same = r->n_entries == m->source.entries.count;
    for (size_t i = 0; i < r->n_entries && same; i++)
        same = kv_table_get(&m->source, r->entries[i].key, &e) && e.version == r->entries[i].version &&
               slice_eq(bytes_slice(e.value), bytes_slice(r->entries[i].value));
    if (same)
        end(m, GRPC_OK, "");
    else
        end(m, GRPC_ABORTED,
            "the metadata has changed while it was copied: migrate again, with --force, when nothing does");
}

/* ---- 3. writing ---- */

static void write_next(struct metadata_migration *m);

static void written(struct kv_op *op, const struct kv_result *r)
{
    struct metadata_migration *m = CONTAINER_OF(op, struct metadata_migration, op);
    if (r->rc != RC_OK)
        end_failed(
            m, "cannot write to the target store (what is there now is incomplete: --force overwrites it)",
            r);
    else
        write_next(m);
}

static void write_entry(struct metadata_migration *m, const struct kv_entry *e)
{
    m->op = (struct kv_op){.kind = KV_PUT,
                           .key = e->key,
                           .value = bytes_ref(e->value),
                           .version = e->version,
                           .precondition = KV_DOES_NOT_EXIST,
                           .done = written};
    kv_submit(m->kv, &m->op);
}

static void write_next(struct metadata_migration *m)
{
    if (m->nodes_turn) {
        submit(m, m->node->kv, KV_LIST, SLICE_EMPTY, source_read_again);
        return;
    }
    while (kv_cursor_next(&m->at, &m->entry)) {
        if (slice_eq_cstr(m->entry.key, NODES_CONFIG_KEY))
            continue;
        write_entry(m, &m->entry);
        return;
    }
    m->nodes_turn = true;
    ASSERT(kv_table_get(&m->source, SLICE_LIT(NODES_CONFIG_KEY), &m->entry));
    write_entry(m, &m->entry);
}

/* ---- 2. what the target has ---- */

static void delete_next(struct metadata_migration *m);

static void deleted(struct kv_op *op, const struct kv_result *r)
{
    struct metadata_migration *m = CONTAINER_OF(op, struct metadata_migration, op);
    if (r->rc != RC_OK)
        end_failed(m, "cannot delete what the target store has", r);
    else
        delete_next(m);
}

static void delete_next(struct metadata_migration *m)
{
    if (kv_cursor_next(&m->at, &m->entry)) {
        submit(m, m->kv, KV_DELETE, m->entry.key, deleted);
        return;
    }
    m->at = kv_table_seek(&m->source, SLICE_EMPTY);
    write_next(m);
}

static void target_read(struct kv_op *op, const struct kv_result *r)
{
    struct metadata_migration *m = CONTAINER_OF(op, struct metadata_migration, op);
    if (r->rc != RC_OK) {
        end_failed(m, "cannot read the target store", r);
    } else if (r->n_entries && !m->force) {
        err_set(&m->err, RC_EXISTS,
                "the target store holds metadata already, key '%.*s': use --force to overwrite it",
                SLICE_FMT(r->entries[0].key));
        end(m, GRPC_ALREADY_EXISTS, m->err.msg);
    } else {
        take(&m->old, r);
        m->at = kv_table_seek(&m->old, SLICE_EMPTY);
        delete_next(m);
    }
}

/* ---- 1. what there is ---- */

static void source_read(struct kv_op *op, const struct kv_result *r)
{
    struct metadata_migration *m = CONTAINER_OF(op, struct metadata_migration, op);
    struct kv_entry e;
    if (is_over(m))
        return;
    if (r->rc != RC_OK) {
        end_failed(m, "cannot read the metadata", r);
        return;
    }
    take(&m->source, r);
    if (kv_table_get(&m->source, SLICE_LIT(NODES_CONFIG_KEY), &e))
        submit(m, m->kv, KV_LIST, SLICE_EMPTY, target_read);
    else
        end(m, GRPC_INTERNAL, "the metadata has no nodes configuration");
}

/* ---- the request ---- */

/* Does a node do more than administer? */
static const struct node_entry *working_node(const struct nodes_config *c)
{
    for (size_t i = 0; i < c->n_nodes; i++) {
        const struct node_entry *e = &c->nodes[i];
        if (!e->tombstone && (e->roles & ~(uint32_t)(ROLE_ADMIN | ROLE_METADATA_SERVER)))
            return e;
    }
    return NULL;
}

/* The type alone decides first, whatever else is said. False: answered. */
static bool check_type(struct rpc *rpc, struct slice json)
{
    json_error_t parse;
    json_t *config = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &parse);
    const char *type = config ? json_string_value(json_object_get(config, "type")) : NULL;
    bool good = type && (strcmp(type, "etcd") == 0 || strcmp(type, "object-store") == 0);
    if (!json_is_object(config))
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", parse.text);
    else if (!type || strcmp(type, "replicated") == 0)
        rpc_fail(rpc, GRPC_UNIMPLEMENTED,
                 "Metadata migration to replicated metadata store is not supported yet");
    else if (!good)
        rpc_fail(rpc, GRPC_UNIMPLEMENTED,
                 "the metadata can not be migrated to a store of type '%.64s': this server knows `etcd` and "
                 "`object-store`",
                 type);
    json_decref(config);
    return good;
}

static bool check_state(struct rpc *rpc, const struct node *n)
{
    const struct node_entry *working = working_node(&n->view.nodes);
    if (working) {
        rpc_fail(rpc, GRPC_FAILED_PRECONDITION,
                 "Node N%u:%u is not running with --metadata-migration-mode; start all nodes with this flag "
                 "before migrating metadata",
                 working->id, working->generation);
    } else if (metadata_host_is_external(n->metadata)) {
        rpc_fail(rpc, GRPC_UNIMPLEMENTED, "metadata is migrated from the replicated store only");
    } else if (n->migration) {
        rpc_fail(rpc, GRPC_ABORTED, "a migration of the metadata is in progress");
    } else {
        return true;
    }
    return false;
}

void grpc_migrate_metadata(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct slice json;
    uint64_t force;
    struct err err = {0};
    struct metadata_client_target *target;
    bytes_request_decode(bytes_slice(message), 2, &json);
    numbers_request_decode(bytes_slice(message), &force, 1, NULL);
    if (!check_type(rpc, json))
        return;
    if (metadata_client_target_parse(json, &target, &err) != RC_OK) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", err.msg);
        return;
    }
    struct metadata_store *store = NULL;
    bool good = check_state(rpc, n);
    if (good && metadata_store_open(n->loop, metadata_client_target_config(target), &store, &err) != RC_OK) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "invalid target metadata store configuration: %s", err.msg);
        good = false;
    }
    if (!good) {
        metadata_client_target_free(target);
        return;
    }
    struct metadata_migration *m = xcalloc(1, sizeof(*m));
    m->node = n;
    m->rpc = rpc;
    m->force = force != 0;
    m->target = target;
    m->store = store;
    m->kv = metadata_store_kv(store);
    kv_table_init(&m->source);
    kv_table_init(&m->old);
    env_task_init(&m->close_task, close_target);
    n->migration = m;
    submit(m, n->kv, KV_LIST, SLICE_EMPTY, source_read);
}

void metadata_migration_stop(struct node *n, void (*done)(void *ctx))
{
    struct metadata_migration *m = n->migration;
    if (!m) {
        done(n);
        return;
    }
    m->stopped = done;
    if (m->at_target && m->rpc) { /* its answer, RC_CLOSED, ends the migration */
        m->closing = true;
        metadata_store_stop(m->store, target_closed, m);
    }
}

/* Implementation of node/join.h: a chain of edits, each started by the end of the one before. */
#include "node/join.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "metadata/kv_edit.h"
#include "node/version.h"

#define TARGET "restate_node"

struct join {
    struct env *env;
    struct kv *kv;
    const struct node_config *config;
    const char *advertised;
    uint64_t known_fingerprint;
    void (*done)(void *ctx, const struct joined *joined, const struct err *err);
    void *ctx;

    struct joined result;
    struct partition_table table;
    struct kv_op op;
    struct kv_edit edit;
    struct err err;
};

/* Not provisioned yet, nobody answers yet, or the others were faster each time (many nodes that start at
 * once). An undecided registration is repeated: it costs a generation. */
static bool may_pass(enum rc rc)
{
    return rc == RC_NOT_FOUND || rc == RC_UNAVAILABLE || rc == RC_TIMEOUT || rc == RC_OVERLOADED ||
           rc == RC_NO_SPACE; /* the disk of the leader of the metadata is full */
}

static void finish(struct join *j)
{
    bool ok = j->err.rc == RC_OK;
    if (may_pass(j->err.rc))
        j->err.rc = RC_AGAIN;
    j->done(j->ctx, ok ? &j->result : NULL, ok ? NULL : &j->err);
    free(j);
}

/* ---- partition table ---- */

/* The replicated store is provisioned with all values at once. In an external one whoever provisions may not
 * be there yet; other nodes complete it. */
static void fail_read(struct join *j, const struct kv_result *r, const char *what)
{
    bool absent = r->rc == RC_NOT_FOUND;
    bool lost = absent && j->config->metadata.client.type == METADATA_REPLICATED;
    err_set(&j->err, lost ? RC_CORRUPT : r->rc, "cannot read %s: %s", what,
            absent ? "it is missing" : r->message);
    finish(j);
}

/* The logs themselves are created by their writers. */
static void logs_read(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    if (r->rc == RC_OK)
        finish(j);
    else
        fail_read(j, r, "the configuration of the logs");
}

static void table_read(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    if (r->rc != RC_OK) {
        fail_read(j, r, "the partition table");
        return;
    }
    if (partition_table_decode(bytes_slice(r->entry.value), &j->table, &j->err) != RC_OK) {
        finish(j);
        return;
    }
    j->result.n_partitions = j->table.n_partitions;
    j->op = (struct kv_op){.kind = KV_GET, .key = SLICE_LIT(LOGS_CONFIG_KEY), .done = logs_read};
    kv_submit(j->kv, &j->op);
}

/* ---- nodes configuration ---- */

static enum rc check_identity(struct join *j, const struct nodes_config *c, const struct node_entry *me,
                              struct err *err)
{
    const struct node_config *mine = j->config;
    if (strcmp(c->cluster_name, mine->cluster_name) != 0)
        return err_set(
            err, RC_CONFLICT,
            "cluster name mismatch: this node is configured for cluster '%s', the metadata belongs to '%s'",
            mine->cluster_name, c->cluster_name);
    if (j->known_fingerprint && c->cluster_fingerprint != j->known_fingerprint)
        return err_set(
            err, RC_CONFLICT,
            "cluster fingerprint mismatch: the data directory belongs to another cluster of the same name");
    if (mine->force_node_id && me && me->id != mine->force_node_id)
        return err_set(err, RC_CONFLICT,
                       "node id mismatch: force-node-id is %u but node '%s' is registered as N%u",
                       mine->force_node_id, mine->node_name, me->id);
    if (mine->force_node_id && !me && nodes_config_by_id(c, mine->force_node_id))
        return err_set(err, RC_CONFLICT, "duplicate plain node id 'N%u'", mine->force_node_id);
    return RC_OK;
}

/* spec/cluster.md §1.8: a location can be given and changed, not taken away. */
static void set_location(struct node_entry *me, const char *location)
{
    bool had = me->location && *me->location;
    if (!*location) {
        if (had)
            LOG0(LOG_WARN, TARGET, "This node has the location '%s'; the empty one is ignored", me->location);
        return;
    }
    if (had && strcmp(me->location, location) != 0)
        LOG0(LOG_WARN, TARGET, "The location of this node changes from '%s' to '%s'", me->location, location);
    me->location = location;
}

static void register_node(struct join *j, struct arena *a, struct nodes_config *c)
{
    const struct node_config *config = j->config;
    bool known = nodes_config_by_name(c, config->node_name) != NULL;
    struct node_entry *me =
        nodes_config_join(a, c, config->node_name, j->advertised, (uint32_t)config->roles);
    if (!known && config->force_node_id)
        me->id = config->force_node_id;
    if (config->metadata.client.type != METADATA_REPLICATED)
        me->metadata_server = METADATA_SERVER_STANDBY; /* also one that was a member before a migration */
    set_location(me, config->location);
    me->binary_version = RESTATE_VERSION;
    c->modified_at = hybrid_timestamp(env_wall_ms(j->env));
    j->result.node_id = me->id;
    j->result.generation = me->generation;
    j->result.fingerprint = c->cluster_fingerprint;
    j->result.nodes_config_version = c->version;
    j->result.idempotent_sharding = false;
    for (size_t i = 0; i < c->n_features; i++)
        j->result.idempotent_sharding |= strcmp(c->features[i], FEATURE_CONTROLLED_IDEMPOTENT_SHARDING) == 0;
}

static enum rc nodes_change(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                            uint32_t *version, struct err *err)
{
    struct join *j = CONTAINER_OF(e, struct join, edit);
    struct arena arena = {0};
    struct nodes_config c;
    if (!current)
        return err_set(err, RC_NOT_FOUND, "the cluster is not provisioned");
    enum rc rc = nodes_config_decode(&arena, bytes_slice(current->value), &c, err);
    if (rc == RC_OK)
        rc = check_identity(j, &c, nodes_config_by_name(&c, j->config->node_name), err);
    if (rc == RC_OK) {
        register_node(j, &arena, &c);
        nodes_config_encode(w, &c);
        *version = c.version;
    }
    arena_free(&arena);
    return rc;
}

static void nodes_done(struct kv_edit *e, const struct err *err)
{
    struct join *j = CONTAINER_OF(e, struct join, edit);
    if (err) {
        j->err = *err;
        if (kv_edit_was_outrun(e, err))
            j->err.rc = RC_AGAIN;
        finish(j);
        return;
    }
    j->op = (struct kv_op){.kind = KV_GET, .key = SLICE_LIT(PARTITION_TABLE_KEY), .done = table_read};
    kv_submit(j->kv, &j->op);
}

static void begin(struct join *j)
{
    j->edit =
        (struct kv_edit){.kv = j->kv, .key = NODES_CONFIG_KEY, .change = nodes_change, .done = nodes_done};
    kv_edit_start(&j->edit);
}

void join_start(struct env *env, struct kv *kv, const struct node_config *config, const char *advertised,
                uint64_t known_fingerprint,
                void (*done)(void *ctx, const struct joined *joined, const struct err *err), void *ctx)
{
    struct join *j = xcalloc(1, sizeof(*j));
    j->env = env;
    j->kv = kv;
    j->config = config;
    j->advertised = advertised;
    j->known_fingerprint = known_fingerprint;
    j->done = done;
    j->ctx = ctx;
    begin(j);
}

/* ---- states of this node ---- */

struct activation {
    struct kv_edit edit;
    struct env *env;
    uint32_t node_id;
    bool only_storage;
    enum storage_state storage;
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
};

static bool activate(const struct activation *a, struct node_entry *me)
{
    struct node_entry before = *me;
    if (a->only_storage) {
        me->storage = a->storage;
        return before.storage != me->storage;
    }
    if ((me->roles & ROLE_WORKER) && me->worker == WORKER_PROVISIONING)
        me->worker = WORKER_ACTIVE;
    if ((me->roles & ROLE_METADATA_SERVER) && me->metadata_server == METADATA_SERVER_PROVISIONING)
        me->metadata_server = METADATA_SERVER_MEMBER;
    return before.worker != me->worker || before.metadata_server != me->metadata_server;
}

static enum rc activate_change(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                               uint32_t *version, struct err *err)
{
    struct activation *a = CONTAINER_OF(e, struct activation, edit);
    struct arena arena = {0};
    struct nodes_config c;
    if (!current)
        return err_set(err, RC_CORRUPT, "the nodes configuration is missing");
    enum rc rc = nodes_config_decode(&arena, bytes_slice(current->value), &c, err);
    if (rc == RC_OK) {
        struct node_entry *me = nodes_config_by_id(&c, a->node_id);
        if (!me || me->tombstone || !activate(a, me))
            rc = RC_EOF;
    }
    if (rc == RC_OK) {
        *version = ++c.version;
        c.modified_at = hybrid_timestamp(env_wall_ms(a->env));
        nodes_config_encode(w, &c);
    }
    arena_free(&arena);
    return rc;
}

static void activate_done(struct kv_edit *e, const struct err *err)
{
    struct activation *a = CONTAINER_OF(e, struct activation, edit);
    struct err again;
    if (err && (may_pass(err->rc) || kv_edit_was_outrun(e, err))) {
        again = *err;
        again.rc = RC_AGAIN;
        err = &again;
    }
    a->done(a->ctx, err);
    free(a);
}

static struct activation *activation_new(struct env *env, struct kv *kv, uint32_t node_id,
                                         void (*done)(void *ctx, const struct err *err), void *ctx)
{
    struct activation *a = xcalloc(1, sizeof(*a));
    a->edit =
        (struct kv_edit){.kv = kv, .key = NODES_CONFIG_KEY, .change = activate_change, .done = activate_done};
    a->env = env;
    a->node_id = node_id;
    a->done = done;
    a->ctx = ctx;
    return a;
}

void join_activate(struct env *env, struct kv *kv, uint32_t node_id,
                   void (*done)(void *ctx, const struct err *err), void *ctx)
{
    kv_edit_start(&activation_new(env, kv, node_id, done, ctx)->edit);
}

void join_set_storage(struct env *env, struct kv *kv, uint32_t node_id, enum storage_state state,
                      void (*done)(void *ctx, const struct err *err), void *ctx)
{
    struct activation *a = activation_new(env, kv, node_id, done, ctx);
    a->only_storage = true;
    a->storage = state;
    kv_edit_start(&a->edit);
}

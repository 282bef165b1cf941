/* Implementation of node/join.h: a chain of operations, each started by the answer to the one before. */
#include "node/join.h"

#include <stdio.h>
#include <stdlib.h>

struct join {
    struct env *env;
    struct kv *kv;
    const struct node_config *config;
    const char *advertised;
    uint64_t known_fingerprint;
    void (*done)(void *ctx, const struct joined *joined, const struct err *err);
    void *ctx;

    struct joined result;
    struct kv_op op;
    struct epoch_claim *claims;
    uint32_t claims_waiting;
    struct err err;
};
struct epoch_claim {
    struct join *join;
    struct kv_op op;
    char key[EPOCH_KEY_SIZE];
};

static void finish(struct join *j)
{
    bool ok = j->err.rc == RC_OK;
    if (!ok)
        free(j->result.epochs);
    j->done(j->ctx, ok ? &j->result : NULL, ok ? NULL : &j->err);
    free(j->claims);
    free(j);
}

static void fail(struct join *j, enum rc rc, const char *what, const char *why)
{
    err_set(&j->err, rc, "%s: %s", what, why);
    finish(j);
}

static void submit(struct join *j, enum kv_op_kind kind, const char *key,
                   void (*done)(struct kv_op *op, const struct kv_result *r))
{
    j->op.kind = kind;
    j->op.key = slice_cstr(key);
    j->op.done = done;
    kv_submit(j->kv, &j->op);
}

static void put(struct join *j, const char *key, struct writer *w, uint32_t version, bool create,
                void (*done)(struct kv_op *op, const struct kv_result *r))
{
    j->op.value = writer_take(w);
    j->op.version = version;
    j->op.precondition = create ? KV_DOES_NOT_EXIST : KV_MATCHES_VERSION;
    j->op.expected_version = version - 1;
    submit(j, KV_PUT, key, done);
}

/* ---- leadership epochs ---- */

static void epoch_claimed(struct kv_op *op, const struct kv_result *r)
{
    struct epoch_claim *c = CONTAINER_OF(op, struct epoch_claim, op);
    struct join *j = c->join;
    if (r->rc != RC_OK && j->err.rc == RC_OK)
        err_set(&j->err, r->rc, "cannot claim leadership (%s): %s", c->key, r->message);
    if (--j->claims_waiting == 0)
        finish(j);
}

static void claim_epoch(struct join *j, uint32_t partition, const struct kv_entry *entry)
{
    struct leader_epoch e = {0};
    if (entry && leader_epoch_decode(bytes_slice(entry->value), &e, &j->err) != RC_OK) {
        j->claims_waiting--;
        return;
    }
    e.version++;
    e.epoch++;
    e.node_id = j->result.node_id;
    e.node_generation = j->result.generation;
    j->result.epochs[partition] = e.epoch;
    struct writer w = WRITER_INIT;
    leader_epoch_encode(&w, &e);
    struct epoch_claim *c = &j->claims[partition];
    c->join = j;
    epoch_key(partition, c->key);
    c->op = (struct kv_op){.kind = KV_PUT,
                           .key = slice_cstr(c->key),
                           .value = writer_take(&w),
                           .version = e.version,
                           .precondition = entry ? KV_MATCHES_VERSION : KV_DOES_NOT_EXIST,
                           .expected_version = e.version - 1,
                           .done = epoch_claimed};
    kv_submit(j->kv, &c->op);
}

static void epochs_listed(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    if (r->rc != RC_OK) {
        fail(j, r->rc, "cannot read the leadership epochs", r->message);
        return;
    }
    uint32_t n = j->result.n_partitions;
    j->result.epochs = xcalloc(n, sizeof(uint64_t));
    j->claims = xcalloc(n, sizeof(*j->claims));
    j->claims_waiting = n + 1; /* one for this function */
    for (uint32_t p = 0; p < n; p++) {
        char key[EPOCH_KEY_SIZE];
        epoch_key(p, key);
        const struct kv_entry *found = NULL;
        for (size_t i = 0; i < r->n_entries && !found; i++) {
            if (slice_eq_cstr(r->entries[i].key, key))
                found = &r->entries[i];
        }
        claim_epoch(j, p, found);
    }
    if (--j->claims_waiting == 0)
        finish(j);
}

static void list_epochs(struct join *j)
{
    if (j->config->roles & ROLE_WORKER)
        submit(j, KV_LIST, "pp_epoch_", epochs_listed);
    else
        finish(j);
}

/* ---- partition table ---- */

static void table_written(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    if (r->rc != RC_OK) {
        fail(j, r->rc, "cannot write the partition table", r->message);
        return;
    }
    list_epochs(j);
}

static void table_read(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    struct partition_table table = {
        .version = 1, .n_partitions = MAX(j->config->num_partitions, 1u), .replication = 1};
    if (r->rc == RC_OK && partition_table_decode(bytes_slice(r->entry.value), &table, &j->err) != RC_OK) {
        finish(j);
        return;
    }
    if (r->rc != RC_OK && r->rc != RC_NOT_FOUND) {
        fail(j, r->rc, "cannot read the partition table", r->message);
        return;
    }
    j->result.n_partitions = table.n_partitions;
    j->result.partition_table_version = table.version;
    if (r->rc == RC_OK) {
        list_epochs(j);
        return;
    }
    struct writer w = WRITER_INIT;
    partition_table_encode(&w, &table);
    put(j, PARTITION_TABLE_KEY, &w, 1, true, table_written);
}

/* ---- nodes configuration ---- */

static void config_written(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    if (r->rc != RC_OK) {
        fail(j, r->rc, "cannot register this node", r->message);
        return;
    }
    submit(j, KV_GET, PARTITION_TABLE_KEY, table_read);
}

static enum rc check_identity(struct join *j, const struct nodes_config *c, const struct node_entry *me)
{
    const struct node_config *mine = j->config;
    if (strcmp(c->cluster_name, mine->cluster_name) != 0)
        return err_set(
            &j->err, RC_CONFLICT,
            "cluster name mismatch: this node is configured for cluster '%s', the metadata belongs to '%s'",
            mine->cluster_name, c->cluster_name);
    if (j->known_fingerprint && c->cluster_fingerprint != j->known_fingerprint)
        return err_set(
            &j->err, RC_CONFLICT,
            "cluster fingerprint mismatch: the data directory belongs to another cluster of the same name");
    if (mine->force_node_id && me && me->id != mine->force_node_id)
        return err_set(&j->err, RC_CONFLICT,
                       "node id mismatch: force-node-id is %u but node '%s' is registered as N%u",
                       mine->force_node_id, mine->node_name, me->id);
    return RC_OK;
}

static void config_read(struct kv_op *op, const struct kv_result *r)
{
    struct join *j = CONTAINER_OF(op, struct join, op);
    struct arena arena = {0};
    struct nodes_config c = {.cluster_name = j->config->cluster_name};
    bool absent = r->rc == RC_NOT_FOUND;
    if (absent && !j->config->auto_provision && !j->known_fingerprint) {
        err_set(&j->err, RC_AGAIN, "the cluster is not provisioned");
    } else if (absent && j->known_fingerprint) {
        err_set(&j->err, RC_CORRUPT, "the data directory was provisioned, but its metadata store is empty");
    } else if (absent) {
        j->result.provisioned_now = true;
        while (c.cluster_fingerprint == 0)
            c.cluster_fingerprint = env_random(j->env);
    } else if (r->rc != RC_OK) {
        err_set(&j->err, r->rc, "cannot read the nodes configuration: %s", r->message);
    } else {
        nodes_config_decode(&arena, bytes_slice(r->entry.value), &c, &j->err);
    }
    if (j->err.rc != RC_OK ||
        check_identity(j, &c, nodes_config_by_name(&c, j->config->node_name)) != RC_OK) {
        arena_free(&arena);
        finish(j);
        return;
    }
    bool known = nodes_config_by_name(&c, j->config->node_name) != NULL;
    struct node_entry *me =
        nodes_config_join(&arena, &c, j->config->node_name, j->advertised, j->config->roles);
    if (!known && j->config->force_node_id)
        me->id = j->config->force_node_id;
    j->result.node_id = me->id;
    j->result.generation = me->generation;
    j->result.fingerprint = c.cluster_fingerprint;
    j->result.nodes_config_version = c.version;
    struct writer w = WRITER_INIT;
    nodes_config_encode(&w, &c);
    arena_free(&arena);
    put(j, NODES_CONFIG_KEY, &w, c.version, absent, config_written);
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
    submit(j, KV_GET, NODES_CONFIG_KEY, config_read);
}

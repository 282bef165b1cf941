/* Provisioning: see provision.h. */
#include "node/provision.h"

#include <stdlib.h>

#include "node/version.h"

void provision_settings_from(const struct node_config *c, struct provision_settings *out)
{
    *out = (struct provision_settings){
        .n_partitions = MAX(c->num_partitions, 1u),
        .partition_replication = c->default_replication,
        .log_replication = c->log_replication,
        .provider = c->default_provider,
        .idempotent_sharding = !c->disable_idempotent_sharding,
    };
}

enum rc provision_settings_check(const struct provision_settings *s, struct err *err)
{
    if (s->n_partitions == 0)
        return err_set(err, RC_INVALID, "A cluster needs at least one partition.");
    if (s->n_partitions > PARTITIONS_MAX)
        return err_set(err, RC_INVALID, "Restate only supports running up to 65535 partitions.");
    if (s->target_nodeset_size > NODESET_SIZE_MAX)
        return err_set(err, RC_INVALID, "node set size is too big, please keep it under 128");
    if (s->provider == LOG_PROVIDER_IN_MEMORY)
        return err_set(err, RC_UNSUPPORTED, "logs in memory are not supported: they would lose data");
    if (s->provider == LOG_PROVIDER_LOCAL && replication_copies(&s->log_replication) > 1)
        return err_set(err, RC_INVALID,
                       "the log provider 'local' keeps one copy on one node. Choose 'replicated' instead");
    return RC_OK;
}

static struct bytes encode_nodes(struct env *env, const struct node_config *config, const char *advertised,
                                 const struct provision_settings *s, struct provision_identity *identity)
{
    const char *features[] = {FEATURE_CONTROLLED_IDEMPOTENT_SHARDING};
    struct nodes_config c = {.cluster_name = config->cluster_name,
                             .modified_at = hybrid_timestamp(env_wall_ms(env)),
                             .features = features,
                             .n_features = s->idempotent_sharding ? 1 : 0};
    while (c.cluster_fingerprint == 0)
        c.cluster_fingerprint = env_random(env);
    struct arena arena = {0};
    struct node_entry *me =
        nodes_config_join(&arena, &c, config->node_name, advertised, (uint32_t)config->roles);
    if (config->force_node_id)
        me->id = config->force_node_id;
    me->location = config->location;
    me->binary_version = RESTATE_VERSION;
    *identity = (struct provision_identity){me->id, c.cluster_fingerprint};
    struct writer w = WRITER_INIT;
    nodes_config_encode(&w, &c);
    arena_free(&arena);
    return writer_take(&w);
}

static struct bytes encode_logs(const struct provision_settings *s)
{
    /* `local` is the same as `replicated` with one copy (spec/cluster.md §5.2). */
    struct logs_config c = {.version = 1,
                            .provider = LOG_PROVIDER_REPLICATED,
                            .replication = s->log_replication,
                            .target_nodeset_size = s->target_nodeset_size};
    struct writer w = WRITER_INIT;
    logs_config_encode(&w, &c);
    return writer_take(&w);
}

static struct bytes encode_table(const struct provision_settings *s)
{
    struct partition_table t = {1, s->n_partitions, s->partition_replication};
    struct writer w = WRITER_INIT;
    partition_table_encode(&w, &t);
    return writer_take(&w);
}

void provision_values(struct env *env, const struct node_config *config, const char *advertised,
                      const struct provision_settings *settings, struct kv_table *out,
                      struct provision_identity *identity)
{
    kv_table_init(out);
    kv_table_put(out, SLICE_LIT(NODES_CONFIG_KEY), encode_nodes(env, config, advertised, settings, identity),
                 1);
    kv_table_put(out, SLICE_LIT(LOGS_CONFIG_KEY), encode_logs(settings), 1);
    kv_table_put(out, SLICE_LIT(PARTITION_TABLE_KEY), encode_table(settings), 1);
}

/* ---- an external store ---- */

#define UNDECIDED_TRIES 5u

struct store_provisioning {
    struct kv *kv;
    const char *cluster_name;
    struct kv_table values;
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
    size_t next; /* of `order` */
    unsigned undecided;
    bool lost;
    struct kv_op op;
};

static void put_next(struct store_provisioning *p);

static void provisioning_end(struct store_provisioning *p, enum rc rc, const char *message)
{
    struct err err = {0};
    if (rc == RC_OK && p->lost)
        rc = RC_EXISTS, message = "The cluster has already been provisioned";
    if (rc != RC_OK)
        err_set(&err, rc, "%s", message);
    p->done(p->ctx, rc == RC_OK ? NULL : &err);
    kv_table_free(&p->values);
    free(p);
}

static void next_value(struct store_provisioning *p)
{
    p->next++;
    p->undecided = 0;
    put_next(p);
}

/* Somebody's nodes configuration is there: perhaps this node's, whose writing was undecided. */
static void winner_read(struct kv_op *op, const struct kv_result *r)
{
    struct store_provisioning *p = CONTAINER_OF(op, struct store_provisioning, op);
    struct arena arena = {0};
    struct nodes_config c;
    struct kv_entry mine;
    struct err err = {0};
    enum rc rc = r->rc;
    if (rc != RC_OK) {
        provisioning_end(p, rc == RC_NOT_FOUND ? RC_UNAVAILABLE : rc, r->message);
        return;
    }
    kv_table_get(&p->values, op->key, &mine);
    p->lost = !slice_eq(bytes_slice(mine.value), bytes_slice(r->entry.value));
    rc = nodes_config_decode(&arena, bytes_slice(r->entry.value), &c, &err);
    if (rc == RC_OK && strcmp(c.cluster_name, p->cluster_name) != 0)
        rc = err_set(&err, RC_CONFLICT,
                     "cluster name mismatch: this node is configured for cluster '%s', the metadata belongs "
                     "to '%s'",
                     p->cluster_name, c.cluster_name);
    arena_free(&arena);
    if (rc == RC_OK)
        next_value(p);
    else
        provisioning_end(p, rc, err.msg);
}

static void value_put(struct kv_op *op, const struct kv_result *r)
{
    struct store_provisioning *p = CONTAINER_OF(op, struct store_provisioning, op);
    if (r->rc == RC_CONFLICT && p->next == 0) {
        p->op = (struct kv_op){.kind = KV_GET, .key = op->key, .done = winner_read};
        kv_submit(p->kv, &p->op);
    } else if (r->rc == RC_OK || r->rc == RC_CONFLICT) {
        next_value(p);
    } else if (r->rc == RC_TIMEOUT && ++p->undecided < UNDECIDED_TRIES) {
        put_next(p);
    } else {
        provisioning_end(p, r->rc, r->message);
    }
}

static void put_next(struct store_provisioning *p)
{
    static const char *const order[] = {NODES_CONFIG_KEY, LOGS_CONFIG_KEY, PARTITION_TABLE_KEY};
    struct kv_entry e;
    if (p->next == ARRAY_LEN(order)) {
        provisioning_end(p, RC_OK, "");
        return;
    }
    struct slice key = slice_cstr(order[p->next]);
    ASSERT(kv_table_get(&p->values, key, &e));
    p->op = (struct kv_op){.kind = KV_PUT,
                           .key = key,
                           .value = bytes_ref(e.value),
                           .version = e.version,
                           .precondition = KV_DOES_NOT_EXIST,
                           .done = value_put};
    kv_submit(p->kv, &p->op);
}

void provision_store(struct kv *kv, const char *cluster_name, struct kv_table *values,
                     void (*done)(void *ctx, const struct err *err), void *ctx)
{
    struct store_provisioning *p = xcalloc(1, sizeof(*p));
    p->kv = kv;
    p->cluster_name = cluster_name;
    p->values = *values;
    kv_table_init(values);
    p->done = done;
    p->ctx = ctx;
    put_next(p);
}

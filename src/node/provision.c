/* Provisioning: see provision.h. */
#include "node/provision.h"

#include <stdlib.h>

#include "node/version.h"

enum { VALUES = 3 };

struct provision {
    struct kv *kv;
    struct {
        const char *key;
        struct bytes value;
    } values[VALUES]; /* in the order in which they are written */
    size_t next;
    bool newly;
    struct kv_op op;
    void (*done)(void *ctx, bool newly, const struct err *err);
    void *ctx;
};

void provision_settings_from(const struct node_config *c, struct provision_settings *out)
{
    *out = (struct provision_settings){
        .n_partitions = MAX(c->num_partitions, 1u),
        .partition_replication = c->default_replication,
        .log_replication = c->default_replication,
        .provider = c->default_provider,
        .idempotent_sharding = !c->disable_idempotent_sharding,
    };
}

static enum rc check_copies(const struct replication *r, const char *what, struct err *err)
{
    char text[REPLICATION_TEXT_SIZE];
    replication_format(r, text);
    if (replication_copies(r) == 1)
        return RC_OK;
    return err_set(
        err, RC_UNSUPPORTED,
        "%s replication %s needs several nodes, which this server does not support yet: use {node: 1}", what,
        text);
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
    enum rc rc = check_copies(&s->partition_replication, "partition", err);
    return rc == RC_OK ? check_copies(&s->log_replication, "log", err) : rc;
}

static struct bytes encode_nodes(struct env *env, const struct node_config *config, const char *advertised,
                                 const struct provision_settings *s)
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
    struct writer w = WRITER_INIT;
    nodes_config_encode(&w, &c);
    arena_free(&arena);
    return writer_take(&w);
}

static struct bytes encode_logs(const struct provision_settings *s)
{
    struct logs_config c = {.version = 1,
                            .provider = s->provider,
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

static void finish(struct provision *p, const struct err *err)
{
    for (size_t i = p->next; i < VALUES; i++)
        bytes_unref(&p->values[i].value);
    p->done(p->ctx, p->newly, err);
    free(p);
}

static void write_next(struct provision *p);

static void written(struct kv_op *op, const struct kv_result *r)
{
    struct provision *p = CONTAINER_OF(op, struct provision, op);
    if (r->rc != RC_OK && r->rc != RC_CONFLICT) {
        struct err err;
        err_set(&err, r->rc, "cannot write %s: %s", p->values[p->next - 1].key, r->message);
        finish(p, &err);
        return;
    }
    if (p->next == 1)
        p->newly = r->rc == RC_OK;
    if (p->next == VALUES)
        finish(p, NULL);
    else
        write_next(p);
}

static void write_next(struct provision *p)
{
    p->op = (struct kv_op){.kind = KV_PUT,
                           .key = slice_cstr(p->values[p->next].key),
                           .value = p->values[p->next].value,
                           .version = 1,
                           .precondition = KV_DOES_NOT_EXIST,
                           .done = written};
    p->next++;
    kv_submit(p->kv, &p->op);
}

void provision_start(struct env *env, struct kv *kv, const struct node_config *config, const char *advertised,
                     const struct provision_settings *settings,
                     void (*done)(void *ctx, bool newly, const struct err *err), void *ctx)
{
    struct provision *p = xcalloc(1, sizeof(*p));
    p->kv = kv;
    p->done = done;
    p->ctx = ctx;
    p->values[0].key = NODES_CONFIG_KEY;
    p->values[0].value = encode_nodes(env, config, advertised, settings);
    p->values[1].key = LOGS_CONFIG_KEY;
    p->values[1].value = encode_logs(settings);
    p->values[2].key = PARTITION_TABLE_KEY;
    p->values[2].value = encode_table(settings);
    write_next(p);
}

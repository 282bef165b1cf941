/* Implementation of kafka/kafka.h. */
#include "kafka/kafka.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "kafka/consumer.h"

#define TARGET "restate_ingress_kafka"

/* A subscription that has a consumer here, or had one until a moment ago. */
struct running {
    struct list link_;
    struct kafka_ingress *room;
    struct u128 id;
    uint64_t hash; /* of its settings */
    struct consumer *consumer;
    bool stopping;
};

struct kafka_ingress {
    struct kafka_ingress_config config;
    struct kafka_budget budget;
    struct ingestion *ingestion; /* from the first subscription on */
    struct list running;
    struct schema *schema;
    struct schema_defaults defaults;
    bool stopping;
    void (*done)(void *ctx);
    void *ctx;
};

struct kafka_ingress *kafka_ingress_new(const struct kafka_ingress_config *config)
{
    struct kafka_ingress *k = xcalloc(1, sizeof(*k));
    k->config = *config;
    k->budget.limit = config->inflight_bytes;
    list_init(&k->running);
    return k;
}

static struct running *find(struct kafka_ingress *k, struct u128 id)
{
    LIST_FOREACH(n, &k->running)
    {
        struct running *r = CONTAINER_OF(n, struct running, link_);
        if (u128_eq(r->id, id))
            return r;
    }
    return NULL;
}

/* What shall run here: the settings of its consumer. False: nothing. */
static bool wanted(struct kafka_ingress *k, const struct schema_subscription *s, struct kafka_settings *out)
{
    const struct kafka_ingress_config *c = &k->config;
    if (k->stopping || s->paused || hash64_combine(s->id.hi, s->id.lo) % c->n_loops != c->index)
        return false;
    const struct schema_kafka_cluster *cluster =
        schema_find_cluster(k->schema, c->fixed, slice_cstr(s->cluster));
    if (cluster)
        kafka_settings_init(out, cluster, s);
    return cluster != NULL;
}

static void update(struct kafka_ingress *k);
static void release(struct kafka_ingress *k);

static void on_stopped(void *ctx)
{
    struct running *r = ctx;
    struct kafka_ingress *k = r->room;
    list_remove(&r->link_);
    free(r);
    if (k->stopping)
        release(k);
    else
        update(k); /* it may be wanted again, with other settings */
}

static void stop(struct running *r)
{
    if (r->stopping)
        return;
    r->stopping = true;
    consumer_stop(r->consumer, on_stopped, r);
}

static void start(struct kafka_ingress *k, struct u128 id, struct kafka_settings *settings)
{
    const struct kafka_ingress_config *c = &k->config;
    if (!k->ingestion)
        k->ingestion = ingestion_new(loop_env(c->loop), c->router,
                                     &(struct ingestion_config){.batch_bytes = c->batch_bytes});
    struct running *r = xcalloc(1, sizeof(*r));
    r->room = k;
    r->id = id;
    r->hash = settings->hash;
    struct consumer_config config = {.loop = c->loop,
                                     .ingestion = k->ingestion,
                                     .budget = &k->budget,
                                     .partition_of = c->partition_of,
                                     .partition_ctx = c->partition_ctx,
                                     .version = c->version,
                                     .scopes = c->scopes,
                                     .subscription = id};
    list_push_back(&k->running, &r->link_);
    r->consumer = consumer_start(&config, settings, k->schema, &k->defaults);
}

/* One subscription of the schema. */
static void fit(struct kafka_ingress *k, const struct schema_subscription *s)
{
    struct kafka_settings settings = {0};
    struct running *r = find(k, s->id);
    bool want = wanted(k, s, &settings);
    if (r && (!want || r->hash != settings.hash))
        stop(r);
    else if (r && !r->stopping)
        consumer_set_schema(r->consumer, k->schema, &k->defaults);
    else if (!r && want)
        start(k, s->id, &settings);
    kafka_settings_free(&settings);
}

static void update(struct kafka_ingress *k)
{
    const struct schema_subscription *const *list;
    size_t n = schema_subscriptions(k->schema, &list);
    LIST_FOREACH_SAFE(node, next, &k->running)
    {
        struct running *r = CONTAINER_OF(node, struct running, link_);
        if (!schema_subscription(k->schema, r->id))
            stop(r);
    }
    for (size_t i = 0; i < n; i++)
        fit(k, list[i]);
}

void kafka_ingress_set_schema(struct kafka_ingress *k, struct schema *schema,
                              const struct schema_defaults *defaults)
{
    schema_ref(schema);
    schema_unref(k->schema);
    k->schema = schema;
    k->defaults = *defaults;
    if (!k->stopping)
        update(k);
}

static void release(struct kafka_ingress *k)
{
    if (!list_empty(&k->running))
        return;
    void (*done)(void *ctx) = k->done;
    void *ctx = k->ctx;
    if (k->ingestion)
        ingestion_free(k->ingestion, NULL, NULL); /* not waited for: a partition may be unable to answer */
    schema_unref(k->schema);
    free(k);
    done(ctx);
}

void kafka_ingress_stop(struct kafka_ingress *k, void (*done)(void *ctx), void *ctx)
{
    k->stopping = true;
    k->done = done;
    k->ctx = ctx;
    LIST_FOREACH_SAFE(node, next, &k->running)
    stop(CONTAINER_OF(node, struct running, link_));
    release(k);
}

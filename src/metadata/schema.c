/* Immutable snapshots of the schema and their look-ups. Written once, then only read, by any thread. */
#include <stdlib.h>

#include "base/hash.h"
#include "metadata/schema_internal.h"

struct schema {
    _Atomic uint32_t refs;
    uint32_t version;
    struct deployment_box **boxes; /* by creation, then id */
    const struct schema_deployment **deployments;
    size_t n_deployments;
    const struct schema_service **revisions; /* by name, newest first */
    size_t n_revisions;
    const struct schema_service **latest; /* by name */
    size_t n_latest;
    uint32_t *by_name; /* hash table over `latest`: position + 1 */
    uint32_t *by_id;   /* hash table over `deployments`: position + 1 */
    uint32_t name_mask, id_mask;
    struct kafka_box **kafka; /* clusters by name, then subscriptions by id, which is by creation */
    size_t n_kafka;
    const struct schema_kafka_cluster **clusters;
    size_t n_clusters;
    const struct schema_subscription **subscriptions;
    size_t n_subscriptions;
};

static int compare_boxes(const void *a, const void *b)
{
    const struct schema_deployment *x = &(*(struct deployment_box *const *)a)->d;
    const struct schema_deployment *y = &(*(struct deployment_box *const *)b)->d;
    if (x->created_at_ms != y->created_at_ms)
        return x->created_at_ms < y->created_at_ms ? -1 : 1;
    return u128_cmp(x->id, y->id);
}

static int compare_revisions(const void *a, const void *b)
{
    const struct schema_service *x = *(const struct schema_service *const *)a;
    const struct schema_service *y = *(const struct schema_service *const *)b;
    int names = strcmp(x->name, y->name);
    if (names)
        return names;
    if (x->revision != y->revision)
        return x->revision > y->revision ? -1 : 1;
    if (x->deployment->created_at_ms != y->deployment->created_at_ms)
        return x->deployment->created_at_ms > y->deployment->created_at_ms ? -1 : 1;
    return u128_cmp(y->deployment->id, x->deployment->id);
}

static int compare_kafka(const void *a, const void *b)
{
    const struct kafka_box *x = *(struct kafka_box *const *)a, *y = *(struct kafka_box *const *)b;
    if (x->is_cluster != y->is_cluster)
        return x->is_cluster ? -1 : 1;
    return x->is_cluster ? strcmp(x->cluster.name, y->cluster.name)
                         : u128_cmp(x->subscription.id, y->subscription.id);
}

static void list_kafka(struct schema *s, struct kafka_box *const *kafka, size_t n)
{
    s->n_kafka = n;
    s->kafka = xcalloc(n + 1, sizeof(struct kafka_box *));
    s->clusters = xcalloc(n + 1, sizeof(const struct schema_kafka_cluster *));
    s->subscriptions = xcalloc(n + 1, sizeof(const struct schema_subscription *));
    if (n)
        memcpy(s->kafka, kafka, n * sizeof(struct kafka_box *));
    qsort(s->kafka, n, sizeof(struct kafka_box *), compare_kafka);
    for (size_t i = 0; i < n; i++) {
        if (s->kafka[i]->is_cluster)
            s->clusters[s->n_clusters++] = &s->kafka[i]->cluster;
        else
            s->subscriptions[s->n_subscriptions++] = &s->kafka[i]->subscription;
    }
}

static uint32_t table_size(size_t n)
{
    uint32_t size = 4;
    while (size < n * 2)
        size *= 2;
    return size;
}

static uint64_t id_hash(struct u128 id)
{
    return hash64_combine(id.hi, id.lo);
}

static void insert(uint32_t *table, uint32_t mask, uint64_t hash, size_t position)
{
    while (table[hash & mask])
        hash++;
    table[hash & mask] = (uint32_t)position + 1;
}

static void index_snapshot(struct schema *s)
{
    s->name_mask = table_size(s->n_latest) - 1;
    s->by_name = xcalloc(s->name_mask + 1, sizeof(*s->by_name));
    for (size_t i = 0; i < s->n_latest; i++)
        insert(s->by_name, s->name_mask, hash64(slice_cstr(s->latest[i]->name)), i);
    s->id_mask = table_size(s->n_deployments) - 1;
    s->by_id = xcalloc(s->id_mask + 1, sizeof(*s->by_id));
    for (size_t i = 0; i < s->n_deployments; i++)
        insert(s->by_id, s->id_mask, id_hash(s->deployments[i]->id), i);
}

struct schema *schema_build(uint32_t version, struct deployment_box *const *boxes, size_t n,
                            struct kafka_box *const *kafka, size_t n_kafka)
{
    struct schema *s = xcalloc(1, sizeof(*s));
    s->refs = 1;
    s->version = version;
    s->n_deployments = n;
    s->boxes = xcalloc(n + 1, sizeof(struct deployment_box *));
    s->deployments = xcalloc(n + 1, sizeof(const struct schema_deployment *));
    if (n)
        memcpy(s->boxes, boxes, n * sizeof(struct deployment_box *));
    qsort(s->boxes, n, sizeof(struct deployment_box *), compare_boxes);
    for (size_t i = 0; i < n; i++) {
        s->deployments[i] = &s->boxes[i]->d;
        s->n_revisions += s->boxes[i]->d.n_services;
    }
    s->revisions = xcalloc(s->n_revisions + 1, sizeof(const struct schema_service *));
    s->latest = xcalloc(s->n_revisions + 1, sizeof(const struct schema_service *));
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < s->deployments[i]->n_services; j++)
            s->revisions[at++] = s->deployments[i]->services[j];
    qsort(s->revisions, s->n_revisions, sizeof(const struct schema_service *), compare_revisions);
    for (size_t i = 0; i < s->n_revisions; i++)
        if (i == 0 || strcmp(s->revisions[i]->name, s->revisions[i - 1]->name) != 0)
            s->latest[s->n_latest++] = s->revisions[i];
    index_snapshot(s);
    list_kafka(s, kafka, n_kafka);
    return s;
}

struct schema *schema_empty(void)
{
    return schema_build(0, NULL, 0, NULL, 0);
}

size_t schema_boxes(const struct schema *s, struct deployment_box *const **out)
{
    *out = s->boxes;
    return s->n_deployments;
}

size_t schema_kafka_boxes(const struct schema *s, struct kafka_box *const **out)
{
    *out = s->kafka;
    return s->n_kafka;
}

size_t schema_kafka_clusters(const struct schema *s, const struct schema_kafka_cluster *const **out)
{
    *out = s->clusters;
    return s->n_clusters;
}

size_t schema_subscriptions(const struct schema *s, const struct schema_subscription *const **out)
{
    *out = s->subscriptions;
    return s->n_subscriptions;
}

const struct schema_kafka_cluster *schema_kafka_cluster(const struct schema *s, struct slice name)
{
    for (size_t i = 0; i < s->n_clusters; i++)
        if (slice_eq_cstr(name, s->clusters[i]->name))
            return s->clusters[i];
    return NULL;
}

const struct schema_subscription *schema_subscription(const struct schema *s, struct u128 id)
{
    for (size_t i = 0; i < s->n_subscriptions; i++)
        if (u128_eq(id, s->subscriptions[i]->id))
            return s->subscriptions[i];
    return NULL;
}

struct deployment_box *deployment_box_ref(struct deployment_box *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void deployment_box_unref(struct deployment_box *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct arena arena = b->arena; /* the box itself lives in its arena */
    arena_free(&arena);
}

struct schema *schema_ref(struct schema *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void schema_unref(struct schema *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n_deployments; i++)
        deployment_box_unref(s->boxes[i]);
    for (size_t i = 0; i < s->n_kafka; i++)
        kafka_box_unref(s->kafka[i]);
    free(s->kafka);
    free(s->clusters);
    free(s->subscriptions);
    free(s->boxes);
    free(s->deployments);
    free(s->revisions);
    free(s->latest);
    free(s->by_name);
    free(s->by_id);
    free(s);
}

uint32_t schema_version(const struct schema *s)
{
    return s->version;
}

const struct schema_service *schema_service(const struct schema *s, struct slice name)
{
    for (uint64_t at = hash64(name);; at++) {
        uint32_t found = s->by_name[at & s->name_mask];
        if (!found)
            return NULL;
        if (slice_eq_cstr(name, s->latest[found - 1]->name))
            return s->latest[found - 1];
    }
}

const struct schema_handler *schema_handler(const struct schema_service *service, struct slice name)
{
    if (!service->handler_index) {
        for (size_t i = 0; i < service->n_handlers; i++)
            if (slice_eq_cstr(name, service->handlers[i].name))
                return &service->handlers[i];
        return NULL;
    }
    for (uint64_t at = hash64(name);; at++) {
        uint32_t found = service->handler_index[at & service->handler_index_mask];
        if (!found)
            return NULL;
        if (slice_eq_cstr(name, service->handlers[found - 1].name))
            return &service->handlers[found - 1];
    }
}

const struct schema_deployment *schema_deployment(const struct schema *s, struct u128 id)
{
    for (uint64_t at = id_hash(id);; at++) {
        uint32_t found = s->by_id[at & s->id_mask];
        if (!found)
            return NULL;
        if (u128_eq(id, s->deployments[found - 1]->id))
            return s->deployments[found - 1];
    }
}

const struct schema_service *schema_deployment_service(const struct schema_deployment *d, struct slice name)
{
    for (size_t i = 0; i < d->n_services; i++)
        if (slice_eq_cstr(name, d->services[i]->name))
            return d->services[i];
    return NULL;
}

size_t schema_services(const struct schema *s, const struct schema_service *const **out)
{
    *out = s->latest;
    return s->n_latest;
}

size_t schema_deployments(const struct schema *s, const struct schema_deployment *const **out)
{
    *out = s->deployments;
    return s->n_deployments;
}

size_t schema_service_revisions(const struct schema *s, struct slice name, const struct schema_service **out,
                                size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_revisions && n < max; i++)
        if (slice_eq_cstr(name, s->revisions[i]->name))
            out[n++] = s->revisions[i];
    return n;
}

/* Implementation of metadata/schema_kafka.h. */
#include "metadata/schema_kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "metadata/json.h"
#include "metadata/schema_internal.h"

#define RECORD_FORMAT 1

/* ---- names and URIs ---- */

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && (s.ptr[i] == 0 || !strchr(others, s.ptr[i])))
            return false;
    return true;
}

bool kafka_cluster_name_valid(struct slice name)
{
    return name.len > 0 && name.len <= 255 && all_of(name, "-._~!$&'()*+,;=:@[]%");
}

bool kafka_uri_parse(struct slice text, struct kafka_uri *out)
{
    *out = (struct kafka_uri){0};
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= 0x20 || text.ptr[i] >= 0x7f || strchr("\"<>\\^`{|}", text.ptr[i]))
            return false;
    struct slice rest = text;
    ptrdiff_t colon = slice_find(text, ':', 0);
    if (colon > 0 &&
        slice_starts_with(slice_sub(text, (size_t)colon, text.len - (size_t)colon), SLICE_LIT("://"))) {
        out->scheme = slice_sub(text, 0, (size_t)colon);
        rest = slice_sub(text, (size_t)colon + 3, text.len - (size_t)colon - 3);
        if (!all_of(out->scheme, "+-."))
            return false;
    }
    ptrdiff_t query = slice_find(rest, '?', 0), fragment = slice_find(rest, '#', 0);
    if (fragment >= 0 && (query < 0 || fragment < query))
        query = fragment;
    if (query >= 0)
        rest = slice_sub(rest, 0, (size_t)query);
    ptrdiff_t slash = slice_find(rest, '/', 0);
    size_t authority = slash < 0 ? rest.len : (size_t)slash;
    if (authority && slash >= 0 && !out->scheme.ptr)
        return false; /* neither an authority alone nor a path */
    if (authority)
        out->authority = slice_sub(rest, 0, authority);
    if (slash >= 0)
        out->path = slice_sub(rest, authority + 1, rest.len - authority - 1);
    return text.len > 0 && (authority == 0 || kafka_cluster_name_valid(out->authority));
}

bool kafka_property_secret(const char *name)
{
    static const char *const parts[] = {"password",
                                        "secret",
                                        "passphrase",
                                        "sasl.username",
                                        "sasl.jaas.config",
                                        "sasl.oauthbearer.config",
                                        "token.endpoint.url",
                                        "ssl.key.location",
                                        "ssl.key.pem",
                                        "keystore.location",
                                        "truststore.location",
                                        "sasl.oauthbearer.assertion.private.key"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        for (const char *p = name; *p; p++)
            if (strncasecmp(p, parts[i], strlen(parts[i])) == 0)
                return true;
    return false;
}

/* ---- records ---- */

struct kafka_box *kafka_box_ref(struct kafka_box *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void kafka_box_unref(struct kafka_box *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct arena arena = b->arena; /* the box itself lives in its arena */
    arena_free(&arena);
}

bool kafka_box_key(struct slice key)
{
    return slice_starts_with(key, SLICE_LIT(SCHEMA_CLUSTER_PREFIX)) ||
           slice_starts_with(key, SLICE_LIT(SCHEMA_SUBSCRIPTION_PREFIX));
}

static int compare_properties(const void *a, const void *b)
{
    return strcmp(((const struct schema_header *)a)->name, ((const struct schema_header *)b)->name);
}

static bool read_properties(struct arena *a, const json_t *o, const char *key,
                            const struct schema_header **out, size_t *n)
{
    const json_t *map = json_member(o, key);
    if (!json_is_object(map))
        return false;
    struct schema_header *items = arena_array(a, struct schema_header, json_object_size(map) + 1);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        if (!json_is_string(value))
            return false;
        items[(*n)++] =
            (struct schema_header){arena_copy_text(a, name), arena_copy_text(a, json_string_value(value))};
    }
    qsort(items, *n, sizeof(*items), compare_properties);
    *out = items;
    return true;
}

static bool read_text(struct arena *a, const json_t *o, const char *key, const char **out)
{
    *out = arena_copy_text(a, json_string_value(json_member(o, key)));
    return *out != NULL;
}

static bool read_cluster(struct kafka_box *b, const json_t *o, struct slice name)
{
    struct schema_kafka_cluster *c = &b->cluster;
    const json_t *created = json_member(o, "created_at");
    b->is_cluster = true;
    c->created_at_ms = (uint64_t)json_integer_value(created);
    return read_text(&b->arena, o, "name", &c->name) && slice_eq_cstr(name, c->name) &&
           kafka_cluster_name_valid(name) && json_is_integer(created) && json_integer_value(created) >= 0 &&
           read_properties(&b->arena, o, "properties", &c->properties, &c->n_properties);
}

static bool read_subscription(struct kafka_box *b, const json_t *o, struct slice id)
{
    struct schema_subscription *s = &b->subscription;
    struct kafka_uri source, sink;
    const json_t *kind = json_member(o, "kind");
    if (resource_id_parse(RESOURCE_SUBSCRIPTION, id, &s->id) != ID_OK ||
        !read_text(&b->arena, o, "source", &s->source) || !read_text(&b->arena, o, "sink", &s->sink) ||
        !kafka_uri_parse(slice_cstr(s->source), &source) || !kafka_uri_parse(slice_cstr(s->sink), &sink) ||
        !source.authority.ptr || !sink.authority.ptr || !json_is_integer(kind) ||
        json_integer_value(kind) < TARGET_SERVICE || json_integer_value(kind) > TARGET_WORKFLOW_SHARED)
        return false;
    s->cluster = arena_copy_slice(&b->arena, source.authority);
    s->topic = arena_copy_slice(&b->arena, source.path);
    s->service = arena_copy_slice(&b->arena, sink.authority);
    s->handler = arena_copy_slice(&b->arena, sink.path);
    s->kind = (enum target_kind)json_integer_value(kind);
    s->paused = json_is_true(json_member(o, "paused"));
    s->skip_bad = json_is_true(json_member(o, "skip_bad"));
    return read_properties(&b->arena, o, "options", &s->options, &s->n_options);
}

static struct slice after(struct slice key, size_t prefix)
{
    return slice_sub(key, prefix, key.len - prefix);
}

enum rc kafka_box_new(struct slice key, struct slice record_json, struct kafka_box **out, struct err *err)
{
    struct arena arena = {0};
    struct kafka_box *b = arena_array(&arena, struct kafka_box, 1);
    b->arena = arena;
    b->refs = 1;
    json_error_t parse;
    json_t *o = json_loadb((const char *)record_json.ptr, record_json.len, JSON_REJECT_DUPLICATES, &parse);
    enum rc rc = RC_OK;
    if (!o)
        rc = err_set(err, RC_INVALID, "%.200s", parse.text);
    else if (json_integer_value(json_member(o, "v")) != RECORD_FORMAT)
        rc = err_set(err, RC_INVALID, "a format of another version of this server");
    else if (slice_starts_with(key, SLICE_LIT(SCHEMA_CLUSTER_PREFIX))
                 ? !read_cluster(b, o, after(key, strlen(SCHEMA_CLUSTER_PREFIX)))
                 : !read_subscription(b, o, after(key, strlen(SCHEMA_SUBSCRIPTION_PREFIX))))
        rc = err_set(err, RC_INVALID, "a member is missing or malformed");
    json_decref(o);
    if (rc)
        kafka_box_unref(b);
    else
        *out = b;
    return rc;
}

/* ---- edits ---- */

/* The next snapshot: what `box` describes instead of `old` (either may be NULL), under `key_take`. */
static bool finish(const struct schema *s, const void *old, char *key_take, json_t *record_take,
                   struct schema_change *out, struct problem *p)
{
    struct kafka_box *add = NULL;
    char *text = record_take ? json_dumps(record_take, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    struct err err = {0};
    json_decref(record_take);
    if (text && kafka_box_new(slice_cstr(key_take), slice_cstr(text), &add, &err)) {
        free(text);
        free(key_take);
        return problem_set(p, 500, NULL, "Internal server error: %s", err.msg);
    }
    struct schema_op op = {key_take, text};
    VEC_PUSH(&out->ops, op);
    struct deployment_box *const *boxes;
    struct kafka_box *const *kafka;
    size_t n = schema_boxes(s, &boxes), n_kafka = schema_kafka_boxes(s, &kafka), kept = 0;
    struct kafka_box **next = xcalloc(n_kafka + 1, sizeof(struct kafka_box *));
    for (size_t i = 0; i < n_kafka; i++)
        if (&kafka[i]->cluster != old && (const void *)&kafka[i]->subscription != old)
            next[kept++] = kafka_box_ref(kafka[i]);
    if (add)
        next[kept++] = add;
    for (size_t i = 0; i < n; i++)
        deployment_box_ref(boxes[i]);
    out->next = schema_build(schema_version(s) + 1, boxes, n, next, kept);
    free(next);
    return true;
}

static const struct schema_kafka_cluster *fixed_cluster(const struct schema_fixed_clusters *fixed,
                                                        struct slice name)
{
    for (size_t i = 0; fixed && i < fixed->n; i++)
        if (slice_eq_cstr(name, fixed->items[i].name))
            return &fixed->items[i];
    return NULL;
}

const struct schema_kafka_cluster *
schema_find_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed, struct slice name)
{
    const struct schema_kafka_cluster *c = schema_kafka_cluster(s, name);
    return c ? c : fixed_cluster(fixed, name);
}

/* The last one of this name. */
static const char *property(const struct schema_header *properties, size_t n, const char *name)
{
    for (size_t i = n; i > 0; i--)
        if (strcmp(properties[i - 1].name, name) == 0)
            return properties[i - 1].value;
    return NULL;
}

static bool has_brokers(const char *name, const struct schema_header *properties, size_t n, struct problem *p)
{
    return property(properties, n, "bootstrap.servers") || property(properties, n, "metadata.broker.list") ||
           problem_set(p, 400, NULL,
                       "kafka cluster '%s' properties must contain either 'bootstrap.servers' or "
                       "'metadata.broker.list'",
                       name);
}

static json_t *properties_json(const struct schema_header *properties, size_t n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, properties[i].name, json_string(properties[i].value));
    return o;
}

static json_t *cluster_record(const char *name, json_t *properties_take, uint64_t created_at_ms)
{
    json_t *o = json_object();
    json_object_set_new(o, "v", json_integer(RECORD_FORMAT));
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "created_at", json_integer((json_int_t)created_at_ms));
    json_object_set_new(o, "properties", properties_take);
    return o;
}

static char *cluster_key(const char *name)
{
    return xasprintf("%s%s", SCHEMA_CLUSTER_PREFIX, name);
}

bool schema_create_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, const struct schema_header *properties, size_t n,
                           uint64_t now_ms, struct schema_change *out, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    if (!has_brokers(name, properties, n, problem))
        return false;
    if (schema_kafka_cluster(s, slice_cstr(name)))
        return problem_set(problem, 409, NULL, "kafka cluster '%s' already exists in schema registry", name);
    if (fixed_cluster(fixed, slice_cstr(name)))
        return problem_set(
            problem, 409, NULL,
            "kafka cluster '%s' conflicts with static configuration: a cluster of this name was "
            "defined in the restate configuration file",
            name);
    return finish(s, NULL, cluster_key(name), cluster_record(name, properties_json(properties, n), now_ms),
                  out, problem);
}

static bool cluster_missing(const struct schema_fixed_clusters *fixed, const char *name, const char *named,
                            struct problem *p)
{
    if (fixed_cluster(fixed, slice_cstr(name)))
        return problem_set(p, 409, NULL,
                           "kafka cluster '%s' cannot be updated, because it was defined in the restate "
                           "configuration file",
                           name);
    return problem_set(p, 404, NULL, "not found in the schema registry: kafka cluster %s'%s'", named, name);
}

bool schema_update_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, const struct schema_header *properties, size_t n,
                           struct schema_change *out, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    if (!has_brokers(name, properties, n, problem))
        return false;
    const struct schema_kafka_cluster *old = schema_kafka_cluster(s, slice_cstr(name));
    if (!old)
        return cluster_missing(fixed, name, "", problem);
    json_t *next = properties_json(properties, n);
    for (size_t i = 0; i < n; i++) {
        const char *stored = property(old->properties, old->n_properties, properties[i].name);
        bool shown = strcmp(properties[i].value, KAFKA_SECRET_SHOWN) == 0;
        if (shown && stored && kafka_property_secret(properties[i].name))
            json_object_set_new(next, properties[i].name, json_string(stored));
    }
    return finish(s, old, cluster_key(name), cluster_record(name, next, old->created_at_ms), out, problem);
}

bool schema_delete_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                           const char *name, bool force, struct schema_change *out, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct schema_kafka_cluster *old = schema_kafka_cluster(s, slice_cstr(name));
    const struct schema_subscription *const *list;
    size_t n = schema_subscriptions(s, &list);
    if (!old)
        return cluster_missing(fixed, name, "named ", problem);
    for (size_t i = 0; !force && i < n; i++) {
        char id[RESOURCE_ID_TEXT_MAX];
        if (strcmp(list[i]->cluster, name) != 0)
            continue;
        resource_id_format(RESOURCE_SUBSCRIPTION, list[i]->id, id);
        return problem_set(problem, 409, NULL,
                           "Removing the kafka cluster '%s' leads to subscription '%s' being orphan. Remove "
                           "the subscription first, or use the 'force' flag.",
                           name, id);
    }
    return finish(s, old, cluster_key(name), NULL, out, problem);
}

/* ---- subscriptions ---- */

static bool check_source(const char *text, struct kafka_uri *u, struct problem *p)
{
    if (!kafka_uri_parse(slice_cstr(text), u) || !slice_eq_cstr(u->scheme, "kafka"))
        return problem_set(p, 400, "META0009",
                           "invalid source URI '%s': must have a scheme segment, with supported schemes: "
                           "[kafka].",
                           text);
    return u->authority.ptr || problem_set(p, 400, "META0009",
                                           "invalid source URI '%s': source URI of Kafka type must have a "
                                           "authority segment containing the cluster name.",
                                           text);
}

static bool check_sink(const struct schema *s, const char *text, struct kafka_uri *u, enum target_kind *kind,
                       struct problem *p)
{
    if (!kafka_uri_parse(slice_cstr(text), u) || !slice_eq_cstr(u->scheme, "service"))
        return problem_set(p, 400, "META0009",
                           "invalid sink URI '%s': must have a scheme segment, with supported schemes: "
                           "[service].",
                           text);
    if (!u->authority.ptr)
        return problem_set(p, 400, "META0009",
                           "invalid sink URI '%s': sink URI of service type must have a authority segment "
                           "containing the service name.",
                           text);
    const struct schema_service *service = schema_service(s, u->authority);
    const struct schema_handler *h = service ? schema_handler(service, u->path) : NULL;
    if (!h)
        return problem_set(p, 400, "META0009",
                           "invalid sink URI '%s': cannot find service/handler specified in the sink URI.",
                           text);
    *kind = h->kind;
    return true;
}

static bool unknown_cluster(const struct schema *s, const struct schema_fixed_clusters *fixed,
                            struct slice name, struct problem *p)
{
    const struct schema_kafka_cluster *const *list;
    size_t n = schema_kafka_clusters(s, &list);
    json_t *names = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(names, json_string(list[i]->name));
    for (size_t i = 0; fixed && i < fixed->n; i++)
        if (!schema_kafka_cluster(s, slice_cstr(fixed->items[i].name)))
            json_array_append_new(names, json_string(fixed->items[i].name));
    char *text = json_dumps(names, 0);
    problem_set(p, 400, NULL, "Kafka cluster '%.*s' not found. Available clusters: %s", SLICE_FMT(name),
                text);
    free(text);
    json_decref(names);
    return false;
}

/* As it is kept and compared: always with a path, without a query. */
static char *uri_text(const struct kafka_uri *u)
{
    return xasprintf("%.*s://%.*s/%.*s", SLICE_FMT(u->scheme), SLICE_FMT(u->authority), SLICE_FMT(u->path));
}

static char *subscription_key(struct u128 id)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_SUBSCRIPTION, id, text);
    return xasprintf("%s%s", SCHEMA_SUBSCRIPTION_PREFIX, text);
}

static json_t *subscription_record(const char *source, const char *sink, enum target_kind kind,
                                   json_t *options_take, bool paused, bool skip_bad)
{
    json_t *o = json_object();
    json_object_set_new(o, "v", json_integer(RECORD_FORMAT));
    json_object_set_new(o, "source", json_string(source));
    json_object_set_new(o, "sink", json_string(sink));
    json_object_set_new(o, "kind", json_integer(kind));
    json_object_set_new(o, "options", options_take);
    if (paused)
        json_object_set_new(o, "paused", json_true());
    if (skip_bad)
        json_object_set_new(o, "skip_bad", json_true());
    return o;
}

/* The group and the client's name are settled now, so that everybody sees them. */
static json_t *settled_options(const struct schema_subscribe *r, const struct schema_kafka_cluster *c,
                               struct u128 id)
{
    json_t *o = properties_json(r->options, r->n_options);
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_SUBSCRIPTION, id, text);
    const char *group = property(c->properties, c->n_properties, "group.id");
    if (!json_object_get(o, "group.id"))
        json_object_set_new(o, "group.id", json_string(group ? group : text));
    if (!json_object_get(o, "client.id") && !property(c->properties, c->n_properties, "client.id"))
        json_object_set_new(o, "client.id", json_string("restate"));
    return o;
}

bool schema_create_subscription(const struct schema *s, const struct schema_fixed_clusters *fixed,
                                const struct schema_subscribe *r, struct u128 new_id,
                                struct schema_change *out, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    struct kafka_uri source, sink;
    enum target_kind kind = TARGET_SERVICE; /* set by check_sink */
    if (!check_source(r->source, &source, problem) || !check_sink(s, r->sink, &sink, &kind, problem))
        return false;
    const struct schema_kafka_cluster *c = schema_find_cluster(s, fixed, source.authority);
    if (!c)
        return unknown_cluster(s, fixed, source.authority, problem);
    char *source_text = uri_text(&source), *sink_text = uri_text(&sink);
    json_t *record = subscription_record(source_text, sink_text, kind, settled_options(r, c, new_id),
                                         r->paused, r->skip_bad);
    free(source_text);
    free(sink_text);
    return finish(s, NULL, subscription_key(new_id), record, out, problem);
}

static bool subscription_missing(struct u128 id, struct problem *p)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_SUBSCRIPTION, id, text);
    return problem_set(p, 404, NULL, "not found in the schema registry: subscription with id '%s'", text);
}

bool schema_patch_subscription(const struct schema *s, struct u128 id, int paused, int skip_bad,
                               struct schema_change *out, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct schema_subscription *old = schema_subscription(s, id);
    if (!old)
        return subscription_missing(id, problem);
    bool p = paused < 0 ? old->paused : paused > 0, b = skip_bad < 0 ? old->skip_bad : skip_bad > 0;
    if (p == old->paused && b == old->skip_bad)
        return true;
    return finish(s, old, subscription_key(id),
                  subscription_record(old->source, old->sink, old->kind,
                                      properties_json(old->options, old->n_options), p, b),
                  out, problem);
}

bool schema_delete_subscription(const struct schema *s, struct u128 id, struct schema_change *out,
                                struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct schema_subscription *old = schema_subscription(s, id);
    if (!old)
        return subscription_missing(id, problem);
    return finish(s, old, subscription_key(id), NULL, out, problem);
}

/* Kafka clusters (spec/admin-api.md §12). */
#include "admin/kafka.h"

#define FIXED_INFO                                                                                           \
    "This Kafka cluster was configured in the static cluster configuration, this is deprecated. Please "     \
    "register it using the new Kafka Admin functionalities."
#define SHADOWED_INFO                                                                                        \
    "A Kafka cluster with the same name exists in the static cluster configuration, please remove it from "  \
    "the static configuration as it's deprecated."

const struct schema_fixed_clusters *call_fixed_clusters(const struct admin_call *c)
{
    static const struct schema_fixed_clusters none;
    return c->admin->deps.fixed_clusters ? c->admin->deps.fixed_clusters : &none;
}

void json_properties(struct json_out *o, const char *key, const struct schema_header *list, size_t n)
{
    json_open_at(o, key, '{');
    for (size_t i = 0; i < n; i++) {
        if (o->comma)
            write_u8(o->w, ',');
        write_json_string(o->w, slice_cstr(list[i].name)); /* users' texts: must be escaped */
        write_u8(o->w, ':');
        write_json_string(
            o->w, slice_cstr(kafka_property_secret(list[i].name) ? KAFKA_SECRET_SHOWN : list[i].value));
        o->comma = true;
    }
    json_close(o, '}');
}

static const char *info_of(struct admin_call *c, const struct schema_kafka_cluster *k)
{
    const struct schema_fixed_clusters *fixed = call_fixed_clusters(c);
    for (size_t i = 0; i < fixed->n; i++) {
        if (&fixed->items[i] == k)
            return FIXED_INFO;
        if (strcmp(fixed->items[i].name, k->name) == 0)
            return SHADOWED_INFO;
    }
    return NULL;
}

/* The object, left open. */
static void open_cluster(struct admin_call *c, struct json_out *o, const struct schema_kafka_cluster *k)
{
    struct writer created = WRITER_INIT;
    const char *info = info_of(c, k);
    time_format_rfc3339(&created, k->created_at_ms * 1000, 9, "Z");
    json_open(o, '{');
    json_text(o, "name", k->name);
    json_properties(o, "properties", k->properties, k->n_properties);
    json_text_slice(o, "created_at", writer_slice(&created));
    if (info) {
        json_open_at(o, "info", '[');
        json_open(o, '{');
        json_text(o, "message", info);
        json_close(o, '}');
        json_close(o, ']');
    }
    writer_free(&created);
}

void handle_list_kafka_clusters(struct admin_call *c)
{
    const struct schema_kafka_cluster *const *list;
    const struct schema_fixed_clusters *fixed = call_fixed_clusters(c);
    size_t n = schema_kafka_clusters(call_schema(c), &list);
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_open_at(&o, "clusters", '[');
    for (size_t i = 0; i < n; i++) {
        open_cluster(c, &o, list[i]);
        json_close(&o, '}');
    }
    for (size_t i = 0; i < fixed->n; i++) {
        if (schema_kafka_cluster(call_schema(c), slice_cstr(fixed->items[i].name)))
            continue;
        open_cluster(c, &o, &fixed->items[i]);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

static void write_subscriptions_of(struct admin_call *c, struct json_out *o, const char *cluster, bool wanted)
{
    const struct schema_subscription *const *list;
    size_t n = wanted ? schema_subscriptions(call_schema(c), &list) : 0;
    json_open_at(o, "subscriptions", '[');
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i]->cluster, cluster) == 0)
            json_subscription(o, list[i]);
    json_close(o, ']');
}

void handle_get_kafka_cluster(struct admin_call *c)
{
    bool subscriptions;
    if (!call_query_flag(c, "include_subscriptions", &subscriptions))
        return;
    const struct schema_kafka_cluster *k =
        schema_find_cluster(call_schema(c), call_fixed_clusters(c), slice_cstr(c->params[0]));
    if (!k) {
        answer_error(c, 404, "The requested Kafka cluster '%s' does not exist", c->params[0]);
        return;
    }
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    open_cluster(c, &o, k);
    write_subscriptions_of(c, &o, k->name, subscriptions);
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

/* ---- edits ---- */

enum cluster_operation { CLUSTER_CREATE, CLUSTER_UPDATE, CLUSTER_DELETE };
struct cluster_change {
    enum cluster_operation operation;
    const char *name;
    struct schema_header *properties;
    size_t n;
    bool force;
    struct problem problem;
};

static bool plan(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct cluster_change *k = c->state;
    const struct schema_fixed_clusters *fixed = call_fixed_clusters(c);
    switch (k->operation) {
    case CLUSTER_CREATE:
        return schema_create_cluster(current, fixed, k->name, k->properties, k->n,
                                     env_wall_ms(c->admin->deps.env), out, &k->problem);
    case CLUSTER_UPDATE:
        return schema_update_cluster(current, fixed, k->name, k->properties, k->n, out, &k->problem);
    case CLUSTER_DELETE:
        return schema_delete_cluster(current, fixed, k->name, k->force, out, &k->problem);
    }
    UNREACHABLE("operation %d", (int)k->operation);
}

static void answer_changed(struct admin_call *c, const struct cluster_change *k, struct schema *schema)
{
    const struct schema_kafka_cluster *found = schema_kafka_cluster(schema, slice_cstr(k->name));
    struct writer w = WRITER_INIT, location = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    if (k->operation == CLUSTER_DELETE || !found) {
        answer_empty(c, 202);
        return;
    }
    open_cluster(c, &o, found);
    json_close(&o, '}');
    write_fmt(&location, "kafka-clusters/%s%c", k->name, 0);
    answer_json(c, k->operation == CLUSTER_CREATE ? 201 : 200, &w,
                k->operation == CLUSTER_CREATE ? (const char *)writer_slice(&location).ptr : NULL);
    writer_free(&location);
}

static void on_edited(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct cluster_change *k = c->state;
    if (rc == RC_INVALID)
        answer_problem(c, &k->problem);
    else if (rc)
        answer_edit_failed(c, rc, message);
    else
        answer_changed(c, k, schema);
}

static void submit(struct admin_call *c, struct cluster_change *k)
{
    c->state = k;
    c->edit.plan = plan;
    c->edit.done = on_edited;
    if (schema_store_edit(c->admin->deps.schema, &c->edit))
        answer_edit_failed(c, RC_OVERLOADED, "");
}

bool call_json_properties(struct admin_call *c, const json_t *body, const char *key,
                          struct schema_header **out, size_t *n)
{
    json_t *map;
    if (!call_json_texts(c, body, key, &map))
        return false;
    *n = 0;
    *out = arena_array(&c->arena, struct schema_header, json_object_size(map) + 1);
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)(*out)[(*n)++] =
        (struct schema_header){name, json_string_value(value)};
    return true;
}

static bool read_properties(struct admin_call *c, const json_t *body, struct cluster_change *k)
{
    if (!json_member(body, "properties")) {
        answer_bad_shape(c, "", "missing field `properties`");
        return false;
    }
    return call_json_properties(c, body, "properties", &k->properties, &k->n);
}

void handle_create_kafka_cluster(struct admin_call *c)
{
    struct cluster_change *k = arena_array(&c->arena, struct cluster_change, 1);
    json_t *body = call_json_object(c);
    if (!body || !call_json_text(c, body, "name", &k->name))
        return;
    if (!k->name || !kafka_cluster_name_valid(slice_cstr(k->name))) {
        answer_bad_shape(c, k->name ? "name" : "",
                         k->name ? "invalid authority: not a valid name of a Kafka cluster"
                                 : "missing field `name`");
        return;
    }
    if (read_properties(c, body, k))
        submit(c, k);
}

void handle_patch_kafka_cluster(struct admin_call *c)
{
    struct cluster_change *k = arena_array(&c->arena, struct cluster_change, 1);
    k->operation = CLUSTER_UPDATE;
    k->name = c->params[0];
    json_t *body = call_json_object(c);
    if (body && read_properties(c, body, k))
        submit(c, k);
}

void handle_delete_kafka_cluster(struct admin_call *c)
{
    struct cluster_change *k = arena_array(&c->arena, struct cluster_change, 1);
    k->operation = CLUSTER_DELETE;
    k->name = c->params[0];
    if (call_query_flag(c, "force", &k->force))
        submit(c, k);
}

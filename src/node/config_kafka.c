/* Kafka clusters of the configuration (spec/ingress.md §12.1): deprecated in favour of the admin API, but
 * they work. Shape: [[ingress.kafka-clusters]] with `name`, `brokers`, and any other key as a property of
 * librdkafka. */
#include <stdio.h>
#include <stdlib.h>

#include "metadata/schema_kafka.h"
#include "node/config_internal.h"

enum rc config_check_kafka_clusters(const struct cv *v, struct err *err)
{
    if (v->type != CV_LIST)
        return err_set(err, RC_INVALID, "invalid type: expected a sequence");
    for (size_t i = 0; i < v->len; i++) {
        const struct cv *t = v->items[i];
        const struct cv *name = t->type == CV_TABLE ? cv_member(t, "name") : NULL;
        const struct cv *brokers = t->type == CV_TABLE ? cv_member(t, "brokers") : NULL;
        if (!name || name->type != CV_STRING || !kafka_cluster_name_valid(slice_cstr(name->string)))
            return err_set(err, RC_INVALID, "a Kafka cluster needs a valid name");
        if (!brokers || brokers->type != CV_LIST || brokers->len == 0)
            return err_set(err, RC_INVALID, "the Kafka cluster '%.100s' needs a list of brokers",
                           name->string);
        for (size_t b = 0; b < brokers->len; b++)
            if (brokers->items[b]->type != CV_STRING)
                return err_set(err, RC_INVALID, "the brokers of the Kafka cluster '%.100s' must be strings",
                               name->string);
        for (size_t j = 0; j < i; j++)
            if (strcmp(cv_member(v->items[j], "name")->string, name->string) == 0)
                return err_set(err, RC_INVALID, "two Kafka clusters are named '%.100s'", name->string);
    }
    return RC_OK;
}

typedef struct {
    struct schema_header *items;
    size_t len, cap;
} property_list;

static void add_property(property_list *list, struct writer *name, const char *value)
{
    struct schema_header h = {slice_dup_cstr(writer_slice(name)), xstrdup(value)};
    VEC_PUSH(list, h);
}

/* TOML reads `client.id = "x"` as a table in a table: that is the name with points. */
static void add_value(property_list *list, struct writer *name, const struct cv *v)
{
    char number[32];
    size_t len = name->len;
    switch (v->type) {
    case CV_TABLE:
        for (size_t i = 0; i < v->len; i++) {
            write_fmt(name, ".%s", v->items[i]->key);
            add_value(list, name, v->items[i]);
            name->len = len;
        }
        return;
    case CV_STRING:
    case CV_CHAR:
        add_property(list, name, v->string);
        return;
    case CV_BOOL:
        add_property(list, name, v->boolean ? "true" : "false");
        return;
    case CV_FLOAT:
        snprintf(number, sizeof(number), "%g", v->number);
        add_property(list, name, number);
        return;
    case CV_INT:
    case CV_UINT:
        snprintf(number, sizeof(number), "%lld", (long long)v->integer);
        add_property(list, name, number);
        return;
    case CV_LIST:
        return; /* no property of librdkafka is one */
    }
}

static void fill_cluster(const struct cv *t, struct schema_kafka_cluster *out)
{
    property_list list = {0};
    struct writer brokers = WRITER_INIT, name = WRITER_INIT;
    const struct cv *b = cv_member(t, "brokers");
    for (size_t i = 0; i < b->len; i++)
        write_fmt(&brokers, "%s%s", i ? "," : "", b->items[i]->string);
    write_u8(&brokers, 0);
    write_fmt(&name, "metadata.broker.list");
    add_property(&list, &name, (const char *)writer_slice(&brokers).ptr);
    for (size_t i = 0; i < t->len; i++) {
        if (strcmp(t->items[i]->key, "name") == 0 || strcmp(t->items[i]->key, "brokers") == 0)
            continue;
        writer_reset(&name);
        write_fmt(&name, "%s", t->items[i]->key);
        add_value(&list, &name, t->items[i]);
    }
    *out = (struct schema_kafka_cluster){
        .name = cv_member(t, "name")->string, .properties = list.items, .n_properties = list.len};
    writer_free(&brokers);
    writer_free(&name);
}

void config_fill_kafka_clusters(const struct cv *v, struct schema_fixed_clusters *out)
{
    struct schema_kafka_cluster *items = xcalloc(v->len + 1, sizeof(*items));
    for (size_t i = 0; i < v->len; i++)
        fill_cluster(v->items[i], &items[i]);
    *out = (struct schema_fixed_clusters){items, v->len};
}

void config_free_kafka_clusters(struct schema_fixed_clusters *c)
{
    for (size_t i = 0; i < c->n; i++) {
        for (size_t p = 0; p < c->items[i].n_properties; p++) {
            free((char *)c->items[i].properties[p].name);
            free((char *)c->items[i].properties[p].value);
        }
        free((void *)c->items[i].properties);
    }
    free((void *)c->items);
    *c = (struct schema_fixed_clusters){0};
}

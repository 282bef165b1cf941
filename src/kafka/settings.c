/* Implementation of kafka/settings.h. */
#include "kafka/settings.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/containers.h"
#include "base/hash.h"

static struct schema_header *find(const struct kafka_settings *s, const char *name)
{
    for (size_t i = 0; i < s->properties.len; i++)
        if (strcmp(s->properties.items[i].name, name) == 0)
            return &s->properties.items[i];
    return NULL;
}

static void set(struct kafka_settings *s, const char *name, const char *value)
{
    struct schema_header *old = find(s, name);
    if (old) {
        free((char *)old->value);
        old->value = xstrdup(value);
        return;
    }
    struct schema_header h = {xstrdup(name), xstrdup(value)};
    VEC_PUSH(&s->properties, h);
}

/* Settings of ours, whatever users say; and those that would load code into the server. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {"enable.auto.commit", "enable.auto.offset.store",
                                        "plugin.library.paths", "ssl.engine.location"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Two names of one setting: the option must replace the cluster's under either. */
static const char *one_name(const char *name)
{
    return strcmp(name, "metadata.broker.list") == 0 ? "bootstrap.servers" : name;
}

static void take(struct kafka_settings *s, const struct schema_header *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_reserved(list[i].name))
            set(s, one_name(list[i].name), list[i].value);
}

static enum reset_policy reset_of(const struct kafka_settings *s)
{
    const char *v = kafka_settings_get(s, "auto.offset.reset");
    if (v && (strcmp(v, "earliest") == 0 || strcmp(v, "smallest") == 0 || strcmp(v, "beginning") == 0))
        return RESET_EARLIEST;
    if (v && (strcmp(v, "error") == 0 || strcmp(v, "none") == 0))
        return RESET_ERROR;
    return RESET_LATEST;
}

static uint64_t hash_of(const struct kafka_settings *s, const struct schema_subscription *sub)
{
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < s->properties.len; i++) {
        write_lp(&w, slice_cstr(s->properties.items[i].name));
        write_lp(&w, slice_cstr(s->properties.items[i].value));
    }
    write_lp(&w, slice_cstr(sub->source));
    uint64_t h = hash64(writer_slice(&w));
    writer_free(&w);
    return h;
}

void kafka_settings_init(struct kafka_settings *out, const struct schema_kafka_cluster *cluster,
                         const struct schema_subscription *subscription)
{
    *out = (struct kafka_settings){0};
    take(out, cluster->properties, cluster->n_properties);
    take(out, subscription->options, subscription->n_options);
    static const struct schema_header defaults[] = {
        {"client.id", "restate"},
        /* So long the topic partitions of a node that died are read by nobody. librdkafka's own is 45 s. */
        {"session.timeout.ms", "10000"},
        /* What is fetched and not read yet. librdkafka's own is 64 MiB, for each subscription. */
        {"queued.max.messages.kbytes", "16384"},
    };
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (!find(out, defaults[i].name))
            set(out, defaults[i].name, defaults[i].value);
    /* Stored when the log has the records, and only then. */
    set(out, "enable.auto.commit", "true");
    set(out, "enable.auto.offset.store", "false");
    out->reset = reset_of(out);
    out->hash = hash_of(out, subscription);
}

void kafka_settings_free(struct kafka_settings *s)
{
    for (size_t i = 0; i < s->properties.len; i++) {
        free((char *)s->properties.items[i].name);
        free((char *)s->properties.items[i].value);
    }
    VEC_FREE(&s->properties);
}

const char *kafka_settings_get(const struct kafka_settings *s, const char *name)
{
    const struct schema_header *h = find(s, name);
    return h ? h->value : NULL;
}

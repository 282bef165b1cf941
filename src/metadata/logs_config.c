/* The logs of a cluster: see logs_config.h. */
#include "metadata/logs_config.h"

#include <stdlib.h>

#include "metadata/values_internal.h"

static const char *const provider_names[] = {"local", "in-memory", "replicated"};
static const char *const kind_names[] = {"local", "in-memory", "replicated", "sealed"};

bool log_provider_parse(struct slice name, enum log_provider *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(provider_names); i++) {
        if (slice_eq_cstr(name, provider_names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

const char *log_provider_name(enum log_provider p)
{
    return provider_names[p];
}

const char *segment_kind_name(enum segment_kind kind)
{
    ASSERT((size_t)kind < ARRAY_LEN(kind_names));
    return kind_names[kind];
}

bool segment_kind_parse(struct slice text, enum segment_kind *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(kind_names); i++) {
        if (slice_eq_cstr(text, kind_names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* ---- writing ---- */

static void put_chain(struct flex_writer *f, const struct log_chain *chain)
{
    flex_open_map(f);
    flex_key(f, "chain");
    flex_open_sequence(f);
    for (size_t i = 0; i < chain->n_segments; i++) {
        const struct log_segment *s = &chain->segments[i];
        flex_open_sequence(f);
        flex_put_u64(f, s->base_lsn);
        flex_open_map(f);
        value_put_text(f, "kind", kind_names[s->kind]);
        value_put_text(f, "params", s->params);
        value_put_u64(f, "index", s->index);
        flex_key(f, "created_at");
        if (s->created_at)
            flex_put_u64(f, s->created_at);
        else
            flex_put_null(f);
        flex_close_map(f);
        flex_close_sequence(f);
    }
    flex_close_sequence(f);
    flex_close_map(f);
}

void log_chain_encode(struct writer *w, const struct log_chain *chain)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    put_chain(&f, chain);
    flex_finish_stored(&f, w);
}

static void put_settings(struct flex_writer *f, const struct logs_config *c)
{
    flex_key(f, "config");
    flex_open_map(f);
    flex_key(f, "default_provider");
    if (c->provider == LOG_PROVIDER_REPLICATED) {
        flex_open_map(f);
        flex_key(f, "replicated");
        flex_open_map(f);
        flex_key(f, "replication_property");
        replication_write(f, &c->replication, false);
        value_put_u64(f, "target_nodeset_size", c->target_nodeset_size);
        flex_close_map(f);
        flex_close_map(f);
    } else {
        flex_put_text(f, slice_cstr(provider_names[c->provider]));
    }
    flex_close_map(f);
}

void logs_config_encode(struct writer *w, const struct logs_config *c)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    value_put_u64(&f, "version", c->version);
    flex_key(&f, "logs");
    flex_open_sequence(&f);
    for (size_t i = 0; i < c->n_chains; i++) {
        flex_open_sequence(&f);
        flex_put_u64(&f, c->chains[i].log_id);
        put_chain(&f, &c->chains[i]);
        flex_close_sequence(&f);
    }
    flex_close_sequence(&f);
    put_settings(&f, c);
    flex_key(&f, "modified_at");
    if (c->modified_at)
        flex_put_u64(&f, c->modified_at);
    else
        flex_put_null(&f);
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

/* ---- reading ---- */

static bool read_kind(struct flex v, enum segment_kind *out)
{
    struct slice text;
    return flex_get_text(v, "kind", &text) && segment_kind_parse(text, out);
}

static bool read_segment(struct arena *a, struct flex entry, struct log_segment *s)
{
    struct flex v;
    if (!value_pair(entry, &s->base_lsn, &v) || !read_kind(v, &s->kind) ||
        !value_member_text(a, v, "params", &s->params))
        return false;
    return (value_missing(v, "index") || value_u32(v, "index", &s->index)) &&
           (value_missing(v, "created_at") || flex_get_u64(v, "created_at", &s->created_at));
}

static bool read_chain(struct arena *a, struct flex entry, struct log_chain *chain)
{
    uint64_t id;
    struct flex v, list;
    if (!value_pair(entry, &id, &v) || id > UINT32_MAX || !flex_get(v, "chain", &list) ||
        flex_kind(list) != FLEX_SEQUENCE || flex_count(list) == 0)
        return false;
    chain->log_id = (uint32_t)id;
    chain->n_segments = flex_count(list);
    chain->segments = arena_array(a, struct log_segment, chain->n_segments);
    for (size_t i = 0; i < chain->n_segments; i++) {
        if (!read_segment(a, flex_at(list, i), &chain->segments[i]) ||
            (i > 0 && chain->segments[i].base_lsn <= chain->segments[i - 1].base_lsn))
            return false;
    }
    return true;
}

static int compare_chains(const void *a, const void *b)
{
    uint32_t x = ((const struct log_chain *)a)->log_id, y = ((const struct log_chain *)b)->log_id;
    return x < y ? -1 : x > y;
}

static bool read_chains(struct arena *a, struct flex root, struct logs_config *c)
{
    struct flex list;
    if (!flex_get(root, "logs", &list) || flex_kind(list) != FLEX_SEQUENCE)
        return false;
    c->n_chains = flex_count(list);
    c->chains = arena_array(a, struct log_chain, c->n_chains + 1);
    for (size_t i = 0; i < c->n_chains; i++) {
        if (!read_chain(a, flex_at(list, i), &c->chains[i]))
            return false;
    }
    qsort(c->chains, c->n_chains, sizeof(*c->chains), compare_chains);
    for (size_t i = 1; i < c->n_chains; i++) {
        if (c->chains[i].log_id == c->chains[i - 1].log_id)
            return false;
    }
    return true;
}

static bool read_settings(struct flex root, struct logs_config *c)
{
    struct flex config, provider, replicated, replication;
    struct slice name;
    c->provider = LOG_PROVIDER_REPLICATED;
    c->replication = replication_nodes(1);
    c->target_nodeset_size = 1;
    if (value_missing(root, "config"))
        return true;
    if (!flex_get(root, "config", &config) || !flex_get(config, "default_provider", &provider))
        return false;
    if (flex_text(provider, &name))
        return log_provider_parse(name, &c->provider) && c->provider != LOG_PROVIDER_REPLICATED;
    return flex_get(provider, "replicated", &replicated) &&
           flex_get(replicated, "replication_property", &replication) &&
           replication_read(replication, &c->replication) &&
           value_u32(replicated, "target_nodeset_size", &c->target_nodeset_size) &&
           c->target_nodeset_size <= NODESET_SIZE_MAX;
}

enum rc logs_config_decode(struct arena *a, struct slice stored, struct logs_config *out, struct err *err)
{
    struct flex root;
    memset(out, 0, sizeof(*out));
    enum rc rc = value_open(stored, "configuration of the logs", &root, err);
    if (rc != RC_OK)
        return rc;
    bool good = value_u32(root, "version", &out->version) && read_chains(a, root, out) &&
                read_settings(root, out) &&
                (value_missing(root, "modified_at") || flex_get_u64(root, "modified_at", &out->modified_at));
    return good ? RC_OK
                : err_set(err, RC_CORRUPT, "the configuration of the logs is incomplete or out of range");
}

/* ---- use ---- */

const struct log_chain *logs_config_chain(const struct logs_config *c, uint32_t log_id)
{
    struct log_chain key = {.log_id = log_id};
    return c->n_chains ? bsearch(&key, c->chains, c->n_chains, sizeof(*c->chains), compare_chains) : NULL;
}

char *replicated_params(struct arena *a, uint64_t loglet_id, uint32_t sequencer_id, uint32_t generation,
                        const struct replication *replication, const uint32_t *nodeset, size_t n_nodeset)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w,
              "{\"loglet_id\":%llu,\"sequencer\":\"N%u:%u\",\"replication\":", (unsigned long long)loglet_id,
              sequencer_id, generation);
    replication_print_json(&w, replication);
    write_fmt(&w, ",\"nodeset\":[");
    for (size_t i = 0; i < n_nodeset; i++)
        write_fmt(&w, "%s%u", i ? "," : "", nodeset[i]);
    write_fmt(&w, "]}");
    char *text = arena_copy_slice(a, writer_slice(&w));
    writer_free(&w);
    return text;
}

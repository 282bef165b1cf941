/* The typed values of cluster metadata: see values.h. */
#include "metadata/values.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "metadata/json.h"

#define FORMAT 1u

/* ---- reading ---- */

static bool read_u32(const json_t *o, const char *key, uint32_t *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
        return false;
    *out = (uint32_t)json_integer_value(v);
    return true;
}

/* A decimal string of at most 20 digits. */
static bool read_u64_text(const json_t *o, const char *key, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text || !*text)
        return false;
    uint64_t v = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || v > (UINT64_MAX - (uint64_t)(*text - '0')) / 10)
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    *out = v;
    return true;
}

static void write_u64_text(struct json_out *o, const char *key, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
    json_text(o, key, text);
}

static json_t *load(struct slice json, const char *what, struct err *err)
{
    json_error_t parse;
    uint32_t format;
    json_t *o = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &parse);
    if (!o)
        err_set(err, RC_CORRUPT, "the %s is not JSON: %.200s", what, parse.text);
    else if (!read_u32(o, "v", &format) || format != FORMAT) {
        err_set(err, RC_CORRUPT, "the %s has the format of another version of this server", what);
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* ---- partition table ---- */

/* ceil(i * 2^64 / n), as a 128-bit number: i = n gives 2^64. */
static unsigned __int128 range_start(uint32_t n, uint32_t i)
{
    return ((((unsigned __int128)i) << 64) + n - 1) / n;
}

struct key_range partition_key_range(uint32_t n, uint32_t i)
{
    ASSERT(i < n);
    return (struct key_range){(uint64_t)range_start(n, i), (uint64_t)(range_start(n, i + 1) - 1)};
}

uint32_t partition_of_key(uint32_t n, uint64_t key)
{
    ASSERT(n > 0);
    uint32_t i = (uint32_t)(((unsigned __int128)key * n) >> 64);
    struct key_range r = partition_key_range(n, i);
    ASSERT(r.start <= key && key <= r.end);
    return i;
}

void partition_table_encode(struct writer *w, const struct partition_table *t)
{
    struct json_out o = json_out_make(w);
    json_open(&o, '{');
    json_number(&o, "v", FORMAT);
    json_number(&o, "version", t->version);
    json_number(&o, "num_partitions", t->n_partitions);
    json_number(&o, "replication", t->replication);
    json_close(&o, '}');
}

enum rc partition_table_decode(struct slice json, struct partition_table *out, struct err *err)
{
    json_t *o = load(json, "partition table", err);
    if (!o)
        return RC_CORRUPT;
    bool good = read_u32(o, "version", &out->version) && read_u32(o, "num_partitions", &out->n_partitions) &&
                read_u32(o, "replication", &out->replication) && out->n_partitions >= 1 &&
                out->n_partitions <= PARTITIONS_MAX;
    json_decref(o);
    return good ? RC_OK : err_set(err, RC_CORRUPT, "the partition table is incomplete or out of range");
}

/* ---- nodes configuration ---- */

static const struct {
    enum node_role role;
    const char *name;
} roles[] = {
    {ROLE_ADMIN, "admin"},           {ROLE_HTTP_INGRESS, "http-ingress"},
    {ROLE_LOG_SERVER, "log-server"}, {ROLE_METADATA_SERVER, "metadata-server"},
    {ROLE_WORKER, "worker"},
};

uint32_t node_role_parse(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (slice_eq_cstr(name, roles[i].name))
            return roles[i].role;
    return 0;
}

const char *node_role_name(enum node_role role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "unknown";
}

void cluster_fingerprint_format(uint64_t fingerprint, char out[12])
{
    base62_encode_u64(fingerprint, out);
    out[BASE62_U64_WIDTH] = '\0';
}

static void encode_node(struct json_out *o, const struct node_entry *n)
{
    json_open(o, '{');
    json_number(o, "id", n->id);
    if (n->tombstone) {
        json_flag(o, "tombstone", true);
    } else {
        json_number(o, "generation", n->generation);
        json_text(o, "name", n->name);
        json_text(o, "address", n->address);
        json_open_at(o, "roles", '[');
        for (size_t i = 0; i < ARRAY_LEN(roles); i++)
            if (n->roles & roles[i].role)
                json_text(o, NULL, roles[i].name);
        json_close(o, ']');
    }
    json_close(o, '}');
}

void nodes_config_encode(struct writer *w, const struct nodes_config *c)
{
    struct json_out o = json_out_make(w);
    json_open(&o, '{');
    json_number(&o, "v", FORMAT);
    json_number(&o, "version", c->version);
    json_text(&o, "cluster_name", c->cluster_name);
    write_u64_text(&o, "cluster_fingerprint", c->cluster_fingerprint);
    json_open_at(&o, "nodes", '[');
    for (size_t i = 0; i < c->n_nodes; i++)
        encode_node(&o, &c->nodes[i]);
    json_close(&o, ']');
    json_close(&o, '}');
}

static bool decode_node(struct arena *a, const json_t *o, struct node_entry *n)
{
    if (!read_u32(o, "id", &n->id) || n->id == 0)
        return false;
    n->tombstone = json_is_true(json_object_get(o, "tombstone"));
    if (n->tombstone)
        return true;
    n->name = arena_copy_text(a, json_string_value(json_object_get(o, "name")));
    n->address = arena_copy_text(a, json_string_value(json_object_get(o, "address")));
    const json_t *list = json_object_get(o, "roles");
    if (!read_u32(o, "generation", &n->generation) || n->generation == 0 || !n->name || !n->address ||
        !json_is_array(list))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        uint32_t role = node_role_parse(slice_cstr(json_string_value(json_array_get(list, i))));
        if (!role)
            return false;
        n->roles |= role;
    }
    return true;
}

static bool decode_nodes(struct arena *a, const json_t *list, struct nodes_config *c)
{
    if (!json_is_array(list))
        return false;
    c->n_nodes = json_array_size(list);
    c->nodes = arena_array(a, struct node_entry, c->n_nodes + 1);
    for (size_t i = 0; i < c->n_nodes; i++)
        if (!decode_node(a, json_array_get(list, i), &c->nodes[i]) ||
            (i > 0 && c->nodes[i].id <= c->nodes[i - 1].id))
            return false;
    return true;
}

enum rc nodes_config_decode(struct arena *a, struct slice json, struct nodes_config *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    json_t *o = load(json, "nodes configuration", err);
    if (!o)
        return RC_CORRUPT;
    out->cluster_name = arena_copy_text(a, json_string_value(json_object_get(o, "cluster_name")));
    bool good = read_u32(o, "version", &out->version) && out->cluster_name &&
                read_u64_text(o, "cluster_fingerprint", &out->cluster_fingerprint) &&
                out->cluster_fingerprint != 0 && decode_nodes(a, json_object_get(o, "nodes"), out);
    json_decref(o);
    return good ? RC_OK : err_set(err, RC_CORRUPT, "the nodes configuration is incomplete or out of range");
}

static struct node_entry *by_name(const struct nodes_config *c, const char *name)
{
    for (size_t i = 0; i < c->n_nodes; i++)
        if (!c->nodes[i].tombstone && strcmp(c->nodes[i].name, name) == 0)
            return &c->nodes[i];
    return NULL;
}

const struct node_entry *nodes_config_by_name(const struct nodes_config *c, const char *name)
{
    return by_name(c, name);
}

struct node_entry *nodes_config_join(struct arena *a, struct nodes_config *c, const char *name,
                                      const char *address, uint32_t roles_bits)
{
    struct node_entry *n = by_name(c, name);
    if (!n) {
        struct node_entry *grown = arena_array(a, struct node_entry, c->n_nodes + 1);
        if (c->n_nodes)
            memcpy(grown, c->nodes, c->n_nodes * sizeof(*grown));
        c->nodes = grown;
        n = &grown[c->n_nodes];
        /* Tombstones count: an id is never used twice. */
        n->id = c->n_nodes ? grown[c->n_nodes - 1].id + 1 : 1;
        c->n_nodes++;
    }
    n->generation++;
    n->name = name;
    n->address = address;
    n->roles = roles_bits;
    c->version++;
    return n;
}

/* ---- leader epoch ---- */

void epoch_key(uint32_t partition, char out[EPOCH_KEY_SIZE])
{
    snprintf(out, EPOCH_KEY_SIZE, "pp_epoch_%u", partition);
}

void leader_epoch_encode(struct writer *w, const struct leader_epoch *e)
{
    struct json_out o = json_out_make(w);
    json_open(&o, '{');
    json_number(&o, "v", FORMAT);
    json_number(&o, "version", e->version);
    write_u64_text(&o, "epoch", e->epoch);
    json_number(&o, "node_id", e->node_id);
    json_number(&o, "node_generation", e->node_generation);
    json_close(&o, '}');
}

enum rc leader_epoch_decode(struct slice json, struct leader_epoch *out, struct err *err)
{
    json_t *o = load(json, "leader epoch", err);
    if (!o)
        return RC_CORRUPT;
    bool good = read_u32(o, "version", &out->version) && read_u64_text(o, "epoch", &out->epoch) &&
                read_u32(o, "node_id", &out->node_id) &&
                read_u32(o, "node_generation", &out->node_generation);
    json_decref(o);
    return good ? RC_OK : err_set(err, RC_CORRUPT, "the leader epoch is incomplete or out of range");
}

/* The nodes configuration: see nodes_config.h. */
#include "metadata/nodes_config.h"

#include <stdlib.h>

#include "base/hash.h"
#include "metadata/values_internal.h"

/* In the order in which roles are listed. */
static const struct {
    enum node_role role;
    const char *name;
} roles[] = {
    {ROLE_HTTP_INGRESS, "http-ingress"},
    {ROLE_ADMIN, "admin"},
    {ROLE_WORKER, "worker"},
    {ROLE_LOG_SERVER, "log-server"},
    {ROLE_METADATA_SERVER, "metadata-server"},
};
static const char *const storage_names[] = {"provisioning", "read-write", "read-only",
                                            "gone",         "data-loss",  "disabled"};
static const char *const metadata_names[] = {"provisioning", "standby", "member"};
static const char *const worker_names[] = {"provisioning", "active", "draining", "disabled"};

uint32_t node_role_parse(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (slice_eq_cstr(name, roles[i].name))
            return roles[i].role;
    return slice_eq_cstr(name, "metadata-store") ? ROLE_METADATA_SERVER : 0;
}

const char *node_role_name(enum node_role role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "unknown";
}

enum node_role node_role_at(size_t i)
{
    return i < ARRAY_LEN(roles) ? roles[i].role : 0;
}

static bool find_name(const char *const *names, size_t n, struct slice text, unsigned *out)
{
    for (unsigned i = 0; i < n; i++) {
        if (slice_eq_cstr(text, names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

const char *storage_state_name(enum storage_state s)
{
    ASSERT((size_t)s < ARRAY_LEN(storage_names));
    return storage_names[s];
}

bool storage_state_parse(struct slice text, enum storage_state *out)
{
    unsigned i;
    if (!find_name(storage_names, ARRAY_LEN(storage_names), text, &i))
        return false;
    *out = (enum storage_state)i;
    return true;
}

const char *metadata_server_state_name(enum metadata_server_state s)
{
    ASSERT((size_t)s < ARRAY_LEN(metadata_names));
    return metadata_names[s];
}

const char *worker_state_name(enum worker_state s)
{
    ASSERT((size_t)s < ARRAY_LEN(worker_names));
    return worker_names[s];
}

bool worker_state_parse(struct slice text, enum worker_state *out)
{
    unsigned i;
    if (!find_name(worker_names, ARRAY_LEN(worker_names), text, &i))
        return false;
    *out = (enum worker_state)i;
    return true;
}

void cluster_fingerprint_format(uint64_t fingerprint, char out[12])
{
    base62_encode_u64(__builtin_bswap64(fingerprint), out);
    out[BASE62_U64_WIDTH] = '\0';
}

/* ---- writing ---- */

static void put_state(struct flex_writer *f, const char *section, const char *key, const char *state)
{
    flex_key(f, section);
    flex_open_map(f);
    value_put_text(f, key, state);
    flex_close_map(f);
}

static void put_node(struct flex_writer *f, const struct node_entry *n)
{
    flex_open_map(f);
    flex_key(f, "Node");
    flex_open_map(f);
    value_put_text(f, "name", n->name);
    flex_key(f, "current_generation");
    flex_open_sequence(f);
    flex_put_u64(f, n->id);
    flex_put_u64(f, n->generation);
    flex_close_sequence(f);
    value_put_text(f, "address", n->address);
    if (n->ctrl_address)
        value_put_text(f, "ctrl_address", n->ctrl_address);
    flex_key(f, "roles");
    flex_open_sequence(f);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (n->roles & roles[i].role)
            flex_put_text(f, slice_cstr(roles[i].name));
    flex_close_sequence(f);
    put_state(f, "log_server_config", "storage_state", storage_names[n->storage]);
    value_put_text(f, "location", n->location ? n->location : "");
    put_state(f, "metadata_server_config", "metadata_server_state", metadata_names[n->metadata_server]);
    put_state(f, "worker_config", "worker_state", worker_names[n->worker]);
    if (n->binary_version)
        value_put_text(f, "binary_version", n->binary_version);
    flex_close_map(f);
    flex_close_map(f);
}

static void put_nodes(struct flex_writer *f, const struct nodes_config *c)
{
    flex_key(f, "nodes");
    flex_open_sequence(f);
    for (size_t i = 0; i < c->n_nodes; i++) {
        flex_open_sequence(f);
        flex_put_u64(f, c->nodes[i].id);
        if (c->nodes[i].tombstone)
            flex_put_text(f, SLICE_LIT("Tombstone"));
        else
            put_node(f, &c->nodes[i]);
        flex_close_sequence(f);
    }
    flex_close_sequence(f);
    flex_key(f, "name_lookup");
    flex_open_map(f);
    for (size_t i = 0; i < c->n_nodes; i++)
        if (!c->nodes[i].tombstone)
            value_put_u64(f, c->nodes[i].name, c->nodes[i].id);
    flex_close_map(f);
}

void nodes_config_encode(struct writer *w, const struct nodes_config *c)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    value_put_u64(&f, "version", c->version);
    value_put_text(&f, "cluster_name", c->cluster_name);
    value_put_u64(&f, "cluster_fingerprint", c->cluster_fingerprint);
    put_nodes(&f, c);
    if (c->modified_at)
        value_put_u64(&f, "modified_at", c->modified_at);
    flex_key(&f, "features");
    flex_open_sequence(&f);
    for (size_t i = 0; i < c->n_features; i++)
        flex_put_text(&f, slice_cstr(c->features[i]));
    flex_close_sequence(&f);
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

/* ---- reading ---- */

/* A state by its name; absent sections keep 0 (provisioning). */
static bool read_state(struct flex node, const char *section, const char *key, const char *const *names,
                       size_t n_names, unsigned *out)
{
    struct flex map;
    struct slice text;
    *out = 0;
    if (value_missing(node, section))
        return true;
    if (!flex_get(node, section, &map) || !flex_get_text(map, key, &text))
        return false;
    return find_name(names, n_names, text, out);
}

static bool read_states(struct flex node, struct node_entry *n)
{
    unsigned storage, metadata, worker;
    if (!read_state(node, "log_server_config", "storage_state", storage_names, ARRAY_LEN(storage_names),
                    &storage) ||
        !read_state(node, "metadata_server_config", "metadata_server_state", metadata_names,
                    ARRAY_LEN(metadata_names), &metadata) ||
        !read_state(node, "worker_config", "worker_state", worker_names, ARRAY_LEN(worker_names), &worker))
        return false;
    n->storage = storage;
    n->metadata_server = metadata;
    n->worker = worker;
    return true;
}

static bool read_generation(struct flex node, struct node_entry *n)
{
    struct flex pair;
    uint64_t id, generation;
    if (!flex_get(node, "current_generation", &pair) || flex_count(pair) != 2 ||
        !flex_u64(flex_at(pair, 0), &id) || !flex_u64(flex_at(pair, 1), &generation) || id != n->id ||
        generation == 0 || generation > UINT32_MAX)
        return false;
    n->generation = (uint32_t)generation;
    return true;
}

static bool read_roles(struct flex node, struct node_entry *n)
{
    struct flex list;
    struct slice name;
    if (!flex_get(node, "roles", &list) || flex_kind(list) != FLEX_SEQUENCE)
        return false;
    for (size_t i = 0; i < flex_count(list); i++) {
        uint32_t role = flex_text(flex_at(list, i), &name) ? node_role_parse(name) : 0;
        if (!role)
            return false;
        n->roles |= role;
    }
    return true;
}

static bool optional_text(struct arena *a, struct flex map, const char *key, const char **out)
{
    return value_missing(map, key) || value_member_text(a, map, key, out);
}

static bool read_node(struct arena *a, struct flex entry, struct node_entry *n)
{
    uint64_t id;
    struct flex v, node;
    struct slice text;
    if (!value_pair(entry, &id, &v) || id == 0 || id > UINT32_MAX)
        return false;
    n->id = (uint32_t)id;
    n->location = "";
    if (flex_text(v, &text)) {
        n->tombstone = slice_eq_cstr(text, "Tombstone");
        return n->tombstone;
    }
    return flex_get(v, "Node", &node) && value_member_text(a, node, "name", &n->name) &&
           value_member_text(a, node, "address", &n->address) && read_generation(node, n) &&
           read_roles(node, n) && read_states(node, n) &&
           optional_text(a, node, "ctrl_address", &n->ctrl_address) &&
           optional_text(a, node, "location", &n->location) &&
           optional_text(a, node, "binary_version", &n->binary_version);
}

static int compare_nodes(const void *a, const void *b)
{
    uint32_t x = ((const struct node_entry *)a)->id, y = ((const struct node_entry *)b)->id;
    return x < y ? -1 : x > y;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No id twice, and no name twice among the live ones. */
static bool distinct_nodes(struct arena *a, const struct nodes_config *c)
{
    const char **names = arena_array(a, const char *, c->n_nodes + 1);
    size_t n = 0;
    for (size_t i = 0; i < c->n_nodes; i++) {
        if (i > 0 && c->nodes[i].id == c->nodes[i - 1].id)
            return false;
        if (!c->nodes[i].tombstone)
            names[n++] = c->nodes[i].name;
    }
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            return false;
    }
    return true;
}

static bool read_nodes(struct arena *a, struct flex root, struct nodes_config *c)
{
    struct flex list;
    if (!flex_get(root, "nodes", &list) || flex_kind(list) != FLEX_SEQUENCE)
        return false;
    c->n_nodes = flex_count(list);
    c->nodes = arena_array(a, struct node_entry, c->n_nodes + 1);
    for (size_t i = 0; i < c->n_nodes; i++) {
        if (!read_node(a, flex_at(list, i), &c->nodes[i]))
            return false;
    }
    qsort(c->nodes, c->n_nodes, sizeof(*c->nodes), compare_nodes);
    return distinct_nodes(a, c);
}

static bool read_features(struct arena *a, struct flex root, struct nodes_config *c)
{
    struct flex list;
    if (value_missing(root, "features"))
        return true;
    if (!flex_get(root, "features", &list) || flex_kind(list) != FLEX_SEQUENCE)
        return false;
    c->n_features = flex_count(list);
    c->features = arena_array(a, const char *, c->n_features + 1);
    for (size_t i = 0; i < c->n_features; i++) {
        if (!value_text(a, flex_at(list, i), &c->features[i]))
            return false;
    }
    return true;
}

enum rc nodes_config_decode(struct arena *a, struct slice stored, struct nodes_config *out, struct err *err)
{
    struct flex root;
    memset(out, 0, sizeof(*out));
    enum rc rc = value_open(stored, "nodes configuration", &root, err);
    if (rc != RC_OK)
        return rc;
    bool good = value_u32(root, "version", &out->version) &&
                value_member_text(a, root, "cluster_name", &out->cluster_name) &&
                flex_get_u64(root, "cluster_fingerprint", &out->cluster_fingerprint) &&
                out->cluster_fingerprint != 0 && read_nodes(a, root, out) && read_features(a, root, out);
    flex_get_u64(root, "modified_at", &out->modified_at);
    return good ? RC_OK : err_set(err, RC_CORRUPT, "the nodes configuration is incomplete or out of range");
}

/* ---- use ---- */

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

struct node_entry *nodes_config_by_id(const struct nodes_config *c, uint32_t id)
{
    for (size_t i = 0; i < c->n_nodes; i++)
        if (c->nodes[i].id == id)
            return &c->nodes[i];
    return NULL;
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
        n->location = "";
    }
    n->generation++;
    n->name = name;
    n->address = address;
    n->roles = roles_bits;
    c->version++;
    return n;
}

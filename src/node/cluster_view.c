/* The node's view of cluster metadata: see cluster_view.h. */
#include "node/cluster_view.h"

#include "base/log.h"
#include "metadata/storage_generations.h"

static bool is(struct slice key, const char *name)
{
    return slice_eq_cstr(key, name);
}

static void replace(struct cluster_view_value *v, struct arena arena, const struct kv_entry *entry)
{
    arena_free(&v->arena);
    bytes_unref(&v->stored);
    v->arena = arena;
    v->stored = bytes_ref(entry->value);
    v->version = entry->version;
}

static bool undecodable(const struct kv_entry *entry, const struct err *err)
{
    LOG0(LOG_ERROR, "restate_node", "Metadata value '%.*s' v%u is ignored: %s", SLICE_FMT(entry->key),
         entry->version, err->msg);
    return false;
}

bool cluster_view_seen(struct cluster_view *v, const struct kv_entry *entry)
{
    struct arena arena = {0};
    struct err err = {0};
    struct slice stored = bytes_slice(entry->value);
    if (is(entry->key, NODES_CONFIG_KEY) && entry->version > v->nodes_value.version) {
        struct nodes_config nodes;
        if (nodes_config_decode(&arena, stored, &nodes, &err) == RC_OK) {
            replace(&v->nodes_value, arena, entry);
            v->nodes = nodes;
            return true;
        }
    } else if (is(entry->key, LOGS_CONFIG_KEY) && entry->version > v->logs_value.version) {
        struct logs_config logs;
        if (logs_config_decode(&arena, stored, &logs, &err) == RC_OK) {
            replace(&v->logs_value, arena, entry);
            v->logs = logs;
            return true;
        }
    } else if (is(entry->key, PARTITION_TABLE_KEY) && entry->version > v->table_value.version) {
        struct partition_table table;
        if (partition_table_decode(stored, &table, &err) == RC_OK) {
            replace(&v->table_value, arena, entry);
            v->table = table;
            return true;
        }
    } else {
        return false;
    }
    arena_free(&arena);
    return undecodable(entry, &err);
}

/* ---- values written by operators ---- */

static enum rc check_version(const struct kv_entry *entry, uint32_t inside, struct err *err)
{
    if (inside == entry->version)
        return RC_OK;
    return err_set(err, RC_INVALID, "the version inside the value (v%u) differs from that of the entry (v%u)",
                   inside, entry->version);
}

static enum rc check_nodes(const struct cluster_view *v, struct arena *a, const struct kv_entry *entry,
                           struct err *err)
{
    struct nodes_config c;
    enum rc rc = nodes_config_decode(a, bytes_slice(entry->value), &c, err);
    if (rc == RC_OK)
        rc = check_version(entry, c.version, err);
    if (rc == RC_OK && v->nodes_value.version &&
        (c.cluster_fingerprint != v->nodes.cluster_fingerprint ||
         strcmp(c.cluster_name, v->nodes.cluster_name) != 0))
        rc = err_set(err, RC_INVALID, "the name and the fingerprint of a cluster cannot be changed");
    return rc;
}

static bool same_chain(const struct log_chain *a, const struct log_chain *b)
{
    if (a->log_id != b->log_id || a->n_segments != b->n_segments)
        return false;
    for (size_t i = 0; i < a->n_segments; i++) {
        const struct log_segment *x = &a->segments[i], *y = &b->segments[i];
        if (x->base_lsn != y->base_lsn || x->kind != y->kind || x->index != y->index ||
            strcmp(x->params, y->params) != 0)
            return false;
    }
    return true;
}

static enum rc check_logs(const struct cluster_view *v, struct arena *a, const struct kv_entry *entry,
                          struct err *err)
{
    struct logs_config c;
    enum rc rc = logs_config_decode(a, bytes_slice(entry->value), &c, err);
    if (rc == RC_OK)
        rc = check_version(entry, c.version, err);
    bool same = rc == RC_OK && c.n_chains == v->logs.n_chains;
    for (size_t i = 0; same && i < c.n_chains; i++)
        same = same_chain(&c.chains[i], &v->logs.chains[i]);
    if (rc == RC_OK && !same)
        rc = err_set(err, RC_INVALID,
                     "the segments of the logs change by sealing and trimming, not through their metadata");
    return rc;
}

static enum rc check_table(const struct cluster_view *v, const struct kv_entry *entry, struct err *err)
{
    struct partition_table t;
    enum rc rc = partition_table_decode(bytes_slice(entry->value), &t, err);
    if (rc == RC_OK)
        rc = check_version(entry, t.version, err);
    if (rc == RC_OK && v->table_value.version && t.n_partitions != v->table.n_partitions)
        rc = err_set(err, RC_INVALID, "changing the number of partitions is not yet supported by Restate");
    return rc;
}

/* Leadership is claimed by the nodes themselves: an epoch that goes back would keep everybody from leading
 * ever again. Operators change policies and placements. */
static enum rc check_epoch(const struct cluster_view *v, struct arena *a, uint32_t partition,
                           const struct kv_entry *entry, struct err *err)
{
    struct epoch_metadata e;
    enum rc rc = epoch_metadata_decode(a, bytes_slice(entry->value), partition, &e, err);
    if (rc == RC_OK)
        rc = check_version(entry, e.version, err);
    const struct epoch_metadata *known = v->epochs ? epochs_get(v->epochs, partition) : NULL;
    if (rc != RC_OK || !known)
        return rc;
    bool same =
        e.epoch == known->epoch && e.node_id == known->node_id && e.node_generation == known->node_generation;
    if (e.epoch < known->epoch || (e.version == known->version + 1 && !same))
        return err_set(err, RC_INVALID, "the leader of a partition cannot be changed through its metadata");
    return RC_OK;
}

enum rc cluster_view_check(const struct cluster_view *v, const struct kv_entry *entry, struct err *err)
{
    struct arena arena = {0};
    uint32_t partition;
    enum rc rc = RC_OK;
    if (is(entry->key, NODES_CONFIG_KEY))
        rc = check_nodes(v, &arena, entry, err);
    else if (is(entry->key, LOGS_CONFIG_KEY))
        rc = check_logs(v, &arena, entry, err);
    else if (is(entry->key, PARTITION_TABLE_KEY))
        rc = check_table(v, entry, err);
    else if (epoch_key_parse(entry->key, &partition))
        rc = check_epoch(v, &arena, partition, entry, err);
    arena_free(&arena);
    return rc == RC_OK ? RC_OK : RC_INVALID;
}

bool cluster_view_is_system_key(struct slice key)
{
    uint32_t partition;
    return is(key, NODES_CONFIG_KEY) || is(key, LOGS_CONFIG_KEY) || is(key, PARTITION_TABLE_KEY) ||
           is(key, STORAGE_GENERATIONS_KEY) || epoch_key_parse(key, &partition);
}

void cluster_view_free(struct cluster_view *v)
{
    struct cluster_view_value *values[] = {&v->nodes_value, &v->logs_value, &v->table_value};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        arena_free(&values[i]->arena);
        bytes_unref(&values[i]->stored);
    }
}

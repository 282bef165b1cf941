/* Epoch metadata: see values.h. */
#include <stdio.h>

#include "metadata/values_internal.h"

void epoch_key(uint32_t partition, char out[EPOCH_KEY_SIZE])
{
    snprintf(out, EPOCH_KEY_SIZE, EPOCH_KEY_PREFIX "%u", partition);
}

bool epoch_key_parse(struct slice key, uint32_t *partition)
{
    size_t prefix = sizeof(EPOCH_KEY_PREFIX) - 1;
    if (!slice_starts_with(key, SLICE_LIT(EPOCH_KEY_PREFIX)) || key.len == prefix || key.len > prefix + 5)
        return false;
    *partition = 0;
    for (size_t i = prefix; i < key.len; i++) {
        if (key.ptr[i] < '0' || key.ptr[i] > '9')
            return false;
        *partition = *partition * 10 + (uint32_t)(key.ptr[i] - '0');
    }
    return *partition < PARTITIONS_MAX && (key.ptr[prefix] != '0' || key.len == prefix + 1);
}

/* ---- writing ---- */

static void put_configuration(struct flex_writer *f, const char *key, const struct partition_configuration *c)
{
    flex_key(f, key);
    flex_open_map(f);
    value_put_u64(f, "version", c->version);
    flex_key(f, "replication");
    replication_write(f, &c->replication, false);
    flex_key(f, "replica_set");
    flex_open_sequence(f);
    for (size_t i = 0; i < c->n_replicas; i++)
        flex_put_u64(f, c->replicas[i]);
    flex_close_sequence(f);
    value_put_u64(f, "modified_at", c->modified_at_ms);
    flex_key(f, "context");
    flex_open_map(f);
    for (size_t i = 0; i < c->n_context; i++)
        value_put_text(f, c->context[i].key, c->context[i].value);
    flex_close_map(f);
    flex_close_map(f);
}

static void put_freeze(struct flex_writer *f, const char *reason)
{
    flex_key(f, "freeze");
    flex_open_map(f);
    value_put_text(f, "reason", reason);
    flex_close_map(f);
}

static void put_policies(struct flex_writer *f, const struct epoch_metadata *e)
{
    if (e->leadership_freeze || e->affinity_node || e->affinity_location) {
        flex_key(f, "leadership_policy");
        flex_open_map(f);
        if (e->leadership_freeze)
            put_freeze(f, e->leadership_freeze);
        if (e->affinity_node || e->affinity_location) {
            flex_key(f, "affinity");
            flex_open_map(f);
            if (e->affinity_node)
                value_put_u64(f, "Node", e->affinity_node);
            else
                value_put_text(f, "Location", e->affinity_location);
            flex_close_map(f);
        }
        flex_close_map(f);
    }
    if (e->placement_freeze) {
        flex_key(f, "placement_policy");
        flex_open_map(f);
        put_freeze(f, e->placement_freeze);
        flex_close_map(f);
    }
}

void epoch_metadata_encode(struct writer *w, uint32_t partition, const struct epoch_metadata *e)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    value_put_u64(&f, "version", e->version);
    flex_key(&f, "leader_metadata");
    if (e->node_id) {
        flex_open_map(&f);
        value_put_u64(&f, "partition_id", partition);
        flex_key(&f, "node_id");
        flex_open_sequence(&f);
        flex_put_u64(&f, e->node_id);
        flex_put_u64(&f, e->node_generation);
        flex_close_sequence(&f);
        flex_close_map(&f);
    } else {
        flex_put_null(&f);
    }
    value_put_u64(&f, "epoch", e->epoch);
    put_configuration(&f, "current", &e->current);
    if (e->has_next)
        put_configuration(&f, "next", &e->next);
    else
        value_put_null(&f, "next");
    put_policies(&f, e);
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

/* ---- reading ---- */

static bool read_context(struct arena *a, struct flex c, struct partition_configuration *out)
{
    struct flex context;
    if (value_missing(c, "context"))
        return true;
    if (!flex_get(c, "context", &context) || flex_kind(context) != FLEX_MAP)
        return false;
    out->n_context = flex_count(context);
    out->context = arena_array(a, struct context_entry, out->n_context + 1);
    for (size_t i = 0; i < out->n_context; i++) {
        out->context[i].key = arena_copy_slice(a, flex_key_at(context, i));
        if (!value_text(a, flex_at(context, i), &out->context[i].value))
            return false;
    }
    return true;
}

static bool read_configuration(struct arena *a, struct flex c, struct partition_configuration *out)
{
    struct flex replication, list;
    if (!value_u32(c, "version", &out->version) || !flex_get(c, "replica_set", &list) ||
        flex_kind(list) != FLEX_SEQUENCE)
        return false;
    if (flex_get(c, "replication", &replication) && !replication_read(replication, &out->replication))
        return false;
    flex_get_u64(c, "modified_at", &out->modified_at_ms);
    out->n_replicas = flex_count(list);
    out->replicas = arena_array(a, uint32_t, out->n_replicas + 1);
    for (size_t i = 0; i < out->n_replicas; i++) {
        uint64_t id;
        if (!flex_u64(flex_at(list, i), &id) || id == 0 || id > UINT32_MAX)
            return false;
        out->replicas[i] = (uint32_t)id;
    }
    return read_context(a, c, out);
}

static bool read_freeze(struct arena *a, struct flex root, const char *policy, const char **reason)
{
    struct flex p, freeze;
    if (value_missing(root, policy) || !flex_get(root, policy, &p) || value_missing(p, "freeze"))
        return true;
    return flex_get(p, "freeze", &freeze) && value_member_text(a, freeze, "reason", reason);
}

static bool read_affinity(struct arena *a, struct flex root, struct epoch_metadata *out)
{
    struct flex policy, affinity;
    if (value_missing(root, "leadership_policy") || !flex_get(root, "leadership_policy", &policy) ||
        value_missing(policy, "affinity"))
        return true;
    return flex_get(policy, "affinity", &affinity) &&
           (value_u32(affinity, "Node", &out->affinity_node) ||
            value_member_text(a, affinity, "Location", &out->affinity_location));
}

static bool read_leader(struct flex root, uint32_t partition, struct epoch_metadata *out)
{
    struct flex leader, node;
    uint64_t id, generation;
    uint32_t of;
    if (value_missing(root, "leader_metadata"))
        return true;
    if (!flex_get(root, "leader_metadata", &leader) || !value_u32(leader, "partition_id", &of) ||
        of != partition || !flex_get(leader, "node_id", &node) || flex_count(node) != 2 ||
        !flex_u64(flex_at(node, 0), &id) || !flex_u64(flex_at(node, 1), &generation) || id == 0 ||
        id > UINT32_MAX || generation > UINT32_MAX)
        return false;
    out->node_id = (uint32_t)id;
    out->node_generation = (uint32_t)generation;
    return true;
}

enum rc epoch_metadata_decode(struct arena *a, struct slice stored, uint32_t partition,
                              struct epoch_metadata *out, struct err *err)
{
    struct flex root, c;
    memset(out, 0, sizeof(*out));
    out->current.replication = out->next.replication = replication_nodes(1);
    enum rc rc = value_open(stored, "epoch metadata", &root, err);
    if (rc != RC_OK)
        return rc;
    bool good = value_u32(root, "version", &out->version) && read_leader(root, partition, out);
    out->epoch = out->version;
    if (good && !value_missing(root, "epoch"))
        good = flex_get_u64(root, "epoch", &out->epoch);
    if (good && !value_missing(root, "current"))
        good = flex_get(root, "current", &c) && read_configuration(a, c, &out->current);
    if (good && !value_missing(root, "next")) {
        out->has_next = true;
        good = flex_get(root, "next", &c) && read_configuration(a, c, &out->next);
    }
    good = good && read_freeze(a, root, "leadership_policy", &out->leadership_freeze) &&
           read_freeze(a, root, "placement_policy", &out->placement_freeze) && read_affinity(a, root, out);
    return good ? RC_OK : err_set(err, RC_CORRUPT, "the epoch metadata is incomplete or out of range");
}

/* ---- changes ---- */

void epoch_metadata_claim(struct epoch_metadata *e, uint32_t node_id, uint32_t generation)
{
    e->version++;
    e->epoch++;
    e->node_id = node_id;
    e->node_generation = generation;
}

void epoch_metadata_set_initial(struct epoch_metadata *e, const struct replication *replication,
                                uint32_t *replicas, size_t n, uint64_t now_ms)
{
    ASSERT(e->current.version == 0 && n > 0);
    if (e->version == 0)
        e->epoch = 1;
    e->version++;
    e->current = (struct partition_configuration){.version = e->version,
                                                  .replication = *replication,
                                                  .replicas = replicas,
                                                  .n_replicas = n,
                                                  .modified_at_ms = now_ms};
}

void epoch_metadata_set_next(struct epoch_metadata *e, const struct replication *replication,
                             uint32_t *replicas, size_t n, uint64_t now_ms)
{
    ASSERT(e->current.version != 0 && n > 0);
    uint32_t version = (e->has_next ? e->next.version : e->current.version) + 1;
    e->version++;
    e->has_next = true;
    e->next = (struct partition_configuration){.version = version,
                                               .replication = *replication,
                                               .replicas = replicas,
                                               .n_replicas = n,
                                               .modified_at_ms = now_ms};
}

bool configuration_has(const struct partition_configuration *c, uint32_t node_id)
{
    for (size_t i = 0; i < c->n_replicas; i++)
        if (c->replicas[i] == node_id)
            return true;
    return false;
}

bool epoch_metadata_has(const struct epoch_metadata *e, uint32_t node_id)
{
    return configuration_has(&e->current, node_id) || (e->has_next && configuration_has(&e->next, node_id));
}

void epoch_metadata_complete_next(struct epoch_metadata *e)
{
    ASSERT(e->has_next);
    e->version++;
    e->current = e->next;
    e->next = (struct partition_configuration){0};
    e->has_next = false;
}

/* Storage generations of log-servers: see storage_generations.h. */
#include "metadata/storage_generations.h"

#include <string.h>

#include "metadata/values_internal.h"

void storage_generations_encode(struct writer *w, const struct storage_generations *g)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    value_put_u64(&f, "version", g->version);
    flex_key(&f, "nodes");
    flex_open_sequence(&f);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct storage_generation *n = &g->nodes[i];
        flex_open_sequence(&f);
        flex_put_u64(&f, n->node_id);
        flex_open_map(&f);
        value_put_u64(&f, "created_at", n->created_at);
        flex_key(&f, "lost");
        flex_open_sequence(&f);
        for (size_t k = 0; k < n->n_lost; k++) {
            flex_open_sequence(&f);
            flex_put_u64(&f, n->lost[k].log_id);
            flex_put_u64(&f, n->lost[k].last_index);
            flex_close_sequence(&f);
        }
        flex_close_sequence(&f);
        flex_close_map(&f);
        flex_close_sequence(&f);
    }
    flex_close_sequence(&f);
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

static bool read_lost(struct flex v, struct lost_log *out)
{
    uint64_t log_id, index;
    struct flex second;
    if (!value_pair(v, &log_id, &second) || !flex_u64(second, &index) || log_id > UINT32_MAX ||
        index > UINT32_MAX)
        return false;
    *out = (struct lost_log){(uint32_t)log_id, (uint32_t)index};
    return true;
}

static bool read_node(struct arena *a, struct flex v, struct storage_generation *out)
{
    uint64_t id;
    struct flex map, lost;
    if (!value_pair(v, &id, &map) || id == 0 || id > UINT32_MAX || flex_kind(map) != FLEX_MAP ||
        !flex_get_u64(map, "created_at", &out->created_at) || !flex_get(map, "lost", &lost) ||
        flex_kind(lost) != FLEX_SEQUENCE)
        return false;
    out->node_id = (uint32_t)id;
    out->n_lost = flex_count(lost);
    out->lost = arena_alloc(a, (out->n_lost + 1) * sizeof(*out->lost));
    for (size_t i = 0; i < out->n_lost; i++) {
        if (!read_lost(flex_at(lost, i), &out->lost[i]))
            return false;
    }
    return true;
}

enum rc storage_generations_decode(struct arena *a, struct slice stored, struct storage_generations *out,
                                   struct err *err)
{
    struct flex root, nodes;
    *out = (struct storage_generations){0};
    enum rc rc = value_open(stored, "list of storage generations", &root, err);
    if (rc != RC_OK)
        return rc;
    if (!value_u32(root, "version", &out->version) || !flex_get(root, "nodes", &nodes) ||
        flex_kind(nodes) != FLEX_SEQUENCE)
        return err_set(err, RC_CORRUPT, "the list of storage generations is incomplete");
    out->n_nodes = flex_count(nodes);
    out->nodes = arena_alloc(a, (out->n_nodes + 1) * sizeof(*out->nodes));
    for (size_t i = 0; i < out->n_nodes; i++) {
        if (!read_node(a, flex_at(nodes, i), &out->nodes[i]))
            return err_set(err, RC_CORRUPT, "the list of storage generations has an invalid entry");
    }
    return RC_OK;
}

const struct storage_generation *storage_generation_of(const struct storage_generations *g, uint32_t node_id)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].node_id == node_id)
            return &g->nodes[i];
    }
    return NULL;
}

bool storage_generation_lost(const struct storage_generation *g, uint32_t log_id, uint32_t index)
{
    for (size_t i = 0; g && i < g->n_lost; i++) {
        if (g->lost[i].log_id == log_id)
            return index <= g->lost[i].last_index;
    }
    return false;
}

void storage_generations_put(struct arena *a, struct storage_generations *g,
                             const struct storage_generation *entry)
{
    struct storage_generation *nodes = arena_alloc(a, (g->n_nodes + 1) * sizeof(*nodes));
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].node_id != entry->node_id)
            nodes[n++] = g->nodes[i];
    }
    nodes[n++] = *entry;
    g->nodes = nodes;
    g->n_nodes = n;
    g->version++;
}

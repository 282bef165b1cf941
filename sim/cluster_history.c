/* The history of the cluster's metadata, as every node sees it (spec/cluster.md §11.2): of a key every
 * version has one value for everybody (M-2, N-3), and consecutive versions may only differ in what may
 * change: N-1, N-2, N-4, N-6 of the nodes configuration, L-7 of the chains, P-1 and P-5 of the epochs. */
#include <stdlib.h>

#include "bifrost/replicated_params.h"
#include "sim/cluster_sim.h"

struct value {
    struct bytes content; /* ptr NULL: not seen */
};
struct history {
    struct value *items; /* of version i */
    size_t len, cap;
};
static struct history nodes_history, logs_history, epochs_history[CSIM_PARTITIONS_MAX];

#define CHECK(cond, ...) SIM_CHECK(&csim->base, cond, __VA_ARGS__)

/* ---- nodes ---- */

/* With an empty disk in place of the one that was lost. */
static bool comes_back(uint32_t node)
{
    bool lost = false;
    for (uint32_t i = 0; i < csim->options.nodes; i++)
        lost |= csim->hosts[i].node_id == node && csim->hosts[i].lost_log;
    return lost;
}

static void check_node(const struct node_entry *a, const struct node_entry *b)
{
    CHECK(b, "N-1: N%u is gone", a->id);
    CHECK(!a->tombstone || b->tombstone, "N-1: N%u comes back", a->id);
    if (b->tombstone) /* nothing is kept of it but the id */
        return;
    CHECK(strcmp(b->name, a->name) == 0, "N-1: N%u was %s", a->id, a->name);
    CHECK(b->generation >= a->generation && b->generation <= a->generation + 1,
          "N-2: N%u goes from generation %u to %u", a->id, a->generation, b->generation);
    CHECK(a->storage == STORAGE_PROVISIONING || b->storage != STORAGE_PROVISIONING,
          "N-6: the storage of N%u begins again", a->id);
    CHECK(a->storage != STORAGE_DATA_LOSS || b->storage == STORAGE_DATA_LOSS ||
              (b->storage == STORAGE_READ_WRITE && comes_back(a->id)),
          "N-6: N%u has found its data again", a->id);
}

static void check_nodes(struct arena *arena, struct slice before, struct slice after)
{
    struct nodes_config a, b;
    struct err err = {0};
    CHECK(nodes_config_decode(arena, before, &a, &err) == RC_OK, "%s", err.msg);
    CHECK(nodes_config_decode(arena, after, &b, &err) == RC_OK, "%s", err.msg);
    CHECK(a.cluster_fingerprint == b.cluster_fingerprint, "N-4: another fingerprint");
    for (size_t i = 0; i < a.n_nodes; i++)
        check_node(&a.nodes[i], nodes_config_by_id(&b, a.nodes[i].id));
    for (size_t i = 0; i < b.n_nodes; i++) {
        for (size_t k = 0; k < i; k++)
            CHECK(b.nodes[i].tombstone || b.nodes[k].tombstone || strcmp(b.nodes[i].name, b.nodes[k].name),
                  "N-1: two nodes with the name %s", b.nodes[i].name);
    }
}

/* ---- chains ---- */

static const struct log_segment *same_segment(const struct log_chain *c, const struct log_segment *s)
{
    for (size_t i = 0; i < c->n_segments; i++) {
        bool marker = c->segments[i].kind == SEGMENT_SEALED;
        if (c->segments[i].index == s->index && marker == (s->kind == SEGMENT_SEALED))
            return &c->segments[i];
    }
    return NULL;
}

/* What stood in a chain stays as it is until it is trimmed, except for the end: a marker gives way to a
 * segment, and so does an empty segment, at the same LSN. */
static void check_chain(const struct log_chain *a, const struct log_chain *b)
{
    for (size_t i = 0; i < a->n_segments; i++) {
        const struct log_segment *s = &a->segments[i], *t = same_segment(b, s);
        bool last = i + 1 == a->n_segments, trimmed = s->base_lsn < b->segments[0].base_lsn, replaced = false;
        for (size_t k = 0; k < b->n_segments; k++)
            replaced |= last && b->segments[k].base_lsn == s->base_lsn && b->segments[k].index >= s->index;
        CHECK(t || trimmed || replaced, "L-7: segment %u of log %u is gone", s->index, a->log_id);
        CHECK(!t || (t->base_lsn == s->base_lsn && strcmp(t->params, s->params) == 0),
              "L-7: segment %u of log %u has changed", s->index, a->log_id);
    }
    uint32_t highest = a->segments[a->n_segments - 1].index;
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct log_segment *s = &b->segments[i];
        CHECK(i == 0 || s->base_lsn >= b->segments[i - 1].base_lsn, "L-7: log %u goes back", b->log_id);
        CHECK(same_segment(a, s) || s->kind == SEGMENT_SEALED || s->index == highest + 1,
              "L-7: log %u goes on with segment %u behind %u", b->log_id, s->index, highest);
    }
}

static void check_logs(struct arena *arena, struct slice before, struct slice after)
{
    struct logs_config a, b;
    struct err err = {0};
    CHECK(logs_config_decode(arena, before, &a, &err) == RC_OK, "%s", err.msg);
    CHECK(logs_config_decode(arena, after, &b, &err) == RC_OK, "%s", err.msg);
    for (size_t i = 0; i < a.n_chains; i++) {
        const struct log_chain *c = logs_config_chain(&b, a.chains[i].log_id);
        CHECK(c, "L-7: log %u is gone", a.chains[i].log_id);
        check_chain(&a.chains[i], c);
    }
}

/* ---- epochs ---- */

static bool same_replicas(const struct partition_configuration *a, const struct partition_configuration *b)
{
    return a->n_replicas == b->n_replicas &&
           memcmp(a->replicas, b->replicas, a->n_replicas * sizeof(*a->replicas)) == 0;
}

static void check_epochs(struct arena *arena, uint32_t partition, struct slice before, struct slice after)
{
    struct epoch_metadata a, b;
    struct err err = {0};
    CHECK(epoch_metadata_decode(arena, before, partition, &a, &err) == RC_OK, "%s", err.msg);
    CHECK(epoch_metadata_decode(arena, after, partition, &b, &err) == RC_OK, "%s", err.msg);
    bool same = a.node_id == b.node_id && a.node_generation == b.node_generation;
    CHECK(b.epoch == a.epoch + 1 || (b.epoch == a.epoch && same),
          "P-1: partition %u goes from epoch %lu of N%u:%u to %lu of N%u:%u", partition,
          (unsigned long)a.epoch, a.node_id, a.node_generation, (unsigned long)b.epoch, b.node_id,
          b.node_generation);
    bool kept = b.current.version == a.current.version && same_replicas(&a.current, &b.current);
    bool completed = a.has_next && b.current.version == a.next.version && same_replicas(&a.next, &b.current);
    CHECK(kept || completed || a.current.n_replicas == 0,
          "P-5: the replicas of partition %u are not what was prepared", partition);
}

/* ---- what is seen ---- */

static struct history *history_of(struct slice key, uint32_t *partition)
{
    if (slice_eq_cstr(key, NODES_CONFIG_KEY))
        return &nodes_history;
    if (slice_eq_cstr(key, LOGS_CONFIG_KEY))
        return &logs_history;
    return epoch_key_parse(key, partition) && *partition < CSIM_PARTITIONS_MAX ? &epochs_history[*partition]
                                                                               : NULL;
}

static struct slice newest(const struct history *h)
{
    return h->len ? bytes_slice(h->items[h->len - 1].content) : SLICE_EMPTY;
}

/* L-11: who is disabled or removed is in no node set of a segment that is still in a chain. */
static void check_removed(void)
{
    struct arena arena = {0};
    struct nodes_config nodes;
    struct logs_config logs;
    struct err err = {0};
    if (!nodes_history.len || !logs_history.len)
        return;
    CHECK(nodes_config_decode(&arena, newest(&nodes_history), &nodes, &err) == RC_OK &&
              logs_config_decode(&arena, newest(&logs_history), &logs, &err) == RC_OK,
          "%s", err.msg);
    for (size_t i = 0; i < logs.n_chains; i++) {
        for (size_t k = 0; k < logs.chains[i].n_segments; k++) {
            const struct log_segment *s = &logs.chains[i].segments[k];
            struct loglet_params p;
            if (s->kind != SEGMENT_REPLICATED ||
                loglet_params_decode(slice_cstr(s->params), &p, &err) != RC_OK)
                continue;
            for (unsigned m = 0; m < p.nodeset.len; m++) {
                const struct node_entry *n = nodes_config_by_id(&nodes, p.nodeset.ids[m]);
                CHECK(n && !n->tombstone && n->storage != STORAGE_DISABLED,
                      "L-11: N%u was removed, and segment %u of log %u is on it", p.nodeset.ids[m], s->index,
                      logs.chains[i].log_id);
            }
        }
    }
    arena_free(&arena);
}

static bool names(const struct partition_configuration *c, uint32_t node)
{
    bool found = false;
    for (size_t i = 0; i < c->n_replicas; i++)
        found |= c->replicas[i] == node;
    return found;
}

bool csim_history_uses(uint32_t node)
{
    struct arena arena = {0};
    struct logs_config logs;
    struct epoch_metadata m;
    struct err err = {0};
    bool used = logs_config_decode(&arena, newest(&logs_history), &logs, &err) != RC_OK;
    for (size_t i = 0; !used && i < logs.n_chains; i++) {
        for (size_t k = 0; k < logs.chains[i].n_segments; k++) {
            struct loglet_params p;
            used |= loglet_params_decode(slice_cstr(logs.chains[i].segments[k].params), &p, &err) == RC_OK &&
                    nodeset_position(&p.nodeset, node) >= 0;
        }
    }
    for (uint32_t i = 0; i < csim->options.partitions && !used; i++)
        used = epoch_metadata_decode(&arena, newest(&epochs_history[i]), i, &m, &err) != RC_OK ||
               names(&m.current, node) || (m.has_next && names(&m.next, node));
    arena_free(&arena);
    return used;
}

/* The end of what is known of the logs. */
static void follow_chains(struct slice value)
{
    struct arena arena = {0};
    struct logs_config c;
    struct err err = {0};
    CHECK(logs_config_decode(&arena, value, &c, &err) == RC_OK, "%s", err.msg);
    for (size_t i = 0; i < c.n_chains; i++)
        csim_log_chain(&c.chains[i]);
    arena_free(&arena);
}

static void check_step(const struct history *h, uint32_t version, uint32_t partition)
{
    if (version == 0 || version >= h->len || !h->items[version].content.ptr ||
        !h->items[version - 1].content.ptr)
        return;
    struct arena arena = {0};
    struct slice before = bytes_slice(h->items[version - 1].content),
                 after = bytes_slice(h->items[version].content);
    if (h == &nodes_history)
        check_nodes(&arena, before, after);
    else if (h == &logs_history)
        check_logs(&arena, before, after);
    else
        check_epochs(&arena, partition, before, after);
    arena_free(&arena);
    csim->metadata_steps++;
}

void csim_history_see(const struct kv_entry *entry)
{
    uint32_t partition = 0;
    struct history *h = history_of(entry->key, &partition);
    if (!h)
        return;
    bool newest = entry->version >= h->len;
    while (h->len <= entry->version)
        VEC_PUSH(h, (struct value){0});
    struct value *value = &h->items[entry->version];
    CHECK(!value->content.ptr || slice_eq(bytes_slice(value->content), bytes_slice(entry->value)),
          "M-2: two values of %.*s v%u", SLICE_FMT(entry->key), entry->version);
    if (value->content.ptr)
        return;
    value->content = bytes_copy(bytes_slice(entry->value));
    check_step(h, entry->version, partition);
    check_step(h, entry->version + 1, partition);
    if (newest && h == &logs_history)
        follow_chains(bytes_slice(value->content));
    if (newest && (h == &logs_history || h == &nodes_history))
        check_removed();
}

bool __real_cluster_view_seen(struct cluster_view *v, const struct kv_entry *entry);
bool __wrap_cluster_view_seen(struct cluster_view *v, const struct kv_entry *entry);
bool __wrap_cluster_view_seen(struct cluster_view *v, const struct kv_entry *entry)
{
    csim_history_see(entry);
    return __real_cluster_view_seen(v, entry);
}

/* N-2: no two lives of nodes have the same id and generation. */
void csim_check_identity(struct csim_process *p)
{
    static struct {
        struct node_ref *items;
        size_t len, cap;
    } known;
    struct node_ref me = {p->node.joined.node_id, p->node.joined.generation};
    if (p->identified || !me.id)
        return;
    p->identified = true;
    p->host->node_id = me.id;
    for (size_t i = 0; i < known.len; i++)
        CHECK(!node_ref_eq(known.items[i], me), "N-2: two processes are N%u:%u", me.id, me.generation);
    VEC_PUSH(&known, me);
}

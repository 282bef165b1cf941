/* All chains at one version: see chain_set.h. */
#include "bifrost/chain_set.h"

#include <stdlib.h>

#include "base/containers.h"

struct chain chain_from_stored(const struct log_chain *stored)
{
    struct chain c = {.log_id = stored->log_id};
    for (size_t i = 0; i < stored->n_segments; i++) {
        const struct log_segment *s = &stored->segments[i];
        if (c.len == c.cap)
            c.segments = vec_grow(c.segments, &c.cap, c.len + 1, sizeof(*c.segments));
        c.segments[c.len++] =
            (struct chain_segment){s->base_lsn, s->index, s->kind, bytes_copy(slice_cstr(s->params))};
    }
    return c;
}

struct chain_set *chain_set_new(const struct logs_config *c)
{
    struct chain_set *s = xcalloc(1, sizeof(*s));
    atomic_init(&s->refs, 1);
    s->version = c->version;
    s->replication = c->provider == LOG_PROVIDER_REPLICATED ? c->replication : replication_nodes(1);
    s->target_nodeset_size = c->provider == LOG_PROVIDER_REPLICATED ? c->target_nodeset_size : 1;
    s->n = c->n_chains;
    s->chains = xcalloc(s->n + 1, sizeof(*s->chains));
    for (size_t i = 0; i < s->n; i++)
        s->chains[i] = chain_from_stored(&c->chains[i]);
    return s;
}

struct chain_set *chain_set_ref(struct chain_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void chain_set_unref(struct chain_set *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n; i++)
        chain_free(&s->chains[i]);
    free(s->chains);
    free(s);
}

const struct chain *chain_set_find(const struct chain_set *s, uint32_t log_id)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->chains[mid].log_id < log_id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n && s->chains[low].log_id == log_id ? &s->chains[low] : NULL;
}

/* ---- to the stored form ---- */

static uint64_t created_at(const struct log_chain *before, const struct chain_segment *s, uint64_t now)
{
    for (size_t i = 0; before && i < before->n_segments; i++) {
        if (before->segments[i].index == s->index && before->segments[i].kind == s->kind)
            return before->segments[i].created_at;
    }
    return now;
}

static struct log_chain to_stored(struct arena *a, const struct log_chain *before, const struct chain *chain,
                                  uint64_t now)
{
    struct log_chain out = {.log_id = chain->log_id,
                            .segments = arena_array(a, struct log_segment, chain->len)};
    for (size_t i = 0; i < chain->len; i++) {
        const struct chain_segment *s = &chain->segments[i];
        if (i + 1 < chain->len && chain->segments[i + 1].base_lsn == s->base_lsn)
            continue;
        out.segments[out.n_segments++] =
            (struct log_segment){.base_lsn = s->base_lsn,
                                 .kind = s->kind,
                                 .params = arena_copy_slice(a, bytes_slice(s->params)),
                                 .index = s->index,
                                 .created_at = created_at(before, s, now)};
    }
    return out;
}

void logs_config_put_chain(struct arena *a, struct logs_config *c, const struct chain *chain, uint64_t now)
{
    struct log_chain stored = to_stored(a, logs_config_chain(c, chain->log_id), chain, now);
    size_t at = 0;
    while (at < c->n_chains && c->chains[at].log_id < chain->log_id)
        at++;
    bool there = at < c->n_chains && c->chains[at].log_id == chain->log_id;
    struct log_chain *chains = arena_array(a, struct log_chain, c->n_chains + 1);
    if (at)
        memcpy(chains, c->chains, at * sizeof(*chains));
    chains[at] = stored;
    size_t rest = c->n_chains - at - there;
    if (rest)
        memcpy(chains + at + 1, c->chains + at + there, rest * sizeof(*chains));
    c->chains = chains;
    c->n_chains += !there;
}

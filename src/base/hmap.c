/* Hash map of intrusive nodes: power-of-two buckets, chains, doubled when full (base/containers.h). */
#include <stdlib.h>

#include "base/containers.h"

#define HMAP_MIN_BUCKETS 16

void hmap_init(struct hmap *m)
{
    *m = (struct hmap){NULL, 0, 0};
}

void hmap_free(struct hmap *m)
{
    free(m->buckets);
    hmap_init(m);
}

/* Callers' hashes may be weak in the low bits (small integers, addresses): spread them over the index. */
static size_t hmap_index(const struct hmap *m, uint64_t hash)
{
    return (size_t)((hash * 0x9e3779b97f4a7c15ull) >> 32) & m->mask;
}

static void hmap_grow(struct hmap *m)
{
    struct hmap old = *m;
    size_t n = old.buckets ? (old.mask + 1) * 2 : HMAP_MIN_BUCKETS;
    m->buckets = xcalloc(n, sizeof(*m->buckets));
    m->mask = n - 1;
    for (size_t i = 0; old.buckets && i <= old.mask; i++) {
        for (struct hmap_node *node = old.buckets[i], *next; node; node = next) {
            next = node->next;
            struct hmap_node **head = &m->buckets[hmap_index(m, node->hash)];
            node->next = *head;
            *head = node;
        }
    }
    free(old.buckets);
}

void hmap_insert(struct hmap *m, struct hmap_node *n, uint64_t hash)
{
    /* The index uses 32 mixed bits, so the table never usefully exceeds 2^32 buckets. */
    if (!m->buckets || (m->count > m->mask && m->mask < UINT32_MAX))
        hmap_grow(m);
    n->hash = hash;
    struct hmap_node **head = &m->buckets[hmap_index(m, hash)];
    n->next = *head;
    *head = n;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *n)
{
    ASSERT(m->buckets);
    struct hmap_node **at = &m->buckets[hmap_index(m, n->hash)];
    while (*at && *at != n)
        at = &(*at)->next;
    ASSERT_MSG(*at == n, "node is not in the map");
    *at = n->next;
    n->next = NULL;
    m->count--;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    if (!m->buckets)
        return NULL;
    struct hmap_node *n = m->buckets[hmap_index(m, hash)];
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct hmap_node *hmap_next_same(const struct hmap_node *n)
{
    struct hmap_node *next = n->next;
    while (next && next->hash != n->hash)
        next = next->next;
    return next;
}

/* Return the node fetched ahead and fetch the following one. */
struct hmap_node *hmap_step(const struct hmap *m, struct hmap_iter *it)
{
    struct hmap_node *current = it->ahead;
    if (!current)
        return NULL;
    it->ahead = current->next;
    while (!it->ahead && it->bucket < m->mask)
        it->ahead = m->buckets[++it->bucket];
    return current;
}

struct hmap_node *hmap_begin(const struct hmap *m, struct hmap_iter *it)
{
    *it = (struct hmap_iter){0, NULL};
    if (!m->buckets || m->count == 0)
        return NULL;
    it->ahead = m->buckets[0];
    while (!it->ahead && it->bucket < m->mask)
        it->ahead = m->buckets[++it->bucket];
    return hmap_step(m, it);
}

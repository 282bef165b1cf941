/* Intrusive containers. Elements embed the node; nothing here allocates except hmap's bucket array and
 * heap's slot array. None is thread-safe: one owner per object (principle 3). */
#pragma once
#include "base/bytes.h"

/* ---- doubly linked list; the head is a sentinel ---- */
struct list {
    struct list *prev, *next;
};
static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
/* True if the node is on some list (needs list_init or list_remove before). */
static inline bool list_linked(const struct list *n)
{
    return n->next != n;
}
static inline void list_insert_before(struct list *pos, struct list *n)
{
    n->prev = pos->prev;
    n->next = pos;
    pos->prev->next = n;
    pos->prev = n;
}
static inline void list_push_back(struct list *head, struct list *n)
{
    list_insert_before(head, n);
}
static inline void list_push_front(struct list *head, struct list *n)
{
    list_insert_before(head->next, n);
}
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
static inline struct list *list_pop_front(struct list *head)
{
    struct list *n = head->next;
    if (n == head)
        return NULL;
    list_remove(n);
    return n;
}
/* Move all nodes of `from` to the end of `to`. */
void list_splice(struct list *to, struct list *from);
#define LIST_FOREACH(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
#define LIST_FOREACH_SAFE(pos, tmp, head)                                                                    \
    for (struct list *pos = (head)->next, *tmp = pos->next; pos != (head); pos = tmp, tmp = pos->next)

/* ---- hash map of intrusive nodes, chained; the caller compares keys ----
 * Iteration order depends on hashes and history: never let it reach anything deterministic. */
struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};
struct hmap {
    struct hmap_node **buckets;
    size_t mask; /* bucket count - 1; 0 buckets while NULL */
    size_t count;
};
void hmap_init(struct hmap *m);
void hmap_free(struct hmap *m); /* frees the bucket array, not the nodes */
void hmap_insert(struct hmap *m, struct hmap_node *n, uint64_t hash); /* duplicates allowed */
void hmap_remove(struct hmap *m, struct hmap_node *n);
/* First node with this hash, then the next one; the caller checks the key. */
struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_next_same(const struct hmap_node *n);
/* Whole-map iteration; the current node may be removed and freed before the next call if `it` was
 * advanced first: `for (n = hmap_begin(m, &it); n; n = hmap_step(m, &it))` fetches ahead for that. */
struct hmap_iter {
    size_t bucket;
    struct hmap_node *ahead;
};
struct hmap_node *hmap_begin(const struct hmap *m, struct hmap_iter *it);
struct hmap_node *hmap_step(const struct hmap *m, struct hmap_iter *it);

/* ---- ordered map (balanced tree) of intrusive nodes ----
 * The comparison must be a total order. In-order iteration is deterministic. */
struct omap_node {
    struct omap_node *parent, *left, *right;
    int balance;
};
typedef int (*omap_cmp_fn)(const struct omap_node *a, const struct omap_node *b);
/* Compare a search key with a node: <0 if key sorts before the node. */
typedef int (*omap_key_fn)(const void *key, const struct omap_node *n);
struct omap {
    struct omap_node *root;
    size_t count;
    omap_cmp_fn cmp;
};
void omap_init(struct omap *m, omap_cmp_fn cmp);
/* Returns NULL if inserted, else the equal node that is already there (nothing is changed). */
struct omap_node *omap_insert(struct omap *m, struct omap_node *n);
void omap_remove(struct omap *m, struct omap_node *n);
struct omap_node *omap_find(const struct omap *m, const void *key, omap_key_fn key_cmp);
struct omap_node *omap_lower_bound(const struct omap *m, const void *key,
                                   omap_key_fn key_cmp); /* first >= key */
struct omap_node *omap_first(const struct omap *m);
struct omap_node *omap_last(const struct omap *m);
struct omap_node *omap_next(const struct omap_node *n);

/* ---- binary min-heap of intrusive nodes, ties broken by insertion order (deterministic) ---- */
struct heap_node {
    uint64_t key;
    uint64_t order;
    size_t index; /* HEAP_NONE when not in a heap */
};
#define HEAP_NONE ((size_t)-1)
struct heap {
    struct heap_node **slots;
    size_t count, cap;
    uint64_t next_order;
};
void heap_init(struct heap *h);
void heap_free(struct heap *h);
static inline void heap_node_init(struct heap_node *n)
{
    n->index = HEAP_NONE;
}
static inline bool heap_linked(const struct heap_node *n)
{
    return n->index != HEAP_NONE;
}
void heap_push(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n);
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->count ? h->slots[0] : NULL;
}
struct heap_node *heap_pop(struct heap *h);

/* ---- growing array: `struct { T *items; size_t len, cap; } v = {0};` ---- */
void *vec_grow(void *items, size_t *cap, size_t need, size_t item_size);
#define VEC_PUSH(v, value)                                                                                   \
    do {                                                                                                     \
        if ((v)->len == (v)->cap)                                                                            \
            (v)->items = vec_grow((v)->items, &(v)->cap, (v)->len + 1, sizeof(*(v)->items));                 \
        (v)->items[(v)->len++] = (value);                                                                    \
    } while (0)
#define VEC_FREE(v)                                                                                          \
    do {                                                                                                     \
        free((v)->items);                                                                                    \
        (v)->items = NULL;                                                                                   \
        (v)->len = (v)->cap = 0;                                                                             \
    } while (0)

/* Binary min-heap of intrusive nodes; equal keys leave in the order they came (base/containers.h). */
#include <stdlib.h>

#include "base/containers.h"

void heap_init(struct heap *h)
{
    *h = (struct heap){NULL, 0, 0, 0};
}

void heap_free(struct heap *h)
{
    free(h->slots);
    heap_init(h);
}

static bool heap_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

static void heap_place(struct heap *h, size_t i, struct heap_node *n)
{
    h->slots[i] = n;
    n->index = i;
}

static void heap_sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0 && heap_before(n, h->slots[(i - 1) / 2])) {
        heap_place(h, i, h->slots[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(h, i, n);
}

static void heap_sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && heap_before(h->slots[child + 1], h->slots[child]))
            child++;
        if (!heap_before(h->slots[child], n))
            break;
        heap_place(h, i, h->slots[child]);
    }
    heap_place(h, i, n);
}

void heap_push(struct heap *h, struct heap_node *n, uint64_t key)
{
    ASSERT(n->index == HEAP_NONE);
    if (h->count == h->cap)
        h->slots = vec_grow(h->slots, &h->cap, h->count + 1, sizeof(*h->slots));
    n->key = key;
    n->order = h->next_order++;
    heap_sift_up(h, h->count++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    size_t i = n->index;
    ASSERT(i < h->count && h->slots[i] == n);
    n->index = HEAP_NONE;
    struct heap_node *last = h->slots[--h->count];
    if (last == n)
        return;
    if (i > 0 && heap_before(last, h->slots[(i - 1) / 2]))
        heap_sift_up(h, i, last);
    else
        heap_sift_down(h, i, last);
}

struct heap_node *heap_pop(struct heap *h)
{
    struct heap_node *n = heap_min(h);
    if (n)
        heap_remove(h, n);
    return n;
}

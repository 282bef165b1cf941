/* The one list operation that is not inline, and the growing array (base/containers.h). */
#include "base/containers.h"

void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    struct list *first = from->next, *last = from->prev;
    first->prev = to->prev;
    to->prev->next = first;
    last->next = to;
    to->prev = last;
    list_init(from);
}

void *vec_grow(void *items, size_t *cap, size_t need, size_t item_size)
{
    ASSERT(item_size > 0 && need < SIZE_MAX / 2 / item_size);
    if (need <= *cap)
        return items;
    size_t first = item_size < 64 ? 8 : 2; /* most lists of large items stay short: journals, sinks */
    size_t grown = MAX(*cap * 2, first);
    *cap = MAX(grown, need);
    return xrealloc(items, *cap * item_size);
}

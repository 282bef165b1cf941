/* The bump allocator of the metadata room: see arena.h. */
#include "metadata/arena.h"

#include <stdlib.h>

#define BLOCK_SIZE 4096u
#define ALIGNMENT  16u

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(ALIGNMENT) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
    ASSERT(size <= SIZE_MAX / 2);
    size_t need = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!a->head || a->head->cap - a->head->used < need) {
        size_t cap = MAX(need, (size_t)BLOCK_SIZE);
        struct arena_block *b = xcalloc(1, sizeof(*b) + cap);
        b->cap = cap;
        b->next = a->head;
        a->head = b;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += need;
    return p;
}

char *arena_copy_slice(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

char *arena_copy_text(struct arena *a, const char *text)
{
    return text ? arena_copy_slice(a, slice_cstr(text)) : NULL;
}

void arena_free(struct arena *a)
{
    while (a->head) {
        struct arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
}

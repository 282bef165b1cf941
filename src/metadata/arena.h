/* A bump allocator: many small allocations that live and die together (one deployment of the schema, one
 * parsed manifest). Not thread-safe. */
#pragma once
#include "base/bytes.h"

struct arena_block;
struct arena {
    struct arena_block *head;
};

/* Zeroed memory, aligned for any type; lives until arena_free. */
void *arena_alloc(struct arena *a, size_t size);
#define arena_array(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))
char *arena_copy_text(struct arena *a, const char *text); /* NULL in, NULL out */
char *arena_copy_slice(struct arena *a, struct slice s);  /* NUL-terminated */
void arena_free(struct arena *a);

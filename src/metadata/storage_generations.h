/* Log-servers that came back with an empty disk under their old name (BETTER B14): of each the disk that
 * counts now, and what the one before it held and is lost. Value `log_server_storage`; absent until the first
 * time. A node that lost its disk writes its entry before its new one serves anything.
 *
 * The segments that existed when the disk was lost are named by the last index of each log: indexes are never
 * reused, so every later segment has a higher one. */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"

#define STORAGE_GENERATIONS_KEY "log_server_storage"

struct lost_log {
    uint32_t log_id;
    uint32_t last_index; /* this segment and all before it */
};
struct storage_generation {
    uint32_t node_id;
    uint64_t created_at; /* ms, as in the storage marker of the disk that counts */
    struct lost_log *lost;
    size_t n_lost;
};
struct storage_generations {
    uint32_t version; /* 0: there is no such value yet */
    struct storage_generation *nodes;
    size_t n_nodes;
};
void storage_generations_encode(struct writer *w, const struct storage_generations *g);
/* RC_CORRUPT. Arrays live in `a`. */
enum rc storage_generations_decode(struct arena *a, struct slice stored, struct storage_generations *out,
                                   struct err *err);
/* NULL: the node still has its first disk, as far as anybody knows. */
const struct storage_generation *storage_generation_of(const struct storage_generations *g, uint32_t node_id);
/* Did the node have this segment on a disk that is lost? */
bool storage_generation_lost(const struct storage_generation *g, uint32_t log_id, uint32_t index);
/* Insert or replace; the version goes up by one. The array is moved to `a`, `entry`'s is not copied. */
void storage_generations_put(struct arena *a, struct storage_generations *g,
                             const struct storage_generation *entry);

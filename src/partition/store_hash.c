/* The state hash: one number chained over every mutation in the order made, so that replicas at equal LSN can
 * be compared (B2). It depends on what was applied only: not on caching, flushing, eviction, or the
 * partition's id. */
#include "partition/store_internal.h"

#define HASH_WHOLE 16384
#define HASH_END   4096

uint64_t hash_value(struct slice value)
{
    if (value.len <= HASH_WHOLE)
        return hash64(value);
    uint64_t h = hash64(slice_sub(value, 0, HASH_END));
    h = hash64_combine(h, hash64(slice_sub(value, value.len - HASH_END, HASH_END)));
    return hash64_combine(h, value.len);
}

uint64_t hash_id(struct invocation_id id)
{
    return hash64_combine(hash64_combine(id.partition_key, id.uuid.hi), id.uuid.lo);
}

void store_mutated(struct partition_store *s, enum mutation kind, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t parts[5] = {s->vars.state_hash, kind, a, b, c};
    s->vars.state_hash = hash64(slice_make(parts, sizeof(parts)));
}

static uint64_t hash_sinks(const struct invocation *inv)
{
    uint64_t h = inv->sinks.len;
    for (size_t i = 0; i < inv->sinks.len; i++) {
        const struct sink *k = &inv->sinks.items[i];
        h = hash64_combine(h, k->kind);
        if (k->kind == SINK_INVOCATION)
            h = hash64_combine(hash64_combine(h, hash_id(k->caller)), k->completion_id);
        else if (k->kind == SINK_INGRESS)
            h = hash64_combine(hash64_combine(h, k->request_id.hi), k->request_id.lo);
    }
    return h;
}

static uint64_t hash_queue(const struct queue_history *q)
{
    const uint64_t parts[] = {q->attempts,    q->errors,           q->pauses,
                              q->suspensions, q->first_attempt_at, q->latest_attempt_at,
                              q->moved_at,    q->backing_off};
    return q->moved_at ? hash64(slice_make(parts, sizeof(parts))) : 0;
}

/* The fields as they are at the end of the record that changed them. Journal and events are chained when
 * appended. */
void store_hash_invocation(struct partition_store *s, struct invocation *inv)
{
    inv->store_flags &= ~(uint32_t)INV_TOUCHED;
    const struct invocation_timestamps *at = &inv->at;
    uint64_t flags = (uint64_t)inv->status | (uint64_t)inv->pinned << 8 |
                     (uint64_t)inv->has_random_seed << 9 | (uint64_t)inv->quarantined << 10 |
                     (uint64_t)inv->awaiting.is_tree << 11 | (uint64_t)inv->result.kind << 12 |
                     (uint64_t)inv->protocol_version << 32;
    uint64_t origin = 0;
    if (!(inv->store_flags & INV_HASHED)) {
        inv->store_flags |= INV_HASHED;
        origin = hash_value(bytes_slice(inv->origin));
    }
    const uint64_t parts[] = {flags,
                              origin,
                              at->created_at,
                              at->modified_at,
                              at->inboxed_at,
                              at->scheduled_at,
                              at->running_at,
                              at->completed_at,
                              inv->inbox_seq ^ (inv->backoff.resume_at_ms << 20) ^
                                  (uint64_t)inv->backoff.retries << 8 ^ inv->backoff.retries_since_command ^
                                  hash_queue(&inv->queue),
                              inv->random_seed,
                              inv->deployment_id.hi,
                              inv->deployment_id.lo,
                              inv->sinks.len ? hash_sinks(inv) : 0,
                              inv->awaiting.encoded.len ? hash_value(bytes_slice(inv->awaiting.encoded)) : 0,
                              inv->result.value.len ? hash_value(inv->result.value) : 0};
    store_mutated(s, MUT_INVOCATION, hash_id(inv->id), hash64(slice_make(parts, sizeof(parts))),
                  inv->commands);
}

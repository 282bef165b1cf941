/* Bytes of one stream that wait for room on the connection: a ring of references. Private to http/. */
#pragma once
#include <stdlib.h>

#include "base/bytes.h"

#define OUT_QUEUE_INLINE 4

struct out_queue {
    struct bytes *items; /* `first` until more slots are needed */
    size_t head, count, cap;
    size_t total; /* bytes */
    struct bytes first[OUT_QUEUE_INLINE];
};

static inline void out_queue_init(struct out_queue *q)
{
    q->items = q->first;
    q->cap = OUT_QUEUE_INLINE;
    q->head = q->count = q->total = 0;
}
/* The oldest item. The queue must not be empty. */
static inline struct bytes *out_queue_front(struct out_queue *q)
{
    ASSERT(q->count > 0);
    return &q->items[q->head];
}
/* Consumes the reference; empty bytes are dropped. */
void out_queue_push(struct out_queue *q, struct bytes take);
/* Up to `max` bytes of the oldest item; the caller owns the reference. */
struct bytes out_queue_take(struct out_queue *q, size_t max);
/* Drop everything and free extra slots; the queue can be used again. */
void out_queue_clear(struct out_queue *q);

/* A ring of byte references (http/out_queue.h). */
#include "http/out_queue.h"

static void out_queue_grow(struct out_queue *q)
{
    size_t cap = q->cap * 2;
    struct bytes *items = xmalloc(cap * sizeof(*items));
    for (size_t i = 0; i < q->count; i++)
        items[i] = q->items[(q->head + i) % q->cap];
    if (q->items != q->first)
        free(q->items);
    q->items = items;
    q->cap = cap;
    q->head = 0;
}

void out_queue_push(struct out_queue *q, struct bytes take)
{
    if (take.len == 0) {
        bytes_unref(&take);
        return;
    }
    if (q->count == q->cap)
        out_queue_grow(q);
    q->items[(q->head + q->count) % q->cap] = take;
    q->count++;
    q->total += take.len;
}

struct bytes out_queue_take(struct out_queue *q, size_t max)
{
    struct bytes *front = out_queue_front(q);
    struct bytes out;
    if (front->len <= max) {
        out = *front;
        *front = BYTES_EMPTY;
        q->head = (q->head + 1) % q->cap;
        q->count--;
    } else {
        out = bytes_part(*front, slice_make(front->ptr, max));
        front->ptr += max;
        front->len -= max;
    }
    q->total -= out.len;
    return out;
}

void out_queue_clear(struct out_queue *q)
{
    while (q->count) {
        struct bytes b = out_queue_take(q, SIZE_MAX);
        bytes_unref(&b);
    }
    if (q->items != q->first)
        free(q->items);
    out_queue_init(q);
}

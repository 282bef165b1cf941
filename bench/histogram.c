/* Log-linear histogram: bucket number = magnitude (power of two) and the next seven bits of the value. */
#include "histogram.h"

#include <string.h>

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
}

static uint32_t bucket_of(uint64_t us)
{
    if (us < HISTOGRAM_SUBS)
        return (uint32_t)us;
    uint32_t magnitude = 63 - (uint32_t)__builtin_clzll(us); /* >= SUB_BITS */
    uint32_t shift = magnitude - HISTOGRAM_SUB_BITS;
    uint32_t sub = (uint32_t)(us >> shift) - HISTOGRAM_SUBS;
    uint32_t bucket = (shift + 1) * HISTOGRAM_SUBS + sub;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_upper_edge(uint32_t bucket)
{
    if (bucket < HISTOGRAM_SUBS)
        return bucket;
    uint32_t shift = bucket / HISTOGRAM_SUBS - 1;
    uint64_t sub = bucket % HISTOGRAM_SUBS + HISTOGRAM_SUBS;
    return ((sub + 1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t us)
{
    h->count++;
    h->sum_us += us;
    if (us > h->max_us)
        h->max_us = us;
    h->buckets[bucket_of(us)]++;
}

uint64_t histogram_quantile(const struct histogram *h, double fraction)
{
    if (h->count == 0)
        return 0;
    uint64_t rank = (uint64_t)((double)h->count * fraction);
    if (rank >= h->count)
        rank = h->count - 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank) {
            uint64_t edge = bucket_upper_edge(i);
            return edge < h->max_us ? edge : h->max_us;
        }
    }
    return h->max_us;
}

uint64_t histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum_us / h->count : 0;
}

/* Token buckets: see throttle.h. */
#include "invoker/throttle.h"

#define NS_PER_MS  1000000
#define LONGEST_NS (INT64_MAX / 8)

void throttle_set(struct throttle *t, double per_second, double burst)
{
    double interval = per_second > 0 ? 1e9 / per_second : 0;
    double full = interval * burst;
    atomic_store(&t->full_ns, full < (double)LONGEST_NS ? (int64_t)full : LONGEST_NS);
    if (atomic_load(&t->interval_ns) == 0)
        atomic_store(&t->empty_at_ns, -LONGEST_NS); /* begins full */
    atomic_store(&t->interval_ns, interval > 0 && interval < 1 ? 1 : (int64_t)interval);
}

uint64_t throttle_reserve(struct throttle *t, uint64_t n, uint64_t now_mono_ms)
{
    int64_t interval = atomic_load(&t->interval_ns), now = (int64_t)now_mono_ms * NS_PER_MS, cost;
    if (interval == 0)
        return 0;
    if (__builtin_mul_overflow(interval, n, &cost) || cost > LONGEST_NS)
        cost = LONGEST_NS;
    int64_t full = atomic_load(&t->full_ns), old = atomic_load(&t->empty_at_ns), empty_at;
    do {
        empty_at = MIN(MAX(old, now - full) + cost, now + LONGEST_NS);
    } while (!atomic_compare_exchange_weak(&t->empty_at_ns, &old, empty_at));
    return empty_at > now ? (uint64_t)(empty_at - now + NS_PER_MS - 1) / NS_PER_MS : 0;
}

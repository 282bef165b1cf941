/* Latency histogram: log-linear buckets of 1/128 relative width over microseconds, constant memory, no
 * allocation while recording. Used by the load generator and by the endpoint's wake-up lag. */
#pragma once
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_SUBS     (1u << HISTOGRAM_SUB_BITS)
/* Values up to 2^40 us (12 days); larger ones count as the largest. */
#define HISTOGRAM_BUCKETS  ((40 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUBS)

struct histogram {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t us);
/* Upper edge of the bucket that holds the value of rank `fraction` (0..1); 0 if nothing was recorded. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);
uint64_t histogram_mean(const struct histogram *h);

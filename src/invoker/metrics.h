/* Metrics of the invoker (spec/config.md §5.3; docs/metrics.md). Series are looked up once per loop or
 * partition; updating one is an atomic addition. */
#pragma once
#include <stdint.h>

struct attempt;
struct metric;

enum carrier_type { CARRIER_BIDI, CARRIER_REQUEST_RESPONSE, CARRIER_LAMBDA, CARRIER_TYPES };
enum task_result { TASK_STARTED, TASK_SUSPENDED, TASK_FAILED, TASK_COMPLETED, TASK_RESULTS };

struct invoker_metrics {
    struct metric *task_duration, *slots_acquired, *slots_released, *concurrency_limit, *eager_truncated;
    struct metric *sent[CARRIER_TYPES], *received[CARRIER_TYPES];
    struct metric *requests[CARRIER_TYPES][600]; /* by HTTP status, made when first seen */
    struct metric *commands[32];                 /* by command type from 0x0400, made when first seen */
};
struct invoker_partition_metrics {
    struct metric *enqueued, *tasks[TASK_RESULTS];
};
void invoker_metrics_init(struct invoker_metrics *m);
void invoker_partition_metrics_init(struct invoker_partition_metrics *m, uint16_t partition_id);
/* An answer's status. */
void invoker_metrics_status(struct invoker_metrics *m, enum carrier_type type, int status);
/* A command was taken from an SDK. */
void invoker_metrics_command(struct invoker_metrics *m, uint16_t type);
/* The attempt is over: counts only once. */
void attempt_metrics_end(struct attempt *a, enum task_result result);

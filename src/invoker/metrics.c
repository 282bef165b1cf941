/* Implementation of invoker/metrics.h. */
#include "invoker/metrics.h"

#include <stdio.h>

#include "base/metrics.h"
#include "invoker/invoker_internal.h"

static const char *const carrier_names[CARRIER_TYPES] = {
    [CARRIER_BIDI] = "Http/bidi-stream",
    [CARRIER_REQUEST_RESPONSE] = "Http/request-response",
    [CARRIER_LAMBDA] = "Lambda",
};

void invoker_metrics_init(struct invoker_metrics *m)
{
    m->task_duration =
        metric_summary("restate_invoker_task_duration_seconds", NULL, "Duration of attempts of invocations");
    m->slots_acquired = metric_counter("restate_invoker_concurrency_slots_acquired", NULL,
                                       "Slots for running invocations that were taken");
    m->slots_released = metric_counter("restate_invoker_concurrency_slots_released", NULL,
                                       "Slots for running invocations that were given back");
    m->concurrency_limit = metric_gauge("restate_invoker_concurrency_limit", NULL,
                                        "Invocations that may run at a time per partition");
    m->eager_truncated = metric_counter("restate_invoker_eager_state_truncated_total", NULL,
                                        "Attempts that were not sent all of their eager state");
    for (int t = 0; t < CARRIER_TYPES; t++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "type=\"%s\"", carrier_names[t]);
        m->sent[t] = metric_counter("restate_invoker_sent_bytes_total", labels, "Bytes sent to deployments");
        m->received[t] =
            metric_counter("restate_invoker_received_bytes_total", labels, "Bytes received from deployments");
    }
}

void invoker_partition_metrics_init(struct invoker_partition_metrics *m, uint16_t partition_id)
{
    static const char *const results[TASK_RESULTS] = {"started", "suspended", "failed", "completed"};
    char labels[64];
    snprintf(labels, sizeof(labels), "partition_id=\"%u\"", partition_id);
    m->enqueued =
        metric_counter("restate_invoker_enqueue_total", labels, "Invocations handed to the invoker");
    for (int r = 0; r < TASK_RESULTS; r++) {
        snprintf(labels, sizeof(labels), "status=\"%s\",partition_id=\"%u\"", results[r], partition_id);
        m->tasks[r] =
            metric_counter("restate_invoker_invocation_tasks_total", labels, "Attempts of invocations");
    }
}

void invoker_metrics_status(struct invoker_metrics *m, enum carrier_type type, int status)
{
    if (status < 0 || status >= (int)ARRAY_LEN(m->requests[0]))
        return;
    struct metric **counter = &m->requests[type][status];
    if (!*counter) {
        char labels[96];
        snprintf(labels, sizeof(labels), "type=\"%s\",status_code=\"%d\"", carrier_names[type], status);
        *counter = metric_counter("restate_invoker_client_requests_total", labels,
                                  "Requests to deployments by the status of the answer");
    }
    metric_inc(*counter);
}

void invoker_metrics_command(struct invoker_metrics *m, uint16_t type)
{
    unsigned i = type & (ARRAY_LEN(m->commands) - 1);
    if (!m->commands[i]) {
        char labels[96];
        snprintf(labels, sizeof(labels), "entry=\"Command/%s\"", message_type_name(type));
        m->commands[i] = metric_counter("restate_usage_leader_journal_entry_count_total", labels,
                                        "Commands taken from services");
    }
    metric_inc(m->commands[i]);
}

void attempt_metrics_end(struct attempt *a, enum task_result result)
{
    if (!a->counted_task || !a->entry)
        return;
    a->counted_task = false;
    struct invoker_partition *p = a->entry->p;
    metric_inc(p->metrics.tasks[result]);
    metric_observe_us(p->inv->metrics.task_duration, (env_mono_ms(p->inv->env) - a->started_mono_ms) * 1000);
}

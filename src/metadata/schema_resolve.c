/* Options of handler, service and server put together: spec/invocation-lifecycle.md §4.5 (retention), §9.2,
 * §9.3. */
#include <math.h>

#include "metadata/schema.h"

static uint64_t first_set(uint64_t handler, uint64_t service, uint64_t server)
{
    if (handler != OPTION_UNSET)
        return handler;
    return service != OPTION_UNSET ? service : server;
}

void schema_resolve_retention(const struct schema_defaults *d, const struct schema_handler *h,
                              bool has_idempotency_key, uint64_t *completion_ms, uint64_t *journal_ms)
{
    const struct service_options *ho = &h->options, *so = &h->service->options;
    /* OPTION_UNSET is the largest number: an absent cap never wins a MIN. */
    uint64_t journal = first_set(ho->journal_retention_ms, so->journal_retention_ms, d->journal_retention_ms);
    journal = journal == OPTION_UNSET ? 0 : MIN(journal, d->max_journal_retention_ms);
    if (h->kind != TARGET_WORKFLOW_RUN && !has_idempotency_key) {
        *completion_ms = *journal_ms = journal;
        return;
    }
    uint64_t completion;
    if (h->kind == TARGET_WORKFLOW_RUN)
        completion = MIN(first_set(ho->workflow_completion_retention_ms, so->workflow_completion_retention_ms,
                                   d->workflow_completion_retention_ms),
                         d->max_workflow_completion_retention_ms);
    else
        completion = MIN(first_set(ho->idempotency_retention_ms, so->idempotency_retention_ms,
                                   d->idempotency_retention_ms),
                         d->max_idempotency_retention_ms);
    *completion_ms = completion;
    *journal_ms = MIN(journal, completion);
}

void schema_resolve_options(const struct schema_defaults *d, const struct schema_handler *h,
                            struct invocation_options *out)
{
    const struct service_options *ho = &h->options, *so = &h->service->options;
    out->inactivity_timeout_ms =
        first_set(ho->inactivity_timeout_ms, so->inactivity_timeout_ms, d->inactivity_timeout_ms);
    if (h->service->deployment && h->service->deployment->request_response)
        out->inactivity_timeout_ms = 0;
    out->abort_timeout_ms = first_set(ho->abort_timeout_ms, so->abort_timeout_ms, d->abort_timeout_ms);
    int8_t lazy = ho->enable_lazy_state >= 0 ? ho->enable_lazy_state : so->enable_lazy_state;
    out->lazy_state = lazy >= 0 ? lazy == 1 : d->disable_eager_state;
    out->retry_initial_interval_ms =
        first_set(ho->retry_initial_interval_ms, so->retry_initial_interval_ms, d->retry_initial_interval_ms);
    out->retry_max_interval_ms =
        first_set(ho->retry_max_interval_ms, so->retry_max_interval_ms, d->retry_max_interval_ms);
    out->retry_max_attempts =
        first_set(ho->retry_max_attempts, so->retry_max_attempts, d->retry_max_attempts);
    out->retry_max_attempts = MIN(out->retry_max_attempts, d->retry_max_attempts_cap);
    out->retry_factor = !isnan(ho->retry_factor)   ? ho->retry_factor
                        : !isnan(so->retry_factor) ? so->retry_factor
                                                   : d->retry_factor;
    int8_t on_max = ho->retry_on_max_attempts >= 0 ? ho->retry_on_max_attempts : so->retry_on_max_attempts;
    out->retry_on_max_attempts = on_max >= 0 ? (enum on_max_attempts)on_max : d->retry_on_max_attempts;
}

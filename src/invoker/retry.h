/* The retry policy of an invocation (spec/service-protocol.md §9.3, spec/invocation-lifecycle.md §9.3). Pure
 * functions. */
#pragma once
#include "metadata/schema.h"

/* `retries_made`: retries that consumed an attempt so far. False: exhausted (max-attempts counts the first
 * execution). Else the waiting time before the next attempt: min(initial * factor^retries_made, max) plus up
 * to 30 % chosen by `random`. Computed from the count, so a policy of another deployment starts advanced by
 * the attempts already made. */
bool retry_policy_next(const struct invocation_options *o, uint32_t retries_made, uint64_t random,
                       uint64_t *delay_ms);

/* Value of a Retry-After header: integer seconds, or a date in the future. False if it is neither. */
bool retry_after_parse(struct slice value, uint64_t now_wall_ms, uint64_t *delay_ms);

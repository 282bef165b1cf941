/* Retry delays: see retry.h. */
#include "invoker/retry.h"

#include <math.h>

#include "base/time.h"

bool retry_policy_next(const struct invocation_options *o, uint32_t retries_made, uint64_t random,
                       uint64_t *delay_ms)
{
    if (o->retry_max_attempts != RETRY_UNLIMITED && (uint64_t)retries_made + 1 >= o->retry_max_attempts)
        return false;
    double factor = isnan(o->retry_factor) || o->retry_factor < 1.0 ? 1.0 : o->retry_factor;
    double delay = (double)o->retry_initial_interval_ms * pow(factor, (double)retries_made);
    /* Comparison before conversion: pow overflows to infinity after enough attempts. */
    if (!(delay < (double)o->retry_max_interval_ms))
        delay = (double)o->retry_max_interval_ms;
    double jitter = delay * 0.3 * ((double)(random >> 11) / 9007199254740992.0);
    double total = delay + jitter;
    *delay_ms = total < 9e15 ? (uint64_t)total : (uint64_t)9e15;
    return true;
}

#define RETRY_AFTER_MAX_S (10ull * 365 * 24 * 3600)

bool retry_after_parse(struct slice value, uint64_t now_wall_ms, uint64_t *delay_ms)
{
    while (value.len > 0 && value.ptr[0] == ' ')
        value = slice_sub(value, 1, value.len - 1);
    while (value.len > 0 && value.ptr[value.len - 1] == ' ')
        value.len--;
    if (value.len == 0)
        return false;
    uint64_t seconds = 0;
    size_t i = 0;
    for (; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++)
        seconds = MIN(seconds * 10 + (uint64_t)(value.ptr[i] - '0'), RETRY_AFTER_MAX_S);
    if (i == value.len) {
        *delay_ms = seconds * 1000;
        return true;
    }
    uint64_t at_s;
    if (!time_parse_http(value, &at_s) || at_s > UINT64_MAX / 1000 || at_s * 1000 <= now_wall_ms)
        return false;
    *delay_ms = MIN(at_s * 1000 - now_wall_ms, RETRY_AFTER_MAX_S * 1000);
    return true;
}

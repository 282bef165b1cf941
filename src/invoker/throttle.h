/* A token bucket that all loops of a node share (lifecycle §12.1: invocation-throttling, action-throttling).
 * Tokens are reserved ahead: who comes when there are none is told how long to wait, and the next one later,
 * so that nobody has to ask twice. Any thread. */
#pragma once
#include <stdatomic.h>

#include "base/bytes.h"

struct throttle {
    _Atomic int64_t interval_ns; /* between two tokens; 0: no limit */
    _Atomic int64_t full_ns;     /* until an empty bucket is full */
    _Atomic int64_t empty_at_ns; /* when it was, or will be, empty */
};
struct invoker_throttles {
    struct throttle starts;  /* first attempts of invocations that begin or go on */
    struct throttle actions; /* commands and run results of handlers */
};

/* `per_second` 0: no limit. Also while others use it. */
void throttle_set(struct throttle *t, double per_second, double burst);
/* Takes n tokens. Returns the milliseconds until they are there. */
uint64_t throttle_reserve(struct throttle *t, uint64_t n, uint64_t now_mono_ms);

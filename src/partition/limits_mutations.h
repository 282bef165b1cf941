/* Rules of the limits that the simulator breaks, one at a time, to show that its checks find it (`sim_limits
 * --mutations`). Nothing of it is in the server. */
#pragma once

enum limits_mutation {
    LIMITS_MUT_NONE,
    LIMITS_MUT_SUSPENDED_KEEPS, /* a suspended invocation keeps its slot */
    LIMITS_MUT_LEVEL2_FREE,     /* counters of the second level never are full */
    LIMITS_MUT_NOBODY_NEXT,     /* a slot that becomes free is given to nobody */
    LIMITS_MUT_RULES_LATER,     /* new rules do not reach the counters that exist */
    LIMITS_MUT_DROPPED_WAITS,   /* one that is dropped while it is held goes on waiting */
    LIMITS_MUT_RANK,            /* the last pattern wins, not the most literal one */
    LIMITS_MUT_ORDER_LOST,      /* what is read back stands in another order */
    LIMITS_MUT_SLOT_LOST,       /* what is read back as running is not counted */
    LIMITS_MUT_STAYS_PAUSED,    /* a queue that is resumed goes on waiting */
    LIMITS_MUT_PAUSE_LOST,      /* paused queues are not read back */
};
#ifdef LIMITS_MUTATIONS
extern enum limits_mutation limits_mutation;
#define LIMITS_BROKEN(m) (limits_mutation == LIMITS_MUT_##m)
#else
#define LIMITS_BROKEN(m) 0
#endif

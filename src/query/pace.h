/* How a query's thread gives way. Its nice value alone does not do: on a machine whose processors are all
 * busy it still gets a tenth of one, comes in between whatever wakes up, and takes the caches. So it watches
 * what it gets: as long as nobody else wants its processor it runs on; once it was preempted it works a
 * sixteenth of the time for a while, then tries again. Query thread only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint64_t slice_began_ns, used_ns, polite_until_ns; /* zeroed to begin */
    long preempted;
};

/* Called often, with the monotonic time; may sleep for some milliseconds. */
void pace_check(struct pace *p, uint64_t now_ns);
/* What it decides by: is the slice over, and then, with the processor time that the thread has had and how
 * often it was preempted, how many nanoseconds it is to rest. Pure. */
bool pace_slice_over(const struct pace *p, uint64_t now_ns);
uint64_t pace_rest(struct pace *p, uint64_t now_ns, uint64_t used_ns, long preempted);

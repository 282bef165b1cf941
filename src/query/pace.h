/* How a query's thread gives way. Its nice value alone does not do: on a machine whose processors are all
 * busy it still gets a tenth of one, comes in between whatever wakes up, and takes the caches. So it watches
 * what it gets: as long as nobody else wants its processor it runs on; once it was preempted it works a tenth
 * of the time for a while, then tries again. Query thread only. */
#pragma once
#include <stdint.h>

struct pace {
    uint64_t slice_began_ns, used_ns, polite_until_ns; /* zeroed to begin */
    long preempted;
    uint64_t slept_ns; /* in all */
};

/* Called often, with the monotonic time; may sleep for some milliseconds. */
void pace_check(struct pace *p, uint64_t now_ns);

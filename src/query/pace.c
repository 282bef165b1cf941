/* Implementation of query/pace.h. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "query/pace.h"

#include <sys/resource.h>
#include <time.h>

#include "base/rc.h"
#include "base/time.h"

#define SLICE_NS        1000000u   /* looked at after so much time: one system call a millisecond */
#define POLITE_NS       250000000u /* after a slice in which somebody else had the processor */
#define REST_PER_WORK   15u        /* while polite */
#define REST_LONGEST_NS 40000000u  /* a slice that was long because nothing asked */

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

bool pace_slice_over(const struct pace *p, uint64_t now_ns)
{
    return now_ns - p->slice_began_ns >= SLICE_NS;
}

uint64_t pace_rest(struct pace *p, uint64_t now_ns, uint64_t used_ns, long preempted)
{
    uint64_t work_ns = used_ns - p->used_ns, wall_ns = now_ns - p->slice_began_ns;
    /* Waiting for a disk or a client is no preemption. A short wake-up of somebody else is none that hurts.
     */
    if (p->slice_began_ns && preempted > p->preempted && work_ns + wall_ns / 5 < wall_ns)
        p->polite_until_ns = now_ns + POLITE_NS;
    p->slice_began_ns = now_ns;
    p->used_ns = used_ns;
    p->preempted = preempted;
    return now_ns < p->polite_until_ns ? MIN(work_ns * REST_PER_WORK, REST_LONGEST_NS) : 0;
}

void pace_check(struct pace *p, uint64_t now_ns)
{
    struct rusage r;
    if (!pace_slice_over(p, now_ns) || getrusage(RUSAGE_THREAD, &r))
        return;
    uint64_t rest_ns = pace_rest(p, now_ns, timeval_ns(r.ru_utime) + timeval_ns(r.ru_stime), r.ru_nivcsw);
    if (rest_ns == 0)
        return;
    nanosleep(&(struct timespec){.tv_nsec = (long)rest_ns}, NULL); /* woken early: so be it */
    p->slice_began_ns = os_mono_ns();
}

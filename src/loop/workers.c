/* Implementation of loop/workers.h. */
#define _GNU_SOURCE /* pthread_setname_np */
#include "loop/workers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORKERS_MAX    64u
#define BATCH_SLICE_NS 20000000u /* the default is 0.7 to 2.8 ms */

struct workers {
    char name[13];
    unsigned max_threads;
    int nice;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    struct list jobs;
    unsigned threads, idle, waiting;
    bool stopping;
    pthread_t ids[WORKERS_MAX];
};

struct workers_runner {
    struct job_runner base;
    struct workers *workers;
    struct loop *loop;
};

/* A job on its way: what the mailbox needs is not in struct job, which knows no loops. */
struct ticket {
    struct loop_msg msg;
    struct loop *loop;
    struct job *job;
};

static void deliver_done(struct loop_msg *m)
{
    struct ticket *t = CONTAINER_OF(m, struct ticket, msg);
    struct job *j = t->job;
    free(t);
    j->done(j);
}

/* What sched_setattr(2) takes; the C library has neither it nor the call. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* Of the calling thread only: on Linux each has its own. A batch thread does not interrupt others by waking
 * up, and one with a long slice is interrupted at once by those with a shorter one (from Linux 6.12 on;
 * before, the slice is ignored). Not SCHED_IDLE: it may hold a lock when it loses the processor, and must get
 * it back soon on a machine that is busy. Where it is refused, nothing is lost but courtesy. */
static void set_nice(int nice)
{
    struct scheduling s = {
        .size = sizeof(s), .policy = SCHED_BATCH, .nice = nice, .runtime_ns = BATCH_SLICE_NS};
    if (syscall(SYS_sched_setattr, 0, &s, 0) != 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

static void *worker_run(void *arg)
{
    struct workers *w = arg;
    pthread_setname_np(pthread_self(), w->name);
    if (w->nice)
        set_nice(w->nice);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct list *n = list_pop_front(&w->jobs);
        if (n) {
            w->waiting--;
            pthread_mutex_unlock(&w->lock);
            struct job *j = CONTAINER_OF(n, struct job, link);
            struct ticket *t = j->private_;
            j->work(j);
            t->msg.deliver = deliver_done;
            loop_post(t->loop, &t->msg);
            pthread_mutex_lock(&w->lock);
            continue;
        }
        if (w->stopping)
            break;
        w->idle++;
        pthread_cond_wait(&w->wake, &w->lock);
        w->idle--;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* With the lock held. Signals are for the main thread. */
static void start_thread(struct workers *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->ids[w->threads], NULL, worker_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        ASSERT_MSG(w->threads > 0, "cannot start a thread: %s", strerror(failed));
    else
        w->threads++;
}

static void workers_submit(struct job_runner *base, struct job *j)
{
    struct workers_runner *r = CONTAINER_OF(base, struct workers_runner, base);
    struct workers *w = r->workers;
    struct ticket *t = xcalloc(1, sizeof(*t));
    t->loop = r->loop;
    t->job = j;
    j->private_ = t;
    pthread_mutex_lock(&w->lock);
    ASSERT_MSG(!w->stopping, "a job was submitted to workers that are being freed");
    list_push_back(&w->jobs, &j->link);
    if (w->idle < ++w->waiting && w->threads < w->max_threads)
        start_thread(w);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

struct job_runner *workers_runner_new(struct workers *w, struct loop *loop)
{
    struct workers_runner *r = xcalloc(1, sizeof(*r));
    r->base.submit = workers_submit;
    r->workers = w;
    r->loop = loop;
    return &r->base;
}

void workers_set_nice(struct workers *w, int nice)
{
    w->nice = nice;
}

struct workers *workers_new(const char *name, unsigned max_threads)
{
    ASSERT(max_threads > 0 && max_threads <= WORKERS_MAX);
    struct workers *w = xcalloc(1, sizeof(*w));
    snprintf(w->name, sizeof(w->name), "%s", name);
    w->max_threads = max_threads;
    list_init(&w->jobs);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    return w;
}

void workers_free(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    ASSERT_MSG(list_empty(&w->jobs), "workers were freed while jobs wait");
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->threads; i++)
        pthread_join(w->ids[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

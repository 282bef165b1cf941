/* Loops over virtual time: loop/loop.h, loop/workers.h and the clocks of base/time.h as the simulated cluster
 * sees them. A loop is a thread: it runs iterations, each of which takes time, and others run meanwhile.
 * Everything that an iteration does leaves it when it is done, with what blocking calls took before. */
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "loop/workers.h"
#include "sim/cluster_sim.h"

#define TURN_TASK_LIMIT 100000
#define LIVELOCK        20000u /* iterations of one loop without a step of time */

struct mail {
    struct mail *next;
    uint64_t at_us;
    struct loop_msg *msg;
};

struct loop {
    struct env env;
    char name[16];
    struct csim_process *process;
    struct list link;
    struct heap timers;
    struct list deferred, flushes;
    struct mail *mail, **mail_end;
    uint64_t last_mail_us;
    uint64_t ready_us; /* the thread is busy until then */
    uint64_t wake_us;
    uint64_t now_ms, rng[4];
    bool running, stop, ended, sockets;
    uint64_t same_time, busy_us;
};

/* ---- the world's clock ---- */

uint64_t csim_below(uint64_t n)
{
    return sim_env_below(&csim->base.env, n);
}

bool csim_chance(uint32_t per_thousand)
{
    return csim->base.faulty && csim_below(1000) < per_thousand;
}

void csim_at(struct csim_event *e, void (*fire)(struct csim_event *e), uint64_t at_us)
{
    csim_cancel(e);
    e->fire = fire;
    heap_push(&csim->events, &e->heap, MAX(at_us, csim->now_us));
}

void csim_cancel(struct csim_event *e)
{
    if (e->fire && heap_linked(&e->heap))
        heap_remove(&csim->events, &e->heap);
    heap_node_init(&e->heap);
}

uint64_t __wrap_os_mono_ns(void);
uint64_t __wrap_os_mono_ns(void)
{
    return csim ? csim_now() * 1000 : 0;
}

static int64_t wall_offset_ms(void)
{
    return csim->current_process ? csim->current_process->host->wall_offset_ms : 0;
}

uint64_t __wrap_os_wall_us(void);
uint64_t __wrap_os_wall_us(void)
{
    return csim ? csim->base.env.wall_base_ms * 1000 + (uint64_t)wall_offset_ms() * 1000 + csim_now() : 0;
}

uint64_t __wrap_os_wall_ms(void);
uint64_t __wrap_os_wall_ms(void)
{
    return __wrap_os_wall_us() / 1000;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = (uint8_t)csim_below(256);
    return (ssize_t)len;
}

void csim_spend(uint64_t us)
{
    csim->elapsed_us += us;
}

/* ---- struct env ---- */

static struct loop *env_loop(struct env *env)
{
    return CONTAINER_OF(env, struct loop, env);
}

static uint64_t env_wall(struct env *env)
{
    return __wrap_os_wall_ms();
}

static uint64_t env_mono(struct env *env)
{
    return env_loop(env)->now_ms;
}

static uint64_t env_random_u64(struct env *env)
{
    return sim_rng_next(env_loop(env)->rng);
}

static void env_cancel_timer(struct env *env, struct env_timer *t)
{
    if (env_timer_armed(t))
        heap_remove(&env_loop(env)->timers, &t->heap);
}

static void env_arm_timer(struct env *env, struct env_timer *t, uint64_t at_mono_ms)
{
    env_cancel_timer(env, t);
    heap_push(&env_loop(env)->timers, &t->heap, MAX(at_mono_ms, env_mono(env)));
}

static void env_defer_task(struct env *env, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&env_loop(env)->deferred, &t->link);
}

static const struct env_ops loop_env_ops = {.wall_ms = env_wall,
                                            .mono_ms = env_mono,
                                            .random_u64 = env_random_u64,
                                            .timer_arm = env_arm_timer,
                                            .timer_cancel = env_cancel_timer,
                                            .defer = env_defer_task};

/* ---- one iteration ---- */

static void update_now(struct loop *l)
{
    l->now_ms = MAX(l->now_ms, csim->now_us / 1000);
}

static void run_timers(struct loop *l)
{
    uint64_t armed_before = l->timers.next_order;
    for (struct heap_node *n; (n = heap_min(&l->timers)) && n->key <= l->now_ms && n->order < armed_before;) {
        heap_remove(&l->timers, n);
        struct env_timer *t = CONTAINER_OF(n, struct env_timer, heap);
        t->fire(t);
    }
}

static void run_mail(struct loop *l)
{
    struct mail *m;
    uint64_t until = csim->now_us;
    while ((m = l->mail) && m->at_us <= until) {
        l->mail = m->next;
        if (!l->mail)
            l->mail_end = &l->mail;
        struct loop_msg *msg = m->msg;
        free(m);
        msg->deliver(msg);
    }
}

static void run_tasks(struct loop *l)
{
    for (size_t n = 0; n < TURN_TASK_LIMIT; n++) {
        struct list *link;
        if ((link = list_pop_front(&l->deferred))) {
            struct env_task *t = CONTAINER_OF(link, struct env_task, link);
            t->run(t);
        } else if ((link = list_pop_front(&l->flushes))) {
            struct loop_flush *f = CONTAINER_OF(link, struct loop_flush, link);
            f->run(f);
        } else {
            return;
        }
    }
    sim_fail(&csim->base, "livelock", "the tasks of %s never end", l->name);
}

static void schedule(struct loop *l)
{
    uint64_t at = CSIM_NEVER;
    struct heap_node *timer = heap_min(&l->timers);
    if (timer)
        at = MIN(at, MAX(timer->key, l->now_ms) * 1000);
    if (l->mail)
        at = MIN(at, l->mail->at_us);
    if (!list_empty(&l->deferred) || !list_empty(&l->flushes) || csim_sockets_waiting(l) || l->stop)
        at = 0;
    l->wake_us = at == CSIM_NEVER ? CSIM_NEVER : MAX(at, l->ready_us);
    if (l->ended)
        l->wake_us = CSIM_NEVER;
}

static uint64_t cost_of(const struct loop *l)
{
    uint64_t load = l->process->host->cpu_us, us = 2 + csim_below(20);
    if (load)
        us += csim_below(2 * load);
    if (csim_chance(1))
        us += csim_below(20000); /* another process had the core */
    return us;
}

struct frame {
    struct loop *loop;
    struct csim_process *process;
};

static struct frame switch_to(struct loop *l)
{
    struct frame f = {csim->current, csim->current_process};
    csim->current = l;
    csim->current_process = l->process;
    return f;
}

static void switch_back(struct frame f)
{
    csim->current = f.loop;
    csim->current_process = f.process;
}

static void iterate(struct loop *l)
{
    struct frame f = switch_to(l);
    bool last = l->stop;
    update_now(l);
    run_timers(l);
    csim_sockets_run(l);
    run_mail(l);
    run_tasks(l);
    l->ended = last && l->stop;
    switch_back(f);
}

static void run_loop(struct loop *l)
{
    uint64_t began = csim->now_us;
    csim->iterations++;
    csim->elapsed_us = 0;
    csim->may_die = true;
    if (sigsetjmp(csim->death, 0) == 0)
        iterate(l);
    csim->may_die = false;
    uint64_t busy = csim->elapsed_us + cost_of(l);
    csim->elapsed_us = 0;
    csim->current = NULL;
    csim->current_process = NULL;
    if (!l->process->alive)
        return;
    l->busy_us += busy;
    l->ready_us = began + busy;
    schedule(l);
}

void csim_die(void)
{
    ASSERT(csim->may_die && csim->current_process);
    csim_process_crash(csim->current_process->host, csim_below(2), (uint64_t)csim_below(1000000));
    siglongjmp(csim->death, 1);
}

void csim_enter(struct loop *l, void (*run)(void *ctx), void *ctx)
{
    if (!l->process->alive)
        return;
    struct frame f = switch_to(l);
    update_now(l);
    run(ctx);
    switch_back(f);
    schedule(l);
}

/* ---- the scheduler ---- */

static struct loop *next_loop(void)
{
    struct loop *best = NULL;
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        struct csim_process *p = csim->hosts[i].process;
        if (!p || p->paused)
            continue;
        LIST_FOREACH(n, &p->loops)
        {
            struct loop *l = CONTAINER_OF(n, struct loop, link);
            if (l->running && l->wake_us != CSIM_NEVER && (!best || l->wake_us < best->wake_us))
                best = l;
        }
    }
    return best;
}

bool csim_step(uint64_t until_us)
{
    struct loop *l = next_loop();
    struct heap_node *e = heap_min(&csim->events);
    struct sim_env *world = &csim->base.env;
    struct heap_node *t = heap_min(&world->timers);
    uint64_t timer_us = t ? t->key * 1000 : CSIM_NEVER;
    uint64_t at = MIN(MIN(l ? l->wake_us : CSIM_NEVER, e ? e->key : CSIM_NEVER), timer_us);
    if (at > until_us) {
        csim->now_us = MAX(csim->now_us, until_us);
        return false;
    }
    csim->now_us = MAX(csim->now_us, at);
    world->mono_ms = csim->now_us / 1000;
    if (timer_us <= at)
        return sim_env_next(world, 0);
    if (e && e->key <= at) {
        heap_remove(&csim->events, e);
        struct csim_event *event = CONTAINER_OF(e, struct csim_event, heap);
        event->fire(event);
        return true;
    }
    run_loop(l);
    return true;
}

void csim_loops_forget(struct csim_process *p)
{
    LIST_FOREACH(n, &p->loops)
    {
        struct loop *l = CONTAINER_OF(n, struct loop, link);
        l->running = false;
        l->wake_us = CSIM_NEVER;
    }
}

void csim_loops_resume(struct csim_process *p)
{
    LIST_FOREACH(n, &p->loops)
    {
        struct loop *l = CONTAINER_OF(n, struct loop, link);
        l->ready_us = MAX(l->ready_us, csim->now_us + csim_below(200));
        schedule(l);
    }
}

struct csim_process *csim_process_of(const struct loop *l)
{
    return l->process;
}

bool csim_loop_ended(const struct loop *l)
{
    return l->ended;
}

void csim_loop_wake(struct loop *l)
{
    if (l->running && !l->ended && l != csim->current)
        l->wake_us = MIN(l->wake_us, MAX(csim_now(), l->ready_us));
}

/* ---- loop/loop.h ---- */

struct loop *loop_new(const char *name)
{
    ASSERT(csim->current_process);
    struct loop *l = xcalloc(1, sizeof(*l));
    l->env.ops = &loop_env_ops;
    snprintf(l->name, sizeof(l->name), "%s", name);
    l->process = csim->current_process;
    heap_init(&l->timers);
    list_init(&l->link);
    list_init(&l->deferred);
    list_init(&l->flushes);
    l->mail_end = &l->mail;
    l->wake_us = CSIM_NEVER;
    l->now_ms = csim->now_us / 1000;
    sim_rng_seed(l->rng, sim_env_random(&csim->base.env));
    list_push_back(&l->process->loops, &l->link);
    return l;
}

void loop_start(struct loop *l)
{
    l->running = true;
    l->ready_us = csim_now() + csim_below(100);
    schedule(l);
}

void loop_stop(struct loop *l)
{
    l->stop = true;
    csim_loop_wake(l);
}

/* Threads that wait for others: those run on, time does not. */
void loop_join(struct loop *l)
{
    for (unsigned i = 0; !l->ended; i++) {
        ASSERT_MSG(i < LIVELOCK, "loop %s does not end", l->name);
        iterate(l);
    }
    l->running = false;
}

void loop_free(struct loop *l)
{
    list_remove(&l->link);
    heap_free(&l->timers);
    free(l);
}

struct env *loop_env(struct loop *l)
{
    return &l->env;
}

struct loop *loop_current(void)
{
    return csim->current;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

void loop_post(struct loop *target, struct loop_msg *msg)
{
    struct mail *m = xcalloc(1, sizeof(*m));
    m->msg = msg;
    m->at_us = MAX(target->last_mail_us, csim_now() + csim_below(20));
    target->last_mail_us = m->at_us;
    *target->mail_end = m;
    target->mail_end = &m->next;
    if (target->running && !target->ended && target != csim->current)
        target->wake_us = MIN(target->wake_us, MAX(m->at_us, target->ready_us));
}

void loop_flush_request(struct loop *l, struct loop_flush *f)
{
    if (!list_linked(&f->link))
        list_push_back(&l->flushes, &f->link);
}

uint64_t loop_busy_us(const struct loop *l)
{
    return l->busy_us;
}

/* ---- pool threads: the work is done when it ends ---- */

struct pool_work {
    struct csim_event event;
    struct loop_msg msg;
    struct loop_work *work;
    struct loop *loop;
};

static void work_delivered(struct loop_msg *m)
{
    struct pool_work *w = CONTAINER_OF(m, struct pool_work, msg);
    w->work->done(w->work);
    free(w);
}

static void work_ends(struct csim_event *e)
{
    struct pool_work *w = CONTAINER_OF(e, struct pool_work, event);
    struct csim_process *p = w->loop->process;
    if (!p->alive)
        return;
    if (p->paused) {
        csim_at(e, work_ends, csim->now_us + 10000);
        return;
    }
    struct frame f = switch_to(w->loop);
    csim->may_die = true;
    if (sigsetjmp(csim->death, 0) == 0)
        w->work->work(w->work);
    csim->may_die = false;
    switch_back(f);
    csim->elapsed_us = 0;
    if (!p->alive)
        return;
    w->msg.deliver = work_delivered;
    loop_post(w->loop, &w->msg);
}

void loop_work_submit(struct loop *l, struct loop_work *work)
{
    struct pool_work *w = xcalloc(1, sizeof(*w));
    w->work = work;
    w->loop = l;
    heap_node_init(&w->event.heap);
    csim_at(&w->event, work_ends, csim_now() + 20 + csim_below(2 * l->process->host->disk_us + 200));
}

struct workers {
    int unused;
};

struct worker_job {
    struct loop_work work;
    struct job *job;
};

struct sim_runner {
    struct job_runner base;
    struct loop *loop;
};

static void job_runs(struct loop_work *w)
{
    struct job *j = CONTAINER_OF(w, struct worker_job, work)->job;
    j->work(j);
}

static void job_ends(struct loop_work *w)
{
    struct worker_job *q = CONTAINER_OF(w, struct worker_job, work);
    struct job *j = q->job;
    free(q);
    j->done(j);
}

static void runner_submit(struct job_runner *base, struct job *j)
{
    struct worker_job *q = xcalloc(1, sizeof(*q));
    q->job = j;
    q->work.work = job_runs;
    q->work.done = job_ends;
    loop_work_submit(CONTAINER_OF(base, struct sim_runner, base)->loop, &q->work);
}

struct job_runner *workers_runner_new(struct workers *w, struct loop *loop)
{
    struct sim_runner *r = xcalloc(1, sizeof(*r));
    r->base.submit = runner_submit;
    r->loop = loop;
    return &r->base;
}

struct workers *workers_new(const char *name, unsigned max_threads)
{
    return xcalloc(1, sizeof(struct workers));
}

void workers_free(struct workers *w)
{
    free(w);
}

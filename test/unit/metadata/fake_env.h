/* A hand-driven struct env for unit tests of rooms on the main loop: time stands still until told, deferred
 * tasks and due timers run in fake_env_run. */
#pragma once
#include "base/env.h"

struct fake_env {
    struct env env;
    uint64_t wall, mono, random;
    struct list deferred;
    struct heap timers;
};

static inline uint64_t fake_wall(struct env *e)
{
    return CONTAINER_OF(e, struct fake_env, env)->wall;
}
static inline uint64_t fake_mono(struct env *e)
{
    return CONTAINER_OF(e, struct fake_env, env)->mono;
}
static inline uint64_t fake_random(struct env *e)
{
    uint64_t x = CONTAINER_OF(e, struct fake_env, env)->random += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
static inline void fake_cancel(struct env *e, struct env_timer *t)
{
    if (env_timer_armed(t))
        heap_remove(&CONTAINER_OF(e, struct fake_env, env)->timers, &t->heap);
}
static inline void fake_arm(struct env *e, struct env_timer *t, uint64_t at)
{
    fake_cancel(e, t);
    heap_push(&CONTAINER_OF(e, struct fake_env, env)->timers, &t->heap, at);
}
static inline void fake_defer(struct env *e, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&CONTAINER_OF(e, struct fake_env, env)->deferred, &t->link);
}
static inline void fake_env_init(struct fake_env *f)
{
    static const struct env_ops ops = {fake_wall, fake_mono, fake_random, fake_arm, fake_cancel, fake_defer};
    f->env.ops = &ops;
    f->wall = 1795368838130u;
    f->mono = 1000;
    f->random = 7;
    list_init(&f->deferred);
    heap_init(&f->timers);
}
/* Until nothing is deferred and no timer is due. */
static inline void fake_env_run(struct fake_env *f)
{
    for (;;) {
        struct list *n = list_pop_front(&f->deferred);
        if (n) {
            struct env_task *t = CONTAINER_OF(n, struct env_task, link);
            t->run(t);
            continue;
        }
        struct heap_node *h = heap_min(&f->timers);
        if (!h || h->key > f->mono)
            return;
        heap_pop(&f->timers);
        struct env_timer *t = CONTAINER_OF(h, struct env_timer, heap);
        t->fire(t);
    }
}
static inline void fake_env_advance(struct fake_env *f, uint64_t ms)
{
    f->mono += ms;
    f->wall += ms;
    fake_env_run(f);
}
static inline void fake_env_free(struct fake_env *f)
{
    heap_free(&f->timers);
}

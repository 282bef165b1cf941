/* The window of a deterministic core on the world (principle 2): clocks, timers, randomness, and work
 * deferred to the end of the current loop iteration. `loop/` implements it over libuv, `sim/` over virtual
 * time. A core receives a `struct env *` at creation and must not call anything else that is not a pure
 * function of its inputs. */
#pragma once
#include <stdint.h>

#include "base/containers.h"

struct env;

/* One-shot timer embedded in its owner; re-arm from the callback for periodic work. */
struct env_timer {
    struct heap_node heap; /* private to the env implementation */
    void (*fire)(struct env_timer *t);
};
static inline void env_timer_init(struct env_timer *t, void (*fire)(struct env_timer *t))
{
    heap_node_init(&t->heap);
    t->fire = fire;
}
static inline bool env_timer_armed(const struct env_timer *t)
{
    return heap_linked(&t->heap);
}

/* Work to run once, after the events of this iteration have been handled and before the loop sleeps.
 * Deferring is how a core batches: collect during the iteration, act once. Tasks run in the order of their
 * first defer; a task that defers itself or another runs in the same pass. */
struct env_task {
    struct list link; /* private */
    void (*run)(struct env_task *t);
};
static inline void env_task_init(struct env_task *t, void (*run)(struct env_task *t))
{
    list_init(&t->link);
    t->run = run;
}

struct env_ops {
    uint64_t (*wall_ms)(struct env *env);
    uint64_t (*mono_ms)(struct env *env);
    uint64_t (*random_u64)(struct env *env);
    void (*timer_arm)(struct env *env, struct env_timer *t, uint64_t at_mono_ms);
    void (*timer_cancel)(struct env *env, struct env_timer *t);
    void (*defer)(struct env *env, struct env_task *t);
};
struct env {
    const struct env_ops *ops;
};

/* Milliseconds since the Unix epoch; may jump. Only for time stamps put into records and shown to users. */
static inline uint64_t env_wall_ms(struct env *e)
{
    return e->ops->wall_ms(e);
}
/* Milliseconds that never go back; cached once per loop iteration. For timeouts. */
static inline uint64_t env_mono_ms(struct env *e)
{
    return e->ops->mono_ms(e);
}
static inline uint64_t env_random(struct env *e)
{
    return e->ops->random_u64(e);
}
/* (Re-)arm; fires in a later iteration at or after the given monotonic time. */
static inline void env_timer_arm_at(struct env *e, struct env_timer *t, uint64_t at_mono_ms)
{
    e->ops->timer_arm(e, t, at_mono_ms);
}
static inline void env_timer_arm(struct env *e, struct env_timer *t, uint64_t after_ms)
{
    e->ops->timer_arm(e, t, e->ops->mono_ms(e) + after_ms);
}
/* No-op if not armed. After this the callback will not run. */
static inline void env_timer_cancel(struct env *e, struct env_timer *t)
{
    e->ops->timer_cancel(e, t);
}
static inline void env_defer(struct env *e, struct env_task *t)
{
    e->ops->defer(e, t);
}
static inline void env_undefer(struct env_task *t)
{
    if (list_linked(&t->link))
        list_remove(&t->link);
}

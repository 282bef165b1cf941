/* A deterministic `struct env`, see sim_env.h. */
#include "sim/sim_env.h"

#include "base/rc.h"

#define WALL_BASE_MS UINT64_C(1790000000000) /* some day in 2026 */
#define LIVELOCK     1000000

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void sim_rng_seed(uint64_t state[4], uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        state[i] = z ^ (z >> 31);
    }
}

uint64_t sim_rng_next(uint64_t s[4])
{
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static struct sim_env *self(struct env *e)
{
    return CONTAINER_OF(e, struct sim_env, env);
}

static uint64_t wall_ms(struct env *e)
{
    return self(e)->wall_base_ms + self(e)->mono_ms;
}

static uint64_t mono_ms(struct env *e)
{
    return self(e)->mono_ms;
}

static uint64_t random_u64(struct env *e)
{
    return sim_rng_next(self(e)->rng);
}

static void timer_arm(struct env *e, struct env_timer *t, uint64_t at_mono_ms)
{
    if (env_timer_armed(t))
        heap_remove(&self(e)->timers, &t->heap);
    heap_push(&self(e)->timers, &t->heap, at_mono_ms);
}

static void timer_cancel(struct env *e, struct env_timer *t)
{
    if (env_timer_armed(t))
        heap_remove(&self(e)->timers, &t->heap);
}

static void defer(struct env *e, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&self(e)->tasks, &t->link);
}

static const struct env_ops ops = {
    .wall_ms = wall_ms,
    .mono_ms = mono_ms,
    .random_u64 = random_u64,
    .timer_arm = timer_arm,
    .timer_cancel = timer_cancel,
    .defer = defer,
};

void sim_env_init(struct sim_env *e, uint64_t seed)
{
    *e = (struct sim_env){.env.ops = &ops, .wall_base_ms = WALL_BASE_MS};
    heap_init(&e->timers);
    list_init(&e->tasks);
    sim_rng_seed(e->rng, seed);
}

void sim_env_free(struct sim_env *e)
{
    while (heap_pop(&e->timers))
        ;
    heap_free(&e->timers);
    while (list_pop_front(&e->tasks))
        ;
}

void sim_env_run(struct sim_env *e)
{
    struct list *n;
    for (size_t i = 0; (n = list_pop_front(&e->tasks)); i++) {
        ASSERT_MSG(i < LIVELOCK, "deferred tasks never end");
        struct env_task *t = CONTAINER_OF(n, struct env_task, link);
        t->run(t);
    }
}

bool sim_env_next(struct sim_env *e, uint64_t max_ms)
{
    sim_env_run(e);
    struct heap_node *n = heap_min(&e->timers);
    if (!n || n->key > e->mono_ms + max_ms)
        return false;
    heap_remove(&e->timers, n);
    if (n->key > e->mono_ms)
        e->mono_ms = n->key;
    struct env_timer *t = CONTAINER_OF(n, struct env_timer, heap);
    t->fire(t);
    sim_env_run(e);
    return true;
}

void sim_env_advance(struct sim_env *e, uint64_t ms)
{
    uint64_t until = e->mono_ms + ms;
    while (sim_env_next(e, until - e->mono_ms))
        ;
    e->mono_ms = until;
}

uint64_t sim_env_random(struct sim_env *e)
{
    return sim_rng_next(e->rng);
}

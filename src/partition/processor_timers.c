/* Timers of the leader (spec/invocation-lifecycle.md §5.2): the earliest ones in memory, one env timer for
 * the first, all due ones proposed together. A proposed timer stays known until its record is applied, so
 * that it is proposed once. */
#include <stdlib.h>

#include "partition/processor_internal.h"

#define DEFAULT_LIMIT 4096
#define LOAD_BATCH    256
#define PROPOSE_BATCH 1024
/* The wall clock may be set forward: look again at least this often. */
#define MAX_SLEEP_MS  10000

struct pending_timer {
    struct omap_node node;
    struct timer_key key;
    bool proposed;
};

static int cmp_nodes(const struct omap_node *a, const struct omap_node *b)
{
    return timer_key_cmp(&CONTAINER_OF(a, struct pending_timer, node)->key,
                         &CONTAINER_OF(b, struct pending_timer, node)->key);
}

static int cmp_key(const void *key, const struct omap_node *n)
{
    return timer_key_cmp(key, &CONTAINER_OF(n, struct pending_timer, node)->key);
}

static void wake(struct env_timer *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, timers.wake);
    p->timers.check = true;
    processor_schedule(p);
}

void leader_timers_init(struct processor *p)
{
    omap_init(&p->timers.map, cmp_nodes);
    env_timer_init(&p->timers.wake, wake);
    p->timers.limit = p->config.max_timers_in_memory ? p->config.max_timers_in_memory : DEFAULT_LIMIT;
}

static void forget(struct leader_timers *t, struct pending_timer *pt)
{
    omap_remove(&t->map, &pt->node);
    t->proposed -= pt->proposed;
    free(pt);
}

/* Over twice the limit: the latest ones go back to being known to the store only. */
static void shrink(struct leader_timers *t)
{
    if (t->map.count <= 2 * t->limit)
        return;
    while (t->map.count > t->limit) {
        struct pending_timer *last = CONTAINER_OF(omap_last(&t->map), struct pending_timer, node);
        if (last->proposed)
            break; /* must be remembered until it is applied */
        forget(t, last);
        t->complete = false;
    }
    t->horizon = CONTAINER_OF(omap_last(&t->map), struct pending_timer, node)->key;
}

static void insert(struct leader_timers *t, const struct timer_key *key)
{
    struct pending_timer *pt = xcalloc(1, sizeof(*pt));
    pt->key = *key;
    if (omap_insert(&t->map, &pt->node))
        free(pt);
}

/* Read on behind the horizon. */
static void load(struct processor *p)
{
    struct leader_timers *t = &p->timers;
    struct timer_key batch[LOAD_BATCH];
    while (!t->complete && t->map.count < t->limit) {
        size_t want = MIN((size_t)LOAD_BATCH, t->limit - t->map.count);
        size_t n = store_timer_scan(p->store, &t->horizon, batch, want);
        for (size_t i = 0; i < n; i++)
            insert(t, &batch[i]);
        if (n)
            t->horizon = batch[n - 1];
        t->complete = n < want;
    }
}

void leader_timers_start(struct processor *p)
{
    struct leader_timers *t = &p->timers;
    t->complete = false;
    t->horizon = (struct timer_key){0};
    t->check = true;
    load(p);
}

void leader_timers_stop(struct processor *p)
{
    struct leader_timers *t = &p->timers;
    env_timer_cancel(p->env, &t->wake);
    struct omap_node *n;
    while ((n = omap_first(&t->map)))
        forget(t, CONTAINER_OF(n, struct pending_timer, node));
}

void leader_timers_on_registered(struct processor *p, const struct timer_key *key)
{
    struct leader_timers *t = &p->timers;
    if (!t->complete && timer_key_cmp(key, &t->horizon) > 0)
        return; /* load() will meet it */
    insert(t, key);
    shrink(t);
    t->check = true;
}

void leader_timers_on_deleted(struct processor *p, const struct timer_key *key)
{
    struct leader_timers *t = &p->timers;
    struct omap_node *n = omap_find(&t->map, key, cmp_key);
    if (n)
        forget(t, CONTAINER_OF(n, struct pending_timer, node));
    t->check = true;
}

static enum rc propose_timer(struct processor *p, const struct timer_key *key)
{
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    timer_key_write(&w, key);
    return processor_propose(p, CMD_TIMER, key->id.partition_key, key->id.partition_key, writer_take(&w));
}

/* Propose what is due; returns the first that is not, or NULL. *refused: the log takes nothing now. */
static struct pending_timer *propose_due(struct processor *p, uint64_t wall, bool *refused)
{
    struct leader_timers *t = &p->timers;
    size_t budget = PROPOSE_BATCH;
    for (struct omap_node *n = omap_first(&t->map); n; n = omap_next(n)) {
        struct pending_timer *pt = CONTAINER_OF(n, struct pending_timer, node);
        if (pt->proposed)
            continue;
        if (pt->key.wake_up_ms > wall)
            return pt;
        if (budget-- == 0 || propose_timer(p, &pt->key) != RC_OK) {
            *refused = true;
            return pt;
        }
        pt->proposed = true;
        t->proposed++;
    }
    return NULL;
}

void leader_timers_run(struct processor *p)
{
    struct leader_timers *t = &p->timers;
    if (p->role != PROCESSOR_LEADER || !t->check)
        return;
    t->check = false;
    if (!t->complete && t->map.count <= t->limit / 2)
        load(p);
    bool refused = false;
    uint64_t wall = env_wall_ms(p->env);
    struct pending_timer *next = propose_due(p, wall, &refused);
    if (p->role != PROCESSOR_LEADER)
        return; /* the log was taken over: nothing is left, nothing may stay armed */
    if (refused)
        env_timer_arm(p->env, &t->wake, RETRY_MS);
    else if (next)
        env_timer_arm(p->env, &t->wake, MIN(next->key.wake_up_ms - wall, (uint64_t)MAX_SLEEP_MS));
    else
        env_timer_cancel(p->env, &t->wake);
}

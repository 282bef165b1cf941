/* Life of a controller: inputs, passes, waiting callers. See controller.h. */
#include <stdlib.h>

#include "base/log.h"
#include "controller/controller_internal.h"

#define PASS_GAP_MS     5u  /* between two passes, however often it is poked, */
#define PASS_GAP_PER_MS 50u /* and 1 ms more for so many partitions */
#define SYNC_TIMEOUT_MS 5000u

#ifdef CONTROLLER_MUTATIONS
enum controller_mutation controller_mutation;
#endif

struct controller_sync {
    struct controller *controller;
    uint32_t partition; /* or CONTROLLER_ALL_PARTITIONS */
    bool read, waiting; /* was read again; is on a list of `epochs` */
    uint64_t deadline_ms;
    struct err refusal; /* rc set: only waits to be told */
    struct epochs_wait wait;
    struct list link;
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
};

static void pass(struct env_task *t);
static void refuse(struct env_task *t);
static void tick(struct env_timer *t);
static void changed(struct epochs_listener *l, uint32_t partition, const struct epoch_metadata *m);
static void load_done(struct epochs_wait *w, enum rc rc, const char *message);

static uint32_t or_default(uint32_t v, uint32_t otherwise)
{
    return v ? v : otherwise;
}

static void register_metrics(struct controller *c)
{
    c->metrics.writes =
        metric_counter("restate_controller_writes_total", NULL, "Epoch metadata written by the controller");
    c->metrics.conflicts = metric_counter("restate_controller_conflicts_total", NULL,
                                          "Writes of the controller that lost the comparison");
    c->metrics.hints =
        metric_counter("restate_controller_hints_total", NULL, "Hints to nodes to lead a partition");
    c->metrics.leaderless =
        metric_gauge("restate_controller_leaderless_partitions", NULL,
                     "Partitions without a leader in the view of the active controller; 0 elsewhere");
    c->metrics.unsettled =
        metric_gauge("restate_controller_unsettled_partitions", NULL,
                     "Partitions that are being placed, in the view of the active controller; 0 elsewhere");
}

static void show(struct controller *c)
{
    metric_set(c->metrics.leaderless, c->active ? c->stats.leaderless : 0);
    metric_set(c->metrics.unsettled, c->active ? c->stats.unsettled : 0);
}

struct controller *controller_new(struct env *env, struct kv *kv, struct epochs *epochs,
                                  const struct controller_config *config, const struct controller_ops *ops,
                                  void *ctx)
{
    struct controller *c = xcalloc(1, sizeof(*c));
    c->env = env;
    c->kv = kv;
    c->epochs = epochs;
    c->ops = ops;
    c->ctx = ctx;
    c->config = (struct controller_config){
        .replace_after_ms = or_default(config->replace_after_ms, 3000),
        .replace_unseen_ms = or_default(config->replace_unseen_ms, 10000),
        .complete_after_ms = or_default(config->complete_after_ms, 5000),
        .lead_patience_ms = or_default(config->lead_patience_ms, 3000),
        .unreachable_after_ms = or_default(config->unreachable_after_ms, 2000),
        .lead_repeat_ms = or_default(config->lead_repeat_ms, 500),
        .quiet_ms = or_default(config->quiet_ms, 2000),
        .tick_ms = or_default(config->tick_ms, 250),
        .parallel = or_default(config->parallel, 32),
    };
    register_metrics(c);
    c->listener.changed = changed;
    c->load.done = load_done;
    list_init(&c->syncs);
    env_task_init(&c->pass, pass);
    env_task_init(&c->refuse, refuse);
    env_timer_init(&c->tick, tick);
    epochs_listen(epochs, &c->listener);
    return c;
}

static void answer_sync(struct controller_sync *s, const struct err *err)
{
    s->controller->n_syncs--;
    list_remove(&s->link);
    if (s->waiting)
        list_remove(&s->wait.link);
    s->done(s->ctx, err);
    free(s);
}

static void answer_syncs(struct controller *c, enum rc rc, const char *message)
{
    struct err err = {0};
    struct list all;
    err_set(&err, rc, "%s", message);
    list_init(&all);
    list_splice(&all, &c->syncs);
    while (!list_empty(&all))
        answer_sync(CONTAINER_OF(all.next, struct controller_sync, link), &err);
}

void controller_free_if_idle(struct controller *c)
{
    if (!c->closed || c->writing)
        return;
    arena_free(&c->arena);
    free(c->nodes.items);
    free(c->members);
    free(c->slots);
    free(c);
}

void controller_free(struct controller *c)
{
    answer_syncs(c, RC_CLOSED, "the node is stopping");
    epochs_unlisten(&c->listener);
    if (c->loading)
        list_remove(&c->load.link);
    env_undefer(&c->pass);
    env_undefer(&c->refuse);
    env_timer_cancel(c->env, &c->tick);
    c->closed = true;
    c->active = false;
    controller_free_if_idle(c);
}

/* ---- inputs ---- */

void controller_poke(struct controller *c)
{
    uint64_t now = env_mono_ms(c->env), next = c->passed_ms + PASS_GAP_MS + c->n_partitions / PASS_GAP_PER_MS;
    if (c->passed_ms == 0 || now >= next)
        env_defer(c->env, &c->pass);
    else
        env_timer_arm_at(c->env, &c->tick, next);
}

static void tick(struct env_timer *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, tick);
    env_defer(c->env, &c->pass);
}

static void changed(struct epochs_listener *l, uint32_t partition, const struct epoch_metadata *m)
{
    struct controller *c = CONTAINER_OF(l, struct controller, listener);
    if (c->ops->placement_changed)
        c->ops->placement_changed(c->ctx, partition, m);
    controller_poke(c);
}

void controller_epoch_changed(struct controller *c, uint32_t partition, uint32_t version)
{
    epochs_heard(c->epochs, partition, version);
}

void controller_set_table(struct controller *c, const struct partition_table *table)
{
    c->replication = table->replication;
    if (!c->have_table) {
        c->n_partitions = table->n_partitions;
        c->slots = xcalloc(c->n_partitions + 1, sizeof(*c->slots));
    }
    ASSERT_MSG(c->n_partitions == table->n_partitions, "the number of partitions is fixed at provisioning");
    c->have_table = true;
    epochs_set_partitions(c->epochs, c->n_partitions);
    controller_poke(c);
}

static void load(struct controller *c)
{
    c->loading = true;
    epochs_refresh_all(c->epochs, &c->load);
}

static void load_done(struct epochs_wait *w, enum rc rc, const char *message)
{
    struct controller *c = CONTAINER_OF(w, struct controller, load);
    c->loading = false;
    if (rc == RC_OK)
        c->loaded = true;
    else if (c->active)
        load(c);
    controller_poke(c);
}

/* What was concluded before may be long out of date. */
static void start_afresh(struct controller *c)
{
    c->active_since_ms = c->changed_ms = env_mono_ms(c->env);
    c->loaded = false;
    c->paused_until_ms = 0;
    c->pause_ms = 0;
    for (uint32_t i = 0; i < c->n_partitions; i++)
        c->slots[i] =
            (struct controller_slot){.writing = c->slots[i].writing, .written = c->slots[i].written};
    if (!c->loading)
        load(c);
}

static void log_mode(const struct controller *c)
{
    if (c->active)
        LOG0(LOG_INFO, CONTROLLER_LOG, "Cluster controller switching to leader mode");
    else if (c->leader.id)
        LOG0(LOG_INFO, CONTROLLER_LOG,
             "Cluster controller switching to follower mode, I think the leader is N%u:%u", c->leader.id,
             c->leader.generation);
    else
        LOG0(LOG_INFO, CONTROLLER_LOG, "Cluster controller switching to follower mode");
}

void controller_set_active(struct controller *c, bool active, struct node_ref leader)
{
    if (c->active == active && node_ref_eq(c->leader, leader))
        return;
    bool was = c->active;
    c->active = active;
    c->leader = leader;
    log_mode(c);
    if (active && !was)
        start_afresh(c);
    if (!active) {
        show(c);
        env_timer_cancel(c->env, &c->tick);
        answer_syncs(c, RC_NOT_LEADER, "Not the cluster controller leader");
    }
    controller_poke(c);
}

/* ---- waiting callers ---- */

static void sync_read(struct epochs_wait *w, enum rc rc, const char *message)
{
    struct controller_sync *s = CONTAINER_OF(w, struct controller_sync, wait);
    struct err err = {0};
    s->waiting = false;
    if (rc != RC_OK) {
        err_set(&err, rc, "cannot read the epoch metadata: %s", message);
        answer_sync(s, &err);
        return;
    }
    s->read = true;
    for (uint32_t p = 0; p < s->controller->n_partitions; p++)
        if (s->partition == p || s->partition == CONTROLLER_ALL_PARTITIONS)
            s->controller->slots[p].settled = false; /* until the next look */
    controller_poke(s->controller);
}

/* Why a call is refused: NULL if it is not. */
static const char *sync_refusal(const struct controller *c, uint32_t partition, enum rc *rc)
{
    *rc = RC_NOT_LEADER;
    if (!c->active || c->closed)
        return "Not the cluster controller leader";
    *rc = RC_OVERLOADED;
    if (c->n_syncs > CONTROLLER_SYNCS_MAX)
        return "too many calls wait for the cluster controller";
    *rc = RC_UNAVAILABLE;
    if (!c->have_table || !c->have_nodes)
        return "the cluster controller is starting";
    *rc = RC_NOT_FOUND;
    return partition >= c->n_partitions && partition != CONTROLLER_ALL_PARTITIONS ? "unknown partition"
                                                                                  : NULL;
}

/* Answers what was refused, outside of the call. */
static void refuse(struct env_task *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, refuse);
    LIST_FOREACH_SAFE(n, next, &c->syncs)
    {
        struct controller_sync *s = CONTAINER_OF(n, struct controller_sync, link);
        if (s->refusal.rc != RC_OK)
            answer_sync(s, &s->refusal);
    }
}

void controller_sync(struct controller *c, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                     void *ctx)
{
    enum rc rc;
    const char *refusal = sync_refusal(c, partition, &rc);
    struct controller_sync *s = xcalloc(1, sizeof(*s));
    s->controller = c;
    s->partition = partition;
    s->deadline_ms = env_mono_ms(c->env) + SYNC_TIMEOUT_MS;
    s->wait.done = sync_read;
    s->done = done;
    s->ctx = ctx;
    list_push_back(&c->syncs, &s->link);
    c->n_syncs++;
    if (refusal) {
        err_set(&s->refusal, rc, "%s", refusal);
        env_defer(c->env, &c->refuse);
        return;
    }
    s->waiting = true;
    if (partition == CONTROLLER_ALL_PARTITIONS)
        epochs_refresh_all(c->epochs, &s->wait);
    else
        epochs_refresh(c->epochs, partition, &s->wait);
}

static bool at_rest(const struct controller *c, uint32_t p)
{
    return !c->slots[p].writing && c->slots[p].settled && epochs_settled(c->epochs, p);
}

static bool sync_is_over(const struct controller *c, const struct controller_sync *s)
{
    if (!s->read)
        return false;
    if (s->partition != CONTROLLER_ALL_PARTITIONS)
        return at_rest(c, s->partition);
    for (uint32_t p = 0; p < c->n_partitions; p++)
        if (!at_rest(c, p))
            return false;
    return true;
}

static void check_syncs(struct controller *c)
{
    struct err late = {0};
    err_set(&late, RC_TIMEOUT, "the metadata store did not take the changes in time");
    LIST_FOREACH_SAFE(n, next, &c->syncs)
    {
        struct controller_sync *s = CONTAINER_OF(n, struct controller_sync, link);
        if (sync_is_over(c, s))
            answer_sync(s, NULL);
        else if (env_mono_ms(c->env) >= s->deadline_ms)
            answer_sync(s, &late);
    }
}

/* ---- passes ---- */

static void pass(struct env_task *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, pass);
    c->passed_ms = env_mono_ms(c->env);
    if (c->have_nodes)
        controller_look_at_nodes(c);
    if (!c->active)
        return;
    env_timer_arm(c->env, &c->tick, c->config.tick_ms);
    if (c->have_nodes && c->have_table && c->loaded) {
        c->stats.passes++;
        controller_place(c);
        controller_lead(c);
        show(c);
    }
    check_syncs(c);
}

void controller_stats(const struct controller *c, struct controller_stats *out)
{
    *out = c->stats;
    out->active = c->active;
}

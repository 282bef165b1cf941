/* Implementation of partition/snapshot_agent.h. Per partition at most one creation and one reading of the
 * status are under way; requests wait in order. One timer per agent. */
#include "partition/snapshot_agent.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "partition/snapshot_internal.h"

#define CHECK_MS         1000u
#define FIRST_CHECK_MS   30000u /* to twice that, after the start */
#define START_DELAY_MS   10000u /* at most, at random: partitions that are due together */
#define REFRESH_MS       300000u
#define REFRESH_AGAIN_MS 30000u /* when the repository did not answer */
#define RETRY_MS         30000u /* of a scheduled one that failed */
#define SLOT_POLL_MS     200u   /* for a slot that another loop's agent gives back */

struct snapshot_agent {
    struct env *env;
    struct snapshot_repository *repository;
    struct snapshot_slots *slots;
    struct snapshot_agent_config config;
    struct list partitions;
    uint64_t first_check_ms;
    bool waits_for_slot;
    struct env_timer timer;
    struct metric *uploads, *failures, *duration;
};

/* A reading of latest.json, which may outlive its partition. */
struct status_query {
    struct snapshot_partition *partition; /* NULL: removed */
};

struct request {
    struct list link;
    lsn_t min_lsn;
    snapshot_create_done done;
    void *ctx;
    struct err err; /* to be told */
};

struct snapshot_partition {
    struct list link;
    struct snapshot_agent *agent;
    struct snapshot_partition_config config;
    bool leading;

    struct snapshot_status status;
    bool known;
    struct status_query *query; /* under way */
    uint64_t refresh_at_ms;
    char problem[ERR_MESSAGE_SIZE]; /* the last that was logged */

    struct list requests, refused;
    struct snapshot_create *creating;
    struct request *serving; /* NULL: a scheduled one */
    uint64_t begun_ms;

    uint64_t jitter;       /* of this interval, per mille */
    uint64_t scheduled_ms; /* a snapshot is due then, 0: none is */
    uint64_t not_before_ms;

    struct env_task task; /* answers, and removal */
    bool removed;
    void (*removed_done)(void *ctx);
    void *removed_ctx;
};

static void arm(struct snapshot_agent *a);

/* ---- status ---- */

static void set_status(struct snapshot_partition *p, const struct snapshot_status *s)
{
    bool same = p->known && p->status.exists == s->exists && p->status.archived == s->archived &&
                strcmp(p->status.latest.id, s->latest.id) == 0;
    p->status = *s;
    p->known = true;
    if (!same && p->config.changed && !p->removed)
        p->config.changed(p->config.ctx, &p->status);
}

static void when_removed(struct snapshot_partition *p)
{
    if (p->removed && !p->creating)
        env_defer(p->agent->env, &p->task);
}

static void status_read(void *ctx, const struct snapshot_status *s, const struct err *err)
{
    struct status_query *q = ctx;
    struct snapshot_partition *p = q->partition;
    free(q);
    if (!p)
        return;
    struct env *env = p->agent->env;
    uint64_t now = env_mono_ms(env);
    p->query = NULL;
    p->refresh_at_ms = now + REFRESH_MS * (900 + env_random(env) % 200) / 1000;
    if (s) {
        set_status(p, s);
        p->problem[0] = 0;
    } else if (err->rc != RC_CANCELED) {
        p->refresh_at_ms = now + REFRESH_AGAIN_MS;
        /* What belongs to others or is damaged says nothing about our log: nothing is archived. */
        if (err->rc != RC_UNAVAILABLE && err->rc != RC_TIMEOUT)
            set_status(p, &(struct snapshot_status){0});
        if (strcmp(p->problem, err->msg) != 0)
            LOG0(LOG_WARN, SNAPSHOT_LOG, "the snapshots of partition %u are not known: %s",
                 (unsigned)p->config.partition_id, err->msg);
        snprintf(p->problem, sizeof(p->problem), "%s", err->msg);
    }
    arm(p->agent);
}

static void refresh(struct snapshot_partition *p)
{
    if (p->query || p->removed || !p->agent->repository)
        return;
    p->query = xcalloc(1, sizeof(*p->query));
    p->query->partition = p;
    p->refresh_at_ms = UINT64_MAX;
    snapshot_repository_status(p->agent->repository, p->config.partition_id, status_read, p->query);
}

/* ---- slots ---- */

static bool take_slot(struct snapshot_agent *a)
{
    if (atomic_fetch_sub(&a->slots->free, 1) > 0)
        return true;
    atomic_fetch_add(&a->slots->free, 1);
    return false;
}

static void give_slot(struct snapshot_agent *a)
{
    atomic_fetch_add(&a->slots->free, 1);
    if (a->waits_for_slot)
        env_timer_arm(a->env, &a->timer, 0);
}

/* ---- creating ---- */

static void serve(struct snapshot_partition *p);

static void plan_next(struct snapshot_partition *p, uint64_t not_before_ms)
{
    p->scheduled_ms = 0;
    p->not_before_ms = not_before_ms;
    p->jitter = 900 + env_random(p->agent->env) % 201;
}

static void tell_created(const struct snapshot_partition *p, const struct snapshot_created *c,
                         uint64_t took_ms)
{
    if (!c->existed)
        LOG0(LOG_INFO, SNAPSHOT_LOG,
             "snapshot %s of partition %u at LSN %llu: %llu bytes in %llu files, %llu ms; archived is LSN "
             "%llu",
             c->ref.id, (unsigned)p->config.partition_id, (unsigned long long)c->ref.lsn,
             (unsigned long long)c->bytes, (unsigned long long)c->files, (unsigned long long)took_ms,
             (unsigned long long)c->status.archived);
}

static void created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct snapshot_partition *p = ctx;
    struct snapshot_agent *a = p->agent;
    struct request *r = p->serving;
    uint64_t now = env_mono_ms(a->env), took = now - p->begun_ms;
    p->creating = NULL;
    p->serving = NULL;
    give_slot(a);
    plan_next(p, c ? 0 : now + RETRY_MS);
    if (c) {
        set_status(p, &c->status);
        metric_inc(a->uploads);
        metric_observe_us(a->duration, took * 1000);
        tell_created(p, c, took);
    } else if (err->rc != RC_CANCELED) {
        metric_inc(a->failures);
        LOG0(LOG_WARN, SNAPSHOT_LOG, "no snapshot of partition %u: %s", (unsigned)p->config.partition_id,
             err->msg);
    }
    if (r) {
        r->done(r->ctx, c, err);
        free(r);
    }
    when_removed(p);
    serve(p);
}

static void begin(struct snapshot_partition *p, struct request *serving)
{
    struct snapshot_create_request q = {
        .store = p->config.store,
        .partition_id = p->config.partition_id,
        .log_id = p->config.log_id,
        .key_start = p->config.key_start,
        .key_end = p->config.key_end,
        .min_lsn = serving ? serving->min_lsn : 0,
    };
    p->serving = serving;
    p->begun_ms = env_mono_ms(p->agent->env);
    p->creating = snapshot_create_start(p->agent->repository, &q, created, p);
}

static void refuse(struct snapshot_partition *p, struct request *r)
{
    list_push_back(&p->refused, &r->link);
    env_defer(p->agent->env, &p->task);
}

/* The first request in line, unless there is one under way or no slot. */
static void serve(struct snapshot_partition *p)
{
    while (!p->creating && !p->removed && !list_empty(&p->requests)) {
        struct request *r = CONTAINER_OF(p->requests.next, struct request, link);
        lsn_t applied = store_vars(p->config.store)->applied_lsn;
        if (applied < r->min_lsn) {
            list_remove(&r->link);
            err_set(&r->err, RC_CONFLICT, "Applied LSN below the target LSN: %llu < %llu for partition %u",
                    (unsigned long long)applied, (unsigned long long)r->min_lsn,
                    (unsigned)p->config.partition_id);
            refuse(p, r);
        } else if (take_slot(p->agent)) {
            list_remove(&r->link);
            begin(p, r);
        } else {
            p->agent->waits_for_slot = true;
            arm(p->agent);
            return;
        }
    }
}

/* ---- schedule ---- */

static bool is_due(const struct snapshot_partition *p)
{
    const struct snapshot_agent_config *c = &p->agent->config;
    lsn_t applied = store_vars(p->config.store)->applied_lsn;
    lsn_t latest = p->status.exists ? p->status.latest.lsn : 0;
    if ((!c->interval_ms && !c->num_records) || !p->leading || !p->known || p->removed || applied <= latest)
        return false;
    if (c->num_records && applied - latest < c->num_records)
        return false;
    if (!c->interval_ms || !p->status.exists)
        return true;
    uint64_t made = snapshot_time_parse(p->status.latest.created_at), now = env_wall_ms(p->agent->env);
    return now > made && now - made >= c->interval_ms * p->jitter / 1000;
}

static void check(struct snapshot_partition *p)
{
    struct snapshot_agent *a = p->agent;
    uint64_t now = env_mono_ms(a->env);
    if (now >= p->refresh_at_ms)
        refresh(p);
    serve(p);
    if (p->creating || now < a->first_check_ms || now < p->not_before_ms)
        return;
    if (!is_due(p)) {
        p->scheduled_ms = 0;
        return;
    }
    if (!p->scheduled_ms)
        p->scheduled_ms = now + 1 + env_random(a->env) % START_DELAY_MS;
    if (now < p->scheduled_ms)
        return;
    if (take_slot(a))
        begin(p, NULL);
    else
        a->waits_for_slot = true;
}

/* An agent whose partitions neither lead nor wait for anything wakes up to refresh only. */
static void arm(struct snapshot_agent *a)
{
    uint64_t now = env_mono_ms(a->env), at = UINT64_MAX;
    if (!a->repository || list_empty(&a->partitions))
        return;
    bool automatic = a->config.interval_ms || a->config.num_records;
    LIST_FOREACH(n, &a->partitions)
    {
        struct snapshot_partition *p = CONTAINER_OF(n, struct snapshot_partition, link);
        at = MIN(at, p->refresh_at_ms);
        if (automatic && p->leading)
            at = MIN(at, MAX(now + CHECK_MS, a->first_check_ms));
    }
    if (a->waits_for_slot)
        at = MIN(at, now + SLOT_POLL_MS);
    if (at == UINT64_MAX)
        env_timer_cancel(a->env, &a->timer);
    else
        env_timer_arm_at(a->env, &a->timer, MAX(at, now + 1));
}

static void on_timer(struct env_timer *t)
{
    struct snapshot_agent *a = CONTAINER_OF(t, struct snapshot_agent, timer);
    a->waits_for_slot = false;
    LIST_FOREACH(n, &a->partitions)
    check(CONTAINER_OF(n, struct snapshot_partition, link));
    arm(a);
}

/* ---- partitions ---- */

static void refuse_all(struct snapshot_partition *p)
{
    struct list *n;
    while ((n = list_pop_front(&p->requests))) {
        struct request *r = CONTAINER_OF(n, struct request, link);
        err_set(&r->err, RC_CANCELED, "the partition processor is stopping");
        refuse(p, r);
    }
}

static void run_task(struct env_task *t)
{
    struct snapshot_partition *p = CONTAINER_OF(t, struct snapshot_partition, task);
    struct list *n;
    while ((n = list_pop_front(&p->refused))) {
        struct request *r = CONTAINER_OF(n, struct request, link);
        r->done(r->ctx, NULL, &r->err);
        free(r);
    }
    if (!p->removed || p->creating)
        return;
    void (*done)(void *) = p->removed_done;
    void *ctx = p->removed_ctx;
    list_remove(&p->link);
    free(p);
    done(ctx);
}

struct snapshot_partition *snapshot_agent_add(struct snapshot_agent *a,
                                              const struct snapshot_partition_config *config)
{
    struct snapshot_partition *p = xcalloc(1, sizeof(*p));
    p->agent = a;
    p->config = *config;
    list_init(&p->requests);
    list_init(&p->refused);
    env_task_init(&p->task, run_task);
    plan_next(p, 0);
    p->refresh_at_ms = env_mono_ms(a->env); /* at once, from the timer */
    list_push_back(&a->partitions, &p->link);
    arm(a);
    return p;
}

void snapshot_partition_lead(struct snapshot_partition *p, bool leading)
{
    if (leading && !p->leading)
        p->refresh_at_ms = env_mono_ms(p->agent->env); /* the leader before may have made one */
    p->leading = leading;
    p->scheduled_ms = 0;
    arm(p->agent);
}

const struct snapshot_status *snapshot_partition_status(const struct snapshot_partition *p)
{
    return &p->status;
}

void snapshot_partition_create(struct snapshot_partition *p, lsn_t min_lsn, snapshot_create_done done,
                               void *ctx)
{
    struct request *r = xcalloc(1, sizeof(*r));
    r->min_lsn = min_lsn;
    r->done = done;
    r->ctx = ctx;
    if (!p->agent->repository)
        err_set(&r->err, RC_UNSUPPORTED,
                "no snapshot repository is configured (worker.snapshots.destination)");
    else if (p->removed)
        err_set(&r->err, RC_CANCELED, "the partition processor is stopping");
    if (r->err.rc != RC_OK) {
        refuse(p, r);
        return;
    }
    list_push_back(&p->requests, &r->link);
    serve(p);
}

void snapshot_partition_remove(struct snapshot_partition *p, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!p->removed);
    p->removed = true;
    p->leading = false;
    p->removed_done = done;
    p->removed_ctx = ctx;
    if (p->query)
        p->query->partition = NULL;
    refuse_all(p);
    if (p->creating)
        snapshot_create_cancel(p->creating);
    when_removed(p);
}

/* ---- agents ---- */

struct snapshot_agent *snapshot_agent_new(struct env *env, struct snapshot_repository *repository,
                                          struct snapshot_slots *slots,
                                          const struct snapshot_agent_config *config)
{
    struct snapshot_agent *a = xcalloc(1, sizeof(*a));
    a->env = env;
    a->repository = repository;
    a->slots = slots;
    a->config = *config;
    list_init(&a->partitions);
    env_timer_init(&a->timer, on_timer);
    a->first_check_ms = env_mono_ms(env) + FIRST_CHECK_MS + env_random(env) % FIRST_CHECK_MS;
    a->uploads = metric_counter("restate_partition_store_snapshots_upload_total", NULL,
                                "Number of partition snapshots that were made");
    a->failures = metric_counter("restate_partition_store_snapshots_upload_failed_total", NULL,
                                 "Number of partition snapshots that failed");
    a->duration = metric_summary("restate_partition_store_snapshots_upload_duration_seconds", NULL,
                                 "Time it took to make a partition snapshot");
    return a;
}

void snapshot_agent_configure(struct snapshot_agent *a, const struct snapshot_agent_config *config)
{
    a->config = *config;
    arm(a);
}

void snapshot_agent_free(struct snapshot_agent *a)
{
    ASSERT(list_empty(&a->partitions));
    env_timer_cancel(a->env, &a->timer);
    free(a);
}

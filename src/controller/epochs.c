/* The cache of epoch metadata: see epochs.h. */
#include "controller/epochs.h"

#include <stdlib.h>

#include "base/log.h"
#include "controller/controller_internal.h"

#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS   1000u

struct slot {
    struct epochs *owner;
    char key[EPOCH_KEY_SIZE];
    enum epochs_state state;
    uint32_t version; /* of `m`, or of a value that cannot be decoded */
    struct arena arena;
    struct epoch_metadata m;
    bool reading;
    struct kv_op op;
    struct list wanted;          /* on `to_read` */
    struct list waiting, served; /* struct epochs_wait: for the next read; for the one under way */
};
struct epochs {
    struct env *env;
    struct kv *kv;
    struct epochs_config config;
    struct slot *slots;
    uint32_t n;
    struct list listeners;
    struct list to_read;
    uint32_t in_flight; /* reads of one partition */
    bool listing, list_wanted, closed;
    struct kv_op list_op;
    struct list list_waiting, list_served;
    uint32_t retry_ms;
    struct env_timer refresh, retry;
    struct env_task pump;
};

static void pump(struct env_task *t);
static void refresh(struct env_timer *t);
static void retry(struct env_timer *t);

struct epochs *epochs_new(struct env *env, struct kv *kv, const struct epochs_config *config)
{
    struct epochs *e = xcalloc(1, sizeof(*e));
    e->env = env;
    e->kv = kv;
    e->config = *config;
    if (!e->config.refresh_ms)
        e->config.refresh_ms = 30000;
    if (!e->config.parallel)
        e->config.parallel = 32;
    list_init(&e->listeners);
    list_init(&e->to_read);
    list_init(&e->list_waiting);
    list_init(&e->list_served);
    env_timer_init(&e->refresh, refresh);
    env_timer_init(&e->retry, retry);
    env_task_init(&e->pump, pump);
    return e;
}

static void free_if_idle(struct epochs *e)
{
    if (!e->closed || e->in_flight || e->listing)
        return;
    for (uint32_t i = 0; i < e->n; i++)
        arena_free(&e->slots[i].arena);
    free(e->slots);
    free(e);
}

void epochs_free(struct epochs *e)
{
    e->closed = true;
    env_timer_cancel(e->env, &e->refresh);
    env_timer_cancel(e->env, &e->retry);
    env_undefer(&e->pump);
    free_if_idle(e);
}

void epochs_listen(struct epochs *e, struct epochs_listener *l)
{
    list_push_back(&e->listeners, &l->link);
}

void epochs_unlisten(struct epochs_listener *l)
{
    list_remove(&l->link);
}

uint32_t epochs_partitions(const struct epochs *e)
{
    return e->n;
}

enum epochs_state epochs_state(const struct epochs *e, uint32_t partition)
{
    return partition < e->n ? e->slots[partition].state : EPOCHS_UNKNOWN;
}

const struct epoch_metadata *epochs_get(const struct epochs *e, uint32_t partition)
{
    return epochs_state(e, partition) >= EPOCHS_PRESENT ? &e->slots[partition].m : NULL;
}

bool epochs_settled(const struct epochs *e, uint32_t partition)
{
    return partition < e->n && !e->slots[partition].reading && !list_linked(&e->slots[partition].wanted);
}

/* ---- values ---- */

static void tell(struct epochs *e, uint32_t partition)
{
    LIST_FOREACH_SAFE(n, next, &e->listeners)
    {
        struct epochs_listener *l = CONTAINER_OF(n, struct epochs_listener, link);
        l->changed(l, partition, &e->slots[partition].m);
    }
}

/* A value that was believed deleted. Going back in versions is going back in epochs: nobody acts on that. */
static void found_again(struct slot *s, uint32_t partition, uint32_t version)
{
    s->state = version == s->version ? EPOCHS_PRESENT : EPOCHS_UNKNOWN;
    if (s->state == EPOCHS_UNKNOWN)
        LOG0(LOG_ERROR, CONTROLLER_LOG,
             "Partition %u is left alone: its epoch metadata went back from version %u to %u", partition,
             s->version, version);
}

static void take(struct epochs *e, uint32_t partition, struct slice stored, uint32_t version)
{
    struct slot *s = &e->slots[partition];
    struct arena arena = {0};
    struct epoch_metadata m;
    struct err err = {0};
    if (version <= s->version && !CONTROLLER_MUTATED(EPOCHS_MUT_BACKWARDS)) {
        if (s->state == EPOCHS_DELETED)
            found_again(s, partition, version);
        return;
    }
    s->version = version;
    if (epoch_metadata_decode(&arena, stored, partition, &m, &err) != RC_OK || m.version != version) {
        LOG0(LOG_ERROR, CONTROLLER_LOG,
             "Partition %u is left alone: version %u of its epoch metadata is not readable: %s", partition,
             version, err.rc ? err.msg : "it contains another version");
        arena_free(&arena);
        s->state = EPOCHS_UNKNOWN;
        return;
    }
    arena_free(&s->arena);
    s->arena = arena;
    s->m = m;
    s->state = EPOCHS_PRESENT;
    tell(e, partition);
}

void epochs_seen(struct epochs *e, const struct kv_entry *entry)
{
    uint32_t partition;
    if (epoch_key_parse(entry->key, &partition) && partition < e->n)
        take(e, partition, bytes_slice(entry->value), entry->version);
}

static void absent(struct slot *s)
{
    s->state = s->m.version ? EPOCHS_DELETED : EPOCHS_ABSENT;
    s->version = s->m.version;
}

/* ---- reading ---- */

static void failed(struct epochs *e)
{
    e->retry_ms = e->retry_ms ? MIN(2 * e->retry_ms, RETRY_MAX_MS) : RETRY_FIRST_MS;
    env_timer_arm(e->env, &e->retry, e->retry_ms);
}

static void retry(struct env_timer *t)
{
    struct epochs *e = CONTAINER_OF(t, struct epochs, retry);
    env_defer(e->env, &e->pump);
}

static void answer(struct list *waiters, enum rc rc, const char *message)
{
    struct list *n;
    while ((n = list_pop_front(waiters))) {
        struct epochs_wait *w = CONTAINER_OF(n, struct epochs_wait, link);
        w->done(w, rc, message);
    }
}

static void want(struct slot *s)
{
    struct epochs *e = s->owner;
    if (!list_linked(&s->wanted))
        list_push_back(&e->to_read, &s->wanted);
    if (!env_timer_armed(&e->retry))
        env_defer(e->env, &e->pump);
}

static void read_done(struct kv_op *op, const struct kv_result *r)
{
    struct slot *s = CONTAINER_OF(op, struct slot, op);
    struct epochs *e = s->owner;
    uint32_t partition = (uint32_t)(s - e->slots);
    e->in_flight--;
    s->reading = false;
    if (e->closed) {
        free_if_idle(e);
        return;
    }
    if (r->rc == RC_OK) {
        take(e, partition, bytes_slice(r->entry.value), r->entry.version);
    } else if (r->rc == RC_NOT_FOUND) {
        absent(s);
    } else {
        if (!list_linked(&s->wanted))
            list_push_back(&e->to_read, &s->wanted);
        failed(e);
    }
    bool good = r->rc == RC_OK || r->rc == RC_NOT_FOUND;
    if (good)
        e->retry_ms = 0;
    answer(&s->served, good ? RC_OK : r->rc, r->message);
    if (!list_empty(&e->to_read) && !env_timer_armed(&e->retry))
        env_defer(e->env, &e->pump);
}

static void list_done(struct kv_op *op, const struct kv_result *r)
{
    struct epochs *e = CONTAINER_OF(op, struct epochs, list_op);
    e->listing = false;
    if (e->closed) {
        free_if_idle(e);
        return;
    }
    if (r->rc != RC_OK) {
        e->list_wanted = true;
        failed(e);
        answer(&e->list_served, r->rc, r->message);
        return;
    }
    e->retry_ms = 0;
    uint8_t *listed = xcalloc(e->n + 1, 1);
    for (size_t i = 0; i < r->n_entries; i++) {
        uint32_t partition;
        if (epoch_key_parse(r->entries[i].key, &partition) && partition < e->n) {
            listed[partition] = 1;
            take(e, partition, bytes_slice(r->entries[i].value), r->entries[i].version);
        }
    }
    for (uint32_t i = 0; i < e->n; i++) {
        struct slot *s = &e->slots[i];
        if (listed[i])
            continue;
        if (s->version == 0)
            absent(s);
        else
            want(s); /* written after the list was taken, or deleted */
    }
    free(listed);
    answer(&e->list_served, RC_OK, "");
    env_defer(e->env, &e->pump);
}

static void start_list(struct epochs *e)
{
    e->listing = true;
    e->list_wanted = false;
    list_splice(&e->list_served, &e->list_waiting);
    e->list_op = (struct kv_op){.kind = KV_LIST, .key = SLICE_LIT(EPOCH_KEY_PREFIX), .done = list_done};
    env_timer_arm(e->env, &e->refresh, e->config.refresh_ms);
    kv_submit(e->kv, &e->list_op);
}

static void pump(struct env_task *t)
{
    struct epochs *e = CONTAINER_OF(t, struct epochs, pump);
    struct list *n;
    if (e->list_wanted && !e->listing && e->n)
        start_list(e);
    struct list again;
    list_init(&again);
    while (e->in_flight < e->config.parallel && (n = list_pop_front(&e->to_read))) {
        struct slot *s = CONTAINER_OF(n, struct slot, wanted);
        if (s->reading) { /* its answer may be older than the wish */
            list_push_back(&again, n);
            continue;
        }
        s->reading = true;
        e->in_flight++;
        list_splice(&s->served, &s->waiting);
        s->op = (struct kv_op){.kind = KV_GET, .key = slice_cstr(s->key), .done = read_done};
        kv_submit(e->kv, &s->op);
    }
    list_splice(&e->to_read, &again);
}

/* ---- what starts reads ---- */

static void refresh(struct env_timer *t)
{
    epochs_refresh_all(CONTAINER_OF(t, struct epochs, refresh), NULL);
}

void epochs_set_partitions(struct epochs *e, uint32_t n)
{
    if (e->n || !n) {
        ASSERT_MSG(!n || e->n == n, "the number of partitions is fixed at provisioning");
        return;
    }
    e->slots = xcalloc(n, sizeof(*e->slots));
    e->n = n;
    for (uint32_t i = 0; i < n; i++) {
        struct slot *s = &e->slots[i];
        s->owner = e;
        epoch_key(i, s->key);
        list_init(&s->wanted);
        list_init(&s->waiting);
        list_init(&s->served);
    }
    epochs_refresh_all(e, NULL);
}

void epochs_heard(struct epochs *e, uint32_t partition, uint32_t version)
{
    if (partition < e->n && version > e->slots[partition].version)
        epochs_refresh(e, partition, NULL);
}

void epochs_refresh(struct epochs *e, uint32_t partition, struct epochs_wait *w)
{
    ASSERT(partition < e->n);
    struct slot *s = &e->slots[partition];
    if (w)
        list_push_back(&s->waiting, &w->link);
    want(s);
}

void epochs_refresh_all(struct epochs *e, struct epochs_wait *w)
{
    if (w)
        list_push_back(&e->list_waiting, &w->link);
    e->list_wanted = true;
    if (!env_timer_armed(&e->retry))
        env_defer(e->env, &e->pump);
}

/* The log-server: requests in, replies out. See log_server.h; writing is in log_server_write.c. */
#include "bifrost/log_server.h"

#include <stdlib.h>

#include "bifrost/log_server_internal.h"

#define PENDING_LIMIT  ((size_t)64 << 20)
#define HOUSEKEEP_MS   10000 /* global tails become durable about this often */
#define UNLOAD_IDLE_MS 60000

static bool meta_is_dirty(const struct ls_loglet *l)
{
    return l->meta_saved && (l->saved_committed < l->committed_tail || l->saved_repaired < l->repaired_tail);
}

static bool can_unload(const struct ls_loglet *l, uint64_t now)
{
    return list_empty(&l->ops) && list_empty(&l->waiters) && !meta_is_dirty(l) && !l->sealing &&
           now - l->used_ms >= UNLOAD_IDLE_MS;
}

void log_server_flush(struct log_server *s)
{
    if (s->failsafe)
        return;
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n)) {
        struct ls_loglet *l = CONTAINER_OF(n, struct ls_loglet, node);
        if (meta_is_dirty(l))
            ls_save_meta(l);
    }
}

static void housekeep(struct env_timer *t)
{
    struct log_server *s = CONTAINER_OF(t, struct log_server, housekeeping);
    uint64_t now = env_mono_ms(s->config.env);
    log_server_flush(s);
    struct omap_node *next;
    for (struct omap_node *n = omap_first(&s->loglets); n; n = next) {
        next = omap_next(n);
        struct ls_loglet *l = CONTAINER_OF(n, struct ls_loglet, node);
        if (can_unload(l, now))
            ls_loglet_free(l);
    }
    if (s->loglets.count > 0)
        env_timer_arm(s->config.env, &s->housekeeping, HOUSEKEEP_MS);
}

static void full_retry(struct env_timer *t)
{
    struct log_server *s = CONTAINER_OF(t, struct log_server, full_retry);
    env_defer(s->config.env, &s->work);
}

static int loglet_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct ls_loglet, node)->id, y = CONTAINER_OF(b, struct ls_loglet, node)->id;
    return x < y ? -1 : x > y;
}

struct log_server *log_server_new(const struct log_server_config *config)
{
    struct log_server *s = xcalloc(1, sizeof(*s));
    s->config = *config;
    if (!s->config.pending_limit_bytes)
        s->config.pending_limit_bytes = PENDING_LIMIT;
    omap_init(&s->loglets, loglet_cmp);
    list_init(&s->queue);
    list_init(&s->writing);
    env_task_init(&s->work, ls_write_work);
    env_timer_init(&s->housekeeping, housekeep);
    env_timer_init(&s->full_retry, full_retry);
    s->batch.done = ls_batch_done;
    s->batch.control_only = true;
    return s;
}

static void free_ops(struct list *ops)
{
    LIST_FOREACH_SAFE(n, next, ops)
    {
        ls_op_free(CONTAINER_OF(n, struct ls_op, link));
    }
}

void log_server_free(struct log_server *s)
{
    env_undefer(&s->work);
    env_timer_cancel(s->config.env, &s->housekeeping);
    env_timer_cancel(s->config.env, &s->full_retry);
    free_ops(&s->writing);
    free_ops(&s->queue);
    struct omap_node *n;
    while ((n = omap_first(&s->loglets)))
        ls_loglet_free(CONTAINER_OF(n, struct ls_loglet, node));
    for (size_t i = 0; i < s->metas.len; i++)
        buf_unref(s->metas.items[i]);
    VEC_FREE(&s->metas);
    free(s->lost.lost);
    free(s->batch.items);
    free(s);
}

static void handle(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    switch (m->kind) {
    case LOGLET_STORE:
        ls_store(l, from, m);
        return;
    case LOGLET_SEAL:
        ls_seal(l, from, m);
        return;
    case LOGLET_GET_INFO:
        ls_reply(l, from, LOGLET_INFO, m->request_id, LOGLET_OK);
        return;
    case LOGLET_GET_RECORDS:
        ls_get_records(l, from, m);
        return;
    case LOGLET_GET_DIGEST:
        ls_get_digest(l, from, m);
        return;
    case LOGLET_WAIT_FOR_TAIL:
        ls_waiter_add(l, from, m);
        return;
    case LOGLET_TRIM:
        ls_trim(l, from, m);
        return;
    default:
        return; /* RELEASE: the tails were all it had to say */
    }
}

/* A reply follows its request in the list of kinds. */
static void answer_lost(struct log_server *s, const struct log_server_peer *from,
                        const struct loglet_message *m)
{
    if (m->kind == LOGLET_RELEASE)
        return;
    struct loglet_message reply = {.kind = m->kind + 1,
                                   .request_id = m->request_id,
                                   .loglet_id = m->loglet_id,
                                   .status = LOGLET_LOST,
                                   .committed_tail = 1,
                                   .repaired_tail = 1,
                                   .local_tail = 1,
                                   .first_offset = 1,
                                   .next_offset = 1};
    s->stats.refused++;
    s->config.reply(s->config.ctx, from, &reply);
}

void log_server_set_lost(struct log_server *s, const struct storage_generation *generation)
{
    free(s->lost.lost);
    s->lost = *generation;
    s->lost.lost = xcalloc(generation->n_lost + 1, sizeof(*s->lost.lost));
    if (generation->n_lost)
        memcpy(s->lost.lost, generation->lost, generation->n_lost * sizeof(*s->lost.lost));
}

void log_server_on_message(struct log_server *s, const struct log_server_peer *from,
                           const struct loglet_message *m)
{
    if (loglet_message_is_reply(m->kind))
        return;
    if (storage_generation_lost(&s->lost, (uint32_t)(m->loglet_id >> 32), (uint32_t)m->loglet_id)) {
        answer_lost(s, from, m);
        return;
    }
    struct ls_loglet *l = ls_loglet_get(s, m->loglet_id);
    l->used_ms = env_mono_ms(s->config.env);
    if (!env_timer_armed(&s->housekeeping))
        env_timer_arm(s->config.env, &s->housekeeping, HOUSEKEEP_MS);
    ls_loglet_merge_tails(l, m->committed_tail, m->repaired_tail);
    handle(l, from, m);
}

void log_server_set_writable(struct log_server *s, bool writable)
{
    s->unwritable = !writable;
}

bool log_server_failsafe(const struct log_server *s)
{
    return s->failsafe;
}

bool log_server_busy(const struct log_server *s)
{
    return s->busy || (!list_empty(&s->queue) && !s->failsafe && !env_timer_armed(&s->full_retry));
}

void log_server_get_stats(const struct log_server *s, struct log_server_stats *out)
{
    *out = s->stats;
    out->loglets = s->loglets.count;
    out->pending_bytes = s->pending_bytes;
}

static unsigned pending_seals(const struct ls_loglet *l)
{
    unsigned n = 0;
    LIST_FOREACH(o, &l->ops)
    n += CONTAINER_OF(o, struct ls_op, sibling)->kind == LS_SEAL;
    return n;
}

void log_server_each(struct log_server *s, void (*visit)(void *ctx, const struct log_server_loglet_view *v),
                     void *ctx)
{
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n)) {
        const struct ls_loglet *l = CONTAINER_OF(n, struct ls_loglet, node);
        struct log_server_loglet_view v = {.id = l->id,
                                           .local_tail = l->local_tail,
                                           .staged_tail = l->staged_tail,
                                           .used_ms = l->used_ms,
                                           .waiters = l->n_waiters,
                                           .pending_seals = pending_seals(l),
                                           .accepting_writes =
                                               !l->sealed && !l->sealing && !s->failsafe && !s->unwritable,
                                           .trim_point = l->trim_point,
                                           .committed_tail = l->committed_tail,
                                           .repaired_tail = l->repaired_tail,
                                           .sealed = l->sealed,
                                           .sealing = l->sealing,
                                           .sequencer = l->sequencer};
        visit(ctx, &v);
    }
}

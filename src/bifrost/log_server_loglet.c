/* Log-server: the state of one loglet, its metadata on disk, replies and waiters. */
#include <stdlib.h>

#include "bifrost/log_server_internal.h"

#define META_VERSION 1
#define WAITERS_MAX  64 /* per loglet; beyond, the answer comes at once */

/* Sequencer identity and global tails, in the store's blob per loglet. */
static bool meta_decode(struct ls_loglet *l, struct slice meta)
{
    struct reader r = reader_make(meta);
    if (read_u8(&r) != META_VERSION)
        return false;
    l->sequencer.id = read_u32le(&r);
    l->sequencer.generation = read_u32le(&r);
    l->committed_tail = read_u64le(&r);
    l->repaired_tail = read_u64le(&r);
    return reader_done(&r) && l->committed_tail >= 1 && l->repaired_tail >= 1;
}

struct buf *ls_meta_encode(const struct ls_loglet *l, size_t *len)
{
    struct writer w = WRITER_INIT;
    write_u8(&w, META_VERSION);
    write_u32le(&w, l->sequencer.id);
    write_u32le(&w, l->sequencer.generation);
    write_u64le(&w, l->committed_tail);
    write_u64le(&w, l->repaired_tail);
    *len = w.len;
    return w.buf;
}

static void load(struct ls_loglet *l)
{
    struct loglet_info info;
    l->committed_tail = l->repaired_tail = 1;
    enum rc rc = l->server->config.store->ops->info(l->server->config.store, l->id, &info);
    if (rc != RC_OK) {
        l->local_tail = l->staged_tail = 1;
        return;
    }
    if (info.meta.len > 0) {
        ASSERT_MSG(meta_decode(l, info.meta), "the metadata of loglet %llu cannot be read",
                   (unsigned long long)l->id);
        l->meta_saved = true;
    }
    l->saved_committed = l->committed_tail;
    l->saved_repaired = l->repaired_tail;
    l->trim_point = info.trim_point;
    l->committed_tail =
        MAX(l->committed_tail, info.trim_point + 1); /* only what is committed is ever trimmed */
    l->local_tail = MAX(info.tail, info.trim_point + 1);
    l->staged_tail = l->local_tail;
    l->sealed = info.sealed;
}

static int key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t a = *(const uint64_t *)key, b = CONTAINER_OF(n, struct ls_loglet, node)->id;
    return a < b ? -1 : a > b;
}

struct ls_loglet *ls_loglet_get(struct log_server *s, uint64_t id)
{
    struct omap_node *n = omap_find(&s->loglets, &id, key_cmp);
    if (n)
        return CONTAINER_OF(n, struct ls_loglet, node);
    struct ls_loglet *l = xcalloc(1, sizeof(*l));
    l->server = s;
    l->id = id;
    list_init(&l->ops);
    list_init(&l->waiters);
    load(l);
    omap_insert(&s->loglets, &l->node);
    return l;
}

static void waiter_free(struct ls_waiter *w)
{
    env_timer_cancel(w->loglet->server->config.env, &w->timer);
    list_remove(&w->link);
    w->loglet->n_waiters--;
    free(w);
}

void ls_loglet_free(struct ls_loglet *l)
{
    ASSERT(list_empty(&l->ops));
    LIST_FOREACH_SAFE(n, next, &l->waiters)
    {
        waiter_free(CONTAINER_OF(n, struct ls_waiter, link));
    }
    omap_remove(&l->server->loglets, &l->node);
    free(l);
}

/* Trap TR-1: two watermarks, never mixed. `committed` is the sequencer's word and may be delivered by
 * readers; `repaired` comes from sealers, of whom there may be several with different ideas of the end of the
 * segment. */
void ls_loglet_merge_tails(struct ls_loglet *l, uint64_t committed, uint64_t repaired)
{
    bool news = committed > l->committed_tail;
    l->committed_tail = MAX(l->committed_tail, committed);
    l->repaired_tail = MAX(l->repaired_tail, repaired);
    if (news)
        ls_wake_waiters(l);
}

/* ---- replies ---- */

void ls_reply_head(const struct ls_loglet *l, enum loglet_message_kind kind, uint64_t request_id,
                   enum loglet_status status, struct loglet_message *out)
{
    *out = (struct loglet_message){.kind = kind,
                                   .request_id = request_id,
                                   .loglet_id = l->id,
                                   .committed_tail = l->committed_tail,
                                   .repaired_tail = l->repaired_tail,
                                   .status = status,
                                   .sealed = l->sealed,
                                   .local_tail = l->local_tail,
                                   .trim_point = l->trim_point};
}

void ls_reply(struct ls_loglet *l, const struct log_server_peer *to, enum loglet_message_kind kind,
              uint64_t request_id, enum loglet_status status)
{
    struct loglet_message m;
    ls_reply_head(l, kind, request_id, status, &m);
    l->server->config.reply(l->server->config.ctx, to, &m);
}

/* ---- waiting for the tail ---- */

static void waiter_answer(struct ls_waiter *w)
{
    struct ls_loglet *l = w->loglet;
    struct log_server_peer peer = w->peer;
    uint64_t id = w->request_id;
    waiter_free(w);
    ls_reply(l, &peer, LOGLET_TAIL, id, LOGLET_OK);
}

static void waiter_fire(struct env_timer *t)
{
    waiter_answer(CONTAINER_OF(t, struct ls_waiter, timer));
}

void ls_wake_waiters(struct ls_loglet *l)
{
    LIST_FOREACH_SAFE(n, next, &l->waiters)
    {
        struct ls_waiter *w = CONTAINER_OF(n, struct ls_waiter, link);
        if (l->sealed || w->committed_tail <= l->committed_tail)
            waiter_answer(w);
    }
}

void ls_waiter_add(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    if (l->sealed || m->from <= l->committed_tail || m->timeout_ms == 0 || l->n_waiters == WAITERS_MAX) {
        ls_reply(l, from, LOGLET_TAIL, m->request_id, LOGLET_OK);
        return;
    }
    struct ls_waiter *w = xcalloc(1, sizeof(*w));
    w->loglet = l;
    w->peer = *from;
    w->request_id = m->request_id;
    w->committed_tail = m->from;
    env_timer_init(&w->timer, waiter_fire);
    env_timer_arm(l->server->config.env, &w->timer, m->timeout_ms);
    list_push_back(&l->waiters, &w->link);
    l->n_waiters++;
}

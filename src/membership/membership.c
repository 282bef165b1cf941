/* Life of the object, the set of nodes, and what can be asked about them: see membership.h. */
#include <stdlib.h>

#include "membership/membership_internal.h"

void membership_config_default(struct membership_config *c)
{
    *c = (struct membership_config){
        .tick_ms = 100,
        .failure_threshold = 10,
        .num_peers = 2,
        .stability_threshold = 3,
        .suspect_ms = 5000,
        .loneliness_threshold = 30,
        .extras_every = 10,
    };
}

const char *membership_verdict_name(enum membership_verdict v)
{
    static const char *const names[] = {"dead", "suspect", "alive", "failing-over"};
    ASSERT((size_t)v < ARRAY_LEN(names));
    return names[v];
}

static void notify(struct env_task *t)
{
    struct membership *m = CONTAINER_OF(t, struct membership, notify_task);
    unsigned what = m->changed;
    m->changed = 0;
    if (what)
        m->ops->changed(m->ctx, what);
    membership_ask(m);
}

struct membership *membership_new(struct env *env, const struct membership_config *config,
                                  const struct membership_ops *ops, void *ctx)
{
    struct membership *m = xcalloc(1, sizeof(*m));
    m->env = env;
    m->ops = ops;
    m->ctx = ctx;
    env_timer_init(&m->timer, NULL);
    env_timer_init(&m->flush_timer, membership_flush_timer);
    env_task_init(&m->flush_task, membership_flush_run);
    env_task_init(&m->notify_task, notify);
    membership_configure(m, config);
    membership_metrics_init(m);
    return m;
}

void membership_configure(struct membership *m, const struct membership_config *config)
{
    m->config = *config;
    m->config.tick_ms = MAX(m->config.tick_ms, (uint64_t)1);
    m->config.failure_threshold = MAX(m->config.failure_threshold, 1u);
    m->config.stability_threshold = MAX(m->config.stability_threshold, 1u);
    m->config.extras_every = MIN(MAX(m->config.extras_every, 1u), EXTRAS_EVERY_MAX);
}

static void peer_free(struct peer *p)
{
    free(p->hears);
    VEC_FREE(&p->statuses);
}

void membership_free(struct membership *m)
{
    if (!m)
        return;
    env_timer_cancel(m->env, &m->timer);
    env_timer_cancel(m->env, &m->flush_timer);
    env_undefer(&m->flush_task);
    env_undefer(&m->notify_task);
    for (size_t i = 0; i < m->n_peers; i++)
        peer_free(&m->peers[i]);
    free(m->peers);
    free(m->partitions);
    VEC_FREE(&m->withdrawn);
    free(m);
}

void membership_notify_later(struct membership *m)
{
    env_defer(m->env, &m->notify_task);
}

void membership_note(struct membership *m, unsigned what)
{
    m->changed |= what;
    membership_notify_later(m);
}

/* ---- the set of nodes ---- */

struct peer *membership_peer(const struct membership *m, uint32_t id)
{
    size_t lo = 0, hi = m->n_peers;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->peers[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < m->n_peers && m->peers[lo].id == id ? &m->peers[lo] : NULL;
}

static void count_others(struct membership *m)
{
    m->n_others = (uint32_t)m->n_peers - (membership_own(m) ? 1 : 0);
}

/* The own entry is always alive and of the own generation. */
static void adopt_self(struct membership *m)
{
    count_others(m);
    struct peer *own = membership_own(m);
    if (!own)
        return;
    own->generation = m->self.generation;
    own->verdict = MEMBERSHIP_ALIVE;
    own->ever_heard = own->reachable = true;
}

static int by_id(const void *a, const void *b)
{
    const struct peer *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

void membership_set_nodes(struct membership *m, const struct nodes_config *nodes)
{
    if (m->fingerprint && nodes->version <= m->nodes_version)
        return;
    struct peer *next = xcalloc(nodes->n_nodes + 1, sizeof(*next));
    size_t n = 0;
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        if (e->tombstone)
            continue;
        struct peer *old = membership_peer(m, e->id);
        next[n] =
            old ? *old
                : (struct peer){.id = e->id, .generation = e->generation, .known_at = membership_clock(m)};
        if (old)
            old->id = 0; /* moved */
        n++;
    }
    for (size_t i = 0; i < m->n_peers; i++)
        if (m->peers[i].id)
            peer_free(&m->peers[i]);
    free(m->peers);
    qsort(next, n, sizeof(*next), by_id);
    m->peers = next;
    m->n_peers = n;
    m->nodes_version = nodes->version;
    m->fingerprint = nodes->cluster_fingerprint;
    adopt_self(m);
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        struct peer *p = membership_peer(m, nodes->nodes[i].id);
        if (p && !membership_is_self(m, p) && nodes->nodes[i].generation > p->generation)
            membership_fresh_instance(m, p, nodes->nodes[i].generation);
    }
    membership_note(m, MEMBERSHIP_NODES);
    membership_start(m);
}

void membership_set_self(struct membership *m, struct node_ref self, uint64_t started_mono_ms)
{
    ASSERT(m->self.id == 0 && self.id && self.generation);
    m->self = self;
    m->started_ms = started_mono_ms;
    adopt_self(m);
    membership_note(m, MEMBERSHIP_NODES);
    membership_start(m);
}

/* ---- questions ---- */

static enum membership_verdict verdict_of(const struct membership *m, const struct peer *p)
{
    bool failing_over = membership_is_self(m, p) ? m->failing_over : p->failing_over;
    return failing_over && p->verdict != MEMBERSHIP_DEAD ? MEMBERSHIP_FAILING_OVER : p->verdict;
}

size_t membership_node_count(const struct membership *m)
{
    return m->n_peers;
}

void membership_node_at(const struct membership *m, size_t i, struct membership_node *out)
{
    ASSERT(i < m->n_peers);
    const struct peer *p = &m->peers[i];
    uint64_t now = env_mono_ms(m->env);
    *out = (struct membership_node){
        .node = {p->id, p->generation},
        .verdict = verdict_of(m, p),
        .self = membership_is_self(m, p),
        .reachable = p->reachable,
        .ever_heard = p->ever_heard,
        .last_news_ms = p->news_ms,
        .uptime_ms = p->uptime_ms ? p->uptime_ms + (now - p->uptime_at_ms) : 0,
    };
    if (out->self) {
        out->last_news_ms = now;
        out->uptime_ms = now - m->started_ms;
    }
}

bool membership_node(const struct membership *m, uint32_t node, struct membership_node *out)
{
    const struct peer *p = membership_peer(m, node);
    if (p)
        membership_node_at(m, (size_t)(p - m->peers), out);
    return p;
}

enum membership_verdict membership_verdict(const struct membership *m, uint32_t node)
{
    const struct peer *p = membership_peer(m, node);
    return p ? verdict_of(m, p) : MEMBERSHIP_DEAD;
}

uint32_t membership_generation(const struct membership *m, uint32_t node)
{
    const struct peer *p = membership_peer(m, node);
    return p ? p->generation : 0;
}

bool membership_reachable(const struct membership *m, uint32_t node)
{
    const struct peer *p = membership_peer(m, node);
    return p && p->reachable;
}

/* Does `p` say that it hears `node`? -1: nothing recent is known. */
static int says_it_hears(const struct membership *m, const struct peer *p, uint32_t node)
{
    if (!p->has_hears || !membership_hears(m, p))
        return -1;
    for (size_t i = 0; i < p->n_hears; i++)
        if (p->hears[i] == node)
            return 1;
    return 0;
}

static bool link_of(const struct membership *m, const struct peer *a, const struct peer *b)
{
    if (a == b)
        return true;
    if (membership_is_self(m, a) || membership_is_self(m, b))
        return membership_is_self(m, a) ? b->reachable : a->reachable;
    int ab = says_it_hears(m, a, b->id), ba = says_it_hears(m, b, a->id);
    return ab != 0 && ba != 0 && (ab > 0 || ba > 0);
}

bool membership_link(const struct membership *m, uint32_t a, uint32_t b)
{
    const struct peer *pa = membership_peer(m, a), *pb = membership_peer(m, b);
    return pa && pb && link_of(m, pa, pb);
}

uint32_t membership_link_count(const struct membership *m, uint32_t node)
{
    const struct peer *p = membership_peer(m, node);
    uint32_t count = 0;
    for (size_t i = 0; p && i < m->n_peers; i++) {
        const struct peer *q = &m->peers[i];
        count += q != p && q->verdict != MEMBERSHIP_DEAD && link_of(m, p, q);
    }
    return count;
}

bool membership_ready(const struct membership *m)
{
    uint64_t now = membership_clock(m);
    if (!m->running || now < m->ready_at)
        return false;
    if (now >= m->settled_at)
        return true;
    for (size_t i = 0; i < m->n_peers; i++)
        if (m->peers[i].verdict != MEMBERSHIP_ALIVE)
            return false;
    return true;
}

bool membership_lonely(const struct membership *m)
{
    uint64_t limit = m->config.loneliness_threshold * m->config.tick_ms;
    return m->running && m->n_others && membership_clock(m) - m->received_at > limit;
}

const struct membership_stats *membership_stats(const struct membership *m)
{
    return &m->stats;
}

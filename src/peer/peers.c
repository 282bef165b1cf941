/* Implementation of peer/peer.h: whom to dial, when, and who wants to know. */
#include "peer/peer.h"

#include <stdlib.h>

#include "base/hash.h"
#include "peer/internal.h"

/* ---- names, limits, addresses ---- */

const char *peer_channel_name(enum peer_channel c)
{
    static const char *const names[] = {"?", "control", "log", "partition"};
    return (unsigned)c < ARRAY_LEN(names) ? names[c] : names[0];
}

size_t peer_frame_limit(enum peer_channel c)
{
    return c == PEER_CONTROL ? 40u << 20 : 96u << 20;
}

const char *peer_down_reason_name(enum peer_down_reason r)
{
    static const char *const names[] = {"gone", "silent", "refused", "closed"};
    return (unsigned)r < ARRAY_LEN(names) ? names[r] : "?";
}

void peers_config_default(struct peers_config *c)
{
    *c = (struct peers_config){
        .cluster_name = "localcluster",
        .connect_timeout_ms = 3000,
        .handshake_timeout_ms = 3000,
        .keep_alive_interval_ms = 1000,
        .keep_alive_timeout_ms = 3000,
        .retry_min_ms = 250,
        .retry_max_ms = 3000,
        .queue_limit_bytes = 64u << 20,
    };
}

/* ---- life ---- */

struct peers *peers_new(struct loop *loop, const struct peers_config *config)
{
    struct peers *p = xcalloc(1, sizeof(*p));
    p->loop = loop;
    p->env = loop_env(loop);
    p->config = *config;
    p->config.cluster_name = xstrdup(config->cluster_name);
    atomic_init(&p->refs, 1);
    hmap_init(&p->nodes);
    hmap_init(&p->links_by_id);
    list_init(&p->links);
    list_init(&p->address_dials);
    p->metrics.dialed =
        metric_gauge("restate_peer_links", "direction=\"dialed\"", "Links to other nodes that are up");
    p->metrics.accepted =
        metric_gauge("restate_peer_links", "direction=\"accepted\"", "Links to other nodes that are up");
    p->metrics.sent =
        metric_counter("restate_peer_sent_bytes_total", NULL, "Bytes of frames queued for other nodes");
    p->metrics.received =
        metric_counter("restate_peer_received_bytes_total", NULL, "Bytes read from other nodes");
    p->metrics.lost = metric_counter("restate_peer_links_lost_total", NULL, "Links that were up and ended");
    p->metrics.refused = metric_counter("restate_peer_links_refused_total", NULL,
                                        "Links refused by either side: wrong cluster, node or generation");
    p->metrics.dropped = metric_counter("restate_peer_frames_dropped_total", NULL,
                                        "Frames not queued because a link's queue was full");
    return p;
}

void peers_ref(struct peers *p)
{
    atomic_fetch_add(&p->refs, 1);
}

void peers_unref(struct peers *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    free((char *)p->config.cluster_name);
    free(p);
}

static void node_free(struct peers *p, struct peer_node *n)
{
    for (size_t c = 1; c < PEER_CHANNELS; c++)
        env_timer_cancel(p->env, &n->dials[c].timer);
    free(n->address);
    free(n);
}

static void address_dial_free(struct peer_dial *d)
{
    env_timer_cancel(d->peers->env, &d->timer);
    list_remove(&d->member);
    d->peers->n_address_dials--;
    free(d->address);
    free(d);
}

void peers_free(struct peers *p)
{
    p->closed = true;
    LIST_FOREACH_SAFE(n, next, &p->links) link_abandon(CONTAINER_OF(n, struct link, member));
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&p->nodes, &it); n; n = hmap_step(&p->nodes, &it))
        node_free(p, CONTAINER_OF(n, struct peer_node, by_id));
    LIST_FOREACH_SAFE(n, next, &p->address_dials)
    address_dial_free(CONTAINER_OF(n, struct peer_dial, member));
    hmap_free(&p->nodes);
    hmap_free(&p->links_by_id);
    peers_unref(p);
}

void peers_serve(struct peers *p, enum peer_service service, const struct peer_service_ops *ops, void *ctx)
{
    ASSERT(service > 0 && service < PEER_SERVICES && !(ops && p->services[service].ops));
    p->services[service].ops = ops;
    p->services[service].ctx = ctx;
}

/* ---- dialing ---- */

static void dial_timer(struct env_timer *t);

static void dial_init(struct peer_dial *d, struct peers *p, enum peer_channel channel)
{
    list_init(&d->member);
    d->peers = p;
    d->channel = channel;
    d->pause_ms = p->config.retry_min_ms;
    env_timer_init(&d->timer, dial_timer);
}

static bool dial_wanted(const struct peer_dial *d)
{
    return d->wanted && env_mono_ms(d->peers->env) - d->last_wanted <= PEER_WANTED_MS;
}

static enum rc dial_start(struct peer_dial *d)
{
    struct net_address address;
    struct err err = {0};
    const char *text = d->node ? d->node->address : d->address;
    ASSERT(!d->link);
    env_timer_cancel(d->peers->env, &d->timer);
    if (!text || (d->node && (d->node->removed || !d->peers->me.id)))
        return RC_UNAVAILABLE;
    if (peer_address_parse(slice_cstr(text), &address, &err) != RC_OK) {
        uint64_t h = hash64(slice_cstr(err.msg));
        if (d->last_refusal != h)
            LOG0(LOG_WARN, PEER_TARGET, "Cannot connect to a node: %s", err.msg);
        d->last_refusal = h;
        return RC_UNAVAILABLE;
    }
    d->link = link_dial(d, &address);
    return RC_OK;
}

static void dial_timer(struct env_timer *t)
{
    struct peer_dial *d = CONTAINER_OF(t, struct peer_dial, timer);
    if (d->link)
        return;
    if (dial_wanted(d))
        dial_start(d);
    else if (!d->node)
        address_dial_free(d);
}

void dial_link_up(struct peer_dial *d)
{
    d->pause_ms = d->peers->config.retry_min_ms;
    d->last_refusal = 0;
}

void dial_link_down(struct peer_dial *d, const struct link *l)
{
    struct peers *p = d->peers;
    ASSERT(d->link == l);
    d->link = NULL;
    if (l->down.reason == PEER_DOWN_REFUSED && !l->too_early) {
        uint64_t h = hash64(slice_cstr(l->why));
        if (d->last_refusal != h)
            LOG0(LOG_WARN, PEER_TARGET, "No link to another node: %s", l->why);
        d->last_refusal = h;
        d->pause_ms = p->config.retry_max_ms;
    }
    uint64_t pause = d->pause_ms + env_random(p->env) % (d->pause_ms / 4 + 1);
    d->pause_ms = MIN(d->pause_ms * 2, p->config.retry_max_ms);
    d->retry_at = env_mono_ms(p->env) + pause;
    env_timer_arm_at(p->env, &d->timer, d->retry_at);
}

static enum rc dial_send(struct peer_dial *d, enum peer_service service, const struct bytes *parts,
                         size_t n_parts, uint64_t *link)
{
    uint64_t now = env_mono_ms(d->peers->env);
    d->wanted = true;
    d->last_wanted = now;
    if (!d->link && now < d->retry_at) {
        if (!env_timer_armed(&d->timer))
            env_timer_arm_at(d->peers->env, &d->timer, d->retry_at);
        return RC_UNAVAILABLE;
    }
    enum rc rc = d->link ? RC_OK : dial_start(d);
    if (rc == RC_OK)
        rc = link_send(d->link, service, parts, n_parts);
    if (rc == RC_OK && link)
        *link = d->link->info.id;
    return rc;
}

/* What waits, waits no longer. */
static void dial_wake(struct peer_dial *d)
{
    struct peers *p = d->peers;
    d->pause_ms = p->config.retry_min_ms;
    d->retry_at = 0;
    if (!d->link && dial_wanted(d))
        dial_start(d);
    else if (d->link && d->link->state == LINK_CONNECTING &&
             env_mono_ms(p->env) - d->link->connecting_since >= PEER_RECONNECT_MS)
        link_reconnect(d->link);
}

/* ---- nodes ---- */

struct peer_node *peers_find_node(const struct peers *p, uint32_t id)
{
    for (struct hmap_node *n = hmap_first(&p->nodes, id); n; n = hmap_next_same(n)) {
        struct peer_node *node = CONTAINER_OF(n, struct peer_node, by_id);
        if (node->ref.id == id)
            return node;
    }
    return NULL;
}

static struct peer_node *node_of(struct peers *p, uint32_t id)
{
    struct peer_node *n = peers_find_node(p, id);
    if (n)
        return n;
    n = xcalloc(1, sizeof(*n));
    n->ref.id = id;
    for (size_t c = 1; c < PEER_CHANNELS; c++) {
        dial_init(&n->dials[c], p, (enum peer_channel)c);
        n->dials[c].node = n;
    }
    hmap_insert(&p->nodes, &n->by_id, id);
    return n;
}

void peers_learn(struct peers *p, struct node_ref ref)
{
    struct peer_node *n = node_of(p, ref.id);
    if (ref.generation <= n->ref.generation)
        return;
    n->ref.generation = ref.generation;
    LIST_FOREACH_SAFE(m, next, &p->links)
    {
        struct link *l = CONTAINER_OF(m, struct link, member);
        if (l->info.node.id == ref.id && l->info.node.generation < ref.generation && l->state == LINK_UP)
            link_down(l, PEER_DOWN_GONE, "N%u:%u was replaced by N%u:%u", ref.id, l->info.node.generation,
                      ref.id, ref.generation);
    }
    for (size_t c = 1; c < PEER_CHANNELS; c++) /* a new process: no pause that the old one caused */
        dial_wake(&n->dials[c]);
}

void peers_set_identity(struct peers *p, struct node_ref me, uint64_t fingerprint)
{
    p->me = me;
    if (fingerprint)
        p->fingerprint = fingerprint;
}

void peers_set_node(struct peers *p, struct node_ref node, const char *address)
{
    ASSERT(node.id && node.generation);
    struct peer_node *n = node_of(p, node.id);
    if (node.generation < n->ref.generation || n->removed)
        return;
    if (!n->address || strcmp(n->address, address) != 0) {
        free(n->address);
        n->address = xstrdup(address);
        for (size_t c = 1; c < PEER_CHANNELS; c++) {
            struct link *l = n->dials[c].link;
            if (l && l->state != LINK_UP)
                link_down(l, PEER_DOWN_CLOSED, "the address of N%u is %s now", node.id, address);
            dial_wake(&n->dials[c]);
        }
    }
    peers_learn(p, node);
}

void peers_remove_node(struct peers *p, uint32_t id)
{
    struct peer_node *n = node_of(p, id);
    n->removed = true;
    for (size_t c = 1; c < PEER_CHANNELS; c++)
        n->dials[c].wanted = false;
    LIST_FOREACH_SAFE(m, next, &p->links)
    {
        struct link *l = CONTAINER_OF(m, struct link, member);
        if (l->info.node.id == id)
            link_down(l, PEER_DOWN_CLOSED, "N%u was removed from the cluster", id);
    }
}

void peers_wake(struct peers *p, uint32_t id)
{
    struct peer_node *n = peers_find_node(p, id);
    for (size_t c = 1; n && c < PEER_CHANNELS; c++)
        dial_wake(&n->dials[c]);
    for (size_t i = 0; i < PEER_SERVICES; i++) {
        if (p->services[i].ops && p->services[i].ops->on_alive)
            p->services[i].ops->on_alive(p->services[i].ctx, id);
    }
}

void peers_heard(struct peers *p, struct node_ref ref)
{
    peers_learn(p, ref);
    peers_wake(p, ref.id);
    LIST_FOREACH_SAFE(n, next, &p->address_dials)
    {
        struct peer_dial *d = CONTAINER_OF(n, struct peer_dial, member);
        if (!d->link)
            dial_wake(d); /* it may listen there */
    }
}

uint32_t peers_generation(const struct peers *p, uint32_t node)
{
    const struct peer_node *n = peers_find_node(p, node);
    return n ? n->ref.generation : 0;
}

/* ---- sending ---- */

enum rc peers_send(struct peers *p, uint32_t node, enum peer_channel channel, enum peer_service service,
                   const struct bytes *parts, size_t n_parts, uint64_t *link)
{
    ASSERT(channel >= 1 && channel < PEER_CHANNELS);
    struct peer_node *n = peers_find_node(p, node);
    return n ? dial_send(&n->dials[channel], service, parts, n_parts, link) : RC_UNAVAILABLE;
}

static struct peer_dial *address_dial(struct peers *p, const char *address)
{
    LIST_FOREACH(n, &p->address_dials)
    {
        struct peer_dial *d = CONTAINER_OF(n, struct peer_dial, member);
        if (strcmp(d->address, address) == 0)
            return d;
    }
    if (p->n_address_dials >= PEER_ADDRESS_MAX)
        return NULL;
    struct peer_dial *d = xcalloc(1, sizeof(*d));
    dial_init(d, p, PEER_CONTROL);
    d->address = xstrdup(address);
    list_push_back(&p->address_dials, &d->member);
    p->n_address_dials++;
    return d;
}

enum rc peers_send_address(struct peers *p, const char *address, enum peer_service service,
                           const struct bytes *parts, size_t n_parts, uint64_t *link)
{
    struct peer_dial *d = address_dial(p, address);
    return d ? dial_send(d, service, parts, n_parts, link) : RC_UNAVAILABLE;
}

static struct link *find_link(const struct peers *p, uint64_t id)
{
    struct hmap_node *n = hmap_first(&p->links_by_id, id);
    return n ? CONTAINER_OF(n, struct link, by_id) : NULL;
}

enum rc peers_answer(struct peers *p, uint64_t link, enum peer_service service, const struct bytes *parts,
                     size_t n_parts)
{
    struct link *l = find_link(p, link);
    return l && l->state != LINK_DOWN ? link_send(l, service, parts, n_parts) : RC_CLOSED;
}

void peers_close_link(struct peers *p, uint64_t link, const char *why)
{
    struct link *l = find_link(p, link);
    if (l)
        link_down(l, PEER_DOWN_CLOSED, "%s", why);
}

static const struct link *dialed(const struct peers *p, uint32_t node, enum peer_channel channel)
{
    const struct peer_node *n = peers_find_node(p, node);
    return n ? n->dials[channel].link : NULL;
}

size_t peers_pending(const struct peers *p, uint32_t node, enum peer_channel channel)
{
    const struct link *l = dialed(p, node, channel);
    return l ? link_pending(l) : 0;
}

uint64_t peers_link(const struct peers *p, uint32_t node, enum peer_channel channel)
{
    const struct link *l = dialed(p, node, channel);
    return l ? l->info.id : 0;
}

bool peers_is_up(const struct peers *p, uint32_t node, enum peer_channel channel)
{
    const struct link *l = dialed(p, node, channel);
    return l && l->state == LINK_UP;
}

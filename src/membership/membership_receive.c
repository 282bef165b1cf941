/* What a message from a peer means: see membership.h. */
#include <stdlib.h>

#include "membership/membership_internal.h"

/* F-3: an earlier process of the node. */
static bool outdated(struct node_ref who, const struct peer *p)
{
    return who.generation < p->generation && !MUTATED(MEMBERSHIP_MUT_OLD_GENERATION);
}

/* Which nodes the sender hears: replaces what it said before. Its entry about us tells whether it hears this
 * process. */
static void take_vector(struct membership *m, struct peer *from, struct slice nodes)
{
    uint32_t *hears = xcalloc(m->n_peers + 1, sizeof(*hears));
    size_t n = 0;
    struct gossip_node e;
    from->hears_me = false;
    while (gossip_next_node(&nodes, &e)) {
        const struct peer *p = membership_peer(m, e.node.id);
        if (!p || !(e.flags & GOSSIP_NODE_HEARD) || e.node.generation != p->generation)
            continue;
        hears[n++] = e.node.id;
        from->hears_me |= membership_is_self(m, p);
    }
    if (!from->has_hears || n != from->n_hears || (n && memcmp(hears, from->hears, n * sizeof(*hears)) != 0))
        membership_note(m, MEMBERSHIP_NODES);
    free(from->hears);
    from->hears = hears;
    from->n_hears = n;
    from->has_hears = true;
}

/* Evidence about third nodes. */
static void take_table(struct membership *m, struct slice nodes)
{
    struct gossip_node e;
    while (gossip_next_node(&nodes, &e)) {
        struct peer *p = membership_peer(m, e.node.id);
        if (!p || membership_is_self(m, p) || outdated(e.node, p))
            continue;
        if (e.node.generation != p->generation)
            membership_fresh_instance(m, p, e.node.generation);
        if ((e.flags & GOSSIP_NODE_FAILING_OVER) && !p->failing_over) {
            p->failing_over = true;
            membership_note(m, MEMBERSHIP_NODES);
        }
        membership_news(m, p, e.tick, e.age_ms, false);
    }
}

static void take_header(struct membership *m, struct peer *p, const struct gossip_header *h, bool in_order)
{
    if ((h->flags & GOSSIP_FAILING_OVER) && !p->failing_over) {
        p->failing_over = true;
        membership_note(m, MEMBERSHIP_NODES);
    }
    if (in_order) {
        p->seq = h->seq;
        p->heard = true;
        p->heard_at = membership_clock(m);
        p->uptime_ms = MAX(h->uptime_ms, (uint64_t)1);
        p->uptime_at_ms = env_mono_ms(m->env);
    }
    /* Who cannot receive is no use to anybody, however loud (one-way partitions). */
    if (!(h->flags & GOSSIP_LONELY) || MUTATED(MEMBERSHIP_MUT_DEAF))
        membership_news(m, p, h->tick, 0, true);
}

/* The living process that sent it, or NULL. */
static struct peer *sender_of(struct membership *m, const struct gossip_header *h)
{
    struct peer *p = membership_peer(m, h->from.id);
    if (!p || membership_is_self(m, p) || outdated(h->from, p))
        return NULL;
    if (h->from.generation != p->generation)
        membership_fresh_instance(m, p, h->from.generation);
    return p;
}

static void greet_once(struct membership *m, struct peer *p)
{
    uint64_t now = membership_clock(m);
    if (p->greeted || (p->greeted_at && now - p->greeted_at < membership_threshold_ms(m)))
        return;
    p->greeted = true;
    p->greeted_at = now;
    membership_greet(m, p->id);
}

void membership_receive(struct membership *m, struct slice message)
{
    struct gossip_message msg;
    if (gossip_message_decode(message, &msg, NULL)) {
        m->stats.malformed++;
        return;
    }
    if (!m->running || msg.header.fingerprint != m->fingerprint) {
        m->stats.foreign++;
        return;
    }
    membership_receive_versions(m, &msg);
    struct peer *p = sender_of(m, &msg.header);
    if (!p) {
        m->stats.foreign++;
        return;
    }
    m->stats.received++;
    m->stats.bytes_received += message.len;
    bool in_order = msg.header.seq > p->seq;
    membership_note_received(m);
    take_header(m, p, &msg.header, in_order);
    if (msg.has_nodes && in_order)
        take_vector(m, p, msg.nodes);
    if (msg.has_nodes)
        take_table(m, msg.nodes);
    if (msg.has_statuses)
        membership_receive_statuses(m, p, &msg, in_order);
    membership_update_reachable(m, p);
    greet_once(m, p);
}

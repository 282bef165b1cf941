/* What is sent, when and to whom: heartbeats, urgent facts, greetings. */
#include <stdlib.h>

#include "membership/membership_internal.h"

enum facts { FACTS_SLICE, FACTS_URGENT, FACTS_ALL };

/* Walks over the local facts, message by message. */
struct part {
    enum facts facts;
    uint16_t divisor, remainder; /* of the partitions told about; URGENT: 1, 0 */
    bool nodes;                  /* with the table of nodes */
    size_t next_status;          /* index of the own statuses */
    size_t next_epoch;           /* partition id */
    bool statuses_done;
};

/* ---- who ---- */

static void send_one(struct membership *m, uint32_t node, struct slice message)
{
    m->stats.sent++;
    m->stats.bytes_sent += message.len;
    m->ops->send(m->ctx, node, message);
}

/* To all, or, in a large cluster, to a random choice. */
static void send_round(struct membership *m, struct slice message)
{
    uint32_t want = MAX(MEMBERSHIP_DIRECT_MAX, m->config.num_peers), left = m->n_others;
    for (size_t i = 0; i < m->n_peers; i++) {
        if (membership_is_self(m, &m->peers[i]))
            continue;
        bool take = want >= left || env_random(m->env) % left < want;
        left--;
        if (!take)
            continue;
        want--;
        send_one(m, m->peers[i].id, message);
    }
}

/* ---- what ---- */

static void put_header(struct membership *m, struct writer *w)
{
    struct gossip_header h = {
        .from = m->self,
        .fingerprint = m->fingerprint,
        .tick = MAX(m->tick, (uint64_t)1),
        .seq = ++m->seq,
        .uptime_ms = env_mono_ms(m->env) - m->started_ms,
        .flags = (m->failing_over ? GOSSIP_FAILING_OVER : 0u) | (membership_lonely(m) ? GOSSIP_LONELY : 0u),
    };
    memcpy(h.versions, m->own, sizeof(h.versions));
    gossip_begin(w, &h);
}

/* A window over the nodes, moving if there are more than fit. */
static void put_nodes(struct membership *m, struct writer *w)
{
    size_t first = m->n_peers > GOSSIP_NODES_MAX ? m->tick * GOSSIP_NODES_MAX % m->n_peers : 0;
    size_t start = gossip_nodes_begin(w);
    for (size_t i = first; i < m->n_peers && i < first + GOSSIP_NODES_MAX; i++) {
        const struct peer *p = &m->peers[i];
        if (membership_is_self(m, p))
            continue;
        uint32_t flags = (p->failing_over ? GOSSIP_NODE_FAILING_OVER : 0u) |
                         (membership_hears(m, p) ? GOSSIP_NODE_HEARD : 0u) |
                         (p->verdict == MEMBERSHIP_DEAD ? GOSSIP_NODE_DEAD : 0u);
        uint64_t age = membership_clock(m) - p->news_at;
        gossip_put_node(w, &(struct gossip_node){{p->id, p->generation}, p->tick, age, flags});
    }
    gossip_section_end(w, start);
}

static bool status_selected(const struct part *part, struct membership_status *s)
{
    if (part->facts != FACTS_URGENT)
        return s->status.partition % part->divisor == part->remainder;
    if (!s->urgent)
        return false;
    s->urgent--;
    return true;
}

/* The next statuses, and which partitions they speak for. */
static void put_statuses(struct membership *m, struct writer *w, struct part *part)
{
    struct peer *own = membership_own(m);
    struct node_statuses *list = own ? &own->statuses : NULL;
    struct membership_status *chosen[STATUSES_PER_PART];
    size_t n = 0, i = part->next_status;
    struct gossip_cover cover = {.divisor = part->divisor, .remainder = part->remainder};
    cover.from = i ? (uint16_t)(list->items[i - 1].status.partition + 1) : 0;
    for (; list && i < list->len && n < STATUSES_PER_PART; i++)
        if (status_selected(part, &list->items[i]))
            chosen[n++] = &list->items[i];
    part->next_status = i;
    part->statuses_done = !list || i == list->len;
    cover.to = part->statuses_done ? UINT16_MAX : list->items[i - 1].status.partition;
    if (part->facts == FACTS_URGENT)
        cover = (struct gossip_cover){0};
    if (part->facts == FACTS_URGENT && n == 0)
        return;
    size_t start = gossip_statuses_begin(w, cover);
    uint64_t now = env_mono_ms(m->env);
    for (size_t k = 0; k < n; k++)
        gossip_put_status(w, &(struct gossip_status){chosen[k]->status, now - chosen[k]->updated_ms});
    gossip_section_end(w, start);
}

static bool epoch_selected(const struct part *part, struct partition_info *info, size_t partition)
{
    if (!info->epoch_own)
        return false;
    if (part->facts != FACTS_URGENT)
        return partition % part->divisor == part->remainder;
    if (!info->urgent)
        return false;
    info->urgent--;
    return true;
}

static void put_epochs(struct membership *m, struct writer *w, struct part *part)
{
    size_t start = gossip_epochs_begin(w), n = 0, i = part->next_epoch;
    for (; i < m->n_partitions && n < EPOCHS_PER_PART; i++) {
        if (!epoch_selected(part, &m->partitions[i], i))
            continue;
        gossip_put_epoch(w, (uint16_t)i, m->partitions[i].epoch_own);
        n++;
    }
    part->next_epoch = i;
    gossip_section_end(w, start);
}

/* The next message of a series into `w`; false when there is none left. */
static bool next_part(struct membership *m, struct part *part, struct writer *w)
{
    if (part->statuses_done && part->next_epoch >= m->n_partitions)
        return false;
    writer_reset(w);
    put_header(m, w);
    if (part->nodes)
        put_nodes(m, w);
    part->nodes = false;
    if (!part->statuses_done)
        put_statuses(m, w, part);
    if (part->next_epoch < m->n_partitions)
        put_epochs(m, w, part);
    return true;
}

static void send_urgent(struct membership *m)
{
    struct writer w = WRITER_INIT;
    struct part part = {.facts = FACTS_URGENT, .divisor = 1};
    while (next_part(m, &part, &w))
        send_round(m, writer_slice(&w));
    writer_free(&w);
}

/* Is something left that was to be sent more than once? */
static bool urgent_left(const struct membership *m)
{
    const struct peer *own = membership_own(m);
    for (size_t i = 0; own && i < own->statuses.len; i++)
        if (own->statuses.items[i].urgent)
            return true;
    for (size_t i = 0; i < m->n_partitions; i++)
        if (m->partitions[i].urgent)
            return true;
    return false;
}

void membership_heartbeat(struct membership *m)
{
    struct writer w = WRITER_INIT;
    uint16_t every = (uint16_t)m->config.extras_every;
    struct part part = {.divisor = every, .remainder = (uint16_t)(m->tick % every), .nodes = true};
    while (next_part(m, &part, &w))
        send_round(m, writer_slice(&w));
    writer_free(&w);
    if (m->urgent) {
        send_urgent(m);
        m->urgent = urgent_left(m);
    }
}

/* Everything, to a process that was not heard before. */
void membership_greet(struct membership *m, uint32_t node)
{
    struct writer w = WRITER_INIT;
    struct part part = {.facts = FACTS_ALL, .divisor = 1, .nodes = true};
    while (next_part(m, &part, &w))
        send_one(m, node, writer_slice(&w));
    writer_free(&w);
}

/* ---- urgent facts: at the end of the iteration, but not in every one ---- */

static void tell_withdrawn(struct membership *m)
{
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < m->withdrawn.len; i++) {
        uint16_t partition = m->withdrawn.items[i];
        if (membership_status(m, m->self.id, partition))
            continue; /* it is back */
        writer_reset(&w);
        put_header(m, &w);
        size_t start = gossip_statuses_begin(&w, (struct gossip_cover){1, 0, partition, partition});
        gossip_section_end(&w, start);
        send_round(m, writer_slice(&w));
    }
    m->withdrawn.len = 0;
    writer_free(&w);
}

static void flush(struct membership *m)
{
    if (!m->running)
        return; /* the first heartbeat says everything */
    m->flushed_ms = env_mono_ms(m->env);
    tell_withdrawn(m);
    if (m->announce || m->urgent)
        send_urgent(m);
    m->announce = false;
    m->urgent = urgent_left(m);
}

void membership_flush_run(struct env_task *t)
{
    struct membership *m = CONTAINER_OF(t, struct membership, flush_task);
    if (m->flushed_ms && env_mono_ms(m->env) < m->flushed_ms + FLUSH_EVERY_MS)
        env_timer_arm_at(m->env, &m->flush_timer, m->flushed_ms + FLUSH_EVERY_MS);
    else
        flush(m);
}

void membership_flush_timer(struct env_timer *t)
{
    flush(CONTAINER_OF(t, struct membership, flush_timer));
}

void membership_flush_later(struct membership *m)
{
    if (!env_timer_armed(&m->flush_timer))
        env_defer(m->env, &m->flush_task);
}

void membership_fail_over(struct membership *m)
{
    if (m->failing_over)
        return;
    m->failing_over = true;
    membership_note(m, MEMBERSHIP_NODES);
    if (!m->running)
        return;
    m->announce = true;
    flush(m);
}

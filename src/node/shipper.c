/* Implementation of node/shipper.h. */
#include "node/shipper.h"

#include <stdlib.h>

#include "node/remote_ships.h"

#define RETRY_MIN_MS 10u
#define RETRY_MAX_MS 400u
#define WATCH_MS     250u /* how often the ways are looked at on which messages are */

/* Towards one destination partition. `refused_round` belongs to the destination's loop, all else to the
 * source's. */
struct channel {
    struct shipper *shipper;
    struct partition_slot *slot;
    uint32_t destination;
    struct list unacked; /* in index order */
    size_t on_their_way; /* messages not yet back in this or an older round */
    uint64_t round;      /* starts at 1 */
    bool stalled;        /* a message of this round was refused: wait, then start the next round */
    uint64_t retry_ms;
    struct env_timer retry;
    uint64_t refused_round;
    /* The way of what is on its way. */
    uint32_t node; /* 0: this node */
    uint64_t stream, link;
};

struct ship_msg {
    struct loop_msg msg;
    struct log_append_wait wait;
    struct list link; /* channel.unacked */
    struct channel *channel;
    uint64_t index, round;
    struct bytes record;
    bool sent, abandoned;
    bool away; /* sent to another node as: */
    struct remote_ship ship;
    enum rc rc;
};

struct shipper {
    struct loop *loop;
    struct partition_map *map;
    struct processor *source; /* NULL once freed */
    uint16_t source_id;
    struct channel **channels; /* by destination, created on first use */
    size_t on_their_way;
    bool freed;
    struct remote_ships *remote;
    struct env_timer watch;
};

static void channel_send_all(struct channel *c);

static void shipper_release(struct shipper *s)
{
    if (!s->freed || s->on_their_way > 0)
        return;
    for (uint32_t i = 0; i < s->map->count; i++)
        free(s->channels[i]);
    free(s->channels);
    free(s);
}

static void message_free(struct ship_msg *m)
{
    if (list_linked(&m->link))
        list_remove(&m->link);
    bytes_unref(&m->record);
    free(m);
}

static void retry_fired(struct env_timer *t)
{
    struct channel *c = CONTAINER_OF(t, struct channel, retry);
    c->round++;
    c->stalled = false;
    channel_send_all(c);
}

/* A message was refused, or cannot go the way of the others: everything goes again when these are back. */
static void channel_stall(struct channel *c)
{
    struct shipper *s = c->shipper;
    c->stalled = true;
    if (c->on_their_way > 0 || s->freed || env_timer_armed(&c->retry))
        return;
    env_timer_arm(loop_env(s->loop), &c->retry, c->retry_ms);
    c->retry_ms = MIN(c->retry_ms * 2, RETRY_MAX_MS);
}

/* Source loop: the message is back, committed or refused. */
static void message_back(struct ship_msg *m)
{
    struct channel *c = m->channel;
    struct shipper *s = c->shipper;
    c->on_their_way--;
    s->on_their_way--;
    m->sent = m->away = false;
    if (m->abandoned) {
        message_free(m);
    } else if (m->rc == RC_OK) {
        /* A later message must never be committed before an earlier one: the destination would drop the
         * earlier as a repeat. */
        ASSERT_MSG(c->unacked.next == &m->link, "outbox message %llu overtook another",
                   (unsigned long long)m->index);
        uint64_t index = m->index;
        c->retry_ms = RETRY_MIN_MS;
        message_free(m);
        processor_outbox_shipped(s->source, index);
    } else {
        c->stalled = true;
    }
    if (c->stalled)
        channel_stall(c);
    shipper_release(s);
}

static void message_returned(struct loop_msg *lm)
{
    message_back(CONTAINER_OF(lm, struct ship_msg, msg));
}

static void message_returned_from_node(struct remote_ship *ship, enum rc rc)
{
    struct ship_msg *m = CONTAINER_OF(ship, struct ship_msg, ship);
    m->rc = rc;
    message_back(m);
}

/* Destination loop. */
static void message_finish(struct ship_msg *m, enum rc rc)
{
    m->rc = rc;
    m->msg.deliver = message_returned;
    loop_post(m->channel->shipper->loop, &m->msg);
}

static void message_appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct ship_msg *m = CONTAINER_OF(w, struct ship_msg, wait);
    if (rc != RC_OK)
        m->channel->refused_round = m->round;
    message_finish(m, rc);
}

static void message_arrived(struct loop_msg *lm)
{
    struct ship_msg *m = CONTAINER_OF(lm, struct ship_msg, msg);
    struct channel *c = m->channel;
    if (c->refused_round == m->round) {
        message_finish(m, RC_UNAVAILABLE);
        return;
    }
    enum rc rc = RC_UNAVAILABLE;
    if (c->slot->processor) {
        m->wait.done = message_appended;
        rc = processor_ingest(c->slot->processor, bytes_ref(m->record), &m->wait);
    }
    if (rc != RC_OK) {
        c->refused_round = m->round;
        message_finish(m, rc);
    }
}

/* Where messages have to go now. */
static uint32_t channel_leader(const struct channel *c)
{
    return partition_slot_elsewhere(c->shipper->map, c->slot);
}

/* May the next message follow those on their way? With none on their way a new stream begins. */
static bool channel_way_open(struct channel *c)
{
    struct shipper *s = c->shipper;
    uint32_t leader = channel_leader(c);
    if (c->on_their_way == 0) {
        c->node = leader;
        c->stream = leader && s->remote ? remote_ships_stream(s->remote) : 0;
        return !leader || s->remote;
    }
    return leader == c->node && (!c->node || remote_ships_link(s->remote, c->node) == c->link);
}

static bool message_send_away(struct channel *c, struct ship_msg *m)
{
    struct shipper *s = c->shipper;
    m->ship.done = message_returned_from_node;
    if (remote_ships_send(s->remote, &m->ship, c->node, c->stream, s->source_id, (uint16_t)c->destination,
                          m->record) != RC_OK)
        return false;
    c->link = m->ship.link;
    m->away = true;
    if (!env_timer_armed(&s->watch))
        env_timer_arm(loop_env(s->loop), &s->watch, WATCH_MS);
    return true;
}

static void message_send(struct channel *c, struct ship_msg *m)
{
    if (!channel_way_open(c) || (c->node && !message_send_away(c, m))) {
        channel_stall(c);
        return;
    }
    m->sent = true;
    m->round = c->round;
    c->on_their_way++;
    c->shipper->on_their_way++;
    if (m->away)
        return;
    if (c->slot->loop == c->shipper->loop) {
        message_arrived(&m->msg);
    } else if (!c->slot->loop) { /* no partitions on this node */
        message_finish(m, RC_UNAVAILABLE);
    } else {
        m->msg.deliver = message_arrived;
        loop_post(c->slot->loop, &m->msg);
    }
}

static void channel_send_all(struct channel *c)
{
    LIST_FOREACH(n, &c->unacked)
    {
        struct ship_msg *m = CONTAINER_OF(n, struct ship_msg, link);
        if (!m->sent && !c->stalled)
            message_send(c, m);
    }
}

/* Take back what is on its way to another node. */
static void message_recall(struct ship_msg *m)
{
    remote_ships_abandon(m->channel->shipper->remote, &m->ship);
    m->channel->on_their_way--;
    m->channel->shipper->on_their_way--;
    m->sent = m->away = false;
}

/* A node that leads no more may be cut off, and not answer for long. */
static void watch_fired(struct env_timer *t)
{
    struct shipper *s = CONTAINER_OF(t, struct shipper, watch);
    bool away = false;
    for (uint32_t i = 0; i < s->map->count; i++) {
        struct channel *c = s->channels[i];
        if (!c || !c->node || c->on_their_way == 0)
            continue;
        uint32_t leader = atomic_load_explicit(&c->slot->leader_node, memory_order_relaxed);
        away = true;
        if (leader == 0 || leader == c->node)
            continue;
        LIST_FOREACH(n, &c->unacked)
        {
            struct ship_msg *m = CONTAINER_OF(n, struct ship_msg, link);
            if (m->away)
                message_recall(m);
        }
        channel_stall(c);
    }
    if (away)
        env_timer_arm(loop_env(s->loop), &s->watch, WATCH_MS);
}

static struct channel *channel_to(struct shipper *s, uint32_t destination)
{
    struct channel *c = s->channels[destination];
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c));
    c->shipper = s;
    c->destination = destination;
    c->slot = &s->map->slots[destination];
    c->round = 1;
    c->retry_ms = RETRY_MIN_MS;
    list_init(&c->unacked);
    env_timer_init(&c->retry, retry_fired);
    s->channels[destination] = c;
    return c;
}

struct shipper *shipper_new(struct loop *loop, struct partition_map *map, struct processor *source,
                            uint16_t source_id)
{
    struct shipper *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->map = map;
    s->source = source;
    s->source_id = source_id;
    s->channels = xcalloc(map->count, sizeof(*s->channels));
    env_timer_init(&s->watch, watch_fired);
    return s;
}

void shipper_set_remote(struct shipper *s, struct remote_ships *remote)
{
    s->remote = remote;
}

void shipper_ship(struct shipper *s, uint64_t index, uint64_t partition_key, struct bytes record_take)
{
    struct channel *c = channel_to(s, partition_map_find(s->map, partition_key));
    struct ship_msg *m = xcalloc(1, sizeof(*m));
    m->channel = c;
    m->index = index;
    m->record = record_take;
    list_push_back(&c->unacked, &m->link);
    if (!c->stalled)
        message_send(c, m);
}

void shipper_reset(struct shipper *s)
{
    for (uint32_t i = 0; i < s->map->count; i++) {
        struct channel *c = s->channels[i];
        if (!c)
            continue;
        env_timer_cancel(loop_env(s->loop), &c->retry);
        LIST_FOREACH_SAFE(n, next, &c->unacked)
        {
            struct ship_msg *m = CONTAINER_OF(n, struct ship_msg, link);
            if (m->away)
                message_recall(m);
            list_remove(&m->link);
            m->abandoned = true;
            if (!m->sent)
                message_free(m);
        }
        c->round++; /* what is still on its way belongs to an older round */
        c->stalled = false;
        c->retry_ms = RETRY_MIN_MS;
    }
    env_timer_cancel(loop_env(s->loop), &s->watch);
}

void shipper_free(struct shipper *s)
{
    shipper_reset(s);
    s->freed = true;
    s->source = NULL;
    shipper_release(s);
}

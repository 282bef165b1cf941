/* Implementation of node/remote_ships.h. */
#include "node/remote_ships.h"

#include <stdlib.h>

#include "wire/ingest_message.h"

struct remote_ships {
    struct env *env;
    struct peers *peers;
    struct hmap by_id;
    struct list on_their_way; /* in the order of sending */
    uint64_t next_id, next_stream;
};

uint64_t remote_ships_stream(struct remote_ships *s)
{
    return ++s->next_stream;
}

uint64_t remote_ships_link(const struct remote_ships *s, uint32_t node)
{
    return peers_link(s->peers, node, PEER_PARTITION);
}

enum rc remote_ships_send(struct remote_ships *s, struct remote_ship *m, uint32_t node, uint64_t stream,
                          uint16_t source, uint16_t destination, struct bytes record)
{
    struct ingest_message message = {
        .id = s->next_id + 1, .stream = stream, .source = source, .destination = destination};
    struct writer w = WRITER_INIT;
    ingest_message_encode(&w, &message);
    struct bytes parts[2] = {writer_take(&w), record};
    enum rc rc = peers_send(s->peers, node, PEER_PARTITION, PEER_INGEST, parts, 2, &m->link);
    bytes_unref(&parts[0]);
    if (rc != RC_OK)
        return rc;
    m->id = ++s->next_id;
    hmap_insert(&s->by_id, &m->by_id, m->id);
    list_init(&m->link_);
    list_push_back(&s->on_their_way, &m->link_);
    return RC_OK;
}

void remote_ships_abandon(struct remote_ships *s, struct remote_ship *m)
{
    hmap_remove(&s->by_id, &m->by_id);
    list_remove(&m->link_);
}

static void finish(struct remote_ships *s, struct remote_ship *m, enum rc rc)
{
    remote_ships_abandon(s, m);
    m->done(m, rc);
}

static void on_reply(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct remote_ships *s = ctx;
    struct ingest_reply reply;
    if (!ingest_reply_decode(bytes_slice(payload), &reply)) {
        peers_close_link(s->peers, from->id, "a malformed confirmation of an outbox message");
        return;
    }
    struct hmap_node *n = hmap_first(&s->by_id, reply.id);
    struct remote_ship *m = n ? CONTAINER_OF(n, struct remote_ship, by_id) : NULL;
    if (m && m->link == from->id)
        finish(s, m, reply.committed ? RC_OK : RC_UNAVAILABLE);
}

static void on_down(void *ctx, const struct peer_link *l, const struct peer_down *down)
{
    struct remote_ships *s = ctx;
    if (l->accepted)
        return;
    struct list lost;
    list_init(&lost);
    LIST_FOREACH_SAFE(n, next, &s->on_their_way)
    {
        struct remote_ship *m = CONTAINER_OF(n, struct remote_ship, link_);
        if (m->link != l->id)
            continue;
        list_remove(&m->link_);
        list_push_back(&lost, &m->link_);
    }
    /* `done` may abandon others of them, and send again. */
    while (!list_empty(&lost))
        finish(s, CONTAINER_OF(lost.next, struct remote_ship, link_), RC_CLOSED);
}

struct remote_ships *remote_ships_new(struct loop *loop, struct peers *peers)
{
    static const struct peer_service_ops ops = {.on_frame = on_reply, .on_down = on_down};
    struct remote_ships *s = xcalloc(1, sizeof(*s));
    s->env = loop_env(loop);
    s->peers = peers;
    hmap_init(&s->by_id);
    list_init(&s->on_their_way);
    peers_serve(peers, PEER_INGEST_REPLY, &ops, s);
    return s;
}

void remote_ships_free(struct remote_ships *s)
{
    ASSERT(list_empty(&s->on_their_way));
    peers_serve(s->peers, PEER_INGEST_REPLY, NULL, NULL);
    hmap_free(&s->by_id);
    free(s);
}

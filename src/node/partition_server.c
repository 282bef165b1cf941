/* Implementation of node/partition_server.h. */
#include "node/partition_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "partition/rpc_message.h"
#include "wire/ingest_message.h"

struct partition_server {
    struct loop *loop;
    struct peers *peers; /* NULL once freed */
    struct partition_map *map;
    struct partition_router *router;
    struct hmap links; /* struct client by link id */
    size_t busy;       /* requests and messages that have not come back */
};

/* An accepted link on which something was asked. */
struct client {
    struct hmap_node by_link;
    struct partition_server *server;
    uint64_t link;
    bool down;
    struct list served; /* struct served */
    struct hmap by_call, streams;
    size_t busy; /* requests and messages that have not come back */
};

struct served {
    struct list link_;
    struct hmap_node by_call;
    struct client *client;
    uint64_t call;
    struct partition_rpc rpc;
};

/* Messages of one partition to another on one link. `refused` belongs to the destination's loop. */
struct stream {
    struct hmap_node node;
    uint32_t key; /* source, destination */
    struct partition_slot *slot;
    uint64_t refused; /* streams up to this number */
};

struct ingested {
    struct loop_msg msg;
    struct log_append_wait wait;
    struct client *client;
    struct stream *stream;
    uint64_t id, number;
    struct bytes record;
    bool committed;
};

/* ---- links ---- */

static void server_release(struct partition_server *s)
{
    if (s->peers || s->busy > 0)
        return;
    hmap_free(&s->links);
    free(s);
}

static struct client *client_find(struct partition_server *s, uint64_t link)
{
    struct hmap_node *n = hmap_first(&s->links, link);
    return n ? CONTAINER_OF(n, struct client, by_link) : NULL;
}

static struct client *client_of(struct partition_server *s, uint64_t link)
{
    struct client *c = client_find(s, link);
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->link = link;
    list_init(&c->served);
    hmap_init(&c->by_call);
    hmap_init(&c->streams);
    hmap_insert(&s->links, &c->by_link, link);
    return c;
}

/* Once the link is down and nothing is on its way any more. */
static void client_release(struct client *c)
{
    if (!c->down || c->busy > 0)
        return;
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&c->streams, &it); n; n = hmap_step(&c->streams, &it))
        free(CONTAINER_OF(n, struct stream, node));
    hmap_free(&c->streams);
    hmap_free(&c->by_call);
    free(c);
}

static void client_take(struct client *c)
{
    c->busy++;
    c->server->busy++;
}

static void client_give(struct client *c)
{
    struct partition_server *s = c->server;
    c->busy--;
    s->busy--;
    client_release(c);
    server_release(s);
}

static void client_down(struct client *c)
{
    struct partition_server *s = c->server;
    hmap_remove(&s->links, &c->by_link);
    c->down = true;
    c->busy++; /* cancelling may bring replies at once */
    LIST_FOREACH_SAFE(n, next, &c->served)
    router_cancel_here(s->router, &CONTAINER_OF(n, struct served, link_)->rpc);
    c->busy--;
    client_release(c);
}

/* Parts are lent. False if the other end will not get it. */
static enum rc client_answer(struct client *c, enum peer_service service, const struct bytes *parts, size_t n)
{
    if (c->down)
        return RC_CLOSED;
    enum rc rc = peers_answer(c->server->peers, c->link, service, parts, n);
    if (rc == RC_OVERLOADED)
        peers_close_link(c->server->peers, c->link, "too many answers wait to be sent");
    return rc;
}

/* ---- requests ---- */

/* What `part` lies in keeps it alive as long as it is queued; anything else is copied. */
static struct bytes value_part(const struct rpc_reply *reply)
{
    struct slice v = reply->outcome.value;
    const struct bytes *b = &reply->outcome_bytes;
    bool inside = v.ptr && b->ptr && v.ptr >= b->ptr && v.ptr + v.len <= b->ptr + b->len;
    return inside ? bytes_part(*b, v) : bytes_copy(v);
}

static enum rc answer_call(struct client *c, uint64_t call, const struct rpc_reply *reply)
{
    struct writer w = WRITER_INIT;
    writer_init(&w, 192);
    rpc_reply_encode(&w, call, reply);
    struct bytes parts[2] = {writer_take(&w), value_part(reply)};
    enum rc rc = client_answer(c, PEER_RPC_REPLY, parts, 2);
    bytes_unref(&parts[0]);
    bytes_unref(&parts[1]);
    return rc;
}

static void answer_failed(struct client *c, uint64_t call, struct invocation_id id, enum rc rc,
                          const char *detail)
{
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = rc, .id = id};
    snprintf(reply.detail, sizeof(reply.detail), "%s", detail);
    answer_call(c, call, &reply);
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct served *q = CONTAINER_OF(rpc, struct served, rpc);
    struct client *c = q->client;
    if (answer_call(c, q->call, reply) == RC_TOO_LARGE)
        answer_failed(c, q->call, reply->id, RC_TOO_LARGE,
                      "the result is too large to be sent to another node");
    list_remove(&q->link_);
    hmap_remove(&c->by_call, &q->by_call);
    bytes_unref(&rpc->record);
    free(q);
    client_give(c);
}

static struct served *served_find(struct client *c, uint64_t call)
{
    struct hmap_node *n = hmap_first(&c->by_call, call);
    return n ? CONTAINER_OF(n, struct served, by_call) : NULL;
}

static void serve(struct client *c, uint64_t call, const struct partition_rpc *rpc)
{
    struct served *q = xcalloc(1, sizeof(*q));
    q->client = c;
    q->call = call;
    q->rpc = *rpc;
    q->rpc.reply = on_reply;
    list_init(&q->link_);
    list_push_back(&c->served, &q->link_);
    hmap_insert(&c->by_call, &q->by_call, call);
    client_take(c);
    router_submit_here(c->server->router, &q->rpc);
}

static void on_request(struct partition_server *s, const struct peer_link *from, struct bytes payload)
{
    struct partition_rpc rpc;
    uint64_t call;
    if (!rpc_request_decode(payload, &call, &rpc)) {
        peers_close_link(s->peers, from->id, "a malformed request to a partition");
        return;
    }
    struct client *c = client_of(s, from->id);
    if (c->by_call.count >= SERVED_CALLS_MAX) {
        bytes_unref(&rpc.record);
        answer_failed(c, call, rpc.id, RC_OVERLOADED, "too many requests of one node");
    } else if (served_find(c, call)) {
        bytes_unref(&rpc.record);
        peers_close_link(s->peers, from->id, "two requests with one number");
    } else {
        serve(c, call, &rpc);
    }
}

static void on_rpc_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct partition_server *s = ctx;
    uint64_t call;
    if (rpc_message_peek(bytes_slice(payload), &call) != RPC_MESSAGE_CANCEL) {
        on_request(s, from, payload);
        return;
    }
    struct client *c = client_find(s, from->id);
    struct served *q = c ? served_find(c, call) : NULL;
    if (q)
        router_cancel_here(s->router, &q->rpc);
}

static void on_down(void *ctx, const struct peer_link *l, const struct peer_down *down)
{
    struct partition_server *s = ctx;
    struct client *c = l->accepted ? client_find(s, l->id) : NULL;
    if (c)
        client_down(c);
}

/* ---- outbox messages ---- */

static struct stream *stream_of(struct client *c, uint16_t source, uint16_t destination)
{
    uint32_t key = (uint32_t)source << 16 | destination;
    for (struct hmap_node *n = hmap_first(&c->streams, key); n; n = hmap_next_same(n)) {
        struct stream *st = CONTAINER_OF(n, struct stream, node);
        if (st->key == key)
            return st;
    }
    struct stream *st = xcalloc(1, sizeof(*st));
    st->key = key;
    st->slot = &c->server->map->slots[destination];
    hmap_insert(&c->streams, &st->node, key);
    return st;
}

static void message_returned(struct loop_msg *lm)
{
    struct ingested *m = CONTAINER_OF(lm, struct ingested, msg);
    struct ingest_reply reply = {.id = m->id, .committed = m->committed};
    struct writer w = WRITER_INIT;
    ingest_reply_encode(&w, &reply);
    struct bytes part = writer_take(&w);
    client_answer(m->client, PEER_INGEST_REPLY, &part, 1);
    bytes_unref(&part);
    bytes_unref(&m->record);
    client_give(m->client);
    free(m);
}

/* Destination's loop, as the next two. */
static void message_finish(struct ingested *m, enum rc rc)
{
    m->committed = rc == RC_OK;
    if (rc != RC_OK)
        m->stream->refused = MAX(m->stream->refused, m->number);
    m->msg.deliver = message_returned;
    loop_post(m->client->server->loop, &m->msg);
}

static void message_appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    message_finish(CONTAINER_OF(w, struct ingested, wait), rc);
}

static void message_arrived(struct loop_msg *lm)
{
    struct ingested *m = CONTAINER_OF(lm, struct ingested, msg);
    struct processor *p = m->stream->slot->processor;
    enum rc rc = RC_UNAVAILABLE;
    if (p && m->number > m->stream->refused) {
        m->wait.done = message_appended;
        rc = processor_ingest(p, bytes_ref(m->record), &m->wait);
    }
    if (rc != RC_OK)
        message_finish(m, rc);
}

/* Only what an outbox of that partition can hold may enter the log. */
static bool record_plausible(const struct ingest_message *m)
{
    struct record_header h;
    return record_header_get(m->record, &h) && h.dedup == DEDUP_FOREIGN && h.producer.lo == m->source;
}

static void on_ingest_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct partition_server *s = ctx;
    struct ingest_message message;
    if (!ingest_message_decode(bytes_slice(payload), &message) || !record_plausible(&message) ||
        message.destination >= s->map->count) {
        peers_close_link(s->peers, from->id, "a malformed outbox message");
        return;
    }
    struct client *c = client_of(s, from->id);
    struct ingested *m = xcalloc(1, sizeof(*m));
    m->client = c;
    m->stream = stream_of(c, message.source, message.destination);
    m->id = message.id;
    m->number = message.stream;
    m->record = bytes_part(payload, message.record);
    bytes_compact(&m->record);
    client_take(c);
    if (!m->stream->slot->loop) { /* no partitions on this node */
        message_finish(m, RC_UNAVAILABLE);
    } else if (m->stream->slot->loop == s->loop) {
        message_arrived(&m->msg);
    } else {
        m->msg.deliver = message_arrived;
        loop_post(m->stream->slot->loop, &m->msg);
    }
}

/* ---- life ---- */

struct partition_server *partition_server_new(struct loop *loop, struct peers *peers,
                                              struct partition_map *map, struct partition_router *router)
{
    static const struct peer_service_ops rpc_ops = {.on_frame = on_rpc_frame, .on_down = on_down};
    static const struct peer_service_ops ingest_ops = {.on_frame = on_ingest_frame};
    struct partition_server *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->peers = peers;
    s->map = map;
    s->router = router;
    hmap_init(&s->links);
    peers_serve(peers, PEER_RPC, &rpc_ops, s);
    peers_serve(peers, PEER_INGEST, &ingest_ops, s);
    return s;
}

void partition_server_free(struct partition_server *s)
{
    struct hmap_iter it;
    peers_serve(s->peers, PEER_RPC, NULL, NULL);
    peers_serve(s->peers, PEER_INGEST, NULL, NULL);
    s->busy++;
    for (struct hmap_node *n = hmap_begin(&s->links, &it); n; n = hmap_step(&s->links, &it))
        client_down(CONTAINER_OF(n, struct client, by_link));
    s->busy--;
    s->peers = NULL;
    server_release(s);
}

/* Implementation of node/log_links.h. */
#include "node/log_links.h"

#include <stdlib.h>

#include "loop/loop.h"

/* A message as parts of a frame: the head, then the bodies where they lie. */
struct parts {
    struct bytes items[LOGLET_RECORDS_MAX + 1];
    size_t n;
};

static void make_parts(struct parts *p, const struct loglet_message *m)
{
    struct writer w = WRITER_INIT;
    loglet_message_encode_head(&w, m);
    p->items[0] = writer_take(&w);
    p->n = 1;
    for (uint32_t i = 0; i < m->n_records; i++)
        p->items[p->n++] = m->records[i];
}

/* ---- asking ---- */

struct log_client_links {
    struct log_links base;
    struct peers *peers;
    struct loglet_calls *calls;
    struct parts parts;
    struct loglet_message_room room;
};

static void client_send(struct log_links *links, uint32_t to, const struct loglet_message *m)
{
    struct log_client_links *l = CONTAINER_OF(links, struct log_client_links, base);
    make_parts(&l->parts, m);
    /* What cannot be sent is lost: whoever asked waits for an answer or for news of the link. */
    peers_send(l->peers, to, PEER_LOG, PEER_LOGLET, l->parts.items, l->parts.n, NULL);
    bytes_unref(&l->parts.items[0]);
}

static void client_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct log_client_links *l = ctx;
    struct loglet_message m;
    if (!l->calls)
        return;
    if (!loglet_message_decode(payload, &l->room, &m) || !loglet_message_is_reply(m.kind)) {
        peers_close_link(l->peers, from->id, "a malformed answer of a log-server");
        return;
    }
    loglet_calls_on_message(l->calls, from->node.id, &m);
}

static void client_up(void *ctx, const struct peer_link *link)
{
    struct log_client_links *l = ctx;
    if (l->calls && link->node.id)
        loglet_calls_node_alive(l->calls, link->node.id);
}

static void client_down(void *ctx, const struct peer_link *link, const struct peer_down *down)
{
    struct log_client_links *l = ctx;
    if (l->calls && link->node.id && link->channel == PEER_LOG)
        loglet_calls_node_lost(l->calls, link->node.id);
}

static void client_alive(void *ctx, uint32_t node)
{
    struct log_client_links *l = ctx;
    if (l->calls)
        loglet_calls_node_alive(l->calls, node);
}

static const struct peer_service_ops client_ops = {
    .on_frame = client_frame, .on_up = client_up, .on_down = client_down, .on_alive = client_alive};

struct log_client_links *log_client_links_new(struct peers *peers)
{
    struct log_client_links *l = xcalloc(1, sizeof(*l));
    l->base.send = client_send;
    l->peers = peers;
    peers_serve(peers, PEER_LOGLET, &client_ops, l);
    return l;
}

void log_client_links_free(struct log_client_links *l)
{
    free(l);
}

struct log_links *log_client_links_base(struct log_client_links *l)
{
    return &l->base;
}

void log_client_links_set_calls(struct log_client_links *l, struct loglet_calls *calls)
{
    l->calls = calls;
}

/* ---- answering ---- */

struct log_server_links {
    struct peers *peers;
    struct log_host *host;
    struct parts parts;
    struct loop_msg close_msg, closed_msg;
    struct loop *reply_loop;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void server_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct log_server_links *l = ctx;
    if (!log_host_on_frame(l->host, from->node, from->id, payload))
        peers_close_link(l->peers, from->id, "a malformed request to the log-server");
}

static const struct peer_service_ops server_ops = {.on_frame = server_frame};

void log_server_links_reply(void *links, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct log_server_links *l = links;
    if (!l->peers)
        return;
    make_parts(&l->parts, m);
    enum rc rc = peers_answer(l->peers, to->token, PEER_LOGLET, l->parts.items, l->parts.n);
    bytes_unref(&l->parts.items[0]);
    if (rc != RC_OK && rc != RC_CLOSED)
        peers_close_link(l->peers, to->token, "an answer of the log-server could not be sent");
}

struct log_server_links *log_server_links_new(void)
{
    return xcalloc(1, sizeof(struct log_server_links));
}

void log_server_links_serve(struct log_server_links *l, struct peers *peers_take, struct log_host *host)
{
    l->peers = peers_take;
    l->host = host;
    peers_serve(peers_take, PEER_LOGLET, &server_ops, l);
}

static void deliver_closed(struct loop_msg *m)
{
    struct log_server_links *l = CONTAINER_OF(m, struct log_server_links, closed_msg);
    l->closed(l->closed_ctx);
}

static void deliver_close(struct loop_msg *m)
{
    struct log_server_links *l = CONTAINER_OF(m, struct log_server_links, close_msg);
    if (l->peers)
        peers_free(l->peers);
    l->peers = NULL;
    l->closed_msg.deliver = deliver_closed;
    loop_post(l->reply_loop, &l->closed_msg);
}

void log_server_links_close(struct log_server_links *l, struct loop *reply_loop, void (*done)(void *ctx),
                            void *ctx)
{
    l->reply_loop = reply_loop;
    l->closed = done;
    l->closed_ctx = ctx;
    l->close_msg.deliver = deliver_close;
    loop_post(log_host_loop(l->host), &l->close_msg);
}

void log_server_links_free(struct log_server_links *l)
{
    free(l);
}

/* Implementation of node/control_link.h. */
#include "node/control_link.h"

#include <stdlib.h>

#include "base/env.h"
#include "node/metadata_host.h"

#define REQUESTS_MAX 4096u

/* A metadata request to another node that has no answer yet. */
struct request {
    uint64_t attempt;
    uint64_t link; /* 0: it could not be sent */
};

/* A node with a metadata server. */
struct server {
    uint32_t node;
    uint64_t link;  /* where it was last heard from */
    bool too_early; /* its process has not joined yet */
};

struct control_link {
    struct env *env;
    struct peers *peers;
    struct metadata_host *metadata;
    struct server servers[RAFT_MEMBERS_MAX];
    const struct control_link_ops *ops;
    void *ctx;
    uint32_t me;                      /* 0: not joined yet */
    const struct nodes_config *nodes; /* NULL: not known yet */
    struct {
        struct request *items;
        size_t len, cap;
    } requests;
    struct env_task refuse; /* tells of requests that could not be sent */
    struct list calls;      /* node_call.link */
    struct list answers;    /* node_answer.link: owed to others */
    uint64_t next_call;
    uint32_t n_calls;
};

/* ---- metadata ---- */

/* An answer goes back on the link that the request came from. */
struct answer {
    struct raft_reply reply;
    struct control_link *links;
    uint64_t link;
};

static void send_answer(struct raft_reply *reply, struct slice message)
{
    struct answer *a = CONTAINER_OF(reply, struct answer, reply);
    struct bytes part = bytes_copy(message);
    peers_answer(a->links->peers, a->link, PEER_METADATA, &part, 1);
    bytes_unref(&part);
    free(a);
}

static void drop_request(struct control_link *l, size_t i)
{
    l->requests.items[i] = l->requests.items[--l->requests.len];
}

static void response_arrived(struct control_link *l, struct slice message, uint64_t attempt)
{
    for (size_t i = 0; i < l->requests.len; i++) {
        if (l->requests.items[i].attempt == attempt) {
            drop_request(l, i);
            break;
        }
    }
    metadata_host_response(l->metadata, attempt, message);
}

static struct server *server_find(struct control_link *l, uint32_t node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (l->servers[i].node == node)
            return &l->servers[i];
    return NULL;
}

/* Metadata comes from it, or is for it. */
static struct server *server_of(struct control_link *l, uint32_t node)
{
    struct server *s = server_find(l, node);
    if (s)
        return s;
    s = server_find(l, 0);
    if (!s)
        s = &l->servers[node % RAFT_MEMBERS_MAX];
    *s = (struct server){.node = node};
    return s;
}

/* A process that has started again cannot be reached as the node that it is before it has joined, and it
 * joins only when the members have a leader: they answer where they were asked. */
static bool send_back(struct control_link *l, struct server *s, const struct bytes *part)
{
    if (s->link && peers_answer(l->peers, s->link, PEER_METADATA, part, 1) == RC_OK)
        return true;
    s->link = 0;
    return false;
}

static void metadata_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct control_link *l = ctx;
    struct slice message = bytes_slice(payload);
    struct metadata_message m;
    struct err err;
    if (!l->metadata || metadata_message_decode(message, &m, &err) != RC_OK)
        return;
    if (m.kind == METADATA_RESPONSE) {
        response_arrived(l, message, m.response.id);
    } else if (m.kind == METADATA_REQUEST) {
        if (!metadata_host_server(l->metadata))
            return;
        struct answer *a = xcalloc(1, sizeof(*a));
        *a = (struct answer){{send_answer}, l, from->id};
        metadata_host_receive(l->metadata, message, &a->reply);
    } else {
        server_of(l, m.header.from.node)->link = from->id;
        metadata_host_receive(l->metadata, message, NULL);
    }
}

/* Requests on a link that ended have no answer. */
static void fail_requests(struct control_link *l, uint64_t link, bool sent)
{
    for (size_t i = 0; i < l->requests.len;) {
        struct request r = l->requests.items[i];
        if (r.link != link) {
            i++;
            continue;
        }
        drop_request(l, i);
        if (l->metadata)
            metadata_host_failed(l->metadata, r.attempt, sent);
        i = 0; /* more may have been added meanwhile */
    }
}

static void link_up(void *ctx, const struct peer_link *link)
{
    struct control_link *l = ctx;
    if (!link->node.id || link->node.id == l->me)
        return;
    struct server *s = server_find(l, link->node.id);
    if (s)
        s->too_early = false;
    l->ops->seen(l->ctx, link->node);
}

static void link_down(void *ctx, const struct peer_link *link, const struct peer_down *down)
{
    struct control_link *l = ctx;
    fail_requests(l, link->id, down->was_up);
    if (down->reason == PEER_DOWN_REFUSED && !l->me && !link->accepted)
        l->ops->refused(l->ctx, down->why);
    if (!link->node.id || link->node.id == l->me)
        return;
    bool gone = down->reason == PEER_DOWN_GONE;
    struct server *s = server_find(l, link->node.id);
    if (s && down->too_early)
        s->too_early = true;
    l->ops->lost(l->ctx, link->node, gone);
    if (gone && l->metadata)
        metadata_host_peer_lost(l->metadata, link->node.id);
}

static void refuse_unsent(struct env_task *t)
{
    fail_requests(CONTAINER_OF(t, struct control_link, refuse), 0, false);
}

static const struct peer_service_ops metadata_ops = {
    .on_frame = metadata_frame, .on_up = link_up, .on_down = link_down};

void control_link_send_metadata(struct control_link *l, uint32_t node, struct slice message)
{
    struct bytes part = bytes_copy(message);
    const struct node_entry *n = l->nodes ? nodes_config_by_id(l->nodes, node) : NULL;
    /* Members find each other before they have joined: joining needs the leader that they elect. One that
     * does not know yet that it is a member asks for no votes, and is found by its address. */
    struct server *s = server_of(l, node);
    bool sent = send_back(l, s, &part);
    if (!sent && l->me && !(s->too_early && n))
        peers_send(l->peers, node, PEER_CONTROL, PEER_METADATA, &part, 1, NULL);
    else if (!sent && n && !n->tombstone)
        peers_send_address(l->peers, n->address, PEER_METADATA, &part, 1, NULL);
    bytes_unref(&part);
}

void control_link_request_metadata(struct control_link *l, const char *address, uint64_t attempt,
                                   struct slice message)
{
    struct bytes part = bytes_copy(message);
    struct request r = {attempt, 0};
    if (l->requests.len < REQUESTS_MAX)
        peers_send_address(l->peers, address, PEER_METADATA, &part, 1, &r.link);
    bytes_unref(&part);
    VEC_PUSH(&l->requests, r);
    if (!r.link)
        env_defer(l->env, &l->refuse);
}

/* ---- gossip ---- */

static void gossip_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct control_link *l = ctx;
    l->ops->gossip(l->ctx, bytes_slice(payload));
}

static const struct peer_service_ops gossip_ops = {.on_frame = gossip_frame};

void control_link_send_gossip(struct control_link *l, uint32_t node, struct slice message)
{
    struct bytes part = bytes_copy(message);
    peers_send(l->peers, node, PEER_CONTROL, PEER_GOSSIP, &part, 1, NULL);
    bytes_unref(&part);
}

/* ---- commands, questions and answers ----
 *
 *   frame  := u8 version, u8 kind, content
 *   lead   := u16 partition
 *   ask    := u64 id, u16 method, payload
 *   answer := u64 id, varint rc, varint-prefixed message, payload */

#define COMMAND_VERSION 1
enum frame_kind { FRAME_LEAD = LINK_COMMAND_LEAD, FRAME_ASK, FRAME_ANSWER };

struct node_answer {
    struct control_link *owner; /* NULL: it is gone */
    struct list link;
    uint64_t id, peer_link;
};

static struct writer frame_begin(enum frame_kind kind)
{
    struct writer w = WRITER_INIT;
    write_u8(&w, COMMAND_VERSION);
    write_u8(&w, (uint8_t)kind);
    return w;
}

void node_answer_send(struct node_answer *a, enum rc rc, const char *message, struct slice payload)
{
    list_remove(&a->link);
    if (a->owner) {
        struct writer w = frame_begin(FRAME_ANSWER);
        write_u64le(&w, a->id);
        write_varint(&w, (uint64_t)rc);
        write_lp(&w, slice_cstr(message));
        write_slice_raw(&w, payload);
        struct bytes part = writer_take(&w);
        if (peers_answer(a->owner->peers, a->peer_link, PEER_COMMAND, &part, 1) != RC_OK)
            peers_close_link(a->owner->peers, a->peer_link, "an answer could not be sent");
        bytes_unref(&part);
    }
    free(a);
}

static void asked(struct control_link *l, const struct peer_link *from, struct reader *r)
{
    uint64_t id = read_u64le(r);
    uint16_t method = read_u16le(r);
    struct slice payload = read_raw(r, reader_left(r));
    if (r->failed || !from->node.id)
        return;
    struct node_answer *a = xcalloc(1, sizeof(*a));
    *a = (struct node_answer){.owner = l, .id = id, .peer_link = from->id};
    list_init(&a->link);
    list_push_back(&l->answers, &a->link);
    if (method == 0 || method >= NODE_METHOD_END)
        node_answer_send(a, RC_UNSUPPORTED, "this node does not know the question", SLICE_EMPTY);
    else
        l->ops->question(l->ctx, &from->node, (enum node_method)method, payload, a);
}

static void end_call(struct node_call *c, enum rc rc, const char *message, struct slice payload)
{
    control_link_call_cancel(c);
    c->done(c, rc, message, payload);
}

static void answered(struct control_link *l, struct reader *r)
{
    uint64_t id = read_u64le(r);
    uint64_t code = read_varint(r);
    enum rc rc = code <= RC_INTERNAL ? (enum rc)code : RC_INTERNAL;
    char *message = slice_dup_cstr(read_lp(r));
    struct slice payload = read_raw(r, reader_left(r));
    LIST_FOREACH_SAFE(n, next, &l->calls)
    {
        struct node_call *c = CONTAINER_OF(n, struct node_call, link);
        if (c->id == id && !r->failed) {
            end_call(c, rc, message, payload);
            break;
        }
    }
    free(message);
}

static void command_frame(void *ctx, const struct peer_link *from, struct bytes payload)
{
    struct control_link *l = ctx;
    struct reader r = reader_make(bytes_slice(payload));
    uint8_t version = read_u8(&r), kind = read_u8(&r);
    if (version != COMMAND_VERSION || r.failed)
        return;
    if (kind == FRAME_ASK) {
        asked(l, from, &r);
    } else if (kind == FRAME_ANSWER) {
        answered(l, &r);
    } else if (kind == FRAME_LEAD && from->node.id) {
        uint16_t partition = read_u16le(&r);
        if (reader_done(&r))
            l->ops->command(l->ctx, &from->node, LINK_COMMAND_LEAD, partition);
    }
}

/* The answers of a link that ended will not come. */
static void fail_calls(struct control_link *l, uint64_t peer_link, bool sent)
{
    for (struct list *n = l->calls.next; n != &l->calls;) {
        struct node_call *c = CONTAINER_OF(n, struct node_call, link);
        n = n->next;
        if (c->peer_link != peer_link)
            continue;
        end_call(c, sent ? RC_CLOSED : RC_UNAVAILABLE, "the other node cannot be reached", SLICE_EMPTY);
        n = l->calls.next; /* `done` may have changed the list */
    }
}

static void command_down(void *ctx, const struct peer_link *link, const struct peer_down *down)
{
    fail_calls(ctx, link->id, down->was_up);
}

static const struct peer_service_ops command_ops = {.on_frame = command_frame, .on_down = command_down};

static void call_timeout(struct env_timer *t)
{
    struct node_call *c = CONTAINER_OF(t, struct node_call, timer);
    bool sent = c->peer_link != 0;
    end_call(c, sent ? RC_TIMEOUT : RC_UNAVAILABLE,
             sent ? "the other node did not answer in time" : "the other node cannot be reached",
             SLICE_EMPTY);
}

void control_link_call(struct control_link *l, struct node_call *c, uint32_t node, enum node_method method,
                       struct slice payload, uint64_t timeout_ms)
{
    struct writer w = frame_begin(FRAME_ASK);
    c->owner = l;
    c->id = ++l->next_call;
    c->peer_link = 0;
    list_init(&c->link);
    list_push_back(&l->calls, &c->link);
    env_timer_init(&c->timer, call_timeout);
    write_u64le(&w, c->id);
    write_u16le(&w, (uint16_t)method);
    write_slice_raw(&w, payload);
    struct bytes part = writer_take(&w);
    if (++l->n_calls > NODE_CALLS_MAX ||
        peers_send(l->peers, node, PEER_CONTROL, PEER_COMMAND, &part, 1, &c->peer_link) != RC_OK) {
        c->peer_link = 0;
        timeout_ms = 0;
    }
    bytes_unref(&part);
    env_timer_arm(l->env, &c->timer, timeout_ms);
}

void control_link_call_cancel(struct node_call *c)
{
    if (!c->owner)
        return;
    env_timer_cancel(c->owner->env, &c->timer);
    list_remove(&c->link);
    c->owner->n_calls--;
    c->owner = NULL;
}

void control_link_send_command(struct control_link *l, uint32_t node, enum link_command command,
                               uint16_t partition)
{
    struct writer w = frame_begin((enum frame_kind)command);
    write_u16le(&w, partition);
    struct bytes part = writer_take(&w);
    peers_send(l->peers, node, PEER_CONTROL, PEER_COMMAND, &part, 1, NULL);
    bytes_unref(&part);
}

/* ---- life ---- */

struct control_link *control_link_new(struct env *env, struct peers *peers,
                                      const struct control_link_ops *ops, void *ctx)
{
    struct control_link *l = xcalloc(1, sizeof(*l));
    l->env = env;
    l->peers = peers;
    l->ops = ops;
    l->ctx = ctx;
    env_task_init(&l->refuse, refuse_unsent);
    list_init(&l->calls);
    list_init(&l->answers);
    peers_serve(l->peers, PEER_METADATA, &metadata_ops, l);
    peers_serve(l->peers, PEER_GOSSIP, &gossip_ops, l);
    peers_serve(l->peers, PEER_COMMAND, &command_ops, l);
    return l;
}

void control_link_free(struct control_link *l)
{
    env_undefer(&l->refuse);
    while (!list_empty(&l->calls))
        end_call(CONTAINER_OF(l->calls.next, struct node_call, link), RC_CLOSED,
                 "the server is shutting down", SLICE_EMPTY);
    struct list *n;
    while ((n = list_pop_front(&l->answers)))
        CONTAINER_OF(n, struct node_answer, link)->owner = NULL;
    VEC_FREE(&l->requests);
    free(l);
}

void control_link_set_metadata(struct control_link *l, struct metadata_host *metadata)
{
    l->metadata = metadata;
}

void control_link_set_identity(struct control_link *l, uint32_t me)
{
    l->me = me;
}

void control_link_set_nodes(struct control_link *l, const struct nodes_config *nodes)
{
    l->nodes = nodes;
}

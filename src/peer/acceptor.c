/* Implementation of peer/acceptor.h. */
#include "peer/acceptor.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peer/internal.h"

/* Connections that have sent nothing yet; beyond it the oldest is given up. */
#define SNIFFING_MAX 1024u

struct peer_acceptor {
    struct peers *main;
    void (*other)(void *ctx, struct net_conn *conn);
    void *ctx;
    struct list sniffing; /* oldest first */
    size_t n_sniffing;
    struct {
        struct peers **items;
        size_t len, cap, turn;
    } servers[PEER_CHANNELS];
};

/* A connection until it is known what it is. */
struct sniff {
    struct list member;
    struct peer_acceptor *acceptor;
    struct net_conn *conn;
    struct writer early;
    struct env_timer timer;
};

static void sniff_free(struct sniff *s)
{
    env_timer_cancel(s->acceptor->main->env, &s->timer);
    list_remove(&s->member);
    s->acceptor->n_sniffing--;
    writer_free(&s->early);
    free(s);
}

/* ---- messages to other loops ---- */

enum note_kind { NOTE_LINK, NOTE_HEARD, NOTE_IDENTITY, NOTE_NODE, NOTE_REMOVED };

struct note {
    struct loop_msg msg;
    struct peers *peers; /* a reference */
    enum note_kind kind;
    struct node_ref node;
    uint64_t fingerprint;
    char *address;
    /* NOTE_LINK */
    int fd;
    enum net_family family;
    enum peer_channel channel;
    struct bytes answer, rest;
};

static void take_link(struct note *n)
{
    struct err err = {0};
    if (n->peers->closed) {
        close(n->fd);
        return;
    }
    struct net_conn *conn = net_conn_adopt(n->peers->loop, n->family, n->fd, &err);
    if (!conn) {
        LOG0(LOG_WARN, PEER_TARGET, "A link of N%u was lost: %s", n->node.id, err.msg);
        return;
    }
    if (n->rest.len > 0) {
        net_conn_unread(conn, n->rest);
        n->rest = BYTES_EMPTY;
    }
    link_adopt(n->peers, conn, n->node, n->channel, n->answer);
    n->answer = BYTES_EMPTY;
}

static void note_apply(struct note *n)
{
    struct peers *p = n->peers;
    if (n->kind == NOTE_LINK)
        take_link(n);
    else if (p->closed)
        return;
    else if (n->kind == NOTE_HEARD)
        peers_heard(p, n->node);
    else if (n->kind == NOTE_IDENTITY)
        peers_set_identity(p, n->node, n->fingerprint);
    else if (n->kind == NOTE_NODE)
        peers_set_node(p, n->node, n->address);
    else
        peers_remove_node(p, n->node.id);
}

static void note_deliver(struct loop_msg *m)
{
    struct note *n = CONTAINER_OF(m, struct note, msg);
    note_apply(n);
    bytes_unref(&n->answer);
    bytes_unref(&n->rest);
    peers_unref(n->peers);
    free(n->address);
    free(n);
}

static void note_post(struct peers *p, const struct note *what)
{
    struct note *n = xmalloc(sizeof(*n));
    *n = *what;
    n->address = what->address ? xstrdup(what->address) : NULL;
    n->peers = p;
    n->msg.deliver = note_deliver;
    peers_ref(p);
    loop_post(p->loop, &n->msg);
}

/* To every loop, once; on this one at once. */
static void tell_all(struct peer_acceptor *a, struct note *what)
{
    for (size_t c = 1; c < PEER_CHANNELS; c++) {
        for (size_t i = 0; i < a->servers[c].len; i++) {
            struct peers *p = a->servers[c].items[i];
            bool before = p == a->main;
            for (size_t e = 1; e < c && !before; e++) {
                for (size_t j = 0; j < a->servers[e].len; j++)
                    before |= a->servers[e].items[j] == p;
            }
            if (!before)
                note_post(p, what);
        }
    }
    what->peers = a->main;
    note_apply(what);
}

void peer_acceptor_set_identity(struct peer_acceptor *a, struct node_ref me, uint64_t fingerprint)
{
    tell_all(a, &(struct note){.kind = NOTE_IDENTITY, .node = me, .fingerprint = fingerprint});
}

void peer_acceptor_set_node(struct peer_acceptor *a, struct node_ref node, const char *address)
{
    tell_all(a, &(struct note){.kind = NOTE_NODE, .node = node, .address = (char *)address});
}

void peer_acceptor_remove_node(struct peer_acceptor *a, uint32_t id)
{
    tell_all(a, &(struct note){.kind = NOTE_REMOVED, .node = {id, 0}});
}

void peer_acceptor_heard(struct peer_acceptor *a, struct node_ref node)
{
    tell_all(a, &(struct note){.kind = NOTE_HEARD, .node = node});
}

/* ---- checking a greeting ---- */

static enum rc check_sender(const struct peers *p, struct node_ref from, struct err *err)
{
    if (from.id == p->me.id && from.generation != p->me.generation)
        return err_set(err, RC_CONFLICT, "this node is N%u:%u and you say that you are N%u:%u", p->me.id,
                       p->me.generation, from.id, from.generation);
    const struct peer_node *n = peers_find_node(p, from.id);
    if (n && n->removed)
        return err_set(err, RC_CONFLICT, "N%u was removed from the cluster", from.id);
    if (n && from.generation < n->ref.generation)
        return err_set(err, RC_CONFLICT, "N%u:%u was replaced by N%u:%u", from.id, from.generation, from.id,
                       n->ref.generation);
    return RC_OK;
}

static enum rc check_hello(const struct peers *p, const struct peer_hello *h, struct err *err)
{
    if (h->max_version < PEER_VERSION_MIN || h->min_version > PEER_VERSION_MAX)
        return err_set(err, RC_UNSUPPORTED,
                       "no common version of the protocol: this node speaks %u to %u, you %u to %u",
                       PEER_VERSION_MIN, PEER_VERSION_MAX, h->min_version, h->max_version);
    if (!slice_eq_cstr(h->cluster_name, p->config.cluster_name))
        return err_set(err, RC_CONFLICT, "this node belongs to the cluster '%s', you to '%.*s'",
                       p->config.cluster_name, (int)MIN(h->cluster_name.len, (size_t)200),
                       (const char *)h->cluster_name.ptr);
    if (h->fingerprint && p->fingerprint && h->fingerprint != p->fingerprint)
        return err_set(err, RC_CONFLICT, "another cluster with the name '%s' (fingerprints differ)",
                       p->config.cluster_name);
    if (h->expected_id && !p->me.id)
        return err_set(err, RC_CONFLICT, "this node has not joined yet, it cannot be N%u", h->expected_id);
    if (h->expected_id && h->expected_id != p->me.id)
        return err_set(err, RC_CONFLICT,
                       "this node is N%u, not N%u: two nodes may advertise the same address", p->me.id,
                       h->expected_id);
    if ((!h->from.id || !p->me.id) && h->channel != PEER_CONTROL)
        return err_set(err, RC_CONFLICT, "the %s channel is for nodes that have joined",
                       peer_channel_name(h->channel));
    return h->from.id ? check_sender(p, h->from, err) : RC_OK;
}

static struct bytes encode_answer(const struct peers *p, const struct peer_answer *a)
{
    struct peer_answer answer = *a;
    answer.me = p->me;
    answer.fingerprint = p->fingerprint;
    struct writer w = WRITER_INIT;
    peer_answer_encode(&w, &answer);
    return writer_take(&w);
}

/* ---- connections ---- */

static void refuse(struct sniff *s, const char *why)
{
    struct peer_acceptor *a = s->acceptor;
    char from[80];
    net_conn_peer(s->conn, from, sizeof(from));
    metric_inc(a->main->metrics.refused);
    LOG0(LOG_DEBUG, PEER_TARGET, "Refused a link from %s: %s", from, why);
    net_conn_write(s->conn, encode_answer(a->main, &(struct peer_answer){.reason = slice_cstr(why)}));
    net_conn_close(s->conn); /* the sniff is freed when it is closed */
}

static void hand_over(struct sniff *s, const struct peer_hello *h, struct peers *to, size_t used)
{
    struct peer_acceptor *a = s->acceptor;
    struct net_conn *conn = s->conn;
    struct err err = {0};
    struct slice all = writer_slice(&s->early);
    struct note n = {.kind = NOTE_LINK, .node = h->from, .channel = h->channel};
    n.family = net_conn_family(conn);
    if (used < all.len)
        n.rest = bytes_copy(slice_sub(all, used, all.len - used));
    uint16_t version = MIN(h->max_version, (uint16_t)PEER_VERSION_MAX);
    n.answer = encode_answer(a->main, &(struct peer_answer){.accepted = true, .version = version});
    sniff_free(s);
    net_conn_stop(conn);
    n.fd = net_conn_detach(conn, &err);
    if (n.fd < 0) {
        LOG0(LOG_WARN, PEER_TARGET, "A link of N%u was lost: %s", n.node.id, err.msg);
        bytes_unref(&n.rest);
        bytes_unref(&n.answer);
        return;
    }
    note_post(to, &n);
    if (n.node.id)
        peer_acceptor_heard(a, n.node);
}

static void on_hello(struct sniff *s, const struct peer_hello *h, size_t used)
{
    struct peer_acceptor *a = s->acceptor;
    struct err err = {0};
    if (check_hello(a->main, h, &err) != RC_OK) {
        refuse(s, err.msg);
    } else if (a->servers[h->channel].len == 0) {
        char why[80];
        snprintf(why, sizeof(why), "this node does not serve the %s channel", peer_channel_name(h->channel));
        refuse(s, why);
    } else {
        struct peers *to = a->servers[h->channel].items[a->servers[h->channel].turn];
        a->servers[h->channel].turn = (a->servers[h->channel].turn + 1) % a->servers[h->channel].len;
        hand_over(s, h, to, used);
    }
}

/* It is HTTP, or silent for long: not ours. */
static void give_back(struct sniff *s, struct bytes data_take)
{
    struct peer_acceptor *a = s->acceptor;
    struct net_conn *conn = s->conn;
    net_conn_stop(conn);
    if (data_take.len > 0)
        net_conn_unread(conn, data_take);
    sniff_free(s);
    a->other(a->ctx, conn);
}

static void sniff_on_read(void *ctx, struct bytes data)
{
    struct sniff *s = ctx;
    if (s->early.len == 0 && !peer_magic_matches(bytes_slice(data))) {
        give_back(s, bytes_ref(data));
        return;
    }
    write_raw(&s->early, data.ptr, data.len);
    if (!peer_magic_matches(writer_slice(&s->early))) {
        give_back(s, writer_take(&s->early));
        return;
    }
    struct peer_hello h;
    size_t used;
    enum rc rc = peer_hello_decode(writer_slice(&s->early), &used, &h);
    if (rc == RC_OK)
        on_hello(s, &h, used);
    else if (rc != RC_AGAIN)
        refuse(s, "malformed greeting");
}

static void sniff_on_closed(void *ctx, const struct err *why)
{
    sniff_free(ctx);
}

static const struct net_conn_ops sniff_ops = {.on_read = sniff_on_read, .on_closed = sniff_on_closed};

/* A connection without a byte may be one that an HTTP client keeps in reserve; one with half a greeting is of
 * no use to anybody. */
static void sniff_timeout(struct env_timer *t)
{
    struct sniff *s = CONTAINER_OF(t, struct sniff, timer);
    if (s->early.len == 0)
        give_back(s, BYTES_EMPTY);
    else
        net_conn_close(s->conn);
}

void peer_acceptor_accept(struct peer_acceptor *a, struct net_conn *conn)
{
    if (a->n_sniffing >= SNIFFING_MAX)
        sniff_timeout(&CONTAINER_OF(a->sniffing.next, struct sniff, member)->timer);
    struct sniff *s = xcalloc(1, sizeof(*s));
    s->acceptor = a;
    s->conn = conn;
    list_push_back(&a->sniffing, &s->member);
    a->n_sniffing++;
    env_timer_init(&s->timer, sniff_timeout);
    env_timer_arm(a->main->env, &s->timer, a->main->config.handshake_timeout_ms);
    net_conn_start(conn, &sniff_ops, s);
}

/* ---- life ---- */

struct peer_acceptor *peer_acceptor_new(struct peers *main, void (*other)(void *ctx, struct net_conn *conn),
                                        void *ctx)
{
    struct peer_acceptor *a = xcalloc(1, sizeof(*a));
    a->main = main;
    a->other = other;
    a->ctx = ctx;
    list_init(&a->sniffing);
    return a;
}

void peer_acceptor_add(struct peer_acceptor *a, enum peer_channel channel, struct peers *p)
{
    ASSERT(channel >= 1 && channel < PEER_CHANNELS);
    VEC_PUSH(&a->servers[channel], p);
}

void peer_acceptor_remove(struct peer_acceptor *a, struct peers *p)
{
    for (size_t c = 1; c < PEER_CHANNELS; c++) {
        size_t n = 0;
        for (size_t i = 0; i < a->servers[c].len; i++) {
            if (a->servers[c].items[i] != p)
                a->servers[c].items[n++] = a->servers[c].items[i];
        }
        a->servers[c].len = n;
        a->servers[c].turn = 0;
    }
}

void peer_acceptor_free(struct peer_acceptor *a)
{
    LIST_FOREACH_SAFE(n, next, &a->sniffing)
    {
        struct sniff *s = CONTAINER_OF(n, struct sniff, member);
        struct net_conn *conn = s->conn;
        sniff_free(s);
        if (net_conn_write_pending(conn) == 0)
            net_conn_stop(conn);
        net_conn_close(conn);
    }
    for (size_t c = 1; c < PEER_CHANNELS; c++)
        VEC_FREE(&a->servers[c]);
    free(a);
}

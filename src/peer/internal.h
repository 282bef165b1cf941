/* What the files of peer/ share and nobody else sees. */
#pragma once
#include "base/log.h"
#include "base/metrics.h"
#include "peer/hello.h"
#include "peer/peer.h"

#define PEER_TARGET       "restate_core::network::connection"
#define PEER_WANTED_MS    60000u /* a link that nobody used for so long is not dialed again by itself */
#define PEER_ADDRESS_MAX  64u    /* links by address */
#define PEER_SMALL_BYTES  1024u  /* frames up to this size are copied into one buffer */
#define PEER_RECONNECT_MS 300u   /* a sign of life restarts an attempt to connect that is older */

enum link_state { LINK_CONNECTING, LINK_GREETING, LINK_UP, LINK_DOWN };

struct peer_dial;

/* One connection, from dialing or accepting to its end. Freed when its end was reported and the socket is
 * closed. */
struct link {
    struct hmap_node by_id; /* peers->links_by_id */
    struct list member;     /* peers->links */
    struct peers *peers;    /* NULL: peers_free was called, only the socket's end is waited for */
    struct peer_dial *dial; /* NULL: accepted, or the target was forgotten */
    struct peer_link info;
    enum link_state state;
    struct net_conn *conn; /* NULL once closed */
    uint32_t expected_id;
    char address[300];

    struct env_timer timer; /* greeting, then keep-alive */
    uint64_t timer_due, last_heard, connecting_since;
    uint64_t queued_total, taken_before;
    size_t pending_before;

    struct writer early; /* greeting: what has been read of the answer */
    struct peer_frames frames;
    struct {
        struct bytes *items;
        size_t len, cap;
    } waiting; /* frames until the link is up */
    size_t waiting_bytes;

    struct env_task report;
    struct peer_down down;
    char why[ERR_MESSAGE_SIZE];
    bool reported;
    bool too_early; /* refused because the other node has not joined yet: it soon will */
};

/* Somebody to keep a link to. */
struct peer_dial {
    struct list member; /* peers->address_dials; unlinked for nodes */
    struct peers *peers;
    struct peer_node *node; /* NULL: by address */
    char *address;          /* NULL for nodes: node->address */
    enum peer_channel channel;
    struct link *link; /* NULL: idle */
    struct env_timer timer;
    uint64_t pause_ms, retry_at, last_wanted;
    bool wanted;
    uint64_t last_refusal; /* hash of the sentence that was logged */
};

struct peer_node {
    struct hmap_node by_id;
    struct node_ref ref;
    bool removed;
    char *address; /* NULL: not known */
    struct peer_dial dials[PEER_CHANNELS];
};

struct peers {
    struct loop *loop;
    struct env *env;
    struct peers_config config;
    _Atomic int refs; /* the owner, and messages on their way to the loop */
    bool closed;
    struct node_ref me;
    uint64_t fingerprint;
    struct hmap nodes, links_by_id;
    struct list links, address_dials;
    size_t n_address_dials;
    uint64_t next_link;
    struct {
        const struct peer_service_ops *ops;
        void *ctx;
    } services[PEER_SERVICES];
    struct {
        struct metric *dialed, *accepted, *sent, *received, *lost, *refused, *dropped;
    } metrics;
};

/* ---- link.c ---- */
struct link *link_dial(struct peer_dial *d, const struct net_address *address);
/* `conn` was accepted and checked; `answer_take` is the first thing to be sent. */
struct link *link_adopt(struct peers *p, struct net_conn *conn, struct node_ref from,
                        enum peer_channel channel, struct bytes answer_take);
enum rc link_send(struct link *l, enum peer_service service, const struct bytes *parts, size_t n_parts);
size_t link_pending(const struct link *l);
/* The end, unless it has ended already. Reported by a deferred task. */
void link_down(struct link *l, enum peer_down_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Connect again, keeping what waits. */
void link_reconnect(struct link *l);
/* Ends at once and without a report; the struct frees itself when the socket is closed. */
void link_abandon(struct link *l);

/* ---- peers.c ---- */
void peers_ref(struct peers *p);
void peers_unref(struct peers *p);
struct peer_node *peers_find_node(const struct peers *p, uint32_t id);
/* The node was heard of in this generation. */
void peers_learn(struct peers *p, struct node_ref ref);
/* The same, and a sign of life; the caller accepted a link from it. */
void peers_heard(struct peers *p, struct node_ref ref);
void dial_link_down(struct peer_dial *d, const struct link *l);
void dial_link_up(struct peer_dial *d);

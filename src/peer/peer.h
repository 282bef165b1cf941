/* Long-lived links between the nodes of a cluster, over the node port (spec/cluster.md §0.2, §1.5, §2.6).
 *
 * A link is one TCP connection that carries frames of several services in both directions. A node dials the
 * nodes it wants to talk to, once per channel and loop; the channel decides which loop of the other node
 * serves the link, so that what arrives needs no further hop between threads there. An accepted connection is
 * looked at by the main loop (peer/acceptor.h) and handed to that loop with its descriptor.
 *
 * `struct peers` is one loop's end of all this. */
#pragma once
#include "loop/net.h"
#include "wire/node_ref.h"

enum peer_channel {
    PEER_CONTROL = 1, /* main loop: metadata, gossip, commands */
    PEER_LOG,         /* log loop: requests to the log-server */
    PEER_PARTITION,   /* the shard loops in turn: requests to partitions, outbox messages */
    PEER_CHANNELS,
};
const char *peer_channel_name(enum peer_channel c);
/* Largest payload of one frame. */
size_t peer_frame_limit(enum peer_channel c);

/* Who talks on a link: the first byte of a frame. 0 is the link itself. Numbers are for ever. */
enum peer_service {
    PEER_METADATA = 1, /* wire/metadata_message.h; the only one open to nodes that have not joined */
    PEER_GOSSIP = 2,
    PEER_COMMAND = 3, /* orders of the controller to nodes */
    PEER_LOGLET = 4,  /* wire/loglet_message.h */
    PEER_RPC = 5,     /* requests to partition leaders */
    PEER_INGEST = 6,  /* outbox messages between partitions */
    PEER_FETCH = 7,   /* values of metadata from other nodes */
    PEER_RPC_REPLY = 8,
    PEER_INGEST_REPLY = 9,
    PEER_SERVICES = 16,
};

struct peers_config {
    const char *cluster_name;      /* copied */
    uint64_t connect_timeout_ms;   /* networking.connect-timeout: 3000 */
    uint64_t handshake_timeout_ms; /* networking.handshake-timeout: 3000 */
    /* Silence after which a link is asked for a sign of life, and after which it is given up
     * (networking.http2-keep-alive-*: 1000, 3000). */
    uint64_t keep_alive_interval_ms, keep_alive_timeout_ms;
    uint64_t retry_min_ms, retry_max_ms; /* pause before dialing again, doubling: 250, 3000 */
    size_t queue_limit_bytes; /* waiting to be sent per link: 64 MiB. An empty queue takes any frame */
};
void peers_config_default(struct peers_config *c);

struct peer_link {
    uint64_t id;          /* names this link among all of this `struct peers` for ever; 0: none */
    struct node_ref node; /* the other end; id 0: not known (yet), or not joined */
    enum peer_channel channel;
    bool accepted;       /* the other end dialed */
    const char *address; /* as dialed; accepted: where it came from */
};

enum peer_down_reason {
    PEER_DOWN_GONE,   /* nobody listens there, or the connection ended without a goodbye: the process has most
                         likely ended */
    PEER_DOWN_SILENT, /* no byte for keep_alive_timeout_ms, or no answer to connecting: stopped or cut off */
    PEER_DOWN_REFUSED, /* the greeting was refused by either side: another cluster, another node, ... */
    PEER_DOWN_CLOSED,  /* closed on purpose by either side, or broken frames */
};
const char *peer_down_reason_name(enum peer_down_reason r);
struct peer_down {
    enum peer_down_reason reason;
    bool was_up; /* false: nothing that was queued on the link has been sent */
    const char *why;
    bool too_early; /* refused because the other node has not joined yet */
};

/* What a service wants to know; any may be NULL. Never called from inside a peers_* function, but callbacks
 * may call them. */
struct peer_service_ops {
    /* A frame. `payload` is lent and may be a small part of a larger buffer: bytes_ref it, and bytes_compact
     * what is kept for long. */
    void (*on_frame)(void *ctx, const struct peer_link *from, struct bytes payload);
    /* Links of all channels, dialed or accepted. Up and down come once each, in this order; a link that never
     * came up is reported down all the same. */
    void (*on_up)(void *ctx, const struct peer_link *l);
    void (*on_down)(void *ctx, const struct peer_link *l, const struct peer_down *down);
    /* A sign of life of a node from outside of this loop: peers_wake, or another loop accepted a link from it
     * (trap TR-13: end all pauses that its silence has caused). on_up is one as well. */
    void (*on_alive)(void *ctx, uint32_t node);
};

struct peers;
/* Any thread until the loop runs, then the loop's. */
struct peers *peers_new(struct loop *loop, const struct peers_config *config);
/* Says goodbye on all links; no callback runs afterwards. On the loop's thread, not from a callback; take it
 * out of the acceptor first. The loop must run at least one more iteration, in which the sockets report their
 * end. */
void peers_free(struct peers *p);
/* Frames of `service` go to `ops`, and news of links. Once per service; `ops` NULL: no longer. */
void peers_serve(struct peers *p, enum peer_service service, const struct peer_service_ops *ops, void *ctx);

/* Who we are, once known. Links to nodes are only dialed from then on. `fingerprint` may be told alone before
 * (me.id 0). */
void peers_set_identity(struct peers *p, struct node_ref me, uint64_t fingerprint);
/* From the nodes configuration; older generations than known are ignored. A newer generation ends the links
 * to the older process. `address` as in the nodes configuration (http://host:port/, unix:path); copied. */
void peers_set_node(struct peers *p, struct node_ref node, const char *address);
/* The node was removed from the cluster (tombstone): its links end, and it is refused from now on. */
void peers_remove_node(struct peers *p, uint32_t id);
/* A sign of life: what waits to dial this node dials now. Tells on_alive of this loop. */
void peers_wake(struct peers *p, uint32_t id);

/* Send one frame; `parts` (lent, referenced while queued) are its payload one after the other. Dials if
 * needed; frames wait for the link to come up. Never blocks and never calls back. RC_OK           queued;
 * `*link` (may be NULL) is set to the link's id. If that goes down, whether the frame has arrived is unknown,
 * or, if it was never up: it has not been sent RC_UNAVAILABLE  certainly not sent: unknown node, no identity
 * yet, or waiting to dial again RC_OVERLOADED   certainly not sent: the queue is full RC_TOO_LARGE    above
 * peer_frame_limit */
enum rc peers_send(struct peers *p, uint32_t node, enum peer_channel channel, enum peer_service service,
                   const struct bytes *parts, size_t n_parts, uint64_t *link);
/* The same on the CONTROL channel to whoever listens at `address`, whose node id is not known: for clients of
 * the metadata service, also before joining. */
enum rc peers_send_address(struct peers *p, const char *address, enum peer_service service,
                           const struct bytes *parts, size_t n_parts, uint64_t *link);
/* The same on an existing link, to answer where a request came from, or to add to what was sent. RC_CLOSED if
 * it is down by now. */
enum rc peers_answer(struct peers *p, uint64_t link, enum peer_service service, const struct bytes *parts,
                     size_t n_parts);
/* Give a link up: for instance because an answer could not be queued, so that the other end learns of it. */
void peers_close_link(struct peers *p, uint64_t link, const char *why);
/* Bytes that wait to be sent to a node; 0 without a link. */
size_t peers_pending(const struct peers *p, uint32_t node, enum peer_channel channel);
/* The link that peers_send would use now; 0: it would have to dial. */
uint64_t peers_link(const struct peers *p, uint32_t node, enum peer_channel channel);
bool peers_is_up(const struct peers *p, uint32_t node, enum peer_channel channel);
/* The highest generation of the node that was heard of; 0: none. */
uint32_t peers_generation(const struct peers *p, uint32_t node);

/* "http://host:port/", "host:port", "[v6]:port", "unix:/path"; without port 5122. */
enum rc peer_address_parse(struct slice text, struct net_address *out, struct err *err);

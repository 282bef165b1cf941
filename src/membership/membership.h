/* Who is alive, and the spread of small facts: which versions of metadata exist, and what each node's
 * partitions do (spec/cluster.md §3, §2.6, §4.6). One object per node, on its main loop; a deterministic
 * core.
 *
 * Everything that comes out of here is a hint (invariant F-1): nodes may disagree for any time. Nothing that
 * must be right may depend on it; compare-and-swap and the log decide.
 *
 * How it works. Every tick each node sends a heartbeat to all others (a random part of them in clusters of
 * more than MEMBERSHIP_DIRECT_MAX). It carries the sender's tick and, for every node, the highest tick that
 * the sender knows of and how long ago it went up. News about a node is a tick that is higher than the one
 * known: it cannot be faked by messages that are late, repeated or out of order, and no clock of another
 * machine is involved (S-14). A node without news for `failure_threshold` ticks is dead.
 *
 * Own gaps (B8): silence is measured on a clock that stands still while this loop does not run, and after a
 * long gap nobody is declared dead for silence until the others had a whole threshold to be heard again. */
#pragma once
#include "base/env.h"
#include "metadata/nodes_config.h"
#include "wire/gossip_message.h"

#define MEMBERSHIP_DIRECT_MAX 50u

enum membership_verdict {
    MEMBERSHIP_DEAD,    /* or never heard of */
    MEMBERSHIP_SUSPECT, /* was dead and is heard again; better than nobody, worse than an alive one */
    MEMBERSHIP_ALIVE,
    MEMBERSHIP_FAILING_OVER, /* is stopping in good order: give its leaderships to others */
};
const char *membership_verdict_name(enum membership_verdict v);

/* spec/cluster.md §3.2, the keys gossip-*. membership_config_default fills in the defaults. */
struct membership_config {
    uint64_t tick_ms;             /* gossip-tick-interval, 100 */
    uint32_t failure_threshold;   /* ticks without news before a node is dead, 10 */
    uint32_t num_peers;           /* lower bound of peers per tick where not all are sent to, 2 */
    uint32_t stability_threshold; /* pieces of news before a node is believed to be back, 3 */
    uint64_t
        suspect_ms; /* gossip-suspect-interval, 5000: longest; 1 s at first, doubling while a node flaps */
    uint32_t loneliness_threshold; /* ticks without any message, 30 */
    uint32_t extras_every;         /* each partition status is repeated every so many ticks, 10 */
};
void membership_config_default(struct membership_config *c);

enum membership_what {                       /* bits */
                       MEMBERSHIP_NODES = 1, /* a verdict, a generation, who reaches whom, the set of nodes,
                                                or membership_ready */
                       MEMBERSHIP_LEADERS =
                           2, /* a leader, a mode or a run state of a partition; not mere progress */
};
/* All calls are made from a deferred task, never from within a membership_ function (but for `send`). */
struct membership_ops {
    /* May be lost; must not call back into membership. The message is valid during the call. */
    void (*send)(void *ctx, uint32_t node, struct slice message);
    /* enum membership_what. NODES may change the answers of membership_leader too. */
    void (*changed)(void *ctx, unsigned what);
    /* `from` knows a version above the one set here. Repeated about twice a second until it is set. */
    void (*newer)(void *ctx, enum gossip_kind kind, uint16_t partition, uint32_t version, uint32_t from);
};

struct membership;
struct membership *membership_new(struct env *env, const struct membership_config *config,
                                  const struct membership_ops *ops, void *ctx);
void membership_free(struct membership *m);
/* Hot reload. */
void membership_configure(struct membership *m, const struct membership_config *config);

/* Who this node is; once, after joining. Heartbeats begin when this and the nodes are known.
 * `started_mono_ms`: when the process started, on env's monotonic clock; for the uptime shown to operators.
 */
void membership_set_self(struct membership *m, struct node_ref self, uint64_t started_mono_ms);
/* The nodes to watch and their generations; copied. Older versions are ignored. */
void membership_set_nodes(struct membership *m, const struct nodes_config *nodes);
/* What this node knows itself; told to all at once. Never goes back. `partition` for GOSSIP_EPOCH only. */
void membership_set_version(struct membership *m, enum gossip_kind kind, uint16_t partition,
                            uint32_t version);

/* A message from a peer. Malformed ones and those of other clusters are counted and dropped. */
void membership_receive(struct membership *m, struct slice message);
/* Hints of the transport. A connection was lost or refused; `gone` if that says that the process has ended
 * (refused, reset): dead at once, until it is heard again with certainty. `node.generation` is that of the
 * process the connection was with, 0 if it never came to that. */
void membership_peer_lost(struct membership *m, struct node_ref node, bool gone);
/* A connection with this process of the node was made or accepted: a sign of life. */
void membership_peer_seen(struct membership *m, struct node_ref node);
/* This node stops in good order: say so to all, now and with every heartbeat. */
void membership_fail_over(struct membership *m);

/* ---- nodes ---- */

struct membership_node {
    struct node_ref node; /* newest generation known */
    enum membership_verdict verdict;
    bool self;
    bool reachable;        /* directly and both ways; the node itself always */
    bool ever_heard;       /* else last_heard_ms means nothing */
    uint64_t last_news_ms; /* monotonic: last evidence of its life, direct or relayed */
    uint64_t uptime_ms;    /* as it said, plus the time since; 0 unknown */
};
/* Of the nodes configuration without tombstones, by id; self included. */
size_t membership_node_count(const struct membership *m);
void membership_node_at(const struct membership *m, size_t i, struct membership_node *out);
bool membership_node(const struct membership *m, uint32_t node, struct membership_node *out);

/* Unknown nodes are dead. Self is alive unless it fails over. */
enum membership_verdict membership_verdict(const struct membership *m, uint32_t node);
/* Newest generation known of it, 0: none. Once seen it never goes back (F-3). */
uint32_t membership_generation(const struct membership *m, uint32_t node);
/* This node and that one hear each other directly at present (S-6); an alive node that is not reachable is
 * known through others only. */
bool membership_reachable(const struct membership *m, uint32_t node);
/* Do `a` and `b` hear each other directly, as far as they told? */
bool membership_link(const struct membership *m, uint32_t a, uint32_t b);
/* With how many of the nodes that are not dead has `node` such a link? Prefer leaders with the most. */
uint32_t membership_link_count(const struct membership *m, uint32_t node);
/* Is the own view worth acting on? Not in the first moments of this process, and in the moments after it did
 * not run for a while or was cut off from everybody: then its verdicts speak about itself. */
bool membership_ready(const struct membership *m);
/* Nobody was heard for gossip-loneliness-threshold ticks although there are others. */
bool membership_lonely(const struct membership *m);

/* ---- partitions ---- */

/* What this node's replicas do: those given are added or replaced. A change of mode, run state, epoch or
 * leader is told to everybody at once, progress with the heartbeats of the next second. */
void membership_publish(struct membership *m, const struct partition_status *statuses, size_t n);
/* The replica does not run here any more. */
void membership_withdraw(struct membership *m, uint16_t partition);

struct membership_status {
    struct partition_status status;
    uint64_t updated_ms; /* monotonic, on this node: when its node last reported it */
    uint64_t seq;        /* private */
    uint8_t urgent;      /* private: times still to be sent ahead of its turn */
};
/* Of one node (self included), by partition; those of a dead node are its last. Valid until the next
 * call that changes something. `*n` 0 if none. */
const struct membership_status *membership_statuses(const struct membership *m, uint32_t node, size_t *n);
const struct membership_status *membership_status(const struct membership *m, uint32_t node,
                                                  uint16_t partition);
/* The leader of the highest epoch that anybody ever told of (leaders themselves or followers that saw them
 * announced), if its process is not known to be dead or replaced and did not say that it stepped down.
 * Constant time: routers ask per request. */
bool membership_leader(const struct membership *m, uint16_t partition, struct node_ref *leader,
                       uint64_t *epoch);
/* Highest version of the partition's epoch metadata known here or heard of, 0: none. */
uint32_t membership_epoch_version(const struct membership *m, uint16_t partition);

struct membership_stats {
    uint64_t sent, received, bytes_sent, bytes_received;
    uint64_t malformed, foreign;  /* dropped: undecodable; of another cluster, unknown or outdated senders */
    uint64_t deaths, hints, gaps; /* verdicts dead by silence; by a hint; own gaps discounted */
};
const struct membership_stats *membership_stats(const struct membership *m);

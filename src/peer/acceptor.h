/* Looks at the first bytes of a connection that the node port accepted: a link of another node is checked
 * (spec/cluster.md §2.6: cluster name, fingerprint, who is meant, generation) and handed to the loop
 * that serves its channel; everything else is HTTP and goes back to the caller. Main loop. */
#pragma once
#include "peer/peer.h"

struct peer_acceptor;
/* `main` is the main loop's; the identity and the nodes that it knows are what greetings are checked against.
 * `other` takes over connections that are no links, with every byte still to be read. */
struct peer_acceptor *peer_acceptor_new(struct peers *main, void (*other)(void *ctx, struct net_conn *conn),
                                        void *ctx);
/* `p` serves links of `channel`; several of one channel take turns. All of them, and `main`, learn of signs
 * of life on any. */
void peer_acceptor_add(struct peer_acceptor *a, enum peer_channel channel, struct peers *p);
/* Before `p` is freed. */
void peer_acceptor_remove(struct peer_acceptor *a, struct peers *p);
void peer_acceptor_accept(struct peer_acceptor *a, struct net_conn *conn);

/* News for all loops that were added, and `main`: applied here at once, there by message. Compare the
 * functions of the same names in peer/peer.h. */
void peer_acceptor_set_identity(struct peer_acceptor *a, struct node_ref me, uint64_t fingerprint);
void peer_acceptor_set_node(struct peer_acceptor *a, struct node_ref node, const char *address);
void peer_acceptor_remove_node(struct peer_acceptor *a, uint32_t id);
/* A sign of life after silence, for instance by gossip: ends pauses on all loops (TR-13). */
void peer_acceptor_heard(struct peer_acceptor *a, struct node_ref node);

/* Refuse links and forget those that have not been handed over: the node stops. */
void peer_acceptor_free(struct peer_acceptor *a);

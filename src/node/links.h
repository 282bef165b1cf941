/* The links of this node to the others (peer/): one `struct peers` for the main loop, and one for each
 * further loop that wants some. Main loop, unless said otherwise. */
#pragma once
#include "metadata/nodes_config.h"
#include "node/config.h"
#include "node/fabric.h"

/* From `[networking]`. */
void links_config(const struct node_config *c, struct peers_config *out);

struct links;
/* The node port accepts links from here on; those of the CONTROL channel are served by the main loop. */
struct links *links_new(struct loop *main, const struct node_config *c, struct fabric *fabric);
struct peers *links_main(struct links *l);
/* A `struct peers` for another loop, which serves accepted links of `channel`. Call links_nodes afterwards.
 * Before that loop runs. To be freed with peers_free by its owner, on its loop, after links_stop. */
struct peers *links_add(struct links *l, struct loop *loop, enum peer_channel channel);
/* This node has joined. */
void links_joined(struct links *l, struct node_ref me, uint64_t fingerprint);
/* The nodes configuration was seen, possibly not for the first time. */
void links_nodes(struct links *l, const struct nodes_config *nodes);
/* Gossip or anything else shows that a node lives that was silent: pauses of all loops end (TR-13). */
void links_heard(struct links *l, struct node_ref node);
/* Accept links no more; the existing ones go on. */
void links_stop(struct links *l);
/* Ends the main loop's links. The loop must run one more iteration. */
void links_free(struct links *l);

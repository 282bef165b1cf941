/* A loop's way to log-servers: `struct loglet_net` over the mailbox of the own log loop, where everything of
 * one iteration leaves as one parcel with one wake-up, and over links to other nodes, which the node provides
 * (struct log_links). All functions on the port's loop, except creation and the freeing of a closed port. */
#pragma once
#include "bifrost/replicated_calls.h"

struct log_host;
struct log_port;
struct loop;

/* Links to other nodes. What arrives from them goes to loglet_calls_on_message, signs of life and breaks to
 * loglet_calls_node_alive and _node_lost, all on this loop. */
struct log_links {
    /* As loglet_net.send; never to the own node. */
    void (*send)(struct log_links *links, uint32_t to, const struct loglet_message *m);
};

/* `host` NULL: this node is no log-server, requests to it are lost. `links` NULL: there are no other nodes.
 */
struct log_port *log_port_new(struct log_host *host, struct loop *loop, struct node_ref me,
                              struct log_links *links);
struct loglet_net *log_port_net(struct log_port *p);
/* Where replies of the own log-server go. */
void log_port_set_calls(struct log_port *p, struct loglet_calls *calls);
/* Nothing is sent or received any more; `done` when the log loop has forgotten the port. Never from inside.
 */
void log_port_close(struct log_port *p, void (*done)(void *ctx), void *ctx);
/* A closed port, or one whose loop never ran. */
void log_port_free(struct log_port *p);

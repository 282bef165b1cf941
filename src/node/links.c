/* Implementation of node/links.h. */
#include "node/links.h"

#include <stdlib.h>

struct links {
    struct peers_config config;
    struct fabric *fabric;
    struct peers *main;
    struct peer_acceptor *acceptor; /* NULL: stopped */
    struct node_ref me;
    uint64_t fingerprint;
    uint32_t nodes_version; /* that was passed on */
};

void links_config(const struct node_config *c, struct peers_config *out)
{
    peers_config_default(out);
    out->cluster_name = c->cluster_name;
    out->connect_timeout_ms = c->networking.connect_timeout_ms;
    out->handshake_timeout_ms = c->networking.handshake_timeout_ms;
    out->keep_alive_interval_ms = c->networking.keep_alive_interval_ms;
    out->keep_alive_timeout_ms = c->networking.keep_alive_timeout_ms;
    out->retry_min_ms = c->networking.retry_min_ms;
    out->retry_max_ms = c->networking.retry_max_ms;
}

struct links *links_new(struct loop *main, const struct node_config *c, struct fabric *fabric)
{
    struct links *l = xcalloc(1, sizeof(*l));
    links_config(c, &l->config);
    l->fabric = fabric;
    l->main = peers_new(main, &l->config);
    l->acceptor = fabric_accept_links(fabric, l->main);
    peer_acceptor_add(l->acceptor, PEER_CONTROL, l->main);
    return l;
}

struct peers *links_main(struct links *l)
{
    return l->main;
}

struct peers *links_add(struct links *l, struct loop *loop, enum peer_channel channel)
{
    struct peers *p = peers_new(loop, &l->config);
    if (l->me.id || l->fingerprint)
        peers_set_identity(p, l->me, l->fingerprint);
    peer_acceptor_add(l->acceptor, channel, p);
    l->nodes_version = 0; /* tell it the nodes, with the next links_nodes */
    return p;
}

void links_joined(struct links *l, struct node_ref me, uint64_t fingerprint)
{
    l->me = me;
    l->fingerprint = fingerprint;
    if (l->acceptor)
        peer_acceptor_set_identity(l->acceptor, me, fingerprint);
}

void links_nodes(struct links *l, const struct nodes_config *nodes)
{
    if (!l->acceptor || nodes->version <= l->nodes_version)
        return;
    l->nodes_version = nodes->version;
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *n = &nodes->nodes[i];
        if (n->tombstone)
            peer_acceptor_remove_node(l->acceptor, n->id);
        else
            peer_acceptor_set_node(l->acceptor, (struct node_ref){n->id, n->generation}, n->address);
    }
}

void links_heard(struct links *l, struct node_ref node)
{
    if (l->acceptor)
        peer_acceptor_heard(l->acceptor, node);
}

void links_stop(struct links *l)
{
    if (l->acceptor)
        fabric_close_links(l->fabric);
    l->acceptor = NULL;
}

void links_free(struct links *l)
{
    links_stop(l);
    peers_free(l->main);
    free(l);
}

/* One listening service of the node (fabric, admin): its listeners on a loop, and the addresses that are
 * shown for it (spec/config.md §4). */
#pragma once
#include "http/server.h"
#include "node/config.h"

#define SERVICE_MAX_LISTENERS 2

struct service {
    const char *name;        /* "message-fabric-server", ... */
    const char *socket_name; /* "fabric.sock" */
    struct net_listener *listeners[SERVICE_MAX_LISTENERS];
    size_t n_listeners;
    struct net_address bound[SERVICE_MAX_LISTENERS];
    char advertised[700]; /* with trailing slash */
};
/* Bind TCP and/or the unix socket as configured; connections wait for service_start. On failure the sentence
 * of spec/config.md §1.6. */
enum rc service_bind(struct service *s, struct loop *loop, const struct listener_config *config,
                     const char *data_dir, bool reuse_port, const struct net_listener_ops *ops, void *ctx,
                     struct err *err);
/* Hand the listeners, not started yet, over to another loop (net_listener_move). */
enum rc service_move(struct service *s, struct loop *to, const struct net_listener_ops *ops, void *ctx,
                     struct err *err);
/* What is shown for a service that does not run here. */
void service_not_bound(struct service *s, uint16_t default_port);
enum rc service_start(struct service *s, struct err *err);
void service_close(struct service *s);

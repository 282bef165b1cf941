/* Implementation of node/service.h. */
#include "node/service.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* The address of the interface with the default route: connecting a UDP socket sends nothing, but chooses a
 * source address. */
static bool routable_host(char *out, size_t cap)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    struct sockaddr_in me;
    socklen_t len = sizeof(me);
    bool ok = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
              getsockname(fd, (struct sockaddr *)&me, &len) == 0 &&
              inet_ntop(AF_INET, &me.sin_addr, out, (socklen_t)cap) != NULL;
    close(fd);
    return ok;
}

static void advertise(struct service *s, const struct listener_config *config)
{
    if (config->advertised_address[0]) {
        size_t n = strlen(config->advertised_address);
        bool slash = strstr(config->advertised_address, "://") && config->advertised_address[n - 1] != '/';
        snprintf(s->advertised, sizeof(s->advertised), "%s%s", config->advertised_address, slash ? "/" : "");
        return;
    }
    for (size_t i = 0; i < s->n_listeners; i++) {
        const struct net_address *a = &s->bound[i];
        if (a->family != NET_TCP)
            continue;
        char host[256];
        if (config->advertised_host[0])
            snprintf(host, sizeof(host), "%s", config->advertised_host);
        else if (strcmp(a->host, "::1") == 0)
            snprintf(host, sizeof(host), "[::1]");
        else if (strncmp(a->host, "127.", 4) == 0 || !routable_host(host, sizeof(host)))
            snprintf(host, sizeof(host), "127.0.0.1");
        snprintf(s->advertised, sizeof(s->advertised), "http://%s:%u/", host, a->port);
        return;
    }
    char real[4096];
    snprintf(s->advertised, sizeof(s->advertised), "unix:%.680s",
             realpath(s->bound[0].host, real) ? real : s->bound[0].host);
}

static enum rc bind_one(struct service *s, struct loop *loop, const struct net_address *address,
                        bool reuse_port, const struct net_listener_ops *ops, void *ctx, struct err *err)
{
    struct net_listener *nl;
    struct err why = {0};
    enum rc rc = net_listen(loop, address, reuse_port, ops, ctx, &nl, &why);
    if (rc != RC_OK)
        return err_set(err, rc, "[%s] failed binding: %s", s->name, why.msg);
    s->listeners[s->n_listeners] = nl;
    net_listener_address(nl, &s->bound[s->n_listeners]);
    s->n_listeners++;
    return RC_OK;
}

enum rc service_bind(struct service *s, struct loop *loop, const struct listener_config *config,
                     const char *data_dir, bool reuse_port, const struct net_listener_ops *ops, void *ctx,
                     struct err *err)
{
    s->n_listeners = 0;
    enum rc rc = RC_OK;
    if (config->mode != LISTEN_UNIX) {
        struct net_address a = {.family = NET_TCP, .port = config->bind_port};
        snprintf(a.host, sizeof(a.host), "%s", config->bind_host);
        rc = bind_one(s, loop, &a, reuse_port, ops, ctx, err);
    }
    if (rc == RC_OK && config->mode != LISTEN_TCP && s->socket_name) {
        struct net_address a = {.family = NET_UNIX};
        char path[4600];
        snprintf(path, sizeof(path), "%s/%s", data_dir, s->socket_name);
        if (strlen(path) >= 108) {
            /* The limit of unix socket paths. With TCP as well this costs only the socket. */
            if (config->mode == LISTEN_UNIX)
                rc = err_set(err, RC_INVALID,
                             "[%s] the socket path '%s' is longer than 107 bytes; choose a shorter base-dir",
                             s->name, path);
            else
                LOG(LOG_WARN, "restate_core::network::net_util", LOG_FIELDS({"uds.path", path}),
                    "The socket path is longer than 107 bytes: no unix socket for this service");
        } else {
            memcpy(a.host, path, strlen(path) + 1);
            rc = bind_one(s, loop, &a, false, ops, ctx, err);
        }
    }
    if (rc != RC_OK) {
        service_close(s);
        return rc;
    }
    advertise(s, config);
    return RC_OK;
}

enum rc service_move(struct service *s, struct loop *to, const struct net_listener_ops *ops, void *ctx,
                     struct err *err)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < s->n_listeners && rc == RC_OK; i++)
        rc = net_listener_move(s->listeners[i], to, ops, ctx, &s->listeners[i], err);
    return rc;
}

void service_not_bound(struct service *s, uint16_t default_port)
{
    snprintf(s->advertised, sizeof(s->advertised), "http://127.0.0.1:%u/", default_port);
}

enum rc service_start(struct service *s, struct err *err)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        enum rc rc = net_listener_start(s->listeners[i], err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

void service_close(struct service *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        net_listener_close(s->listeners[i]);
    s->n_listeners = 0;
}

/* A loop's way to log-servers: see log_port.h. */
#include "bifrost/log_port.h"

#include <stdlib.h>

#include "bifrost/log_host.h"
#include "bifrost/log_port_internal.h"

#define SPARE_PARCELS 4u

struct log_parcel *log_port_take_parcel(struct log_port *p, struct list *spare)
{
    struct list *n = list_pop_front(spare);
    return n ? CONTAINER_OF(n, struct log_parcel, link) : log_parcel_new(p);
}

void log_port_keep_parcel(struct log_parcel *parcel, struct list *spare)
{
    unsigned n = 0;
    LIST_FOREACH(l, spare)
    {
        n++;
    }
    log_parcel_clear(parcel);
    if (n < SPARE_PARCELS)
        list_push_front(spare, &parcel->link);
    else
        log_parcel_free(parcel);
}

/* ---- requests ---- */

static void flush(struct loop_flush *f)
{
    struct log_port *p = CONTAINER_OF(f, struct log_port, flush);
    struct log_parcel *parcel = p->out;
    p->out = NULL;
    parcel->msg.deliver = log_host_on_parcel;
    loop_post(log_host_loop(p->host), &parcel->msg);
}

static void port_send(struct loglet_net *net, uint32_t to, const struct loglet_message *m)
{
    struct log_port *p = CONTAINER_OF(net, struct log_port, net);
    if (p->closing)
        return;
    if (to != p->me.id) {
        if (p->links)
            p->links->send(p->links, to, m);
        return;
    }
    if (!p->host)
        return;
    if (!p->out) {
        p->out = log_port_take_parcel(p, &p->spare);
        loop_flush_request(p->loop, &p->flush);
    }
    log_parcel_add(p->out, m);
}

/* ---- replies ---- */

void log_port_on_parcel(struct loop_msg *msg)
{
    struct log_parcel *parcel = CONTAINER_OF(msg, struct log_parcel, msg);
    struct log_port *p = parcel->port;
    for (size_t i = 0; i < parcel->messages.len && !p->closing; i++) {
        struct loglet_message m = log_parcel_get(parcel, i);
        loglet_calls_on_message(p->calls, p->me.id, &m);
    }
    bool wake = parcel->space_again && !p->closing;
    log_port_keep_parcel(parcel, &p->spare);
    if (wake)
        loglet_calls_wake(p->calls, p->me.id);
}

/* ---- life ---- */

struct log_port *log_port_new(struct log_host *host, struct loop *loop, struct node_ref me,
                              struct log_links *links)
{
    struct log_port *p = xcalloc(1, sizeof(*p));
    p->net.send = port_send;
    p->host = host;
    p->loop = loop;
    p->me = me;
    p->links = links;
    list_init(&p->spare);
    list_init(&p->host_side.spare);
    loop_flush_init(&p->flush, flush);
    return p;
}

struct loglet_net *log_port_net(struct log_port *p)
{
    return &p->net;
}

void log_port_set_calls(struct log_port *p, struct loglet_calls *calls)
{
    p->calls = calls;
}

void log_port_on_closed(struct loop_msg *msg)
{
    struct log_port *p = CONTAINER_OF(msg, struct log_port, close_msg);
    p->closed = true;
    p->close_done(p->close_ctx);
}

void log_port_close(struct log_port *p, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!p->closing);
    p->closing = true;
    p->close_done = done;
    p->close_ctx = ctx;
    /* Behind everything that was sent: the mailbox keeps the order. */
    if (p->out) {
        list_remove(&p->flush.link);
        flush(&p->flush);
    }
    p->close_msg.deliver = p->host ? log_host_on_port_closed : log_port_on_closed;
    loop_post(p->host ? log_host_loop(p->host) : p->loop, &p->close_msg);
}

static void free_parcels(struct list *spare)
{
    struct list *n;
    while ((n = list_pop_front(spare)))
        log_parcel_free(CONTAINER_OF(n, struct log_parcel, link));
}

void log_port_free(struct log_port *p)
{
    ASSERT_MSG(p->closed || (!p->out && !p->host_side.out), "a port is freed while it is in use");
    free_parcels(&p->spare);
    free_parcels(&p->host_side.spare);
    free(p);
}

/* Sockets of the simulated cluster (loop/net.h): streams that keep their order, take time, stand still while
 * the way is cut, break when a process dies, and go silent when a host does. */
#include <stdio.h>
#include <stdlib.h>

#include "loop/net.h"
#include "sim/cluster_sim.h"

#define RANDOM_PORTS 40000u
#define LOOK_US      5000u /* how often a connection that cannot be made looks again */

enum item_kind { ITEM_ACCEPT, ITEM_CONNECTED, ITEM_FAILED, ITEM_DATA, ITEM_FIN, ITEM_RESET, ITEM_CLOSED };

/* What waits for a connection's owner, or is on its way to it. */
struct item {
    struct list link;
    enum item_kind kind;
    uint64_t at_us; /* on its way: arrives then */
    struct bytes data;
    struct net_listener *listener;
    struct err err;
};

struct net_conn {
    struct loop *loop; /* NULL: between two owners */
    struct csim_process *process;
    struct list of_process, of_world, ready_link;
    uint32_t host, other;
    struct net_conn *peer; /* NULL: not connected (yet) */
    const struct net_conn_ops *ops;
    void *ctx;
    void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err);
    struct list in;     /* arrived */
    struct list coming; /* on its way here */
    uint64_t last_at_us;
    struct csim_event pump;
    size_t coming_bytes; /* data in `coming` */
    bool above_high;     /* of what we send */
    bool paused, closed, dead, over, fin_sent;
    /* connecting */
    struct csim_event attempt;
    uint64_t give_up_us;
    uint16_t port;
};

struct net_listener {
    struct list link;
    struct loop *loop;
    uint32_t host;
    struct net_address address;
    bool started, closed;
    const struct net_listener_ops *ops;
    void *ctx;
};

static struct list listeners = {&listeners, &listeners};
static struct {
    struct net_conn **items;
    size_t len, cap;
} detached;

/* Connections with something to tell, of all loops, in the order in which it arrived. */
static struct list ready = {&ready, &ready};

/* ---- ways ---- */

static bool cut(uint32_t from, uint32_t to)
{
    return csim->cut[from][to];
}

static uint64_t latency(uint32_t from, uint32_t to)
{
    if (from == to)
        return 10 + csim_below(30);
    uint64_t us = 40 + csim_below(2 * csim->delay_us + 100);
    if (csim_chance(2))
        us += csim_below(60000); /* a lost packet that is sent again */
    return us;
}

static void tell(struct net_conn *c)
{
    if (!c->loop || list_linked(&c->ready_link))
        return;
    list_push_back(&ready, &c->ready_link);
    csim_loop_wake(c->loop);
}

static struct item *arrive(struct net_conn *c, enum item_kind kind)
{
    struct item *i = xcalloc(1, sizeof(*i));
    i->kind = kind;
    list_push_back(&c->in, &i->link);
    tell(c);
    return i;
}

static void item_free(struct item *i)
{
    bytes_unref(&i->data);
    free(i);
}

static void pump(struct csim_event *e);

static void send_item(struct net_conn *from, enum item_kind kind, struct bytes take)
{
    struct net_conn *to = from->peer;
    if (!to || to->over) {
        bytes_unref(&take);
        return;
    }
    struct item *i = xcalloc(1, sizeof(*i));
    i->kind = kind;
    i->data = take;
    i->at_us = MAX(to->last_at_us, csim_now() + latency(from->host, to->host));
    to->last_at_us = i->at_us;
    to->coming_bytes += take.len;
    list_push_back(&to->coming, &i->link);
    if (!heap_linked(&to->pump.heap))
        csim_at(&to->pump, pump, i->at_us);
}

/* The end of a connection that has no owner any more: who still sends to it is told. */
static void reject(struct net_conn *dead)
{
    struct net_conn *sender = dead->peer;
    if (sender && !sender->over && csim->hosts[dead->host].powered && !cut(dead->host, sender->host))
        send_item(dead, ITEM_RESET, BYTES_EMPTY);
}

static void drained(struct net_conn *sender)
{
    if (!sender->above_high || sender->over || sender->closed)
        return;
    sender->above_high = false;
    if (sender->loop && sender->ops && sender->ops->on_drain)
        arrive(sender, ITEM_DATA)->listener = NULL; /* empty: see deliver */
}

static void pump(struct csim_event *e)
{
    struct net_conn *c = CONTAINER_OF(e, struct net_conn, pump);
    while (!list_empty(&c->coming)) {
        struct item *i = CONTAINER_OF(c->coming.next, struct item, link);
        if (i->at_us > csim->now_us) {
            csim_at(e, pump, i->at_us);
            return;
        }
        if (cut(c->other, c->host))
            return; /* goes on with csim_net_changed */
        list_remove(&i->link);
        c->coming_bytes -= i->data.len;
        if (c->dead || c->closed) {
            bool fin = i->kind != ITEM_DATA;
            item_free(i);
            if (c->dead && !fin)
                reject(c);
            continue;
        }
        list_push_back(&c->in, &i->link);
        tell(c);
        if (c->peer && c->coming_bytes < NET_LOW_WATER)
            drained(c->peer);
    }
}

void csim_net_changed(void)
{
    LIST_FOREACH(n, &csim->conns)
    {
        struct net_conn *c = CONTAINER_OF(n, struct net_conn, of_world);
        if (!list_empty(&c->coming) && !heap_linked(&c->pump.heap))
            csim_at(&c->pump, pump, csim->now_us + csim_below(200000)); /* retransmission takes its time */
    }
}

void csim_net_died(struct csim_process *p, bool silent)
{
    LIST_FOREACH(n, &p->conns)
    {
        struct net_conn *c = CONTAINER_OF(n, struct net_conn, of_process);
        if (list_linked(&c->ready_link))
            list_remove(&c->ready_link);
        bool was_open = !c->dead && !c->over;
        c->dead = true;
        c->loop = NULL;
        if (was_open && c->peer && !silent)
            send_item(c, csim_below(2) ? ITEM_RESET : ITEM_FIN, BYTES_EMPTY);
    }
    LIST_FOREACH_SAFE(n, next, &listeners)
    {
        struct net_listener *l = CONTAINER_OF(n, struct net_listener, link);
        if (l->host == p->host->index)
            list_remove(&l->link);
    }
}

/* ---- connections ---- */

static struct net_conn *conn_new(struct loop *l, struct csim_process *p)
{
    struct net_conn *c = xcalloc(1, sizeof(*c));
    c->loop = l;
    c->process = p;
    c->host = p->host->index;
    list_init(&c->of_process);
    list_init(&c->of_world);
    list_init(&c->ready_link);
    list_init(&c->in);
    list_init(&c->coming);
    heap_node_init(&c->pump.heap);
    heap_node_init(&c->attempt.heap);
    list_push_back(&p->conns, &c->of_process);
    list_push_back(&csim->conns, &c->of_world);
    return c;
}

/* Nothing more will be told. The memory stays: others may still point to it. */
static void conn_over(struct net_conn *c)
{
    c->over = true;
    c->loop = NULL;
    csim_cancel(&c->pump);
    if (list_linked(&c->ready_link))
        list_remove(&c->ready_link);
    list_remove(&c->of_process);
    list_remove(&c->of_world);
    struct list *n;
    while ((n = list_pop_front(&c->in)) || (n = list_pop_front(&c->coming)))
        item_free(CONTAINER_OF(n, struct item, link));
}

static void end_with(struct net_conn *c, const struct err *why)
{
    const struct net_conn_ops *ops = c->ops;
    void *ctx = c->ctx;
    if (c->peer && !c->fin_sent && !c->dead) {
        c->fin_sent = true;
        send_item(c, ITEM_FIN, BYTES_EMPTY);
    }
    conn_over(c);
    if (ops)
        ops->on_closed(ctx, why);
}

/* False: it waits for its owner. */
static bool deliver(struct net_conn *c, struct item *i)
{
    struct err err = {0};
    switch (i->kind) {
    case ITEM_ACCEPT:
        if (i->listener->closed)
            net_conn_close(c);
        else
            i->listener->ops->on_accept(i->listener->ctx, c);
        return true;
    case ITEM_CONNECTED:
    case ITEM_FAILED: {
        bool failed = i->kind == ITEM_FAILED;
        void (*told)(void *, struct net_conn *, const struct err *) = c->on_connected;
        c->on_connected = NULL;
        told(c->ctx, c, &i->err);
        if (failed)
            conn_over(c);
        return true;
    }
    case ITEM_CLOSED:
        end_with(c, &err);
        return true;
    case ITEM_DATA:
        if (!c->ops || c->paused)
            return false;
        if (i->data.len)
            c->ops->on_read(c->ctx, i->data);
        else
            c->ops->on_drain(c->ctx);
        return true;
    case ITEM_FIN:
        if (!c->ops || c->paused)
            return false;
        if (c->ops->on_eof) {
            c->ops->on_eof(c->ctx);
        } else {
            err_set(&err, RC_EOF, "the peer closed the connection");
            end_with(c, &err);
        }
        return true;
    case ITEM_RESET:
        if (!c->ops)
            return false;
        err_set(&err, RC_CLOSED, "connection reset by peer");
        end_with(c, &err);
        return true;
    }
    return true;
}

static void run_conn(struct net_conn *c)
{
    while (!c->over && !list_empty(&c->in)) {
        struct item *i = CONTAINER_OF(c->in.next, struct item, link);
        if (c->closed && i->kind != ITEM_CLOSED) {
            list_remove(&i->link);
            item_free(i);
            continue;
        }
        list_remove(&i->link);
        struct loop *loop = c->loop;
        if (!deliver(c, i)) {
            list_push_front(&c->in, &i->link);
            return;
        }
        item_free(i);
        if (c->loop != loop)
            return; /* gone, or handed over */
    }
}

void csim_sockets_run(struct loop *l)
{
    struct list mine;
    list_init(&mine);
    LIST_FOREACH_SAFE(n, next, &ready)
    {
        struct net_conn *c = CONTAINER_OF(n, struct net_conn, ready_link);
        if (c->loop == l) {
            list_remove(n);
            list_push_back(&mine, n);
        }
    }
    struct list *n;
    while ((n = list_pop_front(&mine)))
        run_conn(CONTAINER_OF(n, struct net_conn, ready_link));
}

bool csim_sockets_waiting(const struct loop *l)
{
    LIST_FOREACH(n, &ready)
    {
        if (CONTAINER_OF(n, struct net_conn, ready_link)->loop == l)
            return true;
    }
    return false;
}

void net_conn_start(struct net_conn *c, const struct net_conn_ops *ops, void *ctx)
{
    ASSERT(ops && !c->ops);
    c->ops = ops;
    c->ctx = ctx;
    if (!list_empty(&c->in))
        tell(c);
}

void net_conn_write(struct net_conn *c, struct bytes take)
{
    if (c->closed || c->over || c->dead || c->fin_sent || take.len == 0) {
        bytes_unref(&take);
        return;
    }
    if (take.len > 1 && csim_below(8) == 0) { /* in two pieces */
        size_t at = 1 + csim_below(take.len - 1);
        struct bytes first = bytes_copy(slice_make(take.ptr, at)),
                     second = bytes_copy(slice_make(take.ptr + at, take.len - at));
        bytes_unref(&take);
        send_item(c, ITEM_DATA, first);
        send_item(c, ITEM_DATA, second);
    } else {
        send_item(c, ITEM_DATA, take);
    }
    c->above_high |= net_conn_write_pending(c) > NET_HIGH_WATER;
}

size_t net_conn_write_pending(const struct net_conn *c)
{
    return c->peer && !c->over ? c->peer->coming_bytes : 0;
}

void net_conn_pause(struct net_conn *c)
{
    c->paused = true;
}

void net_conn_resume(struct net_conn *c)
{
    c->paused = false;
    if (!list_empty(&c->in))
        tell(c);
}

void net_conn_shutdown(struct net_conn *c)
{
    if (c->fin_sent || c->over)
        return;
    c->fin_sent = true;
    send_item(c, ITEM_FIN, BYTES_EMPTY);
}

void net_conn_close(struct net_conn *c)
{
    if (c->closed || c->over)
        return;
    c->closed = true;
    csim_cancel(&c->attempt);
    if (c->on_connected) { /* nobody is told */
        conn_over(c);
        return;
    }
    net_conn_shutdown(c);
    arrive(c, ITEM_CLOSED);
}

void net_conn_stop(struct net_conn *c)
{
    c->ops = NULL;
    c->ctx = NULL;
    c->paused = false;
}

void net_conn_unread(struct net_conn *c, struct bytes take)
{
    struct item *i = xcalloc(1, sizeof(*i));
    i->kind = ITEM_DATA;
    i->data = take;
    list_push_front(&c->in, &i->link);
}

int net_conn_detach(struct net_conn *c, struct err *err)
{
    if (c->closed || c->over) {
        err_set(err, RC_CLOSED, "the connection is closed");
        return -1;
    }
    if (list_linked(&c->ready_link))
        list_remove(&c->ready_link);
    c->loop = NULL;
    VEC_PUSH(&detached, c);
    return (int)detached.len - 1;
}

struct net_conn *net_conn_adopt(struct loop *l, enum net_family family, int fd, struct err *err)
{
    struct net_conn *c = detached.items[fd];
    c->loop = l;
    return c;
}

enum net_family net_conn_family(const struct net_conn *c)
{
    return NET_TCP;
}

void net_conn_peer(const struct net_conn *c, char *out, size_t cap)
{
    snprintf(out, cap, "n%u:%u", c->other + 1, 50000u);
}

struct loop *net_conn_loop(const struct net_conn *c)
{
    return c->loop;
}

/* ---- listening, connecting ---- */

enum rc net_listen(struct loop *l, const struct net_address *addr, bool reuse_port,
                   const struct net_listener_ops *ops, void *ctx, struct net_listener **out, struct err *err)
{
    static uint16_t next_port = RANDOM_PORTS;
    struct net_listener *nl = xcalloc(1, sizeof(*nl));
    nl->loop = l;
    nl->host = csim_process_of(l)->host->index;
    nl->address = *addr;
    nl->ops = ops;
    nl->ctx = ctx;
    if (!addr->port)
        nl->address.port = next_port++;
    list_init(&nl->link);
    list_push_back(&listeners, &nl->link);
    *out = nl;
    return RC_OK;
}

enum rc net_listener_move(struct net_listener *from, struct loop *to, const struct net_listener_ops *ops,
                          void *ctx, struct net_listener **out, struct err *err)
{
    from->loop = to;
    from->ops = ops;
    from->ctx = ctx;
    *out = from;
    return RC_OK;
}

void net_listener_address(const struct net_listener *nl, struct net_address *out)
{
    *out = nl->address;
}

enum rc net_listener_start(struct net_listener *nl, struct err *err)
{
    nl->started = true;
    return RC_OK;
}

void net_listener_close(struct net_listener *nl)
{
    nl->closed = true;
    if (list_linked(&nl->link))
        list_remove(&nl->link);
}

static struct net_listener *listener_at(uint32_t host, uint16_t port)
{
    LIST_FOREACH(n, &listeners)
    {
        struct net_listener *l = CONTAINER_OF(n, struct net_listener, link);
        if (l->host == host && l->address.port == port && l->started)
            return l;
    }
    return NULL;
}

static void refuse(struct net_conn *c, enum rc rc, const char *why)
{
    err_set(&arrive(c, ITEM_FAILED)->err, rc, "%s", why);
}

static void try_connect(struct csim_event *e)
{
    struct net_conn *c = CONTAINER_OF(e, struct net_conn, attempt);
    if (c->dead || c->over)
        return;
    if (csim->now_us >= c->give_up_us) {
        refuse(c, RC_TIMEOUT, "connecting timed out");
        return;
    }
    if (cut(c->host, c->other) || cut(c->other, c->host) || !csim->hosts[c->other].powered) {
        csim_at(e, try_connect, MIN(csim->now_us + LOOK_US, c->give_up_us));
        return;
    }
    struct net_listener *l = listener_at(c->other, c->port);
    if (!l) {
        refuse(c, RC_CLOSED, "connection refused");
        return;
    }
    struct net_conn *server = conn_new(l->loop, csim_process_of(l->loop));
    server->other = c->host;
    server->peer = c;
    c->peer = server;
    arrive(server, ITEM_ACCEPT)->listener = l;
    arrive(c, ITEM_CONNECTED);
}

static bool host_of(const char *name, uint32_t self, uint32_t *out)
{
    unsigned n;
    *out = self;
    if (sscanf(name, "n%u", &n) != 1)
        return strcmp(name, "127.0.0.1") == 0;
    *out = n - 1;
    return n >= 1 && n <= csim->options.nodes;
}

struct net_conn *net_connect(struct loop *l, const struct net_address *addr, uint64_t timeout_ms,
                             void (*on_connected)(void *ctx, struct net_conn *conn, const struct err *err),
                             void *ctx)
{
    struct net_conn *c = conn_new(l, csim_process_of(l));
    c->on_connected = on_connected;
    c->ctx = ctx;
    c->port = addr->port;
    c->give_up_us = csim_now() + timeout_ms * 1000;
    if (host_of(addr->host, c->host, &c->other))
        csim_at(&c->attempt, try_connect, csim_now() + 2 * latency(c->host, c->other));
    else
        refuse(c, RC_UNAVAILABLE, "no such host");
    return c;
}

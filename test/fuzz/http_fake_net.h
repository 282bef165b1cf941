/* A loop and a network of one connection for the fuzz targets of http/: stands in for loop/, so that bytes go
 * straight into the engine and what it writes is checked for existence and dropped. Include once. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "http/client.h"
#include "http/server.h"

struct loop {
    struct env env;
    struct list deferred;
};

struct net_conn {
    const struct net_conn_ops *ops;
    void *ctx;
    bool closed, shut;
    size_t written;
};

static struct loop fake_loop;
static struct net_conn fake_conn;
static uint64_t fake_now_ms;

static uint64_t fake_clock(struct env *e)
{
    return fake_now_ms;
}
static uint64_t fake_random(struct env *e)
{
    return 4; /* chosen by fair dice roll */
}
static void fake_arm(struct env *e, struct env_timer *t, uint64_t at) {}
static void fake_cancel(struct env *e, struct env_timer *t) {}
static void fake_defer(struct env *e, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&fake_loop.deferred, &t->link);
}
static const struct env_ops fake_env_ops = {fake_clock, fake_clock,  fake_random,
                                            fake_arm,   fake_cancel, fake_defer};

static void fake_start(void)
{
    fake_loop.env.ops = &fake_env_ops;
    list_init(&fake_loop.deferred);
    memset(&fake_conn, 0, sizeof(fake_conn));
}
static void fake_run_tasks(void)
{
    struct list *node;
    while ((node = list_pop_front(&fake_loop.deferred))) {
        struct env_task *t = CONTAINER_OF(node, struct env_task, link);
        t->run(t);
    }
}
/* Deliver the input in pieces whose sizes depend on `seed`; then EOF, then the end. */
static void fake_deliver(const uint8_t *data, size_t size, uint8_t seed)
{
    size_t step = seed < 64 ? size : seed < 128 ? 1 : seed;
    while (size > 0 && !fake_conn.closed) {
        struct bytes piece = bytes_copy(slice_make(data, MIN(size, MAX(step, 1))));
        fake_conn.ops->on_read(fake_conn.ctx, piece);
        data += piece.len;
        size -= piece.len;
        bytes_unref(&piece);
        if (seed & 1)
            fake_run_tasks();
    }
    fake_run_tasks();
    if (!fake_conn.closed && fake_conn.ops->on_eof)
        fake_conn.ops->on_eof(fake_conn.ctx);
    fake_run_tasks();
}
static void fake_end(void)
{
    struct err why = {0};
    fake_conn.ops->on_closed(fake_conn.ctx, &why);
    fake_run_tasks();
}

struct env *loop_env(struct loop *l)
{
    return &l->env;
}
void net_conn_start(struct net_conn *c, const struct net_conn_ops *ops, void *ctx)
{
    c->ops = ops;
    c->ctx = ctx;
}
void net_conn_write(struct net_conn *c, struct bytes take)
{
    ASSERT(!c->shut || c->closed);
    uint8_t sum = 0;
    for (size_t i = 0; i < take.len; i++) /* every byte must be readable */
        sum ^= take.ptr[i];
    c->written += take.len + (sum & 0);
    bytes_unref(&take);
}
size_t net_conn_write_pending(const struct net_conn *c)
{
    return 0;
}
void net_conn_pause(struct net_conn *c) {}
void net_conn_resume(struct net_conn *c) {}
void net_conn_shutdown(struct net_conn *c)
{
    c->shut = true;
}
void net_conn_close(struct net_conn *c)
{
    c->closed = true;
}
void net_conn_peer(const struct net_conn *c, char *out, size_t cap)
{
    snprintf(out, cap, "fuzz");
}

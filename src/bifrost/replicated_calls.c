/* Requests to log-servers: see replicated_calls.h. */
#include "bifrost/replicated_calls.h"

#include <stdlib.h>

static int call_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct loglet_call, node)->request_id;
    uint64_t y = CONTAINER_OF(b, struct loglet_call, node)->request_id;
    return x < y ? -1 : x > y;
}

static int call_key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct loglet_call, node)->request_id;
    return x < y ? -1 : x > y;
}

void loglet_calls_init(struct loglet_calls *c, struct env *env, struct loglet_net *net,
                       const struct node_directory *nodes, struct node_ref me)
{
    *c = (struct loglet_calls){.env = env, .net = net, .nodes = nodes, .me = me, .next_request_id = 1};
    omap_init(&c->calls, call_cmp);
    list_init(&c->listeners);
}

void loglet_calls_free(struct loglet_calls *c)
{
    ASSERT(c->calls.count == 0 && list_empty(&c->listeners));
    VEC_FREE(&c->silent);
}

static bool was_silent(struct loglet_calls *c, uint32_t node, bool forget)
{
    for (size_t i = 0; i < c->silent.len; i++) {
        if (c->silent.items[i] != node)
            continue;
        if (forget)
            c->silent.items[i] = c->silent.items[--c->silent.len];
        return true;
    }
    return false;
}

static void note_silence(struct loglet_calls *c, uint32_t node)
{
    if (!was_silent(c, node, false))
        VEC_PUSH(&c->silent, node);
}

void loglet_call_cancel(struct loglet_call *call)
{
    if (!call->calls)
        return;
    env_timer_cancel(call->calls->env, &call->timer);
    omap_remove(&call->calls->calls, &call->node);
    call->calls = NULL;
}

static void call_fire(struct env_timer *t)
{
    struct loglet_call *call = CONTAINER_OF(t, struct loglet_call, timer);
    note_silence(call->calls, call->to);
    loglet_call_cancel(call);
    call->done(call, NULL);
}

void loglet_call_init(struct loglet_call *call,
                      void (*done)(struct loglet_call *call, const struct loglet_message *reply))
{
    *call = (struct loglet_call){.done = done};
    env_timer_init(&call->timer, call_fire);
}

void loglet_call_start(struct loglet_calls *c, struct loglet_call *call, uint32_t to,
                       struct loglet_message *m, uint64_t timeout_ms)
{
    ASSERT_MSG(!call->calls, "a call is started twice");
    call->calls = c;
    call->to = to;
    call->request_id = c->next_request_id++;
    omap_insert(&c->calls, &call->node);
    env_timer_arm(c->env, &call->timer, timeout_ms);
    m->request_id = call->request_id;
    c->net->send(c->net, to, m);
}

void loglet_calls_listen(struct loglet_calls *c, struct loglet_listener *l)
{
    list_push_back(&c->listeners, &l->link);
}

void loglet_calls_unlisten(struct loglet_listener *l)
{
    if (list_linked(&l->link))
        list_remove(&l->link);
}

/* Visit all listeners although they may remove themselves and others: those not visited yet wait on a list of
 * their own. */
static void tell(struct loglet_calls *c, const uint32_t *alive)
{
    struct list waiting, *n;
    list_init(&waiting);
    list_splice(&waiting, &c->listeners);
    while ((n = list_pop_front(&waiting))) {
        struct loglet_listener *l = CONTAINER_OF(n, struct loglet_listener, link);
        list_push_back(&c->listeners, n);
        if (alive)
            l->node_alive(l, *alive);
        else
            l->nodes_changed(l);
    }
}

void loglet_calls_node_alive(struct loglet_calls *c, uint32_t node)
{
    if (was_silent(c, node, true))
        tell(c, &node);
}

void loglet_calls_wake(struct loglet_calls *c, uint32_t node)
{
    was_silent(c, node, true);
    tell(c, &node);
}

void loglet_calls_nodes_changed(struct loglet_calls *c)
{
    tell(c, NULL);
}

void loglet_calls_on_message(struct loglet_calls *c, uint32_t from, const struct loglet_message *m)
{
    struct omap_node *n = omap_find(&c->calls, &m->request_id, call_key_cmp);
    struct loglet_call *call = n ? CONTAINER_OF(n, struct loglet_call, node) : NULL;
    if (call && call->to == from && loglet_message_is_reply(m->kind)) {
        loglet_call_cancel(call);
        call->done(call, m);
    }
    loglet_calls_node_alive(c, from);
}

void loglet_calls_node_lost(struct loglet_calls *c, uint32_t node)
{
    /* Calls started by the callbacks have higher ids and are left alone. */
    uint64_t next = 0, end = c->next_request_id;
    note_silence(c, node);
    struct omap_node *n;
    while ((n = omap_lower_bound(&c->calls, &next, call_key_cmp))) {
        struct loglet_call *call = CONTAINER_OF(n, struct loglet_call, node);
        if (call->request_id >= end)
            return;
        next = call->request_id + 1;
        if (call->to != node)
            continue;
        loglet_call_cancel(call);
        call->done(call, NULL);
    }
}

/* A loop's chain store: see chain_client.h. */
#include "bifrost/chain_client.h"

#include <stdlib.h>

struct chain_client {
    struct chain_store store;
    struct chain_service *service;
    struct loop *service_loop, *loop;
    size_t n_outside;
    struct env_task closed;
    void (*close_done)(void *ctx);
    void *close_ctx;
};

/* Owned by the service's loop while it is there, by the client's otherwise. */
struct chain_call {
    struct loop_msg msg;
    struct chain_client *client;
    struct chain_request *request; /* NULL: canceled; the client's */
    struct chain_ask ask;
    enum rc rc;
    struct chain_set *set;
};

static const struct chain_store_ops ops;

static struct chain_client *self(struct chain_store *s)
{
    ASSERT(s->ops == &ops);
    return CONTAINER_OF(s, struct chain_client, store);
}

static void maybe_closed(struct chain_client *c)
{
    if (c->close_done && c->n_outside == 0)
        env_defer(loop_env(c->loop), &c->closed);
}

static void deliver_answer(struct loop_msg *m)
{
    struct chain_call *call = CONTAINER_OF(m, struct chain_call, msg);
    struct chain_client *c = call->client;
    struct chain_request *r = call->request;
    c->n_outside--;
    if (r) {
        const struct chain *chain = call->set ? chain_set_find(call->set, call->ask.log_id) : NULL;
        r->private_ = NULL;
        r->done(r, call->rc, chain, call->set ? call->set->version : 0);
    }
    chain_free(&call->ask.expected);
    chain_free(&call->ask.next);
    chain_set_unref(call->set);
    free(call);
    maybe_closed(c);
}

static void on_answer(struct chain_ask *ask, enum rc rc, struct chain_set *set)
{
    struct chain_call *call = CONTAINER_OF(ask, struct chain_call, ask);
    call->rc = rc;
    call->set = set ? chain_set_ref(set) : NULL;
    call->msg.deliver = deliver_answer;
    loop_post(call->client->loop, &call->msg);
}

static void deliver_question(struct loop_msg *m)
{
    struct chain_call *call = CONTAINER_OF(m, struct chain_call, msg);
    chain_service_ask(call->client->service, &call->ask);
}

static struct chain_call *call_new(struct chain_client *c, uint32_t log_id, struct chain_request *r)
{
    ASSERT(!c->close_done);
    struct chain_call *call = xcalloc(1, sizeof(*call));
    call->client = c;
    call->request = r;
    r->private_ = call;
    call->ask.log_id = log_id;
    call->ask.answer = on_answer;
    return call;
}

static void send(struct chain_call *call)
{
    struct chain_client *c = call->client;
    c->n_outside++;
    call->msg.deliver = deliver_question;
    loop_post(c->service_loop, &call->msg);
}

static void client_read(struct chain_store *s, uint32_t log_id, struct chain_request *r)
{
    send(call_new(self(s), log_id, r));
}

static void client_swap(struct chain_store *s, uint32_t log_id, const struct chain *expected,
                        const struct chain *next, struct chain_request *r)
{
    struct chain_call *call = call_new(self(s), log_id, r);
    call->ask.swap = true;
    call->ask.has_expected = expected != NULL;
    if (expected)
        call->ask.expected = chain_copy(expected);
    call->ask.next = chain_copy(next);
    call->ask.next.log_id = log_id;
    send(call);
}

static void client_cancel(struct chain_store *s, struct chain_request *r)
{
    struct chain_call *call = r->private_;
    if (call)
        call->request = NULL;
    r->private_ = NULL;
}

static const struct chain_store_ops ops = {client_read, client_swap, client_cancel};

/* ---- life ---- */

static void closed(struct env_task *t)
{
    struct chain_client *c = CONTAINER_OF(t, struct chain_client, closed);
    c->close_done(c->close_ctx);
}

struct chain_client *chain_client_new(struct chain_service *service, struct loop *service_loop,
                                      struct loop *loop)
{
    struct chain_client *c = xcalloc(1, sizeof(*c));
    c->store.ops = &ops;
    c->service = service;
    c->service_loop = service_loop;
    c->loop = loop;
    env_task_init(&c->closed, closed);
    return c;
}

struct chain_store *chain_client_store(struct chain_client *c)
{
    return &c->store;
}

void chain_client_close(struct chain_client *c, void (*done)(void *ctx), void *ctx)
{
    c->close_done = done;
    c->close_ctx = ctx;
    maybe_closed(c);
}

void chain_client_free(struct chain_client *c)
{
    ASSERT_MSG(c->n_outside == 0, "a chain client is freed while it waits for answers");
    env_undefer(&c->closed);
    free(c);
}

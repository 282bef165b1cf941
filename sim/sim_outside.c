/* The world outside: steps of handlers tell it of a signal, with a number (an awakeable) or a name, and it
 * completes that through the ingress: again and again until it is acknowledged, sometimes once more with
 * another value, which must not count. */
#include <stdlib.h>

#include "sim/sim_world.h"

struct message {
    struct sim_request request;
    struct list link;
    struct sim_world *world;
    struct sim_signal signal;
    bool again; /* acknowledged once */
    struct env_timer timer;
};

struct notification_id sim_signal_id(const struct sim_signal *s)
{
    if (s->name[0])
        return (struct notification_id){.kind = NOTIFICATION_NAMED_SIGNAL, .name = slice_cstr(s->name)};
    return (struct notification_id){.kind = NOTIFICATION_SIGNAL, .index = s->index};
}

static struct bytes make_record(const struct message *m)
{
    const struct sim_signal *s = &m->signal;
    struct notification_id id = sim_signal_id(s);
    uint8_t value[8];
    struct writer failure = WRITER_INIT, w = WRITER_INIT;
    put_u64be(value, s->value);
    failure_write(&failure, 500, slice_make((const char *)value, s->reject ? 0 : 8));
    record_begin(&w, 128);
    cmd_signal_write(
        &w,
        &(struct cmd_signal){
            .id = s->id,
            .named = id.kind == NOTIFICATION_NAMED_SIGNAL,
            .index = id.index,
            .name = id.name,
            .outcome = s->reject ? (struct outcome){.kind = OUTCOME_FAILURE, .value = writer_slice(&failure)}
                                 : (struct outcome){.kind = OUTCOME_SUCCESS, .value = slice_make(value, 8)},
        });
    writer_free(&failure);
    return writer_take(&w);
}

static void forget(struct message *m)
{
    env_timer_cancel(&m->world->env.env, &m->timer);
    list_remove(&m->link);
    free(m);
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct message *m = CONTAINER_OF(CONTAINER_OF(rpc, struct sim_request, rpc), struct message, request);
    struct sim_world *w = m->world;
    SIM_CHECK(w, reply->status == RPC_OK || reply->status == RPC_FAILED,
              "a signal is answered with status %d", (int)reply->status);
    bool done = m->again;
    if (reply->status == RPC_OK && !done) {
        m->again = true;
        m->signal.value++;
        m->signal.reject = !m->signal.reject;
        done = sim_env_below(&w->env, 4) > 0;
    }
    if (done)
        forget(m);
    else
        env_timer_arm(&w->env.env, &m->timer, 1 + sim_env_below(&w->env, 60));
}

static void send(struct env_timer *t)
{
    struct message *m = CONTAINER_OF(t, struct message, timer);
    struct sim_world *w = m->world;
    struct partition_rpc *rpc = &m->request.rpc;
    *rpc = (struct partition_rpc){
        .kind = RPC_SIGNAL,
        .request_id = {sim_env_random(&w->env), sim_env_random(&w->env) | 1},
        .partition_key = m->signal.id.partition_key,
        .id = m->signal.id,
        .record = make_record(m),
        .reply = on_reply,
    };
    if (w->access->submit(w, &m->request))
        return;
    bytes_unref(&rpc->record);
    env_timer_arm(&w->env.env, &m->timer, 10);
}

void sim_outside_start(struct sim_world *w)
{
    list_init(&w->outside);
}

void sim_outside_stop(struct sim_world *w)
{
    while (!list_empty(&w->outside))
        forget(CONTAINER_OF(w->outside.next, struct message, link));
}

void sim_outside_ask(struct sim_world *w, const struct sim_signal *signal)
{
    struct message *m = xcalloc(1, sizeof(*m));
    m->world = w;
    m->signal = *signal;
    list_push_back(&w->outside, &m->link);
    env_timer_init(&m->timer, send);
    env_timer_arm(&w->env.env, &m->timer, sim_env_below(&w->env, 100));
}

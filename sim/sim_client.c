/* Clients: each submits one request, and again with the same request id until it has a definite answer, as
 * the ingress does. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_world.h"

enum client_kind {
    CLIENT_CALL,
    CLIENT_SEND,
    CLIENT_VICTIM,
    CLIENT_APPEND,
    CLIENT_WORKFLOW,
    CLIENT_WORKFLOW_PROMISE
};

struct sim_client {
    struct sim_world *world;
    uint64_t number;
    enum client_kind kind;
    struct invocation_id id;
    struct target target;
    struct slice limit_key;
    char key[24];
    uint8_t input[16];
    size_t input_len;
    struct sim_request request;
    bool out, done;
    bool certain; /* submits a new invocation after every certain refusal, and gives up when it cannot know */
    bool gave_up;
    struct env_timer timer;
};

static bool waits(const struct sim_client *c)
{
    return c->kind != CLIENT_SEND && c->kind != CLIENT_VICTIM;
}

static struct bytes make_record(struct sim_client *c)
{
    struct writer input = WRITER_INIT, w = WRITER_INIT;
    bool wait = waits(c);
    input_write_value(&input, slice_make(c->input, c->input_len));
    struct service_invocation si = {
        .id = c->id,
        .target = c->target,
        .input = writer_slice(&input),
        .source = SOURCE_INGRESS,
        .source_request_id = c->request.rpc.request_id,
        .completion_retention_ms = SIM_DAY_MS,
        .journal_retention_ms = SIM_DAY_MS,
        .idempotency_key = SLICE_LIT("key"),
        .limit_key = c->limit_key,
        .created_using = SLICE_LIT("1.7.0"),
        .notify_submission = !wait,
    };
    if (wait)
        si.response_sink = (struct sink){.kind = SINK_INGRESS, .request_id = c->request.rpc.request_id};
    record_begin(&w, 256);
    service_invocation_write(&w, &si);
    writer_free(&input);
    return writer_take(&w);
}

static void check_answer(struct sim_client *c, const struct rpc_reply *reply)
{
    struct sim_world *w = c->world;
    SIM_CHECK(w, invocation_id_eq(reply->id, c->id), "answer for another invocation");
    if (!waits(c))
        return;
    SIM_CHECK(w, reply->outcome.kind == OUTCOME_SUCCESS, "request %lu failed", (unsigned long)c->number);
    struct slice v = reply->outcome.value;
    if (c->kind == CLIENT_WORKFLOW)
        SIM_CHECK(w, v.len == 8, "promise value of %zu bytes", v.len);
    else if (c->kind == CLIENT_WORKFLOW_PROMISE)
        SIM_CHECK(w, slice_eq_cstr(v, "done") || slice_eq_cstr(v, "late"), "unexpected answer");
    else
        SIM_CHECK(w, v.len == 8 && memcmp(v.ptr, c->input, 8) == 0, "answer of another request");
}

/* What the ingress does with a request that has no idempotency key (spec/ingress.md §11): it is submitted
 * again only when it certainly was not processed. */
static bool start_over(struct sim_client *c, enum rc rc)
{
    struct sim_world *w = c->world;
    bool certain = rc == RC_NOT_LEADER || rc == RC_UNAVAILABLE || rc == RC_OVERLOADED || rc == RC_NO_SPACE;
    if (certain || w->retry_unknown) {
        c->id.uuid.hi++;
        c->request.rpc.request_id.hi = sim_env_random(&w->env);
        return true;
    }
    c->gave_up = c->done = true;
    w->clients_done++;
    env_timer_cancel(&w->env.env, &c->timer);
    return false;
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct sim_client *c =
        CONTAINER_OF(CONTAINER_OF(rpc, struct sim_request, rpc), struct sim_client, request);
    struct sim_world *w = c->world;
    SIM_CHECK(w, c->out && !c->done, "request %lu answered twice", (unsigned long)c->number);
    c->out = false;
    if (reply->status == RPC_OK) {
        check_answer(c, reply);
        c->done = true;
        w->clients_done++;
        env_timer_cancel(&w->env.env, &c->timer);
        return;
    }
    SIM_CHECK(w, reply->status == RPC_FAILED, "request %lu: status %d", (unsigned long)c->number,
              (int)reply->status);
    SIM_CHECK(w, reply->rc != RC_INTERNAL && reply->rc != RC_INVALID, "request %lu: %s",
              (unsigned long)c->number, reply->detail);
    if (c->certain && !start_over(c, reply->rc))
        return;
    env_timer_arm(&w->env.env, &c->timer, 1 + sim_env_below(&w->env, 100));
}

static void ask(struct env_timer *t)
{
    struct sim_client *c = CONTAINER_OF(t, struct sim_client, timer);
    struct sim_world *w = c->world;
    if (c->out) { /* impatient: let go and ask again */
        if (!w->access->cancel(w, &c->request))
            env_timer_arm(&w->env.env, &c->timer, 50);
        return;
    }
    c->request.rpc.kind = RPC_INVOKE;
    c->request.rpc.partition_key = c->id.partition_key;
    c->request.rpc.id = c->id;
    c->request.rpc.wait_result = waits(c);
    c->request.rpc.record = make_record(c);
    c->request.rpc.reply = on_reply;
    c->out = w->access->submit(w, &c->request);
    if (!c->out) {
        bytes_unref(&c->request.rpc.record);
        env_timer_arm(&w->env.env, &c->timer, 10);
    } else if (sim_chance(w, 100)) {
        env_timer_arm(&w->env.env, &c->timer, 1 + sim_env_below(&w->env, 50));
    }
}

/* ---- the leader that the controller has chosen ---- */

static bool leader_submit(struct sim_world *w, struct sim_request *q)
{
    q->asked = sim_leader(w, sim_partition_of(w, q->rpc.partition_key));
    if (q->asked)
        processor_rpc(q->asked, &q->rpc);
    return q->asked;
}

static bool leader_cancel(struct sim_world *w, struct sim_request *q)
{
    struct processor *p = sim_leader(w, sim_partition_of(w, q->rpc.partition_key));
    if (!p || q->asked != p)
        return false;
    processor_rpc_cancel(p, &q->rpc);
    return true;
}

const struct sim_access sim_leader_access = {leader_submit, leader_cancel};

static void make_client(struct sim_world *w, size_t i)
{
    struct sim_client *c = &w->clients[i];
    c->world = w;
    c->number = i;
    c->request.rpc.request_id = (struct u128){sim_env_random(&w->env), i};
    c->id.uuid = (struct u128){1, i};
    uint64_t dice = sim_env_below(&w->env, 10);
    uint64_t seed = sim_env_random(&w->env) | 1;
    put_u64be(c->input, seed);
    c->target = (struct target){.service = SLICE_LIT("Flow"), .handler = SLICE_LIT("handle")};
    c->input_len = 9;
    c->id.partition_key = sim_env_random(&w->env);
    if (dice < 6) {
        c->kind = dice < 2 ? CLIENT_CALL : dice < 4 ? CLIENT_SEND : CLIENT_VICTIM;
        if (w->options.scopes && sim_env_below(&w->env, 4)) {
            c->target.scope = sim_scope(sim_env_random(&w->env));
            c->limit_key = sim_limit_key(sim_env_random(&w->env));
            c->id.partition_key = partition_key_of_key(c->target.scope);
        }
        return;
    }
    if (dice < 8) {
        c->kind = CLIENT_APPEND;
        c->certain = dice == 7;
        uint32_t object = (uint32_t)sim_env_below(&w->env, w->options.objects);
        sim_object_key(object, c->key);
        c->target = (struct target){.kind = TARGET_OBJECT_EXCLUSIVE,
                                    .service = SLICE_LIT("Object"),
                                    .handler = SLICE_LIT("handle"),
                                    .scope = sim_object_scope(w, object)};
        c->input_len = 16;
    } else { /* the run, and somebody who completes its promise */
        c->kind = i % 2 ? CLIENT_WORKFLOW_PROMISE : CLIENT_WORKFLOW;
        snprintf(c->key, sizeof(c->key), "workflow-%zu", i / 2);
        c->target = (struct target){.kind = i % 2 ? TARGET_WORKFLOW_SHARED : TARGET_WORKFLOW_RUN,
                                    .service = SLICE_LIT("Workflow"),
                                    .handler = SLICE_LIT("handle")};
        c->input_len = 8;
    }
    c->target.key = slice_cstr(c->key);
    c->id.partition_key = partition_key_of_key(c->target.scope.ptr ? c->target.scope : c->target.key);
}

/* A workflow needs both of its clients. */
static void pair_workflows(struct sim_world *w)
{
    for (size_t i = 0; i + 1 < w->n_clients; i += 2) {
        struct sim_client *a = &w->clients[i], *b = &w->clients[i + 1];
        if (a->kind != CLIENT_WORKFLOW && b->kind != CLIENT_WORKFLOW_PROMISE)
            continue;
        struct sim_client *have = a->kind == CLIENT_WORKFLOW ? a : b, *other = have == a ? b : a;
        memcpy(other->key, have->key, sizeof(have->key));
        other->kind = other == a ? CLIENT_WORKFLOW : CLIENT_WORKFLOW_PROMISE;
        other->certain = false;
        other->target = have->target;
        other->target.kind = other == a ? TARGET_WORKFLOW_RUN : TARGET_WORKFLOW_SHARED;
        other->target.key = slice_cstr(other->key);
        other->id.partition_key = have->id.partition_key;
        other->input_len = 8;
    }
}

void sim_clients_start(struct sim_world *w)
{
    w->n_clients = w->options.requests & ~1u;
    w->clients = xcalloc(w->n_clients, sizeof(*w->clients));
    for (size_t i = 0; i < w->n_clients; i++)
        make_client(w, i);
    pair_workflows(w);
    for (size_t i = 0; i < w->n_clients; i++) {
        env_timer_init(&w->clients[i].timer, ask);
        env_timer_arm(&w->env.env, &w->clients[i].timer, sim_env_below(&w->env, w->options.ticks));
    }
}

void sim_clients_stop(struct sim_world *w)
{
    for (size_t i = 0; i < w->n_clients; i++)
        env_timer_cancel(&w->env.env, &w->clients[i].timer);
    free(w->clients);
}

void sim_clients_expect(struct sim_world *w, struct sim_appends *out)
{
    for (size_t i = 0; i < w->n_clients; i++) {
        struct sim_client *c = &w->clients[i];
        if (c->kind == CLIENT_APPEND) {
            uint32_t object = 0;
            char key[16];
            for (sim_object_key(object, key); !slice_eq_cstr(c->target.key, key); sim_object_key(object, key))
                object++;
            VEC_PUSH(out,
                     ((struct sim_append){get_u64be(c->input), 0, object, true, c->gave_up, c->gave_up}));
        } else if (c->kind == CLIENT_CALL || c->kind == CLIENT_SEND || c->kind == CLIENT_VICTIM) {
            struct sim_program prog;
            sim_program_make(&prog, get_u64be(c->input), c->input[8], w->options.objects);
            sim_program_expect(&prog, w->options.objects, c->kind == CLIENT_VICTIM, out);
        }
    }
}

bool sim_clients_pick(struct sim_world *w, bool victim, struct invocation_id *id)
{
    const struct sim_client *c = &w->clients[sim_env_below(&w->env, w->n_clients)];
    *id = c->id;
    return !victim || c->kind == CLIENT_VICTIM;
}

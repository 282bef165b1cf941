/* Requests to partition leaders: those that were certainly not processed, and reads, are tried again with
 * back-off until a deadline that lies below the CLI's own (spec/admin-api.md §20: 13 s; spec/cluster.md
 * §4.8). */
#include "admin/admin_internal.h"

#define RPC_DEADLINE_MS    10000u
#define RPC_BACKOFF_MIN_MS 50u
#define RPC_BACKOFF_MAX_MS 1000u

static void submit(struct admin_call *c)
{
    if (c->rpc_record.ptr)
        c->rpc.record = bytes_copy(
            c->rpc_record); /* the leader fills in the header in place, so each attempt has its own */
    partition_router_submit(c->admin->deps.router, &c->rpc);
}

static bool may_retry(enum rpc_kind kind, const struct rpc_reply *reply)
{
    if (reply->status != RPC_FAILED)
        return false;
    bool not_processed =
        reply->rc == RC_NOT_LEADER || reply->rc == RC_UNAVAILABLE || reply->rc == RC_OVERLOADED;
    return not_processed || (kind == RPC_STATUS && reply->rc == RC_LOST_LEADERSHIP);
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct admin_call *c = CONTAINER_OF(rpc, struct admin_call, rpc);
    struct env *env = c->admin->deps.env;
    if (!may_retry(rpc->kind, reply) || c->admin->closing ||
        env_mono_ms(env) + c->rpc_backoff_ms > c->rpc_deadline_ms) {
        c->rpc_done(c, reply);
        return;
    }
    env_timer_arm(env, &c->rpc_retry, c->rpc_backoff_ms);
    c->rpc_backoff_ms = MIN(c->rpc_backoff_ms * 2, (uint64_t)RPC_BACKOFF_MAX_MS);
}

static void on_retry(struct env_timer *t)
{
    submit(CONTAINER_OF(t, struct admin_call, rpc_retry));
}

void call_rpc(struct admin_call *c, struct slice record,
              void (*done)(struct admin_call *c, const struct rpc_reply *reply))
{
    c->rpc.reply = on_reply;
    c->rpc.request_id = call_random_id(c);
    c->rpc_record = record;
    c->rpc_done = done;
    c->rpc_deadline_ms = env_mono_ms(c->admin->deps.env) + RPC_DEADLINE_MS;
    c->rpc_backoff_ms = RPC_BACKOFF_MIN_MS;
    env_timer_init(&c->rpc_retry, on_retry);
    submit(c);
}

void answer_rpc_failed(struct admin_call *c, const struct rpc_reply *reply)
{
    answer_error(c, 503, "Error when routing the request internally. Reason: %s",
                 reply->detail[0] ? reply->detail : rc_name(reply->rc));
}

bool call_rpc_abandon(struct admin_call *c)
{
    if (!c->rpc.reply || !env_timer_armed(&c->rpc_retry))
        return false;
    env_timer_cancel(c->admin->deps.env, &c->rpc_retry);
    struct rpc_reply reply = {
        .status = RPC_FAILED, .rc = RC_CANCELED, .detail = "the server is shutting down"};
    c->rpc_done(c, &reply);
    return true;
}

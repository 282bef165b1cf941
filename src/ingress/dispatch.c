/* Sending requests to the partitions' leaders: retries with back-off, clients that go away (spec/ingress.md
 * §11). */
#include "ingress/internal.h"

#define RETRY_FIRST_MS 50u
#define RETRY_MAX_MS   1000u

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply);

/* A leader fills in the header of the record it was given, so that one that may still be on its way must not
 * be handed out twice. */
static struct bytes record_for_submission(const struct ingress_request *q)
{
    if (!q->record.ptr || q->failures == 0)
        return bytes_ref(q->record);
    return bytes_copy(bytes_slice(q->record));
}

static void submit(struct ingress_request *q)
{
    q->rpc.record = record_for_submission(q);
    q->rpc.reply = on_reply;
    q->in_flight = true;
    partition_router_submit(q->in->router, &q->rpc);
}

static void retry_fire(struct env_timer *t)
{
    submit(CONTAINER_OF(t, struct ingress_request, retry));
}

void dispatch(struct ingress_request *q)
{
    request_head_free(q);
    submit(q);
}

void dispatch_abandon(struct ingress_request *q)
{
    if (q->in_flight) {
        partition_router_cancel(q->in->router, &q->rpc); /* the reply releases the request, maybe at once */
        return;
    }
    env_timer_cancel(q->in->env, &q->retry);
    request_release(q);
}

/* 50 ms, doubled each time up to 1 s; up to a quarter is taken off at random, so that many waiting clients do
 * not come back in one moment. */
static void retry_later(struct ingress_request *q)
{
    uint64_t delay = RETRY_MAX_MS;
    if (q->failures < 5)
        delay = MIN(RETRY_FIRST_MS << q->failures, RETRY_MAX_MS);
    q->failures++;
    delay -= env_random(q->in->env) % (delay / 4);
    q->retry.fire = retry_fire;
    env_timer_arm(q->in->env, &q->retry, delay);
}

enum retry_class { RETRY_SAFE, RETRY_IF_IDEMPOTENT, RETRY_NEVER };

static enum retry_class retry_class_of(enum rc rc)
{
    switch (rc) {
    case RC_NOT_LEADER:
    case RC_UNAVAILABLE:
    case RC_OVERLOADED:
    case RC_NO_SPACE: /* certainly not processed */
        return RETRY_SAFE;
    case RC_INVALID:
    case RC_TOO_LARGE:
    case RC_UNSUPPORTED: /* would fail again */
        return RETRY_NEVER;
    default: /* the outcome is unknown */
        return RETRY_IF_IDEMPOTENT;
    }
}

static void fail_routing(struct ingress_request *q, const struct rpc_reply *reply)
{
    struct writer m = WRITER_INIT;
    write_fmt(&m, "internal routing error: %s. ", reply->detail[0] ? reply->detail : rc_name(reply->rc));
    switch (q->op) {
    case OP_CALL:
    case OP_SEND:
        write_fmt(&m, "If the request has an 'idempotency-key', it can be safely retried, otherwise "
                      "submitting it again may "
                      "result in executing the invocation twice.");
        break;
    case OP_ATTACH:
    case OP_OUTPUT:
    case OP_LOOKUP:
        write_fmt(&m, "You may safely retry the request.");
        break;
    case OP_AWAKEABLE:
        write_fmt(&m, "Submitting the request again may result in executing the operation twice.");
        break;
    }
    request_fail_writer(q, 503, &m);
}

static void respond_reply(struct ingress_request *q, const struct rpc_reply *reply)
{
    switch (q->op) {
    case OP_SEND:
        respond_submitted(q, reply);
        return;
    case OP_AWAKEABLE:
        respond(q->http, 202, NULL, 0, BYTES_EMPTY);
        request_release(q);
        return;
    case OP_CALL:
    case OP_ATTACH:
    case OP_OUTPUT:
        respond_invocation_result(q, reply);
        return;
    case OP_LOOKUP:
        break;
    }
    UNREACHABLE("operation %d has no reply", (int)q->op);
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct ingress_request *q = CONTAINER_OF(rpc, struct ingress_request, rpc);
    ASSERT(q->in_flight);
    q->in_flight = false;
    bytes_unref(&q->rpc.record);
    if (!q->http) {
        request_release(q);
        return;
    }
    if (reply->status != RPC_FAILED) {
        respond_reply(q, reply);
        return;
    }
    enum retry_class class = retry_class_of(reply->rc);
    if (class == RETRY_SAFE || (class == RETRY_IF_IDEMPOTENT && q->idempotent))
        retry_later(q);
    else
        fail_routing(q, reply);
}

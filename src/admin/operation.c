/* One operation on one invocation: the requests to the partition leader, and the choice of a deployment for
 * resume and restart (spec/invocation-lifecycle.md §8). */
#include <stdio.h>

#include "admin/invocations.h"
#include "wire/id.h"

bool deployment_choice_parse(const char *text, enum deployment_choice *choice, struct u128 *id, char *reason,
                             size_t cap)
{
    if (!text)
        return true;
    if (strcmp(text, "keep") == 0 || strcmp(text, "Keep") == 0) {
        *choice = DEPLOYMENT_KEEP;
        return true;
    }
    if (strcmp(text, "latest") == 0 || strcmp(text, "Latest") == 0) {
        *choice = DEPLOYMENT_LATEST;
        return true;
    }
    enum id_error e = resource_id_parse(RESOURCE_DEPLOYMENT, slice_cstr(text), id);
    *choice = DEPLOYMENT_ID;
    if (e != ID_OK)
        id_error_message(e, slice_cstr(text), reason, cap);
    return e == ID_OK;
}

static void conclude(struct admin_call *c, enum op_outcome outcome)
{
    struct operation *o = c->state;
    o->outcome = outcome;
    o->done(c, o);
}

static enum op_outcome outcome_of(const struct operation *o, const struct rpc_reply *reply)
{
    switch (reply->status) {
    case RPC_OK:
        return OUTCOME_DONE;
    case RPC_APPENDED:
        return OUTCOME_ACCEPTED;
    case RPC_NOT_FOUND:
        return OUTCOME_NOT_FOUND;
    case RPC_ALREADY_COMPLETED:
        return o->op == OP_PAUSE ? OUTCOME_NOT_RUNNING : OUTCOME_ALREADY_COMPLETED;
    case RPC_NOT_COMPLETED:
        return o->op == OP_RESTART_AS_NEW ? OUTCOME_STILL_RUNNING : OUTCOME_NOT_COMPLETED;
    case RPC_NOT_RUNNING:
        return o->op == OP_RESUME ? OUTCOME_CANNOT_REPIN : OUTCOME_NOT_RUNNING;
    case RPC_NOT_STARTED:
        return o->op == OP_PAUSE ? OUTCOME_NOT_RUNNING : OUTCOME_NOT_STARTED;
    case RPC_STILL_RUNNING:
        return o->op == OP_RESUME ? OUTCOME_CANNOT_REPIN : OUTCOME_STILL_RUNNING;
    case RPC_UNSUPPORTED:
        return OUTCOME_UNSUPPORTED;
    case RPC_GONE:
        return OUTCOME_GONE;
    case RPC_BAD_PREFIX:
        return OUTCOME_BAD_PREFIX;
    case RPC_BAD_DEPLOYMENT:
        return OUTCOME_INCOMPATIBLE;
    case RPC_NOT_READY:
    case RPC_FAILED:
    case RPC_QUEUES_FULL:
        break;
    }
    return OUTCOME_FAILED;
}

static void on_reply(struct admin_call *c, const struct rpc_reply *reply)
{
    struct operation *o = c->state;
    o->new_id = c->rpc.new_id;
    o->failed_rc = reply->rc;
    snprintf(o->detail, sizeof(o->detail), "%s", reply->detail);
    conclude(c, outcome_of(o, reply));
}

static void submit(struct admin_call *c)
{
    static const enum rpc_kind kinds[] = {RPC_TERMINATE, RPC_TERMINATE, RPC_PURGE,         RPC_PURGE_JOURNAL,
                                          RPC_PAUSE,     RPC_RESUME,    RPC_RESTART_AS_NEW};
    struct operation *o = c->state;
    c->rpc.kind = kinds[o->op];
    c->rpc.kill = o->op == OP_KILL;
    c->rpc.id = o->id;
    c->rpc.partition_key = o->id.partition_key;
    if (o->op == OP_RESTART_AS_NEW) {
        struct u128 random = call_random_id(c);
        c->rpc.new_id.partition_key = o->id.partition_key;
        c->rpc.new_id.uuid = ulid_make(env_wall_ms(c->admin->deps.env), random.hi, random.lo);
        c->rpc.copy_prefix_up_to = o->from;
    }
    call_rpc(c, SLICE_EMPTY, on_reply);
}

/* ---- which deployment ---- */

/* The latest deployment of the invocation's service, whichever deployment it is pinned to. */
static const struct schema_deployment *latest_for(struct admin_call *c, const struct rpc_reply *status)
{
    const struct schema_service *service = schema_service(call_schema(c), status->target.service);
    return service ? service->deployment : NULL;
}

static void repin_and_submit(struct admin_call *c, const struct rpc_reply *status,
                             const struct schema_deployment *d)
{
    struct operation *o = c->state;
    if (!d) {
        conclude(c, OUTCOME_UNKNOWN_DEPLOYMENT);
        return;
    }
    if (status->protocol_version < d->min_protocol_version ||
        status->protocol_version > d->max_protocol_version) {
        char id[RESOURCE_ID_TEXT_MAX], text[INVOCATION_ID_TEXT + 1];
        resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
        invocation_id_format(o->id, text);
        snprintf(o->detail, sizeof(o->detail),
                 "The invocation '%s' is running on protocol version '%u', while the chosen deployment '%s' "
                 "supports the range "
                 "%u..=%u.",
                 text, status->protocol_version, id, d->min_protocol_version, d->max_protocol_version);
        conclude(c, OUTCOME_INCOMPATIBLE);
        return;
    }
    c->rpc.repin = true;
    c->rpc.deployment_id = d->id;
    c->rpc.deployment_min_protocol = d->min_protocol_version;
    c->rpc.deployment_max_protocol = d->max_protocol_version;
    submit(c);
}

/* Would the operation get as far as looking at the deployment? If not, the leader answers as it does without
 * one. */
static bool deployment_matters(const struct operation *o, enum invocation_status status)
{
    if (o->op == OP_RESTART_AS_NEW)
        return status == INV_COMPLETED;
    return status == INV_INVOKED || status == INV_SUSPENDED || status == INV_PAUSED || status == INV_HELD;
}

static void on_status(struct admin_call *c, const struct rpc_reply *reply)
{
    struct operation *o = c->state;
    if (reply->status != RPC_OK) {
        on_reply(c, reply);
        return;
    }
    if (!deployment_matters(o, reply->invocation_status)) {
        submit(c);
        return;
    }
    /* An attempt may pin it at any moment, so not even "latest" can be promised. */
    if (o->op == OP_RESUME && reply->invocation_status == INV_INVOKED) {
        conclude(c, OUTCOME_CANNOT_REPIN);
        return;
    }
    if (!reply->pinned) {
        /* "latest" is what an unpinned invocation takes anyhow; an explicit deployment cannot be promised. */
        if (o->choice == DEPLOYMENT_LATEST)
            submit(c);
        else
            conclude(c, OUTCOME_CANNOT_REPIN);
        return;
    }
    repin_and_submit(c, reply,
                     o->choice == DEPLOYMENT_LATEST ? latest_for(c, reply)
                                                    : schema_deployment(call_schema(c), o->chosen_id));
}

void operation_start(struct admin_call *c, struct operation *o)
{
    ASSERT(c->state == o);
    bool asks = (o->op == OP_RESUME || o->op == OP_RESTART_AS_NEW) && o->choice != DEPLOYMENT_KEEP;
    if (!asks) {
        submit(c);
        return;
    }
    c->rpc.kind = RPC_STATUS;
    c->rpc.id = o->id;
    c->rpc.partition_key = o->id.partition_key;
    call_rpc(c, SLICE_EMPTY, on_status);
}

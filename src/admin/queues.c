/* POST /vqueues/{}/pause and /resume (spec/admin-api.md §15): answered when the partition of the queue's
 * scope has applied it. Whether there is such a queue does not matter. */
#include "admin/admin_internal.h"
#include "wire/id.h"

static void on_reply(struct admin_call *c, const struct rpc_reply *reply)
{
    if (reply->status == RPC_FAILED)
        answer_rpc_failed(c, reply);
    else if (reply->status == RPC_QUEUES_FULL)
        answer_error(c, 503, "Too many queues of the partition are paused: resume others first.");
    else
        answer_empty(c, 202);
}

static void operate(struct admin_call *c, enum rpc_kind kind)
{
    struct slice text = slice_cstr(c->params[0]);
    enum id_error e = queue_id_parse(text, &c->rpc.id);
    if (e != ID_OK) {
        char reason[128];
        id_error_message(e, text, reason, sizeof(reason));
        answer_error(c, 400, "The request field 'vqueue_id' is invalid. Reason: %s", reason);
        return;
    }
    c->rpc.kind = kind;
    c->rpc.partition_key = c->rpc.id.partition_key;
    call_rpc(c, SLICE_EMPTY, on_reply);
}

void handle_pause_queue(struct admin_call *c)
{
    operate(c, RPC_PAUSE_QUEUE);
}

void handle_resume_queue(struct admin_call *c)
{
    operate(c, RPC_RESUME_QUEUE);
}

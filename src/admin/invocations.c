/* The routes for one invocation (spec/admin-api.md §10, spec/errors.md §8.3). */
#include "admin/invocations.h"

#include <stdio.h>

#include "wire/id.h"

static void answer_new_id(struct admin_call *c, struct invocation_id new_id)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(new_id, text);
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "new_invocation_id", text);
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

static void answer_failed(struct admin_call *c, const struct operation *o)
{
    struct rpc_reply reply = {.status = RPC_FAILED, .rc = o->failed_rc};
    snprintf(reply.detail, sizeof(reply.detail), "%.159s", o->detail);
    answer_rpc_failed(c, &reply);
}

static void answer_deployment_outcome(struct admin_call *c, const struct operation *o, const char *id)
{
    if (o->outcome == OUTCOME_UNKNOWN_DEPLOYMENT)
        answer_error(c, 400, "The given deployment was not found when trying to %s the invocation '%s'.",
                     o->op == OP_RESUME ? "resume" : "restart as new", id);
    else if (o->outcome == OUTCOME_CANNOT_REPIN)
        answer_error(c, 409,
                     "The invocation '%s' is still running or the deployment id is not pinned yet, "
                     "deployment id cannot be "
                     "changed.",
                     id);
    else
        answer_error(c, 400, "%s",
                     o->detail[0] ? o->detail : "The given deployment cannot run the invocation.");
}

static void answer_refused(struct admin_call *c, const struct operation *o, const char *id)
{
    bool resume = o->op == OP_RESUME;
    switch (o->outcome) {
    case OUTCOME_NOT_FOUND:
        answer_error(c, 404, "The requested invocation '%s' does not exist", id);
        return;
    case OUTCOME_ALREADY_COMPLETED:
        answer_error(c, 409,
                     resume ? "The invocation '%s' is completed, cannot be resumed."
                            : "The invocation '%s' was already completed.",
                     id);
        return;
    case OUTCOME_NOT_COMPLETED:
        answer_error(c, 409, "The invocation '%s' is not yet completed.", id);
        return;
    case OUTCOME_NOT_RUNNING:
        answer_error(c, 409, "The invocation '%s' is not running, cannot be paused.", id);
        return;
    case OUTCOME_NOT_STARTED:
        answer_error(c, 425,
                     resume ? "The invocation '%s' is either inboxed or scheduled, cannot be resumed."
                            : "The invocation '%s' cannot be restarted because it's not running yet.",
                     id);
        return;
    case OUTCOME_STILL_RUNNING:
        answer_error(c, 409, "The invocation '%s' is still running.", id);
        return;
    case OUTCOME_UNSUPPORTED:
        answer_error(c, 422,
                     "Restarting the invocation '%s' is not supported. Restarting workflows is not "
                     "supported, and restarting "
                     "invocations created using the old service protocol.",
                     id);
        return;
    case OUTCOME_GONE:
        answer_error(c, 410,
                     "The invocation '%s' cannot be restarted because the input is not available. This "
                     "indicates that the "
                     "journal was already purged, or not retained at all.",
                     id);
        return;
    case OUTCOME_BAD_PREFIX:
        answer_error(c, 400,
                     "The prefix of the journal '%s' up to 'from' (included) contains some Commands without "
                     "respective "
                     "Completions.",
                     id);
        return;
    case OUTCOME_FAILED:
        answer_failed(c, o);
        return;
    default:
        answer_deployment_outcome(c, o, id);
    }
}

static void on_done(struct admin_call *c, struct operation *o)
{
    char id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(o->id, id);
    if (o->outcome == OUTCOME_ACCEPTED)
        answer_empty(c, 202);
    else if (o->outcome != OUTCOME_DONE)
        answer_refused(c, o, id);
    else if (o->op == OP_RESTART_AS_NEW)
        answer_new_id(c, o->new_id);
    else
        answer_empty(c, 200);
}

static struct operation *begin(struct admin_call *c, enum invocation_op op)
{
    struct operation *o = arena_array(&c->arena, struct operation, 1);
    o->op = op;
    o->done = on_done;
    c->state = o;
    return call_invocation_id(c, 0, &o->id) ? o : NULL;
}

static void run(struct admin_call *c, enum invocation_op op)
{
    struct operation *o = begin(c, op);
    if (o)
        operation_start(c, o);
}

void handle_cancel(struct admin_call *c)
{
    run(c, OP_CANCEL);
}
void handle_kill(struct admin_call *c)
{
    run(c, OP_KILL);
}
void handle_purge(struct admin_call *c)
{
    run(c, OP_PURGE);
}
void handle_purge_journal(struct admin_call *c)
{
    run(c, OP_PURGE_JOURNAL);
}
void handle_pause(struct admin_call *c)
{
    run(c, OP_PAUSE);
}

static bool read_choice(struct admin_call *c, struct operation *o, enum deployment_choice fallback)
{
    char reason[128];
    o->choice = fallback;
    if (deployment_choice_parse(call_query(c, "deployment"), &o->choice, &o->chosen_id, reason,
                                sizeof(reason)))
        return true;
    answer_error(c, 400, "The query parameter 'deployment' is invalid. Reason: %s", reason);
    return false;
}

void handle_resume(struct admin_call *c)
{
    struct operation *o = begin(c, OP_RESUME);
    if (o && read_choice(c, o, DEPLOYMENT_KEEP))
        operation_start(c, o);
}

static bool read_from(struct admin_call *c, uint32_t *out)
{
    const char *text = call_query(c, "from");
    uint64_t v = 0;
    if (!text)
        return true;
    bool good = *text != '\0';
    for (const char *p = text; good && *p; p++) {
        good = *p >= '0' && *p <= '9' && v <= UINT32_MAX / 10;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (good && v <= UINT32_MAX) {
        *out = (uint32_t)v;
        return true;
    }
    answer_text(c, 400, "Failed to deserialize query string: from: invalid digit found in string");
    return false;
}

void handle_restart_as_new(struct admin_call *c)
{
    struct operation *o = begin(c, OP_RESTART_AS_NEW);
    if (o && read_from(c, &o->from) && read_choice(c, o, DEPLOYMENT_LATEST))
        operation_start(c, o);
}

/* ---- DELETE, deprecated: fire and forget ---- */

static void on_forgotten(struct admin_call *c, struct operation *o)
{
    if (o->outcome == OUTCOME_FAILED)
        answer_failed(c, o);
    else
        answer_empty(c, 202);
}

void handle_delete_invocation(struct admin_call *c)
{
    struct operation *o = begin(c, OP_CANCEL);
    if (!o)
        return;
    const char *mode = call_query(c, "mode");
    if (!mode || strcmp(mode, "cancel") == 0 || strcmp(mode, "Cancel") == 0)
        o->op = OP_CANCEL;
    else if (strcmp(mode, "kill") == 0 || strcmp(mode, "Kill") == 0)
        o->op = OP_KILL;
    else if (strcmp(mode, "purge") == 0 || strcmp(mode, "Purge") == 0)
        o->op = OP_PURGE;
    else {
        answer_text(c, 400,
                    "Failed to deserialize query string: mode: unknown variant `%s`, expected one of "
                    "`Cancel`, `cancel`, `Kill`, "
                    "`kill`, `Purge`, `purge`",
                    mode);
        return;
    }
    o->done = on_forgotten;
    operation_start(c, o);
}

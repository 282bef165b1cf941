/* Operations on invocations, shared by the single routes (spec/admin-api.md §10) and the batch route (§11).
 */
#pragma once
#include "admin/admin_internal.h"

enum invocation_op { OP_CANCEL, OP_KILL, OP_PURGE, OP_PURGE_JOURNAL, OP_PAUSE, OP_RESUME, OP_RESTART_AS_NEW };

enum deployment_choice { DEPLOYMENT_KEEP, DEPLOYMENT_LATEST, DEPLOYMENT_ID };
/* "keep", "latest" (either spelling) or an id; `text` NULL leaves *choice alone. False: the reason is in
 * `reason`. */
bool deployment_choice_parse(const char *text, enum deployment_choice *choice, struct u128 *id, char *reason,
                             size_t cap);

/* The question that had to be asked, and how it was answered. */
enum op_outcome {
    OUTCOME_DONE,
    OUTCOME_ACCEPTED,
    OUTCOME_NOT_FOUND,
    OUTCOME_ALREADY_COMPLETED, /* cancel, kill, resume */
    OUTCOME_NOT_COMPLETED,     /* purges */
    OUTCOME_NOT_RUNNING,       /* pause */
    OUTCOME_NOT_STARTED,       /* resume, restart */
    OUTCOME_STILL_RUNNING,     /* restart */
    OUTCOME_UNSUPPORTED,       /* restart */
    OUTCOME_GONE,              /* restart */
    OUTCOME_BAD_PREFIX,        /* restart */
    OUTCOME_CANNOT_REPIN,      /* still running, or not pinned */
    OUTCOME_UNKNOWN_DEPLOYMENT,
    OUTCOME_INCOMPATIBLE, /* protocol version; see `detail` */
    OUTCOME_FAILED,       /* see `reply` */
};

/* One operation on one invocation, over call->rpc. */
struct operation {
    enum invocation_op op;
    struct invocation_id id;
    enum deployment_choice choice;
    struct u128 chosen_id;
    uint32_t from;
    /* result */
    enum op_outcome outcome;
    struct invocation_id new_id;
    char detail[256];
    enum rc failed_rc;
    void (*done)(struct admin_call *c, struct operation *o);
};
/* Runs it in c->rpc; c->state must point to `o`. `done` once, never from inside. */
void operation_start(struct admin_call *c, struct operation *o);

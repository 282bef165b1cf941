/* POST /internal/invocations_batch_operations/{op}: one operation on up to 1000 invocations, all at once, as
 * the web UI asks for it (spec/admin-api.md §11). Each invocation is a call of its own below the call of the
 * request. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/invocations.h"
#include "wire/id.h"

#define BATCH_MAX 1000u

struct batch {
    enum invocation_op op;
    size_t n, left;
    struct operation *operations; /* as requested */
};
struct child {
    struct admin_call call; /* only rpc and state are used */
    struct admin_call *parent;
    struct operation *result; /* where the parent wants it */
    struct operation operation;
};

static bool parse_op(const char *name, enum invocation_op *out)
{
    static const struct {
        const char *name;
        enum invocation_op op;
    } ops[] = {{"kill", OP_KILL},
               {"cancel", OP_CANCEL},
               {"purge", OP_PURGE},
               {"purge-journal", OP_PURGE_JOURNAL},
               {"resume", OP_RESUME},
               {"pause", OP_PAUSE},
               {"restart-as-new", OP_RESTART_AS_NEW}};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (strcmp(name, ops[i].name) == 0) {
            *out = ops[i].op;
            return true;
        }
    return false;
}

static void error_text(const struct operation *o, const char *id, char *out, size_t cap)
{
    const char *format = NULL;
    switch (o->outcome) {
    case OUTCOME_NOT_FOUND:
        format = "Invocation '%s' not found";
        break;
    case OUTCOME_ALREADY_COMPLETED:
        format = o->op == OP_RESUME ? "Invocation '%s' is completed, cannot be resumed"
                                    : "Invocation '%s' was already completed";
        break;
    case OUTCOME_NOT_COMPLETED:
        format = "Invocation '%s' is not yet completed";
        break;
    case OUTCOME_NOT_RUNNING:
        format = "Invocation '%s' is not running, cannot be paused";
        break;
    case OUTCOME_NOT_STARTED:
        format = o->op == OP_RESUME ? "Invocation '%s' is either inboxed or scheduled, cannot be resumed"
                                    : "Invocation '%s' cannot be restarted because it's not running yet";
        break;
    case OUTCOME_STILL_RUNNING:
        format = "Invocation '%s' is still running";
        break;
    case OUTCOME_UNSUPPORTED:
        format = "Restarting invocation '%s' is not supported";
        break;
    case OUTCOME_GONE:
        format = "Invocation '%s' cannot be restarted because the input is not available";
        break;
    case OUTCOME_CANNOT_REPIN:
        format = "Cannot change deployment ID for invocation '%s'";
        break;
    case OUTCOME_UNKNOWN_DEPLOYMENT:
        format = o->op == OP_RESUME ? "Deployment not found when resuming invocation '%s'"
                                    : "Deployment not found when restarting invocation '%s'";
        break;
    default:
        snprintf(out, cap, "%s", o->detail[0] ? o->detail : rc_name(o->failed_rc));
        return;
    }
    const char *hole = strstr(format, "%s");
    snprintf(out, cap, "%.*s%s%s", (int)(hole - format), format, id, hole + 2);
}

static void write_success(struct json_out *out, const struct operation *o, const char *id)
{
    if (o->op != OP_RESTART_AS_NEW) {
        json_text(out, NULL, id);
        return;
    }
    char new_id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(o->new_id, new_id);
    json_open(out, '{');
    json_text(out, "old_invocation_id", id);
    json_text(out, "new_invocation_id", new_id);
    json_close(out, '}');
}

static void write_results(struct json_out *out, const struct batch *b, bool succeeded)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct operation *o = &b->operations[i];
        char id[INVOCATION_ID_TEXT + 1], error[320];
        if ((o->outcome == OUTCOME_DONE || o->outcome == OUTCOME_ACCEPTED) != succeeded)
            continue;
        invocation_id_format(o->id, id);
        if (succeeded) {
            write_success(out, o, id);
            continue;
        }
        error_text(o, id, error, sizeof(error));
        json_open(out, '{');
        json_text(out, "invocation_id", id);
        json_text(out, "error", error);
        json_close(out, '}');
    }
}

static void answer_batch(struct admin_call *c)
{
    struct batch *b = c->state;
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_open_at(&o, "succeeded", '[');
    write_results(&o, b, true);
    json_close(&o, ']');
    json_open_at(&o, "failed", '[');
    write_results(&o, b, false);
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

static void on_child_done(struct admin_call *call, struct operation *o)
{
    struct child *child = CONTAINER_OF(call, struct child, call);
    struct admin_call *parent = child->parent;
    struct batch *b = parent->state;
    *child->result = *o;
    list_remove(&call->link);
    arena_free(&call->arena);
    free(child);
    if (--b->left == 0)
        answer_batch(parent);
}

static void start_child(struct admin_call *parent, struct operation *operation)
{
    struct child *child = xcalloc(1, sizeof(*child));
    child->parent = parent;
    child->result = operation;
    child->operation = *operation;
    child->operation.done = on_child_done;
    child->call.admin = parent->admin;
    child->call.state = &child->operation;
    list_push_back(&parent->admin->calls, &child->call.link);
    operation_start(&child->call, &child->operation);
}

static bool read_ids(struct admin_call *c, const json_t *body, struct batch *b)
{
    const json_t *ids = json_object_get(body, "invocation_ids");
    if (!json_is_array(ids)) {
        answer_bad_shape(c, "invocation_ids",
                         ids ? "invalid type: expected a list" : "missing field `invocation_ids`");
        return false;
    }
    b->n = json_array_size(ids);
    b->operations = arena_array(&c->arena, struct operation, b->n + 1);
    for (size_t i = 0; i < b->n; i++) {
        const json_t *v = json_array_get(ids, i);
        struct slice text = slice_make(json_string_value(v), json_string_length(v));
        enum id_error e = json_is_string(v) ? invocation_id_parse(text, &b->operations[i].id) : ID_BAD_FORMAT;
        char reason[128], path[48];
        if (e == ID_OK)
            continue;
        id_error_message(e, text, reason, sizeof(reason));
        snprintf(path, sizeof(path), "invocation_ids[%zu]", i);
        answer_bad_shape(c, path, reason);
        return false;
    }
    if (b->n <= BATCH_MAX)
        return true;
    answer_error(c, 400, "Batch size %zu exceeds maximum allowed size of %u", b->n, BATCH_MAX);
    return false;
}

static bool read_choice(struct admin_call *c, const json_t *body, struct batch *b)
{
    const char *text;
    char reason[128];
    enum deployment_choice choice = b->op == OP_RESTART_AS_NEW ? DEPLOYMENT_LATEST : DEPLOYMENT_KEEP;
    struct u128 id = {0};
    bool chooses = b->op == OP_RESUME || b->op == OP_RESTART_AS_NEW; /* to the others the key is unknown */
    if (chooses && !call_json_text(c, body, "deployment", &text))
        return false;
    if (chooses && !deployment_choice_parse(text, &choice, &id, reason, sizeof(reason))) {
        answer_error(c, 400, "The request field 'deployment' is invalid. Reason: %s", reason);
        return false;
    }
    for (size_t i = 0; i < b->n; i++) {
        b->operations[i].op = b->op;
        b->operations[i].choice = choice;
        b->operations[i].chosen_id = id;
    }
    return true;
}

void handle_batch(struct admin_call *c)
{
    struct batch *b = arena_array(&c->arena, struct batch, 1);
    c->state = b;
    if (!parse_op(c->params[0], &b->op)) {
        answer_empty(c, 404);
        return;
    }
    json_t *body = call_json_object(c);
    if (!body || !read_ids(c, body, b) || !read_choice(c, body, b))
        return;
    b->left = b->n;
    if (b->n == 0) {
        answer_batch(c);
        return;
    }
    /* Replies never come from inside a submit, so `b` lives until the last child was started. */
    size_t n = b->n;
    for (size_t i = 0; i < n; i++)
        start_child(c, &b->operations[i]);
}

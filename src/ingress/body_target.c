/* Targets in JSON bodies (ingress/body_target.h). */
#include "ingress/body_target.h"

#include <jansson.h>

#include "ingress/checks.h"
#include "ingress/identity.h"

struct parsing {
    json_t *root;
    struct writer *message;
    int status;
};

static bool malformed(struct parsing *p, const char *fmt, const char *arg)
{
    p->status = 500;
    write_fmt(p->message, fmt, arg);
    return false;
}

/* A string member; `optional` members may be absent or null, then ptr is NULL. */
static bool member(struct parsing *p, const char *name, bool optional, struct slice *out)
{
    json_t *v = json_object_get(p->root, name);
    *out = SLICE_EMPTY;
    if (json_is_string(v)) {
        *out = slice_make(json_string_value(v), json_string_length(v));
        return true;
    }
    if (!v && !optional)
        return malformed(p, "missing field `%s`", name);
    if (optional && (!v || json_is_null(v)))
        return true;
    return malformed(p, "invalid type of field `%s`, expected a string", name);
}

static bool scope_member(struct parsing *p, struct slice *out)
{
    char room[64];
    if (!member(p, "scope", true, out))
        return false;
    const char *problem = out->ptr ? label_problem(*out, room) : NULL;
    if (!problem)
        return true;
    p->status = 400;
    writer_reset(p->message);
    write_fmt(p->message, "bad scope value: %s", problem);
    return false;
}

void bad_id_message(struct writer *message, const char *noun, struct slice text, enum id_error e)
{
    char reason[256];
    id_error_message(e, text, reason, sizeof(reason));
    write_fmt(message, "bad %s id '", noun);
    write_slice_raw(message, text);
    write_fmt(message, "': %s", reason);
}

static bool parse_by_id(struct parsing *p, struct invocation_id *id)
{
    struct slice text;
    if (!member(p, "invocationId", false, &text))
        return false;
    enum id_error e = invocation_id_parse(text, id);
    if (e == ID_OK)
        return true;
    p->status = 400;
    writer_reset(p->message);
    bad_id_message(p->message, "invocation", text, e);
    return false;
}

static bool parse_target(struct parsing *p, bool bucketed, struct invocation_id *id)
{
    struct derived_target t = {0};
    struct slice target;
    if (!json_is_object(p->root))
        return malformed(p, "invalid type, expected %s", "an object");
    if (!member(p, "target", false, &target))
        return false;
    if (slice_eq_cstr(target, "invocation"))
        return parse_by_id(p, id);
    if (slice_eq_cstr(target, "workflow")) {
        t.workflow_run = true;
        if (!member(p, "workflowName", false, &t.service) || !member(p, "workflowKey", false, &t.key) ||
            !scope_member(p, &t.scope))
            return false;
    } else if (slice_eq_cstr(target, "idempotentInvocation")) {
        if (!member(p, "service", false, &t.service) || !member(p, "key", true, &t.key) ||
            !member(p, "handler", false, &t.handler) ||
            !member(p, "idempotencyKey", false, &t.idempotency_key) || !scope_member(p, &t.scope))
            return false;
    } else {
        p->status = 500;
        write_fmt(p->message, "unknown variant `");
        write_slice_raw(p->message, target);
        write_fmt(p->message, "`, expected one of `workflow`, `idempotentInvocation`, `invocation`");
        return false;
    }
    *id = identity_derived(&t, bucketed);
    return true;
}

bool body_target_parse(struct slice body, const char *what, bool bucketed, struct invocation_id *id,
                       int *status, struct writer *message)
{
    json_error_t error;
    struct parsing p = {.message = message};
    write_fmt(message, "cannot read body: invalid %s body: ", what);
    bool ok = false;
    if (body.len == 0) {
        malformed(&p, "EOF while parsing a value at line 1 column %s", "0");
    } else {
        p.root = json_loadb((const char *)body.ptr, body.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        ok = p.root ? parse_target(&p, bucketed, id) : malformed(&p, "%s", error.text);
    }
    json_decref(p.root);
    *status = p.status;
    return ok;
}

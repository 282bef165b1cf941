/* Preconditions of commands (spec/service-protocol.md §7, §7.1): whatever passes can be applied by every
 * replica, and what must be stable
 * - callee ids, kinds, retentions - is resolved here, before proposing. */
#include "invoker/invoker_internal.h"
#include "invoker/rt_codes.h"
#include "wire/scope.h"

#define ID_BUCKETS 512

static enum rc refuse(struct err *err, const char **doc_code, const char *code, const char *reason)
{
    *doc_code = code;
    return err_set(err, RC_CONFLICT, "%s", reason);
}

/* ---- state and promises ---- */

static enum rc check_state_read(const struct command_context *ctx, struct err *err, const char **doc_code)
{
    if (target_is_keyed(ctx->kind))
        return RC_OK;
    return refuse(err, doc_code, RT_PRECONDITION,
                  "unsupported entry type, this service type doesn't have state access");
}

static enum rc check_state_write(const struct command_context *ctx, const struct command_view *c,
                                 struct err *err, const char **doc_code)
{
    enum rc rc = check_state_read(ctx, err, doc_code);
    if (rc != RC_OK)
        return rc;
    if (!target_writes_state(ctx->kind))
        return refuse(err, doc_code, RT_PRECONDITION,
                      "unsupported entry type, this handler type cannot write state");
    if (!slice_is_utf8(c->key))
        return refuse(err, doc_code, RT_PRECONDITION, "the state key is not valid UTF-8");
    return RC_OK;
}

static enum rc check_promise(const struct command_context *ctx, struct err *err, const char **doc_code)
{
    if (target_is_workflow(ctx->kind))
        return RC_OK;
    return refuse(err, doc_code, RT_PRECONDITION,
                  "unsupported entry type, only Workflow services support it");
}

/* ---- calls (§7.1, ids of §11.2) ---- */

static enum rc find_callee(const struct command_context *ctx, const struct command_view *c,
                           const struct schema_handler **out, struct err *err, const char **doc_code)
{
    const struct schema_service *service = schema_service(ctx->schema, c->service);
    const struct schema_handler *handler = service ? schema_handler(service, c->handler) : NULL;
    if (!handler) {
        *doc_code = RT_UNKNOWN_CALLEE;
        return err_set(err, RC_CONFLICT, "the service handler %.*s/%.*s was not found", SLICE_FMT(c->service),
                       SLICE_FMT(c->handler));
    }
    if (service->deployment->max_protocol_version < PROTOCOL_MIN) {
        *doc_code = RT_DEPRECATED_CALLEE;
        return err_set(err, RC_CONFLICT,
                       "the service %.*s is exposed by a deprecated deployment, please upgrade the SDK used "
                       "by the service",
                       SLICE_FMT(c->service));
    }
    *out = handler;
    return RC_OK;
}

static enum rc check_labels(const struct command_view *c, struct err *err, const char **doc_code)
{
    char room[LABEL_ROOM];
    const char *problem = c->has_scope ? label_problem(c->scope, room) : NULL;
    if (problem) {
        *doc_code = RT_SCOPE;
        return err_set(err, RC_CONFLICT, "bad scope value: %s", problem);
    }
    struct writer message = WRITER_INIT;
    bool ok = !c->has_limit_key || !c->limit_key.len || limit_key_check(c->limit_key, &message);
    if (!ok) {
        *doc_code = RT_SCOPE;
        err_set(err, RC_CONFLICT, "%.*s", SLICE_FMT(writer_slice(&message)));
    }
    writer_free(&message);
    return ok ? RC_OK : RC_CONFLICT;
}

/* lifecycle §12.4; the order of the checks is that of the ingress. */
static enum rc check_scope(const struct command_context *ctx, const struct command_view *c,
                           const struct schema_handler *callee, struct err *err, const char **doc_code)
{
    bool object = callee->kind == TARGET_OBJECT_EXCLUSIVE || callee->kind == TARGET_OBJECT_SHARED;
    if (c->has_limit_key && !c->has_scope)
        return refuse(err, doc_code, RT_SCOPE,
                      "limit key was provided without a scope. Limit keys take effect only when used in "
                      "combination with scope");
    if (!c->has_scope)
        return RC_OK;
    if (!ctx->scopes)
        return refuse(err, doc_code, RT_SCOPE,
                      "scoped invocations require flow control experimental feature to be enabled");
    if (object && !ctx->scoped_objects)
        return refuse(err, doc_code, RT_PRECONDITION, "scope is not supported for Virtual Object targets");
    return check_labels(c, err, doc_code);
}

static enum rc check_call(const struct command_context *ctx, const struct command_view *c,
                          const struct schema_handler *callee, struct err *err, const char **doc_code)
{
    enum rc rc = check_scope(ctx, c, callee, err, doc_code);
    if (rc != RC_OK)
        return rc;
    if (callee->kind == TARGET_SERVICE && c->key.len > 0) {
        *doc_code = RT_PRECONDITION;
        return err_set(err, RC_CONFLICT,
                       "a key was provided, but the callee '%.*s' is a Service. Only VirtualObjects or "
                       "Workflows accept a key",
                       SLICE_FMT(c->service));
    }
    if (c->has_idempotency_key && c->idempotency_key.len == 0)
        return refuse(err, doc_code, RT_PRECONDITION, "the idempotency key provided in the request is empty");
    return RC_OK;
}

static struct slice key_or_none(enum target_kind kind, struct slice key)
{
    if (!target_is_keyed(kind))
        return SLICE_EMPTY;
    return key.ptr ? key : slice_make("", 0);
}

static struct invocation_id callee_id(const struct command_context *ctx, const struct command_view *c,
                                      enum target_kind kind)
{
    struct invocation_id id;
    struct slice key = key_or_none(kind, c->key), scope = c->has_scope ? c->scope : SLICE_EMPTY;
    if (scope.ptr)
        id.partition_key = partition_key_of_key(scope);
    else if (key.ptr)
        id.partition_key = partition_key_of_key(key);
    else if (c->has_idempotency_key)
        id.partition_key =
            partition_key_of_service_bucket(c->service, idempotency_bucket(c->idempotency_key));
    else
        id.partition_key =
            partition_key_of_service_bucket(c->service, (uint32_t)(env_random(ctx->env) % ID_BUCKETS));

    if (kind == TARGET_WORKFLOW_RUN)
        id.uuid = workflow_run_uuid(scope, c->service, key);
    else if (c->has_idempotency_key)
        id.uuid = idempotency_uuid(scope, c->service, key, c->handler, c->idempotency_key);
    else
        id.uuid = ulid_make(env_wall_ms(ctx->env), env_random(ctx->env), env_random(ctx->env));
    return id;
}

static enum rc prepare_call(const struct command_context *ctx, const struct command_view *c,
                            struct effect *effect, const char **doc_code, struct err *err)
{
    const struct schema_handler *handler = NULL;
    enum rc rc = find_callee(ctx, c, &handler, err, doc_code);
    if (rc == RC_OK)
        rc = check_call(ctx, c, handler, err, doc_code);
    if (rc != RC_OK)
        return rc;
    effect->has_callee = true;
    effect->callee.id = callee_id(ctx, c, handler->kind);
    effect->callee.kind = handler->kind;
    schema_resolve_retention(ctx->defaults, handler, c->has_idempotency_key,
                             &effect->callee.completion_retention_ms, &effect->callee.journal_retention_ms);
    return RC_OK;
}

/* ---- ids in commands ---- */

static enum rc parse_invocation_id(struct slice text, struct invocation_id *out, struct err *err,
                                   const char **doc_code)
{
    enum id_error e = invocation_id_parse(text, out);
    if (e == ID_OK)
        return RC_OK;
    char reason[160];
    id_error_message(e, text, reason, sizeof(reason));
    *doc_code = RT_PRECONDITION;
    return err_set(err, RC_CONFLICT, "invalid invocation id %.*s: %s", SLICE_FMT(text), reason);
}

static enum rc prepare_attach(const struct command_view *c, struct effect *effect, const char **doc_code,
                              struct err *err)
{
    struct slice scope = c->has_scope ? c->scope : SLICE_EMPTY;
    struct invocation_id *id = &effect->attach_id;
    enum rc rc = c->attach_kind == ATTACH_TARGET_ID ? RC_OK : check_labels(c, err, doc_code);
    if (rc != RC_OK)
        return rc;
    switch (c->attach_kind) {
    case ATTACH_TARGET_ID:
        return parse_invocation_id(c->target_id, id, err, doc_code);
    case ATTACH_TARGET_IDEMPOTENT:
        id->partition_key = scope.ptr ? partition_key_of_key(scope)
                            : c->attach_key.ptr
                                ? partition_key_of_key(c->attach_key)
                                : partition_key_of_service_bucket(
                                      c->attach_service, idempotency_bucket(c->attach_idempotency_key));
        id->uuid = idempotency_uuid(scope, c->attach_service, c->attach_key, c->attach_handler,
                                    c->attach_idempotency_key);
        return RC_OK;
    case ATTACH_TARGET_WORKFLOW: {
        struct slice key = key_or_none(TARGET_WORKFLOW_RUN, c->attach_key);
        id->partition_key = partition_key_of_key(scope.ptr ? scope : key);
        id->uuid = workflow_run_uuid(scope, c->attach_service, key);
        return RC_OK;
    }
    case ATTACH_TARGET_NONE:
        break;
    }
    return refuse(err, doc_code, RT_PRECONDITION, "the target is missing");
}

static enum rc prepare(const struct command_context *ctx, const struct command_view *c, struct effect *effect,
                       const char **doc_code, struct err *err)
{
    switch (c->type) {
    case MSG_GET_EAGER_STATE:
    case MSG_GET_EAGER_STATE_KEYS:
    case MSG_GET_LAZY_STATE:
    case MSG_GET_LAZY_STATE_KEYS:
        return check_state_read(ctx, err, doc_code);
    case MSG_SET_STATE:
    case MSG_CLEAR_STATE:
    case MSG_CLEAR_ALL_STATE:
        return check_state_write(ctx, c, err, doc_code);
    case MSG_GET_PROMISE:
    case MSG_PEEK_PROMISE:
    case MSG_COMPLETE_PROMISE:
        return check_promise(ctx, err, doc_code);
    case MSG_CALL:
    case MSG_ONE_WAY_CALL:
        return prepare_call(ctx, c, effect, doc_code, err);
    case MSG_ATTACH:
    case MSG_GET_OUTPUT:
        return prepare_attach(c, effect, doc_code, err);
    default: /* Input, Output, Sleep, Run, signals: complete when decoded */
        return RC_OK;
    }
}

enum rc command_prepare(const struct command_context *ctx, uint16_t type, struct slice payload,
                        struct command_view *c, struct effect *effect, const char **doc_code, struct err *err)
{
    *c = (struct command_view){.type = type};
    *doc_code = RT_PROTOCOL;
    enum rc rc = command_decode(type, payload, c, err);
    if (rc == RC_OK)
        return prepare(ctx, c, effect, doc_code, err);
    /* An id to attach to that does not parse is no protocol violation but a failed precondition (§7). */
    struct err bad_id = {0};
    if (c->attach_kind == ATTACH_TARGET_ID &&
        parse_invocation_id(c->target_id, &effect->attach_id, &bad_id, doc_code) != RC_OK) {
        *err = bad_id;
        return RC_CONFLICT;
    }
    return rc;
}

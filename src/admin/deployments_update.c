/* PATCH /deployments/{id} (and PUT in version 2): change address, headers or services of a deployment in
 * place (spec/admin-api.md §7.5). */
#include "admin/admin_internal.h"

struct update {
    struct u128 id;
    struct schema_update request;
    struct admin_discovery_request discovery;
    bool dry_run;
    struct manifest manifest;
    struct schema_discovered found;
    struct problem problem;
};

static void answer_detail(struct admin_call *c, const struct schema_deployment *d)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_deployment_detail(&o, d, c->admin->deps.defaults);
    answer_json(c, 200, &w, NULL);
}

static bool plan(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct update *u = CONTAINER_OF(e, struct admin_call, edit)->state;
    return schema_update_deployment(current, u->id, &u->request, &u->found, out, &u->problem);
}

static void conclude(struct admin_call *c, const struct schema *schema)
{
    struct update *u = c->state;
    const struct schema_deployment *d = schema_deployment(schema, u->id);
    manifest_free(&u->manifest);
    if (d)
        answer_detail(c, d);
    else
        answer_deployment_missing(c, u->id);
}

static void on_edited(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct update *u = c->state;
    if (rc == RC_OK) {
        conclude(c, schema);
        return;
    }
    manifest_free(&u->manifest);
    if (rc == RC_INVALID)
        answer_problem(c, &u->problem);
    else
        answer_edit_failed(c, rc, message);
}

static void on_discovered(void *ctx, const struct admin_discovery_result *result)
{
    struct admin_call *c = ctx;
    struct update *u = c->state;
    if (!discovery_manifest(c, result, u->request.kind == DEPLOYMENT_LAMBDA, &u->manifest, &u->problem)) {
        answer_problem(c, &u->problem);
        return;
    }
    u->found = (struct schema_discovered){
        .http_1_1 = result->http_1_1,
        .sdk_version = result->sdk_version[0] ? arena_copy_text(&c->arena, result->sdk_version) : NULL,
        .manifest = &u->manifest,
    };
    c->edit.plan = plan;
    c->edit.done = on_edited;
    if (!u->dry_run) {
        if (schema_store_edit(c->admin->deps.schema, &c->edit)) {
            manifest_free(&u->manifest);
            answer_edit_failed(c, RC_OVERLOADED, "");
        }
        return;
    }
    struct schema_change change;
    if (!plan(&c->edit, call_schema(c), &change)) {
        manifest_free(&u->manifest);
        answer_problem(c, &u->problem);
        return;
    }
    struct schema *next = schema_ref(change.next);
    schema_change_free(&change);
    conclude(c, next);
    schema_unref(next);
}

/* The wish in the body laid over what is stored. `*asked`: there is anything to do at all. False after having
 * answered. */
static bool read_request(struct admin_call *c, const json_t *body, const struct schema_deployment *d,
                         struct update *u, bool *asked)
{
    const char *uri, *arn, *role;
    struct schema_header *headers;
    size_t n_headers;
    bool headers_given, use_http_11 = d->http_1_1;
    if (!call_json_text(c, body, "uri", &uri) || !call_json_text(c, body, "arn", &arn) ||
        !call_json_text(c, body, "assume_role_arn", &role) ||
        !call_json_headers(c, body, &headers, &n_headers, &headers_given) ||
        !call_json_flag(c, body, "use_http_11", &use_http_11) ||
        !call_json_flag(c, body, "overwrite", &u->request.overwrite) ||
        !call_json_flag(c, body, "dry_run", &u->dry_run))
        return false;
    bool http_wish = uri || json_object_get(body, "uri") != NULL, lambda_wish = !http_wish && (arn || role);
    bool lambda = d->kind == DEPLOYMENT_LAMBDA;
    if ((lambda && http_wish && !uri) || (!lambda && lambda_wish && !arn)) {
        answer_error(c, 400,
                     "cannot update the deployment, as the deployment type is %s while the update options "
                     "are for type %s",
                     lambda ? "lambda" : "http", lambda ? "http" : "lambda");
        return false;
    }
    if ((uri && !call_json_uri(c, uri, &uri)) || (lambda_wish && arn && !call_json_arn(c, arn)))
        return false;
    u->request.kind = uri ? DEPLOYMENT_HTTP : lambda_wish && arn ? DEPLOYMENT_LAMBDA : d->kind;
    bool now_http = u->request.kind == DEPLOYMENT_HTTP;
    u->request.uri = now_http ? (uri ? uri : d->uri) : NULL;
    u->request.arn = now_http ? NULL : (arn ? arn : d->arn);
    u->request.assume_role_arn = now_http ? NULL : (role ? role : d->assume_role_arn);
    u->request.headers = headers_given ? headers : d->headers;
    u->request.n_headers = headers_given ? n_headers : d->n_headers;
    u->discovery.use_http_11 = use_http_11;
    *asked = uri || lambda_wish || headers_given || u->request.overwrite ||
             (now_http && json_member(body, "use_http_11") != NULL);
    return true;
}

/* The stored values may be gone when discovery has ended: keep copies. */
static void keep(struct admin_call *c, struct update *u)
{
    struct schema_update *r = &u->request;
    struct schema_header *headers = arena_array(&c->arena, struct schema_header, r->n_headers + 1);
    for (size_t i = 0; i < r->n_headers; i++)
        headers[i] = (struct schema_header){arena_copy_text(&c->arena, r->headers[i].name),
                                            arena_copy_text(&c->arena, r->headers[i].value)};
    r->headers = headers;
    r->uri = arena_copy_text(&c->arena, r->uri);
    r->arn = arena_copy_text(&c->arena, r->arn);
    r->assume_role_arn = arena_copy_text(&c->arena, r->assume_role_arn);
    u->discovery.uri = r->uri;
    u->discovery.arn = r->arn;
    u->discovery.assume_role_arn = r->assume_role_arn;
    u->discovery.headers = headers;
    u->discovery.n_headers = r->n_headers;
}

void handle_patch_deployment(struct admin_call *c)
{
    struct update *u = arena_array(&c->arena, struct update, 1);
    c->state = u;
    if (!call_deployment_id(c, 0, &u->id))
        return;
    json_t *body = call_json_object(c);
    if (!body)
        return;
    const struct schema_deployment *d = schema_deployment(call_schema(c), u->id);
    if (!d) {
        answer_deployment_missing(c, u->id);
        return;
    }
    bool asked;
    if (!read_request(c, body, d, u, &asked))
        return;
    if (!asked) {
        answer_detail(c, d);
        return;
    }
    keep(c, u);
    c->admin->deps.discovery.discover(c->admin->deps.discovery.ctx, &u->discovery, on_discovered, c);
}

void handle_put_deployment(struct admin_call *c)
{
    if (c->api_version == 2)
        handle_patch_deployment(c);
    else
        answer_error(c, 405, "PUT deployment is deprecated, use PATCH instead");
}

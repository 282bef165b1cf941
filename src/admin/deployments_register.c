/* POST /deployments: discover an endpoint and register what it announces (spec/admin-api.md §7.3). */
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "wire/id.h"

struct registration {
    struct schema_register request;
    struct admin_discovery_request discovery;
    bool dry_run;
    struct u128 fresh_id;
    uint64_t now_ms;
    /* after discovery */
    struct manifest manifest;
    struct schema_discovered found;
    struct problem problem;
    enum schema_register_outcome outcome;
    struct u128 id;
    bool unchanged; /* somebody else registered it while we were discovering */
};

static const struct schema_deployment *find_same(struct admin_call *c, const struct schema *s)
{
    struct registration *r = c->state;
    const struct admin_config *config = &c->admin->deps.config;
    return schema_find_same(s, &r->request, config->routing_headers, config->n_routing_headers);
}

/* ---- answers ---- */

static void answer_deployment(struct admin_call *c, int status, const struct schema_deployment *d)
{
    char id[RESOURCE_ID_TEXT_MAX], location[RESOURCE_ID_TEXT_MAX + 16] = "deployments/";
    resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
    strcat(location, id);
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_deployment_registered(&o, d, c->admin->deps.defaults);
    answer_json(c, status, &w, location);
}

static void answer_unchanged(struct admin_call *c, const struct schema_deployment *d)
{
    if (c->api_version != 2) {
        answer_deployment(c, 200, d);
        return;
    }
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
    answer_error(c, 409, "Conflict: deployment %s already exists", id);
}

/* `schema` contains the deployment, stored or (dry run) as it would be. */
static void answer_registered(struct admin_call *c, const struct schema *schema)
{
    struct registration *r = c->state;
    const struct schema_deployment *d = schema_deployment(schema, r->id);
    manifest_free(&r->manifest);
    if (!d)
        answer_edit_failed(c, RC_CONFLICT, "the deployment was removed while it was being registered");
    else if (r->unchanged)
        answer_unchanged(c, d);
    else
        answer_deployment(c, r->outcome == SCHEMA_CREATED || c->api_version == 2 ? 201 : 200, d);
}

/* ---- the edit ---- */

static bool plan(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct registration *r = c->state;
    const struct schema_deployment *same = find_same(c, current);
    r->unchanged = same && !r->request.overwrite;
    if (r->unchanged) {
        memset(out, 0, sizeof(*out));
        r->id = same->id;
        return true;
    }
    return schema_register(current, &r->request, same, &r->found, r->now_ms, r->fresh_id, out, &r->outcome,
                           &r->id, &r->problem);
}

static void on_edited(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct registration *r = c->state;
    if (rc == RC_OK) {
        answer_registered(c, schema);
        return;
    }
    manifest_free(&r->manifest);
    if (rc == RC_INVALID)
        answer_problem(c, &r->problem);
    else
        answer_edit_failed(c, rc, message);
}

static void dry_run(struct admin_call *c)
{
    struct registration *r = c->state;
    struct schema_change change;
    if (!plan(&c->edit, call_schema(c), &change)) {
        manifest_free(&r->manifest);
        answer_problem(c, &r->problem);
        return;
    }
    struct schema *next = change.next ? schema_ref(change.next) : schema_ref(call_schema(c));
    schema_change_free(&change);
    answer_registered(c, next);
    schema_unref(next);
}

static void on_discovered(void *ctx, const struct admin_discovery_result *result)
{
    struct admin_call *c = ctx;
    struct registration *r = c->state;
    if (!discovery_manifest(c, result, r->request.kind == DEPLOYMENT_LAMBDA, &r->manifest, &r->problem)) {
        answer_problem(c, &r->problem);
        return;
    }
    r->found = (struct schema_discovered){
        .http_1_1 = result->http_1_1,
        .sdk_version = result->sdk_version[0] ? arena_copy_text(&c->arena, result->sdk_version) : NULL,
        .manifest = &r->manifest,
    };
    r->now_ms = env_wall_ms(c->admin->deps.env);
    struct u128 random = call_random_id(c);
    r->fresh_id = ulid_make(r->now_ms, random.hi, random.lo);
    c->edit.plan = plan;
    c->edit.done = on_edited;
    if (r->dry_run) {
        dry_run(c);
    } else if (schema_store_edit(c->admin->deps.schema, &c->edit)) {
        manifest_free(&r->manifest);
        answer_edit_failed(c, RC_OVERLOADED, "");
    }
}

/* ---- the request ---- */

static bool read_metadata(struct admin_call *c, const json_t *body, struct registration *r)
{
    json_t *metadata;
    if (!call_json_texts(c, body, "metadata", &metadata))
        return false;
    if (metadata && json_object_size(metadata)) {
        char *text = json_text_of(metadata);
        r->request.metadata_json = arena_copy_text(&c->arena, text);
        free(text);
    }
    return true;
}

static bool read_address(struct admin_call *c, const json_t *body, struct registration *r)
{
    const json_t *uri = json_object_get(body, "uri");
    const char *text;
    if (json_is_string(uri)) {
        r->request.kind = DEPLOYMENT_HTTP;
        return call_json_text(c, body, "uri", &text) && call_json_uri(c, text, &r->request.uri);
    }
    if (!json_is_string(json_object_get(body, "arn"))) {
        answer_bad_shape(c, "", "expected a string `uri` (HTTP endpoint) or a string `arn` (AWS Lambda)");
        return false;
    }
    r->request.kind = DEPLOYMENT_LAMBDA;
    return call_json_text(c, body, "arn", &r->request.arn) &&
           call_json_text(c, body, "assume_role_arn", &r->request.assume_role_arn) &&
           call_json_arn(c, r->request.arn);
}

static bool read_request(struct admin_call *c, const json_t *body, struct registration *r)
{
    bool force = c->api_version == 2, use_http_11 = false, present;
    struct schema_header *headers;
    if (!read_address(c, body, r) || !call_json_headers(c, body, &headers, &r->request.n_headers, &present) ||
        !read_metadata(c, body, r) || !call_json_flag(c, body, "use_http_11", &use_http_11) ||
        !call_json_flag(c, body, "breaking", &r->request.breaking) ||
        !call_json_flag(c, body, "force", &force) || !call_json_flag(c, body, "dry_run", &r->dry_run))
        return false;
    if (json_member(body, "auth")) {
        answer_not_implemented(c, "Authentication of deployments with Google ID tokens (field 'auth') is");
        return false;
    }
    r->request.headers = headers;
    r->request.overwrite = force;
    r->discovery = (struct admin_discovery_request){.uri = r->request.uri,
                                                    .arn = r->request.arn,
                                                    .assume_role_arn = r->request.assume_role_arn,
                                                    .use_http_11 = use_http_11,
                                                    .headers = headers,
                                                    .n_headers = r->request.n_headers};
    return true;
}

void handle_register_deployment(struct admin_call *c)
{
    struct registration *r = arena_array(&c->arena, struct registration, 1);
    c->state = r;
    json_t *body = call_json_object(c);
    if (!body || !read_request(c, body, r))
        return;
    const struct schema_deployment *same = find_same(c, call_schema(c));
    if (same && !r->request.overwrite) {
        answer_unchanged(c, same);
        return;
    }
    c->admin->deps.discovery.discover(c->admin->deps.discovery.ctx, &r->discovery, on_discovered, c);
}

/* Edits of the schema: see schema_edit.h. An edit writes the record of the deployment as it shall be and then
 * reads that very text back into the next snapshot, so that what is stored and what is used cannot differ. */
#include "metadata/schema_edit.h"

#include <stdlib.h>
#include <string.h>

#include "metadata/deployment_uri.h"
#include "metadata/schema_internal.h"
#include "wire/id.h"

void schema_change_free(struct schema_change *c)
{
    schema_unref(c->next);
    for (size_t i = 0; i < c->ops.len; i++) {
        free(c->ops.items[i].key);
        free(c->ops.items[i].value);
    }
    VEC_FREE(&c->ops);
    c->next = NULL;
}

static void add_op(struct schema_change *c, char *key, char *value)
{
    struct schema_op op = {key, value};
    VEC_PUSH(&c->ops, op);
}

static char *deployment_key(struct u128 id)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, id, text);
    return xasprintf("%s%s", SCHEMA_DEPLOYMENT_PREFIX, text);
}

static char *options_key(struct u128 id, const char *service)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, id, text);
    return xasprintf("%s%s/%s", SCHEMA_OPTIONS_PREFIX, text, service);
}

static struct deployment_box *find_box(const struct schema *s, struct u128 id)
{
    struct deployment_box *const *boxes;
    size_t n = schema_boxes(s, &boxes);
    for (size_t i = 0; i < n; i++)
        if (u128_eq(boxes[i]->d.id, id))
            return boxes[i];
    return NULL;
}

/* The next snapshot: all boxes but the one with this id, plus `add` (taken; may be NULL). */
static struct schema *replace_box(const struct schema *s, struct u128 id, struct deployment_box *add)
{
    struct deployment_box *const *boxes;
    size_t n = schema_boxes(s, &boxes), kept = 0;
    struct deployment_box **next = xcalloc(n + 1, sizeof(struct deployment_box *));
    for (size_t i = 0; i < n; i++)
        if (!u128_eq(boxes[i]->d.id, id))
            next[kept++] = deployment_box_ref(boxes[i]);
    if (add)
        next[kept++] = add;
    struct kafka_box *const *kafka;
    size_t n_kafka = schema_kafka_boxes(s, &kafka);
    for (size_t i = 0; i < n_kafka; i++)
        kafka_box_ref(kafka[i]);
    struct schema *out = schema_build(schema_version(s) + 1, next, kept, kafka, n_kafka);
    free(next);
    return out;
}

/* Put the record into the change and its deployment into the next snapshot. Options that no longer apply are
 * dropped from both. */
static bool finish(const struct schema *s, struct u128 id, char *record_take,
                   const struct options_record *patches, size_t n_patches, struct schema_change *out,
                   struct problem *p)
{
    struct err err = {0};
    struct deployment_box *box;
    if (deployment_box_new(slice_cstr(record_take), patches, n_patches, &box, &err)) {
        free(record_take);
        return problem_set(p, 500, NULL, "Internal server error: %s", err.msg);
    }
    add_op(out, deployment_key(id), record_take);
    const struct deployment_box *old = find_box(s, id);
    for (size_t i = 0; old && i < old->n_patches; i++) {
        bool kept = false;
        for (size_t j = 0; j < box->n_patches; j++)
            kept = kept || strcmp(box->patches[j].service, old->patches[i].service) == 0;
        if (!kept)
            add_op(out, options_key(id, old->patches[i].service), NULL);
    }
    out->next = replace_box(s, id, box);
    return true;
}

/* ---- same deployment (§7.1) ---- */

static const char *header_value(const struct schema_header *headers, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(headers[i].name, name) == 0)
            return headers[i].value;
    return "";
}

static bool is_same(const struct schema_deployment *d, const struct schema_register *r,
                    const char *const *routing, size_t n_routing)
{
    if (d->kind != r->kind)
        return false;
    if (d->kind == DEPLOYMENT_LAMBDA)
        return strcmp(d->arn, r->arn) == 0;
    if (!deployment_uri_same(d->uri, r->uri))
        return false;
    for (size_t i = 0; i < n_routing; i++)
        if (strcmp(header_value(d->headers, d->n_headers, routing[i]),
                   header_value(r->headers, r->n_headers, routing[i])) != 0)
            return false;
    return true;
}

const struct schema_deployment *schema_find_same(const struct schema *s, const struct schema_register *r,
                                                 const char *const *routing_headers, size_t n_routing_headers)
{
    const struct schema_deployment *const *list;
    for (size_t n = schema_deployments(s, &list); n > 0; n--)
        if (is_same(list[n - 1], r, routing_headers, n_routing_headers))
            return list[n - 1];
    return NULL;
}

/* ---- records ---- */

struct record_input {
    struct u128 id;
    enum deployment_kind kind;
    const char *uri, *arn, *assume_role_arn;
    const struct schema_header *headers;
    size_t n_headers;
    const char *metadata_json;
    uint64_t created_at_ms;
    const struct schema_discovered *found;
};

static void set_text(json_t *o, const char *key, const char *text)
{
    if (text)
        json_object_set_new(o, key, json_string(text));
}

static json_t *headers_json(const struct schema_header *headers, size_t n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, headers[i].name, json_string(headers[i].value));
    return o;
}

static void set_address(json_t *o, const struct record_input *in)
{
    bool http = in->kind == DEPLOYMENT_HTTP;
    json_object_set_new(o, "kind", json_string(http ? "http" : "lambda"));
    static const char *const all[] = {"uri", "http_1_1", "arn", "assume_role_arn", "zstd"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        json_object_del(o, all[i]);
    if (http) {
        set_text(o, "uri", in->uri);
        json_object_set_new(o, "http_1_1", json_boolean(in->found->http_1_1));
    } else {
        set_text(o, "arn", in->arn);
        set_text(o, "assume_role_arn", in->assume_role_arn);
        json_object_set_new(o, "zstd", json_boolean(in->found->manifest->lambda_zstd));
    }
    json_object_set_new(o, "request_response", json_boolean(in->found->manifest->request_response));
    json_object_del(o, "sdk_version");
    set_text(o, "sdk_version", in->found->sdk_version);
    json_object_set_new(o, "headers", headers_json(in->headers, in->n_headers));
}

static json_t *new_record(const struct record_input *in)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, in->id, id);
    json_t *o = json_object();
    json_object_set_new(o, "v", json_integer(1));
    json_object_set_new(o, "id", json_string(id));
    set_address(o, in);
    json_object_set_new(o, "min", json_integer(in->found->manifest->min_protocol_version));
    json_object_set_new(o, "max", json_integer(in->found->manifest->max_protocol_version));
    json_object_set_new(o, "created_at", json_integer((json_int_t)in->created_at_ms));
    if (in->metadata_json)
        json_object_set_new(o, "metadata", json_loads(in->metadata_json, 0, NULL));
    json_object_set_new(o, "services", json_array());
    return o;
}

static void add_service(json_t *record, const struct manifest_service *service, uint32_t revision)
{
    json_t *entry = json_object();
    json_object_set_new(entry, "revision", json_integer(revision));
    json_object_set_new(entry, "manifest", json_deep_copy(service->json));
    json_array_append_new(json_object_get(record, "services"), entry);
}

static char *record_text(json_t *record_take)
{
    char *text = json_dumps(record_take, JSON_COMPACT);
    ASSERT(text);
    json_decref(record_take);
    return text;
}

/* ---- checks of announced services, in the order of §7.3 ---- */

static bool announced_twice(const struct manifest *m, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(m->services[j].name, m->services[i].name) == 0)
            return true;
    return false;
}

static bool check_services(const struct schema *s, const struct manifest *m, bool allow_breaking,
                           struct problem *p)
{
    for (size_t i = 0; i < m->n_services; i++) {
        const char *name = m->services[i].name;
        if (!manifest_service_name_allowed(name, p))
            return false;
        const struct schema_service *latest = schema_service(s, slice_cstr(name));
        if (latest && latest->type != m->services[i].type && !allow_breaking)
            return problem_set(
                p, 409, "META0006",
                "detected a new service revision for '%s' changing the service type from previous "
                "revision. Service type cannot be changed across revisions.",
                name);
        if (announced_twice(m, i))
            return problem_set(p, 400, NULL, "the deployment announces the service '%s' more than once",
                               name);
        struct arena scratch = {0};
        struct schema_service built;
        bool good = manifest_service_build(&scratch, &m->services[i], &built, p);
        arena_free(&scratch);
        if (!good)
            return false;
    }
    return true;
}

bool schema_register(const struct schema *s, const struct schema_register *r,
                     const struct schema_deployment *same, const struct schema_discovered *found,
                     uint64_t now_ms, struct u128 new_id, struct schema_change *out,
                     enum schema_register_outcome *outcome, struct u128 *id, struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    if (!check_services(s, found->manifest, r->breaking || r->overwrite, problem))
        return false;
    const struct schema_deployment *replaced = r->overwrite ? same : NULL;
    *id = replaced ? replaced->id : new_id;
    *outcome = replaced ? SCHEMA_OVERWRITTEN : SCHEMA_CREATED;
    struct record_input in = {
        .id = *id,
        .kind = r->kind,
        .uri = r->uri,
        .arn = r->arn,
        .assume_role_arn = r->assume_role_arn,
        .headers = r->headers,
        .n_headers = r->n_headers,
        .metadata_json = r->metadata_json,
        .created_at_ms = now_ms,
        .found = found,
    };
    json_t *record = new_record(&in);
    for (size_t i = 0; i < found->manifest->n_services; i++) {
        const struct manifest_service *ms = &found->manifest->services[i];
        const struct schema_service *latest = schema_service(s, slice_cstr(ms->name));
        add_service(record, ms, latest ? latest->revision + 1 : 1);
    }
    return finish(s, *id, record_text(record), NULL, 0, out, problem);
}

static bool deployment_missing(struct u128 id, struct problem *p)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, id, text);
    return problem_set(p, 404, NULL, "not found in the schema registry: deployment with id '%s'", text);
}

bool schema_update_deployment(const struct schema *s, struct u128 id, const struct schema_update *u,
                              const struct schema_discovered *found, struct schema_change *out,
                              struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct deployment_box *old = find_box(s, id);
    if (!old)
        return deployment_missing(id, problem);
    const struct manifest *m = found->manifest;
    if (m->min_protocol_version != old->d.min_protocol_version ||
        m->max_protocol_version != old->d.max_protocol_version)
        return problem_set(
            problem, 400, "META0016",
            "an update deployment operation must provide an endpoint with the same services and "
            "handlers. The update tried to change the supported protocol versions from %u..=%u to "
            "%u..=%u",
            old->d.min_protocol_version, old->d.max_protocol_version, m->min_protocol_version,
            m->max_protocol_version);
    if (u->overwrite && !check_services(s, m, true, problem))
        return false;
    json_t *record = json_loads(old->record_json, 0, NULL);
    ASSERT(record);
    struct record_input in = {.kind = u->kind,
                              .uri = u->uri,
                              .arn = u->arn,
                              .assume_role_arn = u->assume_role_arn,
                              .headers = u->headers,
                              .n_headers = u->n_headers,
                              .found = found};
    set_address(record, &in);
    if (u->overwrite) {
        json_object_set_new(record, "services", json_array());
        for (size_t i = 0; i < m->n_services; i++) {
            const struct schema_service *before =
                schema_deployment_service(&old->d, slice_cstr(m->services[i].name));
            add_service(record, &m->services[i], before ? before->revision : 1);
        }
    }
    return finish(s, id, record_text(record), old->patches, old->n_patches, out, problem);
}

bool schema_delete_deployment(const struct schema *s, struct u128 id, struct schema_change *out,
                              struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct deployment_box *old = find_box(s, id);
    if (!old)
        return deployment_missing(id, problem);
    add_op(out, deployment_key(id), NULL);
    for (size_t i = 0; i < old->n_patches; i++)
        add_op(out, options_key(id, old->patches[i].service), NULL);
    out->next = replace_box(s, id, NULL);
    return true;
}

/* ---- PATCH /services ---- */

void schema_service_patch_init(struct schema_service_patch *p)
{
    *p = (struct schema_service_patch){-1,           OPTION_UNSET, OPTION_UNSET,
                                       OPTION_UNSET, OPTION_UNSET, OPTION_UNSET};
}

bool schema_service_patch_empty(const struct schema_service_patch *p)
{
    return p->is_public < 0 && p->idempotency_retention_ms == OPTION_UNSET &&
           p->workflow_completion_retention_ms == OPTION_UNSET && p->journal_retention_ms == OPTION_UNSET &&
           p->inactivity_timeout_ms == OPTION_UNSET && p->abort_timeout_ms == OPTION_UNSET;
}

static void set_ms(json_t *o, const char *key, uint64_t ms)
{
    if (ms != OPTION_UNSET)
        json_object_set_new(o, key, json_integer((json_int_t)MIN(ms, (uint64_t)INT64_MAX)));
}

static char *patched_options(const struct options_record *before, uint32_t revision,
                             const struct schema_service_patch *patch)
{
    json_t *o = before ? json_loads(before->json, 0, NULL) : json_object();
    ASSERT(o);
    json_object_set_new(o, "v", json_integer(1));
    json_object_set_new(o, "revision", json_integer(revision));
    if (patch->is_public >= 0)
        json_object_set_new(o, "public", json_boolean(patch->is_public));
    set_ms(o, "idempotency_retention_ms", patch->idempotency_retention_ms);
    set_ms(o, "workflow_completion_retention_ms", patch->workflow_completion_retention_ms);
    set_ms(o, "journal_retention_ms", patch->journal_retention_ms);
    set_ms(o, "inactivity_timeout_ms", patch->inactivity_timeout_ms);
    set_ms(o, "abort_timeout_ms", patch->abort_timeout_ms);
    return record_text(o);
}

bool schema_patch_service(const struct schema *s, struct slice service,
                          const struct schema_service_patch *patch, struct schema_change *out,
                          struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    const struct schema_service *latest = schema_service(s, service);
    if (!latest)
        return problem_set(problem, 404, NULL, "not found in the schema registry: service with name '%.*s'",
                           SLICE_FMT(service));
    if (patch->workflow_completion_retention_ms != OPTION_UNSET && latest->type != SERVICE_WORKFLOW)
        return problem_set(problem, 400, NULL, "modifying retention time for service type %s is unsupported",
                           service_type_name(latest->type));
    const struct deployment_box *old = find_box(s, latest->deployment->id);
    ASSERT(old);
    struct options_record *patches = xcalloc(old->n_patches + 1, sizeof(*patches));
    size_t n = 0;
    const struct options_record *before = NULL;
    for (size_t i = 0; i < old->n_patches; i++) {
        if (strcmp(old->patches[i].service, latest->name) == 0)
            before = &old->patches[i];
        else
            patches[n++] = old->patches[i];
    }
    char *json = patched_options(before, latest->revision, patch);
    patches[n++] = (struct options_record){latest->name, json};
    struct err err = {0};
    struct deployment_box *box;
    enum rc rc = deployment_box_new(slice_cstr(old->record_json), patches, n, &box, &err);
    free(patches);
    if (rc) {
        free(json);
        return problem_set(problem, 500, NULL, "Internal server error: %s", err.msg);
    }
    add_op(out, options_key(latest->deployment->id, latest->name), json);
    out->next = replace_box(s, latest->deployment->id, box);
    return true;
}

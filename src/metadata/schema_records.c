/* Reading of the schema's records: see schema_records.h for the keys. A record is validated in full before it
 * becomes part of a snapshot; the services inside are the manifest's own JSON and go through the manifest's
 * checks again. */
#include "metadata/schema_records.h"

#include <stdlib.h>

#include "metadata/schema_internal.h"
#include "wire/id.h"

#define RECORD_FORMAT 1

static bool read_u64(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_member(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool read_u32(const json_t *o, const char *key, uint32_t *out)
{
    uint64_t v;
    if (!read_u64(o, key, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

static const char *read_text(struct arena *a, const json_t *o, const char *key)
{
    return arena_copy_text(a, json_string_value(json_member(o, key)));
}

static enum rc read_headers(struct deployment_box *b, const json_t *o, struct err *err)
{
    const json_t *headers = json_member(o, "headers");
    if (!headers)
        return RC_OK;
    if (!json_is_object(headers))
        return err_set(err, RC_INVALID, "headers");
    struct schema_header *items = arena_array(&b->arena, struct schema_header, json_object_size(headers) + 1);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)headers, key, value)
    {
        if (!json_is_string(value))
            return err_set(err, RC_INVALID, "headers");
        items[b->d.n_headers++] = (struct schema_header){
            arena_copy_text(&b->arena, key), arena_copy_text(&b->arena, json_string_value(value))};
    }
    b->d.headers = items;
    return RC_OK;
}

static enum rc read_address(struct deployment_box *b, const json_t *o, struct err *err)
{
    const char *kind = json_string_value(json_member(o, "kind"));
    if (kind && strcmp(kind, "http") == 0) {
        b->d.kind = DEPLOYMENT_HTTP;
        b->d.uri = read_text(&b->arena, o, "uri");
        b->d.http_1_1 = json_is_true(json_object_get(o, "http_1_1"));
        return b->d.uri ? RC_OK : err_set(err, RC_INVALID, "uri");
    }
    if (kind && strcmp(kind, "lambda") == 0) {
        b->d.kind = DEPLOYMENT_LAMBDA;
        b->d.arn = read_text(&b->arena, o, "arn");
        b->d.assume_role_arn = read_text(&b->arena, o, "assume_role_arn");
        b->d.lambda_zstd = json_is_true(json_object_get(o, "zstd"));
        return b->d.arn ? RC_OK : err_set(err, RC_INVALID, "arn");
    }
    return err_set(err, RC_INVALID, "kind");
}

static enum rc read_deployment(struct deployment_box *b, const json_t *o, struct err *err)
{
    const char *id = json_string_value(json_member(o, "id"));
    if (!id || resource_id_parse(RESOURCE_DEPLOYMENT, slice_cstr(id), &b->d.id) != ID_OK)
        return err_set(err, RC_INVALID, "id");
    if (read_address(b, o, err))
        return RC_INVALID;
    b->d.request_response = json_is_true(json_object_get(o, "request_response"));
    if (!read_u32(o, "min", &b->d.min_protocol_version) || !read_u32(o, "max", &b->d.max_protocol_version) ||
        !read_u64(o, "created_at", &b->d.created_at_ms))
        return err_set(err, RC_INVALID, "min, max or created_at");
    b->d.sdk_version = read_text(&b->arena, o, "sdk_version");
    const json_t *metadata = json_member(o, "metadata");
    if (json_is_object(metadata) && json_object_size(metadata)) {
        char *text = json_text_of(metadata);
        b->d.metadata_json = arena_copy_text(&b->arena, text);
        free(text);
    }
    return read_headers(b, o, err);
}

static enum rc read_services(struct deployment_box *b, const json_t *o, struct err *err)
{
    const json_t *services = json_member(o, "services");
    if (!json_is_array(services))
        return err_set(err, RC_INVALID, "services");
    size_t n = json_array_size(services);
    const struct schema_service **list = arena_array(&b->arena, const struct schema_service *, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(services, i);
        struct manifest_service shape;
        struct schema_service *s = arena_array(&b->arena, struct schema_service, 1);
        struct problem problem;
        if (!json_is_object(json_object_get(entry, "manifest")))
            return err_set(err, RC_INVALID, "manifest of a service");
        if (manifest_service_shape(json_object_get(entry, "manifest"), &shape, err))
            return RC_INVALID;
        if (!manifest_service_build(&b->arena, &shape, s, &problem))
            return err_set(err, RC_INVALID, "%.400s", problem.message);
        if (!read_u32(entry, "revision", &s->revision) || s->revision == 0)
            return err_set(err, RC_INVALID, "revision of service '%.100s'", s->name);
        s->deployment = &b->d;
        if (schema_deployment_service(&b->d, slice_cstr(s->name)))
            return err_set(err, RC_INVALID, "service '%.100s' stands twice", s->name);
        list[i] = s;
        b->d.services = list;
        b->d.n_services = i + 1;
    }
    b->d.services = list;
    return RC_OK;
}

static bool patch_option(const json_t *o, const char *key, uint64_t *option)
{
    return !json_member(o, key) || read_u64(o, key, option);
}

static enum rc apply_options(struct deployment_box *b, const struct options_record *r, bool *in_force,
                             struct err *err)
{
    *in_force = false;
    json_t *o = json_loads(r->json, JSON_REJECT_DUPLICATES, NULL);
    uint32_t format = 0, revision = 0;
    bool good = json_is_object(o) && read_u32(o, "v", &format) && format == RECORD_FORMAT &&
                read_u32(o, "revision", &revision);
    struct schema_service *s =
        (struct schema_service *)schema_deployment_service(&b->d, slice_cstr(r->service));
    if (good && s && s->revision == revision) {
        const json_t *is_public = json_member(o, "public");
        good = (!is_public || json_is_boolean(is_public)) &&
               patch_option(o, "idempotency_retention_ms", &s->options.idempotency_retention_ms) &&
               patch_option(o, "workflow_completion_retention_ms",
                            &s->options.workflow_completion_retention_ms) &&
               patch_option(o, "journal_retention_ms", &s->options.journal_retention_ms) &&
               patch_option(o, "inactivity_timeout_ms", &s->options.inactivity_timeout_ms) &&
               patch_option(o, "abort_timeout_ms", &s->options.abort_timeout_ms);
        if (good && is_public)
            s->is_public = json_is_true(is_public);
        *in_force = good;
    }
    json_decref(o);
    return good ? RC_OK : err_set(err, RC_INVALID, "options of service '%.100s'", r->service);
}

static enum rc fill_box(struct deployment_box *b, struct slice record_json,
                        const struct options_record *patches, size_t n_patches, struct err *err)
{
    json_error_t parse;
    if (record_json.len && memchr(record_json.ptr, '\0', record_json.len))
        return err_set(err, RC_INVALID, "NUL inside"); /* the text is used as a C string later */
    json_t *o = json_loadb((const char *)record_json.ptr, record_json.len, JSON_REJECT_DUPLICATES, &parse);
    if (!o)
        return err_set(err, RC_INVALID, "%.200s", parse.text);
    uint32_t format;
    enum rc rc = RC_OK;
    if (!read_u32(o, "v", &format) || format != RECORD_FORMAT)
        rc = err_set(err, RC_INVALID, "a format of another version of this server");
    if (!rc)
        rc = read_deployment(b, o, err);
    if (!rc)
        rc = read_services(b, o, err);
    json_decref(o);
    b->record_json = arena_copy_slice(&b->arena, record_json);
    b->patches = arena_array(&b->arena, struct options_record, n_patches + 1);
    for (size_t i = 0; !rc && i < n_patches; i++) {
        bool in_force;
        rc = apply_options(b, &patches[i], &in_force, err);
        if (in_force)
            b->patches[b->n_patches++] = (struct options_record){
                arena_copy_text(&b->arena, patches[i].service), arena_copy_text(&b->arena, patches[i].json)};
    }
    return rc;
}

enum rc deployment_box_new(struct slice record_json, const struct options_record *patches, size_t n_patches,
                           struct deployment_box **out, struct err *err)
{
    struct arena arena = {0};
    struct deployment_box *b = arena_array(&arena, struct deployment_box, 1);
    b->arena = arena;
    b->refs = 1;
    enum rc rc = fill_box(b, record_json, patches, n_patches, err);
    if (rc) {
        deployment_box_unref(b);
        return rc;
    }
    *out = b;
    return RC_OK;
}

/* The options records of one deployment: keys schema/options/<id>/<service>. */
static size_t collect_options(const struct schema_record *records, size_t n, struct slice id,
                              struct options_record *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        struct slice prefix = SLICE_LIT(SCHEMA_OPTIONS_PREFIX);
        if (!slice_starts_with(records[i].key, prefix))
            continue;
        struct slice rest = slice_sub(records[i].key, prefix.len, records[i].key.len - prefix.len);
        if (rest.len <= id.len + 1 || !slice_starts_with(rest, id) || rest.ptr[id.len] != '/')
            continue;
        out[found++] =
            (struct options_record){slice_dup_cstr(slice_sub(rest, id.len + 1, rest.len - id.len - 1)),
                                    slice_dup_cstr(records[i].value)};
    }
    return found;
}

static enum rc decode_one(const struct schema_record *records, size_t n, const struct schema_record *r,
                          struct deployment_box **out, struct err *err)
{
    struct slice prefix = SLICE_LIT(SCHEMA_DEPLOYMENT_PREFIX);
    struct slice id = slice_sub(r->key, prefix.len, r->key.len - prefix.len);
    struct options_record *patches = xcalloc(n + 1, sizeof(*patches));
    size_t n_patches = collect_options(records, n, id, patches);
    enum rc rc = deployment_box_new(r->value, patches, n_patches, out, err);
    for (size_t i = 0; i < n_patches; i++) {
        free((char *)patches[i].service);
        free((char *)patches[i].json);
    }
    free(patches);
    if (rc)
        return rc;
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, (*out)->d.id, text);
    if (slice_eq_cstr(id, text))
        return RC_OK;
    deployment_box_unref(*out);
    return err_set(err, RC_INVALID, "it holds the deployment %s", text);
}

struct decoded {
    struct deployment_box **boxes;
    struct kafka_box **kafka;
    size_t n_boxes, n_kafka;
};

static bool stands_twice(const struct schema_record *records, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (slice_eq(records[j].key, records[i].key))
            return true;
    return false;
}

/* Records with other keys are ignored; options were read with their deployment. */
static enum rc decode_record(const struct schema_record *records, size_t n, size_t i, struct decoded *d,
                             struct err *err)
{
    const struct schema_record *r = &records[i];
    bool deployment = slice_starts_with(r->key, SLICE_LIT(SCHEMA_DEPLOYMENT_PREFIX));
    struct err why = {0};
    if (!deployment && !kafka_box_key(r->key))
        return RC_OK;
    if (stands_twice(records, i))
        return err_set(err, RC_CORRUPT, "the metadata record %.*s stands twice",
                       (int)MIN(r->key.len, (size_t)120), (const char *)r->key.ptr);
    enum rc rc = deployment ? decode_one(records, n, r, &d->boxes[d->n_boxes], &why)
                            : kafka_box_new(r->key, r->value, &d->kafka[d->n_kafka], &why);
    if (rc)
        return err_set(err, RC_CORRUPT, "the metadata record %.*s cannot be read: %s",
                       (int)MIN(r->key.len, (size_t)120), (const char *)r->key.ptr, why.msg);
    d->n_boxes += deployment;
    d->n_kafka += !deployment;
    return RC_OK;
}

enum rc schema_decode(const struct schema_record *records, size_t n, uint32_t version, struct schema **out,
                      struct err *err)
{
    struct decoded d = {.boxes = xcalloc(n + 1, sizeof(struct deployment_box *)),
                        .kafka = xcalloc(n + 1, sizeof(struct kafka_box *))};
    enum rc rc = RC_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = decode_record(records, n, i, &d, err);
    if (rc) {
        while (d.n_boxes)
            deployment_box_unref(d.boxes[--d.n_boxes]);
        while (d.n_kafka)
            kafka_box_unref(d.kafka[--d.n_kafka]);
    } else {
        *out = schema_build(version, d.boxes, d.n_boxes, d.kafka, d.n_kafka);
    }
    free(d.boxes);
    free(d.kafka);
    return rc;
}

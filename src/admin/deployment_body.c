/* What the bodies of registration and update have in common: addresses, headers, and the way from a discovery
 * answer to a manifest (spec/admin-api.md §7.3, §7.5). */
#include <stdio.h>

#include "admin/admin_internal.h"
#include "metadata/deployment_uri.h"
#include "wire/id.h"

static bool is_token_char(unsigned char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (ch && strchr("!#$%&'*+-.^_`|~", ch));
}

static bool name_valid(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++)
        if (!is_token_char((unsigned char)*name))
            return false;
    return true;
}

static bool value_valid(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

static struct schema_header *find(struct schema_header *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

bool call_json_headers(struct admin_call *c, const json_t *o, struct schema_header **out, size_t *n,
                       bool *present)
{
    json_t *object;
    *n = 0;
    *out = NULL;
    if (!call_json_texts(c, o, "additional_headers", &object))
        return false;
    *present = object != NULL;
    if (!object)
        return true;
    struct schema_header *list = arena_array(&c->arena, struct schema_header, json_object_size(object) + 1);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!name_valid(key) || !value_valid(json_string_value(value))) {
            answer_bad_shape(c, "additional_headers",
                             name_valid(key) ? "invalid HTTP header value" : "invalid HTTP header name");
            return false;
        }
        char *name = arena_copy_text(&c->arena, key);
        for (char *p = name; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p += 32;
        struct schema_header *slot = find(list, *n, name);
        if (!slot)
            slot = &list[(*n)++];
        *slot = (struct schema_header){name, json_string_value(value)};
    }
    *out = list;
    return true;
}

bool call_json_uri(struct admin_call *c, const char *uri, const char **out)
{
    struct writer w = WRITER_INIT;
    struct err err = {0};
    enum rc rc = deployment_uri_normalize(slice_cstr(uri), &w, &err);
    if (rc == RC_OK)
        *out = arena_copy_slice(&c->arena, writer_slice(&w));
    else if (rc == RC_NOT_FOUND)
        answer_error(c, 400,
                     "The request field 'uri' is invalid. Reason: The provided uri %s is not absolute, only "
                     "absolute URIs "
                     "can be used.",
                     uri);
    else
        answer_bad_shape(c, "uri", err.msg);
    writer_free(&w);
    return rc == RC_OK;
}

bool call_json_arn(struct admin_call *c, const char *arn)
{
    unsigned parts = 1;
    for (const char *p = arn; *p; p++)
        parts += *p == ':';
    if (parts == 8 && strncmp(arn, "arn:", 4) == 0 && arn[strlen(arn) - 1] != ':')
        return true;
    answer_error(c, 400,
                 "The request field 'arn' is invalid. Reason: expected a qualified Lambda function ARN with "
                 "8 parts separated "
                 "by colons, the last one being the version or alias");
    return false;
}

bool discovery_manifest(struct admin_call *c, const struct admin_discovery_result *r, bool lambda,
                        struct manifest *m, struct problem *p)
{
    if (r->rc)
        return problem_set(p, r->http_status ? r->http_status : 500, r->restate_code, "%s", r->message);
    return manifest_parse(r->manifest, r->sdk_version[0] ? r->sdk_version : NULL, lambda, m, p);
}

void answer_edit_failed(struct admin_call *c, enum rc rc, const char *message)
{
    if (rc == RC_OVERLOADED)
        answer_error(
            c, 503,
            "Too many changes of the schema are waiting, or the metadata is not loaded yet: try again.");
    else
        answer_error(c, 500, "Internal server error: %s", message[0] ? message : rc_name(rc));
}

void answer_deployment_missing(struct admin_call *c, struct u128 id)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, id, text);
    answer_error(c, 404, "The requested deployment '%s' does not exist", text);
}

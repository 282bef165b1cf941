/* Reading of requests: JSON bodies, query parameters, ids in paths, and the errors that the reference's
 * extractors answer (spec/admin-api.md §3 family C, §4). */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "admin/admin_internal.h"
#include "base/hash.h"
#include "base/time.h"

struct schema *call_schema(struct admin_call *c)
{
    return schema_store_current(c->admin->deps.schema);
}

struct u128 call_random_id(struct admin_call *c)
{
    struct env *env = c->admin->deps.env;
    return (struct u128){env_random(env), env_random(env)};
}

/* application/json or any +json type, parameters allowed. */
static bool is_json_type(const char *content_type)
{
    if (!content_type)
        return false;
    size_t n = strcspn(content_type, ";");
    while (n && (content_type[n - 1] == ' ' || content_type[n - 1] == '\t'))
        n--;
    struct slice type = slice_make(content_type, n);
    if (slice_eq_nocase(type, SLICE_LIT("application/json")))
        return true;
    struct slice suffix = SLICE_LIT("+json");
    return type.len > suffix.len &&
           slice_eq_nocase(slice_sub(type, 0, 12 < type.len ? 12 : 0), SLICE_LIT("application/")) &&
           slice_eq_nocase(slice_sub(type, type.len - suffix.len, suffix.len), suffix);
}

void answer_bad_shape(struct admin_call *c, const char *path, const char *reason)
{
    answer_text(c, 422,
                "Failed to deserialize the JSON body into the target type: %s%s%s at line 1 column %zu", path,
                path[0] ? ": " : "", reason, c->body.len);
}

json_t *call_json(struct admin_call *c)
{
    if (c->body_too_large) {
        answer_text(c, 413, "Failed to buffer the request body: length limit exceeded");
        return NULL;
    }
    if (!is_json_type(c->content_type)) {
        answer_text(c, 415, "Expected request with `Content-Type: application/json`");
        return NULL;
    }
    json_error_t parse;
    c->json = json_loadb((const char *)c->body.ptr, c->body.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &parse);
    if (!c->json) {
        answer_text(c, 400, "Failed to parse the request body as JSON: %s at line %d column %d", parse.text,
                    parse.line, parse.column);
        return NULL;
    }
    return c->json;
}

json_t *call_json_object(struct admin_call *c)
{
    json_t *body = call_json(c);
    if (body && !json_is_object(body)) {
        answer_bad_shape(c, "", "invalid type: expected an object");
        return NULL;
    }
    return body;
}

/* Texts go into C strings: one with NUL inside is not a name, address or id of ours. */
static bool plain_string(const json_t *v)
{
    return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

bool call_json_text(struct admin_call *c, const json_t *o, const char *key, const char **out)
{
    const json_t *v = json_member(o, key);
    *out = NULL;
    if (v && !plain_string(v)) {
        answer_bad_shape(c, key, "invalid type: expected a string");
        return false;
    }
    *out = json_string_value(v);
    return true;
}

bool call_json_flag(struct admin_call *c, const json_t *o, const char *key, bool *out)
{
    const json_t *v = json_member(o, key);
    if (v && !json_is_boolean(v)) {
        answer_bad_shape(c, key, "invalid type: expected a boolean");
        return false;
    }
    if (v)
        *out = json_is_true(v);
    return true;
}

bool call_json_duration(struct admin_call *c, const json_t *o, const char *key, uint64_t *out_ms)
{
    const json_t *v = json_member(o, key);
    if (!v)
        return true;
    struct err err = {0};
    uint64_t ns;
    if (!plain_string(v))
        err_set(&err, RC_INVALID, "invalid type: expected a duration string");
    else
        duration_parse(slice_cstr(json_string_value(v)), &ns, &err);
    if (err.rc) {
        answer_bad_shape(c, key, err.msg);
        return false;
    }
    *out_ms = ns > 0 && ns < 1000000 ? 1 : ns / 1000000; /* zero means something else: never, or at once */
    return true;
}

bool call_json_texts(struct admin_call *c, const json_t *o, const char *key, json_t **out)
{
    *out = json_member(o, key);
    if (!*out)
        return true;
    bool good = json_is_object(*out);
    const char *name;
    json_t *value;
    json_object_foreach(*out, name, value) good = good && plain_string(value);
    if (!good)
        answer_bad_shape(c, key, "invalid type: expected an object of strings");
    return good;
}

/* ---- query ---- */

static char *form_decoded(struct arena *a, struct slice raw)
{
    char *plain = arena_copy_slice(a, raw);
    for (char *p = plain; *p; p++)
        if (*p == '+')
            *p = ' ';
    struct writer w = WRITER_INIT;
    percent_decode(&w, slice_cstr(plain));
    char *out = arena_copy_slice(a, writer_slice(&w));
    writer_free(&w);
    return out;
}

const char *call_query(struct admin_call *c, const char *name)
{
    struct slice left = slice_cstr(c->query);
    while (left.len) {
        ptrdiff_t amp = slice_find(left, '&', 0);
        size_t n = amp < 0 ? left.len : (size_t)amp;
        struct slice pair = slice_sub(left, 0, n);
        left = amp < 0 ? SLICE_EMPTY : slice_sub(left, n + 1, left.len - n - 1);
        ptrdiff_t eq = slice_find(pair, '=', 0);
        struct slice key = eq < 0 ? pair : slice_sub(pair, 0, (size_t)eq);
        if (strcmp(form_decoded(&c->arena, key), name) != 0)
            continue;
        return eq < 0 ? ""
                      : form_decoded(&c->arena, slice_sub(pair, (size_t)eq + 1, pair.len - (size_t)eq - 1));
    }
    return NULL;
}

bool call_query_flag(struct admin_call *c, const char *name, bool *out)
{
    const char *text = call_query(c, name);
    *out = text && strcmp(text, "true") == 0;
    if (!text || *out || strcmp(text, "false") == 0)
        return true;
    answer_text(c, 400, "Failed to deserialize query string: %s: provided string was not `true` or `false`",
                name);
    return false;
}

/* ---- ids in the path ---- */

bool call_deployment_id(struct admin_call *c, unsigned param, struct u128 *out)
{
    struct slice text = slice_cstr(c->params[param]);
    enum id_error e = resource_id_parse(RESOURCE_DEPLOYMENT, text, out);
    if (e == ID_OK)
        return true;
    char reason[128];
    id_error_message(e, text, reason, sizeof(reason));
    answer_text(c, 400, "Invalid URL: Cannot parse `deployment` with value `%s`: %s", c->params[param],
                reason);
    return false;
}

bool call_invocation_id(struct admin_call *c, unsigned param, struct invocation_id *out)
{
    struct slice text = slice_cstr(c->params[param]);
    enum id_error e = invocation_id_parse(text, out);
    if (e == ID_OK)
        return true;
    char reason[128];
    id_error_message(e, text, reason, sizeof(reason));
    answer_error(c, 400, "The request field 'invocation_id' is invalid. Reason: %s", reason);
    return false;
}

/* Parsing of the discovery manifest with its closed schema (spec/service-protocol.md §2.5). Which checks
 * follow, and what they answer, is in manifest_build.c. */
#include "metadata/manifest.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum member_kind { TEXT, FLAG, COUNT, NUMBER, LIST, OBJECT, TEXTS, ANYTHING };
struct member {
    const char *name;
    enum member_kind kind;
    bool required;
};

#define OPTION_MEMBERS                                                                                       \
    {"documentation", TEXT, false}, {"metadata", TEXTS, false}, {"inactivityTimeout", COUNT, false},         \
        {"abortTimeout", COUNT, false}, {"journalRetention", COUNT, false},                                  \
        {"idempotencyRetention", COUNT, false}, {"enableLazyState", FLAG, false},                            \
        {"ingressPrivate", FLAG, false}, {"retryPolicyInitialInterval", COUNT, false},                       \
        {"retryPolicyMaxInterval", COUNT, false}, {"retryPolicyMaxAttempts", COUNT, false},                  \
        {"retryPolicyExponentiationFactor", NUMBER, false},                                                  \
    {                                                                                                        \
        "retryPolicyOnMaxAttempts", TEXT, false                                                              \
    }

static const struct member endpoint_members[] = {
    {"protocolMode", TEXT, false},
    {"minProtocolVersion", COUNT, true},
    {"maxProtocolVersion", COUNT, true},
    {"lambdaCompression", TEXT, false},
    {"services", LIST, true},
};
static const struct member service_members[] = {
    {"name", TEXT, true},
    {"ty", TEXT, true},
    {"handlers", LIST, true},
    OPTION_MEMBERS,
};
static const struct member handler_members[] = {
    {"name", TEXT, true},      {"ty", TEXT, false}, {"input", OBJECT, false},
    {"output", OBJECT, false}, OPTION_MEMBERS,      {"workflowCompletionRetention", COUNT, false},
};
static const struct member input_members[] = {
    {"required", FLAG, false},
    {"contentType", TEXT, false},
    {"jsonSchema", ANYTHING, false},
};
static const struct member output_members[] = {
    {"contentType", TEXT, false},
    {"setContentTypeIfEmpty", FLAG, false},
    {"jsonSchema", ANYTHING, false},
};

static bool object_of_texts(const json_t *v)
{
    if (!json_is_object(v))
        return false;
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)v, key, item) if (!json_is_string(item)) return false;
    return true;
}

static bool kind_matches(const json_t *v, enum member_kind kind)
{
    switch (kind) {
    case TEXT:
        return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
    case FLAG:
        return json_is_boolean(v);
    case COUNT:
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case NUMBER:
        return json_is_number(v) && isfinite(json_number_value(v));
    case LIST:
        return json_is_array(v);
    case OBJECT:
        return json_is_object(v);
    case TEXTS:
        return object_of_texts(v);
    case ANYTHING:
        return true;
    }
    return false;
}

static const char *kind_name(enum member_kind kind)
{
    static const char *const names[] = {"a string", "a boolean", "a non-negative integer", "a number",
                                        "an array", "an object", "an object of strings",   "any value"};
    return names[kind];
}

static const struct member *find_member(const struct member *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* The schema is closed: unknown members are errors, null is allowed where a member is optional. */
static enum rc check_members(const json_t *object, const char *where, const struct member *table, size_t n,
                             struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, RC_INVALID, "invalid type: expected %s to be an object", where);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const struct member *m = find_member(table, n, key);
        if (!m)
            return err_set(err, RC_INVALID, "unknown field `%.64s` in %s", key, where);
        if (json_is_null(value) && !m->required)
            continue;
        if (!kind_matches(value, m->kind))
            return err_set(err, RC_INVALID, "invalid value for `%s` in %s: expected %s", key, where,
                           kind_name(m->kind));
    }
    for (size_t i = 0; i < n; i++)
        if (table[i].required && !json_object_get(object, table[i].name))
            return err_set(err, RC_INVALID, "missing field `%s` in %s", table[i].name, where);
    return RC_OK;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_alnum(char c)
{
    return is_alpha(c) || (c >= '0' && c <= '9');
}

/* ^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9<extra>]*$ */
static bool name_matches(const char *name, const char *extra)
{
    size_t i = 0;
    if (is_alpha(name[0]))
        i = 1;
    else if (name[0] == '_' && is_alnum(name[1]))
        i = 2;
    else
        return false;
    for (; name[i]; i++)
        if (!is_alnum(name[i]) && !strchr(extra, name[i]))
            return false;
    return true;
}

/* Value of an optional text member must be one of `allowed` (NULL-terminated). */
static enum rc check_choice(const json_t *object, const char *key, const char *const *allowed,
                            struct err *err)
{
    const json_t *v = json_member(object, key);
    if (!v)
        return RC_OK;
    for (; *allowed; allowed++)
        if (strcmp(json_string_value(v), *allowed) == 0)
            return RC_OK;
    return err_set(err, RC_INVALID, "unknown variant `%.64s` for `%s`", json_string_value(v), key);
}

static const char *const on_max_attempts_choices[] = {"PAUSE", "KILL", NULL};

static enum rc handler_shape(const json_t *handler, struct err *err)
{
    static const char *const types[] = {"EXCLUSIVE", "SHARED", "WORKFLOW", NULL};
    if (check_members(handler, "handler", handler_members, ARRAY_LEN(handler_members), err))
        return RC_INVALID;
    const char *name = json_string_value(json_object_get(handler, "name"));
    if (!name_matches(name, "_"))
        return err_set(err, RC_INVALID,
                       "handler name \"%.128s\" does not match the pattern "
                       "\"^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*$\"",
                       name);
    if (check_choice(handler, "ty", types, err) ||
        check_choice(handler, "retryPolicyOnMaxAttempts", on_max_attempts_choices, err))
        return RC_INVALID;
    const json_t *input = json_member(handler, "input"), *output = json_member(handler, "output");
    if (input && check_members(input, "input", input_members, ARRAY_LEN(input_members), err))
        return RC_INVALID;
    if (output && check_members(output, "output", output_members, ARRAY_LEN(output_members), err))
        return RC_INVALID;
    return RC_OK;
}

enum rc manifest_service_shape(const json_t *service, struct manifest_service *out, struct err *err)
{
    static const char *const types[] = {"SERVICE", "VIRTUAL_OBJECT", "WORKFLOW", NULL};
    if (check_members(service, "service", service_members, ARRAY_LEN(service_members), err))
        return RC_INVALID;
    const char *name = json_string_value(json_object_get(service, "name"));
    if (!name_matches(name, "._-"))
        return err_set(err, RC_INVALID,
                       "service name \"%.128s\" does not match the pattern "
                       "\"^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*$\"",
                       name);
    if (check_choice(service, "ty", types, err) ||
        check_choice(service, "retryPolicyOnMaxAttempts", on_max_attempts_choices, err))
        return RC_INVALID;
    size_t i;
    json_t *handler;
    json_array_foreach(json_object_get(service, "handlers"), i,
                       handler) if (handler_shape(handler, err)) return RC_INVALID;
    const char *type = json_string_value(json_object_get(service, "ty"));
    out->name = name;
    out->json = service;
    out->type = strcmp(type, "SERVICE") == 0          ? SERVICE_PLAIN
                : strcmp(type, "VIRTUAL_OBJECT") == 0 ? SERVICE_OBJECT
                                                      : SERVICE_WORKFLOW;
    return RC_OK;
}

static enum rc endpoint_shape(struct manifest *m, struct err *err)
{
    static const char *const modes[] = {"BIDI_STREAM", "REQUEST_RESPONSE", NULL};
    static const char *const compressions[] = {"zstd", NULL};
    if (check_members(m->root, "endpoint manifest", endpoint_members, ARRAY_LEN(endpoint_members), err))
        return RC_INVALID;
    if (check_choice(m->root, "protocolMode", modes, err) ||
        check_choice(m->root, "lambdaCompression", compressions, err))
        return RC_INVALID;
    if (json_integer_value(json_object_get(m->root, "minProtocolVersion")) < 1 ||
        json_integer_value(json_object_get(m->root, "maxProtocolVersion")) < 1)
        return err_set(err, RC_INVALID, "invalid value: a protocol version is at least 1");
    const json_t *services = json_object_get(m->root, "services");
    m->n_services = json_array_size(services);
    m->services = xcalloc(m->n_services + 1, sizeof(*m->services));
    for (size_t i = 0; i < m->n_services; i++)
        if (manifest_service_shape(json_array_get(services, i), &m->services[i], err))
            return RC_INVALID;
    return RC_OK;
}

/* TypeScript SDKs below 1.3 announce versions that they do not speak. */
static bool sdk_overstates_version(const char *sdk)
{
    static const char *const liars[] = {"restate-sdk-typescript/1.0.", "restate-sdk-typescript/1.1.",
                                        "restate-sdk-typescript/1.2."};
    for (size_t i = 0; sdk && i < ARRAY_LEN(liars); i++)
        if (strncmp(sdk, liars[i], strlen(liars[i])) == 0)
            return true;
    return false;
}

static bool check_protocol(struct manifest *m, const char *sdk_version, bool lambda, struct problem *p)
{
    const json_t *mode = json_member(m->root, "protocolMode");
    if (!mode)
        return problem_set(p, 500, "META0013", "received a bad response from the SDK: missing protocol mode");
    json_int_t min = json_integer_value(json_object_get(m->root, "minProtocolVersion"));
    json_int_t max = json_integer_value(json_object_get(m->root, "maxProtocolVersion"));
    if (min > INT32_MAX || max > INT32_MAX)
        return problem_set(p, 500, "META0013",
                           "received a bad response from the SDK: a protocol version is larger than %d",
                           INT32_MAX);
    if (min > max)
        return problem_set(p, 500, "META0013",
                           "received a bad response from the SDK: expected max protocol version to be >= min "
                           "protocol version, but it was min = %lld, max = %lld",
                           (long long)min, (long long)max);
    m->request_response = strcmp(json_string_value(mode), "REQUEST_RESPONSE") == 0;
    if (lambda && !m->request_response)
        return problem_set(p, 500, "META0015",
                           "the endpoint announces bidirectional streaming, which AWS Lambda does not offer");
    if (sdk_overstates_version(sdk_version))
        max = 1;
    if (min > SERVICE_PROTOCOL_MAX || max < SERVICE_PROTOCOL_MIN)
        return problem_set(p, 500, "META0012",
                           "unsupported service protocol versions: [%lld, %lld]. Supported versions by this "
                           "runtime are [%u, %u]. Please upgrade the SDK and try registering again.",
                           (long long)min, (long long)max, SERVICE_PROTOCOL_MIN, SERVICE_PROTOCOL_MAX);
    m->min_protocol_version = (uint32_t)min;
    m->max_protocol_version = (uint32_t)max;
    m->lambda_zstd = json_member(m->root, "lambdaCompression") != NULL;
    return true;
}

/* The length of the JSON token at the start of `s`, which is not empty: a string, a number or one other byte.
 */
static size_t json_token(struct slice s, bool *integer)
{
    size_t n = 1;
    *integer = s.ptr[0] == '-' || (s.ptr[0] >= '0' && s.ptr[0] <= '9');
    if (s.ptr[0] == '"') {
        while (n < s.len && s.ptr[n] != '"')
            n += s.ptr[n] == '\\' ? 2 : 1;
        return MIN(n + 1, s.len);
    }
    if (*integer)
        for (; n < s.len && memchr("0123456789.eE+-", s.ptr[n], 15); n++)
            *integer = *integer && s.ptr[n] >= '0' && s.ptr[n] <= '9';
    return n;
}

/* Integers of 19 digits and more rewritten as reals, because jansson has no integers beyond int64_t: the
 * schemas of the Rust SDK contain 18446744073709551615, the maximum of a u64. Free the result. */
static char *large_integers_as_reals(struct slice body, size_t *len)
{
    char *out = xmalloc(body.len + body.len / 19 * 2 + 1);
    bool integer;
    *len = 0;
    for (size_t i = 0, n; i < body.len; i += n) {
        n = json_token(slice_sub(body, i, body.len - i), &integer);
        memcpy(out + *len, body.ptr + i, n);
        *len += n;
        if (integer && n >= 19) {
            memcpy(out + *len, ".0", 2);
            *len += 2;
        }
    }
    return out;
}

static json_t *load_json(struct slice body, json_error_t *parse)
{
    json_t *root = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, parse);
    if (root || json_error_code(parse) != json_error_numeric_overflow)
        return root;
    size_t len;
    char *text = large_integers_as_reals(body, &len);
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, parse);
    free(text);
    return root;
}

bool manifest_parse(struct slice body, const char *sdk_version, bool lambda, struct manifest *out,
                    struct problem *problem)
{
    memset(out, 0, sizeof(*out));
    struct err err = {0};
    json_error_t parse;
    out->root = load_json(body, &parse);
    if (!out->root)
        err_set(&err, RC_INVALID, "%.200s at line %d column %d", parse.text, parse.line, parse.column);
    else
        endpoint_shape(out, &err);
    if (err.rc) {
        problem_set(
            problem, 500, NULL,
            "received a bad response from the SDK that cannot be decoded: %s. Discovery response: %.*s",
            err.msg, (int)MIN(body.len, (size_t)INT_MAX), body.ptr ? (const char *)body.ptr : "");
        manifest_free(out);
        return false;
    }
    if (check_protocol(out, sdk_version, lambda, problem))
        return true;
    manifest_free(out);
    return false;
}

void manifest_free(struct manifest *m)
{
    json_decref(m->root);
    free(m->services);
    memset(m, 0, sizeof(*m));
}

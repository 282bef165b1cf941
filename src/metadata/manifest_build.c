/* From a service of the manifest to its schema form, with the checks of the admin API (spec/admin-api.md
 * §7.3, spec/errors.md §8.2) and the input rules of spec/ingress.md §7.1. */
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "base/hash.h"
#include "metadata/manifest.h"

const char *service_type_name(enum service_type type)
{
    static const char *const names[] = {"Service", "VirtualObject", "Workflow"};
    return names[type];
}

void service_options_init(struct service_options *o)
{
    *o = (struct service_options){
        .inactivity_timeout_ms = OPTION_UNSET,
        .abort_timeout_ms = OPTION_UNSET,
        .journal_retention_ms = OPTION_UNSET,
        .idempotency_retention_ms = OPTION_UNSET,
        .workflow_completion_retention_ms = OPTION_UNSET,
        .enable_lazy_state = -1,
        .ingress_private = -1,
        .retry_initial_interval_ms = OPTION_UNSET,
        .retry_max_interval_ms = OPTION_UNSET,
        .retry_max_attempts = OPTION_UNSET,
        .retry_factor = NAN,
        .retry_on_max_attempts = -1,
    };
}

bool manifest_service_name_allowed(const char *name, struct problem *p)
{
    if (strncasecmp(name, "restate", 7) != 0 && strcasecmp(name, "openapi") != 0)
        return true;
    return problem_set(p, 400, "META0005", "cannot insert/modify service '%s' as it contains a reserved name",
                       name);
}

static uint64_t count_or_unset(const json_t *object, const char *key)
{
    const json_t *v = json_member(object, key);
    return v ? (uint64_t)json_integer_value(v) : OPTION_UNSET;
}

static int8_t flag_or_unset(const json_t *object, const char *key)
{
    const json_t *v = json_member(object, key);
    return v ? (int8_t)json_is_true(v) : -1;
}

static void read_options(const json_t *object, struct service_options *o)
{
    service_options_init(o);
    o->inactivity_timeout_ms = count_or_unset(object, "inactivityTimeout");
    o->abort_timeout_ms = count_or_unset(object, "abortTimeout");
    o->journal_retention_ms = count_or_unset(object, "journalRetention");
    o->idempotency_retention_ms = count_or_unset(object, "idempotencyRetention");
    o->workflow_completion_retention_ms = count_or_unset(object, "workflowCompletionRetention");
    o->enable_lazy_state = flag_or_unset(object, "enableLazyState");
    o->ingress_private = flag_or_unset(object, "ingressPrivate");
    o->retry_initial_interval_ms = count_or_unset(object, "retryPolicyInitialInterval");
    o->retry_max_interval_ms = count_or_unset(object, "retryPolicyMaxInterval");
    o->retry_max_attempts = count_or_unset(object, "retryPolicyMaxAttempts");
    if (o->retry_max_attempts == 0)
        o->retry_max_attempts = 1;
    const json_t *factor = json_member(object, "retryPolicyExponentiationFactor");
    if (factor)
        o->retry_factor = json_number_value(factor);
    const json_t *on_max = json_member(object, "retryPolicyOnMaxAttempts");
    if (on_max)
        o->retry_on_max_attempts =
            strcmp(json_string_value(on_max), "KILL") == 0 ? ON_MAX_ATTEMPTS_KILL : ON_MAX_ATTEMPTS_PAUSE;
}

static const char *text_in_arena(struct arena *a, const json_t *object, const char *key)
{
    return arena_copy_text(a, json_string_value(json_member(object, key)));
}

static const char *json_in_arena(struct arena *a, const json_t *v)
{
    if (!v)
        return NULL;
    char *text = json_text_of(v);
    const char *copy = arena_copy_text(a, text);
    free(text);
    return copy;
}

static const char *metadata_in_arena(struct arena *a, const json_t *object)
{
    const json_t *v = json_member(object, "metadata");
    return v && json_object_size(v) ? json_in_arena(a, v) : NULL;
}

/* The pairs of spec/service-protocol.md §2.5; `ty` NULL: absent. */
static bool target_kind_of(enum service_type type, const char *ty, enum target_kind *out)
{
    bool exclusive = ty && strcmp(ty, "EXCLUSIVE") == 0;
    bool shared = ty && strcmp(ty, "SHARED") == 0;
    bool workflow = ty && strcmp(ty, "WORKFLOW") == 0;
    switch (type) {
    case SERVICE_PLAIN:
        *out = TARGET_SERVICE;
        return !exclusive && !workflow;
    case SERVICE_OBJECT:
        *out = shared ? TARGET_OBJECT_SHARED : TARGET_OBJECT_EXCLUSIVE;
        return !workflow;
    case SERVICE_WORKFLOW:
        *out = workflow ? TARGET_WORKFLOW_RUN : TARGET_WORKFLOW_SHARED;
        return !exclusive;
    }
    return false;
}

/* "*" "/" "*", "type/" "*" or "type/subtype"; parameters are cut off by the ingress when it compares. */
static const char *input_content_type_fault(const char *ct)
{
    const char *slash = strchr(ct, '/');
    if (!slash || strchr(slash + 1, '/'))
        return "must contain one /";
    if (ct[0] == '*' && slash == ct + 1 && strcmp(slash + 1, "*") != 0)
        return "the wildcard format */subType is not supported";
    return NULL;
}

static bool header_value_valid(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if ((*p < 0x20 && *p != '\t') || *p >= 0x7f)
            return false;
    return true;
}

static bool build_schema(struct arena *a, const char *service, const char *handler, const char *direction,
                         const json_t *object, const char **out, struct problem *p)
{
    const json_t *schema = json_object_get(object, "jsonSchema");
    if (!schema || json_is_null(schema))
        return true;
    struct err err = {0};
    if (json_schema_check(schema, &err))
        return problem_set(p, 400, NULL, "the json schema for %s/%s %s is invalid: %s", service, handler,
                           direction, err.msg);
    *out = json_in_arena(a, schema);
    return true;
}

static bool build_input(struct arena *a, const char *service, const json_t *handler, struct schema_handler *h,
                        struct problem *p)
{
    const json_t *input = json_member(handler, "input");
    if (!input) {
        h->input_rules[h->n_input_rules++] = (struct input_rule){INPUT_NOTHING, NULL};
        h->input_rules[h->n_input_rules++] = (struct input_rule){INPUT_CONTENT_TYPE, "*/*"};
        return true;
    }
    if (!build_schema(a, service, h->name, "input", input, &h->input_json_schema, p))
        return false;
    if (!json_is_true(json_object_get(input, "required")))
        h->input_rules[h->n_input_rules++] = (struct input_rule){INPUT_NOTHING, NULL};
    const char *ct = text_in_arena(a, input, "contentType");
    if (!ct)
        return true;
    const char *fault = input_content_type_fault(ct);
    if (fault)
        return problem_set(
            p, 400, NULL,
            "the handler '%s' input content-type is not valid: can't parse the content-type '%s': %s",
            h->name, ct, fault);
    h->input_rules[h->n_input_rules++] =
        (struct input_rule){h->input_json_schema ? INPUT_JSON : INPUT_CONTENT_TYPE, ct};
    return true;
}

static bool build_output(struct arena *a, const char *service, const json_t *handler,
                         struct schema_handler *h, struct problem *p)
{
    const json_t *output = json_member(handler, "output");
    if (!output) {
        h->output_absent = true;
        h->output_content_type = "application/json";
        return true;
    }
    if (!build_schema(a, service, h->name, "output", output, &h->output_json_schema, p))
        return false;
    h->output_set_if_empty = json_is_true(json_object_get(output, "setContentTypeIfEmpty"));
    h->output_content_type = text_in_arena(a, output, "contentType");
    if (h->output_content_type && !header_value_valid(h->output_content_type))
        /* The reference prints the content type where the handler's name belongs (spec/errors.md §8.2). */
        return problem_set(p, 400, NULL,
                           "the handler '%s' output content-type is not valid: failed to parse header value",
                           h->output_content_type);
    return true;
}

static bool check_handler_options(const struct schema_service *s, const struct schema_handler *h,
                                  struct problem *p)
{
    if (h->kind != TARGET_WORKFLOW_RUN && h->options.workflow_completion_retention_ms != OPTION_UNSET)
        return problem_set(p, 400, NULL,
                           "%s sets the workflow_completion_retention, but it's not a WORKFLOW handler",
                           h->name);
    if (h->kind == TARGET_WORKFLOW_RUN && h->options.idempotency_retention_ms != OPTION_UNSET)
        return problem_set(p, 400, NULL, "%s sets the idempotency_retention, but it's a WORKFLOW handler",
                           h->name);
    if (!s->is_public && h->options.ingress_private == 0)
        return problem_set(
            p, 400, NULL,
            "The service %s is private, but the %s is explicitly set as public. This is not supported. "
            "Please make the service public, and hide the individual handlers",
            s->name, h->name);
    return true;
}

static bool build_handler(struct arena *a, const json_t *json, enum service_type type,
                          struct schema_service *s, struct schema_handler *h, struct problem *p)
{
    h->service = s;
    h->name = text_in_arena(a, json, "name");
    const char *ty = json_string_value(json_member(json, "ty"));
    if (!target_kind_of(type, ty, &h->kind))
        return problem_set(p, 400, NULL,
                           "invalid combination of service type and handler type '(%s, Some(%c%s))'",
                           service_type_name(type), ty[0],
                           ty[0] == 'E'   ? "xclusive"
                           : ty[0] == 'S' ? "hared"
                                          : "orkflow");
    read_options(json, &h->options);
    h->documentation = text_in_arena(a, json, "documentation");
    h->metadata_json = metadata_in_arena(a, json);
    h->manifest_json = json_in_arena(a, json);
    return check_handler_options(s, h, p) && build_input(a, s->name, json, h, p) &&
           build_output(a, s->name, json, h, p);
}

/* Fill the hash table over handler names; false when a name stands there twice. */
static bool index_handlers(struct arena *a, struct schema_service *s, const struct schema_handler **twice)
{
    uint32_t size = 4;
    while (size < s->n_handlers * 2)
        size *= 2;
    uint32_t *table = arena_array(a, uint32_t, size);
    for (size_t i = 0; i < s->n_handlers; i++) {
        uint64_t at = hash64(slice_cstr(s->handlers[i].name));
        for (; table[at & (size - 1)]; at++)
            if (strcmp(s->handlers[table[at & (size - 1)] - 1].name, s->handlers[i].name) == 0) {
                *twice = &s->handlers[i];
                return false;
            }
        table[at & (size - 1)] = (uint32_t)i + 1;
    }
    s->handler_index = table;
    s->handler_index_mask = size - 1;
    return true;
}

bool manifest_service_build(struct arena *a, const struct manifest_service *service,
                            struct schema_service *out, struct problem *p)
{
    const json_t *json = service->json;
    memset(out, 0, sizeof(*out));
    out->name = text_in_arena(a, json, "name");
    out->type = service->type;
    out->documentation = text_in_arena(a, json, "documentation");
    out->metadata_json = metadata_in_arena(a, json);
    read_options(json, &out->options);
    out->is_public = out->options.ingress_private != 1;
    const json_t *handlers = json_object_get(json, "handlers");
    out->n_handlers = json_array_size(handlers);
    struct schema_handler *built = arena_array(a, struct schema_handler, out->n_handlers + 1);
    out->handlers = built;
    for (size_t i = 0; i < out->n_handlers; i++)
        if (!build_handler(a, json_array_get(handlers, i), service->type, out, &built[i], p))
            return false;
    const struct schema_handler *twice = NULL;
    if (!index_handlers(a, out, &twice))
        return problem_set(p, 400, NULL, "the service '%s' announces the handler '%s' more than once",
                           out->name, twice->name);
    return true;
}

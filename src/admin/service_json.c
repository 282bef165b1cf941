/* Services and handlers as JSON (spec/admin-api.md §8), with the notices RT0021 and RT0022 (spec/errors.md
 * §2). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "base/time.h"
#include "wire/id.h"

static void duration_text(struct writer *w, uint64_t ms)
{
    duration_format(w, MIN(ms, UINT64_MAX / 1000000) * 1000000);
}

void json_duration(struct json_out *o, const char *key, uint64_t ms)
{
    struct writer w = WRITER_INIT;
    duration_text(&w, ms);
    json_text_slice(o, key, writer_slice(&w));
    writer_free(&w);
}

static void duration_opt(struct json_out *o, const char *key, uint64_t ms)
{
    if (ms != OPTION_UNSET)
        json_duration(o, key, ms);
}

static uint64_t first_set(uint64_t own, uint64_t fallback)
{
    return own != OPTION_UNSET ? own : fallback;
}

/* ---- notices: the array appears with the first one ---- */

struct notices {
    struct json_out *o;
    bool open;
};

static void notice(struct notices *n, const char *code, const char *message)
{
    if (!n->open)
        json_open_at(n->o, "info", '[');
    n->open = true;
    json_open(n->o, '{');
    json_text(n->o, "code", code);
    json_text(n->o, "message", message);
    json_close(n->o, '}');
}

static void notice_inactivity(struct notices *n, uint64_t ms, const char *what)
{
    struct writer w = WRITER_INIT;
    char message[256];
    duration_text(&w, ms);
    snprintf(message, sizeof(message),
             "The configured inactivity_timeout %.*s will not be applied because the %s is exposed in "
             "Request/Response mode.",
             SLICE_FMT(writer_slice(&w)), what);
    writer_free(&w);
    notice(n, "RT0021", message);
}

static void notice_clamped(struct notices *n, const char *name, uint64_t configured, uint64_t max)
{
    char message[160];
    if (configured == OPTION_UNSET || configured <= max)
        return;
    snprintf(message, sizeof(message), "The configured %s is clamped to the maximum server limit.", name);
    notice(n, "RT0022", message);
}

static void end_notices(struct notices *n)
{
    if (n->open)
        json_close(n->o, ']');
}

/* ---- handlers ---- */

static const char *handler_type(enum target_kind kind)
{
    switch (kind) {
    case TARGET_SERVICE:
        return NULL;
    case TARGET_OBJECT_EXCLUSIVE:
        return "Exclusive";
    case TARGET_OBJECT_SHARED:
    case TARGET_WORKFLOW_SHARED:
        return "Shared";
    case TARGET_WORKFLOW_RUN:
        return "Workflow";
    }
    UNREACHABLE("target kind %d", (int)kind);
}

/* "JSON '<title>'", "JSON <type>", else the content type, else "none". */
static void description(struct json_out *o, const char *key, const char *prefix, const char *json_schema,
                        const char *content_type)
{
    json_t *schema = json_schema ? json_loads(json_schema, JSON_DECODE_ANY, NULL) : NULL;
    const char *title = json_string_value(json_object_get(schema, "title"));
    const char *type = json_string_value(json_object_get(schema, "type"));
    char *text = title          ? xasprintf("%sJSON '%s'", prefix, title)
                 : type         ? xasprintf("%sJSON %s", prefix, type)
                 : content_type ? xasprintf("%s%s", prefix, content_type)
                                : xstrdup("none");
    json_text(o, key, text);
    free(text);
    json_decref(schema);
}

static void descriptions(struct json_out *o, const struct schema_handler *h)
{
    const char *input = NULL;
    for (size_t i = 0; i < h->n_input_rules; i++)
        if (h->input_rules[i].kind != INPUT_NOTHING)
            input = h->input_rules[i].content_type;
    description(o, "input_description", "", h->input_json_schema, input);
    description(o, "output_description", h->output_set_if_empty ? "optional " : "", h->output_json_schema,
                h->output_absent ? "application/json" : h->output_content_type);
}

static const char *on_max_attempts_name(int value)
{
    return value == ON_MAX_ATTEMPTS_KILL ? "Kill" : "Pause";
}

static void handler_retry_policy(struct json_out *o, const struct service_options *h)
{
    json_open_at(o, "retry_policy", '{');
    duration_opt(o, "initial_interval", h->retry_initial_interval_ms);
    if (!isnan(h->retry_factor))
        json_real_number(o, "exponentiation_factor", h->retry_factor);
    if (h->retry_max_attempts == OPTION_UNSET)
        json_nothing(o, "max_attempts");
    else
        json_number(o, "max_attempts", h->retry_max_attempts);
    duration_opt(o, "max_interval", h->retry_max_interval_ms);
    if (h->retry_on_max_attempts >= 0)
        json_text(o, "on_max_attempts", on_max_attempts_name(h->retry_on_max_attempts));
    json_close(o, '}');
}

void json_handler(struct json_out *o, const struct schema_handler *h)
{
    const struct service_options *ho = &h->options;
    bool request_response = h->service->deployment->request_response;
    json_open(o, '{');
    json_text(o, "name", h->name);
    json_text_opt(o, "ty", handler_type(h->kind));
    json_text_opt(o, "documentation", h->documentation);
    json_raw_opt(o, "metadata", h->metadata_json);
    duration_opt(o, "idempotency_retention", ho->idempotency_retention_ms);
    duration_opt(o, "journal_retention", ho->journal_retention_ms);
    if (!request_response)
        duration_opt(o, "inactivity_timeout", ho->inactivity_timeout_ms);
    duration_opt(o, "abort_timeout", ho->abort_timeout_ms);
    if (ho->enable_lazy_state >= 0)
        json_flag(o, "enable_lazy_state", ho->enable_lazy_state);
    json_flag(o, "public", ho->ingress_private >= 0 ? !ho->ingress_private : h->service->is_public);
    descriptions(o, h);
    json_raw_opt(o, "input_json_schema", h->input_json_schema);
    json_raw_opt(o, "output_json_schema", h->output_json_schema);
    handler_retry_policy(o, ho);
    struct notices n = {.o = o};
    if (request_response && ho->inactivity_timeout_ms != OPTION_UNSET)
        notice_inactivity(&n, ho->inactivity_timeout_ms, "handler");
    end_notices(&n);
    json_close(o, '}');
}

/* ---- services ---- */

static void service_retry_policy(struct json_out *o, const struct service_options *s,
                                 const struct schema_defaults *d)
{
    uint64_t attempts =
        MIN(first_set(s->retry_max_attempts, d->retry_max_attempts), d->retry_max_attempts_cap);
    uint64_t max_interval = first_set(s->retry_max_interval_ms, d->retry_max_interval_ms);
    json_open_at(o, "retry_policy", '{');
    json_duration(o, "initial_interval",
                  first_set(s->retry_initial_interval_ms, d->retry_initial_interval_ms));
    json_real_number(o, "exponentiation_factor", isnan(s->retry_factor) ? d->retry_factor : s->retry_factor);
    if (attempts >= RETRY_UNLIMITED)
        json_nothing(o, "max_attempts");
    else
        json_number(o, "max_attempts", attempts);
    if (max_interval == OPTION_UNSET)
        json_nothing(o, "max_interval");
    else
        json_duration(o, "max_interval", max_interval);
    json_text(o, "on_max_attempts",
              on_max_attempts_name(s->retry_on_max_attempts >= 0 ? s->retry_on_max_attempts
                                                                 : (int)d->retry_on_max_attempts));
    json_close(o, '}');
}

static uint64_t workflow_retention(const struct schema_service *s)
{
    for (size_t i = 0; i < s->n_handlers; i++)
        if (s->handlers[i].kind == TARGET_WORKFLOW_RUN &&
            s->handlers[i].options.workflow_completion_retention_ms != OPTION_UNSET)
            return s->handlers[i].options.workflow_completion_retention_ms;
    return s->options.workflow_completion_retention_ms;
}

static void service_timeouts(struct json_out *o, const struct schema_service *s,
                             const struct schema_defaults *d)
{
    const struct service_options *so = &s->options;
    json_duration(o, "idempotency_retention",
                  MIN(first_set(so->idempotency_retention_ms, d->idempotency_retention_ms),
                      d->max_idempotency_retention_ms));
    if (s->type == SERVICE_WORKFLOW)
        json_duration(o, "workflow_completion_retention",
                      MIN(first_set(workflow_retention(s), d->workflow_completion_retention_ms),
                          d->max_workflow_completion_retention_ms));
    uint64_t journal = first_set(so->journal_retention_ms, d->journal_retention_ms);
    if (journal != OPTION_UNSET)
        json_duration(o, "journal_retention", MIN(journal, d->max_journal_retention_ms));
    json_duration(
        o, "inactivity_timeout",
        s->deployment->request_response ? 0 : first_set(so->inactivity_timeout_ms, d->inactivity_timeout_ms));
    json_duration(o, "abort_timeout", first_set(so->abort_timeout_ms, d->abort_timeout_ms));
    json_flag(o, "enable_lazy_state",
              so->enable_lazy_state >= 0 ? so->enable_lazy_state : d->disable_eager_state);
}

void json_service(struct json_out *o, const struct schema_service *s, const struct schema_defaults *d)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, s->deployment->id, id);
    json_open(o, '{');
    json_text(o, "name", s->name);
    json_text(o, "ty", service_type_name(s->type));
    json_open_at(o, "handlers", '[');
    for (size_t i = 0; i < s->n_handlers; i++)
        json_handler(o, &s->handlers[i]);
    json_close(o, ']');
    json_text_opt(o, "documentation", s->documentation);
    json_raw_opt(o, "metadata", s->metadata_json);
    json_text(o, "deployment_id", id);
    json_number(o, "revision", s->revision);
    json_flag(o, "public", s->is_public);
    service_timeouts(o, s, d);
    service_retry_policy(o, &s->options, d);
    struct notices n = {.o = o};
    if (s->deployment->request_response && s->options.inactivity_timeout_ms != OPTION_UNSET)
        notice_inactivity(&n, s->options.inactivity_timeout_ms, "service");
    notice_clamped(&n, "journal_retention", s->options.journal_retention_ms, d->max_journal_retention_ms);
    notice_clamped(&n, "idempotency_retention", s->options.idempotency_retention_ms,
                   d->max_idempotency_retention_ms);
    if (s->type == SERVICE_WORKFLOW)
        notice_clamped(&n, "workflow_completion_retention", workflow_retention(s),
                       d->max_workflow_completion_retention_ms);
    end_notices(&n);
    json_close(o, '}');
}

/* ---- deployments ---- */

static void deployment_head(struct json_out *o, const struct schema_deployment *d)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
    json_text(o, "id", id);
    if (d->kind == DEPLOYMENT_HTTP) {
        json_text(o, "uri", d->uri);
        json_text(o, "protocol_type", d->request_response ? "RequestResponse" : "BidiStream");
        json_text(o, "http_version", d->http_1_1 ? "HTTP/1.1" : "HTTP/2.0");
    } else {
        json_text(o, "arn", d->arn);
        json_text_opt(o, "assume_role_arn", d->assume_role_arn);
        if (d->lambda_zstd)
            json_text(o, "compression", "Zstd");
    }
    if (d->n_headers) {
        json_open_at(o, "additional_headers", '{');
        for (size_t i = 0; i < d->n_headers; i++)
            json_text(o, d->headers[i].name, d->headers[i].value);
        json_close(o, '}');
    }
    json_raw_opt(o, "metadata", d->metadata_json);
    struct writer w = WRITER_INIT;
    time_format_rfc3339(&w, d->created_at_ms * 1000, 9, "Z");
    json_text_slice(o, "created_at", writer_slice(&w));
    writer_free(&w);
}

static void protocol_range(struct json_out *o, const struct schema_deployment *d)
{
    json_number(o, "min_protocol_version", d->min_protocol_version);
    json_number(o, "max_protocol_version", d->max_protocol_version);
    json_text_opt(o, "sdk_version", d->sdk_version);
}

static void services_in_full(struct json_out *o, const struct schema_deployment *d,
                             const struct schema_defaults *def)
{
    json_open_at(o, "services", '[');
    for (size_t i = 0; i < d->n_services; i++)
        json_service(o, d->services[i], def);
    json_close(o, ']');
}

void json_deployment_item(struct json_out *o, const struct schema_deployment *d)
{
    json_open(o, '{');
    deployment_head(o, d);
    protocol_range(o, d);
    json_open_at(o, "services", '[');
    for (size_t i = 0; i < d->n_services; i++) {
        json_open(o, '{');
        json_text(o, "name", d->services[i]->name);
        json_number(o, "revision", d->services[i]->revision);
        json_close(o, '}');
    }
    json_close(o, ']');
    json_close(o, '}');
}

void json_deployment_detail(struct json_out *o, const struct schema_deployment *d,
                            const struct schema_defaults *def)
{
    json_open(o, '{');
    deployment_head(o, d);
    protocol_range(o, d);
    services_in_full(o, d, def);
    json_close(o, '}');
}

void json_deployment_registered(struct json_out *o, const struct schema_deployment *d,
                                const struct schema_defaults *def)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
    json_open(o, '{');
    json_text(o, "id", id);
    services_in_full(o, d, def);
    protocol_range(o, d);
    json_close(o, '}');
}

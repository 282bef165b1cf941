/* Services and handlers: list, get, patch (spec/admin-api.md §8). */
#include "admin/admin_internal.h"

static const struct schema_service *find_service(struct admin_call *c)
{
    return schema_service(call_schema(c), slice_cstr(c->params[0]));
}

static void answer_service_missing(struct admin_call *c)
{
    answer_error(c, 404, "The requested service '%s' does not exist", c->params[0]);
}

static void answer_service(struct admin_call *c, const struct schema_service *s)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_service(&o, s, c->admin->deps.defaults);
    answer_json(c, 200, &w, NULL);
}

void handle_list_services(struct admin_call *c)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    const struct schema_service *const *list;
    size_t n = schema_services(call_schema(c), &list);
    json_open(&o, '{');
    json_open_at(&o, "services", '[');
    for (size_t i = 0; i < n; i++)
        json_service(&o, list[i], c->admin->deps.defaults);
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

void handle_get_service(struct admin_call *c)
{
    const struct schema_service *s = find_service(c);
    if (s)
        answer_service(c, s);
    else
        answer_service_missing(c);
}

void handle_list_handlers(struct admin_call *c)
{
    const struct schema_service *s = find_service(c);
    if (!s) {
        answer_service_missing(c);
        return;
    }
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_open_at(&o, "handlers", '[');
    for (size_t i = 0; i < s->n_handlers; i++)
        json_handler(&o, &s->handlers[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

void handle_get_handler(struct admin_call *c)
{
    const struct schema_service *s = find_service(c);
    const struct schema_handler *h = s ? schema_handler(s, slice_cstr(c->params[1])) : NULL;
    if (!h) {
        answer_error(c, 404, "The requested handler '%s' on service '%s' does not exist", c->params[1],
                     c->params[0]);
        return;
    }
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_handler(&o, h);
    answer_json(c, 200, &w, NULL);
}

/* ---- PATCH ---- */

struct service_change {
    struct schema_service_patch patch;
    struct problem problem;
};

static bool plan(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct service_change *change = c->state;
    return schema_patch_service(current, slice_cstr(c->params[0]), &change->patch, out, &change->problem);
}

static void on_edited(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct service_change *change = c->state;
    if (rc == RC_INVALID)
        answer_problem(c, &change->problem);
    else if (rc)
        answer_edit_failed(c, rc, message);
    else
        handle_get_service(c);
}

static bool read_patch(struct admin_call *c, const json_t *body, struct schema_service_patch *p)
{
    schema_service_patch_init(p);
    bool is_public;
    if (!call_json_flag(c, body, "public", &is_public) ||
        !call_json_duration(c, body, "idempotency_retention", &p->idempotency_retention_ms) ||
        !call_json_duration(c, body, "workflow_completion_retention", &p->workflow_completion_retention_ms) ||
        !call_json_duration(c, body, "journal_retention", &p->journal_retention_ms) ||
        !call_json_duration(c, body, "inactivity_timeout", &p->inactivity_timeout_ms) ||
        !call_json_duration(c, body, "abort_timeout", &p->abort_timeout_ms))
        return false;
    if (json_member(body, "public"))
        p->is_public = is_public;
    return true;
}

void handle_patch_service(struct admin_call *c)
{
    struct service_change *change = arena_array(&c->arena, struct service_change, 1);
    c->state = change;
    json_t *body = call_json_object(c);
    if (!body || !read_patch(c, body, &change->patch))
        return;
    if (schema_service_patch_empty(&change->patch)) {
        handle_get_service(c);
        return;
    }
    c->edit.plan = plan;
    c->edit.done = on_edited;
    if (schema_store_edit(c->admin->deps.schema, &c->edit))
        answer_edit_failed(c, RC_OVERLOADED, "");
}

/* Deployments: list, get, delete (spec/admin-api.md §7.2, §7.4, §7.6). */
#include "admin/admin_internal.h"

void handle_list_deployments(struct admin_call *c)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    const struct schema_deployment *const *list;
    size_t n = schema_deployments(call_schema(c), &list);
    json_open(&o, '{');
    json_open_at(&o, "deployments", '[');
    for (size_t i = 0; i < n; i++)
        json_deployment_item(&o, list[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

void handle_get_deployment(struct admin_call *c)
{
    struct u128 id;
    if (!call_deployment_id(c, 0, &id))
        return;
    const struct schema_deployment *d = schema_deployment(call_schema(c), id);
    if (!d) {
        answer_deployment_missing(c, id);
        return;
    }
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_deployment_detail(&o, d, c->admin->deps.defaults);
    answer_json(c, 200, &w, NULL);
}

struct removal {
    struct u128 id;
    struct problem problem;
};

static bool plan_removal(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct removal *r = CONTAINER_OF(e, struct admin_call, edit)->state;
    return schema_delete_deployment(current, r->id, out, &r->problem);
}

static void removal_done(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct removal *r = c->state;
    if (rc == RC_OK)
        answer_empty(c, 202);
    else if (rc == RC_INVALID)
        answer_problem(c, &r->problem);
    else
        answer_edit_failed(c, rc, message);
}

void handle_delete_deployment(struct admin_call *c)
{
    struct removal *r = arena_array(&c->arena, struct removal, 1);
    bool force;
    if (!call_deployment_id(c, 0, &r->id) || !call_query_flag(c, "force", &force))
        return;
    if (!force) {
        /* Graceful removal is not offered by the reference either: this status tells clients to use force. */
        answer_empty(c, 501);
        return;
    }
    c->state = r;
    c->edit.plan = plan_removal;
    c->edit.done = removal_done;
    if (schema_store_edit(c->admin->deps.schema, &c->edit))
        answer_edit_failed(c, RC_OVERLOADED, "");
}

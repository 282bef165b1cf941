/* Subscriptions (spec/admin-api.md §13); pausing them and what becomes of bad records is ours (BETTER B27).
 */
#include <stdio.h>

#include "admin/kafka.h"

void json_subscription(struct json_out *o, const struct schema_subscription *s)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_SUBSCRIPTION, s->id, id);
    json_open(o, '{');
    json_text(o, "id", id);
    json_text(o, "source", s->source);
    json_text(o, "sink", s->sink);
    json_properties(o, "options", s->options, s->n_options);
    if (s->paused)
        json_flag(o, "paused", true);
    if (s->skip_bad)
        json_text(o, "on_bad_record", "skip");
    json_close(o, '}');
}

static bool subscription_id(struct admin_call *c, struct u128 *out)
{
    struct slice text = slice_cstr(c->params[0]);
    enum id_error e = resource_id_parse(RESOURCE_SUBSCRIPTION, text, out);
    char reason[128];
    if (e == ID_OK)
        return true;
    id_error_message(e, text, reason, sizeof(reason));
    answer_text(c, 400, "Invalid URL: Cannot parse `subscription` with value `%s`: %s", c->params[0], reason);
    return false;
}

static void answer_subscription(struct admin_call *c, int status, const struct schema_subscription *s,
                                const char *location)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_subscription(&o, s);
    answer_json(c, status, &w, location);
}

void handle_list_subscriptions(struct admin_call *c)
{
    const char *source = call_query(c, "source"), *sink = call_query(c, "sink");
    const struct schema_subscription *const *list;
    size_t n = schema_subscriptions(call_schema(c), &list);
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_open_at(&o, "subscriptions", '[');
    for (size_t i = 0; i < n; i++)
        if ((!source || strcmp(source, list[i]->source) == 0) && (!sink || strcmp(sink, list[i]->sink) == 0))
            json_subscription(&o, list[i]);
    json_close(&o, ']');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

void handle_get_subscription(struct admin_call *c)
{
    struct u128 id;
    if (!subscription_id(c, &id))
        return;
    const struct schema_subscription *s = schema_subscription(call_schema(c), id);
    if (s)
        answer_subscription(c, 200, s, NULL);
    else
        answer_error(c, 404, "The requested subscription '%s' does not exist", c->params[0]);
}

/* ---- edits ---- */

enum subscription_operation { SUBSCRIPTION_CREATE, SUBSCRIPTION_PATCH, SUBSCRIPTION_DELETE };
struct subscription_change {
    enum subscription_operation operation;
    struct u128 id;
    struct schema_subscribe request;
    int paused, skip_bad; /* PATCH: -1 not given */
    struct problem problem;
};

static bool plan(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct subscription_change *s = c->state;
    switch (s->operation) {
    case SUBSCRIPTION_CREATE:
        return schema_create_subscription(current, call_fixed_clusters(c), &s->request, s->id, out,
                                          &s->problem);
    case SUBSCRIPTION_PATCH:
        return schema_patch_subscription(current, s->id, s->paused, s->skip_bad, out, &s->problem);
    case SUBSCRIPTION_DELETE:
        return schema_delete_subscription(current, s->id, out, &s->problem);
    }
    UNREACHABLE("operation %d", (int)s->operation);
}

static void on_edited(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct admin_call *c = CONTAINER_OF(e, struct admin_call, edit);
    struct subscription_change *s = c->state;
    const struct schema_subscription *found = schema_subscription(schema, s->id);
    char id[RESOURCE_ID_TEXT_MAX], location[RESOURCE_ID_TEXT_MAX + 16];
    resource_id_format(RESOURCE_SUBSCRIPTION, s->id, id);
    snprintf(location, sizeof(location), "subscriptions/%s", id);
    if (rc == RC_INVALID)
        answer_problem(c, &s->problem);
    else if (rc)
        answer_edit_failed(c, rc, message);
    else if (s->operation == SUBSCRIPTION_DELETE || !found)
        answer_empty(c, 202);
    else if (s->operation == SUBSCRIPTION_CREATE)
        answer_subscription(c, 201, found, location);
    else
        answer_subscription(c, 200, found, NULL);
}

static void submit(struct admin_call *c, struct subscription_change *s)
{
    c->state = s;
    c->edit.plan = plan;
    c->edit.done = on_edited;
    if (schema_store_edit(c->admin->deps.schema, &c->edit))
        answer_edit_failed(c, RC_OVERLOADED, "");
}

static bool read_uri(struct admin_call *c, const json_t *body, const char *key, const char **out)
{
    struct kafka_uri uri;
    char missing[64];
    if (!call_json_text(c, body, key, out))
        return false;
    if (*out && kafka_uri_parse(slice_cstr(*out), &uri))
        return true;
    snprintf(missing, sizeof(missing), "missing field `%s`", key);
    const char *malformed =
        *out && strpbrk(*out, " \"<>\\^`{|}") ? "invalid uri character" : "invalid format";
    answer_bad_shape(c, *out ? key : "", *out ? malformed : missing);
    return false;
}

/* `paused` and `on_bad_record`, -1 when absent. */
static bool read_flags(struct admin_call *c, const json_t *body, int *paused, int *skip_bad)
{
    bool flag = false;
    const char *text;
    if (!call_json_flag(c, body, "paused", &flag) || !call_json_text(c, body, "on_bad_record", &text))
        return false;
    if (text && strcmp(text, "block") != 0 && strcmp(text, "skip") != 0) {
        answer_bad_shape(c, "on_bad_record", "unknown variant, expected `block` or `skip`");
        return false;
    }
    *paused = json_member(body, "paused") ? flag : -1;
    *skip_bad = text ? strcmp(text, "skip") == 0 : -1;
    return true;
}

void handle_create_subscription(struct admin_call *c)
{
    struct subscription_change *s = arena_array(&c->arena, struct subscription_change, 1);
    struct env *env = c->admin->deps.env;
    struct schema_header *options;
    int paused, skip_bad;
    json_t *body = call_json_object(c);
    if (!body || !read_uri(c, body, "source", &s->request.source) ||
        !read_uri(c, body, "sink", &s->request.sink) || !read_flags(c, body, &paused, &skip_bad) ||
        !call_json_properties(c, body, "options", &options, &s->request.n_options))
        return;
    s->request.options = options;
    s->request.paused = paused > 0;
    s->request.skip_bad = skip_bad > 0;
    s->id = ulid_make(env_wall_ms(env), env_random(env), env_random(env));
    submit(c, s);
}

void handle_patch_subscription(struct admin_call *c)
{
    struct subscription_change *s = arena_array(&c->arena, struct subscription_change, 1);
    s->operation = SUBSCRIPTION_PATCH;
    if (!subscription_id(c, &s->id))
        return;
    json_t *body = call_json_object(c);
    if (body && read_flags(c, body, &s->paused, &s->skip_bad))
        submit(c, s);
}

void handle_delete_subscription(struct admin_call *c)
{
    struct subscription_change *s = arena_array(&c->arena, struct subscription_change, 1);
    s->operation = SUBSCRIPTION_DELETE;
    if (subscription_id(c, &s->id))
        submit(c, s);
}

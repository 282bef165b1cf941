/* Health, versions, the OpenAPI document, the way to the web UI, and the routes whose resources this server
 * does not have yet (spec/admin-api.md §6, §12 to §19). */
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"

void handle_health(struct admin_call *c)
{
    answer_empty(c, 200);
}

void handle_version(struct admin_call *c)
{
    static const char *const switched_off[] = {
        "invoker_yield",
        "unique_random_seeds",
        "kafka_scope",
        "scoped_virtual_objects",
        "scoped_state_table_migration",
        "scoped_promise_table_migration",
        "vqueues_async_refill",
        "vqueues_migration_skip_completed",
        "vqueue_obsolete_cleanup",
        "preflight_invocation_termination_retention",
    };
    const struct admin_info *info = &c->admin->deps.info;
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "version", info->version);
    json_number(&o, "min_admin_api_version", ADMIN_VERSION_MIN);
    json_number(&o, "max_admin_api_version", ADMIN_VERSION_MAX);
    json_text(&o, "ingress_endpoint", info->ingress_endpoint);
    json_open_at(&o, "features", '{');
    json_flag(&o, "vqueues", false);
    json_flag(&o, "protocol_v7", info->enable_protocol_v7);
    for (size_t i = 0; i < ARRAY_LEN(switched_off); i++)
        json_flag(&o, switched_off[i], false);
    json_close(&o, '}');
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

enum { MEMBERS_MAX = 64 };

void handle_cluster_health(struct admin_call *c)
{
    const struct admin_info *info = &c->admin->deps.info;
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "cluster_name", info->cluster_name);
    if (info->metadata_members) {
        json_open_at(&o, "metadata_cluster_health", '{');
        json_open_at(&o, "members", '[');
        uint32_t members[MEMBERS_MAX];
        size_t n = info->metadata_members(info->metadata_ctx, members, MEMBERS_MAX);
        for (size_t i = 0; i < n; i++)
            json_number(&o, NULL, members[i]);
        json_close(&o, ']');
        json_close(&o, '}');
    } else {
        json_nothing(&o, "metadata_cluster_health");
    }
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

/* ---- OpenAPI of this API, from the route table ---- */

/* "/services/{}/state" -> "/services/{p1}/state". */
static void write_path(struct writer *w, const char *pattern)
{
    int n = 0;
    for (const char *p = pattern; *p; p++) {
        if (*p != '{') {
            write_u8(w, (uint8_t)*p);
            continue;
        }
        write_fmt(w, "{p%d}", ++n);
        p = strchr(p, '}');
    }
}

static void openapi_operation(struct json_out *o, const struct admin_route *r)
{
    static const struct {
        const char *method, *key;
    } methods[] = {
        {"GET", "get"}, {"POST", "post"}, {"PUT", "put"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i].method, r->method) == 0)
            json_open_at(o, methods[i].key, '{');
    json_text(o, "summary", r->summary);
    int n = 0;
    for (const char *p = r->pattern; (p = strchr(p, '{')); p++) {
        char name[16];
        if (n++ == 0)
            json_open_at(o, "parameters", '[');
        snprintf(name, sizeof(name), "p%d", n);
        json_open(o, '{');
        json_text(o, "name", name);
        json_raw(o, "in", "\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}");
        json_close(o, '}');
    }
    if (n)
        json_close(o, ']');
    if (r->body == BODY_JSON)
        json_raw(o, "requestBody", "{\"content\":{\"application/json\":{}}}");
    json_raw(
        o, "responses",
        "{\"2XX\":{\"description\":\"Success\"},\"default\":{\"$ref\":\"#/components/responses/Error\"}}");
    json_close(o, '}');
}

void handle_openapi(struct admin_call *c)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "openapi", "3.1.0");
    json_open_at(&o, "info", '{');
    json_text(&o, "title", "Admin API");
    json_text(&o, "version", c->admin->deps.info.version);
    json_close(&o, '}');
    json_open_at(&o, "paths", '{');
    for (size_t i = 0; i < admin_n_routes; i++) {
        const struct admin_route *r = &admin_routes[i];
        if (!r->summary)
            continue;
        /* The routes of one path stand together in the table. */
        if (i == 0 || strcmp(r->pattern, admin_routes[i - 1].pattern) != 0) {
            struct writer path = WRITER_INIT;
            write_path(&path, r->pattern);
            write_u8(&path, 0);
            json_open_at(&o, (const char *)writer_slice(&path).ptr, '{');
            writer_free(&path);
        }
        openapi_operation(&o, r);
        if (i + 1 == admin_n_routes || strcmp(r->pattern, admin_routes[i + 1].pattern) != 0)
            json_close(&o, '}');
    }
    json_close(&o, '}');
    json_raw(&o, "components",
             "{\"responses\":{\"Error\":{\"description\":\"Error\",\"content\":{\"application/"
             "json\":{\"schema\":{\"$ref\":"
             "\"#/components/schemas/"
             "Error\"}}}}},\"schemas\":{\"Error\":{\"type\":\"object\",\"required\":[\"message\"],"
             "\"properties\":{\"message\":{\"type\":\"string\"},\"restate_code\":{\"type\":[\"string\","
             "\"null\"]}}}}}");
    json_close(&o, '}');
    answer_json(c, 200, &w, NULL);
}

/* ---- web UI ---- */

void handle_root(struct admin_call *c)
{
    char *location = xasprintf("/ui/%s%s", c->query[0] ? "?" : "", c->query);
    answer_redirect(c, location);
    free(location);
}

void handle_ui(struct admin_call *c)
{
    answer_not_implemented(c, "The web UI is");
}

/* ---- resources to come ---- */

static void answer_empty_list(struct admin_call *c, const char *key)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"%s\":[]}", key);
    answer_json(c, 200, &w, NULL);
}

void handle_list_subscriptions(struct admin_call *c)
{
    answer_empty_list(c, "subscriptions");
}
void handle_list_kafka_clusters(struct admin_call *c)
{
    answer_empty_list(c, "clusters");
}
void handle_subscriptions(struct admin_call *c)
{
    answer_not_implemented(c, "Kafka subscriptions are");
}
void handle_kafka_clusters(struct admin_call *c)
{
    answer_not_implemented(c, "Kafka clusters are");
}
void handle_limits(struct admin_call *c)
{
    answer_not_implemented(c, "Concurrency rules are");
}
void handle_vqueues(struct admin_call *c)
{
    answer_not_implemented(c, "Virtual queues are");
}
void handle_serdes(struct admin_call *c)
{
    answer_not_implemented(c, "The serde proxy is");
}

/* Health, versions, and the routes whose resources this server
 * does not have yet (spec/admin-api.md §6, §12 to §18). */
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
    json_flag(&o, "invoker_yield", false);
    json_flag(&o, "unique_random_seeds", false);
    json_flag(&o, "kafka_scope", info->enable_kafka_scope);
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

/* ---- resources to come ---- */

void handle_vqueues(struct admin_call *c)
{
    answer_not_implemented(c, "Virtual queues are");
}
void handle_serdes(struct admin_call *c)
{
    answer_not_implemented(c, "The serde proxy is");
}

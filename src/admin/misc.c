/* Health and versions (spec/admin-api.md §6). */
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"

void handle_health(struct admin_call *c)
{
    answer_empty(c, 200);
}

void handle_version(struct admin_call *c)
{
    const struct admin_info *info = &c->admin->deps.info;
    const struct {
        const char *name;
        bool on;
    } features[] = {
        /* in the order of the reference */
        {"vqueues", false},
        {"protocol_v7", info->enable_protocol_v7},
        {"invoker_yield", false},
        {"unique_random_seeds", false},
        {"kafka_scope", info->enable_kafka_scope},
        {"scoped_virtual_objects", false},
        {"scoped_state_table_migration", false},
        {"scoped_promise_table_migration", false},
        {"vqueues_async_refill", false},
        {"vqueues_migration_skip_completed", false},
        {"vqueue_obsolete_cleanup", false},
        {"preflight_invocation_termination_retention", false},
    };
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "version", info->version);
    json_number(&o, "min_admin_api_version", ADMIN_VERSION_MIN);
    json_number(&o, "max_admin_api_version", ADMIN_VERSION_MAX);
    json_text(&o, "ingress_endpoint", info->ingress_endpoint);
    json_open_at(&o, "features", '{');
    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        json_flag(&o, features[i].name, features[i].on);
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

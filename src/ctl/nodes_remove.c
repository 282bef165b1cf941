/* `nodes remove`: only nodes that nothing depends on any more (spec/restatectl.md §11.2, spec/cluster.md
 * §1.10). */
#include "base/time.h"
#include "ctl/ctl.h"

/* NULL, or the segment that needs the node's storage. */
static const char *segment_in_the_way(struct tool *t, const struct logs_config *logs, uint32_t node)
{
    for (size_t i = 0; i < logs->n_chains; i++)
        for (size_t j = 0; j < logs->chains[i].n_segments; j++) {
            const struct log_segment *s = &logs->chains[i].segments[j];
            const char *loglet = loglet_text(t, loglet_id_make(logs->chains[i].log_id, s->index));
            struct loglet_params params;
            if (s->kind == SEGMENT_LOCAL || s->kind == SEGMENT_IN_MEMORY)
                return tool_format(t,
                                   "loglet %s of kind %s requires node N%u. You need to trim this loglet "
                                   "before disabling the node",
                                   loglet, segment_kind_name(s->kind), node);
            if (s->kind != SEGMENT_REPLICATED)
                continue;
            /* parameters that cannot be read may name the node */
            if (!segment_params(s, &params) || nodeset_position(&params.nodeset, node) >= 0)
                return tool_format(
                    t,
                    "log server is part of a node set of loglet %s. You need to trim this loglet before "
                    "disabling the log server",
                    loglet);
        }
    return NULL;
}

static const char *why_not(struct tool *t, const struct logs_config *logs, const struct node_entry *e)
{
    const char *why = NULL;
    if (e->storage == STORAGE_READ_WRITE)
        return "log server cannot be disabled because it is in read-write state";
    if (e->storage != STORAGE_DISABLED) {
        if (logs->provider != LOG_PROVIDER_REPLICATED)
            return tool_format(t, "current default loglet provider '%s', does not support disabling nodes",
                               log_provider_name(logs->provider));
        why = segment_in_the_way(t, logs, e->id);
    }
    if (!why && (e->roles & ROLE_METADATA_SERVER) && e->metadata_server == METADATA_SERVER_MEMBER)
        why = "metadata server is an active member";
    return why;
}

int nodes_remove_run(struct tool *t)
{
    struct ids ids = arg_nodes(t, "nodes");
    const struct logs_config *logs;
    struct writer w = WRITER_INIT;
    if (!need_cluster(t) || !(logs = need_logs(t)))
        return 1;
    struct nodes_config config = *ctl_of(t)->nodes;
    for (size_t i = 0; i < ids.len; i++) {
        const struct node_entry *e = nodes_config_by_id(&config, ids.items[i]);
        const char *why = e && !e->tombstone ? why_not(t, logs, e) : NULL;
        if (why) /* the text is that of the reference, braces included: scripts look for it */
            return tool_fail_cause(t, why, "It is not safe to disable node {node_id}");
    }
    /* The checks hold for exactly this version of the configuration. */
    config.nodes = arena_array(&t->arena, struct node_entry, config.n_nodes + 1);
    memcpy(config.nodes, ctl_of(t)->nodes->nodes, config.n_nodes * sizeof(*config.nodes));
    for (size_t i = 0; i < ids.len; i++) {
        struct node_entry *e = nodes_config_by_id(&config, ids.items[i]);
        if (e)
            e->tombstone = true;
    }
    config.version++;
    config.modified_at = hybrid_timestamp(os_wall_ms());
    nodes_config_encode(&w, &config);
    struct answer a =
        metadata_put(t, NODES_CONFIG_KEY, writer_slice(&w), config.version, config.version - 1, false);
    writer_free(&w);
    if (!a.good)
        return tool_fail(t, "%s", a.error);
    tool_say(t, "Successfully removed nodes %s\n", nodes_text(t, ids.items, ids.len, ","));
    return 0;
}

/* `config get`, `config set` (spec/restatectl.md §11.6). */
#include <stdlib.h>

#include "ctl/ctl.h"

#define SERVICE "/restate.cluster_ctrl.ClusterCtrlSvc/"

static bool get_config(struct tool *t, struct cluster_config *out)
{
    struct answer a = ctl_call(ctl_of(t), ROLE_ADMIN, SERVICE "GetClusterConfiguration", NULL);
    if (!a.good)
        tool_fail_cause(t, a.error, "Failed to get cluster configuration");
    else
        cluster_config_decode(t, msg_bytes(a.reply, 1), out);
    return a.good;
}

static int get_run(struct tool *t)
{
    struct cluster_config config;
    if (!need_cluster(t) || !get_config(t, &config))
        return 1;
    tool_say(t, "%s\n", cluster_config_text(t, &config));
    return 0;
}

/* ---- set ---- */

static void apply_options(struct tool *t, struct cluster_config *c)
{
    const char *logs = arg_replication(t, "log-replication");
    const char *partitions = arg_replication(t, "partition-replication");
    if (tool_given(t, "log-provider"))
        c->provider = tool_text(t, "log-provider");
    if (logs)
        c->log_replication = logs;
    if (partitions)
        c->partition_replication = partitions;
    if (tool_given(t, "log-default-nodeset-size"))
        c->nodeset_size = tool_number(t, "log-default-nodeset-size");
    if (tool_given(t, "num-partitions"))
        c->partitions = tool_number(t, "num-partitions");
}

static int set_run(struct tool *t)
{
    struct cluster_config config;
    if (!need_cluster(t) || !get_config(t, &config))
        return 1;
    if (tool_given(t, "num-partitions") && config.partitions &&
        tool_number(t, "num-partitions") != config.partitions)
        return tool_fail(t,
                         "The cluster has already been provisioned with partitions. Restate does not support "
                         "repartitioning, yet.");
    const char *before = cluster_config_text(t, &config);
    apply_options(t, &config);
    const char *after = cluster_config_text(t, &config);
    if (strcmp(before, after) == 0) {
        tool_say(t, "🤷 No changes\n");
        return 0;
    }
    struct table *tb = table_new(t, "changes");
    table_diff(tb, t, before, after);
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "");
    table_print(tb);
    tool_say(t, "\n");
    if (strcmp(config.provider, "replicated") != 0)
        tool_warning_box(
            t, "You are about to reconfigure your cluster with a Bifrost provider that only supports a "
               "single node cluster.");
    if (!tool_confirm(t, "Apply changes?"))
        return tool_aborted(t);
    struct writer inner = WRITER_INIT, request = WRITER_INIT;
    cluster_config_encode(&inner, &config);
    pb_put_message(&request, 1, &inner);
    struct answer a = ctl_call(ctl_of(t), ROLE_ADMIN, SERVICE "SetClusterConfiguration", &request);
    if (!a.good)
        return tool_fail_cause(t, a.error, "Failed to set configuration");
    tool_say(t, "✅ Configuration updated successfully\n");
    return 0;
}

static const struct option set_options[] = {CLUSTER_OPTIONS,
                                            {"num-partitions", 'n', "NUM_PARTITIONS", 0,
                                             "Number of partitions; only while there are none",
                                             .check = check_u16},
                                            {0}};

const struct command config_commands[] = {
    {"get", "Show the configuration of the cluster", .run = get_run},
    {"set", "Change the configuration of the cluster", .options = set_options, .run = set_run,
     .examples = "restatectl config set --log-replication 2\nrestatectl config set "
                 "--log-default-nodeset-size 3 --yes"},
    {0}};

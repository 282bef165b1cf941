/* `snapshots create-snapshot` (spec/restatectl.md §11.5). */
#include "ctl/ctl.h"

static void create_one(struct tool *t, uint32_t partition)
{
    struct writer request = WRITER_INIT;
    pb_write_u64(&request, 1, partition);
    if (tool_given(t, "min-lsn"))
        pb_write_u64_always(&request, 2, tool_number(t, "min-lsn"));
    pb_write_bool(&request, 3, tool_flag(t, "trim-log"));
    struct answer a = ctl_call(ctl_of(t), ROLE_ADMIN,
                               "/restate.cluster_ctrl.ClusterCtrlSvc/CreatePartitionSnapshot", &request);
    if (!a.good) {
        tool_item_failed(t, "restatectl::commands::snapshot::create_snapshot",
                         "Failed to create snapshot for partition %u: %s", partition, a.error);
        return;
    }
    tool_say(t, "Snapshot created for partition %u: %s (log %llu @ LSN >= %llu)\n", partition,
             msg_text(t, a.reply, 1), (unsigned long long)msg_u64(a.reply, 2),
             (unsigned long long)msg_u64(a.reply, 3));
    tool_flush(t);
}

static int create_run(struct tool *t)
{
    struct ids ids = arg_ranges(t, "PARTITION_ID");
    const struct partition_table *table;
    if (!need_cluster(t) || !(table = need_partitions(t)))
        return 1;
    /* An unknown partition is refused here: a server may not know better than to wait for it. */
    for (size_t i = 0; i < ids.len; i++) {
        if (ids.items[i] >= table->n_partitions)
            tool_item_failed(
                t, "restatectl::commands::snapshot::create_snapshot",
                "Failed to create snapshot for partition %u: the cluster has only the partitions 0-%u",
                ids.items[i], table->n_partitions - 1);
        else
            create_one(t, ids.items[i]);
    }
    for (uint32_t p = 0; ids.len == 0 && p < table->n_partitions; p++)
        create_one(t, p);
    return tool_done(t);
}

static const struct option create_options[] = {
    PARTITIONS_ARGUMENT(0, "; all without one"),
    {"min-lsn", 'm', "MIN_LSN", 0, "Only when the partition has applied this record", .check = check_u64},
    {"trim-log", 't', .help = "Trim the log to what the snapshot covers"},
    {0}};

const struct command snapshots_commands[] = {
    {"create-snapshot", "Write snapshots of partitions to the snapshot destination", .aliases = "create",
     .options = create_options, .run = create_run,
     .examples = "restatectl snapshots create\nrestatectl snapshots create 0-3 --trim-log"},
    {0}};
